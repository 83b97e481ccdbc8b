"""Runs of the trainer from outside: what they leave behind, where they train, and how they end before their time."""

import errno
import json
import os
from pathlib import Path

import pytest
import torch
from PIL import Image, ImageFilter

import learned_transforms as lt
from learned_transforms import trainer
from learned_transforms.cli.main import main
from learned_transforms.errors import DataError, OutputError, PipelineValueError, TeacherError
from learned_transforms.trainer import retrain
from learned_transforms.trainer.data.asking import ask, find_kind


def images(count=60, size=(12, 12)):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, *size), dtype=torch.uint8, generator=generator)


def crossed(image):
    """No family is faithful to it, and free matrices come near."""
    return ((image.int() + image.roll(1, -1).int() * image.int() // 255) // 2).to(torch.uint8)


def learn(teacher=crossed, **settings):
    return retrain(teacher, images(), **{"kind": "uint8", "count": 60, "epochs": 2, "progress": False, **settings})


@pytest.fixture
def stopped(monkeypatch):
    """Whoever runs the search presses Ctrl-C at its end; what was asked for after that is listed."""
    asked, search = [], trainer.search

    def interrupted(problem):
        rows = search(problem)
        problem.settings.interrupt.set()
        return rows

    monkeypatch.setattr(trainer, "search", interrupted)
    monkeypatch.setattr(trainer, "last_resort", lambda *given: asked.append(given) or ("local", "never reached"))
    return asked


def test_no_training_begins_after_an_interrupt(stopped, tmp_path):
    result = learn(out=tmp_path)
    assert stopped == []
    assert result.family in result.networks
    assert result.certificate.tier == "approximate"
    assert (tmp_path / "checkpoint" / "state.json").exists()


def test_the_last_resort_is_tried_without_an_interrupt(monkeypatch):
    monkeypatch.setattr(trainer, "last_resort", lambda *given: ("local", "not today"))
    assert [row.reason for row in learn().table if row.family == "local"] == ["not today"]


def test_what_an_interrupted_run_found_is_kept_even_if_it_is_poor(stopped):
    generator = torch.Generator().manual_seed(1)
    targets = torch.randint(0, 256, (60, 3, 12, 12), dtype=torch.uint8, generator=generator)
    assert retrain(None, list(zip(images(), targets, strict=True)), epochs=1, progress=False).family


def test_a_run_without_a_network_leaves_no_checkpoint(tmp_path):
    generator = torch.Generator().manual_seed(1)
    targets = torch.randint(0, 256, (60, 3, 12, 12), dtype=torch.uint8, generator=generator)
    pairs = list(zip(images(), targets, strict=True))
    with pytest.raises(DataError, match="aligned"):
        retrain(None, pairs, epochs=1, progress=False, out=tmp_path / "mine")
    assert list((tmp_path / "mine").iterdir()) == []


def test_a_run_that_can_be_resumed_keeps_its_checkpoint(monkeypatch, tmp_path):
    def broken(*given):
        raise TeacherError("no licence")

    with monkeypatch.context() as patch:
        patch.setattr(trainer, "last_resort", broken)
        with pytest.raises(TeacherError):
            learn(out=tmp_path)
    before = (tmp_path / "checkpoint" / "state.json").read_bytes()
    # A mistake that is seen before training begins does no harm to the run before it.
    with pytest.raises(PipelineValueError):
        learn(out=tmp_path, held_out=3)
    with pytest.raises(DataError):
        learn(lambda image: image * 0, out=tmp_path)
    assert (tmp_path / "checkpoint" / "state.json").read_bytes() == before
    learn(out=tmp_path, resume=True)
    assert not (tmp_path / "checkpoint").exists()


def test_pairs_stay_on_the_cpu(monkeypatch):
    seen = []

    def find(arch, problem, *others):
        seen.append(problem)
        raise DataError("enough")

    monkeypatch.setattr(trainer, "find", find)
    with pytest.raises(DataError, match="enough"):
        learn(device="meta")
    (problem,) = seen
    tensors = [t for part in (problem.train, problem.val) for t in (part.inputs, part.targets)]
    assert {t.device.type for t in tensors} == {"cpu"}
    assert problem.ask(images(2)).targets.device.type == "cpu"
    assert problem.settings.device.type == "meta"
    moved = problem.settings.move(problem.train.floats())
    assert {t.device.type for t in moved} == {"meta"}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("arch", ["auto", "separable", "dense"])
def test_training_on_a_gpu(arch, tmp_path):
    result = learn(arch=arch, device="cuda", out=tmp_path)
    assert {p.device.type for network in result.networks.values() for p in network.parameters()} == {"cpu"}
    assert lt.LearnedCompose.from_pretrained(tmp_path, allow_approximate=True)(images()[0]).shape == (3, 12, 12)


@pytest.mark.parametrize("device", ["abacus", "cuda:99"])
def test_a_device_that_is_not_there(device):
    asked = []
    with pytest.raises(PipelineValueError, match=f"Expected a device that torch can use, such as cpu, got '{device}'"):
        learn(asked.append, device=device)
    assert asked == []


@pytest.mark.parametrize("arch", ["separable", "dense"])
def test_one_family_is_timed_too(arch):
    assert [row.seconds > 0 for row in learn(arch=arch).table if row.family == arch] == [True]


def test_the_table_begins_with_a_baseline(tmp_path):
    first = learn(lambda image: 255 - image, out=tmp_path).table[0]
    assert (first.family, first.form, first.trial.largest) == ("baseline: unchanged inputs", None, 255)
    assert "| baseline: unchanged inputs | 100.0000% | 255 |" in (tmp_path / "search.md").read_text()
    assert json.loads((tmp_path / "search.json").read_text())[0]["trial"]["differing"] == 1
    # Floats that are no levels have another dtype than the inputs.
    for teacher in (lambda image: image[:1, :6, :6], lambda image: (image * 1.3 + image.flip(-1).sqrt()) / 300):
        first = learn(teacher, arch="separable").table[0]
        assert first.family == "baseline: mean of the targets"
        assert 0.9 < first.trial.differing <= 1


def fill(monkeypatch):
    """A disk that is full once half a weight file is written."""
    inner = Path.write_bytes

    def write(self, content):
        inner(self, content[: len(content) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", write)


def test_a_full_disk(monkeypatch, tmp_path):
    with monkeypatch.context() as patch:
        fill(patch)
        with pytest.raises(OutputError, match=r"cannot be written \(No space left on device\)\. Make room"):
            learn(out=tmp_path, arch="separable")
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]
    learn(out=tmp_path, arch="separable", resume=True)
    assert (tmp_path / "model.safetensors").exists()
    assert not (tmp_path / "checkpoint").exists()


def test_a_full_disk_on_the_command_line(monkeypatch, tmp_path, capsys):
    (tmp_path / "photos").mkdir()
    for i, image in enumerate(images(4)):
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(tmp_path / "photos" / f"{i}.png")
    (tmp_path / "some_teachers.py").write_text("invert = lambda image: 255 - image")
    monkeypatch.syspath_prepend(tmp_path)
    fill(monkeypatch)
    given = ["--teacher", "some_teachers:invert", "--data", str(tmp_path / "photos"), "--kind", "uint8"]
    assert main(["retrain", *given, "--count", "40", "--out", str(tmp_path / "mine")]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    expected = f"{tmp_path / 'mine'} cannot be written (No space left on device). Make room, or choose another folder."
    assert said.err.splitlines()[-1] == f"learned-transforms: {expected}"
    assert "Traceback" not in said.err
    assert list((tmp_path / "mine").iterdir()) == []


@pytest.mark.parametrize("mode", ["RGBA", "P", "LA", "CMYK", "I", "F", "1", "I;16", "HSV"])
def test_answers_of_other_modes(mode):
    """Made RGB behind the teacher's back they would lose what is in them."""

    def teacher(image):
        return Image.new(mode, image.size)

    expected = rf"PIL image of mode {mode}\. Convert it with \.convert\(\"RGB\"\)"
    with pytest.raises(TeacherError, match=expected):
        ask(teacher, images(1), "pil")
    with pytest.raises(TeacherError, match=expected):
        find_kind(teacher, images(1)[0], "pil")
    # Of 16 bits are learned, as floats.
    with pytest.raises(TeacherError if mode != "I;16" else DataError, match=expected if mode != "I;16" else "is 0.0"):
        learn(teacher, kind="pil")


def test_answers_in_gray():
    answers, container = ask(lambda image: image.convert("L").filter(ImageFilter.BLUR), images(2), "pil")
    assert ([tuple(a.shape) for a in answers], container) == ([(1, 12, 12)] * 2, "pil")
