"""Several and nested inputs, as v2 takes them: images through the learned layers, what goes with them beside."""

import json
import warnings
from collections.abc import Iterable
from typing import Any

import pytest
import torch
import torchvision.transforms as v1
from helpers import Unknown, noise, refusal, to_pil, values
from PIL import Image
from torch import Tensor
from torch.utils._pytree import tree_flatten
from torchvision import tv_tensors
from torchvision.transforms import v2

import learned_transforms as lt
from learned_transforms.errors import FallbackWarning, InputShapeError

SIZE = (40, 50)


def boxes() -> tv_tensors.BoundingBoxes:
    return tv_tensors.BoundingBoxes(torch.tensor([[3, 4, 20, 30], [10, 5, 45, 38]]), format="XYXY", canvas_size=SIZE)


def parts(kind: str) -> dict[str, Any]:
    image = noise(1, SIZE)[0]
    return {
        "image": {"pil": to_pil(image), "image": tv_tensors.Image(image), "tensor": image}[kind],
        "mask": tv_tensors.Mask(torch.randint(0, 4, (2, *SIZE), dtype=torch.uint8)),
        "boxes": boxes(),
        "points": tv_tensors.KeyPoints(torch.tensor([[3, 4], [44, 22]]), canvas_size=SIZE),
        "video": tv_tensors.Video(noise(3, SIZE)),
        "label": 7,
        "name": ["cat", None, torch.tensor([1, 2, 3])],
    }


PIPELINES = {
    "crop": [v2.RandomResizedCrop((20, 24)), v2.RandomHorizontalFlip(), v2.RandomGrayscale(0.5)],
    "padded": [v2.RandomCrop((32, 44), padding=6, fill={tv_tensors.Mask: 3, "others": 0}), v2.RandomVerticalFlip()],
    "plain pad": [v2.RandomCrop((44, 54), padding=[2, 5], padding_mode="edge"), v2.RandomInvert()],
    "needed": [v2.RandomCrop(60, pad_if_needed=True), v2.RandomPosterize(3)],
    "apply": [v2.RandomApply([v2.RandomHorizontalFlip(), v2.RandomSolarize(90)]), v2.Resize(30), v2.RandomCrop(24)],
    "between": [v2.Resize(36), Unknown(20.0, 1.0), v2.RandomHorizontalFlip(), v2.CenterCrop(24)],
    "floats": [
        v2.RandomHorizontalFlip(),
        v2.ToImage(),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize([0.5], [0.5]),
    ],
    "colors": [
        v2.RandomResizedCrop((20, 24)),
        v2.ColorJitter(0.4, 0.4, 0.4, 0.1),
        v2.RandomPhotometricDistort(p=0.7),
        v2.RandomChoice([v2.RandomHorizontalFlip(), v2.RandomAutocontrast(), v2.RandomEqualize()]),
        v2.RandomOrder([v2.RandomVerticalFlip(), v2.RandomAdjustSharpness(2)]),
    ],
    "pure": [v2.RandomCrop(24), v2.ToPureTensor(), v2.RandomHorizontalFlip(), v2.PILToTensor(), v2.RandomInvert()],
    "permuted": [v2.RandomChannelPermutation(), v2.Pad(3), v2.Identity()],
}


def check(transforms: list[Any], inputs: tuple[Any, ...], seeds: Iterable[int] = range(6)) -> None:
    """The same as v2's Compose: structure, types, values, what boxes lie on, and random state."""
    learned = lt.LearnedCompose(transforms)
    for seed in seeds:
        torch.manual_seed(seed)
        expected = v2.Compose(transforms)(*inputs)
        state = torch.get_rng_state()
        torch.manual_seed(seed)
        found = learned(*inputs)
        assert torch.get_rng_state().equal(state)
        compare(found, expected)


def compare(found: Any, expected: Any) -> None:
    (ours, structure), (theirs, wanted) = tree_flatten(found), tree_flatten(expected)
    assert structure == wanted
    for one, other in zip(ours, theirs, strict=True):
        assert type(one) is type(other)
        if isinstance(other, Tensor | Image.Image):
            assert (values(one) - values(other)).abs().max() <= (1e-6 if values(other).frac().any() else 0)
        else:
            assert one == other
        if isinstance(other, tv_tensors.BoundingBoxes | tv_tensors.KeyPoints):
            assert one.canvas_size == other.canvas_size


