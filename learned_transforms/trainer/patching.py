"""How large training images are, and how many: a teacher whose output has one size is shown images that it shrinks."""

from collections.abc import Sequence

from torch import Tensor

from learned_transforms.errors import TeacherError
from learned_transforms.trainer.data import Teacher, ask

Size = tuple[int, int]

SHRUNK = 3, 2
"""How many times as large as its output images are that a resize shrinks: shrinking tells whether it smooths."""

MOST_TARGETS = 40_000_000
"""Values of all targets, of which a float takes four bytes."""

FEWEST = 100
"""Images, however large."""


def patch_of(teacher: Teacher, images: Sequence[Tensor], patch: Size, kind: str) -> Size:
    """The size of training patches: that proposed, unless the teacher gives larger ones, or as large, to every size.

    A resize that changes nothing cannot be told from one that is not there, nor smoothing where nothing is shrunk.
    """
    wanted = output_of(teacher, images, patch, kind)
    if wanted is None or (wanted[0] < patch[0] and wanted[1] < patch[1]):
        return patch
    smaller = max(1, min(patch[0], wanted[0]) * 2 // 3), max(1, min(patch[1], wanted[1]) * 3 // 4)
    # One pixel more, so that the outputs lie differently against the pixels.
    larger = wanted[0] * SHRUNK[0] // SHRUNK[1] + 1, wanted[1] * SHRUNK[0] // SHRUNK[1] + 1
    if output_of(teacher, images, smaller, kind) != wanted:
        return patch
    if output_of(teacher, images, larger, kind) == wanted:
        return larger
    return smaller if wanted == patch else patch


def holds(images: Sequence[Tensor], size: Size) -> bool:
    """Whether patches of this size can be cut out of some image."""
    return any(image.shape[-2] >= size[0] and image.shape[-1] >= size[1] for image in images)


def output_of(teacher: Teacher, images: Sequence[Tensor], size: Size, kind: str) -> Size | None:
    """The size of what a teacher makes of a patch; None where it takes none of this size."""
    image = next((i for i in images if holds([i], size)), None)
    if image is None:
        return None
    try:
        found = ask(teacher, [image[:, : size[0], : size[1]].contiguous()], kind)[0][0]
    except TeacherError:
        return None
    return found.shape[-2], found.shape[-1]


def count_of(teacher: Teacher, images: Sequence[Tensor], patch: Size, kind: str, most: int) -> int:
    """How many training images there may be at most, so that targets fit into memory."""
    wanted = output_of(teacher, images, patch, kind)
    return most if wanted is None else min(most, max(FEWEST, MOST_TARGETS // (3 * wanted[0] * wanted[1])))
