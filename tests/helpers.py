"""What several test files share: pipelines, conversions, and the one check of a transform against torchvision."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision.transforms as v1
from PIL import Image
from torch import Tensor
from torch.utils._pytree import tree_flatten
from torch.utils.data import Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2

import learned_transforms as lt
from learned_transforms.errors import LearnedTransformsError

TOLERANCE = {"exact": 0.0, "rounding": 1.0, "float": 1e-6}
"""By tier: largest error in levels; ``float``, in units of full range, is what floats may be off besides."""

REFUSALS = (TypeError, ValueError, RuntimeError, IndexError, AttributeError)
"""What torchvision raises for images and arguments that it cannot take; of these types, so do we."""

PACKAGE = str(Path(lt.__file__).parent)

MANY = 1000
"""Values of an image, of which the share that differs says something."""


def meant(found: BaseException, expected: BaseException) -> bool:
    """Whether an error of ours is of the expected type and no accident that happens to be of it.

    It is typed, or says what the expected one says, or comes out of code of others.
    """
    place = found.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    ours = place is not None and place.tb_frame.f_code.co_filename.startswith(PACKAGE)
    told = isinstance(found, LearnedTransformsError) or str(found) == str(expected) or not ours
    return told and isinstance(found, type(expected))


class Unknown(v2.ElasticTransform):
    """A transform of which the catalogue knows nothing: a subclass may do anything."""

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return super().transform(inpt, params)


class UnknownV1(v1.ElasticTransform):
    """The same of v1."""

    def forward(self, tensor: Any) -> Any:
        return super().forward(tensor)


def seed_v2(size=(28, 28), end: bool = True) -> list[Any]:
    last = [v2.ToDtype(torch.float32, scale=True)] if end else []
    return [v2.Resize(size), v2.RandomHorizontalFlip(1), v2.RandomVerticalFlip(1), v2.Grayscale(1), *last]


def seed_v1(size=(28, 28)) -> list[Any]:
    return [v1.Resize(size), v1.RandomHorizontalFlip(1), v1.RandomVerticalFlip(1), v1.Grayscale(1)]


def values(image: Any) -> Tensor:
    """The values of an image as float64, whatever holds it."""
    if isinstance(image, Image.Image):
        image = np.array(image)
    return torch.as_tensor(image).as_subclass(Tensor).double()


def to_pil(image: Tensor) -> Image.Image:
    pixels = image.permute(1, 2, 0).numpy()
    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)


def noise(n=4, size=(40, 50)) -> Tensor:
    return torch.randint(0, 256, (n, 3, *size), dtype=torch.uint8)


def half(image: Any) -> Any:
    """A teacher that halves: every other pixel of a tensor, 16 x 16 of a PIL image."""
    return image[..., ::2, ::2] if isinstance(image, Tensor) else image.resize((16, 16))


FORMS = {
    "pil": to_pil,
    "uint8": lambda image: image.clone(),
    "float32": lambda image: image.float() / 255,
    "image": lambda image: tv_tensors.Image(image.clone()),
}


def copy_of(image: Any) -> Any:
    return image.copy() if isinstance(image, Image.Image | np.ndarray) else image.clone()


def seeded(seed: int) -> None:
    """Torch's generator, and Python's, from which v1 draws some things."""
    torch.manual_seed(seed)
    random.seed(seed)


def states() -> tuple[bytes, Any]:
    return bytes(torch.get_rng_state().numpy()), random.getstate()


def check_transform(transforms: list[Any], image: Any, tier: str = "exact", seed: int = 7, **options: Any) -> Any:
    """One transform against torchvision: type, dtype, shape, values, random state, and the input left as it was."""
    learned = lt.LearnedCompose(transforms, **options)
    before = copy_of(image)
    seeded(seed)
    expected = image
    for transform in transforms:
        expected = transform(expected)
    state = states()
    seeded(seed)
    found = learned(image)
    assert states() == state, "random state differs"
    assert torch.equal(values(image), values(before)), "input was modified"
    (ours, structure), (theirs, wanted) = tree_flatten(found), tree_flatten(expected)
    assert structure == wanted
    for one, other in zip(ours, theirs, strict=True):
        compare(one, other, tier)
    return found


def compare(found: Any, expected: Any, tier: str) -> None:
    """Two images: type, dtype, shape and values."""
    assert type(found) is type(expected)
    if isinstance(expected, Tensor):
        assert (found.dtype, found.shape, found.device) == (expected.dtype, expected.shape, expected.device)
    else:
        assert (found.mode, found.size) == (expected.mode, expected.size)
    limit = TOLERANCE[tier]
    if isinstance(expected, Tensor) and expected.is_floating_point():
        limit = limit / 255 + TOLERANCE["float"]
    if values(expected).numel():
        errors = (values(found) - values(expected)).abs()
        assert errors.max() <= limit, f"off by {errors.max()}"
        if tier == "rounding" and errors.numel() >= MANY:
            assert (errors > 1e-6).double().mean() <= 0.01, "more than one value of a hundred differs"


class Pictures(Dataset):
    """Images of several sizes; here rather than in a test, since spawned workers import it by name."""

    def __init__(self, transform):
        self.transform = transform

    def __len__(self):
        return 24

    def __getitem__(self, index):
        generator = torch.Generator().manual_seed(index)
        return self.transform(torch.randint(0, 256, (3, 30 + index, 40), dtype=torch.uint8, generator=generator))


def image_of(channels: int, size: tuple[int, int], seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (channels, *size), dtype=torch.uint8, generator=generator)


def same(transforms: list[Any], image: Any, tier: str, seeds: int = 1, **options: Any) -> None:
    """As torchvision; or refused by both, by us with an error of our own or torchvision's very words."""
    for seed in range(seeds):
        refused = refusal(transforms, image, seed)
        if refused is None:
            check_transform(transforms, image, tier, seed=seed, **options)
            continue
        seeded(seed)
        with pytest.raises(type(refused)) as ours:
            lt.LearnedCompose(transforms, **options)(image)
        assert meant(ours.value, refused)


def refusal(transforms: list[Any], image: Any, seed: int) -> Exception | None:
    """What torchvision raises; None where it raises nothing."""
    seeded(seed)
    try:
        v2.Compose(transforms)(image)
    except REFUSALS as error:
        return error
    return None
