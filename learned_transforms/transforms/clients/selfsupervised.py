"""What DINO, DINOv2, MoCo and their like define for themselves, and others have copied."""

import random
from typing import Any

from learned_transforms.transforms.clients.entries import Entries, entry, fixed
from learned_transforms.transforms.clients.twins import (
    MaybeToTensor,
    Solarize,
    blur_between,
    python_below,
    python_up_to,
)
from learned_transforms.transforms.containers import Sometimes


def solarized(transform: Any, read: Any) -> Any:
    return Sometimes([Solarize()], transform.p, python_below)


def blurred(transform: Any, read: Any) -> Any:
    """DINO's, with a chance of its own, or MoCo's."""
    if not hasattr(transform, "prob"):
        return blur_between(random.uniform, *transform.sigma)
    blur = blur_between(random.uniform, transform.radius_min, transform.radius_max)
    return blur if isinstance(blur, str) else Sometimes([blur], transform.prob, python_up_to)


GLOBAL, LOCAL = ("global_transfo1", "global_transfo2"), ("local_transfo",)

TABLE: Entries = {
    "dinov2.data.transforms.MaybeToTensor": entry("089dedd779f8e39a", fixed(MaybeToTensor)),
    "dinov2.data.augmentations.DataAugmentationDINO": entry(
        "fc715c697f476cec", views=(*GLOBAL, *LOCAL, "geometric_augmentation_global", "geometric_augmentation_local")
    ),
    "MaybeToTensor": entry("7c24edb3aa9169a5 089dedd779f8e39a", fixed(MaybeToTensor)),
    "DataAugmentationDINO": entry("6508d271af2c2f03", views=(*GLOBAL, *LOCAL)),
    "GaussianBlur": entry("667b9bfed6ed17cc 289e4c884da6baf4 31b7eaf9ce82a5bb", blurred),
    "Solarization": entry("f899b87a3bc20d1e", solarized),
    "Solarize": entry("2262ba2050115cb0", fixed(Solarize)),
    "TwoCropsTransform": entry(
        "ae3a4fafbc3cb138 0a8963eac3ff3a22", views=("base_transform", "base_transform1", "base_transform2")
    ),
}
"""Of names without a module, the repositories are scripts that people copy from."""
