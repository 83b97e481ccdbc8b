"""Stages of the native backend that no learned kernel stands behind, against the reference."""

import threading
from dataclasses import replace

import pytest
import torch
from helpers import to_pil
from test_native import ARITHMETICS, CUBIC, FUSED, INT16, INT22, TRIANGLE, layouts, random_levels
from test_native import simd as simd  # autouse: each set of instructions, into poisoned memory

from learned_transforms.errors import BackendError, InputShapeError
from learned_transforms.ir.arithmetic import Arithmetic
from learned_transforms.ir.indexing import Keep, Nearest
from learned_transforms.ir.interpolation import Axis, FixedAxis, Taps
from learned_transforms.ir.ops import (
    FILTER_BORDERS,
    Filter,
    Gather,
    Mix,
    Normalize,
    Product,
    Resample,
    Resize,
    Sparse,
    Stage,
    Table,
)
from learned_transforms.ir.plan import Plan
from learned_transforms.ir.sizing import Sizing
from learned_transforms.kernels import cpu
from learned_transforms.kernels.reference.executor import Reference


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def plan_of(image: torch.Tensor, *stages: Stage) -> Plan:
    shape = tuple(image.shape[-3:])
    for stage in stages:
        shape = stage.output(shape)
    return Plan(image.shape[-3], None, stages, shape)


def check(image: torch.Tensor, *stages: Stage) -> torch.Tensor:
    """Both backends give the same, from whatever memory; fused sums up to how the reference emulates them."""
    plan = plan_of(image, *stages)
    expected = Reference(plan).run(image)
    assert cpu.why_not(plan, None, False) is None
    program = cpu.Program(plan)
    fused = any(getattr(stage, "arithmetic", INT16).fma for stage in stages)
    for layout, same in (layouts(image) if image.ndim == 3 else {"batch": image}).items():
        for interleaved in (False, True):
            found = program.bind(same, interleaved)(same)
            assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
            if fused and found.is_floating_point():
                assert torch.allclose(found, expected, rtol=1e-6, atol=1e-4, equal_nan=True), layout
            else:
                assert found.nan_to_num(7).equal(expected.nan_to_num(7)), layout
        assert same.equal(image) or same.isnan().any()
    return found


