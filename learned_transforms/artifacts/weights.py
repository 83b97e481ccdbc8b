"""Weight files: safetensors with JSON in the metadata. Nothing in them is ever executed."""

import json
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from safetensors.torch import save as to_bytes
from torch import Tensor

from learned_transforms.artifacts.stored import PARTS, build, check_parts, digest, read_tensors, write
from learned_transforms.certificate import Certificate
from learned_transforms.errors import ApproximateWeightsError, UnknownPretrainedError, WeightsError, brief
from learned_transforms.layers.base import Layer
from learned_transforms.layers.network import digest_of
from learned_transforms.plain import parsed

PACKAGE = Path(__file__).resolve().parents[1]
FORMAT = "learned_transforms/1"
SUFFIX = ".safetensors"
LONGEST_PATH = 4096
"""Bytes of a path, at most."""
MODEL = f"model{SUFFIX}"
"""The weights in a folder."""

DEFAULT = "torchvision"
"""The shipped layers of the catalogue; they are no pipeline by themselves."""


@dataclass
class Weights:
    """What a weight file holds.

    Attributes:
        layers: by key, such as ``"uint8/gray"``: what they imitate, and their part in it.
        pipeline: description of the transforms, see ``describe.describe``.
        certificates: by name of the network or layer.
        provenance: ``learned``, ``selected`` or ``given``, by name of each number.
        about: anything else worth keeping: teacher, versions, settings, history.
        intact: it was not changed since it was written.
    """

    layers: Mapping[str, Layer]
    pipeline: list[dict[str, Any]]
    certificates: Mapping[str, Certificate] = field(default_factory=dict)
    provenance: Mapping[str, str] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)
    intact: bool = True


def packed(name: str, pattern: str) -> Path | None:
    """Return a folder that comes with the package: inside an installed one, beside it in a source tree or editable
    install; None: neither is there, with a file of such a name."""
    folders = PACKAGE / name, PACKAGE.parent / name
    return next((folder for folder in folders if folder.is_dir() and any(folder.glob(pattern))), None)


def folder() -> Path:
    """Return where the shipped weights lie.

    Raises:
        WeightsError: neither is there.
    """
    found = packed("weights", f"*{SUFFIX}")
    if found is None:
        raise WeightsError(f"Expected shipped weights in {PACKAGE / 'weights'}. Reinstall the package.")
    return found


def shipped_names() -> list[str]:
    """Return the names of all shipped files."""
    return sorted(path.stem for path in folder().glob(f"*{SUFFIX}"))


def list_pretrained() -> list[str]:
    """Return the names that ``from_pretrained`` knows."""
    return [name for name in shipped_names() if name != DEFAULT]


def expanded(path: str | os.PathLike[str]) -> Path:
    """Return a path, with ``~`` as the home folder.

    Raises:
        WeightsError: it is no path, or names nobody's home.
    """
    if not isinstance(path, str | os.PathLike):
        raise WeightsError(f"Expected a name or a path, got {type(path).__name__}.")
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise WeightsError(f"Expected a path, got {brief(str(path))}: {error}") from error


def target_of(path: str | os.PathLike[str]) -> Path:
    """Return where to write: :func:`expanded`.

    Raises:
        WeightsError: no system takes such a path: it is empty, cannot be encoded, holds a NUL, or is too long.
    """
    try:
        plain = os.fsencode(path) if isinstance(path, str | os.PathLike) else b"."
        if not plain or b"\0" in plain or len(plain) > LONGEST_PATH:
            raise ValueError(f"it is empty, holds a NUL, or more than {LONGEST_PATH} bytes")
    except ValueError as error:  # What cannot be encoded is one, too.
        raise WeightsError(f"Expected a path to write to, got {brief(path)}: {error}") from error
    return expanded(path)


def locate(name: str | os.PathLike[str]) -> Path:
    """Return the file of a shipped name, of a path, or in a folder.

    Raises:
        UnknownPretrainedError: there is none; the known names are listed.
    """
    path = expanded(name)
    for candidate in (path / MODEL, path):
        if os.path.isfile(candidate):
            return candidate
    shipped = folder() / f"{name}{SUFFIX}"
    if isinstance(name, str) and path.name == name and os.path.isfile(shipped):
        return shipped
    known = ", ".join(list_pretrained())
    if os.path.isdir(path):
        raise UnknownPretrainedError(
            f"Expected a file {MODEL} in the folder {path}, as save_pretrained and retrain write it; there is none. "
            f"Known names: {known}."
        )
    raise UnknownPretrainedError(
        f"No pretrained weights named {brief(str(name))}, and no such file. Known names: {known}."
    )


def save(weights: Weights, path: str | os.PathLike[str]) -> Mapping[str, Certificate]:
    """Write a weight file, whole or not at all; folders that lead to it are made.

    Returns:
        the certificates that were written, bound to what they are of; those of something else are left out.

    Raises:
        OSError: the disk is full, or the folder cannot be written.
    """
    tensors: dict[str, Tensor] = {}
    layers: dict[str, Any] = {}
    for key, layer in weights.layers.items():
        own = {name: value.detach().cpu().contiguous() for name, value in layer.named_parameters()}
        tensors |= {f"{key}.{name}": value for name, value in own.items()}
        layers[key] = {"layer": layer.stored_name(), "options": layer.describe(), "weights": sorted(own)}
    digests = Digests(weights.layers, weights.pipeline)
    bound = {title: found.of(digests[title]) for title, found in weights.certificates.items()}
    certificates = {title: found for title, found in bound.items() if found is not None}
    parts = {
        "layers": layers,
        "pipeline": weights.pipeline,
        "certificates": {name: certificate.to_json() for name, certificate in certificates.items()},
        "provenance": dict(weights.provenance),
        "about": dict(weights.about),
    }
    metadata = {"format": FORMAT, **{name: json.dumps(part) for name, part in parts.items()}}
    metadata["digest"] = digest(metadata, tensors)
    # Written by Python: safetensors has an error of its own for a full disk, which is no OSError.
    write(expanded(path), to_bytes(tensors, metadata=metadata))
    return certificates


