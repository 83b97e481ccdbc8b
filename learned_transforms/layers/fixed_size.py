"""Layers of one size: what a network is where no rule for other sizes was found in its teacher."""

from collections.abc import Mapping
from dataclasses import replace
from math import prod
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from learned_transforms.errors import InputShapeError, PipelineValueError
from learned_transforms.ir.arithmetic import Arithmetic
from learned_transforms.ir.interpolation import FixedAxis
from learned_transforms.ir.ops import Apply, Mix, Product, Resample, Shape, Sparse, Stage
from learned_transforms.layers.base import MOST_CHANNELS, MOST_TERMS, SUMMED, Layer, Params, check_weight
from learned_transforms.layers.color import COLOR_LAYERS as COLOR
from learned_transforms.layers.cube import ColorCube
from learned_transforms.layers.filter import Filtering
from learned_transforms.layers.fixed_point import FixedPointResampling
from learned_transforms.layers.geometry import Cropping, Flipping, Padding, Windowing
from learned_transforms.layers.grid import GridResampling
from learned_transforms.layers.letterbox import LETTERBOX_LAYERS as FRAMING
from learned_transforms.layers.pointwise import Arranging, Lookup, Mixing, Normalizing
from learned_transforms.layers.pooling import AveragePooling, PooledResampling
from learned_transforms.layers.rank import Ranking
from learned_transforms.layers.resize import Picking, Resampling
from learned_transforms.layers.unsharp import UnsharpMasking
from learned_transforms.layers.warp import WARP_LAYERS as WARPING
from learned_transforms.plain import Fields, integer, list_of, one_of, positive


class Matrices(Layer):
    """Base of layers of row, column and channel matrices of one size, which know nothing of what they imitate.

    Input and output are levels (or float units).

    Args:
        rows, columns, weight: of ``dimensions`` dimensions.
        bias: ``[C_out]``.
        arithmetic: float; its rounding turns the result into uint8 levels.
    """

    dimensions: ClassVar[int]
    rows: nn.Parameter
    columns: nn.Parameter
    weight: nn.Parameter
    bias: nn.Parameter
    arithmetic: Arithmetic
    options = SUMMED

    def __init__(self, rows: Tensor, columns: Tensor, weight: Tensor, bias: Tensor, arithmetic: Arithmetic) -> None:
        super().__init__()
        for name, matrix in (("rows", rows), ("columns", columns), ("weight", weight)):
            check_weight(name, matrix, self.dimensions, len(rows) if self.dimensions == 3 else None)
        check_weight("bias", bias, 1, weight.shape[-2])
        # What joins the terms is a matrix of as many rows as there are outputs.
        if len(bias) > MOST_CHANNELS or (self.dimensions == 3 and len(rows) > MOST_TERMS):
            raise PipelineValueError(f"Expected up to {MOST_TERMS} terms of {MOST_CHANNELS} channels.")
        self.learn(rows=rows, columns=columns, weight=weight, bias=bias)
        self.arithmetic = arithmetic


class Separable(Matrices):
    """One separable map: ``rows [H_out, H_in] @ (weight [C_out, C_in] . image) @ columns [W_out, W_in].T + bias``."""

    dimensions = 2

    def stages(self, shape: Shape, params: Params, relaxed: bool = False) -> list[Stage]:
        expected = (self.weight.shape[1], self.rows.shape[1], self.columns.shape[1])
        check_size(shape, expected)
        arithmetic = self.effective(relaxed)
        inner = replace(arithmetic, rounding="none")
        identity = torch.eye(len(self.bias), dtype=self.bias.dtype, device=self.bias.device)
        return [
            Mix(self.weight, torch.zeros_like(self.bias), inner),
            Product(self.rows, self.columns, inner),
            Mix(identity, self.bias, arithmetic),
        ]


class SeparableSum(Matrices):
    """A sum of K separable maps: ``sum_k rows[k] @ (weight[k] . image) @ columns[k].T + bias``.

    ``rows`` are ``[K, H_out, H_in]``, ``columns`` ``[K, W_out, W_in]``, ``weight`` ``[K, C_out, C_in]``.
    """

    dimensions = 3

    def stages(self, shape: Shape, params: Params, relaxed: bool = False) -> list[Stage]:
        terms, outputs, inputs = self.weight.shape
        check_size(shape, (inputs, self.rows.shape[2], self.columns.shape[2]))
        arithmetic = self.effective(relaxed)
        inner = replace(arithmetic, rounding="none")
        together = torch.eye(outputs, dtype=self.bias.dtype, device=self.bias.device).repeat(1, terms)
        return [
            Mix(self.weight.flatten(0, 1), torch.zeros_like(self.bias).repeat(terms), inner),
            Product(self.rows, self.columns, inner),
            Mix(together, self.bias, arithmetic),
        ]


