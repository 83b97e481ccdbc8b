"""The command line and the report, as a user meets them."""

import io
import json
import re
import subprocess
import sys
from contextlib import redirect_stderr
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from helpers import to_pil

import learned_transforms as lt
from learned_transforms import LearnedCompose, list_pretrained
from learned_transforms.certificate import measure
from learned_transforms.cli.demo import demo
from learned_transforms.cli.main import COMMANDS, main
from learned_transforms.trainer.search.search import SearchRow


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    out, said = tmp_path_factory.mktemp("demo"), io.StringIO()
    with redirect_stderr(said):
        found = demo(out, count=800, certified=40)
    return out, found, said.getvalue().splitlines()


def test_demo_certifies_what_it_learned(report):
    out, found, _ = report
    tiers = {name: entry["tier"] for name, entry in found["certificates"].items()}
    for kind in ("uint8", "pil", "float32"):
        assert tiers[f"{kind}, kernel"] == "exact"
    assert {"uint8, separable", "uint8, dense", "uint8, cnn"} <= set(tiers)
    assert found["certificates"]["uint8, kernel"]["images"] == 6 * 40
    assert json.loads((out / "report.json").read_text()) == json.loads(json.dumps(found))


def test_demo_times_every_network_and_the_transforms(report):
    _, found, _ = report
    assert set(found["times"]) == {"cpu"} | ({"cuda"} if torch.cuda.is_available() else set())
    names = set(found["times"]["cpu"])
    assert {f"{n} network, batched" for n in ("separable", "kernel", "dense", "cnn")} < names
    assert all(seconds > 0 for seconds in found["times"]["cpu"].values())


def test_demo_tells_its_stages_where_there_is_no_terminal(report):
    """Seven lines of its own, one after the other, and one for each family that was tried."""
    _, _, lines = report
    own = [line for line in lines if line.startswith("demo: ")]
    assert [line.split()[1] for line in own] == ["learned"] * 3 + ["trained"] * 2 + ["certified", "timed"]
    assert sum(line.startswith("kernel: 0.0000% differ") for line in lines) == 3
    assert not any("it/s" in line for line in lines)


def test_the_page_needs_nothing_from_outside(report):
    out, _, _ = report
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
    assert "cifar10_gray28: Resize to 28 x 28, both flips (images are turned by 180 degrees)" in text


def test_list_in_json(capsys):
    assert main(["list", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found) == list_pretrained()
    assert "no flips" in found["cifar10_gray28_upright"]["description"]
    assert found["cifar10_gray28"]["certificates"]["uint8/gray"]["tier"] == "proved"


def test_who_reads_the_list_may_stop():
    command = [sys.executable, "-m", "learned_transforms", "list"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 1


def test_a_mistake_gets_a_message_not_a_traceback(tmp_path, capsys, monkeypatch):
    def told(*arguments):
        assert main(arguments) == 2
        said = capsys.readouterr()
        assert (said.out, said.err.count("\n")) == ("", 1)
        return said.err

    (tmp_path / "file").write_text("in the way")
    assert "learned-transforms: Expected at least 16 images" in told("demo", "--out", str(tmp_path), "--count", "1")
    for wrong in ("--count", "--certified"):
        assert "certified of at least 1, got" in told("demo", "--out", str(tmp_path), wrong, "0")
    assert told("demo", "--out", str(tmp_path / "file")).endswith("file: File exists\n")
    assert "got 'warp'" in told("bench", "--device", "warp")
    if not torch.cuda.is_available():
        assert "Expected a device that torch can use, such as cpu, got 'cuda'" in told("bench", "--device", "cuda")
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert "pip install 'learned_transforms[demo]'" in told("demo", "--out", str(tmp_path))
    with pytest.raises(SystemExit, match="2"):
        main(["fly"])


def test_version_and_help(capsys):
    assert lt.__version__ == version("learned_transforms")
    run = subprocess.run([sys.executable, "-m", "learned_transforms", "--version"], capture_output=True, text=True)
    assert run.stdout == f"learned-transforms {lt.__version__}\n"
    assert run.stderr == ""
    for command in COMMANDS:
        with pytest.raises(SystemExit, match="0"):
            main([command, "--help"])
        usage, _, about = capsys.readouterr().out.partition("\n\n")
        assert usage.startswith(f"usage: learned-transforms {command}")
        assert about.partition("\n\n")[0].endswith(".")


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
    assert certify("gray.safetensors", "--teacher", teacher) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert re.fullmatch(f"learned-transforms: .*{message}.*\n", said.err)


def test_certify_with_other_mistakes(workplace, capsys):
    teacher = ["--teacher", "my_teachers:gray"]
    assert main(["certify", "gray.safetensors", *teacher, "--data", "missing"]) == 2
    assert "Expected a folder of images" in capsys.readouterr().err
    (workplace / "empty").mkdir()
    assert main(["certify", "gray.safetensors", *teacher, "--data", "empty"]) == 2
    assert "found none" in capsys.readouterr().err
    assert certify("nothing", *teacher) == 2
    assert certify("gray.safetensors", *teacher, "--kind", "jpeg") == 2
    assert "pil, numpy, uint8, float32" in capsys.readouterr().err
    assert certify("gray.safetensors", *teacher, "--count", "0") == 2
    for wrong in (
        ["m", *teacher, "--require", "good"],
        ["--teacher", "a:b"],
        ["m", "--against", "a:b", "--teacher", "a:b"],
        ["m"],
    ):
        with pytest.raises(SystemExit) as caught:
            certify(*wrong)
        assert caught.value.code == 2


def test_certify_requires_a_tier(workplace, capsys):
    gray = ["gray.safetensors", "--teacher", "my_teachers:gray", "--json"]
    for tier in ("exact", "rounding", "approximate"):
        assert certify(*gray, "--require", tier) == 0
    assert capsys.readouterr().err == ""
    assert certify(*gray, "--require", "proved") == 1
    said = capsys.readouterr()
    assert json.loads(said.out)["certificate"]["tier"] == "exact"
    assert said.err == "learned-transforms: required proved, found exact\n"
    assert certify("--against", "my_teachers:almost", "--teacher", "my_teachers:same", "--require", "rounding") == 1


def test_retrain_tells_its_stages_where_there_is_no_terminal(workplace, capsys):
    command = ["retrain", "--teacher", "my_teachers:gray", "--data", "photos", "--count", "120", "--json"]
    assert main([*command, "--out", "mine"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["certificate"]["tier"] == "exact"
    first, *families = said.err.splitlines()
    assert first == "120 pairs of 3 x 32 x 32 and 1 x 32 x 32, pil"
    assert re.fullmatch(r"channel map: 0\.0000% differ, largest error 0 \(.* s\)", families[-1])
    (workplace / "file").write_text("in the way")
    for wrong in ("file", "file/deep"):
        assert main([*command, "--out", wrong]) == 2
        assert re.fullmatch("learned-transforms: Expected out to be a folder.*file.*\n", capsys.readouterr().err)
    for seed in ("-1", str(2**63)):
        assert main([*command, "--out", "mine", "--seed", seed]) == 2
        assert f"got {seed}." in capsys.readouterr().err


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
        table = [
            SearchRow("table", None, None, "two answers for one value", 0.25),
            SearchRow("kernel", None, trial, "", 61.5),
        ]
        return SimpleNamespace(
            certificate=certificate,
            family="kernel",
            trials=[trial],
            table=table,
            notes=["a note"],
            folder=settings["out"],
            speed=None,
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
