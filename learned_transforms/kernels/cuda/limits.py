"""What the kernels do not run, and why."""

from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from learned_transforms.images.formats import HALVES
from learned_transforms.ir.arithmetic import Arithmetic
from learned_transforms.ir.indexing import Keep, Kept, Mirrored, Padded, Part
from learned_transforms.ir.interpolation import Axis
from learned_transforms.ir.ops import (
    Blend,
    Blur,
    Cast,
    Filter,
    Gather,
    Mix,
    Normalize,
    Resample,
    Resize,
    Slot,
    Stage,
    Table,
    Turn,
)
from learned_transforms.ir.plan import Plan
from learned_transforms.kernels.cuda.records import FACTORS, REACH

CHANNELS = 1, 3
KNOWN: WeakKeyDictionary[Stage, str | None] = WeakKeyDictionary()
"""Of stages in use, why they are not for this backend: plans share them."""


def unfit_plan(plan: Plan) -> str | None:
    """Return why a plan is not for this backend."""
    if not plan.stages:
        return None
    if plan.floating:
        return "it takes uint8 images"
    if plan.channels not in CHANNELS:
        return f"it takes images of {' or '.join(map(str, CHANNELS))} channels, not {plan.channels}"
    if plan.around is not None and plan.around.border != "zero":
        return f"it fills in one value, not {plan.around.border}"
    floating = False
    for stage in plan.stages:
        reason = known(stage)
        if reason is not None:
            return reason
        if isinstance(stage, Table | Normalize | Cast):
            floating = floating or not isinstance(stage, Table) or stage.values.dtype != torch.uint8
        elif floating and not isinstance(stage, Gather):
            return f"its {type(stage).__name__} takes levels only"
    return None


def known(stage: Stage) -> str | None:
    """Return :func:`unfit_stage`; kept."""
    if stage not in KNOWN:
        KNOWN[stage] = unfit_stage(stage)
    return KNOWN[stage]


def unfit_stage(stage: Stage) -> str | None:
    """Return why a stage is not for this backend."""
    reason = None
    if isinstance(stage, Resample | Resize):
        reason = unfit_resample(stage)
    elif isinstance(stage, Gather):
        if stage.starts is not None:
            reason = "it cuts drawn windows out of images before all else only"
        elif not all(map(steady, (stage.rows, stage.columns))):
            reason = "it crops, flips, and fills in one value only"
        elif stage.channels is not None and len(stage.channels) not in CHANNELS:
            reason = "it makes one channel or three"
    elif isinstance(stage, Mix):
        if len(stage.weight) != 1 or not sums_levels(stage.arithmetic):
            reason = "it mixes channels of levels to one, in float32, cut off"
    elif isinstance(stage, Blend):
        reason = unfit_blend(stage)
    elif isinstance(stage, Turn):
        if stage.steps or stage.ceiling != 255 or stage.centres != (0, 2, 4) or not sums_levels(stage.arithmetic):
            reason = "it turns the hue of levels in float32 only"
    elif isinstance(stage, Blur):
        reason = unfit_blur(stage)
    elif not isinstance(stage, Table | Normalize | Cast):
        reason = f"it has no {type(stage).__name__}"
    return reason or unsteady(stage)


def steady(kept: Kept | None) -> bool:
    """Return whether pixels that are kept lie side by side, and one value is filled in."""
    if isinstance(kept, Keep):
        return kept.step in (1, -1)
    return kept is None or isinstance(kept, Mirrored) or (isinstance(kept, Part | Padded) and kept.border == "zero")


def sums_levels(how: Arithmetic) -> bool:
    """Return whether sums of float32 are cut off to levels."""
    return how.number == "float32" and how.rounding == "truncate"


def unfit_resample(stage: Resample | Resize) -> str | None:
    how, axes = stage.arithmetic, (stage.rows, stage.columns)
    if not all(isinstance(axis, Axis) and axis.antialias for axis in axes):
        return "it resamples by antialiased kernels only"
    if how.number != "int" or not how.adaptive or not how.each_pass or how.quarters or how.tall_first:
        return "it resamples with the int16 weights of uint8 tensors only"
    if isinstance(stage, Resize) and stage.larger is not None:
        return "it has one arithmetic for every size"
    if not all(tame(axis) for axis in axes if isinstance(axis, Axis)):
        return "its kernel does not sum to 1"
    return None


def tame(axis: Axis) -> bool:
    """Return whether the weights of an axis are far from what an int16 cannot hold, whatever its length."""
    kernel = axis.kernel.detach()
    u = torch.linspace(0, 1, 17, dtype=torch.float64, device=kernel.device)[:, None, None]
    terms = (kernel * u ** torch.arange(kernel.shape[1], device=kernel.device)).sum(-1)
    sums = (terms + terms.flip(0)).sum(-1)
    return bool(((sums - 1).abs() < 0.1).all() and (terms.abs() < 1.5).all() and axis.shift.abs() <= 1)


def unfit_blend(stage: Blend) -> str | None:
    if isinstance(stage.other, Filter):
        return "it has no Filter"
    if stage.form != "sum" or stage.ceiling != 255 or not sums_levels(stage.arithmetic):
        return "it blends levels in float32, cut off, image first"
    if stage.other is not None:
        if stage.mean not in (None, "none"):
            return "it rounds no mean"
        if stage.other.arithmetic != stage.arithmetic:
            return "it blends with a gray of the same arithmetic only"
        return unfit_stage(stage.other)
    return None


def unfit_blur(stage: Blur) -> str | None:
    how = stage.arithmetic
    if how.number != "float32" or not how.fma or how.rounding != "half_even" or stage.border != "reflect":
        return "it blurs mirrored levels in float32, rounded half to even, only"
    if max(stage.size) >= 2 * REACH:
        return f"it blurs by windows of up to {2 * REACH - 1} pixels, not {stage.size}"
    return None


def unsteady(stage: Stage) -> str | None:
    """Return what is against a stage whatever it is."""
    values = list(vars(stage).values())
    if any(isinstance(value, Slot) and value.number >= FACTORS for value in values):
        return f"it takes up to {FACTORS} factors"
    tensors = [value for value in values if isinstance(value, Tensor)]
    tensors += [value.kernel for value in values if isinstance(value, Axis)]
    tensors += [value.weight for value in values if isinstance(value, Mix)]
    if any(value.dtype in HALVES for value in tensors) and not isinstance(stage, Table | Normalize):
        return "it sums in no halves"
    return "its weights are being trained" if any(tensor.requires_grad for tensor in tensors) else None
