"""Fitting a kernel, its shift, and the channel map behind it, to pairs of several sizes at once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from learned_transforms.layers.resize import Resampling
from learned_transforms.trainer.optim.checkpoint import Tensors, Values
from learned_transforms.trainer.optim.fit import separable
from learned_transforms.trainer.optim.training import Epoch, Score, Settings, train
from learned_transforms.trainer.search.placement import WHOLE_PLACEMENT, PlacedResampling

MOST_TRIES = 8
"""How often a step is shortened before it is given up."""

STEP = 1e-5
"""Of central differences of the matrices, which are smooth: good to about 1e-10."""

Sized = tuple[Tensor, Tensor]
"""Inputs ``[N, C, H, W]`` and targets ``[N, C', H', W']`` of one size, float64."""


def kernel_matrices(layer: Resampling, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return the row and the column matrix that a kernel comes to, from the size of ``x`` to the size of ``y``."""
    placement = layer.placement if isinstance(layer, PlacedResampling) else WHOLE_PLACEMENT
    inputs, output = ((part.shape[-2], part.shape[-1]) for part in (x, y))
    found = placement.matrices(layer.kernel, layer.shift, inputs, output)
    if found is None:
        raise ValueError(f"{placement} leaves images of {inputs}, or gives no {output}.")
    return found


def kernel_loss(layer: Resampling, weight: Tensor, bias: Tensor, parts: Sequence[Sized]) -> Score:
    """Mean squared error over all values, and the largest error, of a kernel and a channel map without rounding."""
    squares, largest, values = 0.0, 0.0, 0
    for x, y in parts:
        error = separable(*kernel_matrices(layer, x, y), weight, bias, x) - y
        squares, values = squares + float(error.square().sum()), values + error.numel()
        largest = max(largest, float(error.abs().max()))
    return squares / values, largest


@dataclass
class Damping:
    """How far Levenberg-Marquardt steps are held back; it goes on from epoch to epoch."""

    value: float = 1e-3

    def dump(self) -> tuple[Tensors, Values]:
        return {}, {"damping": self.value}

    def load(self, tensors: Tensors, values: Values) -> None:
        self.value = float(values["damping"])


def fit_kernel(
    layer: Resampling,
    mix: tuple[Tensor, Tensor],
    data: Sequence[Sized],
    held_out: Sequence[Sized],
    settings: Settings,
) -> tuple[Tensor, Tensor, list[Epoch]]:
    """Refit a kernel, its shift, and channel weights and bias together; ``layer`` is changed.

    One epoch is one Levenberg-Marquardt step. There are a few dozen weights at most, so that second-order steps are
    cheap; and kernels of high degree are too ill-conditioned for gradients alone.

    Args:
        layer: the kernel to start from.
        mix: channel weights ``[C_out, C_in]`` and bias ``[C_out]`` to start from.
        data: pairs, one entry per size of image; targets are not flipped against inputs.
        held_out: the same, for validation.

    Returns:
        Channel weights, bias, and the history.
    """
    weight, bias = (part.detach().double().clone() for part in mix)
    kernel, shift = layer.kernel.detach(), layer.shift.detach()
    weights = {"kernel": kernel, "shift": shift, "weight": weight, "bias": bias}
    # Only the shape of a kernel counts, since weights are divided by their sum: its peak stays 1.
    free = [kernel.view(-1)[1:], shift, weight.view(-1), bias]
    damping = Damping()

    def move(change: Tensor) -> None:
        for part, own in zip(free, change.split([len(part) for part in free]), strict=True):
            part += own

    def step() -> Score:
        before = kernel_loss(layer, weight, bias, data)
        curvature, slope = normal_equations(layer, weight, bias, data)
        for _ in range(MOST_TRIES):
            # Coefficients that no image shows keep their place.
            least = 1e-14 * curvature.diagonal().max() + 1e-30
            damped = curvature + torch.diag(curvature.diagonal() * damping.value + least)
            change = torch.linalg.solve(damped, -slope)
            move(change)
            after = kernel_loss(layer, weight, bias, data)
            if after[0] <= before[0]:
                damping.value = max(damping.value / 10, 1e-12)
                return after
            move(-change)
            damping.value *= 10
        return before

    def validate() -> Score:
        return kernel_loss(layer, weight, bias, held_out)

    name = f"kernel, support {kernel.shape[0]}, degree {kernel.shape[1] - 1}"
    return weight, bias, train(name, weights, step, validate, settings, damping)


def normal_equations(layer: Resampling, weight: Tensor, bias: Tensor, data: Sequence[Sized]) -> tuple[Tensor, Tensor]:
    """``J J^T`` and ``J r`` of all weights that move, in the order of ``free`` in :func:`fit_kernel`."""
    sums: list[tuple[Tensor, Tensor]] = []
    for x, y in data:
        residual = separable(*kernel_matrices(layer, x, y), weight, bias, x) - y
        jacobian = torch.stack([slope.expand_as(y).flatten() for slope in slopes(layer, weight, x, y)])
        sums.append((jacobian @ jacobian.T, jacobian @ residual.flatten()))
    curvatures, gradients = zip(*sums, strict=True)
    return torch.stack(curvatures).sum(0), torch.stack(gradients).sum(0)


def slopes(layer: Resampling, weight: Tensor, x: Tensor, y: Tensor) -> Iterator[Tensor]:
    """Yield how the prediction for ``x`` changes with each weight that moves."""
    rows, columns = kernel_matrices(layer, x, y)
    mixed = torch.einsum("oc,nchw->nohw", weight, x)
    wide, tall = mixed @ columns.T, rows @ mixed
    for values, first in ((layer.kernel.detach().view(-1), 1), (layer.shift.detach(), 0)):
        for index in range(first, len(values)):
            d_rows, d_columns = matrix_slopes(layer, values, index, x, y)
            yield d_rows @ wide + tall @ d_columns.T
    outputs = torch.eye(len(weight), dtype=y.dtype, device=y.device)[..., None, None]
    planes = rows @ x @ columns.T
    for output in outputs:
        for c in range(weight.shape[1]):
            yield output * planes[:, c : c + 1]
    yield from outputs[:, None]


def matrix_slopes(layer: Resampling, values: Tensor, index: int, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return how the row and the column matrix change with ``values[index]``, by central differences."""
    kept = values[index].clone()
    values[index] = kept + STEP
    above = kernel_matrices(layer, x, y)
    values[index] = kept - STEP
    below = kernel_matrices(layer, x, y)
    values[index] = kept
    rows, columns = ((a - b).detach() / (2 * STEP) for a, b in zip(above, below, strict=True))
    return rows, columns
