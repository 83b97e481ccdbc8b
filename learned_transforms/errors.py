"""Exceptions and warnings, and the check of channels that every layer needs.

Every exception also derives from the type that torchvision raises for the same mistake, so code that
catches torchvision's exceptions keeps working.
"""

import reprlib

LONGEST_TEXT = 4000
"""Characters of an error text, at most."""

BRIEF = reprlib.Repr()
BRIEF.maxlevel, BRIEF.maxdict, BRIEF.maxstring, BRIEF.maxother = 3, 6, 80, 80


def brief(value: object) -> str:
    """A value, for an error text: short, however long or deep it is."""
    return f"{BRIEF.repr(value):.300}"


def shortened(text: str) -> str:
    """A text without its middle, where it is too long: what went wrong comes first, the remedy last."""
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


class PaddingError(InputShapeError, RuntimeError, IndexError):
    """More padding by mirrored pixels than the image has, or a fill for another number of channels."""


class PipelineTypeError(LearnedTransformsError, TypeError):
    """What was given as a pipeline is not a sequence of callables."""


class PipelineValueError(LearnedTransformsError, ValueError):
    """A pipeline, or a parameter of one, that cannot be carried out."""


class UnsupportedTransformError(LearnedTransformsError, NotImplementedError):
    """A transform without a learned layer, under ``fallback="error"``."""


class BackendError(LearnedTransformsError, RuntimeError):
    """A backend that was asked for by name cannot run."""


class WeightsError(LearnedTransformsError, ValueError):
    """A weight file that is damaged, foreign, or does not fit the network."""


class UnknownPretrainedError(WeightsError, FileNotFoundError):
    """No shipped weights of that name, and no file at that path."""

    def __str__(self) -> str:
        return str(self.args[0])


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


class MissingExtraError(LearnedTransformsError, ImportError):
    """An optional dependency is needed and not installed."""


class FallbackWarning(UserWarning):
    """Some transforms run in torchvision itself, because no learned layer covers them."""


def check_channels(found: int, permitted: tuple[int, ...]) -> None:
    """Require a channel count out of ``permitted``.

    Raises:
        InputTypeError: with torchvision's wording, and the likely cause.
    """
    if found not in permitted:
        values = " or ".join(str(count) for count in permitted)
        raise InputTypeError(
            f"Input image tensor permitted channel values are {values}, but found {found}. "
            "Images are [..., C, H, W]; for interleaved data, move the channels first: image.permute(2, 0, 1)."
        )
