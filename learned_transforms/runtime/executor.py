"""How an image goes through a pipeline: learned layers where they cover what comes, torchvision between them."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
import torchvision.transforms as v1
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten
from torchvision import tv_tensors
from torchvision.transforms import v2

from learned_transforms.errors import InputTypeError, LearnedTransformsError
from learned_transforms.images.formats import (
    CPU,
    IMAGES,
    Form,
    form_of,
    from_tensor,
    is_picture,
    kind_of,
    place_of,
    shape_of,
    to_tensor,
)
from learned_transforms.images.layout import PIXELS, by_pixels, order_of
from learned_transforms.images.pytree import (
    BESIDE,
    check_alone,
    check_cut,
    check_shapes,
    check_sizes,
    common,
    describe_leaf,
    differ,
    key_of,
    together,
)
from learned_transforms.layers.network import Network
from learned_transforms.modes import is_compiling, observed
from learned_transforms.runtime.builder import ONE_IMAGE
from learned_transforms.runtime.companions import Arrangement, Beside, arrange
from learned_transforms.runtime.pipeline import Pipeline
from learned_transforms.runtime.recorder import Tape
from learned_transforms.runtime.segment import Segment
from learned_transforms.transforms import torch_ops
from learned_transforms.transforms.containers import CONTAINERS, leaves
from learned_transforms.transforms.convert import OWN, UNTOUCHED
from learned_transforms.transforms.identify import Piece
from learned_transforms.transforms.places import RandomZoomOut
from learned_transforms.transforms.registry import Altered, name_of
from learned_transforms.transforms.rng import visible
from learned_transforms.transforms.spec import PILLOWS

READING = (v1.ToTensor, v1.ToPILImage, v2.ToTensor, v2.ToImage, v2.ToPILImage)
"""Transforms of torchvision that make other images of arrays."""

CONVERTERS = (*READING, v1.PILToTensor, v2.PILToTensor, v1.Lambda, v2.Lambda)
"""Those that take arrays themselves."""

MOST_ARRANGEMENTS = 64
"""Of samples made of other parts, how many a pipeline keeps."""

REFUSALS = (TypeError, ValueError, IndexError, RuntimeError, ArithmeticError)
"""What torchvision raises of values that a transform does not take."""


class Run:
    """One call of a pipeline.

    Args:
        pipeline: the pipeline.
        inputs: what it is called with.
        key: signature of a lone image, under which it may be kept how images like it go; None: they are not alike.
        tape: what was drawn before, or where to write what is drawn; None: draw.
        seen: what ``modes.observed`` says of the call; None: it is asked.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        inputs: tuple[Any, ...],
        key: Any = None,
        tape: Tape | None = None,
        seen: bool | None = None,
    ) -> None:
        self.pipeline, self.tape = pipeline, tape
        self.packed = len(inputs) != 1
        self.value: Any = inputs if self.packed else inputs[0]
        self.key = key
        # The value is a tensor that holds an array, which it becomes again unless a transform converts it.
        self.array = False
        self.source: np.ndarray | None = None  # That array, as long as nothing was done to it.
        self.known: Form | None = None  # The form of the value, where layers have made it.
        self.order: int | None = None  # That of torchvision's value in memory, where layers have made ours.
        self.position = 0
        self.observed = observed() if seen is None else seen
        self.reasons: dict[str, str] = {}
        # By position: why torchvision itself ran a transform, or the form of the image with which a segment began.
        self.route: dict[int, str | Form] = {}

    def go(self) -> Any:
        """Run all transforms, and give what they make of the inputs."""
        if not self.observed:
            return self.run()
        with visible():
            return self.run()

    def run(self) -> Any:
        """Segment by segment, and in torchvision between them."""
        pieces = self.pipeline.pieces
        if self.packed and self.pipeline.single:
            # An nn.Sequential takes one input, which torchvision says where it comes to it.
            return self.pipeline.single[0](*self.value)
        image, name = self.value, None
        if not self.packed and isinstance(image, IMAGES):
            name = kind_name(form_of(image))
            self.take_array()
        while self.position < len(pieces):
            reason = OWN if self.pipeline.operating[self.position] else self.layers()
            if reason is not None:
                self.pass_through(pieces[self.position], reason)
                self.position += 1
        if name is not None:
            self.pipeline.routes[name] = self.route
        if self.reasons:
            self.pipeline.tell(self.reasons)
        if self.key is not None and self.leaves_all(place_of(image)):
            self.pipeline.elsewhere.add(kind_of(image))
        return self.as_array() if self.array else self.value

    def leaves_all(self, place: torch.device | None) -> bool:
        """Return whether torchvision ran everything on an image in a place, by transforms that all are its own, and
        told."""
        pipeline = self.pipeline
        if place is None or self.tape is not None or self.observed or any(pipeline.operating):
            return False
        if len(self.route) < len(pipeline.pieces) or any(isinstance(taken, Form) for taken in self.route.values()):
            return False
        elsewhere = pipeline.why_torchvision(place) is not None or pipeline.partial(place)
        if not (self.reasons if elsewhere else set(self.route.values()) == {PILLOWS}):
            return False
        own = (one for piece in pipeline.pieces for one in inner(piece))
        return all(from_torchvision(one) and not isinstance(one, v1.Lambda | v2.Lambda) for one in own)

    def layers(self) -> str | None:
        """Take the value past the segment that begins here; give the reason why torchvision runs what follows it."""
        if self.source is not None and type(self.pipeline.pieces[self.position].transform) is nn.Identity:
            return UNTOUCHED  # It is foreign: what it gives back is the array, whatever its shape.
        form = self.form() if isinstance(self.value, IMAGES) and not self.packed else None
        return self.abreast() if form is None else self.alone(form)

    def take_array(self) -> None:
        """Go on with the tensor of an array, which layers and torchvision's own transforms take."""
        if is_picture(self.value):
            self.source, self.value, self.array = self.value, to_tensor(self.value), True

    def as_array(self) -> Any:
        """Return the opposite."""
        if self.source is not None:
            return self.source
        return tree_map(lambda one: from_tensor(one, "numpy") if type(one) is Tensor else one, self.value)

    def form(self) -> Form | None:
        """Return the form of the value, if it is one image of a form that layers may take."""
        if self.known is not None:
            return self.known
        # An array that a function has made goes through torchvision, which hands it on, until something reads it.
        if isinstance(self.value, np.ndarray) and not isinstance(self.pipeline.pieces[self.position].read, READING):
            return None
        form = form_of(self.value)
        if form is None or not (self.array or self.pipeline.ordered):
            return form
        container = "numpy" if self.array else form.container
        return form._replace(container=container, order=self.order_now((self.value,)))

    def order_now(self, images: Sequence[Any]) -> int:
        """Return the order of images in memory, as torchvision has them; only where something depends on it."""
        if not self.pipeline.ordered:
            return 0
        return order_of(images) if self.order is None else self.order

    def why_torchvision(self, values: Sequence[Any]) -> str | None:
        """Return why no layer should run what comes next on values, whatever it is."""
        if self.tape is not None or self.observed:
            return None
        return self.pipeline.why_torchvision(device_of(values))

    def partial(self, values: Sequence[Any]) -> bool:
        """Return whether layers run only a part of what comes next on values, whatever it is."""
        return self.tape is None and not self.observed and self.pipeline.partial(device_of(values))

    def alone(self, form: Form) -> str | None:
        """Return the same for one image."""
        pipeline, start = self.pipeline, self.position
        reason = self.why_torchvision([self.value])
        if reason is not None:
            return reason
        if self.partial([self.value]):
            segment = pipeline.part(form, start, shape_of(self.value), device_of([self.value]))
        else:
            segment = pipeline.segment(form, start, self.observed)
        if segment.stop == start:
            return segment.reason
        if segment.slight and self.tape is None and not self.observed:
            return PILLOWS
        image = self.value if self.source is None else self.source
        whole = start == 0 and segment.stop == len(pipeline.pieces) and segment.cutting is None
        if whole and self.key is not None and not (self.observed or pipeline.trainable or self.tape):
            pipeline.keep_segment(self.key, image, segment, self.array)
        drawn = None if self.tape is None else self.tape.draw(segment, image, start)
        self.value, self.source = segment(image, drawn), None
        self.known = segment.form if segment.cutting is None else None
        self.array = segment.form.container == "numpy"  # Of other images, a network may make one.
        return self.past(segment)

    def abreast(self) -> str | None:
        """Return the same for nested values: images in layers, what goes with them in torchvision beside them."""
        values, structure = tree_flatten(self.value)
        found = self.arranged(values)
        if isinstance(found, str):
            return found
        segment = found.segment
        if segment.stop > self.position:
            drawing = bool(segment.draws.random) and self.tape is None and not self.observed
            before = torch.get_rng_state() if drawing else None
            try:
                reason = self.carry(found, values, structure)
            except REFUSALS as error:
                if self.tape is None and not self.observed:
                    if before is not None:
                        torch.set_rng_state(before)
                    self.check_as_torchvision(segment, error)
                raise
            if reason is not None:
                return reason
            self.value = tree_unflatten(values, structure)
        return self.past(segment)

    def arranged(self, values: Sequence[Any]) -> Arrangement | str:
        """Return how a sample of such values is taken; or why torchvision takes it. Kept for those like it."""
        alike = self.tape is None and not (self.observed or self.pipeline.ordered)
        key = (self.position, key_of(values)) if alike else None
        if key is None or key[1] is None:
            return self.arrange_sample(values)
        known = self.pipeline.arrangements
        found = known.get(key)
        if found is None:
            found = self.arrange_sample(values)
            if not isinstance(found, str):
                if len(known) >= MOST_ARRANGEMENTS:
                    known.clear()
                known[key] = found
        return found

    def arrange_sample(self, values: Sequence[Any]) -> Arrangement | str:
        """Return the same, worked out."""
        reason = self.why_torchvision(values)
        if reason is None and self.partial(values):
            reason = f"on {device_of(values).type}, layers take lone images and batches of them"
        if reason is not None:
            return reason
        taken = together(values)
        images = [i for i in taken if not isinstance(values[i], BESIDE)]
        # Videos beside images are moved as these are.
        images = [i for i in images if not isinstance(values[i], tv_tensors.Video)] or images
        form = common([form_of(values[i]) for i in images])
        if form is None:
            return f"input {', '.join(describe_leaf(v) for v in values[:3])}"
        order = self.order_now([values[i] for i in images])
        form = form._replace(several=True, arrays=any(isinstance(v, np.ndarray) for v in values), order=order)
        segment, start = self.pipeline.segment(form, self.position, self.observed), self.position
        companion = partial(self.pipeline.companion, segment, start) if not self.observed else lambda form: None
        return arrange(segment, values, taken, images, companion)

    def carry(self, arrangement: Arrangement, values: list[Any], structure: Any) -> str | None:
        """Take images, and all that goes with them, through a segment; give the reason why torchvision must do it.

        Args:
            values: changed in place.
        """
        segment, taken, images = arrangement.segment, arrangement.taken, arrangement.images
        first = values[images[0]]
        if segment.sized is not None and differ(values, taken):
            coin = isinstance(segment.draws.specs[segment.sized], RandomZoomOut)
            if coin or segment.sized not in (0, segment.draws.drawer):
                return "what lies together is of several sizes"
            check_sizes([values[i] for i in taken])
        if segment.cutting is not None:
            check_cut(values)
        beside = Beside(arrangement, values, structure)
        if self.tape is None:
            drawn = segment.draws(first, beside)
        else:
            drawn = self.tape.draw(segment, first, self.position, beside)
        specs = segment.draws.specs
        if specs and specs[0].alike and drawn[0][0] is not False:
            check_shapes([values[i] for i in taken])
        if segment.draws.lonely and segment.draws.alone(drawn[0]):
            check_alone([values[i] for i in taken])
        beside.finish(drawn)
        for i in images:
            values[i] = segment(values[i], drawn)
        return None

    def check_as_torchvision(self, segment: Segment, error: Exception) -> None:
        """Raise what torchvision raises of the value, under equal draws, if it finds another mistake than ``error``.

        A segment looks at the sample as a whole; torchvision comes to one transform, and one value, after the other.
        """
        value = self.value
        try:
            for piece in self.pipeline.pieces[self.position : segment.stop]:
                value = piece.transform(*value) if self.packed else piece.transform(value)
        except REFUSALS as first:
            if not (isinstance(error, LearnedTransformsError) and isinstance(error, type(first))):
                raise first from error

    def past(self, segment: Segment) -> str | None:
        """Go on behind a segment."""
        if segment.stop > self.position:
            self.route[self.position] = segment.taken
            self.order = segment.form.order
        self.position = segment.stop
        return segment.reason

    def pass_through(self, piece: Piece, reason: str) -> None:
        """Have torchvision, or whoever wrote it, run one transform on what Compose would hand it."""
        if isinstance(piece.read, Network):
            raise InputTypeError(f"{ONE_IMAGE} Got {reason}.")
        self.known = None
        operates = self.pipeline.operating[self.position]
        # Pipelines take arrays for images, which containers of torchvision's do not.
        alike = operates or self.array or isinstance(self.value, np.ndarray)
        # Where no layer runs anything, pipelines within would only say so again.
        values = tree_flatten(self.value)[0]
        alike = alike or reason == PILLOWS or self.why_torchvision(values) is not None or self.partial(values)
        found = None if alike else self.pipeline.stand_in(self.position)
        if found is None:
            self.route[self.position] = reason
        empty = isinstance(self.value, Tensor) and not self.value.numel()
        idle = operates or found is not None or reason in (UNTOUCHED, OWN, PILLOWS) or empty
        if not idle:  # Where nothing is computed but by torch itself, nothing is worth telling.
            self.reasons[name_of(piece.transform)] = reason
        if self.pipeline.fallback == "error":
            self.pipeline.tell(self.reasons)
        # torchvision's own transforms leave arrays as they are, so these take the tensor that an array became.
        held = self.array and not own_transform(piece)
        if held:
            self.value, self.array = self.as_array(), False
        self.source = None
        if operates and self.order == PIXELS:
            self.arrange()
        self.order = None
        inputs: Sequence[Any] = self.value if self.packed else (self.value,)
        transform = piece.transform if found is None else found
        if self.tape is not None:
            play = self.tape.operate if operates else self.tape.pass_through
            self.value = play(transform, inputs, self.position)
        elif operates and not self.observed and not is_compiling():
            self.value = torch_ops.run(transform, *inputs)
        else:
            self.value = transform(*inputs)
        if self.array:
            self.array = type(self.value) is Tensor or isinstance(self.value, tuple)
        elif held:
            self.take_array()

    def arrange(self) -> None:
        """Have images in memory as torchvision has them, in whose order noise is drawn."""
        values, structure = tree_flatten(self.value)
        for i in together(values):
            values[i] = by_pixels(values[i])
        self.value = tree_unflatten(values, structure)


def device_of(values: Sequence[Any]) -> torch.device:
    """Return the device of the first tensor; without any, the CPU."""
    return next((value.device for value in values if isinstance(value, Tensor)), CPU)


def own_transform(piece: Piece) -> bool:
    """Return whether a transform is torchvision's own, and so are those in it, and none of them takes arrays."""
    return all(from_torchvision(one) and not isinstance(one, CONVERTERS) for one in inner(piece))


def inner(piece: Piece) -> list[Any]:
    """Return a transform, or those that a container holds."""
    found = [leaf.transform for leaf in leaves(piece.read)] if type(piece.read) in CONTAINERS else [piece.transform]
    return [one.transform if isinstance(one, Altered) else one for one in found]


def from_torchvision(transform: Any) -> bool:
    """Return whether the class of a transform is torchvision's."""
    return type(transform).__module__.startswith("torchvision.transforms.")


def kind_name(form: Form | None) -> str | None:
    """Return the name by which ``explain`` knows images of a form."""
    if form is None:
        return None
    return "pil" if form.container == "pil" else form.dtype
