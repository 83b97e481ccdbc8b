"""Operations that take pixels from places which a matrix gives, or a field."""

from contextlib import suppress
from dataclasses import dataclass

from torch import Tensor

from learned_transforms.ir.arithmetic import Arithmetic
from learned_transforms.ir.ops.base import Shape, Slots, Stage

WARPS = ("cut", "from_fill", "sum")
"""Forms of a :class:`Warp`."""


class Places(float):
    """Places of the image for the pixels of an output: as a factor, where they lie in memory.

    Args:
        values: float32 ``[2, rows, columns]``, contiguous, on the CPU: x and y in halves of the image from its middle.
    """

    values: Tensor

    def __new__(cls, values: Tensor) -> "Places":
        address = 0
        with suppress(RuntimeError):  # Where torch looks on, they have no memory; the reference needs none.
            address = values.data_ptr()
        made = super().__new__(cls, address)
        made.values = values
        return made


@dataclass(frozen=True, eq=False)
class Warp(Stage):
    """Each output pixel is what lies at a place of the image, which a matrix gives, or a field of places.

    ``matrix`` has the 6 numbers of an affine map, or the 8 of a perspective, from places of the output (x, y) to those
    of the image. Of a field there are 3: its :class:`Places`, rows and columns; they come with each image, and are for
    the last two forms. ``size`` (rows, columns) of the output; None: as the input's. ``taps`` float64 ``[n, terms]``:
    the weight of each of n pixels along an axis, of which half lie before the place, is a polynomial of the fraction of
    a pixel by which the place lies behind the last of these, constant terms first; None: the nearest pixel is taken.
    ``fill``: a value for each channel of what lies outside; none: 0.

    ``form`` says how places, sums, and what lies outside are computed:

    ``"cut"`` (Pillow): places are in pixels. One outside is fill; pixels beyond the edge are the nearest. Sums along
    the rows come first, then one down the columns, each a polynomial whose coefficients are sums of pixels. Nearest
    pixels of affine maps in integers: places are whole multiples of 2^-bits, added up; or in float64, where nothing is
    turned or sheared, or beyond 2^15.

    ``"from_fill"`` and ``"sum"`` (torch): places are in halves of the image from its middle, float32, and pixels
    beyond the edge are 0. With ``share``, the same sum of an image of ones, fill joins each sum as
    ``(sum - fill) * share + fill``, or ``sum * share + (1 - share) * fill``. The product of places and matrix is fused
    for outputs of at least ``fused`` pixels, where that is not 0.
    """

    matrix: Slots | tuple[float, ...]
    size: tuple[int, int] | None
    taps: Tensor | None
    fill: tuple[float, ...]
    form: str
    arithmetic: Arithmetic
    fused: int = 0

    def output(self, shape: Shape) -> Shape:
        return shape if self.size is None else (shape[0], *self.size)
