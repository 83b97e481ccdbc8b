"""What the reference makes of a warp: places, the pixels there, and what lies outside."""

import math
from itertools import accumulate, repeat
from typing import NamedTuple

import torch
from torch import Tensor

from learned_transforms.errors import PipelineValueError
from learned_transforms.ir.ops import Places, Slots, Warp
from learned_transforms.kernels.reference.rounding import NUMBER_DTYPES, multiply_add, to_levels

FARTHEST = 2.0**15
"""Places beyond are not held by 16 bits before the point."""


class Image(NamedTuple):
    """An image ``[..., C, H, W]`` and its size."""

    values: Tensor
    height: int
    width: int

    def at(self, row: Tensor, column: Tensor) -> Tensor:
        """Return the pixels at places ``[H', W']`` inside."""
        index = (row * self.width + column).flatten()
        found = self.values.flatten(-2).index_select(-1, index)
        return found.view(*found.shape[:-1], *row.shape)

    def holds(self, row: Tensor, column: Tensor) -> Tensor:
        """Return which places lie inside; what is no number does not."""
        return (row >= 0) & (row < self.height) & (column >= 0) & (column < self.width)


def warp(image: Tensor, stage: Warp) -> Tensor:
    if isinstance(stage.matrix, Slots):
        raise PipelineValueError(f"Expected factors from number {stage.matrix.first} on: they come with each image.")
    height, width = image.shape[-2:]
    size = stage.size or (height, width)
    fill = image.new_tensor(stage.fill or (0.0,), dtype=torch.float32).view(-1, 1, 1)
    taken = Image(image, height, width)
    place = cut_places if stage.form == "cut" else grid_places
    x, y = place(stage, stage.matrix, (height, width), size, image.device)
    if stage.taps is None:
        return nearest(taken, stage, fill, x, y)
    return (cut if stage.form == "cut" else sampled)(taken, stage, stage.taps, fill, x, y)