@pytest.mark.filterwarnings("ignore::learned_transforms.errors.FallbackWarning")
@pytest.mark.parametrize("kind", ["pil", "image", "tensor"])
@pytest.mark.parametrize("name", PIPELINES)
def test_samples_are_transformed_as_v2_does(name, kind):
    sample = parts(kind)
    if name == "plain pad":  # Boxes and keypoints have no edge to repeat.
        sample.pop("boxes")
        sample.pop("points")
    check(PIPELINES[name], (sample,))
    check(PIPELINES[name], (sample["image"], sample["label"]))
    check(PIPELINES[name], (sample["image"], {"mask": sample["mask"], "points": [sample.get("points")]}))
    check(PIPELINES[name], ([sample["image"], sample["image"]],))
    check(PIPELINES[name], (sample["mask"], sample["image"]))


def test_images_take_the_learned_layers():
    with warnings.catch_warnings():
        warnings.simplefilter("error", FallbackWarning)
        lt.LearnedCompose(PIPELINES["crop"], fallback="error")(parts("image"))
        lt.LearnedCompose(PIPELINES["padded"], fallback="error")(to_pil(noise(1, SIZE)[0]), boxes())


def test_params_of_a_sample():
    transform = lt.LearnedCompose(PIPELINES["crop"])
    sample = parts("image")
    for seed in range(5):
        torch.manual_seed(seed)
        expected = transform(sample)
        torch.manual_seed(seed)
        params = json.loads(json.dumps(transform.make_params(sample)))
        compare(transform(sample, params=params), expected)
        # The same draw for an image alone.
        assert transform(sample["image"], params=params).equal(expected["image"])


@pytest.mark.filterwarnings("ignore::learned_transforms.errors.FallbackWarning")
def test_several_sizes():
    images = [tv_tensors.Image(noise(1, SIZE)[0]), tv_tensors.Image(noise(1, (30, 31))[0])]
    check([v2.Resize((20, 20)), v2.RandomHorizontalFlip()], (images,))
    with pytest.raises(ValueError, match="multiple"):
        v2.RandomResizedCrop(9)(images)
    with pytest.raises(InputShapeError, match="multiple"):
        lt.LearnedCompose([v2.RandomResizedCrop(9)])(images)


@pytest.mark.filterwarnings("ignore::learned_transforms.errors.FallbackWarning")
def test_what_torchvision_takes_alone():
    check([v2.RandomHorizontalFlip(), v2.Resize(20)], (boxes(),))
    check([v2.RandomHorizontalFlip(), v2.Resize(20)], (tv_tensors.Mask(torch.zeros(1, *SIZE)), boxes()))
    check([v2.RandomHorizontalFlip(), v2.Resize(20)], ([to_pil(noise(1, SIZE)[0]).convert("RGBA"), boxes()],))
    with pytest.raises(TypeError):
        lt.LearnedCompose([v1.Resize(20)])(noise(1, SIZE)[0], 3)
    # Arrays in samples pass untouched, as in v2.
    array = noise(1)[0].numpy()
    assert lt.LearnedCompose([v2.Resize(20)])(noise(1, SIZE)[0], array)[1] is array


@pytest.mark.filterwarnings("ignore::learned_transforms.errors.FallbackWarning")
@pytest.mark.parametrize("kind", ["pil", "image"])
def test_images_of_several_shapes(kind):
    """What draws for one shape refuses several, at its place in the pipeline and where chance applies it."""
    color, gray = (to_pil(part) if kind == "pil" else tv_tensors.Image(part) for part in (noise(1)[0], noise(1)[0][:1]))
    for transforms in (
        [v2.RandomGrayscale(0.5)],
        [v2.RandomHorizontalFlip(), v2.RandomGrayscale(0.5), v2.RandomVerticalFlip()],
        [v2.RandomApply([v2.RandomGrayscale(1), v2.RandomInvert(1)])],
        [v2.RandomErasing(0.5, value=3)],
        [v2.RandomChannelPermutation()],
        [v2.Resize(9), v2.RandomPhotometricDistort(p=0)],
        [v2.Grayscale(3), v2.RandomGrayscale(0.5), v2.RandomErasing(0.5, value=3)],
        [v2.ColorJitter(0.4), v2.RandomAutocontrast()],
    ):
        for seed in range(4):
            refused = refusal(transforms, [color, gray], seed)
            if refused is None:
                check(transforms, ([color, gray],), seeds=[seed])
                continue
            torch.manual_seed(seed)
            with pytest.raises(type(refused), match="multiple"):
                lt.LearnedCompose(transforms)([color, gray])


