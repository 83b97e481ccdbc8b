"""What a weight file holds, byte by byte, and the layers made of it; all sizes are compared before anything is made.

A file costs little more than its own length, whatever it says: everything is checked against what may be there first.
"""

import hashlib
import os
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from learned_transforms.artifacts.describe import MOST_LEAVES, restore
from learned_transforms.errors import OutputError, WeightsError, brief
from learned_transforms.images.formats import CONTAINER_NAMES
from learned_transforms.ir.arithmetic import Arithmetic
from learned_transforms.layers.base import Layer, raw
from learned_transforms.layers.fixed_size import LAYERS
from learned_transforms.layers.network import Network
from learned_transforms.plain import Fields, list_of, mapped, mapping, maybe, one_of, switch, text
from learned_transforms.transforms.containers import leaves

DTYPES = {"F64", "F32", "I64", "U8"}
"""Of a tensor: in half precision, backends would round otherwise."""

MOST_DIMENSIONS = 4
"""Of a tensor."""

MOST_LAYERS, MOST_TENSORS = 512, 2048
"""Of a file."""

PARTS = Fields(
    {
        "layers": mapped(mapping),
        "pipeline": lambda value: isinstance(value, list) and all(map(mapping, value)),
        "certificates": mapped(mapping),
        "provenance": mapped(text),
        "about": mapping,
    }
)
"""What the metadata holds as JSON."""

LAYER = Fields({"layer": one_of(*LAYERS), "options": mapping, "weights": list_of(text, 0, MOST_LAYERS)})
NETWORK = Fields(
    {
        "layers": list_of(text, 0, MOST_LAYERS),
        "params": list_of(maybe(mapping), 0, MOST_LAYERS),
        "kind": one_of("pil", "uint8", "float32", "numpy"),
        "output": one_of(*CONTAINER_NAMES),
        "floats": switch,
        "learned": list_of(text, 0, MOST_LAYERS),
    },
    ("output", "floats", "learned"),
)


