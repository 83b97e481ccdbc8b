"""Warps against torchvision under equal draws; tests/test_native_warp.py has their code against the reference."""

import random
from typing import Any

import numpy as np
import pytest
import torch
import torchvision.transforms as v1
from helpers import FORMS, image_of, same, to_pil
from test_native_warp import BOX, DOUBLE, HAT, KEYS, SIZES, matrix
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode, v2

import learned_transforms as lt
from learned_transforms import installed
from learned_transforms.errors import PaddingError, PipelineValueError, SingularMatrixError
from learned_transforms.ir.arithmetic import Arithmetic
from learned_transforms.ir.ops import Warp
from learned_transforms.ir.plan import Plan
from learned_transforms.kernels.reference.executor import Reference
from learned_transforms.layers.warp import COPIES, Replacing, Warping, taps_of
from learned_transforms.transforms.registry import spec_of


@pytest.mark.parametrize(
    ("kernel", "form", "arithmetic"),
    [
        (torch.zeros(1, 2), "cut", DOUBLE),
        (torch.ones(2), "cut", DOUBLE),
        (HAT, "other", DOUBLE),
        (HAT, "cut", COPIES),
        (BOX, "sum", COPIES),
        (HAT, "from_fill", DOUBLE),
    ],
)
def test_impossible_layers_are_refused(kernel: torch.Tensor, form: str, arithmetic: Arithmetic) -> None:
    with pytest.raises(PipelineValueError, match="Expected"):
        Warping(kernel, form, arithmetic)


BILINEAR = InterpolationMode.BILINEAR


def transform(rng: random.Random, api: Any, mode: InterpolationMode, channels: int) -> Any:
    fill = rng.choice([0, 7, [rng.randrange(256) for _ in range(channels)], None])
    kind = rng.randrange(3)
    center = rng.choice([None, None, (3, 4.5), [rng.uniform(-9, 40), 0]])
    if kind == 0:
        degrees = rng.choice([180, (30, 30), (90, 90), (180, 180), (0, 0), (-90, -90), (45, 45)])
        return api.RandomRotation(degrees, mode, expand=rng.random() < 0.5, center=center, fill=fill)
    if kind == 1:
        shift, scale = rng.choice([None, (0.2, 0.3), (1, 1)]), rng.choice([None, (0.3, 3)])
        shear = rng.choice([None, 40, (-10, 10, -20, 20)])
        return api.RandomAffine(rng.choice([0, 180]), shift, scale, shear, mode, fill=fill, center=center)
    return api.RandomPerspective(rng.choice([0.1, 0.5, 1.0]), 0.8, mode, fill)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("form", ["pil", "uint8", "float32", "image", "channels last"])
def test_draws_and_values_are_torchvisions(form: str) -> None:
    """100 random transforms of v1 and v2, under equal seeds: values, random state, type."""
    rng = random.Random(form)
    modes = [InterpolationMode.NEAREST, BILINEAR, InterpolationMode.BICUBIC]
    for number in range(100):
        api = v2 if form == "image" else rng.choice([v1, v2])
        channels, mode = rng.choice([1, 3, 3]), rng.choice(modes if form == "pil" else modes[:2])
        size = rng.choice([*SIZES, (224, 224)])
        image = image_of(channels, size, number)
        given = FORMS[form](image) if form in FORMS else image.permute(1, 2, 0).contiguous().permute(2, 0, 1)
        step = transform(rng, api, mode, channels)
        filled = step.fill != 0 and step.fill is not None
        unlearned = api is v1 and form == "float32" and mode != InterpolationMode.NEAREST and filled
        same([step], given, "exact", **({} if unlearned else {"fallback": "error"}))


RESIZED = [v2.Resize((40, 50)), v2.RandomRotation(30, BILINEAR), v2.RandomHorizontalFlip()]
CHAINS: dict[str, list[Any]] = {
    "behind a resize": RESIZED,
    "expanded": [v2.RandomRotation(30, expand=True), v2.CenterCrop(30)],
    "several": [v2.RandomAffine(20, (0.2, 0.2)), v2.ColorJitter(0.4), v2.RandomPerspective(), v2.RandomRotation(9)],
    "in a window": [v2.RandomResizedCrop(24), v2.RandomAffine(20, (0.3, 0.1), shear=9)],
    "applied": [v2.RandomApply([v2.RandomRotation(40), v2.RandomAffine(5, scale=(0.5, 2))], 0.6)],
    "displaced": [v2.RandomCrop((30, 40)), v2.ElasticTransform(40.0, 2.0), v2.ColorJitter(0.4), v2.RandomRotation(9)],
    "displaced in part": [v2.RandomApply([v2.ElasticTransform(90.0, [1.0, 2.0], "nearest"), v2.RandomVerticalFlip()])],
    "to floats": [v2.RandomRotation(40), v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.RandomAffine(9)],
}


