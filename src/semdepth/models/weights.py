"""Self-describing weight files: one safetensors file holds parameters and all that is needed to build their networks.

The header's ``semdepth`` entry is JSON: format version, package version, ``NetworkConfig``, both backbones' own
configurations (so that no hub and no folder is needed to load), and whatever the caller adds. Nothing is ever pickled.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from semdepth.models.encoder import encoder_from_settings
from semdepth.models.network import DepthNetwork, NetworkConfig, assemble
from semdepth.models.pose_net import PoseNetwork
from semdepth.runtime import InputError, parse_json, require_file

FORMAT_VERSION = 1
WIDEST = 8192
"""No stage of a decoder has more channels; a file that says so would only fill the memory."""
_HEADER_KEY = "semdepth"
_DEPTH, _POSE = "depth.", "pose."


@dataclass(frozen=True)
class WeightsHeader:
    """What a weight file says about itself."""

    config: NetworkConfig
    """The configuration that the networks were built from."""
    encoder: dict[str, Any]
    """The depth network's backbone configuration."""
    pose_encoder: dict[str, Any] | None
    """The pose network's backbone configuration; None: the file holds no pose network."""
    package_version: str
    """The semdepth that wrote the file."""
    extra: dict[str, Any] = field(default_factory=dict)
    """What the caller added, e.g. the training image size."""


def save_weights(
    path: str | Path,
    network: DepthNetwork,
    pose_network: PoseNetwork | None = None,
    extra: Mapping[str, Any] | None = None,
    half: bool = False,
) -> None:
    """Write the networks to ``path``, whole or not at all (a temporary file beside it is renamed).

    Args:
        path: the file to write; an existing one is replaced, missing folders are made.
        network: the depth network, on any device.
        pose_network: the pose network, if it shall be in the file.
        extra: JSON-serialisable facts to carry along.
        half: store floating point as float16, in half the space; loading gives float32 networks all the same.

    Raises:
        InputError: if the place cannot be written to.
        TypeError: if ``extra`` is not JSON-serialisable.
    """
    path = Path(path)
    tensors = _state(network, _DEPTH) | (_state(pose_network, _POSE) if pose_network is not None else {})
    if half:
        tensors = {key: value.half() if value.is_floating_point() else value for key, value in tensors.items()}
    pose_settings = None if pose_network is None else pose_network.encoder.settings
    settings = network.encoder.settings
    header = WeightsHeader(network.config, settings, pose_settings, _package_version(), dict(extra or {}))
    entry = header_entry(header)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(tensors, temporary, metadata={_HEADER_KEY: entry})
        temporary.chmod(0o644)  # safetensors leaves it to its owner alone
        os.replace(temporary, path)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: cannot be written ({_reason(error)}); check the folder and its free space") from None
    finally:
        with suppress(OSError):  # gone after the rename, or never made
            temporary.unlink()


def load_depth_network(path: str | Path) -> tuple[DepthNetwork, WeightsHeader]:
    """Build the depth network that a file describes and fill it, strictly.

    Args:
        path: a file of ``save_weights``, with or without a pose network.

    Returns:
        The network in eval mode, on the CPU, and what the file says about itself.

    Raises:
        InputError: if the file is missing, truncated, foreign, of a newer format, or does not fit what it describes.
    """
    header, tensors = _read(path, _DEPTH)
    with _naming(path):
        network = assemble(header.config, encoder_from_settings(header.encoder))
    _fill(network, tensors, path, _DEPTH)
    return network.eval(), header


def load_pose_network(path: str | Path) -> PoseNetwork:
    """Build the pose network that a file describes and fill it, strictly; in eval mode, on the CPU.

    Raises:
        InputError: as for ``load_depth_network``, or if the file holds no pose network.
    """
    header, tensors = _read(path, _POSE)
    if header.pose_encoder is None:
        raise InputError(f"{path}: holds no pose network; use a file saved with one (training's own checkpoints are)")
    with _naming(path):
        encoder = encoder_from_settings(header.pose_encoder, in_channels=6)
        network = PoseNetwork(encoder, learn_focal=header.config.intrinsics == "learnt")
    _fill(network, tensors, path, _POSE)
    return network.eval()


def read_header(path: str | Path) -> WeightsHeader:
    """Return what a weight file says about itself, without reading its parameters.

    Raises:
        InputError: if the file is missing, truncated, foreign or of a newer format.
    """
    return _read(path, prefix=None)[0]


def header_entry(header: WeightsHeader) -> str:
    """Return the header as the JSON that a file carries; ``parse_header`` reads it.

    Raises:
        TypeError: if ``header.extra`` is not JSON-serialisable.
    """
    return json.dumps({"format_version": FORMAT_VERSION, **asdict(header)})


