"""Draws that are written down, played back, made for each image of a batch, or taken from a generator of one's own."""

import json

import pytest
import torch
import torchvision.transforms as v1
from helpers import FORMS, Unknown, noise, values
from torchvision.transforms import InterpolationMode, v2

import learned_transforms as lt
from learned_transforms.errors import InputTypeError, PipelineValueError, UnsupportedTransformError


def pipelines() -> dict[str, list]:
    return {
        "train": [v2.RandomResizedCrop((20, 24)), v2.RandomHorizontalFlip(), v2.RandomGrayscale(0.5)],
        "cifar": [v1.RandomCrop((32, 30), padding=4), v1.RandomHorizontalFlip(), v1.RandomInvert()],
        "inside": [v2.Resize(40), v2.RandomCrop(24), v2.RandomChannelPermutation(), v2.RandomVerticalFlip()],
        "apply": [
            v2.RandomApply([v2.RandomSolarize(99), v2.RandomApply([v2.RandomInvert(), v2.Pad(2)])]),
            v2.Resize(9),
        ],
        "erase": [
            v2.RandomVerticalFlip(),
            v2.RandomErasing(0.7, value=5),
            v2.RandomHorizontalFlip(),
            v2.RandomErasing(),
        ],
        "nearest": [
            v2.Resize(40),
            v2.RandomResizedCrop(24, interpolation=InterpolationMode.NEAREST),
            v2.RandomInvert(),
        ],
        "moco": [
            v2.RandomResizedCrop(24),
            v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.4, 0.1)], 0.8),
            v2.RandomApply([v2.GaussianBlur(5)]),
            v2.RandomPhotometricDistort(),
        ],
        "chosen": [
            v2.RandomChoice([v2.ColorJitter(0.4), v2.RandomApply([v2.RandomInvert()]), v2.Compose([v2.RGB()])]),
            v2.RandomOrder([v2.RandomAutocontrast(), v2.RandomHorizontalFlip(), v2.ColorJitter(0, 0.4)]),
        ],
        "nothing random": [v2.Resize(20), v2.CenterCrop(12)],
    }


@pytest.mark.parametrize("form", ["pil", "uint8", "image", "float32"])
@pytest.mark.parametrize("name", pipelines())
@pytest.mark.filterwarnings("ignore::learned_transforms.errors.FallbackWarning")
def test_params_are_what_a_call_draws(name, form):
    image = FORMS[form](noise(1, (50, 60))[0])
    if form in ("image", "float32") and name in ("cifar", "apply"):
        pytest.skip("torchvision runs part of it, which draws by itself")
    transform = lt.LearnedCompose(pipelines()[name])
    for seed in range(8):
        torch.manual_seed(seed)
        expected, state = transform(image), None
        state = torch.get_rng_state()
        torch.manual_seed(seed)
        params = transform.make_params(image)
        assert torch.get_rng_state().equal(state)
        assert len(params) == len(transform.transforms)
        read = json.loads(json.dumps(params))
        found = transform(image, params=read)
        assert type(found) is type(expected)
        assert values(found).equal(values(expected))
        assert torch.get_rng_state().equal(state), "params leave the random state alone"


JITTERED = {
    "fn_idx": [3, 0, 2, 1],
    "brightness_factor": 0.5,
    "contrast_factor": None,
    "saturation_factor": 1.5,
    "hue_factor": 0.25,
}
CHOSEN = [{"choice": 1, "params": [{"sigma": 1.5}]}, {"order": [1, 0], "params": [None, {}]}]


def colors():
    chosen = v2.RandomChoice([v2.Identity(), v2.GaussianBlur(5)])
    ordered = v2.RandomOrder([v2.RandomVerticalFlip(), v2.RandomInvert()])
    return lt.LearnedCompose([v2.ColorJitter(0.5, 0.5, 0.5, 0.5), chosen, ordered], fallback="error")


