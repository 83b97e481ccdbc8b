"""Operations that smooth or sharpen: each pixel is made of those around it."""

from dataclasses import dataclass

from torch import Tensor

from learned_transforms.ir.arithmetic import Arithmetic
from learned_transforms.ir.indexing import BORDERS as PADS
from learned_transforms.ir.indexing import check_padding
from learned_transforms.ir.ops.base import Alike, Factor, Shape, Stage

FILTER_BORDERS = ("copy", *PADS)
"""What a filter does where its window leaves the image: give the pixel as it is, or take what ``indexing.BORDERS``
says."""


BLURS = ("passes", "density", "softmax")
"""Forms of a :class:`Blur`."""


@dataclass(frozen=True, eq=False)
class Filter(Alike):
    """Correlation with a window: ``out[y, x] = sum_ij weights[i, j] * in[y + i - h // 2, x + j - w // 2]``.

    ``weights`` is float64 ``[h, w]``, both odd; terms are summed row by row; ``border`` is one of ``FILTER_BORDERS``.
    """

    weights: Tensor
    border: str
    arithmetic: Arithmetic


@dataclass(frozen=True, eq=False)
class Blur(Alike):
    """Smooth with taps ``exp(sum_k coefficients[k] * (distance / sigma) ** (2 * k + 2))``, scaled to a sum of 1.

    ``size`` (height, width) of the window, both odd. Beyond the image lies ``border``; ``limited``: no more of it may
    be mirrored than there is. ``form`` says how taps and sums are computed:

    ``"passes"``: taps in float64, rounded to float32. Rows are summed first, into float32, then columns.

    ``"density"`` and ``"softmax"`` (torch): taps of one coefficient below 0 in float32, as densities by their sum, or
    as a softmax. Those down and across are multiplied, and a window is summed at once, row by row, each product fused
    onto the sum of those before.
    """

    coefficients: Tensor
    sigma: Factor
    size: tuple[int, int]
    border: str
    arithmetic: Arithmetic
    limited: bool = False
    form: str = "passes"

    def at(self, shape: Shape) -> Stage | None:
        if self.limited and self.border in ("reflect", "symmetric"):
            down, across = (length // 2 for length in self.size)
            check_padding((across, down, across, down), shape[1:], self.border)
        return self


@dataclass(frozen=True, eq=False)
class BoxBlur(Alike):
    """Smooth uint8 images with ``passes`` boxes after another, along rows, then down columns, near a Gaussian of sigma.

    A box counts pixels up to ``radius`` away alike, and those behind them less; beyond the image lies its nearest
    pixel; each pass rounds half up. See ``kernels.reference.color.box_of``.
    """

    sigma: Factor
    passes: int
