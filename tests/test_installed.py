"""What is asked of the installed torch: it must be what its answers show, wherever it is first asked."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import to_pil
from PIL import Image
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torchvision.transforms import v2

import learned_transforms as lt
from learned_transforms.artifacts import weights as weight_files
from learned_transforms.installed import EXPORTS_SAFELY, SIZES, check_export, fuses, middle_of, resizes_by_lanczos
from learned_transforms.ir.ops import Resample
from learned_transforms.ir.plan import Plan
from learned_transforms.kernels import cpu
from learned_transforms.kernels.reference.executor import Reference
from learned_transforms.layers import base, resize

MODES = {"bilinear": "float32/resize_bilinear_plain", "bicubic": "float32/resize_bicubic_plain"}
LAYERS = weight_files.load("torchvision").layers


@pytest.fixture(autouse=True)
def unasked() -> Any:
    fuses.cache_clear()
    yield
    fuses.cache_clear()


def resized(mode: str, image: Tensor, size: tuple[int, int]) -> Tensor:
    """By the layer, on the reference."""
    params = {"size": size, "antialias": False}
    shape = (image.shape[-3], image.shape[-2], image.shape[-1])
    return Reference(
        Plan(shape[0], shape[1:], tuple(LAYERS[MODES[mode]].stages(shape, params)), (shape[0], *size))
    ).run(image)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(60, 1), (63, 65), (64, 65), (257, 33)], ids=str)
def test_the_answer_holds(mode: str, channels: int, size: tuple[int, int]) -> None:
    """Far from 0, positions rounded once and twice lie up to 3e-5 apart."""
    image = torch.rand(channels, 561, 569, generator=torch.Generator().manual_seed(1))
    answer = torch.nn.functional.interpolate(image[None], size, mode=mode, align_corners=False)[0]
    assert (resized(mode, image, size) - answer).abs().max() < 4e-7


@pytest.mark.parametrize("fused", [False, True])
def test_a_layer_goes_by_the_answer(fused: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def answer(mode: str, large: bool) -> bool:
        asked.append((mode, large))
        return fused

    monkeypatch.setattr(resize, "fuses", answer)
    for mode, key in MODES.items():
        (stage,) = LAYERS[key].stages((1, 300, 200), {"size": (100, 100), "antialias": False})
        assert isinstance(stage, Resample)
        assert stage.arithmetic == stage.rows.arithmetic == stage.columns.arithmetic
        assert (stage.arithmetic.fma, stage.arithmetic.small) == (fused, 0)
        assert asked.pop() == (mode, True)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", SIZES.values())
def test_a_middle_tells_roundings_apart(mode: str, size: int) -> None:
    """The two ways differ there: else any torch would seem to round twice."""
    scale = torch.tensor(64.0) / size
    twice = scale * (size / 2) - 0.5
    once = (scale.double() * (size / 2) - 0.5).float()
    assert twice == 31.5 != once
    assert abs(middle_of(mode, size)) < 1e-5


def test_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    found = fuses("bilinear", True)
    monkeypatch.delattr(torch.nn.functional, "interpolate")
    assert fuses("bilinear", True) == found


def test_asked_anywhere() -> None:
    """The first call may come where torch's calls are looked into, or with other defaults."""
    expected = fuses("bilinear", True)
    found = []

    def ask(value: Tensor) -> Tensor:
        fuses.cache_clear()
        found.append(fuses("bilinear", True))
        return value

    before = torch.get_default_dtype()
    with FakeTensorMode():
        ask(torch.zeros(2))
    with torch.device("meta"):
        ask(torch.zeros(2))
    torch.vmap(ask)(torch.zeros(2))
    torch.func.functionalize(ask)(torch.zeros(2))
    try:
        torch.set_default_dtype(torch.float16)
        ask(torch.zeros(2))
    finally:
        torch.set_default_dtype(before)
    assert found == [expected] * 5


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("mode", MODES)
def test_pipelines_of_floats(mode: str, threads: int) -> None:
    image = torch.rand(3, 400, 530, generator=torch.Generator().manual_seed(2))
    transform = v2.Resize((150, 171), getattr(v2.InterpolationMode, mode.upper()), antialias=False)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found, expected = lt.LearnedCompose([transform])(image), transform(image)
    finally:
        torch.set_num_threads(before)
    assert (found - expected).abs().max() < 4e-7


