"""The native code's counterparts of operations, and which operations it has none for."""

from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from learned_transforms.images.formats import DTYPES, HALVES
from learned_transforms.ir import ops
from learned_transforms.ir.arithmetic import Arithmetic
from learned_transforms.ir.indexing import Kept, Listed, Nearest
from learned_transforms.ir.interpolation import Axis, FixedAxis, away_from_zero
from learned_transforms.kernels.extension import _native
from learned_transforms.kernels.reference.color import taps_of

NAMES = {**DTYPES, **HALVES}
"""The native code's names of dtypes."""
MOST_AROUND = 16
"""Pixels along an axis that a warp weighs for each of the output's."""
ROUNDED = ops.Resample | ops.Resize | ops.Mix | ops.Blend | ops.Blur
"""Stages that sum in float32 or integers only."""
MOST_TAPS = 255
"""Of a side of a window that is summed at once."""
Made = tuple[str, tuple[Any, ...]]
"""A function of the native code's that makes a stage, by name, and its arguments."""
MADE: WeakKeyDictionary[ops.Stage, Any] = WeakKeyDictionary()
"""The native code's own of stages that are in use: plans share them."""


def unfit(stage: ops.Stage) -> str | None:
    """Return why a stage is not for this backend."""
    if type(stage) not in NATIVE:
        return f"it has no {type(stage).__name__}: full matrices and unstructured networks are left to torch"
    arithmetic = getattr(stage, "arithmetic", None)
    if arithmetic is not None:
        if arithmetic.number == "float64" and isinstance(stage, ROUNDED):
            return f"its {type(stage).__name__} does not sum in float64"
        if arithmetic.number != "float32" and arithmetic.fma:
            return f"it does not fuse sums in {arithmetic.number}"
        cut = isinstance(stage, ops.Resample | ops.Resize) and arithmetic.quarters
        if cut and (arithmetic.number != "int" or not 3 <= arithmetic.bits <= 11):
            return "it cuts products to quarters of a level in integers of 3 to 11 fraction bits only"
        if isinstance(stage, ops.Resample) and arithmetic.number == "int" and not (arithmetic.each_pass or cut):
            return "its integer passes round after each pass"
    if isinstance(stage, ops.Blend) and stage.other is not None:
        if stage.mean is not None and isinstance(stage.other, ops.Filter):
            return "it takes no mean of what a Filter makes"
        reason = unfit(stage.other)
        if reason is not None:
            return reason
    if isinstance(stage, ops.Warp) and stage.taps is not None:
        if (stage.form == "cut") != (stage.arithmetic.number == "float64"):
            return "it weighs pixels around places in pixels in float64, and in no other warp"
        if len(stage.taps) > MOST_AROUND:
            return f"it weighs up to {MOST_AROUND} pixels along an axis of a warp"
    if isinstance(stage, ops.Turn) and stage.steps not in (0, 255):
        return "it counts hue in 255 steps, or none"
    if isinstance(stage, ops.Turn) and (stage.centres[1] - stage.centres[0]) % 6 != 2:
        return "it knows channels in the order of their hue only"
    if isinstance(stage, ops.Blur) and stage.border == "zero":
        return "it blurs no image with nothing around it"
    if isinstance(stage, ops.Blur) and stage.form != "passes" and max(stage.size) > MOST_TAPS:
        return f"it sums windows of up to {MOST_TAPS} pixels a side at once"
    tensors = [value for value in vars(stage).values() if isinstance(value, Tensor)]
    axes = [value for value in vars(stage).values() if isinstance(value, Axis | FixedAxis)]
    tensors += [value for axis in axes for value in vars(axis).values() if isinstance(value, Tensor)]
    return "its weights are being trained" if any(tensor.requires_grad for tensor in tensors) else None


def axis_of(axis: Axis | FixedAxis) -> tuple[Any, ...]:
    if isinstance(axis, Axis):
        weights: tuple[Any, ...] = axis.kernel.tolist(), float(axis.shift), axis.antialias, axis.width
    else:
        taps = axis.fixed
        ends = (value.int().numpy() for value in (taps.first, taps.count))
        weights = taps.size, *ends, taps.weights.T.double().contiguous().numpy(), taps.bits or 0
    return weights, axis.size, axis.keep.numbers


def arithmetic_of(how: Arithmetic) -> tuple[Any, ...]:
    sums = how.number, how.bits, how.adaptive, how.fma, how.grouped
    return *sums, how.rounding, how.each_pass, how.tall_first, how.quarters, how.order


def numbers_of(weights: Tensor, arithmetic: Arithmetic) -> Any:
    """Weights of a sum, rounded to its type, as an array of float64, which holds them all."""
    if arithmetic.number == "int":
        weights = away_from_zero(weights * 2.0**arithmetic.bits).int()
    elif arithmetic.number == "float32":
        weights = weights.float()
    return weights.double().contiguous().numpy()


def resample_of(stage: ops.Resample) -> Made:
    return "resample", (axis_of(stage.rows), axis_of(stage.columns), arithmetic_of(stage.arithmetic))


def resize_of(stage: ops.Resize) -> Made:
    larger = None if stage.larger is None else arithmetic_of(stage.larger)
    how = arithmetic_of(stage.arithmetic), larger, stage.arithmetic.small, stage.still
    return "resize", (stage.sizing, axis_of(stage.rows), axis_of(stage.columns), *how)


def gather_of(stage: ops.Gather) -> Made:
    rows, columns = kept_of(stage.rows), kept_of(stage.columns)
    starts = stage.starts.first if isinstance(stage.starts, ops.Slots) else None
    return "gather", (stage.channels, rows, columns, stage.fill, stage.outside, stage.limited, starts)


