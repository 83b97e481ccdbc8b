"""What kernels are told, as they lay it out in memory: see ``source/block.hpp``, ``color.hpp`` and ``resample.hpp``."""

import ctypes

import numpy as np

OPS, FACTORS, REACH = 6, 12, 32
"""The most operations of a launch, factors of an image, and weights from the middle of a blur on."""
STEP_KINDS = "look_up", "arrange", "mix", "scale", "blend_gray", "blend_mean", "turn"
"""Of operations, by number."""

address, integer, real, double = ctypes.c_uint64, ctypes.c_int, ctypes.c_float, ctypes.c_double


class Op(ctypes.Structure):
    """An operation on one pixel."""

    _fields_ = (
        ("terms", double * 4),
        ("table", address),
        *((name, integer) for name in ("kind", "slot", "fused", "divides")),
        ("channels", integer * 3),
        ("gray", real * 4),
        *((name, real) for name in ("span", "a", "b")),
    )


class RowRecord(ctypes.Structure):
    """What a launch does to one image."""

    _fields_ = (
        ("factors", double * FACTORS),
        *((name, address) for name in ("data", "end", "table")),
        *((name, integer) for name in ("channels", "channel", "row", "pixel")),
        *((name, integer * 2) for name in ("inputs", "size", "keep", "outputs", "start", "step", "window")),
        *((name, integer) for name in ("blurred", "pixels", "count", "made", "summed", "fused")),
        ("gray", real * 4),
        ("band", real),
        ("weights", real * REACH * 2),
        ("ops", Op * OPS),
    )


ROW = np.dtype(RowRecord)
"""The same for arrays of them."""


class Batch(ctypes.Structure):
    """Which images a launch is for."""

    _fields_ = (("rows", address), ("stride", ctypes.c_longlong), ("before", address), ("after", address))


class ResampleRecord(ctypes.Structure):
    """A resample of all images of a batch."""

    _fields_ = (
        ("terms", address),
        ("shift", double * 2),
        *((name, integer) for name in ("support", "count", "bits", "room")),
    )


class Made(ctypes.Structure):
    """What is made."""

    _fields_ = (
        ("data", address),
        ("image", ctypes.c_longlong),
        *((name, integer) for name in ("channel", "row", "pixel", "bytes")),
    )
