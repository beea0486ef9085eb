"""Segmenters of transformers, small enough to be made in a test and saved to a folder as a user has them."""

from pathlib import Path

import torch
import transformers
from torch import nn

from semdepth.labels import CLASSES

CITYSCAPES = [c.name for c in CLASSES]
SWIN = {
    "image_size": 64, "embed_dim": 8, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 1, 1], "window_size": 4,
    "out_features": ["stage1", "stage2", "stage3", "stage4"],
}  # fmt: skip
RESNET = {
    "embedding_size": 8, "hidden_sizes": [8, 8, 8, 8], "depths": [1, 1, 1, 1], "layer_type": "basic",
    "out_features": ["stage1", "stage2", "stage3", "stage4"],
}  # fmt: skip
PROCESSOR = {
    "do_resize": True, "size": {"height": 64, "width": 96}, "resample": 2, "do_rescale": True, "do_normalize": True,
    "rescale_factor": 1 / 255, "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225],
}  # fmt: skip


def segformer(names: list[str], **options: object) -> nn.Module:
    return transformers.SegformerForSemanticSegmentation(
        transformers.SegformerConfig(
            depths=[1, 1, 1, 1], hidden_sizes=[8, 8, 16, 16], num_attention_heads=[1, 1, 1, 1], decoder_hidden_size=8,
            **labelled(names), **options,
        )
    )  # fmt: skip


def upernet(names: list[str]) -> nn.Module:
    config = transformers.UperNetConfig(
        backbone_config=transformers.ResNetConfig(**RESNET), hidden_size=8, pool_scales=[1, 2], use_auxiliary_head=False,
        **labelled(names),
    )  # fmt: skip
    return transformers.UperNetForSemanticSegmentation(config)


def beit(names: list[str]) -> nn.Module:
    config = transformers.BeitConfig(
        image_size=64, patch_size=16, hidden_size=16, num_hidden_layers=4, num_attention_heads=2, intermediate_size=16,
        out_indices=[1, 2, 3, 4], pool_scales=[1, 2], use_auxiliary_head=False, **labelled(names),
    )  # fmt: skip
    return transformers.BeitForSemanticSegmentation(config)


def dpt(names: list[str]) -> nn.Module:
    config = transformers.DPTConfig(
        image_size=64, patch_size=16, hidden_size=16, num_hidden_layers=4, num_attention_heads=2, intermediate_size=16,
        backbone_out_indices=[0, 1, 2, 3], neck_hidden_sizes=[8, 8, 8, 8], fusion_hidden_size=8,
        use_auxiliary_head=False, **labelled(names),
    )  # fmt: skip
    return transformers.DPTForSemanticSegmentation(config)


def mobilevit(names: list[str]) -> nn.Module:
    config = transformers.MobileViTConfig(
        hidden_sizes=[8, 8, 8], neck_hidden_sizes=[8, 8, 8, 8, 8, 8, 8], num_attention_heads=2, aspp_out_channels=8,
        atrous_rates=[1, 2, 3], **labelled(names),
    )  # fmt: skip
    return transformers.MobileViTForSemanticSegmentation(config)


def maskformer(names: list[str]) -> nn.Module:
    decoder = transformers.DetrConfig(
        d_model=32, encoder_layers=1, decoder_layers=1, encoder_attention_heads=1, decoder_attention_heads=1,
        encoder_ffn_dim=16, decoder_ffn_dim=16, num_queries=5,
    )  # fmt: skip
    config = transformers.MaskFormerConfig(
        fpn_feature_size=32, mask_feature_size=32, backbone_config=transformers.SwinConfig(**SWIN), decoder_config=decoder,
        **labelled(names),
    )  # fmt: skip
    return transformers.MaskFormerForInstanceSegmentation(config)


def mask2former(names: list[str]) -> nn.Module:
    config = transformers.Mask2FormerConfig(
        backbone_config=transformers.SwinConfig(**SWIN), feature_size=32, mask_feature_size=32, hidden_dim=32,
        encoder_feedforward_dim=16, dim_feedforward=16, encoder_layers=1, decoder_layers=2, num_attention_heads=2,
        num_queries=20, **labelled(names),
    )  # fmt: skip
    return transformers.Mask2FormerForUniversalSegmentation(config)


