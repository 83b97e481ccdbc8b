"""LearnedCompose against torchvision: pixels, types, random state, errors, and the contract of an nn.Module."""

import copy

import numpy as np
import pytest
import torch
import torchvision.transforms as v1
from helpers import FORMS, check_transform, seed_v1, seed_v2, to_pil
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision import tv_tensors
from torchvision.transforms import v2

import learned_transforms as lt
from learned_transforms.errors import FallbackWarning, PipelineTypeError, PipelineValueError, WeightsError

SHAPES = [(3, 32, 32), (3, 33, 47), (3, 200, 9), (3, 9, 200), (1, 31, 64), (3, 28, 28)]


def random_image(shape):
    return torch.randint(0, 256, shape, dtype=torch.uint8)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("end", [False, True])
def test_seed_v2(shape, form, end):
    check_transform(seed_v2(end=end), FORMS[form](random_image(shape)))


@pytest.mark.parametrize("shape", SHAPES)
def test_seed_v2_from_pil_to_tensor(shape):
    ends = [
        [v2.ToImage(), v2.ToDtype(torch.float32, scale=True)],
        [v2.PILToTensor(), v2.ToPureTensor()],
        [v1.ToTensor()],
    ]
    for end in ends:
        check_transform([*seed_v2(end=False), *end], to_pil(random_image(shape)))


@pytest.mark.parametrize("shape", SHAPES)
def test_seed_v1(shape):
    image = random_image(shape)
    check_transform([*seed_v1(), v1.ToTensor()], to_pil(image))
    check_transform(seed_v1(), to_pil(image))
    check_transform([*seed_v1(), v1.PILToTensor(), v1.ConvertImageDtype(torch.float32)], to_pil(image))
    check_transform([*seed_v1(), v1.ConvertImageDtype(torch.float32)], image)
    check_transform(seed_v1(), image.float() / 255)


@pytest.mark.parametrize("pattern", ["zeros", "full", "checkerboard", "saturated"])
@pytest.mark.parametrize("form", ["pil", "uint8", "float32"])
def test_extremes(pattern, form):
    odd = (torch.arange(35)[:, None] + torch.arange(41)) % 2
    made = {
        "zeros": torch.zeros(3, 35, 41),
        "full": torch.full((3, 35, 41), 255.0),
        "checkerboard": odd.expand(3, -1, -1) * 255.0,
        "saturated": torch.randint(0, 2, (3, 35, 41)) * 255.0,
    }[pattern]
    check_transform(seed_v2((28, 30)), FORMS[form](made.to(torch.uint8)))


@given(
    size=st.one_of(st.tuples(st.integers(2, 70), st.integers(2, 70)), st.integers(2, 60)),
    shape=st.tuples(st.sampled_from([1, 3]), st.integers(8, 80), st.integers(8, 80)),
    form=st.sampled_from(list(FORMS)),
    flips=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    copies=st.sampled_from([1, 3]),
)
@settings(max_examples=120, deadline=None)
def test_any_size_and_any_coin(size, shape, form, flips, copies):
    transforms = [
        v2.RandomVerticalFlip(flips[0]),
        v2.Resize(size),
        v2.RandomHorizontalFlip(flips[1]),
        v2.Grayscale(copies),
    ]
    check_transform(transforms, FORMS[form](random_image(shape)))


def test_max_size_and_whole_photos(photos):
    for photo in photos.values():
        for form in ("pil", "uint8"):
            check_transform([v2.Resize(200, max_size=260)], FORMS[form](photo))
            check_transform([v2.Resize((224, 300))], FORMS[form](photo))
        check_transform([v1.Resize([100])], to_pil(photo))


@pytest.mark.parametrize("lead", [(0,), (1,), (5,), (2, 3), (0, 4)])
@pytest.mark.parametrize("form", ["uint8", "float32", "image"])
def test_batches(lead, form):
    check_transform(seed_v2(), FORMS[form](random_image((*lead, 3, 32, 32))))


def test_memory_layouts():
    batch = random_image((4, 3, 40, 33))
    for view in (
        batch.to(memory_format=torch.channels_last),
        batch[..., ::2, 1::3],
        batch.flip(-1),
        batch.transpose(-1, -2),
    ):
        check_transform(seed_v2(), view)
    expanded = batch[:1].expand(4, -1, -1, -1)
    check_transform(seed_v2(), expanded)


def test_floats_outside_the_range_and_nan():
    image = torch.randn(3, 40, 40) * 50
    scale = image.abs().max()
    found, expected = lt.LearnedCompose(seed_v2())(image), v2.Compose(seed_v2())(image)
    assert (found - expected).abs().max() <= 1e-6 * scale
    image[1, 20, 20] = float("nan")
    found, expected = lt.LearnedCompose(seed_v2())(image), v2.Compose(seed_v2())(image)
    assert found.isnan().equal(expected.isnan())