def kept_of(keep: Kept | None) -> Any:
    if isinstance(keep, Listed):
        return np.array(keep.pixels, dtype=np.int64)
    if isinstance(keep, Nearest):
        how = keep.arithmetic
        return keep.size, keep.offset, how.number, how.running, keep.keep.numbers
    return None if keep is None else keep.numbers


def sparse_of(stage: ops.Sparse) -> Made:
    weights, bias = (numbers_of(value, stage.arithmetic) for value in (stage.weights.movedim(-1, 0), stage.bias))
    index = stage.index.movedim(-1, 0).contiguous().numpy()
    return "sparse", (index, weights, bias, stage.size, stage.shape, arithmetic_of(stage.arithmetic))


def filter_of(stage: ops.Filter) -> tuple[Any, ...]:
    used = stage.weights != 0
    weights = numbers_of(stage.weights[used], stage.arithmetic)
    size = tuple(stage.weights.shape)
    return size, used.nonzero().numpy(), weights, stage.border, arithmetic_of(stage.arithmetic)


def mix_of(stage: ops.Mix) -> tuple[Any, ...]:
    whole = [away_from_zero(value * 2.0**stage.arithmetic.bits).int().tolist() for value in (stage.weight, stage.bias)]
    real = [value.float().tolist() for value in (stage.weight, stage.bias)]
    return *real, *whole, arithmetic_of(stage.arithmetic)


def table_of(stage: ops.Table) -> Made:
    values, dtype = stage.values.contiguous(), stage.values.dtype
    return "table", ((values.view(torch.uint16) if dtype in HALVES else values).numpy(), NAMES[dtype])


def factor_of(factor: ops.Factor) -> tuple[float, int | None]:
    return (0.0, factor.number) if isinstance(factor, ops.Slot) else (float(factor), None)


def blend_of(stage: ops.Blend) -> Made:
    other: tuple[Any, ...] | None = None
    if stage.other is not None:
        other = mix_of(stage.other) if isinstance(stage.other, ops.Mix) else filter_of(stage.other)
    how = stage.mean, stage.form, stage.ceiling, arithmetic_of(stage.arithmetic), stage.limited
    return "blend", (stage.terms.flatten().tolist(), factor_of(stage.factor), other, *how)


def stretch_of(stage: ops.Stretch) -> Made:
    return "stretch", (stage.ends.tolist(), stage.form, stage.ceiling, arithmetic_of(stage.arithmetic))


def turn_of(stage: ops.Turn) -> Made:
    how = stage.span, stage.form, stage.steps, stage.ceiling, arithmetic_of(stage.arithmetic)
    return "turn", (stage.centres, factor_of(stage.factor), *how)


def blur_of(stage: ops.Blur, taps: int | None = None) -> Made:
    """Return what makes the native code's own of a blur, of which a window that is summed at once has taps from so many
    factors on."""
    sigma = factor_of(stage.sigma)
    how = stage.border, arithmetic_of(stage.arithmetic), stage.limited
    given = taps if stage.form == "passes" or isinstance(stage.sigma, ops.Slot) else window_taps(stage, stage.sigma)
    return "blur", (stage.coefficients.tolist(), sigma, stage.size, *how, given)


def window_taps(stage: ops.Blur, sigma: float) -> list[float]:
    """Return the taps of a window that is summed at once: down, then across."""
    return torch.cat(taps_of(stage, sigma)).tolist()


def warp_of(stage: ops.Warp) -> Made:
    matrix = tuple(stage.matrix) if isinstance(stage.matrix, ops.Slots) else list(stage.matrix)
    taps = [] if stage.taps is None else stage.taps.tolist()
    return "warp", (matrix, stage.size, taps, stage.fill, stage.form, arithmetic_of(stage.arithmetic), stage.fused)


NATIVE: dict[type, Callable[[Any], Made]] = {
    ops.Resample: resample_of,
    ops.Resize: resize_of,
    ops.Pick: lambda stage: ("pick", (stage.sizing, kept_of(stage.nearest))),
    ops.Sparse: sparse_of,
    ops.Filter: lambda stage: ("filter", filter_of(stage)),
    ops.Gather: gather_of,
    ops.Mix: lambda stage: ("mix", mix_of(stage)),
    ops.Table: table_of,
    ops.Tables: lambda stage: ("tables", (stage.values.numpy(), factor_of(stage.number))),
    ops.Normalize: lambda stage: ("normalize", (stage.mean.tolist(), stage.std.tolist(), NAMES[stage.mean.dtype])),
    ops.Cast: lambda stage: ("cast", (NAMES[stage.dtype],)),
    ops.Blend: blend_of,
    ops.Stretch: stretch_of,
    ops.Equalize: lambda stage: ("equalize", (stage.levels, stage.offset)),
    ops.Turn: turn_of,
    ops.Blur: blur_of,
    ops.BoxBlur: lambda stage: ("box_blur", (factor_of(stage.sigma), stage.passes)),
    ops.Warp: warp_of,
}
"""By stage: what makes the native code's own, and of which arguments."""


def made_of(stage: ops.Stage) -> Made:
    """Return the name of what makes the native code's own of a stage, and its arguments: plain values and arrays."""
    return NATIVE[type(stage)](stage)


def make(made: Made) -> Any:
    """Return the native code's own of a stage, which no other plan shares."""
    name, arguments = made
    return getattr(_native, name)(*arguments)


def native(stage: ops.Stage) -> Any:
    """Return the native code's own of a stage."""
    made = MADE.get(stage)
    if made is None:
        made = MADE[stage] = make(made_of(stage))
    return made
