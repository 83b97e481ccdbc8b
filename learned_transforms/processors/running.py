"""How steps run: for each image a plan of learned layers, bound to its size, that writes into the batch."""

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2

from learned_transforms.errors import EmptyImageError, ProcessorError, ProcessorInputError, UnevenBatchError
from learned_transforms.images.formats import CPU, Call, Form, shape_of, signature
from learned_transforms.installed import resizes_by_lanczos
from learned_transforms.ir.sizing import Size
from learned_transforms.kernels.batches import Rows
from learned_transforms.kernels.cpu import fresh
from learned_transforms.layers.base import Layer, Params
from learned_transforms.layers.given import Framing
from learned_transforms.layers.network import Network
from learned_transforms.layers.pointwise import Lookup
from learned_transforms.processors.patching import Patching
from learned_transforms.processors.steps import Steps
from learned_transforms.runtime.budget import Budget
from learned_transforms.runtime.shipped import require_shipped, shipped
from learned_transforms.transforms.resize import resampled
from learned_transforms.transforms.spec import Step

MOST_BYTES = 2**25
"""Held by calls for the sizes lately seen; beyond that all are forgotten."""

FORMS = {"pil": Form("pil", "uint8"), "torchvision": Form("tensor", "uint8")}
"""The images whose arithmetic a backend has, whatever it is given."""


class Bound(NamedTuple):
    """What runs on images of one size and layout.

    Attributes:
        call: the compiled plan.
        output: (C, H, W) of what it gives.
        resized: (rows, columns) behind the resize.
    """

    call: Call
    output: tuple[int, int, int]
    resized: Size


