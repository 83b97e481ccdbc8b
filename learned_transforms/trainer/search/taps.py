"""The family of resizes by fixed-point taps: each tap is read from the teacher's answers, then a kernel is fitted.

A tap that is a multiple of ``2 ** -bits`` is told exactly by some hundred images; and thousands of taps, each known to
half a step, leave little room for the kernel that they were rounded from.
"""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from learned_transforms.errors import TeacherError
from learned_transforms.ir.arithmetic import Arithmetic
from learned_transforms.ir.sizing import Size
from learned_transforms.layers.base import Params
from learned_transforms.layers.fixed_point import FixedPointResampling, taps_at
from learned_transforms.trainer.optim.fit import least_squares
from learned_transforms.trainer.search.blocks import input_size
from learned_transforms.trainer.search.filtered import places_of
from learned_transforms.trainer.search.problem import CHECK_IMAGES, Ask, FoundForm, Labelled, Problem, attempt
from learned_transforms.trainer.sizes.ruled import size_param, whole_answer

ARITHMETIC = Arithmetic("float64", rounding="half_up")
REACH, BITS = 4, range(6, 15)
"""Pixels on either side of an output that may have taps, and the fractions that these may be multiples of."""

SIDES = (29, 37, 43, 53, 34, 38, 44, 52, 56, 48, 64, 80)
"""Of images that are asked about: odd, and many times even, so that outputs lie at all places between pixels."""

IMAGES, LOW, HIGH, SPREAD = 300, 78, 171, 8
"""Images of each size, and their levels: nearly two, which show taps best, yet enough for roundings to average out; no
sum of them is clamped."""

ROUNDS, SETTLED = 8, 3e-6
"""Of solving for rows and for columns in turn, until taps change by no more."""

LEFT = 0.15
"""Mean square, in levels, that taps may leave: rounding leaves a twelfth."""

FACTORS = 1 + torch.linspace(-1e-3, 1e-3, 201, dtype=torch.float64)
"""By which the taps of an axis may be off together: only those of both axes multiplied are seen."""

FIRM = 0.5 / 12**0.5
"""Root mean square, in steps, by which taps other than 0 may be off their grid; those on none are off by twice that."""

DEGREES = (1, 3, 5, 7, 9, 11)
REFINEMENTS, PUSH, MARGIN = 200, 8.0, 5e-3
"""Values of a kernel that are not rounded to their taps, by a margin in steps, are pushed as far again and again."""

FEW, MANY = 0.01, 0.05
"""Share of values that may differ behind such taps; and while not all of them are read."""

FEW_IMAGES = 20

Read = tuple[Tensor, Tensor]
"""Taps of an axis: how far each lies from its output, in pixels, and its value; float64 ``[outputs, 2 * REACH]``."""


def tapped(problem: Problem) -> Iterator[tuple[str, FoundForm | str]]:
    """Yield one kernel, on whatever fraction."""
    yield "fixed-point taps", taps_form(problem)


def taps_form(problem: Problem) -> FoundForm | str:
    """Return the taps at many places, the fraction that they are multiples of, and the kernel behind them."""
    plain = any(not place.antialias for place in places_of(problem)) and problem.channels[0] == problem.channels[1]
    if not plain or not problem.train.quantized or problem.train.inputs.dtype != torch.uint8:
        return "answers are no resized levels, or only a part of them is seen"
    if problem.ask is None:
        return "there is no teacher to ask"
    params = {"size": problem.train.size if problem.rules is None else size_param(problem.rules.resize)}
    axes: list[Read] = []
    fractions, layer = list(BITS), None
    for size in zip(SIDES, (*SIDES[1:], SIDES[0]), strict=True):
        answers = asked(problem.ask, problem, size)
        if answers is None:
            continue
        found = read(answers)
        if isinstance(found, str):
            return found
        axes += found
        if not axes:
            continue
        # What is on no grid, or not rounded once in the end, is told by the first size.
        fractions = [bits for bits in fractions if all(stepped(taps, bits)[1] < FIRM for _, taps in found)]
        layer = next(filter(None, (layer_of(axes, bits, params, answers) for bits in fractions)), None)
        if layer is None:
            return f"taps of {len(axes) // 2} sizes are multiples of no fraction, rounded from a kernel"
        fractions = [bits for bits in fractions if bits >= layer.bits]
    if layer is None:
        return "the teacher takes no images of other sizes"
    checks = [
        part for part in (problem.val.part(slice(CHECK_IMAGES)), *problem.probes) if seen(problem, input_size(part))
    ]
    trial = attempt([layer], checks, [params])
    if trial.differing > FEW:
        return f"fixed-point taps leave {trial.differing:.1%} of values different"
    count = sum(taps.numel() for _, taps in axes)
    return FoundForm(
        [layer], [params], [trial], ("size",), notes=[f"{count:,} taps were read, of {layer.bits} bits each"]
    )


def seen(problem: Problem, size: Size) -> bool:
    """Return whether all of the answer to an image of this size is seen."""
    return problem.rules is None or whole_answer(problem.rules, size)


def asked(ask: Ask, problem: Problem, size: Size) -> Labelled | None:
    """Images of one size with the teacher's answers; None where it takes none, or not all of its answers is seen."""
    generator = torch.Generator().manual_seed(size[0])
    shape = (IMAGES, problem.channels[0], *size)
    sides = torch.tensor([LOW, HIGH])[torch.randint(0, 2, shape, generator=generator)]
    images = (sides + torch.randint(0, SPREAD, shape, generator=generator)).to(torch.uint8)
    try:
        answers = ask(images)
    except TeacherError:
        return None
    return answers if seen(problem, size) else None


