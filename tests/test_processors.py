"""Published preprocessing by its configuration, against plain compositions of Pillow, NumPy and torchvision."""

import json
import pickle
import sys
import threading
import time

import numpy as np
import pytest
import torch
import torchvision.transforms as v1
from helpers import image_of
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision.models import ResNet18_Weights
from torchvision.transforms import InterpolationMode
from torchvision.transforms._presets import ImageClassification
from torchvision.transforms.v2 import functional

import learned_transforms as lt
from learned_transforms.errors import (
    FallbackWarning,
    ProcessorError,
    ProcessorInputError,
    ProcessorKeyError,
    UnevenBatchError,
    UnsupportedTransformError,
)
from learned_transforms.kernels import cpu
from learned_transforms.processors import sizes

SIZES = ((60, 91), (91, 60), (224, 224), (300, 250), (37, 240))
"""(rows, columns) of the images."""

CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HALVES = (0.5, 0.5, 0.5)
BACKENDS = ("torchvision", "pil")
FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def photo(size: tuple[int, int], channels: int = 3) -> Image.Image:
    pixels = image_of(channels, size, sum(size)).movedim(0, -1).numpy()
    return Image.fromarray(pixels if channels > 1 else pixels[..., 0])


@pytest.fixture(scope="module")
def images() -> list[Image.Image]:
    return [photo(size) for size in SIZES]


def levels_of(image: Image.Image) -> Tensor:
    return functional.pil_to_tensor(image)


def resized(levels: Tensor, size: tuple[int, int], name: str, backend: str) -> Tensor:
    """As either backend resizes levels ``[C, H, W]``."""
    if backend == "torchvision":
        return functional.resize(levels, list(size), InterpolationMode(name), antialias=True)
    return levels_of(functional.to_pil_image(levels).resize(size[::-1], FILTERS[name]))


def normalized(levels: Tensor, mean: tuple[float, ...], std: tuple[float, ...], backend: str) -> Tensor:
    """Its float steps, in its order."""
    if backend == "torchvision":
        by_255 = [torch.tensor(value) * (1.0 / (1 / 255)) for value in (mean, std)]
        return functional.normalize(levels.float(), *by_255)
    floats = (levels.numpy().astype(np.float64) * (1 / 255)).astype(np.float32)
    mean, std = (np.array(value, dtype=np.float32)[:, None, None] for value in (mean, std))
    return torch.from_numpy((floats - mean) / std)


