"""Layers that shrink images by means of whole blocks of pixels: alone, and before a resize."""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from learned_transforms.ir.arithmetic import Arithmetic
from learned_transforms.ir.interpolation import FixedAxis, evaluate
from learned_transforms.ir.ops import Apply, Mix, Resample, Shape, Stage
from learned_transforms.ir.sizing import Size
from learned_transforms.layers.base import SUMMED, Layer, Params
from learned_transforms.layers.resize import RESIZED, Resampling, sizing_of, with_size
from learned_transforms.plain import LONGEST, Fields, finite, integer, list_of, positive

MOST_BITS = 24
LEVELS = Arithmetic("float32", rounding="half_up")
WEIGHTS = Arithmetic("float64")


class Blocks(nn.Module):
    """Means of blocks ``factor`` (rows, columns) of levels ``[N, C, H, W]``, rounded; not so if ``relaxed``.

    With ``bits``, a sum to which half a block is added is multiplied by that fraction of the block's reciprocal, and
    both are cut off (Pillow); with 0, it is divided, and rounded half up.
    """

    def __init__(self, factor: Size, bits: int, relaxed: bool = False) -> None:
        super().__init__()
        self.factor, self.bits, self.relaxed = factor, bits, relaxed

    def forward(self, image: Tensor) -> Tensor:
        # What lies beyond the end counts for nothing, neither in sums nor in numbers of pixels.
        sums, counts = (
            F.avg_pool2d(part, self.factor, ceil_mode=True, divisor_override=1)
            for part in (image.double(), torch.ones_like(image[:1, :1], dtype=torch.float64))
        )
        if self.relaxed:
            return (sums / counts).to(image)
        whole, pixels = sums.long(), counts.long()
        if not self.bits:
            return ((2 * whole + pixels) // (2 * pixels)).to(image)
        return (((whole + pixels // 2) * ((1 << self.bits) // pixels)) >> self.bits).to(image)


def pooled(shape: Shape, factor: Size, bits: int, relaxed: bool) -> list[Stage]:
    """Return the stages of :class:`AveragePooling`."""
    if factor == (1, 1):
        return []
    channels = shape[0]
    rows, columns = (-(-n // f) for n, f in zip(shape[1:], factor, strict=True))
    made: list[Stage] = [Apply(Blocks(factor, bits, relaxed), (channels, rows, columns))]
    copied = torch.eye(channels, dtype=torch.float64), torch.zeros(channels, dtype=torch.float64)
    return made if relaxed else [*made, Mix(*copied, LEVELS)]


class AveragePooling(Layer):
    """Means of blocks of uint8 levels; the last of them are of what is left of the image.

    Params: ``factor``, (rows, columns) of a block.

    Args:
        bits: see :class:`Blocks`.
    """

    options = Fields({"bits": integer(0, MOST_BITS)})
    takes = Fields({"factor": list_of(integer(1, LONGEST), 2)})
    selected = ("bits",)

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.bits = bits

    def stages(self, shape: Shape, params: Params, relaxed: bool = False) -> list[Stage]:
        rows, columns = params["factor"]
        return pooled(shape, (rows, columns), self.bits, relaxed)


class PooledResampling(Resampling):
    """A resize of uint8 levels before which images are shrunk to ``gap`` times its result or more by means of blocks.

    Params: those of :class:`~learned_transforms.layers.resize.Resampling`, and ``gap`` (Pillow's ``reducing_gap``).

    Args:
        kernel, shift, width: see :class:`~learned_transforms.layers.resize.Resampling`.
        bits: see :class:`Blocks`.
    """

    fixed = True
    options = Fields({**SUMMED.checks, "width": finite, "bits": integer(0, MOST_BITS)}, ("width",))
    takes = Fields({**RESIZED.checks, "gap": positive}, RESIZED.optional)
    selected = ("bits",)

    def __init__(self, kernel: Tensor, shift: Tensor, arithmetic: Arithmetic, bits: int, width: float = 1.0) -> None:
        super().__init__(kernel, shift, arithmetic, width)
        self.bits = bits

    def stages(self, shape: Shape, params: Params, relaxed: bool = False) -> list[Stage]:
        plain: Mapping[str, Any] = {name: value for name, value in params.items() if name != "gap"}
        size = sizing_of(with_size(plain, shape)).of(shape[1:])
        rows, columns = (max(1, int(n / wanted / params["gap"])) for n, wanted in zip(shape[1:], size, strict=True))
        if (rows, columns) == (1, 1):
            return super().stages(shape, plain, relaxed)
        arithmetic, axes = self.effective(relaxed), []
        for n, factor, wanted, shift in zip(shape[1:], (rows, columns), size, self.shift, strict=True):
            # The last block may be of fewer pixels: the image ends within it, at a place that Pillow keeps in float32.
            end = torch.tensor(n / factor, dtype=torch.float32).item()
            blocks, stretched = -(-n // factor), params.get("antialias", True)
            taps = evaluate(self.kernel, shift, blocks, wanted, WEIGHTS, stretched, self.width, end)
            axes.append(FixedAxis(taps.dense(), arithmetic))
        return [*pooled(shape, (rows, columns), self.bits, relaxed), Resample(axes[0], axes[1], arithmetic)]
