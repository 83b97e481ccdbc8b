"""The shipped weights: which teachers they come from, and the command that rebuilds them from scratch.

Run ``python -m learned_transforms.trainer.zoo``. Here alone in the trainer are torchvision's transforms named, and
only as opaque callables: what is learned comes from their answers.
"""

import argparse
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import torchvision.transforms as v1
from torch import Tensor
from torchvision.transforms import v2

from learned_transforms import weights as weight_files
from learned_transforms.catalog import describe
from learned_transforms.certificate import Certificate, measure
from learned_transforms.compose import LearnedCompose
from learned_transforms.images import to_tensor
from learned_transforms.layers import Layer, Lookup, Mixing, Resampling
from learned_transforms.network import Network
from learned_transforms.trainer import Result, retrain
from learned_transforms.trainer.data import (
    HELD_OUT_PHOTOS,
    TRAINING_PHOTOS,
    as_kind,
    every_colour,
    held_out_images,
    noise,
    photo,
    synthetic,
    training_images,
)
from learned_transforms.weights import Weights

NAME = "cifar10_gray28"
ROLES: dict[type, str] = {Resampling: "resize_bilinear", Mixing: "gray", Lookup: "to_float"}
KINDS = {"uint8": "uint8", "pil": "pil", "uint8_v1": "uint8", "float32": "float32"}
"""By name of the teacher: how it takes images."""

SIZES = ((28, 28), (224, 224), (100, 133), (57, 640), (400, 31), (256,))
"""What the resize layers are certified at, besides the size that they learned from."""


def seed_pipeline(name: str) -> list[Any]:
    """The transforms of the seed: ``uint8``, ``float32`` and ``pil_v2`` are v2, ``pil`` and ``uint8_v1`` are v1."""
    api: Any = v1 if name in ("pil", "uint8_v1") else v2
    geometry = [api.Resize((28, 28), antialias=True), api.RandomHorizontalFlip(p=1), api.RandomVerticalFlip(p=1)]
    ends: dict[str, list[Any]] = {
        "uint8": [v2.ToDtype(torch.float32, scale=True)],
        "pil": [v1.ToTensor()],
        "uint8_v1": [v1.ConvertImageDtype(torch.float32)],
        "float32": [v2.ToDtype(torch.float32, scale=True)],
        "pil_v2": [v2.ToImage(), v2.ToDtype(torch.float32, scale=True)],
    }
    return [*geometry, api.Grayscale(1), *ends[name]]


def opaque(transforms: Sequence[Any]) -> Callable[[Any], Any]:
    """The transforms as one callable that shows nothing of them."""

    def teacher(image: Any) -> Any:
        for transform in transforms:
            image = transform(image)
        return image

    return teacher


def learn(name: str, count: int, progress: bool = True, **options: Any) -> Result:
    """Learn one teacher of the seed from the bundled training images."""
    teacher = opaque(seed_pipeline(name))
    return retrain(teacher, training_images(count), kind=KINDS[name], count=count, progress=progress, **options)


def keyed(name: str, network: Network) -> dict[str, Layer]:
    """The learned layers of a network by key, ``kind/role``."""
    return {f"{name}/{ROLES[type(layer)]}": layer for layer in network.members if type(layer) in ROLES}


