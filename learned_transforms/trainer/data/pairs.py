"""Training pairs of one size, out of data and a teacher's answers."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from learned_transforms.errors import DataError, PipelineValueError, TeacherError
from learned_transforms.ir.ops import Shape
from learned_transforms.trainer.data.asking import ask, find_kind, stack
from learned_transforms.trainer.data.bundled import noise, photo_patches, synthetic
from learned_transforms.trainer.data.forms import as_teacher
from learned_transforms.trainer.data.quantization import Levels
from learned_transforms.trainer.data.sources import Images, Pairs, Teacher, answer_container, as_kind, read_images
from learned_transforms.trainer.search.problem import Labelled
from learned_transforms.trainer.sizes.hypotheses import learn_rules
from learned_transforms.trainer.sizes.layouts import Looker
from learned_transforms.trainer.sizes.ruled import partly, shows, training_size, whole_answer
from learned_transforms.trainer.sizes.rules import Rules
from learned_transforms.trainer.stages import tell

PATCH, LARGEST = (32, 32), 128
"""Size of the training patches, where the images do not share one of at most ``LARGEST`` rows and columns."""

PROBE_SHAPES = ((48, 64), (96, 17), (17, 96), (20, 24), (33, 70), (120, 40))
FEWEST = 16
PROBES = 24
"""Other sizes that the kernel form is checked on while its arithmetic is selected, where the teacher takes them."""

MOST_IMAGES, MOST_PIXELS = 12_000, 16_000_000
"""Training images, and their pixels, unless their number is given."""

FEWEST_ANSWERS, MOST_ANSWERED = 600, 60_000_000
"""Training images, and the pixels of whole answers to them, where only parts of these are learned from."""

MOST_COMMANDED = 1500
"""Training images, where each is asked by running a program."""

LARGE_SHAPES, LARGE_PROBES = ((300, 420), (640, 427), (200, 201)), 4
"""Larger sizes, which tell whether kernels are stretched, and how they are rounded there."""


def gather(
    teacher: Teacher | None,
    data: Any,
    kind: str | None,
    size: tuple[int, int] | None,
    count: int | None,
    seed: int,
    progress: bool,
) -> tuple[Pairs, list[str]]:
    """Training pairs of one size, and what there is to say about them."""
    teacher = None if teacher is None else as_teacher(teacher)
    found = read_images(data, paired=teacher is None)
    notes = [f"{len(found.skipped)} unreadable files skipped: {'; '.join(found.skipped[:3])}"] if found.skipped else []
    for mode, number in found.converted.items():
        notes.append(f"{number} images of mode {mode} were taken as RGB" + (", without alpha" if "A" in mode else ""))
        tell(notes[-1], progress)
    if kind is None and teacher is not None:
        kind = find_kind(teacher, found.images[0], found.kind)
        if kind != found.kind:
            notes.append(f"the teacher takes {kind} images")
    kind = agreed_kind(kind, found)
    sizes = {(image.shape[-2], image.shape[-1]) for image in found.images}
    channels = {image.shape[0] for image in found.images}
    if len(channels) > 1:
        raise DataError(f"Expected images with one number of channels, got {sorted(channels)}.")
    if found.targets is not None:
        chosen = most_of_one_size(found.images)
        if len(chosen) < len(found.images):
            rows, columns = found.images[chosen[0]].shape[-2:]
            notes.append(
                f"{len(found.images) - len(chosen)} pairs of other sizes than {rows} x {columns} were left out"
            )
        inputs, targets = ([images[i] for i in chosen] for images in (found.images, found.targets))
        return Pairs(torch.stack(inputs), stack(targets), kind, found.answers), notes
    if teacher is None:
        raise DataError("Expected (input, target) pairs, or a teacher.")
    shared = next(iter(sizes)) if len(sizes) == 1 else PATCH
    patch = size or (shared if max(shared) <= LARGEST else PATCH)
    rules = study(teacher, kind, next(iter(channels)), patch, notes)
    most = min(MOST_COMMANDED if teacher.slow else MOST_IMAGES, MOST_PIXELS // (patch[0] * patch[1]))
    seen: Teacher = teacher
    if rules is not None:
        patch, seen = training_size(rules, patch), partly(teacher, rules)
        most = min(most, max(FEWEST_ANSWERS, MOST_ANSWERED // area(rules, patch)))
    images = fill_up(found.images, patch, count or most, seed)
    answers, container = ask(seen, images, kind, progress)
    if teacher.words:
        notes.append(f"answers: {teacher.words}")
    if rules is not None:
        container = answer_container(teacher(as_kind(images[0], kind)))
    if kind == "float32" and images.dtype == torch.uint8:
        images = images.float() / 255
    return Pairs(images, stack(answers), kind, container, rules), notes


def most_of_one_size(images: Sequence[Tensor]) -> list[int]:
    """Return the numbers of the images of the size that most of them have.

    Raises:
        DataError: there are several sizes, and too few images of any.
    """
    by_size: dict[tuple[int, ...], list[int]] = {}
    for number, image in enumerate(images):
        by_size.setdefault(tuple(image.shape[-2:]), []).append(number)
    most = max(by_size.values(), key=len)
    if len(by_size) > 1 and len(most) < FEWEST:
        raise DataError(
            f"Expected pairs whose inputs share one size, got {len(by_size)} sizes, none with {FEWEST} pairs or more."
        )
    return most


def study(teacher: Teacher, kind: str, channels: int, patch: tuple[int, int], notes: list[str]) -> Rules | None:
    """Return how answers follow from the size of images, where parts of them are to be learned from; what is found is
    noted.

    None: no rule was found; or there is none to speak of, and answers may as well be learned from as they are.
    """
    found = learn_rules(Looker(teacher, kind, channels))
    if isinstance(found, str):
        notes.append(f"no rule for sizes: {found}")
        return None
    rules, more = found
    notes += [f"rule for sizes: {rules}", *more]
    return None if rules.plain and whole_answer(rules, patch) and shows(rules, patch) else rules


def area(rules: Rules, size: tuple[int, int]) -> int:
    """Pixels of the answer to an image of a size."""
    rows, columns = rules.layout(size)
    return rows.frame * columns.frame


def check_enough(pairs: Pairs) -> None:
    """Require a few pairs whose targets are not all the same value."""
    if len(pairs) < FEWEST:
        raise DataError(
            f"Expected at least {FEWEST} images to learn from, got {len(pairs)}: {FEWEST - len(pairs)} more."
        )
    if pairs.targets.amin() == pairs.targets.amax():
        value = pairs.targets.flatten()[0].item()
        raise DataError(f"Every target value is {value}: there is nothing to learn. Check the teacher or the pairs.")


def agreed_kind(kind: str | None, found: Images) -> str:
    """Return the kind that was asked for, if the data can be given in it; else that of the data."""
    if kind is None or kind == found.kind:
        return found.kind
    if found.targets is not None:
        raise PipelineValueError(f"The pairs hold {found.kind} images; kind={kind!r} does not fit them. Leave it out.")
    if found.kind == "float32":
        raise PipelineValueError(f"Float images cannot be given as {kind}. Pass uint8 or PIL images for that kind.")
    return kind


def fill_up(images: list[Tensor], size: tuple[int, int], count: int, seed: int) -> Tensor:
    """``count`` images of one size: half from ``images``, whole or as patches, half synthetic."""
    whole = [image for image in images if tuple(image.shape[-2:]) == size]
    larger = [image for image in images if image.shape[-2] >= size[0] and image.shape[-1] >= size[1]]
    if not larger:
        raise DataError(f"Expected images of at least {size[0]} x {size[1]} pixels; the largest is smaller.")
    real = count - count // 2
    chosen = torch.stack(whole[:real]) if len(whole) == len(images) else photo_patches(larger, real, size, seed)
    made = synthetic(count - len(chosen), (chosen.shape[1], *size), seed)
    return torch.cat([chosen, made if chosen.dtype == torch.uint8 else made.float() / 255])


def probe(teacher: Teacher | None, pairs: Pairs, levels: Levels, seed: int) -> list[Labelled]:
    """Noise of other sizes and the teacher's answers; sizes whose answers have another size are left out.

    Under rules for sizes, none is left out, and there are larger ones too.
    """
    if teacher is None:
        return []
    generator = torch.Generator().manual_seed(seed)
    found = []
    shapes = [(shape, PROBES) for shape in PROBE_SHAPES]
    shapes += [(shape, LARGE_PROBES) for shape in LARGE_SHAPES if pairs.rules is not None]
    for (h, w), count in shapes:
        shape: Shape = (pairs.inputs.shape[1], h, w)
        images = noise(count, shape, generator)
        if pairs.inputs.dtype != torch.uint8:
            images = images.float() / 255
        try:
            answers = stack(ask(teacher, images, pairs.kind)[0])
        except TeacherError:
            continue  # A teacher that takes one size only is a good teacher all the same.
        alike = 3 if pairs.rules is None else 1  # Channels, or all dimensions.
        same = answers.shape[1 : 1 + alike] == pairs.targets.shape[1 : 1 + alike]
        if same and answers.dtype == pairs.targets.dtype:
            found.append(levels.label(replace(pairs, inputs=images, targets=answers)))
    return found
