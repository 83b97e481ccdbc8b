"""How a teacher's targets are written: levels, levels behind a table for each channel, or floats."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from learned_transforms.errors import TeacherError
from learned_transforms.layers.base import Layer, Params
from learned_transforms.layers.network import Network
from learned_transforms.layers.pointwise import Lookup
from learned_transforms.trainer.data.bundled import constant
from learned_transforms.trainer.data.sources import Pairs
from learned_transforms.trainer.search.problem import Labelled

LEVELS = 256
SAME = 2.0**-21
"""Values no farther apart than this share of the largest are one level, computed in two ways."""

OFF_LATTICE = 0.02
"""How far, in steps, values may lie off a straight line of equal steps."""

WHOLE = 1e-3
"""How far, in levels, values may lie off k / 255 or k to be called that."""

COARSE = 32
"""Fewer steps than this are spread over all levels, so that errors count as in images."""

SHARED = 1.5
"""Channels share one table where together they show at most so many times the levels of the richest."""

Answers = Callable[[Tensor], Tensor]
"""From images ``[N, C, H, W]`` to the teacher's answers."""


@dataclass(frozen=True)
class Levels:
    """How targets are written: as levels behind a table, as plain levels, or as floats.

    Attributes:
        quantized: each channel of the targets comes from at most 256 levels.
        table: float32 ``[C or 1, 256]``, strictly rising, what stands for each level; None if targets are uint8 or
            continuous.
        unseen: how many of its entries no target showed.
    """

    quantized: bool
    table: Tensor | None
    unseen: int = 0

    @property
    def full(self) -> float:
        """Full range of the labels: 255 for levels, 1 for floats."""
        return 255.0 if self.quantized else 1.0

    @property
    def step(self) -> Tensor:
        """What one level is in units of float targets, float64 ``[C or 1]``."""
        if self.table is None:
            return torch.full((1,), 1 / 255, dtype=torch.float64)
        return (self.table[:, -1].double() - self.table[:, 0].double()) / 255

    @classmethod
    def of(cls, pairs: Pairs, answers: Answers | None = None) -> "Levels":
        """Find the levels in the targets: a channel of few different floats hides a table.

        Args:
            pairs: what shows them.
            answers: of the teacher, who is asked about every gray where some levels are missing; None: there is none.
        """
        targets = pairs.targets
        if targets.dtype == torch.uint8:
            return cls(True, None)
        if targets.dtype != torch.float32:
            raise TeacherError(f"Expected uint8 or float32 answers from the teacher, got {targets.dtype}.")
        seen = None if pairs.inputs.dtype != torch.uint8 else different(targets)
        if seen is not None and answers is not None and min(map(len, seen)) < LEVELS:
            channels, height, width = pairs.inputs.shape[1:]
            grays = answers(constant(LEVELS, (channels, height, width), torch.Generator()))
            if grays.shape[1] == len(seen):
                seen = different(grays, seen)
        if seen is None:
            return cls(False, None)
        together = merged(torch.cat(seen).unique())
        if len(together) <= min(LEVELS, SHARED * max(map(len, seen))):
            seen = [together]
        # Of images whose brightness a teacher keeps, the mean tells which level a value stands for.
        bright = pairs.inputs.mean((1, 2, 3), dtype=torch.float64)
        means = targets.mean((2, 3), dtype=torch.float64).T
        means = means if len(seen) > 1 else means.mean(0, keepdim=True)
        table = torch.stack([row(values, bright, mean) for values, mean in zip(seen, means, strict=True)])
        return cls(True, table, table.numel() - sum(map(len, seen)))

    def notes(self) -> list[str]:
        if self.table is None or not self.unseen:
            return []
        return [f"{self.unseen} of {self.table.numel()} levels occur in no target; the table fills them in"]

    def label(self, pairs: Pairs) -> Labelled:
        """Inputs and labels: uint8 levels, the nearest of the table, or float32."""
        targets = pairs.targets
        if self.table is not None:
            halves = (self.table[:, 1:] + self.table[:, :-1]) / 2
            rows = halves.expand(targets.shape[1], -1)
            planes = [torch.bucketize(targets[:, c].contiguous(), half, out_int32=True) for c, half in enumerate(rows)]
            targets = torch.stack([plane.to(torch.uint8) for plane in planes], 1)
        return Labelled(pairs.inputs, targets)

    def network(
        self, layers: list[Layer], params: list[Params], pairs: Pairs, learned: tuple[str, ...] = ()
    ) -> Network:
        """Return the layers, and the table behind them."""
        if self.table is not None:
            last = layers[-1] if layers else None
            if isinstance(last, Lookup) and last.values.dtype == torch.uint8:
                # Two tables in a row are one.
                channels = max(len(last.values), len(self.table))
                chosen = last.values.detach().long().expand(channels, -1)
                layers = [*layers[:-1], Lookup(self.table.expand(channels, -1).gather(1, chosen))]
            else:
                layers, params = [*layers, Lookup(self.table)], [*params, {}]
        floats = self.table is not None or not self.quantized
        return Network([layer.cpu() for layer in layers], params, pairs.kind, pairs.container, floats, learned)


