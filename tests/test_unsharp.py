"""Unsharp masks: what the layer computes, and that the search finds them, and blurs that round more than once."""

import numpy as np
import pytest
import torch
from helpers import image_of, to_pil
from PIL import Image, ImageFilter

import learned_transforms as lt
from learned_transforms.errors import PipelineValueError
from learned_transforms.ir.arithmetic import Arithmetic
from learned_transforms.layers.cube import HIGHEST
from learned_transforms.layers.network import Network
from learned_transforms.layers.unsharp import DIFFERENCES, UnsharpMasking
from learned_transforms.trainer import retrain
from learned_transforms.trainer.data.bundled import PHOTOS, photo, training_images
from learned_transforms.trainer.search.outliers import QUICK
from learned_transforms.trainer.search.problem import FoundForm, Labelled, Problem, attempt, labelled
from learned_transforms.trainer.search.unsharp import unsharp_form

DIFFERENCE = torch.arange(DIFFERENCES, dtype=torch.float64) - HIGHEST
INT = Arithmetic("int", 16, rounding="half_up")
SIDE = np.array([3, 24, 74, 24, 3])


def smoothed(array):
    """A separable window of whole numbers over 128, mirrored at the border, rounded once; int ``[H, W, C]``."""
    height, width = array.shape[:2]
    padded = np.pad(array.astype(int), ((2, 2), (2, 2), (0, 0)), mode="reflect")
    across = sum(weight * padded[:, k : k + width] for k, weight in enumerate(SIDE))
    return (sum(weight * across[k : k + height] for k, weight in enumerate(SIDE)) + 2**13) >> 14


def sharpened(array):
    """As OpenCV makes it: of the rounded smoothed image; ties go to the even level."""
    return np.rint(1.5 * array - 0.5 * smoothed(array)).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("size", [(1, 1), (3, 40), (33, 20)])
@pytest.mark.parametrize("channels", [1, 3])
def test_as_pillow(channels, size):
    image = image_of(channels, size)
    changes = torch.where(DIFFERENCE.abs() > 3, (DIFFERENCE * 1.5).trunc(), 0.0)
    layer = UnsharpMasking(changes, sigma=torch.tensor([2.0]))
    made = Network([layer], [{}], "uint8", floats=False)(image)
    wanted = np.array(to_pil(image).filter(ImageFilter.UnsharpMask(2, 150, 3))).reshape(*size, channels)
    assert made.equal(torch.from_numpy(wanted).permute(2, 0, 1))


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"sigma": torch.ones(1), "window": torch.ones(3, 3), "border": "edge", "arithmetic": INT},
        {"window": torch.ones(3, 3)},
        {"sigma": torch.ones(1), "border": "edge"},
        {"window": torch.ones(2, 3), "border": "edge", "arithmetic": INT},
        {"window": torch.ones(3, 3), "border": "none", "arithmetic": INT},
        {"sigma": torch.zeros(1)},
        {"sigma": torch.full((1,), float("nan"))},
        {"sigma": torch.ones(2)},
    ],
)
def test_layers_that_are_none_are_refused(given):
    with pytest.raises(PipelineValueError, match="Expected"):
        UnsharpMasking(DIFFERENCE, **given)


TEACHERS = {
    "boxes": (lambda image: image.filter(ImageFilter.UnsharpMask()), "pil"),
    "blur": (lambda image: image.filter(ImageFilter.GaussianBlur(1.3)), "pil"),
    "window": (sharpened, "numpy"),
}


def found_from(name, seed):
    """What the family finds from images of a seed, and other images."""
    teacher, kind = TEACHERS[name]

    def ask(images):
        return labelled(teacher, images, kind)

    images = training_images(600, (24, 24), seed)
    problem = Problem(ask(images[::2]), ask(images[1::2]), (), ask, QUICK)
    form = unsharp_form(problem)
    assert isinstance(form, FoundForm), form
    return form, ask(photo("rocket")[None, :, :70, :90])


@pytest.mark.parametrize("name", TEACHERS)
def test_masks_are_found(name):
    form, other = found_from(name, 0)
    assert attempt(form.layers, [other]).differing == 0
    again, _ = found_from(name, 0)
    assert again.layers[0].digest() == form.layers[0].digest()


def test_the_seed_does_not_change_what_is_found():
    assert [float(found_from("boxes", seed)[0].layers[0].sigma) for seed in (1, 2)] == [2.0, 2.0]


def test_answers_that_are_clamped_throughout_are_no_mask():
    images = training_images(60, (24, 24))
    part = Labelled(images, (images > 127).to(torch.uint8) * 255)
    assert "clamped" in unsharp_form(Problem(part, part, (), None, QUICK))


def test_clones_take_any_size(tmp_path):
    teacher, kind = TEACHERS["boxes"]
    result = retrain(teacher, PHOTOS, kind=kind, size=(24, 24), count=600, progress=False, out=tmp_path)
    assert (result.family, result.certificate.tier) == ("unsharp mask", "exact"), [str(row) for row in result.table]
    image = Image.fromarray(photo("coffee")[:, :70, :90].permute(1, 2, 0).numpy())
    loaded = lt.LearnedCompose.from_pretrained(tmp_path)
    assert np.array_equal(np.asarray(loaded(image)), np.asarray(teacher(image)))
