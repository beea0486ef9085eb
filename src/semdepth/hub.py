"""Where transformers' models come from: a local folder, or the hub and its cache. Code from there is never executed."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

from semdepth.runtime import InputError


def hub_access(source: str, what: str, choices: str = "a folder, or a hub id (owner/name)") -> dict[str, Any]:
    """Return how ``from_pretrained`` may get at ``source``; never by executing code.

    Without a hub in reach only its cache is asked: the hub's own client would retry for half a minute first.

    Args:
        source: a folder that ``save_pretrained`` wrote, or a hub id.
        what: the word for it in error messages, e.g. ``"encoder"``.
        choices: what may be given, for the error message.

    Returns:
        Keyword arguments of every ``from_pretrained``.

    Raises:
        InputError: if ``source`` is neither a usable folder nor of the form of a hub id.
    """
    folder = Path(source)
    if source and folder.is_dir():
        if not (folder / "config.json").is_file():
            raise InputError(f"{source}: folder without config.json; name a folder that save_pretrained wrote")
        return {"trust_remote_code": False, "local_files_only": True}
    if not re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", source):
        raise InputError(f"{what} {source!r}: unknown; give {choices}")
    return {"trust_remote_code": False, "local_files_only": not _hub_in_reach()}


def not_loaded(source: str, what: str, error: Exception, mend: str) -> InputError:
    """Return the one-line complaint about a model that did not load.

    Args:
        source: the folder or hub id.
        what: the word for it, e.g. ``"encoder"``.
        error: what the guest library raised.
        mend: what else the user can do where the hub is the trouble.
    """
    if Path(source).is_dir():
        return InputError(f"{what} {source!r}: cannot be loaded ({first_line(error)}); check the files in the folder")
    return InputError(
        f"{what} {source!r}: not to be had from the hub or its cache ({first_line(error)}); check the id and the "
        f"connection, {mend}"
    )


def first_line(error: Exception) -> str:
    """Return the first line of what an exception says, or its type if it says nothing."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0].rstrip(".") if lines else type(error).__name__


@cache
def _hub_in_reach() -> bool:
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session  # type: ignore[attr-defined]

    if constants.HF_HUB_OFFLINE:
        return False
    try:
        get_session().head(constants.ENDPOINT, timeout=5)
    except Exception:  # requests' or httpx's, by the hub client's version
        return False
    return True
