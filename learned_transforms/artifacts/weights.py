"""Weight files: safetensors with JSON in the metadata. Nothing in them is ever executed."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors.torch import save as to_bytes
from torch import Tensor

from learned_transforms.artifacts.stored import PARTS, build, check_parts, digest, read, write
from learned_transforms.certificate import Certificate
from learned_transforms.errors import ApproximateWeightsError, UnknownPretrainedError, WeightsError, brief
from learned_transforms.layers.base import Layer
from learned_transforms.layers.network import digest_of
from learned_transforms.plain import parsed

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


def folder() -> Path:
    """Return where the shipped weights lie: inside an installed package, beside it in a source tree or editable
    install.

    Raises:
        WeightsError: neither is there.
    """
    package = Path(__file__).resolve().parents[1]
    for candidate in (package / "weights", package.parent / "weights"):
        if candidate.is_dir() and any(candidate.glob(f"*{SUFFIX}")):
            return candidate
    raise WeightsError(f"Expected shipped weights in {package / 'weights'}. Reinstall the package.")


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
    certificates = held(weights.certificates, weights.layers, weights.pipeline)
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


def held(
    certificates: Mapping[str, Certificate], layers: Mapping[str, Layer], pipeline: Sequence[Any]
) -> dict[str, Certificate]:
    """Return those certificates that are of these weights, bound to them: of a layer, of a network, or of all
    together."""
    own = {key: layer.digest() for key, layer in layers.items()}
    for position, entry in enumerate(pipeline):
        network = entry.get("network")
        if network is not None:
            description = {name: value for name, value in network.items() if name != "layers"}
            own[str(position)] = digest_of([own[key] for key in network["layers"]], description)
    together = digest_of([own[key] for key in sorted(layers)], {"pipeline": pipeline})
    # Behind a name may stand, in brackets, what ran it.
    bound = {name: c.of(own.get(name.partition(" ")[0], together)) for name, c in certificates.items()}
    return {name: certificate for name, certificate in bound.items() if certificate is not None}


def load(name: str | os.PathLike[str]) -> Weights:
    """Read a weight file by shipped name or path. Certificates that are not of what it holds now are left out.

    Raises:
        UnknownPretrainedError: no such name or file.
        WeightsError: truncated, foreign, or with missing, unexpected, misshapen or non-finite weights.
    """
    path = locate(name)
    metadata, tensors = read(path)
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
        certificates = {title: Certificate.from_json(entry) for title, entry in parts["certificates"].items()}
    except WeightsError as error:
        raise WeightsError(f"{path.name} is damaged: {error}") from error
    intact = metadata.get("digest") == digest(metadata, tensors)
    certificates = held(certificates, layers, parts["pipeline"]) if intact else {}
    return Weights(layers, parts["pipeline"], certificates, parts["provenance"], parts["about"], intact)


def require_faithful(name: str | os.PathLike[str], weights: Weights) -> None:
    """Require certificates to say that weights are faithful, all of them.

    Raises:
        ApproximateWeightsError: they do not.
    """
    reason = next(doubts(weights), None)
    if reason is not None:
        raise ApproximateWeightsError(
            f"{name} is no faithful copy of its teacher ({reason}). Pass allow_approximate=True if that is good enough."
        )


def doubts(weights: Weights) -> Iterator[str]:
    """Yield reasons not to take weights for faithful."""
    if not weights.intact:
        yield "it was changed after it was written, or an older release wrote it, so its certificates do not count"
    for name, certificate in weights.certificates.items():
        if not certificate.at_least("rounding"):
            yield str(certificate) if name.isdigit() else f"{name}: {certificate}"
    certified = set(weights.certificates)
    for position, entry in enumerate(weights.pipeline):
        if "network" in entry:
            if str(position) not in certified:
                yield f"network {position} is not certified"
            certified.update(entry["network"]["layers"])
    for key in weights.layers:
        if key not in certified:
            yield f"layer {key} is not certified"