def test_params_of_colors_and_containers():
    image = noise(1)[0]
    found = colors()(image, params=[JITTERED, *CHOSEN])
    functional = v2.functional
    expected = functional.adjust_hue(image, 0.25)
    expected = functional.adjust_saturation(functional.adjust_brightness(expected, 0.5), 1.5)
    blurred = functional.gaussian_blur(expected, [5, 5], [1.5, 1.5]).flip(-2)
    assert (found.int() - blurred.int()).abs().max() <= 1
    assert (found != blurred).float().mean() < 1e-3


@pytest.mark.parametrize(
    "wrong",
    [
        [{**JITTERED, "fn_idx": [0, 1, 2, 2]}, *CHOSEN],
        [{**JITTERED, "hue_factor": 0.6}, *CHOSEN],
        [{**JITTERED, "brightness_factor": -0.1}, *CHOSEN],
        [{**JITTERED, "brightness_factor": float("nan")}, *CHOSEN],
        [{**JITTERED, "saturation_factor": "1"}, *CHOSEN],
        [{"fn_idx": [0, 1, 2, 3]}, *CHOSEN],
        [None, *CHOSEN],
        [JITTERED, {"choice": 2, "params": [{}]}, CHOSEN[1]],
        [JITTERED, {"choice": 1, "params": [{"sigma": 0}]}, CHOSEN[1]],
        [JITTERED, {"choice": 1, "params": []}, CHOSEN[1]],
        [JITTERED, CHOSEN[0], {"order": [0, 0], "params": [None, {}]}],
        [JITTERED, CHOSEN[0], {"order": [1, 0], "params": [None, {}, {}]}],
        [JITTERED, CHOSEN[0], [None, {}]],
    ],
)
def test_params_of_colors_that_do_not_fit(wrong):
    with pytest.raises(PipelineValueError, match="Expected params"):
        colors()(noise(1)[0], params=wrong)


def test_what_params_say():
    crop = lt.LearnedCompose([v2.RandomCrop(24, padding=4), v2.RandomHorizontalFlip(1), v2.RandomVerticalFlip(0)])
    params = crop.make_params(noise(1, (24, 24))[0])
    assert params[1:] == [{}, None]
    assert set(params[0]) == {"top", "left", "height", "width"}
    image = noise(1, (24, 24))[0]
    whole = [{"top": 0, "left": 0, "height": 24, "width": 24}, None, {}]
    assert crop(image, params=whole).equal(image.flip(-2))
    shifted = crop(image, params=[{"top": -3, "left": 2, "height": 24, "width": 24}, None, None])
    assert shifted[:, 3:, :-2].equal(image[:, :-3, 2:])
    assert not shifted[:, :3].any()
    permute = lt.LearnedCompose([v2.RandomChannelPermutation()])
    assert permute(image, params=[{"order": [2, 0, 1]}]).equal(image[[2, 0, 1]])


@pytest.mark.parametrize(
    "wrong",
    [
        [],
        [{}],
        [{}, {}],
        "params",
        {"top": 1},
        [{"top": 0, "left": 0, "height": 24}, None, []],
        [{"top": 0.5, "left": 0, "height": 24, "width": 24}, None, []],
        [{"top": 0, "left": 0, "height": 24, "width": 24}, {"p": 1}, []],
        [{"top": 0, "left": 0, "height": 24, "width": 24}, None, {}],
        [{"top": 0, "left": 0, "height": 24, "width": 24}, None, [{}, {}, {}]],
        [{"top": 0, "left": 0, "height": 24, "width": 24}, None, [{}]],
        [{"top": 0, "left": 0, "height": 23, "width": 24}, None, [{}, None]],
    ],
)
def test_params_that_do_not_fit(wrong):
    transforms = [v2.RandomCrop(24), v2.RandomHorizontalFlip(), v2.RandomApply([v2.Pad(1), v2.RandomInvert()])]
    transform = lt.LearnedCompose(transforms)
    with pytest.raises(PipelineValueError, match=r"Expected (params|a list)|window"):
        transform(noise(1)[0], params=wrong)
    resized = lt.LearnedCompose([v2.RandomResizedCrop(24)])
    for window in ((-1, 0, 9, 9), (0, 0, 41, 9), (35, 45, 6, 5), (0, 0, 0, 5)):
        with pytest.raises(PipelineValueError, match="within the image"):
            resized(noise(1)[0], params=[dict(zip(("top", "left", "height", "width"), window, strict=True))])
    with pytest.raises(PipelineValueError, match="params"):
        transform(noise(1)[0], params=transform.make_params(noise(1)[0]), generator=torch.Generator())


