"""Warps: each output pixel is what lies at a place of the image that a matrix gives."""

from collections.abc import Mapping
from dataclasses import replace
from math import comb

import torch
from torch import Tensor, nn

from learned_transforms.errors import PipelineValueError
from learned_transforms.installed import fuses_grids, fuses_samples
from learned_transforms.ir.arithmetic import SMOOTH, Arithmetic
from learned_transforms.ir.interpolation import MOST_WHOLE
from learned_transforms.ir.ops import WARPS, Slots, Stage, Warp
from learned_transforms.layers.base import MOST_CHANNELS, MOST_PIECES, MOST_TERMS, SUMMED, Layer, Params
from learned_transforms.layers.geometry import fill_of
from learned_transforms.plain import Fields, finite, integer, list_of, maybe, one_of

COPIES = Arithmetic("int", bits=16, rounding="half_up", running=True)
"""How the pixel at a place is found where places are whole pixels."""

TAKEN = Fields(
    {
        "matrix": lambda value: list_of(finite, 6)(value) or list_of(finite, 8)(value),
        "size": maybe(list_of(integer(1), 2)),
        "fill": list_of(finite, 0, MOST_CHANNELS),
    },
    ("size", "fill"),
)


class Warping(Layer):
    """Take the pixel nearest to a place, or the sum around it by a learned kernel.

    Params: ``matrix``, from output to input, see ``ops.Warp``; ``size`` (rows, columns) of the output, that of the
    input unless given; ``fill``, one number, or one a channel, or none.

    Args:
        kernel: ``[support, degree + 1]``, as that of a resampling; its first coefficient alone, ``[1, 1]``, takes the
            nearest pixel: a box.
        form: one of ``ops.WARPS``.
    """

    fixed = False
    kernel: nn.Parameter
    arithmetic: Arithmetic
    options = Fields({**SUMMED.checks, "form": one_of(*WARPS)})
    selected = ("form",)
    takes = TAKEN

    def __init__(self, kernel: Tensor, form: str, arithmetic: Arithmetic) -> None:
        super().__init__()
        whole = arithmetic.number == "int"
        if kernel.ndim != 2 or not 0 < kernel.shape[0] <= MOST_PIECES or not 0 < kernel.shape[1] <= MOST_TERMS:
            raise PipelineValueError(
                f"Expected a kernel of up to {MOST_PIECES} pieces of {MOST_TERMS} terms, got {tuple(kernel.shape)}."
            )
        if not 0 < kernel.abs().max() < MOST_WHOLE:
            raise PipelineValueError("Expected coefficients of a kernel that are not all 0, and below 2^30.")
        if (
            form not in WARPS
            or (whole and (form != "cut" or kernel.numel() > 1))
            or (form != "cut" and arithmetic.number != "float32")
        ):
            raise PipelineValueError(
                f"Expected a form out of {', '.join(WARPS)}, in float32 but for the first, which finds nearest "
                f"pixels in integers, too; got {form!r}, {arithmetic}."
            )
        self.learn(kernel=kernel.double())
        self.form, self.arithmetic = form, arithmetic

    @property
    def nearest(self) -> bool:
        """Whether it takes the pixel at a place, and sums nothing."""
        return self.kernel.numel() == 1

    def effective(self, relaxed: bool) -> Arithmetic:
        """Sums are fused where the installed torch does it; the nearest pixel is taken as it is, and needs no
        relaxing."""
        if relaxed and not self.nearest:
            return SMOOTH
        return replace(self.arithmetic, fma=self.arithmetic.fma and fuses_samples())

    def free(self, channels: int, params: Params, relaxed: bool = False) -> list[Stage]:
        matrix, size, fill = params["matrix"], params.get("size"), tuple(params.get("fill", ()))
        return [
            Warp(
                matrix if isinstance(matrix, Slots) else tuple(float(value) for value in matrix),
                None if size is None else (size[0], size[1]),
                None if self.nearest else taps_of(self.kernel),
                fill_of(fill, channels) if fill else (),
                self.form,
                self.effective(relaxed),
                0 if self.form == "cut" else fuses_grids(),
            )
        ]


class Replacing(Layer):
    """Copy pixels to other places: a warp that takes the pixel at each, whatever was learned.

    Params: those of :class:`Warping`; places are middles of pixels.
    """

    fixed = False
    takes = TAKEN

    def free(self, channels: int, params: Params, relaxed: bool = False) -> list[Stage]:
        size = params.get("size")
        return [Warp(params["matrix"], None if size is None else (size[0], size[1]), None, (), "cut", COPIES)]


def taps_of(kernel: Tensor) -> Tensor:
    """Return the weight of each pixel along an axis as a polynomial of the fraction behind the pixel before, see
    ``ops.Warp``; float64, differentiable."""
    terms = kernel.shape[1]
    # Behind a place, distances grow as the fraction shrinks: (1 - t)^k, in powers of t.
    rows = [[(-1) ** power * comb(k, power) for power in range(terms)] for k in range(terms)]
    return torch.cat([kernel.flip(0), kernel @ kernel.new_tensor(rows)])


WARP_LAYERS: Mapping[str, type[Layer]] = {layer.stored_name(): layer for layer in (Warping, Replacing)}
"""The layers of this file, by the name under which weight files hold them."""
