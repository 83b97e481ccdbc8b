"""The doctor: what it says of a sound installation, and of a damaged one."""

import copy
import json
from dataclasses import replace

import pytest
import torch

from learned_transforms.artifacts import weights as weight_files
from learned_transforms.cli import doctor
from learned_transforms.cli import main as cli
from learned_transforms.kernels import backends, cpu

SOUND = "uint8/resize_bilinear", "pil/hue"
EVERYTHING = weight_files.load("torchvision")


def only(monkeypatch: pytest.MonkeyPatch, *keys: str, damage: str = "") -> None:
    """Have it look at some layers alone, one of them damaged."""
    layers = {key: copy.deepcopy(EVERYTHING.layers[key]) for key in keys}
    for key, layer in layers.items():
        if key == damage:
            with torch.no_grad():
                next(layer.parameters()).view(-1)[-1] += 0.03
    files = {"torchvision": replace(EVERYTHING, layers=layers)}
    monkeypatch.setattr(doctor.weight_files, "shipped_names", lambda: list(files))
    monkeypatch.setattr(doctor.weight_files, "load", files.__getitem__)


def test_every_shipped_layer_holds(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "WORSE" not in out
    names = [*EVERYTHING.layers, "uint8/pipeline", "pil/imagenet_eval", "lanczos_224", "bicubic_224"]
    assert [name for name in names if name not in out] == []


def test_a_damaged_weight_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    only(monkeypatch, *SOUND, damage="uint8/resize_bilinear")
    assert cli.main(["doctor"]) == 1
    worse = [line for line in capsys.readouterr().out.splitlines() if line.startswith("WORSE")]
    assert len(worse) == 1
    assert "uint8/resize_bilinear" in worse[0]
    assert "approximate" in worse[0]


def test_as_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    only(monkeypatch, *SOUND)
    assert cli.main(["doctor", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["sound"] is True
    assert told["backends"] == backends()
    assert told["versions"].keys() == {"python", "numpy", "torch", "torchvision", "pillow"}
    assert told["versions"]["torch"] == str(torch.__version__)
    assert (told["threads"], told["instructions"]) == (torch.get_num_threads(), [*cpu.instructions(), "none"][0])
    assert [(f["layer"], f["shipped"], f["here"]) for f in told["findings"]] == [(k, "exact", "exact") for k in SOUND]


def test_what_is_of_no_use_here_does_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where torchvision resizes levels through floats, the layer of levels must not be held against it."""
    assert set(doctor.UNUSED) <= set(EVERYTHING.layers)
    only(monkeypatch, *SOUND, damage="uint8/resize_bilinear")
    reason = "through floats"
    unused = {"uint8/resize_bilinear": (lambda: False, reason)}
    monkeypatch.setattr(doctor, "UNUSED", unused)
    resized, hue = doctor.examine(progress=False).findings
    assert (resized.here, resized.detail, resized.holds) == (None, reason, True)
    assert (hue.here, hue.holds) == ("exact", True)
