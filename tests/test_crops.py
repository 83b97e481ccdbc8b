"""FiveCrop and TenCrop: several images of one, and what follows them, against torchvision."""

import copy
import json
import pickle
import warnings
from typing import Any

import numpy as np
import pytest
import torch
import torchvision.transforms as v1
from helpers import FORMS, check_transform, noise, same, seeded, to_pil, values
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

import learned_transforms as lt
from learned_transforms.errors import InputShapeError, InputTypeError, PipelineValueError, UnsupportedTransformError

FALLBACK = pytest.mark.filterwarnings("ignore::learned_transforms.errors.FallbackWarning")
FLOAT = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize((0.4, 0.5, 0.6), (0.2, 0.3, 0.25))]
SIZE = (40, 50)

with warnings.catch_warnings():  # It is deprecated, and used all the same.
    warnings.simplefilter("ignore")
    TO_TENSOR = v2.ToTensor()

FOLLOWING: dict[str, list[Any]] = {
    "floats": FLOAT,
    "flips": [v2.RandomHorizontalFlip(), v2.RandomVerticalFlip(), v2.RandomGrayscale(0.5)],
    "windows": [v2.RandomCrop(18), v2.RandomResizedCrop((12, 14)), v2.RandomHorizontalFlip(), *FLOAT],
    "colors": [v2.RandomInvert(), v2.ColorJitter(0.4, 0.4, 0.4), v2.RandomPhotometricDistort()],
    "containers": [v2.RandomApply([v2.Pad(2), v2.RandomInvert()]), v2.RandomOrder([v2.Resize(30), v2.Grayscale(3)])],
    "crops": [v2.Resize(30), v2.TenCrop(17), v2.RandomVerticalFlip(), v2.FiveCrop(9), *FLOAT],
    "pure": [v2.ToImage(), v2.ToPureTensor(), v2.RandomHorizontalFlip(0.6)],
    "tensors": [TO_TENSOR, v2.RandomHorizontalFlip(0.6), v2.RandomInvert(0.7)],
    "erased tensors": [TO_TENSOR, v2.RandomErasing(0.7, value=3), v2.RandomGrayscale(0.5)],
    "pictures": [v2.ToImage(), v2.ToPILImage(), v2.RandomPosterize(3, 0.7)],
}


@FALLBACK
@pytest.mark.parametrize("form", ["pil", "uint8", "float32", "image"])
@pytest.mark.parametrize("name", FOLLOWING)
def test_what_follows_takes_them_all_under_one_draw(name, form):
    """Of plain tensors v2 takes the first alone, of several images too."""
    image = FORMS[form](noise(1, SIZE)[0])
    for crop in (v2.FiveCrop((20, 24)), v2.TenCrop(20), v2.TenCrop((21, 24), vertical_flip=True)):
        for seed in range(3):
            # v2.ToTensor leaves tensors to torchvision.
            fallback = "error" if form == "pil" or "tensors" not in name else "torchvision"
            check_transform([v2.RandomResizedCrop(33), crop, *FOLLOWING[name]], image, seed=seed, fallback=fallback)


def stack(crops: Any) -> Tensor:
    return torch.stack([v2.functional.to_image(crop) for crop in crops])


@FALLBACK
@pytest.mark.parametrize("form", ["pil", "uint8", "float32"])
@pytest.mark.parametrize("api", [v1, v2], ids=["v1", "v2"])
def test_a_function_makes_a_batch_of_them(api, form):
    image = FORMS[form](noise(1, SIZE)[0])
    for crop, count in ((api.FiveCrop((20, 16)), 5), (api.TenCrop(20), 10)):
        for function in (stack, v1.Lambda(stack)):
            transforms = [api.Resize(30), crop, function, api.RandomHorizontalFlip(1)]
            assert len(check_transform(transforms, image)) == count
        rows = lt.LearnedCompose(transforms).explain(form).rows
        assert [row.layer for row in rows] == [
            *["Resampling", "Cutting", "torchvision"],
            "torchvision" if form == "pil" else "Flipping",
        ]
        assert rows[1].numbers == {"size": "given", **({"mirror": "given"} if count == 10 else {})}
    tensors = v1.Lambda(lambda crops: torch.stack([v1.ToTensor()(crop) for crop in crops]))
    check_transform([api.Resize(30), api.TenCrop(20), tensors, api.Normalize([0.5], [0.5])], to_pil(noise(1, SIZE)[0]))


