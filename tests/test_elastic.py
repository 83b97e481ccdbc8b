"""ElasticTransform against torchvision under equal draws; tests/test_native_warp.py has its code and the reference."""

import json
import random
from typing import Any

import pytest
import torch
import torchvision.transforms as v1
from helpers import FORMS, image_of, same, to_pil
from torchvision.transforms import InterpolationMode, v2

import learned_transforms as lt
from learned_transforms import installed
from learned_transforms.errors import PaddingError, PipelineValueError
from learned_transforms.kernels import cpu
from learned_transforms.trainer.data.bundled import HELD_OUT_PHOTOS, photo
from learned_transforms.transforms import elastic
from learned_transforms.transforms.registry import spec_of

MODES = (InterpolationMode.NEAREST, InterpolationMode.BILINEAR)
SIZES = ((37, 53), (64, 64), (21, 91), (120, 22), (40, 33))


def transform(rng: random.Random, api: Any, mode: InterpolationMode, channels: int) -> Any:
    fill = rng.choice([0, 7, [rng.randrange(256) for _ in range(channels)], None if api is v2 else 0])
    sigma = rng.choice([0.1, 0.3, 0.5, 1.0, 2.0, [0.7, 2.0], [2.5, 1.25]])
    return api.ElasticTransform(rng.choice([0.0, 9.0, 50.0, 400.0, [90.0, 10.0]]), sigma, mode, fill)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("form", ["pil", "uint8", "float32", "image", "channels last"])
def test_draws_and_values_are_torchvisions(form: str) -> None:
    """60 random transforms of v1 and v2, under equal seeds: values, random state, type."""
    rng = random.Random(form)
    for number in range(60):
        api = v2 if form == "image" else rng.choice([v1, v2])
        channels, mode, size = rng.choice([1, 3, 3]), rng.choice(MODES), rng.choice(SIZES)
        image = image_of(channels, size, number)
        given = FORMS[form](image) if form in FORMS else image.permute(1, 2, 0).contiguous().permute(2, 0, 1)
        step = transform(rng, api, mode, channels)
        unlearned = api is v1 and form == "float32" and mode is InterpolationMode.BILINEAR and any(step.fill)
        same([step], given, "exact", **({} if unlearned else {"fallback": "error"}))


@pytest.mark.parametrize("api", [v1, v2])
def test_defaults_on_photos(api: Any) -> None:
    """Its arguments as they are, on 224 pixels: 0 values differ."""
    values = 0
    for number, name in enumerate(HELD_OUT_PHOTOS):
        image = photo(name)[:, :224, :224].contiguous()
        for given in (image, to_pil(image)):
            same([api.ElasticTransform()], given, "exact", seeds=2, fallback="error")
            values += 2 * image.numel()
        assert number < 100
    print(f"{values} values")


@pytest.mark.parametrize("simd", cpu.instructions())
def test_the_displacement_is_torchvisions_to_the_bit(simd: str) -> None:
    """On every set of instructions, for windows of 1 to 57 pixels, of v1 and v2."""
    rng, values = random.Random(simd), 0
    for number in range(40):
        sigma = rng.choice([rng.uniform(0.05, 3), rng.uniform(3, 7)])
        size = tuple(rng.randint(int(4 * sigma) + 2, int(4 * sigma) + 90) for _ in range(2))
        for step in (v1.ElasticTransform(33.0, sigma), v2.ElasticTransform(33.0, sigma)):
            torch.manual_seed(number)
            theirs = (
                step.get_params(step.alpha, step.sigma, list(size))
                if isinstance(step, v1.ElasticTransform)
                else step.make_params([torch.empty(3, *size)])["displacement"]
            )
            torch.manual_seed(number)
            with cpu.forced(simd):
                ours = spec_of(step).draw(size)
            assert ours.equal(theirs), (sigma, size)
            assert ours.stride() == theirs.stride()
            values += ours.numel()
    print(f"{values} values")


