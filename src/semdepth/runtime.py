"""What every floor may use: errors a user can mend, device choice, seeding, logging."""

from __future__ import annotations

import ctypes
import errno
import json
import logging
import os
import random
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

logger = logging.getLogger("semdepth")

KEPT_BLOCK = 128 * 2**20
"""Bytes of the largest block that ``keep_freed_memory`` keeps: above every feature map of a usual training step."""
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # malloc.h


class InputError(Exception):
    """Something the user gave cannot be used.

    The message is one line that names the file (or option) and says how to mend it. The command line prints it and
    exits with code 2; libraries that call semdepth catch it as an ordinary exception.
    """


def parse_json(text: str | bytes) -> Any:
    """Return what a JSON text says.

    Raises:
        ValueError: if it is none, or its brackets are nested without end (for which ``json`` raises another error).
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("brackets nested too deep") from None


def require_file(path: str | Path, what: str) -> Path:
    """Return ``path`` if it is a readable file with content.

    Args:
        path: the file.
        what: the word for it in the error message, e.g. ``"lidar scan"``.

    Raises:
        InputError: if it is missing, a folder, empty or not readable.
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path}: is a folder, not a {what}; name the file itself")
    try:
        with path.open("rb") as stream:
            first = stream.read(1)
    except FileNotFoundError:
        raise InputError(f"{path}: {what} not found; check the path") from None
    except OSError as error:
        raise InputError(f"{path}: {what} cannot be read ({error.strerror}); check its permissions") from None
    if not first:
        raise InputError(f"{path}: {what} is empty; copy or write it again")
    return path


def why_not_written(error: BaseException) -> str:
    """Return in a few words why a file could not be written.

    Libraries bury it: torch's archive writer complains of positions while the full disk's own error is its context; NumPy's
    error for a short write has no number.
    """
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.strerror:
            return seen.strerror
        seen = seen.__cause__ or seen.__context__
    if is_short_write(error):
        return os.strerror(errno.ENOSPC)
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def is_short_write(error: BaseException) -> bool:
    """Return whether NumPy says that the disk took fewer bytes than it was given."""
    return isinstance(error, OSError) and " requested and " in str(error)


def require_folder(path: Path, what: str, mend: str) -> Path:
    """Return ``path`` if it is a folder that can be listed.

    Args:
        path: the folder.
        what: the word for it in the error message.
        mend: what the user can do about it.

    Raises:
        InputError: if it is not.
    """
    if not path.is_dir():
        state = "is a file, not a folder" if path.exists() else "not found"
        raise InputError(f"{path}: {what} {state}; {mend}")
    try:
        next(path.iterdir(), None)
    except OSError as error:
        raise InputError(f"{path}: {what} cannot be listed ({error.strerror}); check its permissions") from None
    return path


def counted(number: int, noun: str) -> str:
    """Return e.g. ``1 image``, ``2 images``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def natural_order(path: Path) -> list[tuple[int, int | str]]:
    """Return a sort key for names under which frame 10 comes after frame 9."""
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in re.split(r"(\d+)", path.name) if part]


def choose_device(name: str = "auto") -> torch.device:
    """Return the device called ``name``; ``auto`` takes CUDA, then Apple's MPS, then the CPU.

    Raises:
        InputError: if the device is unknown or not present.
    """
    import torch

    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError):
        raise InputError(f"device {name!r} is not available here; use auto, cpu or cuda") from None
    return device


def computes_bfloat16(device: torch.device) -> bool:
    """Return whether a device has arithmetic in bfloat16, and so gains by it; others imitate it, slowly."""
    import torch

    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        has: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()  # older torch does not tell
        return bool(has.get("amx_bf16") or has.get("avx512_bf16") or has.get("bf16"))  # the last one: ARM
    return False


def keep_freed_memory() -> None:
    """Let this process keep memory that it frees, for what it needs next, where glibc is the allocator; elsewhere nothing.

    glibc gives large blocks back to the kernel as soon as they are freed, and the kernel clears every page of them again
    when the next step asks. That took 7 to 14 % of a training step on a CPU. The price is that a process stays as large
    as it once was.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # musl, macOS, Windows
        return
    mallopt(_MMAP_THRESHOLD, KEPT_BLOCK)
    mallopt(_TRIM_THRESHOLD, 2**31 - 1)


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and torch (all devices)."""
    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - libraries below us draw from the global state
    torch.manual_seed(seed)


def set_up_logging(verbose: bool = False) -> None:
    """Send semdepth's log to the terminal through rich; libraries only speak when something is wrong."""
    from rich.logging import RichHandler

    handler = RichHandler(show_path=False, show_time=False, markup=False)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[handler], force=True)
    logger.setLevel(logging.DEBUG if verbose else logging.INFO)
