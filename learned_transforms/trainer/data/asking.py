"""A teacher's answers: in which form it takes images, what it makes of them, and that it does so twice."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor
from tqdm import tqdm

from learned_transforms.errors import InputTypeError, TeacherError
from learned_transforms.trainer.data.sources import (
    ANSWERS,
    KINDS,
    Teacher,
    answer_container,
    as_kind,
    as_tensor,
    in_float32,
)

REPEATED = 32
"""Inputs, spread over all, that the teacher is asked about twice."""


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
    return check_answer(answer, i), answer_container(raw)


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
