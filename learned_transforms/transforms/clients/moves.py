"""Clients' crops, resizes and erasing, as transforms of our own; and what these draw: as the client, in its order.

Names and arguments of the draws follow the clients' code, so that they can be read side by side.
"""

import math
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from PIL import Image
from torch import Tensor

from learned_transforms.errors import EmptyImageError
from learned_transforms.images.formats import Form, Window
from learned_transforms.ir.indexing import check_padding
from learned_transforms.ir.ops import Shape, Slots
from learned_transforms.ir.sizing import Size, output_size
from learned_transforms.layers.geometry import Windowing
from learned_transforms.transforms.clients.layers import Placing, Trimming
from learned_transforms.transforms.geometry import padded
from learned_transforms.transforms.padding import surroundings
from learned_transforms.transforms.places import Cut, Windowed
from learned_transforms.transforms.resize import resampled, resize_role
from learned_transforms.transforms.spec import Outcome, Seen, Step, Twin

Range = tuple[float, float]


@dataclass(frozen=True)
class Trim(Twin):
    """Cut ``border`` pixels off every side."""

    border: int

    def lower(self, form: Form) -> Step | str:
        if type(self.border) is not int or self.border < 0:
            return "a border that is negative or not whole is not learned"
        return Step(form, layer=Trimming(), params={"border": self.border})


@dataclass(frozen=True)
class KeepRatio(Twin):
    """Resize so that the image covers ``size``, or lies in it, or anything between.

    Attributes:
        longest: 0: the shorter side decides; 1: the longer.
        antialias: always, as in v1.
    """

    size: Size
    longest: float
    interpolation: Any
    antialias: bool = True

    kept = ("pil",)

    def roles(self) -> tuple[str, ...]:
        return (resize_role(self.interpolation),)

    def lower(self, form: Form) -> Step | str:
        return resampled(self, form, self.api, {"size": self.size, "longest": self.longest})

    def size_after(self, size: Size, drawn: Outcome = True) -> Size:
        return output_size(size, self.size, None, self.longest)


@dataclass(frozen=True)
class RandomKeepRatio(Twin):
    """The same, with a scale and a ratio of the sides that are drawn, and perhaps one of several interpolations.

    Attributes:
        scale, aspect: how often, and the range.
        scaling: from the scale that was drawn to that of each side.
        aspects: draws from the range of the ratio what the width is multiplied by, and the height divided.
    """

    size: Size
    longest: float
    interpolations: tuple[Any, ...]
    scale: tuple[float, Range]
    aspect: tuple[float, Range]
    scaling: Callable[[float], float]
    aspects: Callable[[float, float], float]

    random = looks = True
    kept = ("pil",)

    def roles(self) -> tuple[str, ...]:
        return tuple(map(resize_role, self.interpolations))

    def lower(self, form: Form) -> Step | str:
        """Take a layer for each interpolation, one of which gets the size that is drawn."""
        parts = []
        for interpolation in self.interpolations:
            one = KeepRatio(self.size, self.longest, interpolation)
            part = resampled(one, form, self.api, {"size": self.size})
            if isinstance(part, str):
                return part
            parts.append(part)
        return Step(form, parts=tuple(parts))

    def sample(self, seen: Seen) -> Outcome:
        """Draw the size, for the layer of the interpolation that is drawn."""
        size = seen.shape[1:]
        (scales, scale), (aspects, aspect) = self.scale, self.aspect
        ratios = [length / wanted for length, wanted in zip(size, self.size, strict=True)]
        ratio = max(ratios) * self.longest + min(ratios) * (1.0 - self.longest)
        factors = 1.0, 1.0
        if scales > 0 and random.random() < scales:
            factors = (self.scaling(random.uniform(*scale)),) * 2
        if aspects > 0 and random.random() < aspects:
            factor = self.aspects(*aspect)
            factors = factors[0] / factor, factors[1] * factor
        wanted = tuple(round(length * factor / ratio) for length, factor in zip(size, factors, strict=True))
        count = len(self.interpolations)
        chosen = random.choice(range(count)) if count > 1 else 0
        return (("parts", tuple((("size", wanted),) if number == chosen else False for number in range(count))),)

    def size_after(self, size: Size, drawn: Outcome = True) -> Size:
        if isinstance(drawn, bool):
            return size
        rows, columns = next(dict(part)["size"] for part in dict(drawn)["parts"] if part)
        return rows, columns


