"""The plan: what a network becomes for one input shape and one set of params.

A plan is a short list of operations, and the only contract between networks and backends: a backend that can run these
can run every network.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property, reduce
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from learned_transforms.ir.interpolation import Axis, FixedAxis
from learned_transforms.ir.ops import Blend, Filter, Mix, Pick, Resize, Shape, Slot, Slots, Stage


class Around(NamedTuple):
    """What lies around an image: one of ``indexing.BORDERS``; for ``zero``, the fill of each channel (or 0)."""

    border: str
    fill: tuple[float, ...] = ()


@dataclass(frozen=True, eq=False)
class Plan:
    """Stages in order.

    Attributes:
        channels: of the input.
        size: (rows, columns) of the input; None: any.
        stages: what to run.
        output: shape of one output image; None: it depends on the size of the input.
        around: what lies around the image, for windows that reach beyond it.
        floating: it is for images of floats, not uint8.
    """

    channels: int
    size: tuple[int, int] | None
    stages: tuple[Stage, ...]
    output: Shape | None
    around: Around | None = None
    floating: bool = False

    def result(self, shape: Shape) -> Shape:
        """Return the shape of the output for images of ``shape``, the errors aside that they may be refused with."""
        return reduce(lambda s, stage: stage.output(s), self.stages, shape)

    @cached_property
    def idles(self) -> bool:
        """Whether there may be sizes of images to which nothing is done."""
        return all(isinstance(stage, Resize | Pick | Blend) for stage in self.stages)

    def idle(self, shape: Shape) -> bool:
        """Return whether nothing is done to images of ``shape``."""
        return self.idles and all(stage.at(shape) is None for stage in self.stages)

    def to(self, device: torch.device) -> "Plan":
        """Return the same plan with its tensors on ``device``."""
        return replace(self, stages=tuple(move(stage, device) for stage in self.stages))


def settled(stage: Stage, factors: Sequence[float]) -> Stage:
    """Return a stage with the numbers that were drawn for this image."""
    drawn: dict[str, Any] = {}
    for field in fields(stage):
        slot = getattr(stage, field.name)
        if isinstance(slot, Slot) and slot.number < len(factors):
            drawn[field.name] = factors[slot.number]
        elif isinstance(slot, Slots) and slot.first + slot.length <= len(factors):
            drawn[field.name] = tuple(factors[slot.first : slot.first + slot.length])
    return replace(stage, **drawn) if drawn else stage


def drawn_for(stages: Sequence[Stage]) -> int:
    """Return how many factors stages take."""
    slots = [getattr(stage, field.name) for stage in stages for field in fields(stage)]
    ends = [one.number + 1 for one in slots if isinstance(one, Slot)]
    return max([0, *ends, *(one.first + one.length for one in slots if isinstance(one, Slots))])


def move(stage: Stage, device: torch.device) -> Stage:
    """Return a stage with its tensors on ``device``."""
    moved: dict[str, Any] = {}
    for field in fields(stage):
        value = getattr(stage, field.name)
        if isinstance(value, Tensor | Axis | FixedAxis):
            moved[field.name] = value.to(device)
        elif isinstance(value, Mix | Filter):
            moved[field.name] = move(value, device)
        elif isinstance(value, nn.Module) and any(p.device != device for p in value.parameters()):
            moved[field.name] = copy.deepcopy(value).to(device)
    return replace(stage, **moved)
