"""Consecutive transforms that run as one network, and what they do to one image."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from learned_transforms.errors import PipelineValueError, SingularMatrixError
from learned_transforms.images.formats import (
    CLASSES,
    MARKED,
    Call,
    Form,
    Later,
    Window,
    from_tensor,
    kind_of,
    shape_of,
    signature,
    to_tensor,
)
from learned_transforms.ir.ops import Shape
from learned_transforms.kernels.batches import Rows
from learned_transforms.layers.base import Layer
from learned_transforms.layers.geometry import Cropping, Flipping, Padding, Windowing
from learned_transforms.layers.given import Cutting, Posterizing
from learned_transforms.layers.network import Network
from learned_transforms.layers.pointwise import Mixing
from learned_transforms.layers.resize import Picking
from learned_transforms.layers.warp import Replacing, Warping
from learned_transforms.runtime.beginning import Beginning
from learned_transforms.runtime.budget import Budget
from learned_transforms.runtime.draws import Drawn, Draws
from learned_transforms.runtime.specialize import Owner, Specialized, Specializer, plain
from learned_transforms.transforms.containers import Leaf
from learned_transforms.transforms.metadata import carried_info
from learned_transforms.transforms.rng import toss
from learned_transforms.transforms.spec import Outcome

MOST_LANES = 32
"""Signatures, and kinds, of images that a segment remembers: few, and only where two images of one follow each other.
What is kept lies between results that are freed, so that the next ones may need fresh memory."""

MOST_CALLS = 1024
"""Outcomes of draws for which a signature remembers what runs."""

MOST_PROGRAMS = 1024
"""Outcomes of draws for which a kind of images remembers its programs."""

BYTES_OF_CALL = 2**11
"""Of what runs on images of one signature, besides what native code holds, about."""


def slight(layer: Layer) -> bool:
    """Return whether Pillow is faster at what a layer does to its images: copies of pixels, or one gray channel of
    them; torchvision does not have it displace pixels."""
    return (
        isinstance(layer, Picking | Flipping | Cropping | Windowing | Padding | Replacing)
        or (isinstance(layer, Mixing) and len(layer.weight) == 1)
        or (isinstance(layer, Warping) and layer.nearest and layer.form == "cut")
    )


class Segment:
    """Consecutive transforms that run as one network.

    Args:
        network: their layers.
        leaves: the transforms; of those that look at the image before they draw, only the first, or such as draw from
            the size that those before leave.
        given: for each of them, what images it gets.
        drawer: position of the one whose window is cut out of the image first; what comes before maps pixels by
            themselves.
        owners: for each layer, which transform it belongs to.
        stop: index, in the pipeline, past the last.
        taken, form: forms of the input and of the output.
        cutting: what makes several images of one, at its end; None: nothing does.
        reason: why transform ``stop`` is not part of it and runs in torchvision; None: another segment begins there.
        backend: the name of what runs it, or ``"auto"``.
        trainable: leave out every rounding, so that gradients pass.
        slight: Pillow is faster at all of it, on its own images.
        budget: what compiled calls may hold.
    """

    def __init__(
        self,
        network: Network,
        leaves: Sequence[Leaf],
        given: Sequence[Form],
        drawer: int | None,
        owners: Sequence[Owner],
        stop: int,
        taken: Form,
        form: Form,
        cutting: Cutting | None,
        reason: str | None,
        backend: str,
        trainable: bool,
        budget: Budget,
    ) -> None:
        self.budget, self.network = budget, network
        self.stop, self.taken, self.form, self.reason = stop, taken, form, reason
        self.cutting, self.trainable, self.owners = cutting, trainable, owners
        self.draws = Draws(leaves, given, drawer)
        self.specialize = Specializer(network, self.draws, owners, taken, form, backend, trainable)
        self.beginning = Beginning(network, self.draws, owners, taken)
        self.inplace, self.overwriting = self.beginning.inplace, self.beginning.overwriting
        specs = self.draws.specs
        # The first of them that asks for one size of all that lies together.
        self.sized = next((n for n, spec in enumerate(specs) if spec.same_size), None)
        layers = zip(network.members, owners, strict=True)
        self.posterizing = [position for layer, (position, _) in layers if isinstance(layer, Posterizing)]
        pictures = taken.container == form.container == "pil" and not taken.several
        chosen = backend != "auto" or trainable  # by name, or for its gradients
        self.slight = pictures and not chosen and bool(network.members) and all(map(slight, network.members))
        self.altering = any(spec.alters_info for spec in specs)
        # Whatever is drawn for an image, nothing but what is compiled runs on it.
        self.compiled = not (self.beginning.acts or self.posterizing or self.draws.factored)
        self.lanes: dict[Any, Lane] = {}
        # By kind of images: what runs on those of any signature; and the signature of the last.
        self.roaming: dict[Any, Lane] = {}
        self.last: Any = None

    def __call__(self, image: Any, drawn: Drawn | None = None) -> Any:
        """Draw, unless that was done before, and run on an image, or a batch; where it is cut, a tuple comes back.

        Of an array, a tensor comes back.
        """
        lane = self.lane(image)
        made = lane.run(image) if drawn is None else lane.any_image(image, drawn)
        if isinstance(made, np.ndarray):
            made = to_tensor(made)
        if self.cutting is None:
            return made
        parts = self.cutting(made.as_subclass(Tensor) if isinstance(made, Tensor) else made)
        return tuple(
            from_tensor(p, self.form.container) if self.form.container in MARKED.values() else p for p in parts
        )

    def unbind(self) -> None:
        """Drop what runs on images of one signature, at once: it refers to itself, and would wait for the garbage
        collector."""
        for lane in self.lanes.values():
            lane.calls.clear()
        self.lanes.clear()

    def release(self) -> None:
        """Drop all that was compiled."""
        self.unbind()
        for lane in self.roaming.values():
            lane.programs.clear()
            lane.calls.clear()
        self.roaming.clear()
        self.network.relower()

    def lane(self, image: Any) -> "Lane":
        """Return what runs on images like this one; calls are kept for a signature that comes twice in a row, or
        first."""
        key = signature(image)
        lane = self.lanes.get(key)
        if lane is not None:
            return lane
        kind = kind_of(image)
        roaming = self.roaming.get(kind)
        if roaming is not None and key != self.last:
            self.last = key
            return roaming
        if roaming is None:
            roaming = Lane(self, image)
            if self.trainable:
                return roaming
            if len(self.roaming) >= MOST_LANES:
                self.roaming.clear()
            self.roaming[kind] = roaming
        return self.keep(key, image, roaming)

    def keep(self, key: Any, image: Any, roaming: "Lane") -> "Lane":
        """Return a lane of its own for the signature of an image, whose kind has another."""
        if len(self.lanes) >= MOST_LANES:
            self.lanes.clear()
        lane = self.lanes[key] = Lane(self, image, roaming)
        return lane

    def check_smooth(self) -> None:
        """Trainable weights give levels that are not rounded: no PIL image and no other transform takes them.

        Of several images, only their dtype says what their values are.
        """
        bound = self.form.container == "pil" or self.form.several or self.reason is not None
        if self.trainable and self.form.dtype == "uint8" and bound:
            raise PipelineValueError(
                "Trainable weights leave levels unrounded, so an unfrozen pipeline must convert to float before it "
                "gives a PIL image or several images, or goes on in torchvision. Add ToImage and "
                "ToDtype(torch.float32, scale=True)."
            )

    def noted(self, image: Any, outcomes: Sequence[Outcome]) -> tuple[Outcome, ...]:
        """Outcomes, with a note for layers that must know of pixels that are no finite numbers, or have gradients."""
        if not isinstance(image, Tensor) or (image.isfinite().all() and not image.requires_grad):
            return tuple(outcomes)
        drawn = zip(self.draws.random, outcomes, strict=True)
        return tuple((("nan", True),) if p in self.posterizing and what is True else what for p, what in drawn)

    def from_params(self, entries: Sequence[Any], image: Any) -> Drawn:
        """Read what was drawn for an image out of entries of params, see ``Draws.from_params``."""
        outcomes, window = self.draws.from_params(entries)
        if window is not None:
            self.beginning.check_window(window, shape_of(image))
        return outcomes, window

    def program(self, image: Any, shape: Shape, outcomes: Sequence[Outcome]) -> Specialized:
        """Compile for images like this one, see :class:`Specializer`."""
        self.check_smooth()
        return self.specialize(image, shape, outcomes)


class Lane:
    """A segment, for images of one kind, or of one signature: what is the same for all of them is worked out here.

    Args:
        image: one of them.
        roaming: the lane of all images of its kind, for a lane of those of its signature, which keeps calls.
    """

    def __init__(self, segment: Segment, image: Any, roaming: "Lane | None" = None) -> None:
        self.segment, self.draws, self.specialize = segment, segment.draws, segment.specialize
        self.kept, self.begins = roaming is not None, segment.beginning.acts
        self.calls: dict[Any, Call] = {}
        self.programs: dict[Any, Specialized] = {} if roaming is None else roaming.programs
        self.subclass = isinstance(image, Tensor) and type(image) is not Tensor
        # Its results can be rows of a batch, and images may be run later: nothing writes into them meanwhile.
        single = not isinstance(image, Tensor) or image.ndim == 3
        stackable = segment.form.container != "pil" and not (segment.inplace or segment.overwriting is not None)
        self.patient = single and stackable
        # What comes out of the network is what the pipeline gives, as it is.
        # Arrays of arrays are made where these were taken apart, see `of_array`.
        arrays = segment.taken.container == segment.form.container == "numpy"
        self.kind = CLASSES.get(segment.form.container)
        self.bare = (segment.form.container == "tensor" or arrays) and bool(segment.owners)
        direct = self.draws.tossing and self.bare and not self.subclass and not segment.posterizing
        self.run = self.whole_image() if direct else self.any_image

    def whole_image(self) -> Callable[[Any], Any]:
        """Draw, then run: where nothing is left to do but to toss coins and call what is compiled."""
        calls, chances, first = self.calls, self.draws.chances, self.first

        def run(image: Any) -> Any:
            coins = toss(chances) if chances else ()
            call = calls.get(coins)
            return first(coins, coins, image) if call is None else call(image)

        return run

    def first(
        self,
        key: Any,
        outcomes: tuple[Outcome, ...],
        image: Any,
        window: Window | None = None,
        factors: Sequence[float] = (),
        later: Later | None = None,
    ) -> Any:
        """Run on an image for which nothing is bound: of a size, or under a draw, that was not there lately."""
        segment, specialize, shape = self.segment, self.specialize, shape_of(image)
        if window is not None:
            shape = shape[0], *window[2:]
        made = self.programs.get(outcomes)
        if made is None:
            made = segment.program(image, shape, outcomes)
            # Drawn from what those before leave, the next draw is another.
            if made.plan.size is None and not (self.draws.varying or segment.trainable):
                if len(self.programs) >= MOST_PROGRAMS:
                    self.programs.clear()
                self.programs[outcomes] = made
        before = made.compiled.held
        if self.kept or made.plan.size is not None or made.plan.idles or made.views:
            call, keeps = specialize.bind(made, image, shape, window is not None), self.kept
        else:
            roaming = made.compiled.roam(image, specialize.interleaved(made, image))
            call, keeps = roaming or specialize.bind(made, image, shape, window is not None), roaming is not None
        if keeps and not self.draws.varying:
            segment.budget.keep()
            if self.kept:
                segment.budget.spend(made.compiled.held - before + BYTES_OF_CALL)
            if len(self.calls) >= MOST_CALLS:
                self.calls.clear()
            self.calls[key] = call
        return call(image, window, factors, later)

    def any_image(self, image: Any, drawn: Drawn | None = None, later: Later | None = None) -> Any:
        """Draw, unless that was done before, and run, in any case; None: ``later`` took what is to run."""
        if drawn is None:
            try:
                drawn = self.draws(image)
            except SingularMatrixError as error:
                self.specialize.check_until(error.position, image, error.outcomes)
                raise
        given = image.as_subclass(Tensor) if self.subclass else image
        plain = given
        if self.begins or drawn[1] is not None:
            plain, drawn = self.segment.beginning(given, drawn)
        outcomes, window = drawn
        factors: tuple[float, ...] = ()
        if self.draws.factored:
            outcomes, factors = self.draws.split(outcomes, given)
        if self.segment.posterizing:
            outcomes = self.segment.noted(plain, outcomes)
        key = outcomes, window is None
        call = self.calls.get(key)
        if call is not None:
            made = call(plain, window, factors, later)
        elif self.segment.owners:
            made = self.first(key, outcomes, plain, window, factors, later)
        else:
            return self.contain(image, drawn)
        if made is given:
            return self.contain(image, drawn)
        if self.bare or made is None:
            return made
        if self.kind is not None and isinstance(made, Tensor):
            return made.as_subclass(self.kind)
        return self.wrap(made, image, drawn)

    def row(self, image: Any, later: Later, drawn: Drawn | None = None) -> Any:
        """Return what a single call gives, for a row of a batch; None: ``later`` took what is to run."""
        return self.as_array(self.any_image(image, drawn, later))

    def rows(self, images: Tensor, rows: Rows) -> bool:
        """Draw for all images of a batch ``[N, C, H, W]`` and have them be the next rows; False: nothing is drawn, and
        they must come one by one."""
        drawn = self.draws.many(shape_of(images[0]), len(images))
        if drawn is None:
            return False
        source, step = images.data_ptr(), images.stride(0) * images.element_size()
        known: dict[Any, Any] = {}
        for number, (outcomes, window) in enumerate(drawn):
            key = outcomes, window is None
            call = known.get(key)
            if call is not None:
                rows.later(call, source + number * step, None, window, ())
                continue
            image = images[number]
            made = self.row(image, rows.later, (outcomes, window))
            rows.add(made)
            if made is None and self.segment.compiled:
                known[key] = rows.reading(image, images[-1])
        return True

    def entry(self, array: bool) -> Callable[[Any], Any]:
        """Return what takes images, or arrays, that come alone."""
        return self.of_array if array else self.run

    def of_array(self, image: Any) -> Any:
        """Run on an array, which one comes back from unless it is converted."""
        return self.as_array(self.run(image))

    def as_array(self, made: Any) -> Any:
        """Return the array that a result is, if the pipeline gives arrays."""
        whole = self.segment.form.container == "numpy" and isinstance(made, Tensor)
        return from_tensor(made, "numpy") if whole else made

    def wrap(self, made: Any, image: Any, drawn: Drawn) -> Any:
        """Return the result in its container, with what a PIL image carries besides its pixels."""
        made = to_tensor(made) if isinstance(made, np.ndarray) else made
        result = from_tensor(made, self.segment.form.container)
        if isinstance(image, Image.Image) and isinstance(result, Image.Image) and image.info:
            result.info = carried_info(image, self.draws.ran(drawn[0])) if self.segment.altering else dict(image.info)
        return result

    def contain(self, image: Any, drawn: Drawn) -> Any:
        """Return values that no layer changes, in the container of the output: the same object where torchvision gives
        it."""
        taken, form = self.segment.taken, self.segment.form
        if isinstance(image, np.ndarray):
            image = to_tensor(image)
        if self.specialize.copying:
            order = torch.preserve_format if form.container == "numpy" else torch.contiguous_format
            image = image.clone(memory_format=order)
        if self.specialize.remade:
            return plain(image)
        if taken.container != form.container:
            return from_tensor(to_tensor(image), form.container)
        if form.container not in ("pil", "image", "video"):  # Of plain tensors, all come back themselves.
            return image
        gray, ran = isinstance(image, Image.Image) and image.mode == "L", self.draws.ran(drawn[0])
        if not ran or all(spec.keeps(taken, what, gray) for spec, what in ran):
            return image
        return image.copy() if isinstance(image, Image.Image) else from_tensor(image, form.container)
