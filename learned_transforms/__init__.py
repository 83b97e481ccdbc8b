"""Learned image transforms: a drop-in for torchvision's Compose, learned from its own inputs and outputs."""

from learned_transforms import errors, export
from learned_transforms.artifacts.weights import list_pretrained
from learned_transforms.certificate import Certificate
from learned_transforms.compose import LearnedCompose
from learned_transforms.kernels import backends

__all__ = ["Certificate", "LearnedCompose", "backends", "errors", "export", "list_pretrained"]

__version__ = "0.1.0"
