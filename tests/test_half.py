"""float16 and bfloat16 out of one native pass: as torchvision computes them, for each set of instructions."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
import torchvision.transforms as v1
from helpers import copy_of, image_of, same, to_pil, values
from test_native import random_levels
from test_native import simd as simd  # autouse: each set of instructions, into poisoned memory
from test_native_stages import check, plan_of
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

import learned_transforms as lt
from learned_transforms.errors import BackendError, FallbackWarning, InputShapeError
from learned_transforms.images.formats import Form
from learned_transforms.ir.indexing import Keep
from learned_transforms.ir.ops import Cast, Gather, Normalize, Table
from learned_transforms.kernels import cpu
from learned_transforms.kernels.cuda import backend as cuda
from learned_transforms.kernels.reference.executor import Reference
from learned_transforms.layers.network import Network
from learned_transforms.layers.pointwise import Casting, Lookup, Normalizing

HALVES = [torch.float16, torch.bfloat16]
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
SIZES = [(1, 1), (2, 3), (7, 5), (37, 45), (64, 64), (65, 131)]


@pytest.fixture(params=HALVES, ids=str)
def half(request) -> torch.dtype:
    return request.param


def every_bit(dtype: torch.dtype) -> Tensor:
    """Every value that there is of 16 bits."""
    return torch.arange(2**16).to(torch.uint16).view(dtype)


def ties(dtype: torch.dtype) -> Tensor:
    """float32 that are values of 16 bits, that lie halfway between two of them, or next to either."""
    exact = every_bit(dtype).float()
    between = (exact.double() + every_bit(dtype).roll(-1).double()).div(2).float()
    near = [torch.nextafter(x, torch.tensor(end)) for x in (exact, between) for end in (-np.inf, np.inf)]
    return torch.cat([exact, between, *near])


def agree(found: Tensor, expected: Tensor) -> None:
    """The same bits; any NaN is as good as another."""
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    assert found.isnan().equal(expected.isnan())
    assert found.nan_to_num(7).view(torch.int16).equal(expected.nan_to_num(7).view(torch.int16))


def test_every_float_is_rounded_as_torch_does(half):
    odd = torch.tensor([0.0, -0.0, np.inf, -np.inf, np.nan, 65504, 65519.996, 65520, 3.4e38, 1e-45, 2.0**-25])
    bits = torch.randint(-(2**31), 2**31, (300_001,)).to(torch.int32).view(torch.float32)
    for numbers in (ties(half), odd, -odd, bits):
        image = numbers.view(1, 1, -1)
        agree(cpu.Program(plan_of(image, Cast(half))).bind(image)(image), image.to(half))


def test_every_half_is_normalized_as_torch_does(half):
    image = every_bit(half).view(1, 256, 256)
    for mean, std in ((0.485, 0.229), (0.0, 1.0), (-3.0, 1e-6), (60000.0, 1e4), (0.5, -0.25)):
        stage = Normalize(torch.tensor([mean], dtype=half), torch.tensor([std], dtype=half))
        agree(cpu.Program(plan_of(image, stage)).bind(image)(image), (image - stage.mean) / stage.std)


def test_stages(half):
    numbers = torch.randn(3, 256).to(half)
    table, one = Table(numbers), Table(numbers[:1])
    by = Normalize(torch.tensor(MEAN, dtype=half), torch.tensor(STD, dtype=half))
    crop = Gather(rows=Keep(-2, 1, 9), columns=Keep(30, -1, 33), outside=True, fill=(0.3, 6e4, -7.0))
    early = replace(crop, fill=(3.0, 200.0, 7.0))
    turned = Gather(channels=(2, 0, 1))
    for height, width in SIZES:
        levels = random_levels(3, height, width)
        inside = Gather(rows=Keep(height - 1, -1, height))
        for stages in (
            (table,),
            (one, by),
            (table, by, crop),
            (early, table, turned),
            (turned, one, inside, by),
            (one, crop, by, turned, inside),
            (Table(torch.arange(255, -1, -1, dtype=torch.uint8)[None]), table, by),
            (Table(torch.rand(1, 256)), Normalize(torch.tensor(MEAN), torch.tensor(STD)), Cast(half), by),
        ):
            check(levels, *stages)
        floats = torch.randn(3, height, width)
        floats[0, 0, 0], floats[1, -1, -1] = np.nan, np.inf
        check(floats, Cast(half), crop, by)
        check(floats, Normalize(torch.tensor(MEAN), torch.tensor(STD)), turned, Cast(half))


def test_native_code_refuses_what_it_cannot_do(half):
    levels, floats = random_levels(3, 8, 8), torch.rand(3, 8, 8)
    table = Table(torch.rand(1, 256).to(half))
    by = Normalize(torch.zeros(3), torch.ones(3))
    for image, stages, message in (
        (levels, (Cast(half),), "only floats are rounded"),
        (levels, (table, by), "another dtype"),
        (levels, (table, Cast(half)), "copied and normalized only"),
        (floats, (Cast(half), table), "copied and normalized only"),
    ):
        with pytest.raises(InputShapeError, match=message):
            cpu.Program(plan_of(image, *stages)).bind(image)
    with pytest.raises(BackendError, match="16 bits only"):
        cpu.Program(plan_of(floats, Cast(torch.float32)))
    assert cuda.unfit_plan(plan_of(levels, table)) is None


def pipelines(dtype: torch.dtype) -> dict[str, list]:
    resize = v2.Resize((31, 47), antialias=True)
    by, scaled = v2.Normalize(MEAN, STD), v2.ToDtype(dtype, scale=True)
    return {
        "preset": [resize, v2.CenterCrop(28), scaled, by],
        "rounded last": [resize, v2.ToDtype(torch.float32, scale=True), by, v2.ToDtype(dtype)],
        "as levels": [resize, v2.ToDtype(dtype), v2.Normalize([120.0, 110.0, 100.0], [60.0, 55.0, 50.0])],
        "v1": [v1.Resize((31, 47)), v1.ConvertImageDtype(dtype), v1.Normalize(MEAN, STD)],
        "converted": [v2.ConvertImageDtype(dtype), v2.Pad((3, 1, 0, 2), fill=0.3), v2.Normalize([0.5], [0.1])],
        "cropped": [scaled, v2.RandomCrop(24, padding=3, fill=0.7), by, v2.RandomHorizontalFlip(1)],
        "train": [v2.RandomResizedCrop(24, antialias=True), v2.RandomHorizontalFlip(), scaled, by],
        "jitter": [v2.ColorJitter(0.4, 0.4, 0.4, 0.1), scaled, by, v2.ToPureTensor()],
        "padded": [resize, scaled, v2.Pad(4, padding_mode="reflect"), by, v2.CenterCrop(60)],
        "alone": [scaled],
    }


def images(size: tuple[int, int]) -> list:
    levels = image_of(3, size)
    extremes = torch.where(image_of(3, size, 1) < 128, 0, 255).to(torch.uint8)
    return [levels, extremes, levels.movedim(0, -1).contiguous().movedim(-1, 0), torch.stack([levels, extremes])]


@pytest.mark.parametrize("name", pipelines(torch.float16))
def test_levels_become_what_torchvision_makes_of_them(name, half):
    transforms = pipelines(half)[name]
    for size in ((37, 45), (64, 31), (131, 67)):
        for image in images(size):
            found = exactly(transforms, image)
            assert found.dtype is half
        if not name.startswith("v1"):
            exactly(transforms, tv_tensors.Image(images(size)[0]))
    gray = image_of(1, (40, 50))
    same(transforms, gray, "exact")


def exactly(transforms: list, image) -> Tensor:
    """What a pipeline gives, which is bit by bit what torchvision gives, without a word of a fallback; one segment."""
    before = copy_of(image)
    expected = run(v2.Compose(transforms), image)
    learned = lt.LearnedCompose(transforms)
    with warnings.catch_warnings():
        warnings.simplefilter("error", FallbackWarning)
        found = run(learned, image)
        again = run(learned, image)
    assert type(found) is type(expected)
    for made in (found, again):
        agree(made.as_subclass(Tensor), expected.as_subclass(Tensor))
    assert values(image).equal(values(before))
    return found


def run(transform, image):
    torch.manual_seed(3)
    return transform(image)


def test_one_pass_does_it_all(half):
    for name in ("preset", "rounded last", "as levels", "v1", "train"):
        learned = lt.LearnedCompose(pipelines(half)[name])
        image = image_of(3, (60, 70))
        learned(image)
        (segment,) = learned.segments.values()
        assert segment.stop == len(learned.pieces)
        outcomes = tuple(True for _ in segment.draws.random)
        program = segment.program(image, (3, 60, 70), outcomes).compiled
        call = program.call(1, (3, 60, 70), (60 * 70, 70, 1), 0, "uint8", False, bool(segment.beginning.window_size))
        assert call.passes == 1
        assert call.output[3] == str(half).removeprefix("torch.")


def test_pil_images_and_arrays(half):
    image = image_of(3, (53, 71))
    end = [v2.ToDtype(half, scale=True), v2.Normalize(MEAN, STD)]
    for made in (to_pil(image), to_pil(image[:1]), image.movedim(0, -1).numpy()):
        exactly([v2.ToImage(), v2.Resize(29, antialias=True), *end], made)
    exactly([v1.Resize(29), v1.ToTensor(), v2.ToDtype(half), v1.Normalize(MEAN, STD)], to_pil(image))
    exactly([v1.Resize(29), v1.PILToTensor(), v1.ConvertImageDtype(half)], to_pil(image))


def test_arrays_stay_arrays():
    array = image_of(3, (53, 71)).movedim(0, -1).contiguous().numpy()
    learned = lt.LearnedCompose([v2.Resize(29, antialias=True), v2.ToDtype(torch.float16, scale=True)])
    found, tensor = learned(array), learned(torch.from_numpy(array).movedim(-1, 0))
    assert found.dtype == np.float16
    assert torch.from_numpy(found).movedim(-1, 0).equal(tensor)


@pytest.mark.parametrize("size", [(37, 45), (64, 31)])
def test_floats_are_rounded_on_the_way_out(half, size):
    image = torch.rand(3, *size, generator=torch.Generator().manual_seed(1)) * 3 - 1
    end = [v2.Normalize(MEAN, STD), v2.ToDtype(half)]
    for transforms in (end, end[::-1], [v2.CenterCrop(30), *end], [v2.RandomHorizontalFlip(1), v2.ToDtype(half)]):
        for made in (image, image.movedim(0, -1).contiguous().movedim(-1, 0), torch.stack([image] * 3)):
            exactly(transforms, made)


def test_levels_as_float32_are_a_table():
    for transforms in ([v2.ToDtype(torch.float32)], [v2.Resize(20, antialias=True), v2.ToDtype(torch.float32)]):
        found = lt.LearnedCompose(transforms)(image_of(3, (40, 50)))
        assert found.equal(v2.Compose(transforms)(image_of(3, (40, 50))))
    (row,) = lt.LearnedCompose([v2.ToDtype(torch.float32)]).explain("uint8").rows
    assert (row.layer, row.tier) == ("Lookup", "proved")


def test_explain_and_certificates(half):
    learned = lt.LearnedCompose(pipelines(half)["preset"])
    rows = learned.explain("uint8").rows
    assert [row.layer for row in rows] == ["Resampling", "Cropping", "Lookup", "Normalizing"]
    assert not any(row.reason for row in rows)
    certificate = learned.certify([image_of(3, (50, 60), seed) for seed in range(4)])
    assert certificate.tier == "exact"
    assert certificate.differing == 0
    rows = lt.LearnedCompose(pipelines(half)["rounded last"]).explain("float32").rows
    assert [row.layer for row in rows] == ["Resampling", "-", "Normalizing", "Casting"]


def test_what_else_comes_behind_goes_on_in_torchvision(half):
    image = image_of(3, (40, 50))
    for last in (
        v2.Resize(20, antialias=True),
        v2.RandomInvert(1),
        v2.GaussianBlur(3),
        v2.RandomErasing(1),
        v2.Normalize(MEAN, [1, 1e-46, 1]),
    ):
        transforms = [v2.RandomHorizontalFlip(1), v2.ToDtype(half, scale=True), last]
        learned = lt.LearnedCompose(transforms)
        with pytest.warns(FallbackWarning, match=type(last).__name__):
            agree(run(learned, image), run(v2.Compose(transforms), image))
        *_, row = learned.explain("uint8").rows
        assert row.layer == "torchvision"
        assert str(half).removeprefix("torch.") in row.reason
    for last in (v2.ToDtype(torch.float32), v2.RandomCrop(30), v2.ToPureTensor()):
        transforms = [v2.RandomHorizontalFlip(1), v2.ToDtype(half, scale=True), last]
        assert run(lt.LearnedCompose(transforms, fallback="error"), image).equal(run(v2.Compose(transforms), image))


def test_fills_that_do_not_fit_are_refused():
    for dtype, fill in ((torch.float16, 1e6), (torch.bfloat16, 3.4e38 * 1.01)):
        same(
            [v2.ToDtype(dtype, scale=True), v2.Pad(2, fill=fill)],
            image_of(3, (20, 30)),
            "exact",
            fallback="torchvision",
        )


def test_images_in_half_precision_go_on_in_torch(half):
    image = image_of(3, (40, 50)).to(half) / 255
    transforms = [v2.CenterCrop(30), v2.Normalize(MEAN, STD)]
    assert lt.LearnedCompose(transforms, fallback="torchvision")(image).equal(v2.Compose(transforms)(image))


def test_float64_stays_with_torch():
    transforms = [v2.Resize(20, antialias=True), v2.ToDtype(torch.float64, scale=True), v2.Normalize(MEAN, STD)]
    learned = lt.LearnedCompose(transforms, fallback="torchvision")
    assert learned(image_of(3, (40, 50))).equal(v2.Compose(transforms)(image_of(3, (40, 50))))


def test_batches_of_what_comes_one_by_one(half):
    transforms = pipelines(half)["preset"]
    learned, plain = lt.LearnedCompose(transforms), v2.Compose(transforms)
    mixed = [image_of(3, (40 + n, 60 - n), n) for n in range(5)]
    agree(learned(mixed, per_sample=True), torch.stack([plain(image) for image in mixed]))
    batch = torch.stack([image_of(3, (40, 60), n) for n in range(4)])
    agree(learned(batch, per_sample=True), plain(batch))
    pictures = lt.LearnedCompose([v2.ToImage(), *transforms])
    agree(pictures([to_pil(image) for image in mixed], per_sample=True), learned(mixed, per_sample=True))


def test_training_passes_gradients(half):
    image = image_of(3, (40, 50))
    for name in ("preset", "rounded last", "as levels"):
        learned = lt.LearnedCompose(pipelines(half)[name])
        frozen, made = learned(image), learned.unfreeze()(image)
        assert made.dtype is half
        # Levels are not rounded, and slopes are those of straight lines.
        assert torch.allclose(made.float(), frozen.float(), rtol=0.03, atol=0.03)
        made.float().square().sum().backward()
        assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in learned.parameters())


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::torch.jit.TracerWarning")
def test_traces_hold_tables_as_constants(half):
    image = image_of(3, (40, 50))
    for transforms in (pipelines(half)["preset"], [v2.RandomInvert(1), v2.ToDtype(half, scale=True)]):
        traced = torch.jit.trace(lt.LearnedCompose(transforms), image)
        agree(traced(image), v2.Compose(transforms)(image))


def test_layers_say_what_they_are(half):
    numbers = torch.rand(1, 256).to(half)
    assert Lookup(numbers).digest() != Lookup(numbers.float()).digest()
    name = str(half).removeprefix("torch.")
    layers = [Normalizing(), Casting(), Normalizing()]
    by = {"mean": MEAN, "std": STD}
    network = Network(layers, [by, {"dtype": name}, {**by, "dtype": name}], "float32")
    image = torch.rand(3, 20, 30)
    normalized = (image - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    expected = v2.functional.normalize(normalized.to(half), MEAN, STD)
    for backend in ("cpu", "reference"):
        agree(network(image, backend), expected)
    assert Form("image", name).half
    assert not Form("mask", name).half
    assert Reference(network.plan((3, 20, 30), torch.device("cpu"))[0]).run(image).equal(expected)