@contextmanager
def _naming(path: str | Path) -> Iterator[None]:
    """Put the weight file's name in front of errors about what the file describes."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except (RuntimeError, MemoryError, TypeError, ValueError, OverflowError) as error:
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise InputError(f"{path}: describes networks that cannot be built ({reason}); use an untouched file") from None


def _state(module: nn.Module, prefix: str) -> dict[str, Tensor]:
    return {prefix + key: value.detach().cpu().contiguous() for key, value in module.state_dict().items()}


def _package_version() -> str:
    try:
        return metadata.version("semdepth")
    except metadata.PackageNotFoundError:  # run from a source tree
        return "unknown"


def _reason(error: Exception) -> str:
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error).splitlines()[0]


def _read(path: str | Path, prefix: str | None) -> tuple[WeightsHeader, dict[str, Tensor]]:
    """Read the header, and the tensors whose keys start with ``prefix`` (cut off)."""
    path = require_file(path, "weight file")
    try:
        with safe_open(path, framework="pt") as stream:
            entry = (stream.metadata() or {}).get(_HEADER_KEY)
            keys = list(stream.keys())
            tensors = {k.removeprefix(prefix): stream.get_tensor(k) for k in keys if prefix and k.startswith(prefix)}
    except (SafetensorError, OSError) as error:
        raise InputError(
            f"{path}: not a whole safetensors file ({_reason(error)}); copy it again or use a file that semdepth wrote"
        ) from None
    if entry is None:
        raise InputError(f"{path}: safetensors, but not from semdepth (no header); use a file that semdepth wrote")
    header = parse_header(path, entry)
    strays = [k for k in keys if not k.startswith((_DEPTH, _POSE))]
    if strays:
        raise InputError(f"{path}: unexpected {strays[0]} ({len(strays)} such); use a file that semdepth wrote")
    return header, tensors


def parse_header(path: Path, entry: str) -> WeightsHeader:
    """Read what ``header_entry`` wrote.

    Args:
        path: the file that carries it, for the error's message.
        entry: the JSON.

    Raises:
        InputError: if it is damaged, or of a newer format.
    """
    try:
        raw = parse_json(entry)
        version = raw["format_version"]
        if not isinstance(version, int):
            raise TypeError("format_version is no number")
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: damaged semdepth header ({error}); use an untouched file") from None
    if version > FORMAT_VERSION:
        raise InputError(
            f"{path}: weight format {version} is newer than this semdepth knows ({FORMAT_VERSION}); upgrade semdepth"
        )
    if strange := _unknown_fields(raw.get("config")):
        raise InputError(
            f"{path}: has network.{strange[0][:80]}, which this semdepth ({_package_version()}) does not know; if semdepth "
            f"{str(raw.get('package_version'))[:40]} wrote it, upgrade, else use an untouched file"
        )
    try:
        header = WeightsHeader(
            config=_config(raw["config"]),
            encoder=dict(raw["encoder"]),
            pose_encoder=None if raw["pose_encoder"] is None else dict(raw["pose_encoder"]),
            package_version=str(raw["package_version"]),
            extra=dict(raw["extra"]),
        )
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: damaged semdepth header ({error}); use an untouched file") from None
    return header


def _unknown_fields(config: Any) -> list[str]:
    return sorted(set(config) - {f.name for f in fields(NetworkConfig)}) if isinstance(config, dict) else []


def _config(raw: dict[str, Any]) -> NetworkConfig:
    """Rebuild the configuration; JSON knows no tuples. Fields that are not there keep their defaults, or what they were."""
    if not isinstance(raw, dict):
        raise TypeError("the configuration is no object")
    widths = raw.get("decoder_channels", ())
    if not all(isinstance(width, int) and 0 < width <= WIDEST for width in widths):
        raise ValueError(f"decoder_channels {str(widths)[:80]}")
    values: dict[str, Any] = {"ssfa_norm": "instance"}  # what there was before there was a choice
    values |= {k: tuple(v) if isinstance(v, list) else v for k, v in raw.items()}
    return NetworkConfig(**values)


def _fill(network: nn.Module, tensors: dict[str, Tensor], path: str | Path, prefix: str) -> None:
    """Load ``tensors`` into ``network``; every key must be there, none be left, all shapes agree."""
    wanted = network.state_dict()
    complaints = [f"missing {prefix}{k}" for k in wanted if k not in tensors]
    complaints += [f"unexpected {prefix}{k}" for k in tensors if k not in wanted]
    complaints += [
        f"{prefix}{k} is {tuple(tensors[k].shape)}, not {tuple(v.shape)}"
        for k, v in wanted.items()
        if k in tensors and tensors[k].shape != v.shape
    ]
    complaints += [f"{prefix}{k} is not finite" for k, v in tensors.items() if not torch.isfinite(v).all()]
    if complaints:
        more = f" and {len(complaints) - 3} more" if len(complaints) > 3 else ""
        raise InputError(
            f"{path}: does not fit its own description: {'; '.join(complaints[:3])}{more}; use an untouched file"
        )
    network.load_state_dict(tensors)
