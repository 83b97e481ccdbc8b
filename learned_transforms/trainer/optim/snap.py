"""Snapping: move learned weights onto the simplest grid that leaves the validation error no worse."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

RATIONALS = {1, 2, 3, 4, 5, 6, 8, 9, 10, 12, 16, 20, 25, 32, 50, 64}
DENOMINATORS = sorted(RATIONALS | {2**n for n in range(25)} | {10**n for n in range(8)})
"""Grids from simple to fine: small rationals, k / 2^n and k / 10^n."""


def on_grid(values: Tensor, denominator: int) -> Tensor:
    """Return the nearest multiples of ``1 / denominator``."""
    return torch.round(values.double() * denominator) / denominator


def snapped(values: Tensor) -> Iterator[tuple[int | None, Tensor]]:
    """``(denominator, values on that grid)`` from simple to fine, and at last the values as trained."""
    last: Tensor | None = None
    for denominator in DENOMINATORS:
        candidate = on_grid(values, denominator)
        if last is None or not torch.equal(candidate, last):
            yield denominator, candidate
        last = candidate
    yield None, values.double()


def snap(
    values: Tensor, loss: Callable[[Tensor], float], slack: float, floor: float, most: int
) -> list[tuple[int | None, Tensor]]:
    """Return the ``most`` simplest grids whose loss is at most ``(1 + slack)`` times that of the values as trained.

    Args:
        values: learned weights.
        loss: validation loss with given weights in their place.
        slack: allowed relative rise; covers the noise of the trained weights themselves.
        floor: losses below this count as equal: the rounding of the arithmetic.
        most: how many to return at most, the simplest first.
    """
    limit = max(loss(values) * (1 + slack), floor)
    found: list[tuple[int | None, Tensor]] = []
    for denominator, candidate in snapped(values):
        if denominator is None or loss(candidate) <= limit:
            found.append((denominator, candidate))
        if len(found) == most:
            break
    return found
