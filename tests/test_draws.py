"""Draws in torchvision's order and number, and the transforms that crop and normalize."""

import copy
import pickle

import pytest
import torch
import torchvision.transforms as v1
from helpers import FORMS, check_transform, compare, to_pil
from torchvision.transforms import v2

import learned_transforms as lt
from learned_transforms.transforms import resize, rng, sampler

KEYS = ("top", "left", "height", "width")


def random_image(*shape: int) -> torch.Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("count", [1, 2, 15, 20])
def test_drawing_together_is_drawing_one_by_one(count, dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        for seed in range(5):
            torch.manual_seed(seed)
            one_by_one = [torch.rand(1).item() for _ in range(count)]
            state = torch.get_rng_state()
            torch.manual_seed(seed)
            assert rng.draw(count) == one_by_one
            assert torch.get_rng_state().equal(state)
    finally:
        torch.set_default_dtype(before)


def test_drawing_in_inference_mode_first():
    rng.BUFFERS.kept.clear()
    with torch.inference_mode():
        rng.draw(3)
    assert len(rng.draw(3)) == 3


@pytest.mark.parametrize("p", [0.0, 0.1, 0.3, 0.5, 0.7, 1.0])
def test_coins_fall_as_torchvisions(p, monkeypatch):
    """Also where the number that is drawn is the probability, rounded to float32."""
    for value in (0.0, p, float(torch.tensor(p)), 1 - 2**-24):
        drawn = torch.tensor([value])
        monkeypatch.setattr(rng, "draw", lambda count, drawn=drawn: drawn.tolist())
        assert rng.toss([rng.round_float32(p)]) == (bool(drawn < p),)


@pytest.mark.parametrize("form", ["pil", "uint8", "float32", "image"])
@pytest.mark.parametrize("api", [v1, v2])
def test_crops(form, api):
    if api is v1 and form == "image":
        pytest.skip("v1 makes plain tensors of tv_tensors")
    image = random_image(3, 37, 46)
    for seed in range(8):
        torch.manual_seed(seed)
        check_transform([api.CenterCrop((20, 31)), api.RandomVerticalFlip()], FORMS[form](image), fallback="error")
        check_transform([api.CenterCrop((50, 31))], FORMS[form](image), fallback="error")
        check_transform([api.CenterCrop(47)], FORMS[form](image), fallback="error")
        crop = api.RandomResizedCrop((20, 31), antialias=True)
        check_transform([crop, api.RandomHorizontalFlip()], FORMS[form](image), fallback="error")
        check_transform([api.Resize(40, antialias=True), crop], FORMS[form](image), fallback="error")


def test_a_random_crop_of_the_size_of_its_output_is_not_resized():
    """The window is the whole image, of the size that is asked for."""
    crop = v2.RandomResizedCrop((24, 24), scale=(1, 1), ratio=(1, 1))
    image = random_image(3, 24, 24)
    transform = lt.LearnedCompose([crop])
    assert transform(image).equal(image)
    assert transform(random_image(3, 30, 30)).shape == (3, 24, 24)


@pytest.mark.parametrize("form", ["pil", "uint8", "float32"])
def test_a_part_of_the_size_of_the_output_is_not_resized(form, monkeypatch):
    monkeypatch.setattr(resize.RandomResizedCrop, "window", lambda *_: (3, 4, 24, 20))
    monkeypatch.setattr(sampler.Sampler, "__call__", lambda *_: None)
    image = FORMS[form](random_image(3, 30, 31))
    part = v2.functional.crop(image, 3, 4, 24, 20)
    end = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.5] * 3, [0.2] * 3)]
    for transforms in (
        [v2.RandomResizedCrop((24, 20)), v2.RandomHorizontalFlip(), *end],
        [v2.RandomResizedCrop((24, 20))],
    ):
        torch.manual_seed(7)
        expected = v2.Compose([v2.Identity(), *transforms[1:]])(part)
        torch.manual_seed(7)
        compare(lt.LearnedCompose(transforms, fallback="error")(image), expected, "exact")


@pytest.mark.parametrize("form", ["pil", "uint8", "float32"])
def test_windows_that_are_resized_and_windows_that_are_not_take_turns(form, monkeypatch):
    """Under equal outcomes otherwise, on images of one signature."""
    windows = [(3, 4, 24, 20), (0, 1, 9, 30), (3, 4, 24, 20), (1, 0, 24, 20), (2, 2, 12, 10)]
    turns = iter(windows * 2)
    monkeypatch.setattr(resize.RandomResizedCrop, "window", lambda *_: next(turns))
    monkeypatch.setattr(sampler.Sampler, "__call__", lambda *_: None)
    image = FORMS[form](random_image(3, 30, 31))
    learned = lt.LearnedCompose([v2.RandomResizedCrop((24, 20), antialias=True), v2.ToImage()], fallback="error")
    for window in windows * 2:
        expected = v2.functional.to_image(v2.functional.resized_crop(image, *window, [24, 20], antialias=True))
        compare(learned.forward(image), expected, "exact")  # Native code would draw by itself.


