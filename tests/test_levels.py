"""Float targets that are levels behind a table: whatever their range, for each channel by itself."""

import numpy as np
import pytest
import torch
from torchvision import transforms as v1

from learned_transforms.certificate import measure
from learned_transforms.layers.pointwise import Lookup, Mixing
from learned_transforms.layers.resize import Resampling
from learned_transforms.trainer import retrain
from learned_transforms.trainer.data.bundled import PHOTOS
from learned_transforms.trainer.data.quantization import Levels, lattice, merged
from learned_transforms.trainer.data.sources import Pairs

MEAN, STD = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
CAFFE = np.float32([103.939, 116.779, 123.68])


def floats(array):
    return array.astype(np.float32)


ARRAYS = {
    "x / 127.5 - 1": lambda a: floats(a) / 127.5 - 1,
    "as they are": floats,
    "x - 128": lambda a: floats(a) - 128,
    "2 x / 255": lambda a: floats(a) * 2 / 255,
    "mean and std a channel": lambda a: (floats(a) / 255 - MEAN) / STD,
    "turned, mean a channel": lambda a: floats(a[..., ::-1]) - CAFFE,
    "no straight line": lambda a: ((floats(a) / 255) ** 2.2 - MEAN) / STD,
    "falling": lambda a: 1 - floats(a) / 127.5,
}


@pytest.mark.parametrize("name", ARRAYS)
def test_floats_that_are_levels(name):
    teacher = ARRAYS[name]
    result = retrain(teacher, PHOTOS, kind="numpy", size=(24, 24), count=300, progress=False)
    assert result.certificate.tier == "exact", result.certificate
    image = np.random.default_rng(5).integers(0, 256, (37, 21, 3), np.uint8)
    assert np.array_equal(result.transform(image), teacher(image))


def test_a_preset_keeps_its_exact_resize():
    steps = [v1.Resize(24), v1.CenterCrop(20), v1.ToTensor(), v1.Normalize(MEAN.tolist(), STD.tolist())]
    result = retrain(v1.Compose(steps), PHOTOS, kind="pil", size=(32, 32), count=1500, progress=False)
    assert result.certificate.tier == "exact", result.certificate
    layers = result.networks[result.family].members
    assert any(isinstance(layer, Resampling) for layer in layers)
    # One table a channel, wherever the crop lies.
    assert [layer.values.shape for layer in layers if isinstance(layer, Lookup)] == [(3, 256)]


def test_tables_in_a_row_are_one():
    result = retrain(lambda a: floats(255 - a) / 255, PHOTOS, kind="numpy", size=(24, 24), count=300, progress=False)
    assert [type(layer) for layer in result.networks["table"].members] == [Lookup]
    assert not any(isinstance(layer, Mixing) for layer in result.networks["table"].members)


def pairs_of(teacher, inputs):
    return Pairs(inputs, teacher(inputs), "uint8", "tensor")


def dark(count=40):
    return torch.randint(30, 90, (count, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("scale", "offset"), [(1 / 255, 0.0), (1.0, 0.0), (1 / 127.5, -1.0), (0.75, 3.3), (1.0, -128.0)]
)
def test_levels_that_are_not_all_shown(scale, offset):
    """Brightness tells which levels were shown; lines go on to the others."""
    inputs = dark()
    levels = Levels.of(pairs_of(lambda x: x.float() * scale + offset, inputs))
    assert levels.label(pairs_of(lambda x: x.float() * scale + offset, inputs)).targets.equal(inputs)
    assert levels.unseen == 256 - 60
    assert len(levels.notes()) == 1
    assert torch.allclose(levels.table, torch.arange(256) * scale + offset, atol=1e-4 * scale * 255)
    assert levels.step.item() == pytest.approx(scale)


def test_a_teacher_is_asked_about_levels_that_are_not_shown():
    def teacher(x):
        return (x.float() / 255) ** 2.2

    levels = Levels.of(pairs_of(teacher, dark()), teacher)
    assert levels.unseen == 0
    assert levels.table.equal(teacher(torch.arange(256))[None])


def test_levels_that_are_not_shown_are_just_what_a_division_gives():
    levels = Levels.of(pairs_of(lambda x: x.clamp(max=80).float() / 255, dark()))
    assert levels.table.equal((torch.arange(256).double() / 255).float()[None])


def test_continuous_floats_are_no_levels():
    inputs = dark()
    assert not Levels.of(pairs_of(lambda x: x.float().pow(1.1).mean(1, keepdim=True), inputs)).quantized
    assert not Levels.of(pairs_of(lambda x: torch.cat([x, x.float().sqrt() + x.flip(1)], 1), inputs)).quantized


def test_a_level_computed_in_two_ways_is_one():
    values = torch.arange(256) / 255
    both = torch.cat([values, torch.nextafter(values[1:], torch.ones(255))]).unique()
    assert len(both) > 256
    assert len(merged(both)) == 256


def test_steps_are_found_between_few_values():
    assert lattice(torch.tensor([0.0, 2, 5, 9]).double()).tolist() == [0, 2, 5, 9]
    assert lattice(torch.tensor([1.0, 1.1, 1.5, 300]).double()) is None
    assert lattice(torch.tensor([3.0]).double()) is None


def test_errors_count_in_the_levels_of_the_targets():
    target = torch.zeros(1, 2, 4, 4)
    output = target + torch.tensor([0.5, 2.0])[:, None, None]
    found = measure([("all", output, target)], step=torch.tensor([0.5, 1.0]).double())
    assert found.largest == 2.0
    assert found.histogram == {"0": 0, "<= 1": 16, "<= 2": 16, "> 2": 0}
