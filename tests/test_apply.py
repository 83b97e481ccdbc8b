"""A pipeline over a folder: what is written, what a killed run leaves, and what goes wrong."""

import json
import os
import resource
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from helpers import seed_v2, to_pil
from PIL import Image
from torchvision.transforms import v2

from learned_transforms import LearnedCompose
from learned_transforms.cli.apply import PARTIAL, apply, given, kind_taken
from learned_transforms.cli.main import main
from learned_transforms.errors import DataError, OutputError, PipelineValueError
from learned_transforms.ir.arithmetic import Arithmetic
from learned_transforms.layers.network import Network
from learned_transforms.layers.pointwise import Mixing


@pytest.fixture
def model():
    return LearnedCompose(seed_v2(end=False))


@pytest.fixture
def source(tmp_path):
    """Six photos in two folders, of several modes, suffixes and sizes, and a file that is none."""
    folder = tmp_path / "source"
    (folder / "deep" / "er").mkdir(parents=True)
    for i, (name, mode) in enumerate(
        [("a.png", "RGB"), ("b.v1.jpg", "RGB"), ("c.PNG", "L"), ("deep/a.png", "RGBA"), ("deep/er/e.bmp", "RGB")]
    ):
        image = to_pil(torch.randint(0, 256, (3, 32 + i, 40), dtype=torch.uint8))
        image.convert(mode).save(folder / name)
    (folder / "notes.txt").write_text("no image")
    return folder


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def run(model, source, destination, workers=2, **options):
    return apply(model, source, destination, workers=workers, progress=False, **options)


def test_pictures_keep_their_places(model, source, tmp_path):
    out = tmp_path / "out"
    threads = torch.get_num_threads()
    done = run(model, source, out)
    assert (done.written, done.existing, done.skipped) == (5, 0, [])
    assert set(contents(out)) == {"a.png", "b.v1.png", "c.png", "deep/a.png", "deep/er/e.png"}
    for name, mode in (("a.png", "RGB"), ("c.PNG", "L"), ("deep/a.png", "RGB")):
        with Image.open(source / name) as image, Image.open((out / name).with_suffix(".png")) as found:
            assert np.array_equal(np.array(found), np.array(model(image.convert(mode))))
    assert torch.get_num_threads() == threads


def test_floats_become_arrays(source, tmp_path):
    model = LearnedCompose([v2.Resize((20, 24)), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])
    run(model, source, tmp_path / "out")
    found = np.load(tmp_path / "out" / "b.v1.npy")
    with Image.open(source / "b.v1.jpg") as image:
        expected = model(image.convert("RGB"))
    assert (found.shape, found.dtype) == ((3, 20, 24), np.float32)
    assert np.array_equal(found, expected.numpy())


def test_what_is_there_is_left_alone(model, source, tmp_path):
    out = tmp_path / "out"
    run(model, source, out)
    whole = contents(out)
    (out / "deep" / "a.png").write_bytes(b"mine")
    (out / "a.png").unlink()
    (out / f"{PARTIAL}1-2").write_bytes(b"half")
    done = run(model, source, out)
    assert (done.written, done.existing) == (1, 4)
    assert contents(out) == {**whole, "deep/a.png": b"mine"}
    done = run(model, source, out, overwrite=True)
    assert (done.written, done.existing) == (5, 0)
    assert contents(out) == whole


def test_any_number_of_workers_writes_the_same(model, source, tmp_path):
    run(model, source, tmp_path / "one", workers=1)
    run(model, source, tmp_path / "many", workers=8)
    assert contents(tmp_path / "one") == contents(tmp_path / "many")


