"""Weights of the Monodepth2 family: ``encoder.pth`` and ``depth.pth`` into our depth-only network.

Monodepth2 (Godard et al. 2019) and what descends from it save two files of tensors: a ResNet in torchvision's naming, and a
decoder as one numbered list. The architecture is ours with ``initial_disparity: flat``, tensor for tensor, so that the
same weights give the same output; only the names differ. ``docs/sharing.md`` has the table.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from semdepth.hub import first_line
from semdepth.models.decoder import NUM_SCALES
from semdepth.models.encoder import BUILT_IN, encoder_from_settings
from semdepth.models.network import DepthNetwork, NetworkConfig, assemble
from semdepth.runtime import InputError, require_file

ENCODER_FILE, DEPTH_FILE = "encoder.pth", "depth.pth"
STAGES = 5
"""Stages of the family's decoder; stage i ends at stride 2^i."""
STEREO_SCALE = 5.4
"""Metres per unit of depth of the family's networks learnt from KITTI's stereo pairs: 0.54 m of baseline called 0.1."""
RESNETS = ("resnet18", "resnet34", "resnet50")
_NOT_NEEDED = re.compile(r"encoder\.fc\.(weight|bias)")  # the classifier that torchvision's ResNets end with


@dataclass(frozen=True)
class ForeignNetwork:
    """What a folder of the family's files holds."""

    network: DepthNetwork
    """In eval mode, on the CPU."""
    image_size: tuple[int, int]
    """(H, W) it was trained at."""
    stereo: bool
    """Whether it was trained with stereo pairs: depth × ``STEREO_SCALE`` is then in metres."""


def load_monodepth2(folder: str | Path) -> ForeignNetwork:
    """Build our network from ``encoder.pth`` and ``depth.pth``; nothing in them is executed.

    Args:
        folder: holds both files, of a ResNet-18, -34 or -50 with four disparity heads.

    Raises:
        InputError: if a file is missing, truncated, more than tensors and numbers, or not of this architecture.
    """
    encoder_path, depth_path = Path(folder) / ENCODER_FILE, Path(folder) / DEPTH_FILE
    encoder, depth = read_tensors(encoder_path), read_tensors(depth_path)
    size, stereo = _size(encoder, encoder_path), bool(encoder.pop("use_stereo", False))
    name = _which_resnet(encoder, encoder_path)
    config = NetworkConfig(
        encoder=name,
        pose_encoder=name,
        fusion="depth-only",
        initial_disparity="flat",
        decoder_channels=_decoder_channels(depth, depth_path),
    )
    network = assemble(config, encoder_from_settings(BUILT_IN[name]))
    if any(side % network.size_multiple or side < 2 * network.size_multiple for side in size):
        raise InputError(
            f"{encoder_path}: says an image size of {size[1]}×{size[0]}; multiples of {network.size_multiple} are needed"
        )
    wanted = network.state_dict()
    names = {key: foreign_name(key) for key in wanted}
    ours = _pick(encoder, encoder_path, {k: n for k, n in names.items() if k.startswith("encoder.")}, wanted)
    ours |= _pick(depth, depth_path, {k: n for k, n in names.items() if not k.startswith("encoder.")}, wanted)
    network.load_state_dict(ours)
    return ForeignNetwork(network.eval(), size, stereo)


def foreign_name(key: str) -> str:
    """Return what the family calls a tensor of our depth-only network.

    Args:
        key: in ``DepthNetwork.state_dict()``, e.g. ``depth_decoder.stages.4.reduce.weight``.

    Returns:
        The name in ``encoder.pth`` or ``depth.pth``, e.g. ``decoder.0.conv.conv.weight``.

    Raises:
        ValueError: for a tensor that the family has not.
    """
    if found := re.fullmatch(r"depth_decoder\.stages\.(\d+)\.(reduce|merge)\.(\w+)", key):
        place = 2 * (STAGES - 1 - int(found[1])) + (found[2] == "merge")
        return f"decoder.{place}.conv.conv.{found[3]}"
    if found := re.fullmatch(r"disparity_heads\.(\d+)\.conv\.(\w+)", key):
        return f"decoder.{2 * STAGES + int(found[1])}.conv.{found[2]}"
    if found := re.fullmatch(r"encoder\.backbone\.embedder\.embedder\.(convolution|normalization)\.(\w+)", key):
        return f"encoder.{'conv1' if found[1] == 'convolution' else 'bn1'}.{found[2]}"
    block = r"encoder\.backbone\.encoder\.stages\.(\d+)\.layers\.(\d+)\."
    if found := re.fullmatch(block + r"layer\.(\d+)\.(convolution|normalization)\.(\w+)", key):
        kind = "conv" if found[4] == "convolution" else "bn"
        return f"encoder.layer{int(found[1]) + 1}.{found[2]}.{kind}{int(found[3]) + 1}.{found[5]}"
    if found := re.fullmatch(block + r"shortcut\.(convolution|normalization)\.(\w+)", key):
        return f"encoder.layer{int(found[1]) + 1}.{found[2]}.downsample.{int(found[3] == 'normalization')}.{found[4]}"
    raise ValueError(f"{key} has no counterpart in Monodepth2's files")


