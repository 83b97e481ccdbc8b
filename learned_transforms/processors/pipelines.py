"""Published preprocessing that is a pipeline of torchvision's transforms already, or says which one it is."""

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import torchvision.transforms as v1
from torchvision.models import WeightsEnum
from torchvision.transforms import InterpolationMode

from learned_transforms.errors import ProcessorError, ProcessorKeyError, brief
from learned_transforms.transforms.identify import PRESETS

CROP_PCT = 0.875
"""The share of the resized image that timm crops unless it is told another."""


def is_data_config(x: Any) -> bool:
    """Return whether it is what ``timm.data.resolve_data_config`` gives."""
    return isinstance(x, Mapping) and "input_size" in x


def is_pipeline(x: Any) -> bool:
    """Return whether it is torchvision's or open_clip's own: weights, their transforms, a class of presets, or a
    callable."""
    return callable(x) or isinstance(x, WeightsEnum)


def pipeline_of(x: Any) -> Any:
    """Return what :class:`LearnedCompose` takes.

    Raises:
        ProcessorError: a class of presets that must be told more.
    """
    if isinstance(x, WeightsEnum):
        x = x.transforms
    if isinstance(x, partial) or (isinstance(x, type) and x in PRESETS):
        try:
            return x()
        except TypeError as error:
            raise ProcessorError(
                f"Expected transforms of weights, got {brief(x)}: {error}. Pass weights.transforms()."
            ) from error
    return x


def eval_transforms(config: Mapping[str, Any]) -> list[Any]:
    """Return the transforms of ``timm.data.create_transform(**config)``, which evaluates.

    Raises:
        ProcessorError: keys that are missing, contradict each other, or ask for what timm has own transforms for.
    """
    missing = [key for key in ("input_size", "interpolation", "mean", "std") if config.get(key) is None]
    if missing:
        raise ProcessorKeyError(
            f'Expected "{missing[0]}" in timm\'s data config, got {brief(sorted(config))}. Take all of it.'
        )
    size, mean, std = config["input_size"], config["mean"], config["std"]
    sides = tuple(size[-2:]) if isinstance(size, list | tuple) else (size, size)
    if len(sides) != 2 or not all(isinstance(side, int) and side > 0 for side in sides):
        raise ProcessorError(f'Expected "input_size" to be (channels, height, width), got {brief(size)}.')
    channels = {len(value) for value in (mean, std)}
    if isinstance(size, list | tuple) and len(size) == 3:
        channels.add(size[0])
    if len(channels) > 1 or 0 in std:
        raise ProcessorError(
            f'Expected "mean" and "std" of as many numbers as "input_size" has channels, none of "std" 0, got '
            f"{brief(size)}, {brief(mean)} and {brief(std)}."
        )
    try:
        interpolation = InterpolationMode(config["interpolation"])
    except ValueError:
        known = ", ".join(mode.value for mode in InterpolationMode)
        raise ProcessorKeyError(
            f'Expected "interpolation" to be one of {known}, got {brief(config["interpolation"])}.'
        ) from None
    share, mode = config.get("crop_pct") or CROP_PCT, config.get("crop_mode") or "center"
    scaled = tuple(math.floor(side / share) for side in sides)
    if mode not in ("center", "squash") or (mode == "center" and scaled[0] != scaled[1]):
        raise ProcessorError(
            f'No transform of torchvision does "crop_mode" {mode!r} to {sides}. Pass LearnedCompose what '
            "timm.data.create_transform(**config) gives."
        )
    resized = scaled if mode == "squash" else scaled[0]
    return [v1.Resize(resized, interpolation), v1.CenterCrop(sides), v1.ToTensor(), v1.Normalize(mean, std)]