class Runner:
    """The steps of a processor, on images that are ready for them (see ``inputs.ready``).

    Raises:
        ProcessorError: an interpolation without a layer.
    """

    def __init__(self, steps: Steps) -> None:
        self.steps = steps
        self.table = steps.levels.table(steps.backend)
        self.key: str | None
        self.resize: Layer | None
        self.key, self.resize = (None, None) if steps.resize is None else resize_of(steps)
        layers: list[tuple[Layer, Params]] = [(Framing(), {"fill": steps.square})] if steps.square is not None else []
        layers += [(self.resize, {})] if self.resize is not None else []
        layers += [(Framing(), {"fill": (0.0,)}) for _ in steps.crops]
        # Patches are cut as bytes, and have a network of their own for what becomes of these.
        self.patching = None if steps.patches is None else Patching(steps.patches, self.table)
        if self.table is not None and steps.patches is None:
            layers.append((Lookup(self.table), {}))
        self.network = Network([layer for layer, _ in layers], [params for _, params in layers], "uint8")
        self.dtype = torch.uint8 if self.table is None else torch.float32
        self.known: dict[Any, Bound] = {}
        self.budget = Budget(MOST_BYTES, self.forget)

    def forget(self) -> None:
        """Drop everything that is bound."""
        self.known.clear()
        self.network.relower()

    def bound(self, image: Any) -> Bound:
        """Return what runs on images like this one; kept."""
        key = signature(image)
        found = self.known.get(key)
        if found is None:
            found = self.known[key] = self.bind(image)
        return found

    def bind(self, image: Any) -> Bound:
        shape = shape_of(image)
        needed = self.steps.levels.channels
        if needed is not None and shape[0] != needed:
            raise ProcessorInputError(
                f'Expected images of {needed} channels, as many as there are numbers in "image_mean", got {shape[0]}. '
                'Set "do_convert_rgb" to true, or convert them with .convert("RGB").'
            )
        applied, resized = self.placed((shape[1], shape[2]))
        plan, compiled = self.network.plan(shape, CPU, applied)
        before = compiled.held
        interleaved = self.steps.patches is not None and self.steps.patches.channels_last
        made = Bound(compiled.bind(image, interleaved), plan.result(shape), resized)
        self.budget.spend(compiled.held - before)
        return made

    def placed(self, size: Size) -> tuple[list[Any], Size]:
        """Return what each layer is told for an image of a size, and the size behind the resize."""
        steps = self.steps
        told: list[Any] = []
        if steps.square is not None:
            side = max(size)
            told.append(frame((-((side - size[0]) // 2), -((side - size[1]) // 2)), (side, side)))
            size = side, side
        if steps.resize is not None:
            wanted = steps.resize(size)
            if min(wanted) < 1:
                raise EmptyImageError(
                    f'An image of {size} (rows, columns) would be resized to {wanted}: nothing is left. Change "size".'
                )
            told.append((("size", wanted),))
            size = wanted
        resized = size
        for crop in steps.crops:
            told.append(frame(start_of(size, crop, steps.backend), crop))
            size = crop
        return [*told, *([True] * (len(self.network.params) - len(told)))], resized

    def batch(self, images: Sequence[Any]) -> tuple[Tensor, list[Bound]]:
        """All images as one batch ``[N, C, H, W]``, and what ran on each.

        Raises:
            UnevenBatchError: they differ in size behind all steps.
        """
        bounds = [self.bound(image) for image in images]
        outputs = dict.fromkeys(bound.output for bound in bounds)
        if self.steps.padding is not None:
            return self.padded(images, bounds, list(outputs)), bounds
        if len(outputs) > 1:
            raise uneven(list(outputs))
        return self.filled(images, bounds, next(iter(outputs))), bounds

    def each(self, images: Sequence[Any]) -> tuple[list[Tensor], list[Bound]]:
        """Return the same without a batch, for images of any size."""
        bounds = [self.bound(image) for image in images]
        return [bound.call(image) for image, bound in zip(images, bounds, strict=True)], bounds

    def padded(self, images: Sequence[Any], bounds: Sequence[Bound], outputs: Sequence[tuple[int, int, int]]) -> Tensor:
        """Return a batch with zeros below and to the right of smaller images."""
        size = cast(Any, self.steps.padding).size or tuple(max(o[axis] for o in outputs) for axis in (1, 2))
        channels = {output[0] for output in outputs}
        if len(channels) > 1:
            raise uneven(outputs)
        larger = next((o for o in outputs if o[1] > size[0] or o[2] > size[1]), None)
        if larger is not None:
            raise UnevenBatchError(
                f'Expected images of at most {size} (rows, columns) to pad, got {larger[1:]}. Make "pad_size" larger, '
                'or "size" smaller.'
            )
        return self.filled(images, bounds, (channels.pop(), *size))

    def filled(self, images: Sequence[Any], bounds: Sequence[Bound], size: tuple[int, ...]) -> Tensor:
        """Return a batch of images of ``size`` (C, H, W) and smaller ones."""
        made, rows = fresh((len(images), *size), self.dtype), Rows()
        for image, bound in zip(images, bounds, strict=True):
            rows.add(bound.call(image, later=rows.later if bound.output == size else None))
        rows.write(made)
        return made

    def patches(self, images: Sequence[Any]) -> tuple[Tensor, list[Size]]:
        """Return the patches of all images, and how many there are (rows, columns) of each.

        Raises:
            UnevenBatchError: channels differ. ProcessorInputError: an image cannot be cut into as many whole ones.
        """
        patching = cast(Patching, self.patching)
        bounds = [self.bound(image) for image in images]
        if len({bound.output[0] for bound in bounds}) > 1:
            raise uneven([bound.output for bound in bounds])
        grids = [patching.grid(bound.output) for bound in bounds]
        made, places = patching.room(bounds[0].output[0], [rows * columns for rows, columns in grids], self.dtype)
        for image, bound, place in zip(images, bounds, places, strict=True):
            patching(bound.call(image), place)
        return made, grids


def uneven(outputs: Sequence[tuple[int, int, int]]) -> UnevenBatchError:
    return UnevenBatchError(
        f"Expected images of one size to make a batch of, got {sorted(set(outputs))} (C, H, W). Pass "
        'return_tensors=None for a list, or set "do_center_crop", "do_pad" or another "size".'
    )


def frame(start: Size, size: Size) -> tuple[tuple[str, Size], ...]:
    """Return what a :class:`Framing` is told."""
    return ("start", start), ("size", size)


def start_of(size: Size, crop: Size, backend: str) -> Size:
    """Return where the middle begins; an odd remainder of what is missing goes where the backend leaves it."""
    rows, columns = (
        (n - c) // 2 if n >= c or backend == "pil" else -((c - n) // 2) for n, c in zip(size, crop, strict=True)
    )
    return rows, columns


def resize_of(steps: Steps) -> tuple[str, Layer]:
    """Return the learned layer that resizes as a backend does, and its key.

    Raises:
        ProcessorError: there is none.
        ApproximateWeightsError: its certificate does not say that it is faithful.
    """
    name = steps.interpolation
    if name == "lanczos" and steps.backend == "torchvision" and not resizes_by_lanczos():
        name = "bicubic"  # As transformers does where torchvision is older.
    done = resampled(v2.Resize(1, InterpolationMode(name)), FORMS[steps.backend], "v2", {"size": (2, 2)})
    layers = shipped().layers
    if not isinstance(done, Step) or done.key is None or done.key not in layers:
        why = done if isinstance(done, str) else f"no layer {done.key}"
        raise ProcessorError(f'Expected "resample" by which {steps.backend} can resize, got {name}: {why}.')
    require_shipped([done.key])
    return done.key, layers[done.key]
