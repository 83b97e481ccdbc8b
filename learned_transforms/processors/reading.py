"""What a processor is: an object of transformers, its configuration, or a file or folder with it."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from learned_transforms.artifacts.weights import expanded
from learned_transforms.choices import Stack
from learned_transforms.errors import (
    ProcessorError,
    ProcessorKeyError,
    UnknownProcessorError,
    WeightsError,
    brief,
    check_choice,
)
from learned_transforms.plain import parsed
from learned_transforms.processors.families import FAMILIES
from learned_transforms.processors.steps import STACKS, Steps

FILES = ("preprocessor_config.json", "processor_config.json")
"""Those of a folder in which a configuration may be."""

TYPES = ("image_processor_type", "feature_extractor_type")
"""The keys that say which processor it is; the second is what old configurations have."""

SUFFIXES = ("Fast", "Pil")
"""Of classes, for their backend."""


class Configuration(NamedTuple):
    """What a processor was told.

    Attributes:
        name: of its class, without a suffix.
        backend: one of ``steps.STACKS``.
        values: by key; what they leave out has defaults.
    """

    name: str
    backend: str
    values: Mapping[str, Any]

    def steps(self, **changes: Any) -> Steps:
        """Return what it does, with some keys changed.

        Raises:
            ProcessorError: keys that are missing, or contradict each other.
        """
        family = FAMILIES[self.name]
        return family.read({**family.defaults, **self.values, **changes}, self.name, self.backend)


def is_object(x: Any) -> bool:
    """Return whether it is an image processor of transformers, or what holds one beside a tokenizer."""
    kinds = {kind.__name__ for kind in type(x).__mro__ if kind.__module__.startswith("transformers.")}
    return bool(kinds & {"ImageProcessingMixin", "ProcessorMixin"})


def is_configuration(x: Any) -> bool:
    """Return whether it is a configuration, or a path to one; timm's are told apart by their keys."""
    return isinstance(x, str | os.PathLike) or (isinstance(x, Mapping) and "input_size" not in x)


def configuration_of(x: Any, backend: Stack | None) -> Configuration:
    """Read an object of transformers.

    Raises:
        ProcessorError: it is of unknown type.
    """
    kinds = {kind.__name__ for kind in type(x).__mro__}
    name = base_name(type(x).__name__)
    if name not in FAMILIES or not type(x).__module__.startswith("transformers."):
        raise ProcessorError(unknown(f"{type(x).__module__}.{type(x).__qualname__}"))
    fast = bool(kinds & {"TorchvisionBackend", "BaseImageProcessorFast"})
    return Configuration(name, checked(backend) or ("torchvision" if fast else "pil"), dict(x.to_dict()))


def read_configuration(x: Any, backend: str | None) -> Configuration:
    """Read a configuration as published, a file or a folder with it.

    Without ``backend``, it is the one that transformers would take.

    Raises:
        ProcessorError: no configuration, or one of an unknown type. FileNotFoundError: no such file.
    """
    values = dict(x) if isinstance(x, Mapping) else read_file(path_of(x))
    inner = values.get("image_processor")
    if isinstance(inner, Mapping):  # Of a processor that holds a tokenizer, too.
        values = dict(inner)
    kind = next((values[key] for key in TYPES if values.get(key) is not None), None)
    if kind is None:
        raise ProcessorKeyError(
            f'Expected "{TYPES[0]}" in the configuration, got {brief(sorted(map(str, values)))}. Add it: it is the '
            'name of the class, such as "CLIPImageProcessor".'
        )
    name = base_name(str(kind).replace("FeatureExtractor", "ImageProcessor"))
    if name not in FAMILIES:
        raise ProcessorError(unknown(str(kind)))
    # What is null has its default, and so has what is not there.
    given = {str(key): value for key, value in values.items() if value is not None}
    return Configuration(name, checked(backend) or "torchvision", given)


def path_of(x: Any) -> Path:
    """Return a path, with ``~`` as the home folder."""
    try:
        return expanded(x)
    except WeightsError as error:
        raise UnknownProcessorError(f"No configuration of a processor: {error}") from error


def read_file(path: Path) -> dict[str, Any]:
    """Return the configuration in a file, or in a folder."""
    if os.path.isdir(path):
        found = next((path / name for name in FILES if (path / name).is_file()), None)
        if found is None:
            raise UnknownProcessorError(
                f"Expected one of {', '.join(FILES)} in {path}. Save the processor there, or pass its file."
            )
        path = found
    if not os.path.isfile(path):  # Whatever the system says of such a path.
        raise UnknownProcessorError(
            f"No configuration of a processor at {path}. Nothing is downloaded: pass the processor itself, or the "
            "folder of its save_pretrained."
        )
    try:
        values = parsed(path.read_text(encoding="utf-8"))
    except (RecursionError, ValueError) as error:
        raise ProcessorError(
            f"Expected a configuration in JSON in {path}, got something else: {error!r:.300}."
        ) from error
    if not isinstance(values, dict):
        raise ProcessorError(f"Expected an object of keys and values in {path}, got {brief(values)}.")
    return values


def base_name(name: str) -> str:
    """Return the name of a class without the suffix for its backend."""
    return next((name.removesuffix(suffix) for suffix in SUFFIXES if name.endswith(suffix)), name)


def checked(backend: str | None) -> str | None:
    if backend is not None:
        check_choice("backend", backend, STACKS, ProcessorError)
    return backend


def unknown(kind: str) -> str:
    """Return what to say of a processor that no layer stands for."""
    return (
        f'No learned layers stand for an "{TYPES[0]}" of {kind!r}. Known: {", ".join(sorted(FAMILIES))}. Use the '
        "processor itself, or pass LearnedCompose the transforms that it is made of."
    )
