"""Every processor that layers stand for against the installed transformers, and configs of timm and open_clip."""

import pickle
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import open_clip
import pytest
import timm
import torch
import transformers
from helpers import meant
from PIL import Image, ImageFilter
from timm.data import create_transform, resolve_data_config
from torch import Tensor

import learned_transforms as lt
from learned_transforms.errors import FallbackWarning, ProcessorError
from learned_transforms.processors.families import FAMILIES

pytestmark = pytest.mark.xdist_group("transformers")

SUFFIXES = ("", "Pil")
"""Of classes, for torchvision's arithmetic and for Pillow's."""

SIZES = ((75, 100), (100, 75), (128, 128), (61, 190), (240, 333), (97, 96))
"""(rows, columns) of images."""

SEEDS = 12
"""Sets of random options for each class."""

REFUSALS = (ValueError, TypeError, RuntimeError, KeyError, AttributeError, NotImplementedError)
"""What is raised for options that contradict each other."""

DETECTING = {"size": {"shortest_edge": 80, "longest_edge": 130}}

SMALL: dict[str, dict[str, Any]] = {
    "SamImageProcessor": {"size": {"longest_edge": 150}, "pad_size": {"height": 160, "width": 150}},
    "Qwen2VLImageProcessor": {"size": {"shortest_edge": 3136, "longest_edge": 40000}},
    **{name: DETECTING for name in FAMILIES if "Detr" in name},
    "YolosImageProcessor": DETECTING,
    "GroundingDinoImageProcessor": DETECTING,
    "RTDetrImageProcessor": {"size": {"height": 90, "width": 70}},
}
"""Options with which large processors are tried, besides their defaults."""


def picture(size: tuple[int, int], mode: str = "RGB") -> Image.Image:
    """Something between a photo and noise."""
    generator = torch.Generator().manual_seed(size[0] * 1000 + size[1])
    pixels = torch.randint(0, 256, (*size, 3), dtype=torch.uint8, generator=generator)
    smooth = Image.fromarray(pixels.numpy()).filter(ImageFilter.GaussianBlur(2))
    half = Image.blend(smooth, Image.fromarray(pixels.numpy()), 0.3)
    return half if mode == "RGB" else half.convert(mode)


def forms(images: list[Image.Image]) -> Iterator[Any]:
    """Images in all containers, one and many."""
    arrays = [np.array(image) for image in images]
    yield images
    yield images[1]
    yield arrays
    yield [torch.from_numpy(array).permute(2, 0, 1) for array in arrays]
    yield [np.ascontiguousarray(array.transpose(2, 0, 1)) for array in arrays]


def outcome(processor: Any, images: Any, **options: Any) -> Any:
    try:
        return dict(processor(images=images, **options))
    except REFUSALS as error:
        return error


def check_same(found: Any, expected: Any) -> None:
    """The same names in the same order, with the same values of the same type; or the same type of error."""
    if isinstance(expected, Exception):
        # Where the original stumbles over its own attributes, there is no type to hold on to.
        kind = ProcessorError if isinstance(expected, AttributeError) else type(expected)
        assert isinstance(found, kind), f"expected {expected!r}, got {found!r}"
        assert isinstance(expected, AttributeError) or meant(found, expected), f"by accident: {found!r}"
        return
    assert not isinstance(found, Exception), f"it is refused: {found!r}"
    assert list(found) == list(expected)
    for name, value in expected.items():
        check_value(found[name], value)