def read_tensors(path: Path) -> dict[str, Any]:
    """Return the dictionary of tensors and plain numbers in a ``.pth`` file, without executing anything in it.

    A prefix ``module.`` on every name (networks saved inside DataParallel) is taken off.

    Raises:
        InputError: if the file is missing, truncated, holds anything but tensors and plain values, or no such dictionary.
    """
    require_file(path, "weight file")
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise InputError(
            f"{path}: is no file of tensors only, and what else it holds is not executed; save a state_dict, or copy it again"
        ) from None
    except Exception as error:  # of a damaged file torch lets through whatever its unpickler stumbles over
        raise InputError(f"{path}: not a whole PyTorch file ({first_line(error)}); copy it again") from None
    if not isinstance(found, Mapping) or not all(isinstance(key, str) for key in found):
        raise InputError(f"{path}: holds a {type(found).__name__}, no dictionary of named tensors; give a state_dict")
    return {key.removeprefix("module."): value for key, value in found.items()}


def _size(encoder: dict[str, Any], path: Path) -> tuple[int, int]:
    """Take (H, W) out of the encoder's entries."""
    sides = [encoder.pop(name, None) for name in ("height", "width")]
    try:
        height, width = (int(side) for side in sides)
    except (TypeError, ValueError, RuntimeError):
        raise InputError(
            f"{path}: has no entries height and width, the size it was trained at; give an encoder.pth of Monodepth2's layout"
        ) from None
    return height, width


def _which_resnet(encoder: Mapping[str, Any], path: Path) -> str:
    blocks = [len({k.split(".")[2] for k in encoder if k.startswith(f"encoder.layer{i}.")}) for i in (1, 2, 3, 4)]
    layer = "bottleneck" if any(".conv3." in key for key in encoder) else "basic"
    for name in RESNETS:
        if (BUILT_IN[name]["depths"], BUILT_IN[name]["layer_type"]) == (blocks, layer):
            return name
    raise InputError(
        f"{path}: holds no ResNet-18, -34 or -50 in torchvision's naming ({layer} blocks {blocks}); only these are known"
    )


def _decoder_channels(depth: Mapping[str, Any], path: Path) -> tuple[int, ...]:
    widths = []
    for stage in range(STAGES):
        name = foreign_name(f"depth_decoder.stages.{stage}.merge.weight")
        value = depth.get(name)
        if not isinstance(value, Tensor) or value.ndim != 4:
            raise InputError(f"{path}: lacks {name}; give a depth.pth of Monodepth2's layout (docs/sharing.md)")
        widths.append(value.shape[0])
    return tuple(widths)


def _pick(
    found: Mapping[str, Any], path: Path, names: Mapping[str, str], wanted: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Return the tensors under our names; every one must be there, none be left, all shapes agree."""
    ours: dict[str, Tensor] = {}
    complaints = []
    for key, name in names.items():
        value = found.get(name)
        if value is None and name.endswith("num_batches_tracked"):  # older than the counter, which inference ignores
            value = torch.zeros((), dtype=torch.long)
        if not isinstance(value, Tensor):
            complaints.append(f"lacks {name}")
        elif value.shape != wanted[key].shape:
            complaints.append(f"{name} is {tuple(value.shape)}, not {tuple(wanted[key].shape)}")
        elif not torch.isfinite(value).all():
            complaints.append(f"{name} is not finite")
        else:
            ours[key] = value
    strays = set(found) - set(names.values())
    complaints += [f"unexpected {name}" for name in sorted(strays) if not _NOT_NEEDED.fullmatch(name)]
    if complaints:
        more = f" and {len(complaints) - 2} more" if len(complaints) > 2 else ""
        raise InputError(
            f"{path}: {'; '.join(complaints[:2])}{more}; give files of Monodepth2's layout with {NUM_SCALES} disparity heads "
            "(docs/sharing.md)"
        )
    return ours
