"""A plan's launches on one device, as records that only lack an image."""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from learned_transforms.ir.interpolation import Axis
from learned_transforms.ir.ops import Blend, Blur, Factor, Gather, Mix, Slot, Stage, Turn
from learned_transforms.kernels.cuda.phases import Phase
from learned_transforms.kernels.cuda.records import STEP_KINDS, Op, ResampleRecord, RowRecord
from learned_transforms.kernels.cuda.spans import Span

WORDS = {torch.uint8: torch.uint8, torch.float16: torch.int16, torch.bfloat16: torch.int16, torch.float32: torch.int32}
"""By dtype: whole numbers of the same bits."""


MOST_PLACED = 1024
"""Tables and kernels kept on devices: recipes share them."""


class BlurRecipe(NamedTuple):
    """A blur: the sigma, or which of the factors it is, and how it weighs; equal ones are done at once."""

    sigma: Factor
    coefficients: tuple[float, ...]
    size: tuple[int, int]
    form: str


class Recipe:
    """The launches of a plan on a device.

    Attributes:
        phases: the launches.
        causes: of all but the first.
        rows: for each, the record of an image, as bytes.
        fills: for each, what is filled in, on the device; None: nothing is.
        resamples: for each, how it resamples, without the room for weights; None: it does not.
        blurs: for each, how it blurs; None: it does not.
        offsets: for each, where it begins to read, row and column, and which way it goes from there.
    """

    def __init__(self, phases: Sequence[Phase], device: torch.device) -> None:
        self.phases = phases
        self.causes = tuple(phase.cause for phase in phases[1:])
        self.kernels = tuple(phase.kernel for phase in phases)
        self.channels = tuple(phase.channels for phase in phases)
        self.shapes = tuple(phase.shape for phase in phases)
        self.dtype = phases[-1].levels.dtype
        self.held: list[Tensor] = []
        self.device = device
        self.fills = [phase.fill.to(device) if phase.fills and phase.fill is not None else None for phase in phases]
        self.resamples = [None if phase.axes is None else self.resample(phase.axes, phase.bits) for phase in phases]
        # By number of a launch and stream: weights that are the same for every image.
        self.taps: dict[tuple[int, int], Tensor] = {}
        self.rows = [bytes(self.row(phase)) for phase in phases]
        self.offsets = [offset_of(phase) for phase in phases]
        self.blurs = [None if phase.blur is None else blurring(phase.blur) for phase in phases]
        # Images whose recipes are equal in this, and in what they fill in, may go through the same launches.
        self.alike = self.kernels, self.shapes, self.dtype, device
        # As numbers, which tell whether others fill in the same.
        self.filled = [
            tuple(phase.fill.flatten().tolist()) if phase.fills and phase.fill is not None else None for phase in phases
        ]
        self.padded = phases[0].padded
        self.summed = tuple(phase.summed is not None for phase in phases)

    def resample(self, axes: tuple[Axis, Axis], bits: int) -> ResampleRecord:
        """Return a resample, of which the room for weights is still to be told."""
        rows, columns = axes
        support, count = rows.kernel.shape
        terms = self.place(rows.kernel.detach().double())
        return ResampleRecord(terms, (float(columns.shift), float(rows.shift)), support, count, bits, 0)

    def place(self, table: Tensor) -> int:
        """Return where numbers lie on the device, as long as this lives."""
        self.held.append(placed(table, self.device))
        return self.held[-1].data_ptr()

    def row(self, phase: Phase) -> RowRecord:
        """Return the record of an image, without what is drawn, and where the image lies."""
        rows, columns = phase.made
        row = RowRecord(
            table=self.place(whole(phase.levels)),
            channels=phase.channels,
            inputs=(phase.taken[1].length, phase.taken[0].length),
            size=(0, 0) if phase.axes is None else (phase.axes[1].size, phase.axes[0].size),
            keep=(columns.first, rows.first),
            outputs=(columns.inner, rows.inner),
            start=(first_of(columns), first_of(rows)),
            step=(sign(columns), sign(rows)),
            window=(1, 1) if phase.blur is None else phase.blur.size[::-1],
            blurred=phase.blur is not None,
            pixels=phase.size[0] * phase.size[1],
            made=len(phase.levels),
            count=len(phase.ops),
        )
        if phase.summed is not None:
            row.summed, row.fused, row.gray = 1, phase.summed.arithmetic.fma, gray_of(phase.summed)
        for number, op in enumerate(phase.ops):
            row.ops[number] = self.op(op)
        return row

    def op(self, stage: Stage | Tensor) -> Op:
        if isinstance(stage, Tensor):
            return Op(kind=STEP_KINDS.index("look_up"), slot=-1, table=self.place(stage))
        if isinstance(stage, Gather):
            order = tuple(stage.channels or ())
            return Op(kind=STEP_KINDS.index("arrange"), slot=-1, channels=order * (3 // len(order)))
        if isinstance(stage, Mix):
            return Op(kind=STEP_KINDS.index("mix"), slot=-1, fused=stage.arithmetic.fma, gray=gray_of(stage))
        assert isinstance(stage, Blend | Turn)
        slot, factor = (stage.factor.number, 1.0) if isinstance(stage.factor, Slot) else (-1, stage.factor)
        known = slot < 0
        if isinstance(stage, Turn):
            terms = (factor, 0.0, 0.0, 0.0) if known else (0.0, 1.0, 0.0, 0.0)
            how = {"span": stage.span, "divides": stage.form == "divide"}
            return Op(kind=STEP_KINDS.index("turn"), slot=slot, terms=terms, **how)
        (a, by_a), (b, by_b) = stage.terms.tolist()
        terms = (a + by_a * factor, 0.0, b + by_b * factor, 0.0) if known else (a, by_a, b, by_b)
        if not isinstance(stage.other, Mix):
            return Op(kind=STEP_KINDS.index("scale"), slot=slot, terms=terms)
        kind = STEP_KINDS.index("blend_gray" if stage.mean is None else "blend_mean")
        return Op(kind=kind, slot=slot, terms=terms, fused=stage.arithmetic.fma, gray=gray_of(stage.other))


def fills_of(recipes: Sequence[Recipe]) -> list[Tensor | None] | None:
    """Return what each launch fills in for images of several recipes; None: these do not go together."""
    if any(recipe.alike != recipes[0].alike for recipe in recipes):
        return None
    made: list[Tensor | None] = []
    for number in range(len(recipes[0].phases)):
        values = {recipe.filled[number]: recipe.fills[number] for recipe in recipes if recipe.fills[number] is not None}
        if len(values) > 1:
            return None
        made.append(next(iter(values.values()), None))
    return made


def offset_of(phase: Phase) -> tuple[int, int, int, int]:
    """Return where a launch begins to read, row and column, and which way it goes from there."""
    rows, columns = phase.taken
    if phase.axes is not None:
        return rows.start, columns.start, rows.step, columns.step
    return (0, 0, 1, 1) if phase.cause == "blur" else (rows.first, columns.first, 1, 1)


def blurring(blur: Blur) -> BlurRecipe:
    return BlurRecipe(blur.sigma, tuple(blur.coefficients.tolist()), blur.size, blur.form)


def placed(values: Tensor, device: torch.device) -> Tensor:
    """Return values on a device; equal ones are the same."""
    return of_bytes(values.contiguous().numpy().tobytes(), values.dtype, tuple(values.shape), device)


@lru_cache(MOST_PLACED)
def of_bytes(data: bytes, dtype: torch.dtype, shape: tuple[int, ...], device: torch.device) -> Tensor:
    return torch.frombuffer(bytearray(data), dtype=dtype).view(shape).to(device)


def whole(levels: Tensor) -> Tensor:
    """Return the bits of a table ``[C, 1, 256]`` as int32 ``[3, 256]``."""
    words = levels.contiguous().view(WORDS[levels.dtype]).squeeze(1).expand(3, 256)
    return words.to(torch.int32)


def first_of(span: Span) -> int:
    """Return which output the least of the pixels goes to."""
    return span.begin if span.step > 0 else span.end - 1


def sign(span: Span) -> int:
    return 1 if span.step > 0 else -1


def gray_of(mix: Mix) -> tuple[float, ...]:
    weights = mix.weight[0].tolist()
    return (*weights, *(0.0,) * (3 - len(weights)), float(mix.bias[0]))
