"""What lies outside an image, and pixels that are picked one by one: the native backend against plain torch."""

from typing import Any

import pytest
import torch
from helpers import to_pil
from PIL import Image
from test_native import layouts, random_levels
from test_native import simd as simd  # autouse: each set of instructions, into poisoned memory
from torch import Tensor
from torchvision.transforms import v2

from learned_transforms.errors import BackendError, InputShapeError
from learned_transforms.installed import takes_rows_first
from learned_transforms.ir.arithmetic import Arithmetic
from learned_transforms.ir.indexing import BORDERS, Keep, Listed, bordered, follow
from learned_transforms.ir.interpolation import Axis, evaluate
from learned_transforms.ir.ops import Gather, Resample, Stage, Table
from learned_transforms.ir.plan import Around, Plan
from learned_transforms.kernels import cpu, stages
from learned_transforms.kernels.reference.executor import Reference
from learned_transforms.layers import resize
from learned_transforms.layers.resize import Resampling

CUBIC = torch.tensor([[1, 0, -2.25, 1.25], [0, -0.75, 1.5, -0.75]], dtype=torch.float64)
PADDING_MODES = {"zero": "constant", "edge": "edge", "reflect": "reflect", "symmetric": "symmetric"}
WINDOWS = ((-3, -2, 9, 8), (5, -4, 12, 30), (0, 0, 9, 17), (-4, 3, 5, 5), (3, 12, 6, 9), (-30, 0, 4, 4))


def plan(stages: tuple[Stage, ...], shape: tuple[int, int, int], around: Around | None = None) -> Plan:
    size = shape
    for stage in stages:
        size = stage.output(size)
    return Plan(shape[0], shape[1:], stages, size, around)


def many(channels: int) -> list[Tensor]:
    """Images in memory of several layouts, and a batch."""
    return [*layouts(random_levels(channels, 9, 17)).values(), random_levels(3, channels, 9, 17)]


def same(made: Plan, image: Any, window: Any = None) -> Tensor:
    """What both backends make of an image, which is checked to be the same."""
    native = cpu.Program(made).bind(image)(image, window)
    expected = Reference(made).run(image, window)
    assert native.dtype == expected.dtype
    assert native.equal(expected)
    return native


@pytest.mark.parametrize("border", BORDERS)
def test_bordered_is_what_torchvision_pads(border: str) -> None:
    image = torch.arange(7.0)[None, None]
    padded = v2.functional.pad(image.expand(1, 7, 7), [5, 5, 6, 6], 99.0, PADDING_MODES[border])[0, 5]
    index = bordered(7, -5, 13, border)
    assert torch.where(index < 0, 99.0, image.flatten()[index.clamp(0)]).equal(padded)


@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("channels", [1, 3, 5])
def test_windows_beyond_the_image(border: str, channels: int) -> None:
    fill = tuple(float(7 + 40 * c) for c in range(channels)) if border == "zero" else ()
    around = Around(border, fill)
    for window in WINDOWS:
        _, _, height, width = window
        shape = (channels, height, width)
        flipped = Gather(rows=Keep(0, 1, height), columns=Keep(width - 1, -1, width))
        table = Table(torch.rand(channels, 256))
        for image in many(channels):
            made = same(plan((flipped, table), shape, around), image, window)
            assert made.shape[-3:] == shape
        if channels != 5:
            same(plan((flipped,), shape, around), to_pil(random_levels(channels, 9, 17)), window)
        floats = torch.randn(2, channels, 9, 17)
        same(plan((flipped,), shape, around), floats, window)


@pytest.mark.parametrize("border", BORDERS)
def test_a_window_beyond_the_image_is_a_crop_of_a_padded_one(border: str) -> None:
    image = random_levels(3, 9, 17)
    padded = v2.functional.pad(image, [6, 6, 6, 6], 0, PADDING_MODES[border])
    for top, left, height, width in ((-6, -6, 21, 29), (-3, 8, 10, 15), (2, 2, 13, 4)):
        copied = Gather(rows=Keep(0, 1, height), columns=Keep(0, 1, width))
        made = same(plan((copied,), (3, height, width), Around(border)), image, (top, left, height, width))
        assert made.equal(padded[:, top + 6 : top + 6 + height, left + 6 : left + 6 + width])


def test_without_a_border_windows_stay_inside() -> None:
    made = plan((Gather(rows=Keep(0, 1, 4), columns=Keep(0, 1, 5)),), (3, 4, 5))
    image = random_levels(3, 9, 17)
    for backend in (cpu.Program(made), Reference(made)):
        with pytest.raises((InputShapeError, ValueError), match="does not lie in the image"):
            backend.bind(image)(image, (-1, 0, 4, 5))


@pytest.mark.parametrize("channels", [1, 3, 4, 6])
def test_pixels_that_are_listed(channels: int) -> None:
    rows, columns = Listed((3, 3, -1, 0, 8, 99)), Listed((16, -1, 0, 5, 5, 2, -1))
    fill = tuple(float(200 - 30 * c) for c in range(channels))
    for stage in (
        Gather(rows=rows, columns=columns, outside=True, fill=fill),
        Gather(rows=rows, outside=True),
        Gather(columns=columns, outside=True, fill=fill),
        Gather(channels=(0, channels - 1, 0), rows=rows, columns=columns, outside=True, fill=fill),
        Gather(rows=Listed((8, 0, 1)), columns=Listed((0, 16, 3))),
    ):
        for image in many(channels):
            same(plan((stage,), (channels, 9, 17)), image)
        same(plan((stage,), (channels, 9, 17)), torch.randn(channels, 9, 17))
        if channels in (1, 3):
            same(plan((stage,), (channels, 9, 17)), to_pil(random_levels(channels, 9, 17)))