def test_random_crops_of_batches_and_arrays():
    batch = random_image(4, 3, 40, 50)
    transforms = [v2.RandomResizedCrop(16), v2.RandomHorizontalFlip()]
    check_transform(transforms, batch, fallback="error")
    transform = lt.LearnedCompose(transforms)
    torch.manual_seed(3)
    expected = transform(batch[0])
    torch.manual_seed(3)
    assert torch.from_numpy(transform(batch[0].permute(1, 2, 0).numpy())).equal(expected.permute(1, 2, 0))


@pytest.mark.parametrize("api", [v1, v2])
def test_normalize(api):
    image = random_image(3, 9, 13).float() / 255
    check_transform([api.Normalize((0.4, 0.5, 0.6), (0.1, 0.2, 0.3))], image, fallback="error")
    check_transform([api.Normalize([0.4], [0.1])], image, fallback="error")
    check_transform([api.Normalize([0.4], [0.1])], image[:1], fallback="error")
    check_transform(
        [api.Normalize([0.4, 0.5, 0.6], [0.1])] if api is v2 else [api.Normalize([0.4] * 3, [0.1] * 3)], image
    )
    check_transform([api.Normalize([0.4, 0.5, 0.6], [0.1, 0.2, 0.3])], image.expand(2, 5, 3, 9, 13), fallback="error")
    if api is v2:
        check_transform([api.Normalize([0.4, 0.5, 0.6], [0.1])], image, fallback="error")
        check_transform([api.Normalize([0.4, 0.5, 0.6], [0.1, 0.2, 0.3])], image[:1], fallback="error")


@pytest.mark.parametrize("api", [v1, v2])
@pytest.mark.filterwarnings("ignore::learned_transforms.errors.FallbackWarning")
def test_normalize_raises_what_torchvision_raises(api):
    image = random_image(3, 9, 13)
    for transforms, given in (
        ([api.Normalize([0.5] * 3, [0.5] * 3)], image),
        ([api.Normalize([0.5] * 3, [0.5] * 3)], to_pil(image)),
        ([api.Normalize([0.5] * 3, [0.5, 0, 0.5])], image.float()),
    ):
        with pytest.raises((TypeError, ValueError)) as expected:
            (v1 if api is v1 else v2).Compose(transforms)(given)
        with pytest.raises(expected.type):
            lt.LearnedCompose(transforms)(given)
    with pytest.raises(TypeError, match="channel"):
        lt.LearnedCompose([api.Normalize([0.5] * 3, [0.5] * 3)])(image[:2].float())


def test_arguments_that_change_in_place_are_seen():
    resize = v2.Resize([20, 20])
    transform = lt.LearnedCompose([resize, v2.RandomHorizontalFlip(0)])
    image = random_image(3, 40, 40)
    assert transform(image).shape == (3, 20, 20)
    resize.size[0] = 10
    assert transform(image).shape == (3, 10, 20)
    transform.transforms[1].p = 1
    assert transform(image).equal(v2.functional.hflip(lt.LearnedCompose([resize])(image)))
    transform.transforms[1] = v2.RandomVerticalFlip(1)
    assert transform(image).equal(v2.functional.vflip(lt.LearnedCompose([resize])(image)))


def test_gradients_of_an_image_still_pass():
    transform = lt.LearnedCompose([v2.Resize((5, 6)), v2.Normalize([0.5] * 3, [0.5] * 3)])
    image = torch.rand(3, 9, 8)
    plain = transform(image)
    image.requires_grad_()
    found = transform(image)
    assert torch.allclose(found, plain, atol=1e-6)
    found.sum().backward()
    assert image.grad.abs().sum() > 0
    assert transform(image.detach()).grad_fn is None


def test_hooks_copies_and_pickles():
    transform = lt.LearnedCompose([v2.Resize((5, 6))])
    image = random_image(3, 9, 8)
    expected = transform(image)
    seen = []
    handle = transform.register_forward_hook(lambda module, inputs, output: seen.append(output))
    transform(image)
    handle.remove()
    transform(image)
    assert len(seen) == 1
    assert copy.deepcopy(transform)(image).equal(expected)
    assert pickle.loads(pickle.dumps(transform))(image).equal(expected)
