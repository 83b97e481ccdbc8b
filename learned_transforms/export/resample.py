"""Resamples in a graph: products of an image with the weights of each axis, of which most are 0."""

from dataclasses import dataclass, replace
from typing import Any

from learned_transforms.errors import UnsupportedTransformError
from learned_transforms.export.picture import Picture, as_levels
from learned_transforms.export.taps import COARSE, AxisWeights, stored, worked_out
from learned_transforms.ir.arithmetic import Arithmetic
from learned_transforms.ir.interpolation import Axis, FixedAxis
from learned_transforms.ir.ops import Resample, Resize
from learned_transforms.ir.sizing import Sizing

BLOCK = 32
"""Outputs that one product makes: of the part of the image that they weigh, few weights are 0."""

ROWS, COLUMNS = -2, -1


@dataclass(frozen=True)
class AxisSpan:
    """Along an axis, the pixels that are resampled.

    Attributes:
        length: of the axis, in memory.
        start, extent: of the part of it that is used, numbers of the graph; None: all.
        index: which outputs are kept, and their count; None: all.
    """

    length: Any
    start: Any = None
    extent: Any = None
    index: tuple[Any, Any] | None = None

    @property
    def used(self) -> Any:
        return self.length if self.extent is None else self.extent


def resized_size(g: Any, sizing: Sizing, height: Any, width: Any) -> tuple[Any, Any]:
    """Return (rows, columns) of a resized image, as :func:`learned_transforms.ir.sizing.output_size`.

    Quotients of whole numbers, rounded down, are what it cuts of floats.

    Raises:
        UnsupportedTransformError: a rule that no graph has.
    """
    if sizing.fixed:
        return sizing.wanted[0], sizing.wanted[1]
    if isinstance(height, int) and isinstance(width, int):
        return sizing.of((height, width))
    if sizing.longest is not None:
        raise UnsupportedTransformError(
            "A resize that keeps the ratio of the sides is exported with size=(rows, columns)."
        )
    if not sizing.wanted:
        most = sizing.max_size
        long = g.largest(height, width)
        return most * height // long, most * width // long
    short = sizing.wanted[0]
    # The shorter side has the length that is wanted; of the longer one, the quotient is larger.
    rows, columns = g.largest(short, short * height // width), g.largest(short, short * width // height)
    if sizing.max_size is not None:
        long = g.largest(rows, columns)
        most = g.smallest(sizing.max_size, long)
        rows, columns = most * rows // long, most * columns // long
    return rows, columns


def lower(g: Any, stage: Resample | Resize, rows: AxisSpan, columns: AxisSpan) -> tuple[Resample, Any, Any]:
    """Return a resample, and (rows, columns) of its whole output."""
    if isinstance(stage, Resample):
        return stage, stage.rows.size, stage.columns.size
    size = resized_size(g, stage.sizing, rows.used, columns.used)
    if all(isinstance(length, int) for length in size):
        beyond = stage.larger is not None and sum(size) > stage.arithmetic.small
        how = stage.larger if beyond and stage.larger is not None else replace(stage.arithmetic, small=0)
        return Resample(stage.rows.sized(size[0], how), stage.columns.sized(size[1], how), how), *size
    how = stage.larger or replace(stage.arithmetic, small=0)
    return Resample(stage.rows, stage.columns, how), *size


def resample(g: Any, picture: Picture, stage: Resample | Resize, rows: AxisSpan, columns: AxisSpan) -> Picture:
    """Resize a picture, or the part of it that the spans have."""
    stage, height, width = lower(g, stage, rows, columns)
    arithmetic = stage.arithmetic
    check(arithmetic)
    down, across = (
        weights(g, axis, span, length, arithmetic)
        for axis, span, length in ((stage.rows, rows, height), (stage.columns, columns, width))
    )
    x, tall = picture.x, rows.length
    if g.slicing and (rows.index is not None or rows.start is not None):
        x, down, tall = trimmed(g, x, down, tall)
    whole = arithmetic.number == "int"

    def along(x: Any, axis: int) -> Any:
        one, length = (down, tall) if axis == ROWS else (across, columns.length)
        total = weighted(g, g.cast(x, one.number), one, length, axis)
        return as_levels(g, total, "half_up") if whole else total

    def rows_first() -> Any:
        return along(along(x, ROWS), COLUMNS)

    def columns_first() -> Any:
        return along(along(x, COLUMNS), ROWS)

    if arithmetic.tall_first:
        fewer = rows.used - height
        if isinstance(fewer, int) and isinstance(columns.used, int):
            made = rows_first() if fewer > 0 and fewer > 2 * (columns.used - width) else columns_first()
        else:
            fewer, others = (g.number(a, "int64") - b for a, b in ((rows.used, height), (columns.used, width)))
            made = g.either((fewer > 0) & (fewer > 2 * others), rows_first, columns_first)
    else:
        made = columns_first()
    made = g.cast(as_levels(g, made, arithmetic.rounding) if not whole else made, "float32")
    levels = picture.levels and arithmetic.rounding != "none"
    return replace(picture, x=made, height=down.count, width=across.count, levels=levels)


def check(arithmetic: Arithmetic) -> None:
    """Require sums that a product of matrices gives.

    Raises:
        UnsupportedTransformError: they depend on the order of their terms, or are cut one by one.
    """
    ordered = arithmetic.number != "int" and arithmetic.rounding != "none"
    if ordered or arithmetic.quarters:
        raise UnsupportedTransformError(
            f"A resize in {arithmetic} has no form in a graph: levels depend on the order of its sums. Use the "
            "transform of torchvision.transforms.v2, or resize PIL images."
        )


def weights(g: Any, axis: Axis | FixedAxis, span: AxisSpan, n_out: Any, arithmetic: Arithmetic) -> AxisWeights:
    """Return the weights of an axis, of the outputs that are kept."""
    known = span.extent is None and isinstance(span.length, int) and isinstance(n_out, int)
    made = stored(g, axis, span.length) if known else worked_out(g, axis, span.used, n_out, arithmetic, span.length)
    if span.index is not None:
        index, count = span.index
        first, values = (g.take(one, index, 0) for one in (made.first, made.values))
        made = replace(made, first=first, values=values, count=count, starts=None)
    return made if span.start is None else replace(made, first=made.first + span.start, starts=None)


def trimmed(g: Any, x: Any, one: AxisWeights, length: Any) -> tuple[Any, AxisWeights, Any]:
    """Cut out the rows that are weighed at all."""
    low, high = ends(g, one, length)
    return g.slice(x, low, high, ROWS), replace(one, first=one.first - low, starts=None), high - low


def ends(g: Any, one: AxisWeights, length: Any) -> tuple[Any, Any]:
    """Return where the pixels begin and end that are weighed."""
    low = g.squeeze(g.reduce("Min", one.first, (0,)), 0)
    high = g.squeeze(g.reduce("Max", one.first, (0,)), 0)
    return low, g.smallest(high + one.most, length)


def weighted(g: Any, x: Any, one: AxisWeights, length: Any, axis: int) -> Any:
    """Sum along an axis, in blocks of outputs where parts of images can be cut out."""
    if not (g.slicing and isinstance(one.count, int)):
        return product(g, x, dense(g, one, length), axis, one.split)
    parts = []
    for begin in range(0, one.count, BLOCK):
        stop = min(begin + BLOCK, one.count)
        first, values = g.slice(one.first, begin, stop, 0), g.slice(one.values, begin, stop, 0)
        if one.starts is None:
            low, high = ends(g, replace(one, first=first), length)
            first = first - low
        else:
            starts = one.starts[begin:stop]
            low, high = min(starts), min(max(starts) + one.most, length)
            first = g.constant([start - low for start in starts], "int64")
        block = replace(one, first=first, values=values, count=stop - begin)
        parts.append(product(g, g.slice(x, low, high, axis), dense(g, block, high - low), axis, one.split))
    return g.concat(parts, axis)


def dense(g: Any, one: AxisWeights, length: Any) -> Any:
    """Return weights as a matrix ``[outputs, length]``."""
    index = g.unsqueeze(one.first, 1) + g.range(one.most)
    # AxisWeights past the end are 0.
    return g.slice(g.scatter(one.count, length + one.most, index, one.values), 0, length, 1)


def product(g: Any, x: Any, matrix: Any, axis: int, split: bool) -> Any:
    """Multiply an image with a matrix; ``split``: in two parts whose sums are exact in float32, and then are joined."""

    def once(matrix: Any) -> Any:
        return g.matmul(matrix, x) if axis == ROWS else g.matmul(x, g.transpose(matrix, (1, 0)))

    if not split:
        return once(matrix)
    coarse = g.floor(matrix * COARSE + 0.5) / COARSE
    carried = g.floor(once(matrix - coarse) * COARSE) / COARSE
    return once(coarse) + carried