def certify_seed(name: str, weights: Weights, count: int) -> Certificate:
    """Compare the seed on held-out patches, synthetic patterns and whole photos of other sizes."""
    transforms = seed_pipeline(name)
    learned = LearnedCompose(transforms, weights=weights, fallback="error")
    groups = {group: list(images) for group, images in held_out_images(count).items()}
    groups["whole photos"] = [photo(n) for n in (*TRAINING_PHOTOS, *HELD_OUT_PHOTOS)]
    generator = torch.Generator().manual_seed(2)
    shapes = [(3, *torch.randint(1, 97, (2,), generator=generator).tolist()) for _ in range(count // 4)]
    # Sizes of one or two rows make torchvision's own uint8 resize fail, so they are left out.
    groups["other sizes"] = [noise(1, (3, max(8, h), max(8, w)), generator)[0] for _, h, w in shapes]
    return compare(learned, opaque(transforms), groups, "pil" if name.startswith("pil") else KINDS[name])


def certify_resize(name: str, weights: Weights, count: int) -> Certificate:
    """Compare a resize alone on whole photos and synthetic images, to several sizes, up and down."""
    api: Any = v1 if name in ("pil", "uint8_v1") else v2
    comparisons = []
    images = [photo(n) for n in (*TRAINING_PHOTOS, *HELD_OUT_PHOTOS)] + list(synthetic(count, (3, 61, 90), seed=3))
    for size in SIZES:
        transform = api.Resize(size, antialias=True)
        learned = LearnedCompose([transform], weights=weights, fallback="error")
        comparisons.append((learned, transform, {f"to {size}": images}))
    return join(comparisons, KINDS[name])


def certify_gray(name: str, weights: Weights) -> Certificate:
    """Compare a channel map on all 2^24 colours, or for floats on as many random ones."""
    api: Any = v1 if name in ("pil", "uint8_v1") else v2
    transform = api.Grayscale(1)
    learned = LearnedCompose([transform], weights=weights, fallback="error")
    if name == "float32":
        colours = torch.rand(3, 4096, 4096, generator=torch.Generator().manual_seed(0))
        return compare(learned, transform, {"random colours": [colours]}, "float32")
    return compare(learned, transform, {"all 2^24 colours": [every_colour()[0]]}, KINDS[name], enumerated=True)


def certify_float(name: str, weights: Weights) -> Certificate:
    """Compare a table on all 256 levels."""
    transform = seed_pipeline(name)[-1]
    learned = LearnedCompose([transform], weights=weights, fallback="error")
    levels = torch.arange(256, dtype=torch.uint8).view(1, 16, 16)
    return compare(learned, transform, {"all 256 levels": [levels]}, KINDS[name], enumerated=True)


def compare(
    learned: Callable[[Any], Any],
    teacher: Callable[[Any], Any],
    groups: dict[str, list[Tensor]],
    kind: str,
    enumerated: bool = False,
) -> Certificate:
    return join([(learned, teacher, groups)], kind, enumerated)


def join(
    comparisons: Iterable[tuple[Callable[[Any], Any], Callable[[Any], Any], dict[str, list[Tensor]]]],
    kind: str,
    enumerated: bool = False,
) -> Certificate:
    """One certificate over several networks, each with its teacher and its images."""

    def outputs() -> Iterator[tuple[str, Tensor, Tensor]]:
        for learned, teacher, groups in comparisons:
            for group, images in groups.items():
                for image in images:
                    yield group, to_tensor(learned(as_kind(image, kind))), to_tensor(teacher(as_kind(image, kind)))

    return measure(outputs(), kind, enumerated)


def build(count: int, certified: int, progress: bool = True) -> Weights:
    """Learn every teacher of the seed, and certify each layer and each pipeline.

    Args:
        count: training images for each teacher.
        certified: held-out images of each group in the certificates of pipelines.
    """
    layers: dict[str, Layer] = {}
    steps: dict[str, Any] = {}
    provenance: dict[str, str] = {}
    for name in KINDS:
        result = learn(name, count, progress)
        if "kernel" not in result.networks:
            raise RuntimeError(f"No kernel form was found for {name}: {result.notes}")
        network = result.networks["kernel"]
        layers |= keyed(name, network)
        for key, layer in keyed(name, network).items():
            provenance |= {f"{key}.{number}": mark for number, mark in layer.provenance().items()}
        provenance |= {f"{name}/{param}": "learned (recognised in the matrices)" for param in ("flips", "size")}
        steps[name] = {
            "step one (free matrices)": str(result.certificates["separable"]),
            "step two (kernel form), held-out pairs": str(result.certificates["kernel"]),
            "recognised": [dict(p or {}) for p in network.params],
            "notes": result.notes,
            "trials": [asdict(trial) for trial in result.trials],
            "history": [asdict(epoch) for epoch in result.history],
        }
    weights = Weights(layers, [describe(t) for t in seed_pipeline("uint8")], provenance=provenance)
    certificates: dict[str, Certificate] = {}
    for name in KINDS:
        certificates[f"{name}/resize_bilinear"] = certify_resize(name, weights, certified // 4)
        certificates[f"{name}/gray"] = certify_gray(name, weights)
        if f"{name}/to_float" in layers:
            certificates[f"{name}/to_float"] = certify_float(name, weights)
    for name in (*KINDS, "pil_v2"):
        certificates[f"{name}/pipeline"] = certify_seed(name, weights, certified)
    about = {
        "name": NAME,
        "teachers": {name: [str(t) for t in seed_pipeline(name)] for name in (*KINDS, "pil_v2")},
        "settings": {"count": count, "certified": certified, "photos": TRAINING_PHOTOS, "held out": HELD_OUT_PHOTOS},
        "steps": steps,
    }
    return Weights(layers, weights.pipeline, certificates, provenance, about)


def readme(weights: Weights) -> str:
    """The page that stands beside the weight files."""
    reference = next(iter(weights.certificates.values())).reference
    versions = ", ".join(f"{name} {value}" for name, value in reference.items() if name != "input")
    rows = "\n".join(
        f"| {name} | {c.tier} | {c.images:,} | {c.values:,} | {c.differing:,} | {c.largest:.3g} |"
        for name, c in weights.certificates.items()
    )
    numbers = "\n".join(
        f"| {key} | {type(layer).__name__} | {', '.join(f'{n} {p.numel()}' for n, p in layer.named_parameters())} "
        f"| {layer.arithmetic or '-'} |"
        for key, layer in weights.layers.items()
    )
    return f"""# Weights

Generated by `python -m learned_transforms.trainer.zoo`, which rebuilds every file here from scratch.

## {NAME}

Resize((28, 28)) -> RandomHorizontalFlip(p=1) -> RandomVerticalFlip(p=1) -> Grayscale(1) -> float in [0, 1], learned
from the answers of opaque teachers on 32 x 32 patches of three photos and on synthetic patterns, for each kind of
input: PIL, uint8 tensors in v2, uint8 tensors in v1, and float32 tensors. The layers also serve other sizes and
pipelines.

| layer | class | learned numbers | selected arithmetic |
| --- | --- | --- | --- |
{numbers}

Certificates: values that differ from the teacher's (floats: by more than 1e-6 of full range), and the largest error in
levels (1/255). `pipeline` rows compare held-out photos, noise, edges, checkerboards, saturated and constant images,
whole photos and other sizes; `gray` rows, for uint8, all 2^24 colours; `to_float` rows all 256 levels.
Measured with {versions}.

| certificate | tier | images | values | differing | largest error |
| --- | --- | --- | --- | --- | --- |
{rows}
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Rebuild the shipped weights from scratch, and certify them.")
    parser.add_argument("--out", type=Path, default=Path("weights"), help="folder to write to")
    parser.add_argument("--count", type=int, default=12_000, help="training images for each teacher")
    parser.add_argument("--certified", type=int, default=2_000, help="held-out images of each group")
    options = parser.parse_args(arguments)
    weights = build(options.count, options.certified)
    options.out.mkdir(parents=True, exist_ok=True)
    weight_files.save(weights, options.out / f"{NAME}{weight_files.SUFFIX}")
    (options.out / "README.md").write_text(readme(weights))
    for name, certificate in weights.certificates.items():
        print(f"{name:<24} {certificate}")


if __name__ == "__main__":
    main()