@pytest.mark.filterwarnings("ignore::learned_transforms.errors.FallbackWarning")
def test_what_torchvision_draws_cannot_be_written_down():
    transform = lt.LearnedCompose([v2.Resize(20), Unknown(30.0, 1.0)], fallback="torchvision")
    with pytest.raises(UnsupportedTransformError, match="Unknown"):
        transform.make_params(noise(1)[0])
    still = lt.LearnedCompose([v2.Resize(20), v2.ClampBoundingBoxes(), lambda image: image + 1], fallback="torchvision")
    for wrong in ([{}, None, {}], [{}, {"sigma": 1}, {}]):
        with pytest.raises(PipelineValueError, match="ClampBoundingBoxes"):
            still(noise(1)[0], params=wrong)


@pytest.mark.parametrize("name", pipelines())
def test_a_draw_for_each_image_of_a_batch(name):
    batch = noise(5, (50, 60))
    transform = lt.LearnedCompose(pipelines()[name])
    sizes = set()
    for seed in range(6):
        torch.manual_seed(seed)
        one_by_one = [transform(image) for image in batch]
        state = torch.get_rng_state()
        sizes = {image.shape for image in one_by_one}
        torch.manual_seed(seed)
        if len(sizes) > 1:
            with pytest.raises(ValueError, match="one size"):
                transform(batch, per_sample=True)
            continue
        assert transform(batch, per_sample=True).equal(torch.stack(one_by_one))
        assert torch.get_rng_state().equal(state)
    assert sizes


def test_batches_for_per_sample():
    transform = lt.LearnedCompose([v2.RandomHorizontalFlip()])
    for wrong in (noise(1)[0], noise(2)[None], noise(1)[:0], FORMS["pil"](noise(1)[0])):
        with pytest.raises(InputTypeError, match="batch"):
            transform(wrong, per_sample=True)


@pytest.mark.filterwarnings("ignore::learned_transforms.errors.FallbackWarning")
def test_a_generator_of_ones_own():
    image = noise(1, (50, 60))[0]
    transform = lt.LearnedCompose([v2.RandomResizedCrop(20), Unknown(30.0, 1.0), v2.RandomHorizontalFlip()])
    torch.manual_seed(5)
    expected = [transform(image) for _ in range(3)]
    torch.manual_seed(1)
    before = torch.get_rng_state()
    generator = torch.Generator().manual_seed(5)
    assert all(transform(image, generator=generator).equal(one) for one in expected)
    assert torch.get_rng_state().equal(before)
    generator.manual_seed(5)
    batch = torch.stack([image] * 3)
    assert transform(batch, per_sample=True, generator=generator).equal(torch.stack(expected))
    with pytest.raises(TypeError):
        lt.LearnedCompose([v2.Resize(3)])(image, seed=3)


def test_options_reach_a_module_with_hooks():
    transform = lt.LearnedCompose([v2.RandomHorizontalFlip()])
    image = noise(1)[0]
    transform.register_forward_hook(lambda module, inputs, output: None)
    assert transform(image, params=[{}]).equal(image.flip(-1))


def test_windows_of_all_sizes_play_back_on_one_signature():
    """A window of the output's size is cut out at once, another goes to a plan: neither may run the other's."""
    image = noise(1, (60, 60))[0]
    transform = lt.LearnedCompose([v2.RandomResizedCrop(24)])
    larger = transform(image, params=[{"top": 0, "left": 0, "height": 40, "width": 40}])
    assert larger.equal(v2.functional.resized_crop(image, 0, 0, 40, 40, [24, 24]))
    for top, left in ((3, 4), (36, 0)):
        cut = transform(image, params=[{"top": top, "left": left, "height": 24, "width": 24}])
        assert cut.equal(image[:, top : top + 24, left : left + 24])
    assert transform(image, params=[{"top": 0, "left": 0, "height": 40, "width": 40}]).equal(larger)
