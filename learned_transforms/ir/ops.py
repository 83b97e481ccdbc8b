"""Operations on images, of which plans are made. Shapes are ``(C, H, W)``; levels are values in [0, 255]."""

from dataclasses import dataclass, replace
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from learned_transforms.errors import EmptyImageError, PipelineValueError
from learned_transforms.ir.arithmetic import Arithmetic
from learned_transforms.ir.indexing import BORDERS as PADS
from learned_transforms.ir.indexing import Keep, Kept, Nearest, Padded, Part, Rule, check_padding
from learned_transforms.ir.interpolation import Axis, FixedAxis
from learned_transforms.ir.sizing import Sizing

Shape = tuple[int, int, int]


class Given:
    """Base of stages: most are the same whatever the size of the image, or are of one size."""

    def at(self, shape: Shape) -> "Stage | None":
        """Return the same for images of one ``shape``, without rules; None: nothing is done to these.

        Raises:
            InputShapeError: the stage does not take such images; or an error that torchvision raises for them.
        """
        return self  # type: ignore[return-value]


class Alike(Given):
    """Base of stages whose output has the shape of their input."""

    def output(self, shape: Shape) -> Shape:
        return shape


@dataclass(frozen=True, eq=False)
class Resample(Given):
    """Separable resampling in two passes; of input of any size, where no axis is fixed."""

    rows: Axis | FixedAxis
    columns: Axis | FixedAxis
    arithmetic: Arithmetic

    def output(self, shape: Shape) -> Shape:
        return shape[0], len(self.rows), len(self.columns)

    def rows_first(self, height: int, width: int) -> bool:
        """Return whether the pass over the rows comes first, for input of this size; columns come first otherwise."""
        fewer = height - self.rows.size
        return self.arithmetic.tall_first and fewer > 0 and fewer > 2 * (width - self.columns.size)


@dataclass(frozen=True, eq=False)
class Resize:
    """A resample of images of any size, to what a rule gives; where ``still``, images of that size stay as they are.

    ``rows`` and ``columns`` are for any number of outputs. Beyond ``arithmetic.small`` rows and columns of the output
    together, if it is not 0, ``larger`` is the arithmetic.
    """

    sizing: Sizing
    rows: Axis
    columns: Axis
    arithmetic: Arithmetic
    larger: Arithmetic | None
    still: bool

    def output(self, shape: Shape) -> Shape:
        return shape[0], *self.sizing.of(shape[1:])

    def at(self, shape: Shape) -> "Stage | None":
        size = self.sizing.of(shape[1:])
        if size == shape[1:] and self.still:
            return None
        beyond = self.larger is not None and sum(size) > self.arithmetic.small
        how = self.larger if beyond and self.larger is not None else replace(self.arithmetic, small=0)
        return Resample(self.rows.sized(size[0], how), self.columns.sized(size[1], how), how)


@dataclass(frozen=True, eq=False)
class Pick:
    """A resize of images of any size, to what a rule gives, by taking one pixel for each: ``nearest`` to it."""

    sizing: Sizing
    nearest: Nearest

    def output(self, shape: Shape) -> Shape:
        return shape[0], *self.sizing.of(shape[1:])

    def at(self, shape: Shape) -> "Stage | None":
        size = self.sizing.of(shape[1:])
        return None if size == shape[1:] else Gather(None, self.nearest.sized(size[0]), self.nearest.sized(size[1]))


@dataclass(frozen=True, eq=False)
class Product(Given):
    """``rows [H', H] @ image @ columns.T [W, W']``: full matrices, in a float type, without rounding.

    With ``rows [K, H', H]`` and ``columns [K, W', W]``, channels come in K groups, and each has matrices of its own.
    """

    rows: Tensor
    columns: Tensor
    arithmetic: Arithmetic

    def output(self, shape: Shape) -> Shape:
        return shape[0], int(self.rows.shape[-2]), int(self.columns.shape[-2])


@dataclass(frozen=True, eq=False)
class Sparse(Given):
    """Each output pixel is ``bias[p] + sum_k weights[p, k] * pixels[index[p, k]]``, in every channel alike.

    ``index`` (int64) and ``weights`` (float64) are ``[H' * W', K]``, pixels and outputs counted row by row; ``size`` is
    (H, W), ``shape`` is (H', W'). Terms are summed in the order of k, ``bias [H' * W']``, in levels, last.
    """

    index: Tensor
    weights: Tensor
    bias: Tensor
    size: tuple[int, int]
    shape: tuple[int, int]
    arithmetic: Arithmetic

    def output(self, shape: Shape) -> Shape:
        return shape[0], *self.shape


BORDERS = ("copy", *PADS)
"""What a filter does where its window leaves the image: give the pixel as it is, or take what ``indexing.BORDERS``
says."""


