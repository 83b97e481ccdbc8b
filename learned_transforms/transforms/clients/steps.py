"""What each transform of twins.py does to an image of one form, in terms of layers."""

from collections.abc import Callable
from typing import Any

import torch

from learned_transforms.images.formats import MODES, Form
from learned_transforms.ir.ops import Slot
from learned_transforms.layers.geometry import Windowing
from learned_transforms.layers.pointwise import Lookup
from learned_transforms.transforms import lowering
from learned_transforms.transforms.clients import twins
from learned_transforms.transforms.clients.layers import Boxing, Placing, Refusing, Scaling, Swapping, Trimming
from learned_transforms.transforms.color_draws import PillowBlur
from learned_transforms.transforms.lowering import Step

Stepping = Callable[[Any, Form, str], Step | str]
PIL_ONLY = "it takes PIL images only"


def pil_only(step: Stepping) -> Stepping:
    return lambda transform, form, api: step(transform, form, api) if form.container == "pil" else PIL_ONLY


def pictures(name: str, step: Stepping) -> Stepping:
    """A function of Pillow's, which raises for tensors; but only where it is applied."""
    refused = {"name": f"PIL.ImageOps.{name}"}
    known = pil_only(step)
    return lambda transform, form, api: (
        Step(form, layer=Refusing(), params=refused) if form.container == "tensor" else known(transform, form, api)
    )


def maybe_float(transform: Any, form: Form, api: str) -> Step | str:
    return Step(form) if form.container == "tensor" else lowering.to_float_tensor(transform, form, api)


def maybe_tensor(transform: Any, form: Form, api: str) -> Step | str:
    return Step(form) if form.container == "tensor" else lowering.pil_to_tensor(transform, form, api)


def unscaled(transform: twins.Unscaled, form: Form, api: str) -> Step | str:
    """Levels as floats."""
    if transform.dtype == torch.uint8:
        return Step(form._replace(container="tensor"))
    name = lowering.FLOATS.get(transform.dtype)
    if name is None:
        return f"dtype {transform.dtype} is not learned"
    made = form._replace(container="tensor", dtype=name, fresh=True)
    return Step(made, layer=Lookup(torch.arange(256, dtype=transform.dtype)[None]), params={})


def converted(transform: twins.Convert, form: Form, api: str) -> Step | str:
    if form.container != "pil":
        return Step(form) if transform.others else PIL_ONLY
    if transform.mode not in MODES:
        return f"mode {transform.mode} is not learned"
    if transform.mode == "RGB":
        return lowering.rgb(transform, form, api)
    return Step(form, "pil/gray", params={"copies": 1, "copy_gray": False})


def trimmed(transform: twins.Trim, form: Form, api: str) -> Step | str:
    if type(transform.border) is not int or transform.border < 0:
        return "a border that is negative or not whole is not learned"
    return Step(form, layer=Trimming(), params={"border": transform.border})


def scaled(transform: twins.Scale, form: Form, api: str) -> Step | str:
    if form.container != "tensor" or form.dtype != "float32":
        return "it takes float tensors only"
    return Step(form, layer=Scaling(), params={"factor": transform.factor}) if form.fresh else lowering.CHANGING


def swapped(transform: Any, form: Form, api: str) -> Step | str:
    if form.container != "tensor" or not form.plain:
        return "it takes one image as a tensor"
    return Step(form._replace(fresh=True), layer=Swapping(), params={})


def kept_ratio(transform: twins.KeepRatio, form: Form, api: str) -> Step | str:
    return lowering.resampled(transform, form, api, {"size": transform.size, "longest": transform.longest})


def random_ratio(transform: twins.RandomKeepRatio, form: Form, api: str) -> Step | str:
    """A layer for each interpolation, one of which gets the size that is drawn."""
    parts = []
    for interpolation in transform.interpolations:
        one = twins.KeepRatio(transform.size, transform.longest, interpolation)
        part = lowering.resampled(one, form, api, {"size": transform.size})
        if isinstance(part, str):
            return part
        parts.append(part)
    return Step(form, parts=tuple(parts))


def placed(transform: twins.CropOrPad, form: Form, api: str) -> Step | str:
    around = lowering.surroundings(transform, form, api)
    if isinstance(around, str):
        return around
    return Step(form, layer=Placing(), params={"size": transform.size, "limited": form.container != "pil", **around})


def windowed(transform: twins.RandomCropOrPad, form: Form, api: str) -> Step | str:
    around = lowering.surroundings(transform, form, api)
    return (
        around if isinstance(around, str) else Step(form, layer=Windowing(), params={"size": transform.size, **around})
    )


def erased(transform: Any, form: Form, api: str) -> Step | str:
    """The parts that were drawn are overwritten before; see segment.py."""
    if form.container != "tensor" or form.dtype != "float32":
        return "it erases float tensors only"
    return Step(form) if form.plain else "it is not one image of one or three channels"


def boxed(transform: PillowBlur, form: Form, api: str) -> Step | str:
    if form.dtype != "uint8" or not form.plain or form.container not in ("pil", "tensor"):
        return "it takes one image of levels"
    return Step(form, layer=Boxing(), params={"sigma": Slot(0)})


def from_pillow(transform: twins.FromPillow, form: Form, api: str) -> Step | str:
    if form.container == "pil":
        return Step(form)
    if form.container != "tensor" or form.dtype != "uint8" or not form.plain:
        return "it takes one image of levels"
    return Step(form._replace(dtype="float32", fresh=True), "pil/to_float", params={})


def none(transform: Any) -> tuple[str, ...]:
    return ()


def needs(*roles: str) -> Callable[[Any], tuple[str, ...]]:
    return lambda transform: roles


def resizing(transform: Any) -> tuple[str, ...]:
    several = getattr(transform, "interpolations", None) or (transform.interpolation,)
    return tuple(role for one in several for role in lowering.resize_role(twins.KeepRatio((1, 1), 0, one)))


TWINS: dict[type, tuple[Stepping, Callable[[Any], tuple[str, ...]]]] = {
    twins.MaybeToTensor: (maybe_float, needs("to_float")),
    twins.MaybePILToTensor: (maybe_tensor, none),
    twins.Unscaled: (pil_only(unscaled), none),
    twins.Convert: (converted, needs("gray")),
    twins.Invert: (pil_only(lowering.pointwise("invert", floats=lowering.unchanged)), none),
    twins.Solarize: (
        pictures("solarize", lowering.pointwise("solarize", "threshold", floats=lowering.unchanged)),
        none,
    ),
    twins.Posterize: (pil_only(lowering.pointwise("posterize", "bits", floats=lowering.unchanged)), none),
    twins.Equalize: (pil_only(lowering.equalized), needs("equalize")),
    twins.Autocontrast: (pil_only(lowering.colour("autocontrast")), needs("autocontrast")),
    PillowBlur: (boxed, none),
    twins.FromPillow: (from_pillow, needs("to_float")),
    twins.Trim: (trimmed, none),
    twins.Scale: (scaled, none),
    twins.SwapChannels: (swapped, none),
    twins.KeepRatio: (kept_ratio, resizing),
    twins.RandomKeepRatio: (random_ratio, resizing),
    twins.CropOrPad: (placed, none),
    twins.RandomCropOrPad: (windowed, none),
    twins.PythonWindow: (lowering.unchanged, none),
    twins.Erase: (erased, none),
}
"""The step of each, and the roles of the learned layers that it may need."""