@dataclass(frozen=True)
class CentredCropOrPad(Twin):
    """Cut out the middle, padded where the image is smaller."""

    size: Size
    fill: Any = 0
    padding_mode: str = "constant"
    padding: int = field(default=0, init=False)

    def lower(self, form: Form) -> Step | str:
        around = surroundings(self, form, self.api)
        if isinstance(around, str):
            return around
        params = {"size": self.size, "limited": form.container != "pil", **around}
        return Step(form, layer=Placing(), params=params)

    def size_after(self, size: Size, drawn: Outcome = True) -> Size:
        return self.size

    def carry(self, drawn: Outcome, pixel: Image.Image, size: Size) -> Image.Image:
        beyond = any(wanted > length for wanted, length in zip(self.size, size, strict=True))
        return padded(pixel, self.padding_mode) if beyond else pixel


@dataclass(frozen=True)
class RandomCropOrPad(CentredCropOrPad, Cut):
    """Cut out any part, padded where the image is smaller."""

    def lower(self, form: Form) -> Step | str:
        around = surroundings(self, form, self.api)
        if isinstance(around, str):
            return around
        return Step(form, layer=Windowing(), params={"size": self.size, "starts": Slots(0, 2), **around})

    def window(self, size: Size, limited: bool) -> Window:
        """Draw a window as timm's RandomCropOrPad does.

        Raises:
            PaddingError: a tensor would have to mirror more than it has.
        """
        places = []
        for wanted, length in zip(self.size, size, strict=True):
            delta = length - wanted
            places.append(int(math.copysign(random.randint(0, abs(delta)), delta)))
        top, left = places
        height, width = self.size
        padding = (max(-left, 0), max(-top, 0), max(left + width - size[1], 0), max(top + height - size[0], 0))
        if limited and any(padding) and self.padding_mode in ("reflect", "symmetric"):
            check_padding(padding, size, self.padding_mode)
        return top, left, height, width


@dataclass(frozen=True)
class PythonWindow(Twin, Windowed):
    """The part of the image that a RandomResizedCrop uses, drawn from Python's generator."""

    scale: Range
    ratio: Range

    def lower(self, form: Form) -> Step | str:
        return Step(form)

    def window(self, size: Size, limited: bool) -> Window:
        """Draw a window as timm's RandomResizedCropAndInterpolation does: ten areas and ratios, then the middle.

        Raises:
            EmptyImageError: nothing, of a tensor.
        """
        height, width = size
        scale, ratio = self.scale, self.ratio
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


@dataclass(frozen=True)
class Erase(Twin):
    """Overwrite parts of a float tensor, in place, before anything else runs.

    Attributes:
        places: draws for a shape (C, H, W) where they lie: top, left, height, width of each.
        values: from the shape of a part to what is written there, which may be drawn.
    """

    places: Callable[[Shape], Iterable[Window]]
    values: Callable[[Shape], Any]

    random = looks = True

    def lower(self, form: Form) -> Step | str:
        if form.container != "tensor" or form.dtype != "float32":
            return "it erases float tensors only"
        return Step(form) if form.plain else "it is not one image of one or three channels"

    def sample(self, seen: Seen) -> Outcome:
        found = tuple(self.places(seen.shape))
        return (("parts", found),) if found else False

    def overwrite(self, image: Tensor, outcome: Any) -> None:
        """Write into the parts that were drawn, in place."""
        for top, left, height, width in dict(outcome)["parts"]:
            image[:, top : top + height, left : left + width] = self.values((image.shape[0], height, width))


MOVES = (Trim, KeepRatio, RandomKeepRatio, CentredCropOrPad, RandomCropOrPad, PythonWindow, Erase)
"""All of these classes."""
