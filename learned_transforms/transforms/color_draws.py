"""What transforms of colour draw: an order, and factors, which go to the network as numbers beside the image."""

import math
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import torch
import torchvision.transforms as v1
from torchvision.transforms import v2

from learned_transforms.ir.ops import Shape
from learned_transforms.transforms.draws import Outcome, Twin, buffer_of, single, toss, usual

Drawn = tuple[tuple[str, Any], ...]
"""What torchvision calls the params of a transform, as pairs."""


class Factored(NamedTuple):
    """A transform that draws factors.

    Attributes:
        draw: from the transform and the shape (C, H, W) of the image to what is drawn.
        types: of what is drawn, by name; those that may be floats are the factors, None if they are not used.
        parts: what becomes of each layer of the transform, from what was drawn, in which factors may be True.
    """

    draw: Callable[[Any, Shape], Drawn]
    types: Mapping[str, tuple[type, ...]]
    parts: Callable[[Drawn], tuple[Outcome, ...]]

    @property
    def factors(self) -> list[str]:
        """Names of the factors, one for each ``Slot``."""
        return [name for name, types in self.types.items() if float in types]


JITTERED = ("brightness", "contrast", "saturation", "hue")
FACTORS = tuple(f"{name}_factor" for name in JITTERED)
DISTORTED = ("brightness", "contrast", "saturation", "hue", "contrast")
"""Of RandomPhotometricDistort, whose contrast comes early or late."""


def between(low: float, high: float) -> float:
    """A float32, drawn as ``torch.empty(1).uniform_(low, high)`` draws it."""
    drawn = buffer_of(1) if usual() else torch.empty(1)
    return float(drawn.uniform_(low, high).item())


def jitter(transform: Any, shape: Shape) -> Drawn:
    order = tuple(torch.randperm(4).tolist())
    ranges = (getattr(transform, name) for name in JITTERED)
    values = [None if bounds is None else between(*bounds) for bounds in ranges]
    return ("fn_idx", order), *zip(FACTORS, values, strict=True)


@lru_cache(maxsize=4096)
def jitter_parts(drawn: Drawn) -> tuple[Outcome, ...]:
    """Any order: each of four places has all four layers, of which one at most is applied."""
    (_, order), *values = drawn
    return tuple(values[layer][1] is not None and layer == chosen for chosen in order for layer in range(4))


def distort(transform: Any, shape: Shape) -> Drawn:
    chance = single(transform.p)
    ranges = (getattr(transform, name) for name in JITTERED)
    values = [between(*bounds) if toss((chance,))[0] else None for bounds in ranges]
    before = bool(torch.rand(()) < 0.5)
    order = tuple(torch.randperm(shape[0]).tolist()) if toss((chance,))[0] else None
    return *zip(FACTORS, values, strict=True), ("contrast_before", before), ("channel_permutation", order)


def distort_parts(drawn: Drawn) -> tuple[Outcome, ...]:
    values = dict(drawn)
    used = [values[name] is not None for name in FACTORS]
    early, order = values["contrast_before"], values["channel_permutation"]
    moved: Outcome = False if order is None else (("order", order),)
    return used[0], used[1] and early, used[2], used[3], used[1] and not early, moved


def blur(transform: Any, shape: Shape) -> Drawn:
    return (("sigma", between(*transform.sigma)),)


class PillowBlur(Twin):
    """``image.filter(ImageFilter.GaussianBlur(radius))``.

    Args:
        radius: draws it.
    """

    def __init__(self, radius: Callable[[], float]) -> None:
        self.radius = radius


FACTOR, ORDER = (float, int, type(None)), (tuple, list)
JITTER = Factored(jitter, {"fn_idx": ORDER, **dict.fromkeys(FACTORS, FACTOR)}, jitter_parts)
BLUR = Factored(blur, {"sigma": (float, int)}, lambda drawn: (True,))
BOXES = BLUR._replace(draw=lambda transform, shape: (("sigma", float(transform.radius())),))
DISTORT = {**dict.fromkeys(FACTORS, FACTOR), "contrast_before": (bool,), "channel_permutation": (*ORDER, type(None))}

FACTORED: Mapping[type, Factored] = {
    v1.ColorJitter: JITTER,
    v2.ColorJitter: JITTER,
    v1.GaussianBlur: BLUR,
    v2.GaussianBlur: BLUR,
    PillowBlur: BOXES,
    v2.RandomPhotometricDistort: Factored(distort, DISTORT, distort_parts),
}
"""Transforms that draw factors."""

LIMITS = {"hue_factor": (-0.5, 0.5), "sigma": (1e-6, math.inf)}
"""Least and largest of a factor, where they are not 0 and infinity."""


def split(transform: Any, drawn: Outcome) -> tuple[Outcome, tuple[float, ...]]:
    """What was drawn without its factors, which decides on the plan; and the factors, 0 for those that are not used."""
    names = FACTORED[type(transform)].factors
    if isinstance(drawn, bool):
        return drawn, (0.0,) * len(names)
    kept = tuple((name, True) if name in names and value is not None else (name, value) for name, value in drawn)
    return kept, tuple(value or 0.0 for name, value in drawn if name in names)


def takes_effect(transform: Any, drawn: Outcome) -> bool:
    """Whether a transform is applied, with a factor if it draws some."""
    if type(transform) not in FACTORED or isinstance(drawn, bool):
        return drawn is not False
    structure, _ = split(transform, drawn)
    return isinstance(structure, tuple) and any(
        part is not False for part in FACTORED[type(transform)].parts(structure)
    )


def only_turns(drawn: Outcome) -> bool:
    """Whether hues are all that a transform turns, and no more: gray PIL images have none, and are given back."""
    values = {} if isinstance(drawn, bool) else dict(drawn)
    idle = ("fn_idx", "contrast_before")
    return [name for name, value in values.items() if value is not None and name not in idle] == ["hue_factor"]


def played_back(transform: Any, entry: Any) -> Drawn | None:
    """What was drawn, from plain values; None where they do not fit the transform."""
    types = FACTORED[type(transform)].types
    if not isinstance(entry, Mapping) or entry.keys() != types.keys():
        return None
    if not all(isinstance(entry[name], allowed) for name, allowed in types.items()):
        return None
    for name, value in entry.items():
        low, high = LIMITS.get(name, (0, math.inf))
        if float in types[name] and value is not None and not low <= value <= high:
            return None
        if isinstance(value, tuple | list) and sorted(value) != list(range(4 if name == "fn_idx" else len(value))):
            return None
    return tuple((name, tuple(v) if isinstance(v := entry[name], list) else v) for name in types)
