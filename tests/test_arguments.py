"""Arguments that are set later, or that torchvision refuses: it makes of them what it makes without us."""

import pytest
import torch
import torchvision.transforms as v1
from helpers import compare, image_of, meant, seeded, states, to_pil
from torch import nn
from torch.utils._pytree import tree_leaves
from torchvision.transforms import v2

import learned_transforms as lt

LEVELS = image_of(3, (30, 26))
INPUTS = {"uint8": LEVELS, "float32": LEVELS / 255, "pil": to_pil(LEVELS)}
BOTH = [v1, v2]
NAN = float("nan")

SET: dict[str, tuple] = {
    "Resize": ((9,), {"size": (0, (9,), (2, 3, 4), 9.5, "x", True), "max_size": (9, 5, 1.5, -1, 12)}),
    "RandomResizedCrop": ((9,), {"ratio": ((3.0, 4.0), (0.0, 0.5)), "scale": ((2.0, 3.0), None), "size": (9, (0, 3))}),
    "CenterCrop": ((9,), {"size": (5, (0, 3), (-2, 3), (True, True), (3, 4, 5))}),
    "RandomCrop": ((9, 3), {"size": (5, (0, 0)), "padding": ((1, 2, 3), [], 1, None), "fill": (7,)}),
    "Pad": (
        (2,),
        {"padding": ((1, 2, 3), [], None, (1.0, 2.0)), "fill": (7, (1, 2), None, True), "padding_mode": ("x",)},
    ),
    "FiveCrop": ((9,), {"size": (5, (0, 0))}),
    "TenCrop": ((9,), {"vertical_flip": (None, 1)}),
    "Grayscale": ((), {"num_output_channels": (2, 0, 4, 3.0, None)}),
    "GaussianBlur": ((3,), {"kernel_size": ((4, 4), 5, (-1, 3), "x"), "sigma": ((1.0,), (2.0, 1.0), 3, (NAN, NAN))}),
    "ColorJitter": (
        (0.3, 0.3, 0.3, 0.1),
        {
            "brightness": ((-1.0, -0.5), (0,), (1.0, 2.0, 3.0), "x"),
            "contrast": ((-0.7, 0.7), 0.3),
            "saturation": ((0.9, 0.8),),
            "hue": ((0.6, 0.7), (True, True)),
        },
    ),
    "RandomPhotometricDistort": ((), {"brightness": ((-1, -0.5),), "hue": ((0.6, 0.7),), "p": (None, NAN)}),
    "RandomAdjustSharpness": ((2, 1.0), {"sharpness_factor": (-1, None, "x")}),
    "RandomInvert": ((0.5,), {"p": (NAN, None, "x", [1.0], torch.tensor([0.5]), 1j)}),
    "RandomErasing": ((1.0,), {"value": (3, 2.5, "x"), "ratio": ((3.0, 4.0), (0.0, 1.0)), "p": (NAN, None)}),
}
"""By name of a transform: what it is made with, and values that its attributes are given later."""

CASES = [
    (api, name, attribute, value)
    for name, (_, attributes) in SET.items()
    for api in BOTH
    if hasattr(api, name)
    for attribute, values in attributes.items()
    for value in values
]

INNER: dict[str, dict[str, tuple]] = {
    "RandomApply": {"p": (None, NAN, "x", torch.tensor([0.5])), "transforms": ([], None)},
    "RandomChoice": {"p": ([0.5], [NAN, 1.0]), "transforms": ([], [v2.RandomVerticalFlip(1)])},
    "RandomOrder": {"transforms": ([],)},
}


def outcome(compose, image, seed):
    """What a call gives, or what it raises, and the random state behind it."""
    seeded(seed)
    try:
        return compose(image), states()
    except Exception as error:
        return error, None


def agree(transforms, change, image, tier="exact", calls=6):
    """A pipeline and torchvision's, of the same transforms, before and after a change."""
    ours, plain = lt.LearnedCompose(transforms, fallback="torchvision"), v2.Compose(transforms)
    for call in range(calls):
        (found, after), (expected, state) = outcome(ours, image, call), outcome(plain, image, call)
        if isinstance(expected, Exception):
            assert isinstance(found, Exception)
            assert meant(found, expected), found
        else:
            assert after == state
            for one, other in zip(tree_leaves(found), tree_leaves(expected), strict=True):
                compare(one, other, tier)
        if call == 0:
            change()


@pytest.mark.parametrize("kind", INPUTS)
@pytest.mark.parametrize(("api", "name", "attribute", "value"), CASES, ids=lambda part: getattr(part, "__name__", None))
def test_what_is_set_later(api, name, attribute, value, kind):
    transform = getattr(api, name)(*SET[name][0])
    rounded = name == "GaussianBlur" or (kind == "uint8" and api is v1 and name in ("Resize", "RandomResizedCrop"))
    agree([transform], lambda: setattr(transform, attribute, value), INPUTS[kind], "rounding" if rounded else "exact")


@pytest.mark.parametrize("api", BOTH)
@pytest.mark.parametrize("name", INNER)
def test_containers_that_are_changed(name, api):
    for attribute, values in INNER[name].items():
        for value in values:
            container = getattr(api, name)([api.RandomInvert(1), api.RandomVerticalFlip(1)])
            agree([container], lambda: setattr(container, attribute, value), LEVELS)  # noqa: B023 - called at once


REFUSED = [
    *([api.Grayscale(2)] for api in BOTH),
    *([api.CenterCrop((0, 3))] for api in BOTH),
    *([api.RandomAdjustSharpness(-1, 1.0)] for api in BOTH),
    [v1.RandomHorizontalFlip("x")],
    [v1.RandomApply([v1.RandomInvert(1)], p=None)],
    [v2.Resize(9, max_size=9)],
    [v1.RandomCrop(9, padding=(1, 2, 3))],
    [v2.RandomPhotometricDistort(hue=(0.6, 0.7), p=1)],
]
"""What no constructor checks."""


@pytest.mark.parametrize("transforms", REFUSED, ids=lambda transforms: type(transforms[0]).__name__)
@pytest.mark.parametrize("kind", INPUTS)
def test_what_no_constructor_checks(transforms, kind):
    agree(transforms, lambda: None, INPUTS[kind], calls=2)


def test_another_list_counts_from_the_next_call():
    transform = lt.LearnedCompose([v2.Resize(9)], fallback="error")
    transform(LEVELS)
    for given in (
        [v2.CenterCrop(8)],
        (v2.CenterCrop(7),),
        nn.Sequential(v2.CenterCrop(6)),
        v2.Compose([v2.CenterCrop(5)]),
    ):
        transform.transforms = given
        assert torch.equal(transform(LEVELS), v2.Compose(list(transform.transforms))(LEVELS))
    transform.backend = "reference"
    transform(LEVELS)
    assert {segment.specialize.backend for segment in transform.segments.values()} == {"reference"}
    with pytest.raises(lt.errors.PipelineTypeError, match="is the class Resize"):
        transform.transforms = [v2.Resize]


@pytest.mark.parametrize("api", BOTH)
@pytest.mark.parametrize("name", ["Resize", "RandomResizedCrop"])
def test_pillow_antialiases_whatever_a_resize_says(name, api):
    transform = lt.LearnedCompose([getattr(api, name)(9, antialias=False)], fallback="error")
    with pytest.warns(UserWarning, match="Anti-alias option is always applied for PIL Image input") as told:
        transform(INPUTS["pil"])
    assert [one.filename for one in told] == [__file__]
    transform(LEVELS)  # No warning, which the tests would take for an error.
