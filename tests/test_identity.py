"""Objects that come back as they are, shared memory, layouts, what PIL images carry: as torchvision has them."""

from typing import Any

import numpy as np
import pytest
import torch
import torchvision.transforms as v1
from helpers import FORMS, Unknown, UnknownV1, image_of, meant, refusal, seeded, states, to_pil, values
from PIL import Image
from torch import Tensor
from torch.utils._pytree import tree_leaves
from torchvision import tv_tensors
from torchvision.transforms import v2

import learned_transforms as lt

SIZE = (12, 15)
APIS = pytest.mark.parametrize("api", [v1, v2], ids=["v1", "v2"])
pytestmark = [
    pytest.mark.filterwarnings("ignore::learned_transforms.errors.FallbackWarning"),
    pytest.mark.filterwarnings("ignore:The transform `ToTensor:UserWarning"),
]


def carrying(channels: int) -> Image.Image:
    image = to_pil(image_of(channels, SIZE))
    image.info = {"transparency": 3 if channels == 1 else (10, 20, 30), "dpi": (72, 72)}
    return image


def batch(dtype: torch.dtype, layout: torch.memory_format) -> Tensor:
    levels = torch.stack([image_of(3, SIZE, seed) for seed in range(2)])
    return (levels if dtype == torch.uint8 else levels.float() / 255).contiguous(memory_format=layout)


IMAGES = {
    "rgb": lambda: carrying(3),
    "gray": lambda: carrying(1),
    "uint8": lambda: image_of(3, SIZE),
    "one channel": lambda: image_of(1, SIZE),
    "two channels": lambda: image_of(2, SIZE),
    "four channels": lambda: image_of(4, SIZE).float() / 255,
    "float32": lambda: image_of(3, SIZE).float() / 255,
    "one float channel": lambda: image_of(1, SIZE).float() / 255,
    "image": lambda: tv_tensors.Image(image_of(3, SIZE)),
    "float image": lambda: tv_tensors.Image(image_of(3, SIZE).float() / 255),
    "batch": lambda: batch(torch.uint8, torch.contiguous_format),
    "channels last": lambda: batch(torch.uint8, torch.channels_last),
    "floats, channels last": lambda: batch(torch.float32, torch.channels_last),
    "strided": lambda: image_of(3, (24, 30))[:, ::2, ::2],
    "deep": lambda: batch(torch.uint8, torch.contiguous_format)[None],
}


def resizes(api: Any) -> list[Any]:
    whole: list[Any] = [api.RandomResizedCrop(SIZE, scale=(1, 1), ratio=(1.25, 1.25))]
    return whole + [api.Resize(size) for size in (12, [12], (12,), SIZE, [12, 15], (7, 9))]


def crops(api: Any) -> list[Any]:
    made: list[Any] = [api.CenterCrop(size) for size in (5, [5], SIZE, (12, 20), 20)]
    made += [api.Pad(p, padding_mode=mode) for p in (0, [2], (1, 2), (0, 0, 0, 0)) for mode in ("constant", "reflect")]
    made += [api.Pad(2, fill=(1,)), api.Pad((0, 0, 30, 0), padding_mode="symmetric"), api.FiveCrop(5), api.TenCrop(9)]
    for size in (SIZE, (12, 9), (7, 15), 20):
        made += [
            api.RandomCrop(size, padding, needed, padding_mode=mode)
            for padding in (None, 0, [1, 2, 3, 4], (0, 0, 30, 0))
            for needed in (False, True)
            for mode in ("constant", "edge", "reflect", "symmetric")
        ]
    return made


def colors(api: Any) -> list[Any]:
    made: list[Any] = [api.ColorJitter(), api.ColorJitter(0.4, 0.4, 0.4, 0.1), api.GaussianBlur(3)]
    made += [api.ColorJitter(saturation=0.5), api.ColorJitter(contrast=0.5), api.Grayscale(1), api.Grayscale(3)]
    for p in (0, 1, 0.5):
        flips = ("RandomHorizontalFlip", "RandomVerticalFlip", "RandomGrayscale")
        made += [getattr(api, name)(p) for name in (*flips, "RandomInvert", "RandomAutocontrast", "RandomEqualize")]
        made += [api.RandomPosterize(bits, p) for bits in (0, 4, 8)]
        made += [api.RandomSolarize(threshold, p) for threshold in (0.5, 128, 256)]
        made += [api.RandomAdjustSharpness(factor, p) for factor in (0.0, 2)]
        made += [api.RandomErasing(p, value=3, inplace=inplace) for inplace in (False, True)]
        made += [api.RandomErasing(p, (1, 1), (1, 1)), api.RandomErasing(p, value=(1, 2, 3))]
    return made


def floats(api: Any) -> list[Any]:
    numbers = ([0.5], [0.1, 0.2, 0.3], [0.1, 0.2])
    every = [(mean, std, inplace) for mean in numbers for std in numbers for inplace in (False, True)]
    made: list[Any] = [api.Normalize(*arguments) for arguments in every]
    made += [api.ConvertImageDtype(torch.float32), api.ConvertImageDtype(torch.uint8), api.PILToTensor()]
    return [*made, api.ToTensor(), api.ToPILImage(), api.ToPILImage("L")]


