"""The one door to transformers' segmenters: any of them gives Cityscapes' trainIds and how sure it is of them.

Two kinds are known. *Semantic* segmenters (SegFormer, UPerNet, BEiT, Data2Vec, DPT, MobileViT, MobileNetV2 …) give class
logits a pixel. *Universal* ones (MaskFormer, Mask2Former, OneFormer, DETR) give Q masks with a class each; their class
probabilities are Σ_q p_q(c)·sigmoid(mask_q), normalised over c (Cheng et al. 2021, semantic inference).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semdepth.data.label_sets import ClassMap, match_classes
from semdepth.data.segmenter_input import SegmenterInput, input_of
from semdepth.hub import first_line, hub_access, not_loaded
from semdepth.labels import IGNORE
from semdepth.runtime import InputError, choose_device

Precision = Literal["float32", "bfloat16", "float16"]
"""What the network computes in; probabilities are always float32."""

MASKS_AT_ONCE = 16
"""Masks that are brought to the image's size together."""
UNCLAIMED = 1e-6
"""Added to every class of a mask segmenter: a pixel that no mask holds is uncertain, not whatever is 1e-20 likelier."""
REFUSED = {
    "timm_wrapper": "needs timm, which is not used here",
    "videomt": "takes whole videos, not images",
    "eomt": "takes square windows, which are not cut here",
    "eomt_dinov3": "takes square windows, which are not cut here",
}
"""Model types that transformers has and that are not to be had here, and why."""


@dataclass(frozen=True)
class Segmentation:
    """What a segmenter says of an image, at the image's own size."""

    labels: npt.NDArray[np.uint8]
    """(H, W) trainIds; 255 where the likeliest is a class that none of the 19 corresponds to, or all are equally likely."""
    entropy: npt.NDArray[np.uint8]
    """(H, W) entropy of the probabilities, 0–255 for 0–1: over the log of the number of possible answers."""


class Segmenter:
    """A pretrained segmenter, ready for images of any size."""

    def __init__(
        self, model: nn.Module, source: str, classes: ClassMap, reads: SegmenterInput, *,
        device: torch.device, precision: Precision = "float32", task: Tensor | None = None,
    ) -> None:  # fmt: skip
        """Wrap ``model``; use ``load_segmenter``.

        Args:
            model: a transformers segmenter.
            source: where it came from, for messages.
            classes: what its outputs mean.
            reads: what its input is like.
            device: where it runs.
            precision: what it computes in.
            task: (1, T) token ids of OneFormer's task sentence.
        """
        self.source = source
        self.classes = classes
        self.input = reads
        self.model_type: str = model.config.model_type  # type: ignore[assignment, union-attr]
        self.identity = _identity(model, classes, reads)
        self.device = device
        self.precision: Precision = precision
        self._model = model.eval().to(device)
        self._task = None if task is None else task.to(device)
        self._matrix = torch.from_numpy(classes.matrix()).to(device)

    def segment(self, images: Sequence[npt.NDArray[np.uint8]]) -> list[Segmentation]:
        """Return what is seen in images.

        Args:
            images: (H, W, 3) uint8 RGB each; those with one input size next to each other go through together.

        Raises:
            InputError: if the segmenter does not run on images of this size, or gives no numbers.
        """
        return [_decide(p, self.classes.groups) for p in self.probabilities(images)]

    @torch.inference_mode()
    def probabilities(self, images: Sequence[npt.NDArray[np.uint8]]) -> list[Tensor]:
        """Return (G, H, W) float32 probabilities of every image, at its own size, of what a pixel can become
        (``classes.groups``); they sum to 1. Arguments and errors as for ``segment``.
        """
        inputs = [self.input.prepare(image) for image in images]
        found: list[Tensor] = []
        for _, group in groupby(inputs, key=lambda pixels: pixels.shape):
            for scores in self._run(torch.stack(list(group))):
                found.append(scores.at(images[len(found)].shape[:2]))
                if not bool(torch.isfinite(found[-1]).all()):
                    raise InputError(f"{self.source}: gives NaN or infinity; use --precision float32, or fetch it anew")
        return found

    def _run(self, pixels: Tensor) -> list[_Pixelwise | _Masks]:
        task = {} if self._task is None else {"task_inputs": self._task.expand(len(pixels), -1)}
        try:
            with _autocast(self.device, self.precision):
                output = self._model(pixel_values=pixels.to(self.device), **task)
        except torch.cuda.OutOfMemoryError:
            raise InputError(
                f"{self.source}: not enough memory for {len(pixels)} images; give a smaller --batch"
            ) from None
        except (RuntimeError, ValueError, AssertionError) as error:
            size = f"{pixels.shape[3]}×{pixels.shape[2]}"
            raise InputError(
                f"{self.source}: does not run on images of {size} ({first_line(error)}); give another --size"
            ) from None
        masks = getattr(output, "masks_queries_logits", getattr(output, "pred_masks", None))
        if masks is None:
            self._require_outputs(output.logits.shape[1])
            return [_Pixelwise(_grouped(logits, self._matrix)) for logits in output.logits.float()]
        by_query = getattr(output, "class_queries_logits", None)
        by_query = (output.logits if by_query is None else by_query).float()
        self._require_outputs(by_query.shape[2] - 1)  # the last says that the query found nothing
        weights = by_query.softmax(dim=2)[..., :-1] @ self._matrix
        return [_Masks(w, m) for w, m in zip(weights, masks.float(), strict=True)]

    def _require_outputs(self, count: int) -> None:
        if count != len(self.classes.names):
            raise InputError(
                f"{self.source}: has {count} outputs, but its config.json names {len(self.classes.names)} classes; mend it"
            )


