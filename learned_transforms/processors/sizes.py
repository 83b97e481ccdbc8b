"""To what size processors resize: rules from the (rows, columns) of an image to those of the resized one."""

import math
from collections.abc import Callable

from learned_transforms.errors import InputShapeError
from learned_transforms.ir.sizing import Size

SizeOf = Callable[[Size], Size]

LONGEST_RATIO = 200
"""Of the sides of an image that is resized to a number of pixels."""

PRECISION = 1e-5
"""To which the scale is searched that gives a number of patches."""


def fixed_size(size: Size, rows: int, columns: int) -> Size:
    """Return the same size for every image."""
    return rows, columns


def shortest(size: Size, edge: int) -> Size:
    """Give the shorter side ``edge`` pixels, and the longer one as many as keep the ratio."""
    short, long = sorted(size)
    new_long = int(edge * long / short)
    return (new_long, edge) if size[1] <= size[0] else (edge, new_long)


def longest(size: Size, edge: int) -> Size:
    """Give the longer side ``edge`` pixels."""
    scale = edge * 1.0 / max(size)
    return int(size[0] * scale + 0.5), int(size[1] * scale + 0.5)


def edge_within(size: Size, edge: int, most: int, multiple: int = 1) -> Size:
    """Give the shorter side ``edge`` pixels, or as many as leave the longer one ``most``; cut both to multiples."""
    short, long = (float(side) for side in sorted(size))
    exact = None
    if long / short * edge > most:
        exact = most * short / long
        edge = round(exact)
    wanted = edge if exact is None else exact
    # YOLOS, which cuts to multiples, works the height out even where the width is right already.
    if min(size) == edge and (multiple == 1 or size[0] <= size[1]):
        rows, columns = size
    elif size[1] < size[0]:
        rows, columns = int(wanted * size[0] / size[1]), edge
    else:
        rows, columns = edge, int(wanted * size[1] / size[0])
    return rows - rows % multiple, columns - columns % multiple


def fit_within(size: Size, rows: int, columns: int) -> Size:
    """Make it as large as fits."""
    scale = min(rows / size[0], columns / size[1])
    return int(size[0] * scale), int(size[1] * scale)


def pixels(size: Size, multiple: int, least: int, most: int) -> Size:
    """Multiples on both sides, and from ``least`` to ``most`` pixels in all (Qwen2-VL).

    Raises:
        InputShapeError: one side is more than ``LONGEST_RATIO`` times the other.
    """
    if max(size) / min(size) > LONGEST_RATIO:
        raise InputShapeError(
            f"absolute aspect ratio must be smaller than {LONGEST_RATIO}, got {max(size) / min(size)}. Crop the image."
        )
    rows, columns = (round(side / multiple) * multiple for side in size)
    if rows * columns > most:
        shrink = math.sqrt((size[0] * size[1]) / most)
        rows, columns = (max(multiple, math.floor(side / shrink / multiple) * multiple) for side in size)
    elif rows * columns < least:
        grow = math.sqrt(least / (size[0] * size[1]))
        rows, columns = (math.ceil(side * grow / multiple) * multiple for side in size)
    return rows, columns


def patches_within(size: Size, multiple: int, most: int) -> Size:
    """Multiples on both sides, and at most so many patches in all, as large as a search finds (SigLIP 2)."""
    low, high = PRECISION / 10, 100.0
    while high - low >= PRECISION:
        scale = (low + high) / 2
        rows, columns = (scaled(side, scale, multiple) for side in size)
        if (rows / multiple) * (columns / multiple) <= most:
            low = scale
        else:
            high = scale
    return scaled(size[0], low, multiple), scaled(size[1], low, multiple)


def scaled(side: int, scale: float, multiple: int) -> int:
    """Return a side times a scale, up to the next multiple, of which there is at least one."""
    return int(max(multiple, math.ceil(side * scale / multiple) * multiple))