def check_size(shape: Shape, expected: Shape) -> None:
    """Require images of one size, for networks that were trained on one size."""
    if shape != expected:
        raise InputShapeError(
            f"This network was trained on images of shape {expected} (C, H, W) and takes no other, got {shape}. "
            "Cut or resize images to it; only networks with a kernel, a window or a table serve any size."
        )


class FixedResampling(Layer):
    """Resampling of images of one size by free matrices, mostly zeros, in any arithmetic.

    Args:
        rows: ``[H_out, H_in]``.
        columns: ``[W_out, W_in]``.
    """

    rows: nn.Parameter
    columns: nn.Parameter
    arithmetic: Arithmetic
    options = SUMMED

    def __init__(self, rows: Tensor, columns: Tensor, arithmetic: Arithmetic) -> None:
        super().__init__()
        for name, matrix in (("rows", rows), ("columns", columns)):
            check_weight(name, matrix, 2)
        self.learn(rows=rows, columns=columns)
        self.arithmetic = arithmetic

    def stages(self, shape: Shape, params: Params, relaxed: bool = False) -> list[Stage]:
        check_size(shape, (shape[0], self.rows.shape[1], self.columns.shape[1]))
        arithmetic = self.effective(relaxed)
        return [Resample(FixedAxis(self.rows, arithmetic), FixedAxis(self.columns, arithmetic), arithmetic)]


class PositionalGain(Layer):
    """Each value times a gain, plus an offset, by its place, for images of one size: vignettes, watermarks.

    Args:
        gain, offset: ``[C, H, W]``, the latter in levels (or float units).
        arithmetic: float; its rounding turns the result into uint8 levels.
    """

    gain: nn.Parameter
    offset: nn.Parameter
    arithmetic: Arithmetic
    options = SUMMED

    def __init__(self, gain: Tensor, offset: Tensor, arithmetic: Arithmetic) -> None:
        super().__init__()
        check_weight("gain", gain, 3)
        check_weight("offset", offset, 3)
        if gain.shape != offset.shape or len(gain) > MOST_CHANNELS:
            raise PipelineValueError(f"Expected a gain and an offset of one shape, got {gain.shape}, {offset.shape}.")
        self.learn(gain=gain, offset=offset)
        self.arithmetic = arithmetic

    def forward(self, image: Tensor) -> Tensor:
        return image * self.gain.to(image) + self.offset.to(image)

    def stages(self, shape: Shape, params: Params, relaxed: bool = False) -> list[Stage]:
        c, h, w = self.gain.shape
        check_size(shape, (c, h, w))
        rounding = replace(self.effective(relaxed), number="float32")
        same = torch.eye(c, dtype=torch.float32), torch.zeros(c, dtype=torch.float32)
        return [Apply(self, shape), Mix(*same, rounding)]


class Scattered(Layer):
    """Each output pixel weighs a few input pixels anywhere, in every channel alike; for images of one size.

    Args:
        index: int64 ``[H_out * W_out, K]``, positions in the image, row by row.
        weights: ``[H_out * W_out, K]``.
        bias: ``[H_out * W_out]``, in levels.
        size: (H_in, W_in).
        output: (H_out, W_out).
    """

    whole: ClassVar[Mapping[str, torch.dtype]] = {"index": torch.int64}
    index: nn.Parameter
    weights: nn.Parameter
    bias: nn.Parameter
    arithmetic: Arithmetic
    options = Fields({**SUMMED.checks, "size": list_of(integer(1), 2), "output": list_of(integer(1), 2)})

    def __init__(
        self,
        index: Tensor,
        weights: Tensor,
        bias: Tensor,
        size: tuple[int, int],
        output: tuple[int, int],
        arithmetic: Arithmetic,
    ) -> None:
        super().__init__()
        pixels = output[0] * output[1]
        check_weight("index", index, 2, pixels)
        check_weight("weights", weights, 2, pixels)
        check_weight("bias", bias, 1, pixels)
        if index.shape != weights.shape or int(index.min()) < 0 or int(index.max()) >= size[0] * size[1]:
            raise PipelineValueError(f"Expected an index below {size[0] * size[1]} for each weight.")
        self.learn(index=index.long(), weights=weights, bias=bias)
        self.size, self.output = (size[0], size[1]), (output[0], output[1])
        self.arithmetic = arithmetic

    def describe(self) -> dict[str, Any]:
        return {"size": self.size, "output": self.output, **super().describe()}

    def stages(self, shape: Shape, params: Params, relaxed: bool = False) -> list[Stage]:
        check_size(shape, (shape[0], *self.size))
        arithmetic = self.effective(relaxed)
        return [Sparse(self.index.detach(), self.weights, self.bias, self.size, self.output, arithmetic)]


