"""Which kernel, arithmetic and channel map a resample has: candidates, and the choice among them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor

from learned_transforms.ir.arithmetic import Arithmetic
from learned_transforms.layers.base import Layer
from learned_transforms.layers.resize import Resampling
from learned_transforms.trainer.search.arithmetics import FLOATS
from learned_transforms.trainer.search.placement import ResizePlacement, resampling
from learned_transforms.trainer.search.pointwise import DISPUTING, fit_mix, mixings, settle
from learned_transforms.trainer.search.problem import (
    Ask,
    Grid,
    Labelled,
    Problem,
    Trial,
    attempt,
    flat,
    mismatch,
    run_layers,
)

SHAPES = ((1, 1), (1, 2), (1, 3), (2, 3), (3, 3), (4, 3), (4, 5))
"""Kernels that are fitted, from simple to rich: (support, degree)."""

RANK_IMAGES = 60
ROUNDINGS = 0.003
"""Share of levels that may differ, by one."""

GROUPED = Arithmetic("float32", fma=True, grouped=4)
"""Sums that are left to the installed torch, which certificates name."""

RESAMPLE_LEVELS = (
    Arithmetic("int", 22, adaptive=True, rounding="half_up", each_pass=True),
    # Of equals, that which is left to the installed Pillow: not every version, and no square image, tells.
    Arithmetic("int", 22, rounding="half_up", each_pass=True, tall_first=True),
    Arithmetic("int", 22, rounding="half_up", each_pass=True),
    replace(GROUPED, rounding="half_even"),
    Arithmetic("float32", fma=True, rounding="half_even"),
    Arithmetic("float32", rounding="half_even"),
    Arithmetic("float64", rounding="half_even"),
    Arithmetic("float64", rounding="half_up"),
    Arithmetic("float64", rounding="truncate"),
    Arithmetic("float32", fma=True),
    Arithmetic("int", 11, rounding="half_up", quarters=True),
)


class Kernel(NamedTuple):
    """A candidate: the grid that it is on, the kernel, its shift and width; and whether it is a shipped one."""

    grid: Grid
    values: Tensor
    shift: Tensor
    width: float = 1.0
    shipped: bool = False

    @property
    def intricate(self) -> bool:
        """Whether none of ``SHAPES`` holds it."""
        return self.width != 1 or self.values.shape[1] > 1 + max(degree for _, degree in SHAPES)

    def layer(self, arithmetic: Arithmetic, placement: ResizePlacement) -> Resampling:
        return resampling(self.values, self.shift, arithmetic, placement, self.width)


def shipped_kernels(problem: Problem, shift: Tensor) -> list[Kernel]:
    """Shipped kernels as candidates; where none fits quite, a shift that is none may have been fitted."""
    near = (shift * 4).round().cpu() / 4
    return [Kernel(None, layer.kernel.detach(), near, layer.width, True) for layer in problem.kernels]


COPYING = Kernel(1, torch.ones(1, 1, dtype=torch.float64), torch.zeros(2, dtype=torch.float64))
"""For what copies pixels."""


@dataclass(frozen=True)
class Candidate:
    """Layers, the grids that their weights are on, and how far they are from the teacher."""

    layers: list[Layer]
    grids: Mapping[str, Grid]
    trial: Trial
    shipped: bool = False

    @property
    def worth(self) -> tuple[float, float]:
        """Smaller is better. Errors of a float network below the tolerance are the noise of its arithmetic."""
        return self.trial.differing, self.trial.largest if self.trial.differing else 0.0


def select_kernel(
    kernels: Sequence[Kernel],
    placement: ResizePlacement,
    weight: Tensor,
    data: Labelled,
    checks: Sequence[Labelled],
    ask: Ask | None,
) -> tuple[Candidate, list[Trial]]:
    """Return the kernel, the arithmetic and the channel map with which the fewest values differ; the simplest among
    equals."""
    tried: list[Candidate] = []
    if is_identity(weight):
        for kernel, arithmetic in rank(kernels, placement, data, plain=True):
            layers: list[Layer] = [kernel.layer(arithmetic, placement)]
            tried.append(Candidate(layers, {"kernel": kernel.grid}, attempt(layers, checks), kernel.shipped))
    # No map of channels is looked for behind what differs in a few roundings.
    if not any(candidate.trial.differing <= ROUNDINGS and candidate.trial.largest <= 1 for candidate in tried):
        for kernel, arithmetic in rank(kernels, placement, data, plain=False):
            layer = kernel.layer(arithmetic, placement)
            for mixing, mix_grid in mixings([layer], data, checks[0]):
                layers = [layer, mixing]
                grids = {"kernel": kernel.grid, "weight": mix_grid}
                tried.append(Candidate(layers, grids, attempt(layers, checks), kernel.shipped))
    best = min(tried, key=lambda candidate: candidate.worth)
    rivals = [c for c in tried if c.worth == best.worth and c.layers[0] is best.layers[0]]
    close = best.trial.differing <= DISPUTING and data.quantized and data.inputs.shape[1] == 3
    if ask is not None and len(rivals) > 1 and close:
        maps = [rival.layers[1:] for rival in rivals]
        best = rivals[settle(maps, [rival.layers for rival in rivals], ask, checks[0].inputs.shape)]
    return best, [candidate.trial for candidate in tried]


def is_identity(weight: Tensor) -> bool:
    """Return whether channels seem to pass unchanged; clamping between passes blurs the fitted weights a little."""
    c_out, c_in = weight.shape
    return c_out == c_in and float((weight.cpu() - torch.eye(c_out)).abs().max()) < 0.02


def arithmetics(data: Labelled, plain: bool) -> list[Arithmetic]:
    """Candidates for a resample; where nothing comes behind it (``plain``), it must give what targets are."""
    return [a for a in RESAMPLE_LEVELS if not plain or a.rounding != "none"] if data.quantized else [GROUPED, *FLOATS]


def rank(
    kernels: Sequence[Kernel], placement: ResizePlacement, data: Labelled, plain: bool, most: int = 4
) -> list[tuple[Kernel, Arithmetic]]:
    """Return the pairs of kernel and arithmetic that leave the smallest error, best first.

    Where channels are mixed (not ``plain``), that is the error behind the best channel map for each.

    Pairs within a few percent of each other keep their order, so that the simpler one comes first.
    """
    part = data.part(slice(-RANK_IMAGES, None))
    scored = []
    for kernel, arithmetic in product(kernels, arithmetics(data, plain)):
        output = run_layers([kernel.layer(arithmetic, placement)], part)
        loss = mismatch(output, part.targets) if plain else fit_mix(flat(output), part.targets)[2]
        scored.append((loss, kernel, arithmetic))
    floor = 1e-9 if data.quantized else 1e-13 * float(part.targets.double().square().mean())
    least = max(min(entry[0] for entry in scored), floor)
    scored.sort(key=lambda entry: max(0, round((entry[0] / least - 1) * 20)))
    return [(kernel, arithmetic) for _, kernel, arithmetic in scored[:most]]
