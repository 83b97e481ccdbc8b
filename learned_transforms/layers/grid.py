"""A resize whose pixels lie on another grid than in the middle of their parts of the image, or are means of these."""

import torch
from torch import Tensor

from learned_transforms.ir.arithmetic import Arithmetic
from learned_transforms.ir.interpolation import FixedAxis, Taps, evaluate
from learned_transforms.ir.ops import Resample, Shape, Stage
from learned_transforms.ir.sizing import Size
from learned_transforms.layers.base import SUMMED, Params
from learned_transforms.layers.resize import RESIZED, Resampling, sizing_of, with_size
from learned_transforms.plain import Fields, one_of

GRIDS = ("centres", "corners", "starts")
"""Where outputs lie: in the middle of their parts of an axis, as is usual; such that the first and the last are those
of the input (``align_corners``); or at the start of their parts (asymmetric)."""

MEANS = ("overlaps", "overlaps or pairs", "touched")
"""Outputs that are means of their parts of the image, whatever the kernel: pixels count by how much of them lies there
(``overlaps``), or all alike (``touched``). With ``pairs``, images of which an axis grows have the first pixel of each
part count by that, and the next for all of the rest (OpenCV)."""

WEIGHTS = Arithmetic("float64")


def step_of(grid: str, n_in: int, n_out: int) -> float:
    """Return the distance between outputs, in input pixels."""
    if grid == "corners":
        return (n_in - 1) / (n_out - 1) if n_out > 1 else 0.0
    return n_in / n_out


def evaluate_on(
    grid: str, kernel: Tensor, shift: Tensor, n_in: int, n_out: int, antialias: bool = True, width: float = 1.0
) -> Taps:
    """As ``interpolation.evaluate``, in float64, for outputs on a grid."""
    if grid in (*MEANS, "pairs"):
        return FixedAxis(mean_of(grid, n_in, n_out).to(kernel.device), WEIGHTS).fixed
    if grid == "centres":
        return evaluate(kernel, shift, n_in, n_out, WEIGHTS, antialias, width)
    step = step_of(grid, n_in, n_out)
    return evaluate(kernel, shift + 0.5 - 0.5 * step, n_in, n_out, WEIGHTS, antialias, width, step * n_out)


def mean_of(grid: str, n_in: int, n_out: int) -> Tensor:
    """Return the matrix ``[n_out, n_in]`` of means, from whole numbers: a pixel is ``n_out`` long, a part ``n_in``."""
    starts, pixels = torch.arange(n_out)[:, None] * n_in, torch.arange(n_in) * n_out
    overlap = (torch.minimum(starts + n_in, pixels + n_out) - torch.maximum(starts, pixels)).clamp(min=0)
    if grid == "touched":
        overlap = (overlap > 0).long()
    elif grid == "pairs":
        first = overlap * (pixels <= starts)
        overlap = first + (n_in - first.sum(1, keepdim=True)) * (pixels - starts > 0) * (pixels - starts <= n_out)
    return overlap.double() / overlap.sum(1, keepdim=True)


def grows(inputs: Size, outputs: Size) -> bool:
    """Return whether an axis gets longer."""
    return any(m > n for n, m in zip(inputs, outputs, strict=True))


def settled_grid(grid: str, inputs: Size, outputs: Size) -> str:
    """Return the grid along each axis of an image."""
    if grid != "overlaps or pairs":
        return grid
    return "pairs" if grows(inputs, outputs) else "overlaps"


class GridResampling(Resampling):
    """A resize on a grid.

    Params: those of :class:`~learned_transforms.layers.resize.Resampling`, and ``grid``, one of ``GRIDS`` or ``MEANS``.

    Args:
        growing: arithmetic for images of which an axis grows; None: the same as for others.
    """

    fixed = True
    options = Fields(
        {**Resampling.options.checks, "growing": SUMMED.checks["arithmetic"]}, (*Resampling.options.optional, "growing")
    )
    takes = Fields({**RESIZED.checks, "grid": one_of(*GRIDS, *MEANS)}, RESIZED.optional)
    selected = ("growing",)

    def __init__(
        self,
        kernel: Tensor,
        shift: Tensor,
        arithmetic: Arithmetic,
        width: float = 1.0,
        growing: Arithmetic | None = None,
    ) -> None:
        super().__init__(kernel, shift, arithmetic, width)
        self.growing = growing

    def stages(self, shape: Shape, params: Params, relaxed: bool = False) -> list[Stage]:
        plain = {name: value for name, value in params.items() if name != "grid"}
        inputs = shape[1], shape[2]
        size = sizing_of(with_size(plain, shape)).of(inputs)
        arithmetic, antialias = self.effective(relaxed), params.get("antialias", True)
        if self.growing is not None and not relaxed and grows(inputs, size):
            arithmetic = self.growing
        grid = settled_grid(params["grid"], inputs, size)
        rows, columns = (
            FixedAxis(evaluate_on(grid, self.kernel, shift, n, m, antialias, self.width).dense(), arithmetic)
            for shift, n, m in zip(self.shift, inputs, size, strict=True)
        )
        return [Resample(rows, columns, arithmetic)]
