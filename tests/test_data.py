"""Training data and teachers: what is taken, and what is said of the rest."""

import pickle

import numpy as np
import pytest
import torch
import torchvision
from helpers import half, noise, to_pil
from PIL import Image

from learned_transforms.errors import DataError, InputTypeError, PipelineValueError, TeacherError
from learned_transforms.trainer import gather, retrain
from learned_transforms.trainer.data.asking import ask, find_kind
from learned_transforms.trainer.data.bundled import (
    SYNTHETIC,
    every_color,
    held_out_images,
    photo_patches,
    synthetic,
    training_images,
)
from learned_transforms.trainer.data.sources import as_kind, read_images


def test_every_source_is_read(tmp_path):
    images = noise()
    for i, image in enumerate(images):
        to_pil(image).save(tmp_path / f"{i}.png")
    folder = read_images(tmp_path)
    assert folder.kind == "pil"
    assert torch.stack(folder.images).equal(images)
    assert torch.stack(read_images(images).images).equal(images)
    assert read_images(images.float() / 255).kind == "float32"
    dataset = torch.utils.data.TensorDataset(images, torch.arange(4))
    assert torch.stack(read_images(dataset).images).equal(images)
    generator = ((to_pil(image), 3) for image in images)
    assert torch.stack(read_images(generator).images).equal(images)
    arrays = read_images([image.permute(1, 2, 0).numpy() for image in images])
    assert arrays.kind == "numpy"
    assert torch.stack(arrays.images).equal(images)
    pairs = read_images([(image, half(image)) for image in images], paired=True)
    assert torch.stack(pairs.targets).equal(half(images))


def test_a_folder_in_cifar10_format(tmp_path, photos):
    patches = photo_patches(list(photos.values()), 30, (32, 32), seed=0)
    base = tmp_path / "cifar-10-batches-py"
    base.mkdir()
    for name in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]:
        with open(base / name, "wb") as file:
            pickle.dump({"data": patches[:6].flatten(1).numpy(), "labels": [0] * 6}, file)
    with open(base / "batches.meta", "wb") as file:
        pickle.dump({"label_names": ["photo"]}, file)
    monkey = pytest.MonkeyPatch()
    monkey.setattr(torchvision.datasets.CIFAR10, "_check_integrity", lambda self: True)
    monkey.setattr(torchvision.datasets.cifar, "check_integrity", lambda *a: True)
    dataset = torchvision.datasets.CIFAR10(tmp_path, download=False)
    monkey.undo()
    found = read_images(dataset)
    assert found.kind == "pil"
    assert torch.stack(found.images[:6]).equal(patches[:6])
    assert len(found.images) == 30
    pairs, _ = gather(half, dataset, None, None, 64, 0, False)
    assert pairs.inputs.shape == (64, 3, 32, 32)
    assert pairs.targets.shape == (64, 3, 16, 16)
    assert pairs.container == "pil"


