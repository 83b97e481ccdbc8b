"""Pairs of input and target: in memory, in folders, and listed in CSV files."""

import numpy as np
import pytest
import torch
from helpers import half, noise, to_pil
from PIL import Image

from learned_transforms.errors import DataError
from learned_transforms.trainer.data.sources import read_images


def test_answers_of_pairs_keep_their_container():
    pairs = [(to_pil(image), to_pil(half(image))) for image in noise(3)]
    assert read_images(pairs, paired=True).answers == "pil"


@pytest.mark.parametrize("dtype", [np.int64, np.float16, bool, np.uint16])
def test_targets_of_other_dtypes(dtype):
    with pytest.raises(DataError, match=r"uint8 or float32 .* in target 0"):
        read_images([(noise(1)[0], np.ones((4, 4), dtype))], paired=True)


def write_pairs(folder, names, target=".png", sides=("inputs", "targets")):
    """A folder of pairs of random images; what was written."""
    images = noise(len(names), (12, 14))
    for side in sides:
        (folder / side).mkdir(parents=True)
    for name, image in zip(names, images, strict=True):
        to_pil(image).save(folder / sides[0] / f"{name}.png")
        answer = to_pil(half(image)[:1])
        if target == ".png":
            answer.save(folder / sides[1] / f"{name}.png")
        else:
            np.save(folder / sides[1] / f"{name}.npy", np.asarray(answer) / np.float64(255))
    return images


@pytest.mark.parametrize("sides", [("inputs", "targets"), ("before", "after")])
def test_a_folder_of_pairs(tmp_path, sides):
    images = write_pairs(tmp_path, "abc", sides=sides)
    found = read_images(tmp_path, paired=True)
    assert (found.kind, found.answers) == ("pil", "pil")
    assert torch.stack(found.images).equal(images)
    assert torch.stack(found.targets).equal(half(images)[:, :1])


def test_pairs_with_arrays_as_targets(tmp_path):
    images = write_pairs(tmp_path, "abc", target=".npy")
    found = read_images(str(tmp_path), paired=True)
    assert (found.kind, found.answers) == ("pil", "numpy")
    assert found.targets[0].dtype == torch.float32
    assert torch.stack(found.targets).equal((half(images)[:, :1].double() / 255).float())
    np.save(tmp_path / "targets" / "b.npy", np.zeros((6, 7, 1), ">f4"))
    assert read_images(tmp_path, paired=True).targets[1].shape == (1, 6, 7)


@pytest.mark.parametrize("header", ["", "input,target\n", "\ufeffInput, Target\n"])
def test_pairs_listed_in_a_csv_file(tmp_path, header):
    images = write_pairs(tmp_path / "deep", ["a", "b,c"])
    table = tmp_path / "pairs.csv"
    first, second = tmp_path / "deep/inputs/a.png", "deep/targets/a.png"
    table.write_text(f'{header}{first},{second}\n\n"deep/inputs/b,c.png","deep/targets/b,c.png"\n', encoding="utf-8")
    found = read_images(table, paired=True)
    assert torch.stack(found.images).equal(images)
    assert torch.stack(found.targets).equal(half(images)[:, :1])


def test_pairs_keep_one_channel_and_turn_other_modes_into_rgb(tmp_path):
    for side, mode in (("inputs", "L"), ("targets", "RGBA")):
        (tmp_path / side).mkdir()
        Image.new(mode, (5, 4)).save(tmp_path / side / "a.png")
    found = read_images(tmp_path, paired=True)
    assert (found.images[0].shape, found.targets[0].shape) == ((1, 4, 5), (3, 4, 5))


def test_unreadable_pairs_are_counted(tmp_path):
    write_pairs(tmp_path, "abcd")
    (tmp_path / "inputs" / "a.png").write_bytes(b"no image")
    (tmp_path / "targets" / "b.png").unlink()
    np.save(tmp_path / "targets" / "b.npy", np.array([{}]), allow_pickle=True)
    (tmp_path / "targets" / "c.png").write_bytes((tmp_path / "targets" / "c.png").read_bytes()[:40])
    found = read_images(tmp_path, paired=True)
    assert len(found.images) == len(found.targets) == 1
    assert [text.split(":")[0] for text in found.skipped] == ["a.png", "b.npy", "c.png"]


def test_pairs_that_do_not_match(tmp_path):
    with pytest.raises(DataError, match="neither"):
        read_images(tmp_path / "missing", paired=True)
    with pytest.raises(DataError, match="subfolders inputs and targets, or before and after"):
        read_images(tmp_path, paired=True)
    write_pairs(tmp_path, "abcd")
    for name in "abcd":
        (tmp_path / "targets" / f"{name}.png").rename(tmp_path / "targets" / f"{name}2.png")
    with pytest.raises(DataError, match=r"8 files .* inputs/a\.png, targets/a2\.png, inputs/b\.png, \.\.\.\."):
        read_images(tmp_path, paired=True)
    np.save(tmp_path / "inputs" / "a.npy", np.zeros((3, 3), np.uint8))
    with pytest.raises(DataError, match=r"a\.npy and a\.png .* one name"):
        read_images(tmp_path, paired=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.png,b.png\nc.png\n", r"two columns, input and target, in line 2 of .*, got 1: c\.png"),
        ("a.png,b.png,3\n", "line 1 .* got 3"),
        ("a.png,\n", "two columns"),
        ("a.png,b.png\nc.png,d.png\n", r"4 of 4 files .* missing: .*a\.png, .*b\.png, .*c\.png, \.\.\."),
        ("input,target\n", "found none"),
        ("", "found none"),
        ("\0,\0\n", "missing|cannot be read"),
    ],
)
def test_csv_files_that_cannot_be_used(tmp_path, text, message):
    table = tmp_path / "pairs.csv"
    table.write_text(text)
    with pytest.raises(DataError, match=message):
        read_images(table, paired=True)


def test_csv_files_that_cannot_be_read(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        read_images(tmp_path / "missing.csv", paired=True)
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="cannot be read"):
        read_images(tmp_path / "binary.csv", paired=True)
