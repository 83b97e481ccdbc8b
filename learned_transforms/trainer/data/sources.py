"""What a network learns from: images out of folders, datasets, tensors and iterables; and pairs."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from learned_transforms.errors import DataError, InputTypeError
from learned_transforms.images.formats import MODES, as_rgb_or_l, check_values, form_of, from_tensor, items, to_tensor
from learned_transforms.trainer.data.files import as_mode, read_folder, read_pairs
from learned_transforms.trainer.sizes.rules import Rules

KINDS = ("pil", "numpy", "uint8", "float32")
"""What a teacher may take: a PIL image, a uint8 array (H, W, C) or (H, W), a tensor [C, H, W] of either dtype."""

ANSWERS = (torch.uint8, torch.float32, torch.float64)
"""What it may give; float64 is rounded to float32."""

Teacher = Callable[[Any], Any]


@dataclass(frozen=True)
class Pairs:
    """Inputs of one size, and what the teacher made of them.

    Attributes:
        inputs: uint8 or float32 ``[N, C, H, W]``.
        targets: uint8 or float32 ``[N, C', H', W']``.
        kind: how the teacher was given the inputs: ``"pil"``, ``"numpy"``, ``"uint8"`` or ``"float32"``.
        container: what the teacher's answers came in: ``"pil"``, ``"tensor"``, ``"image"`` or ``"numpy"``.
        rules: how answers follow from the size of images, where targets are parts of them; None: they are whole.
    """

    inputs: Tensor
    targets: Tensor
    kind: str
    container: str
    rules: Rules | None = None

    def __len__(self) -> int:
        return len(self.inputs)

    def select(self, index: Tensor | slice) -> "Pairs":
        return replace(self, inputs=self.inputs[index], targets=self.targets[index])

    def split(self, share: float, generator: torch.Generator) -> tuple["Pairs", "Pairs"]:
        """Two disjoint random parts, the second with about ``share`` of the pairs."""
        order = torch.randperm(len(self), generator=generator)
        held_out = max(1, round(len(self) * share))
        return self.select(order[held_out:]), self.select(order[:held_out])


def as_tensor(image: Any, convert: bool = True) -> Tensor:
    """Return one image as a contiguous tensor ``[C, H, W]``; PIL images of other modes as RGB, unless ``convert`` is
    off.

    Raises:
        InputTypeError: no image, one of another mode, an array of a dtype that torch lacks, or see
            :func:`~learned_transforms.images.formats.check_values`.
    """
    if isinstance(image, Tensor):
        check_values(image)
    if convert and isinstance(image, Image.Image):
        image = as_rgb_or_l(image)
    if isinstance(image, np.ndarray):
        if image.dtype.kind not in "buif" or image.dtype.itemsize > 8:
            raise InputTypeError(f"Expected an array of uint8, float32 or float64, got {image.dtype}.")
        image = image.astype(image.dtype.newbyteorder("="), copy=False)
    return to_tensor(image).detach().contiguous()


def as_kind(image: Tensor, kind: str) -> Any:
    """Return a copy of one image ``[C, H, W]`` in the form in which a teacher of ``kind`` takes it; arrays are
    contiguous."""
    if kind == "float32" and image.dtype == torch.uint8:
        return image.float() / 255
    made = from_tensor(image.clone(), kind if kind in ("pil", "numpy") else "tensor")
    return made[..., 0] if kind == "numpy" and len(image) == 1 else made


@dataclass(frozen=True)
class Images:
    """What :func:`read_images` found.

    Attributes:
        images: tensors ``[C, H, W]``, uint8 or float32, perhaps of several sizes.
        targets: one for each image if the data came in pairs, else None.
        kind: how a teacher takes such images.
        answers: what the targets came in: ``"pil"``, ``"tensor"``, ``"image"`` or ``"numpy"``.
        skipped: what could not be read, with the reason.
        converted: how many were of each mode that is taken as RGB.
    """

    images: list[Tensor]
    targets: list[Tensor] | None
    kind: str
    answers: str
    skipped: list[str]
    converted: Mapping[str, int]


def read_images(data: Any, paired: bool = False) -> Images:
    """Read a folder, Dataset, tensor ``[N, C, H, W]`` or iterable of images or (image, anything) tuples.

    With ``paired``, the second entry of each tuple is the target, and a path is a CSV file or a folder of pairs (see
    :func:`~learned_transforms.trainer.data.files.read_pairs`); otherwise it is a label, and ignored.

    Raises:
        DataError: no image, unreadable images only, or items of mixed types.
    """
    skipped: list[str] = []
    converted: Counter[str] = Counter()
    images: list[Tensor] = []
    targets: list[Tensor] = []
    kinds, answers = set(), "tensor"
    for item in iterate(data, paired, skipped, converted):
        first = as_mode(item[0] if isinstance(item, tuple | list) else item, MODES, converted)
        if paired:
            if not isinstance(item, tuple | list) or len(item) != 2:
                raise DataError(f"Expected (input, target) pairs without a teacher, got {type(item).__name__}.")
            target = as_tensor(as_mode(item[1], MODES, converted))
            targets.append(in_float32(check_one(target, "target", len(targets))))
            answers = answer_container(item[1])
        image = check_one(as_tensor(first), "image", len(images))
        images.append(image)
        kinds.add(kind_of(first))
    if not images:
        detail = f" All {len(skipped)} files were unreadable, the first: {skipped[0]}." if skipped else ""
        raise DataError(f"Expected at least one image, found none in {describe(data)}.{detail}")
    if len(kinds) > 1 or kinds - set(KINDS):
        raise DataError(f"Expected images of one type out of {', '.join(KINDS)}, got {', '.join(sorted(kinds))}.")
    return Images(images, targets if paired else None, kinds.pop(), answers, skipped, converted)


def kind_of(image: Any) -> str:
    """Return one of ``KINDS``, or a dtype that is none."""
    if isinstance(image, Image.Image):
        return "pil"
    if isinstance(image, np.ndarray) and image.dtype == np.uint8:
        return "numpy"
    return str(image.dtype).removeprefix("torch.")


def check_one(image: Tensor, what: str, number: int) -> Tensor:
    """Require one image ``[C, H, W]`` of finite values; inputs in [0, 1] if floats, targets of a dtype to learn."""
    if image.ndim != 3 or not image.numel():
        raise DataError(f"Expected {what} {number} to be one image [C, H, W], got shape {tuple(image.shape)}.")
    if what == "target" and image.dtype not in ANSWERS:
        raise DataError(f"Expected targets of uint8 or float32 (or float64), got {image.dtype} in target {number}.")
    if image.is_floating_point():
        if not image.isfinite().all():
            raise DataError(f"{what.capitalize()} {number} holds NaN or infinite values.")
        if what == "image" and (image.min() < 0 or image.max() > 1):
            reach = f"{float(image.min()):.3g} to {float(image.max()):.3g}"
            raise DataError(f"Expected float images in [0, 1], got {reach} in image {number}. Scale them first.")
    return image


def in_float32(answer: Tensor) -> Tensor:
    """Return an answer as it is learned: float64 rounded to float32, anything else as it is."""
    return answer.float() if answer.dtype == torch.float64 else answer


def describe(data: Any) -> str:
    return str(data) if isinstance(data, str | Path) else f"the {type(data).__name__}"


def iterate(data: Any, paired: bool, skipped: list[str], converted: Counter[str]) -> Iterator[Any]:
    """Yield the items of ``data``; unreadable files go to ``skipped``, and the modes of files to ``converted``."""
    if isinstance(data, str | Path):
        yield from (read_pairs if paired else read_folder)(Path(data), skipped, converted)
    else:
        yield from items(data)


def answer_container(image: Any) -> str:
    """Return the container of an image: ``"pil"``, ``"numpy"``, ``"image"`` or ``"tensor"``."""
    form = form_of(image) if not isinstance(image, np.ndarray) else None
    if isinstance(image, np.ndarray):
        return "numpy"
    return "tensor" if form is None else form.container
