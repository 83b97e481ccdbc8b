"""The layers of color of the shipped weights, each from an opaque teacher: blends, hue, statistics, blur."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product

import torch
from torch import Tensor

from learned_transforms.errors import TeacherError
from learned_transforms.layers.base import Layer
from learned_transforms.layers.color import FORMS, Blurring, Equalizing, Stretching
from learned_transforms.trainer.optim.fit import least_squares
from learned_transforms.trainer.optim.snap import snap
from learned_transforms.trainer.search.problem import Labelled, Trial, labelled, select
from learned_transforms.trainer.zoo.blend import BLEND_FLOATS, BLEND_LEVELS, SIZE, BlendTeacher, learn_blend, shuffled
from learned_transforms.trainer.zoo.hue import learn_turn
from learned_transforms.trainer.zoo.nearest import simplest_number
from learned_transforms.trainer.zoo.teachers import TEACHER_KINDS, color

BLUR_TEACHERS = ((0.4, 5), (0.7, 9), (1.1, 9), (2.0, 15), (3.7, 23))
"""Sigma and size of the windows that the taps are learned from."""

FAINT = 1e-9
"""Taps below this share of the largest tell nothing."""

TERMS = (1, 2, 3, 4)
"""Of the even polynomial, from simple to rich."""

TAPS_ERROR = 1e-12
"""Root mean square error of the logarithm of taps that float64 leaves."""

BLURRED = ((0.3, (3, 3)), (0.8, (5, 5)), (1.3, (5, 9)), (2.0, (23, 7)), (0.1, (3, 7)))
"""Sigma and size of the windows that arithmetic and border are selected on."""

BORDERS = ("reflect", "symmetric", "edge")
"""Candidates for what lies beyond the image."""

CHECKS = 32
"""Images that they are selected on."""

STRETCHED, EQUALIZED = 400, 200
"""Images that ends, and levels and offset, are learned from."""

Learner = Callable[[BlendTeacher, str], tuple[Layer, list[Trial]]]
"""From a teacher and the kind of its images to a layer, and what was tried."""


def mixed(count: int, size: tuple[int, int]) -> Tensor:
    """Training images in random order, uint8 ``[N, 3, *size]``, each of some part of the range of levels."""
    generator = torch.Generator().manual_seed(0)
    images = shuffled(count, size)
    scale, start = torch.rand(2, count, 1, 1, 1, generator=generator)
    made: Tensor = images * scale + start * 255 * (1 - scale)
    return made.to(torch.uint8)


def learn_stretch(teacher: BlendTeacher, kind: str) -> tuple[Layer, list[Trial]]:
    """Return the stretch of each channel's range that a teacher of (image) computes, and what was tried."""
    check = labelled(teacher, mixed(STRETCHED, (24, 24)), kind)
    moved = (check.inputs.amax((-2, -1)) > check.inputs.amin((-2, -1))).flatten()
    planes = check.targets.double().flatten(0, 1)[moved]
    ends = torch.stack([planes.min(), planes.max()])
    ends = snap(ends, lambda values: float((values - ends).abs().max()), 0.0, 1e-6, 1)[0][1]
    arithmetics = [a for a in (BLEND_LEVELS if check.quantized else BLEND_FLOATS) if not a.fma]
    return select([Stretching(ends, a, form) for form, a in product(FORMS["stretch"], arithmetics)], [(check, {})])


def learn_equalize(teacher: BlendTeacher, kind: str) -> tuple[Layer, list[Trial]]:
    """Levels and offset of the flat histogram that a teacher of (image) makes, and what they leave.

    For each number of levels, every entry of every table bounds the offset; the bounds agree for the right number.

    Raises:
        TeacherError: they agree for none.
    """
    check = labelled(teacher, mixed(EQUALIZED, (61, 47)), kind)
    below, entries, largest, pixels = tables(check)
    for levels in range(255, 0, -1):
        step = (pixels - largest) // levels
        used = (step > 0) & (entries < 255)
        low = ((entries * step - below) / step)[used & (entries > 0)].max()
        high = (((entries + 1) * step - below) / step)[used].min()
        if low < high:
            offset = torch.tensor([simplest_number(float(low), float(high))], dtype=torch.float64)
            return select([Equalizing(offset.new_tensor([levels]), offset)], [(check, {})])
    raise TeacherError("No number of levels explains the tables of the teacher.")


