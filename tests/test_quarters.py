"""OpenCV's linear arithmetic, which cuts products to quarters of a level: native code against the reference."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from helpers import to_pil
from test_native import CUBIC, TRIANGLE, random_levels
from test_native import simd as simd  # autouse: each set of instructions, into poisoned memory
from test_native_stages import check, levels_like, levels_table, matrices, plan_of

from learned_transforms.errors import BackendError, InputShapeError
from learned_transforms.ir.arithmetic import Arithmetic
from learned_transforms.ir.indexing import Keep
from learned_transforms.ir.interpolation import Axis, FixedAxis
from learned_transforms.ir.ops import Gather, Mix, Resample
from learned_transforms.kernels import cpu
from learned_transforms.kernels.reference.executor import Reference

QUARTERS = Arithmetic("int", 11, rounding="half_up", quarters=True)


def quarter_axes(kernel: torch.Tensor, size: tuple[int, int], **options: Any) -> tuple[Axis, Axis]:
    rows, columns = (Axis(kernel, torch.tensor(0.1).double(), n, QUARTERS, **options) for n in size)
    return rows, columns


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("kernel", [TRIANGLE, CUBIC])
def test_quarters(kernel, antialias):
    for size, new in (
        ((1, 1), (1, 1)),
        ((1, 2), (5, 3)),
        ((9, 7), (4, 11)),
        ((64, 64), (28, 28)),
        ((33, 65), (31, 64)),
        ((150, 31), (20, 29)),
        ((12, 400), (17, 131)),
    ):
        rows, columns = quarter_axes(kernel, new, antialias=antialias)
        for channels in (1, 3, 4):
            for image in levels_like(channels, *size):
                check(image, Resample(rows, columns, QUARTERS))
        flips = rows.kept(Keep(new[0] - 1, -1, new[0])), columns.kept(Keep(new[1] // 2, 1, new[1] - new[1] // 2))
        check(random_levels(3, *size), Resample(*flips, QUARTERS))
        check(random_levels(2, 2, 3, *size), Resample(rows, columns, QUARTERS))


@pytest.mark.parametrize("kind", ["dense", "few", "permutation"])
def test_quarters_of_fixed_axes(kind):
    for bits in (3, 7, 11):
        arithmetic = replace(QUARTERS, bits=bits)
        for (height, width), (rows, columns) in (((1, 2), (3, 5)), ((31, 65), (33, 64)), ((150, 31), (20, 29))):
            down = FixedAxis(matrices(rows, height)[kind], arithmetic)
            along = FixedAxis(matrices(columns, width)[kind], arithmetic)
            for image in levels_like(3, height, width):
                check(image, Resample(down, along, arithmetic))
            kept = down.kept(Keep(rows - 1, -1, rows)), along.kept(Keep(columns - 1, -2, (columns + 1) // 2))
            check(random_levels(4, height, width), Resample(*kept, arithmetic))


def test_quarters_whatever_else_is_asked_for():
    """Columns come first and nothing is rounded between; sums that wrap around do as those of int32 tensors."""
    for options in ({"tall_first": True}, {"each_pass": True}, {"adaptive": True}):
        arithmetic = replace(QUARTERS, **options)
        rows, columns = (Axis(TRIANGLE, torch.zeros(()), n, arithmetic) for n in (9, 40))
        check(random_levels(3, 150, 41), Resample(rows, columns, arithmetic))
    matrix = torch.tensor([[100.0, -99.5, 0], [0, 3.7, -120], [0.001, 254, -200]], dtype=torch.float64)
    axis = FixedAxis(matrix, QUARTERS)
    check(random_levels(3, 3, 3), Resample(axis, axis, QUARTERS))


def test_quarters_among_other_stages():
    stage = Resample(*quarter_axes(TRIANGLE, (28, 30), antialias=False), QUARTERS)
    gather = Gather(channels=(2, 0, 1), rows=Keep(20, -1, 15))
    mix = Mix(torch.rand(3, 3), torch.zeros(3), Arithmetic("float32", fma=True, rounding="truncate"))
    for chain in ((stage, mix, gather), (gather, stage, levels_table(3, 1)), (stage, levels_table(1, 2), stage)):
        check(random_levels(3, 61, 90), *chain)
    image = random_levels(3, 61, 90)
    plan = plan_of(image, stage)
    for same in (to_pil(image), to_pil(image[:1])):
        channels = 3 if same.mode == "RGB" else 1
        program = cpu.Program(plan_of(image[:channels], stage))
        assert program.bind(same)(same).equal(Reference(plan).run(same))
    call = cpu.Program(plan).bind(image)
    for window in ((0, 0, 61, 90), (7, 9, 1, 1), (30, 50, 31, 40)):
        assert call(image, window).equal(Reference(plan).run(image, window))


def test_quarters_of_bands(monkeypatch):
    image = random_levels(3, 301, 400)
    plan = plan_of(image, Resample(*quarter_axes(CUBIC, (299, 257)), QUARTERS))
    expected = Reference(plan).run(image)
    for threads in (1, 2, 5):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        assert cpu.Program(plan).bind(image)(image).equal(expected)


def test_quarters_that_do_not_fit():
    image = random_levels(3, 8, 8)
    for changes in ({"bits": 2}, {"bits": 12}, {"number": "float32", "bits": 0}):
        arithmetic = replace(QUARTERS, **changes)
        stage = Resample(*(Axis(TRIANGLE, torch.zeros(()), 4, arithmetic) for _ in range(2)), arithmetic)
        assert "3 to 11 fraction bits" in cpu.why_not(plan_of(image, stage), None, False)
        with pytest.raises(BackendError, match="3 to 11 fraction bits"):
            cpu.Program(plan_of(image, stage))
    stage = Resample(*quarter_axes(TRIANGLE, (4, 4)), QUARTERS)
    with pytest.raises(InputShapeError, match="uint8 images"):
        cpu.Program(plan_of(image, stage)).bind(image.float())


def test_quarters_are_those_of_opencv():
    """Where no weight is a half of 2^-11, and no window leaves the rows: there OpenCV does otherwise."""
    cv2 = pytest.importorskip("cv2")
    for size, new in (((64, 64), (28, 28)), ((63, 65), (28, 31)), ((427, 640), (224, 224)), ((101, 103), (99, 97))):
        image = random_levels(3, *size)
        rows, columns = (Axis(TRIANGLE, torch.zeros(()), n, QUARTERS, antialias=False) for n in new)
        pixels = image.permute(1, 2, 0).contiguous().numpy()
        expected = torch.from_numpy(cv2.resize(pixels, new[::-1], interpolation=cv2.INTER_LINEAR))
        assert check(image, Resample(rows, columns, QUARTERS)).equal(expected.permute(2, 0, 1))
