"""Consecutive transforms that run as one network, and what they do to one image."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torchvision.transforms as v1
from PIL import Image
from torch import Tensor

from learned_transforms.errors import LearnedTransformsError, PipelineValueError
from learned_transforms.images.formats import (
    CPU,
    MARKED,
    Call,
    Form,
    Later,
    Window,
    channels_last,
    from_tensor,
    kind_of,
    shape_of,
    signature,
    to_tensor,
)
from learned_transforms.ir.ops import Equalise, Plan, Shape
from learned_transforms.ir.passes import at
from learned_transforms.kernels import Compiled, cpu
from learned_transforms.layers.base import Layer
from learned_transforms.layers.color import Turning
from learned_transforms.layers.geometry import Cropping, Flipping, Padding, Windowing
from learned_transforms.layers.given import Cutting, Posterizing, erased
from learned_transforms.layers.network import Network
from learned_transforms.layers.pointwise import Arranging, Mixing
from learned_transforms.layers.resize import Picking
from learned_transforms.runtime.views import spans_of, viewing
from learned_transforms.transforms.clients.twins import Erase
from learned_transforms.transforms.containers import Container, Leaf, reached
from learned_transforms.transforms.convert import ToImage, ToPILImage
from learned_transforms.transforms.geometry import RandomCrop
from learned_transforms.transforms.metadata import carried
from learned_transforms.transforms.params import from_params, to_params
from learned_transforms.transforms.registry import spec_of
from learned_transforms.transforms.rng import toss
from learned_transforms.transforms.sampler import sampler_of
from learned_transforms.transforms.spec import SIDES, Outcome, Seen, Spec

MOST_LANES = 32
"""Signatures, and kinds, of images that a segment remembers: few, and only where two images of one follow each other.
What is kept lies between results that are freed, so that the next ones may need fresh memory."""

MOST_CALLS = 512
"""Outcomes of draws for which a signature remembers what runs."""

MOST_PROGRAMS = 256
"""Outcomes of draws for which a kind of images remembers its programs."""

BYTES_OF_CALL = 2**11
"""Of what runs on images of one signature, besides what native code holds, about."""

Owner = tuple[int, int | None]
"""Position of a transform among the leaves; and of one of several layers, its number."""

Drawn = tuple[tuple[Outcome, ...], Window | None]
"""Outcomes of the random transforms of a segment, in order; and the part of the image that the first one drew."""


class Budget:
    """Memory that compiled calls may hold.

    Args:
        most: bytes.
        release: called where they hold more; it drops them all.
    """

    def __init__(self, most: int, release: Callable[[], None]) -> None:
        self.most, self.release, self.spent = most, release, 0

    def spend(self, held: int) -> None:
        """Count what one more call holds."""
        self.spent += held
        if self.spent > self.most:
            self.spent = held
            self.release()
            cpu.trim()


def slight(layer: Layer) -> bool:
    """Whether Pillow is faster at what a layer does to its images: copies of pixels, or one gray channel of them."""
    return isinstance(layer, Picking | Flipping | Cropping | Windowing | Padding) or (
        isinstance(layer, Mixing) and len(layer.weight) == 1
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
        budget: "Budget",
    ) -> None:
        self.budget = budget
        self.network, self.leaves, self.given, self.drawer, self.owners = network, leaves, given, drawer, owners
        self.stop, self.taken, self.form, self.reason = stop, taken, form, reason
        self.cutting, self.backend, self.trainable = cutting, backend, trainable
        self.specs = [spec_of(leaf.transform) for leaf in leaves]
        self.random = [position for position, spec in enumerate(self.specs) if spec.random]
        # Where all that is drawn are coins, each whatever the others, they are tossed together; behind a window, too.
        self.chances = [spec.chance() for spec in self.specs if spec.coin]
        self.free = all(leaf.within is None for leaf in leaves)
        self.tossing = self.free and len(self.chances) == len(self.random)
        self.factored = [p for p in self.random if self.specs[p].factors]
        # Of several layers, what is drawn says what becomes of each.
        self.several = {position for position, part in owners if part is not None or position in self.factored}
        # The layer that takes the window: of the transform that draws it, or of the resize behind one that only draws.
        takers = (layer for layer, (position, _) in enumerate(owners) if drawer is not None and position >= drawer)
        cut = next(takers, None)
        self.window_size = None if cut is None else (network.params[cut] or {})["size"]
        self.resizing = cut is not None and not isinstance(network.members[cut], Windowing)
        # Where v2's RandomCrop would take the whole image, it does nothing.
        croppers = [p for p, spec in enumerate(self.specs) if isinstance(spec, RandomCrop) and spec.skips_whole]
        self.optional, self.croppers = drawer in croppers, [p for p in croppers if p != drawer]
        # Later ones draw from the size that those before leave.
        self.tracking = any(spec.placing or (n != drawer and spec.windowing) for n, spec in enumerate(self.specs))
        self.sampler = None if self.tossing or self.tracking else sampler_of(leaves, self.random)
        # The first of them that asks for one size of all that lies together.
        self.sized = next((n for n, spec in enumerate(self.specs) if spec.same_size), None)
        self.affecting = [n for n, spec in enumerate(self.specs) if spec.affects]
        self.erasing = bool(leaves) and self.specs[0].erasing and taken.container != "mask"
        self.overwriting = bool(leaves) and isinstance(self.specs[0], Erase)
        self.inplace = self.erasing and leaves[0].transform.inplace
        layers = zip(network.members, owners, strict=True)
        self.posterizing = [position for layer, (position, _) in layers if isinstance(layer, Posterizing)]
        pictures = taken.container == form.container == "pil" and not taken.several
        chosen = backend != "auto" or trainable  # by name, or for its gradients
        self.slight = pictures and not chosen and bool(network.members) and all(map(slight, network.members))
        self.tensors = {taken.container, form.container} <= {"tensor", *MARKED.values()}
        self.altering = any(spec.alters_info for spec in self.specs)
        # Plain tensors that are made of something else are others, even if nothing is done to them.
        wrapped = taken.container != form.container or any(isinstance(spec, ToImage) for spec in self.specs)
        self.remade = form.container == "tensor" and wrapped
        # An array's memory is the caller's, and a PIL image has its own.
        self.copying = taken.container == "numpy" or (
            taken.container != "pil" and any(isinstance(spec, ToPILImage) for spec in self.specs)
        )
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
        """What runs on images like this one; calls are kept for a signature that comes twice in a row, or first."""
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
        """A lane of its own for the signature of an image, whose kind has another."""
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

    def draw(self, image: Any, beside: Any = None) -> Drawn:
        """What the random transforms draw for an image, and for the :class:`~beside.Beside` that goes with it."""
        if self.tossing:
            return toss(self.chances) if self.chances else (), None
        shape = shape_of(image)
        drawn = None if self.sampler is None else self.sampler(shape)
        if drawn is not None:
            return drawn
        window: Window | None = None
        outcomes: dict[int, Outcome] = {}
        known = 0
        for position in self.random:
            spec = self.specs[position]
            if self.tracking:
                shape, known = self.shape_behind(shape, known, position, outcomes), position
            # As for Pad, mirrored padding of PIL images may be larger than these.
            limited = self.given[position].container != "pil"
            if not self.reached(position, outcomes):
                outcomes[position] = False
            elif position == self.drawer:
                window, outcomes[position] = spec.window(shape[1:], limited), True
            elif spec.placing and beside is not None:
                beside.advance(position, outcomes, window)
                outcomes[position] = spec.sample(Seen(shape, limited, beside.boxes(spec.transform)))
            else:
                outcomes[position] = spec.sample(Seen(shape, limited))
        return tuple(outcomes.values()), window

    def shape_behind(self, shape: Shape, first: int, stop: int, outcomes: Mapping[int, Outcome]) -> Shape:
        """(C, H, W) of an image behind the transforms from number ``first`` up to ``stop``, excluded."""
        size = shape[1:]
        for position in range(first, stop):
            outcome = self.applied(position, outcomes)
            if outcome is not False:
                size = self.specs[position].size_after(size, outcome)
        return shape[0], *size

    def ran(self, drawn: Drawn) -> list[tuple[Spec, Outcome]]:
        """List the transforms that did something and are no containers, with what they drew."""
        outcomes = dict(zip(self.random, drawn[0], strict=True))
        applied = ((spec, self.applied(position, outcomes)) for position, spec in enumerate(self.specs))
        return [(spec, what) for spec, what in applied if not isinstance(spec, Container) and spec.takes_effect(what)]

    def split(self, outcomes: Sequence[Outcome]) -> tuple[tuple[Outcome, ...], tuple[float, ...]]:
        """Outcomes that decide on the plan, and the factors that go to it beside the image."""
        structure: list[Outcome] = []
        factors: list[float] = []
        for position, outcome in zip(self.random, outcomes, strict=True):
            if position in self.factored:
                outcome, own = self.specs[position].split(outcome)
                factors += own
            structure.append(outcome)
        return tuple(structure), tuple(factors)

    def noted(self, image: Any, outcomes: Sequence[Outcome]) -> tuple[Outcome, ...]:
        """Outcomes, with a note for layers that must know of pixels that are no finite numbers, or have gradients."""
        if not isinstance(image, Tensor) or (image.isfinite().all() and not image.requires_grad):
            return tuple(outcomes)
        drawn = zip(self.random, outcomes, strict=True)
        return tuple((("nan", True),) if p in self.posterizing and what is True else what for p, what in drawn)

    def to_params(self, drawn: Drawn) -> list[Any]:
        """What was drawn, as plain values: an entry for each transform, within that of its container."""
        outcomes = dict(zip(self.random, drawn[0], strict=True))
        entries: list[Any] = []
        lists: dict[int | None, list[Any] | None] = {None: entries}
        for position, ((_, within, _), spec) in enumerate(zip(self.leaves, self.specs, strict=True)):
            around, outcome = lists[within], outcomes.get(position, True)
            if around is None or not self.reached(position, outcomes):
                lists[position] = None
            elif isinstance(spec, Container) and outcome is not False:
                entry, lists[position] = spec.entry(outcome)
                around.append(entry)
            else:
                lists[position] = None
                around.append(to_params(outcome if drawn[1] is None or position != self.drawer else drawn[1]))
        return entries

    def from_params(self, entries: Sequence[Any], image: Any) -> Drawn:
        """The opposite, for an image; an entry for each transform that is not in a RandomApply.

        Raises:
            PipelineValueError: the entries do not fit the transforms.
        """
        outcomes: dict[int, Outcome] = {}
        window: Window | None = None
        lists: dict[int | None, list[Any] | None] = {None: list(entries)}
        for position, ((transform, within, _), spec) in enumerate(zip(self.leaves, self.specs, strict=True)):
            around = lists[within]
            outcome: Any = False
            here = around is not None and self.reached(position, outcomes)
            if around is not None and here:
                if not around:
                    raise PipelineValueError("Expected params for each transform in a container, got too few entries.")
                entry = around.pop(0)
                if isinstance(spec, Container):
                    again = spec.parsed(entry)
                    if again is None:
                        name = type(transform).__name__
                        raise PipelineValueError(f"Expected params of {name}, got {entry!r}; see make_params(image).")
                    outcome, inner = again
                    lists[position] = inner if outcome is not False else None
                else:
                    outcome = from_params(spec, entry)
            if position == self.drawer and isinstance(outcome, tuple):
                top, left, height, width = (side for _, side in outcome)
                window, outcome = (top, left, height, width), True
            lists.setdefault(position, None)
            if position in self.random:
                outcomes[position] = outcome
        if window is not None:
            self.check_window(window, shape_of(image))
        if any(lists.values()):
            raise PipelineValueError("Expected params for each transform in a container, got too many entries.")
        return tuple(outcomes.values()), window

    def check_window(self, window: Window, shape: tuple[int, int, int]) -> None:
        """Require that a part that is resized lies in the image, and that another has the size of the output."""
        top, left, height, width = window
        inside = (
            min(top, left) >= 0 and min(height, width) > 0 and top + height <= shape[1] and left + width <= shape[2]
        )
        if self.resizing and not inside:
            raise PipelineValueError(f"Expected params of a window within the image of {shape[1:]}, got {window}.")
        if not self.resizing and window[2:] != self.window_size:
            raise PipelineValueError(
                f"Expected params of a window of {self.window_size} (rows, columns), got {window}."
            )

    def begin(self, image: Any, drawn: Drawn) -> tuple[Any, Drawn]:
        """Do at once what the first transform drew, where it needs no plan; and what is left."""
        outcomes, window = drawn
        if isinstance(self.specs[0], Erase) and outcomes[0] is not False:
            self.specs[0].overwrite(image, outcomes[0])
            return image, ((True, *outcomes[1:]), window)
        if self.erasing and isinstance(outcomes[0], tuple):
            where = dict(outcomes[0])
            found = where["v"] is not None
            if not found and isinstance(self.leaves[0].transform, v1.RandomErasing) and not self.inplace:
                return to_tensor(image).clone(), drawn  # v1 writes what was there, into a copy.
            # What nobody else sees need not be copied.
            apart = self.taken.container == "pil" or (self.taken.fresh and not image.requires_grad)
            made = erased(to_tensor(image), where, self.inplace or apart) if found else image
            return made, ((found, *outcomes[1:]), window)
        for position in self.croppers:
            outcomes = self.without_whole(position, outcomes, shape_of(image))
            drawn = outcomes, window
        if self.optional and window is not None and not (window[0] or window[1]) and window[2:] == shape_of(image)[1:]:
            return image, ((False, *outcomes[1:]), None)
        if window is not None and 0 in window[2:]:
            # Pillow resizes nothing to a black image.
            return torch.zeros((shape_of(image)[0], *(self.window_size or ())), dtype=torch.uint8), (outcomes, None)
        if window is not None and self.resizing and window[2:] == self.window_size:
            # Nothing is resized: the rest runs on that part alone.
            top, left, height, width = window
            return to_tensor(image)[..., top : top + height, left : left + width], (outcomes, None)
        return image, drawn

    def without_whole(self, position: int, outcomes: tuple[Outcome, ...], shape: Shape) -> tuple[Outcome, ...]:
        """Outcomes in which a crop of all that is there is left out, for an image of ``shape`` (C, H, W)."""
        known = dict(zip(self.random, outcomes, strict=True))
        found = known[position]
        if isinstance(found, bool) or not self.reached(position, known):
            return outcomes
        _, *size = self.shape_behind(shape, 0, position, known)
        if tuple(dict(found)[side] for side in SIDES) != (0, 0, *size):
            return outcomes
        known[position] = False
        return tuple(known.values())

    def program(self, image: Any, shape: Shape, outcomes: Sequence[Outcome]) -> "Specialised":
        """What is compiled for images like this one, for what was drawn.

        Args:
            image: a plain tensor, a PIL image or an array.
            shape: (C, H, W) of the part of it that is used.
            outcomes: one for each random transform.
        """
        self.check_smooth()
        device, gradients = (image.device, image.requires_grad) if isinstance(image, Tensor) else (CPU, False)
        applied = self.owned(dict(zip(self.random, outcomes, strict=True)))
        chosen = None if all(what is True for what in applied) else applied
        try:
            plan, compiled = self.network.plan(shape, device, chosen, self.backend, self.trainable, gradients)
        except LearnedTransformsError:
            self.check_before(shape, device, applied)
            raise
        ran = [n for n, what in enumerate(applied) if what is not False]
        specs = [self.specs[self.owners[n][0]] for n in ran]
        ordered = any(isinstance(stage, Equalise) for stage in plan.stages) or any(map(self.orders, ran, specs))
        views = self.tensors and bool(ran) and all(spec.gives_view() for spec in specs)
        # Where torch reshapes a batch of one, or several transforms come to it, the order in memory is forgotten.
        others = {id(spec) for spec in specs if not spec.keeps_order}
        reshaping = len(others) > 1 or any(spec.reshaping and spec.api == "v2" for spec in specs)
        return Specialised(plan, compiled, ordered, reshaping, views)

    def orders(self, member: int, spec: Spec) -> bool:
        """Tell whether a member gives contiguous tensors in torchvision, too, whatever it takes."""
        layer, params = self.network.members[member], self.network.params[member] or {}
        return (
            isinstance(layer, Arranging)
            or (isinstance(layer, Turning) and spec.api == "v2")
            or params.get("border") == "symmetric"
            or spec.expanding  # what follows them keeps the order of what they expand
        )

    def check_before(self, shape: Shape, device: torch.device, applied: Sequence[Outcome]) -> None:
        """Raise what the first layer that refuses images of ``shape`` raises: in one plan, a later one may come first.

        Args:
            applied: what was drawn for each layer.
        """
        for count in range(1, len(applied)):
            some = (*applied[:count], *(False,) * (len(applied) - count))
            at(self.network.plan(shape, device, some, "reference", self.trainable, False)[0].stages, shape)

    def bind(self, made: "Specialised", image: Any, shape: Shape, windowed: bool) -> Call:
        """What was compiled, for images like this one in memory.

        Args:
            windowed: they come with a window, whose part is of ``shape``.
        """
        if made.plan.idle(shape):
            if self.copying:
                return copied
            return plain if self.remade else untouched
        call = made.compiled.bind(image, self.interleaved(made, image), windowed)
        spans = spans_of(made.plan.stages, shape) if made.views else None
        return call if spans is None else viewing(call, spans)

    def interleaved(self, made: "Specialised", image: Any) -> bool:
        """Whether the channels of a pixel shall lie side by side in what is made of an image."""
        masked = self.form.container == "mask" and shape_of(image)[0] > 1
        last = channels_last(image) and not made.ordered and not (made.reshaping and len(image) == 1)
        return last or masked or self.form.container in ("pil", "numpy")

    def reached(self, position: int, outcomes: Mapping[int, Outcome]) -> bool:
        """Whether the containers around a transform, if there are any, come to it."""
        _, within, branch = self.leaves[position]
        if within is None:
            return True
        return reached(outcomes.get(within, True), branch) and self.reached(within, outcomes)

    def applied(self, position: int, outcomes: Mapping[int, Outcome]) -> Outcome:
        """What was drawn for a transform: False where it, or a container around it, is left out."""
        return self.reached(position, outcomes) and outcomes.get(position, True)

    def owned(self, outcomes: Mapping[int, Outcome]) -> tuple[Outcome, ...]:
        """What was drawn for each layer."""
        drawn = {position: self.applied(position, outcomes) for position in dict.fromkeys(p for p, _ in self.owners)}
        parts = {
            position: self.specs[position].parts(what)
            for position, what in drawn.items()
            if position in self.several and not isinstance(what, bool)
        }
        return tuple(parts[p][part or 0] if p in parts else drawn[p] for p, part in self.owners)


def untouched(image: Any, *drawn: Any) -> Any:
    """The image, where nothing is done to it."""
    return image


def copied(image: Any, *drawn: Any) -> Tensor:
    """The values of an image in memory of their own."""
    return to_tensor(image).clone()


def plain(image: Any, *drawn: Any) -> Tensor:
    """The values of an image as another plain tensor; in the same memory, if it is a tensor."""
    return to_tensor(image).as_subclass(Tensor)


class Specialised(NamedTuple):
    """What a segment is for one kind of images and one outcome of draws.

    Attributes:
        ordered: what it gives lies in memory in torch's usual order.
        reshaping: of batches of one, torch loses the order on the way.
        views: nothing is done but crops of tensors, which are views where they lie in the image.
    """

    plan: Plan
    compiled: Compiled
    ordered: bool
    reshaping: bool
    views: bool


class Lane:
    """A segment, for images of one kind, or of one signature: what is the same for all of them is worked out here.

    Args:
        image: one of them.
        roaming: the lane of all images of its kind, for a lane of those of its signature, which keeps calls.
    """

    def __init__(self, segment: Segment, image: Any, roaming: "Lane | None" = None) -> None:
        self.segment = segment
        self.kept = roaming is not None
        self.calls: dict[Any, Call] = {}
        self.programs: dict[Any, Specialised] = {} if roaming is None else roaming.programs
        self.subclass = isinstance(image, Tensor) and type(image) is not Tensor
        # Its results can be rows of a batch, and images may be run later: nothing writes into them meanwhile.
        single = not isinstance(image, Tensor) or image.ndim == 3
        stackable = segment.form.container != "pil" and not (segment.inplace or segment.overwriting)
        self.patient = single and stackable
        # What comes out of the network is what the pipeline gives, as it is.
        # Arrays of arrays are made where these were taken apart, see `of_array`.
        arrays = segment.taken.container == segment.form.container == "numpy"
        self.bare = (segment.form.container == "tensor" or arrays) and bool(segment.owners)
        direct = segment.tossing and self.bare and not self.subclass and not segment.posterizing
        self.run = self.whole_image() if direct else self.any_image

    def whole_image(self) -> Callable[[Any], Any]:
        """Draw, then run: where nothing is left to do but to toss coins and call what is compiled."""
        calls, chances, first = self.calls, self.segment.chances, self.first

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
        segment, shape = self.segment, shape_of(image)
        if window is not None:
            shape = shape[0], *window[2:]
        made = self.programs.get(outcomes)
        if made is None:
            made = segment.program(image, shape, outcomes)
            # Drawn from what those before leave, the next draw is another.
            if made.plan.size is None and not (segment.tracking or segment.trainable):
                if len(self.programs) >= MOST_PROGRAMS:
                    self.programs.clear()
                self.programs[outcomes] = made
        before = made.compiled.held
        if self.kept or made.plan.size is not None or made.plan.idles or made.views:
            call, keeps = segment.bind(made, image, shape, window is not None), self.kept
        else:
            roaming = made.compiled.roam(image, segment.interleaved(made, image))
            call, keeps = roaming or segment.bind(made, image, shape, window is not None), roaming is not None
        if keeps and not segment.tracking:
            if self.kept:
                segment.budget.spend(made.compiled.held - before + BYTES_OF_CALL)
            if len(self.calls) >= MOST_CALLS:
                self.calls.clear()
            self.calls[key] = call
        return call(image, window, factors, later)

    def any_image(self, image: Any, drawn: Drawn | None = None, later: Later | None = None) -> Any:
        """Draw, unless that was done before, and run, in any case; None: ``later`` took what is to run."""
        drawn = self.segment.draw(image) if drawn is None else drawn
        given = image.as_subclass(Tensor) if self.subclass else image
        plain, drawn = self.segment.begin(given, drawn)
        outcomes, window = drawn
        factors: tuple[float, ...] = ()
        if self.segment.factored:
            outcomes, factors = self.segment.split(outcomes)
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
        return made if self.bare or made is None else self.wrap(made, image, drawn)

    def row(self, image: Any, later: Later) -> Any:
        """What a single call gives, for a row of a batch; None: ``later`` took what is to run."""
        return self.as_array(self.any_image(image, None, later))

    def entry(self, array: bool) -> Callable[[Any], Any]:
        """What takes images, or arrays, that come alone."""
        return self.of_array if array else self.run

    def of_array(self, image: Any) -> Any:
        """Run on an array, which one comes back from unless it is converted."""
        return self.as_array(self.run(image))

    def as_array(self, made: Any) -> Any:
        """The array that a result is, if the pipeline gives arrays."""
        whole = self.segment.form.container == "numpy" and isinstance(made, Tensor)
        return from_tensor(made, "numpy") if whole else made

    def wrap(self, made: Any, image: Any, drawn: Drawn) -> Any:
        """The result in its container, with what a PIL image carries besides its pixels."""
        made = to_tensor(made) if isinstance(made, np.ndarray) else made
        result = from_tensor(made, self.segment.form.container)
        if isinstance(image, Image.Image) and isinstance(result, Image.Image) and image.info:
            result.info = carried(image, self.segment.ran(drawn)) if self.segment.altering else dict(image.info)
        return result

    def contain(self, image: Any, drawn: Drawn) -> Any:
        """Values that no layer changes, in the container of the output: the same object where torchvision gives it."""
        taken, form = self.segment.taken, self.segment.form
        if isinstance(image, np.ndarray):
            image = to_tensor(image)
        if self.segment.copying:
            order = torch.preserve_format if form.container == "numpy" else torch.contiguous_format
            image = image.clone(memory_format=order)
        if self.segment.remade:
            return plain(image)
        if taken.container != form.container:
            return from_tensor(to_tensor(image), form.container)
        if form.container not in ("pil", "image", "video"):  # Of plain tensors, all come back themselves.
            return image
        gray = isinstance(image, Image.Image) and image.mode == "L"
        if all(spec.keeps(taken, what, gray) for spec, what in self.segment.ran(drawn)):
            return image
        return image.copy() if isinstance(image, Image.Image) else from_tensor(image, form.container)
