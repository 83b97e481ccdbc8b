"""What goes with images through a segment, under what was drawn for them: masks in layers, numbers in torchvision."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from learned_transforms import masks
from learned_transforms.catalog import GEOMETRIC
from learned_transforms.containers import CONTAINERS
from learned_transforms.draws import Outcome
from learned_transforms.errors import InputShapeError
from learned_transforms.images import Form, Window, form_of
from learned_transforms.nested import size_of
from learned_transforms.replay import params_of_v2, played
from learned_transforms.segment import Drawn, Segment
from learned_transforms.steps import NUMERIC

SELECTING: dict[type, tuple[type, Callable[[Any, Tensor], Tensor]]] = {
    v2.SanitizeBoundingBoxes: (
        tv_tensors.BoundingBoxes,
        lambda t, boxes: v2.functional.sanitize_bounding_boxes(boxes, min_size=t.min_size, min_area=t.min_area)[1],
    ),
    v2.SanitizeKeyPoints: (tv_tensors.KeyPoints, lambda t, points: v2.functional.sanitize_keypoints(points)[1]),
}
"""Transforms that drop some of the objects of a sample: what they look at, and how they choose."""

CONVERTING = (v2.ToDtype, v2.ConvertImageDtype, v2.ToPureTensor, v2.RandomErasing)
"""Transforms that do more to masks than to move pixels, or warn that they do nothing."""

AFFECTING = (*GEOMETRIC, *CONVERTING, *NUMERIC)
"""Transforms that do anything to what is no image."""

class Beside:
    """What goes with the images of one sample.

    Args:
        segment: of the images.
        values: all of the sample, in the order in which it is flattened; changed in place.
        taken: which of them v2 transforms, the images aside.
        sample: the sample in its own structure, made of such values.
        companion: from a form to the segment that does the same to images of it; None: there is none.
        channels: of the images.
    """

    def __init__(
        self,
        segment: Segment,
        values: list[Any],
        taken: Sequence[int],
        sample: Callable[[Sequence[Any]], Any],
        companion: Callable[[Form], Segment | None],
        channels: int,
    ) -> None:
        self.segment, self.values, self.sample, self.channels = segment, values, sample, channels
        self.position = 0
        self.selecting = any(type(leaf.transform) in SELECTING for leaf in segment.leaves)
        # Masks that torchvision would have copied.
        self.copied: set[int] = set()
        chosen = {i: self.layers_of(values[i], companion) for i in taken}
        self.layered = {i: one for i, one in chosen.items() if one is not None}
        self.moved = [i for i in taken if i not in self.layered]

    def layers_of(self, value: Any, companion: Callable[[Form], Segment | None]) -> Segment | None:
        """What moves a mask or a video; None for what torchvision does."""
        if isinstance(value, tv_tensors.Video):
            form = form_of(value)
            return None if form is None else companion(form._replace(several=True))
        if not masks.taken(value) or (self.selecting and value.ndim < 3):
            return None
        return companion(Form("mask", str(value.dtype).removeprefix("torch."), several=True))

    def boxes(self) -> list[Tensor]:
        """The boxes, as they are now."""
        return [value for value in self.values if isinstance(value, tv_tensors.BoundingBoxes)]

    def advance(self, stop: int, outcomes: Mapping[int, Outcome], window: Window | None) -> None:
        """Apply the transforms before number ``stop``."""
        for position in range(self.position, stop):
            transform = self.segment.leaves[position].transform
            outcome = self.segment.applied(position, outcomes)
            if outcome is False or type(transform) not in AFFECTING:
                continue
            if type(transform) in SELECTING:
                self.select(transform)
                continue
            own = None if position else window
            for i in self.moved:
                self.values[i] = self.played(transform, self.values[i], outcome, own)
        self.position = stop

    def played(self, transform: Any, value: Any, outcome: Outcome, window: Window | None) -> Any:
        """What torchvision makes of a value; of plain tensors the image alone is transformed."""
        if type(value) is Tensor:
            return value
        shape = (self.channels, *size_of(value))
        return played(transform, value, params_of_v2(transform, outcome, window, shape))

    def select(self, transform: Any) -> None:
        """Drop objects: their boxes or keypoints, labels and masks.

        Raises:
            InputShapeError: as many labels as objects were expected.
        """
        kind, choose = SELECTING[type(transform)]
        labels = transform._labels_getter(self.sample(self.values))
        labels = (labels,) if isinstance(labels, Tensor) else labels
        looked_at = next((value for value in self.values if isinstance(value, kind)), None)
        if looked_at is None or not (labels is None or fitting(labels, len(looked_at))):
            # It refuses, in its own words.
            transform(self.sample(self.values))
            raise InputShapeError(f"Expected labels for each of {type(transform).__name__}'s objects.")
        kept = choose(transform, looked_at)
        params = {"valid": kept, "labels": labels}
        for i, value in enumerate(self.values):
            if i in self.layered and isinstance(value, tv_tensors.Mask) and len(value) == len(kept):
                self.copied.add(i)
                if not kept.all():
                    # The same as indexing, which takes value by value.
                    some = value.as_subclass(Tensor).index_select(0, kept.nonzero()[:, 0])
                    self.values[i] = tv_tensors.wrap(some, like=value)
            else:
                self.values[i] = transform.transform(value, params)

    def finish(self, drawn: Drawn) -> None:
        """Apply what is left of the transforms, and move masks and videos by all of them."""
        outcomes = dict(zip(self.segment.random, drawn[0], strict=True))
        self.advance(len(self.segment.leaves), outcomes, drawn[1])
        for i, layers in self.layered.items():
            masked = isinstance(self.values[i], tv_tensors.Mask)
            self.values[i] = self.mask(i, layers, drawn) if masked else layers(self.values[i], drawn)

    def mask(self, i: int, layers: Segment, drawn: Drawn) -> Any:
        """A mask behind all transforms."""
        mask, window, outcomes = self.values[i], drawn[1], dict(zip(self.segment.random, drawn[0], strict=True))
        applied = [(n, leaf.transform, self.segment.applied(n, outcomes)) for n, leaf in enumerate(self.segment.leaves)]
        used = [(n, t, what) for n, t, what in applied if what is not False and type(t) in AFFECTING]
        plain = mask.as_subclass(Tensor)
        carried = masks.carried(plain)
        geometric = any(type(transform) in GEOMETRIC for _, transform, _ in used)
        moved = layers(carried, drawn) if geometric else carried
        if moved is not carried:
            plain = masks.uncarried(moved, plain.dtype)
            if masks.rounded(plain):
                for n, transform, what in used:
                    mask = self.played(transform, mask, what, None if n else window)
                return mask
        elif i in self.copied:
            plain = plain.clone(memory_format=torch.contiguous_format)
        if geometric or i in self.copied:
            mask = tv_tensors.wrap(plain, like=mask)
        for _, transform, what in used:
            if type(transform) in CONVERTING:
                mask = self.played(transform, mask, what, None)
        return mask


def fitting(labels: Any, count: int) -> bool:
    """Whether there is a tensor, or several, of a label for each object."""
    return isinstance(labels, tuple | list) and all(
        isinstance(one, Tensor) and one.ndim > 0 and len(one) == count for one in labels
    )
