"""GaussianBlur of levels: sums over whole windows in torch's order, found by way of rows and columns."""

import random
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torchvision.transforms as v1
from helpers import image_of, same, to_pil
from torch import Tensor
from torchvision.transforms import v2

import learned_transforms as lt
from learned_transforms import installed
from learned_transforms.errors import BackendError, PipelineValueError
from learned_transforms.ir.arithmetic import Arithmetic
from learned_transforms.ir.ops import Blur, Slot
from learned_transforms.ir.plan import Plan
from learned_transforms.kernels import cpu
from learned_transforms.kernels.reference.color import float32_taps
from learned_transforms.kernels.reference.executor import Reference
from learned_transforms.layers.color import Blurring
from learned_transforms.trainer.data.bundled import HELD_OUT_PHOTOS, photo

HALF = torch.tensor([-0.5], dtype=torch.float64)
EVEN = Arithmetic("float32", fma=True, rounding="half_even")
APIS = {"density": v1, "softmax": v2}
SIDES = (1, 3, 5, 9, 11, 23, 31)
DRAWN = Slot(1)

needs_order = pytest.mark.skipif(
    not installed.sums_windows_in_order(), reason="the installed torch sums windows in another order"
)


def plan_of(channels: int, size: tuple[int, int], form: str, sigma: Any = DRAWN) -> Plan:
    return Plan(channels, None, (Blur(HALF, sigma, size, "reflect", EVEN, True, form),), None)


