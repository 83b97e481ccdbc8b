"""timm: what ``create_transform`` is made of, NaFlex left out."""

import math
import random
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torchvision.transforms as v1

from learned_transforms.images.formats import Window
from learned_transforms.ir.ops import Shape
from learned_transforms.transforms.clients.entries import Entries, Reading, entry, fixed
from learned_transforms.transforms.clients.moves import (
    CentredCropOrPad,
    Erase,
    KeepRatio,
    PythonWindow,
    RandomCropOrPad,
    RandomKeepRatio,
    Trim,
)
from learned_transforms.transforms.clients.policies import HELPERS, read_auto, read_mixed, read_op, read_rand
from learned_transforms.transforms.clients.twins import MaybePILToTensor, MaybeToTensor, Unscaled
from learned_transforms.transforms.containers import OneOf


def several(interpolation: Any) -> tuple[Any, ...]:
    """Return the interpolations, one of which is drawn."""
    return tuple(interpolation) if isinstance(interpolation, list | tuple) else (interpolation,)


def resized_crop(transform: Any, read: Any) -> Any:
    resizes = [v1.Resize(tuple(transform.size), interpolation=one) for one in several(transform.interpolation)]
    resize = resizes[0] if len(resizes) == 1 else OneOf(resizes)
    return v1.Compose([PythonWindow(tuple(transform.scale), tuple(transform.ratio)), resize])


def keep_ratio(aspects: Callable[[float, float], float]) -> Reading:
    """Return a ResizeKeepRatio, which draws the ratio of the sides by ``aspects``."""

    def read(transform: Any, inner: Any) -> Any:
        size, interpolations = tuple(transform.size), several(transform.interpolation)
        if not (transform.random_scale_prob > 0 or transform.random_aspect_prob > 0 or len(interpolations) > 1):
            return KeepRatio(size, transform.longest, interpolations[0])
        area = getattr(transform, "random_scale_area", False)
        scale = transform.random_scale_prob, tuple(transform.random_scale_range)
        aspect = transform.random_aspect_prob, tuple(transform.random_aspect_range)
        return RandomKeepRatio(
            size, transform.longest, interpolations, scale, aspect, of_area if area else float, aspects
        )

    return read


def of_area(scale: float) -> float:
    return 1.0 / math.sqrt(scale)


def square_root(low: float, high: float) -> float:
    return math.sqrt(math.exp(random.uniform(math.log(low), math.log(high))))


def crop_or_pad(kind: type[CentredCropOrPad]) -> Reading:
    return lambda transform, read: kind(
        tuple(transform.size), transform.fill, getattr(transform, "padding_mode", "constant")
    )


def erasing(transform: Any, read: Any) -> Any:
    if transform.device != "cpu":
        return f"it erases on {transform.device}"
    return Erase(lambda shape: parts(transform, shape), lambda shape: values(transform, shape))


def parts(transform: Any, shape: Shape) -> Iterator[Window]:
    """Yield the parts of an image that a RandomErasing draws."""
    _, height, width = shape
    if random.random() > transform.probability:
        return
    least, most = transform.min_count, transform.max_count
    count = least if least == most else random.randint(least, most)
    for _ in range(count):
        for _ in range(10):
            target = random.uniform(transform.min_area, transform.max_area) * (height * width) / count
            aspect = math.exp(random.uniform(*transform.log_aspect_ratio))
            h, w = round(math.sqrt(target * aspect)), round(math.sqrt(target / aspect))
            if w < width and h < height:
                top = random.randint(0, height - h)
                yield top, random.randint(0, width - w), h, w
                break


def values(transform: Any, shape: Shape) -> Any:
    """Return what it writes into a part of this shape."""
    if transform.per_pixel:
        return torch.empty(shape).normal_()
    return torch.empty((shape[0], 1, 1)).normal_() if transform.rand_color else 0.0


CROPPING = {"helpers": ("center_crop_or_pad", "_setup_size")}

TABLE: Entries = {
    "timm.data.transforms.MaybeToTensor": entry("7c24edb3aa9169a5", fixed(MaybeToTensor)),
    "timm.data.transforms.MaybePILToTensor": entry("a080c739f1692d23", fixed(MaybePILToTensor)),
    "timm.data.transforms.ToTensor": entry("f27c00d2e16b83f8", lambda transform, read: Unscaled(transform.dtype)),
    "timm.data.transforms.RandomResizedCropAndInterpolation": entry("0aa53051d7e6e5c0", resized_crop),
    "timm.data.transforms.ResizeKeepRatio": entry("e37d6420a46ed4ca", keep_ratio(square_root)),
    "timm.data.transforms.CenterCropOrPad": entry("98351b905c994d30", crop_or_pad(CentredCropOrPad), **CROPPING),
    "timm.data.transforms.RandomCropOrPad": entry(
        "6e1fbd01405f0bf0", crop_or_pad(RandomCropOrPad), helpers=("crop_or_pad",)
    ),
    "timm.data.transforms.TrimBorder": entry("f856e54ba92b9a10", lambda transform, read: Trim(transform.border_size)),
    "timm.data.auto_augment.AugmentOp": entry("2dededfac93059ff", read_op, helpers=HELPERS),
    "timm.data.auto_augment.RandAugment": entry("e5669cf299c740c2", read_rand),
    "timm.data.auto_augment.AutoAugment": entry("ce6104b5d01bf8dc", read_auto),
    "timm.data.auto_augment.AugMixAugment": entry("ba9ab1894b03b7f7", read_mixed),
    "timm.data.random_erasing.RandomErasing": entry("34d49f5412a3e14d", erasing, helpers=("_get_pixels",)),
}
