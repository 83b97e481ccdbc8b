"""Matrices without the weights that no image shows: most of a free one are noise, and no taps."""

import torch
from torch import Tensor

from learned_transforms.layers.fixed_size import Separable
from learned_transforms.trainer.optim.fit import solve
from learned_transforms.trainer.optim.kernel import Sized

SMALL, SMALL_FLOAT = 2e-3, 1e-7
"""Weights below this share of the largest are left out, for levels and for floats."""


def thinned(free: Separable, part: Sized, small: float) -> Separable:
    """Return the same with rows that sum to 1 in the mean, refitted with only those weights that stand out."""
    x, y = part
    target = (y - free.bias[:, None, None]).to(x)
    mixed = torch.einsum("oc,nchw->nohw", free.weight.to(x), x)
    rows, columns = free.rows.detach().to(x), free.columns.detach().to(x)
    for _ in range(3):
        rows = fit_support(mixed @ columns.T, target, rows, small)
        columns = fit_support((rows @ mixed).mT, target.mT, columns, small)
    tall, wide = rows.sum(1).mean(), columns.sum(1).mean()
    weight = free.weight.to(x) * tall * wide
    return Separable(rows / tall, columns / wide, weight, free.bias, free.arithmetic)


def fit_support(inputs: Tensor, targets: Tensor, matrix: Tensor, small: float) -> Tensor:
    """Return the matrix for which ``matrix @ inputs`` is nearest to the targets; its small entries become 0."""
    a = inputs.movedim(-2, 0).flatten(1)
    b = targets.movedim(-2, 0).flatten(1)
    products, sums = a @ a.T, a @ b.T
    found = torch.zeros_like(matrix)
    for i, used in enumerate(matrix.abs() > small * matrix.abs().max()):
        if used.any():
            found[i, used] = solve(products[used][:, used], sums[used, i])
    return found