@dataclass(frozen=True)
class _Pixelwise:
    """Logits (G, h, w) of an image."""

    logits: Tensor

    def at(self, size: tuple[int, ...]) -> Tensor:
        """Return probabilities (G, H, W): logits are resized, as the field does, not probabilities."""
        return _resized(self.logits, size).softmax(dim=0)


@dataclass(frozen=True)
class _Masks:
    """What Q queries say: (Q, G) class probabilities and (Q, h, w) mask logits."""

    weights: Tensor
    masks: Tensor

    def at(self, size: tuple[int, ...]) -> Tensor:
        """Return probabilities (G, H, W); a few masks at a time, since Q of them are large."""
        total = self.weights.new_zeros(self.weights.shape[1], *size)
        for w, m in zip(self.weights.split(MASKS_AT_ONCE), self.masks.split(MASKS_AT_ONCE), strict=True):
            total += torch.einsum("qg,qhw->ghw", w, _resized(m, size).sigmoid())
        total += UNCLAIMED
        return total / total.sum(dim=0)


def load_segmenter(
    source: str, *, device: str = "auto", size: tuple[int, int] | None = None, train_ids: bool = False,
    precision: Precision = "float32",
) -> Segmenter:  # fmt: skip
    """Load a segmenter of transformers. Code is never executed: weights are safetensors, or else a ``pytorch_model.bin``
    that holds nothing but tensors.

    Args:
        source: a hub id, or a folder with ``config.json``, ``preprocessor_config.json`` and weights.
        device: auto, cpu, cuda, mps.
        size: (H, W) that images are resized to; None: as the image processor says.
        train_ids: the outputs are the 19 trainIds in order, though they have no names.
        precision: what the network computes in.

    Raises:
        InputError: if it cannot be had, is no segmenter, its files do not fit each other, or its classes are not a street's.
    """
    access = hub_access(source, "segmenter")
    os.environ.setdefault("DISABLE_SAFETENSORS_CONVERSION", "1")  # else transformers asks the hub to convert .bin files
    config = _config(source, access)
    classes = match_classes(config.id2label, source, train_ids)
    reads = input_of(_processor_settings(source, access), source, size)
    if config.model_type == "dpt":  # its ViT's tokens are put back into a square, whatever the image was
        reads = replace(reads, keep_aspect=False)
    chosen = choose_device(device)
    model = _model(source, config, access)
    task = _task_tokens(source, config, access) if config.model_type == "oneformer" else None
    return Segmenter(model, source, classes, reads, device=chosen, precision=precision, task=task)


