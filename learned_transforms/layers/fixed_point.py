"""A resize without antialiasing by taps that are whole multiples of a fraction, at any size."""

import torch
from torch import Tensor

from learned_transforms.errors import PipelineValueError
from learned_transforms.ir.arithmetic import Arithmetic
from learned_transforms.ir.interpolation import FixedAxis, phi
from learned_transforms.ir.ops import Resample, Shape, Stage
from learned_transforms.layers.base import Params
from learned_transforms.layers.resize import RESIZED, Resampling, sizing_of, with_size
from learned_transforms.plain import Fields, integer

MOST_BITS = 16
"""Of the fraction of a tap."""


def taps_at(n_in: int, n_out: int, shift: float) -> tuple[Tensor, Tensor]:
    """Return where outputs lie: the pixel before each, counted from 0, and how far behind it, in float32; both as
    float64."""
    places = (torch.arange(n_out, dtype=torch.float64) + 0.5) * (n_in / n_out) - 0.5 + shift
    near = places.float()
    return near.floor().double(), (near - near.floor()).double()


def whole_taps(kernel: Tensor, shift: float, n_in: int, n_out: int, bits: int) -> Tensor:
    """Return the matrix ``[n_out, n_in]``, float64; each tap is rounded before those outside join the nearest
    pixel's."""
    first, part = (where.to(kernel.device) for where in taps_at(n_in, n_out, shift))
    steps = torch.arange(1 - len(kernel), len(kernel) + 1, device=kernel.device)
    # Nothing is divided by their sum: it need not be 1.
    whole = (phi(kernel, part[:, None] - steps) * 2.0**bits).round() / 2.0**bits
    index = (first[:, None] + steps).long().clamp(0, n_in - 1)
    return whole.new_zeros(n_out, n_in).scatter_add(1, index, whole)


class FixedPointResampling(Resampling):
    """A resize whose taps are multiples of ``2 ** -bits``, and whose sums are rounded once (OpenCV).

    Params: ``size``, see :class:`~learned_transforms.layers.resize.Resampling`.

    Args:
        kernel, shift: see :class:`~learned_transforms.layers.resize.Resampling`.
        arithmetic: float; with float64, sums are exact.
        bits: 1 to 16.
    """

    fixed = True
    options = Fields({**Resampling.options.checks, "bits": integer(1, MOST_BITS)}, Resampling.options.optional)
    takes = Fields({"size": RESIZED.checks["size"]})
    selected = ("bits",)

    def __init__(self, kernel: Tensor, shift: Tensor, arithmetic: Arithmetic, bits: int, width: float = 1.0) -> None:
        super().__init__(kernel, shift, arithmetic, width)
        if not 1 <= bits <= MOST_BITS or width != 1 or arithmetic.number == "int":
            raise PipelineValueError(
                f"Expected 1 to {MOST_BITS} bits, a width of 1 and an arithmetic of floats, "
                f"got {bits}, {width} and {arithmetic}."
            )
        self.bits = bits

    def stages(self, shape: Shape, params: Params, relaxed: bool = False) -> list[Stage]:
        inputs, arithmetic = (shape[1], shape[2]), self.effective(relaxed)
        size = sizing_of(with_size(params, shape)).of(inputs)
        rows, columns = (
            FixedAxis(whole_taps(self.kernel, float(shift), n, m, self.bits), arithmetic)
            for shift, n, m in zip(self.shift, inputs, size, strict=True)
        )
        return [Resample(rows, columns, arithmetic)]