def test_where_torch_sums_in_another_order_its_own_blur_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    assert installed.sums_windows_in_order() in (True, False)
    monkeypatch.setattr(installed, "sums_windows_in_order", lambda: False)
    monkeypatch.setattr(elastic, "smoother", None)
    same([v2.ElasticTransform(40.0, 2.0)], image_of(3, (40, 50)), "exact", fallback="error")


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_draws_are_written_down_and_played_back(backend: str) -> None:
    """As the state of torch's generator: so many bytes, however large the image is."""
    ours = lt.LearnedCompose(
        [v2.ElasticTransform(60.0, 2.0), v2.RandomVerticalFlip()], fallback="error", backend=backend
    )
    image = image_of(3, (37, 46))
    for seed in range(4):
        torch.manual_seed(seed)
        expected = ours(image)
        torch.manual_seed(seed)
        params = ours.make_params(image)
        text = json.dumps(params)
        assert len(text) < 8000
        before = torch.get_rng_state()
        assert ours(image, params=json.loads(text)).equal(expected)
        assert torch.get_rng_state().equal(before)
    for wrong in ("", "AAAA", None, 3, [0.5], text[:-9]):
        with pytest.raises(PipelineValueError, match="Expected"):
            ours(image, params=[{"displacement": wrong}, None])


def test_draws_make_no_new_plans() -> None:
    ours = lt.LearnedCompose([v2.Resize((40, 50)), v2.ElasticTransform(30.0, 2.0)], fallback="error")
    for number in range(20):
        ours(image_of(3, (37 + number, 46)))
    (segment,) = ours.segments.values()
    assert len(segment.network.plans) == 1


@pytest.mark.parametrize("api", [v1, v2])
def test_images_smaller_than_the_window_are_refused(api: Any) -> None:
    for size in ((1, 1), (5, 40), (40, 20)):
        image, step = image_of(3, size), api.ElasticTransform(30.0, 5.0)
        with pytest.raises(RuntimeError, match="Padding size"):
            step(image)
        for given in (image, to_pil(image)):
            with pytest.raises(PaddingError, match=r"sigma=\[5\.0, 5\.0\]"):
                lt.LearnedCompose([step])(given)
    same([api.ElasticTransform(30.0, 0.1)], image_of(3, (1, 1)), "exact", fallback="error")


def test_bicubic_sums_stay_in_torchvision() -> None:
    step = v2.ElasticTransform(30.0, 2.0, InterpolationMode.BICUBIC)
    assert "bicubic" in str(lt.LearnedCompose([step], fallback="torchvision").explain("uint8"))
    same([step], image_of(3, (40, 50)), "exact", fallback="torchvision")


@pytest.mark.parametrize("mode", MODES)
def test_gradients_are_those_of_torchvision(mode: InterpolationMode) -> None:
    """Where v2 gives any: with a fill, it raises."""
    images = [torch.rand(3, 30, 33, generator=torch.Generator().manual_seed(1)) for _ in range(3)]
    runs = [v2.ElasticTransform(60.0, 2.0, mode, fill=None)]
    runs += [lt.LearnedCompose([v2.ElasticTransform(60.0, 2.0, mode, fill)], fallback="error") for fill in (None, 0)]
    for image, run in zip(images, runs, strict=True):
        torch.manual_seed(3)
        (run(image.requires_grad_()) ** 2).sum().backward()
    assert torch.allclose(images[0].grad, images[1].grad, rtol=1e-4, atol=1e-5)
    assert images[0].grad.any()
    assert images[2].grad.any()


def test_another_default_dtype_and_a_default_device() -> None:
    """torchvision draws what the default says, and so do we, or leave it to torchvision."""
    step, image = v2.ElasticTransform(60.0, 2.0), image_of(3, (40, 50))
    ours = lt.LearnedCompose([step], fallback="torchvision")
    for dtype in (torch.float64, torch.float32):
        torch.set_default_dtype(dtype)
        try:
            torch.manual_seed(1)
            expected = step(image)
            torch.manual_seed(1)
            assert ours(image).equal(expected)
        finally:
            torch.set_default_dtype(torch.float32)
    with torch.device("cpu"):
        torch.manual_seed(1)
        assert ours(image).equal(expected)


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_where_torch_looks_on() -> None:
    """Mapped and differentiated: in plain torch, as torchvision's."""
    step, image = v2.ElasticTransform(60.0, 1.0, fill=None), torch.rand(3, 20, 30)
    ours = lt.LearnedCompose([step], fallback="error")

    def drawn(run: Any) -> torch.Tensor:
        torch.manual_seed(2)
        made: torch.Tensor = run()
        return made

    expected = drawn(lambda: step(image))
    both = torch.stack([image, image.flip(-1)])
    mapped = drawn(lambda: torch.vmap(ours, randomness="same")(both))
    assert mapped.equal(drawn(lambda: torch.vmap(step, randomness="same")(both)))
    slope = drawn(lambda: torch.func.jvp(ours, (image,), (image,))[1])
    assert torch.allclose(slope, expected, atol=1e-6)
