"""Weight files: safetensors with JSON in the metadata. Nothing in them is ever executed."""

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from learned_transforms.arithmetic import Arithmetic
from learned_transforms.catalog import restore
from learned_transforms.certificate import Certificate
from learned_transforms.errors import UnknownPretrainedError, WeightsError
from learned_transforms.fixed import LAYERS
from learned_transforms.layers import Layer
from learned_transforms.network import Network

FORMAT = "learned_transforms/1"
SUFFIX = ".safetensors"
MODEL = f"model{SUFFIX}"
"""The weights in a result folder of ``retrain``."""


@dataclass
class Weights:
    """What a weight file holds.

    Attributes:
        layers: by key, such as ``"uint8/gray"``: what they imitate, and their part in it.
        pipeline: description of the transforms, see ``catalog.describe``.
        certificates: by name of the network or layer.
        provenance: ``learned``, ``selected`` or ``given``, by name of each number.
        about: anything else worth keeping: teacher, versions, settings, history.
    """

    layers: Mapping[str, Layer]
    pipeline: list[dict[str, Any]]
    certificates: Mapping[str, Certificate] = field(default_factory=dict)
    provenance: Mapping[str, str] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)


def folder() -> Path:
    """Where the shipped weights lie: inside an installed package, beside it in a source tree or editable install.

    Raises:
        WeightsError: neither is there.
    """
    package = Path(__file__).resolve().parent
    for candidate in (package / "weights", package.parent / "weights"):
        if candidate.is_dir() and any(candidate.glob(f"*{SUFFIX}")):
            return candidate
    raise WeightsError(f"Expected shipped weights in {package / 'weights'}. Reinstall the package.")


def list_pretrained() -> list[str]:
    """Names that ``from_pretrained`` knows."""
    return sorted(path.stem for path in folder().glob(f"*{SUFFIX}"))


def locate(name: str | os.PathLike[str]) -> Path:
    """The file of a shipped name, of a path, or in a result folder.

    Raises:
        UnknownPretrainedError: there is none; the known names are listed.
    """
    if not isinstance(name, str | os.PathLike):
        raise WeightsError(f"Expected a name or a path, got {type(name).__name__}.")
    path = Path(name)
    if (path / MODEL).is_file():
        return path / MODEL
    if path.is_file():
        return path
    shipped = folder() / f"{name}{SUFFIX}"
    if isinstance(name, str) and path.name == name and shipped.is_file():
        return shipped
    known = ", ".join(list_pretrained())
    raise UnknownPretrainedError(f"No pretrained weights named {str(name)!r}, and no such file. Known names: {known}.")


def save(weights: Weights, path: str | os.PathLike[str]) -> None:
    """Write a weight file, whole or not at all.

    Raises:
        OSError: the disk is full, or the folder cannot be written.
    """
    tensors: dict[str, Tensor] = {}
    layers: dict[str, Any] = {}
    for key, layer in weights.layers.items():
        own = {name: value.detach().cpu().contiguous() for name, value in layer.named_parameters()}
        tensors |= {f"{key}.{name}": value for name, value in own.items()}
        layers[key] = {"layer": type(layer).__name__, "options": layer.describe(), "weights": sorted(own)}
    metadata = {
        "format": FORMAT,
        "layers": layers,
        "pipeline": weights.pipeline,
        "certificates": {name: certificate.to_json() for name, certificate in weights.certificates.items()},
        "provenance": dict(weights.provenance),
        "about": dict(weights.about),
    }
    text = {name: value if isinstance(value, str) else json.dumps(value) for name, value in metadata.items()}
    # Written by Python: safetensors has an error of its own for a full disk, which is no OSError.
    content, path = to_bytes(tensors, metadata=text), Path(path)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    try:
        Path(temporary).write_bytes(content)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    finally:
        Path(temporary).unlink(missing_ok=True)


