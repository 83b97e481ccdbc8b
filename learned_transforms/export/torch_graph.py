"""The same graph as torch's own operations: what exporters trace that cannot hold an operator of ours."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from learned_transforms.errors import UnsupportedTransformError
from learned_transforms.export.onnx_graph import LAST_BITS
from learned_transforms.ir.ops import Blur
from learned_transforms.modes import is_in_onnx_export, out_of_sight

REDUCED = {"Sum": torch.sum, "Max": torch.amax, "Min": torch.amin}


class TorchGraph:
    """Computes at once, or is traced; its methods are those of
    :class:`~learned_transforms.export.onnx_graph.OnnxGraph`.

    Lengths that are not known beforehand are ``torch.SymInt``.
    """

    slicing = False
    """Whether parts may be cut out whose lengths depend on values."""
    widest = "float64"

    def __init__(self, device: torch.device | None = None) -> None:
        self.device = device

    def constant(self, given: Any, dtype: str | None = None) -> Tensor:
        with out_of_sight():  # What is traced sees numbers, not a tensor of ours.
            made = given.detach() if isinstance(given, Tensor) else torch.from_numpy(np.asarray(given))
            kind, numbers = made.dtype if dtype is None else getattr(torch, dtype), made.tolist()
        return torch.tensor(numbers, dtype=kind, device=self.device)

    def value(self, given: Any, dtype: str) -> Tensor:
        return given if isinstance(given, Tensor) else self.constant(given, dtype)

    # Numbers.
    def dtype(self, x: Tensor) -> str:
        return str(x.dtype).removeprefix("torch.")

    def cast(self, x: Tensor, dtype: str) -> Tensor:
        return x.to(getattr(torch, dtype))

    def floor(self, x: Tensor) -> Tensor:
        return x.floor()

    def round(self, x: Tensor) -> Tensor:
        return x.round()

    def abs(self, x: Tensor) -> Tensor:
        return x.abs()

    def sign(self, x: Tensor) -> Tensor:
        return x.sign()

    def exp(self, x: Tensor) -> Tensor:
        return x.exp()

    def invert(self, x: Tensor) -> Tensor:
        return x.logical_not()

    def fmod(self, x: Tensor, by: float) -> Tensor:
        return x.fmod(by)

    def remainder(self, x: Tensor, by: Tensor) -> Tensor:
        return x.remainder(by)

    def equal(self, x: Tensor, other: Any) -> Tensor:
        return torch.eq(x, other)

    def known(self, x: Tensor) -> Tensor:
        return x == x

    def maximum(self, x: Tensor, other: Any) -> Tensor:
        return torch.maximum(x, other) if isinstance(other, Tensor) else x.clamp(min=other)

    def minimum(self, x: Tensor, other: Any) -> Tensor:
        return torch.minimum(x, other) if isinstance(other, Tensor) else x.clamp(max=other)

    def clip(self, x: Tensor, low: float, high: float) -> Tensor:
        return x.clamp(low, high)

    def where(self, condition: Tensor, one: Any, other: Any) -> Tensor:
        kind = next(v.dtype for v in (one, other) if isinstance(v, Tensor))
        one, other = (
            v if isinstance(v, Tensor) else torch.tensor(v, dtype=kind, device=self.device) for v in (one, other)
        )
        return torch.where(condition, one, other)

    def matmul(self, one: Tensor, other: Tensor) -> Tensor:
        return one @ other

    def cumsum(self, x: Tensor) -> Tensor:
        return x.cumsum(-1)

    def reduce(self, kind: str, x: Tensor, axes: Sequence[int]) -> Tensor:
        return REDUCED[kind](x, axes, keepdim=True)  # type: ignore[operator,no-any-return]

    # KeptPlaces.
    def length(self, x: Tensor, axis: int) -> Any:
        return x.shape[axis]

    def number(self, length: Any, dtype: str) -> Tensor:
        if isinstance(length, Tensor):
            return self.cast(length, dtype)
        return torch.full((), length, dtype=getattr(torch, dtype), device=self.device)

    def largest(self, one: Any, other: Any) -> Any:
        return torch.sym_max(one, other)

    def smallest(self, one: Any, other: Any) -> Any:
        return torch.sym_min(one, other)

    def range(self, length: Any, dtype: str = "int64") -> Tensor:
        return torch.arange(length, dtype=getattr(torch, dtype), device=self.device)

    def unsqueeze(self, x: Tensor, axis: int) -> Tensor:
        return x.unsqueeze(axis)

    def squeeze(self, x: Tensor, axis: int) -> Tensor:
        return x.squeeze(axis)

    def transpose(self, x: Tensor, order: Sequence[int]) -> Tensor:
        return x.permute(*order)

    def take(self, x: Tensor, index: Any, axis: int) -> Tensor:
        index = self.value(index, "int64")
        if index.ndim == 1:
            return x.index_select(axis, index)
        axis %= x.ndim
        shape = (*x.shape[:axis], *index.shape, *x.shape[axis + 1 :])
        return x.index_select(axis, index.reshape(-1)).reshape(shape)

    def take_along(self, x: Tensor, index: Tensor, axis: int) -> Tensor:
        return x.gather(axis, index)

    def concat(self, parts: Sequence[Tensor], axis: int) -> Tensor:
        return torch.cat(list(parts), axis)

    def slice(self, x: Tensor, start: Any, stop: Any, axis: int) -> Tensor:
        index = [slice(None)] * x.ndim
        index[axis] = slice(start, stop)
        return x[tuple(index)]

    def last(self, x: Tensor) -> Tensor:
        return x[..., -1].unsqueeze(-1)

    def scatter(self, rows: Any, columns: Any, index: Tensor, values: Tensor) -> Tensor:
        return values.new_zeros(rows, columns).scatter(1, index, values)

    def counts(self, levels: Tensor) -> Tensor:
        zeros = levels.new_zeros(*levels.shape[:-1], 256)
        return zeros.scatter_add(-1, levels, torch.ones_like(levels))

    def flat(self, x: Tensor) -> Tensor:
        return x.reshape(*x.shape[:-2], x.shape[-2] * x.shape[-1])

    def shaped(self, x: Tensor, like: Tensor) -> Tensor:
        return x.reshape(like.shape)

    def smoothed(self, x: Tensor, sigma: Tensor, stage: Blur) -> Tensor:
        """Return sums over whole windows of taps of ``sigma``, which torch adds up: those of the reference backend.

        Raises:
            UnsupportedTransformError: they are for another engine.
        """
        if is_in_onnx_export():
            raise UnsupportedTransformError(LAST_BITS)
        down, across = (self.taps(sigma, stage, length) for length in stage.size)
        channels = x.shape[-3]
        window = (down[:, None] * across).expand(channels, 1, *stage.size)
        made = torch.conv2d(x.reshape(-1, *x.shape[-3:]), window, groups=channels)
        return made.reshape(*x.shape[:-3], *made.shape[-3:])

    def taps(self, sigma: Tensor, stage: Blur, length: int) -> Tensor:
        """As ``kernels.reference.color.float32_taps``."""
        with out_of_sight():
            (coefficient,) = stage.coefficients.tolist()
        density = stage.form == "density"
        half = (length - 1) * 0.5 if density else (length - 1) / (2.0 * math.sqrt(-1.0 / coefficient))
        with out_of_sight():
            given = torch.linspace(-half, half, length, dtype=torch.float32)
        square = (self.constant(given) / sigma).pow(2)
        if not density:
            return torch.softmax(square.neg(), -1)
        made = torch.exp(coefficient * square)
        return made / made.sum(-1, keepdim=True)

    def when(self, condition: Tensor, made: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """Both are computed: what torch traces has no branches."""
        return torch.where(condition, made(x), x)

    def either(self, condition: Tensor, one: Callable[[], Tensor], other: Callable[[], Tensor]) -> Tensor:
        return torch.where(condition, one(), other())