def test_arrays_use_tensor_arithmetic_and_come_back_as_arrays():
    image = random_image((3, 40, 36))
    array = image.permute(1, 2, 0).numpy()
    expected = v2.Compose(seed_v2(end=False))(image)
    found = lt.LearnedCompose(seed_v2(end=False))(array)
    assert isinstance(found, np.ndarray)
    assert found.shape == (28, 28, 1)
    assert torch.from_numpy(found).permute(2, 0, 1).equal(expected)
    floats = lt.LearnedCompose(seed_v2())(array)
    assert floats.dtype == np.float32
    for view in (array[::-1], array[:, ::-1], np.asfortranarray(array)):
        expected = v2.Compose(seed_v2(end=False))(torch.from_numpy(view.copy()).permute(2, 0, 1))
        assert torch.from_numpy(lt.LearnedCompose(seed_v2(end=False))(view)).permute(2, 0, 1).equal(expected)
    read_only = array.copy()
    read_only.flags.writeable = False
    assert np.array_equal(lt.LearnedCompose(seed_v2(end=False))(read_only), found)
    converted = lt.LearnedCompose([*seed_v2(end=False), v2.ToImage()])(array)
    assert isinstance(converted, tv_tensors.Image)
    assert isinstance(lt.LearnedCompose([v1.ToTensor()])(array), torch.Tensor)


def test_compose_of_torchvision_is_taken():
    image = random_image((3, 32, 32))
    for compose in (v2.Compose(seed_v2()), v1.Compose([*seed_v1(), v1.ConvertImageDtype(torch.float32)])):
        learned = lt.LearnedCompose(compose)
        assert (learned(image) - compose(image)).abs().max() <= 1 / 255 + 1e-6
        assert learned.transforms == compose.transforms


def test_pretrained_is_the_seed(photos):
    learned = lt.LearnedCompose.from_pretrained("cifar10_gray28", fallback="error")
    assert "cifar10_gray28" in lt.list_pretrained()
    for photo in photos.values():
        assert learned(photo).equal(v2.Compose(seed_v2())(photo))
    assert [type(t).__name__ for t in learned.transforms if not isinstance(t, v2.PILToTensor)] == [
        type(t).__name__ for t in seed_v2()
    ]


def test_random_state_after_coins_between_zero_and_one():
    for p in (0.0, 0.3, 0.5, 1.0):
        for api in (v1, v2):
            transforms = [api.RandomHorizontalFlip(p), api.Resize((20, 21)), api.RandomVerticalFlip(p)]
            for _ in range(5):
                check_transform(transforms, to_pil(random_image((3, 24, 30))))


def test_explain_marks_every_number():
    explanation = lt.LearnedCompose(seed_v2()).explain()
    assert {row.kind for row in explanation.rows} == {"pil", "uint8", "float32"}
    row = next(r for r in explanation.rows if r.kind == "uint8" and r.layer == "Resampling")
    assert row.numbers == {
        "kernel": "learned",
        "shift": "learned",
        "arithmetic": "selected",
        "size": "given",
        "max_size": "given",
    }
    assert row.tier.split()[0] == "exact"
    tiers = {r.transform.split("(")[0]: r.tier.split()[0] for r in explanation.rows if r.kind == "uint8"}
    assert tiers["Grayscale"] == tiers["ToDtype"] == "proved"
    assert "learned" in str(explanation)
    with pytest.raises(PipelineValueError):
        lt.LearnedCompose(seed_v2()).explain("numpy")


