"""Which pixels of an axis are kept, in a graph: :mod:`learned_transforms.ir.indexing` for lengths that it sees."""

from dataclasses import dataclass
from typing import Any

from learned_transforms.errors import UnsupportedTransformError
from learned_transforms.export.picture import numpy_of
from learned_transforms.ir.indexing import Keep, Kept, Listed, Mirrored, Nearest, Padded
from learned_transforms.modes import out_of_sight


@dataclass(frozen=True)
class KeptPlaces:
    """Pixels of an axis.

    Attributes:
        index: int64 ``[count]``, of the graph.
        count: how many.
        inside: which of them lie in the image, bool ``[count]``; None: all.
    """

    index: Any
    count: Any
    inside: Any = None


def places(g: Any, kept: Kept, length: Any, least: int = 1, start: Any = None) -> KeptPlaces:
    """Return which pixels are kept of an axis.

    Args:
        least: pixels that it has at least.
        start: where a part begins, a number of the graph; None: as it says.
    """
    if isinstance(length, int) and start is None:
        with out_of_sight():
            fixed = kept.on(length)
            index = numpy_of(fixed.index())
        return KeptPlaces(
            g.constant(index, "int64"), len(index), None if fixed.inside(length) else within(g, index, length)
        )
    count = kept.length(length)
    if isinstance(kept, Mirrored):
        return KeptPlaces((g.number(length, "int64") - 1) - g.range(length), count)
    if isinstance(kept, Listed | Keep):
        with out_of_sight():
            given = numpy_of(kept.index())
        index = g.constant(given, "int64")
        return KeptPlaces(index, count, None if kept.inside(least) else within(g, index, length))
    if isinstance(kept, Nearest):
        return KeptPlaces(nearest(g, kept, length), count)
    number = g.number(length, "int64")
    if isinstance(kept, Padded):
        return with_border(g, g.range(count) - kept.before, count, number, kept.border, False)
    begin = {"start": 0, "end": number, "middle": 0}[kept.origin] + (kept.start if start is None else start)
    if kept.origin == "middle":
        begin = centered(g, number, kept.count) + begin
    index = g.range(count) + begin
    fits = kept.origin == "middle" and kept.start == 0 and start is None and count <= least
    return with_border(g, index, count, number, kept.border, fits)


def within(g: Any, index: Any, length: Any) -> Any:
    """Return which places lie in an axis."""
    index, number = g.value(index, "int64"), g.number(length, "int64")
    return (index >= 0) & (index < number)


def centered(g: Any, number: Any, count: int) -> Any:
    """As :func:`learned_transforms.ir.indexing.centered`: halves go to even numbers where the image is longer."""
    rest = number - count
    distance = g.abs(rest)
    half = distance // 2
    return g.where(rest < 0, -half, half + (distance - half * 2) * (half - half // 2 * 2))


def with_border(g: Any, index: Any, count: Any, number: Any, border: str, fits: bool) -> KeptPlaces:
    """Return places, those outside as a border has them; ``fits``: none are."""
    if fits:
        return KeptPlaces(index, count)
    if border == "zero":
        return KeptPlaces(index, count, (index >= 0) & (index < number))
    if border == "edge":
        return KeptPlaces(g.minimum(g.maximum(index, 0), number - 1), count)
    odd = 1 if border == "reflect" else 0
    around = g.maximum((number - odd) * 2, 1)
    index = g.remainder(index, around)
    return KeptPlaces(g.minimum(index, around - (1 - odd) - index), count)


def nearest(g: Any, kept: Nearest, length: Any) -> Any:
    """As :meth:`learned_transforms.ir.indexing.Nearest.on`."""
    dtype = kept.arithmetic.number
    if not isinstance(kept.size, int):
        raise UnsupportedTransformError(
            "A nearest resize to a size that follows from the image's is exported with size=."
        )
    step = g.number(length, dtype) / g.constant(float(kept.size), dtype)
    if kept.arithmetic.running:
        first = g.unsqueeze(step * kept.offset, 0)
        steps = g.range(kept.size - 1, dtype) * 0.0 + step
        at = g.cumsum(g.concat([first, steps], 0))
    else:
        at = (g.range(kept.size, dtype) + kept.offset) * step
    index = g.minimum(g.maximum(g.cast(at, "int64"), 0), g.number(length, "int64") - 1)
    with out_of_sight():
        wanted = kept.keep.index()
    return g.take(index, g.constant(wanted, "int64"), 0)
