"""Make what the demo shows, in ``files/``: programs, photos as PNG, and the hashes of what Python makes of them.

``tools/wasm`` runs it.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torchvision import transforms as v1
from torchvision.transforms import InterpolationMode, v2

from learned_transforms import LearnedCompose, export

HERE = Path(__file__).resolve().parent
PHOTOS = HERE.parents[1] / "learned_transforms" / "photos"
SHOWN = {"chelsea": (320, 213), "rocket": (320, 213), "coffee": (300, 200)}
"""Photos, and the width and height to which they are cut."""

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
BICUBIC = {"interpolation": InterpolationMode.BICUBIC, "antialias": True}
PIPELINES: dict[str, tuple[str, str, list[Any]]] = {
    "eval": (
        "ImageNet evaluation, of a PIL image: resize to 128, crop the middle, normalize",
        "pil",
        [v1.Resize(128), v1.CenterCrop(112), v1.ToTensor(), v1.Normalize(MEAN, STD)],
    ),
    "clip": (
        "CLIP, of a uint8 tensor: bicubic to 112, crop, normalize",
        "uint8",
        [v2.Resize(112, **BICUBIC), v2.CenterCrop(112), v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)],
    ),
    "train": (
        "Training, of a PIL image: a window of the image, resized, with three coins",
        "pil",
        [v1.RandomResizedCrop(128), v1.RandomHorizontalFlip(), v1.RandomGrayscale(0.5), v1.RandomVerticalFlip()],
    ),
}
DRAWS = 3
"""Draws of a random pipeline that are shown, for each photo."""


def digest(pixels: Any) -> str:
    """Return the SHA-256 of the values of an image, in the order that they have in Python."""
    array = pixels.contiguous().numpy() if isinstance(pixels, torch.Tensor) else np.asarray(pixels)
    return hashlib.sha256(array.tobytes()).hexdigest()


def answers(pipeline: LearnedCompose, kind: str, photo: Image.Image) -> list[dict[str, Any]]:
    """Return what Python makes of a photo, as hashes, each with what was drawn."""
    image = photo if kind == "pil" else torch.from_numpy(np.asarray(photo).transpose(2, 0, 1).copy())
    found: list[dict[str, Any]] = []
    for seed in range(DRAWS):
        torch.manual_seed(seed)
        params = pipeline.make_params(image)
        draw = export.draw_of(pipeline, params, kind=kind)  # type: ignore[arg-type]
        if not found or draw != {key: found[-1][key] for key in draw}:
            found.append({**draw, "sha256": digest(pipeline(image, params=params))})
    return found


def main() -> None:
    folder = HERE / "files"
    folder.mkdir(exist_ok=True)
    photos = {name: Image.open(PHOTOS / f"{name}.jpg").convert("RGB").resize(size) for name, size in SHOWN.items()}
    for name, photo in photos.items():
        photo.save(folder / f"{name}.png")
    made = {}
    for name, (words, kind, transforms) in PIPELINES.items():
        pipeline = LearnedCompose(transforms, fallback="error")
        export.program(pipeline, folder / f"{name}.ltp", kind=kind)  # type: ignore[arg-type]
        python = {photo: answers(pipeline, kind, image) for photo, image in photos.items()}
        made[name] = {"words": words, "transforms": [str(one) for one in transforms], "python": python}
    inputs = {digest(photo): name for name, photo in photos.items()}
    (folder / "golden.json").write_text(json.dumps({"programs": made, "photos": inputs}, indent=1) + "\n")


if __name__ == "__main__":
    main()
