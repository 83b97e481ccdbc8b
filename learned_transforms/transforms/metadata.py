"""What results have from their inputs besides pixels: the object itself, and what PIL images carry (``Image.info``).

Pillow keeps the latter, drops it, or converts what it says of transparency; each operation shows which, on an image of
one pixel.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any

import torchvision.transforms as v1
from PIL import Image, ImageEnhance
from torchvision.transforms import v2

from learned_transforms.ir.sizing import output_size
from learned_transforms.transforms.clients import twins
from learned_transforms.transforms.color_draws import FACTORS
from learned_transforms.transforms.draws import Outcome, sides, sides_of_crop
from learned_transforms.transforms.geometry_draws import RESIZING
from learned_transforms.transforms.lowering import NUMERIC, resize_size
from learned_transforms.transforms.registry import ROWS

UNTOUCHING: frozenset[type] = frozenset({v2.RandomCrop, v2.Identity, v2.ToImage, v2.PILToTensor, *NUMERIC})

KEEPING: Mapping[str, frozenset[type]] = {
    "pil": frozenset(
        {
            v1.Resize,
            v2.Resize,
            v2.RandomCrop,
            v2.Identity,
            v2.ToDtype,
            v2.ConvertImageDtype,
            v2.ToPILImage,
            v2.ToPureTensor,
            twins.KeepRatio,
            twins.RandomKeepRatio,
            *RESIZING,
            *NUMERIC,
        }
    ),
    "image": UNTOUCHING,
    "video": UNTOUCHING | {v2.Grayscale, v2.RandomGrayscale},  # Which torchvision does to no video.
}
"""By container, transforms that give back the object that they got where they leave its values as they are; of plain
tensors, all."""

Size = tuple[int, int]
"""(rows, columns)."""

Effect = Callable[[Any, Outcome, Image.Image, Size], Image.Image]
"""What a transform makes of an image of one pixel, from what it drew, and the size of the image that it stands for."""


@lru_cache
def blank(mode: str) -> Image.Image:
    """An image of one pixel that carries nothing, to be copied."""
    return Image.new(mode, (1, 1))


def drop(transform: Any, drawn: Outcome, pixel: Image.Image, size: Size) -> Image.Image:
    """By way of a tensor, or an array."""
    pixel.info = {}
    return pixel


def grayscale(transform: Any, drawn: Outcome, pixel: Image.Image, size: Size) -> Image.Image:
    count = getattr(transform, "num_output_channels", len(pixel.getbands()))
    made: Image.Image = v1.functional.to_grayscale(pixel, count)
    return made


def rgb(transform: Any, drawn: Outcome, pixel: Image.Image, size: Size) -> Image.Image:
    return pixel.convert("RGB")


def convert(transform: Any, drawn: Outcome, pixel: Image.Image, size: Size) -> Image.Image:
    return pixel.convert(transform.mode)


def pad(transform: Any, drawn: Outcome, pixel: Image.Image, size: Size) -> Image.Image:
    made: Image.Image = v1.functional.pad(pixel, 0, padding_mode=transform.padding_mode)
    return made


def zoom_out(transform: Any, drawn: Outcome, pixel: Image.Image, size: Size) -> Image.Image:
    made: Image.Image = v1.functional.pad(pixel, 0)
    return made


def center_crop(transform: Any, drawn: Outcome, pixel: Image.Image, size: Size) -> Image.Image:
    beyond = any(wanted > length for wanted, length in zip(transform.size, size, strict=True))
    mode = getattr(transform, "padding_mode", "constant")
    return v1.functional.pad(pixel, 0, padding_mode=mode) if beyond else pixel


def random_crop(transform: Any, drawn: Outcome, pixel: Image.Image, size: Size) -> Image.Image:
    left, top, right, bottom = around = sides_of_crop(transform)
    padded = size[0] + top + bottom, size[1] + left + right
    beyond = any(wanted > length for wanted, length in zip(transform.size, padded, strict=True))
    always = any(around) if isinstance(transform, v2.Transform) else transform.padding is not None
    return pad(transform, drawn, pixel, size) if always or beyond else pixel


def jitter(transform: Any, drawn: Outcome, pixel: Image.Image, size: Size) -> Image.Image:
    """All but saturation make new images, unless their factor is 1."""
    params = dict(drawn) if isinstance(drawn, tuple) else {}
    brightness, contrast, saturation, hue = (params.get(name) for name in FACTORS)
    turned = (hue is not None and pixel.mode != "L") or params.get("channel_permutation") is not None
    if turned or brightness not in (None, 1) or contrast not in (None, 1):
        return drop(transform, drawn, pixel, size)
    return pixel if saturation is None else ImageEnhance.Color(pixel).enhance(saturation)


EFFECTS: Mapping[type, Effect] = {
    **dict.fromkeys((v1.GaussianBlur, v2.GaussianBlur, v2.RandomErasing, v2.RandomChannelPermutation), drop),
    **dict.fromkeys((v1.ToTensor, v2.ToTensor, v1.PILToTensor, v2.PILToTensor, v2.ToImage), drop),
    **dict.fromkeys((v1.Grayscale, v2.Grayscale, v1.RandomGrayscale, v2.RandomGrayscale), grayscale),
    v2.RGB: rgb,
    **dict.fromkeys((v1.Pad, v2.Pad), pad),
    v2.RandomZoomOut: zoom_out,
    **dict.fromkeys((v1.CenterCrop, v2.CenterCrop, twins.CropOrPad, twins.RandomCropOrPad), center_crop),
    **dict.fromkeys((twins.MaybeToTensor, twins.MaybePILToTensor, twins.Unscaled), drop),
    twins.Convert: convert,
    **dict.fromkeys((v1.RandomCrop, v2.RandomCrop), random_crop),
    **dict.fromkeys((v1.ColorJitter, v2.ColorJitter, v2.RandomPhotometricDistort), jitter),
}
"""Transforms that do not just keep it."""


def size_after(transform: Any, size: Size, drawn: Outcome = True) -> Size:
    """The size of what a transform makes of an image, from what it drew."""
    params = dict(drawn) if isinstance(drawn, tuple) else {}
    if isinstance(transform, twins.KeepRatio):
        return output_size(size, transform.size, None, transform.longest)
    if isinstance(transform, twins.RandomKeepRatio) and params:
        rows, columns = next(dict(part)["size"] for part in params["parts"] if part)
        return rows, columns
    if "size" in params:
        return output_size(size, params["size"], None)
    if "padding" in params:
        left, top, right, bottom = params["padding"]
        return size[0] + top + bottom, size[1] + left + right
    if "height" in params:
        return params["height"], params["width"]
    if isinstance(transform, v1.Resize | v2.Resize):
        return output_size(size, resize_size(transform), transform.max_size)
    if isinstance(transform, v1.Pad | v2.Pad):
        left, top, right, bottom = sides(transform.padding)
        return size[0] + top + bottom, size[1] + left + right
    row = ROWS.get(type(transform))
    if row is not None and "size" in row.arguments:
        rows, columns = transform.size
        return rows, columns
    return size


def carried(image: Image.Image, applied: Iterable[tuple[Any, Outcome]]) -> dict[Any, Any]:
    """``image.info`` after transforms.

    Args:
        image: what they are applied to.
        applied: transforms, with what they drew.
    """
    pixel, size = blank(image.mode).copy(), (image.height, image.width)
    pixel.info = dict(image.info)
    for transform, drawn in applied:
        if not pixel.info:
            break
        effect = EFFECTS.get(type(transform))
        if effect is not None:
            pixel = effect(transform, drawn, pixel, size)
        size = size_after(transform, size, drawn)
    return pixel.info