def different(targets: Tensor, known: list[Tensor] | None = None) -> list[Tensor] | None:
    """Return the different values of each channel, sorted; None where one has more than 256.

    Args:
        targets: float32 ``[N, C, H, W]``.
        known: values that count besides.
    """
    found = list(known or [torch.empty(0)] * targets.shape[1])
    # A few images tell that a channel is continuous.
    for part in (targets[:8], targets[8:]):
        for c, values in enumerate(found):
            found[c] = merged(torch.cat([values, part[:, c].flatten()]).unique())
            if len(found[c]) > LEVELS:
                return None
    return found


def merged(values: Tensor) -> Tensor:
    """Sorted values without those that are hardly above the one before."""
    if len(values) < 2:
        return values
    apart = values.diff() > SAME * float(values.abs().max())
    return values[torch.cat([torch.ones(1, dtype=torch.bool), apart])]


def row(values: Tensor, bright: Tensor, means: Tensor) -> Tensor:
    """Return a table ``[256]``, float32, strictly rising, that has all of the values, in float64 in between.

    Args:
        values: of one channel, sorted, all different.
        bright: mean level of each image.
        means: mean of what was made of it, in that channel.
    """
    found, every = values.double(), torch.arange(LEVELS).double()
    for divisor in (255, 1):
        index = whole(found * divisor)
        if index is not None:
            return placed(values, index, every / divisor)
    steps = lattice(found)
    index = torch.arange(len(found)) if steps is None else steps
    if index[-1] < COARSE:
        index = index * (255 // max(1, int(index[-1])))
    inner = np.interp(means.numpy(), found.numpy(), index.double().numpy())
    base = int((bright - torch.from_numpy(inner)).median().round())
    index = index + min(max(base, 0), 255 - int(index[-1]))
    return placed(values, index, filled(found, index))


def placed(values: Tensor, index: Tensor, table: Tensor) -> Tensor:
    """Return a table, float32, with these values at their places."""
    table = table.float()
    table[index] = values
    return table


def whole(values: Tensor) -> Tensor | None:
    """Return the values as whole levels, if all of them are that."""
    rounded = values.round()
    fits = float((values - rounded).abs().max()) <= WHOLE and rounded[0] >= 0 and rounded[-1] <= 255
    return rounded.long() if fits else None


def lattice(values: Tensor) -> Tensor | None:
    """Return which multiples of one step lie between sorted values and the first of them; None: no 256 steps explain
    them."""
    if len(values) < 2:
        return None
    for parts in (1, 2, 3, 4):
        step = float(values.diff().min()) / parts
        index = (values.diff() / step).round().cumsum(0)
        index = torch.cat([index.new_zeros(1), index])
        if index[-1] > 255:
            break
        slope, offset = np.polyfit(index.numpy(), values.numpy(), 1)
        if float((index * slope + offset - values).abs().max()) <= OFF_LATTICE * slope:
            return index.long()
    return None


def filled(values: Tensor, index: Tensor) -> Tensor:
    """Return a table through the values by straight lines, and on beyond them as steeply as they are on the whole,
    float64."""
    count = torch.arange(LEVELS).double()
    if len(values) < 2:
        return values[0] + (count - index[0]) / 255
    slope = (values[-1] - values[0]) / (index[-1] - index[0])
    inner = torch.from_numpy(np.interp(count.numpy(), index.double().numpy(), values.numpy()))
    return inner + slope * ((count - index[-1]).clamp(min=0) - (index[0] - count).clamp(min=0))
