"""The size of a resized image: what a resize is asked for, as a rule for images of any size."""

from collections.abc import Sequence
from typing import NamedTuple

from learned_transforms.errors import EmptyImageError

Size = tuple[int, int]
"""(rows, columns)."""


class Sizing(NamedTuple):
    """What a resize is asked for; see :func:`output_size`."""

    wanted: tuple[int, ...]
    max_size: int | None = None
    longest: float | None = None

    @property
    def fixed(self) -> bool:
        """Whether it gives one size, whatever it is given."""
        return len(self.wanted) == 2 and self.longest is None

    def of(self, size: Size) -> Size:
        """(rows, columns) of a resized image of ``size``."""
        return output_size(size, *self)


def output_size(
    size: tuple[int, int], wanted: Sequence[int], max_size: int | None, longest: float | None = None
) -> tuple[int, int]:
    """(rows, columns) of a resized image; one wanted number is the length of the shorter side, none the largest size.

    With ``longest``, the ratio of the sides is kept: at 0 the image covers what is wanted, at 1 it lies in it.
    """
    if longest is not None:
        ratios = size[0] / wanted[0], size[1] / wanted[1]
        ratio = max(ratios) * longest + min(ratios) * (1.0 - longest)
        found = round(size[0] / ratio), round(size[1] / ratio)
    elif len(wanted) == 2:
        found = wanted[0], wanted[1]
    else:
        short, long = sorted(size)
        if wanted:
            new_short, new_long = wanted[0], int(wanted[0] * long / short)
        elif max_size is not None:
            new_short, new_long = int(max_size * short / long), max_size
        if wanted and max_size is not None and new_long > max_size:
            new_short, new_long = int(max_size * new_short / new_long), max_size
        found = (new_long, new_short) if size[1] <= size[0] else (new_short, new_long)
    if min(found) < 1:
        raise EmptyImageError(f"An image of {size} (rows, columns) would be resized to {found}: nothing is left of it.")
    return found