def nearest(image: Image, stage: Warp, fill: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Return the pixels in which places lie; those of the grid are middles of pixels."""
    if stage.form != "cut":
        x, y = x.round(), y.round()
    inside = image.holds(y, x)
    x, y = (place.where(inside, torch.zeros_like(place)).long() for place in (x, y))
    values = image.at(y, x)
    if values.dtype == torch.uint8:
        fill = to_levels(fill, "half_even")
    return torch.where(inside, values, fill)


def cut_places(
    stage: Warp, matrix: tuple[float, ...], before: tuple[int, int], size: tuple[int, int], device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return where in the image the pixels of the output lie, ``[H', W']`` each, in pixels: float64, or int64."""
    rows, columns = size
    if stage.taps is None and len(matrix) == 6 and stage.arithmetic.number == "int":
        return added_places(matrix, size, stage.arithmetic.bits, device)
    across = torch.arange(columns, dtype=torch.float64, device=device) + 0.5
    down = (torch.arange(rows, dtype=torch.float64, device=device) + 0.5)[:, None]
    x, y = (a * across + b * down + c for a, b, c in (matrix[:3], matrix[3:6]))
    if len(matrix) == 8:
        depth = matrix[6] * across + matrix[7] * down + 1
        x, y = x / depth, y / depth
    return x, y


def added_places(
    matrix: tuple[float, ...], size: tuple[int, int], bits: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return places to which steps are added one by one."""
    (a, b, c, d, e, f), (rows, columns) = matrix, size
    if b == 0 and d == 0:
        across = list(accumulate(repeat(a, columns - 1), initial=c + a * 0.5))
        down = list(accumulate(repeat(e, rows - 1), initial=f + e * 0.5))
        x = torch.tensor(across, dtype=torch.float64, device=device).expand(size)
        return x, torch.tensor(down, dtype=torch.float64, device=device)[:, None].expand(size)
    ends = [(x * p + y * q + r) for p, q, r in (matrix[:3], matrix[3:]) for x in (0, columns) for y in (0, rows)]
    if all(abs(end) < FARTHEST for end in ends):
        i, j = torch.arange(columns, device=device), torch.arange(rows, device=device)[:, None]
        starts = c + a * 0.5 + b * 0.5, f + d * 0.5 + e * 0.5
        x, y = (
            (whole(start, bits) + i * whole(p, bits) + j * whole(q, bits) + 2**31) % 2**32 - 2**31 >> bits
            for start, p, q in zip(starts, (a, d), (b, e), strict=True)
        )
        return x, y
    starts = c + b * 0.5 + a * 0.5, f + e * 0.5 + d * 0.5
    x, y = (
        torch.stack([added(float(first), p, columns, device) for first in added(start, q, rows, device)])
        for start, p, q in zip(starts, (a, d), (b, e), strict=True)
    )
    return x, y


def added(start: float, step: float, count: int, device: torch.device) -> Tensor:
    """Return ``start``, and what it becomes when ``step`` is added again and again: float64 ``[count]``."""
    return torch.tensor(list(accumulate(repeat(step, count - 1), initial=start)), dtype=torch.float64, device=device)


def whole(value: float, bits: int) -> int:
    """Return a number in units of 2^-bits, rounded half up."""
    return math.floor(value * 2.0**bits + 0.5)


def grid_places(
    stage: Warp, matrix: tuple[float, ...], before: tuple[int, int], size: tuple[int, int], device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return the same, float32, in pixels from the middle of the first, by way of halves of the image."""
    (height, width), (rows, columns) = before, size
    perspective = len(matrix) == 8
    if len(matrix) == 3:
        return in_pixels(stage, before, *field_of(matrix, size).to(device))
    across, down = (
        torch.arange(n, dtype=torch.float32, device=device) + (0.5 if perspective else (1 - n) * 0.5)
        for n in (columns, rows)
    )
    down = down[:, None]
    joins = stage.arithmetic if rows * columns >= stage.fused > 0 else None
    numbers = torch.tensor(matrix, dtype=torch.float32, device=device)

    def product(p: Tensor, q: Tensor, r: Tensor | float) -> Tensor:
        first = across * p
        both = first + down * q if joins is None else torch.addcmul(first.double(), down.double(), q.double()).float()
        return both + r

    x, y = (product(*(numbers[k : k + 3] / (0.5 * n)).unbind()) for k, n in ((0, width), (3, height)))
    if perspective:
        depth = product(numbers[6], numbers[7], 1.0)
        x, y = x / depth - 1, y / depth - 1
    return in_pixels(stage, before, x, y)


def field_of(told: tuple[float, ...], size: tuple[int, int]) -> Tensor:
    """Return the field of places that comes with an image, ``[2, H', W']``."""
    places, *of = told
    if not isinstance(places, Places) or (*of,) != size:
        raise PipelineValueError(f"Expected a place for each pixel of an output of {size}, got {told}.")
    return places.values


def in_pixels(stage: Warp, before: tuple[int, int], x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return places in pixels from the middle of the first, of such in halves of the image from its middle."""
    half = x.new_tensor(-0.5)
    down, across = (
        multiply_add(place + 1, place.new_tensor(n / 2), half, stage.arithmetic)
        for place, n in zip((y, x), before, strict=True)
    )
    return across, down


def cut(image: Image, stage: Warp, taps: Tensor, fill: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Return sums around places, along rows and then down, in which the pixels beyond the edge are the nearest."""
    inside = image.holds(y, x)
    x, y = (place.where(inside, torch.zeros_like(place)) - 0.5 for place in (x, y))
    column, row = x.floor(), y.floor()
    along, down = (x - column)[None], (y - row)[None]
    steps = range(1 - len(taps) // 2, len(taps) // 2 + 1)
    dtype = NUMBER_DTYPES[stage.arithmetic.number]
    columns = [(column.long() + step).clamp(0, image.width - 1) for step in steps]
    lines = []
    for step in steps:
        line = (row.long() + step).clamp(0, image.height - 1)
        lines.append(polynomial([image.at(line, place).to(dtype) for place in columns], taps, along.to(dtype)))
    total = polynomial(lines, taps, down.to(dtype))
    value = total.float() if stage.arithmetic.rounding == "none" else to_levels(total, stage.arithmetic.rounding)
    return torch.where(inside, value, fill.to(value.dtype))


def polynomial(pixels: list[Tensor], taps: Tensor, part: Tensor) -> Tensor:
    """Return the sum of pixels, each by the weight that ``taps`` give it, as a polynomial of ``part``."""
    total: Tensor | None = None
    for weights in taps.T.flip(0):
        terms = [pixel * weight for pixel, weight in zip(pixels, weights.tolist(), strict=True) if weight]
        coefficient = sum(terms[1:], terms[0])
        total = coefficient if total is None else coefficient + part * total
    if total is None:
        raise ValueError("Taps need at least one coefficient.")
    return total


def sampled(image: Image, stage: Warp, taps: Tensor, fill: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Return sums around places by products of weights, in which the pixels beyond the edge are 0."""
    column, row = x.floor(), y.floor()
    along, down = (weights_at(taps, part) for part in (x - column, y - row))
    steps = range(1 - len(taps) // 2, len(taps) // 2 + 1)
    total: Tensor | None = None
    share: Tensor | None = None
    for i, below in zip(steps, down, strict=True):
        for j, beside in zip(steps, along, strict=True):
            line, place, weight = row + i, column + j, below * beside
            inside = image.holds(line, place)
            line, place = (at.where(inside, torch.zeros_like(at)).long() for at in (line, place))
            pixels = image.at(line, place).float().where(inside, line.new_zeros((), dtype=torch.float32))
            total = multiply_add(pixels, weight, total, stage.arithmetic)
            if stage.fill:
                share = multiply_add(inside.float(), weight, share, stage.arithmetic)
    if total is None:
        raise ValueError("Taps need at least one pixel.")
    if share is not None:
        joined = (total - fill) * share + fill, total * share + (1 - share) * fill
        total = joined[stage.form == "sum"]
    return to_levels(total, stage.arithmetic.rounding)


def weights_at(taps: Tensor, part: Tensor) -> list[Tensor]:
    """Return the weight of each pixel along an axis, float32, as polynomials of ``part``."""
    found = []
    for coefficients in taps.tolist():
        weight = torch.full_like(part, coefficients[-1])
        for coefficient in reversed(coefficients[:-1]):
            weight = coefficient + part * weight
        found.append(weight)
    return found