@pytest.mark.parametrize("name", CHAINS)
def test_chains(name: str) -> None:
    """Alone, in a batch, each image of a batch for itself, and played back."""
    steps, images = CHAINS[name], torch.stack([image_of(3, (37, 46), seed) for seed in range(3)])
    ours = lt.LearnedCompose(steps, fallback="error")
    for image in (images[0], images, to_pil(images[0]), tv_tensors.Image(images[1])):
        same(steps, image, "exact", seeds=3, fallback="error")
    for seed in range(3):
        params = ours.make_params(images[0])
        assert ours(images[0], params=params).equal(ours(images[0], params=params))
        torch.manual_seed(seed)
        drawn = ours.make_params(images[0])
        torch.manual_seed(seed)
        assert ours(images[0], params=drawn).equal(ours(images[0]))
        torch.manual_seed(seed)
        alone = [ours(image) for image in images]
        torch.manual_seed(seed)
        assert ours(images, per_sample=True).equal(torch.stack(alone))


def sample() -> dict[str, Any]:
    size, generator = (37, 46), torch.Generator().manual_seed(2)
    masks = torch.randint(0, 200, (2, *size), generator=generator)
    return {
        "image": tv_tensors.Image(image_of(3, size)),
        **{f"mask {d}": tv_tensors.Mask(masks.to(d)) for d in (torch.uint8, torch.bool, torch.int16, torch.int64)},
        **{f"mask {d}": tv_tensors.Mask(masks.to(d)) for d in (torch.float32, torch.float64, torch.float16)},
        "far": tv_tensors.Mask(masks.int() + 2**30),
        "flat": tv_tensors.Mask(masks[0].to(torch.uint8)),
        "boxes": tv_tensors.BoundingBoxes([[3.0, 4, 30, 25], [10, 9, 22, 33]], format="XYXY", canvas_size=size),
        "points": tv_tensors.KeyPoints(torch.tensor([[3.0, 4], [30, 25]]), canvas_size=size),
    }


@pytest.mark.parametrize("fill", [0, 5, None, {tv_tensors.Mask: 3, "others": 9}], ids=str)
@pytest.mark.parametrize(
    "name", ["RandomRotation", "RandomRotation expand", "RandomAffine", "RandomPerspective", "ElasticTransform"]
)
def test_what_goes_with_images_moves_under_the_same_draw(name: str, fill: Any) -> None:
    made = {
        "RandomRotation": lambda: v2.RandomRotation(40, BILINEAR, fill=fill),
        "RandomRotation expand": lambda: v2.RandomRotation(40, expand=True, fill=fill),
        "RandomAffine": lambda: v2.RandomAffine(20, (0.1, 0.1), (0.7, 1.2), 9, fill=fill),
        "RandomPerspective": lambda: v2.RandomPerspective(0.5, 1.0, fill=fill),
        "ElasticTransform": lambda: v2.ElasticTransform(60.0, 2.0, fill=fill),
    }[name]()
    ours = lt.LearnedCompose([made, v2.RandomHorizontalFlip()], fallback="error")
    for seed in range(6):
        torch.manual_seed(seed)
        expected, state = v2.Compose([made, v2.RandomHorizontalFlip()])(sample()), torch.get_rng_state()
        torch.manual_seed(seed)
        found = ours(sample())
        assert torch.get_rng_state().equal(state)
        for key, value in expected.items():
            assert type(found[key]) is type(value)
            assert found[key].dtype == value.dtype
            assert found[key].equal(value), key


def test_draws_make_no_new_plans() -> None:
    image, steps = image_of(3, (37, 46)), [v2.RandomAffine(30, (0.2, 0.2), (0.5, 2), 9), v2.RandomRotation(30)]
    ours = lt.LearnedCompose(steps, fallback="error")
    for _ in range(50):
        ours(image)
    (segment,) = ours.pipeline.segments.values() if hasattr(ours, "pipeline") else ours.segments.values()
    assert len(segment.network.plans) == 1


@pytest.mark.parametrize("name", ["rotation", "perspective"])
def test_gradients_are_those_of_torchvision(name: str) -> None:
    """Where v2 gives any: with a fill, it raises."""
    step = v2.RandomRotation(40, BILINEAR, fill=None) if name == "rotation" else v2.RandomPerspective(0.5, 1, fill=None)
    images = [torch.rand(3, 20, 30, generator=torch.Generator().manual_seed(1)) for _ in range(3)]
    filled = lt.LearnedCompose([v2.RandomRotation(40, BILINEAR)], fallback="error")
    for image, run in zip(images, (step, lt.LearnedCompose([step], fallback="error"), filled), strict=True):
        torch.manual_seed(3)
        (run(image.requires_grad_()) ** 2).sum().backward()
    assert torch.allclose(images[0].grad, images[1].grad, rtol=1e-4, atol=1e-5)
    assert images[0].grad.any()
    assert images[2].grad.any()


