"""Free matrices, snapped to a grid and given an arithmetic."""

from dataclasses import replace
from itertools import product

import torch
from torch import Tensor

from learned_transforms.layers.fixed_size import FixedResampling, Separable
from learned_transforms.trainer.optim.fit import least_squares
from learned_transforms.trainer.optim.snap import snap
from learned_transforms.trainer.optim.training import score
from learned_transforms.trainer.search.choosing import RANK_IMAGES, arithmetics, is_identity
from learned_transforms.trainer.search.pointwise import best_map, fit_mix
from learned_transforms.trainer.search.problem import (
    CHECK_IMAGES,
    Form,
    Grid,
    Labelled,
    Problem,
    attempt,
    flat,
    mismatch,
    run,
)

NEAR = 0.15
"""Snapped weights stay candidates within this relative rise of the loss; the exact arithmetic decides among them."""


def snapped_form(thin: Separable, rich: Labelled, problem: Problem) -> Form:
    """Thinned matrices on the grid and in the arithmetic that fit best.

    Args:
        thin: matrices without the weights that no image shows.
        rich: training pairs that show rounding errors.
        problem: for its validation pairs and its teacher.
    """
    rows, columns = thin.rows.detach(), thin.columns.detach()
    x, y = problem.val.rich(len(rich.inputs)).floats(torch.float64)

    def loss(values: Tensor) -> float:
        planes = split(values)[0] @ x @ split(values)[1].T
        found = least_squares(flat(planes), flat(y)[:-1])
        return score(found @ flat(planes), flat(y)[:-1])[0]

    def split(values: Tensor) -> tuple[Tensor, Tensor]:
        return values[: rows.numel()].view_as(rows), values[rows.numel() :].view_as(columns)

    values = torch.cat([rows.flatten(), columns.flatten()])
    floor = 1e-12 * float(y.square().mean())
    grids = [*snap(values, loss, NEAR, floor, 8), (None, values)]
    part, check = rich.part(slice(RANK_IMAGES)), problem.val.part(slice(CHECK_IMAGES))

    def ranked(plain: bool) -> list[tuple[Grid, FixedResampling]]:
        scored = []
        for (grid, found), arithmetic in product(grids, arithmetics(rich, plain)):
            layer = FixedResampling(*split(found), arithmetic)
            output = run([layer], part)
            left = mismatch(output, part.targets) if plain else fit_mix(flat(output), part.targets)[2]
            scored.append((left, grid, layer))
        return [(grid, layer) for _, grid, layer in sorted(scored, key=lambda entry: entry[0])[:2]]

    forms = []
    if is_identity(thin.weight):
        for grid, layer in ranked(plain=True):
            forms.append(Form([layer], [{}], [attempt([layer], [check])], grids={"rows, columns": grid}))
    if not any(form.trials[0].differing == 0 for form in forms):
        for grid, layer in ranked(plain=False):
            form = best_map([layer], replace(problem, train=rich, val=check))
            forms.append(replace(form, grids={"rows, columns": grid, **form.grids}))
    # Among equals, the first: without a channel map.
    return min(forms, key=lambda form: form.worth)