@FALLBACK
def test_v1_takes_one_image_as_ever():
    image = to_pil(noise(1, SIZE)[0])
    same([v1.FiveCrop(20), v1.RandomHorizontalFlip(1)], image, "exact")
    same([v1.FiveCrop(20), v2.RandomHorizontalFlip(), v1.RandomApply([v2.RandomVerticalFlip()])], image, "exact", 4)
    same([v2.RandomApply([v2.FiveCrop(20), v2.RandomHorizontalFlip()]), v2.Pad(2)], image, "exact", 4)
    rows = lt.LearnedCompose([v1.FiveCrop(20), v1.Resize(9), v1.Lambda(stack), v1.Resize(9)]).explain("pil").rows
    assert [row.reason for row in rows] == ["", "v1 transforms take one image", "not in the catalogue", ""]
    with pytest.raises(UnsupportedTransformError, match="one image"):
        lt.LearnedCompose([v1.FiveCrop(20), v1.Resize(9)], fallback="error")(image)


@pytest.mark.parametrize("api", [v1, v2], ids=["v1", "v2"])
def test_crops_that_are_larger_than_the_image(api):
    for size in (41, (41, 3), (3, 51)):
        for make in (api.FiveCrop, api.TenCrop):
            for form in ("pil", "uint8"):
                image = FORMS[form](noise(1, SIZE)[0])
                same([make(size)], image, "exact", fallback="error")
                same([api.RandomHorizontalFlip(), make(size)], image, "exact", fallback="error")
                with pytest.raises(InputShapeError, match=r"bigger than input size \(40, 50\).* Resize"):
                    lt.LearnedCompose([make(size)])(image)


@FALLBACK
@pytest.mark.parametrize("api", [v1, v2], ids=["v1", "v2"])
def test_sizes_that_are_none_are_torchvisions(api):
    for size in (0, -1, (3, -2), (3.5, 4), np.int64(9), (np.int64(9), 9)):
        for form in ("pil", "uint8"):
            same([api.FiveCrop(size)], FORMS[form](noise(1, SIZE)[0]), "exact")
    with pytest.raises(UnsupportedTransformError, match="size"):
        lt.LearnedCompose([api.FiveCrop(0)], fallback="error")(noise(1, SIZE)[0])


def test_samples():
    image = noise(1, SIZE)[0]
    inputs: dict[str, Any] = {
        "pictures": [to_pil(image), to_pil(noise(1, (30, 31))[0])],
        "video": tv_tensors.Video(noise(3, SIZE)),
        "label": torch.tensor(3),
    }
    transforms = [v2.RandomHorizontalFlip(), v2.TenCrop(20), v2.RandomVerticalFlip()]
    for given in (inputs, tuple(inputs.values())):
        for seed in range(4):
            seeded(seed)
            expected = v2.Compose(transforms)(given)
            state = torch.get_rng_state()
            seeded(seed)
            found = lt.LearnedCompose(transforms, fallback="error")(given)
            assert torch.get_rng_state().equal(state)
            assert_equal(found, expected)
    points = tv_tensors.KeyPoints(torch.tensor([[3, 4]]), canvas_size=SIZE)
    with pytest.warns(UserWarning, match="passing through"):
        expected = v2.FiveCrop(20)(tv_tensors.Image(image), points)
    with pytest.warns(UserWarning, match="passing through"):
        assert_equal(lt.LearnedCompose([v2.FiveCrop(20)])(tv_tensors.Image(image), points), expected)


def assert_equal(found: Any, expected: Any) -> None:
    """Nested values, of the same types."""
    assert type(found) is type(expected)
    if isinstance(expected, dict):
        found, expected = list(found.items()), list(expected.items())
    if isinstance(expected, tuple | list):
        for one, other in zip(found, expected, strict=True):
            assert_equal(one, other)
    else:
        assert found == expected if isinstance(expected, str) else values(found).equal(values(expected))


@FALLBACK
def test_boxes_and_masks_are_refused():
    image = tv_tensors.Image(noise(1, SIZE)[0])
    boxes = tv_tensors.BoundingBoxes(torch.tensor([[3, 4, 20, 30]]), format="XYXY", canvas_size=SIZE)
    for other in (boxes, tv_tensors.Mask(torch.zeros(1, *SIZE))):
        for given in ((image, other), ({"image": image, "other": [other]},)):
            with pytest.raises(TypeError, match="FiveCrop"):
                v2.FiveCrop(20)(*given)
            with pytest.raises(InputTypeError, match="FiveCrop"):
                lt.LearnedCompose([v2.RandomHorizontalFlip(), v2.FiveCrop(20)])(*given)
        with pytest.raises(TypeError, match="FiveCrop"):
            lt.LearnedCompose([v2.FiveCrop(20)])(other)