def test_the_gradient_of_a_warp_is_its_matrix() -> None:
    """It is linear in the image, so that any step follows from the derivative."""
    for form, kernel, terms in (("from_fill", HAT, 6), ("sum", HAT, 8), ("cut", KEYS, 6)):
        how = Arithmetic("float64" if form == "cut" else "float32")
        stage = Warp(matrix(random.Random(3), terms, (5, 6)), None, taps_of(kernel.double()), (2.0,), form, how)
        run = Reference(Plan(1, None, (stage,), None)).run
        image, step = torch.rand(2, 1, 5, 6, generator=torch.Generator().manual_seed(1))
        (slope,) = torch.autograd.functional.jvp(run, image, step)[1:]
        assert torch.allclose(run(image + step) - run(image), slope, atol=1e-5)
        assert slope.any()


@pytest.mark.parametrize("api", [v1, v2])
def test_errors_name_the_argument(api: Any) -> None:
    """Corners of tiny images lie on a line under some draws: torchvision refuses these, and so do we."""
    step, tiny = api.RandomPerspective(1.0, 1.0), image_of(3, (2, 2))
    ours = lt.LearnedCompose([step])
    refused = 0
    for seed in range(30):
        torch.manual_seed(seed)
        try:
            expected = step(tiny)
        except torch.linalg.LinAlgError:
            refused += 1
            torch.manual_seed(seed)
            with pytest.raises(SingularMatrixError, match=r"distortion_scale=1\.0"):
                ours(tiny)
            continue
        torch.manual_seed(seed)
        assert ours(tiny).equal(expected)
    assert refused


def test_fills_and_params_that_do_not_fit_are_refused() -> None:
    with pytest.raises(PaddingError, match="fill"):
        lt.LearnedCompose([v2.RandomRotation(9, fill=[1, 2])])(image_of(3, (9, 9)))
    spec = spec_of(v2.RandomAffine(9))
    for wrong in ({"angle": 1.0, "translate": [0, 0], "scale": 0.0, "shear": [0, 0]}, {"angle": 1.0}, {}):
        assert spec.replay(wrong) is None


def test_the_probes_answer_alike_anywhere() -> None:
    assert installed.fuses_grids() in (0, 1, installed.FEWEST)
    fused = torch.backends.cpu.get_cpu_capability() != "DEFAULT"
    assert installed.fuses_samples() is fused


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_a_quarter_turn_copies_whatever_the_interpolation(mode: str) -> None:
    image = image_of(3, (20, 30))
    for degrees, turns in ((0, 0), (90, 1), (180, 2), (270, 3)):
        ours = lt.LearnedCompose([v2.RandomRotation((degrees, degrees), mode, expand=True)], fallback="error")
        assert ours(image).equal(torch.rot90(image, turns, (-2, -1)))
    stage, *_ = Replacing().free(3, {"matrix": (0.0, -1.0, 30.0, 1.0, 0.0, 0.0), "size": (30, 20)})
    assert Reference(Plan(3, None, (stage,), None)).run(image).equal(torch.rot90(image, 1, (-2, -1)))


def test_arrays() -> None:
    pixels = image_of(3, (37, 46)).permute(1, 2, 0).contiguous().numpy()
    ours = lt.LearnedCompose([v2.RandomRotation((30, 30), BILINEAR)], fallback="error")
    expected = ours(torch.from_numpy(pixels).permute(2, 0, 1))
    assert np.array_equal(ours(pixels), expected.permute(1, 2, 0).numpy())


def test_an_image_that_an_earlier_transform_refuses():
    """Corners on a line are drawn for a later one, in the same run of layers."""
    steps = [v2.RandomPerspective(0.5), v1.AutoAugment(), v2.RandomPerspective(0.5), v1.AutoAugment()]
    learned, image, seen = lt.LearnedCompose(steps), torch.zeros(4, 1, 1, dtype=torch.uint8), set()
    for seed in range(40):
        raised = []
        for transform in (v2.Compose(steps), learned):
            torch.manual_seed(seed)
            try:
                transform(image)
            except (TypeError, RuntimeError) as error:
                raised.append(error)
        if raised:
            theirs, ours = raised
            assert isinstance(ours, type(theirs))
            seen.add((type(theirs), type(ours)))
    assert {theirs for theirs, _ in seen} == {TypeError, torch.linalg.LinAlgError}