def test_none_passes():
    for transforms in ([v2.Resize(9)], [v2.RandomCrop(20), v2.RandomHorizontalFlip()], [v2.ColorJitter(0.4)]):
        for inputs in ((parts("image")["image"], None), ({"image": parts("pil")["image"], "label": None},)):
            check(transforms, inputs)


GRAY, COLORED = noise(1, (20, 20))[0, :1], noise(1, (20, 20))[0]
OTHER_FILL = {
    "padded": [v2.RandomCrop((8, 8), 2, fill=(1, 2, 3))],
    "needed": [v2.RandomCrop((24, 8), fill=(1, 2, 3), pad_if_needed=True)],
    "by class": [v2.RandomCrop((24, 8), fill={tv_tensors.Image: (1, 2, 3), "others": 0}, pad_if_needed=True)],
    "needed behind": [v2.Resize(30), v2.RandomCrop((38, 8), fill=(1, 2, 3), pad_if_needed=True)],
}


@pytest.mark.parametrize("name", OTHER_FILL)
def test_a_fill_for_other_channels_is_refused_where_something_is_padded(name):
    transforms = OTHER_FILL[name]
    gray, image = tv_tensors.Image(GRAY), tv_tensors.Image(COLORED)
    for given in (GRAY, gray, COLORED, image, to_pil(GRAY), (to_pil(GRAY), 3), (gray, gray.clone()), GRAY[None]):
        check_as_torchvision(transforms, given)


MASKED = (to_pil(noise(1, (12, 20))[0]), tv_tensors.Mask(torch.zeros(12, 20, dtype=torch.uint8)))
BESIDE = {
    "pure within": [v2.RandomApply([v2.ToPureTensor()], p=1.0), v2.Resize((4, 4))],
    "pure in order": [v2.RandomOrder([v2.ToPureTensor()]), v2.Resize((4, 4))],
    "pure before, within": [v2.RandomApply([v2.ToPureTensor(), v2.Resize((4, 4))], p=1.0)],
    "mirrored": [v2.RandomCrop((5, 7), padding=20, padding_mode="reflect")],
    "mirrored behind": [v2.Resize(30), v2.RandomCrop((5, 7), padding=40, padding_mode="symmetric")],
    "mirrored less": [v2.RandomCrop((5, 7), padding=10, padding_mode="reflect")],
}


@pytest.mark.parametrize("name", BESIDE)
def test_masks_beside_pil_images(name):
    """They become plain tensors within containers, too, and are not mirrored as often as the image."""
    check_as_torchvision(BESIDE[name], MASKED)


def test_rgb_gives_videos_back():
    video = tv_tensors.Video(noise(2, (8, 8)))
    assert lt.LearnedCompose([v2.RGB()])(video) is video


def check_as_torchvision(transforms: list[Any], given: Any) -> None:
    """The same values and types under equal seeds, and the same state behind; or the same type of error."""
    learned = lt.LearnedCompose(transforms, fallback="torchvision")
    for seed in range(4):
        refused = refusal(transforms, given, seed)
        torch.manual_seed(seed)
        if refused is not None:
            with pytest.raises(type(refused)):
                learned(given)
            continue
        expected, state = v2.Compose(transforms)(given), torch.get_rng_state()
        torch.manual_seed(seed)
        found = learned(given)
        assert torch.get_rng_state().equal(state)
        for one, other in zip(tree_flatten(found)[0], tree_flatten(expected)[0], strict=True):
            assert type(one) is type(other)
            assert one == other if isinstance(one, int) else values(one).equal(values(other))
