"""Random pipelines over the whole catalogue, on PIL images and uint8 tensors, alone and with masks, boxes and points.

Under equal seeds nothing may differ from torchvision, neither values nor random states, and what was drawn is played
back. Some pipelines run always; ``pytest -m full`` runs 1,000 more.
"""

import json
import random
from collections import Counter
from typing import Any

import pytest
import torch
import torchvision.transforms as v1
from helpers import REFUSALS, compare, image_of, meant, seeded, states, to_pil
from torch import Tensor
from torch.utils._pytree import tree_flatten
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode, v2

import learned_transforms as lt
from learned_transforms.errors import UnsupportedTransformError
from learned_transforms.transforms.registry import SPECS
from learned_transforms.transforms.torch_ops import OPERATIONS

SIZES = ((64, 48), (37, 46), (90, 33), (33, 65))
NEAREST, BILINEAR, BICUBIC = InterpolationMode.NEAREST, InterpolationMode.BILINEAR, InterpolationMode.BICUBIC

ELSEWHERE = {"LinearTransformation", *(kind.__name__ for kind in OPERATIONS)}
"""Of one size, or of torch's own: tests/test_given.py, tests/test_noise.py and tests/test_mixing.py have these."""


def moving(api: Any, rng: random.Random) -> dict[str, Any]:
    """Transforms of pixels' places, by name: made when they are chosen."""
    size, smooth = (rng.randint(24, 60), rng.randint(24, 60)), rng.choice([BILINEAR, BICUBIC])
    mode, fill = rng.choice([NEAREST, BILINEAR]), rng.choice([0, 9, 200])
    # On tensors v1 sums otherwise without antialiasing, within a level.
    return {
        "Resize": lambda: api.Resize(rng.choice([size, 40]), smooth, antialias=True),
        "RandomResizedCrop": lambda: api.RandomResizedCrop(size, (0.2, 1), interpolation=smooth, antialias=True),
        "CenterCrop": lambda: api.CenterCrop(size),
        "RandomCrop": lambda: api.RandomCrop((30, 28), rng.choice([None, 4]), pad_if_needed=True, fill=fill),
        "Pad": lambda: api.Pad(rng.choice([3, [2, 5]]), fill, rng.choice(["constant", "edge", "reflect", "symmetric"])),
        "RandomHorizontalFlip": lambda: api.RandomHorizontalFlip(),
        "RandomVerticalFlip": lambda: api.RandomVerticalFlip(),
        "RandomRotation": lambda: api.RandomRotation(rng.choice([30, 180]), mode, rng.random() < 0.3, fill=fill),
        "RandomAffine": lambda: api.RandomAffine(20, (0.1, 0.2), (0.7, 1.3), 9, mode, fill),
        "RandomPerspective": lambda: api.RandomPerspective(0.4, 0.7, mode, fill),
        "ElasticTransform": lambda: api.ElasticTransform(40.0, rng.choice([0.4, 1.0, 2.0]), mode, fill),
    }


def coloring(api: Any, rng: random.Random) -> dict[str, Any]:
    """Those that change colors."""
    return {
        "RandomGrayscale": lambda: api.RandomGrayscale(0.4),
        "RandomInvert": lambda: api.RandomInvert(),
        "RandomPosterize": lambda: api.RandomPosterize(rng.randint(1, 7)),
        "RandomSolarize": lambda: api.RandomSolarize(rng.randint(0, 255)),
        "RandomAdjustSharpness": lambda: api.RandomAdjustSharpness(rng.choice([0.3, 2])),
        "RandomAutocontrast": lambda: api.RandomAutocontrast(),
        "RandomEqualize": lambda: api.RandomEqualize(),
        "ColorJitter": lambda: api.ColorJitter(0.4, 0.4, 0.4, rng.choice([0, 0.1])),
        "GaussianBlur": lambda: api.GaussianBlur(rng.choice([5, 9, (3, 11)]), (0.1, 2.0)),
        "AutoAugment": lambda: api.AutoAugment(interpolation=NEAREST),
        "RandAugment": lambda: api.RandAugment(2, rng.randint(1, 20)),
        "TrivialAugmentWide": lambda: api.TrivialAugmentWide(interpolation=BILINEAR),
        "AugMix": lambda: api.AugMix(),
    }


