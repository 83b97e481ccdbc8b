"""Each client's class that layers stand for against itself: alone, over many draws, sizes and modes."""

import importlib
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torchvision.transforms as v1
from builders import quiet
from likeness import INPUTS, Replacement, calls, differences, outcome
from torchvision.transforms import InterpolationMode

import learned_transforms as lt
from learned_transforms.transforms.clients.known import TABLE, known, why_not

SIZES = ((37, 50), (50, 33), (24, 24), (65, 41), (9, 7))
DRAWS = 40
"""For each size."""


class Case(NamedTuple):
    """Objects of one class.

    Attributes:
        module: where it is.
        make: from the module to an object.
        inputs: kinds of images that layers take.
    """

    module: str
    make: Callable[[Any], Any]
    inputs: tuple[str, ...] = ("pil", "digit")


def timm(make: Callable[[Any], Any], *inputs: str) -> Case:
    return Case("timm.data.transforms", make, inputs or ("pil", "digit", "uint8"))


def erasing(**options: Any) -> Case:
    return Case("timm.data.random_erasing", lambda t: t.RandomErasing(device="cpu", **options), ("float",))


def policy(make: Callable[[Any], Any], *inputs: str) -> Case:
    """On images of three channels, for which the colors around them are."""
    return Case("timm.data.auto_augment", make, inputs or ("pil",))


def clip(make: Callable[[Any], Any], *inputs: str) -> Case:
    return Case("open_clip.transform", make, inputs or ("pil", "digit"))


def lightly(module: str, make: Callable[[Any], Any], *inputs: str) -> Case:
    return Case(f"lightly.transforms.{module}", make, inputs or ("pil", "digit"))


