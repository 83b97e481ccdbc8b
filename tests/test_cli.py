"""The command line and the report, as a user meets them."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from learned_transforms.cli import main
from learned_transforms.report import demo


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
