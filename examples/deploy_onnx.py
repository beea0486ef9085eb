"""Depth of an image with ONNX Runtime alone: numpy, pillow and onnxruntime; neither torch nor semdepth.

    semdepth export RUN --out model.onnx          # once, where semdepth is installed
    python deploy_onnx.py model.onnx photo.jpg    # anywhere: photo_depth.npy and photo_disparity.png

Depth is up to scale (semdepth's docs/deployment.md says how metres come in).
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps


def load(path: str) -> tuple[onnxruntime.InferenceSession, tuple[int, int]]:
    """Return a session and the (height, width) that its images must have."""
    session = onnxruntime.InferenceSession(path, providers=onnxruntime.get_available_providers())
    facts = session.get_modelmeta().custom_metadata_map
    if "image_size" not in facts:
        sys.exit(f"{path}: was not written by semdepth export")
    height, width = json.loads(facts["image_size"])
    return session, (height, width)


def predict(session: onnxruntime.InferenceSession, size: tuple[int, int], image: Image.Image) -> np.ndarray:
    """Return the disparity (1 / depth) of an RGB image, float32, at the image's own size."""
    height, width = size
    small = np.asarray(image.resize((width, height), Image.Resampling.LANCZOS), dtype=np.float32) / 255
    batch = np.ascontiguousarray(small.transpose(2, 0, 1)[None])  # (1, 3, height, width), RGB in [0, 1]
    disparity = session.run(["disparity"], {"image": batch})[0][0, 0]
    return np.asarray(Image.fromarray(disparity).resize(image.size, Image.Resampling.BILINEAR))


def main() -> None:
    """Read, predict, write."""
    if len(sys.argv) != 3 or not sys.argv[1].endswith(".onnx"):
        sys.exit("usage: deploy_onnx.py MODEL.onnx IMAGE")
    session, size = load(sys.argv[1])
    source = Path(sys.argv[2])
    disparity = predict(session, size, ImageOps.exif_transpose(Image.open(source)).convert("RGB"))
    np.save(source.with_name(f"{source.stem}_depth.npy"), 1 / disparity)
    near = np.clip(disparity / np.percentile(disparity, 98), 0, 1)
    Image.fromarray((255 * near).astype(np.uint8)).save(source.with_name(f"{source.stem}_disparity.png"))
    print(f"{source.stem}_depth.npy, {source.stem}_disparity.png beside {source}")


if __name__ == "__main__":
    main()
