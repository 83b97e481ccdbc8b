"""Steps of a program in a graph: each with the copies that it takes over, and under its conditions."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

from learned_transforms.errors import UnsupportedTransformError
from learned_transforms.export.emitters import emit, kept_pixels, picked
from learned_transforms.export.picture import Picture
from learned_transforms.export.places import places
from learned_transforms.export.resample import COLUMNS, ROWS, AxisSpan, resample, resized_size
from learned_transforms.ir.indexing import Keep, Mirrored, Part
from learned_transforms.ir.ops import Cast, Gather, Mix, Normalize, Resample, Resize, Stage, Table
from learned_transforms.ir.passes import merge
from learned_transforms.modes import out_of_sight
from learned_transforms.runtime.rows import no_graph

POINTWISE = (Mix, Table, Normalize, Cast)
"""Operations that copies of rows and columns may pass."""

Condition = Callable[[], Any]


@dataclass(frozen=True)
class GraphStep:
    """What a layer does.

    Attributes:
        name: of the transform that it belongs to.
        stages: its operations.
        conditions: all of which must hold, as functions that add them to the graph.
        drawn: from the number of a slot to the number that was drawn.
        window: a function that adds the (top, left, height, width) to the graph that is used of the image; None: all.
    """

    name: str
    stages: tuple[Stage, ...]
    conditions: tuple[Condition, ...]
    drawn: Callable[[int], Any]
    window: Condition | None = None


def run_steps(g: Any, picture: Picture, steps: Sequence[GraphStep]) -> Picture:
    """Return a picture behind steps.

    Raises:
        UnsupportedTransformError: an operation that no graph has, by the name of its transform.
    """
    flat = [part for step in steps for part in parts_of(step)]
    while flat:
        step = flat.pop(0)
        try:
            picture = done(g, picture, step, flat)
        except UnsupportedTransformError as error:
            raise no_graph(step.name, str(error).rstrip(".")) from error
    return picture


def parts_of(step: GraphStep) -> Iterator[GraphStep]:
    """Yield the operations of a step one by one, where nothing depends on what is drawn."""
    if step.conditions:
        yield step
    else:
        yield from (replace(step, stages=(stage,)) for stage in step.stages)


def done(g: Any, picture: Picture, step: GraphStep, behind: list[GraphStep]) -> Picture:
    """Return a picture behind a step, and those of the steps behind it that go with it, which are taken out."""
    if step.window is not None:
        return windowed(g, picture, step, step.window, behind)
    if not step.conditions:
        stage = at(step.stages[0], picture)
        if isinstance(stage, Resize | Resample):
            return resized(g, picture, stage, step, behind)
        return picture if stage is None else emit(g, picture, stage, step.drawn)
    if all(isinstance(stage, Gather) and stage.channels is None for stage in step.stages):
        return mirrored(g, picture, step)
    return conditional(g, picture, step)


def at(stage: Stage, picture: Picture) -> Stage | None:
    """Return an operation for the size of a picture, if that is known."""
    if isinstance(picture.height, int) and isinstance(picture.width, int):
        with out_of_sight():
            return stage.at((picture.channels, picture.height, picture.width))
    return stage


def all_of(g: Any, conditions: Sequence[Condition]) -> Any:
    first, *others = (condition() for condition in conditions)
    return reduce(lambda one, other: one & other, others, first)


def conditional(g: Any, picture: Picture, step: GraphStep) -> Picture:
    """Return a picture behind a step that may be left out: of the same shape, and of levels before and behind."""
    if not step.stages:
        return picture
    before = picture.of(picture.floats(g))

    def made(x: Any) -> Any:
        behind = before.of(x)
        for stage in step.stages:
            found = at(stage, behind)
            behind = behind if found is None else emit(g, behind, found, step.drawn)
        alike = (behind.channels, behind.height, behind.width) == (before.channels, before.height, before.width)
        if not alike or behind.levels != before.levels:
            raise UnsupportedTransformError("it changes the shape or dtype of images, and is drawn")
        return behind.floats(g)

    return before.of(g.when(all_of(g, step.conditions), made, before.x))


def mirrored(g: Any, picture: Picture, step: GraphStep) -> Picture:
    """Return a picture behind copies of its rows or columns that may be left out."""
    for stage in step.stages:
        for axis, kept, length in axes_of(stage, picture):
            found = places(g, kept, length, picture.least[axis])
            if found.inside is not None or not isinstance(kept, Mirrored):
                raise UnsupportedTransformError("it moves images by more than a flip, and is drawn")
            index = g.where(all_of(g, step.conditions), found.index, g.range(length))
            picture = kept_pixels(g, picture, axis, replace(found, index=index), length, ())
    return picture


def axes_of(stage: Any, picture: Picture) -> list[tuple[int, Any, Any]]:
    """List the axes that copies change, with what they keep, and their lengths."""
    axes = (ROWS, stage.rows, picture.height), (COLUMNS, stage.columns, picture.width)
    return [axis for axis in axes if axis[1] is not None]


def windowed(g: Any, picture: Picture, step: GraphStep, window: Condition, behind: list[GraphStep]) -> Picture:
    """Return a picture behind a step that uses a window of it."""
    top, left, height, width = window()
    first, *others = step.stages
    behind[:0] = [replace(step, stages=(stage,), window=None) for stage in others]
    if isinstance(first, Resize):
        spans = AxisSpan(picture.height, top, height), AxisSpan(picture.width, left, width)
        return resized(g, picture, first, step, behind, *spans)
    if not isinstance(first, Gather):
        raise UnsupportedTransformError("it takes a window of images for no resize")
    starts = {ROWS: top, COLUMNS: left}
    for axis, kept, _ in axes_of(first, picture):
        picture = picked(g, picture, axis, kept, starts[axis], first.fill)
    return picture


def resized(
    g: Any,
    picture: Picture,
    stage: Resize | Resample,
    step: GraphStep,
    behind: list[GraphStep],
    rows: AxisSpan | None = None,
    columns: AxisSpan | None = None,
) -> Picture:
    """Return a picture behind a resample, and behind the crops and flips that follow: only what these leave is made."""
    window = rows is not None
    rows, columns = rows or AxisSpan(picture.height), columns or AxisSpan(picture.width)
    if isinstance(stage, Resample) and not window:
        stage = merged(stage, picture, behind)
        size: tuple[Any, Any] = len(stage.rows), len(stage.columns)
    else:
        size = (
            (stage.rows.size, stage.columns.size)
            if isinstance(stage, Resample)
            else resized_size(g, stage.sizing, rows.used, columns.used)
        )
    least = least_of(stage, size)
    spans = {ROWS: rows, COLUMNS: columns}
    lengths = {ROWS: size[0], COLUMNS: size[1]}
    for step in followers(behind, Picture(None, 0, *size, True, least)):
        for axis, kept, length in axes_of(step.stages[0], Picture(None, 0, lengths[ROWS], lengths[COLUMNS], True)):
            found = places(g, kept, length, least[axis])
            index = found.index
            if step.conditions:
                index = g.where(all_of(g, step.conditions), index, g.range(length))
            before = spans[axis].index
            index = index if before is None else g.take(before[0], index, 0)
            spans[axis], lengths[axis] = replace(spans[axis], index=(index, found.count)), found.count
    made = resample(g, picture, stage, spans[ROWS], spans[COLUMNS])
    rows_least, columns_least = (
        n if isinstance(n, int) else m for n, m in zip((made.height, made.width), least, strict=True)
    )
    return replace(made, least=(rows_least, columns_least))


def least_of(stage: Resize | Resample, size: tuple[Any, Any]) -> tuple[int, int]:
    """Return the (rows, columns) that a resized image has at least."""
    if isinstance(stage, Resize) and len(stage.sizing.wanted) == 1 and stage.sizing.max_size is None:
        return stage.sizing.wanted[0], stage.sizing.wanted[0]
    return tuple(n if isinstance(n, int) else 1 for n in size)  # type: ignore[return-value]


def merged(stage: Resample, picture: Picture, behind: list[GraphStep]) -> Resample:
    """Return a resample of a size that is known, with the copies that follow it, which are taken out."""
    while behind and not behind[0].conditions:
        shape = picture.channels, len(stage.rows), len(stage.columns)
        following = behind[0].stages[0].at(shape)
        found = stage if following is None else merge(stage, following)
        if not isinstance(found, Resample):
            break
        stage = found
        behind.pop(0)
    return stage


def followers(behind: list[GraphStep], picture: Picture) -> list[GraphStep]:
    """Take those out of the steps behind a resample that copy rows and columns of what it makes."""
    found = []
    place = 0
    lengths = [picture.height, picture.width]
    least = list(picture.least)
    while place < len(behind):
        stages = behind[place].stages
        if all(isinstance(stage, POINTWISE) for stage in stages):
            place += 1
            continue
        stage = stages[0]
        if len(stages) > 1 or not isinstance(stage, Gather) or stage.channels is not None or stage.starts is not None:
            break
        kept = stage.rows, stage.columns
        fits = [k is None or stays(k, n, m) for k, n, m in zip(kept, lengths, least, strict=True)]
        moves = behind[place].conditions and not all(k is None or isinstance(k, Mirrored) for k in kept)
        if not all(fits) or moves:
            break
        for axis, one in enumerate(kept):
            if isinstance(one, Part | Keep):
                lengths[axis] = least[axis] = one.count
        found.append(behind.pop(place))
    return found


def stays(kept: Any, length: Any, least: int) -> bool:
    """Return whether what is kept of an axis lies in it, whatever its length."""
    if isinstance(kept, Part) and kept.origin == "middle":
        return kept.start == 0 and kept.count <= (length if isinstance(length, int) else least)
    return isinstance(kept, Mirrored) or (isinstance(kept, Keep) and kept.inside(least))