def test_unreadable_files_are_counted(tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no image")
    whole = tmp_path / "whole.png"
    to_pil(noise(1)[0]).save(whole)
    (tmp_path / "cut.png").write_bytes(whole.read_bytes()[:300])
    (tmp_path / "notes.txt").write_text("no image either")
    found = read_images(tmp_path)
    assert len(found.images) == 1
    assert [text.split(":")[0] for text in found.skipped] == ["broken.png", "cut.png"]
    _, notes = gather(half, tmp_path, None, None, 16, 0, False)
    assert notes[0].startswith("2 unreadable files skipped: broken.png")
    whole.unlink()
    with pytest.raises(DataError, match=r"All 2 files were unreadable, the first: broken\.png"):
        read_images(tmp_path)


def test_data_that_cannot_be_used(tmp_path):
    with pytest.raises(DataError, match="found none"):
        read_images(tmp_path)
    with pytest.raises(DataError, match="not one"):
        read_images(tmp_path / "missing")
    with pytest.raises(DataError, match="found none in the list"):
        read_images([])
    with pytest.raises(DataError, match="got int"):
        read_images(3)
    with pytest.raises(InputTypeError, match="got str"):
        read_images(["cat.jpg"])
    with pytest.raises(DataError, match="one type"):
        read_images([noise(1)[0], to_pil(noise(1)[0])])
    with pytest.raises(DataError, match="pairs without a teacher"):
        read_images(noise(), paired=True)
    with pytest.raises(DataError, match="number of channels"):
        retrain(half, [noise(1)[0], noise(1)[0, :1]], progress=False)
    with pytest.raises(DataError, match="at least 64 x 64"):
        retrain(half, noise(), size=(64, 64), progress=False)
    with pytest.raises(DataError, match="share one size"):
        retrain(None, [(noise(1)[0], noise(1)[0]), (noise(1, (9, 9))[0], noise(1)[0])], progress=False)
    with pytest.raises(PipelineValueError, match="arch"):
        retrain(half, noise(), arch="transformer")
    with pytest.raises(PipelineValueError, match="kind"):
        retrain(half, noise(), kind="jpeg")


def broken(image):
    raise RuntimeError("no licence")


def in_place(image):
    return image.fill_(0)


calls = []


def by_turns(image):
    calls.append(1)
    return image[..., ::2] if len(calls) % 2 else image[..., 1::2]


def random_size(image):
    return image[..., : int(torch.randint(4, 9, ()))]


@pytest.mark.parametrize(
    ("teacher", "message"),
    [
        (broken, r"takes no kind of image .*\n  uint8: RuntimeError: no licence"),
        (in_place, "modified its input, image 0"),
        (lambda image: image.float() / 0 * 0, "NaN or infinite"),
        (by_turns, r"two answers for image 0: they differ in .* values, the first at"),
        (random_size, "shapes"),
        (lambda image: image + torch.randint(0, 2, image.shape, dtype=torch.uint8), "deterministic"),
        (lambda image: "no image", "is no image"),
        (lambda image: image[None].expand(2, -1, -1, -1), r"one image \[C, H, W\]"),
        (lambda image: image.to(torch.int16), "uint8 or float32"),
    ],
)
def test_teachers_that_cannot_be_learned(teacher, message):
    calls.clear()
    with pytest.raises(TeacherError, match=message):
        retrain(teacher, noise(), count=16, progress=False)


def test_too_little_to_learn_from():
    with pytest.raises(DataError, match="at least 16 images to learn from, got 3: 13 more"):
        retrain(half, noise(), count=3, progress=False)
    with pytest.raises(DataError, match="Every target value is 0"):
        retrain(lambda image: image * 0, noise(), count=30, progress=False)


def test_teacher_whose_size_follows_something_else():
    sizes = iter(range(200, 4000))
    with pytest.raises(TeacherError, match=r"shapes|one shape"):
        retrain(lambda image: image[..., : next(sizes) // 20], noise(), count=64, progress=False)


@pytest.mark.parametrize(
    ("convert", "container"),
    [(to_pil, "pil"), (lambda t: t.permute(1, 2, 0).numpy(), "numpy"), (lambda t: t, "tensor")],
)
def test_answers_in_any_container(convert, container):
    images = noise(3)
    answers, found = ask(lambda image: convert(half(image)), images, "uint8")
    assert found == container
    assert torch.stack(answers).equal(half(images))


def test_patterns_are_what_they_say():
    generator = torch.Generator().manual_seed(0)
    made = {name: make(300, (3, 20, 24), generator) for name, make in SYNTHETIC.items()}
    assert all(images.shape == (300, 3, 20, 24) and images.dtype == torch.uint8 for images in made.values())
    assert made["saturated"].unique().tolist() == [0, 255]
    assert (made["constant"].flatten(2).amax(2) == made["constant"].flatten(2).amin(2)).all()
    assert made["constant"][:256, 0, 0, 0].tolist() == list(range(256))
    for name in ("edges", "checkerboards"):
        assert all(len(image[0].unique()) <= 2 for image in made[name])
    assert len(made["noise"].unique()) == 256
    assert synthetic(40, (3, 8, 8), 0).shape == (40, 3, 8, 8)


def test_seeds_and_held_out_photos():
    assert training_images(50).equal(training_images(50))
    assert not training_images(50, seed=1).equal(training_images(50))
    assert set(held_out_images(3)) == {"photos", *SYNTHETIC}


def test_every_color_occurs_once():
    colors = every_color()[0].flatten(1).int()
    index = colors[0] * 65536 + colors[1] * 256 + colors[2]
    assert index.unique().numel() == 1 << 24


def test_odd_modes_are_read_as_rgb():
    found = read_images([Image.fromarray(np.zeros((9, 9, 4), np.uint8))])
    assert found.images[0].shape == (3, 9, 9)


def test_kinds_that_do_not_fit_the_data():
    floats = noise(40).float() / 255
    for kind in ("uint8", "pil"):
        with pytest.raises(PipelineValueError, match="Float images cannot be given"):
            retrain(half, floats, kind=kind, progress=False)
    with pytest.raises(PipelineValueError, match="The pairs hold uint8"):
        retrain(None, [(image, half(image)) for image in noise(40)], kind="float32", progress=False)


def test_values_that_no_image_has():
    floats = noise(20).float() / 255
    floats[3, 0, 0, 0] = float("nan")
    with pytest.raises(DataError, match="Image 3 holds NaN"):
        read_images(floats)
    with pytest.raises(DataError, match=r"\[0, 1\]"):
        read_images(noise(2).float())
    with pytest.raises(DataError, match=r"Expected images \[N, C, H, W\], got \(2, "):
        read_images(noise(2)[:, 0])
    with pytest.raises(DataError, match=r"one image \[C, H, W\]"):
        read_images([noise(2)[0, 0]])
    with pytest.raises(DataError, match="Target 0 holds NaN"):
        read_images([(noise(1)[0], floats[3])], paired=True)


@pytest.mark.parametrize(
    "wrong",
    [
        {"count": 0},
        {"count": 6.0},
        {"epochs": 0},
        {"held_out": 0},
        {"held_out": 0.9},
        {"size": (3, 4, 5)},
        {"size": (0, 5)},
        {"patience": 0},
        {"min_delta": -1},
    ],
)
def test_numbers_that_make_no_sense(wrong):
    with pytest.raises(PipelineValueError, match="Expected"):
        retrain(half, noise(), progress=False, **wrong)


def test_a_teacher_that_turns_random_later():
    seen = []

    def teacher(image):
        seen.append(1)
        return half(image) if len(seen) < 200 else half(image) + torch.randint(0, 2, (1,), dtype=torch.uint8)

    with pytest.raises(TeacherError, match="two answers"):
        ask(teacher, list(noise(1).expand(400, -1, -1, -1)), "uint8")


@pytest.mark.parametrize(("channels", "shape"), [(3, (7, 9, 3)), (1, (7, 9))])
def test_a_teacher_of_arrays(channels, shape):
    images = noise(2, (7, 9))[:, :channels]
    given = as_kind(images[0], "numpy")
    assert isinstance(given, np.ndarray)
    assert (given.shape, given.dtype) == (shape, np.uint8)
    assert given.flags.c_contiguous
    answers, container = ask(lambda array: array[::2, ::2], images, "numpy")
    assert container == "numpy"
    assert torch.stack(answers).equal(half(images))
    assert as_kind(images[0], "numpy") is not given
    with pytest.raises(TeacherError, match="modified its input"):
        ask(lambda array: np.subtract(array, 1, out=array), images, "numpy")


def test_float64_answers_become_float32():
    images = noise(2)
    expected = (images.double() / 255).float()
    for teacher in (lambda image: image.double() / 255, lambda image: image.permute(1, 2, 0).numpy() / 255):
        answers, _ = ask(teacher, images, "uint8")
        assert torch.stack(answers).equal(expected)
    answers, _ = ask(lambda array: (array / 255).astype(">f4"), images, "numpy")
    assert torch.stack(answers).equal(expected)


@pytest.mark.parametrize(
    ("teacher", "message"),
    [
        (lambda array: array > 3, r"uint8 or float32 .* got torch\.bool for image 0"),
        (lambda array: array.astype(np.int64), r"got torch\.int64"),
        (lambda array: array.astype(np.float16), r"got torch\.float16"),
        (lambda array: array.astype(object), "is no image.* got object"),
        (lambda array: array.astype(complex), "is no image.* got complex128"),
        (lambda array: array[0, 0], "is no image"),
        (lambda array: array * 1e300, "infinite"),
    ],
)
def test_answers_that_cannot_be_learned(teacher, message):
    with pytest.raises(TeacherError, match=message):
        ask(teacher, noise(1), "numpy")


def only(kind):
    """A teacher that takes one kind of image, and changes it in place without harm to its caller."""
    types = {"pil": Image.Image, "numpy": np.ndarray, "uint8": torch.Tensor, "float32": torch.Tensor}

    def teacher(image):
        if not isinstance(image, types[kind]) or (kind == "float32" and not image.is_floating_point()):
            raise TypeError(f"{type(image).__name__} is not for me\nat all")
        return image

    return teacher


@pytest.mark.parametrize("kind", ["pil", "numpy", "uint8", "float32"])
@pytest.mark.parametrize("first", ["pil", "numpy", "uint8"])
def test_the_kind_that_a_teacher_takes_is_found(kind, first):
    assert find_kind(only(kind), noise(1)[0], first) == kind
    assert find_kind(lambda image: image, noise(1)[0], first) == first
    assert find_kind(lambda image: image, noise(1)[0].float() / 255, "float32") == "float32"


def test_a_teacher_that_takes_no_kind():
    with pytest.raises(TeacherError) as caught:
        find_kind(broken, noise(1)[0], "uint8")
    lines = str(caught.value).splitlines()
    assert [line.strip() for line in lines[1:]] == [
        f"{kind}: RuntimeError: no licence" for kind in ("uint8", "pil", "numpy", "float32")
    ]
    with pytest.raises(TeacherError) as caught:
        find_kind(only("pil"), noise(1)[0].float() / 255, "float32")
    assert str(caught.value).splitlines()[1:] == ["  float32: TypeError: Tensor is not for me"]
    with pytest.raises(TeacherError, match=r"raised RuntimeError on image 0 .*: no licence"):
        ask(broken, noise(1), "uint8")
    with pytest.raises(TeacherError, match="got shape"):
        find_kind(lambda image: torch.zeros(1, 3, 4, 4), noise(1)[0], "pil")


def test_an_interrupt_is_no_answer():
    def interrupted(image):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        find_kind(interrupted, noise(1)[0], "pil")
