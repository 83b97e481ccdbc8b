"""Warps of the native code against the reference, on random matrices."""

import random
from dataclasses import replace
from itertools import product

import pytest
import torch
from test_native import random_levels
from test_native import simd as simd  # autouse: each set of instructions, into poisoned memory
from test_native_stages import check

from learned_transforms.errors import BackendError, PipelineValueError
from learned_transforms.ir.arithmetic import Arithmetic
from learned_transforms.ir.ops import Places, Slots, Warp
from learned_transforms.ir.plan import Plan
from learned_transforms.kernels import cpu
from learned_transforms.kernels.reference.executor import Reference
from learned_transforms.layers.warp import COPIES, taps_of

BOX, HAT = torch.ones(1, 1), torch.tensor([[1.0, -1.0]])
KEYS = torch.tensor([[1.0, 0, -2, 1], [0, -1, 2, -1]])
WIDE = torch.tensor([[0.9, 0.1, -1.7, 0.8], [0.05, -0.7, 1.1, -0.6], [0.02, 0.1, -0.2, 0.1]])
DOUBLE = Arithmetic("float64", rounding="truncate")
SINGLE = Arithmetic("float32", fma=True, rounding="half_even")
SIZES = ((37, 53), (9, 91), (91, 7), (64, 64), (1, 17), (33, 2), (1, 1))


def matrix(rng: random.Random, terms: int, size: tuple[int, int]) -> tuple[float, ...]:
    """Of any kind: turned, only scaled, whole shifts, far away, almost or wholly singular."""
    rows, columns = size
    kind = rng.randrange(8)
    a, b, c, d = (rng.uniform(-2, 2) for _ in range(4))
    if kind == 0:
        b = c = 0.0
    if kind == 1:
        a, b, c, d = 1.0, 0.0, 0.0, 1.0
    if kind == 2:
        a, b, c, d = (value * 3e4 for value in (a, b, c, d))
    if kind == 3:
        c, d = a, b
    shift = [rng.uniform(-1, 2) * n if kind != 1 else float(rng.randrange(-n, n + 1)) for n in (columns, rows)]
    bent = [rng.uniform(-1, 1) / n for n in (columns, rows)]
    return (a, b, shift[0], c, d, shift[1], *bent[: terms - 6])


def stages(rng: random.Random, channels: int, size: tuple[int, int], floats: bool) -> list[Warp]:
    """One of each form, and arithmetic, with any fill, and any size of the output."""
    made = []
    for form in ("cut", "from_fill", "sum"):
        for kernel in (BOX, HAT, KEYS, WIDE):
            fill = rng.choice([(), (0.0,) * channels, tuple(float(rng.randrange(256)) for _ in range(channels))])
            after = rng.choice([None, None, (rng.randint(1, 40), rng.randint(1, 40))])
            arithmetic = DOUBLE if form == "cut" else replace(SINGLE, fma=rng.random() < 0.7)
            if form == "cut" and len(kernel.flatten()) == 1:
                arithmetic = rng.choice([COPIES, DOUBLE])
            arithmetic = replace(arithmetic, rounding="none") if floats and arithmetic.number != "int" else arithmetic
            taps = None if kernel is BOX else taps_of(kernel.double())
            numbers = matrix(rng, rng.choice([6, 8]), size)
            made.append(Warp(numbers, after, taps, fill, form, arithmetic, rng.choice([0, 1, 67])))
    return made


@pytest.mark.parametrize("floats", [False, True])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_native_code_follows_the_reference(channels: int, floats: bool) -> None:
    """24 draws of 12 forms each, from whatever memory, to planes and pixels."""
    rng = random.Random(channels)
    for number in range(24):
        size = rng.choice(SIZES)
        levels = random_levels(channels, *size, seed=number)
        for stage in stages(rng, channels, size, floats):
            check(levels / 255 if floats else levels, stage)


