"""An image on its way through a graph, and what becomes of sums."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from learned_transforms.modes import out_of_sight


@dataclass(frozen=True)
class Picture:
    """An image of a graph.

    Attributes:
        x: ``[..., C, H, W]``: uint8, or floats.
        channels: how many.
        height, width: lengths, which the graph may have to work out.
        levels: its values are levels, whole numbers in [0, 255], of whatever type.
        least: (rows, columns) that it has at least.
    """

    x: Any
    channels: int
    height: Any
    width: Any
    levels: bool
    least: tuple[int, int] = (1, 1)

    def floats(self, g: Any) -> Any:
        """Return its values as float32."""
        return g.cast(self.x, "float32")

    def of(self, x: Any, **changes: Any) -> "Picture":
        return replace(self, x=x, **changes)


def numpy_of(value: Tensor) -> np.ndarray:
    """Return what a tensor of ours holds, where torch may trace: of half precision, as float32."""
    with out_of_sight():
        value = value.detach().cpu()
        return (value.float() if value.dtype in (torch.float16, torch.bfloat16) else value).numpy()


def as_levels(g: Any, value: Any, rounding: str) -> Any:
    """Round floats to levels, as :func:`learned_transforms.kernels.reference.rounding.to_levels`; they stay floats."""
    if rounding == "none":
        return value
    if rounding == "half_even":
        value = g.round(value)
    elif rounding == "half_up":
        value = g.floor(value + 0.5)
    value = g.clip(value, 0.0, 255.0)
    return g.floor(value) if rounding == "truncate" else value


def fused_add(g: Any, x: Any, weight: Any, total: Any, fma: bool) -> Any:
    """``x * weight + total`` in float32; with ``fma`` rounded once, by way of float64."""
    if total is None:
        return x * weight
    if not fma:
        return total + x * weight
    if g.widest == "float64":
        x, weight, total = (g.cast(g.value(one, "float32"), "float64") for one in (x, weight, total))
        return g.cast(total + x * weight, "float32")
    return fused(g, x, weight, total)


def fused(g: Any, x: Any, weight: Any, total: Any) -> Any:
    """The same in float32 alone, for levels ``x``: products with either half of the weight are exact."""
    raised = weight * 4097.0
    upper = raised - (raised - weight)
    product, rest = x * upper, x * (weight - upper)
    made = product + total
    seen = made - product
    lost = (product - (made - seen)) + (total - seen)
    return made + (lost + rest)
