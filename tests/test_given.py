"""What the user gave says all: parts erased, matrices, levels of floats, conversions to PIL images."""

import copy
import json
import pickle
import warnings
from typing import Any

import pytest
import torch
import torchvision.transforms as v1
from helpers import FORMS, check_transform, image_of, meant, noise, refusal, same, to_pil, values
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode, v2

import learned_transforms as lt
from learned_transforms.errors import FallbackWarning, PipelineTypeError, PipelineValueError, UnsupportedTransformError

APIS = pytest.mark.parametrize("api", [v1, v2], ids=["v1", "v2"])
FALLBACK = pytest.mark.filterwarnings("ignore::learned_transforms.errors.FallbackWarning")
SIZE = (40, 50)


def fails_alike(transforms: list[Any], image: Any) -> None:
    """Both raise, and ours is of torchvision's type."""
    with pytest.raises((TypeError, ValueError)) as expected:
        check_torchvision(transforms, image)
    torch.manual_seed(0)
    with pytest.raises(expected.type):
        lt.LearnedCompose(transforms)(image)


def check_torchvision(transforms: list[Any], image: Any) -> Any:
    torch.manual_seed(0)
    for transform in transforms:
        image = transform(image)
    return image


@APIS
def test_one_part_is_erased_in_a_whole_batch(api):
    batch = noise(4, SIZE)
    for image in (batch, batch[None], batch[:, :, ::2], batch.contiguous(memory_format=torch.channels_last), batch[:0]):
        for seed in range(6):
            check_transform([api.RandomErasing(0.8, value=9), api.RandomHorizontalFlip()], image, seed=seed)
            check_transform([api.RandomErasing(0.8, value=9)], image.float(), seed=seed, fallback="error")


@APIS
@pytest.mark.parametrize("scale", [(1, 1), (0, 0)])
def test_no_part_is_found_or_none_of_it_is_left(api, scale):
    """A part as large as the image is none; an empty one is written all the same."""
    erase = api.RandomErasing(1, scale=scale, ratio=(1, 1))
    image = noise(1, (30, 30))[0]
    for seed in range(4):
        check_transform([erase, api.RandomHorizontalFlip()], image, seed=seed, fallback="error")
    params = lt.LearnedCompose([erase]).make_params(image)[0]
    assert (params["v"] is None) == (scale == (1, 1))


@APIS
def test_erasing_under_another_default_dtype(api):
    torch.set_default_dtype(torch.float64)
    try:
        for seed in range(6):
            check_transform([api.RandomErasing(0.8, value=3)], noise(1, SIZE)[0], seed=seed, fallback="error")
    finally:
        torch.set_default_dtype(torch.float32)


@APIS
def test_erasing_refuses_numbers_for_other_channels(api):
    fails_alike([api.RandomErasing(1, value=(1, 2))], noise(1, SIZE)[0].float())


def test_params_of_erasing():
    transform = lt.LearnedCompose([v2.RandomErasing(1, value=(1, 2, 3)), v2.RandomHorizontalFlip(1)])
    image = noise(1, SIZE)[0]
    params = json.loads(json.dumps(transform.make_params(image)))
    assert set(params[0]) == set("ijhwv")
    assert params[0]["v"] == [1, 2, 3]
    made = transform(image, params=[{"i": 2, "j": 3, "h": 4, "w": 5, "v": [7]}, None])
    assert (made[:, 2:6, 3:8] == 7).all()
    assert transform(image, params=[None, None]).equal(image)
    assert transform(image, params=[{"i": 0, "j": 0, "h": 40, "w": 50, "v": None}, None]).equal(image)
    for wrong in ((0, 0, 41, 5, [1]), (-1, 0, 4, 5, [1]), (0, 48, 4, 5, [1]), (0, 0, 4, 5, [1, 2])):
        with pytest.raises(PipelineValueError, match=r"within the image|single value"):
            transform(image, params=[dict(zip("ijhwv", wrong, strict=True)), None])
    for broken in ({}, {"i": 0}, {"i": 0, "j": 0, "h": 1, "w": 1, "v": []}, {"i": 0.0, "j": 0, "h": 1, "w": 1, "v": 1}):
        with pytest.raises(PipelineValueError, match="Expected params"):
            transform(image, params=[broken, None])


def test_gradients_pass_an_erased_part():
    image = noise(1, SIZE)[0].float().requires_grad_()
    lt.LearnedCompose([v2.RandomErasing(1)])(image).sum().backward()
    assert set(image.grad.unique().tolist()) == {0, 1}


