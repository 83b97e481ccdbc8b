"""A resize with a filter behind it, before a table and without one."""

import numpy as np
import torch
from PIL import Image, ImageFilter

import learned_transforms as lt
from learned_transforms.layers.filter import Filtering
from learned_transforms.layers.pointwise import Lookup
from learned_transforms.layers.resize import Resampling
from learned_transforms.trainer import retrain, shipped_kernels
from learned_transforms.trainer.data.bundled import PHOTOS, photo, training_images
from learned_transforms.trainer.search.filtered import filtered_form
from learned_transforms.trainer.search.outliers import QUICK
from learned_transforms.trainer.search.problem import FoundForm, Problem, attempt, labelled
from learned_transforms.trainer.search.search import before

CURVE = [round((level / 255) ** 0.8 * 255) for level in range(256)]


def sharpened(image):
    return image.resize((20, 20), Image.Resampling.BICUBIC).filter(ImageFilter.SHARPEN)


def curved(image):
    return sharpened(image).point(CURVE * 3)


def test_sharpened_resizes_are_found_at_any_size(tmp_path):
    result = retrain(sharpened, PHOTOS, kind="pil", size=(31, 31), count=800, progress=False, out=tmp_path)
    assert (result.family, result.certificate.tier) == ("resize, filter", "exact"), [str(row) for row in result.table]
    members = result.networks[result.family].members
    assert [type(layer) for layer in members] == [Resampling, Filtering]
    assert members[0].provenance()["kernel"] == "selected"
    image = Image.fromarray(photo("coffee")[:, :70, :90].permute(1, 2, 0).numpy())
    loaded = lt.LearnedCompose.from_pretrained(tmp_path)
    assert np.array_equal(np.asarray(loaded(image)), np.asarray(sharpened(image)))


def test_what_overshoots_the_strict_part_of_a_curve_is_found_before_it():
    def ask(images):
        return labelled(curved, images, "pil")

    images = training_images(300, (31, 31))
    train, val = ask(images[::2]), ask(images[1::2])
    table = Lookup(torch.tensor([CURVE], dtype=torch.uint8))
    inner = before(table, Problem(train, val, (), ask, QUICK, shipped_kernels()))
    form = filtered_form(inner)
    assert isinstance(form, FoundForm), form
    assert attempt([*form.layers, table], [val], [*form.params, {}]).differing == 0


def test_answers_that_are_clamped_throughout_are_no_filtered_resize():
    def ask(images):
        return labelled(lambda image: sharpened(image).point(([0] * 128 + [255] * 128) * 3), images, "pil")

    part = ask(training_images(40, (31, 31)))
    assert "leaves" in filtered_form(Problem(part, part, (), ask, QUICK, shipped_kernels()))
