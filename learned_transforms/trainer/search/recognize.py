"""From free matrices to a kernel: which crop, flip, scale, shift and kernel explain what was learned."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import ceil, floor

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from learned_transforms.layers.grid import GRIDS
from learned_transforms.trainer.optim.fit import least_squares
from learned_transforms.trainer.search.placement import Line

STRAIGHT = 0.1
"""How far, in input pixels, the centres of learned rows may lie from a straight line."""

ON_GRID = 0.03
"""The same, for them to lie on one of ``grid.GRIDS``, and more than which they lie off the usual one."""

SAME_SCALE = 0.02
"""How far, relatively, the scale may be from that of the whole image for it to be called the whole image."""

RCOND, FINE_RCOND = 1e-2, 1e-3
"""Directions of the kernel that the matrices hardly show are left at their smallest: in the first estimate, and where
only what is left of the matrices counts."""

FEWEST = 8
MOST_LINES = 40
SHAPES = ((1, 1), (2, 3), (3, 3), (4, 3))
"""Kernels by which places are told apart."""

SIMPLE = 3e-3
"""A kernel that leaves less than this share of the squares of the matrices explains them."""

CLEARLY = 0.5
"""A rarer reading must leave less than this share of what a commoner one leaves, to come before it."""

UNLIKE = 0.1
"""A place that leaves more than this share of the squares of the matrices to any kernel is none."""


Lines = tuple[Line, Line]


@dataclass(frozen=True)
class Geometry:
    """What was found in free matrices.

    Attributes:
        flips: (rows, columns) are mirrored.
        shift: displacement of the centres, (down, right), input pixels.
        rows, columns: the matrices, each row summing to 1, flips undone.
        lines: the parts of the axes that are resized, and kept.
        antialias: the kernel is stretched where an axis gets shorter.
        left: share of the squares of the matrices that a simple kernel leaves.
        undecided: nothing tells ``antialias`` at this size.
    """

    flips: tuple[bool, bool]
    shift: Tensor
    rows: Tensor
    columns: Tensor
    lines: tuple[Line, Line]
    antialias: bool
    left: float
    undecided: bool = False

    @property
    def copied(self) -> bool:
        """Whether each output is one input."""
        same = all(line.length == line.full for line in self.lines)
        return same and all(float(matrix.amax(1).min()) > 0.95 for matrix in (self.rows, self.columns))


def as_whole(rows: Tensor, columns: Tensor) -> Geometry:
    """Read matrices as a resize of the whole image, whatever they show: steps of a box lie on no straight line."""
    rows, columns = rows.detach(), columns.detach()
    lines = Line(0, rows.shape[1], rows.shape[0], 0), Line(0, columns.shape[1], columns.shape[0], 0)
    return Geometry((False, False), torch.zeros(2, dtype=torch.float64), rows, columns, lines, True, 0.0)


@dataclass(frozen=True)
class Reading:
    """A line that explains a matrix ``[n_out, n_in]``, whose rows sum to 1 and are not flipped any more."""

    matrix: Tensor
    flipped: bool
    line: Line
    shift: float


def recognize(
    rows: Tensor, columns: Tensor, lines: Lines | None = None, straight: float = STRAIGHT
) -> list[Geometry] | str:
    """Return where the outputs of row and column matrices lie, the likeliest first; or why they are no resampling.

    ``lines`` are those of the rows and of the columns, where they are known; for ``straight`` see ``STRAIGHT``.
    """
    found: list[list[Reading]] = []
    known = lines or (None, None)
    for name, matrix, line in (("rows", rows, known[0]), ("columns", columns, known[1])):
        readings = read_axis(matrix.detach().double().cpu(), name, line, straight)
        if isinstance(readings, str):
            return readings
        found.append(readings)
    made: list[Geometry] = []
    simple: list[list[float]] = []
    for antialias in (True, False):
        chosen = []
        for readings in found:
            lefts = [unexplained(reading, antialias) for reading in readings]
            index = 0
            for i, each in enumerate(lefts):
                if min(each) < CLEARLY * min(lefts[index]):
                    index = i
            chosen.append((readings[index], lefts[index]))
        (down, left_down), (right, left_right) = chosen
        simple.append([max(pair) for pair in zip(left_down, left_right, strict=True)])
        shift = torch.tensor([down.shift, right.shift], dtype=torch.float64)
        lines, flips = (down.line, right.line), (down.flipped, right.flipped)
        left = min(simple[-1])
        made.append(Geometry(flips, shift, down.matrix, right.matrix, lines, antialias, left))
    stretched, plain = made
    shrinking = any(line.scale > 1 for line in (*stretched.lines, *plain.lines))
    # A rich kernel explains either: the simplest that explains one of them decides.
    decided = next((pair for pair in zip(*simple, strict=True) if min(pair) < SIMPLE), (stretched.left, plain.left))
    if shrinking and decided[1] < decided[0]:
        made = [plain, stretched]
    elif not shrinking:
        # At this size they differ in what lies beyond the borders alone.
        made = [plain, stretched] if decided[1] < CLEARLY * decided[0] else [replace(stretched, undecided=True)]
    return [
        geometry for geometry in made if geometry.left <= UNLIKE
    ] or f"any kernel leaves {min(stretched.left, plain.left):.1%} of the matrices"


def read_axis(matrix: Tensor, name: str, known: Line | None = None, straight: float = STRAIGHT) -> list[Reading] | str:
    """Lines that may explain a matrix, the whole axis first, or the one that is known; or why there is none."""
    n_out, n_in = matrix.shape
    if min(n_out, n_in) < FEWEST:
        return f"{n_out} x {n_in} {name} are too few to recognize a kernel in; at least 8 x 8 are needed"
    total = matrix.sum(1, keepdim=True)
    if float(total.min()) < 0.5:
        return f"some of the {name} do not sum to 1"
    matrix = matrix / total
    # At the borders windows are cut off, which moves their centres: only the middle is looked at.
    inner = slice(n_out // 5, n_out - n_out // 5)
    position = (torch.arange(n_out).double() + 0.5)[inner]
    pixels = torch.arange(n_in).double() + 0.5
    slope, offset = line_through(position, (matrix @ pixels)[inner])
    flipped = slope < 0
    if flipped:
        matrix = matrix.flip(0)
        slope, offset = line_through(position, (matrix @ pixels)[inner])
    centres = (matrix @ pixels)[inner]
    bent = float((centres - slope * position - offset).abs().max())
    if bent > straight:
        return f"centres of the {name} lie up to {bent:.2f} pixels off a straight line"
    if known is not None:
        return [Reading(matrix, flipped, known, float((centres - known.centres(n_out)[inner]).mean()))]
    found = []
    for grid in GRIDS[1:]:
        # Outputs that lie there need no shift, nor another scale.
        usual, line = Line(0, n_in, n_out, 0), Line(0, n_in, n_out, 0, grid=grid)
        off, usually = (float((centres - each.centres(n_out)[inner]).abs().max()) for each in (line, usual))
        if off < ON_GRID and off < CLEARLY * usually and usually > ON_GRID:
            found.append(Reading(matrix, flipped, line, 0.0))
    for line in lines_near(slope, offset, n_in, n_out):
        error = centres - line.centres(n_out)[inner]
        if line.full == n_out and line.length == n_in:
            found.append(Reading(matrix, flipped, line, float(error.mean())))
        elif float(error.abs().max()) <= STRAIGHT:
            found.append(Reading(matrix, flipped, line, 0.0))
    return found[:MOST_LINES] or f"scale of the {name} is {slope:.3f}, that of no crop and resize in whole pixels"


def line_through(position: Tensor, centres: Tensor) -> tuple[float, float]:
    """Return the slope and offset of centres."""
    slope, offset = least_squares(torch.stack([position, torch.ones_like(position)]), centres[None])[0].tolist()
    return slope, offset


def lines_near(slope: float, offset: float, n_in: int, n_out: int) -> Iterator[Line]:
    """Lines of whole numbers about as steep: the whole axis, part of a resized axis, all of a resized part."""
    if abs(slope * n_out / n_in - 1) <= SAME_SCALE:
        yield Line(0, n_in, n_out, 0)
    off = 2 * STRAIGHT / max(1, n_out - 2 * (n_out // 5))
    for full in range(max(n_out + 1, ceil(n_in / (slope + off))), floor(n_in / max(slope - off, 1e-3)) + 1):
        start = round(offset * full / n_in)
        for near in (start, start - 1, start + 1):
            if 0 <= near <= full - n_out:
                yield Line(0, n_in, full, near)
    for length in range(max(1, ceil((slope - off) * n_out)), min(n_in - 1, floor((slope + off) * n_out)) + 1):
        low = round(offset)
        for near in (low, low - 1, low + 1):
            # A crop that resizes nothing was met above.
            if 0 <= near <= n_in - length and length != n_out:
                yield Line(near, length, n_out, 0)


def unexplained(reading: Reading, antialias: bool) -> list[float]:
    """Share of the squares of a matrix that kernels from simple to rich leave."""
    found = []
    for shape in SHAPES:
        phi = basis(reading.matrix.shape, reading.line, reading.shift, antialias, *shape)
        kernel = estimate([(reading.matrix, phi)], shape[1], FINE_RCOND)
        made = phi @ kernel.flatten()
        made = made / made.sum(1, keepdim=True)
        found.append(float((made - reading.matrix).square().sum() / reading.matrix.square().sum()))
    return found


def basis(shape: tuple[int, ...], line: Line, shift: float, antialias: bool, support: int, degree: int) -> Tensor:
    """Return what each coefficient of a kernel adds to the weights before they are divided by their sum: ``[*shape,
    B]``."""
    n_out, n_in = shape
    stretch = max(line.scale, 1.0) if antialias else 1.0
    # Without antialiasing, what lies outside counts for the nearest pixel.
    margin = 0 if antialias else support + 1
    pixels = torch.arange(line.low - margin, line.low + line.length + margin)
    distance = (pixels + 0.5 - (line.centres(n_out) + shift)[:, None]).abs() / stretch
    piece = distance.floor().long()
    powers = (distance - piece)[..., None] ** torch.arange(degree + 1)
    within = one_hot(piece.clamp(max=support), support + 1)[..., :support]
    phi = (within[..., None] * powers[..., None, :]).flatten(2)
    made = phi.new_zeros(n_out, n_in, phi.shape[2])
    return made.index_add_(1, pixels.clamp(line.low, line.low + line.length - 1), phi)


def estimate(parts: list[tuple[Tensor, Tensor]], degree: int, rcond: float = RCOND) -> Tensor:
    """Return the least-squares kernel ``[support, degree + 1]``, its peak at 1, from matrices and their bases.

    Each weight is ``phi(t)`` over the sum of its row's ``phi``: multiplied out, that is linear in the coefficients.
    """
    designs = [(matrix[..., None] * phi.sum(1, keepdim=True) - phi).flatten(0, 1) for matrix, phi in parts]
    products = sum((design.T @ design for design in designs), torch.zeros(()))
    # Singular values of the products are squares of those of the design.
    rest = torch.linalg.lstsq(products[1:, 1:], -products[1:, :1], rcond=rcond**2, driver="gelsd").solution[:, 0]
    return torch.cat([rest.new_ones(1), rest]).view(-1, degree + 1)


def estimate_kernel(geometry: Geometry, support: int, degree: int) -> Tensor:
    """Return the least-squares kernel ``[support, degree + 1]`` behind row and column matrices."""
    parts = []
    for matrix, line, shift in zip(
        (geometry.rows, geometry.columns), geometry.lines, geometry.shift.tolist(), strict=True
    ):
        parts.append((matrix, basis(matrix.shape, line, shift, geometry.antialias, support, degree)))
    return estimate(parts, degree)
