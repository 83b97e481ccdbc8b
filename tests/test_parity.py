"""Every row of the catalogue against torchvision: kinds of input, sizes, channels, layouts and draws.

The quick set runs always; ``pytest -m full`` runs many more random pipelines.
"""

import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
import torchvision.transforms as v1
from helpers import FORMS, REFUSALS, image_of, same
from torch.utils._pytree import tree_leaves
from torchvision.transforms import InterpolationMode, v2

import learned_transforms as lt
from learned_transforms.transforms.containers import CONTAINERS
from learned_transforms.transforms.registry import SPECS
from learned_transforms.transforms.torch_ops import OPERATIONS

Make = Callable[[Any], Any]

SIZES = ((1, 1), (1, 9), (37, 46), (90, 33), (64, 64), (128, 201))
POLICIES = {"AugMix", "AutoAugment", "RandAugment", "TrivialAugmentWide"}
COLORS = {
    *("ColorJitter", "RandomPhotometricDistort", "GaussianBlur"),
    *("RandomAdjustSharpness", "RandomAutocontrast", "RandomEqualize"),
}
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
PADDED: dict[str, Make] = {
    f"Pad {mode} {padding} {fill}": lambda api, p=padding, m=mode, f=fill: api.Pad(p, fill=f, padding_mode=m)
    for mode, padding, fill in (
        ("constant", 3, 0),
        ("constant", [2, 5], 128),
        ("constant", [1, 2, 3, 4], 255),
        ("edge", [4, 0], 0),
        ("edge", 20, 0),
        ("reflect", [3, 2, 1, 4], 0),
        ("symmetric", [5, 3], 0),
    )
}
RESIZED: dict[str, Make] = {
    f"Resize {mode} {size} {antialias}": lambda api, m=mode, s=size, a=antialias: api.Resize(
        s, interpolation=InterpolationMode(m), antialias=a
    )
    for mode in ("nearest", "nearest-exact", "bilinear", "bicubic", "lanczos")
    for size in ((20, 31), 24, (100, 90), 70)
    for antialias in (True, False)
    if antialias or mode in ("bilinear", "bicubic")
}
BILINEAR, BICUBIC = InterpolationMode.BILINEAR, InterpolationMode.BICUBIC
FILLED = ("RandomRotation expand",)
"""Warps that sum, with a fill other than 0, which v1's on floats is not learned."""

