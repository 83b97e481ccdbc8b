"""Teachers as they are: what their answers come in, files, and commands."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers import noise
from PIL import Image

from learned_transforms import LearnedCompose
from learned_transforms.errors import MissingExtraError, PipelineValueError, TeacherError
from learned_transforms.layers.network import Network
from learned_transforms.layers.pointwise import Lookup
from learned_transforms.trainer import retrain
from learned_transforms.trainer.data.forms import Command, OnnxModel, as_teacher, unpacked
from learned_transforms.trainer.data.sources import as_kind

IMAGE = torch.arange(3 * 5 * 6, dtype=torch.uint8).view(3, 5, 6)
COPY = f'{sys.executable} -c "import sys, shutil; shutil.copy(sys.argv[1], sys.argv[2])" {{in}} {{out}}'


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (IMAGE, ""),
        (IMAGE[None], "a batch of one image"),
        ([IMAGE], "the only entry of a list"),
        ({"pixel_values": [IMAGE], "size": (5, 6)}, "the entry 'pixel_values' of a dict, the only entry of a list"),
        (IMAGE.numpy(), "an array whose channels come first, learned as a tensor [C, H, W]"),
        (IMAGE.to(torch.uint16), "16 bits, learned as float32 of the same values"),
    ],
)
def test_answers_are_unpacked(answer, words):
    found, told = unpacked(answer)
    assert torch.equal(found.float(), IMAGE.float())
    assert told == words


def test_values_of_16_bits_are_kept():
    values = np.array([[0, 1, 255, 256, 65535]], np.uint16)
    for answer in (values, Image.fromarray(values)):
        found, _ = unpacked(answer)
        assert (found.dtype, found.tolist()) == (np.float32, values.tolist())


@pytest.mark.parametrize("answer", [{}, {"a": IMAGE, "b": IMAGE}, [IMAGE, IMAGE], ()])
def test_which_image_is_meant_must_be_told(answer):
    with pytest.raises(TeacherError, match="Expected one image in the teacher's answer"):
        unpacked(answer)


def test_a_teacher_that_answers_in_a_dictionary_is_learned():
    result = retrain(lambda image: {"image": 255 - image[None]}, noise(64, (16, 16)), count=64, progress=False)
    assert result.certificate.tier == "exact"
    assert "answers: the entry 'image' of a dict, a batch of one image" in result.notes
    assert result.transform(noise(1)[0]).shape == (3, 40, 50)


def test_a_command_is_a_teacher():
    image = Image.fromarray(IMAGE.permute(1, 2, 0).numpy())
    assert np.array_equal(np.asarray(Command(COPY)(image)), np.asarray(image))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (COPY.replace("{out}", ""), "with {out} in it"),
        ("convert 'a {in} {out}", "No closing quotation"),
        ("   ", "with {in} and {out} in it"),
    ],
)
def test_commands_that_make_no_sense(text, message):
    with pytest.raises(PipelineValueError, match=message):
        Command(text)


@pytest.mark.parametrize("kind", ["pil", "uint8", "numpy"])
def test_arrays_come_back_where_a_teacher_gives_them(kind):
    """Of every call, the first of a size and later ones."""
    inverted = Lookup(torch.arange(255, -1, -1, dtype=torch.uint8)[None])
    pipeline = LearnedCompose([Network([inverted], [{}], kind, "numpy", floats=False)])
    for shape in ((3, 5, 6), (3, 5, 6), (3, 9, 4)):
        image = torch.randint(0, 256, shape, dtype=torch.uint8)
        made = pipeline(as_kind(image, kind))
        assert isinstance(made, np.ndarray)
        assert np.array_equal(made, 255 - image.permute(1, 2, 0).numpy())


def test_images_of_other_modes_are_told_of(tmp_path, capsys):
    pictures = [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in noise(20, (8, 8))]
    stored = [picture.convert("RGBA") for picture in pictures[:3]] + [picture.convert("L") for picture in pictures[3:5]]
    for number, picture in enumerate(stored + pictures[5:]):
        picture.save(tmp_path / f"{number}.png")
    words = "3 images of mode RGBA were taken as RGB, without alpha"
    result = retrain(lambda x: 255 - x, tmp_path, kind="uint8", count=40)
    assert words in result.notes
    assert "2 images of mode L were taken as RGB" in result.notes
    assert words in capsys.readouterr().err
    result = retrain(None, [(picture.convert("RGBA"), picture) for picture in pictures], progress=False)
    assert "20 images of mode RGBA were taken as RGB, without alpha" in result.notes


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("sys.exit('disk full')", "failed on file 3, of 4 x 4 pixels: exit code 1. It said: disk full"),
        ("pass", "exit code 0, but no file. It said: nothing"),
        ("open(sys.argv[2], 'w').write('no image')", "wrote no image for file 3"),
    ],
)
def test_a_command_that_fails_says_where(code, message):
    command = Command(f'{sys.executable} -c "import sys; {code}" {{in}} {{out}}')
    command.calls = 2
    with pytest.raises(TeacherError, match=message):
        command(Image.new("RGB", (4, 4)))


def test_a_missing_program_is_named():
    with pytest.raises(TeacherError, match=r"could not be run on file 1: .*no_such_program"):
        Command("no_such_program {in} {out}")(Image.new("L", (4, 4)))


def test_what_is_no_teacher():
    with pytest.raises(PipelineValueError, match=r"path of an \.onnx file"):
        as_teacher("model.pt")
    with pytest.raises(PipelineValueError, match="Expected a callable as teacher, got int"):
        as_teacher(3)


def test_onnx_needs_its_runtime(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtraError, match="pip install onnxruntime"):
        OnnxModel("model.onnx")


@pytest.mark.parametrize(
    ("shape", "last"), [([1, 3, "h", "w"], False), ([1, "h", "w", 3], True), ([3, "h", "w"], False)]
)
def test_onnx_models_get_what_they_take(monkeypatch, shape, last):
    given = []

    class Session:
        def __init__(self, path, providers):
            pass

        def get_inputs(self):
            return [SimpleNamespace(name="x", shape=shape, type="tensor(uint8)")]

        def get_outputs(self):
            return [SimpleNamespace(name="y", shape=shape)]

        def run(self, names, inputs):
            given.append(inputs["x"])
            return [inputs["x"]]

    monkeypatch.setitem(sys.modules, "onnxruntime", SimpleNamespace(InferenceSession=Session))
    model = OnnxModel("model.onnx")
    assert model(IMAGE).equal(IMAGE)
    batch = (1,) if len(shape) == 4 else ()
    assert given[0].shape == batch + ((5, 6, 3) if last else (3, 5, 6))
    with pytest.raises(TypeError, match="takes uint8, got float32"):
        model(IMAGE.float())
