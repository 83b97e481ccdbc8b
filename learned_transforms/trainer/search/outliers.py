"""Pairs that disagree with the rest: misaligned, of other images, or of another version of a teacher."""

from collections.abc import Sequence

import torch
from torch import Tensor

from learned_transforms.trainer.data.quantization import LEVELS
from learned_transforms.trainer.optim.fit import fit_separable, least_squares, separable
from learned_transforms.trainer.optim.training import Settings
from learned_transforms.trainer.search.pointwise import lookup
from learned_transforms.trainer.search.problem import Labelled, flat

ROUNDS = 3
TIMES, DEVIATIONS, LEAST = 3.0, 8.0, 3.0
"""A pair is an outlier whose mean absolute error is more than so many times the median, so many median deviations
above it, and so many levels."""

MOST = 0.3
"""Share of the pairs that may be outliers; more of them are no exception, but the rule."""

NAMED = 20
MOST_VALUES = 4_000_000
MOST_PIXELS = 64 * 64
"""Of images of one size to which free matrices are fitted beside simpler maps."""

QUICK = Settings(6, 3, 0.0, False, lambda epoch: None)


def outliers_of(pairs: Labelled, unit: float) -> list[int]:
    """Return the numbers of the pairs that disagree with what explains the others best, out of a few simple maps.

    Args:
        pairs: levels, or floats.
        unit: one level, in the units of the targets.
    """
    kept = torch.ones(len(pairs.inputs), dtype=torch.bool)
    for _ in range(ROUNDS):
        errors = min(errors_of(pairs, kept), key=lambda each: float(each[kept].median()))
        middle = errors[kept].median()
        deviation = (errors[kept] - middle).abs().median()
        limit = max(TIMES * float(middle), float(middle + DEVIATIONS * deviation), LEAST * unit)
        again = errors <= limit
        if again.equal(kept):
            break
        kept = again
    found: list[int] = (~kept).nonzero()[:, 0].tolist()
    return found if len(found) <= MOST * len(kept) else []


def errors_of(pairs: Labelled, kept: Tensor) -> list[Tensor]:
    """For each simple map, fitted to the pairs that are kept, the mean absolute error of every pair."""
    inputs, targets = pairs.inputs, pairs.targets
    part = pairs.part(kept)
    few = part.part(slice(max(32, MOST_VALUES // part.inputs[0].numel())))
    found = []
    if inputs.shape[-2:] == targets.shape[-2:]:
        mix = least_squares(flat(few.inputs), flat(few.targets)[:-1])
        made = torch.einsum("oc,nchw->nohw", mix[:, :-1].float(), inputs.float()) + mix[:, -1, None, None].float()
        found.append(made)
        if inputs.dtype == torch.uint8 and inputs.shape == targets.shape:
            channels = zip(few.inputs.transpose(0, 1), few.targets.transpose(0, 1), strict=True)
            table = torch.stack([lookup(x, y)[0] for x, y in channels]).float()
            index = inputs.long() + LEVELS * torch.arange(len(table))[:, None, None]
            found.append(table.flatten()[index])
    if not found or few.inputs[0, 0].numel() <= MOST_PIXELS:
        free, _ = fit_separable(few.floats(), few.floats(), QUICK, 0)
        matrices = (free.rows, free.columns, free.weight, free.bias)
        rows, columns, weight, bias = (matrix.detach().float() for matrix in matrices)
        found.append(separable(rows, columns, weight, bias, inputs.float()))
    return [(made - targets.float()).abs().flatten(1).mean(1) for made in found]


def told(outliers: Sequence[int], count: int) -> str:
    """Return what to say of outliers."""
    named = ", ".join(f"#{number}" for number in outliers[:NAMED])
    more = ", ..." if len(outliers) > NAMED else ""
    return f"{len(outliers)} of {count:,} pairs disagree with the rest and were left out: {named}{more}"