def read_tensors(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Return metadata and tensors of a safetensors file.

    Raises:
        WeightsError: unreadable, or holding what weights are not.
    """
    try:
        with safe_open(path, framework="pt") as file:
            keys = list(file.keys())
            if len(keys) > MOST_TENSORS:  # Each costs older safetensors as much as there are.
                raise WeightsError(f"Expected up to {MOST_TENSORS} tensors in {path.name}, got {len(keys)}.")
            slices = {key: file.get_slice(key) for key in keys}
            odd = sorted(key for key, part in slices.items() if part.get_dtype() not in DTYPES)
            if odd:
                raise WeightsError(f"{path.name} holds weights that are no floats: {', '.join(odd)}.")
            deep = sorted(key for key, part in slices.items() if not 0 < len(part.get_shape()) <= MOST_DIMENSIONS)
            if deep:
                raise WeightsError(f"{path.name} holds weights of impossible dimensions: {', '.join(deep)}.")
            return file.metadata() or {}, {key: file.get_tensor(key) for key in slices}
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path.name} is no readable safetensors file ({error}). Is it truncated?") from error


def write(path: Path, content: bytes) -> None:
    """Write a file, whole or not at all, and make the folders that lead to it.

    Raises:
        OSError: the disk is full, the folder cannot be written, or a folder has that name.
    """
    if path.is_dir():
        raise OutputError(f"Expected the name of a file, got the folder {path}. Choose another name.")
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    try:
        Path(temporary).write_bytes(content)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    finally:
        Path(temporary).unlink(missing_ok=True)


def digest(metadata: Mapping[str, str], tensors: Mapping[str, Tensor]) -> str:
    """Return a hash of all that a file holds, but for the hash itself."""
    found = hashlib.sha256(repr(sorted((name, value) for name, value in metadata.items() if name != "digest")).encode())
    for key, tensor in sorted(tensors.items()):
        found.update(repr((key, tensor.dtype, tuple(tensor.shape))).encode() + raw(tensor))
    return found.hexdigest()


def check_parts(parts: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Require everything to be there, of its kind, and no more than a file may hold.

    Raises:
        WeightsError: otherwise.
    """
    PARTS.require("metadata", parts)
    layers, networks = parts["layers"], [entry["network"] for entry in parts["pipeline"] if "network" in entry]
    if len(layers) > MOST_LAYERS or len(parts["pipeline"]) > MOST_LEAVES:
        raise WeightsError(f"Expected up to {MOST_LAYERS} layers and {MOST_LEAVES} transforms, got more.")
    for key, entry in layers.items():
        LAYER.require(f"layer {brief(key)}", entry)
        LAYERS[entry["layer"]].options.require(f"layer {brief(key)}", options_of(entry))
    for network in networks:
        NETWORK.require("network", network)
        if len(network["layers"]) != len(network["params"]) or not layers.keys() >= set(network["layers"]):
            raise WeightsError(f"Expected the layers of a network, and params for each, got {brief(network)}.")
        for key, params in zip(network["layers"], network["params"], strict=True):
            if params is not None:
                LAYERS[layers[key]["layer"]].takes.require(f"params of layer {brief(key)}", params)
    used = Counter(key for network in networks for key in network["layers"])
    if any(count > 1 for count in used.values()):
        raise WeightsError(f"Expected each layer in one network, got some in several: {brief(dict(used))}.")
    check_tensors(layers, tensors)


def check_tensors(layers: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Require every tensor that the layers name, no other, and no NaN.

    Raises:
        WeightsError: otherwise.
    """
    expected = {f"{key}.{name}" for key, entry in layers.items() for name in entry["weights"]}
    missing, extra = sorted(expected - set(tensors)), sorted(set(tensors) - expected)
    if missing or extra:
        raise WeightsError(f"The weights do not fit their description: missing {missing}, unexpected {extra}.")
    whole = {f"{key}.{name}": t for key, entry in layers.items() for name, t in LAYERS[entry["layer"]].whole.items()}
    odd = sorted(key for key, v in tensors.items() if not v.is_floating_point() and whole.get(key) != v.dtype)
    if odd:
        raise WeightsError(f"Some weights are no floats: {', '.join(odd)}.")
    broken = sorted(key for key, value in tensors.items() if not value.double().isfinite().all())
    if broken:
        raise WeightsError(f"NaN or infinite weights in {', '.join(broken)}. Train or download them again.")


def options_of(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return the constructor arguments of a layer besides its weights."""
    return {n: Arithmetic.from_json(v) if n in ("arithmetic", "inner") else v for n, v in entry["options"].items()}


def build(key: str, entry: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Layer:
    """Return one layer from its description and tensors.

    Raises:
        WeightsError: they do not fit each other.
    """
    layer, options = LAYERS[entry["layer"]], options_of(entry)
    own = {name: tensors[f"{key}.{name}"] for name in entry["weights"]}
    try:
        return nested(layer, options, own) if layer.nested else layer(**own, **options)
    except (IndexError, TypeError, RuntimeError, ValueError) as error:
        raise WeightsError(f"Layer {brief(key)} cannot be built from {brief(entry)}: {error}") from error


def nested(layer: type[Layer], options: Mapping[str, Any], own: Mapping[str, Tensor]) -> Layer:
    """Return a layer whose weights lie in submodules: it takes memory only once their sizes are known to fit."""
    with torch.device("meta"):
        made = layer(**options)
    made.load_state_dict({name: value.float().clone() for name, value in own.items()}, assign=True)
    return made


def restore_pipeline(pipeline: Sequence[Any], layers: Mapping[str, Layer]) -> list[Any]:
    """Return the transforms and networks that a file describes, in order.

    Raises:
        WeightsError: an empty or damaged description, or more transforms than a file may hold.
    """
    if not pipeline:
        raise WeightsError(
            "The file holds layers, but no pipeline. Pass transforms to LearnedCompose, which uses them."
        )
    made: list[Any] = []
    count = 0
    for entry in pipeline:
        made.append(network_of(entry["network"], layers) if "network" in entry else restore(entry))
        count += sum(1 for _ in leaves(made[-1]))
        if count > MOST_LEAVES:
            raise WeightsError(f"Expected up to {MOST_LEAVES} transforms, got more.")
    return made


def network_of(description: Mapping[str, Any], layers: Mapping[str, Layer]) -> Network:
    """Return a network from a description that was checked."""
    options = {name: value for name, value in description.items() if name not in ("layers", "params")}
    params = [None if p is None else {k: to_tuple(v) for k, v in p.items()} for p in description["params"]]
    return Network([layers[key] for key in description["layers"]], params, **options)


def to_tuple(value: Any) -> Any:
    """Lists, which JSON made of tuples, as tuples again."""
    return tuple(value) if isinstance(value, list) else value
