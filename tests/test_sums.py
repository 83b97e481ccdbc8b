"""Floats through resizes: torch's values bit for bit on every path, and its pattern of numbers that are none."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch
import torchvision.transforms as v1
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2

import learned_transforms as lt
from learned_transforms import installed
from learned_transforms.artifacts import weights as weight_files
from learned_transforms.errors import WeightsError
from learned_transforms.installed import GROUPS, grouping, groups_of_sums
from learned_transforms.ir.arithmetic import Arithmetic
from learned_transforms.ir.ops import Resample
from learned_transforms.ir.plan import Plan
from learned_transforms.kernels import cpu
from learned_transforms.kernels.reference.executor import Reference
from learned_transforms.layers.resize import Resampling

LAYERS = weight_files.load("torchvision").layers
MODES = {"bilinear": InterpolationMode.BILINEAR, "bicubic": InterpolationMode.BICUBIC}
PATHS = [*cpu.instructions(), "reference"]

SIZES = (
    ((37, 53), (21, 30)),
    ((224, 300), (97, 131)),
    ((9, 91), (64, 7)),
    ((1, 17), (5, 40)),
    ((33, 2), (2, 33)),
    ((1, 1), (3, 2)),
    ((1200, 3), (5, 2)),
    ((5, 2000), (7, 3)),
    ((61, 40), (61, 23)),
    ((61, 40), (23, 40)),
    ((40, 61), (41, 60)),
    ((3, 4), (200, 333)),
)
"""From and to: odd, tall, tiny, far down and far up, and one axis that stays as it is."""


def resized(path: str, key: str, image: Tensor, params: dict[str, Any]) -> Tensor:
    """By a shipped layer, on one path."""
    shape = (image.shape[-3], image.shape[-2], image.shape[-1])
    plan = Plan(
        shape[0], shape[1:], tuple(LAYERS[key].stages(shape, params)), (shape[0], *params.get("size", shape[1:]))
    )
    if path == "reference":
        return Reference(plan).run(image)
    with cpu.forced(path):
        return cpu.compile_plan(plan).bind(image)(image)


@contextmanager
def threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("channels", [1, 3, 5])
def test_floats_are_torchs_bit_for_bit(path: str, mode: str, channels: int) -> None:
    generator = torch.Generator().manual_seed(channels)
    for unit, (old, new) in zip((1.0, 255.0, 1e-3, 1e30) * 3, SIZES, strict=True):
        image = torch.rand(channels, *old, generator=generator) * unit
        expected = v2.functional.resize(image, list(new), MODES[mode])
        assert resized(path, f"float32/resize_{mode}", image, {"size": new}).equal(expected), (old, new)
        assert v1.functional.resize(image, list(new), MODES[mode]).equal(expected)


EDGES = *SIZES, ((61, 47), (64, 64)), ((61, 47), (65, 64)), ((37, 37), (232, 232))
"""Both sides of 128 rows and columns in all, beyond which torch has another loop."""


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("count", [1, 2])
def test_without_antialiasing_too(path: str, mode: str, channels: int, count: int) -> None:
    """Floats bit for bit, and levels in v1, whichever loop of torch's it is."""
    generator = torch.Generator().manual_seed(channels)
    with threads(count):
        for old, new in EDGES:
            image = torch.rand(channels, *old, generator=generator)
            expected = v2.functional.resize(image, list(new), MODES[mode], antialias=False)
            params = {"size": new, "antialias": False}
            assert resized(path, f"float32/resize_{mode}_plain", image, params).equal(expected), (old, new)
            levels = torch.randint(0, 256, (channels, *old), dtype=torch.uint8, generator=generator)
            expected = v1.functional.resize(levels, list(new), MODES[mode], antialias=False)
            assert resized(path, f"uint8_v1/resize_{mode}_plain", levels, params).equal(expected), (old, new)