def read(answers: Labelled) -> list[Read] | str:
    """Return the taps of rows and of columns, where outputs have all of their pixels in the image; or why there are
    none."""
    # Taps need not sum to 1: of constants, nothing is asked.
    x, y = (levels - levels.mean((0, 1)) for levels in answers.floats(torch.float64))
    row, column = (Side(n, m) for n, m in zip(input_size(answers), answers.size, strict=True))
    if not len(row.inside) or not len(column.inside):
        return []
    y = y[..., row.inside, :][..., column.inside]
    for _ in range(ROUNDS):
        before = row.taps
        row.solve(column.along(x), y)
        column.solve(row.along(x.mT), y.mT)
        if float((row.taps - before).abs().max()) < SETTLED:
            break
    left = float((y - column.along(row.along(x.mT).mT)).square().mean())
    if left > LEFT:
        return f"taps of {2 * REACH} pixels leave a mean square of {left:.3g} levels"
    return [(side.distances, side.taps / side.taps.sum(1).mean()) for side in (row, column)]


class Side:
    """One axis, and the taps of those outputs all of whose pixels lie in the image."""

    def __init__(self, n_in: int, n_out: int) -> None:
        first, part = taps_at(n_in, n_out, 0.0)
        steps = torch.arange(1 - REACH, REACH + 1)
        index, distances = (first[:, None] + steps).long(), (part[:, None] - steps).abs()
        self.inside = ((index >= 0) & (index < n_in)).all(1).nonzero()[:, 0]
        self.index, self.distances = index[self.inside], distances[self.inside]
        self.taps = (1 - self.distances).clamp(min=0)

    def along(self, x: Tensor) -> Tensor:
        """Images ``[..., n_in]`` resampled to ``[..., outputs]``."""
        return sum(
            (x[..., index] * taps for index, taps in zip(self.index.T, self.taps.T, strict=True)), torch.zeros(())
        )

    def solve(self, x: Tensor, y: Tensor) -> None:
        """The taps with which images ``[..., n_in, L]`` are nearest to ``[..., outputs, L]``."""
        pixels = (x[..., index, :].movedim(-2, 0).flatten(1) for index in self.index)
        wanted = y.movedim(-2, 0).flatten(1)[:, None]
        self.taps = torch.cat([least_squares(each, row) for each, row in zip(pixels, wanted, strict=True)])


def stepped(taps: Tensor, bits: int) -> tuple[Tensor, float]:
    """Return taps in whole steps, and by how much they are off these, in the root mean square."""
    values = taps * FACTORS[:, None, None] * 2.0**bits
    used = (taps.abs() * 2.0**bits > 0.5).sum().clamp(min=1)  # Others are near to 0 on any grid.
    off = ((values - values.round()).square().sum((1, 2)) / used).sqrt()
    best = int(off.argmin())
    return values[best].round(), float(off[best])


def layer_of(axes: Sequence[Read], bits: int, params: Params, answers: Labelled) -> FixedPointResampling | None:
    """Return the resize whose taps are these, of so many bits; None: no kernel has them, or they give other answers."""
    read_off = [(distances, stepped(taps, bits)[0]) for distances, taps in axes]
    distances, steps = (torch.cat([each.flatten() for each in parts]) for parts in zip(*read_off, strict=True))
    kernel = kernel_of(distances, steps)
    if kernel is None:
        return None
    layer = FixedPointResampling(kernel / 2.0**bits, torch.zeros(2, dtype=torch.float64), ARITHMETIC, bits)
    trial = attempt([layer], [answers.part(slice(FEW_IMAGES))], [params])
    return layer if trial.differing <= MANY else None


def kernel_of(distances: Tensor, steps: Tensor) -> Tensor | None:
    """Return the simplest kernel ``[support, degree + 1]``, in steps, that rounds to these; None: there is none."""
    used = int(distances[steps != 0].max().ceil())
    for degree in DEGREES:
        pieces = [piece_of(distances, steps, piece, degree) for piece in range(used)]
        kernel = torch.stack([weights for weights, _ in pieces])
        if max(missed for _, missed in pieces) < MARGIN:
            return kernel
    return None


def piece_of(distances: Tensor, steps: Tensor, piece: int, degree: int) -> tuple[Tensor, float]:
    """Return the polynomial of one piece, and by how much it misses the worst of its steps and their margins."""
    own = (distances >= piece) & (distances <= piece + 1)
    powers = (distances[own] - piece)[:, None] ** torch.arange(degree + 1)
    low, high = steps[own] - 0.5 + MARGIN, steps[own] + 0.5 - MARGIN
    inverse = torch.linalg.pinv(powers)
    weights = best = inverse @ steps[own]
    least, push, step = math.inf, PUSH, torch.zeros_like(best)
    for _ in range(REFINEMENTS):
        made = powers @ weights
        missed = made.clamp(low, high) - made
        loss = float(missed.square().sum())
        if loss < least:
            best, step, least = weights, inverse @ missed, loss
        else:
            push /= 2
        weights = best + push * step
    made = powers @ best
    return best, float((made.clamp(low, high) - made).abs().max())
