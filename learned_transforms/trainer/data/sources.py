"""What a network learns from: images out of folders, datasets, tensors and iterables, and the teacher's answers."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from learned_transforms.errors import DataError, InputTypeError, TeacherError
from learned_transforms.images.formats import MODES, as_rgb_or_l, check_values, form_of, from_tensor, items, to_tensor
from learned_transforms.trainer.data.files import as_mode, read_folder, read_pairs
from learned_transforms.trainer.sizes.rules import Rules

KINDS = ("pil", "numpy", "uint8", "float32")
"""What a teacher may take: a PIL image, a uint8 array (H, W, C) or (H, W), a tensor [C, H, W] of either dtype."""

ANSWERS = (torch.uint8, torch.float32, torch.float64)
"""What it may give; float64 is rounded to float32."""

PHOTOS = Path(__file__).resolve().parents[2] / "photos"
TRAINING_PHOTOS = ("astronaut", "chelsea", "coffee")
HELD_OUT_PHOTOS = ("hubble", "rocket")
REPEATED = 32
"""Inputs, spread over all, that the teacher is asked about twice."""

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


def photo(name: str) -> Tensor:
    """Return a bundled photo by name, uint8 ``[3, H, W]``."""
    return as_tensor(Image.open(PHOTOS / f"{name}.jpg").convert("RGB"))


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


def photo_patches(images: Sequence[Tensor], count: int, size: tuple[int, int], seed: int) -> Tensor:
    """Random crops of random stride (1 to 8, so that fine and coarse texture both occur), uint8 ``[N, C, H, W]``."""
    rng = np.random.default_rng(seed)
    patches = []
    for _ in range(count):
        image = images[int(rng.integers(len(images)))]
        room = [(image.shape[axis + 1] - 1) // max(size[axis] - 1, 1) for axis in (0, 1)]
        stride = int(rng.integers(1, max(1, min(8, *room)) + 1))
        corner = [int(rng.integers(image.shape[axis + 1] - (size[axis] - 1) * stride)) for axis in (0, 1)]
        window = [slice(c, c + (n - 1) * stride + 1, stride) for c, n in zip(corner, size, strict=True)]
        patches.append(image[:, window[0], window[1]])
    return torch.stack(patches)


def noise(count: int, shape: tuple[int, int, int], generator: torch.Generator) -> Tensor:
    """Uniform noise over all levels."""
    return torch.randint(0, 256, (count, *shape), dtype=torch.uint8, generator=generator)


def saturated(count: int, shape: tuple[int, int, int], generator: torch.Generator) -> Tensor:
    """Every value 0 or 255, at random."""
    return torch.randint(0, 2, (count, *shape), dtype=torch.uint8, generator=generator) * 255


def constant(count: int, shape: tuple[int, int, int], generator: torch.Generator) -> Tensor:
    """Return one color all over: every gray in turn, then random colors."""
    gray = torch.arange(256, dtype=torch.uint8)[:count, None].expand(-1, shape[0])
    colors = torch.randint(0, 256, (max(0, count - 256), shape[0]), dtype=torch.uint8, generator=generator)
    return torch.cat([gray, colors])[:, :, None, None].expand(-1, *shape).clone()


def edges(count: int, shape: tuple[int, int, int], generator: torch.Generator) -> Tensor:
    """Two colors on either side of a straight line at a random angle."""
    c, h, w = shape
    y = torch.linspace(-1, 1, h)[None, :, None]
    x = torch.linspace(-1, 1, w)[None, None, :]
    angle = torch.rand(count, 1, 1, generator=generator) * (2 * torch.pi)
    offset = torch.rand(count, 1, 1, generator=generator) - 0.5
    side = (x * angle.cos() + y * angle.sin() > offset)[:, None]
    dark, light = torch.randint(0, 256, (2, count, c, 1, 1), dtype=torch.uint8, generator=generator)
    return torch.where(side, light, dark)


def checkerboards(count: int, shape: tuple[int, int, int], generator: torch.Generator) -> Tensor:
    """Fields of 1 to 4 pixels in two colors: the pattern with the most ties."""
    c, h, w = shape
    field = torch.randint(1, 5, (count, 1, 1), generator=generator)
    odd = ((torch.arange(h)[:, None] // field + torch.arange(w) // field) % 2).bool()[:, None]
    dark, light = torch.randint(0, 256, (2, count, c, 1, 1), dtype=torch.uint8, generator=generator)
    return torch.where(odd, light, dark)


def every_color() -> Tensor:
    """Each of the 2^24 colors once, uint8 ``[1, 3, 4096, 4096]``."""
    index = torch.arange(1 << 24, dtype=torch.int32).view(1, 4096, 4096)
    return torch.stack([(index >> shift & 255).to(torch.uint8) for shift in (16, 8, 0)], 1)


SYNTHETIC = {
    "noise": noise,
    "edges": edges,
    "checkerboards": checkerboards,
    "saturated": saturated,
    "constant": constant,
}


def synthetic(count: int, shape: tuple[int, int, int], seed: int) -> Tensor:
    """Noise (half), and edges, checkerboards, saturated and constant images: uint8 ``[count, *shape]``."""
    generator = torch.Generator().manual_seed(seed)
    small = min(count // 8, 512)
    counts = dict.fromkeys(SYNTHETIC, small) | {"noise": count - small * (len(SYNTHETIC) - 1)}
    return torch.cat([make(counts[name], shape, generator) for name, make in SYNTHETIC.items()])


def training_images(count: int, size: tuple[int, int] = (32, 32), seed: int = 0) -> Tensor:
    """Return the bundled training set: half patches of three photos, half synthetic; uint8 ``[count, 3, *size]``."""
    patches = photo_patches([photo(name) for name in TRAINING_PHOTOS], count - count // 2, size, seed)
    return torch.cat([patches, synthetic(count // 2, (3, *size), seed)])


def held_out_images(count: int, size: tuple[int, int] = (32, 32), seed: int = 1) -> dict[str, Tensor]:
    """By group: ``count`` patches of the two photos that training never sees, and of each synthetic pattern."""
    generator = torch.Generator().manual_seed(seed)
    patches = photo_patches([photo(name) for name in HELD_OUT_PHOTOS], count, size, seed)
    return {"photos": patches} | {name: make(count, (3, *size), generator) for name, make in SYNTHETIC.items()}


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
            answers = container_of(item[1])
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


def find_kind(teacher: Teacher, image: Tensor, first: str) -> str:
    """Return the kind in which a teacher takes images: the first in which it turns this one into an image.

    Args:
        teacher: what is tried.
        image: uint8 or float32 ``[C, H, W]``; floats are given as they are only.
        first: the kind that is tried before the others, which follow in the order of ``KINDS``.

    Raises:
        TeacherError: it takes none; each is listed with what went wrong.
    """
    failures = []
    for kind in ("float32",) if image.is_floating_point() else dict.fromkeys((first, *KINDS)):
        reason = failure(teacher, image, kind)
        if reason is None:
            return kind
        failures.append(f"\n  {kind}: {reason}")
    raise TeacherError(f"The teacher takes no kind of image of shape {tuple(image.shape)}:{''.join(failures)}")


def failure(teacher: Teacher, image: Tensor, kind: str) -> str | None:
    """Return why a teacher makes no image of this one, in a line; None if it does."""
    try:
        raw = teacher(as_kind(image, kind))
    except Exception as error:  # A foreign callable may raise anything for what it does not take.
        return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]:.200}"
    try:
        answer = as_tensor(raw, convert=False)
    except InputTypeError as error:
        return f"its answer is no image to learn. {error}"
    if answer.ndim != 3 or not answer.numel():
        return f"expected one image [C, H, W] as its answer, got shape {tuple(answer.shape)}"
    return None


def ask(teacher: Teacher, images: Iterable[Tensor], kind: str, progress: bool = False) -> tuple[list[Tensor], str]:
    """Return the teacher's answer to each image, proof that it gives the same one twice, and the container of the
    answers.

    Raises:
        TeacherError: the teacher raises, changes its input, returns no image or NaN, or answers differently
            when asked again.
    """
    images = list(images)
    answers: list[Tensor] = []
    container = "tensor"
    for i, image in enumerate(tqdm(images, "teacher", disable=None if progress else True, leave=False)):
        answer, container = ask_once(teacher, image, kind, i)
        if i % max(1, len(images) // REPEATED) == 0:
            again, _ = ask_once(teacher, image, kind, i)
            if again.shape != answer.shape or not torch.equal(again, answer):
                raise TeacherError(disagreement(answer, again, i))
        answers.append(answer)
    return answers, container


def ask_once(teacher: Teacher, image: Tensor, kind: str, i: int) -> tuple[Tensor, str]:
    """Return the answer to image ``i``, uint8 or float32 ``[C, H, W]``, and its container.

    Raises:
        TeacherError: see :func:`ask`.
    """
    given = as_kind(image, kind)
    before = as_tensor(given).clone()
    try:
        raw = teacher(given)
    except TeacherError:
        raise
    except Exception as error:  # Whatever a foreign callable raises is told as its failure.
        raise TeacherError(
            f"The teacher raised {type(error).__name__} on image {i} ({kind}, shape {tuple(image.shape)}): {error}. "
            f"Check that it takes this kind of input; kind= chooses another out of {', '.join(KINDS)}."
        ) from error
    try:
        answer = as_tensor(raw, convert=False)
    except InputTypeError as error:
        raise TeacherError(f"The teacher's answer to image {i} is no image to learn. {error}") from error
    if not torch.equal(as_tensor(given), before):
        raise TeacherError(f"The teacher modified its input, image {i}. Give it a copy: lambda x: teacher(x.clone()).")
    return check_answer(answer, i), container_of(raw)


def check_answer(answer: Tensor, i: int) -> Tensor:
    """Require one image ``[C, H, W]`` of a dtype to learn and of finite values; float64 becomes float32."""
    if answer.dtype not in ANSWERS:
        raise TeacherError(
            f"Expected answers of uint8 or float32 (or float64, which is rounded), got {answer.dtype} for image {i}. "
            "Convert them in the teacher."
        )
    answer = in_float32(answer)
    if answer.is_floating_point() and not torch.isfinite(answer).all():
        bad = int((~torch.isfinite(answer)).sum())
        raise TeacherError(f"The teacher returned {bad} NaN or infinite values for image {i}.")
    if answer.ndim != 3 or not answer.numel():
        raise TeacherError(f"Expected one image [C, H, W] from the teacher, got shape {tuple(answer.shape)}.")
    return answer


def container_of(image: Any) -> str:
    """Return the container of an image: ``"pil"``, ``"numpy"``, ``"image"`` or ``"tensor"``."""
    form = form_of(image) if not isinstance(image, np.ndarray) else None
    if isinstance(image, np.ndarray):
        return "numpy"
    return "tensor" if form is None else form.container


def disagreement(first: Tensor, second: Tensor, i: int) -> str:
    """Return what to say of a teacher that gave two answers."""
    if first.shape != second.shape:
        detail = f"shapes {tuple(first.shape)} and {tuple(second.shape)}"
    else:
        where = (first != second).nonzero()
        detail = f"{len(where)} of {first.numel()} values, the first at {tuple(where[0].tolist())}"
    return (
        f"The teacher gave two answers for image {i}: they differ in {detail}. A teacher must be deterministic: "
        "give random transforms p=0 or p=1, or learn them one by one."
    )


def stack(targets: Sequence[Tensor]) -> Tensor:
    """Answers of one shape and dtype as one tensor.

    Raises:
        TeacherError: several shapes or dtypes.
    """
    seen = {(tuple(t.shape), str(t.dtype)) for t in targets}
    if len(seen) > 1:
        found = ", ".join(f"{shape} {dtype}" for shape, dtype in sorted(seen)[:4])
        raise TeacherError(f"Expected targets of one shape and dtype for inputs of one shape, got {found}.")
    return torch.stack(list(targets))