def tables(check: Labelled) -> tuple[Tensor, Tensor, Tensor, int]:
    """Of each level present in each channel ``[K]``: pixels below it, what becomes of it, pixels of the largest.

    Last, how many pixels a channel has.
    """
    below, entries, largest = [], [], []
    planes, made = (part.flatten(0, 1).flatten(1) for part in (check.inputs, check.targets))
    for plane, row in zip(planes, made, strict=True):
        levels, inverse, counts = plane.unique(return_inverse=True, return_counts=True)
        below.append(counts.cumsum(0) - counts)
        entries.append(row.new_zeros(len(levels)).index_put_((inverse,), row).long())
        largest.append(counts[-1:].expand(len(levels)))
    return torch.cat(below), torch.cat(entries), torch.cat(largest), planes.shape[1]


def learn_blur(teacher: BlendTeacher, kind: str) -> tuple[Layer, list[Trial]]:
    """Return the blur of one kind of images: taps as the teacher of float64 has them, arithmetic and border as this
    one."""
    return blur(teacher, kind, learn_taps(color("float32", "gaussian_blur")))


def blur(teacher: BlendTeacher, kind: str, coefficients: Tensor) -> tuple[Blurring, list[Trial]]:
    """Known taps with the arithmetic and the border that fit a teacher of (image, sigma, size) best."""
    images = shuffled(CHECKS, SIZE)
    checks = [(labelled(teacher, images, kind, sigma, size), {"sigma": sigma, "size": size}) for sigma, size in BLURRED]
    arithmetics = [a for a in (BLEND_LEVELS if checks[0][0].quantized else BLEND_FLOATS) if a.number == "float32"]
    best, trials = select([Blurring(coefficients, border, arithmetics[0]) for border in BORDERS], checks)
    best, more = select([Blurring(coefficients, best.border, arithmetic) for arithmetic in arithmetics], checks)
    if not checks[0][0].quantized or len(coefficients) > 1 or not best.arithmetic.fma:
        return best, [*trials, *more]
    ties = torch.stack([checkers(SIZE[0], step) for step in range(1, 5)])
    checks = [(labelled(teacher, ties, kind, sigma, size), {"sigma": sigma, "size": size}) for sigma, size in BLURRED]
    forms = [Blurring(coefficients, best.border, best.arithmetic, form) for form in FORMS["blur"]]
    best, last = select(forms, checks)
    return best, [*trials, *more, *last]


def checkers(side: int, step: int) -> Tensor:
    """Return a board of black and white fields of so many pixels, whose blurs often end right between two levels."""
    field = torch.arange(side) // step
    return ((field[:, None] + field) % 2 * 255).to(torch.uint8).expand(3, side, side)


def learn_taps(teacher: BlendTeacher) -> Tensor:
    """Coefficients ``[n]`` of the logarithm of taps, from answers to impulses; see ``ops.Blur``.

    Args:
        teacher: from (float64 image, sigma, size) to a float64 image.

    Raises:
        TeacherError: no even polynomial explains the taps.
    """
    squares, logarithms = [], []
    for sigma, length in BLUR_TEACHERS:
        image = torch.zeros(1, 2 * length + 1, 2 * length + 1, dtype=torch.float64)
        image[0, length, length] = 1
        taps = teacher(image, sigma, (length, length))[0].sum(0)[length:]
        seen = taps > FAINT * taps[0]
        squares.append(((torch.arange(len(taps)).double() / sigma) ** 2)[seen])
        logarithms.append((taps / taps[0]).log()[seen])
    square, wanted = torch.cat(squares), torch.cat(logarithms)
    fits = []
    for count in TERMS:
        rows = torch.stack([square ** (k + 1) for k in range(count)])
        scale = rows.abs().amax(1, keepdim=True)
        found = least_squares(rows / scale, wanted[None])[0] / scale[:, 0]
        fits.append((float((found @ rows - wanted).square().mean().sqrt()), found))
    limit = max(TAPS_ERROR, 2 * min(error for error, _ in fits))
    found = next(found for error, found in fits if error <= limit)
    if limit > 1e-6:
        raise TeacherError("No even polynomial of the distance explains the taps.")

    def misfit(values: Tensor) -> float:
        made = sum(c * square ** (k + 1) for k, c in enumerate(values)) - wanted
        return float(made.square().mean().sqrt())

    return snap(found, misfit, 1.0, TAPS_ERROR, 1)[0][1]


LEARNERS: Mapping[str, Learner] = {
    **dict.fromkeys(("brightness", "contrast", "saturation", "sharpness"), learn_blend),
    "hue": learn_turn,
    "autocontrast": learn_stretch,
    "equalize": learn_equalize,
    "gaussian_blur": learn_blur,
}
"""By role: blends learn from a factor what they are, the others have a family of their own."""


def learn_colors(taken: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, Layer, list[Trial]]]:
    """Every layer of color that kinds of images have, by key: ``kind/role``."""
    for name, roles in taken.items():
        for role in roles:
            yield (f"{name}/{role}", *LEARNERS[role](color(name, role), TEACHER_KINDS[name]))
