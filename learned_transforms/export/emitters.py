"""What each operation is in a graph: one function for each, as the reference backend has one for each.

An emitter takes the graph, the picture, the operation, and what gives a drawn number by its slot; it returns the
picture behind it. ``STAGES`` lists them: a new operation is a function here, and its row there.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch

from learned_transforms.errors import UnsupportedTransformError
from learned_transforms.export import color
from learned_transforms.export.picture import Picture, as_levels, fused_add, numpy_of
from learned_transforms.export.places import KeptPlaces, places
from learned_transforms.export.resample import COLUMNS, ROWS, AxisSpan, resample, resized_size
from learned_transforms.ir.indexing import Kept
from learned_transforms.ir.ops import (
    Blend,
    Blur,
    Cast,
    Equalize,
    Filter,
    Gather,
    Mix,
    Normalize,
    Pick,
    Product,
    Resample,
    Resize,
    Slots,
    Stage,
    Stretch,
    Table,
    Turn,
)

LEVELS = np.arange(256, dtype=np.float32)

Drawn = Callable[[int], Any]
"""From the number of a slot to a number of the graph, float32."""


def emit(g: Any, picture: Picture, stage: Stage, drawn: Drawn) -> Picture:
    """Return a picture behind an operation.

    Raises:
        UnsupportedTransformError: no graph has it.
    """
    found = STAGES.get(type(stage))
    if found is None:
        raise UnsupportedTransformError(f"{type(stage).__name__} has no form in a graph yet")
    return found(g, picture, stage, drawn)


def whole(g: Any, picture: Picture, stage: Any, drawn: Drawn) -> Picture:
    """A resample of all of a picture."""
    return resample(g, picture, stage, AxisSpan(picture.height), AxisSpan(picture.width))


def pick(g: Any, picture: Picture, stage: Pick, drawn: Drawn) -> Picture:
    size = resized_size(g, stage.sizing, picture.height, picture.width)
    if size == (picture.height, picture.width):
        return picture
    rows, columns = (stage.nearest.sized(length) for length in size)
    return gather(g, picture, Gather(None, rows, columns), drawn)


def gather(g: Any, picture: Picture, stage: Gather, drawn: Drawn) -> Picture:
    if stage.channels is not None:
        picture = picture.of(g.take(picture.x, list(stage.channels), -3), channels=len(stage.channels))
    starts = starts_of(g, stage, drawn)
    for axis, kept, start in ((ROWS, stage.rows, starts[0]), (COLUMNS, stage.columns, starts[1])):
        if kept is not None:
            picture = picked(g, picture, axis, kept, start, stage.fill)
    return picture


def starts_of(g: Any, stage: Gather, drawn: Drawn) -> tuple[Any, Any]:
    """Return where rows and columns begin, if that is drawn."""
    if isinstance(stage.starts, Slots):
        return g.cast(drawn(stage.starts.first), "int64"), g.cast(drawn(stage.starts.first + 1), "int64")
    if stage.starts is None:
        return None, None
    top, left = stage.starts
    return g.constant(int(top), "int64"), g.constant(int(left), "int64")


def picked(g: Any, picture: Picture, axis: int, kept: Kept, start: Any, fill: tuple[float, ...]) -> Picture:
    """Return the pixels that are kept along an axis."""
    length = picture.height if axis == ROWS else picture.width
    found = places(g, kept, length, picture.least[axis], start)
    return kept_pixels(g, picture, axis, found, length, fill)


def kept_pixels(
    g: Any, picture: Picture, axis: int, found: KeptPlaces, length: Any, fill: tuple[float, ...]
) -> Picture:
    index = found.index
    if found.inside is not None:
        index = g.minimum(g.maximum(index, 0), g.number(length, "int64") - 1)
    x = g.take(picture.x, index, axis)
    if found.inside is not None:
        value = np.reshape(fill or (0.0,), (-1, 1, 1))
        inside = g.unsqueeze(found.inside, 1) if axis == ROWS else found.inside
        x = g.where(inside, x, g.constant(value, g.dtype(x)))
    least = list(picture.least)
    least[axis] = found.count if isinstance(found.count, int) else 1
    side = {"height": found.count} if axis == ROWS else {"width": found.count}
    return picture.of(x, least=tuple(least), **side)


def mix(g: Any, picture: Picture, stage: Mix, drawn: Drawn) -> Picture:
    arithmetic = stage.arithmetic
    x = picture.floats(g)
    channels = [g.slice(x, c, c + 1, -3) for c in range(picture.channels)]
    planes = []
    for row, bias in zip(numpy_of(stage.weight), numpy_of(stage.bias), strict=True):
        if arithmetic.number == "int":
            # 16 bits of a weight and 8 of a level: whole float64, or float32 in two halves.
            scale = 2.0**arithmetic.bits
            weights, offset = ([rounded(w * scale) for w in one] for one in (row.tolist(), [float(bias)]))
            total = whole_sum(g, channels, weights, offset[0], scale)
            planes.append(as_levels(g, total, "half_up"))
            continue
        total = None
        for plane, weight in zip(channels, row.tolist(), strict=True):
            total = fused_add(g, plane, g.constant(weight, "float32"), total, arithmetic.fma)
        if float(bias):
            total = total + g.constant(float(bias), "float32")
        planes.append(as_levels(g, total, arithmetic.rounding))
    levels = picture.levels and (arithmetic.number == "int" or arithmetic.rounding != "none")
    return picture.of(g.concat(planes, -3), channels=len(planes), levels=levels)


def rounded(value: float) -> float:
    """Return the nearest whole number, halves away from zero."""
    return math.copysign(math.floor(abs(value) + 0.5), value)


def whole_sum(g: Any, channels: Iterable[Any], weights: Iterable[float], offset: float, scale: float) -> Any:
    """Sum whole products, divided by ``scale``: rounded half up, that is a level."""
    if g.widest == "float64":
        total = sum((g.cast(x, "float64") * w for x, w in zip(channels, weights, strict=True)), offset)
        return g.cast(g.floor(total / scale + 0.5), "float32")
    upper: Any = 0.0
    lower: Any = offset % 256.0
    for x, weight in zip(channels, weights, strict=True):
        upper, lower = x * (weight // 256.0) + upper, x * (weight % 256.0) + lower
    return (upper + offset // 256.0 + g.floor(lower / 256.0)) / (scale / 256.0)


def table(g: Any, picture: Picture, stage: Table, drawn: Drawn) -> Picture:
    values = numpy_of(stage.values)
    levels = stage.values.dtype == torch.uint8
    factor = float(values[0, 1])
    if (
        len(values) == 1
        and stage.values.dtype == torch.float32
        and np.array_equal(LEVELS * np.float32(factor), values[0])
    ):
        return picture.of(picture.floats(g) * factor, levels=False)  # On all 256 levels, the same.
    index = g.cast(picture.x, "int64")
    channels = [index] if len(values) == 1 else [g.slice(index, c, c + 1, -3) for c in range(len(values))]
    planes = [g.take(g.constant(own, "float32"), one, 0) for own, one in zip(values, channels, strict=True)]
    made = g.concat(planes, -3)
    return picture.of(made if levels else g.cast(made, str(stage.values.dtype).removeprefix("torch.")), levels=levels)


def normalize(g: Any, picture: Picture, stage: Normalize, drawn: Drawn) -> Picture:
    dtype = g.dtype(picture.x)
    mean, std = (g.constant(numpy_of(value).reshape(-1, 1, 1), dtype) for value in (stage.mean, stage.std))
    return picture.of((picture.x - mean) / std)


def cast(g: Any, picture: Picture, stage: Cast, drawn: Drawn) -> Picture:
    return picture.of(g.cast(picture.x, str(stage.dtype).removeprefix("torch.")))


def product(g: Any, picture: Picture, stage: Product, drawn: Drawn) -> Picture:
    number = stage.arithmetic.number
    rows, columns = (g.constant(m, number) for m in (numpy_of(stage.rows), numpy_of(stage.columns).swapaxes(-1, -2)))
    if stage.rows.ndim == 3:
        raise UnsupportedTransformError("matrices of each channel have no form in a graph yet")
    made = g.cast(g.matmul(rows, g.matmul(g.cast(picture.x, number), columns)), "float32")
    return picture.of(made, height=stage.rows.shape[-2], width=stage.columns.shape[-2], levels=False)


def filter_(g: Any, picture: Picture, stage: Filter, drawn: Drawn) -> Picture:
    made = color.smoothed(g, picture, stage)
    return picture.of(
        made, levels=picture.levels and (stage.arithmetic.number == "int" or stage.arithmetic.rounding != "none")
    )


def emit_blend(g: Any, picture: Picture, stage: Blend, drawn: Drawn) -> Picture:
    other = None if stage.other is None else emit(g, picture, stage.other, drawn)
    return color.emit_blend(g, picture, other, stage, drawn)


STAGES: dict[type, Callable[[Any, Picture, Any, Drawn], Picture]] = {
    Resize: whole,
    Resample: whole,
    Pick: pick,
    Product: product,
    Filter: filter_,
    Gather: gather,
    Mix: mix,
    Table: table,
    Normalize: normalize,
    Cast: cast,
    Blend: emit_blend,
    Stretch: color.emit_stretch,
    Equalize: color.emit_equalize,
    Turn: color.emit_turn,
    Blur: color.emit_blur,
}