@dataclass(frozen=True, eq=False)
class Filter(Alike):
    """Correlation with a window: ``out[y, x] = sum_ij weights[i, j] * in[y + i - h // 2, x + j - w // 2]``.

    ``weights`` is float64 ``[h, w]``, both odd; terms are summed row by row; ``border`` is one of ``BORDERS``.
    """

    weights: Tensor
    border: str
    arithmetic: Arithmetic


class Slot(NamedTuple):
    """A number that is drawn for every image: entry ``number`` of the factors that come with it."""

    number: int


class Slots(NamedTuple):
    """Numbers that are drawn for every image: ``length`` entries, from number ``first`` on, of its factors."""

    first: int
    length: int


@dataclass(frozen=True, eq=False)
class Gather(Given):
    """Copy chosen channels, rows and columns: crop, flip, channel copies. None keeps an axis as it is.

    ``outside``: some of the rows or columns lie outside the image, and are ``fill``, one value for each channel of the
    image; without any, they are 0. ``limited``: no more may be mirrored there than the image has. ``starts``: where
    the parts that rows and columns are begin, if that is drawn for every image.
    """

    channels: tuple[int, ...] | None = None
    rows: Kept | None = None
    columns: Kept | None = None
    outside: bool = False
    fill: tuple[float, ...] = ()
    limited: bool = False
    starts: Slots | tuple[float, ...] | None = None

    def output(self, shape: Shape) -> Shape:
        channels = shape[0] if self.channels is None else len(self.channels)
        rows, columns = (
            n if kept is None else kept.length(n) for kept, n in zip((self.rows, self.columns), shape[1:], strict=True)
        )
        return channels, rows, columns

    def at(self, shape: Shape) -> "Stage | None":
        size = shape[1:]
        if isinstance(self.starts, Slots):
            return self
        if self.starts is not None:
            parts = zip((self.rows, self.columns), self.starts, strict=True)
            down, across = (replace(cast(Part, part), start=int(start)) for part, start in parts)
            return replace(self, rows=down, columns=across, starts=None).at(shape)
        if not isinstance(self.rows, Rule) and not isinstance(self.columns, Rule):
            kept = zip((self.rows, self.columns), size, strict=True)
            leaves = not self.outside and any(isinstance(keep, Keep) and not keep.inside(n) for keep, n in kept)
            return replace(self, outside=True) if leaves else self
        if self.limited:
            self.check_mirrors(size)
        if min(self.output(shape)[1:]) < 1:
            raise EmptyImageError(f"A crop leaves nothing of an image of {size} (rows, columns).")
        rows, columns = (kept and kept.on(n) for kept, n in zip((self.rows, self.columns), size, strict=True))
        return replace(self, rows=rows, columns=columns, limited=False).at(shape)

    def check_mirrors(self, size: tuple[int, int]) -> None:
        """Require that images of ``size`` are not mirrored more than once."""
        pads = []
        for rule, n in zip((self.rows, self.columns), size, strict=True):
            if isinstance(rule, Part | Padded) and rule.border in ("reflect", "symmetric"):
                keep = replace(rule, border="zero").on(n)
                start = cast(Keep, keep).start
                pads.append((max(-start, 0), max(start + rule.length(n) - n, 0), rule.border))
        if len(pads) == 2:
            (top, bottom, border), (left, right, _) = pads
            check_padding((left, top, right, bottom), size, border)


@dataclass(frozen=True, eq=False)
class Mix(Given):
    """``weight [C_out, C_in] @ channels + bias [C_out]``, each pixel on its own, summed in channel order."""

    weight: Tensor
    bias: Tensor
    arithmetic: Arithmetic

    def output(self, shape: Shape) -> Shape:
        return int(self.weight.shape[0]), shape[1], shape[2]


@dataclass(frozen=True, eq=False)
class Table(Alike):
    """``values[channel, level]``: uint8, float32, float16 or bfloat16 ``[C or 1, 256]``, for uint8 input."""

    values: Tensor


@dataclass(frozen=True, eq=False)
class Normalize(Alike):
    """``(image - mean [C]) / std [C]`` in the dtype of the image, mean and std.

    That is float32, float16 or bfloat16. The difference is rounded before the division.
    """

    mean: Tensor
    std: Tensor


@dataclass(frozen=True, eq=False)
class Cast(Alike):
    """float32 as float16 or bfloat16, rounded to the nearest, halves to even."""

    dtype: torch.dtype


@dataclass(frozen=True, eq=False)
class Apply(Given):
    """A module on the whole image in float32; ``shape`` of what it gives, None: that of the image."""

    module: nn.Module
    shape: Shape | None

    def output(self, shape: Shape) -> Shape:
        return shape if self.shape is None else self.shape


Factor = float | Slot


def number(factor: Factor) -> float:
    """Return a factor of a stage that :func:`settled` gave.

    Raises:
        PipelineValueError: it is still to be drawn.
    """
    if isinstance(factor, Slot):
        raise PipelineValueError(f"Expected factor {factor.number} with the image: it is drawn for each.")
    return factor