def test_flat_parts_and_whole_shifts_are_exact() -> None:
    """Where Pillow's sums come close to whole numbers, they are summed again."""
    image = random_levels(3, 40, 50) // 64 * 64
    image[:, 10:30], image[0] = 77, 200
    for shift in (0.0, 0.5, 0.25, 1 / 3, 2.0**-9, 1e-9, 1 - 1e-9):
        for a, b in ((1.0, 0.0), (0.5, 0.0), (1.0, 1e-7), (1.0, 0.125)):
            check(image, Warp((a, b, shift, b, a, shift), None, taps_of(HAT.double()), (), "cut", DOUBLE))


@pytest.mark.parametrize("floats", [False, True])
def test_places_may_lie_anywhere(floats: bool) -> None:
    """A field of places, of which some are far away or no numbers: on every set of instructions, of odd widths."""
    generator, places = torch.Generator().manual_seed(4), 0
    for number, size in enumerate((*SIZES, (8, 8), (5, 16), (11, 23))):
        for channels, kernel, form in product((1, 3), (BOX, HAT), ("from_fill", "sum")):
            image = random_levels(channels, *size, seed=number)
            image = image / 255 if floats else image
            after = (size[0], size[1] + number % 3)
            grid = torch.rand((2, *after), generator=generator) * 2.4 - 1.2
            odd = torch.rand((2, *after), generator=generator)
            for share, value in ((0.02, float("nan")), (0.01, 1e30), (0.005, -1e30), (0.002, float("inf"))):
                grid[odd < share] = value
            grid[0, 0, 0], grid[1, -1, -1] = -1.0, 1.0
            taps = None if kernel is BOX else taps_of(kernel.double())
            how = replace(SINGLE, rounding="none") if floats else SINGLE
            fill = ((), (0.0,), (9.0,))[number % 3] * channels
            plan = Plan(channels, None, (Warp(Slots(1, 3), after, taps, fill, form, how),), None)
            factors = (7.0, Places(grid), *map(float, after))
            for fma in (True, False):
                stage = replace(plan.stages[0], arithmetic=replace(how, fma=fma))
                one = replace(plan, stages=(stage,))
                made, expected = (
                    cpu.Program(one).bind(image)(image, None, factors),
                    Reference(one).run(image, None, factors),
                )
                assert made.dtype == expected.dtype
                assert torch.equal(made.nan_to_num(5), expected.nan_to_num(5)) if floats else made.equal(expected)
                places += grid[0].numel()
    print(f"{places} places")


def test_fields_that_do_not_fit_are_refused() -> None:
    plan = Plan(3, None, (Warp(Slots(0, 3), None, None, (), "from_fill", SINGLE),), None)
    image, grid = random_levels(3, 9, 8), Places(torch.zeros(2, 9, 8))
    call = cpu.Program(plan).bind(image)
    for wrong in ((grid, 9.0), (grid, 8.0, 9.0), (0.0, 9.0, 8.0), (-8.0, 9.0, 8.0), (0.5, 9.0, 8.0), (1e300, 9.0, 8.0)):
        with pytest.raises(ValueError, match="Expected"):
            call(image, None, wrong)
        with pytest.raises(PipelineValueError, match="Expected"):
            Reference(plan).run(image, None, wrong)
    for form, matrix_of_three in (("cut", Slots(0, 3)), ("from_fill", (1.0, 2.0, 3.0))):
        bad = replace(plan.stages[0], form=form, matrix=matrix_of_three, arithmetic=DOUBLE if form == "cut" else SINGLE)
        with pytest.raises(BackendError):
            cpu.Program(replace(plan, stages=(bad,)))


def test_a_matrix_is_data() -> None:
    """One program for all matrices; they must be there, finite, and enough."""
    image = random_levels(3, 20, 30)
    plan = Plan(3, None, (Warp(Slots(1, 6), None, taps_of(HAT.double()), (), "from_fill", SINGLE),), None)
    program, reference = cpu.Program(plan).bind(image), Reference(plan).run
    for seed in range(20):
        factors = (7.0, *matrix(random.Random(seed), 6, (20, 30)))
        assert program(image, None, factors).equal(reference(image, None, factors))
    for wrong in ((), (1.0,) * 6, (1.0,) * 6 + (float("nan"),)):
        with pytest.raises(ValueError, match="Expected factor"):
            program(image, None, wrong)
    with pytest.raises(PipelineValueError, match="Expected factors from number 1"):
        reference(image, None, (1.0,) * 6)
