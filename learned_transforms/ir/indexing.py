"""Which pixels of an axis are kept: what crops, flips, pads and nearest-neighbor resizes come to.

Some say so by a rule, whatever the length of the axis; ``on`` gives the pixels of one length.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import accumulate, repeat
from typing import TypeVar

import torch
from torch import Tensor

from learned_transforms.errors import PaddingError
from learned_transforms.ir.arithmetic import Arithmetic

F = TypeVar("F", bound="Fixed")


class Fixed:
    """Base of what keeps the same pixels, whatever the length of the axis."""

    def on(self: F, n_in: int) -> F:
        """Return the same for an axis of ``n_in`` pixels."""
        return self


@dataclass(frozen=True)
class Keep(Fixed):
    """Which pixels of an axis are kept: ``start + i * step`` for ``i < count``; those outside the image are fill."""

    start: int
    step: int
    count: int

    @property
    def numbers(self) -> tuple[int, int, int]:
        return self.start, self.step, self.count

    def then(self, other: "Keep") -> "Keep":
        """Return the same as keeping by this one, then by ``other``."""
        return Keep(self.start + self.step * other.start, self.step * other.step, other.count)

    def inside(self, size: int) -> bool:
        """Return whether all of them lie on an axis of ``size`` pixels."""
        ends = self.start, self.start + self.step * (self.count - 1)
        return min(ends) >= 0 and max(ends) < size

    def index(self) -> Tensor:
        """int64 ``[count]``."""
        return torch.arange(self.count) * self.step + self.start

    def length(self, n_in: int) -> int:
        """Return how many are kept of an axis of ``n_in`` pixels."""
        return self.count


@dataclass(frozen=True)
class Listed(Fixed):
    """Which pixels of an axis are kept, one by one; -1 stands for fill."""

    pixels: tuple[int, ...]

    @property
    def count(self) -> int:
        return len(self.pixels)

    def inside(self, size: int) -> bool:
        """Return whether all of them lie on an axis of ``size`` pixels."""
        return min(self.pixels) >= 0 and max(self.pixels) < size

    def index(self) -> Tensor:
        """int64 ``[count]``."""
        return torch.tensor(self.pixels)

    def length(self, n_in: int) -> int:
        """Return how many are kept of an axis of ``n_in`` pixels."""
        return self.count


@dataclass(frozen=True)
class Nearest:
    """Which pixels of an axis of any length are kept, where each of ``size`` outputs takes one.

    For output ``i`` that is the pixel at ``(i + offset) * n_in / size``, rounded down, computed in the float type of
    the arithmetic; ``running``: as a sum of ``i`` steps. ``keep`` says which of the outputs are wanted.
    """

    size: int
    offset: float
    arithmetic: Arithmetic
    keep: Keep

    @property
    def count(self) -> int:
        return self.keep.count

    def then(self, other: Keep) -> "Nearest":
        """Return the same as keeping by this one, then by ``other``."""
        return replace(self, keep=self.keep.then(other))

    def sized(self, size: int) -> "Nearest":
        """Return the same for another number of outputs, all of which are wanted."""
        return replace(self, size=size, keep=Keep(0, 1, size))

    def length(self, n_in: int) -> int:
        """Return how many are kept of an axis of ``n_in`` pixels."""
        return self.count

    @lru_cache(maxsize=1024)  # noqa: B019 - equal ones share what is kept
    def on(self, n_in: int) -> Listed:
        """Return what is kept of an axis of ``n_in`` pixels."""
        dtype = getattr(torch, self.arithmetic.number)
        start, length = torch.tensor((self.offset, n_in), dtype=dtype, device="cpu")
        step = length / self.size
        if self.arithmetic.running:
            first, distance = float(start * step), float(step)
            places = torch.tensor(list(accumulate(repeat(distance, self.size - 1), initial=first)), dtype=torch.float64)
        else:
            places = (torch.arange(self.size, dtype=dtype, device="cpu") + start) * step
        return Listed(tuple(places.long().clamp(0, n_in - 1)[self.keep.index()].tolist()))


@dataclass(frozen=True)
class Mirrored:
    """All pixels of an axis of any length, back to front."""

    @property
    def numbers(self) -> tuple[str, int, int, str]:
        return "mirror", 0, 0, "zero"

    def on(self, n_in: int) -> Keep:
        return Keep(n_in - 1, -1, n_in)

    def length(self, n_in: int) -> int:
        return n_in


@dataclass(frozen=True)
class Part:
    """``count`` pixels of an axis of any length, from ``start`` on, counted from its ``origin``.

    That is its ``"start"``, its ``"end"``, or, for the ``"middle"``, where a crop or pad of torchvision's would start.
    What lies outside is ``border``, one of ``BORDERS``.
    """

    origin: str
    start: int
    count: int
    border: str = "zero"

    @property
    def numbers(self) -> tuple[str, int, int, str]:
        return self.origin, self.start, self.count, self.border

    def on(self, n_in: int) -> Keep | Listed:
        begin = {"start": 0, "end": n_in, "middle": centered(n_in, self.count)}[self.origin] + self.start
        return around(n_in, begin, self.count, self.border)

    def length(self, n_in: int) -> int:
        return self.count


@dataclass(frozen=True)
class Padded:
    """An axis of any length with so many pixels more before and behind it, of a ``border``; fewer, if negative."""

    before: int
    behind: int
    border: str = "zero"

    @property
    def numbers(self) -> tuple[str, int, int, str]:
        return "padded", self.before, self.behind, self.border

    def on(self, n_in: int) -> Keep | Listed:
        return around(n_in, -self.before, self.length(n_in), self.border)

    def length(self, n_in: int) -> int:
        return n_in + self.before + self.behind


Rule = Mirrored | Part | Padded
Kept = Keep | Listed | Nearest | Rule


def around(n_in: int, start: int, count: int, border: str) -> Keep | Listed:
    """``count`` pixels from ``start`` on, which may lie outside an axis of ``n_in`` pixels."""
    keep = Keep(start, 1, count)
    if border == "zero" or count < 1 or keep.inside(n_in):
        return keep
    return Listed(tuple(bordered(n_in, start, start + count, border).tolist()))


def centered(n_in: int, n_out: int) -> int:
    """Return where the middle ``n_out`` pixels begin; an odd remainder goes where torchvision's crop and pad leave
    it."""
    return -((n_out - n_in) // 2) if n_out > n_in else round((n_in - n_out) / 2)


def check_padding(padding: Sequence[int], size: tuple[int, int], border: str) -> None:
    """Require that no more than the image has is mirrored into ``padding`` (left, top, right, bottom).

    Raises:
        PaddingError: otherwise, as torchvision on tensors.
    """
    most = [length - (border == "reflect") for length in (size[1], size[0])] * 2
    if any(pad > limit for pad, limit in zip(padding, most, strict=True)):
        raise PaddingError(
            f"Padding size should be less than the corresponding input dimension, but got padding {tuple(padding)} "
            f"(left, top, right, bottom) and an image of {size} (rows, columns). Use padding_mode='edge' instead."
        )


def follows(first: Kept | None, then: Kept | None) -> bool:
    """Return whether :func:`follow` can tell: what is nearest to something depends on the length of the axis."""
    return not isinstance(first, Nearest) or then is None or isinstance(then, Keep)


def follow(first: Kept | None, then: Kept | None) -> Kept | None:
    """Return what is kept by ``first``, and of that by ``then``, both without rules; None keeps an axis as it is."""
    if first is None or then is None:
        return then if first is None else first
    if isinstance(first, Keep | Nearest) and isinstance(then, Keep):
        return first.then(then)
    count = first.length(0)
    pixels = first.on(0).index().tolist()  # Of an axis of any length: see `follows`.
    return Listed(tuple(pixels[i] if 0 <= i < count else -1 for i in then.on(count).index().tolist()))


BORDERS = ("zero", "edge", "reflect", "symmetric")
"""What lies around an image: 0 or another fill, its nearest pixel, or the image mirrored about its outermost pixels, or
about its edge."""


def bordered(size: int, start: int, stop: int, border: str) -> Tensor:
    """Return the pixel to take for each position from ``start`` to ``stop`` on an axis; -1 stands for fill: int64."""
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
