"""The teachers of the shipped weights. Here alone in the trainer are torchvision's transforms named.

What is learned comes from the answers of :func:`opaque` callables, never from the transforms themselves.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torchvision.transforms as v1
from torch import Tensor
from torchvision.transforms import v2

KINDS = {"uint8": "uint8", "pil": "pil", "uint8_v1": "uint8", "float32": "float32"}
"""By name of the teacher that weights are learned from: how it takes images."""

NAMES = {**KINDS, "pil_v2": "pil"}
"""The same, with the teachers that are compared only."""

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet, for its evaluation pipeline."""


def api_of(name: str) -> Any:
    """``uint8``, ``float32`` and ``pil_v2`` are v2, ``pil`` and ``uint8_v1`` are v1."""
    return v1 if name in ("pil", "uint8_v1") else v2


def to_float(name: str) -> list[Any]:
    """The end of each pipeline: levels to floats in [0, 1]."""
    ends: dict[str, list[Any]] = {
        "uint8": [v2.ToDtype(torch.float32, scale=True)],
        "pil": [v1.ToTensor()],
        "uint8_v1": [v1.ConvertImageDtype(torch.float32)],
        "float32": [v2.ToDtype(torch.float32, scale=True)],
        "pil_v2": [v2.ToImage(), v2.ToDtype(torch.float32, scale=True)],
    }
    return ends[name]


def seed_pipeline(name: str) -> list[Any]:
    """Resize, both flips, grayscale, float."""
    api = api_of(name)
    geometry = [api.Resize((28, 28), antialias=True), api.RandomHorizontalFlip(p=1), api.RandomVerticalFlip(p=1)]
    return [*geometry, api.Grayscale(1), *to_float(name)]


def evaluation_pipeline(name: str) -> list[Any]:
    """ImageNet's: resize to 256, crop 224, float, normalise."""
    api = api_of(name)
    return [api.Resize(256, antialias=True), api.CenterCrop(224), *to_float(name), api.Normalize(MEAN, STD)]


def resize_float64(interpolation: str, image: Tensor, size: int) -> Tensor:
    """Antialiased resize to ``size`` x ``size`` on float64 tensors ``[C, H, W]``, which it rounds nowhere."""
    mode = v2.InterpolationMode(interpolation)
    made: Tensor = v2.Resize((size, size), interpolation=mode, antialias=True)(image)
    return made


def resize_pil(interpolation: str, size: tuple[int, int]) -> Callable[[Any], Any]:
    """The same on PIL images, to (rows, columns), which Pillow computes in integers."""
    return opaque([v1.Resize(size, interpolation=v1.InterpolationMode(interpolation))])


def opaque(transforms: Sequence[Any]) -> Callable[[Any], Any]:
    """The transforms as one callable that shows nothing of them."""

    def teacher(image: Any) -> Any:
        for transform in transforms:
            image = transform(image)
        return image

    return teacher