def oneformer(names: list[str]) -> nn.Module:
    config = transformers.OneFormerConfig(
        backbone_config=transformers.SwinConfig(**SWIN), conv_dim=32, mask_dim=32, hidden_dim=32, num_queries=5,
        encoder_feedforward_dim=16, dim_feedforward=16, encoder_layers=1, decoder_layers=2, num_attention_heads=2,
        query_dec_layers=1, task_seq_len=8, is_training=False, **labelled(names),
    )  # fmt: skip
    return transformers.OneFormerForUniversalSegmentation(config)


def labelled(names: list[str]) -> dict[str, object]:
    return {"id2label": dict(enumerate(names)), "label2id": {name: i for i, name in enumerate(names)}}


KINDS = {
    "segformer": (segformer, "SegformerImageProcessor", {}),
    "upernet": (upernet, "SegformerImageProcessor", {}),
    "beit": (beit, "BeitImageProcessor", {"size": {"height": 64, "width": 64}}),
    "dpt": (dpt, "DPTImageProcessor", {"size": {"height": 64, "width": 64}, "keep_aspect_ratio": True, "ensure_multiple_of": 32}),
    "mobilevit": (mobilevit, "MobileViTImageProcessor", {"size": {"shortest_edge": 64}, "do_flip_channel_order": True}),
    "maskformer": (maskformer, "MaskFormerImageProcessor", {"size": {"shortest_edge": 64, "longest_edge": 96}}),
    "mask2former": (mask2former, "Mask2FormerImageProcessor", {"size": {"shortest_edge": 64, "longest_edge": 96}}),
    "oneformer": (oneformer, "OneFormerImageProcessor", {"size": {"shortest_edge": 64, "longest_edge": 96}}),
}  # fmt: skip


def save(folder: Path, kind: str = "segformer", names: list[str] = CITYSCAPES, seed: int = 0) -> Path:
    """Save a random segmenter, its parameters large enough for different answers in different places."""
    import json

    make, processor, options = KINDS[kind]
    torch.manual_seed(seed)
    model = make(names)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=0.5)
    model.save_pretrained(folder)
    settings = PROCESSOR | {"image_processor_type": processor} | options
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    if kind == "oneformer":
        save_tokenizer(folder)
    return folder


def save_tokenizer(folder: Path) -> None:
    """Save CLIP's kind of tokenizer, with hardly any words."""
    import json

    words = [
        "<|startoftext|>",
        "<|endoftext|>",
        *"abcdefghijklmnopqrstuvwxyz",
        *(f"{c}</w>" for c in "abcdefghijklmnopqrstuvwxyz"),
    ]
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    transformers.CLIPTokenizer.from_pretrained(folder).save_pretrained(folder)


def save_by_brightness(folder: Path, bright: str = "sky", dark: str = "road") -> Path:
    """Save a SegFormer with parameters set by hand: bright pixels are ``bright``, dark ones ``dark``.

    Two channels carry (x, 0), x the brightness against mid-grey; layer norms turn that into ±(1, −1), every block is the
    identity, and the head reads each channel after a ReLU.
    """
    import json

    model = transformers.SegformerForSemanticSegmentation(
        transformers.SegformerConfig(
            depths=[1, 1, 1, 1], hidden_sizes=[2, 2, 2, 2], num_attention_heads=[1, 1, 1, 1], decoder_hidden_size=2,
            **labelled(CITYSCAPES),
        )
    )  # fmt: skip
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            norm = "norm" in name
            parameter.fill_(1.0 if norm and name.endswith("weight") else 0.0)
        weights = model.state_dict()
        stem = next(k for k in weights if k.endswith("proj.weight") and weights[k].shape[1] == 3)
        weights[stem][0, :, 3, 3] = 1.0
        head = next(k for k in weights if "decode_head" in k and k.endswith("proj.weight"))
        weights[head].copy_(torch.eye(2))
        fuse = weights["decode_head.linear_fuse.weight"]
        fuse[:, 6:8, 0, 0] = torch.eye(2)  # the head stacks the stages coarse to fine
        weights["decode_head.classifier.weight"][CITYSCAPES.index(bright), 0] = 8.0
        weights["decode_head.classifier.weight"][CITYSCAPES.index(dark), 1] = 8.0
    model.save_pretrained(folder)
    settings = PROCESSOR | {
        "image_processor_type": "SegformerImageProcessor", "image_mean": [0.5] * 3, "image_std": [0.5] * 3,
    }  # fmt: skip
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    return folder