@dataclass(frozen=True, eq=False)
class Tables(Alike):
    """One of several tables, for uint8 input: ``values[number, level]``, uint8 ``[K, 256]``."""

    values: Tensor
    number: Factor


@dataclass(frozen=True, eq=False)
class Blend(Alike):
    """``image * a + other * b``, clamped to [0, ``ceiling``]; ``(a, b) = terms @ (1, factor)``, each float32.

    ``other`` is black (None), one gray channel made of all (a :class:`Mix`), or each channel smoothed (a
    :class:`Filter`). ``mean``: take its mean over the image instead, ``"none"`` as a float32, or with that rounding.

    ``form`` is the order of operations: ``"sum"``, as above, image first; ``"from_image"``:
    ``image + (other - image) * b``; ``"from_other"``: ``other + (image - other) * a``. ``limited``: images that are
    smaller than the window of a filter stay as they are.
    """

    terms: Tensor
    factor: Factor
    other: "Mix | Filter | None"
    mean: str | None
    form: str
    ceiling: float
    arithmetic: Arithmetic
    limited: bool = False

    def at(self, shape: Shape) -> "Stage | None":
        window = self.other.weights.shape if self.limited and isinstance(self.other, Filter) else (0, 0)
        return None if shape[1] < window[0] or shape[2] < window[1] else self


@dataclass(frozen=True, eq=False)
class Stretch(Alike):
    """Each channel's least and largest value go to ``ends [2]``; of a channel of one value, that value stays.

    ``form`` is the order of operations, where ``range = max - min`` and ``width = ends[1] - ends[0]``:
    ``"divide"``: ``(image - min) / (range * (1 / width))``; ``"multiply"``: ``(image - min) * (1 / range * width)``;
    ``"affine"``: ``image * scale + -min * scale`` with ``scale = width / range``. ``ends[0]`` is added last; then
    all is clamped to [0, ``ceiling``].
    """

    ends: Tensor
    form: str
    ceiling: float
    arithmetic: Arithmetic


@dataclass(frozen=True, eq=False)
class Equalize(Alike):
    """Make each channel's histogram flat, for uint8 images.

    With ``step = (pixels - pixels of the largest level present) // levels``, level k becomes
    ``(pixels below k + floor(step * offset)) // step``, clamped; where the step is 0, the channel stays as it is.
    """

    levels: int
    offset: float


@dataclass(frozen=True, eq=False)
class Turn(Alike):
    """Turn the hue of three channels by ``factor`` turns.

    ``centres``: hue of each channel alone, in sixths of a turn, whole numbers. ``steps``: 0, all is float32, and what
    is made, in [0, 1], is multiplied by ``span``; otherwise hue and saturation are cut to whole numbers up to
    ``steps`` on the way. ``ceiling``: the largest value of images. ``form``: ``"divide"`` by 6 and by the ceiling, or
    ``"multiply"`` by their inverses, which also rounds what rises along a sixth of a turn in another order. See
    ``kernels.reference.color.turn``.
    """

    centres: tuple[int, int, int]
    factor: Factor
    span: float
    form: str
    steps: int
    ceiling: float
    arithmetic: Arithmetic


@dataclass(frozen=True, eq=False)
class Blur(Alike):
    """Smooth with taps ``exp(sum_k coefficients[k] * (distance / sigma) ** (2 * k + 2))``, scaled to a sum of 1.

    Rows are summed first, into float32, then columns; ``size`` (height, width) of the window, both odd. Beyond the
    image lies ``border``; ``limited``: no more of it may be mirrored than there is. Taps are worked out in float64 and
    rounded to float32.
    """

    coefficients: Tensor
    sigma: Factor
    size: tuple[int, int]
    border: str
    arithmetic: Arithmetic
    limited: bool = False

    def at(self, shape: Shape) -> "Stage | None":
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


@dataclass(frozen=True, eq=False)
class Warp(Given):
    """Each output pixel is what lies at a place of the image, which a matrix gives.

    ``matrix`` has the 6 numbers of an affine map, or the 8 of a perspective, from places of the output (x, y) to those
    of the image. ``size`` (rows, columns) of the output; None: as the input's. ``taps`` float64 ``[n, terms]``: the
    weight of each of n pixels along an axis, of which half lie before the place, is a polynomial of the fraction of a
    pixel by which the place lies behind the last of these, constant terms first; None: the nearest pixel is taken.
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


WARPS = ("cut", "from_fill", "sum")
"""Forms of a :class:`Warp`."""


Stage = (
    Resample
    | Resize
    | Pick
    | Product
    | Sparse
    | Filter
    | Gather
    | Mix
    | Table
    | Tables
    | Normalize
    | Cast
    | Apply
    | Blend
    | Stretch
    | Equalize
    | Turn
    | Blur
    | BoxBlur
    | Warp
)