def test_follow_keeps_of_what_is_kept() -> None:
    line = torch.arange(20)
    first, then = Keep(15, -2, 6), Listed((5, 0, -1, 3))
    for a, b in ((first, then), (then, Keep(3, -1, 3)), (first, Keep(1, 2, 2)), (Listed((9, 4)), Listed((1, 1)))):
        joined, kept = follow(a, b), a.index()[b.index().clamp(0)]
        assert joined is not None
        expected = torch.where(b.index() < 0, -1, torch.where(kept < 0, -1, line[kept.clamp(0)]))
        assert joined.index().equal(expected)


@pytest.mark.parametrize("fma", [False, True])
@pytest.mark.parametrize("number", ["int", "float32"])
def test_taps_without_antialiasing(number: str, fma: bool, simd: str) -> None:
    if number == "int" and fma:
        pytest.skip("only float32 sums are fused")
    how = Arithmetic(number, 22, adaptive=True, rounding="half_up", each_pass=True)
    how = how if number == "int" else Arithmetic("float32", fma=fma)
    shift = torch.zeros((), dtype=torch.float64)
    for n_in, n_out in ((1, 1), (1, 5), (2, 7), (3, 2), (5, 17), (17, 5), (300, 33), (33, 300), (640, 101), (4, 4)):
        for kernel in (CUBIC, torch.tensor([[1.0, -1.0]], dtype=torch.float64)):
            expected = evaluate(kernel, shift, n_in, n_out, how, antialias=False)
            axis = Axis(kernel, shift, n_out, how, antialias=False)
            first, count, whole, real, bits = cpu._native.taps(
                stages.axis_of(axis), n_in, stages.arithmetic_of(how), simd
            )
            assert first == expected.first.tolist()
            assert count == expected.count.tolist()
            weights = torch.tensor(whole if number == "int" else real).view(-1, n_out).T
            assert weights.equal(expected.weights)
            assert bits == (expected.bits or 0)
            assert weights.double().sum(1).allclose(torch.full((n_out,), 2.0**bits, dtype=torch.float64), atol=3)


@pytest.mark.parametrize("mode", ["linear", "cubic"])
def test_fused_weights_are_those_of_aten(mode: str) -> None:
    kernel = CUBIC if mode == "cubic" else torch.tensor([[1.0, -1.0]], dtype=torch.float64)
    how, shift = Arithmetic("float32", fma=True), torch.zeros((), dtype=torch.float64)
    for n_in, n_out in ((64, 101), (97, 61), (200, 111), (50, 127)):
        impulses = torch.eye(n_in)[:, None, None]
        size = {"size": (1, n_out), "mode": f"bi{mode}", "align_corners": False}
        expected = torch.nn.functional.interpolate(impulses, **size)[:, 0, 0].T
        found = evaluate(kernel, shift, n_in, n_out, how, antialias=False).dense()
        inner = (expected[:, [0, -1]] == 0).all(1)  # At the ends, weights of several pixels are added up.
        assert found[inner].equal(expected[inner])


def test_fused_where_the_output_is_small(monkeypatch: pytest.MonkeyPatch) -> None:
    how = Arithmetic("float32", fma=True, small=128)
    layer = Resampling(CUBIC, torch.zeros(2), how)
    monkeypatch.setattr(resize, "fuses", lambda mode, large: not large)

    def fused(channels: int, size: tuple[int, int]) -> bool:
        (stage,) = layer.stages((channels, 300, 200), {"size": size, "antialias": False})
        assert isinstance(stage, Resample)
        assert stage.arithmetic == stage.rows.arithmetic == stage.columns.arithmetic
        return stage.arithmetic.fma

    before = torch.get_num_threads()
    for threads in (1, 2):
        torch.set_num_threads(threads)
        for channels in (1, 3, 4):
            assert fused(channels, (63, 65))
            assert fused(channels, (64, 65)) == (channels == 3 and threads == 1)
    torch.set_num_threads(before)
    assert str(how) == "float32, fma as in torch, up to and above 128 rows and columns"


def test_what_cannot_be() -> None:
    axis = Axis(CUBIC, torch.zeros((), dtype=torch.float64), 4, Arithmetic("float32"))
    mixed = plan((Resample(axis, axis, Arithmetic("float32")), Gather(rows=Listed((1, 0)))), (3, 5, 5))
    assert same(mixed, random_levels(3, 5, 5)).shape == (3, 2, 4)
    with pytest.raises(BackendError, match="fill is for another number of channels"):
        cpu.Program(plan((Gather(rows=Keep(-1, 1, 4), outside=True, fill=(1.0, 2.0)),), (3, 5, 5)))
    with pytest.raises(BackendError, match="copies"):
        cpu.Program(plan((Gather(rows=Keep(0, 1, 4)),), (3, 5, 5), Around("copy")))


@pytest.mark.parametrize("size", [((3, 8), (2, 5)), ((5, 4), (9, 4)), ((64, 60), (10, 45)), ((33, 90), (66, 9))])
def test_half_a_pixel_on_each_side_is_a_box(size: tuple[tuple[int, int], tuple[int, int]]) -> None:
    """Pixels at the very end of the kernel count on one side, as in Pillow."""
    how = Arithmetic("int", 22, rounding="half_up", each_pass=True, tall_first=takes_rows_first())
    before, after = size
    rows, columns = (
        Axis(torch.ones(1, 1, dtype=torch.float64), torch.zeros((), dtype=torch.float64), n, how, width=0.5)
        for n in after
    )
    image = random_levels(3, *before)
    made = same(plan((Resample(rows, columns, how),), (3, *before)), image)
    box = to_pil(image).resize((after[1], after[0]), Image.Resampling.BOX)
    assert to_pil(made).tobytes() == box.tobytes()
