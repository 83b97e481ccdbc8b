"""Errors of construction and of input, and what torchvision runs instead."""

import warnings

import numpy as np
import pytest
import torch
import torchvision.transforms as v1
from helpers import REFUSALS, Unknown, check_transform, meant, seed_v2, to_pil
from PIL import Image
from test_compose import random_image
from torchvision.transforms import v2

import learned_transforms as lt
from learned_transforms.errors import (
    FallbackWarning,
    InputShapeError,
    InputTypeError,
    PipelineTypeError,
    PipelineValueError,
    UnsupportedTransformError,
)


def test_fallback_is_named_once_and_still_right():
    transforms = [
        v2.Resize((28, 28)),
        Unknown(30.0, 1.0),
        v2.RandomHorizontalFlip(0.5),
        Unknown(9.0),
    ]
    with pytest.warns(FallbackWarning, match=r"Unknown \(not in the catalogue\)") as caught:
        learned = lt.LearnedCompose(transforms)
    assert [warning.filename for warning in caught] == [__file__]
    image = random_image((3, 40, 40))
    torch.manual_seed(3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = learned(image)
    torch.manual_seed(3)
    assert found.equal(v2.Compose(transforms)(image))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        learned(image)
    assert "torchvision (not in the catalogue)" in str(learned.explain("uint8"))


@pytest.mark.parametrize(
    "transform",
    [
        Unknown(30.0, 1.0),
        v2.Pad([-3, 2]),
        lambda x: x,
    ],
)
def test_whatever_is_not_learned_runs_in_torchvision(transform):
    with pytest.warns(FallbackWarning):
        check_transform([v2.RandomHorizontalFlip(1), transform], random_image((3, 33, 32)))


@pytest.mark.parametrize(
    "image",
    [
        torch.rand(3, 32, 32).double(),
        torch.zeros(3, 32, 32, dtype=torch.int16),
        Image.new("RGBA", (32, 32)),
        Image.new("I;16", (30, 30)),
    ],
)
def test_other_dtypes_and_modes_run_in_torchvision(image):
    with pytest.warns(FallbackWarning, match="input"):
        check_transform([v2.Resize((28, 28))], image)


def test_errors_of_construction():
    for wrong in (3, None, "Resize", {v2.Resize(3)}):
        with pytest.raises(PipelineTypeError, match="should be a sequence of callables"):
            lt.LearnedCompose(wrong)
    with pytest.raises(TypeError, match="entry 1 is int"):
        lt.LearnedCompose([v2.Resize(3), 5])
    with pytest.raises(PipelineTypeError, match=r"from_pretrained\('cifar10_gray28'\)"):
        lt.LearnedCompose("cifar10_gray28")
    for wrong in (v2.Resize, [v2.ToImage(), v2.RandomHorizontalFlip], [v1.ToTensor]):
        with pytest.raises(PipelineTypeError, match=r"the class \w+, not a transform. Did you mean \w+\(\.\.\.\)"):
            lt.LearnedCompose(wrong)
    with pytest.raises(PipelineValueError, match="at least one transform"):
        lt.LearnedCompose([])
    with pytest.raises(UnsupportedTransformError, match="retrain"):
        lt.LearnedCompose([Unknown(9.0, 1.0)], fallback="error")
    with pytest.raises(PipelineValueError, match="fallback"):
        lt.LearnedCompose(seed_v2(), fallback="maybe")
    padding = lt.LearnedCompose([v2.Pad(3, fill=300)], fallback="error")
    with pytest.raises(UnsupportedTransformError, match="a fill beyond 0 to 255"):
        padding(random_image((3, 9, 8)))


def test_errors_of_input():
    learned = lt.LearnedCompose(seed_v2())
    with pytest.raises(InputTypeError, match="permitted channel values are 1 or 3, but found 2"):
        learned(random_image((2, 32, 32)))
    with pytest.raises(TypeError):
        lt.LearnedCompose([v1.ToTensor()])(random_image((3, 4, 4)))


NO_IMAGES = [
    *(
        "cat.jpg",
        None,
        3,
        [],
        {"image": "path"},
        random_image((32, 32)),
        np.zeros((32, 32, 3)),
        Image.new("RGB", (0, 5)),
    ),
    (np.zeros((32, 32, 3), np.uint8), 1),
    *(torch.zeros(shape, dtype=torch.uint8) for shape in ((3, 0, 32), (3, 32, 0), (0, 32, 32), (5, 3, 0, 0))),
]


@pytest.mark.parametrize("api", [v1, v2])
@pytest.mark.parametrize("value", NO_IMAGES, ids=lambda value: type(value).__name__)
def test_what_is_no_image_fares_as_in_torchvision(api, value):
    transforms = [api.RandomHorizontalFlip(1), api.Resize((9, 8)), api.Grayscale()]
    learned = lt.LearnedCompose(transforms, fallback="torchvision")
    try:
        expected, refused = api.Compose(transforms)(value), None
    except REFUSALS as error:
        expected, refused = None, error
    if refused is not None:
        with pytest.raises(type(refused)) as raised:
            learned(value)
        assert meant(raised.value, refused)
        return
    found = learned(value)
    assert type(found) is type(expected)
    assert np.array_equal(
        found[0] if isinstance(found, tuple) else found, expected[0] if isinstance(found, tuple) else expected
    )


def test_nothing_left_of_an_image():
    learned = lt.LearnedCompose([v2.Resize(20, max_size=22)])
    for image in (random_image((3, 1, 40)), to_pil(random_image((3, 1, 40)))):
        with pytest.raises(InputShapeError, match=r"would be resized to \(0, 22\)"):
            learned(image)


def test_trainable_levels_do_not_leave_for_torchvision():
    image = random_image((3, 30, 30))
    steps = [v2.Resize(20), Unknown(9.0, 1.0), v2.ToDtype(torch.float32, scale=True)]
    learned = lt.LearnedCompose(steps, fallback="torchvision").unfreeze()
    with pytest.raises(PipelineValueError, match="unrounded"):
        learned(image)
    with pytest.raises(PipelineValueError, match="unrounded"):
        lt.LearnedCompose([v2.Resize(20)]).unfreeze()(to_pil(image))
    assert learned.certificates == {}


def test_unknown_backend_and_nested_compose():
    with pytest.raises(PipelineValueError, match="backend"):
        lt.LearnedCompose(seed_v2(), backend="zip")
    assert lt.LearnedCompose(lt.LearnedCompose(seed_v2())).transforms is not None


def test_unknown_keywords_and_generators_are_told():
    image = random_image((3, 32, 32))
    with pytest.raises(PipelineTypeError, match=r"'fallbak'\. Did you mean 'fallback'\?") as caught:
        lt.LearnedCompose(seed_v2(), fallbak="error")
    assert isinstance(caught.value, TypeError)
    with pytest.raises(PipelineTypeError, match="Unexpected keyword 'device'"):
        lt.LearnedCompose.from_pretrained("cifar10_gray28", device="cpu")
    learned = lt.LearnedCompose(seed_v2())
    with pytest.raises(PipelineTypeError, match=r"'seed'\. Known keywords: params, per_sample, generator"):
        learned(image, seed=1)
    for inputs, options in (((image,), {}), ((image[None],), {"per_sample": True})):
        with pytest.raises(PipelineTypeError, match=r"torch\.Generator\(\)\.manual_seed\(seed\)"):
            learned(*inputs, generator=42, **options)