def of_v2(rng: random.Random, pil: bool, sample: bool) -> dict[str, Any]:
    """Those that v2 alone has."""
    made: dict[str, Any] = {
        "RandomPhotometricDistort": lambda: v2.RandomPhotometricDistort(),
        "RGB": lambda: v2.RGB(),
        "Identity": lambda: v2.Identity(),
        "ScaleJitter": lambda: v2.ScaleJitter((40, 50), (0.5, 1.5)),
        "RandomShortestSize": lambda: v2.RandomShortestSize([30, 44], 70),
        "RandomResize": lambda: v2.RandomResize(30, 60),
        "RandomZoomOut": lambda: v2.RandomZoomOut(rng.choice([0, 7]), (1.0, 2.0)),
    }
    if not pil:
        made["RandomChannelPermutation"] = lambda: v2.RandomChannelPermutation()
    if sample:
        made |= {
            "RandomIoUCrop": lambda: v2.RandomIoUCrop(),
            "ConvertBoundingBoxFormat": lambda: v2.ConvertBoundingBoxFormat(rng.choice(["XYWH", "CXCYWH", "XYXY"])),
            "ClampBoundingBoxes": lambda: v2.ClampBoundingBoxes(),
            "ClampKeyPoints": lambda: v2.ClampKeyPoints(),
            "SetClampingMode": lambda: v2.SetClampingMode(rng.choice(["soft", "hard"])),
            "SanitizeBoundingBoxes": lambda: v2.SanitizeBoundingBoxes(),
            "SanitizeKeyPoints": lambda: v2.SanitizeKeyPoints(),
        }
    return made


def ending(api: Any, rng: random.Random, pil: bool, channels: int) -> list[Any]:
    """What converts at the end, and what follows that; often nothing."""
    normal = api.Normalize([0.4] * channels, [0.25] * channels)
    erased = api.RandomErasing(0.7, value=rng.choice([0, 0.5]))
    if api is v2:
        floats = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]
        ends = [[], floats, [*floats, normal, erased], [v2.ToImage(), v2.ToPureTensor()], [v2.FiveCrop(20)]]
        ends += [[v2.PILToTensor(), v2.ConvertImageDtype(torch.float32)], [v2.Grayscale(3)], [v2.TenCrop(20)]]
        return rng.choice([*ends, [v2.ToTensor()] if pil else [v2.ToImage(), v2.ToPILImage()], [erased]])
    floats = [v1.ToTensor()] if pil else [v1.ConvertImageDtype(torch.float32)]
    other = [v1.PILToTensor(), v1.ConvertImageDtype(torch.float32)] if pil else [v1.ToPILImage()]
    return rng.choice(
        [[], floats, [*floats, normal, erased], other, [v1.Grayscale(3)], [v1.FiveCrop(20)], [v1.TenCrop(20)]]
    )


def pipeline(rng: random.Random, api: Any, pil: bool, sample: bool, channels: int) -> list[Any]:
    """One to four transforms, some of them in containers, and perhaps an end."""
    known = {**moving(api, rng), **coloring(api, rng), **(of_v2(rng, pil, sample) if api is v2 else {})}
    steps = [known[name]() for name in rng.choices(sorted(known), k=rng.randint(1, 4))]
    if rng.random() < 0.25:
        inner = [known[name]() for name in rng.choices(sorted(moving(api, rng)), k=2)]
        held = rng.choice([api.RandomApply, api.RandomChoice, api.RandomOrder])
        steps.insert(rng.randrange(len(steps) + 1), held(inner))
    return steps + ([] if sample else ending(api, rng, pil, channels))


def sample_of(image: Any, seed: int) -> dict[str, Any]:
    """An image with masks, boxes, labels and keypoints."""
    width, height = image.size if not isinstance(image, Tensor) else (image.shape[-1], image.shape[-2])
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(4, 4, generator=generator) * torch.tensor([width, height] * 2) / 2
    boxes = torch.cat([corners[:, :2], corners[:, :2] + corners[:, 2:] + 1], 1)
    return {
        "image": image,
        "mask": tv_tensors.Mask(torch.randint(0, 9, (1, height, width), dtype=torch.uint8, generator=generator)),
        "boxes": tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=(height, width)),
        "labels": torch.arange(4),
        "points": tv_tensors.KeyPoints(corners[:, :2].clone(), canvas_size=(height, width)),
    }