def load(name: str | os.PathLike[str]) -> Weights:
    """Read a weight file by shipped name or path.

    Raises:
        UnknownPretrainedError: no such name or file.
        WeightsError: truncated, foreign, or with missing, unexpected, misshapen or non-finite weights.
    """
    path = locate(name)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path.name} is no readable safetensors file ({error}). Is it truncated?") from error
    if metadata.get("format") != FORMAT:
        raise WeightsError(
            f"{path.name} was not written by this library: expected format {FORMAT!r} in its metadata, "
            f"got {metadata.get('format')!r}."
        )
    try:
        parts = {
            name: json.loads(metadata[name]) for name in ("layers", "pipeline", "certificates", "provenance", "about")
        }
    except (KeyError, json.JSONDecodeError, RecursionError) as error:
        raise WeightsError(f"{path.name} has damaged metadata: {error}.") from error
    try:
        return assemble(path.name, parts, tensors)
    except WeightsError:
        raise
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"{path.name} has damaged metadata: {error!r}.") from error


def assemble(file: str, parts: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Weights:
    """Layers and everything said of them, from what a file holds."""
    check_names(file, parts["layers"], tensors)
    return Weights(
        {key: build(key, entry, tensors) for key, entry in parts["layers"].items()},
        parts["pipeline"],
        {name: Certificate.from_json(entry) for name, entry in parts["certificates"].items()},
        parts["provenance"],
        parts["about"],
    )


def check_names(file: str, layers: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Every tensor that the layers name, no other, and no NaN."""
    expected = {f"{key}.{name}" for key, entry in layers.items() for name in entry["weights"]}
    missing, extra = sorted(expected - set(tensors)), sorted(set(tensors) - expected)
    if missing or extra:
        raise WeightsError(f"{file} does not fit its description: missing {missing}, unexpected {extra}.")
    whole = {f"{key}.{name}": dtype for key, entry in layers.items() for name, dtype in whole_of(entry).items()}
    odd = sorted(key for key, v in tensors.items() if not v.is_floating_point() and whole.get(key) != v.dtype)
    if odd:
        raise WeightsError(f"{file} holds weights that are no floats: {', '.join(odd)}.")
    broken = sorted(key for key, value in tensors.items() if not value.double().isfinite().all())
    if broken:
        raise WeightsError(f"{file} holds NaN or infinite weights in {', '.join(broken)}. Train or download it again.")


def whole_of(entry: Mapping[str, Any]) -> Mapping[str, torch.dtype]:
    """Weights of a layer that may be integers, by name."""
    layer = LAYERS.get(entry["layer"])
    return {} if layer is None else layer.whole


def build(key: str, entry: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Layer:
    """One layer from its description and tensors."""
    options = dict(entry["options"])
    for name in ("arithmetic", "inner"):
        if name in options:
            options[name] = Arithmetic.from_json(options[name])
    own = {name: tensors[f"{key}.{name}"] for name in entry["weights"]}
    try:
        layer = LAYERS[entry["layer"]]
        if layer.nested:
            made = layer(**options)
            made.load_state_dict(own)
        else:
            made = layer(**own, **options)
    except (KeyError, IndexError, TypeError, RuntimeError, ValueError) as error:
        raise WeightsError(f"Layer {key!r} cannot be built from its description {dict(entry)!r}: {error}") from error
    return made


def restore_pipeline(weights: Weights) -> list[Any]:
    """The transforms and networks that a file describes, in order.

    Raises:
        WeightsError: an empty or damaged description.
    """
    if not isinstance(weights.pipeline, list):
        raise WeightsError(f"Expected a list of transforms, got {weights.pipeline!r:.200}.")
    if not weights.pipeline:
        raise WeightsError("The file holds layers, but no pipeline.")
    return [restore_transform(entry, weights.layers) for entry in weights.pipeline]


def restore_transform(entry: Any, layers: Mapping[str, Layer]) -> Any:
    if not isinstance(entry, dict):
        raise WeightsError(f"Expected the description of a transform, got {entry!r:.200}.")
    if "network" not in entry:
        return restore(entry)
    try:
        options = dict(entry["network"])
        own = [layers[key] for key in options.pop("layers")]
        params = [None if p is None else {k: to_tuple(v) for k, v in p.items()} for p in options.pop("params")]
        return Network(own, params, **options)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"Expected the description of a network, got {entry!r:.300}: {error!r}") from error


def to_tuple(value: Any) -> Any:
    """Lists, which JSON made of tuples, as tuples again."""
    return tuple(value) if isinstance(value, list) else value
