"""What clients' transforms do, one by one, as transforms of our own; and what those draw: as the client, in its order.

Names and arguments of the draws follow the clients' code, so that they can be read side by side.
"""

import math
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torchvision.transforms as v1
from torch import Tensor

from learned_transforms.errors import EmptyImageError
from learned_transforms.images.formats import Window
from learned_transforms.ir.indexing import check_padding
from learned_transforms.ir.ops import Shape
from learned_transforms.transforms import draws
from learned_transforms.transforms.color_draws import PillowBlur
from learned_transforms.transforms.draws import Outcome, Twin

Range = tuple[float, float]
WIDEST = 16
"""Radius of a blur, beyond which Pillow's way is faster."""


class MaybeToTensor(Twin, v1.ToTensor):  # type: ignore[misc]
    """ToTensor, which leaves tensors as they are."""


class MaybePILToTensor(Twin):
    """PILToTensor, which leaves tensors as they are."""


@dataclass(frozen=True)
class Unscaled(Twin):
    """A PIL image as a tensor of the same values in ``dtype``."""

    dtype: torch.dtype


@dataclass(frozen=True)
class Convert(Twin):
    """``image.convert(mode)`` of PIL images.

    Attributes:
        always: images of that mode are copied, too.
        others: tensors are left as they are; otherwise they are none of its business.
    """

    mode: str
    always: bool = True
    others: bool = False


class Invert(Twin):
    """``ImageOps.invert``."""


class Equalize(Twin):
    """``ImageOps.equalize``."""


class Autocontrast(Twin):
    """``ImageOps.autocontrast``, nothing cut off."""


@dataclass(frozen=True)
class Solarize(Twin):
    """``ImageOps.solarize``."""

    threshold: int = 128


@dataclass(frozen=True)
class Posterize(Twin):
    """``ImageOps.posterize``."""

    bits: int


class FromPillow(Twin):
    """A tensor of levels that was a PIL image for a while, as ToTensor makes it; PIL images stay what they are."""


@dataclass(frozen=True)
class Trim(Twin):
    """Cut ``border`` pixels off every side."""

    border: int


@dataclass(frozen=True)
class Scale(Twin):
    """Multiply a float tensor by a number, in place."""

    factor: float


class SwapChannels(Twin):
    """A copy of a tensor with its first and third channel exchanged."""


@dataclass(frozen=True)
class KeepRatio(Twin):
    """Resize so that the image covers ``size``, or lies in it, or anything between.

    Attributes:
        longest: 0: the shorter side decides; 1: the longer.
        antialias: always, as in v1.
    """

    size: tuple[int, int]
    longest: float
    interpolation: Any
    antialias: bool = True


@dataclass(frozen=True)
class RandomKeepRatio(Twin):
    """The same, with a scale and a ratio of the sides that are drawn, and perhaps one of several interpolations.

    Attributes:
        scale, aspect: how often, and the range.
        scaling: from the scale that was drawn to that of each side.
        aspects: draws from the range of the ratio what the width is multiplied by, and the height divided.
    """

    size: tuple[int, int]
    longest: float
    interpolations: tuple[Any, ...]
    scale: tuple[float, Range]
    aspect: tuple[float, Range]
    scaling: Callable[[float], float]
    aspects: Callable[[float, float], float]


@dataclass(frozen=True)
class CropOrPad(Twin):
    """Cut out the middle, padded where the image is smaller."""

    size: tuple[int, int]
    fill: Any = 0
    padding_mode: str = "constant"
    padding: int = field(default=0, init=False)


@dataclass(frozen=True)
class RandomCropOrPad(CropOrPad):
    """Cut out any part, padded where the image is smaller."""


@dataclass(frozen=True)
class PythonWindow(Twin):
    """The part of the image that a RandomResizedCrop uses, drawn from Python's generator."""

    scale: Range
    ratio: Range


@dataclass(frozen=True)
class Erase(Twin):
    """Overwrite parts of a float tensor, in place.

    Attributes:
        parts: draws for a shape (C, H, W) where they lie: top, left, height, width of each.
        values: from the shape of a part to what is written there, which may be drawn.
    """

    parts: Callable[[Shape], Iterable[Window]]
    values: Callable[[Shape], Any]


def python_below(p: float) -> bool:
    return random.random() < p


def python_up_to(p: float) -> bool:
    return random.random() <= p