def test_certify_measures_and_sees_damage():
    images = [random_image((3, 32 + i, 32)) for i in range(10)]
    learned = lt.LearnedCompose(seed_v2())
    certificate = learned.certify(images)
    assert (certificate.tier, certificate.images, certificate.bound) == ("exact", 10, 0.3)
    for name in ("uint8/gray.weight", "uint8/resize_bilinear.kernel", "uint8/to_float.values"):
        damaged = copy.deepcopy(learned)
        with torch.no_grad():
            key, _, number = name.partition(".")
            weight = damaged.layers[key].get_parameter(number).view(-1)
            weight[len(weight) // 2] += 0.05
        damaged.relower()
        assert damaged.certify(images).differing > 0, name


def test_save_and_load(tmp_path):
    learned = lt.LearnedCompose(
        [v1.Resize(20, max_size=40), v1.RandomHorizontalFlip(0.3), v1.Grayscale(3), v1.ToTensor()]
    )
    path = tmp_path / "mine.safetensors"
    learned.save_pretrained(path)
    loaded = lt.LearnedCompose.from_pretrained(path)
    assert [str(t) for t in loaded.transforms] == [str(t) for t in learned.transforms]
    image = to_pil(random_image((3, 32, 50)))
    torch.manual_seed(1)
    expected = learned(image)
    torch.manual_seed(1)
    assert loaded(image).equal(expected)
    with pytest.raises(PipelineTypeError, match="cannot be saved"):
        lt.LearnedCompose([lambda x: x], fallback="torchvision").save_pretrained(tmp_path / "no.safetensors")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mine.safetensors"]
    with pytest.raises(WeightsError, match=r"Known names: .*cifar10_gray28"):
        lt.LearnedCompose.from_pretrained("cifar11")


def test_arrays_stop_being_arrays_where_the_pipeline_converts():
    array = random_image((3, 20, 24)).permute(1, 2, 0).numpy()
    found = lt.LearnedCompose([v1.ToTensor(), v1.Normalize([0.5] * 3, [0.5] * 3)])(array)
    assert found.equal(v1.Compose([v1.ToTensor(), v1.Normalize([0.5] * 3, [0.5] * 3)])(array))
    floats = lt.LearnedCompose([v2.ToDtype(torch.float64, scale=True)], fallback="error")(array)
    assert (floats.shape, floats.dtype) == ((20, 24, 3), np.float64)
    shared = lt.LearnedCompose([v2.ToImage()])(array)
    shared.zero_()
    assert array.any()


def test_transforms_may_change_after_construction():
    image = random_image((3, 40, 40))
    learned = lt.LearnedCompose([v2.Resize((20, 20)), v2.RandomHorizontalFlip(1), v2.Grayscale(1)])
    for change in (
        lambda ts: setattr(ts[0], "size", [10, 11]),
        lambda ts: setattr(ts[2], "num_output_channels", 3),
        lambda ts: setattr(ts[1], "p", 0),
        lambda ts: ts.__setitem__(0, v2.Resize(17)),
        lambda ts: ts.pop(),
        lambda ts: ts.append(v2.RandomVerticalFlip(1)),
    ):
        learned(image)
        change(learned.transforms)
        assert learned(image).equal(v2.Compose(learned.transforms)(image))


def test_a_subclass_is_not_taken_for_its_parent():
    class Half(v2.Resize):
        def transform(self, inpt, params):
            return inpt[..., ::2, ::2]

    with pytest.warns(FallbackWarning, match="Half"):
        check_transform([Half((9, 9))], random_image((3, 20, 20)))


def test_no_output_shares_memory_that_torchvision_would_copy():
    image = torch.rand(1, 20, 20)
    for api in (v1, v2):
        found = lt.LearnedCompose([api.Grayscale(1)])(image)
        assert found.equal(image)
        assert found.data_ptr() != image.data_ptr()


def test_v1_on_tv_tensors_gives_plain_tensors():
    with pytest.warns(FallbackWarning, match="tv_tensors"):
        check_transform([v1.Resize((20, 20)), v1.Grayscale(1)], tv_tensors.Image(random_image((3, 30, 30))))


def test_pil_info_survives():
    image = to_pil(random_image((3, 30, 30)))
    image.info["dpi"] = (300, 300)
    assert lt.LearnedCompose([v2.Resize((20, 20))])(image).info == image.info


def test_default_dtype_is_heeded():
    torch.set_default_dtype(torch.float64)
    try:
        with pytest.warns(FallbackWarning, match="default dtype"):
            check_transform([v2.Resize((20, 20)), v1.ToTensor()], to_pil(random_image((3, 30, 30))))
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("backend", ["auto", "reference"])
@pytest.mark.parametrize(
    "transforms",
    [
        [v2.Resize((20, 20)), v2.CenterCrop(18)],
        [v2.Normalize([0.5] * 3, [0.2] * 3)],
        [v2.Grayscale(), v2.GaussianBlur(3)],
        [v2.Resize((9, 14), antialias=False)],
        [v2.Resize((9, 14), v2.InterpolationMode.BICUBIC)],
        [v2.Resize((9, 14), v2.InterpolationMode.NEAREST)],
        [v2.Pad(3, padding_mode="reflect"), v2.RandomCrop(20), v2.RandomHorizontalFlip(1)],
        [v2.RandomResizedCrop(14), v2.ColorJitter(0.4, 0.4, 0.4, 0.1)],
        [v2.RandomAdjustSharpness(2, p=1), v2.RandomAutocontrast(p=1)],
    ],
)
def test_inference_mode_leaves_gradients_possible(transforms, backend):
    """What is kept of the first call must not be of inference mode: the reference, too, goes on with gradients."""
    learned = lt.LearnedCompose(transforms, backend=backend)
    image = torch.rand(3, 30, 30)
    with torch.inference_mode():
        learned(image)
    image.requires_grad_()
    learned(image).sum().backward()
    assert image.grad.abs().sum() > 0


def test_certify_takes_arrays():
    arrays = [random_image((3, 30, 31)).permute(1, 2, 0).numpy() for _ in range(3)]
    assert lt.LearnedCompose(seed_v2(end=False)[:3]).certify(arrays).tier == "exact"


def test_where_torch_itself_goes_wrong():
    """Of one-pixel-wide floats torch repeats the first row, and so do we; it fails on tiny uint8 outputs."""
    for size in ((5, 1), 1):
        column = torch.rand(3, 9, 2)
        expected = v2.Compose([v2.Resize(size)])(column)
        assert lt.LearnedCompose([v2.Resize(size)], fallback="torchvision")(column).equal(expected)
    white = torch.full((3, 5, 3), 255, dtype=torch.uint8)
    assert lt.LearnedCompose([v2.Resize((1, 1))])(white).flatten().tolist() == [255] * 3