def check_value(found: Any, expected: Any) -> None:
    if isinstance(expected, list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            check_value(one, other)
    elif isinstance(expected, tuple):
        assert tuple(found) == tuple(expected)
    else:
        assert type(found) is type(expected)
        assert found.dtype == expected.dtype
        assert torch.equal(torch.as_tensor(found), torch.as_tensor(expected))


def classes() -> list[Any]:
    return [pytest.param(f"{name}{suffix}", id=f"{name}{suffix}") for name in FAMILIES for suffix in SUFFIXES]


def made(kind: str, **options: Any) -> Any:
    return getattr(transformers, kind)(**options)


@pytest.mark.parametrize("kind", classes())
def test_defaults(kind: str) -> None:
    """As published, on one photo and many of mixed sizes, in every container."""
    original = made(kind)
    processor = lt.LearnedCompose.from_processor(original, fallback="error")
    large = kind.removesuffix("Pil") in SMALL
    for images in forms([picture(size) for size in (SIZES[:2] if large else SIZES)]):
        check_same(outcome(processor, images), outcome(original, images, return_tensors="pt"))


@pytest.mark.parametrize("kind", classes())
def test_configurations(kind: str) -> None:
    """What the processor writes down says what it does, and so does its name alone."""
    original, images = made(kind, **SMALL.get(kind.removesuffix("Pil"), {})), [picture(size) for size in SIZES]
    expected = outcome(original, images, return_tensors="pt")
    backend = "pil" if kind.endswith("Pil") else "torchvision"
    written = lt.LearnedCompose.from_processor(original.to_dict(), backend=backend, fallback="error")
    check_same(outcome(written, images), expected)
    bare = {"image_processor_type": kind.removesuffix("Pil"), **SMALL.get(kind.removesuffix("Pil"), {})}
    check_same(outcome(lt.LearnedCompose.from_processor(bare, backend=backend), images), expected)


@pytest.mark.parametrize("kind", classes())
@pytest.mark.parametrize("tensors", ["np", None])
def test_other_results(kind: str, tensors: str | None) -> None:
    """Arrays and lists, pickled processors, and options of a call."""
    original, images = made(kind, **SMALL.get(kind.removesuffix("Pil"), {})), [picture(size) for size in SIZES]
    processor = pickle.loads(pickle.dumps(lt.LearnedCompose.from_processor(original, fallback="error")))
    for changes in ({}, {"do_normalize": False}, {"resample": 2}):
        expected = outcome(original, images, return_tensors=tensors, **changes)
        check_same(outcome(processor, images, return_tensors=tensors, **changes), expected)


def options_of(name: str, dice: random.Random) -> dict[str, Any]:
    """Random options, most of which go together."""
    options: dict[str, Any] = {
        "do_resize": dice.random() < 0.85,
        "do_rescale": dice.random() < 0.8,
        "do_normalize": dice.random() < 0.8,
        "resample": dice.choice((0, 1, 2, 2, 3, 3)),
        "rescale_factor": dice.choice((1 / 255, 1 / 127.5, 0.0123)),
        "image_mean": [dice.random() for _ in range(3)],
        "image_std": [dice.uniform(0.1, 1) for _ in range(3)],
        "do_convert_rgb": dice.random() < 0.7,
    }
    edge = dice.randint(20, 260)
    sizes = [{"height": edge, "width": dice.randint(20, 260)}, {"shortest_edge": edge}]
    sizes += [{"shortest_edge": edge, "longest_edge": edge + dice.randint(0, 90)}]
    sizes += [{"max_height": edge, "max_width": dice.randint(20, 260)}]
    crop = {"height": dice.randint(20, 200), "width": dice.randint(20, 200)}
    family = SMALL.get(name, {}).get("size", {})
    options["size"] = dice.choice(sizes)
    if "longest_edge" in family and "shortest_edge" not in family:
        options["size"] = {"longest_edge": edge}
        options |= {"do_pad": dice.random() < 0.7, "pad_size": {"height": dice.randint(200, 300), "width": 290}}
    elif name == "Qwen2VLImageProcessor":
        least = dice.randint(1000, 30000)
        options["size"] = {"shortest_edge": least, "longest_edge": least + dice.randint(0, 90000)}
        options |= {"patch_size": dice.choice((8, 14, 16)), "merge_size": dice.choice((1, 2, 3))}
        options["temporal_patch_size"] = dice.choice((1, 2, 3))
    elif name == "Siglip2ImageProcessor":
        options |= {"patch_size": dice.choice((8, 14, 16)), "max_num_patches": dice.randint(5, 300)}
        options["do_resize"] = True  # Otherwise there may be more patches than entries of their mask.
        del options["size"]
    elif family:
        options |= {"do_pad": dice.random() < 0.7}
        options |= {"pad_size": {"height": 300, "width": 400}} if dice.random() < 0.3 else {}
    else:
        options |= {"do_center_crop": dice.random() < 0.6, "crop_size": crop}
    if name == "ConvNextImageProcessor":
        options |= {"size": {"shortest_edge": dice.choice((edge, 390))}, "crop_pct": dice.uniform(0.6, 1)}
    if name == "EfficientNetImageProcessor":
        options |= {"include_top": dice.random() < 0.5, "rescale_offset": dice.random() < 0.5}
    if name == "LlavaImageProcessor":
        options["do_pad"] = dice.random() < 0.7
    return options


@pytest.mark.parametrize("kind", classes())
def test_random_options(kind: str) -> None:
    """Whatever it is told to do, to images of one size and of several, gray ones too."""
    refused = 0
    for seed in range(SEEDS):
        dice = random.Random(f"{kind} {seed}")
        original = made(kind, **options_of(kind.removesuffix("Pil"), dice))
        images = [picture(size) for size in dice.sample(SIZES, 3)]
        expected = [outcome(original, given, return_tensors="pt") for given in (images, images[0])]
        try:
            processor = lt.LearnedCompose.from_processor(original.to_dict(), backend=original.backend)
        except ProcessorError as error:
            check_same(error, expected[0])
            check_same(error, expected[1])
            refused += 1
            continue
        for given, wanted in zip((images, images[0]), expected, strict=True):
            check_same(outcome(processor, given), wanted)
        gray = picture(dice.choice(SIZES), "L")
        if kind == "EfficientNetImageProcessor" and not processor.steps.to_rgb:
            continue  # It alone makes three channels of one by its means.
        check_same(outcome(processor, gray), outcome(original, gray, return_tensors="pt"))
    assert refused < SEEDS


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "LA", "CMYK", "1"])
def test_other_modes(suffix: str, mode: str) -> None:
    """All of them become RGB where that is asked for; where it is not, the original says what it thinks of them."""
    image = picture((90, 120))
    if "A" in mode:
        image.putalpha(picture((90, 120), "L"))
    image = image.convert(mode)
    original = made(f"CLIPImageProcessor{suffix}")
    processor = lt.LearnedCompose.from_processor(original, fallback="error")
    check_same(outcome(processor, image), outcome(original, image, return_tensors="pt"))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_the_original_runs(suffix: str) -> None:
    """Annotations, masks and floats, told once."""
    original = made(f"DetrImageProcessor{suffix}", size={"shortest_edge": 80, "longest_edge": 130})
    processor = lt.LearnedCompose.from_processor(original)
    annotation = {"image_id": 1, "annotations": [{"bbox": [1, 2, 30, 40], "category_id": 3, "area": 9, "iscrowd": 0}]}
    with pytest.warns(FallbackWarning, match="annotations"):
        found = processor(picture(SIZES[0]), annotations=annotation)
    expected = original(picture(SIZES[0]), annotations=annotation, return_tensors="pt")
    assert torch.equal(found["labels"][0]["boxes"], expected["labels"][0]["boxes"])
    assert processor.post_process_object_detection == original.post_process_object_detection
    floats = torch.rand(3, 90, 100)
    with pytest.warns(FallbackWarning, match="uint8"):
        check_same(outcome(processor, floats), outcome(original, floats, return_tensors="pt"))