COLORS = {"img_mean": (124, 116, 104), "translate_const": 20}
RANDOM_SIZE = {"random_scale_prob": 0.5, "random_aspect_prob": 0.7, "random_scale_range": (0.6, 1.2)}
CASES = {
    "timm MaybeToTensor": timm(lambda t: t.MaybeToTensor()),
    "timm MaybePILToTensor": timm(lambda t: t.MaybePILToTensor()),
    "timm ToTensor": timm(lambda t: t.ToTensor(), "pil", "digit"),
    "timm RRC": timm(lambda t: t.RandomResizedCropAndInterpolation(24)),
    "timm RRC, random": timm(lambda t: t.RandomResizedCropAndInterpolation((20, 30), interpolation="random")),
    "timm RRC, lanczos": timm(lambda t: t.RandomResizedCropAndInterpolation(24, interpolation="lanczos"), "pil"),
    "timm RRC, small": timm(lambda t: t.RandomResizedCropAndInterpolation(24, scale=(0.01, 0.1), ratio=(0.2, 5))),
    "timm keep ratio": timm(lambda t: t.ResizeKeepRatio(24)),
    "timm keep ratio, longest": timm(lambda t: t.ResizeKeepRatio((20, 30), longest=1.0, interpolation="bicubic")),
    "timm keep ratio, between": timm(lambda t: t.ResizeKeepRatio((20, 30), longest=0.3)),
    "timm keep ratio, drawn": timm(lambda t: t.ResizeKeepRatio(24, interpolation="random", **RANDOM_SIZE)),
    "timm keep ratio, area": timm(lambda t: t.ResizeKeepRatio(24, random_scale_area=True, **RANDOM_SIZE)),
    "timm crop or pad": timm(lambda t: t.CenterCropOrPad(40)),
    "timm crop or pad, fill": timm(lambda t: t.CenterCropOrPad((30, 45), fill=7)),
    "timm crop or pad, fills": timm(lambda t: t.CenterCropOrPad((30, 45), fill=[1, 2, 3]), "pil"),
    "timm crop or pad, edge": timm(lambda t: t.CenterCropOrPad((30, 45), padding_mode="edge")),
    "timm crop or pad, reflect": timm(lambda t: t.CenterCropOrPad((30, 45), padding_mode="reflect")),
    "timm random crop or pad": timm(lambda t: t.RandomCropOrPad((30, 45))),
    "timm random crop or pad, reflect": timm(lambda t: t.RandomCropOrPad((30, 45), padding_mode="reflect")),
    "timm trim": timm(lambda t: t.TrimBorder(3)),
    "timm erasing": erasing(probability=0.7),
    "timm erasing, rand": erasing(probability=0.7, mode="rand", max_count=3),
    "timm erasing, pixel": erasing(probability=0.9, mode="pixel", min_count=2, max_count=4, max_aspect=2),
    "timm RandAugment": policy(lambda t: t.rand_augment_transform("rand-m8-mstd0.5-inc1", dict(COLORS))),
    "timm RandAugment, uniform": policy(lambda t: t.rand_augment_transform("rand-m6-n3-mstd101-p0.8")),
    "timm RandAugment, weights": policy(lambda t: t.rand_augment_transform("rand-m9-n4-tweights-mmax12-inc1")),
    "timm RandAugment, 3a": policy(lambda t: t.rand_augment_transform("rand-m8-t3a"), "pil", "digit"),
    "timm AutoAugment": policy(lambda t: t.auto_augment_transform("original-mstd0.5", dict(COLORS))),
    "timm AutoAugment, v0r": policy(lambda t: t.auto_augment_transform("v0r", {**COLORS, "interpolation": 2})),
    "timm AutoAugment, 3a": policy(lambda t: t.auto_augment_transform("3a"), "pil", "digit"),
    "timm AugMix": policy(lambda t: t.augment_and_mix_transform("augmix-m4-w2", dict(COLORS))),
    "timm AugMix, deep": policy(lambda t: t.augment_and_mix_transform("augmix-m3-w3-d4-mstd0.5", dict(COLORS))),
    "timm AugMix, blended": policy(lambda t: t.augment_and_mix_transform("augmix-m3-w3-b1", dict(COLORS))),
    "timm one operation": policy(lambda t: t.AugmentOp("TranslateXRel", 0.7, 9, {"img_mean": (7,)}), "digit"),
    "open_clip MaybeConvertMode": clip(lambda t: t.MaybeConvertMode(), "pil", "digit", "uint8"),
    "open_clip MaybeConvertMode, L": clip(lambda t: t.MaybeConvertMode("L")),
    "open_clip MaybeToTensor": clip(lambda t: t.MaybeToTensor(), "pil", "digit", "uint8"),
    "open_clip keep ratio": clip(lambda t: t.ResizeKeepRatio((20, 30), interpolation=InterpolationMode.BICUBIC)),
    "open_clip keep ratio, drawn": clip(lambda t: t.ResizeKeepRatio(24, **RANDOM_SIZE)),
    "open_clip crop or pad": clip(lambda t: t.CenterCropOrPad((30, 45), fill=9), "pil", "digit", "uint8"),
    "open_clip jitter": clip(lambda t: t.color_jitter(0.4, 0.4, 0.2, 0.1, p=0.6)),
    "open_clip gray": clip(lambda t: t.gray_scale(0.4)),
    "lightly ToTensor": lightly("torchvision_v2_compatibility", lambda t: t.ToTensor(), "pil", "uint8"),
    "lightly rotation": lightly("rotation", lambda t: t.RandomRotate(0.0), "pil", "uint8"),
    "lightly blur": lightly("gaussian_blur", lambda t: t.GaussianBlur(prob=0.6), "pil", "digit", "uint8"),
    "lightly blur, never": lightly("gaussian_blur", lambda t: t.GaussianBlur(prob=0), "pil", "uint8"),
    "lightly blur, wide": lightly("gaussian_blur", lambda t: t.GaussianBlur(prob=1, sigmas=(0.01, 12))),
    "lightly solarization": lightly("solarize", lambda t: t.RandomSolarization(0.6, 90), "pil", "digit", "uint8"),
    "dinov2 MaybeToTensor": Case("dinov2.data.transforms", lambda t: t.MaybeToTensor(), ("pil", "uint8")),
    "pytorch_ood ToRGB": Case("pytorch_ood.utils.transforms", lambda t: t.ToRGB(), ("pil", "digit", "uint8")),
    "pretrainedmodels BGR": Case("pretrainedmodels.utils", lambda t: t.ToSpaceBGR(True), ("float",)),
    "pretrainedmodels RGB": Case("pretrainedmodels.utils", lambda t: t.ToSpaceBGR(False), ("float",)),
    "torchreid erasing": Case("torchreid.reid.data.transforms", lambda t: t.RandomErasing(0.7), ("float",)),
    "sam2": Case("sam2.utils.transforms", lambda t: t.SAM2Transforms(48, 0.0), ("pil", "array")),
    "vit_pytorch apply": Case("vit_pytorch.dino", lambda t: t.RandomApply(v1.GaussianBlur(3), 0.4), ("float",)),
    "byol apply": Case("byol_pytorch.byol_pytorch", lambda t: t.RandomApply(v1.GaussianBlur(3), 0.4), ("float",)),
}


def built(case: Case) -> Any:
    """One more."""
    with quiet():
        return case.make(importlib.import_module(case.module))


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_draws_and_pixels(case: Case):
    for kind in case.inputs:
        original, ours = built(case), lt.LearnedCompose([built(case)], fallback="error")
        rounds = Replacement(ours, [ours]).rounds(kind)
        for size in SIZES:
            found = list(calls(ours, original, INPUTS[kind](size), times=DRAWS, rounds=rounds))
            assert not found, f"{kind} of {size}"


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_within_others(case: Case):
    """Layers around it are fused with it, and what PIL images carry stays what it is."""
    for kind in case.inputs:
        around = [v1.RandomVerticalFlip(), built(case)]
        original, ours = v1.Compose(around), lt.LearnedCompose(around, fallback="error")
        for size in SIZES[:3]:
            image = INPUTS[kind](size)
            if hasattr(image[0], "info"):
                image[0].info = {"transparency": 3, "dpi": (72, 72)}
            found, expected = outcome(ours, image, 5), outcome(original, image, 5)
            assert not differences(found, expected, Replacement(ours, [ours]).rounds(kind))
            assert getattr(found.value, "info", None) == getattr(expected.value, "info", None)


def test_every_installed_class_is_what_was_checked():
    """Digests are of what is installed here, at least."""
    for name in TABLE:
        module, _, short = name.rpartition(".")
        if module:
            with quiet():
                owner = getattr(importlib.import_module(module), short)
            sample = object.__new__(owner)
            found = known(sample)
            assert found is not None, name
            assert why_not(sample, found) is None, name