def whitening(size: tuple[int, int] = (6, 7), dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
    count = 3 * size[0] * size[1]
    generator = torch.Generator().manual_seed(1)
    return tuple(torch.randn(shape, generator=generator, dtype=dtype) for shape in ((count, count), (count,)))


@APIS
@pytest.mark.parametrize("form", ["uint8", "float32", "image"])
def test_linear_transformations(api, form):
    if api is v1 and form == "image":
        pytest.skip("v1 makes plain tensors of tv_tensors")
    image = FORMS[form](noise(1, (6, 7))[0])
    whiten = api.LinearTransformation(*whitening())
    check_transform([whiten], image, "exact", fallback="error")
    learned = lt.LearnedCompose([whiten], fallback="error")
    assert learned(image).equal(whiten(image))
    assert learned(torch.stack([image] * 3)).equal(whiten(torch.stack([image] * 3)))
    check_transform([api.RandomVerticalFlip(1), whiten, api.Normalize([0.5], [0.5])], image, fallback="error")
    fails_alike([whiten], FORMS[form](noise(1, (7, 7))[0]))
    rows = learned.explain("uint8").rows
    assert (rows[0].layer, rows[0].numbers) == ("Projecting", {"matrix": "given", "mean": "given"})


@FALLBACK
def test_matrices_of_another_type_and_images_of_pil_are_torchvisions():
    image = noise(1, (6, 7))[0]
    double = v2.LinearTransformation(*whitening(dtype=torch.float64))
    assert lt.LearnedCompose([double])(image).equal(double(image))
    fails_alike([v2.LinearTransformation(*whitening())], to_pil(image))
    with pytest.raises(UnsupportedTransformError, match="float64"):
        lt.LearnedCompose([double], fallback="error")(image)


def test_matrices_are_saved_and_watched(tmp_path):
    image = noise(1, (6, 7))[0]
    whiten = v2.LinearTransformation(*whitening())
    learned = lt.LearnedCompose([whiten, v2.RandomErasing(0, value=3), v1.RandomErasing(0, value="random")])
    learned.save_pretrained(tmp_path / "a.safetensors")
    restored = lt.LearnedCompose.from_pretrained(tmp_path / "a.safetensors")
    expected = whiten(image)
    assert restored.transforms[0](image).equal(expected)
    assert [t.value for t in restored.transforms[1:]] == [[3], "random"]
    assert lt.LearnedCompose([whiten])(image).equal(expected)
    watched = lt.LearnedCompose([whiten], fallback="error")
    assert watched(image).equal(expected)
    whiten.mean_vector.zero_()
    assert watched(image).equal(whiten(image))
    whiten.mean_vector = torch.ones_like(whiten.mean_vector)
    assert watched(image).equal(whiten(image))
    large = v2.LinearTransformation(torch.eye(1025), torch.zeros(1025))
    with pytest.raises(PipelineTypeError, match="too large"):
        lt.LearnedCompose([large]).save_pretrained(tmp_path / "b.safetensors")


def test_what_torch_alone_runs_keeps_the_rest_native():
    """Floats are solarized in a segment of their own, and what comes before stays one pass."""
    transforms = [v2.Resize(20), v2.ToDtype(torch.float32, scale=True), v2.RandomSolarize(0.5, 1), v2.Resize(30)]
    learned = check_transform(transforms, noise(1, SIZE)[0], "float", fallback="error")
    assert learned.dtype == torch.float32
    pipeline = lt.LearnedCompose(transforms)
    pipeline(noise(1, SIZE)[0])
    assert sorted((start, segment.stop) for (_, start, _), segment in pipeline.segments.items()) == [
        (0, 2),
        (2, 3),
        (3, 4),
    ]


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_floats_within_others_and_out_of_range(backend):
    inner = [v2.RandomSolarize(0.5, 0.5), v2.RandomInvert(0.5), v2.RandomPosterize(4, 0.5)]
    image = torch.randn(3, *SIZE) * 2
    for seed in range(8):
        check_transform([v2.RandomApply(inner, 0.7)], image, seed=seed, fallback="error")
        check_transform([v2.Resize(20), inner[2], inner[1]], image, seed=seed, fallback="error", backend=backend)


def test_copies_pickles_and_gradients():
    transforms = [
        v2.RandomResizedCrop((6, 7), interpolation=InterpolationMode.NEAREST),
        v2.ToDtype(torch.float32, scale=True),
        v2.RandomErasing(1),
        v2.RandomSolarize(0.5, 1),
        v2.RandomInvert(1),
        v2.LinearTransformation(*whitening()),
    ]
    learned = lt.LearnedCompose(transforms, fallback="error")
    image = noise(1, SIZE)[0]
    expected = check_torchvision(transforms, image)
    for made in (learned, copy.deepcopy(learned), pickle.loads(pickle.dumps(learned)), learned.unfreeze()):
        torch.manual_seed(0)
        assert made(image).equal(expected)
    posterize = lt.LearnedCompose([v2.RandomPosterize(4, 1)]).unfreeze()
    with pytest.raises(PipelineValueError, match="gradients"):
        posterize(torch.rand(3, *SIZE))


@APIS
def test_images_become_pil_images(api):
    image = noise(1, SIZE)[0]
    pixels = image.permute(1, 2, 0).contiguous().numpy()
    for given in (image, image[:1], image[:, ::2, ::2], image.float() / 255, torch.rand(3, 9, 8)):
        check_transform([api.ToPILImage(), api.Resize(20), api.RandomHorizontalFlip()], given, fallback="error")
        end = [api.RandomInvert(), v1.ToTensor()] if api is v1 else [api.RandomInvert(), v2.ToImage()]
        check_transform([api.ToPILImage(), *end], given, fallback="error")
    for given in (pixels, pixels[..., :1], pixels[..., 0]):
        found = lt.LearnedCompose([api.ToPILImage(), api.Resize(20)], fallback="error")(given)
        assert values(found).equal(values(api.Resize(20)(api.ToPILImage()(given))))


@FALLBACK
@APIS
def test_images_that_torchvision_makes_pil_images_of(api):
    for given in (noise(1, SIZE)[0].repeat(2, 1, 1)[:4], noise(1, SIZE)[0][:2], noise(1, SIZE)[0].repeat(2, 1, 1)):
        if len(given) > 4:
            fails_alike([api.ToPILImage()], given)
            continue
        check_transform([api.ToPILImage(), api.Resize(20)], given)
        check_transform([api.RandomVerticalFlip(1), api.ToPILImage("RGBA" if len(given) == 4 else "LA")], given)
    check_transform([api.ToPILImage("YCbCr")], noise(1, SIZE)[0])
    fails_alike([api.ToPILImage()], noise(2, SIZE))
    fails_alike([api.ToPILImage("L")], noise(1, SIZE)[0])
    if api is v1:
        fails_alike([api.ToPILImage()], to_pil(noise(1, SIZE)[0]))
    else:
        check_transform([api.ToPILImage()], to_pil(noise(1, SIZE)[0]), fallback="error")


def test_samples_are_erased_as_v2_does():
    sample = {
        "image": tv_tensors.Image(noise(1, SIZE)[0]),
        "video": tv_tensors.Video(noise(2, SIZE)),
        "mask": tv_tensors.Mask(torch.zeros(1, 9, 9)),
        "label": 3,
    }
    transforms = [v2.RandomHorizontalFlip(), v2.RandomErasing(0.7, value=8), v2.RandomVerticalFlip()]
    learned = lt.LearnedCompose(transforms, fallback="error")
    for seed in range(8):
        torch.manual_seed(seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = v2.Compose(transforms)(sample)
            state = torch.get_rng_state()
            torch.manual_seed(seed)
            found = learned(sample)
        assert torch.get_rng_state().equal(state)
        assert all(type(found[key]) is type(expected[key]) for key in sample)
        assert all(torch.as_tensor(found[key]).equal(torch.as_tensor(expected[key])) for key in sample)
    sizes = [tv_tensors.Image(noise(1, SIZE)[0]), tv_tensors.Image(noise(1, (30, 31))[0])]
    with pytest.raises(ValueError, match="multiple"):
        lt.LearnedCompose([v2.RandomErasing(1)])(sizes)
    assert lt.LearnedCompose([v2.RandomErasing(0)])(sizes)[1].equal(sizes[1])


@pytest.mark.parametrize("form", ["pil", "uint8", "float32", "image"])
def test_nearest_neighbors_of_parts_of_batches_and_samples(form):
    crop = v2.RandomResizedCrop((16, 20), interpolation=InterpolationMode.NEAREST)
    end = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.5], [0.5])]
    with warnings.catch_warnings():
        warnings.simplefilter("error", FallbackWarning)
        for seed in range(6):
            image = FORMS[form](noise(1, SIZE)[0])
            check_transform([v2.Resize(60), crop, v2.RandomHorizontalFlip(), *end], image, seed=seed)
            if form != "pil":
                check_transform([crop, v2.RandomCrop(12, padding=2)], torch.stack([image] * 3), seed=seed)
            check_transform([crop, v2.RandomHorizontalFlip(), v2.Pad(2)], image, seed=seed, backend="reference")