ELSEWHERE = """
import torch
from torchvision.transforms import v2
import learned_transforms as lt
for antialias in (True, False):
    for mode in (v2.InterpolationMode.BILINEAR, v2.InterpolationMode.BICUBIC):
        transform = v2.Resize((150, 171), mode, antialias=antialias)
        learned = lt.LearnedCompose([transform], fallback="error")
        for seed in range(10):
            generator = torch.Generator().manual_seed(seed)
            levels = torch.randint(0, 256, (3, 400, 530), dtype=torch.uint8, generator=generator)
            floats, expected = levels / 255, transform(levels / 255)
            print((learned(levels) != transform(levels)).double().mean().item())
            print(((learned(floats) - expected).abs().max() / expected.abs().max()).item())
"""


def test_without_vector_instructions() -> None:
    """There nothing is fused, and levels go through floats."""
    elsewhere = {**os.environ, "ATEN_CPU_CAPABILITY": "default"}
    done = subprocess.run([sys.executable, "-c", ELSEWHERE], env=elsewhere, capture_output=True, text=True, check=True)
    found = [float(line) for line in done.stdout.split()]
    assert max(found[0::2]) < 1e-4
    assert len(found) == 80
    # Of ten images each: bilinear and bicubic with antialiasing, bilinear without, and bicubic without.
    assert not any(found[1:60:2])
    assert max(found[61::2]) < 1e-6


@pytest.mark.filterwarnings("ignore::learned_transforms.errors.FallbackWarning")
def test_lanczos_of_tensors() -> None:
    """Older torchvision refuses it: so do we, with the same exception."""
    transform, image = v2.Resize(20, v2.InterpolationMode.LANCZOS), torch.zeros(3, 40, 50)
    try:
        expected = transform(image)
    except (NotImplementedError, ValueError) as error:
        assert not resizes_by_lanczos()
        with pytest.raises(type(error)):
            lt.LearnedCompose([transform])(image)
    else:
        assert resizes_by_lanczos()
        assert lt.LearnedCompose([transform], fallback="error")(image).equal(expected)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "lanczos", "box", "hamming"])
@pytest.mark.parametrize("size", [(28, 28), (13, 200), (20, 50), (100, 133)], ids=str)
def test_tall_images_as_the_installed_pillow_does(interpolation: str, size: tuple[int, int]) -> None:
    transform = v2.Resize(size, v2.InterpolationMode(interpolation))
    for height, width in ((50, 60), (400, 60), (60, 400)):
        image = to_pil(torch.randint(0, 256, (3, height, width), dtype=torch.uint8))
        assert lt.LearnedCompose([transform], fallback="error")(image).tobytes() == transform(image).tobytes()


@pytest.mark.parametrize("rows_first", [False, True])
def test_the_order_of_passes_is_pillows(rows_first: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Told of the other order, a layer makes the two passes that Pillow makes one by one."""
    monkeypatch.setattr(base, "takes_rows_first", lambda: rows_first)
    image = to_pil(torch.randint(0, 256, (1, 200, 30), dtype=torch.uint8))
    bilinear = Image.Resampling.BILINEAR
    between = (30, 10) if rows_first else (12, 200)
    expected = image.resize(between, bilinear).resize((12, 10), bilinear)
    transform = v2.Resize((10, 12))
    assert lt.LearnedCompose([transform], fallback="error")(image).tobytes() == expected.tobytes()


@pytest.mark.parametrize("safely", [EXPORTS_SAFELY, False])
def test_images_in_the_memory_of_others(safely: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Pillow before 13 crashes where it exports them."""
    monkeypatch.setattr(cpu, "EXPORTS_SAFELY", safely)
    levels = torch.randint(0, 256, (40, 50), dtype=torch.uint8).numpy()
    Image.fromarray(levels).save(tmp_path / "levels.bmp")
    transform = v2.Resize((20, 20))
    learned = lt.LearnedCompose([transform], fallback="error")
    for image in (Image.fromarray(levels), Image.open(tmp_path / "levels.bmp")):
        assert learned(image).tobytes() == transform(image).tobytes()
        assert image.readonly


def test_what_cannot_be_exported_is_known() -> None:
    for image in (Image.fromarray(np.zeros((4, 4), np.uint8)), Image.new("L", (4, 0)), Image.new("RGB", (0, 4))):
        with pytest.raises(ValueError, match="cannot export"):
            check_export(image)
    check_export(Image.new("RGB", (4, 4)))
