"""The one door to transformers' backbones: any of them becomes a feature pyramid behind one contract."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from semdepth.hub import first_line, hub_access, not_loaded
from semdepth.models.pooling import pool
from semdepth.runtime import InputError

IMAGE_MEAN = 0.45
IMAGE_STD = 0.225
"""One grey constant for every encoder, the field's own (Monodepth2 and its family feed ImageNet-pretrained ResNets with
it too, so that their weights fit). ImageNet's per-channel constants differ by at most 0.2 of a standard deviation."""

_PROBE_SIZE = 128


def _resnet(hidden: tuple[int, ...], depths: tuple[int, ...], layer: str, stem: int = 64) -> dict[str, Any]:
    return {
        "model_type": "resnet",
        "embedding_size": stem,
        "hidden_sizes": list(hidden),
        "depths": list(depths),
        "layer_type": layer,
    }


def _convnext_v2(hidden: tuple[int, ...], depths: tuple[int, ...]) -> dict[str, Any]:
    return {"model_type": "convnextv2", "hidden_sizes": list(hidden), "depths": list(depths)}


BUILT_IN: dict[str, dict[str, Any]] = {
    "resnet10-small": _resnet((16, 32, 64, 128), (1, 1, 1, 1), "basic", stem=16),
    "resnet18-half": _resnet((32, 64, 128, 256), (2, 2, 2, 2), "basic", stem=32),
    "resnet18": _resnet((64, 128, 256, 512), (2, 2, 2, 2), "basic"),
    "resnet34": _resnet((64, 128, 256, 512), (3, 4, 6, 3), "basic"),
    "resnet50": _resnet((256, 512, 1024, 2048), (3, 4, 6, 3), "bottleneck"),
    "convnextv2-atto": _convnext_v2((40, 80, 160, 320), (2, 2, 6, 2)),
    "convnextv2-tiny": _convnext_v2((96, 192, 384, 768), (3, 3, 9, 3)),
}
"""Architectures that need neither files nor network, by short name (He et al. 2016; Woo et al. 2023)."""

HUB_ID = {
    "resnet18": "microsoft/resnet-18",
    "resnet34": "microsoft/resnet-34",
    "resnet50": "microsoft/resnet-50",
    "convnextv2-atto": "facebook/convnextv2-atto-1k-224",
    "convnextv2-tiny": "facebook/convnextv2-tiny-1k-224",
}
"""Where ``pretrained=True`` finds the ImageNet weights of a short name."""


