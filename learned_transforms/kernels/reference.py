"""The reference backend: plain torch. It defines what each stage means; every other backend is tested against it.

It runs on any device with float64, is differentiable on float input, and is traceable.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from learned_transforms.plan import Apply, Arithmetic, Gather, Mix, Plan, Resample, Table, Taps

DTYPES = {"float32": torch.float32, "float64": torch.float64}


def run(plan: Plan, image: Tensor) -> Tensor:
    """Carry out ``plan`` on a uint8 or float image ``[..., C, H, W]``; the input is never modified."""
    for stage in plan.stages:
        image = STAGES[type(stage)](image, stage)
    return image


def to_levels(value: Tensor, rounding: str) -> Tensor:
    """Round a float tensor of levels and clamp it to uint8; ``"none"`` gives it back as it is."""
    if rounding == "none":
        return value
    if rounding == "half_even":
        value = value.round()
    elif rounding == "half_up":
        value = (value + 0.5).floor()
    return value.clamp(0, 255).to(torch.uint8)


def shift_down(value: Tensor, bits: int) -> Tensor:
    """Divide an int32 sum of products by ``2**bits``, half up, and clamp it to uint8."""
    return ((value + (1 << (bits - 1))) >> bits).clamp_(0, 255).to(torch.uint8)


def multiply_add(x: Tensor, weight: Tensor, total: Tensor | None, arithmetic: Arithmetic) -> Tensor:
    """``x * weight + total`` in the arithmetic's float type.

    The fused form rounds once to float32. It is computed in float64, where the product of two float32 is exact.
    """
    if total is not None and arithmetic.fma:
        return torch.addcmul(total.double(), x.double(), weight.double()).float()
    dtype = DTYPES[arithmetic.number]
    product = x.to(dtype) * weight.to(dtype)
    return product if total is None else total + product


def weighted_sum(image: Tensor, taps: Taps, axis: int, arithmetic: Arithmetic) -> Tensor:
    """Sum ``weights * pixels`` along ``axis`` (-1 or -2), in the order of the taps; full matrices as a product."""
    if taps.bits is None and taps.weights.shape[1] == taps.size and not arithmetic.fma:
        matrix = taps.weights.to(DTYPES[arithmetic.number])
        image = image.to(matrix.dtype)
        return matrix @ image if axis == -2 else image @ matrix.T
    total: Tensor | None = None
    for index, weight in zip(taps.index, taps.weights.T, strict=True):
        pixels = image.index_select(axis, index)
        weight = weight[:, None] if axis == -2 else weight
        if taps.bits is None:
            total = multiply_add(pixels, weight, total, arithmetic)
        else:
            product = pixels * weight
            total = product if total is None else total.add_(product)
    if total is None:
        raise ValueError("Taps need at least one weight per output pixel.")
    return total


def resample(image: Tensor, stage: Resample) -> Tensor:
    arithmetic = stage.arithmetic
    for axis, taps in stage.passes():
        image = weighted_sum(image, taps, axis, arithmetic)
        if taps.bits is not None:
            image = shift_down(image, taps.bits)
        elif arithmetic.each_pass:
            image = to_levels(image, arithmetic.rounding)
    if taps.bits is not None:
        return image
    image = to_levels(image, arithmetic.rounding)
    return image.float() if image.dtype == torch.float64 else image


def gather(image: Tensor, stage: Gather) -> Tensor:
    for axis, index in ((-3, stage.channels), (-2, stage.rows), (-1, stage.columns)):
        if index is not None:
            image = image.index_select(axis, index)
    return image


def mix(image: Tensor, stage: Mix) -> Tensor:
    arithmetic = stage.arithmetic
    channels = image.unbind(-3)
    planes = []
    for row, bias in zip(stage.weight, stage.bias, strict=True):
        if arithmetic.number == "int":
            weights, offset = ((value * 2.0**arithmetic.bits).round().int() for value in (row, bias))
            total = sum(plane.int() * weight for plane, weight in zip(channels, weights, strict=True)) + offset
            planes.append(shift_down(total, arithmetic.bits))
        else:
            total = None
            for plane, weight in zip(channels, row, strict=True):
                total = multiply_add(plane, weight.to(DTYPES[arithmetic.number]), total, arithmetic)
            plane = to_levels(total + bias.to(total.dtype), arithmetic.rounding)
            planes.append(plane.float() if plane.dtype == torch.float64 else plane)
    return torch.stack(planes, -3)


def table(image: Tensor, stage: Table) -> Tensor:
    index = image.int()
    if stage.values.shape[0] == 1:
        return stage.values[0].index_select(0, index.flatten()).view(image.shape)
    planes = [
        values.index_select(0, plane.flatten()).view(plane.shape)
        for values, plane in zip(stage.values, index.unbind(-3), strict=True)
    ]
    return torch.stack(planes, -3)


def apply(image: Tensor, stage: Apply) -> Tensor:
    flat = image.reshape(-1, *image.shape[-3:]).float()
    result: Tensor = stage.module(flat)
    return result.reshape(*image.shape[:-3], *stage.shape)


STAGES: dict[type, Callable[[Tensor, Any], Tensor]] = {
    Resample: resample,
    Gather: gather,
    Mix: mix,
    Table: table,
    Apply: apply,
}
