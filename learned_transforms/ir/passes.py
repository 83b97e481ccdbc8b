"""Stages for images of one size, and fewer that do the same."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from learned_transforms.ir.indexing import Keep, follow, follows
from learned_transforms.ir.ops import Cast, Gather, Mix, Normalize, Resample, Shape, Stage, Table, Tables


def at(stages: Iterable[Stage], shape: Shape) -> list[Stage]:
    """Return what stages come to for images of ``shape`` (C, H, W): none has a rule any more.

    Raises:
        InputShapeError: such images are not taken; or an error that torchvision raises for them.
    """
    found: list[Stage] = []
    for stage in stages:
        one = stage.at(shape)
        if one is not None:
            found.append(one)
        shape = stage.output(shape)
    return found


def fold(stages: Sequence[Stage]) -> list[Stage]:
    """Move every copy of rows and columns as early as it goes, and merge stages with those that they meet."""
    folded: list[Stage] = []
    for stage in stages:
        position = len(folded)
        if isinstance(stage, Gather) and stage.channels is None:
            while position and passes_through(stage, folded[position - 1]):
                position -= 1
        merged = merge(folded[position - 1], stage) if position else None
        if merged is None:
            folded.insert(position, stage)
        else:
            folded[position - 1] = merged
    return folded


def passes_through(stage: Gather, before: Stage) -> bool:
    """Return whether a copy of rows and columns may as well come before a pointwise stage; fill may not."""
    return isinstance(before, Mix | Table | Tables | Normalize | Cast) and not stage.outside


def merge(before: Stage, stage: Stage) -> Stage | None:
    """Return one stage that does ``before`` and then ``stage``, where there is one."""
    if not isinstance(stage, Gather) or stage.channels is not None or stage.outside:
        return None
    rows, columns = stage.rows, stage.columns
    if isinstance(before, Resample) and isinstance(rows, Keep | None) and isinstance(columns, Keep | None):
        return replace(
            before,
            rows=before.rows if rows is None else before.rows.kept(rows),
            columns=before.columns if columns is None else before.columns.kept(columns),
        )
    if isinstance(before, Gather) and follows(before.rows, rows) and follows(before.columns, columns):
        return replace(before, rows=follow(before.rows, rows), columns=follow(before.columns, columns))
    return None
