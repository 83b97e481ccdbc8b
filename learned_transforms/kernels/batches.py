"""Images that become one batch: native code runs on all of them at once, over threads, and writes into their rows."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from learned_transforms.errors import InputTypeError, UnevenBatchError
from learned_transforms.images.formats import Window
from learned_transforms.kernels import cpu
from learned_transforms.kernels.cuda import backend as cuda
from learned_transforms.kernels.memory import TORCH
from learned_transforms.modes import plain_shape


class Kind(NamedTuple):
    """What all rows of a batch share: whether they are arrays, and what of each is the same."""

    array: bool
    size: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device


class Rows:
    """The rows of a batch in the making, in order: values, and native calls that are put off until all are known.

    Args:
        given: the batch that the images are rows of; None: each lies by itself.
    """

    def __init__(self, given: Tensor | None = None) -> None:
        self.given = given
        self.calls: list[tuple[Any, int, Window | None, Sequence[float]]] = []
        self.memory: list[Any] = []  # What they read: it must live as long.
        self.places: list[int] = []
        self.values: dict[int, Any] = {}

    def later(self, call: Any, source: int, memory: Any, window: Window | None, factors: Sequence[float]) -> None:
        """The next row is what a native call makes of an image; see ``formats.Later``. None: its memory is held."""
        self.places.append(len(self.places) + len(self.values))
        self.calls.append((call, source, window, factors))
        self.memory.append(memory)

    def reading(self, image: Tensor, last: Tensor) -> Any:
        """Return the native call that was put off last, if it reads an image where it lies, and may read ``last``, of
        the same storage, too; None: it does not."""
        call, source, *_ = self.calls[-1]
        if isinstance(call, cuda.Bound) or self.memory[-1] is not image or source != image.data_ptr():
            return None
        needed = call.reach + last.element_size() * last.storage_offset()
        return call if last.untyped_storage().nbytes() >= needed else None

    def add(self, value: Any) -> None:
        """The next row is a value; None: it was put off."""
        if value is not None:
            self.values[len(self.places) + len(self.values)] = value

    def batch(self) -> Any:
        """All rows as one tensor, or array; of values that hold several, as many of them.

        Raises:
            UnevenBatchError: they differ in size.
            InputTypeError: they are neither tensors nor arrays, or differ in type.
            PipelineValueError: what was drawn for an image does not fit what runs on it.
        """
        launched = [isinstance(call, cuda.Bound) for call, *_ in self.calls]
        if any(launched):
            made = cuda.run_all(self.calls, self.memory, self.given) if all(launched) and not self.values else None
            if made is not None:
                return made
            self.launch()
        if not self.calls:
            return tree_map(stacked, *self.values.values())
        kinds = [kind_of_call(call) for call in dict.fromkeys(call for call, _, _, _ in self.calls)]
        kind = common([*kinds, *map(kind_of, self.values.values())])
        made = cpu.fresh((len(self.places) + len(self.values), *kind.size), kind.dtype)
        self.write(made)
        return made.numpy() if kind.array else made

    def launch(self) -> None:
        """Have a GPU make its rows one by one, where they do not go together."""
        rows = list(zip(self.places, self.calls, self.memory, strict=True))
        for place, (call, _, window, factors), image in rows:
            if isinstance(call, cuda.Bound):
                self.values[place] = call(image, window, factors)
        self.values = dict(sorted(self.values.items()))
        left = [row for row in rows if row[0] not in self.values]
        self.places, self.calls = [place for place, _, _ in left], [call for _, call, _ in left]
        self.memory = [image for _, _, image in left]

    def write(self, made: Tensor) -> None:
        """Fill memory ``[N, ...]``, contiguous; a value smaller than its row has zeros below and to the right.

        Raises:
            PipelineValueError: what was drawn for an image, or comes of it, does not fit.
        """
        step = made.nbytes // len(made)
        calls = zip(self.places, self.calls, strict=True)
        cpu.run_all([(call, at, place * step, window, factors) for place, (call, at, window, factors) in calls], made)
        for place, value in self.values.items():
            row, plain = made[place], tensor_of(value)
            if plain.shape != row.shape:
                row.zero_()
                row = row[..., : plain.shape[-2], : plain.shape[-1]]
            row.copy_(plain)


def tensor_of(value: Any) -> Tensor:
    """Return the values of a row."""
    return torch.from_numpy(np.ascontiguousarray(value)) if isinstance(value, np.ndarray) else value.as_subclass(Tensor)


def kind_of(value: Any) -> Kind:
    """Return the kind of a row.

    Raises:
        InputTypeError: it is neither a tensor nor an array.
    """
    if not isinstance(value, Tensor | np.ndarray):
        raise InputTypeError(
            f"Expected a pipeline that gives tensors or arrays, to make a batch of, got {type(value).__name__}. "
            "Images become tensors by v2.ToImage()."
        )
    plain = tensor_of(value)
    return Kind(isinstance(value, np.ndarray), plain_shape(plain), plain.dtype, plain.device)


def kind_of_call(call: Any) -> Kind:
    """Return the kind of a row that a native call writes; only arrays have the channels of a pixel side by side."""
    return Kind(call.interleaved, call.memory, TORCH[call.output[3]], torch.device("cpu"))


def common(kinds: Iterable[Kind]) -> Kind:
    """Return the kind of all rows.

    Raises:
        UnevenBatchError, InputTypeError: they are of several.
    """
    first, *others = dict.fromkeys(kinds)
    for other in others:
        if other.size != first.size:
            one, two = sorted((first.size, other.size))
            raise UnevenBatchError(
                f"Expected images of one size to make a batch of, got {one} and {two}. Add a Resize to a fixed size, "
                'such as Resize((224, 224)), or a CenterCrop; for gray images among others .convert("RGB").'
            )
        raise InputTypeError(
            f"Expected images of one type to make a batch of, got {in_words(first)} and {in_words(other)}. Convert "
            "them before, or let the pipeline do so: ToImage(), and ToDtype(torch.float32, scale=True)."
        )
    return first


def in_words(kind: Kind) -> str:
    return f"{'an array' if kind.array else 'a tensor'} of {kind.dtype} on {kind.device}"


def stacked(*values: Any) -> Any:
    """Return a batch of rows that are all there.

    Raises:
        UnevenBatchError, InputTypeError: they are of several kinds.
    """
    return np.stack(values) if common(map(kind_of, values)).array else torch.stack(values)
