"""``semdepth convert``."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from semdepth.models.foreign import STEREO_SCALE, load_monodepth2
from semdepth.models.weights import save_weights
from semdepth.runtime import InputError


def convert(folder: Path, out: Path = Path("weights.safetensors")) -> None:
    """Turn encoder.pth and depth.pth of Monodepth2 or its family into a weights file of semdepth.

    The network is the same, tensor for tensor: the output is that of the original on the same weights. ResNet-18, -34 and
    -50 with four disparity heads are known (docs/sharing.md has the layer names). The files are read as tensors only:
    nothing in them is executed. Their licence goes on to hold for what is made of them. There is no pose network in the
    file: it predicts and is judged, but no run starts from it.

    Args:
        folder: Holds encoder.pth and depth.pth.
        out: The .safetensors file to write.

    Examples:
        semdepth convert models/mono_640x192                         # writes weights.safetensors
        semdepth convert models/mono_640x192 --out mono.safetensors  # predict --weights mono.safetensors takes it
    """
    if out.suffix != ".safetensors":
        raise InputError(f"{out}: name the file to write with the suffix .safetensors")
    foreign = load_monodepth2(folder)
    height, width = foreign.image_size
    origin = {"layout": "monodepth2", "folder": folder.resolve().name, "stereo": foreign.stereo}
    save_weights(out, foreign.network, extra={"image_size": [height, width], "converted_from": origin})
    console = Console()
    encoder = foreign.network.config.encoder
    console.print(f"{encoder}, depth only, trained at {width}×{height}: {out}", highlight=False, soft_wrap=True)
    if foreign.stereo:
        console.print(f"Trained with stereo pairs: where they were KITTI's, depth × {STEREO_SCALE} is in metres.")
    console.print(
        f"Depth of an image: semdepth predict IMAGE --weights {out} --out DIR", highlight=False, soft_wrap=True
    )
