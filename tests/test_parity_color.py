"""Transforms of color, statistics and blur, and containers that choose, against torchvision."""

import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torchvision.transforms as v1
from helpers import FORMS, image_of, same, seeded, states
from test_parity import CASES, COLORS, LAST, MEAN, STD
from torchvision.transforms import v2

import learned_transforms as lt
from learned_transforms import installed
from learned_transforms.transforms.containers import CONTAINERS

Make = Callable[[Any], Any]

SIZES = ((1, 1), (3, 2), (37, 46), (64, 65))
EXACT: dict[str, Make] = {
    "brightness": lambda api: api.ColorJitter(0.9),
    "contrast": lambda api: api.ColorJitter(contrast=0.9),
    "saturation": lambda api: api.ColorJitter(saturation=(0.0, 2.5)),
    "hue": lambda api: api.ColorJitter(hue=0.5),
    "ColorJitter": lambda api: api.ColorJitter(0.4, 0.4, 0.4, 0.1),
    "RandomAdjustSharpness": lambda api: api.RandomAdjustSharpness(2.2, 0.7),
    "RandomAdjustSharpness dull": lambda api: api.RandomAdjustSharpness(0.3, 1),
    "RandomAutocontrast": lambda api: api.RandomAutocontrast(0.7),
    "RandomEqualize": lambda api: api.RandomEqualize(0.7),
    "RandomApply": lambda api: api.RandomApply([api.ColorJitter(0.4, 0, 0.4, 0.1), api.RandomGrayscale()], 0.7),
    "RandomChoice": lambda api: api.RandomChoice(
        [api.ColorJitter(0.3), api.RandomHorizontalFlip(), api.Compose([api.RandomSolarize(90), api.Pad(1)])]
    ),
    "RandomChoice weighed": lambda api: api.RandomChoice(
        [api.RandomEqualize(), api.RandomApply([api.RandomInvert()], 0.5)], p=[0.3, 0.9]
    ),
    "RandomOrder": lambda api: api.RandomOrder(
        [api.ColorJitter(0.2, 0.2), api.RandomAutocontrast(), api.RandomVerticalFlip(), api.RandomPosterize(4)]
    ),
}
ONLY_V2: dict[str, Make] = {"RandomPhotometricDistort": lambda api: v2.RandomPhotometricDistort(p=0.6)}
BLURS: dict[str, Make] = {
    "GaussianBlur": lambda api: api.GaussianBlur(5, (0.1, 2.0)),
    "GaussianBlur wide": lambda api: api.GaussianBlur((3, 9), (0.5, 4.0)),
}
ALL = {**EXACT, **ONLY_V2, **BLURS}
SUMMED = "exact" if installed.sums_windows_in_order() else "rounding"
"""The tier of blurs, whose order of sums is asked of the installed torch."""


def spread(image: Any) -> Any:
    """A noisy image that does not use all levels, for the statistics to change something."""
    return image // 2 + 40


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("form", ["pil", "uint8", "float32", "image"])
@pytest.mark.parametrize("api", [v1, v2], ids=["v1", "v2"])
@pytest.mark.parametrize("name", ALL)
def test_row(name: str, api: Any, form: str) -> None:
    """One transform alone, between a crop and a flip, and before a conversion to floats."""
    if api is v1 and (form == "image" or name in ONLY_V2):
        pytest.skip("torchvision has no such combination")
    make = ALL[name]
    tier = SUMMED if name in BLURS else "exact"
    # v1 equalizes and posterizes uint8 only.
    passes = api is v1 and name in ("RandomEqualize", "RandomChoice weighed", "RandomOrder")
    options = {} if form == "float32" and passes else {"fallback": "error"}
    for number, size in enumerate(SIZES):
        channels = (3, 3, 1, 3)[number]
        image = FORMS[form](spread(image_of(channels, size, number)))
        same([make(api)], image, tier, seeds=4, **options)
        same([api.RandomCrop(3, pad_if_needed=True), make(api), api.RandomHorizontalFlip()], image, tier, 3, **options)
        if form == "pil":
            end = [v1.ToTensor()] if api is v1 else [v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]
            same([make(api), *end], image, tier, seeds=3, **options)
        elif form != "float32":
            end = [LAST["float"](api), api.Normalize(MEAN[:channels], STD[:channels])]
            same([make(api), *end], image, tier, seeds=3, **options)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["ColorJitter", "RandomAdjustSharpness", "RandomEqualize", "GaussianBlur"])
