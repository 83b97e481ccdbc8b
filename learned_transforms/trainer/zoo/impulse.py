"""Kernels from the answers of float64 teachers to impulses: nothing is rounded, so that 12 digits can be learned."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.polynomial import Chebyshev, Polynomial
from torch import Tensor

from learned_transforms.errors import TeacherError
from learned_transforms.ir.interpolation import phi
from learned_transforms.trainer.optim.snap import snap

Part = tuple[Tensor, Tensor]
"""The matrix of a teacher at one size, rows summing to 1; and distances from the centres, in intervals of a kernel."""

IMPULSE_SHAPES = tuple((support, degree) for degree in (1, 3, 6, 9, 12, 15) for support in (1, 2, 3, 4))
"""Kernels from simple to rich: (support, degree)."""

WIDEST = max(support for support, _ in IMPULSE_SHAPES)

TOLERANCE = 1e-13
"""Root mean square error of the weights, of which a richer kernel must be more than twice as good."""


def learn_kernel(
    teacher: Callable[[Tensor, int], Tensor],
    sizes: Sequence[tuple[int, int]],
    antialias: bool = True,
    width: float = 1.0,
) -> Tensor:
    """Return the kernel ``[support, degree + 1]`` of a teacher that resizes float64 images to any size.

    Args:
        teacher: from ``[1, n, n]`` and m to ``[1, m, m]``, linear, separable, and alike along rows and columns.
        sizes: (n, m) to ask for, without a common divisor, so that the kernel is seen at many distances; several, since
            weights that are divided by their sum tell nothing of what the weights of one output have in common.
        antialias: the kernel is stretched where images get smaller. Without it, outputs near the edges are left out:
            their weights hold those of what lies outside. Taps are one pixel apart at every size then, and what the
            weights of one output have in common stays unknown; the simplest kernel that fits is taken.
        width: of the kernel's intervals, in taps.

    Raises:
        TeacherError: its answers are no resampling by one even kernel.
    """
    parts = [impulse_weights(teacher, *pair, antialias, width) for pair in sizes]
    best: tuple[float, Tensor] | None = None
    for support, degree in IMPULSE_SHAPES:
        error, kernel = fit(parts, support, degree)
        if best is None or error < best[0] / 2:
            best = error, kernel
        if best[0] < TOLERANCE:
            break
    if best is None or best[0] > 1e-6:
        raise TeacherError("The teacher's answers to impulses are no resampling by one even kernel.")
    return snap(best[1], lambda kernel: misfit(parts, kernel), slack=0.0, floor=TOLERANCE, most=1)[0][1]


def misfit(parts: Sequence[Part], kernel: Tensor) -> float:
    """Root mean square error of the weights that a kernel gives."""
    errors = []
    for weights, distance in parts:
        made = phi(kernel, distance)
        errors.append((made / made.sum(1, keepdim=True) - weights).flatten())
    return float(torch.cat(errors).square().mean().sqrt())


def impulse_weights(
    teacher: Callable[[Tensor, int], Tensor], n_in: int, n_out: int, antialias: bool, width: float
) -> Part:
    """Return what the teacher weighs each input by, for each output whose weights show the kernel alone."""
    rows = []
    for position in range(n_in):
        image = torch.zeros(1, n_in, n_in, dtype=torch.float64)
        image[0, position] = 1
        answer = teacher(image, n_out)
        if answer.dtype != torch.float64 or answer.shape != (1, n_out, n_out):
            raise TeacherError(f"Expected float64 [1, {n_out}, {n_out}], got {answer.dtype} {tuple(answer.shape)}.")
        rows.append(answer[0, :, n_out // 2])
    scale = n_in / n_out
    center = (torch.arange(n_out, dtype=torch.float64) + 0.5) * scale
    distance = (torch.arange(n_in, dtype=torch.float64) + 0.5 - center[:, None]).abs() / width
    matrix = torch.stack(rows, 1)
    matrix = matrix / matrix.sum(1, keepdim=True)
    if antialias:
        return matrix, distance / max(scale, 1)
    inner = (center >= WIDEST) & (center <= n_in - WIDEST)
    return matrix[inner], distance[inner]


def fit(parts: Sequence[Part], support: int, degree: int) -> tuple[float, Tensor]:
    """Return least squares of a kernel, its peak at 1; and the error of the weights.

    Each weight is ``phi(t)`` over the sum of its row's ``phi``: multiplied out, that is linear in the coefficients.
    Chebyshev polynomials on each interval keep the problem well-conditioned.
    """
    designs = []
    for weights, distance in parts:
        phi = pieces_at(distance, support, degree)
        designs.append((weights[..., None] * phi.sum(1, keepdim=True) - phi).flatten(0, 1))
    design = torch.cat(designs)
    # The peak, u = 0 in the first interval, is 1; it also bars the solution 0.
    peak = torch.zeros(1, design.shape[1], dtype=torch.float64)
    peak[0, : degree + 1] = (-1.0) ** torch.arange(degree + 1)
    system = torch.cat([design, peak])
    wanted = torch.cat([torch.zeros(len(design), dtype=torch.float64), torch.ones(1, dtype=torch.float64)])[:, None]
    found = torch.linalg.lstsq(system, wanted, driver="gelsd", rcond=1e-15).solution[:, 0]
    error = float((design @ found).square().mean().sqrt())
    return error, torch.stack([monomials(row) for row in found.view(support, degree + 1)])


def pieces_at(distance: Tensor, support: int, degree: int) -> Tensor:
    """Return what each coefficient of a kernel's Chebyshev polynomials counts at distances ``[...]``:
    ``[..., support * (degree + 1)]``."""
    piece = distance.floor().long()
    u = distance - piece
    basis = torch.cos(torch.arange(degree + 1) * torch.arccos((2 * u - 1).clamp(-1, 1))[..., None])
    inside = piece[..., None] == torch.arange(support)
    return (inside[..., None] * basis[..., None, :]).flatten(-2)


def monomials(coefficients: Tensor) -> Tensor:
    """Coefficients of 1, u, u^2, ... from those of Chebyshev polynomials of ``2 u - 1``."""
    series = Chebyshev(coefficients.numpy(), domain=[0, 1]).convert(kind=Polynomial)
    return torch.from_numpy(np.pad(series.coef, (0, len(coefficients) - len(series.coef))).copy())
