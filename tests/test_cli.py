"""The command line and the report, as a user meets them."""

import json
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from helpers import to_pil

from learned_transforms import LearnedCompose
from learned_transforms.certificate import measure
from learned_transforms.cli import main
from learned_transforms.report import demo
from learned_transforms.trainer.search import Row


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    out = tmp_path_factory.mktemp("demo")
    return out, demo(out, count=800, certified=40, progress=False)


def test_demo_certifies_what_it_learned(report):
    out, found = report
    tiers = {name: entry["tier"] for name, entry in found["certificates"].items()}
    for kind in ("uint8", "pil", "float32"):
        assert tiers[f"{kind}, kernel"] == "exact"
    assert {"uint8, separable", "uint8, dense", "uint8, cnn"} <= set(tiers)
    assert found["certificates"]["uint8, kernel"]["images"] == 6 * 40
    assert json.loads((out / "report.json").read_text()) == json.loads(json.dumps(found))


def test_demo_times_every_network_and_the_transforms(report):
    _, found = report
    assert set(found["times"]) == {"cpu"} | ({"cuda"} if torch.cuda.is_available() else set())
    names = set(found["times"]["cpu"])
    assert {f"{n} network, batched" for n in ("separable", "kernel", "dense", "cnn")} < names
    assert all(seconds > 0 for seconds in found["times"]["cpu"].values())


def test_the_page_needs_nothing_from_outside(report):
    out, _ = report
    page = (out / "index.html").read_text()
    sources = re.findall(r"(?:src|href)=\"([^\"]*)\"", page)
    assert sources
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert not re.findall(r"url\(|@import|<script", page)
    pictures = {path.name for path in out.glob("*.png")}
    examples = {f"examples_{name}.png" for name in ("separable", "kernel", "dense", "cnn")}
    assert pictures == examples | {"model.png", "training.png", "validation.png", "matrices.png", "kernel.png"}


def test_list(capsys):
    assert main(["list"]) == 0
    text = capsys.readouterr().out
    assert "cifar10_gray28" in text
    assert "uint8/gray" in text
    assert "proved" in text


def test_a_mistake_gets_a_message_not_a_traceback(tmp_path, capsys, monkeypatch):
    assert main(["demo", "--out", str(tmp_path), "--count", "1"]) == 1
    assert "learned-transforms: Expected at least 16 images" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert main(["demo", "--out", str(tmp_path)]) == 1
    assert "pip install 'learned_transforms[demo]'" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["fly"])


def test_installed_command():
    command = Path(sys.executable).with_name("learned-transforms")
    found = subprocess.run([command, "list"], capture_output=True, text=True, check=True)
    assert "cifar10_gray28" in found.stdout


