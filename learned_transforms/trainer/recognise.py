"""From free matrices to a kernel: which flip, shift and kernel explain what was learned."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from learned_transforms.fixed import Separable
from learned_transforms.trainer.fit import least_squares

STRAIGHT = 0.1
"""How far, in input pixels, the centres of learned rows may lie from a straight line."""

SAME_SCALE = 0.02
"""How far, relatively, the scale may be from input / output."""

RCOND = 1e-2
"""Directions of the kernel that the matrices hardly show are left at their smallest in the first estimate."""


@dataclass(frozen=True)
class Geometry:
    """What was found in free matrices.

    Attributes:
        flips: (rows, columns) are mirrored.
        shift: displacement of the centres, (down, right), input pixels.
        rows, columns: the matrices, each row summing to 1, flips undone.
    """

    flips: tuple[bool, bool]
    shift: Tensor
    rows: Tensor
    columns: Tensor


def recognise(network: Separable) -> Geometry | str:
    """Flips and shift of a free separable network, or the reason why it is no resampling."""
    found = []
    for name in ("rows", "columns"):
        axis = recognise_axis(getattr(network, name).detach().double(), name)
        if isinstance(axis, str):
            return axis
        found.append(axis)
    (flip_rows, down, rows), (flip_columns, right, columns) = found
    return Geometry((flip_rows, flip_columns), torch.tensor([down, right], dtype=torch.float64), rows, columns)


def recognise_axis(matrix: Tensor, name: str) -> tuple[bool, float, Tensor] | str:
    """Flip, shift, and the matrix with its flip undone and rows summing to 1; or why it is no resampling."""
    n_out, n_in = matrix.shape
    if min(n_out, n_in) < 8:
        return f"{n_out} x {n_in} {name} are too few to recognise a kernel in; at least 8 x 8 are needed"
    total = matrix.sum(1, keepdim=True)
    if float(total.min()) < 0.5:
        return f"some of the {name} do not sum to 1"
    matrix = matrix / total
    # At the borders windows are cut off, which moves their centres: only the middle is looked at.
    inner = slice(n_out // 5, n_out - n_out // 5)
    position = (torch.arange(n_out).double() + 0.5)[inner]
    centres = (matrix @ (torch.arange(n_in).double() + 0.5))[inner]
    slope, offset = least_squares(torch.stack([position, torch.ones_like(position)]), centres[None])[0].tolist()
    bent = float((centres - slope * position - offset).abs().max())
    if bent > STRAIGHT:
        return f"centres of the {name} lie up to {bent:.2f} pixels off a straight line"
    if abs(abs(slope) * n_out / n_in - 1) > SAME_SCALE:
        return f"scale of the {name} is {abs(slope):.3f}, not input / output = {n_in / n_out:.3f}"
    return (True, offset - n_in, matrix.flip(0)) if slope < 0 else (False, offset, matrix)


def estimate_kernel(geometry: Geometry, support: int, degree: int) -> Tensor:
    """The least-squares kernel ``[support, degree + 1]``, its peak at 1, behind row and column matrices.

    Each weight is ``phi(t)`` over the sum of its row's ``phi``: multiplied out, that is linear in the coefficients.
    """
    designs = []
    for matrix, offset in zip((geometry.rows, geometry.columns), geometry.shift.tolist(), strict=True):
        n_out, n_in = matrix.shape
        scale = n_in / n_out
        centre = (torch.arange(n_out).double() + 0.5) * scale + offset
        distance = ((torch.arange(n_in).double() + 0.5) - centre[:, None]).abs() / max(scale, 1)
        piece = distance.floor().long()
        powers = (distance - piece)[..., None] ** torch.arange(degree + 1)
        inside = one_hot(piece.clamp(max=support), support + 1)[..., :support]
        phi = (inside[..., None] * powers[..., None, :]).flatten(2)
        designs.append((matrix[..., None] * phi.sum(1, keepdim=True) - phi).flatten(0, 1))
    design = torch.cat(designs)
    rest = torch.linalg.lstsq(design[:, 1:], -design[:, :1], rcond=RCOND, driver="gelsd").solution[:, 0]
    return torch.cat([rest.new_ones(1), rest]).view(support, degree + 1)
