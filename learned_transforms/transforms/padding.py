"""What lies around an image that is padded: sides, borders, and fills, as layers take them."""

import math
from typing import Any

import torch
from PIL import Image
from torchvision import tv_tensors

from learned_transforms.images.formats import Form

BORDERS = {"constant": "zero", "edge": "edge", "reflect": "reflect", "symmetric": "symmetric"}
"""Our names of torchvision's padding modes."""

FILL_CLASSES = "a fill for each class of PIL images is not learned"

TYPES = {
    **{"tensor": torch.Tensor, "numpy": torch.Tensor, "image": tv_tensors.Image},
    **{"video": tv_tensors.Video, "mask": tv_tensors.Mask},
}
"""The types for which v2 looks up a fill or a dtype, by container."""


def sides(padding: Any) -> tuple[int, int, int, int]:
    """Return (left, top, right, bottom) of a number, (left and right, top and bottom), or all four."""
    given = [padding or 0] if isinstance(padding, int | None) else list(padding)
    if len(given) == 4:
        left, top, right, bottom = given
        return left, top, right, bottom
    across, down = given[0], given[-1]
    return across, down, across, down


def surroundings(transform: Any, form: Form, api: str) -> dict[str, Any] | str:
    """Return border and fill of a padding; or why they are left to torchvision."""
    border = BORDERS.get(transform.padding_mode)
    padding = transform.padding if isinstance(transform.padding, list | tuple) else [transform.padding or 0]
    if any(not isinstance(side, int) or side < 0 for side in padding):
        return "padding that is negative or not whole is not learned"
    if border is None:
        return f"padding mode {transform.padding_mode!r} is not learned"
    return filled(transform.fill, border, form, api)


def filled(fill: Any, border: str, form: Form, api: str) -> dict[str, Any] | str:
    """Return the same for one of our borders."""
    if isinstance(fill, dict):
        if by_class(fill, form):
            return FILL_CLASSES
        fill = fill_for(fill, form)
    fill = 0 if fill is None else fill
    if form.container == "mask":
        own = mask_fill(fill, form)
        return "this fill of masks is not learned" if own is None else {"border": border, "fill": own}
    if isinstance(fill, list | tuple) and api == "v1" and form.container != "pil":
        return "v1 fills tensors with one number only"
    fill = list(fill) if isinstance(fill, list | tuple) else [fill]
    if len(fill) > 1 and border != "zero":
        return "a fill for each channel is not learned here"
    level = form.dtype == "uint8"
    if any(isinstance(f, bool) or not isinstance(f, int | float) or not math.isfinite(f) for f in fill):
        return f"a fill of {fill!r} is not learned"
    if level and not all(0 <= f <= 255 for f in fill):
        return "a fill beyond 0 to 255 is not learned"
    if form.half and any(abs(f) > torch.finfo(getattr(torch, form.dtype)).max for f in fill):
        return f"torchvision refuses a fill beyond {form.dtype}"
    # Levels are cut off behind the point.
    return {"border": border, "fill": tuple(float(int(f) if level else f) for f in fill)}


def by_class(fill: Any, form: Form) -> bool:
    """Return whether a fill depends on the class of PIL images."""
    return form.container == "pil" and any(isinstance(k, type) and issubclass(k, Image.Image) for k in fill)


def fill_for(fill: Any, form: Form) -> Any:
    """Return what a dictionary says of images of a form, as v2 looks it up."""
    return fill.get(TYPES.get(form.container), fill.get("others"))


def outside(fill: Any, form: Form, api: str) -> tuple[float, ...] | str:
    """Return the fill of what a warp finds outside of an image, one value or one a channel; nothing, where torch leaves
    zeros there. Or say why torchvision must fill.
    """
    if isinstance(fill, dict):
        if by_class(fill, form):
            return FILL_CLASSES
        fill = fill_for(fill, form)
    if form.container == "mask":
        own = mask_fill(0 if fill is None else fill, form)
        return "this fill of masks is not learned" if own is None else own
    pil = form.container == "pil"
    if fill is None:
        return (0.0,) if pil or api == "v1" else ()
    values = list(fill) if isinstance(fill, list | tuple) else [fill]
    if any(isinstance(f, bool) or not isinstance(f, int | float) or not math.isfinite(f) for f in values):
        return f"a fill of {fill!r} is not learned"
    if form.dtype == "uint8" and not all(0 <= f <= 255 for f in values):
        return "a fill beyond 0 to 255 is not learned"
    return tuple(float(int(f) if pil else f) for f in values)


def mask_fill(fill: Any, form: Form) -> tuple[float, ...] | None:
    """Return a fill in the values as which masks of a dtype are copied, see ``masks.CARRIERS``; None: there are
    none."""
    if form.fresh or isinstance(fill, bool) or not isinstance(fill, int | float):
        return None
    most = {"bool": 1, "uint8": 255, "int8": 127, "int16": 2**15 - 1}.get(form.dtype, 0)
    if form.dtype == "float32":
        return (float(fill),)
    if not isinstance(fill, int) or not 0 <= fill <= most:
        return (0.0,) if fill == 0 else None
    return (float(fill % 256), float(fill // 256)) if form.dtype == "int16" else (float(fill),)