def middle(levels: Tensor, size: tuple[int, int]) -> Tensor:
    top, left = ((n - c) // 2 for n, c in zip(levels.shape[1:], size, strict=True))
    return levels[:, top : top + size[0], left : left + size[1]]


def shorter(levels: Tensor, edge: int) -> tuple[int, int]:
    _, height, width = levels.shape
    return (int(edge * height / width), edge) if width <= height else (edge, int(edge * width / height))


def equal(found: Tensor, expected: Tensor) -> None:
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    assert torch.equal(found, expected)


CLIP = {
    "image_processor_type": "CLIPImageProcessor",
    "size": {"shortest_edge": 64},
    "crop_size": {"height": 60, "width": 50},
    "do_resize": True,
    "do_center_crop": True,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": list(CLIP_MEAN),
    "image_std": list(CLIP_STD),
    "resample": 3,
    "do_convert_rgb": True,
}
OLD_CLIP = {
    "feature_extractor_type": "CLIPFeatureExtractor",
    "size": 64,
    "crop_size": [60, 50],
    "resample": 3,
    "image_mean": list(CLIP_MEAN),
    "image_std": list(CLIP_STD),
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("config", [CLIP, OLD_CLIP, {**CLIP, "image_processor_type": "CLIPImageProcessorFast"}])
def test_clip(images, config, backend):
    """The shorter edge, a crop, and the float steps of either backend; old configurations and new ones."""
    processor = lt.LearnedCompose.from_processor(config, backend=backend)
    found = processor(images)
    expected = []
    for levels in map(levels_of, images):
        small = resized(levels, shorter(levels, 64), "bicubic", backend)
        expected.append(normalized(middle(small, (60, 50)), CLIP_MEAN, CLIP_STD, backend))
    assert list(found) == ["pixel_values"]
    equal(found["pixel_values"], torch.stack(expected))
    equal(processor(images[0])["pixel_values"], expected[0][None])


def test_backends_differ(images):
    """Which one is asked for matters, or the tests above would say little."""
    ours = [lt.LearnedCompose.from_processor(CLIP, backend=b)(images).pixel_values for b in BACKENDS]
    assert not torch.equal(*ours)
    assert torch.allclose(*ours, atol=0.1)
    equal(lt.LearnedCompose.from_processor(CLIP)(images).pixel_values, ours[0])


@pytest.mark.parametrize("backend", BACKENDS)
def test_one_size(images, backend):
    config = {"image_processor_type": "ViTImageProcessor", "size": 48, "resample": 2}
    found = lt.LearnedCompose.from_processor(config, backend=backend)(images).pixel_values
    expected = [resized(levels_of(one), (48, 48), "bilinear", backend) for one in images]
    equal(found, torch.stack([normalized(one, HALVES, HALVES, backend) for one in expected]))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("edge", [56, 384])
def test_convnext(images, backend, edge):
    """Below 384 pixels more is resized to, and cut off."""
    config = {"image_processor_type": "ConvNextImageProcessor", "size": {"shortest_edge": edge}, "crop_pct": 0.875}
    found = lt.LearnedCompose.from_processor(config, backend=backend)(images).pixel_values
    for one, levels in zip(found, map(levels_of, images), strict=True):
        if edge < 384:
            small = resized(levels, shorter(levels, int(edge / 0.875)), "bicubic", backend)
            expected = middle(small, (edge, edge))
        else:
            expected = resized(levels, (edge, edge), "bicubic", backend)
        equal(one, normalized(expected, HALVES, HALVES, backend))


@pytest.mark.parametrize(("backend", "starts"), [("torchvision", (5, 4)), ("pil", (5, 5))])
def test_crops_beyond_the_image(backend, starts):
    """What is missing is 0 before the float steps; an odd remainder goes where the backend leaves it."""
    config = {**CLIP, "do_resize": False, "crop_size": {"height": 30, "width": 40}}
    levels = levels_of(photo((20, 31)))
    expected = torch.zeros(3, 30, 40, dtype=torch.uint8)
    expected[:, starts[0] : starts[0] + 20, starts[1] : starts[1] + 31] = levels
    found = lt.LearnedCompose.from_processor(config, backend=backend)(levels).pixel_values
    equal(found[0], normalized(expected, CLIP_MEAN, CLIP_STD, backend))


@pytest.mark.parametrize("backend", BACKENDS)
def test_levels_stay_levels(images, backend):
    config = {**CLIP, "do_rescale": False, "do_normalize": False}
    found = lt.LearnedCompose.from_processor(config, backend=backend)(images[0]).pixel_values
    levels = levels_of(images[0])
    equal(found[0], middle(resized(levels, shorter(levels, 64), "bicubic", backend), (60, 50)))


def test_single_float_steps():
    """Each of the steps alone, in the order and precision of either backend."""
    levels = torch.arange(256, dtype=torch.uint8).view(1, 16, 16).expand(3, -1, -1)
    only = {**CLIP, "do_resize": False, "do_center_crop": False}
    scaled = {**only, "do_normalize": False, "rescale_factor": 0.3}
    equal(lt.LearnedCompose.from_processor(scaled)(levels).pixel_values[0], levels * 0.3)
    doubles = (levels.numpy().astype(np.float64) * 0.3).astype(np.float32)
    equal(lt.LearnedCompose.from_processor(scaled, backend="pil")(levels).pixel_values[0], torch.from_numpy(doubles))
    centered = {**only, "do_rescale": False, "image_mean": 100.0, "image_std": [3.0]}
    for backend in BACKENDS:
        found = lt.LearnedCompose.from_processor(centered, backend=backend)(levels).pixel_values[0]
        equal(found, (levels.float() - 100.0) / 3.0)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("offset", [False, True])
def test_efficientnet(images, backend, offset):
    """Levels may be moved around 0, and are divided by the standard deviation again."""
    config = {
        "image_processor_type": "EfficientNetImageProcessor",
        "size": 40,
        "image_mean": IMAGENET_MEAN,
        "image_std": IMAGENET_STD,
        "rescale_offset": offset,
    }
    found = lt.LearnedCompose.from_processor(config, backend=backend)(images[0]).pixel_values[0]
    levels = resized(levels_of(images[0]), (40, 40), "bicubic", backend)
    mean, std = (torch.tensor(value)[:, None, None] for value in (IMAGENET_MEAN, IMAGENET_STD))
    if not offset:
        expected = normalized(levels, IMAGENET_MEAN, IMAGENET_STD, backend)
    elif backend == "torchvision":
        expected = (levels * (1 / 255) - 1 - mean) / std
    else:
        expected = (levels.double() * (1 / 255)).float().sub(1).sub(mean).div(std)
    equal(found, expected / std)


@pytest.mark.parametrize("backend", BACKENDS)
def test_segment_anything(images, backend):
    """The longer edge; zeros behind the float steps; and the sizes before and after."""
    config = {"image_processor_type": "SamImageProcessor", "size": {"longest_edge": 64}, "pad_size": 70}
    found = lt.LearnedCompose.from_processor(config, backend=backend)(images)
    assert list(found) == ["pixel_values", "original_sizes", "reshaped_input_sizes"]
    equal(found.original_sizes, torch.tensor(SIZES))
    for one, size, levels in zip(found.pixel_values, found.reshaped_input_sizes, map(levels_of, images), strict=True):
        scale = 64 / max(levels.shape[1:])
        height, width = (int(side * scale + 0.5) for side in levels.shape[1:])
        assert size.tolist() == [height, width]
        expected = torch.zeros(3, 70, 70)
        small = resized(levels, (height, width), "bilinear", backend)
        expected[:, :height, :width] = normalized(small, IMAGENET_MEAN, IMAGENET_STD, backend)
        equal(one, expected)


@pytest.mark.parametrize("backend", BACKENDS)
def test_detection(images, backend):
    """As large as the largest image, with a mask of what is one."""
    config = {"feature_extractor_type": "DetrFeatureExtractor", "size": 40, "max_size": 66}
    found = lt.LearnedCompose.from_processor(config, backend=backend)(images)
    assert list(found) == ["pixel_mask", "pixel_values"]
    given = [sizes.edge_within((one.height, one.width), 40, 66) for one in images]
    largest = max(size[0] for size in given), max(size[1] for size in given)
    for one, mask, (height, width), levels in zip(
        found.pixel_values, found.pixel_mask, given, map(levels_of, images), strict=True
    ):
        expected, here = torch.zeros(3, *largest), torch.zeros(largest, dtype=torch.int64)
        small = resized(levels, (height, width), "bilinear", backend)
        expected[:, :height, :width], here[:height, :width] = normalized(small, IMAGENET_MEAN, IMAGENET_STD, backend), 1
        equal(one, expected)
        equal(mask, here)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("patch", [6, 14])
def test_merged_patches(images, backend, patch):
    """Blocks of patches together, each twice; the rows of all images one after another."""
    config = {
        "image_processor_type": "Qwen2VLImageProcessor",
        "patch_size": patch,
        "min_pixels": 56 * 56,
        "max_pixels": 150 * 150,
    }
    found = lt.LearnedCompose.from_processor(config, backend=backend)(images)
    rows, grids = [], []
    for levels in map(levels_of, images):
        height, width = sizes.pixels(tuple(levels.shape[1:]), 2 * patch, 56 * 56, 150 * 150)
        assert height % (2 * patch) == width % (2 * patch) == 0
        floats = normalized(resized(levels, (height, width), "bicubic", backend), CLIP_MEAN, CLIP_STD, backend)
        grids.append((1, height // patch, width // patch))
        blocks = floats.view(3, grids[-1][1] // 2, 2, patch, grids[-1][2] // 2, 2, patch).permute(1, 4, 2, 5, 0, 3, 6)
        rows.append(blocks.unsqueeze(5).expand(-1, -1, -1, -1, -1, 2, -1, -1).reshape(-1, 6 * patch * patch))
    equal(found.image_grid_thw, torch.tensor(grids))
    equal(found.pixel_values, torch.cat(rows))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("mean", [HALVES, CLIP_MEAN])
def test_counted_patches(images, backend, mean):
    """Patches of whole pixels, and zeros behind them."""
    config = {
        "image_processor_type": "Siglip2ImageProcessor",
        "patch_size": 8,
        "max_num_patches": 40,
        "image_mean": mean,
    }
    found = lt.LearnedCompose.from_processor(config, backend=backend)(images)
    assert list(found) == ["pixel_values", "pixel_attention_mask", "spatial_shapes"]
    for row, mask, shape, levels in zip(*found.values(), map(levels_of, images), strict=True):
        height, width = sizes.patches_within(tuple(levels.shape[1:]), 8, 40)
        count = height * width // 64
        assert shape.tolist() == [height // 8, width // 8]
        assert 20 <= count <= 40
        floats = normalized(resized(levels, (height, width), "bilinear", backend), mean, HALVES, backend)
        patches = floats.view(3, height // 8, 8, width // 8, 8).permute(1, 3, 2, 4, 0).reshape(count, -1)
        equal(row, torch.cat([patches, torch.zeros(40 - count, 192)]))
        equal(mask, (torch.arange(40) < count).int())


@pytest.mark.parametrize("backend", BACKENDS)
def test_squares_of_the_mean(backend):
    config = {"image_processor_type": "LlavaImageProcessor", "do_pad": True, "size": 32, "crop_size": 32}
    levels = levels_of(photo((41, 64)))
    square = torch.tensor([int(one * 255) for one in CLIP_MEAN], dtype=torch.uint8)[:, None, None].repeat(1, 64, 64)
    square[:, 11:52] = levels
    found = lt.LearnedCompose.from_processor(config, backend=backend)(levels).pixel_values
    expected = resized(square, (32, 32), "bicubic", backend)
    equal(found[0], normalized(expected, CLIP_MEAN, CLIP_STD, backend))


@pytest.mark.parametrize(
    ("rule", "size", "given", "expected"),
    [
        (sizes.edge_within, (480, 640), {"edge": 800, "most": 1333}, (800, 1066)),
        (sizes.edge_within, (426, 1000), {"edge": 800, "most": 1333}, (568, 1333)),
        (sizes.edge_within, (1000, 426), {"edge": 800, "most": 1333}, (1333, 568)),
        (sizes.edge_within, (800, 900), {"edge": 800, "most": 1333}, (800, 900)),
        (sizes.edge_within, (480, 640), {"edge": 800, "most": 1333, "multiple": 16}, (800, 1056)),
        (sizes.shortest, (427, 640), {"edge": 224}, (224, 335)),
        (sizes.longest, (427, 640), {"edge": 1024}, (683, 1024)),
        (sizes.fit_within, (100, 200), {"rows": 50, "columns": 50}, (25, 50)),
        (sizes.fit_within, (100, 200), {"rows": 200, "columns": 500}, (200, 400)),
        (sizes.pixels, (427, 640), {"multiple": 28, "least": 3136, "most": 1003520}, (420, 644)),
        (sizes.pixels, (20, 30), {"multiple": 28, "least": 3136, "most": 1003520}, (56, 84)),
        (sizes.pixels, (4000, 3000), {"multiple": 28, "least": 3136, "most": 1003520}, (1148, 840)),
    ],
)
def test_sizes(rule, size, given, expected):
    """Known sizes of published processors."""
    assert rule(size, **given) == expected


@pytest.mark.parametrize("backend", BACKENDS)
def test_images_of_all_kinds(images, backend):
    """PIL, arrays and tensors, channels first and last, batches and lists of lists: the same values."""
    processor = lt.LearnedCompose.from_processor(CLIP, backend=backend)
    expected = processor(images).pixel_values
    arrays = [np.asarray(image) for image in images]
    readonly = arrays[0]
    assert not readonly.flags.writeable
    equal(processor(arrays).pixel_values, expected)
    equal(processor([np.ascontiguousarray(one.transpose(2, 0, 1)) for one in arrays]).pixel_values, expected)
    equal(processor(tuple(map(levels_of, images))).pixel_values, expected)
    equal(processor([[images[0]], images[1:]]).pixel_values, expected)
    equal(processor(levels_of(images[0])[None]).pixel_values, expected[:1])
    equal(processor([one[:, ::-1][:, ::-1] for one in arrays]).pixel_values, expected)
    three = levels_of(photo((3, 64)).resize((64, 3)))
    equal(
        processor(three.movedim(0, -1), input_data_format="channels_last").pixel_values,
        processor(three, input_data_format="channels_first").pixel_values,
    )


@pytest.mark.parametrize("backend", BACKENDS)
def test_other_modes(backend):
    """Gray, palettes and alpha become RGB, what is transparent before white."""
    processor = lt.LearnedCompose.from_processor(CLIP, backend=backend)
    gray, color = photo((70, 80), 1), photo((70, 80))
    equal(processor(gray).pixel_values, processor(gray.convert("RGB")).pixel_values)
    equal(processor(np.asarray(gray)[..., None]).pixel_values, processor(gray).pixel_values)
    palette = color.quantize(16)
    equal(processor(palette).pixel_values, processor(palette.convert("RGB")).pixel_values)
    alpha = color.copy()
    alpha.putalpha(gray)
    white = Image.new("RGBA", alpha.size, (255, 255, 255, 255))
    equal(processor(alpha).pixel_values, processor(Image.alpha_composite(white, alpha).convert("RGB")).pixel_values)


def test_kinds_of_results(images):
    tensors = lt.LearnedCompose.from_processor(CLIP)
    assert isinstance(tensors(images, return_tensors="np")["pixel_values"], np.ndarray)
    assert all(isinstance(one, Tensor) for one in tensors(images, return_tensors=None)["pixel_values"])
    arrays = lt.LearnedCompose.from_processor({**CLIP, "do_center_crop": False}, backend="pil")
    found = arrays(images, return_tensors=None)["pixel_values"]
    assert [one.shape[1:] for one in found] == [shorter(levels_of(one), 64) for one in images]
    assert isinstance(found[0], np.ndarray)
    config = {"image_processor_type": "SamImageProcessor", "size": {"longest_edge": 64}}
    sized = lt.LearnedCompose.from_processor(config)
    assert sized(images, return_tensors=None)["original_sizes"] == list(SIZES)


def test_features(images):
    features = lt.LearnedCompose.from_processor({"image_processor_type": "DetrImageProcessor", "size": 40})(images)
    assert features.pixel_values is features["pixel_values"]
    assert dict(**features).keys() == features.keys()
    again = pickle.loads(pickle.dumps(features))
    equal(again.pixel_values, features.pixel_values)
    with pytest.raises(AttributeError, match="labels"):
        _ = features.labels
    half = features.to(torch.float16)
    assert half.pixel_values.dtype == torch.float16
    assert half.pixel_mask.dtype == torch.int64
    assert features.to("meta").pixel_mask.device.type == "meta"


def test_options_of_a_call(images):
    processor = lt.LearnedCompose.from_processor(CLIP)
    expected = lt.LearnedCompose.from_processor({**CLIP, "size": {"shortest_edge": 70}})
    equal(processor(images, size={"shortest_edge": 70}).pixel_values, expected(images).pixel_values)
    uncropped = processor(images[0], do_center_crop=False, size=50).pixel_values
    equal(processor(images[0], do_center_crop=None, size=50).pixel_values, uncropped)
    with pytest.raises(ProcessorInputError, match="annotations"):
        processor(images, annotations=[])


class Loaded(torch.utils.data.Dataset):
    """Images behind a processor."""

    def __init__(self, processor: object) -> None:
        self.processor = processor

    def __len__(self) -> int:
        return len(SIZES)

    def __getitem__(self, number: int) -> Tensor:
        return self.processor(photo(SIZES[number])).pixel_values[0]


def test_workers(images):
    """A processor goes to other processes, and to files."""
    processor = lt.LearnedCompose.from_processor(CLIP, backend="pil")
    batch = next(iter(DataLoader(Loaded(processor), batch_size=len(SIZES), num_workers=1)))
    equal(batch, processor(images).pixel_values)
    again = pickle.loads(pickle.dumps(processor))
    equal(again(images).pixel_values, batch)
    assert again.configuration == processor.configuration


def test_other_threads_run():
    """While native code works, other threads of Python do."""
    processor = lt.LearnedCompose.from_processor({**CLIP, "size": 700, "crop_size": 700})
    image = photo((1400, 1400))
    processor(image)
    counted, done = [0], threading.Event()

    def count() -> None:
        while not done.is_set():
            counted[0] += 1
            time.sleep(0)  # The lock is there for whoever wants it.

    def best_of(work) -> int:
        most = 0
        for _ in range(5):
            before = counted[0]
            work()
            most = max(most, counted[0] - before)
        return most

    call = processor.runner.bound(image).call
    thread = threading.Thread(target=count)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(60)  # No thread loses the lock unless it gives it up.
    try:
        thread.start()
        assert best_of(lambda: call(image)) > 10
        assert best_of(lambda: sum(range(10**6))) < 10  # What holds the lock stops them.
    finally:
        done.set()
        sys.setswitchinterval(interval)
        thread.join()


def test_without_native_code(images, monkeypatch):
    """The reference gives the same."""
    configs = [CLIP, {"image_processor_type": "Siglip2ImageProcessor", "image_mean": CLIP_MEAN, "max_num_patches": 20}]
    configs += [{"image_processor_type": "Qwen2VLImageProcessor", "max_pixels": 100 * 100}]
    configs += [{"image_processor_type": "SamImageProcessor", "size": {"longest_edge": 64}, "pad_size": 64}]
    native = [lt.LearnedCompose.from_processor(config)(images) for config in configs]
    monkeypatch.setattr(cpu, "MISSING", "taken away by this test")
    for config, expected in zip(configs, native, strict=True):
        found = lt.LearnedCompose.from_processor(config)(images)
        assert list(found) == list(expected)
        for name in expected:
            equal(found[name], expected[name])


def test_explain(images):
    told = str(lt.LearnedCompose.from_processor(CLIP, backend="pil").explain())
    assert "resize bicubic, shortest(edge=64)" in told
    assert "Resampling" in told
    assert "exact" in told
    assert "lookup" in told
    assert "proved" in told


BAD = [
    ({}, ProcessorKeyError, "image_processor_type"),
    ({"image_processor_type": "FooImageProcessor"}, ProcessorError, "FooImageProcessor"),
    ({**CLIP, "size": {"shortest_edge": 64, "height": 64}}, ProcessorError, '"size"'),
    ({**CLIP, "size": {"shortest_edge": -1}}, ProcessorError, '"shortest_edge"'),
    ({**CLIP, "size": {"shortest_edge": 2.5}}, ProcessorError, '"shortest_edge"'),
    ({**CLIP, "size": {"longest_edge": 64}}, ProcessorError, '"size"'),
    ({**CLIP, "size": "large"}, ProcessorError, '"size"'),
    ({**CLIP, "crop_size": {"height": 3}}, ProcessorError, '"crop_size"'),
    ({**CLIP, "crop_size": {"shortest_edge": 3}}, ProcessorError, '"crop_size"'),
    ({**CLIP, "resample": 9}, ProcessorKeyError, '"resample"'),
    ({**CLIP, "image_mean": [0.5, 0.5]}, ProcessorError, '"image_mean"'),
    ({**CLIP, "image_mean": "half"}, ProcessorError, '"image_mean"'),
    ({**CLIP, "image_std": [0.5, 0.0, 0.5]}, ProcessorError, '"image_std"'),
    ({**CLIP, "rescale_factor": 0}, ProcessorError, '"rescale_factor"'),
    ({**CLIP, "do_resize": "yes"}, ProcessorError, '"do_resize"'),
    ({"image_processor_type": "Siglip2ImageProcessor", "patch_size": 0}, ProcessorError, '"patch_size"'),
    ({"image_processor_type": "SamImageProcessor", "size": 64}, ProcessorError, '"longest_edge"'),
    ({"image_processor_type": "DetrImageProcessor", "size": {"shortest_edge": 4}}, ProcessorError, '"longest_edge"'),
    ({"image_processor_type": "Qwen2VLImageProcessor", "size": 64}, ProcessorError, '"longest_edge"'),
    ({"image_processor_type": "ConvNextImageProcessor", "crop_pct": 0, "size": 200}, ProcessorError, '"crop_pct"'),
    (
        {"image_processor_type": "EfficientNetImageProcessor", "do_rescale": False, "do_normalize": False},
        ProcessorError,
        '"include_top"',
    ),
    (object(), ProcessorError, "image processor"),
]


@pytest.mark.parametrize(("config", "kind", "key"), BAD)
def test_bad_configurations(config, kind, key):
    """The exception of transformers, a ValueError or KeyError, with the key in it."""
    with pytest.raises(kind, match=key) as caught:
        lt.LearnedCompose.from_processor(config)
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, KeyError) == (kind is ProcessorKeyError)


@pytest.mark.parametrize(
    ("missing", "key"),
    [("size", "size"), ("crop_size", "crop_size"), ("resample", "resample"), ("image_mean", "image_mean")],
)
def test_missing_values(images, missing, key):
    """What is taken away in a call has no default, as in transformers."""
    with pytest.raises(ProcessorError, match=f'"{key}"'):
        lt.LearnedCompose.from_processor(CLIP)(images, **{missing: None})


@pytest.mark.parametrize(
    ("image", "hint"),
    [
        (torch.rand(3, 40, 40), "uint8"),
        (np.zeros((40, 40), np.uint8), "one image|an image"),
        (torch.zeros(7, 40, 50, dtype=torch.uint8), "input_data_format"),
        (torch.zeros(4, 40, 50, dtype=torch.uint8), "channels"),
        ([], "list"),
        ("photo.jpg", "PIL"),
    ],
)
def test_bad_images(image, hint):
    with pytest.raises(ProcessorInputError, match=hint) as caught:
        lt.LearnedCompose.from_processor(CLIP)(image)
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, TypeError)


def test_gray_images_and_three_means():
    """Where nothing makes RGB images of them, they do not fit the numbers."""
    processor = lt.LearnedCompose.from_processor({"image_processor_type": "ViTImageProcessor", "size": 32})
    with pytest.raises(ProcessorInputError, match="do_convert_rgb"):
        processor(photo((40, 50), 1))
    with pytest.raises(ProcessorInputError, match="do_convert_rgb"):
        processor(photo((40, 50)).convert("RGBA"))


def test_uneven_batches(images):
    with pytest.raises(UnevenBatchError, match="return_tensors=None"):
        lt.LearnedCompose.from_processor({**CLIP, "do_center_crop": False})(images)
    small = {"image_processor_type": "SamImageProcessor", "size": {"longest_edge": 64}, "pad_size": 50}
    with pytest.raises(UnevenBatchError, match="pad_size"):
        lt.LearnedCompose.from_processor(small)(images)


def test_files(images, tmp_path):
    """A file, a folder, and the file of a processor that holds a tokenizer too."""
    expected = lt.LearnedCompose.from_processor(CLIP)(images).pixel_values
    path = tmp_path / "preprocessor_config.json"
    path.write_text(json.dumps(CLIP))
    for given in (path, str(path), tmp_path):
        equal(lt.LearnedCompose.from_processor(given)(images).pixel_values, expected)
    path.unlink()
    with pytest.raises(ProcessorError, match=r"preprocessor_config\.json"):
        lt.LearnedCompose.from_processor(tmp_path)
    (tmp_path / "processor_config.json").write_text(json.dumps({"image_processor": CLIP, "tokenizer": {}}))
    equal(lt.LearnedCompose.from_processor(tmp_path)(images).pixel_values, expected)
    path.write_text("[1")
    with pytest.raises(ProcessorError, match="JSON"):
        lt.LearnedCompose.from_processor(path)
    with pytest.raises(FileNotFoundError, match="downloaded"):
        lt.LearnedCompose.from_processor("openai/clip-vit-base-patch32")
    with pytest.raises(ProcessorError, match="backend"):
        lt.LearnedCompose.from_processor(CLIP, backend="numpy")


class ImageProcessingMixin:
    """Stands for the base of transformers' processors."""

    def __init__(self, config: dict, shift: float = 0.0) -> None:
        self.config, self.shift, self.calls = config, shift, 0

    def to_dict(self) -> dict:
        return self.config

    def post_process(self) -> str:
        return "what a model gave"

    def __call__(self, images: object, return_tensors: str | None = None, **options: object) -> dict:
        self.calls += 1
        if isinstance(images, Tensor):
            return {"pixel_values": images}
        twin = lt.LearnedCompose.from_processor(self.config, backend="pil")
        return {"pixel_values": twin(images).pixel_values + self.shift}


@pytest.fixture
def published(monkeypatch):
    """A class with the name and module of a published processor."""
    monkeypatch.setattr(ImageProcessingMixin, "__module__", "transformers.image_processing_base")
    kind = type("CLIPImageProcessor", (ImageProcessingMixin,), {"__module__": "transformers.models.clip"})
    return lambda **given: kind(CLIP, **given)


def test_objects(images, published):
    """They are recognized by the name of their class, and run what layers do not take."""
    original = published()
    processor = lt.LearnedCompose.from_processor(original, fallback="warn")
    assert processor.steps.backend == "pil"
    assert original.calls == 1
    equal(processor(images).pixel_values, lt.LearnedCompose.from_processor(CLIP, backend="pil")(images).pixel_values)
    assert original.calls == 1
    assert processor.post_process() == "what a model gave"
    floats = torch.rand(3, 40, 40)
    with pytest.warns(FallbackWarning, match="uint8"):
        assert processor(floats)["pixel_values"] is floats
    assert original.calls == 2
    with pytest.raises(UnsupportedTransformError, match="uint8"):
        lt.LearnedCompose.from_processor(original, fallback="error")(floats)
    holding = type("CLIPProcessor", (), {"__module__": "transformers.models.clip", "image_processor": original})
    base = type("ProcessorMixin", (holding,), {"__module__": "transformers.processing_utils"})
    assert lt.LearnedCompose.from_processor(base()).original is original


def test_objects_that_differ(images, published):
    """A processor that gives other values than its configuration says runs itself."""
    original = published(shift=1.0)
    with pytest.warns(FallbackWarning, match="other values"):
        processor = lt.LearnedCompose.from_processor(original)
    expected = lt.LearnedCompose.from_processor(CLIP, backend="pil")(images).pixel_values + 1.0
    equal(processor(images)["pixel_values"], expected)
    assert "other values" in str(processor.explain())
    with pytest.raises(UnsupportedTransformError):
        lt.LearnedCompose.from_processor(original, fallback="error")
    again = pickle.loads(pickle.dumps(lt.LearnedCompose.from_processor(CLIP)))
    assert again.foreign is None


DATA_CONFIG = {
    "input_size": (3, 48, 48),
    "interpolation": "bicubic",
    "mean": IMAGENET_MEAN,
    "std": IMAGENET_STD,
    "crop_pct": 0.9,
    "crop_mode": "center",
}


@pytest.mark.parametrize(("mode", "resize"), [("center", 53), ("squash", (53, 53))])
def test_data_configs(images, mode, resize):
    """timm's, as its own create_transform reads them."""
    ours = lt.LearnedCompose.from_processor({**DATA_CONFIG, "crop_mode": mode}, fallback="error")
    assert isinstance(ours, lt.LearnedCompose)
    steps = [v1.Resize(resize, InterpolationMode.BICUBIC), v1.CenterCrop(48), v1.ToTensor()]
    theirs = v1.Compose([*steps, v1.Normalize(IMAGENET_MEAN, IMAGENET_STD)])
    for image in images:
        equal(ours(image), theirs(image))


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"interpolation": None}, "interpolation"),
        ({"interpolation": "cubic"}, "interpolation"),
        ({"mean": (0.5,)}, "mean"),
        ({"std": (0.5, 0.0, 0.5)}, "std"),
        ({"crop_mode": "border"}, "crop_mode"),
        ({"input_size": "48"}, "input_size"),
        ({"input_size": (3, 48, 60)}, "crop_mode"),
    ],
)
def test_bad_data_configs(change, key):
    with pytest.raises(ProcessorError, match=key):
        lt.LearnedCompose.from_processor({**DATA_CONFIG, **change})


@pytest.mark.parametrize("given", [ResNet18_Weights.DEFAULT, ResNet18_Weights.DEFAULT.transforms])
def test_weights(images, given):
    """torchvision's weights, what makes their transforms, and these."""
    theirs = ResNet18_Weights.DEFAULT.transforms()
    for x in (given, theirs):
        ours = lt.LearnedCompose.from_processor(x, fallback="error")
        equal(ours(images[3]), theirs(images[3]))
    with pytest.raises(ProcessorError, match="crop_size"):
        lt.LearnedCompose.from_processor(ImageClassification)