TEACHERS = """
from torchvision.transforms import v2
from helpers import seed_v2
seed = v2.Compose(seed_v2(end=False))
gray = v2.Grayscale(1)
almost = lambda image: image.point(lambda value: value ^ 1)
same = lambda image: image
number = 3
def chatty(image):
    print("hello")
    return seed(image)
def broken(image):
    raise RuntimeError("no licence")
def interrupted(image):
    raise KeyboardInterrupt
"""


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """A current directory with teachers and photos in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "my_teachers.py").write_text(TEACHERS)
    (tmp_path / "my_quitter.py").write_text("raise SystemExit(3)")
    (tmp_path / "my_orphan.py").write_text("import a_module_that_is_not_there")
    for i in range(4):
        folder = tmp_path / "photos" / ("few" if i == 3 else "")
        folder.mkdir(parents=True, exist_ok=True)
        to_pil(torch.randint(0, 256, (3, 32, 32), dtype=torch.uint8)).save(folder / f"{i}.png")
    LearnedCompose([torch_gray()]).save_pretrained(tmp_path / "gray.safetensors")
    yield tmp_path
    for name in ("my_teachers", "my_quitter", "my_orphan"):
        sys.modules.pop(name, None)


def torch_gray():
    from torchvision.transforms import v2

    return v2.Grayscale(1)


def certify(*arguments):
    return main(["certify", *arguments, "--data", "photos"])


def test_certify_a_model(workplace, capsys):
    assert certify("gray.safetensors", "--teacher", "my_teachers:gray") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("exact: 0 of 4,096 values differ in 4 images")
    assert lines[1].startswith("  photos: 0 of 3,072 values differ in 3 images")
    assert lines[2].startswith("  photos/few: 0 of 1,024 values differ in 1 images")
    assert lines[3] == "PSNR: inf dB"


def test_certify_in_json(workplace, capsys):
    (workplace / "photos" / "broken.png").write_bytes(b"no image")
    assert (
        certify("gray.safetensors", "--teacher", "my_teachers:gray", "--count", "2", "--kind", "uint8", "--json") == 0
    )
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert (found["candidate"], found["teacher"]) == ("gray.safetensors", "my_teachers:gray")
    assert found["certificate"]["images"] == 2
    assert found["certificate"]["reference"]["input"] == "uint8"
    assert found["certificate"]["psnr"] is None


def test_certify_two_teachers(workplace, capsys):
    (workplace / "photos" / "broken.png").write_bytes(b"no image")
    assert certify("--against", "my_teachers:almost", "--teacher", "my_teachers:same", "--json") == 0
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert found["certificate"]["tier"] == "approximate"
    assert found["certificate"]["differing"] == found["certificate"]["values"] == 4 * 3 * 32 * 32
    assert [text.split(":")[0] for text in found["skipped"]] == ["broken.png"]
    assert "skipped: broken.png" in said.err


def test_json_is_all_that_stdout_holds(workplace, capsys):
    assert certify("--against", "my_teachers:seed", "--teacher", "my_teachers:chatty", "--json") == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["certificate"]["tier"] == "exact"
    assert "hello" in said.err


@pytest.mark.parametrize(
    ("teacher", "message"),
    [
        ("my_teachers:broken", "The teacher raised RuntimeError on image 0 .*: no licence"),
        ("my_teachers:nobody", "no such name"),
        ("my_teachers:number", "expected a callable, got int"),
        ("my_teachers", "Expected a teacher as package.module:name, got 'my_teachers'"),
        ("not_here:seed", "module 'not_here' not found"),
        ("my_orphan:seed", "module 'a_module_that_is_not_there' not found"),
        ("my_quitter:seed", "raised SystemExit: 3"),
        ("my_teachers:same", "one shape and dtype"),
    ],
)
def test_certify_with_a_teacher_that_does_not_work(workplace, capsys, teacher, message):
    assert certify("gray.safetensors", "--teacher", teacher) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert re.fullmatch(f"learned-transforms: .*{message}.*\n", said.err)


def test_certify_with_other_mistakes(workplace, capsys):
    teacher = ["--teacher", "my_teachers:gray"]
    assert main(["certify", "gray.safetensors", *teacher, "--data", "missing"]) == 1
    assert "Expected a folder of images" in capsys.readouterr().err
    (workplace / "empty").mkdir()
    assert main(["certify", "gray.safetensors", *teacher, "--data", "empty"]) == 1
    assert "found none" in capsys.readouterr().err
    assert certify("nothing", *teacher) == 1
    assert certify("gray.safetensors", *teacher, "--kind", "jpeg") == 1
    assert "pil, numpy, uint8, float32" in capsys.readouterr().err
    assert certify("gray.safetensors", *teacher, "--count", "0") == 1
    for wrong in (["--teacher", "a:b"], ["m", "--against", "a:b", "--teacher", "a:b"], ["m"]):
        with pytest.raises(SystemExit) as caught:
            certify(*wrong)
        assert caught.value.code == 2


def test_interrupted(workplace, capsys):
    assert certify("gray.safetensors", "--teacher", "my_teachers:interrupted") == 130
    assert capsys.readouterr().err == "learned-transforms: interrupted\n"


def certificate_of(offset):
    image = torch.randint(0, 200, (3, 8, 8), dtype=torch.uint8)
    return measure([("held out", image + offset, image)])


@pytest.fixture
def calls(monkeypatch):
    """What retrain was called with; it answers with an exact model, or with ``calls.offset`` levels too much."""
    found = SimpleNamespace(offset=0, given=[])

    def retrain(teacher, data, **settings):
        print("epoch 1")
        found.given.append((teacher, data, settings))
        trial = SimpleNamespace(form="bits 8", differing=0.25, largest=float("inf"))
        certificate = certificate_of(found.offset)
        table = [Row("table", None, None, "two answers for one value", 0.25), Row("kernel", None, trial, "", 61.5)]
        return SimpleNamespace(
            certificate=certificate,
            family="kernel",
            trials=[trial],
            table=table,
            notes=["a note"],
            folder=settings["out"],
        )

    monkeypatch.setattr("learned_transforms.trainer.retrain", retrain)
    return found


def test_retrain_passes_on_what_was_given(workplace, capsys, calls):
    assert main(["retrain", "--teacher", "my_teachers:gray", "--data", "photos", "--out", "mine"]) == 0
    (teacher, data, settings) = calls.given[0]
    assert teacher is sys.modules["my_teachers"].gray
    assert data == Path("photos")
    assert settings == {"out": Path("mine"), "resume": False}
    said = capsys.readouterr()
    assert "exact: 0 of 192" in said.out
    assert said.out.splitlines()[-5:] == [
        "  family  differing  largest error  seconds",
        "  table           -              -      0.2  two answers for one value",
        "  kernel   25.0000%            inf     61.5",
        "  a note",
        "folder: mine",
    ]
    assert said.err == ""
    options = ["--kind", "numpy", "--size", "20", "30", "--count", "99", "--epochs", "3", "--arch", "dense"]
    options += ["--seed", "0", "--resume"]
    assert main(["retrain", "--pairs", "pairs.csv", "--out", "mine", *options]) == 0
    assert calls.given[1][:2] == (None, Path("pairs.csv"))
    assert calls.given[1][2] == {
        "kind": "numpy",
        "size": (20, 30),
        "count": 99,
        "epochs": 3,
        "arch": "dense",
        "seed": 0,
        "out": Path("mine"),
        "resume": True,
    }


def test_retrain_warns_of_an_approximate_model(workplace, capsys, calls):
    calls.offset = 7
    assert main(["retrain", "--pairs", "pairs.csv", "--out", "mine", "--json"]) == 0
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert found["certificate"]["tier"] == "approximate"
    assert found["trials"] == [{"form": "bits 8", "differing": 0.25, "largest": None}]
    assert (found["notes"], found["folder"]) == (["a note"], "mine")
    assert [row["family"] for row in found["table"]] == ["table", "kernel"]
    assert [row["trial"] for row in found["table"]] == [None, found["trials"][0]]
    assert [row["reason"] for row in found["table"]] == ["two answers for one value", ""]
    assert "WARNING: this model is only APPROXIMATE" in said.err
    assert "allow_approximate=True" in said.err


@pytest.mark.parametrize(
    "wrong",
    [
        ["--teacher", "a:b", "--out", "mine"],
        ["--pairs", "p.csv", "--data", "photos", "--out", "mine"],
        ["--pairs", "p.csv", "--teacher", "a:b", "--data", "photos", "--out", "mine"],
        ["--data", "photos", "--out", "mine"],
        ["--pairs", "p.csv"],
        ["--pairs", "p.csv", "--out", "mine", "--count", "many"],
        ["--pairs", "p.csv", "--out", "mine", "--size", "3"],
    ],
)
def test_retrain_with_options_that_do_not_fit(wrong, calls, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["retrain", *wrong])
    assert caught.value.code == 2
    assert not calls.given
