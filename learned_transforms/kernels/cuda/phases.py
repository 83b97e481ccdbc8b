"""A plan as launches: each takes the images of the one before, or a part of them.

A launch resamples, blurs or copies, then works on each pixel: operations, then a table of what becomes of each level.
Crops and flips are where it reads and writes. What needs all pixels of an image, a mean or a blur, begins another.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import cast

import torch
from torch import Tensor

from learned_transforms.ir.indexing import Keep
from learned_transforms.ir.interpolation import Axis
from learned_transforms.ir.ops import Blend, Blur, Cast, Gather, Mix, Normalize, Resample, Stage, Table, Turn
from learned_transforms.ir.passes import at
from learned_transforms.ir.plan import Plan
from learned_transforms.kernels.cuda.records import OPS
from learned_transforms.kernels.cuda.spans import Span, entire
from learned_transforms.kernels.reference.executor import carry_out

LEVELWISE = Table | Normalize | Cast
"""Stages that are one table together."""


@dataclass
class Phase:
    """One launch.

    Attributes:
        cause: why it does not go on in the launch before: ``"mean"``, ``"blur"``, ``"resample"`` or ``"copy"``.
        channels: of what it takes.
        taken: of that, rows and columns: pixels that are copied, resampled or blurred.
        made: of those, where they go.
        size: of the image that it takes, as a mean counts it.
        axes, bits: of a resample; None: there is none.
        blur: None: there is none.
        ops: operations on pixels, or tables ``[3, 256]`` of levels between them.
        levels: ``[C, 1, 256]``: what becomes of each level behind them.
        fill: ``[C, 1, 1]``, what is filled in where nothing is made; None: nothing is.
        summed: the gray whose mean the next launch wants; None: it wants none.
        padded: the images reach beyond what there is of them.
    """

    cause: str
    channels: int
    taken: tuple[Span, Span]
    made: tuple[Span, Span]
    size: tuple[int, int]
    axes: tuple[Axis, Axis] | None = None
    bits: int = 0
    blur: Blur | None = None
    ops: list[Stage | Tensor] = field(default_factory=list)
    levels: Tensor = field(default_factory=lambda: every(1))
    fill: Tensor | None = None
    summed: Mix | None = None
    padded: bool = False

    @property
    def pristine(self) -> bool:
        """Whether it does nothing to pixels until now but to copy them."""
        return self.axes is None and self.blur is None and not self.ops and not self.tabulated and self.fill is None

    @property
    def tabulated(self) -> bool:
        return self.levels.dtype != torch.uint8 or not self.levels.equal(every(len(self.levels)))

    @property
    def fills(self) -> bool:
        """Whether something is to be filled in."""
        return self.padded or any(span.inner < span.length for span in self.made)

    @property
    def kernel(self) -> str:
        return "blur" if self.cause == "blur" else f"resample_{self.channels}" if self.axes else "copy"

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of what it makes."""
        return len(self.levels), self.made[0].length, self.made[1].length


def movable(stage: Stage) -> bool:
    """Return whether a stage may as well come in a later launch."""
    return isinstance(stage, LEVELWISE) or (isinstance(stage, Gather) and stage.channels is None)


def every(channels: int) -> Tensor:
    """Return all levels: ``[C, 1, 256]``."""
    return torch.arange(256, dtype=torch.uint8, device="cpu").expand(channels, 1, 256)


def of_fill(fill: Sequence[float], like: Tensor) -> Tensor:
    """Return a fill of images in the dtype and number of channels of others, ``[C, 1, 1]``; without any, 0."""
    return like.new_tensor(fill or (0.0,)).view(-1, 1, 1).expand(len(like), 1, 1)