WIDTH = 24
"""Channels inside a local network."""


class Unstructured(Layer):
    """A plain network that ignores the structure of the problem: the two that the idea began with, for comparison.

    Input and output are levels (or float units); inside, values are in [0, 1].

    Args:
        kind: ``"dense"``, one matrix from all input values to all output values; ``"cnn"``, two convolutions and a
            matrix; or ``"local"``, three convolutions that change the image, for outputs as large as inputs.
        shape: (C, H, W) of the input.
        output: (C, H, W) of the output.
        full: the value of full range, 255 for levels.
        arithmetic: float; its rounding turns the result into uint8 levels.
    """

    arithmetic: Arithmetic
    options = Fields(
        {
            **SUMMED.checks,
            "kind": one_of("dense", "cnn", "local"),
            **{name: list_of(integer(1), 3) for name in ("shape", "output")},
            "full": positive,
        }
    )
    nested = True

    def __init__(self, kind: str, shape: Shape, output: Shape, full: float, arithmetic: Arithmetic) -> None:
        super().__init__()
        self.kind, self.full = kind, full
        self.shape: Shape = (shape[0], shape[1], shape[2])
        self.output: Shape = (output[0], output[1], output[2])
        self.arithmetic = arithmetic
        n_in, n_out = (prod(s) for s in (shape, output))
        if kind == "dense":
            self.body = nn.Sequential(nn.Flatten(), nn.Linear(n_in, n_out))
        elif kind == "cnn":
            self.body = nn.Sequential(
                nn.Conv2d(shape[0], 8, 3, padding=1),
                nn.ReLU(),
                nn.Conv2d(8, output[0], 3, padding=1),
                nn.ReLU(),
                nn.Flatten(),
                nn.Linear(output[0] * shape[1] * shape[2], n_out),
            )
        elif kind == "local" and shape[1:] == output[1:]:
            self.body = nn.Sequential(
                nn.Conv2d(shape[0], WIDTH, 5, padding=2, padding_mode="replicate"),
                nn.ReLU(),
                nn.Conv2d(WIDTH, WIDTH, 5, padding=2, padding_mode="replicate"),
                nn.ReLU(),
                nn.Conv2d(WIDTH, output[0], 3, padding=1, padding_mode="replicate"),
            )
        else:
            raise PipelineValueError(
                f"Expected kind 'dense' or 'cnn', or 'local' for outputs as large as inputs; got {kind!r}."
            )
        self.requires_grad_(False)

    def forward(self, image: Tensor) -> Tensor:
        made: Tensor = self.body(image / self.full)
        if self.kind == "local" and self.shape[0] == self.output[0]:
            made = made + image / self.full
        return made.flatten(1) * self.full

    def describe(self) -> dict[str, Any]:
        return {"kind": self.kind, "shape": self.shape, "output": self.output, "full": self.full, **super().describe()}

    def stages(self, shape: Shape, params: Params, relaxed: bool = False) -> list[Stage]:
        check_size(shape, self.shape)
        channels = self.output[0]
        rounding = replace(self.effective(relaxed), number="float32")
        return [
            Apply(self, self.output),
            Mix(torch.eye(channels, dtype=torch.float32), torch.zeros(channels, dtype=torch.float32), rounding),
        ]


SINGLE = (Matrices, FixedResampling, PositionalGain, Scattered, Unstructured)
"""Layers that refuse images of any size but one."""

LAYERS: dict[str, type[Layer]] = {
    **COLOR,
    **FRAMING,
    **WARPING,
    **{
        layer.stored_name(): layer
        for layer in (
            *(Resampling, Picking, Mixing, Filtering, Lookup, Flipping, Cropping, Windowing, Padding, Arranging),
            *(Normalizing, Separable, SeparableSum, FixedResampling, PositionalGain, Scattered, Ranking, Unstructured),
            *(AveragePooling, PooledResampling, GridResampling, ColorCube, UnsharpMasking, FixedPointResampling),
        )
    },
}
"""All layers, by the name under which weight files hold them."""
