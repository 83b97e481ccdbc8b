"""Teachers as they are: answers in mappings, lists and batches, of 16 bits; models in ONNX files; shell commands."""

import shlex
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from learned_transforms.errors import MissingExtraError, PipelineValueError, TeacherError

MOST_CHANNELS = 4
"""Of an array whose channels come first."""

LONGEST_COMMAND = 60
"""Seconds that a command may take for an image."""

LONGEST_WORDS = 300

Found = tuple[Any, str]
"""An image, and how it was found in an answer, in words; empty where it is the answer itself."""


def unpacked(answer: Any) -> Found:
    """Return the image in an answer: the only one in a mapping or a sequence, without the dimension of a batch of one.

    Arrays whose channels come first, and values of 16 bits, become tensors ``[C, H, W]``, the latter of float32.

    Raises:
        TeacherError: a mapping or a sequence of none or of several images.
    """
    words: list[str] = []
    while True:
        if isinstance(answer, Mapping):
            images = {key: value for key, value in answer.items() if is_image(value)}
            if len(images) != 1:
                raise TeacherError(
                    f"Expected one image in the teacher's answer, a mapping with {', '.join(map(str, answer))}; "
                    f"got {len(images)}. Take one: lambda image: teacher(image)[key]."
                )
            words.append(f"the entry {next(iter(images))!r} of a {type(answer).__name__}")
            answer = next(iter(images.values()))
        elif isinstance(answer, list | tuple):
            if len(answer) != 1:
                raise TeacherError(
                    f"Expected one image in the teacher's answer, got a {type(answer).__name__} of {len(answer)}. "
                    "Take one: lambda image: teacher(image)[0]."
                )
            words.append(f"the only entry of a {type(answer).__name__}")
            answer = answer[0]
        elif isinstance(answer, Tensor | np.ndarray) and answer.ndim == 4 and answer.shape[0] == 1:
            words.append("a batch of one image")
            answer = answer[0]
        else:
            break
    if isinstance(answer, np.ndarray) and channels_first(answer):
        words.append("an array whose channels come first, learned as a tensor [C, H, W]")
        answer = torch.from_numpy(np.ascontiguousarray(answer))
    answer, more = with_floats(answer)
    return answer, ", ".join([*words, *more])


def is_image(value: Any) -> bool:
    """Return whether a value holds images: a picture, or numbers of three or four dimensions, perhaps in a list."""
    if isinstance(value, list | tuple):
        return len(value) == 1 and is_image(value[0])
    return isinstance(value, Image.Image) or (isinstance(value, Tensor | np.ndarray) and value.ndim in (3, 4))


def channels_first(array: np.ndarray) -> bool:
    """Return whether an array is rather ``[C, H, W]`` than ``[H, W, C]``."""
    return array.ndim == 3 and array.shape[0] in (1, 3) and array.shape[2] > MOST_CHANNELS


def with_floats(answer: Any) -> tuple[Any, list[str]]:
    """16 bits as float32, which holds each of these values; anything else as it is."""
    if isinstance(answer, Image.Image) and answer.mode.startswith("I;16"):
        answer = np.asarray(answer)
    if isinstance(answer, np.ndarray) and answer.dtype == np.uint16:
        return answer.astype(np.float32), ["16 bits, learned as float32 of the same values"]
    if isinstance(answer, Tensor) and answer.dtype == torch.uint16:
        return answer.to(torch.float32), ["16 bits, learned as float32 of the same values"]
    return answer, []


class Unpacking:
    """A teacher whose answers are the images in the answers of another.

    Attributes:
        words: how the image of the last answer was found in it; empty: it was the answer.
        slow: each answer is that of a program that is run.
    """

    def __init__(self, teacher: Callable[[Any], Any]) -> None:
        self.teacher, self.words = teacher, ""
        self.slow = isinstance(teacher, Command)

    def __call__(self, image: Any) -> Any:
        answer, self.words = unpacked(self.teacher(image))
        return answer


def as_teacher(teacher: Any) -> Unpacking:
    """Return what may be asked: a callable, or an ONNX file by its path.

    Raises:
        PipelineValueError: neither, or a file that is no such model. MissingExtraError: see :class:`OnnxModel`.
    """
    if isinstance(teacher, str | Path):
        if Path(teacher).suffix.lower() != ".onnx":
            raise PipelineValueError(f"Expected a callable, or the path of an .onnx file, as teacher; got {teacher!r}.")
        teacher = OnnxModel(teacher)
    if not callable(teacher):
        raise PipelineValueError(f"Expected a callable as teacher, got {type(teacher).__name__}.")
    return teacher if isinstance(teacher, Unpacking) else Unpacking(teacher)


