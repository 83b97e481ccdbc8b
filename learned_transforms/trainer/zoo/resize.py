"""The resizing layers of the shipped weights: kernels and offsets from opaque teachers, arithmetic selected by kind."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import product

import torch
from torch import Tensor

from learned_transforms.errors import TeacherError
from learned_transforms.images.formats import to_tensor
from learned_transforms.ir.arithmetic import Arithmetic
from learned_transforms.layers.base import Layer
from learned_transforms.layers.resize import Picking, Resampling
from learned_transforms.trainer.data.bundled import noise
from learned_transforms.trainer.data.sources import as_kind
from learned_transforms.trainer.search.choosing import GROUPED, RESAMPLE_LEVELS
from learned_transforms.trainer.search.problem import Trial, labelled, select
from learned_transforms.trainer.zoo.impulse import learn_kernel
from learned_transforms.trainer.zoo.nearest import NEAREST_PLACES, coded, learn_offset
from learned_transforms.trainer.zoo.teachers import RESIZES, TEACHER_KINDS, opaque, resize, resize_float64, resize_int32

IMPULSE_SIZES = ((211, 127), (97, 61), (89, 151))
"""From and to: what kernels and offsets are learned from."""

KERNELS: Mapping[str, Callable[[str, Tensor, int], Tensor]] = {
    "resize_bicubic": resize_float64,
    "resize_lanczos": resize_float64,
    "resize_hamming": resize_int32,
    "resize_box": resize_int32,
    "resize_bilinear_plain": resize_float64,
    "resize_bicubic_plain": resize_float64,
}
"""By role: the teacher of the kernel, the one that rounds least."""

WIDTHS = (1.0, 0.5)
"""Of a kernel's intervals in taps: candidates, the usual one first."""

RESAMPLE_FLOATS = (GROUPED, Arithmetic("float32"), Arithmetic("float32", fma=True))
"""Candidates for float images."""

SMALL = (128, 64, 256)
"""Without antialiasing, fusing may be left to the installed torch: where its loop for small outputs ends, candidates.

A torch that fuses in both of its loops cannot tell: the first stands."""

CHECKS = (
    ((48, 48), (224, 224)),
    ((97, 300), (131, 77)),
    ((300, 97), (224, 224)),
    ((500, 224), (131, 77)),
    ((224, 500), (131, 77)),
    ((600, 333), (224, 224)),
)
"""From and to: the noise that the arithmetic of a resample is selected on, and what becomes of it."""

GRAY_CHECKS = (((561, 569), (63, 65)), ((561, 578), (63, 66)))
"""The same in gray, without antialiasing: where positions far from 0 are seen to be fused, or not."""

PAIRS = (*product(range(3, 64, 4), range(2, 64, 5)), (640, 224), (427, 333), (1000, 299))
"""From and to: what the arithmetic of positions is selected on."""


def kernel_of(role: str) -> tuple[Tensor, float]:
    """Return a kernel, learned from the impulses of its teacher, and the first width of its intervals that explains
    them."""
    learned = partial(learn_kernel, partial(KERNELS[role], role), IMPULSE_SIZES, RESIZES[role][1])
    for width in WIDTHS[:-1]:
        with suppress(TeacherError):
            return learned(width), width
    return learned(WIDTHS[-1]), WIDTHS[-1]


def resampler(name: str, role: str, kernel: Tensor, width: float) -> tuple[Resampling, list[Trial]]:
    """Return a learned kernel with the arithmetic that fits one kind of images best, and what was tried."""
    generator = torch.Generator().manual_seed(3)
    antialias = RESIZES[role][1]
    pairs = [((3, *shape), size) for shape, size in CHECKS]
    pairs += [] if antialias else [((1, *shape), size) for shape, size in GRAY_CHECKS]
    checks = [
        labelled(opaque([resize(name, role, size)]), noise(2, shape, generator), TEACHER_KINDS[name])
        for shape, size in pairs
    ]
    levels = [arithmetic for arithmetic in RESAMPLE_LEVELS if arithmetic.rounding != "none"]
    candidates = levels if checks[0].quantized else RESAMPLE_FLOATS
    if not antialias:
        candidates = [arithmetic for arithmetic in candidates if not arithmetic.grouped]
        asking = [replace(arithmetic, small=small) for small in SMALL for arithmetic in candidates if arithmetic.fma]
        candidates = [*asking, *candidates]
    layers = [Resampling(kernel, torch.zeros(2), arithmetic, width) for arithmetic in candidates]
    return select(layers, [(check, {"antialias": antialias, "size": check.size}) for check in checks])


def picker(name: str, role: str) -> tuple[Picking, list[Trial]]:
    """Return the offset of a nearest-neighbor resize of one kind of images, its arithmetic, and what was tried."""

    def teacher(image: Tensor, size: tuple[int, int]) -> Tensor:
        answer = to_tensor(opaque([resize(name, role, size)])(as_kind(image, TEACHER_KINDS[name])))
        return answer if answer.dtype == torch.uint8 else (answer * 255).round().to(torch.uint8)

    offset = learn_offset(teacher, IMPULSE_SIZES)
    checks = [labelled(opaque([resize(name, role, (m, n))]), coded(n, m)[None], TEACHER_KINDS[name]) for n, m in PAIRS]
    return select(
        [Picking(offset, arithmetic) for arithmetic in NEAREST_PLACES], [(c, {"size": c.size}) for c in checks]
    )


def marks(layer: Layer) -> dict[str, str]:
    """Return where each number of a layer comes from: a kernel is learned about given centres."""
    return {**layer.provenance(), **({"shift": "given", "width": "selected"} if isinstance(layer, Resampling) else {})}


def learn_resizes(taken: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, Layer, list[Trial]]]:
    """Every resizing layer that kinds of images have, by key: ``kind/role``."""
    kernels: dict[str, tuple[Tensor, float]] = {}
    for name, roles in taken.items():
        for role in roles:
            if role not in KERNELS:
                yield (f"{name}/{role}", *picker(name, role))
                continue
            if role not in kernels:
                kernels[role] = kernel_of(role)
            yield (f"{name}/{role}", *resampler(name, role, *kernels[role]))