CASES: dict[str, Make] = {
    **RESIZED,
    **PADDED,
    "Resize max_size": lambda api: api.Resize(30, max_size=50, antialias=True),
    "CenterCrop": lambda api: api.CenterCrop((20, 31)),
    "CenterCrop beyond": lambda api: api.CenterCrop((70, 50)),
    "RandomCrop": lambda api: api.RandomCrop((20, 25)),
    "RandomCrop padded": lambda api: api.RandomCrop((32, 30), padding=4),
    "RandomCrop filled": lambda api: api.RandomCrop((32, 30), padding=[8, 5], fill=77),
    "RandomCrop edge": lambda api: api.RandomCrop(24, padding=[1, 9, 7, 4], padding_mode="edge"),
    "RandomCrop reflect": lambda api: api.RandomCrop(24, padding=6, padding_mode="reflect"),
    "RandomCrop if needed": lambda api: api.RandomCrop((60, 50), pad_if_needed=True, fill=9),
    "RandomCrop symmetric if needed": lambda api: api.RandomCrop(50, pad_if_needed=True, padding_mode="symmetric"),
    "RandomResizedCrop": lambda api: api.RandomResizedCrop((20, 31), antialias=True),
    "RandomResizedCrop bicubic": lambda api: api.RandomResizedCrop(
        24, scale=(0.2, 1), interpolation=InterpolationMode.BICUBIC, antialias=True
    ),
    "RandomResizedCrop nearest": lambda api: api.RandomResizedCrop(24, interpolation=InterpolationMode.NEAREST),
    "RandomResizedCrop nearest-exact": lambda api: api.RandomResizedCrop(
        (50, 31), scale=(0.2, 1), interpolation=InterpolationMode.NEAREST_EXACT
    ),
    "RandomRotation": lambda api: api.RandomRotation(180),
    "RandomRotation expand": lambda api: api.RandomRotation((20, 70), BILINEAR, expand=True, fill=9),
    "RandomRotation quarter": lambda api: api.RandomRotation((90, 90), BILINEAR, expand=True),
    "RandomRotation half": lambda api: api.RandomRotation((180, 180), fill=50),
    "RandomRotation center": lambda api: api.RandomRotation(30, BILINEAR, center=(5, 7.5)),
    "RandomAffine": lambda api: api.RandomAffine(30, (0.1, 0.3), (0.5, 2), (3, 9, -20, 5), fill=77),
    "RandomAffine bilinear": lambda api: api.RandomAffine(30, (0.1, 0.3), (0.5, 2), 20, BILINEAR),
    "RandomPerspective": lambda api: api.RandomPerspective(0.4, 0.8, InterpolationMode.NEAREST, fill=3),
    "RandomPerspective bilinear": lambda api: api.RandomPerspective(0.5, 0.8),
    "ElasticTransform": lambda api: api.ElasticTransform(40.0, 0.1),
    "ElasticTransform nearest": lambda api: api.ElasticTransform(90.0, 0.2, InterpolationMode.NEAREST, 9),
    "RandomHorizontalFlip": lambda api: api.RandomHorizontalFlip(),
    "RandomVerticalFlip": lambda api: api.RandomVerticalFlip(0.3),
    "Grayscale": lambda api: api.Grayscale(3),
    "RandomGrayscale": lambda api: api.RandomGrayscale(0.5),
    "RandomInvert": lambda api: api.RandomInvert(0.5),
    "RandomPosterize": lambda api: api.RandomPosterize(3, 0.6),
    "RandomSolarize": lambda api: api.RandomSolarize(100, 0.6),
    "RandomErasing": lambda api: api.RandomErasing(0.7, value=70),
    "RandomErasing large": lambda api: api.RandomErasing(0.9, scale=(0.3, 1), ratio=(0.5, 4), value=[9.5]),
    "RandomApply": lambda api: api.RandomApply([api.RandomHorizontalFlip(), api.Grayscale(3), api.RandomInvert()], 0.6),
    "RandomApply nested": lambda api: api.RandomApply(
        [api.RandomVerticalFlip(), api.RandomApply([api.RandomSolarize(9), api.Pad(2)], 0.4)], 0.7
    ),
    "Compose": lambda api: api.Compose([api.Resize(20, antialias=True), api.Compose([api.RandomHorizontalFlip()])]),
}
SEVERAL: dict[str, Make] = {
    "FiveCrop": lambda api: api.FiveCrop((20, 31)),
    "FiveCrop whole": lambda api: api.FiveCrop(64),
    "TenCrop": lambda api: api.TenCrop((37, 33)),
    "TenCrop vertical": lambda api: api.TenCrop((1, 9), vertical_flip=True),
}
ONLY_V2: dict[str, Make] = {
    "RandomChannelPermutation": lambda api: v2.RandomChannelPermutation(),
    "RGB": lambda api: v2.RGB(),
    "Identity": lambda api: v2.Identity(),
    "Pad by channel": lambda api: v2.Pad(3, fill=[10, 20, 30]),
    "RandomCrop by channel": lambda api: v2.RandomCrop(30, padding=5, fill=(1, 2, 3)),
}
ON_TENSORS: dict[str, Make] = {
    "ToPILImage": lambda api: api.ToPILImage(),
    "ToPILImage RGB": lambda api: api.ToPILImage("RGB"),
    "ToPILImage L": lambda api: api.ToPILImage("L"),
    "RandomErasing by channel": lambda api: api.RandomErasing(0.9, value=(7, 80.5, 0)),
}
ON_FLOATS: dict[str, Make] = {
    "RandomSolarize .4": lambda api: api.RandomSolarize(0.4, 0.6),
    "RandomPosterize 0": lambda api: api.RandomPosterize(0, 0.6),
    "RandomPosterize 8": lambda api: api.RandomPosterize(8, 0.6),
}
ON_PIL: dict[str, Make] = {
    "Resize hamming": lambda api: api.Resize((20, 31), interpolation=InterpolationMode.HAMMING),
    "Resize box": lambda api: api.Resize((20, 31), interpolation=InterpolationMode.BOX),
    "Pad by channel": lambda api: api.Pad(3, fill=(10, 20, 30)),
    "RandomAffine bicubic": lambda api: api.RandomAffine(30, shear=20, interpolation=BICUBIC, fill=99),
}
LAST: dict[str, Make] = {
    "float": lambda api: v2.ToDtype(torch.float32, scale=True) if api is v2 else v1.ConvertImageDtype(torch.float32),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("form", ["pil", "uint8", "float32", "image"])
@pytest.mark.parametrize("api", [v1, v2], ids=["v1", "v2"])
@pytest.mark.parametrize("name", [*CASES, *SEVERAL, *ONLY_V2, *ON_PIL, *ON_TENSORS, *ON_FLOATS])
def test_row(name: str, api: Any, form: str) -> None:
    """One transform alone, with a flip behind, and before a conversion to floats."""
    only = (name in ON_PIL and form != "pil") or (name in ON_TENSORS and form == "pil")
    only = only or (name in ON_FLOATS and form != "float32")
    if only or (api is v1 and (form == "image" or name in ONLY_V2)):
        pytest.skip("torchvision has no such combination")
    make = {**CASES, **SEVERAL, **ONLY_V2, **ON_PIL, **ON_TENSORS, **ON_FLOATS}[name]
    # What passes through torchvision would prove nothing: only these may.
    passes = api is v1 and (
        (form != "pil" and "lanczos" in name)
        or (form == "pil" and "Erasing" in name)
        or (form == "float32" and ("Posterize" in name or name in FILLED))
    )
    options: dict[str, str] = {} if passes else {"fallback": "error"}
    # Behind several images v1 raises what it does, in torchvision.
    behind = {} if api is v1 and name in SEVERAL else options
    for number, size in enumerate(SIZES):
        channels = (3, 1)[number % 2] if name != "Pad by channel" else 3
        image = FORMS[form](image_of(channels, size, number))
        same([make(api)], image, "exact", seeds=3, **options)
        same([make(api), api.RandomHorizontalFlip(), api.RandomVerticalFlip()], image, "exact", seeds=2, **behind)
        if form == "pil":
            end = [v1.ToTensor()] if api is v1 else [v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]
            same([make(api), *end, api.Normalize(MEAN[:channels], STD[:channels])], image, "exact", seeds=2, **behind)
        elif form != "float32" and "PIL" not in name:
            last = api.Normalize(MEAN[:channels], STD[:channels])
            same([make(api), LAST["float"](api), last], image, "exact", seeds=2, **behind)


@pytest.fixture(params=[1, 2])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    """So many for torch."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


FAR = (
    *(
        ((1, 1), (415, 376)),
        ((1, 1100), (1100, 1)),
        ((700, 2), (3, 1000)),
        ((1100, 1099), (3, 125)),
        ((5, 4), (519, 227)),
    ),
    *(((561, 569), (63, 65)), ((561, 578), (63, 66)), ((1053, 821), (305, 55)), ((640, 427), (600, 999))),
)


def sizes_of(rng: random.Random, count: int) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """From and to: extreme ones, then as many short lengths as long ones."""
    lengths = [[int(1100 ** rng.random()), rng.randint(1, 1100)][k % 2] for k in range(4 * count)]
    return [*FAR, *(((a, b), (c, d)) for a, b, c, d in zip(*[iter(lengths)] * 4, strict=True))]


@pytest.mark.parametrize("layout", ["planes", "batch", "channels last", "cropped"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_floats_without_antialiasing(mode: str, channels: int, layout: str, threads: int) -> None:
    """Within 1e-6 at every size: whether aten fuses positions goes by the size of the output, channels and threads."""
    for (height, width), size in sizes_of(random.Random(f"{mode} {layout}"), 12):
        image = torch.rand(2 if layout == "batch" else 1, channels, height + 3, width + 5)
        if layout == "channels last":
            image = image.contiguous(memory_format=torch.channels_last)
        image = image[..., 3:, 5:] if layout == "cropped" else image[..., :height, :width].clone()
        resize = v2.Resize(size, interpolation=InterpolationMode(mode), antialias=False)
        found = lt.LearnedCompose([resize], fallback="error")(image)
        assert (found - resize(image)).abs().max() <= 1e-6, (height, width, size)


@pytest.mark.parametrize("form", ["float32", "uint8", "pil"])
def test_floats_follow_the_number_of_threads(form: str, threads: int) -> None:
    image = FORMS[form](image_of(3, (561, 578), 0))
    steps = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Resize((63, 66), antialias=False)]
    transform, expected = lt.LearnedCompose(steps, fallback="error"), v2.Compose(steps)
    for count in (threads, 3 - threads, threads):
        torch.set_num_threads(count)
        assert (transform(image) - expected(image)).abs().max() <= 1e-6


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "name", ["RandomCrop padded", "RandomResizedCrop", "Pad constant [2, 5] 128", "RandomGrayscale", *SEVERAL]
)
def test_batches_layouts_and_arrays(name: str) -> None:
    make, size = {**CASES, **SEVERAL}[name], (64, 66) if name in SEVERAL else (37, 46)
    batch = torch.stack([image_of(3, size, seed) for seed in range(4)])
    for image in (batch, batch[None], batch[:, :, ::2], batch.contiguous(memory_format=torch.channels_last), batch[:0]):
        same([make(v2), v2.RandomHorizontalFlip()], image, "exact", seeds=2)
    pixels = batch[0].permute(1, 2, 0).contiguous().numpy()
    transform = lt.LearnedCompose([make(v2)])
    torch.manual_seed(3)
    expected = transform(batch[0])
    torch.manual_seed(3)
    found = transform(pixels)
    for one, other in zip(tree_leaves(found), tree_leaves(expected), strict=True):
        assert isinstance(one, np.ndarray)
        assert torch.from_numpy(one).permute(2, 0, 1).equal(other)


STEPS: list[Make] = [make for name, make in CASES.items() if "nearest" not in name or "Random" not in name]


def pipeline(rng: random.Random, api: Any, form: str) -> list[Any]:
    """Two to six transforms, and for some the usual end."""
    steps = [rng.choice(STEPS)(api) for _ in range(rng.randint(2, 6))]
    if api is v2 and rng.random() < 0.3:
        steps.insert(rng.randint(0, len(steps)), rng.choice([v2.FiveCrop, v2.TenCrop])(rng.randint(9, 32)))
    if form == "pil" and rng.random() < 0.5:
        steps += [v1.ToTensor()] if api is v1 else [v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]
        steps += [api.Normalize((0.5,), (0.25,))]
    elif form != "pil" and rng.random() < 0.5:
        steps += [LAST["float"](api), api.Normalize((0.5,), (0.25,))]
    return steps


def check_pipelines(first: int, last: int) -> int:
    """Random pipelines under equal seeds; how many were compared, where torchvision did not raise."""
    ran = 0
    for number in range(first, last):
        rng = random.Random(number)
        api, form = rng.choice([v1, v2]), rng.choice(["pil", "uint8"])
        size = rng.choice([(37, 46), (90, 33), (64, 64), (128, 201)])
        steps = pipeline(rng, api, form)
        image = FORMS[form](image_of(rng.choice([1, 3, 3]), size, number))
        try:
            torch.manual_seed(number)
            for step, value in [(v2.Compose(steps), image)]:
                step(value)
            ran += 1
        except REFUSALS:  # `same` checks that ours raises the like.
            pass
        same(steps, image, "exact", seeds=2)
    return ran


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("part", range(4))
def test_random_pipelines(part: int) -> None:
    assert check_pipelines(part * 30, part * 30 + 30) >= 15


@pytest.mark.full
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("part", range(10))
def test_many_random_pipelines(part: int) -> None:
    assert check_pipelines(1000 + part * 60, 1060 + part * 60) >= 30


def test_every_row_is_tried() -> None:
    tried = {
        type(inner)
        for make in (*CASES.values(), *SEVERAL.values(), *ONLY_V2.values(), *ON_TENSORS.values())
        for api in (v1, v2)
        for inner in [make(api)]
    }
    converted = {"Normalize", "ToTensor", "ConvertImageDtype", "PILToTensor", "ToDtype", "ToImage", "ToPureTensor"}
    elsewhere = {"LinearTransformation", *COLORS}  # In test_given.py and test_parity_color.py.
    elsewhere |= POLICIES  # In test_policies.py.
    elsewhere |= {kind.__name__ for kind, spec in SPECS.items() if spec.placing or spec.numeric}  # In test_samples.py.
    elsewhere |= {kind.__name__ for kind in OPERATIONS}  # In test_noise.py and test_mixing.py.
    # Presets' own class is in test_identify.py, those of clients are in test_known.py.
    listed = {*SPECS} - {*CONTAINERS}
    published = {kind.__name__ for kind in listed if kind.__module__.startswith("torchvision.")}
    assert published - {kind.__name__ for kind in tried} == converted | elsewhere
