"""Pillow's own functions in a pipeline: bare, under functools.partial or torchvision's Lambda, or as ``convert``."""

from collections.abc import Callable, Mapping
from functools import partial
from types import FunctionType
from typing import Any

import torchvision.transforms as v1
from PIL import ImageOps
from torchvision.transforms import v2

from learned_transforms.transforms.clients.source import same_code
from learned_transforms.transforms.clients.twins import (
    Autocontrast,
    Convert,
    Invert,
    PillowEqualize,
    Posterize,
    Solarize,
)

FUNCTIONS: Mapping[Callable[..., Any], tuple[Callable[..., Any], tuple[str, ...]]] = {
    ImageOps.invert: (Invert, ()),
    ImageOps.equalize: (PillowEqualize, ()),
    ImageOps.autocontrast: (Autocontrast, ()),
    ImageOps.grayscale: (lambda: Convert("L"), ()),
    ImageOps.solarize: (Solarize, ("threshold",)),
    ImageOps.posterize: (Posterize, ("bits",)),
}
"""Functions of one image, with what says the same, and the names of the arguments behind the image."""


def to_mode_by_lambda(mode: str) -> Any:
    return {"RGB": lambda image: image.convert("RGB"), "L": lambda image: image.convert("L")}[mode]


def to_rgb(image: Any) -> Any:
    return image.convert("RGB")


def to_gray(image: Any) -> Any:
    return image.convert("L")


def convert_image_to_fn(img_type: str, image: Any) -> Any:
    if image.mode != img_type:
        return image.convert(img_type)
    return image


CONVERTING = {one.__code__: mode for mode, one in (("RGB", to_rgb), ("L", to_gray))}
CONVERTING |= {to_mode_by_lambda(mode).__code__: mode for mode in ("RGB", "L")}
"""Functions that convert, and do nothing else, as this interpreter compiles them, with the mode."""


def is_lambda(transform: Any) -> bool:
    """Return whether it is torchvision's Lambda of one function, for whatever comes."""
    kind = type(transform)
    return kind is v1.Lambda or (kind is v2.Lambda and transform.types == (object,))


def read_pillow(transform: Any) -> Any:
    """Return what says the same as a function of Pillow's; None: it is none that is known."""
    part = transform if isinstance(transform, partial) else partial(transform) if callable(transform) else None
    if part is None:
        return None
    function, arguments, keywords = part.func, part.args, part.keywords
    if not isinstance(function, FunctionType):
        return None
    if function in FUNCTIONS and not arguments:
        twin, names = FUNCTIONS[function]
        fits = keywords.keys() <= set(names)
        try:
            return twin(**keywords) if fits else None
        except TypeError:  # Arguments are missing, which Pillow says itself.
            return None
    if isinstance(transform, partial):
        converts = same_code(function.__code__, convert_image_to_fn.__code__) and not keywords
        if converts and len(arguments) == 1 and isinstance(arguments[0], str):
            return Convert(arguments[0], always=False)
        return None
    mode = next((mode for code, mode in CONVERTING.items() if same_code(function.__code__, code)), None)
    return None if mode is None else Convert(mode)