def numpy_below(p: float) -> bool:
    return bool(np.random.random_sample() < p)


def blur_between(uniform: Callable[[float, float], float], low: float, high: float) -> PillowBlur | str:
    """Pillow's blur, of a radius that ``uniform`` draws; or why layers leave it to Pillow."""
    if not 0 < low <= high <= WIDEST:
        return f"radii of {low} to {high} are left to Pillow: layers take those above 0, and up to {WIDEST}"
    return PillowBlur(lambda: uniform(low, high))


def python_window(transform: PythonWindow, size: tuple[int, int], limited: bool) -> Window:
    """Where timm's RandomResizedCropAndInterpolation cuts: up to ten tries of an area and a ratio, then the middle.

    Raises:
        EmptyImageError: nothing, of a tensor.
    """
    height, width = size
    scale, ratio = transform.scale, transform.ratio
    area = width * height
    logarithms = math.log(ratio[0]), math.log(ratio[1])
    for _ in range(10):
        target = random.uniform(*scale) * area
        aspect = math.exp(random.uniform(*logarithms))
        w, h = round(math.sqrt(target * aspect)), round(math.sqrt(target / aspect))
        if w <= width and h <= height:
            top, left = random.randint(0, height - h), random.randint(0, width - w)
            if limited and not (h and w):
                raise EmptyImageError(f"A crop of {h, w} out of {size} (rows, columns) is left with nothing.")
            return top, left, h, w
    whole = width / height
    w = round(height * max(ratio)) if whole > max(ratio) else width
    h = round(width / min(ratio)) if whole < min(ratio) else height
    return (height - h) // 2, (width - w) // 2, h, w


def crop_or_pad(transform: RandomCropOrPad, size: tuple[int, int], limited: bool) -> Window:
    """Where timm's RandomCropOrPad cuts.

    Raises:
        PaddingError: a tensor would have to mirror more than it has.
    """
    places = []
    for wanted, length in zip(transform.size, size, strict=True):
        delta = length - wanted
        places.append(int(math.copysign(random.randint(0, abs(delta)), delta)))
    top, left = places
    height, width = transform.size
    padding = (max(-left, 0), max(-top, 0), max(left + width - size[1], 0), max(top + height - size[0], 0))
    if limited and any(padding) and transform.padding_mode in ("reflect", "symmetric"):
        check_padding(padding, size, transform.padding_mode)
    return top, left, height, width


def random_size(transform: RandomKeepRatio, shape: Shape) -> Outcome:
    """The size that a ResizeKeepRatio draws, for the layer of the interpolation that it draws."""
    size = shape[1:]
    (scales, scale), (aspects, aspect) = transform.scale, transform.aspect
    ratios = [length / wanted for length, wanted in zip(size, transform.size, strict=True)]
    ratio = max(ratios) * transform.longest + min(ratios) * (1.0 - transform.longest)
    factors = 1.0, 1.0
    if scales > 0 and random.random() < scales:
        factors = (transform.scaling(random.uniform(*scale)),) * 2
    if aspects > 0 and random.random() < aspects:
        factor = transform.aspects(*aspect)
        factors = factors[0] / factor, factors[1] * factor
    wanted = tuple(round(length * factor / ratio) for length, factor in zip(size, factors, strict=True))
    count = len(transform.interpolations)
    chosen = random.choice(range(count)) if count > 1 else 0
    return (("parts", tuple((("size", wanted),) if number == chosen else False for number in range(count))),)


def erase(transform: Erase, shape: Shape) -> Outcome:
    parts = tuple(transform.parts(shape))
    return (("parts", parts),) if parts else False


def overwrite(transform: Erase, image: Tensor, outcome: Any) -> None:
    """Write into the parts that were drawn, in place."""
    for top, left, height, width in dict(outcome)["parts"]:
        image[:, top : top + height, left : left + width] = transform.values((image.shape[0], height, width))


WINDOWS: dict[type, Callable[[Any, tuple[int, int], bool], Window]] = {
    **draws.WINDOWS,
    PythonWindow: python_window,
    RandomCropOrPad: crop_or_pad,
}
"""``draws.WINDOWS`` and those of clients."""

PARAMS: dict[type, Callable[[Any, Shape], Outcome]] = {**draws.PARAMS, RandomKeepRatio: random_size, Erase: erase}
"""``draws.PARAMS`` and those of clients."""
