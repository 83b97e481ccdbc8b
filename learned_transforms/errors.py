"""Exceptions and warnings, and checks that raise them alike wherever they are needed.

Every exception also derives from the type that torchvision raises for the same mistake, so code that
catches torchvision's exceptions keeps working.
"""

import math
import reprlib
import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import Any

from torch import nn
from torch.linalg import LinAlgError  # type: ignore[attr-defined]
from torch.utils import _contextlib

LONGEST_TEXT = 4000
"""Characters of an error text, at most."""

BRIEF = reprlib.Repr()
BRIEF.maxlevel, BRIEF.maxdict, BRIEF.maxstring, BRIEF.maxother = 3, 6, 80, 80


def brief(value: object) -> str:
    """Return a value, for an error text: short, however long or deep it is."""
    return f"{BRIEF.repr(value):.300}"


def shortened(text: str) -> str:
    """Return a text without its middle, where it is too long: what went wrong comes first, the remedy last."""
    half = LONGEST_TEXT // 2
    return text if len(text) <= LONGEST_TEXT else f"{text[:half]} ... {text[-half:]}"


class LearnedTransformsError(Exception):
    """Base of every exception that this package raises on purpose; no text is longer than ``LONGEST_TEXT``, about."""

    def __init__(self, *args: object) -> None:
        super().__init__(*(shortened(arg) if isinstance(arg, str) else arg for arg in args))


class InputTypeError(LearnedTransformsError, TypeError):
    """An input of a type, dtype or channel count that the pipeline cannot take."""


class InputShapeError(LearnedTransformsError, ValueError):
    """An image whose shape does not fit the pipeline."""


class UnlearnedSizeError(InputShapeError):
    """An image of a size at which a clone was not found to do what its teacher does."""


class ChannelsError(InputTypeError, InputShapeError, RuntimeError):
    """An image of another number of channels than a transform takes: torchvision raises either of the three types."""


class ProcessorInputError(InputTypeError, InputShapeError, RuntimeError):
    """Images, or options of a call, that a processor's layers do not take."""


class NoPictureError(InputTypeError, OSError):
    """One of Pillow's functions came to a tensor, whose mode it does not know."""


class FewChannelsError(ChannelsError, IndexError):
    """A channel is wanted that an image does not have."""


class EmptyImageError(InputShapeError, RuntimeError):
    """A resize would leave nothing of an image, for which torchvision raises one of these by container."""


class PaddingError(InputShapeError, RuntimeError, IndexError):
    """More padding by mirrored pixels than the image has, or a fill for another number of channels."""


class OperationError(InputTypeError, InputShapeError, RuntimeError, IndexError):
    """What torch's own operation between layers refuses: torchvision raises either of the four types."""


class PipelineTypeError(LearnedTransformsError, TypeError):
    """What was given as a pipeline is not a sequence of callables, or an option is unknown or of a wrong type."""


class PipelineValueError(LearnedTransformsError, ValueError):
    """A pipeline, or a parameter of one, that cannot be carried out."""


class ProcessorError(LearnedTransformsError, ValueError):
    """A processor of unknown type, or a configuration with missing or contradictory keys."""


class WordedError(LearnedTransformsError):
    """Base of errors whose text is their message, where another type of theirs would quote or number it."""

    def __str__(self) -> str:
        return str(self.args[0])


class ProcessorKeyError(WordedError, ProcessorError, KeyError):
    """A key, or the code of a filter, that processors do not know."""


class UnknownProcessorError(WordedError, ProcessorError, FileNotFoundError):
    """No configuration of a processor at a path."""


class UnevenBatchError(InputShapeError, RuntimeError):
    """Images of different sizes behind a pipeline or a processor, which make no batch."""


class SingularMatrixError(LearnedTransformsError, LinAlgError):  # type: ignore[misc]
    """Corners on a line, which no perspective moves anywhere else.

    Attributes:
        position, outcomes: of the transform that drew them among those that run together, and what those before it drew
            by their positions; they may refuse the image first.
    """

    position = 0
    outcomes: Mapping[int, Any] = MappingProxyType({})


class UnsupportedTransformError(LearnedTransformsError, NotImplementedError):
    """A transform without a learned layer, under ``fallback="error"``."""


class BackendError(LearnedTransformsError, RuntimeError):
    """A backend that was asked for by name cannot run."""


class ScriptingError(LearnedTransformsError, RuntimeError):
    """A pipeline that torch.jit.script was asked to compile."""


class WeightsError(LearnedTransformsError, ValueError):
    """A weight file that is damaged, foreign, or does not fit the network."""


