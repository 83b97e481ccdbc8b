"""How the reference rounds, and adds products: what all of its stages share."""

import torch
from torch import Tensor

from learned_transforms.ir.arithmetic import Arithmetic

NUMBER_DTYPES = {"float32": torch.float32, "float64": torch.float64}


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


SPLIT = 2.0**27 + 1
"""Cuts a float64 into halves of 26 bits (Dekker, 1971)."""


def fused_double(x: Tensor, weight: Tensor, total: Tensor) -> Tensor:
    """``x * weight + total`` in float64, rounded once, for whole ``x`` of up to 26 bits."""
    raised = weight * SPLIT
    upper = raised - (raised - weight)
    product, rest = x * upper, x * (weight - upper)
    made = product + total
    seen = made - product
    lost = (product - (made - seen)) + (total - seen)
    return made + (lost + rest)


def multiply_add(x: Tensor, weight: Tensor, total: Tensor | None, arithmetic: Arithmetic) -> Tensor:
    """``x * weight + total`` in the arithmetic's float type.

    The fused form rounds once. To float32, it is computed in float64, where the product of two float32 is exact; to
    float64, for levels, whose products with either half of a weight are exact.
    """
    if total is not None and arithmetic.fma:
        if arithmetic.number == "float64":
            return fused_double(x.double(), weight.double(), total)
        return torch.addcmul(total.double(), x.double(), weight.double()).float()
    dtype = NUMBER_DTYPES[arithmetic.number]
    product = x.to(dtype) * weight.to(dtype)
    return product if total is None else total + product