def matrices(n_out: int, n_in: int) -> dict[str, torch.Tensor]:
    """Of what a fixed axis may be: dense, a few taps at random places, a row of zeros, a permutation."""
    dense = torch.rand(n_out, n_in, generator=generator(n_in), dtype=torch.float64) - 0.3
    dense /= dense.abs().sum(1, keepdim=True)
    few = dense * (torch.rand(n_out, n_in, generator=generator(n_out)) < 2 / n_in) * n_in / 2
    few[n_out // 2] = 0
    place = torch.randperm(n_in, generator=generator(7))[torch.arange(n_out) % n_in]
    return {"dense": dense, "few": few, "permutation": torch.eye(n_in, dtype=torch.float64)[place]}


@pytest.mark.parametrize("number", ["float32", "float64"])
@pytest.mark.parametrize("running", [False, True])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_nearest_neighbors(number, running, dtype):
    how = Arithmetic(number, running=running)
    for n, m in ((1, 5), (7, 7), (97, 31), (31, 97), (1000, 3)):
        image = random_levels(3, n, 13).to(dtype)
        for offset in (0.0, 0.5, 0.3):
            rows = Nearest(m, offset, how, Keep(m - 1, -1, m))
            check(image, Gather(rows=rows, columns=Nearest(20, offset, how, Keep(3, 2, 6))))


@pytest.mark.parametrize("name", ARITHMETICS)
@pytest.mark.parametrize("kind", ["dense", "few", "permutation"])
def test_fixed_axes(name, kind):
    arithmetic = ARITHMETICS[name]
    for (height, width), (rows, columns) in (
        ((1, 1), (1, 1)),
        ((1, 2), (3, 5)),
        ((9, 7), (4, 11)),
        ((31, 65), (33, 64)),
        ((150, 31), (20, 29)),
        ((12, 200), (13, 150)),
    ):
        down = FixedAxis(matrices(rows, height)[kind], arithmetic)
        along = FixedAxis(matrices(columns, width)[kind], arithmetic)
        check(random_levels(3, height, width), Resample(down, along, arithmetic))
        flipped = down.kept(Keep(rows - 1, -1, rows)), along.kept(Keep(columns // 2, 1, columns - columns // 2))
        kernel = Axis(CUBIC, torch.tensor(0.1).double(), 23, arithmetic)
        for image in (torch.zeros(1, height, width), torch.full((2, height, width), 255)):
            check(image.to(torch.uint8), Resample(*flipped, arithmetic))
        check(random_levels(4, height, width), Resample(kernel, along, arithmetic))
        check(random_levels(4, height, width), Resample(down, kernel, arithmetic))
        check(random_levels(2, 3, height, width), Resample(down, along, arithmetic))


def test_fixed_axes_of_floats():
    rows, columns = matrices(30, 41)["few"], matrices(64, 57)["dense"]
    for name in ("fused", "rounded"):
        arithmetic = ARITHMETICS[name]
        stage = Resample(FixedAxis(rows, arithmetic), FixedAxis(columns, arithmetic), arithmetic)
        check(torch.rand(3, 41, 57, generator=generator(1)) * 255, stage)


def test_large_fixed_weights():
    """Beyond an int16, and sums that wrap around, as those of int32 tensors do."""
    matrix = torch.tensor([[100.0, -99.5, 0], [0, 3.7, -120], [0.001, 254, -200]], dtype=torch.float64)
    for arithmetic in (INT16, INT22):
        axis = FixedAxis(matrix, arithmetic)
        check(random_levels(3, 3, 3), Resample(axis, axis, arithmetic))


@pytest.mark.parametrize("name", ARITHMETICS)
def test_resamples_without_antialias(name):
    arithmetic = ARITHMETICS[name]
    for size, new in (((40, 63), (13, 17)), ((17, 400), (16, 3)), ((300, 31), (2, 40)), ((5, 6), (9, 4))):
        for kernel in (TRIANGLE, CUBIC):
            rows, columns = (Axis(kernel, torch.zeros(()), n, arithmetic, antialias=False) for n in new)
            check(random_levels(3, *size), Resample(rows, columns, arithmetic))


def test_fixed_axes_that_do_not_fit():
    axis = FixedAxis(torch.eye(4, dtype=torch.float64), INT16)
    image = random_levels(3, 4, 4)
    program = cpu.Program(plan_of(image, Resample(axis, axis, INT16)))
    for wrong in (image[:, :3], random_levels(3, 4, 5)):
        with pytest.raises(InputShapeError, match="weights for 4 pixels, not for"):
            program.bind(wrong)
    with pytest.raises(ValueError, match="weights for 4 pixels"):
        program.bind(image)(image, (0, 0, 3, 4))
    with pytest.raises(BackendError, match="2\\^30"):
        cpu.Program(plan_of(image, Resample(FixedAxis(axis.matrix * 257, INT22), axis, INT16)))
    with pytest.raises(BackendError, match="fraction bits"):
        cpu.Program(plan_of(image, Resample(FixedAxis(axis.matrix, FUSED), axis, INT16)))
    for first, count, weight, message in ((0, 5, 0, "do not lie"), (-1, 1, 0, "do not lie"), (3, 1, 1, "not 0")):
        taps = axis.fixed
        weights = torch.full((4, 5), weight, dtype=torch.int32)
        axis.__dict__["fixed"] = Taps(4, torch.full((4,), first), torch.full((4,), count), weights, 15)
        with pytest.raises(BackendError, match=message):
            cpu.Program(plan_of(image, Resample(axis, axis, INT16)))
        axis.__dict__["fixed"] = taps


def levels_table(channels: int, seed: int) -> Table:
    return Table(random_levels(channels, 256, seed=seed))


@pytest.mark.parametrize("channels", [1, 3])
def test_tables_of_levels(channels):
    """Before and behind whatever takes levels, and one behind the other."""
    table, other = levels_table(channels, 1), levels_table(1, 2)
    floats = Table(torch.rand(channels, 256, generator=generator(3)))
    normalize = Normalize(torch.rand(3), torch.rand(3) + 0.5)
    resample = Resample(*(Axis(CUBIC, torch.zeros(()), n, INT16) for n in (9, 12)), INT16)
    mix = Mix(torch.rand(3, 3), torch.zeros(3), Arithmetic("float32", fma=True, rounding="truncate"))
    gather = Gather(channels=(2, 0, 1), rows=Keep(3, -1, 4))
    for chain in (
        (table,),
        (table, other),
        (other, table, floats, normalize),
        (table, mix, floats),
        (mix, table, other, mix),
        (table, resample),
        (resample, table),
        (table, resample, other, gather, floats),
        (gather, table),
    ):
        for size in ((1, 1), (5, 7), (33, 65)):
            if gather not in chain or size[0] > 3:
                check(random_levels(3, *size), *chain)
        every = torch.arange(256, dtype=torch.uint8).view(16, 16).expand(3, 16, 16).contiguous()
        check(every, *chain)
    with pytest.raises(InputShapeError, match="uint8 images"):
        cpu.Program(plan_of(every, table)).bind(every.float())


def test_windows_of_plans_that_start_with_other_stages():
    image = random_levels(3, 61, 90)
    table = levels_table(3, 4)
    plan = plan_of(image, table, Resample(*(Axis(TRIANGLE, torch.zeros(()), n, INT16) for n in (9, 12)), INT16))
    call = cpu.Program(plan).bind(image)
    for window in ((0, 0, 61, 90), (7, 9, 1, 1), (30, 50, 31, 40)):
        assert call(image, window).equal(Reference(plan).run(image, window))
    with pytest.raises(ValueError, match="size of the output"):
        cpu.Program(plan_of(image, table)).bind(image)(image, (0, 0, 9, 9))


SUMS = {
    "8 bits": Arithmetic("int", 8, rounding="half_up"),
    "20 bits": Arithmetic("int", 20, rounding="half_up"),
    "float32": Arithmetic("float32"),
    "fused": Arithmetic("float32", fma=True),
    "fused levels": Arithmetic("float32", fma=True, rounding="half_even"),
    "truncated": Arithmetic("float32", rounding="truncate"),
    "float64": Arithmetic("float64"),
    "float64 half up": Arithmetic("float64", rounding="half_up"),
    "float64 half even": Arithmetic("float64", rounding="half_even"),
    "float64 truncated": Arithmetic("float64", rounding="truncate"),
}


def levels_like(*shape: int) -> list[torch.Tensor]:
    """Random and extreme ones."""
    flat = [torch.full(shape, value, dtype=torch.uint8) for value in (0, 255)]
    return [random_levels(*shape), *flat]


def floats_like(*shape: int) -> torch.Tensor:
    """Levels in between, beyond the ends, and just at halves; a NaN and infinities where there is room."""
    image = torch.rand(*shape, generator=generator(5)) * 300 - 20
    image[..., ::2] = (image[..., ::2] * 2).round() / 2
    return image


def weights_like(*shape: int, spread: float = 2.0) -> torch.Tensor:
    weights = torch.rand(*shape, generator=generator(6), dtype=torch.float64) * spread - spread / 3
    return weights / shape[-1]


def sparse_stage(size: tuple[int, int], shape: tuple[int, int], terms: int, arithmetic: Arithmetic) -> Sparse:
    outputs = shape[0] * shape[1]
    index = torch.randint(0, size[0] * size[1], (outputs, terms), generator=generator(7))
    index[-1] = size[0] * size[1] - 1
    bias = torch.rand(outputs, generator=generator(8), dtype=torch.float64) * 60 - 30
    return Sparse(index, weights_like(outputs, terms), bias, size, shape, arithmetic)


@pytest.mark.parametrize("name", SUMS)
def test_sparse(name):
    for size, shape, terms in (
        ((1, 1), (1, 1), 1),
        ((5, 7), (1, 3), 2),
        ((1, 9), (4, 1), 5),
        ((33, 65), (17, 64), 4),
        ((8, 300), (3, 517), 3),
    ):
        stage = sparse_stage(size, shape, terms, SUMS[name])
        for channels in (1, 3, 4):
            for image in levels_like(channels, *size):
                check(image, stage)
        check(random_levels(2, 2, 3, *size), stage)
        if stage.arithmetic.number != "int":
            check(floats_like(3, *size), stage)
            check(floats_like(2, 3, *size), stage)


def test_halves_of_sums_are_rounded_as_they_should():
    """Sums that lie between two levels, each rounding, each type of sums."""
    image = torch.arange(256, dtype=torch.uint8).view(1, 16, 16)
    half = torch.full((256, 1), 0.5, dtype=torch.float64)
    for bias in (0.0, -3.0, 140.5, -0.5):
        for arithmetic in SUMS.values():
            index = torch.arange(256)[:, None]
            biases = torch.full((256,), bias, dtype=torch.float64)
            check(image, Sparse(index, half, biases, (16, 16), (16, 16), arithmetic))


WINDOWS = [(1, 1), (3, 3), (1, 5), (7, 1), (5, 9)]
IMAGES = [(1, 1), (1, 13), (6, 1), (2, 3), (4, 4), (9, 35), (33, 65), (5, 300)]


@pytest.mark.parametrize("border", FILTER_BORDERS)
@pytest.mark.parametrize("name", SUMS)
def test_filters(name, border):
    arithmetic = SUMS[name]
    for n, size in enumerate(IMAGES):
        for window in WINDOWS[n % 2 :: 2] if n < 5 else WINDOWS:
            weights = weights_like(*window)
            weights[0, window[1] // 3] = 0 if weights.numel() > 1 else 0.5
            stage = Filter(weights, border, arithmetic)
            check(random_levels(3, *size), stage)
            if arithmetic.number != "int":
                check(floats_like(1 + n % 3, *size), stage)
    for image in levels_like(4, 9, 35):
        check(image, Filter(weights_like(3, 3), border, arithmetic))
    check(random_levels(2, 2, 3, 9, 35), Filter(weights_like(3, 3), border, arithmetic))


def test_weights_of_zero_touch_nothing():
    image = floats_like(3, 9, 12)
    image[0, 4, 4], image[1, 0, 3], image[2, 8, 11] = float("nan"), float("inf"), -float("inf")
    cross = torch.tensor([[0, 0.2, 0], [0.2, 0.2, 0.2], [0, 0.2, -0.0]], dtype=torch.float64)
    for border in FILTER_BORDERS:
        for name in ("float32", "float64"):
            check(image, Filter(cross, border, SUMS[name]))


def test_large_weights_of_sums():
    """Integer sums wrap around, as those of int32 tensors do."""
    image = random_levels(3, 9, 40)
    for scale in (1.0, 100.0, 3000.0):
        for arithmetic in SUMS.values():
            check(image, Filter(weights_like(3, 3) * scale, "reflect", arithmetic))


def test_sums_among_other_stages():
    mix = Mix(torch.rand(3, 3), torch.zeros(3), Arithmetic("float32", fma=True, rounding="truncate"))
    blur = Filter(torch.full((3, 3), 1 / 9, dtype=torch.float64), "reflect", SUMS["20 bits"])
    sharp = Filter(weights_like(3, 5), "edge", SUMS["float64 half up"])
    warp = sparse_stage((14, 21), (9, 12), 4, SUMS["8 bits"])
    resample = Resample(*(Axis(CUBIC, torch.zeros(()), n, INT16) for n in (14, 21)), INT16)
    table, floats = levels_table(3, 1), Table(torch.rand(3, 256, generator=generator(3)))
    gather = Gather(channels=(2, 0, 0), rows=Keep(8, -1, 9), columns=Keep(-1, 1, 10), outside=True)
    for chain in (
        (resample, warp, gather, blur, mix, floats),
        (blur, resample, sharp, warp, floats),
        (table, blur, table, sharp, resample, table),
        (mix, resample, warp, table, gather),
        (blur, gather, Gather(channels=(0,))),
    ):
        check(random_levels(3, 33, 65), *chain)
        check(random_levels(2, 3, 33, 65), *chain)


@pytest.mark.parametrize("keep", [Keep(30, 1, 9), Keep(-4, 1, 9), Keep(36, -2, 20), Keep(2**24, 1, 9)])
def test_copies_of_what_lies_outside_a_resized_image(keep):
    axis = Axis(CUBIC, torch.zeros(()), 1, INT16)
    resize = Resize(Sizing((33, 33)), axis, axis, INT16, None, True)
    for gather in (Gather(rows=keep), Gather(columns=keep), Gather(rows=keep, columns=keep, fill=(1, 2, 3))):
        check(random_levels(3, 48, 70), resize, gather)


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_pil_images(mode):
    image = random_levels(3 if mode == "RGB" else 1, 19, 30)
    for border in FILTER_BORDERS:
        plan = plan_of(image, Filter(weights_like(3, 5), border, SUMS["20 bits"]))
        assert cpu.Program(plan).bind(to_pil(image))(to_pil(image)).equal(Reference(plan).run(image))
    plan = plan_of(image, sparse_stage((19, 30), (7, 8), 4, SUMS["float64 half up"]))
    assert cpu.Program(plan).bind(to_pil(image), True)(to_pil(image)).equal(Reference(plan).run(image))


def test_threads_change_nothing():
    """Filters are cut into bands of rows."""
    image = random_levels(3, 301, 400)
    before = torch.get_num_threads()
    try:
        for threads in (2, 3, 16):
            torch.set_num_threads(threads)
            for border in FILTER_BORDERS:
                plan = plan_of(image, Filter(weights_like(7, 3), border, SUMS["20 bits"]))
                assert cpu.Program(plan).bind(image)(image).equal(Reference(plan).run(image))
            plan = plan_of(image, sparse_stage((301, 400), (317, 400), 2, SUMS["20 bits"]))
            assert cpu.Program(plan).bind(image)(image).equal(Reference(plan).run(image))
    finally:
        torch.set_num_threads(before)


def test_windows_of_sums():
    image = random_levels(3, 61, 90)
    resample = Resample(*(Axis(TRIANGLE, torch.zeros(()), n, INT16) for n in (9, 12)), INT16)
    plan = plan_of(image, Filter(weights_like(3, 3), "reflect", SUMS["20 bits"]), resample)
    call = cpu.Program(plan).bind(image)
    for window in ((0, 0, 61, 90), (7, 9, 1, 1), (30, 50, 31, 40)):
        assert call(image, window).equal(Reference(plan).run(image, window))
    call = cpu.Program(plan_of(image, sparse_stage((61, 90), (4, 5), 2, SUMS["8 bits"]))).bind(image)
    with pytest.raises(ValueError, match="another size"):
        call(image, (0, 0, 60, 90))


def test_sums_that_do_not_fit():
    image = random_levels(3, 6, 8)
    stage = sparse_stage((6, 8), (4, 5), 2, SUMS["8 bits"])

    def compiled(changed: Stage) -> cpu.Program:
        return cpu.Program(plan_of(image, changed))

    for index in (-1, 48, 2**40, -(2**62)):
        with pytest.raises(BackendError, match="does not lie in the image"):
            compiled(replace(stage, index=torch.full_like(stage.index, index)))
    for changes in (
        {"weights": stage.weights.T},
        {"weights": stage.weights[:-1]},
        {"bias": stage.bias[:-1]},
        {"shape": (5, 5)},
        {"shape": (0, 5)},
        {"size": (0, 8)},
        {"size": (6, -8)},
        {"index": stage.index[:, :0], "weights": stage.weights[:, :0]},
        {"weights": stage.weights[0]},
        {"arithmetic": Arithmetic("int", 0, rounding="half_up")},
        {"arithmetic": Arithmetic("int", 8)},
    ):
        with pytest.raises(BackendError, match="cannot run this plan"):
            compiled(replace(stage, **changes))
    with pytest.raises(InputShapeError, match="another size"):
        compiled(stage).bind(image[:, :5])
    with pytest.raises(InputShapeError, match="uint8 images"):
        compiled(stage).bind(image.float())
    for weights, border in (
        (torch.ones(2, 3), "edge"),
        (torch.ones(3, 4), "edge"),
        (torch.zeros(3, 3), "edge"),
        (torch.ones(3, 3), "wrap"),
    ):
        with pytest.raises(BackendError, match="cannot run this plan"):
            compiled(Filter(weights, border, SUMS["8 bits"]))


def test_reasons():
    def reason(stage: Stage) -> str | None:
        return cpu.why_not(Plan(3, None, (stage,), (3, 1, 1)), None, False)

    weights = torch.ones(1, 1, dtype=torch.float64)
    float64 = Arithmetic("float64")
    axis = FixedAxis(weights, float64)
    assert "Resample does not sum in float64" in reason(Resample(axis, axis, float64))
    assert "Mix does not sum in float64" in reason(Mix(weights, weights[0], float64))
    assert "no Product" in reason(Product(weights, weights, float64))
    assert "fuse" in reason(Filter(weights, "edge", Arithmetic("float64", fma=True)))
    assert reason(Filter(weights, "edge", float64)) is None
    trained = FixedAxis(weights.clone().requires_grad_(), INT16)
    assert "being trained" in reason(Resample(trained, trained, INT16))


def test_copies_of_channels_in_fresh_memory():
    """A thread's first tile grows its buffers, which must not move what a copy of channels points to."""
    image = torch.randint(0, 256, (3, 72, 71), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    arithmetic = Arithmetic("int", 8, rounding="half_up")
    mix = Mix(torch.tensor([[0.25, 0.5, 0.25]], dtype=torch.float64), torch.zeros(1, dtype=torch.float64), arithmetic)
    plan = Plan(3, None, (mix, Gather(channels=(0, 0, 0))), (3, 72, 71))
    expected = Reference(plan).run(image)
    found = []

    def run() -> None:
        found.append(cpu.compile_plan(plan).bind(image, True)(image))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert found[0].equal(expected)
