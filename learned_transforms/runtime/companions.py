"""What goes with images through a segment, under what was drawn for them: masks in layers, numbers in torchvision."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import keystr, tree_flatten_with_path, tree_unflatten
from torchvision import tv_tensors
from torchvision.transforms.v2._utils import check_type

from learned_transforms.errors import InputShapeError, InputTypeError
from learned_transforms.images.formats import Form, Window, form_of, shape_of
from learned_transforms.images.pytree import BESIDE
from learned_transforms.runtime import masks
from learned_transforms.runtime.draws import Drawn, Effect
from learned_transforms.runtime.segment import Segment
from learned_transforms.transforms.boxes import Numeric
from learned_transforms.transforms.spec import Spec


def drops(spec: Spec) -> bool:
    """Return whether a transform drops some of the objects of a sample."""
    return isinstance(spec, Numeric) and spec.chooses_among is not None


class Arrangement(NamedTuple):
    """How the parts of samples of one kind are taken, each known by its number.

    Attributes:
        segment: of the images.
        taken: those that v2 transforms.
        images: of these, the images.
        channels: of the images.
        masked: there are masks, which may be mirrored less than PIL images.
        layered: of the others: what moves masks and videos.
        moved: what torchvision moves.
    """

    segment: Segment
    taken: Sequence[int]
    images: Sequence[int]
    channels: int
    masked: bool
    layered: Mapping[int, Segment]
    moved: Sequence[int]


def arrange(
    segment: Segment,
    values: Sequence[Any],
    taken: Sequence[int],
    images: Sequence[int],
    companion: Callable[[Form], Segment | None],
) -> Arrangement:
    """Return how samples like one are taken.

    Args:
        segment: of the images.
        values: all of the sample.
        taken: numbers of those that v2 transforms.
        images: of these, the images.
        companion: from a form to the segment that does the same to images of it; None: there is none.
    """
    others = [i for i in taken if i not in images]
    layers = {i: layers_of(segment, values[i], companion) for i in others}
    layered = {i: one for i, one in layers.items() if one is not None}
    masked = any(isinstance(values[i], tv_tensors.Mask) for i in others)
    channels = shape_of(values[images[0]])[0]
    return Arrangement(segment, taken, images, channels, masked, layered, [i for i in others if i not in layered])


def layers_of(segment: Segment, value: Any, companion: Callable[[Form], Segment | None]) -> Segment | None:
    """Return what moves a mask or a video beside the images of a segment; None for what torchvision does.

    Args:
        companion: from a form to the segment that does the same to images of it; None: there is none.
    """
    if isinstance(value, tv_tensors.Video):
        form = form_of(value)
        return None if form is None else companion(form._replace(several=True))
    if not masks.taken(value) or (
        value.ndim < 3 and any(drops(segment.draws.specs[n]) for n in segment.draws.affecting)
    ):
        return None
    return companion(Form("mask", str(value.dtype).removeprefix("torch."), several=True))


class Beside:
    """What goes with the images of one sample.

    Args:
        arrangement: how it is taken.
        values: all of the sample, in the order in which it is flattened; changed in place.
        structure: that of the sample, see ``tree_unflatten``.
    """

    def __init__(self, arrangement: Arrangement, values: list[Any], structure: Any) -> None:
        self.draws, self.values, self.structure = arrangement.segment.draws, values, structure
        self.channels, self.masked = arrangement.channels, arrangement.masked
        self.position = 0
        # Masks that torchvision would have copied.
        self.copied: set[int] = set()
        self.layered, self.moved = dict(arrangement.layered), list(arrangement.moved)

    def sample(self) -> Any:
        """Return the sample in its own structure, as it is now."""
        return tree_unflatten(self.values, self.structure)

    def boxes(self, transform: Any) -> list[Tensor]:
        """Return the boxes, as they are now, for what a transform draws.

        Raises:
            InputTypeError: it needs some, or an image, and there are none.
        """
        try:
            transform.check_inputs(self.values)
        except TypeError as error:
            where = places(self.sample(), Tensor)
            raise InputTypeError(f"{error} In this sample, tensors lie at {where}, and no boxes.") from error
        return [value for value in self.values if isinstance(value, tv_tensors.BoundingBoxes)]

    def advance(self, stop: int, applied: Sequence[Effect], window: Window | None) -> None:
        """Apply the transforms before number ``stop``, out of those of the segment that affect what goes with
        images."""
        pending: list[Effect] = []
        for number, one in enumerate(applied):
            position, spec, _ = one
            if not self.position <= position < stop:
                continue
            if isinstance(spec, Numeric) and spec.chooses_among is not None:
                self.move(pending, window)
                pending = []
                self.select(spec, spec.chooses_among, applied[:number], window)
            else:
                pending.append(one)
        self.move(pending, window)
        self.position = stop

    def move(self, applied: Sequence[Effect], window: Window | None) -> None:
        """Have torchvision apply transforms to what it moves."""
        for i in self.moved:
            self.values[i] = self.played(self.values[i], applied, window)

    def played(self, value: Any, applied: Sequence[Effect], window: Window | None) -> Any:
        """Return what torchvision makes of a value; of plain tensors the image alone is transformed."""
        for position, spec, outcome in applied:
            if type(value) is Tensor:
                break
            transform = spec.transform
            if check_type(value, transform._transformed_types):
                cut = window if position == self.draws.drawer else None
                value = transform.transform(value, spec.v2_params(outcome, cut, value, self.channels))
        return value

    def select(self, spec: Numeric, kind: type, before: Sequence[Effect], window: Window | None) -> None:
        """Drop objects: their boxes or keypoints, labels and masks.

        Args:
            kind: the class of the objects.
            before: what was applied to masks until then.

        Raises:
            InputShapeError: there are no objects, or not as many labels.
        """
        labels, kept = self.chosen(spec, kind)
        masked = kind is tv_tensors.BoundingBoxes
        for i, value in enumerate(self.values):
            if i in self.layered and any(value is label for label in labels or ()):
                # It becomes a plain tensor, of which no transform takes notice.
                del self.layered[i]
                self.moved.append(i)
                value = self.played(value, before, window)
                labels = tuple(value if label is self.values[i] else label for label in labels)
            if masked and i in self.layered and isinstance(value, tv_tensors.Mask) and value.shape[0] == len(kept):
                self.copied.add(i)
                if not kept.all():
                    # The same as indexing, which takes value by value.
                    some = value.as_subclass(Tensor).index_select(0, kept.nonzero()[:, 0])
                    self.values[i] = tv_tensors.wrap(some, like=value)
            elif isinstance(value, BESIDE) or any(value is label for label in labels or ()):
                self.values[i] = spec.transform.transform(value, {"valid": kept, "labels": labels})

    def chosen(self, spec: Numeric, kind: type) -> tuple[Any, Tensor]:
        """Return the labels of the objects of a class, and tell which objects are kept."""
        sample, transform = self.sample(), spec.transform
        try:
            labels = transform._labels_getter(sample)
            labels = (labels,) if isinstance(labels, Tensor) else labels
            looked_at: Any = next((value for value in self.values if isinstance(value, kind)), None)
            if looked_at is None or not (labels is None or fitting(labels, looked_at.shape[0])):
                transform(sample)  # It refuses, in its own words.
        except ValueError as error:
            where = f"{kind.__name__} lie at {places(sample, kind)}, other tensors at {places(sample, Tensor, kind)}"
            raise InputShapeError(f"{type(transform).__name__}: {error} In this sample, {where}.") from error
        return labels, spec.chosen(looked_at)

    def finish(self, drawn: Drawn) -> None:
        """Apply what is left of the transforms, and move masks and videos by all of them."""
        applied = self.draws.effects(self.draws.affecting, drawn[0])
        if applied:
            self.advance(len(self.draws.leaves), applied, drawn[1])
        for i, layers in self.layered.items():
            masked = isinstance(self.values[i], tv_tensors.Mask)
            if masked:
                self.values[i] = self.mask(i, layers, drawn, applied)
            else:
                self.values[i] = layers(self.values[i], layers.draws.retold(drawn, self.draws))

    def mask(self, i: int, layers: Segment, drawn: Drawn, applied: Sequence[Effect]) -> Any:
        """Return a mask behind all transforms."""
        mask, window = self.values[i], drawn[1]
        plain = mask.as_subclass(Tensor)
        carried = masks.carried(plain)
        geometric = any(spec.geometric for _, spec, _ in applied)
        moved = layers(carried, layers.draws.retold(drawn, self.draws)) if geometric else carried
        if moved is not carried:
            plain = masks.uncarried(moved, plain.dtype)
            if masks.rounded(plain):
                return self.played(mask, [one for one in applied if not drops(one[1])], window)
        elif i in self.copied:
            plain = plain.clone(memory_format=torch.contiguous_format)
        if geometric or i in self.copied:
            mask = tv_tensors.wrap(plain, like=mask)
        return self.played(mask, [one for one in applied if one[1].converting], window)


def places(sample: Any, kind: type, other: type | None = None) -> str:
    """Return where values of a kind, and not of another, lie in a sample, in words."""
    leaves = [(path, leaf) for path, leaf in tree_flatten_with_path(sample)[0] if isinstance(leaf, kind)]
    found = [keystr(path) for path, leaf in leaves if other is None or not isinstance(leaf, other)]
    return ", ".join(found) or "no key"


def fitting(labels: Any, count: int) -> bool:
    """Return whether there is a tensor, or several, of a label for each object."""
    return isinstance(labels, tuple | list) and all(
        isinstance(one, Tensor) and one.ndim > 0 and len(one) == count for one in labels
    )
