"""Clients' conversions, Pillow functions and blur, as transforms of our own; those that move pixels are in moves.py."""

import random
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from learned_transforms.images.formats import MODES, Form
from learned_transforms.images.layout import PLANES
from learned_transforms.ir.ops import Slot
from learned_transforms.ir.sizing import Size
from learned_transforms.layers.pointwise import Arranging, Lookup
from learned_transforms.transforms.clients.layers import Boxing, Refusing, Scaling, Swapping
from learned_transforms.transforms.color import Blurred, equalized, without_info
from learned_transforms.transforms.convert import FLOAT_NAMES, to_float_tensor
from learned_transforms.transforms.pointwise import CHANGING, table_step
from learned_transforms.transforms.spec import Outcome, Seen, Spec, Step, Twin

WIDEST = 16
"""Radius of a blur, beyond which Pillow's way is faster."""

PIL_ONLY = "it takes PIL images only"


class Converting(Twin):
    """A conversion of PIL images to tensors, which drops what they carry."""

    def carry(self, drawn: Outcome, pixel: Image.Image, size: Size) -> Image.Image:
        return without_info(pixel)


class MaybeToTensor(Converting):
    """ToTensor, which leaves tensors as they are."""

    def roles(self) -> tuple[str, ...]:
        return ("to_float",)

    def lower(self, form: Form) -> Step | str:
        return Step(form) if form.container == "tensor" else to_float_tensor(form)

    def order_after(self, before: Form, after: Form, order: int) -> int:
        return order if before.container == "tensor" else PLANES


class MaybePILToTensor(Converting):
    """PILToTensor, which leaves tensors as they are."""

    def lower(self, form: Form) -> Step | str:
        if form.container == "tensor":
            return Step(form)
        return Step(form._replace(container="tensor")) if form.container == "pil" else PIL_ONLY


@dataclass(frozen=True)
class Unscaled(Converting):
    """A PIL image as a tensor of the same values in ``dtype``."""

    dtype: torch.dtype

    def lower(self, form: Form) -> Step | str:
        if form.container != "pil":
            return PIL_ONLY
        if self.dtype == torch.uint8:
            return Step(form._replace(container="tensor"))
        name = FLOAT_NAMES.get(self.dtype)
        if name is None:
            return f"dtype {self.dtype} is not learned"
        made = form._replace(container="tensor", dtype=name, fresh=True)
        return Step(made, layer=Lookup(torch.arange(256, dtype=self.dtype)[None]), params={})


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

    def roles(self) -> tuple[str, ...]:
        return ("gray",)

    def lower(self, form: Form) -> Step | str:
        if form.container != "pil":
            return Step(form) if self.others else PIL_ONLY
        if self.mode not in MODES:
            return f"mode {self.mode} is not learned"
        if self.mode == "RGB":
            return Step(form, layer=Arranging(), params={"order": (0, 0, 0), "gray_only": True})
        return Step(form, "pil/gray", params={"copies": 1, "copy_gray": False})

    def carry(self, drawn: Outcome, pixel: Image.Image, size: Size) -> Image.Image:
        return pixel.convert(self.mode)


class PillowFunction(Twin):
    """A function of Pillow's that takes PIL images."""

    def lower(self, form: Form) -> Step | str:
        return self.lower_pil(form) if form.container == "pil" else PIL_ONLY

    def lower_pil(self, form: Form) -> Step | str:
        """Say what it does to a PIL image."""
        raise NotImplementedError


class Invert(PillowFunction):
    """``ImageOps.invert``."""

    def lower_pil(self, form: Form) -> Step | str:
        return table_step(form, self.api, "invert")


class PillowEqualize(PillowFunction):
    """``ImageOps.equalize``."""

    def roles(self) -> tuple[str, ...]:
        return ("equalize",)

    def lower_pil(self, form: Form) -> Step | str:
        return equalized(form, self.api)


class Autocontrast(PillowFunction):
    """``ImageOps.autocontrast``, nothing cut off."""

    def roles(self) -> tuple[str, ...]:
        return ("autocontrast",)

    def lower_pil(self, form: Form) -> Step | str:
        return Step(form, "pil/autocontrast", None, {})


@dataclass(frozen=True)
class Solarize(PillowFunction):
    """``ImageOps.solarize``."""

    threshold: int = 128

    def lower(self, form: Form) -> Step | str:
        """Pillow refuses tensors, but only where it is applied."""
        if form.container == "tensor":
            return Step(form, layer=Refusing(), params={"name": "PIL.ImageOps.solarize"})
        return super().lower(form)

    def lower_pil(self, form: Form) -> Step | str:
        return table_step(form, self.api, "solarize", self.threshold)


@dataclass(frozen=True)
class Posterize(PillowFunction):
    """``ImageOps.posterize``."""

    bits: int

    def lower_pil(self, form: Form) -> Step | str:
        return table_step(form, self.api, "posterize", self.bits)


class PillowBlur(Twin, Blurred):
    """``image.filter(ImageFilter.GaussianBlur(radius))``.

    Args:
        radius: draws it.
    """

    def __init__(self, radius: Callable[[], float]) -> None:
        self.radius = radius

    def lower(self, form: Form) -> Step | str:
        if form.dtype != "uint8" or not form.plain or form.container not in ("pil", "tensor"):
            return "it takes one image of levels"
        return Step(form, layer=Boxing(), params={"sigma": Slot(0)})

    def sample(self, seen: Seen) -> Outcome:
        return (("sigma", float(self.radius())),)


class FromPillow(Twin):
    """A tensor of levels that was a PIL image for a while, as ToTensor makes it; PIL images stay what they are."""

    def roles(self) -> tuple[str, ...]:
        return ("to_float",)

    def lower(self, form: Form) -> Step | str:
        if form.container == "pil":
            return Step(form)
        if form.container != "tensor" or form.dtype != "uint8" or not form.plain:
            return "it takes one image of levels"
        return Step(form._replace(dtype="float32", fresh=True), "pil/to_float", params={})


@dataclass(frozen=True)
class Scale(Twin):
    """Multiply a float tensor by a number, in place."""

    factor: float

    def lower(self, form: Form) -> Step | str:
        if form.container != "tensor" or form.dtype != "float32":
            return "it takes float tensors only"
        return Step(form, layer=Scaling(), params={"factor": self.factor}) if form.fresh else CHANGING


class SwapChannels(Twin):
    """A copy of a tensor with its first and third channel exchanged."""

    def lower(self, form: Form) -> Step | str:
        if form.container != "tensor" or not form.plain:
            return "it takes one image as a tensor"
        return Step(form._replace(fresh=True), layer=Swapping(), params={})


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


TWINS: tuple[type[Spec], ...] = (
    *(MaybeToTensor, MaybePILToTensor, Unscaled, Convert, Invert, PillowEqualize, Autocontrast, Solarize, Posterize),
    *(PillowBlur, FromPillow, Scale, SwapChannels),
)
"""All of these classes."""