def pictures(
    rng: random.Random, count: int, largest: int = 150
) -> Iterator[tuple[str, Tensor, tuple[int, int], float]]:
    """Photos, noise, boards whose blurs tie, and single bright pixels; with a window and a sigma."""
    for number in range(count):
        kind, channels = rng.choice(["photo", "noise", "board", "dots"]), rng.choice([1, 3, 4])
        size, sigma = (rng.choice(SIDES), rng.choice(SIDES)), rng.choice([rng.uniform(0.1, 2), rng.uniform(0.1, 9)])
        # Small windows of one plane are summed by another library, in another order.
        channels = 3 if max(size) <= 3 and channels == 1 else channels
        h, w = (rng.randint(side // 2 + 1, largest) for side in size)
        generator = torch.Generator().manual_seed(number)
        image = torch.randint(0, 256, (channels, h, w), dtype=torch.uint8, generator=generator)
        if kind == "photo":
            whole = photo(rng.choice(HELD_OUT_PHOTOS))
            image = whole[torch.arange(channels) % 3, :h, :w].contiguous()
        elif kind == "board":
            down, across = (torch.arange(n) // rng.randint(1, 4) for n in image.shape[1:])
            levels = torch.tensor(rng.choice([(0, 255), (0, 1), (254, 255), (100, 155)]), dtype=torch.uint8)
            image = levels[(down[:, None] + across) % 2].expand(image.shape).contiguous()
        elif kind == "dots":
            image = image * (torch.rand(image.shape, generator=generator) < 0.01)
        yield kind, image, size, sigma


@needs_order
@pytest.mark.parametrize("simd", cpu.instructions())
@pytest.mark.parametrize("form", APIS)
def test_every_value_is_torchs(form: str, simd: str) -> None:
    """Of native code and of the reference, on every set of instructions: 0 differ."""
    values = again = 0
    with cpu.forced(simd):
        for kind, image, size, sigma in pictures(random.Random(form), 60):
            expected = APIS[form].functional.gaussian_blur(image, [size[1], size[0]], [sigma, sigma])
            plan = plan_of(len(image), size, form)
            for given in (image, image.permute(1, 2, 0).contiguous().permute(2, 0, 1)):
                found = cpu.Program(plan).bind(given)(given, None, (7.0, sigma))
                assert found.equal(expected), (kind, tuple(image.shape), size, sigma)
            assert Reference(plan).run(image, None, (7.0, sigma)).equal(expected)
            passes = cpu.Program(plan_of(len(image), size, "passes")).bind(image)(image, None, (7.0, sigma))
            again += int((passes != expected).sum())
            values += 2 * expected.numel()
    assert again  # What rows and then columns give is not always the same.
    print(f"{values} values, of which rows and columns alone miss {2 * again}")


@pytest.mark.full
@needs_order
@pytest.mark.parametrize("form", APIS)
def test_many_values_are_torchs(form: str) -> None:
    """The same on 1,000 images of up to 239 rows and columns, with the fastest instructions."""
    values: dict[str, int] = {}
    for kind, image, size, sigma in pictures(random.Random(f"many {form}"), 1000, 239):
        expected = APIS[form].functional.gaussian_blur(image, [size[1], size[0]], [sigma, sigma])
        plan = plan_of(len(image), size, form)
        assert cpu.Program(plan).bind(image)(image, None, (7.0, sigma)).equal(expected), (kind, size, sigma)
        values[kind] = values.get(kind, 0) + expected.numel()
    print(values)


@needs_order
@pytest.mark.parametrize("api", [v1, v2])
def test_pipelines_are_exact(api: Any) -> None:
    """Drawn sigmas, in any place; and one sigma."""
    end = [api.ToTensor()] if api is v1 else [v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]
    for number in range(6):
        image = image_of(3, (70 + number, 64), number)
        for step in (api.GaussianBlur(23, (0.1, 2.0)), api.GaussianBlur((5, 9), 1.3), api.GaussianBlur(3)):
            same([step], image, "exact", fallback="error")
            same([step], to_pil(image), "exact", fallback="error")
            same([api.RandomApply([step], 0.7), api.RandomHorizontalFlip(), step], image, "exact", fallback="error")
            same([api.CenterCrop(50), step, *end], to_pil(image), "exact", fallback="error")
    batch = torch.stack([image_of(3, (40, 50), n) for n in range(4)])
    same([v2.GaussianBlur(9, (0.1, 2.0))], batch, "exact", fallback="error")
    ours = lt.LearnedCompose([v2.RandomCrop(30), v2.GaussianBlur(9, (0.1, 2.0)), v2.RandomHorizontalFlip()])
    torch.manual_seed(3)
    alone = [ours(image) for image in batch]
    torch.manual_seed(3)
    assert ours(batch, per_sample=True).equal(torch.stack(alone))


def test_taps_are_alike_from_the_middle_and_together() -> None:
    """Which the kernels of GPUs, that are told of half of them, of many windows at once, lean on."""
    sigmas, taps = torch.rand(300, generator=torch.Generator().manual_seed(1)) * 6 + 0.05, 0
    for length in (1, 3, 5, 7, 9, 11, 15, 17, 23, 31, 33, 47, 63, 65, 101, 255):
        for form in APIS:
            together = float32_taps(-0.5, sigmas[:, None], length, form)
            alone = torch.stack([float32_taps(-0.5, sigma, length, form) for sigma in sigmas.tolist()])
            assert together.equal(alone)
            assert together.equal(together.flip(1))
            taps += together.numel()
    print(f"{taps} taps")


def test_where_torch_sums_in_another_order_rows_and_columns_are_summed(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, params = Blurring(HALF, "reflect", EVEN, "softmax"), {"sigma": 1.0, "size": (5, 5)}
    assert layer.free(3, params)[0].form == ("softmax" if installed.sums_windows_in_order() else "passes")
    assert layer.free(3, params, relaxed=True)[0].form == "passes"
    assert layer.free(3, {"sigma": 1.0, "size": (99, 99)})[0].form == "passes"
    monkeypatch.setattr("learned_transforms.layers.color.sums_windows_in_order", lambda: False)
    assert layer.free(3, params)[0].form == "passes"


def test_forms_that_do_not_fit_are_refused() -> None:
    floats, plain = Arithmetic("float32"), Arithmetic("float32", rounding="half_even")
    for coefficients, how, form in (
        (HALF, EVEN, "other"),
        (HALF, floats, "softmax"),
        (HALF, plain, "density"),
        (-HALF, EVEN, "softmax"),
        (torch.tensor([-0.5, 0.1]), EVEN, "density"),
    ):
        with pytest.raises(PipelineValueError, match="Expected a form"):
            Blurring(coefficients, "reflect", how, form)
    assert Blurring(HALF, "reflect", EVEN, "density").describe()["form"] == "density"
    image = image_of(3, (40, 40))
    call = cpu.Program(plan_of(3, (5, 5), "softmax")).bind(image)
    for wrong in ((), (7.0,), (7.0, 0.0), (7.0, -1.0), (7.0, float("nan"))):
        with pytest.raises(ValueError, match="Expected"):
            call(image, None, wrong)
    with pytest.raises(ValueError, match="at once"):
        cpu.Program(plan_of(3, (5, 5), "softmax")).bind(image / 255)
    with pytest.raises(BackendError, match="at once"):
        cpu.Program(plan_of(3, (257, 257), "softmax", 1.0))


def test_gradients_pass() -> None:
    image = torch.rand(1, 12, 13, dtype=torch.float32) * 255
    stage = Blur(HALF, 1.2, (5, 5), "reflect", Arithmetic("float32"), True, "softmax")
    run = Reference(Plan(1, None, (stage,), None)).run
    step = torch.rand(1, 12, 13)
    (slope,) = torch.autograd.functional.jvp(run, image, step)[1:]
    assert torch.allclose(run(image + step) - run(image), slope, atol=1e-3)
    assert slope.any()