@pytest.mark.parametrize("path", cpu.instructions())
def test_without_antialiasing_in_pipelines(path: str) -> None:
    """Crops and flips behind a resize, pixels side by side in memory, batches, and levels that become floats first."""
    steps = [v2.Resize((70, 75), antialias=False), v2.CenterCrop((60, 50)), v2.RandomHorizontalFlip(1)]
    floats = [v2.ToDtype(torch.float32, scale=True), *steps, v2.RandomVerticalFlip(1)]
    levels = torch.randint(0, 256, (3, 41, 90), dtype=torch.uint8)
    beside = levels.permute(1, 2, 0).contiguous().permute(2, 0, 1)
    for count in (1, 2):
        with threads(count), cpu.forced(path):
            for image in (levels, beside, levels.expand(2, 3, 41, 90)):
                assert lt.LearnedCompose(floats, fallback="error")(image).equal(v2.Compose(floats)(image))
                whole = image / 255
                assert lt.LearnedCompose(steps, fallback="error")(whole).equal(v2.Compose(steps)(whole))


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("channels", [1, 3])
def test_levels_in_v1_are_torchs(path: str, mode: str, channels: int) -> None:
    generator = torch.Generator().manual_seed(channels)
    for old, new in SIZES:
        image = torch.randint(0, 256, (channels, *old), dtype=torch.uint8, generator=generator)
        expected = v1.functional.resize(image, list(new), MODES[mode])
        assert resized(path, f"uint8_v1/resize_{mode}", image, {"size": new}).equal(expected), (old, new)


@pytest.mark.parametrize("mode", MODES)
def test_random_sizes(mode: str) -> None:
    generator = torch.Generator().manual_seed(7)
    for _ in range(60):
        *old, rows, columns = torch.randint(1, 150, (4,), generator=generator).tolist()
        new = (rows, columns + 1)
        image = torch.randint(0, 256, (3, *old), dtype=torch.uint8, generator=generator)
        for key, value in (("uint8_v1", image), ("float32", image / 255)):
            expected = v1.functional.resize(value, list(new), MODES[mode])
            assert resized(PATHS[0], f"{key}/resize_{mode}", value, {"size": new}).equal(expected), (old, new)


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("mode", MODES)
def test_pipelines_are_torchs(mode: str, count: int) -> None:
    generator = torch.Generator().manual_seed(2)
    levels = torch.randint(0, 256, (2, 3, 231, 310), dtype=torch.uint8, generator=generator)
    floats = levels / 255
    images = (
        levels,
        levels[0],
        floats,
        floats[0],
        floats.contiguous(memory_format=torch.channels_last),
        floats[..., ::2],
    )
    with threads(count):
        for api in (v1, v2):
            for transforms in (
                [api.Resize((150, 171), MODES[mode])],
                [api.Resize(101, MODES[mode]), api.CenterCrop(90), api.RandomHorizontalFlip(1.0)],
                [api.RandomResizedCrop(64, interpolation=MODES[mode])],
            ):
                learned = lt.LearnedCompose(transforms, fallback="error")
                for image in images if api is v1 else images[2:]:
                    torch.manual_seed(5)
                    expected = api.Compose(transforms)(image)
                    torch.manual_seed(5)
                    assert learned(image).equal(expected), (api.__name__, transforms, image.shape)


ELSEWHERE = """
import torch
from torchvision import transforms as v1
import learned_transforms as lt
from learned_transforms.installed import grouping
levels = torch.randint(0, 256, (3, 200, 265), dtype=torch.uint8)
for mode in (v1.InterpolationMode.BILINEAR, v1.InterpolationMode.BICUBIC):
    transform = v1.Resize((75, 271), mode)
    learned = lt.LearnedCompose([transform], fallback="error")
    for image in (levels, levels / 255):
        assert learned(image).equal(transform(image)), (mode, image.dtype)
print(grouping())
"""


@pytest.mark.parametrize("capability", ["default", "avx2"])
def test_with_other_instructions(capability: str) -> None:
    elsewhere = {**os.environ, "ATEN_CPU_CAPABILITY": capability}
    done = subprocess.run([sys.executable, "-c", ELSEWHERE], env=elsewhere, capture_output=True, text=True, check=True)
    assert capability != "default" or done.stdout.split() == ["1"]


