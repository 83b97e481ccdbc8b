"""Which pixels of an axis are kept: what crops, flips, pads and nearest-neighbour resizes come to."""

from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, repeat

import torch
from torch import Tensor

from learned_transforms.arithmetic import Arithmetic


@dataclass(frozen=True)
class Keep:
    """Which pixels of an axis are kept: ``start + i * step`` for ``i < count``; those outside the image are fill."""

    start: int
    step: int
    count: int

    def then(self, other: "Keep") -> "Keep":
        """The same as keeping by this one, then by ``other``."""
        return Keep(self.start + self.step * other.start, self.step * other.step, other.count)

    def inside(self, size: int) -> bool:
        """Whether all of them lie on an axis of ``size`` pixels."""
        ends = self.start, self.start + self.step * (self.count - 1)
        return min(ends) >= 0 and max(ends) < size

    def index(self) -> Tensor:
        """int64 ``[count]``."""
        return torch.arange(self.count) * self.step + self.start


@dataclass(frozen=True)
class Listed:
    """Which pixels of an axis are kept, one by one; -1 stands for fill."""

    pixels: tuple[int, ...]

    @property
    def count(self) -> int:
        return len(self.pixels)

    def inside(self, size: int) -> bool:
        """Whether all of them lie on an axis of ``size`` pixels."""
        return min(self.pixels) >= 0 and max(self.pixels) < size

    def index(self) -> Tensor:
        """int64 ``[count]``."""
        return torch.tensor(self.pixels)


Kept = Keep | Listed


def follow(first: Kept | None, then: Kept | None) -> Kept | None:
    """What is kept by ``first``, and of that by ``then``; None keeps an axis as it is."""
    if first is None or then is None:
        return then if first is None else first
    if isinstance(first, Keep) and isinstance(then, Keep):
        return first.then(then)
    pixels, count = first.index().tolist(), first.count
    return Listed(tuple(pixels[i] if 0 <= i < count else -1 for i in then.index().tolist()))


def nearest(n_in: int, n_out: int, offset: Tensor, arithmetic: Arithmetic) -> Listed:
    """The pixel at ``(i + offset) * n_in / n_out``, rounded down, for each output pixel ``i``.

    Computed in the float type of the arithmetic; ``running``: as a sum of ``i`` steps.
    """
    return neighbours(n_in, n_out, float(offset.detach()), arithmetic)


@lru_cache(maxsize=1024)
def neighbours(n_in: int, n_out: int, offset: float, arithmetic: Arithmetic) -> Listed:
    """The same; kept, since parts that are drawn come back to the same lengths."""
    dtype = getattr(torch, arithmetic.number)
    start, size = torch.tensor((offset, n_in), dtype=dtype, device="cpu")
    step = size / n_out
    if arithmetic.running:
        first, distance = float(start * step), float(step)
        places = torch.tensor(list(accumulate(repeat(distance, n_out - 1), initial=first)), dtype=torch.float64)
    else:
        places = (torch.arange(n_out, dtype=dtype, device="cpu") + start) * step
    return Listed(tuple(places.long().clamp(0, n_in - 1).tolist()))


BORDERS = ("zero", "edge", "reflect", "symmetric")
"""What lies around an image: 0 or another fill, its nearest pixel, or the image mirrored about its outermost pixels, or
about its edge."""


def bordered(size: int, start: int, stop: int, border: str) -> Tensor:
    """The pixel to take for each position from ``start`` to ``stop`` on an axis; -1 stands for fill: int64."""
    index = torch.arange(start, stop)
    if border == "zero":
        return torch.where((index >= 0) & (index < size), index, -1)
    if border == "reflect" and size > 1:
        index = index.remainder(2 * size - 2)
        return torch.minimum(index, 2 * size - 2 - index)
    if border == "symmetric":
        index = index.remainder(2 * size)
        return torch.minimum(index, 2 * size - 1 - index)
    return index.clamp(0, size - 1)
