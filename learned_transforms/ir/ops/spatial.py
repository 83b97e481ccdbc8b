"""Operations that make pixels of others nearby or elsewhere: resampling, crops and copies."""

from dataclasses import dataclass, replace
from typing import cast

from torch import Tensor, nn

from learned_transforms.errors import EmptyImageError
from learned_transforms.ir.arithmetic import Arithmetic
from learned_transforms.ir.indexing import Keep, Kept, Nearest, Padded, Part, Rule, check_padding
from learned_transforms.ir.interpolation import Axis, FixedAxis
from learned_transforms.ir.ops.base import Shape, Slots, Stage
from learned_transforms.ir.sizing import Sizing


@dataclass(frozen=True, eq=False)
class Resample(Stage):
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
class Resize(Stage):
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

    def at(self, shape: Shape) -> Stage | None:
        size = self.sizing.of(shape[1:])
        if size == shape[1:] and self.still:
            return None
        beyond = self.larger is not None and sum(size) > self.arithmetic.small
        how = self.larger if beyond and self.larger is not None else replace(self.arithmetic, small=0)
        return Resample(self.rows.sized(size[0], how), self.columns.sized(size[1], how), how)


@dataclass(frozen=True, eq=False)
class Pick(Stage):
    """A resize of images of any size, to what a rule gives, by taking one pixel for each: ``nearest`` to it."""

    sizing: Sizing
    nearest: Nearest

    def output(self, shape: Shape) -> Shape:
        return shape[0], *self.sizing.of(shape[1:])

    def at(self, shape: Shape) -> Stage | None:
        size = self.sizing.of(shape[1:])
        return None if size == shape[1:] else Gather(None, self.nearest.sized(size[0]), self.nearest.sized(size[1]))


@dataclass(frozen=True, eq=False)
class Product(Stage):
    """``rows [H', H] @ image @ columns.T [W, W']``: full matrices, in a float type, without rounding.

    With ``rows [K, H', H]`` and ``columns [K, W', W]``, channels come in K groups, and each has matrices of its own.
    """

    rows: Tensor
    columns: Tensor
    arithmetic: Arithmetic

    def output(self, shape: Shape) -> Shape:
        return shape[0], int(self.rows.shape[-2]), int(self.columns.shape[-2])


@dataclass(frozen=True, eq=False)
class Sparse(Stage):
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


@dataclass(frozen=True, eq=False)
class Gather(Stage):
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

    def at(self, shape: Shape) -> Stage | None:
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
class Apply(Stage):
    """A module on the whole image in float32; ``shape`` of what it gives, None: that of the image."""

    module: nn.Module
    shape: Shape | None

    def output(self, shape: Shape) -> Shape:
        return shape if self.shape is None else self.shape