def test_batches_and_layouts(name: str) -> None:
    batch = spread(torch.stack([image_of(3, (37, 46), seed) for seed in range(3)]))
    tier = SUMMED if name in BLURS else "exact"
    for image in (batch, batch[None], batch[:, :, ::2], batch.contiguous(memory_format=torch.channels_last), batch[:0]):
        same([ALL[name](v2), v2.RandomHorizontalFlip()], image, tier, seeds=2, fallback="error")


def test_floats_are_equalized_as_levels() -> None:
    """What lies beyond [0, 1] is clamped, where torchvision wraps it around."""
    batch = torch.rand((3, 3, 37, 46), generator=torch.Generator().manual_seed(1))
    for image in (batch, batch[0] * 0.3 + 0.2, batch.contiguous(memory_format=torch.channels_last), batch[:0]):
        check = {"fallback": "error", "backend": "reference"} if image is batch else {"fallback": "error"}
        same([v2.RandomEqualize(0.7), v2.RandomHorizontalFlip()], image, "exact", seeds=3, **check)
    equalize = lt.LearnedCompose([v2.RandomEqualize(1)], fallback="error")
    assert equalize(batch[0] * 2 - 0.5).equal(v2.RandomEqualize(1)((batch[0] * 2 - 0.5).clamp(0, 1)))


@pytest.mark.parametrize("api", [v1, v2], ids=["v1", "v2"])
@pytest.mark.parametrize("backend", ["auto", "reference"])
def test_floats_beyond_0_to_1(api: Any, backend: str) -> None:
    """The hue of what was normalized before: torchvision clamps all but the highest channel."""
    image = torch.rand((3, 37, 46), generator=torch.Generator().manual_seed(1))
    transform = api.ColorJitter(hue=0.5)
    learned = lt.LearnedCompose([transform], fallback="error", backend=backend)
    for beyond in (image * 2 - 1, image * 255, image * 4 - 2.5, torch.full((3, 4, 4), 7.0)):
        for seed in range(3):
            seeded(seed)
            expected = transform(beyond)
            seeded(seed)
            torch.testing.assert_close(learned(beyond), expected, rtol=0, atol=2e-6 * float(beyond.abs().max()))


@pytest.mark.parametrize("api", [v1, v2], ids=["v1", "v2"])
def test_wrong_images_and_factors(api: Any) -> None:
    """The same types of errors as torchvision's."""
    image = image_of(3, (20, 30))
    for make in (
        lambda: api.ColorJitter(-0.1),
        lambda: api.ColorJitter(hue=0.7),
        lambda: api.GaussianBlur(4),
        lambda: api.GaussianBlur(3, 0),
    ):
        with pytest.raises(ValueError, match=r"[Bb]etween|non negative|odd|positive"):
            lt.LearnedCompose([make()])
    for name in ("ColorJitter", "RandomAdjustSharpness dull"):
        same([ALL[name](api)], image_of(2, (20, 30)), "exact", fallback="error")
    with pytest.raises((RuntimeError, ValueError), match="Padding size should be less"):
        lt.LearnedCompose([api.GaussianBlur(41)], fallback="error")(image)
    same([api.GaussianBlur(41)], image, SUMMED, fallback="error")
    same([api.GaussianBlur((1, 39))], image, SUMMED, fallback="error")


