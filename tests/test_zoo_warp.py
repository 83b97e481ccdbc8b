"""The layers behind torchvision's warps: one is rebuilt here, a damaged one is caught, another teacher is learned."""

import copy

import pytest
import torch

from learned_transforms.artifacts import weights as weight_files
from learned_transforms.artifacts.weights import Weights
from learned_transforms.errors import TeacherError
from learned_transforms.layers.warp import Warping
from learned_transforms.trainer.zoo import certify, warp
from learned_transforms.trainer.zoo.build import EVERYTHING
from learned_transforms.trainer.zoo.teachers import TEACHER_KINDS, WARPED
from learned_transforms.trainer.zoo.warp import candidates, kernel_for, learn_warp

KEYS = [f"{name}/{role}" for name, roles in WARPED.items() for role in roles]


@pytest.fixture(scope="module")
def shipped():
    return weight_files.load(EVERYTHING)


def test_every_warp_is_there_marked_and_exact(shipped):
    for key in KEYS:
        layer = shipped.layers[key]
        assert type(layer) is Warping
        marks = {name: shipped.provenance[f"{key}.{name}"] for name in layer.provenance()}
        assert marks == {"kernel": "learned", "arithmetic": "selected", "form": "selected"}
        assert shipped.about["trials"][key]
        assert shipped.certificates[key].tier == "exact"


@pytest.mark.parametrize("key", ["pil/warp_nearest", "uint8_v1/warp_bilinear"])
def test_warps_are_rebuilt(shipped, key):
    name, _, role = key.partition("/")
    kernel = kernel_for(role)
    assert kernel.equal(shipped.layers[key].kernel)
    layer, trials = learn_warp(name, role, kernel)
    assert layer.describe() == shipped.layers[key].describe()
    assert len(trials) == len(candidates(kernel, TEACHER_KINDS[name] != "float32")) > 4


def test_another_teacher_is_learned_and_none_refused(shipped, monkeypatch):
    """The same code, behind the name of another role."""
    cubic = warp.TEACHERS["warp_bicubic"]
    monkeypatch.setitem(warp.TEACHERS, "warp_bilinear", (lambda role, *args: cubic[0]("warp_bicubic", *args), cubic[1]))
    assert kernel_for("warp_bilinear").equal(shipped.layers["pil/warp_bicubic"].kernel)
    noise = torch.rand(1, warp.SIDE, warp.SIDE, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    monkeypatch.setitem(warp.TEACHERS, "warp_bilinear", (lambda role, image, move: noise * image.flip(1), 1e-9))
    with pytest.raises(TeacherError, match="No kernel explains"):
        kernel_for("warp_bilinear")


@pytest.mark.parametrize("key", ["pil/warp_bilinear", "uint8/warp_bilinear"])
def test_damage_is_seen(shipped, key, monkeypatch):
    photos = certify.photos()[:1]
    monkeypatch.setattr(certify, "photos", lambda: photos)
    monkeypatch.setattr(certify, "MOVED", certify.MOVED[:1])
    name, _, role = key.partition("/")
    layer = copy.deepcopy(shipped.layers[key])
    layer.kernel.data[0, 1] += 0.03
    path = certify.paths()[-1]
    for damaged, exact in ((shipped.layers[key], True), (layer, False)):
        weights = Weights({**shipped.layers, key: damaged}, [])
        (found,) = certify.certify_layer(name, role, 7, [path], weights).values()
        assert found.at_least("exact") is exact