@pytest.mark.parametrize("form", ["pil", "uint8", "image"])
def test_params_are_played_back(form):
    transform = lt.LearnedCompose(
        [v2.RandomResizedCrop(33), v2.TenCrop(20), v2.RandomCrop(16), v2.RandomHorizontalFlip(), v2.ColorJitter(0.5)]
    )
    image = FORMS[form](noise(1, SIZE)[0])
    for seed in range(5):
        seeded(seed)
        expected = transform(image)
        seeded(seed)
        params = json.loads(json.dumps(transform.make_params(image)))
        state = torch.get_rng_state()
        assert_equal(transform(image, params=params), expected)
        assert torch.get_rng_state().equal(state)
        assert params[1] == {}
    with pytest.raises(PipelineValueError, match="TenCrop"):
        transform(image, params=[params[0], None, *params[2:]])


def test_each_image_of_a_batch_draws():
    transform = lt.LearnedCompose([v2.RandomResizedCrop(33), v2.FiveCrop(20)])
    batch = noise(3, SIZE)
    seeded(3)
    expected = [transform(image) for image in batch]
    seeded(3)
    found = transform(batch, per_sample=True)
    assert_equal(found, tuple(torch.stack(crops) for crops in zip(*expected, strict=True)))
    generator = torch.Generator().manual_seed(3)
    assert_equal(transform(batch, per_sample=True, generator=generator), found)


def test_crops_of_tensors_are_views_and_pass_gradients():
    image = torch.rand(3, *SIZE, requires_grad=True)
    crops = lt.LearnedCompose([v2.FiveCrop(30)])(image)
    assert [crop.untyped_storage().data_ptr() for crop in crops] == [image.untyped_storage().data_ptr()] * 5
    transform = lt.LearnedCompose([v2.Resize(36), v2.TenCrop(20), v2.Normalize([0.5], [0.5])])
    found, expected = (
        torch.autograd.grad(torch.stack(list(pipeline(image))).square().sum(), image)[0]
        for pipeline in (transform, v2.Compose(transform.transforms))
    )
    assert (found - expected).abs().max() < 1e-4


def test_several_levels_of_trainable_weights_say_not_that_they_are_some():
    transform = lt.LearnedCompose([v2.Resize(36), v2.FiveCrop(20), *FLOAT[1:]]).unfreeze()
    with pytest.raises(PipelineValueError, match="several images"):
        transform(tv_tensors.Image(noise(1, SIZE)[0]))
    transform = lt.LearnedCompose([v2.Resize(36), *FLOAT[:2], v2.FiveCrop(20)]).unfreeze()
    torch.stack(list(transform(noise(1, SIZE)[0]))).sum().backward()
    assert any(weight.grad is not None for weight in transform.parameters())


def test_pipelines_are_saved_copied_and_changed(tmp_path):
    image = noise(1, SIZE)[0]
    transform = lt.LearnedCompose([v2.Resize(36), v2.TenCrop((20, 24), vertical_flip=True), v2.RandomHorizontalFlip(1)])
    expected = transform(image)
    transform.save_pretrained(tmp_path / "crops.safetensors")
    loaded = lt.LearnedCompose.from_pretrained(tmp_path / "crops.safetensors", fallback="error")
    for other in (loaded, copy.deepcopy(transform), pickle.loads(pickle.dumps(transform))):
        assert_equal(other(image), expected)
    transform.transforms[1].size = (10, 12)
    assert transform(image)[9].shape == (3, 10, 12)


def test_arrays_come_back_as_arrays():
    """As of plain tensors, what follows takes the first alone."""
    array = noise(1, SIZE)[0].permute(1, 2, 0).contiguous().numpy()
    transforms = [v2.Resize(36), v2.TenCrop(20), v2.RandomHorizontalFlip(1)]
    crops = lt.LearnedCompose(transforms, fallback="error")(array)
    expected = v2.Compose([v2.ToImage(), v2.ToPureTensor(), *transforms])(array)
    assert all(crop.shape == (20, 20, 3) and crop.dtype == np.uint8 for crop in crops)
    assert all(torch.from_numpy(a).permute(2, 0, 1).equal(b) for a, b in zip(crops, expected, strict=True))
    check_transform([v2.ToImage(), *transforms, *FLOAT], array, fallback="error")


def test_a_network_takes_one_image():
    network = lt.LearnedCompose.from_pretrained("bicubic_224").transforms[0]
    transform = lt.LearnedCompose([v2.FiveCrop(32), network])
    with pytest.raises(InputTypeError, match="one uint8 or float32 image"):
        transform(noise(1, SIZE)[0])