class Phases:
    """The launches of a plan for images of one size.

    Args:
        padded: they are windows that reach beyond images, where the first launch fills in what is around.
        causes: of all launches but the first, with those that other images need besides; None: only those that this
            plan needs.
    """

    def __init__(self, plan: Plan, size: tuple[int, int], padded: bool, causes: tuple[str, ...] | None) -> None:
        seen = entire(size[0]), entire(size[1])
        self.waiting = None if causes is None else list(causes)
        self.done: list[Phase] = []
        self.now = Phase("copy", plan.channels, seen, seen, size, levels=every(plan.channels))
        self.now.padded = padded
        if padded and plan.around is not None:
            self.now.fill = of_fill(plan.around.fill, self.now.levels)
        stages = at(plan.stages, (plan.channels, seen[0].length, seen[1].length))
        hard = [n for n, stage in enumerate(stages) if not movable(stage)]
        tail = hard[-1] + 1 if hard else 0
        for stage in stages[:tail]:
            self.add(stage)
        while self.waiting:
            self.follow(self.waiting.pop(0))
        for stage in stages[tail:]:
            self.add(stage)
        self.done.append(self.now)

    def begin(self, cause: str, summed: Mix | None = None) -> None:
        """Go on in another launch, behind those that only other images need."""
        while self.waiting:
            other = self.waiting.pop(0)
            if other == cause:
                break
            self.follow(other)
        self.now.summed = summed
        self.follow(cause)

    def follow(self, cause: str) -> None:
        self.done.append(self.now)
        channels, rows, columns = self.now.shape
        spans = entire(rows), entire(columns)
        self.now = Phase(cause, channels, spans, spans, (rows, columns), levels=every(channels))

    def add(self, stage: Stage) -> None:
        """Add a stage to the launch that is gathered, or begin another."""
        if isinstance(stage, Gather):
            self.gather(stage)
        elif isinstance(stage, Resample):
            if not self.now.pristine:
                self.begin("resample")
            self.resample(stage)
        elif isinstance(stage, LEVELWISE):
            self.now.levels = carry_out(self.now.levels, stage)
            self.now.fill = None if self.now.fill is None else carry_out(self.now.fill, stage)
        elif isinstance(stage, Blur):
            self.begin("blur")
            self.now.blur = stage
        elif isinstance(stage, Mix | Blend | Turn):
            self.operate(stage)

    def gather(self, stage: Gather) -> None:
        if stage.channels is not None:
            order = list(stage.channels)
            if len(self.now.ops) >= OPS:
                self.begin("copy")
            if len(self.now.levels) > 1:
                self.now.ops.append(stage)
            self.now.levels = self.now.levels[order]
            self.now.fill = None if self.now.fill is None else self.now.fill[order]
        keeps = [keep if isinstance(keep, Keep) else None for keep in (stage.rows, stage.columns)]
        spans = zip(self.now.made, keeps, strict=True)
        if not all(keep is None or keep.inside(span.length) for span, keep in spans):
            fill = of_fill(stage.fill, self.now.levels)
            if self.now.fill is not None and not self.now.fill.equal(fill):
                self.begin("copy")
            self.now.fill = fill
        rows, columns = (span.then(keep) for span, keep in zip(self.now.made, keeps, strict=True))
        self.now.made = rows, columns
        if self.now.axes is None and self.now.blur is None:
            self.now.taken = rows, columns

    def resample(self, stage: Resample) -> None:
        self.now.axes, self.now.bits = (cast(Axis, stage.rows), cast(Axis, stage.columns)), stage.arithmetic.bits
        self.now.made = (
            entire(stage.rows.size).then(stage.rows.keep),
            entire(stage.columns.size).then(stage.columns.keep),
        )

    def operate(self, stage: Mix | Blend | Turn) -> None:
        if self.now.fill is not None or len(self.now.ops) + 2 > OPS:
            self.begin("copy")
        if self.now.tabulated:
            self.now.ops.append(self.now.levels.squeeze(1).expand(3, 256).contiguous())
            self.now.levels = every(len(self.now.levels))
        if isinstance(stage, Blend) and stage.mean is not None and isinstance(stage.other, Mix):
            self.begin("mean", stage.other)
        self.now.ops.append(stage)
        if isinstance(stage, Mix):
            self.now.levels = every(len(stage.weight))


def phases_of(
    plan: Plan, size: tuple[int, int], padded: bool = False, causes: tuple[str, ...] | None = None
) -> list[Phase]:
    """Return the launches of a plan on the CPU, see :class:`Phases`."""
    return Phases(plan, size, padded, causes).done


@lru_cache
def merged(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[str, ...]:
    """Return the shortest row of causes that holds both, in their order."""
    if not one or not other:
        return one or other
    if one[0] == other[0]:
        return one[0], *merged(one[1:], other[1:])
    return min((one[0], *merged(one[1:], other)), (other[0], *merged(one, other[1:])), key=len)
