"""The layers that are shipped, and what may be taken of them."""

from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from typing import Any

import torch
from torch import nn

from learned_transforms.artifacts import weights as weight_files
from learned_transforms.artifacts.weights import Weights
from learned_transforms.transforms.containers import leaves
from learned_transforms.transforms.registry import spec_of


@lru_cache(maxsize=1)
def shipped() -> Weights:
    """Return the weights that stand for catalogued transforms; whoever takes layers asks whether they are faithful."""
    return weight_files.open_lazily(weight_files.DEFAULT)


def require_shipped(keys: Collection[str]) -> None:
    """Require the certificates of shipped layers to say that they are faithful.

    Raises:
        ApproximateWeightsError: they do not.
    """
    weight_files.require_faithful(weight_files.DEFAULT, shipped(), keys)


def same_as_shipped(layers: Mapping[str, nn.Module]) -> bool:
    """Return whether layers are those that are shipped, so that a pickle need not hold them."""
    return all(
        key in shipped().layers
        and all(
            torch.equal(one, other)
            for one, other in zip(layer.parameters(), shipped().layers[key].parameters(), strict=True)
        )
        for key, layer in layers.items()
    )


def roles_of(transforms: Iterable[Any]) -> set[str]:
    """Beginnings of the roles of the learned layers that transforms need."""
    inner = (leaf.transform for transform in transforms for leaf in leaves(transform))
    return {role for transform in inner for role in spec_of(transform).roles()}
