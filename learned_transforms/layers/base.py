"""Layers: modules with learned weights and a stated arithmetic, lowered to plan stages for one shape.

A layer knows how to use numbers, never which numbers: kernels, channel weights and tables come from training.
What a layer is told per image (size, flip) comes in as ``params``.
"""

import copy
import hashlib
import json
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from learned_transforms.errors import PipelineValueError
from learned_transforms.installed import grouping, takes_rows_first
from learned_transforms.ir.arithmetic import SMOOTH, Arithmetic
from learned_transforms.ir.ops import Shape, Stage
from learned_transforms.ir.passes import at
from learned_transforms.ir.plan import Around
from learned_transforms.plain import Fields

Params = Mapping[str, Any]


UNCHANGING = (bool, int, float, str, Arithmetic, type(None))


EMPTY = (OrderedDict, dict, set)
"""Of the attributes of a module, what a copy shares, and what is mostly empty."""


class Layer(nn.Module):
    """Base of all layers.

    Weights are float64 parameters, frozen until training asks for them; they keep their dtype when a model that
    holds them is cast, since float16 kernels would give other pixels. Moving between devices works as usual.

    Attributes:
        arithmetic: how sums are computed (selected by validation), or None where nothing is summed.
        nested: weights lie in submodules, made by the constructor and filled in afterwards.
        whole: names of weights that may be integers, with their dtype.
        options: what a file may give to the constructor besides weights.
        takes: what a file may give as params.
        pointwise: it maps each pixel by itself, wherever that lies.
        fixed: it lowers by :meth:`stages`, for each size of images, or each that it takes; others by :meth:`free`.
        selected: names of other arguments that validation picked, as of the arithmetic; attributes, None: not given.
        picked: names of weights that were learned elsewhere, and selected for what this imitates.
    """

    arithmetic: Arithmetic | None = None
    pointwise: ClassVar[bool] = False
    fixed: ClassVar[bool] = True
    options: ClassVar[Fields] = Fields({})
    takes: ClassVar[Fields] = Fields({})
    nested: ClassVar[bool] = False
    whole: ClassVar[Mapping[str, torch.dtype]] = {}
    selected: ClassVar[tuple[str, ...]] = ()
    picked: tuple[str, ...] = ()
    stored: ClassVar[str] = ""
    """The name under which weight files hold it, where that is not its own."""

    @classmethod
    def stored_name(cls) -> str:
        """Return the name under which weight files hold layers of this class."""
        return cls.stored or cls.__name__

    def learn(self, **weights: Tensor) -> None:
        """Register ``weights`` as this layer's learned numbers."""
        for name, value in weights.items():
            self.register_parameter(name, nn.Parameter(value.detach().clone(), requires_grad=False))

    def stages(self, shape: Shape, params: Params, relaxed: bool = False) -> list[Stage]:
        """Lower for images of ``shape`` (C, H, W); ``relaxed`` leaves every rounding out.

        Any layer's params may have ``channels``, the numbers of them that images may have: the network checks it.
        """
        return at(self.free(shape[0], params, relaxed), shape)

    def free(self, channels: int, params: Params, relaxed: bool = False) -> list[Stage]:
        """Lower for images of any size, where they are not ``fixed``: rules in the stages say what follows from it."""
        return self.stages((channels, 1, 1), params, relaxed)

    def by_size(self, params: Params) -> bool:
        """Return whether it lowers by :meth:`stages` under such params."""
        return self.fixed

    def elastic(self, params: Params) -> bool:
        """Return whether it gives images of any size one size."""
        return False

    def around(self, channels: int, params: Params) -> Around | None:
        """Return what lies around images, for windows of them that reach beyond."""
        return None

    def effective(self, relaxed: bool) -> Arithmetic:
        """Return the arithmetic to lower with, as far as it depends on the installed Pillow and torch; relaxed, plain
        float32.

        Where torch groups products in a way that is not known, all of them are fused.
        """
        if relaxed or self.arithmetic is None:
            return SMOOTH
        if self.arithmetic.tall_first:
            return replace(self.arithmetic, tall_first=takes_rows_first())
        if self.arithmetic.grouped:
            groups = grouping()
            return replace(self.arithmetic, fma=groups != 1, grouped=groups or 0)
        return self.arithmetic

    def describe(self) -> dict[str, Any]:
        """Constructor arguments that are not tensors, as plain values, for weight files."""
        given = self.chosen().items()
        return {name: value.to_json() if isinstance(value, Arithmetic) else value for name, value in given}

    def chosen(self) -> dict[str, Any]:
        """Return what validation picked, the arithmetic among it, as far as it is given."""
        found = {name: getattr(self, name) for name in (*self.selected, "arithmetic")}
        return {name: value for name, value in found.items() if value is not None}

    def digest(self) -> str:
        """Return a hash of all that it is: its class, its description, and every bit of its weights."""
        found = hashlib.sha256(json.dumps([self.stored_name(), self.describe()], sort_keys=True).encode())
        for name, value in sorted(self.named_parameters()):
            found.update(repr((name, value.dtype, tuple(value.shape))).encode() + raw(value))
        return found.hexdigest()

    def provenance(self) -> dict[str, str]:
        """Return where each number comes from: ``learned``, ``selected`` or ``given``."""
        marks = {name: "selected" if name in self.picked else "learned" for name, _ in self.named_parameters()}
        return {**marks, **dict.fromkeys(self.chosen(), "selected")}

    def __deepcopy__(self, memo: dict[int, Any]) -> "Layer":
        """As nn.Module's, which is slow on values that never change, and on hooks that are not there."""
        made = self.__new__(type(self))
        memo[id(self)] = made
        for name, value in self.__dict__.items():
            if type(value) in EMPTY and not value:
                made.__dict__[name] = type(value)()
            else:
                made.__dict__[name] = value if isinstance(value, UNCHANGING) else copy.deepcopy(value, memo)
        return made

    def _apply(self, fn: Any, recurse: bool = True) -> "Layer":
        super()._apply(lambda t: t.to(fn(t.new_empty(0)).device), recurse)  # type: ignore[no-untyped-call]
        return self


def raw(value: Tensor) -> bytes:
    """Return the values of a tensor, row by row, as memory."""
    # One value alone counts as contiguous, whatever its stride.
    rows = value.detach().cpu().clone(memory_format=torch.contiguous_format)
    return rows.flatten().view(torch.uint8).numpy().tobytes()


SUMMED = Fields({"arithmetic": lambda value: isinstance(value, Arithmetic)})
"""The options of a layer that sums, and has no others."""


MOST_CHANNELS = 256
"""Of an image in a file's description."""


MOST_PIECES, MOST_TERMS, MOST_SHIFT = 64, 64, 64
"""Of a kernel, in input pixels; so that it costs no more than it is worth to evaluate it."""


def check_weight(name: str, value: Tensor, dimensions: int, length: int | None = None) -> None:
    """Require a weight of so many dimensions and, if given, of such a length along the first."""
    if value.ndim != dimensions or (length is not None and len(value) != length) or not value.numel():
        size = "" if length is None else f", {length} along the first"
        raise PipelineValueError(f"Expected {name} of {dimensions} dimensions{size}, got shape {tuple(value.shape)}.")


MOST_SUM = 2**22
"""Of the levels that a map of channels gives: whole sums of 22 bits hold no more."""