class Command:
    """A shell command that maps an image file to another, as a teacher of PIL images.

    Args:
        text: the command, with ``{in}`` and ``{out}`` where the names of files belong; quoted as in a shell, which does
            not see it. Files are PNG.

    Raises:
        PipelineValueError: one of the two is missing, or the text cannot be split.
    """

    def __init__(self, text: str) -> None:
        try:
            self.words = shlex.split(text)
        except ValueError as error:
            raise PipelineValueError(f"Expected a command, got {text!r}: {error}.") from error
        missing = [name for name in ("{in}", "{out}") if not any(name in word for word in self.words)]
        if missing:
            raise PipelineValueError(f"Expected a command with {' and '.join(missing)} in it, got {text!r}.")
        self.calls = 0

    def __call__(self, image: Image.Image) -> Image.Image:
        """Return the image that the command writes.

        Raises:
            TeacherError: it cannot be run, fails, takes too long, or writes no image.
        """
        self.calls += 1
        with tempfile.TemporaryDirectory() as folder:
            source, target = Path(folder) / "in.png", Path(folder) / "out.png"
            image.save(source, compress_level=1)
            words = [word.replace("{in}", str(source)).replace("{out}", str(target)) for word in self.words]
            try:
                done = subprocess.run(words, capture_output=True, text=True, timeout=LONGEST_COMMAND, check=False)
            except (OSError, subprocess.TimeoutExpired) as error:
                raise TeacherError(f"The command could not be run on file {self.calls}: {error}.") from error
            if done.returncode or not target.is_file():
                said = (done.stderr or done.stdout).strip()[-LONGEST_WORDS:]
                result = f"exit code {done.returncode}" if done.returncode else "exit code 0, but no file"
                raise TeacherError(
                    f"The command failed on file {self.calls}, of {image.height} x {image.width} pixels: {result}. "
                    f"It said: {said or 'nothing'}"
                )
            try:
                with Image.open(target) as made:
                    return made.copy()
            except (OSError, SyntaxError) as error:
                raise TeacherError(f"The command wrote no image for file {self.calls}: {error}.") from error


class OnnxModel:
    """A model in an ONNX file, of one input and one output, as a teacher of tensors ``[C, H, W]``.

    Batches of one image are added and taken off; an input whose last dimension is 1, 3 or 4 takes channels last.

    Raises:
        MissingExtraError: onnxruntime is not installed.
        PipelineValueError: no readable model of one input and one output.
    """

    def __init__(self, path: str | Path) -> None:
        try:
            onnxruntime = import_module("onnxruntime")
        except ImportError as error:
            raise MissingExtraError(
                "An ONNX file as a teacher needs onnxruntime. Install it with: pip install onnxruntime"
            ) from error
        try:
            self.session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's own exceptions share no type.
            raise PipelineValueError(f"Expected an ONNX model, but {path} is none: {error}") from error
        inputs, outputs = self.session.get_inputs(), self.session.get_outputs()
        if len(inputs) != 1 or len(outputs) != 1:
            raise PipelineValueError(
                f"Expected a model of one input and one output, got {len(inputs)} and {len(outputs)} in {path}."
            )
        self.name, shape = inputs[0].name, inputs[0].shape
        self.dtype = np.uint8 if inputs[0].type == "tensor(uint8)" else np.float32
        self.batched = len(shape) == 4
        self.last = shape[-1] in (1, 3, 4) and shape[-3] not in (1, 3, 4)

    def __call__(self, image: Tensor) -> Any:
        array = image.numpy(force=True)
        if array.dtype != self.dtype:
            raise TypeError(f"The model takes {np.dtype(self.dtype)}, got {array.dtype}.")
        array = np.ascontiguousarray(array.transpose(1, 2, 0)) if self.last else array
        answer = self.session.run(None, {self.name: array[None] if self.batched else array})[0]
        answer = answer[0] if answer.ndim == 4 and len(answer) == 1 else answer
        last = self.last and answer.ndim == 3 and answer.shape[2] in (1, 3, 4)  # Ours take channels last alone.
        return torch.from_numpy(answer.transpose(2, 0, 1).copy() if last else answer)
