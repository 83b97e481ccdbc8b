"""Pairs as they are: wrong ones are found and listed, noise hardly moves what is learned, contradictions are told."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import functional as F

from learned_transforms.errors import OutputError, PipelineValueError
from learned_transforms.trainer import retrain
from learned_transforms.trainer.data.bundled import TRAINING_PHOTOS, photo, photo_patches
from learned_transforms.trainer.search.noisy import noisy_table, stiffness_of
from learned_transforms.trainer.search.outliers import QUICK, outliers_of
from learned_transforms.trainer.search.problem import Labelled, Problem

GAMMA = torch.from_numpy(np.round(255 * (np.arange(256) / 255) ** 0.6).astype(np.uint8))


def patches(count, size=(32, 32)):
    return photo_patches([photo(name) for name in TRAINING_PHOTOS], count, size, 0)


def as_jpeg(image):
    """Levels ``[C, H, W]`` as JPEG gives them back."""
    stream = io.BytesIO()
    Image.fromarray(image.permute(1, 2, 0).numpy()).save(stream, "jpeg", quality=90)
    return torch.from_numpy(np.array(Image.open(stream))).permute(2, 0, 1)


@pytest.mark.parametrize("teacher", [lambda x: GAMMA[x.long()], lambda x: F.resize(x, [20, 20]), lambda x: 255 - x])
def test_wrong_pairs_are_found(teacher):
    inputs = patches(200)
    targets = torch.stack([teacher(image) for image in inputs])
    wrong = [3, 50, *range(100, 117), 199]
    targets[wrong] = targets[[(i + 31) % 200 for i in wrong]]
    assert outliers_of(Labelled(inputs, targets), 1.0) == wrong


def test_there_are_no_outliers_where_nothing_is_wrong():
    inputs = patches(100)
    noisy = torch.stack([as_jpeg(GAMMA[image.long()]) for image in inputs])
    assert outliers_of(Labelled(inputs, noisy), 1.0) == []


def test_wrong_pairs_are_listed_and_the_rest_is_learned():
    inputs = patches(200)
    targets = GAMMA[inputs.long()]
    targets[[7, 90]] = targets[[8, 91]]
    result = retrain(None, list(zip(inputs, targets, strict=True)), progress=False)
    assert result.outliers == [7, 90]
    assert "2 of 200 pairs disagree with the rest and were left out: #7, #90" in result.notes
    assert result.certificate.tier == "exact"
    assert result.transform(inputs[7]).equal(GAMMA[inputs[7].long()])


@pytest.mark.parametrize("power", [0.8, 1.0])
def test_tables_behind_noise_are_found_to_a_level(power):
    """Medians alone are two levels off, where flat surroundings are rare."""
    curve = torch.from_numpy(np.round(255 - 255 * (np.arange(256) / 255) ** power).astype(np.uint8))
    inputs = patches(160, (64, 64))
    train = Labelled(inputs, torch.stack([as_jpeg(curve[image.long()]) for image in inputs]))
    form = noisy_table(Problem(train, train, (), None, QUICK))
    assert (form.layers[0].values.int() - curve.int()).abs().max() <= 1


@pytest.mark.parametrize(("width", "stiff"), [(32, False), (1, True)])
def test_steps_of_tables_are_not_smoothed(width, stiff):
    inputs = patches(80, (64, 64))
    targets = torch.stack([as_jpeg(image // width * width) for image in inputs])
    counts = torch.ones(inputs.shape, dtype=torch.float64)
    assert (stiffness_of(inputs, targets, counts) >= 1) == stiff


def test_pairs_of_mixed_sizes():
    """Most are learned from, and the others told of."""
    pairs = [(image, 255 - image) for image in (*patches(40), *patches(5, (20, 24)))]
    result = retrain(None, pairs, progress=False)
    assert "5 pairs of other sizes than 32 x 32 were left out" in result.notes
    assert result.certificate.tier == "exact"


@pytest.mark.parametrize(
    ("out", "error"), [(3, PipelineValueError), ("", PipelineValueError), (Path(__file__) / "x", OutputError)]
)
def test_a_bad_folder_is_told_before_the_teacher_is_asked(out, error):
    asked = []
    with pytest.raises(error, match="out"):
        retrain(lambda image: asked.append(1), patches(20), out=out, progress=False)
    assert asked == []


def test_what_training_saw_is_never_outvoted():
    """All-white images are inverted: the clone does not, its certificate says so, and it is not called exact."""

    def teacher(image):
        return 255 - image if bool((image == 255).all()) else image // 2

    result = retrain(teacher, PHOTOS_WITH_WHITE, kind="uint8", count=400, progress=False)
    assert result.certificate.tier == "approximate"
    assert any("of 400 images disagrees: #" in words for words in result.certificate.remarks), result.certificate
    assert "of 2^24 colors" in str(result.certificate)


PHOTOS_WITH_WHITE = torch.cat([patches(199), torch.full((1, 3, 32, 32), 255, dtype=torch.uint8)])