class Digests:
    """What is certified, by the names that certificates bear (a layer, a network, or all); hashed when asked for.

    Args:
        layers: by key.
        pipeline: description of the transforms, which names networks by their positions.
    """

    def __init__(self, layers: Mapping[str, Layer], pipeline: Sequence[Any]) -> None:
        self.layers, self.pipeline = layers, pipeline
        self.networks = {str(n): entry["network"] for n, entry in enumerate(pipeline) if entry.get("network")}
        self.layer = cache(lambda key: layers[key].digest())

    def __getitem__(self, title: str) -> str:
        name = title.partition(" ")[0]  # Behind it may stand, in brackets, what ran it.
        if name in self.networks:
            description = dict(self.networks[name])
            return digest_of([self.layer(key) for key in description.pop("layers")], description)
        return self.layer(name) if name in self.layers else self.together

    @cached_property
    def together(self) -> str:
        return digest_of([self.layer(key) for key in sorted(self.layers)], {"pipeline": self.pipeline})


class Certificates(Mapping[str, Certificate]):
    """What a file says of its layers and networks, by name; read, and bound to what is there, when it is asked for.

    Those of something else are left out.

    Args:
        entries: plain values, by name.
        digests: what is there; None: nothing that was certified.

    Raises:
        WeightsError: where one is asked for that is damaged.
    """

    def __init__(self, entries: Mapping[str, Any], digests: Digests | None) -> None:
        self.entries, self.digests = entries, digests
        self.bound = cache(self.bind)

    def __getitem__(self, title: str) -> Certificate:
        found = self.bound(title)
        if found is None:
            raise KeyError(title)
        return found

    def bind(self, title: str) -> Certificate | None:
        """Return what is said of a name; None: nothing of what is there."""
        if title not in self.entries:
            return None
        found = Certificate.from_json(self.entries[title])
        return None if self.digests is None else found.of(self.digests[title])

    def __iter__(self) -> Iterator[str]:
        return (title for title in self.entries if title in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def load(name: str | os.PathLike[str]) -> Weights:
    """Read a weight file by shipped name or path. Certificates that are not of what it holds now are left out.

    Raises:
        UnknownPretrainedError: no such name or file.
        WeightsError: truncated, foreign, or with missing, unexpected, misshapen or non-finite weights.
    """
    found = open_lazily(name)
    try:
        return replace(found, certificates=dict(found.certificates))
    except WeightsError as error:
        raise WeightsError(f"{locate(name).name} is damaged: {error}") from error


def open_lazily(name: str | os.PathLike[str]) -> Weights:
    """Read a weight file as :func:`load` does, and certificates only when they are asked for.

    Raises:
        UnknownPretrainedError, WeightsError: as there.
    """
    path = locate(name)
    metadata, tensors = read_tensors(path)
    if metadata.get("format") != FORMAT:
        raise WeightsError(
            f"{path.name} was not written by this library: expected format {FORMAT!r} in its metadata, "
            f"got {brief(metadata.get('format'))}."
        )
    try:
        parts = {name: parsed(metadata[name]) for name in PARTS.checks}
    except (KeyError, RecursionError, ValueError) as error:  # Numbers of thousands of digits are a ValueError, too.
        raise WeightsError(f"{path.name} has damaged metadata: {error!r:.300}.") from error
    try:
        check_parts(parts, tensors)
        layers = {key: build(key, entry, tensors) for key, entry in parts["layers"].items()}
    except WeightsError as error:
        raise WeightsError(f"{path.name} is damaged: {error}") from error
    intact = metadata.get("digest") == digest(metadata, tensors)
    certificates = Certificates(parts["certificates"], Digests(layers, parts["pipeline"]) if intact else None)
    return Weights(layers, parts["pipeline"], certificates, parts["provenance"], parts["about"], intact)


def require_faithful(name: str | os.PathLike[str], weights: Weights, keys: Collection[str] | None = None) -> None:
    """Require certificates to say that weights are faithful: all of them, or the layers of these ``keys``.

    Raises:
        ApproximateWeightsError: they do not.
    """
    reason = next(doubts(weights, keys), None)
    if reason is not None:
        raise ApproximateWeightsError(
            f"{name} is no faithful copy of its teacher ({reason}). Pass allow_approximate=True if that is good enough."
        )


def doubts(weights: Weights, keys: Collection[str] | None = None) -> Iterator[str]:
    """Yield reasons not to take weights, or the layers of these ``keys``, for faithful."""
    if not weights.intact:
        yield "it was changed after it was written, or an older release wrote it, so its certificates do not count"
    certified = {key for key in (weights.certificates if keys is None else keys) if key in weights.certificates}
    for name in sorted(certified):
        certificate = weights.certificates[name]
        if not certificate.at_least("rounding"):
            yield str(certificate) if name.isdigit() else f"{name}: {certificate}"
    for position, entry in enumerate(weights.pipeline if keys is None else ()):
        if "network" in entry:
            if str(position) not in certified:
                yield f"network {position} is not certified"
            certified.update(entry["network"]["layers"])
    for key in weights.layers if keys is None else keys:
        if key not in certified:
            yield f"layer {key} is not certified"
