"""The shipped weights: the command that rebuilds and certifies them from scratch.

Run ``python -m learned_transforms.trainer.zoo``.
"""

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from tqdm import tqdm

from learned_transforms import weights as weight_files
from learned_transforms.catalog import describe
from learned_transforms.certificate import Certificate, measure
from learned_transforms.compose import LearnedCompose
from learned_transforms.images import to_tensor
from learned_transforms.layers import Layer, Lookup, Mixing, Resampling
from learned_transforms.network import Network
from learned_transforms.trainer import Result, retrain
from learned_transforms.trainer.audit import audit, seed_images
from learned_transforms.trainer.data import HELD_OUT_PHOTOS, TRAINING_PHOTOS, as_kind, noise, training_images
from learned_transforms.trainer.impulse import learn_kernel
from learned_transforms.trainer.problem import Labelled, attempt
from learned_transforms.trainer.resampling import RESAMPLE_LEVELS
from learned_transforms.trainer.teachers import KINDS, NAMES, lanczos_float64, lanczos_pil, opaque, seed_pipeline
from learned_transforms.weights import Weights

NAME = "cifar10_gray28"
LANCZOS, LANCZOS_SIZE, LANCZOS_SIZES = "lanczos_224", (224, 224), ((211, 127), (97, 61), (89, 151))
SHAPES = ((48, 48), (97, 300), (300, 97), (500, 224), (224, 500), (600, 333))
"""Of the noise that the arithmetic of Lanczos is selected on."""

ROLES: dict[type, str] = {Resampling: "resize_bilinear", Mixing: "gray", Lookup: "to_float"}


def learn(name: str, count: int, progress: bool = True, **options: Any) -> Result:
    """Learn one teacher of the seed from the bundled training images."""
    teacher = opaque(seed_pipeline(name))
    return retrain(teacher, training_images(count), kind=KINDS[name], count=count, progress=progress, **options)


def keyed(name: str, network: Network) -> dict[str, Layer]:
    """The learned layers of a network by key, ``kind/role``."""
    return {f"{name}/{ROLES[type(layer)]}": layer for layer in network.members if type(layer) in ROLES}


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
    with tqdm(desc="certify", unit=" certificates", disable=None if progress else True) as bar:
        for name, certificate in audit(weights, certified):
            certificates[name] = certificate
            bar.update()
    about = {
        "name": NAME,
        "teachers": {name: [str(t) for t in seed_pipeline(name)] for name in NAMES},
        "settings": {"count": count, "certified": certified, "photos": TRAINING_PHOTOS, "held out": HELD_OUT_PHOTOS},
        "steps": steps,
    }
    return Weights(layers, weights.pipeline, certificates, provenance, about)


def build_lanczos(certified: int) -> Weights:
    """Pillow's Lanczos, to 224 x 224: the kernel from a float64 teacher, the arithmetic selected on Pillow's answers.

    Args:
        certified: held-out images of each group, and sizes, in the certificate.
    """
    kernel = learn_kernel(lanczos_float64, LANCZOS_SIZES)
    checks = [label_lanczos(noise(8, (3, *shape), torch.Generator().manual_seed(3)), LANCZOS_SIZE) for shape in SHAPES]
    layers = [Resampling(kernel, torch.zeros(2), arithmetic) for arithmetic in RESAMPLE_LEVELS]
    trials = [attempt([layer], checks) for layer in layers]
    best = layers[min(range(len(layers)), key=lambda i: trials[i].worth)]
    network = Network([best], [{"size": LANCZOS_SIZE}], "pil", "pil", False)
    transform = LearnedCompose([network])
    teacher = lanczos_pil(LANCZOS_SIZE)
    groups = seed_images(certified // 8)
    network.certificate = measure(
        (
            (group, to_tensor(transform(as_kind(image, "pil"))), to_tensor(teacher(as_kind(image, "pil"))))
            for group, images in groups.items()
            for image in images
        ),
        "pil",
    )
    pipeline = [{"network": {"layers": ["0/0"], **network.describe()}}]
    marks = {f"0/0.{name}": mark for name, mark in best.provenance().items()} | {"size": "given"}
    about = {"name": LANCZOS, "trials": [asdict(trial) for trial in trials], "sizes of the teacher": LANCZOS_SIZES}
    return Weights({"0/0": best}, pipeline, {"0": network.certificate}, marks, about)


def label_lanczos(images: Tensor, size: tuple[int, int]) -> Labelled:
    """Images and Pillow's answers."""
    teacher = lanczos_pil(size)
    return Labelled(images, torch.stack([to_tensor(teacher(as_kind(image, "pil"))) for image in images]))


def readme(weights: Weights, lanczos: Weights) -> str:
    """The page that stands beside the weight files."""
    reference = next(iter(weights.certificates.values())).reference
    versions = ", ".join(f"{name} {value}" for name, value in reference.items() if name not in ("input", "backend"))
    rows = "\n".join(
        f"| {name.partition(' ')[0]} | {c.reference['backend']} | {c.tier} | {c.images:,} | {c.values:,} "
        f"| {c.differing:,} | {c.largest:.3g} |"
        for name, c in weights.certificates.items()
    )
    numbers = "\n".join(
        f"| {key} | {type(layer).__name__} | {', '.join(f'{n} {p.numel()}' for n, p in layer.named_parameters())} "
        f"| {layer.arithmetic or '-'} |"
        for key, layer in weights.layers.items()
    )
    kernel = cast(Resampling, lanczos.layers["0/0"]).kernel
    sizes = ", ".join(f"{n} to {m}" for n, m in LANCZOS_SIZES)
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
whole photos and other sizes; `imagenet_eval` rows (Resize(256), CenterCrop(224), float, Normalize) whole photos and
the same patterns at 640 x 427; `gray` rows, for uint8, all 2^24 colours; `to_float` rows all 256 levels. The backend is
what ran the network: the native one with each set of instructions, and the reference.
Measured with {versions}.

| certificate | backend | tier | images | values | differing | largest error |
| --- | --- | --- | --- | --- | --- | --- |
{rows}

## {LANCZOS}

Pillow's Resize((224, 224), Lanczos). The kernel, {" x ".join(str(n) for n in kernel.shape)} coefficients, was learned
from the answers of a float64 teacher to impulses ({sizes} pixels), its arithmetic
({lanczos.layers["0/0"].arithmetic}) selected on Pillow's own. `retrain` tries it as a candidate beside what it learns.

{lanczos.certificates["0"]}
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Rebuild the shipped weights from scratch, and certify them.")
    parser.add_argument("--out", type=Path, default=Path("weights"), help="folder to write to")
    parser.add_argument("--count", type=int, default=12_000, help="training images for each teacher")
    parser.add_argument("--certified", type=int, default=2_000, help="held-out images of each group")
    options = parser.parse_args(arguments)
    weights, lanczos = build(options.count, options.certified), build_lanczos(options.certified)
    options.out.mkdir(parents=True, exist_ok=True)
    for name, made in ((NAME, weights), (LANCZOS, lanczos)):
        weight_files.save(made, options.out / f"{name}{weight_files.SUFFIX}")
    (options.out / "README.md").write_text(readme(weights, lanczos))
    for name, certificate in [*weights.certificates.items(), (LANCZOS, lanczos.certificates["0"])]:
        print(f"{name:<46} {certificate}")


if __name__ == "__main__":
    main()
