"""Candidate arithmetics of sums, those to prefer among equals first; validation picks one."""

from learned_transforms.ir.arithmetic import Arithmetic

FLOATS = (Arithmetic("float32", fma=True), Arithmetic("float32"), Arithmetic("float64"))
"""Of sums that are not rounded."""

ROUNDED = (
    Arithmetic("float32", rounding="half_up"),
    Arithmetic("float32", rounding="half_even"),
    Arithmetic("float64", rounding="half_up"),
    Arithmetic("float64", rounding="half_even"),
    Arithmetic("float64", rounding="truncate"),
)
"""Of levels, not fused."""

SUM_LEVELS = (*(Arithmetic("int", bits, rounding="half_up") for bits in (8, 10, 15, 16)), *ROUNDED)
"""Of levels that are summed over pixels."""

MIX_LEVELS = (
    *(Arithmetic("int", bits, rounding="half_up") for bits in (8, 10, 14, 15, 16, 20)),
    Arithmetic("float32", fma=True, rounding="truncate"),
    Arithmetic("float32", rounding="truncate"),
    Arithmetic("float32", fma=True, rounding="half_even"),
    Arithmetic("float32", fma=True, rounding="half_up"),
    *ROUNDED,
    *(Arithmetic("float64", fma=True, rounding=rounding) for rounding in ("half_even", "truncate")),
)
"""Of levels that are summed over channels."""