def test_nearest_neighbors_of_parts_need_one_plan():
    pipeline = lt.LearnedCompose([v2.RandomResizedCrop(16, interpolation=InterpolationMode.NEAREST)])
    image = noise(1, SIZE)[0]
    for _ in range(20):
        pipeline(image)
    (segment,) = pipeline.segments.values()
    assert len(segment.network.plans) == 1


@pytest.mark.parametrize("form", ["pil", "uint8", "float32", "image"])
@APIS
def test_crops_that_take_one_axis_whole_or_both(api, form):
    """v1 draws both numbers unless both axes are whole, v2 only those that can differ."""
    if api is v1 and form == "image":
        pytest.skip("v1 makes plain tensors of them")
    for size in ((40, 20), (12, 50), SIZE, (40, 51)):
        for options in ({}, {"padding": 3}, {"padding": (0, 1, 0, 0)}, {"pad_if_needed": True}):
            same([api.RandomCrop(size, **options)], FORMS[form](noise(1, SIZE)[0]), "exact", 3, fallback="error")


@FALLBACK
@pytest.mark.parametrize("form", ["pil", "uint8", "float32"])
@pytest.mark.parametrize("mode", ["constant", "edge", "reflect", "symmetric"])
@APIS
def test_crops_that_pad_up_to_three_times(api, mode, form):
    """v1 mirrors what it mirrored before; on tensors, no padding may be longer than what it mirrors."""
    image = FORMS[form](noise(1, (12, 15))[0])
    for size in (20, (12, 20), (26, 15), (40, 40)):
        for padding in (None, 0, 2, (1, 2, 3, 4), (0, 0, 30, 0), (0, 13, 0, 0)):
            for needed in (False, True):
                crop = api.RandomCrop(size, padding, needed, padding_mode=mode)
                same([crop, api.RandomVerticalFlip()], image, "exact", 2)


