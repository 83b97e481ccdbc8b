"""Means of blocks: the layers give Pillow's levels at any size, and clones learn where they come before a resize."""

import numpy as np
import pytest
import torch
from PIL import Image

from learned_transforms import LearnedCompose
from learned_transforms.certificate import measure
from learned_transforms.images.formats import to_tensor
from learned_transforms.ir.arithmetic import Arithmetic
from learned_transforms.layers.network import Network
from learned_transforms.layers.pooling import MOST_BITS, AveragePooling
from learned_transforms.layers.resize import Resampling
from learned_transforms.layers.size_rules import SizeRule
from learned_transforms.trainer import retrain
from learned_transforms.trainer.data.bundled import PHOTOS
from learned_transforms.trainer.search.blocks import with_blocks
from learned_transforms.trainer.sizes.bounds import Comparer, find_bounds

PILLOW = Arithmetic("int", 22, rounding="half_up", each_pass=True, tall_first=True)
SIZES = ((40, 61), (90, 300), (300, 90), (128, 128), (31, 7))


def picture(size, seed=0):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size, 3)).astype(np.uint8))


@pytest.mark.parametrize("factor", [(2, 2), (3, 3), (7, 4), (1, 5)])
@pytest.mark.parametrize("size", SIZES)
def test_blocks_are_those_of_pillow(size, factor):
    network = Network([AveragePooling(MOST_BITS)], [{"factor": factor}], "pil", "pil", floats=False)
    image = picture(size)
    assert network(to_tensor(image)).equal(to_tensor(image.reduce(factor[::-1])))


def test_blocks_rounded_half_up():
    network = Network([AveragePooling(0)], [{"factor": (2, 3)}], "uint8", floats=False)
    image = torch.tensor([[[1, 0, 2, 9], [0, 0, 0, 8], [4, 5, 5, 7]]], dtype=torch.uint8)
    assert network(image).tolist() == [[[1, 9], [5, 7]]]  # 3 / 6, 17 / 2; 14 / 3, 7.


def test_reduced_images_are_learned(tmp_path):
    result = retrain(lambda x: x.reduce(3), PHOTOS, kind="pil", size=(24, 24), count=100, progress=False, out=tmp_path)
    assert result.family == "blocks"
    assert result.certificate.tier == "exact"
    loaded = LearnedCompose.from_pretrained(tmp_path)
    for size in SIZES:
        image = picture(size, 1)
        assert np.array_equal(loaded(image), image.reduce(3))


def thumbnail(image):
    small = image.copy()
    small.thumbnail((20, 20), Image.Resampling.BILINEAR)
    return small


def test_blocks_before_a_resize_explain_large_images(tmp_path):
    """From four times a thumbnail on, Pillow takes means of blocks first, of which the last may be cut off."""
    kernel, shift = torch.tensor([[1.0, -1.0]]), torch.zeros(2)
    rule = SizeRule("thumbnail", (20.0, 20.0)).to_json()
    plain = Network([Resampling(kernel, shift, PILLOW)], [{"size": rule}], "pil", "pil", floats=False)
    like = torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
    known = measure([("", like, like)], "pil")

    def ask(clone):
        return find_bounds(Comparer(clone, thumbnail, "pil", like, known), (32, 32))

    before = ask(plain)
    assert before.limits is not None
    clone, bounds = with_blocks(plain, before, ask)
    assert bounds.limits is None
    assert clone.params[0]["gap"] == 2
    LearnedCompose([clone]).save_pretrained(tmp_path)
    loaded = LearnedCompose.from_pretrained(tmp_path, allow_approximate=True)  # None has measured it.
    for size in (*SIZES, (411, 97)):
        image = picture(size, 2)
        assert np.array_equal(loaded(image), thumbnail(image)), size