def test_other_backend_of_an_object() -> None:
    images = [picture(size) for size in SIZES]
    processor = lt.LearnedCompose.from_processor(made("CLIPImageProcessor"), backend="pil")
    check_same(outcome(processor, images), outcome(made("CLIPImageProcessorPil"), images, return_tensors="pt"))


def test_unknown_processors() -> None:
    with pytest.raises(ProcessorError, match="IdeficsImageProcessor"):
        lt.LearnedCompose.from_processor(made("IdeficsImageProcessor"))


@pytest.mark.parametrize("name", ["resnet50", "vit_base_patch16_224", "swin_tiny_patch4_window7_224", "convnext_tiny"])
def test_timm(name: str) -> None:
    """The config of a published model, as timm's own create_transform reads it."""
    config = resolve_data_config(pretrained_cfg=timm.get_pretrained_cfg(name).to_dict())
    ours = lt.LearnedCompose.from_processor(config, fallback="error")
    for size in SIZES:
        expected: Tensor = create_transform(**config)(picture(size))
        assert torch.equal(ours(picture(size)), expected)


def test_open_clip() -> None:
    theirs = open_clip.image_transform(96, is_train=False)
    ours = lt.LearnedCompose.from_processor(theirs, fallback="torchvision")
    for size in SIZES:
        assert torch.equal(ours(picture(size)), theirs(picture(size)))
