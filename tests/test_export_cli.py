"""The command certify, of ONNX files, weight files and shell commands against one another."""

import json
import sys

import pytest
import torch
from export_cases import to_pil
from helpers import image_of
from torchvision.transforms import v2

import learned_transforms as lt
from learned_transforms.cli.main import main

STEPS = [v2.Resize(24), v2.CenterCrop(20), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]
SCRIPT = "import sys; from PIL import Image; Image.open(sys.argv[1]).resize((20, 20), 2).save(sys.argv[2])"
COMMAND = f'{sys.executable} -c "{SCRIPT}" {{in}} {{out}}'


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for seed, size in enumerate([(32, 40), (50, 33), (64, 64)]):
        (tmp_path / "photos").mkdir(exist_ok=True)
        to_pil(image_of(3, size, seed=seed)).save(tmp_path / "photos" / f"{seed}.png")
    pipeline = lt.LearnedCompose(STEPS)
    pipeline.save_pretrained("weights.safetensors")
    for layout in ("NCHW", "NHWC"):
        lt.export.onnx(pipeline, f"{layout}.onnx", layout=layout)
    (tmp_path / "teachers.py").write_text(
        "import torch\n"
        "from torchvision.transforms import v2\n"
        "teacher = v2.Compose([v2.Resize(24), v2.CenterCrop(20), v2.ToDtype(torch.float32, scale=True)])\n"
        "small = v2.Resize((20, 20))\n"
    )
    return tmp_path


def found(capsys, *arguments):
    assert main(["certify", *arguments, "--data", "photos", "--json"]) == 0
    return json.loads(capsys.readouterr().out)["certificate"]


@pytest.mark.parametrize(
    "pair",
    [
        ("NCHW.onnx", "teachers:teacher"),
        ("NHWC.onnx", "teachers:teacher"),
        ("NCHW.onnx", "NHWC.onnx"),
        ("NHWC.onnx", "weights.safetensors"),
        ("weights.safetensors", "NCHW.onnx"),
    ],
)
def test_files_and_teachers(workplace, capsys, pair):
    made = found(capsys, pair[0], "--teacher", pair[1], "--kind", "uint8")
    assert (made["tier"], made["differing"], made["images"]) == ("exact", 0, 3)


def test_an_onnx_file_says_what_it_takes(workplace, capsys):
    assert found(capsys, "NCHW.onnx", "--teacher", "teachers:teacher")["reference"]["input"] == "uint8"


def test_a_command(workplace, capsys):
    made = found(capsys, "--against", COMMAND, "--teacher", "teachers:small")
    assert (made["tier"], made["differing"]) == ("exact", 0)


def test_no_onnx_file(workplace, capsys):
    (workplace / "broken.onnx").write_bytes(b"none")
    assert main(["certify", "broken.onnx", "--teacher", "teachers:teacher", "--data", "photos"]) == 2
    assert "Expected an ONNX model" in capsys.readouterr().err
