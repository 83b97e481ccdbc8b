"""Resizes: to a size that is given, or drawn, and of a part that is drawn."""

from collections.abc import Mapping
from typing import Any

import torch
from PIL import Image
from torchvision.transforms import InterpolationMode, v2

from learned_transforms import installed
from learned_transforms.errors import EmptyImageError
from learned_transforms.images.formats import Form, Window
from learned_transforms.ir.sizing import Size, output_size
from learned_transforms.transforms.area import as_v2, lengths
from learned_transforms.transforms.places import Placed, Windowed, whole_numbers
from learned_transforms.transforms.rng import default_rng_active, two_below
from learned_transforms.transforms.spec import Outcome, Spec, Step, kind_of

KERNELS = ("bilinear", "bicubic", "lanczos", "hamming", "box")
"""Interpolations that have a learned kernel."""


def interpolation_name(value: Any) -> str:
    """Return the name of an interpolation, which torchvision takes as an enum, a name, or Pillow's number."""
    if isinstance(value, InterpolationMode):
        return str(value.value)
    return Image.Resampling(value).name.lower() if isinstance(value, int) else str(value)


def resize_role(interpolation: Any) -> str:
    """Return the beginning of the roles of the layers that a resize may need."""
    name = interpolation_name(interpolation)
    return "nearest" if name.startswith("nearest") else f"resize_{name}"


def resampled(transform: Any, form: Form, api: str, params: Mapping[str, Any]) -> Step | str:
    """Lower a resize by the ``interpolation`` and ``antialias`` of a transform.

    Args:
        params: of the layer; without a size, it comes with the image.
    """
    kind, name = kind_of(form, api), interpolation_name(transform.interpolation)
    pil = form.container == "pil"
    if isinstance(transform.interpolation, str) and (api == "v1" or not installed.resizes_by_name()):
        return "torchvision takes no names of interpolations here"
    if form.container == "mask":
        return picked(transform, name, form, params)
    if name.startswith("nearest"):
        # Pillow has one nearest neighbor only, which is the exact one.
        return Step(form, f"{kind}/nearest_exact" if name != "nearest" and not pil else f"{kind}/nearest", None, params)
    if name not in KERNELS:
        return f"interpolation {name} is not learned yet"
    if name == "lanczos" and not pil and (api == "v1" or not installed.resizes_by_lanczos()):
        return "torchvision refuses Lanczos on tensors here"
    if kind == "uint8" and name == "bilinear" and not installed.resizes_levels():
        kind = "uint8_v1"
    if not pil and transform.antialias and 1 in (params.get("size") or (1,)) and not (form.narrow and kind == "uint8"):
        return "torch repeats the first row of what becomes one pixel wide"
    if transform.antialias or pil:
        return Step(form, f"{kind}/resize_{name}", None, params)
    return Step(form, f"{kind}/resize_{name}_plain", None, {**params, "antialias": False})


def picked(transform: Any, name: str, form: Form, params: Mapping[str, Any]) -> Step | str:
    """Lower the same for masks: torchvision resizes those of levels as they are, all others as floats."""
    if form.fresh or form.dtype == "float64":
        return "masks of float64, or of another dtype than they came with, are not resized in layers"
    exact = name == "nearest-exact" and installed.resizes_masks_exactly() and not hasattr(transform, "ratio")
    kind = "uint8" if form.dtype == "uint8" else "float32"
    return Step(form, f"{kind}/nearest_exact" if exact else f"{kind}/nearest", None, params)


class Interpolating(Spec):
    """A transform with an interpolation."""

    geometric = True

    def roles(self) -> tuple[str, ...]:
        return (resize_role(self.transform.interpolation),)


class Resize(Interpolating):
    """To a size (rows, columns), or so that the shorter side has a length, the longer at most another."""

    arguments = ("size", "interpolation", "max_size", "antialias")
    shallow = True
    kept = ("pil",)

    @property
    def size(self) -> tuple[int, ...]:
        """(rows, columns), (length of the shorter side,), or nothing."""
        size = self.transform.size
        if size is None:
            return ()
        return (size,) if isinstance(size, int) else tuple(size)

    def lower(self, form: Form) -> Step | str:
        size, longest = self.size, self.transform.max_size
        if size and longest is not None and not (isinstance(longest, int) and len(size) == 1 and longest > size[0]):
            return "torchvision refuses its max_size"
        return resampled(self.transform, form, self.api, {"size": size, "max_size": longest})

    def size_after(self, size: Size, drawn: Outcome = True) -> Size:
        return output_size(size, self.size, self.transform.max_size)


class RandomResizedCrop(Windowed, Interpolating):
    """Of a part of a drawn area and ratio, which is cut out before the layer runs."""

    arguments = ("size", "scale", "ratio", "interpolation", "antialias")
    shallow = reshaping = True

    def lower(self, form: Form) -> Step | str:
        return resampled(self.transform, form, self.api, {"size": tuple(self.transform.size)})

    def window(self, size: Size, limited: bool = True) -> Window:
        """Draw up to ten areas and ratios; then take the middle.

        Raises:
            EmptyImageError: the middle has no pixels, of a tensor; Pillow goes on.
        """
        window = self.part_of(size)
        if limited and 0 in window[2:]:
            raise EmptyImageError(
                f"A part of {window[2:]} of an image of {size} (rows, columns) is left with nothing: none has a ratio "
                f"of {tuple(self.transform.ratio)}. Pass another ratio, or larger images."
            )
        return window

    def part_of(self, size: Size) -> Window:
        height, width = size
        if not default_rng_active():
            params = v2.RandomResizedCrop.make_params(
                as_v2(self.transform), [torch.empty(1, height, width, device="cpu")]
            )
            return params["top"], params["left"], params["height"], params["width"]
        for w, h in lengths(self.transform, height * width):
            if 0 < w <= width and 0 < h <= height:
                return *two_below(height - h + 1, width - w + 1), h, w
        ratio, least, most = width / height, min(self.transform.ratio), max(self.transform.ratio)
        if ratio < least:
            w, h = width, round(width / least)
        elif ratio > most:
            w, h = round(height * most), height
        else:
            w, h = width, height
        return (height - h) // 2, (width - w) // 2, h, w

    def size_after(self, size: Size, drawn: Outcome = True) -> Size:
        rows, columns = self.transform.size
        return rows, columns


class RandomSize(Placed, Interpolating):
    """To a size (rows, columns) that is drawn.

    Attributes:
        count: numbers of that size.
    """

    names = ("size",)
    kept = ("pil",)
    count = 2

    def lower(self, form: Form) -> Step | str:
        return resampled(self.transform, form, self.api, {})

    def fits(self, entry: Mapping[str, Any]) -> bool:
        return whole_numbers(entry["size"], self.count, least=1)

    def size_after(self, size: Size, drawn: Outcome = True) -> Size:
        return output_size(size, dict(drawn)["size"], None) if isinstance(drawn, tuple) else size


class RandomShortestSize(RandomSize):
    """So that the shorter side has one of several lengths."""

    arguments = ("min_size", "max_size", "interpolation", "antialias")


class RandomResize(RandomShortestSize):
    """So that the shorter side has a drawn length."""

    same_size = False
    count = 1


class ScaleJitter(RandomSize):
    """To a target size times a drawn scale."""

    arguments = ("target_size", "scale_range", "interpolation", "antialias")