class Run:
    """Counts of what was compared."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def check(self, number: int) -> None:
        """Run one pipeline under three seeds."""
        rng = random.Random(number)
        api, pil = rng.choice([v1, v2]), rng.random() < 0.5
        sample, channels, size = api is v2 and rng.random() < 0.5, rng.choice([1, 3, 3]), rng.choice(SIZES)
        steps = pipeline(rng, api, pil, sample, 3 if sample else channels)
        plain = image_of(3 if sample else channels, size, number) // rng.choice([1, 2]) + rng.choice([0, 40])
        image: Any = (
            to_pil(plain) if pil else tv_tensors.Image(plain) if sample or (api is v2 and number % 2) else plain
        )
        ours = lt.LearnedCompose(steps, fallback="torchvision")
        self.counts["pipelines"] += 1
        self.counts["samples" if sample else "PIL images" if pil else "tensors"] += 1
        for seed in range(3):
            value = sample_of(image, number) if sample else image
            self.compare(steps, ours, value, seed, str(steps))
        if not sample:
            tiers = {row.tier for row in ours.explain("pil" if pil else "uint8").rows}
            assert not [tier for tier in tiers if not tier.startswith(("exact", "proved", "-"))], tiers

    def compare(self, steps: list[Any], ours: Any, value: Any, seed: int, told: str) -> None:
        refused: Exception | None = None
        seeded(seed)
        try:
            expected = v2.Compose(steps)(value)
        except REFUSALS as error:
            refused = error
        after = states()
        seeded(seed)
        if refused is not None:
            self.counts["refused"] += 1
            with pytest.raises(type(refused)) as raised:
                ours(value)
            assert meant(raised.value, refused), told
            return
        found = ours(value)
        assert states() == after, told
        (some, structure), (others, wanted) = tree_flatten(found), tree_flatten(expected)
        assert structure == wanted, told
        for one, other in zip(some, others, strict=True):
            compare(one, other, "exact")
            self.counts["values"] += other.numel() if isinstance(other, Tensor) else other.width * other.height * 3
        self.replay(ours, value, seed, some)

    def replay(self, ours: Any, value: Any, seed: int, expected: list[Any]) -> None:
        seeded(seed)
        try:
            params = ours.make_params(value)
        except UnsupportedTransformError:
            self.counts["not replayed"] += 1
            return
        before = states()
        again = tree_flatten(ours(value, params=json.loads(json.dumps(params))))[0]
        assert states() == before
        self.counts["replayed"] += 1
        for one, other in zip(again, expected, strict=True):
            compare(one, other, "exact")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("part", range(4))
def test_some_pipelines(part: int) -> None:
    run = Run()
    for number in range(25 * part, 25 * part + 25):
        run.check(number)
    assert run.counts["replayed"] > run.counts["not replayed"]
    print(dict(run.counts))


@pytest.mark.full
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("part", range(10))
def test_a_thousand_pipelines(part: int) -> None:
    run = Run()
    for number in range(1000 + 100 * part, 1100 + 100 * part):
        run.check(number)
    print(dict(run.counts))


@pytest.mark.filterwarnings("ignore")
def test_every_transform_of_the_catalogue_is_tried() -> None:
    tried = set()
    for number in range(1000, 2000):
        rng = random.Random(number)
        api, pil = rng.choice([v1, v2]), rng.random() < 0.5
        sample, channels = api is v2 and rng.random() < 0.5, rng.choice([1, 3, 3])
        rng.choice(SIZES)
        for step in pipeline(rng, api, pil, sample, 3 if sample else channels):
            for one in (step, *getattr(step, "transforms", ())):
                tried.add(type(one))
    published = {kind for kind in SPECS if kind.__module__.startswith("torchvision.transforms")}
    assert {kind.__name__ for kind in published - tried} <= ELSEWHERE


@pytest.mark.parametrize("first", [v2.RGB(), v2.RandomInvert(), v2.Identity()], ids=lambda step: type(step).__name__)
def test_a_crop_whose_window_is_cut_out_of_masks_first(first: Any) -> None:
    """Masks, which what comes before leaves alone, may be cut where images are not."""
    steps = [first, v2.RandomCrop((30, 28), 4, pad_if_needed=True, fill={tv_tensors.Mask: 3, "others": 9})]
    run, ours = Run(), lt.LearnedCompose(steps, fallback="error")
    for image in (to_pil(image_of(3, (64, 48))), tv_tensors.Image(image_of(3, (20, 48)))):
        for seed in range(4):
            run.compare(steps, ours, sample_of(image, seed), seed, "")
    assert run.counts["replayed"] == 8