@pytest.mark.parametrize("groups", GROUPS)
def test_each_grouping_is_told(groups: int, monkeypatch: pytest.MonkeyPatch) -> None:
    pattern = [k < 47 // groups * groups for k in range(47)]
    monkeypatch.setattr(installed, "products_rounded", lambda axis: pattern)
    assert groups_of_sums() == groups
    monkeypatch.setattr(installed, "products_rounded", lambda axis: pattern if axis == -1 else [True, False] * 23)
    assert groups_of_sums() is None


def test_asked_of_the_installed_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    assert grouping() in GROUPS
    layer = LAYERS["float32/resize_bicubic"]
    for answer, expected in ((8, (True, 8)), (1, (False, 1)), (None, (True, 0))):
        monkeypatch.setattr("learned_transforms.layers.base.grouping", lambda answer=answer: answer)
        (stage,) = layer.stages((3, 40, 50), {"size": (20, 30)})
        assert isinstance(stage, Resample)
        assert stage.arithmetic == stage.rows.arithmetic == stage.columns.arithmetic
        assert (stage.arithmetic.fma, stage.arithmetic.grouped) == expected
        (stage,) = Resampling(layer.kernel, layer.shift, layer.arithmetic).stages(
            (3, 40, 50), {"size": (20, 30), "antialias": False}
        )
        assert isinstance(stage, Resample)
        assert stage.arithmetic.grouped == 0


@pytest.mark.parametrize("path", cpu.instructions())
@pytest.mark.parametrize("groups", GROUPS)
@pytest.mark.parametrize("fma", [True, False])
@pytest.mark.parametrize("rounding", ["none", "half_even"])
def test_any_grouping_is_the_references(path: str, groups: int, fma: bool, rounding: str, monkeypatch: Any) -> None:
    """And of any pixels: infinite ones, and those that are none."""
    monkeypatch.setattr("learned_transforms.layers.base.grouping", lambda: groups)
    layer = LAYERS["float32/resize_bicubic"]
    image = torch.rand(3, 70, 91, generator=torch.Generator().manual_seed(3)) * 255
    image[:, 10, 20], image[1, 40, 50] = float("inf"), float("nan")
    for old, new in (((70, 91), (9, 100)), ((13, 8), (40, 3))):
        part = image[:, : old[0], : old[1]]
        (stage,) = Resampling(layer.kernel, layer.shift, layer.arithmetic).stages(part.shape, {"size": new})
        assert isinstance(stage, Resample)
        arithmetic = replace(stage.arithmetic, fma=fma, rounding=rounding)
        stage.rows.arithmetic = stage.columns.arithmetic = arithmetic
        plan = Plan(3, old, (Resample(stage.rows, stage.columns, arithmetic),), (3, *new))
        with cpu.forced(path):
            made = cpu.compile_plan(plan).bind(part)(part)
        torch.testing.assert_close(made, Reference(plan).run(part), rtol=0, atol=0, equal_nan=True)


def test_groups_in_files() -> None:
    """What has none is described as before there were any: digests of earlier files hold."""
    assert "grouped" not in Arithmetic("float32", fma=True).to_json()
    grouped = Arithmetic("float32", fma=True, grouped=4)
    assert Arithmetic.from_json(grouped.to_json()) == grouped
    for wrong in ({"fma": False}, {"number": "float64", "fma": False}, {"grouped": -1}, {"grouped": True}):
        with pytest.raises(WeightsError):
            Arithmetic.from_json({**grouped.to_json(), **wrong})


# Pixels that are no numbers, or infinite.


def outcasts(image: Tensor) -> Tensor:
    return torch.where(image.isfinite(), 0.0, image).nan_to_num(1.0, 2.0, 3.0)


def pictures(pixel: float) -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(11)
    for share in (0.01, 0.1) * 8:
        shape = (3, *torch.randint(1, 40, (2,), generator=generator).tolist())
        image = torch.rand(shape, generator=generator)
        yield image.masked_fill(torch.rand(shape, generator=generator) < share, pixel)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("pixel", "antialias"),
    [(float("nan"), True), (float("inf"), True), (-float("inf"), True), (float("nan"), False)],
)
def test_outcasts_through_resizes(path: str, mode: str, pixel: float, antialias: bool) -> None:
    key = f"float32/resize_{mode}" + ("" if antialias else "_plain")
    for image in pictures(pixel):
        height, width = image.shape[-2:]
        for new in ((20, 30), (height, 17), (15, max(width, 2)), (3 * height, 2 * width)):
            if new == (height, width):
                continue
            expected = v2.functional.resize(image, list(new), MODES[mode], antialias=antialias)
            made = resized(path, key, image, {"size": new, "antialias": antialias})
            assert outcasts(made).equal(outcasts(expected)), (image.shape, new)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("pixel", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("factor", [0.0, 0.5, 1.0, 2.0])
def test_outcasts_through_sharpness(path: str, pixel: float, factor: float) -> None:
    """Edges stay as they are."""
    for image in pictures(pixel):
        expected = v2.functional.adjust_sharpness(image, factor)
        made = resized(path, "float32/sharpness", image, {"factor": factor})
        torch.testing.assert_close(made, expected, rtol=0, atol=1e-6, equal_nan=True)
