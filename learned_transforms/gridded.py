"""A resize whose pixels lie on another grid than in the middle of their parts of the image."""

from torch import Tensor

from learned_transforms.arithmetic import Arithmetic
from learned_transforms.layers import RESIZED, Params, Resampling, settled, sizing_of
from learned_transforms.plain import Fields, one_of
from learned_transforms.plan import Resample, Shape, Stage
from learned_transforms.taps import FixedAxis, Taps, evaluate

GRIDS = ("centres", "corners", "starts")
"""Where outputs lie: in the middle of their parts of an axis, as is usual; such that the first and the last are those
of the input (``align_corners``); or at the start of their parts (asymmetric)."""

WEIGHTS = Arithmetic("float64")


def step_of(grid: str, n_in: int, n_out: int) -> float:
    """The distance between outputs, in input pixels."""
    if grid == "corners":
        return (n_in - 1) / (n_out - 1) if n_out > 1 else 0.0
    return n_in / n_out


def evaluate_on(
    grid: str, kernel: Tensor, shift: Tensor, n_in: int, n_out: int, antialias: bool = True, width: float = 1.0
) -> Taps:
    """As ``taps.evaluate``, in float64, for outputs on a grid."""
    if grid == "centres":
        return evaluate(kernel, shift, n_in, n_out, WEIGHTS, antialias, width)
    step = step_of(grid, n_in, n_out)
    return evaluate(kernel, shift + 0.5 - 0.5 * step, n_in, n_out, WEIGHTS, antialias, width, step * n_out)


class GridResampling(Resampling):
    """A resize on a grid.

    Params: those of :class:`~learned_transforms.layers.Resampling`, and ``grid``, one of ``GRIDS``.
    """

    fixed = True
    takes = Fields({**RESIZED.checks, "grid": one_of(*GRIDS)}, RESIZED.optional)

    def stages(self, shape: Shape, params: Params, relaxed: bool = False) -> list[Stage]:
        plain = {name: value for name, value in params.items() if name != "grid"}
        size = sizing_of(settled(plain, shape)).of(shape[1:])
        arithmetic, antialias = self.effective(relaxed), params.get("antialias", True)
        rows, columns = (
            FixedAxis(
                evaluate_on(params["grid"], self.kernel, shift, n_in, n_out, antialias, self.width).dense(), arithmetic
            )
            for shift, n_in, n_out in zip(self.shift, shape[1:], size, strict=True)
        )
        return [Resample(rows, columns, arithmetic)]