class Encoder(nn.Module):
    """A backbone as a pyramid of features.

    Attributes:
        channels: channels of each feature, fine to coarse.
        strides: image pixels per feature pixel, strictly increasing powers of two, e.g. ``(2, 4, 8, 16, 32)``.
        settings: the backbone's own configuration as plain JSON; ``encoder_from_settings`` builds its like from it.
    """

    def __init__(self, backbone: nn.Module, in_channels: int = 3) -> None:
        """Wrap ``backbone``, a transformers backbone whose ``out_features`` are its stages.

        Raises:
            InputError: if its features are no pyramid (a plain ViT has one stride only).
        """
        super().__init__()
        self.backbone = backbone
        self.settings = _settings_of(backbone.config)
        self._read = _reader(self.settings)
        maps = self._probe(in_channels)
        strides = [_PROBE_SIZE // m.shape[-1] for m in maps]
        self._kept = tuple(i for i, stride in enumerate(strides) if stride not in strides[i + 1 :])
        self.strides = tuple(strides[i] for i in self._kept)
        self.channels = tuple(maps[i].shape[1] for i in self._kept)
        if len(self.strides) < 3 or any(s & (s - 1) for s in self.strides) or sorted(strides) != strides:
            raise InputError(
                f"encoder of type {self.settings['model_type']!r}: gives features at strides {tuple(strides)}, "
                "no pyramid of powers of two; choose a hierarchical backbone (ResNet, ConvNeXt, Swin ...)"
            )

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the features of ``images``.

        Args:
            images: (B, in_channels, H, W) in [0, 1]; normalised here. H and W multiples of the coarsest stride.

        Returns:
            Features (B, channels[i], H/strides[i], W/strides[i]), fine to coarse.
        """
        maps = self._read(self.backbone, (images - IMAGE_MEAN) / IMAGE_STD)
        return [maps[i] for i in self._kept]

    def coarsest(self, images: Tensor) -> Tensor:
        """Return ``self(images)[-1]``, to the last bit; training a ResNet then keeps less for the way back."""
        images = (images - IMAGE_MEAN) / IMAGE_STD
        return (
            _last_of_resnet(self.backbone, images)
            if self._read is _read_resnet
            else self._read(self.backbone, images)[-1]
        )

    @torch.no_grad()
    def _probe(self, in_channels: int) -> list[Tensor]:
        was_training = self.backbone.training
        try:
            return self._read(self.backbone.eval(), torch.zeros(1, in_channels, _PROBE_SIZE, _PROBE_SIZE))
        except (RuntimeError, ValueError) as error:  # e.g. a stem that takes 3 channels whatever its config says
            raise InputError(
                f"encoder of type {self.settings['model_type']!r}: does not run on "
                f"{in_channels}×{_PROBE_SIZE}×{_PROBE_SIZE} images ({first_line(error)}); choose another backbone"
            ) from None
        finally:
            self.backbone.train(was_training)


def build_encoder(name: str, *, pretrained: bool, in_channels: int = 3) -> Encoder:
    """Build an encoder by name.

    Args:
        name: a key of ``BUILT_IN``; or a folder with ``config.json`` (and ``model.safetensors`` if ``pretrained``);
            or a hub id such as ``"microsoft/resnet-18"``. Code from a hub or folder is never executed.
        pretrained: load weights (a short name takes them from ``HUB_ID``), else start at random.
        in_channels: 3 per stacked image. Pretrained stems are repeated over the images and divided by their number,
            so that a stack of equal images gives what one image gave.

    Raises:
        InputError: if the name leads nowhere, the hub cannot be reached, or the backbone is not usable.
    """
    if not pretrained and name in BUILT_IN:
        return encoder_from_settings(BUILT_IN[name], in_channels)
    if name in BUILT_IN and name not in HUB_ID:
        raise InputError(f"encoder {name!r}: has no pretrained weights; say pretrained=false or name another encoder")
    source = HUB_ID.get(name, name)
    settings = _fetch_settings(source)
    if not pretrained:
        return encoder_from_settings(settings, in_channels)
    plain = _fetch_pretrained(source)
    if in_channels == 3:
        return Encoder(plain)
    encoder = encoder_from_settings(settings, in_channels)
    encoder.backbone.load_state_dict(_fold_stem(plain.state_dict(), encoder.backbone.state_dict()))
    return encoder


def encoder_from_settings(settings: dict[str, Any], in_channels: int = 3) -> Encoder:
    """Build a randomly initialised encoder from a backbone configuration (``Encoder.settings`` or ``BUILT_IN``).

    Raises:
        InputError: if transformers knows no such backbone or refuses the configuration.
    """
    from transformers import AutoBackbone, AutoConfig

    model_type = settings.get("model_type")
    if not isinstance(model_type, str) or model_type == "timm_backbone":  # timm's would fetch weights by itself
        raise InputError(f"encoder type {model_type!r}: not a transformers backbone; name another encoder")
    fields = {k: v for k, v in settings.items() if k not in ("model_type", "out_indices", "auto_map")}
    try:
        config = AutoConfig.for_model(model_type, **fields | {"num_channels": in_channels})
        _select_stages(config)
        backbone = AutoBackbone.from_config(config, trust_remote_code=False)
    except Exception as error:  # whatever transformers raises about a configuration, it is the user's to mend
        raise InputError(f"encoder type {model_type!r}: {first_line(error)}; check its configuration") from None
    return Encoder(backbone, in_channels)


def _fetch_settings(source: str) -> dict[str, Any]:
    from transformers import AutoConfig

    access = _access(source)
    try:
        config = AutoConfig.from_pretrained(source, **access)
    except Exception as error:  # the guest's errors are many (hub, network, JSON, validation); the mend is the same
        raise _not_loaded(source, error) from None
    settings: dict[str, Any] = config.to_diff_dict()
    return settings


def _fetch_pretrained(source: str) -> nn.Module:
    from transformers import MODEL_FOR_BACKBONE_MAPPING, AutoConfig

    access = _access(source)
    try:
        config = AutoConfig.from_pretrained(source, **access)
        _select_stages(config)
        backbone_class = MODEL_FOR_BACKBONE_MAPPING[type(config)]  # AutoBackbone would take a local folder for timm's
        backbone, report = backbone_class.from_pretrained(
            source, config=config, use_safetensors=True, output_loading_info=True, **access
        )
    except Exception as error:  # as above
        raise _not_loaded(source, error) from None
    # The norms that a backbone puts on its outputs are not part of a classifier's file; anything else must be there.
    absent = sorted(key for key in report["missing_keys"] if "hidden_states_norms" not in key)
    if absent:
        raise InputError(f"{source}: its weights lack {absent[0]} and so do not fit its config.json; fetch it anew")
    module: nn.Module = backbone.train()
    return module


def _access(source: str) -> dict[str, Any]:
    return hub_access(source, "encoder", f"one of {', '.join(BUILT_IN)}, a folder, or a hub id (owner/name)")


def _not_loaded(source: str, error: Exception) -> InputError:
    mend = "name a local folder, or start at random from a short name with pretrained=false"
    return not_loaded(source, "encoder", error, mend)


def _select_stages(config: Any) -> None:
    """Ask for every stage; the stem's map, of the first stage's stride, is left out as it is less deep."""
    config.out_features = [name for name in config.stage_names if name not in ("stem", "patch_embeddings")]


def _settings_of(config: Any) -> dict[str, Any]:
    settings = config.to_diff_dict() | {"model_type": config.model_type, "out_features": list(config.out_features)}
    return {k: v for k, v in settings.items() if k not in ("transformers_version", "architectures", "_name_or_path")}


def _fold_stem(weights: dict[str, Tensor], wanted: dict[str, Tensor]) -> dict[str, Tensor]:
    """Spread the first convolution's weights (out, 3, h, w) over stacked images: (out, 3·n, h, w) / n."""
    folded = {}
    for key, value in weights.items():
        n = wanted[key].shape[1] // value.shape[1] if value.ndim == 4 and wanted[key].shape != value.shape else 1
        folded[key] = value.repeat(1, n, 1, 1) / n if n > 1 else value
    return folded


_Reader = Callable[[nn.Module, Tensor], "list[Tensor]"]


def _reader(settings: dict[str, Any]) -> _Reader:
    return _read_resnet if settings["model_type"] == "resnet" else _read_backbone


def _read_backbone(backbone: nn.Module, images: Tensor) -> list[Tensor]:
    return list(backbone(images).feature_maps)


def _read_resnet(backbone: Any, images: Tensor) -> list[Tensor]:
    """Read a ResNet with its stem before pooling: dense prediction needs half resolution, transformers hides it."""
    maps = [backbone.embedder.embedder(images)]
    x = pool(backbone.embedder.pooler, maps[0])
    for stage in backbone.encoder.stages:
        x = stage(x)
        maps.append(x)
    return maps


def _last_of_resnet(backbone: Any, images: Tensor) -> Tensor:
    """Return a ResNet's last map. The largest of ReLUs is the ReLU of the largest, so that at the stem it need only be
    taken of, and kept for, a quarter of the pixels where nobody asks for them before pooling."""
    stem, pooler = backbone.embedder.embedder, backbone.embedder.pooler
    if isinstance(stem.activation, nn.ReLU):
        x = stem.activation(pool(pooler, stem.normalization(stem.convolution(images))))
    else:
        x = pool(pooler, stem(images))
    for stage in backbone.encoder.stages:
        x = stage(x)
    last: Tensor = x
    return last
