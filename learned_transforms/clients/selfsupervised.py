"""What DINO, DINOv2, MoCo and their like define for themselves, and others have copied."""

from typing import Any

from learned_transforms.clients.entries import Table, entry, fixed
from learned_transforms.clients.twins import MaybeToTensor, Solarize, python_below
from learned_transforms.containers import Sometimes


def solarized(transform: Any, read: Any) -> Any:
    return Sometimes([Solarize()], transform.p, python_below)


GLOBAL, LOCAL = ("global_transfo1", "global_transfo2"), ("local_transfo",)

TABLE: Table = {
    "dinov2.data.transforms.MaybeToTensor": entry("089dedd779f8e39a", fixed(MaybeToTensor)),
    "dinov2.data.augmentations.DataAugmentationDINO": entry(
        "fc715c697f476cec", views=(*GLOBAL, *LOCAL, "geometric_augmentation_global", "geometric_augmentation_local")
    ),
    "MaybeToTensor": entry("7c24edb3aa9169a5 089dedd779f8e39a", fixed(MaybeToTensor)),
    "DataAugmentationDINO": entry("6508d271af2c2f03", views=(*GLOBAL, *LOCAL)),
    "Solarization": entry("f899b87a3bc20d1e", solarized),
    "Solarize": entry("2262ba2050115cb0", fixed(Solarize)),
    "TwoCropsTransform": entry(
        "ae3a4fafbc3cb138 0a8963eac3ff3a22", views=("base_transform", "base_transform1", "base_transform2")
    ),
}
"""Of names without a module, the repositories are scripts that people copy from."""
