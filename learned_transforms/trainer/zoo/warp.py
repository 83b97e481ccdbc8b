"""The warps of the shipped weights: kernels from opaque teachers, arithmetic and form selected by kind."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import product

import torch
from torch import Tensor

from learned_transforms.errors import TeacherError
from learned_transforms.ir.arithmetic import Arithmetic
from learned_transforms.ir.interpolation import phi
from learned_transforms.layers.base import Layer
from learned_transforms.layers.warp import COPIES, Warping
from learned_transforms.trainer.data.bundled import noise
from learned_transforms.trainer.optim.snap import snap
from learned_transforms.trainer.search.problem import Trial, labelled, select
from learned_transforms.trainer.zoo.impulse import IMPULSE_SHAPES, WIDEST, monomials, pieces_at
from learned_transforms.trainer.zoo.teachers import (
    TEACHER_KINDS,
    Move,
    matrix_of,
    opaque,
    warp_float64,
    warp_int32,
    warp_teacher,
)

STRAIGHT_MOVES = tuple(Move(0.0, scale, (0.0, 0.0), (0.37, 0.37)) for scale in (165 / 128, 107 / 128, 247 / 128))
"""What kernels are learned from: places along an axis at many distances from pixels. Draws are float32, and so are all
numbers here."""

SIDE = 97
"""Of the images that they move."""

WIDTHS = (1.0, 0.5)
"""Of a kernel's intervals in pixels: candidates, the usual one first."""

TEACHERS: Mapping[str, tuple[Callable[[str, Tensor, Move], Tensor], float]] = {
    "warp_nearest": (warp_float64, 1e-13),
    "warp_bilinear": (warp_float64, 1e-13),
    "warp_bicubic": (warp_int32, 1e-9),
}
"""By role: the teacher of the kernel, the one that rounds least; and the root mean square error that it leaves."""

FILL = (7, 99, 200)
SIZES = ((61, 90), (224, 224), (37, 300))
MOVES = (
    Move(30.0, 1.0, (0.0, 0.0), (40.0, 33.0)),
    Move(-71.25, 1.75, (12.0, -7.5), (11.5, 20.25)),
    Move(158.0, 0.625, (-20.0, 0.0), (30.0, 30.0)),
    Move(0.0, 1.3125, (0.0, 0.0), (7.0, 9.5)),
    Move(3.125, 4.875, (0.0, 15.0), (25.0, 10.0)),
)
"""Fill, sizes and moves that arithmetic and form are selected on, and how many images of each size."""

IMAGES = 3


def kernel_for(role: str) -> Tensor:
    """Return the simplest kernel that explains answers to impulses: ``[support, degree + 1]``.

    One that is 1 up to half a pixel, and has no other coefficient, takes the nearest.

    Raises:
        TeacherError: none explains them.
    """
    teacher, tolerance = TEACHERS[role]
    seen = [weights_under(partial(teacher, role), move) for move in STRAIGHT_MOVES]
    weights, distance = (torch.cat(part) for part in zip(*seen, strict=True))
    for width, (support, degree) in product(WIDTHS, ((1, 0), *IMPULSE_SHAPES)):
        design = pieces_at(distance / width, support, degree)
        found = torch.linalg.lstsq(design, weights[:, None], driver="gelsd").solution[:, 0]
        if float((design @ found - weights).square().mean().sqrt()) > tolerance or (width < 1 and degree):
            continue
        kernel = torch.stack([monomials(row) for row in found.view(support, degree + 1)])

        def misfit(values: Tensor, at: Tensor = distance / width) -> float:
            return float((phi(values, at) - weights).square().mean().sqrt())

        return snap(kernel, misfit, 0.0, tolerance, 1)[0][1]
    raise TeacherError(f"No kernel explains what {role} makes of impulses.")


def weights_under(teacher: Callable[[Tensor, Move], Tensor], move: Move) -> tuple[Tensor, Tensor]:
    """Return what a teacher weighs each row by, for each row of its answer that lies well inside; and distances."""
    answers = []
    for row in range(SIDE):
        image = torch.zeros(1, SIDE, SIDE, dtype=torch.float64)
        image[0, row] = 1
        answers.append(teacher(image, move)[0, :, SIDE // 2])
    step, start = matrix_of("pil", move, (SIDE, SIDE))[4:]
    place = (torch.arange(SIDE, dtype=torch.float64) + 0.5) * step + start
    distance = (torch.arange(SIDE, dtype=torch.float64) + 0.5 - place[:, None]).abs()
    inner = (place >= WIDEST) & (place <= SIDE - WIDEST)
    return torch.stack(answers, 1)[inner].flatten(), distance[inner].flatten()


def candidates(kernel: Tensor, levels: bool) -> list[Warping]:
    """Return a kernel in every form and arithmetic that may explain images of levels, or of floats."""
    one = [Arithmetic("float32", rounding="half_even" if levels else "none")]
    several = [replace(one[0], rounding="truncate"), replace(one[0], rounding="half_up"), *one]
    rounded = several if levels and kernel.numel() > 1 else one
    made = [Warping(kernel, "cut", COPIES)] if kernel.numel() == 1 else []
    made += [Warping(kernel, "cut", replace(arithmetic, number="float64")) for arithmetic in rounded]
    for form, fma, arithmetic in product(("from_fill", "sum"), (True, False), rounded):
        made.append(Warping(kernel, form, replace(arithmetic, fma=fma)))
    return made


def learn_warp(name: str, role: str, kernel: Tensor) -> tuple[Layer, list[Trial]]:
    """Return a kernel with what fits the warps of one kind of images best, and what was tried."""
    generator = torch.Generator().manual_seed(3)
    checks = []
    for size, move in product(SIZES, MOVES):
        images = noise(IMAGES, (3, *size), generator)
        found = labelled(opaque([warp_teacher(name, role, move, FILL)]), images, TEACHER_KINDS[name])
        checks.append((found, {"matrix": matrix_of(name, move, size), "fill": FILL}))
    levels = checks[0][0].quantized
    best: tuple[Layer, list[Trial]] = select(candidates(kernel, levels), checks)
    return best


def learn_warps(taken: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, Layer, list[Trial]]]:
    """Every warp that kinds of images have, by key: ``kind/role``."""
    kernels: dict[str, Tensor] = {}
    for name, roles in taken.items():
        for role in roles:
            if role not in kernels:
                kernels[role] = kernel_for(role)
            yield (f"{name}/{role}", *learn_warp(name, role, kernels[role]))
