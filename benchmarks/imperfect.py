"""Pairs as they are, which clones.py learns from: noisy targets, and wrong ones."""

from collections.abc import Callable, Sequence
from io import BytesIO

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from learned_transforms.trainer.data.bundled import TRAINING_PHOTOS, photo, photo_patches

CURVE = torch.tensor([round((level / 255) ** 0.8 * 255) for level in range(256)], dtype=torch.uint8)
Imperfect = tuple[Sequence[tuple[Tensor, Tensor]], Callable[[Tensor], Tensor], Sequence[int]]
"""Pairs, the clean map behind them, and the numbers of those that are wrong."""


def curved(images: Tensor) -> Tensor:
    return CURVE[images.long()]


def patches(count: int, side: int) -> Tensor:
    return photo_patches([photo(name) for name in TRAINING_PHOTOS], count, (side, side), 0)


def compressed(image: Tensor) -> Tensor:
    """As JPEG of the usual quality gives it back."""
    stream = BytesIO()
    Image.fromarray(image.permute(1, 2, 0).numpy()).save(stream, "jpeg", quality=90)
    return torch.from_numpy(np.array(Image.open(stream))).permute(2, 0, 1)


def jpeg_pairs() -> Imperfect:
    """A gamma curve, whose answers were stored as JPEG."""
    inputs = patches(200, 64)
    return [(image, compressed(curved(image))) for image in inputs], curved, []


def wrong_pairs() -> Imperfect:
    """A gamma curve; every tenth answer is that of another image."""
    inputs = patches(500, 32)
    wrong = list(range(0, 500, 10))
    targets = curved(inputs)
    targets[wrong] = targets[[(number + 37) % 500 for number in wrong]]
    return list(zip(inputs, targets, strict=True)), curved, wrong
