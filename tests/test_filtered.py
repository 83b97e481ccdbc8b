"""A resize with a filter behind it, before a table and without one."""

import numpy as np
import pytest
from PIL import Image, ImageFilter

import learned_transforms as lt
from learned_transforms.layers.filter import Filtering
from learned_transforms.layers.resize import Resampling
from learned_transforms.trainer import retrain
from learned_transforms.trainer.data.sources import PHOTOS, photo

CURVE = [round((level / 255) ** 0.8 * 255) for level in range(256)] * 3
MEAN, STD = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])


def sharpened(image):
    return image.resize((20, 20), Image.Resampling.BICUBIC).filter(ImageFilter.SHARPEN)


def chain(image):
    """What is sharpened overshoots, and the curve folds some of its levels."""
    small = image.resize((20, 20), Image.Resampling.BILINEAR).filter(ImageFilter.SHARPEN)
    return (np.asarray(small.point(CURVE)).astype(np.float32) / 255 - MEAN) / STD


@pytest.mark.parametrize("teacher", [sharpened, chain])
def test_chains_are_found_at_any_size(teacher, tmp_path):
    result = retrain(teacher, PHOTOS, kind="pil", size=(31, 31), count=800, progress=False, out=tmp_path)
    assert result.family.endswith("resize, filter"), [str(row) for row in result.table]
    assert result.certificate.tier == "exact"
    members = result.networks[result.family].members
    assert [type(layer) for layer in members[:2]] == [Resampling, Filtering]
    assert members[0].provenance()["kernel"] == "selected"
    image = Image.fromarray(photo("coffee")[:, :70, :90].permute(1, 2, 0).numpy())
    loaded = lt.LearnedCompose.from_pretrained(tmp_path)
    assert np.array_equal(np.asarray(loaded(image)), np.asarray(teacher(image)))
