"""Layers that move an image as a whole: cropped or padded to a frame, transposed, or refused for its size."""

from collections.abc import Mapping
from typing import Any

import torch

from learned_transforms.errors import UnlearnedSizeError
from learned_transforms.ir.arithmetic import Arithmetic
from learned_transforms.ir.indexing import Keep
from learned_transforms.ir.ops import Gather, Shape, Sparse, Stage
from learned_transforms.ir.sizing import Size
from learned_transforms.layers.base import MOST_CHANNELS, Layer, Params
from learned_transforms.layers.geometry import fill_of
from learned_transforms.layers.size_rules import SizeRule, is_rule
from learned_transforms.plain import LONGEST, Fields, finite, integer, list_of, maybe, one_of, switch

PLACES = ("torchvision", "floor", "ceil", "start", "end")
"""Where an image lies in its frame: in the middle, as torchvision's crop and pad have it, or with what is left over
rounded down or up at its start; or at the start or the end."""


def offset(length: int, frame: int, place: str) -> int:
    """Return the position of an image of ``length`` pixels along a frame; negative: so much of it is cut off."""
    room = frame - length
    if place == "torchvision":
        return room // 2 if room > 0 else -round(-room / 2)
    if place in ("floor", "ceil"):
        half = abs(room) // 2 if place == "floor" else (abs(room) + 1) // 2
        return half if room > 0 else -half
    return 0 if place == "start" else room


class CropOrPad(Layer):
    """Cut an image, or fill around it, to a size that follows from its own.

    Params: ``frame``, a :class:`~learned_transforms.layers.size_rules.SizeRule` as plain values; ``place``, for (rows,
    columns) one of ``PLACES`` each; ``fill``, one number, or one a channel.
    """

    takes = Fields(
        {
            "frame": is_rule,
            "place": list_of(one_of(*PLACES), 2),
            "fill": list_of(finite, 1, MOST_CHANNELS),
        }
    )

    def stages(self, shape: Shape, params: Params, relaxed: bool = False) -> list[Stage]:
        size = shape[1], shape[2]
        frame = SizeRule.from_json(params["frame"])(size)
        if frame == size:
            return []
        rows, columns = (
            Keep(-offset(n, wanted, place), 1, wanted)
            for n, wanted, place in zip(size, frame, params["place"], strict=True)
        )
        if rows.inside(size[0]) and columns.inside(size[1]):
            return [Gather(rows=rows, columns=columns)]
        return [Gather(rows=rows, columns=columns, outside=True, fill=fill_of(params["fill"], shape[0]))]


class Transpose(Layer):
    """Exchange rows and columns. Params: ``levels``, whether images hold uint8 levels, rather than floats."""

    takes = Fields({"levels": switch})

    def stages(self, shape: Shape, params: Params, relaxed: bool = False) -> list[Stage]:
        _, height, width = shape
        copied = Arithmetic("float32", rounding="half_up" if params["levels"] else "none")
        index = torch.arange(height * width).view(height, width).T.reshape(-1, 1)
        weights, bias = torch.ones(index.shape, dtype=torch.float64), torch.zeros(len(index), dtype=torch.float64)
        return [Sparse(index, weights, bias, (height, width), (width, height), copied)]


class RequireSize(Layer):
    """Refuse images of sizes at which a clone is not known to do what its teacher does.

    Params: ``rows`` and ``columns``, the (least, most) of them, or None; ``sizes``, or None: the only ones to take.

    Raises:
        UnlearnedSizeError: an image of another size.
    """

    takes = Fields(
        {
            **dict.fromkeys(("rows", "columns"), maybe(list_of(integer(1), 2))),
            "sizes": maybe(list_of(list_of(integer(1), 2), 1, 64)),
        }
    )

    def stages(self, shape: Shape, params: Params, relaxed: bool = False) -> list[Stage]:
        size = shape[1], shape[2]
        if not permits(params, size):
            raise UnlearnedSizeError(
                f"This clone was found to do what its teacher does for {sizes_in_words(params)}; got an image of "
                f"{size[0]} x {size[1]} (rows x columns). Resize or crop it, or retrain with images of this size."
            )
        return []


def permits(limits: Mapping[str, Any], size: Size) -> bool:
    """Return whether an image of this size is taken."""
    if limits["sizes"] is not None:
        return list(size) in [list(one) for one in limits["sizes"]]
    ranges = limits["rows"] or (1, LONGEST), limits["columns"] or (1, LONGEST)
    return all(low <= n <= high for n, (low, high) in zip(size, ranges, strict=True))


def sizes_in_words(limits: Mapping[str, Any]) -> str:
    """Return the sizes that are taken, in words."""
    if limits["sizes"] is not None:
        return "images of " + ", ".join(f"{rows} x {columns}" for rows, columns in limits["sizes"])
    words = [between(name, *limits[name]) for name in ("rows", "columns") if limits[name] is not None]
    return " and ".join(words) or "images of any size"


def between(name: str, low: int, high: int) -> str:
    if high >= LONGEST:
        return f"{low} {name} or more"
    return f"up to {high} {name}" if low <= 1 else f"{low} to {high} {name}"


LETTERBOX_LAYERS: dict[str, type[Layer]] = {layer.stored_name(): layer for layer in (CropOrPad, Transpose, RequireSize)}