def _config(source: str, access: Mapping[str, Any]) -> Any:
    """Return the configuration, if it is a segmenter's."""
    from transformers import AutoConfig
    from transformers.models.auto import modeling_auto as auto

    try:
        config = AutoConfig.from_pretrained(source, **access)
    except Exception as error:  # the guest's errors are many (hub, network, JSON, validation); the mend is the same
        raise not_loaded(source, "segmenter", error, "or name a local folder") from None
    why = REFUSED.get(config.model_type)
    kinds = (auto.MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING, auto.MODEL_FOR_UNIVERSAL_SEGMENTATION_MAPPING)
    if why is None and not any(type(config) in kind for kind in kinds):
        why = "is no segmenter"
    if why is not None:
        raise InputError(f"{source}: model type {config.model_type!r} {why}; name e.g. a SegFormer or Mask2Former")
    if hasattr(config, "is_training"):
        config.is_training = False  # OneFormer's would ask for texts
    return config


def _processor_settings(source: str, access: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of the image processor; its class fills in what the file leaves out."""
    from transformers import AutoImageProcessor

    try:
        settings: dict[str, Any] = AutoImageProcessor.from_pretrained(source, **access).to_dict()
    except Exception as error:  # as above
        raise InputError(
            f"segmenter {source!r}: its preprocessor_config.json cannot be used ({first_line(error)}); fetch it anew, it "
            "says how images are scaled"
        ) from None
    return settings


def _model(source: str, config: Any, access: Mapping[str, Any]) -> nn.Module:
    from transformers import AutoModelForSemanticSegmentation, AutoModelForUniversalSegmentation
    from transformers.models.auto.modeling_auto import MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING as SEMANTIC

    kind = AutoModelForSemanticSegmentation if type(config) in SEMANTIC else AutoModelForUniversalSegmentation
    try:
        model, report = kind.from_pretrained(
            source, config=config, weights_only=True, output_loading_info=True, dtype=torch.float32, **access
        )
    except Exception as error:  # as above
        raise not_loaded(source, "segmenter", error, "or name a local folder") from None
    absent = sorted(set(report["missing_keys"]) & {name for name, _ in model.named_parameters()})
    if absent:
        raise InputError(
            f"{source}: its weights lack {absent[0]} ({len(absent)} such); it was not saved as a segmenter"
        )
    module: nn.Module = model
    return module


def _task_tokens(source: str, config: Any, access: Mapping[str, Any]) -> Tensor:
    """Return OneFormer's (1, T) token ids of its task sentence, 0 beyond its end (Jain et al. 2023)."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(source, **access)
        length = {"padding": "max_length", "max_length": config.task_seq_len, "truncation": True}
        tokens = tokenizer(["the task is semantic"], return_tensors="pt", **length)
    except Exception as error:  # as above
        raise not_loaded(source, "segmenter's tokenizer", error, "or name a local folder") from None
    ids: Tensor = tokens["input_ids"] * tokens["attention_mask"]
    return ids


def _identity(model: nn.Module, classes: ClassMap, reads: SegmenterInput) -> str:
    """Return what tells segmenters apart: a digest of the parameters, the input and the meaning of the outputs."""
    digest = hashlib.sha256(repr((classes, asdict(reads))).encode())
    for key, value in sorted(model.state_dict().items()):
        digest.update(f"{key} {tuple(value.shape)}".encode())
        digest.update(value.cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()[:16]


def _autocast(device: torch.device, precision: Precision) -> AbstractContextManager[Any]:
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, getattr(torch, precision))


def _grouped(logits: Tensor, matrix: Tensor) -> Tensor:
    """Return (G, h, w) logits whose softmax is the sum of the probabilities of each group's classes, of (C, h, w)."""
    return torch.stack([logits[member.bool()].logsumexp(dim=0) for member in matrix.T])


def _resized(maps: Tensor, size: tuple[int, ...]) -> Tensor:
    """Return (N, h, w) at ``size`` (H, W), pixel areas corresponding."""
    return F.interpolate(maps[None], (size[0], size[1]), mode="bilinear", align_corners=False)[0]


def _decide(probabilities: Tensor, groups: Sequence[int]) -> Segmentation:
    """Return labels and entropy of (G, H, W) probabilities."""
    entropy = -torch.xlogy(probabilities, probabilities).sum(dim=0) / float(np.log(len(groups)))
    index = probabilities.argmax(dim=0).cpu().numpy()
    scaled = (entropy.clamp(0, 1) * 255).round().byte().cpu().numpy()
    labels = np.array(groups, dtype=np.uint8)[index]
    labels[scaled == 255] = IGNORE  # whatever comes first would win
    return Segmentation(labels=labels, entropy=scaled)
