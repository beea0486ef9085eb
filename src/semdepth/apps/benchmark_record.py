"""Where measured speeds are kept: one JSON file, a key a measurement, ours beside the reference."""

from __future__ import annotations

import json
import os
import platform
import shlex
import sys
from datetime import date
from pathlib import Path
from typing import Any

import torch

from semdepth.runtime import InputError, parse_json

FILE = "performance.json"


def record(name: str, ours: float, reference: float, unit: str, *, out: Path, **more: Any) -> Path:
    """Put a measurement into ``performance.json``, whose other keys stay.

    Args:
        name: key, e.g. ``train_cpu``, ``infer_cpu``, ``infer_cpu_int8``, ``evaluate``.
        ours: our speed, in ``unit``.
        reference: that of the reference in the same run.
        unit: a rate, so that more is better, e.g. ``images/s``; or a time, whose unit ends with ``s`` alone (``s``, ``ms``).
        out: folder of the file.
        more: what else is worth keeping (spread, memory, shares ...), plain JSON.

    Returns:
        The file. Besides the numbers it holds ``ratio`` (above 1: ours is faster), command, date and machine.

    Raises:
        InputError: if the file cannot be read or written.
    """
    path = out / FILE
    is_time = unit in ("s", "ms")
    ratio = (reference / ours) if is_time else (ours / reference)
    row = {"ratio": round(ratio, 2), "ours": _short(ours), "reference": _short(reference), "unit": unit}
    found = _read(path)
    found[name] = row | more | made_by() | {"load": round(os.getloadavg()[0], 1)}
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        out.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        os.replace(temporary, path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}); give another --out") from None
    return path


def _read(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        found = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = None
    if not isinstance(found, dict):
        raise InputError(f"{path}: is no table of measurements; move it away, or give another --out")
    return found


def _short(value: float) -> float:
    return float(f"{value:.4g}")


def made_by() -> dict[str, str]:
    """Return what stands beside measured numbers: the command, the date and the machine."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{os.cpu_count()} cores of {_processor()}"
    command = ["semdepth", *sys.argv[1:]]
    return {
        "command": shlex.join(command),
        "date": date.today().isoformat(),
        "machine": f"{device}, torch {torch.__version__}",
    }


def _processor() -> str:
    """Return the processor's name; Python itself knows only its family on Linux."""
    known = Path("/proc/cpuinfo")
    lines = known.read_text(encoding="utf-8", errors="replace").splitlines() if known.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