def containers(api: Any) -> list[Any]:
    flip = api.RandomHorizontalFlip
    made: list[Any] = [api.RandomApply([flip(1)], p) for p in (0, 1)]
    made += [api.RandomApply([flip(0)], 1), api.RandomChoice([flip(0), api.RandomInvert(1)])]
    return [*made, api.RandomOrder([flip(0), api.RandomInvert(0.5)]), api.Compose([flip(0), api.CenterCrop(SIZE)])]


def only_v2(api: Any) -> list[Any]:
    if api is v1:
        return []
    made: list[Any] = [v2.RandomChannelPermutation(), v2.RGB(), v2.ToImage(), v2.ToPureTensor(), v2.Identity()]
    made += [v2.RandomPhotometricDistort(p=p) for p in (0, 0.5, 1)]
    return made + [v2.ToDtype(dtype, scale=scale) for dtype in (torch.float32, torch.uint8) for scale in (False, True)]


TRANSFORMS = {f.__name__: f for f in (resizes, crops, colors, floats, containers, only_v2)}


@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.parametrize("kind", TRANSFORMS)
@APIS
def test_every_transform_alone(api, kind, name):
    """Values, type, random state and the input, whether it comes back itself, its memory, its layout, its metadata."""
    for number, transform in enumerate(TRANSFORMS[kind](api)):
        learned = lt.LearnedCompose([transform])
        for seed in (number, number + 1):
            refused = refusal([transform], IMAGES[name](), seed)
            if refused is not None:
                seeded(seed)
                with pytest.raises(type(refused)) as found:
                    learned(IMAGES[name]())
                assert meant(found.value, refused)
                continue
            theirs, ours = IMAGES[name](), IMAGES[name]()
            seeded(seed)
            expected, state = transform(theirs), states()
            seeded(seed)
            found = learned(ours)
            assert states() == state, transform
            assert values(ours).equal(values(theirs)), f"{transform} changes its input otherwise"
            for one, other in zip(tree_leaves(found), tree_leaves(expected), strict=True):
                assert type(one) is type(other), transform
                assert (one is ours) == (other is theirs), f"{transform}: {'' if other is theirs else 'not '}itself"
                check_values(one, other, transform)
                check_around(one, ours, other, theirs, transform)


def check_values(found: Any, expected: Any, transform: Any) -> None:
    """Equal; float sums may differ in the last bit."""
    floating = isinstance(expected, Tensor) and expected.is_floating_point()
    torch.testing.assert_close(
        values(found), values(expected), rtol=0, atol=1e-6 if floating else 0, msg=str(transform)
    )


def check_around(found: Any, ours: Any, expected: Any, theirs: Any, transform: Any) -> None:
    """What PIL images carry; memory that is shared where torchvision shares it, at most; channels that come last."""
    if isinstance(expected, Image.Image):
        assert found.info == expected.info, transform
    elif isinstance(ours, Tensor) and isinstance(expected, Tensor):
        shares = found.untyped_storage().data_ptr() == ours.untyped_storage().data_ptr()
        assert not shares or expected.untyped_storage().data_ptr() == theirs.untyped_storage().data_ptr(), transform
        packed = torch.channels_last
        if expected.ndim == 4 and expected.shape[1] > 1 and expected.is_contiguous(memory_format=packed):
            assert found.is_contiguous(memory_format=packed) or theirs.is_contiguous(), transform


@APIS
def test_metadata_follows_every_transform(api):
    """The middle of a pipeline, and both sides of a transform that runs in torchvision."""
    elastic = (Unknown if api is v2 else UnknownV1)(0.0, 1.0)
    for channels in (1, 3):
        for transforms in (
            [api.Resize(20), api.CenterCrop(18), api.RandomHorizontalFlip(1)],
            [api.Resize(20), api.CenterCrop(22)],
            [api.Pad(3), api.CenterCrop(18)],
            [api.Pad(3, padding_mode="edge")],
            [api.RandomHorizontalFlip(1), api.Grayscale(), api.Resize((9, 9))],
            [api.RandomResizedCrop(9), api.ColorJitter(saturation=(0.2, 0.3)), elastic, api.Grayscale()],
            [api.ToTensor(), api.ToPILImage(), api.RandomHorizontalFlip(1)],
            [api.RandomApply([api.GaussianBlur(3)], 1)],
        ):
            seeded(3)
            expected = v1.Compose(transforms)(carrying(channels))
            seeded(3)
            found = lt.LearnedCompose(transforms)(carrying(channels))
            assert found.info == expected.info, transforms
            assert np.array_equal(np.array(found), np.array(expected)), transforms


def test_arrays_are_never_shared():
    array = np.zeros((*SIZE, 3), np.uint8)
    for transforms in ([v2.Identity()], [v2.Resize(SIZE)], [v2.RandomHorizontalFlip(0)], [v2.ToImage()]):
        lt.LearnedCompose(transforms)(array)[...] = 9
        assert not array.any(), transforms


@pytest.mark.parametrize("form", ["pil", "uint8"])
@APIS
def test_in_place_on_what_the_pipeline_made_takes_the_layers(api, form):
    to_float = api.ToTensor() if form == "pil" else api.ConvertImageDtype(torch.float32)
    transforms = [to_float, api.Normalize([0.5], [0.2], inplace=True), api.RandomErasing(1, value=2, inplace=True)]
    image = FORMS[form](image_of(3, SIZE))
    before = values(image)
    seeded(0)
    expected = v1.Compose(transforms)(image)
    seeded(0)
    found = lt.LearnedCompose(transforms, fallback="error")(image)
    assert (found - expected).abs().max() <= 1e-6
    assert values(image).equal(before)