def test_two_images_of_one_name(model, source, tmp_path):
    (source / "deep" / "a.jpg").write_bytes((source / "b.v1.jpg").read_bytes())
    with pytest.raises(DataError, match=r"deep/a\.jpg and .*deep/a\.png would get one name"):
        run(model, source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_broken_files_stop_nothing(model, source, tmp_path):
    (source / "deep" / "broken.png").write_bytes(b"no image")
    (source / "cut.png").write_bytes((source / "a.png").read_bytes()[:300])
    done = run(model, source, tmp_path / "out")
    assert done.written == 5
    assert [text.split(":")[0] for text in done.skipped] == ["cut.png", "deep/broken.png"]


@pytest.mark.filterwarnings("ignore:Lambda runs in torchvision")
def test_images_that_the_pipeline_refuses(source, tmp_path):
    done = run(LearnedCompose([v2.Lambda(refuse)], fallback="torchvision"), source, tmp_path / "out", workers=1)
    assert done.written == 4
    assert done.skipped == ["c.PNG: RuntimeError: no gray"]


def refuse(image):
    if image.mode == "L":
        raise RuntimeError("no gray")
    return image


LEVELS = np.arange(256, dtype=np.uint8).reshape(16, 16)
STORED = {
    "1": (Image.fromarray(LEVELS).convert("1", dither=Image.Dither.NONE), "png"),
    "L": (Image.fromarray(LEVELS), "png"),
    "LA": (Image.merge("LA", [Image.fromarray(LEVELS), Image.fromarray(255 - LEVELS)]), "png"),
    "P": (Image.fromarray(LEVELS).convert("RGB").quantize(64), "png"),
    "RGBA": (Image.merge("RGBA", [Image.fromarray(LEVELS)] * 4), "png"),
    "CMYK": (Image.merge("CMYK", [Image.fromarray(LEVELS)] * 4), "tif"),
    "YCbCr": (Image.merge("YCbCr", [Image.fromarray(LEVELS)] * 3), "tif"),
    "I;16": (Image.fromarray(LEVELS.astype(np.uint16) * 257), "png"),
    "I": (Image.fromarray(LEVELS.astype(np.int32) * 257), "tif"),
    "F": (Image.fromarray(LEVELS.astype(np.float32) * 257), "tif"),
}
"""By mode: all levels, and a suffix whose files keep the mode."""


@pytest.mark.parametrize("mode", STORED)
def test_every_mode_is_converted_faithfully_or_refused_by_name(mode, tmp_path):
    image, suffix = STORED[mode]
    (tmp_path / "in").mkdir()
    image.save(tmp_path / "in" / f"image.{suffix}")
    with Image.open(tmp_path / "in" / f"image.{suffix}") as image:
        try:
            image.load()
        except OSError:
            pytest.skip(f"this Pillow does not read what it wrote in mode {mode}")
    assert image.mode[:1] == mode[:1]  # Older versions of Pillow read I;16 as I.
    done = run(LearnedCompose([v2.Resize((16, 16))]), tmp_path / "in", tmp_path / "out")
    if mode[0] in "IF":
        assert done.written == 0
        assert f"InputTypeError: Expected an image of 8 bits for each value, got mode {image.mode}." in done.skipped[0]
        assert not list(tmp_path.glob("out/*"))
        return
    assert (done.written, done.skipped) == (1, [])
    with Image.open(tmp_path / "out" / "image.png") as found:
        assert np.array_equal(np.array(found), np.array(image.convert("L" if mode == "L" else "RGB")))


def as_float(image):
    return image.convert("F")


def as_integers(image):
    return Image.fromarray(np.array(image.convert("L")).astype(np.int32) * 1000)


def as_words(image):
    return Image.fromarray(np.array(image.convert("L")).astype(np.uint16) * 257)


def as_inks(image):
    return image.convert("CMYK")


def with_alpha(image):
    return image.convert("RGBA")


@pytest.mark.parametrize("last", [as_float, as_integers, as_words, as_inks, with_alpha])
@pytest.mark.filterwarnings("ignore::learned_transforms.errors.FallbackWarning")
def test_results_of_every_mode_are_kept_or_refused(last, tmp_path):
    (tmp_path / "in").mkdir()
    Image.fromarray(LEVELS).save(tmp_path / "in" / "image.png")
    done = run(LearnedCompose([v2.Resize((16, 16)), last]), tmp_path / "in", tmp_path / "out")
    if last is as_inks:
        assert (done.written, list(tmp_path.glob("out/*"))) == (0, [])
        assert "got a PIL image of mode CMYK" in done.skipped[0]
        return
    (path,) = tmp_path.glob("out/*")
    expected = np.array(last(Image.fromarray(LEVELS)))
    if last in (as_float, as_integers):
        assert np.array_equal(np.load(path), expected[None])
    else:
        with Image.open(path) as found:
            assert np.array_equal(np.array(found), expected)


def test_folders_that_do_not_fit(model, source, tmp_path):
    with pytest.raises(DataError, match="not one"):
        run(model, tmp_path / "missing", tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="found none"):
        run(model, tmp_path / "empty", tmp_path / "out")
    for inside in (source, source / "out", source / "deep" / ".." / "x"):
        with pytest.raises(PipelineValueError, match="outside"):
            run(model, source, inside)
    for workers in (0, -1, 1.5):
        with pytest.raises(PipelineValueError, match="at least 1 worker"):
            run(model, source, tmp_path / "out", workers=workers)


def test_a_file_in_the_way_of_a_folder(model, source, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "deep").write_text("in the way")
    with pytest.raises(OutputError, match=r"deep/.* cannot be written: .* \d of 5 files are done") as caught:
        run(model, source, out, workers=1)
    assert isinstance(caught.value, OSError)
    assert not list(out.rglob(f"{PARTIAL}*"))


def test_a_full_disk(model, source, tmp_path):
    """Simulated by a limit on the size of files: what fails is the writing itself, half-way."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, before[1]))
    try:
        with pytest.raises(OutputError, match=r"png cannot be written: File too large\. 0 of 5 files are done"):
            run(model, source, tmp_path / "out", workers=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert contents(tmp_path / "out") == {}
    assert run(model, source, tmp_path / "out").written == 5


def network(kind):
    layer = Mixing(torch.eye(3), torch.zeros(3), arithmetic=Arithmetic("float32", rounding="none"))
    return Network([layer], [{}], kind)


def test_networks_are_given_what_they_take():
    assert kind_taken(LearnedCompose([network("uint8")])) == "uint8"
    assert kind_taken(LearnedCompose([v2.Resize(3), network("float32")])) == "float32"
    assert kind_taken(LearnedCompose([v2.ToImage(), network("uint8")])) == "pil"
    assert kind_taken(LearnedCompose([v2.Resize(3)])) == "pil"
    image = Image.new("RGB", (5, 4), (0, 51, 255))
    assert given(image, "pil") is image
    assert (given(image, "uint8").shape, given(image, "numpy").dtype) == ((4, 5, 3), np.uint8)
    assert given(image, "float32")[:, 0, 0].tolist() == pytest.approx([0, 0.2, 1])


@pytest.mark.parametrize("kind", ["pil", "uint8", "float32"])
def test_a_network_of_each_kind_is_applied(kind, source, tmp_path):
    (source / "c.PNG").unlink()
    done = run(LearnedCompose([network(kind)]), source, tmp_path / "out")
    assert (done.written, done.skipped) == (4, [])


@pytest.fixture
def saved(model, tmp_path):
    model.save_pretrained(tmp_path / "model.safetensors")
    return str(tmp_path / "model.safetensors")


def test_the_command(saved, source, tmp_path, capsys):
    command = ["apply", saved, str(source), str(tmp_path / "out")]
    assert main([*command, "--workers", "1"]) == 0
    assert capsys.readouterr().out == "5 written, 0 there already, 0 skipped\n"
    (source / "broken.png").write_bytes(b"no image")
    assert main([*command, "--json"]) == 1
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert (found["written"], found["existing"]) == (0, 5)
    assert found["skipped"][0].startswith("broken.png: UnidentifiedImageError")
    assert "skipped: broken.png" in said.err
    assert main([*command, "--workers", "0"]) == 2
    assert main(["apply", "nothing", str(source), str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.count("\n") == 2


def start(*command):
    return subprocess.Popen([sys.executable, "-m", "learned_transforms", "apply", *map(str, command)])


def wait_for_files(process, folder, count):
    deadline = time.monotonic() + 120
    while len(list(folder.glob("*.png"))) < count:
        assert process.poll() is None, "it ended before it could be stopped"
        assert time.monotonic() < deadline
        time.sleep(0.002)


@pytest.fixture
def many(tmp_path):
    """Enough images for a run to be stopped in its middle."""
    folder = tmp_path / "many"
    folder.mkdir()
    pixels = to_pil(torch.randint(0, 256, (3, 200, 200), dtype=torch.uint8))
    pixels.save(folder / "0.bmp")
    for i in range(1, 500):
        os.link(folder / "0.bmp", folder / f"{i}.bmp")
    return folder


def test_a_killed_run_goes_on(model, many, tmp_path):
    model = LearnedCompose([v2.Resize((160, 160))])
    path = tmp_path / "model.safetensors"
    model.save_pretrained(path)
    out = tmp_path / "out"
    process = start(path, many, out, "--workers", 2)
    wait_for_files(process, out, 20)
    process.send_signal(signal.SIGKILL)
    process.wait()
    left = {p.name: p.stat().st_mtime_ns for p in out.glob("*.png")}
    assert 20 <= len(left) < 500
    (out / f"{PARTIAL}7-7").write_bytes(b"half of a picture")
    assert main(["apply", str(path), str(many), str(out)]) == 0
    run(model, many, tmp_path / "whole")
    assert contents(out) == contents(tmp_path / "whole")
    assert len(contents(out)) == 500
    assert {name: (out / name).stat().st_mtime_ns for name in left} == left


def test_an_interrupted_run_leaves_no_traceback(saved, many, tmp_path):
    out = tmp_path / "out"
    command = [
        sys.executable,
        "-m",
        "learned_transforms",
        "apply",
        saved,
        str(many),
        str(out),
        "--workers",
        "1",
    ]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    wait_for_files(process, out, 5)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "learned-transforms: interrupted\n")
    assert not list(out.glob(f"{PARTIAL}*"))