@FALLBACK
@pytest.mark.parametrize("inplace", [False, True])
@APIS
def test_channels_that_numbers_do_not_fit(api, inplace):
    """v2 repeats one channel for several means, v1 and what is in place do not."""
    lengths = [[0.5], [0.1, 0.2], [0.1, 0.2, 0.3], [0.1, 0.2, 0.3, 0.4]]
    for channels in (1, 2, 3, 4):
        for mean in lengths:
            for std in lengths:
                normalize = api.Normalize(mean, std, inplace)
                for image in (image_of(channels, (5, 6)).float() / 255, torch.rand(2, channels, 5, 6)):
                    # A copy, since both would change the one.
                    same([v1.Lambda(torch.clone), normalize], image, "exact")
                    refused = refusal([normalize], image.clone(), 0)
                    if refused is not None:
                        with pytest.raises(type(refused)) as found:
                            lt.LearnedCompose([normalize])(image.clone())
                        assert meant(found.value, refused)


@FALLBACK
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@APIS
def test_colors_of_any_number_of_channels(api, channels):
    names = ("RandomInvert", "RandomGrayscale", "RandomAutocontrast", "RandomEqualize")
    transforms = [getattr(api, name)(p) for name in names for p in (0, 1)]
    transforms += [api.RandomPosterize(3, 1), api.RandomSolarize(0.5, 1), api.RandomAdjustSharpness(2, 1)]
    transforms += [api.Grayscale(3), api.ColorJitter(0.4), *([v2.RGB()] if api is v2 else [])]
    for transform in transforms:
        for image in (image_of(channels, (9, 8)), image_of(channels, (9, 8)).float() / 255):
            same([transform], image, "exact")


@FALLBACK
@APIS
def test_arguments_that_are_refused_where_chance_applies_them(api):
    for transform in (api.RandomSolarize(256, 0.5), api.RandomPosterize(0, 0.5), api.RandomPosterize(9, 0.5)):
        for form in FORMS:
            same([transform], FORMS[form](noise(1, (9, 8))[0]), "exact", 4)


@pytest.mark.parametrize("p", [0.5, 1])
@pytest.mark.parametrize("number", [torch.nan, torch.inf])
def test_posterized_floats_that_are_no_numbers(p, number):
    image = torch.rand(3, 9, 8)
    image[0, 2:4, 3], image[1, 1, 1], image[2, 2, 2] = number, torch.inf, -torch.inf
    for bits in (0, 1, 4, 8):
        posterize = v2.RandomPosterize(bits, p)
        for transforms in ([posterize], [v2.RandomHorizontalFlip(), v2.RandomApply([posterize, v2.RandomInvert(1)])]):
            learned = lt.LearnedCompose(transforms, fallback="error")
            for seed in range(6):
                torch.manual_seed(seed)
                expected = v2.Compose(transforms)(image)
                torch.manual_seed(seed)
                torch.testing.assert_close(learned(image), expected, rtol=0, atol=1e-6, equal_nan=True)


@FALLBACK
def test_v1_takes_one_batch_dimension_at_most():
    image = noise(2, SIZE)[None]
    same([v1.Resize(9)], image, "exact")
    same([v1.RandomResizedCrop(9)], image, "exact")
    same([v1.GaussianBlur(3)], image, "exact")
    same([v1.RandomAdjustSharpness(2, 1)], image, "exact")
    same([v1.RandomEqualize(1)], image, "exact")
    for mode in ("constant", "edge", "reflect", "symmetric"):
        same([v1.Pad(2, padding_mode=mode)], image, "exact")
        same([v1.RandomCrop(9, 2, padding_mode=mode)], image, "exact")