class UnknownPretrainedError(WordedError, WeightsError, FileNotFoundError):
    """No shipped weights of that name, and no file at that path."""


class ApproximateWeightsError(WeightsError):
    """Weights certified as ``approximate`` only, loaded without ``allow_approximate=True``."""


class TeacherError(LearnedTransformsError, RuntimeError):
    """A teacher that raises, is not deterministic, or returns something that cannot be learned."""


class DataError(LearnedTransformsError, ValueError):
    """Training data that is empty, unreadable, or too little for what was asked."""


class CheckpointError(LearnedTransformsError, ValueError):
    """A checkpoint that cannot be resumed: it is of another run, or damaged."""


class OutputError(LearnedTransformsError, OSError):
    """A result that cannot be written: the disk is full, or the folder may not be written to."""


class ExportError(LearnedTransformsError, ValueError):
    """A model that does not fit the preprocessing it is to be merged with."""


class MissingExtraError(LearnedTransformsError, ImportError):
    """An optional dependency is needed and not installed."""


class FallbackWarning(UserWarning):
    """Some transforms run in torchvision itself, because no learned layer covers them."""


PACKAGE = str(Path(__file__).resolve().parent)
BETWEEN = str(Path(nn.modules.module.__file__ or "")), str(Path(_contextlib.__file__ or ""))
"""Files of torch's whose calls lie between those of the package."""


def warn_fallback(reasons: Mapping[str, str]) -> None:
    """Warn, at the line of the user's own that led here, of transforms that run in torchvision.

    Args:
        reasons: why, by name of the transform.
    """
    named = ", ".join(f"{name} ({reason})" for name, reason in reasons.items())
    warnings.warn(
        f"Without a learned layer, run as they are: {named:.2000}. explain() tells what runs everything; "
        "fallback='torchvision' says that this is meant.",
        FallbackWarning,
        stacklevel=users_level(),
    )


def warn_antialias() -> None:
    """Warn, as torchvision does, that Pillow antialiases whatever a resize says."""
    warnings.warn(
        "Anti-alias option is always applied for PIL Image input. Argument antialias is ignored.",
        UserWarning,
        stacklevel=users_level(),
    )


def users_level() -> int:
    """Return how many calls the caller lies below the line of the user's own that led here."""
    frame, level = sys._getframe(2), 2
    while frame.f_back is not None and frame.f_code.co_filename.startswith((PACKAGE, *BETWEEN)):
        frame, level = frame.f_back, level + 1
    return level


def check_keywords(given: Iterable[str], known: Sequence[str]) -> None:
    """Require keywords out of ``known``.

    Raises:
        PipelineTypeError: with the keyword that was probably meant.
    """
    for name in given:
        if name not in known:
            near = get_close_matches(name, known, 1)
            raise PipelineTypeError(
                f"Unexpected keyword {name!r}."
                + (f" Did you mean {near[0]!r}?" if near else "")
                + f" Known keywords: {', '.join(known)}."
            )


def check_choice(
    name: str, value: object, choices: Iterable[str], error: type[LearnedTransformsError] = PipelineValueError
) -> None:
    """Require one of a few words.

    Raises:
        error: it is another, or no word.
    """
    if not (isinstance(value, str) and value in choices):
        raise error(f"Expected {name} to be one of {', '.join(choices)}, got {brief(value)}.")


def check_flag(name: str, value: object) -> None:
    """Require True or False.

    Raises:
        PipelineTypeError: it is something else.
    """
    if type(value) is not bool:
        raise PipelineTypeError(f"Expected {name} to be True or False, got {brief(value)}.")


def check_number(name: str, value: object, least: float, most: float = math.inf, whole: bool = True) -> None:
    """Require a number of Python's within bounds.

    Raises:
        PipelineValueError: it is beyond them, NaN, or something else.
    """
    permitted = type(value) is int or (not whole and type(value) is float)
    if not (permitted and least <= value <= most):  # type: ignore[operator]
        kind = "an integer" if whole else "a number"
        bounds = f"of at least {least}" if most == math.inf else f"of {least} to {most}"
        raise PipelineValueError(f"Expected {name} to be {kind} {bounds}, got {brief(value)}.")


def check_channels(found: int, permitted: tuple[int, ...]) -> None:
    """Require a channel count out of ``permitted``.

    Raises:
        ChannelsError: with torchvision's wording, and the likely cause.
    """
    if found not in permitted:
        values = " or ".join(str(count) for count in permitted)
        raise ChannelsError(
            f"Input image tensor permitted channel values are {values}, but found {found}. "
            "Images are [..., C, H, W]; for interleaved data, move the channels first: image.permute(2, 0, 1)."
        )
