"""The shipped weights: the command that rebuilds and certifies them from scratch.

Run ``python -m learned_transforms.trainer.zoo``.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
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
from learned_transforms.trainer.data import HELD_OUT_PHOTOS, TRAINING_PHOTOS, Teacher, as_kind, noise, training_images
from learned_transforms.trainer.impulse import learn_kernel
from learned_transforms.trainer.problem import Labelled, attempt
from learned_transforms.trainer.resampling import RESAMPLE_LEVELS
from learned_transforms.trainer.teachers import KINDS, NAMES, opaque, resize_float64, resize_pil, seed_pipeline
from learned_transforms.weights import Weights

NAME = "cifar10_gray28"
RESIZES = {"bicubic_224": "bicubic", "lanczos_224": "lanczos"}
"""Names of weights that are one kernel, and its interpolation."""

RESIZED, IMPULSE_SIZES = (224, 224), ((211, 127), (97, 61), (89, 151))
SHAPES = ((48, 48), (97, 300), (300, 97), (500, 224), (224, 500), (600, 333))
"""Of the noise that their arithmetic is selected on."""

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
            raise RuntimeError(f"No kernel form was found for {name}: {'; '.join(str(row) for row in result.table)}")
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


def build_resize(name: str, certified: int) -> Weights:
    """Pillow's resize to 224 x 224: the kernel from a float64 teacher, the arithmetic selected on Pillow's answers.

    Args:
        name: one of ``RESIZES``.
        certified: held-out images of each group, and sizes, in the certificate.
    """
    kernel = learn_kernel(partial(resize_float64, RESIZES[name]), IMPULSE_SIZES)
    teacher = resize_pil(RESIZES[name], RESIZED)
    generator = torch.Generator().manual_seed(3)
    checks = [labelled(teacher, noise(8, (3, *shape), generator)) for shape in SHAPES]
    layers = [Resampling(kernel, torch.zeros(2), arithmetic) for arithmetic in RESAMPLE_LEVELS]
    trials = [attempt([layer], checks) for layer in layers]
    best = layers[min(range(len(layers)), key=lambda i: trials[i].worth)]
    network = Network([best], [{"size": RESIZED}], "pil", "pil", False)
    transform = LearnedCompose([network])
    groups = seed_images(certified // 8)
    compared = (
        (group, to_tensor(transform(as_kind(image, "pil"))), to_tensor(teacher(as_kind(image, "pil"))))
        for group, images in groups.items()
        for image in images
    )
    network.certificate = measure(compared, "pil")
    pipeline = [{"network": {"layers": ["0/0"], **network.describe()}}]
    marks = {f"0/0.{number}": mark for number, mark in best.provenance().items()} | {"size": "given"}
    about = {"name": name, "trials": [asdict(trial) for trial in trials], "sizes of the teacher": IMPULSE_SIZES}
    return Weights({"0/0": best}, pipeline, {"0": network.certificate}, marks, about)


def labelled(teacher: Teacher, images: Tensor) -> Labelled:
    """Images, and what a teacher of PIL images makes of them."""
    return Labelled(images, torch.stack([to_tensor(teacher(as_kind(image, "pil"))) for image in images]))


def readme(weights: Weights, resizes: Mapping[str, Weights]) -> str:
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
    sizes = ", ".join(f"{n} to {m}" for n, m in IMPULSE_SIZES)
    kernels = "\n".join(
        f"| {name} | {' x '.join(str(n) for n in cast(Resampling, made.layers['0/0']).kernel.shape)} "
        f"| {made.layers['0/0'].arithmetic} | {made.certificates['0']} |"
        for name, made in resizes.items()
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
whole photos and other sizes; `imagenet_eval` rows (Resize(256), CenterCrop(224), float, Normalize) whole photos and
the same patterns at 640 x 427; `gray` rows, for uint8, all 2^24 colours; `to_float` rows all 256 levels. The backend is
what ran the network: the native one with each set of instructions, and the reference.
Measured with {versions}.

| certificate | backend | tier | images | values | differing | largest error |
| --- | --- | --- | --- | --- | --- | --- |
{rows}

## One kernel each

Pillow's resize to 224 x 224. The kernels were learned from float64 teachers' answers to impulses ({sizes} pixels),
and their arithmetic was selected on Pillow's own answers. `retrain` tries them as candidates beside what it learns.

| weights | coefficients | arithmetic | certificate |
| --- | --- | --- | --- |
{kernels}
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Rebuild the shipped weights from scratch, and certify them.")
    parser.add_argument("--out", type=Path, default=Path("weights"), help="folder to write to")
    parser.add_argument("--count", type=int, default=12_000, help="training images for each teacher")
    parser.add_argument("--certified", type=int, default=2_000, help="held-out images of each group")
    options = parser.parse_args(arguments)
    weights = build(options.count, options.certified)
    resizes = {name: build_resize(name, options.certified) for name in RESIZES}
    options.out.mkdir(parents=True, exist_ok=True)
    for name, made in {NAME: weights, **resizes}.items():
        weight_files.save(made, options.out / f"{name}{weight_files.SUFFIX}")
    (options.out / "README.md").write_text(readme(weights, resizes))
    alone = {name: made.certificates["0"] for name, made in resizes.items()}
    for name, certificate in {**weights.certificates, **alone}.items():
        print(f"{name:<46} {certificate}")


if __name__ == "__main__":
    main()