def self_supervised(api: Any, form: str) -> dict[str, list[Any]]:
    """MoCo v2, SimCLR and the second view of DINO, which solarizes behind a blur."""
    end = [LAST["float"](api)] if form != "pil" else [v1.ToTensor()] if api is v1 else [v2.ToImage(), LAST["float"](v2)]
    end = [*end, api.Normalize(MEAN, STD)]
    crop = api.RandomResizedCrop(32, scale=(0.2, 1.0), antialias=True)
    bicubic = api.RandomResizedCrop(32, (0.4, 1.0), interpolation=v1.InterpolationMode.BICUBIC, antialias=True)
    blur, gray, flip = api.GaussianBlur(23, (0.1, 2.0)), api.RandomGrayscale(0.2), api.RandomHorizontalFlip()
    moco, dino = api.ColorJitter(0.4, 0.4, 0.4, 0.1), api.ColorJitter(0.4, 0.4, 0.2, 0.1)
    strong = api.RandomApply([api.ColorJitter(0.8, 0.8, 0.8, 0.2)], 0.8)
    return {
        "moco": [crop, api.RandomApply([moco], 0.8), gray, api.RandomApply([blur], 0.5), flip, *end],
        "simclr": [crop, flip, strong, gray, api.RandomApply([blur], 0.5), *end],
        "dino": [
            *(bicubic, flip, api.RandomApply([dino], 0.8), gray),
            *(api.RandomApply([blur], 0.1), api.RandomSolarize(128, 0.2), *end),
        ],
    }


@pytest.mark.parametrize("form", ["pil", "uint8"])
@pytest.mark.parametrize("api", [v1, v2], ids=["v1", "v2"])
@pytest.mark.parametrize("name", ["moco", "simclr", "dino"])
def test_self_supervised(name: str, api: Any, form: str) -> None:
    """Nothing of them runs in torchvision; but for levels behind a blur, or v1's resize, all is equal."""
    transforms = self_supervised(api, form)[name]
    transform = lt.LearnedCompose(transforms, fallback="error")
    equal = []
    for seed in range(24):
        image = FORMS[form](image_of(3, (61, 90), seed) // 2 + 40)
        seeded(seed)
        expected = v1.Compose(transforms)(image)
        state = states()
        seeded(seed)
        equal.append(((transform(image) - expected).abs() < 1e-5).double().mean())
        assert states() == state
    assert min(equal) > 0.99
    assert sum(equal) / len(equal) > (0.9999 if form == "pil" or api is v2 else 0.999)


def pipeline(rng: random.Random, api: Any, form: str) -> tuple[list[Any], bool]:
    """One to three transforms of color among others; a blur comes last, as they would stretch its roundings."""
    usual = [make for name, make in CASES.items() if "nearest" not in name or "Random" not in name]
    steps = [rng.choice(usual)(api) for _ in range(rng.randint(0, 3))]
    # Roundings of v1's float resize go through what comes behind: see the weights' certificates.
    steps = [step for step in steps if api is v2 or form == "pil" or "Resize" not in repr(step)]
    colors = {**EXACT, **ONLY_V2} if api is v2 else EXACT
    steps += [rng.choice(list(colors.values()))(api) for _ in range(rng.randint(1, 3))]
    rng.shuffle(steps)
    blurred = rng.random() < 0.3
    steps += [rng.choice(list(BLURS.values()))(api)] if blurred else []
    if rng.random() < 0.5 and not blurred:
        last = [v1.ToTensor()] if api is v1 else [v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]
        steps += last if form == "pil" else [LAST["float"](api)]
        steps += [api.Normalize((0.5,), (0.25,))]
    return steps, blurred


def check_pipelines(first: int, last: int) -> None:
    """Random pipelines under equal seeds, on PIL images and uint8 tensors."""
    for number in range(first, last):
        rng = random.Random(number)
        api, form = rng.choice([v1, v2]), rng.choice(["pil", "uint8"])
        size = rng.choice([(37, 46), (90, 33), (64, 64), (128, 201)])
        steps, blurred = pipeline(rng, api, form)
        image = FORMS[form](spread(image_of(rng.choice([1, 3, 3]), size, number)))
        same(steps, image, SUMMED if blurred else "exact", seeds=2)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("part", range(4))
def test_random_pipelines(part: int) -> None:
    check_pipelines(part * 30, part * 30 + 30)


@pytest.mark.full
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("part", range(10))
def test_many_random_pipelines(part: int) -> None:
    check_pipelines(1000 + part * 60, 1060 + part * 60)


def test_every_container_and_color_is_tried() -> None:
    tried = {type(make(api)) for name, make in ALL.items() for api in (v1, v2) if api is v2 or name not in ONLY_V2}
    # Those of clients are in test_known.py.
    assert {kind for kind in CONTAINERS if kind.__module__.startswith("torchvision.")} <= tried
    assert {kind.__name__ for kind in tried} >= COLORS
