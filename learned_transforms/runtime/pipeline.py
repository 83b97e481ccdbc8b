"""The transforms of a pipeline as segments: how they are read, what is lowered, and for which images."""

import copy
import warnings
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import Any, NoReturn, cast, get_args
from weakref import WeakValueDictionary

import torch
from torch import nn
from torchvision.transforms import v2

from learned_transforms.artifacts.explain import unsupported
from learned_transforms.artifacts.weights import Weights
from learned_transforms.certificate import Certificate
from learned_transforms.choices import BackendName, Fallback
from learned_transforms.errors import (
    PipelineTypeError,
    UnsupportedTransformError,
    brief,
    check_choice,
    check_keywords,
    warn_fallback,
)
from learned_transforms.images.formats import Form, form_of, kind_of, place_of
from learned_transforms.images.layout import UNKNOWN
from learned_transforms.ir.ops import Shape
from learned_transforms.kernels import BACKENDS, fast
from learned_transforms.layers.color import Blending, Blurring, Turning
from learned_transforms.layers.geometry import Cropping, Flipping, Padding, Windowing
from learned_transforms.layers.network import Lowered, Network
from learned_transforms.layers.pointwise import Arranging, Casting, Lookup, Mixing, Normalizing
from learned_transforms.layers.resize import Resampling
from learned_transforms.modes import out_of_sight
from learned_transforms.runtime.budget import Budget
from learned_transforms.runtime.builder import Builder, looks
from learned_transforms.runtime.routes import Rest, direct, entry_of
from learned_transforms.runtime.segment import MOST_LANES, Lane, Segment
from learned_transforms.runtime.shipped import require_shipped, roles_of, same_as_shipped, shipped
from learned_transforms.transforms.clients.entries import Views
from learned_transforms.transforms.containers import CONTAINERS, leaves
from learned_transforms.transforms.identify import Piece, listed, pieces_of, takes_one, watch_pieces
from learned_transforms.transforms.partial import foreign, stand_in
from learned_transforms.transforms.registry import cover, name_of, spec_of
from learned_transforms.transforms.torch_ops import operates
from learned_transforms.transforms.watch import UNWATCHED, make_watch

FALLBACKS = get_args(Fallback)
STEADY = (
    *(Resampling, Cropping, Windowing, Flipping, Padding),
    *(Lookup, Normalizing, Casting, Mixing, Arranging, Blending, Turning, Blurring),
)
"""Layers that lower alike whatever is drawn: one lowering tells whether a backend runs them."""

NUMBERS = count()
LIVING: "WeakValueDictionary[str, Pipeline]" = WeakValueDictionary()
"""The pipelines of this process by names, each of which is given once: graphs hold these."""

MOST_BYTES = 2**21
"""Held by calls for the signatures and draws lately seen; beyond that all are forgotten."""

CACHES = (
    *("segments", "arrangements", "runs", "entry", "kinds", "pieces", "stand_ins", "watch", "told", "routes", "budget"),
    *("ordered", "operating", "passing", "elsewhere", "handle"),
)
"""What is worked out again when it is needed: it is neither pickled nor part of a fingerprint."""


class Pipeline(Lowered):
    """Transforms, the learned layers that they need, and the segments that they become.

    Args, attributes and errors are those of :class:`LearnedCompose`.
    """

    def __init__(
        self,
        transforms: Any,
        *,
        fallback: Fallback = "warn",
        backend: BackendName = "auto",
        weights: Weights | None = None,
        **unknown: NoReturn,
    ) -> None:
        super().__init__()
        check_keywords(unknown, ("fallback", "backend", "weights"))
        check_choice("backend", backend, ("auto", *BACKENDS))
        check_choice("fallback", fallback, FALLBACKS)
        if not (weights is None or isinstance(weights, Weights)):
            raise PipelineTypeError(
                f"Expected weights to be what learned_transforms.artifacts.weights.load gives, got {brief(weights)}. "
                "For a file or a shipped name, use LearnedCompose.from_pretrained."
            )
        self.transforms = transforms
        # What takes several inputs in torchvision, where that fails; in a list, so that it is no module of this one.
        self.single = [torchvision_of(transforms)] if takes_one(transforms) else []
        self.fallback, self.backend, self.given = fallback, backend, weights
        if any(isinstance(t, Network) for t in self.transforms):
            # Networks are copied like the shipped layers, so that training this pipeline trains no other.
            self.transforms = [copy.deepcopy(t) if isinstance(t, Network) else t for t in self.transforms]
        self.layers: Any = {}
        self.networks: Any = []
        self.certificates: dict[str, Certificate] = {} if weights is None else dict(weights.certificates)
        self.provenance: dict[str, str] = {}
        for position, transform in enumerate(self.transforms):
            if isinstance(transform, Network) and transform.certificate is not None:
                self.certificates[str(position)] = transform.certificate
        self.trainable = self.trained = False
        self.forget()
        self.renew()
        self.tell({name_of(piece.transform): reason for piece in self.pieces for reason in foreign(piece.read)})

    def __setattr__(self, name: str, value: Any) -> None:
        """Another list of transforms, checked like the first, or another backend counts from the next call; and
        whatever else is set may change what a call does."""
        if name in ("transforms", "backend"):
            value = listed(value) if name == "transforms" else value
            self.__dict__["watch"] = UNWATCHED
        if name not in CACHES and "runs" in self.__dict__:
            self.__dict__.update(runs={}, entry=None)
        super().__setattr__(name, value)

    def forget(self) -> None:
        """Drop everything that is worked out again when it is needed."""
        self.handle = f"#{next(NUMBERS)}"
        LIVING[self.handle] = self
        self.segments: dict[Any, Segment] = {}
        self.runs: dict[Any, Callable[[Any], Any]] = {}
        self.entry: Any = None
        # By kind of images that one segment takes all the way: that, its lane for them, and whether they are arrays.
        self.kinds: dict[Any, tuple[Segment, Lane, bool]] = {}
        # By where it begins and what a sample is made of: how it is taken.
        self.arrangements: dict[Any, Any] = {}
        self.pieces: list[Piece] = []
        self.stand_ins: dict[int, Any] = {}
        self.watch: Any = UNWATCHED
        self.budget = Budget(MOST_BYTES, self.unbind)
        self.told: set[str] = set()
        # Whether some transform depends on the order of values in memory; and by position, which torch itself computes.
        self.ordered, self.operating = False, [False]
        self.routes: dict[str, dict[int, str | Form]] = {}
        # All transforms, where layers run none of them, whatever the image.
        self.passing: list[Any] = []
        # Kinds of images of which a call has said that torchvision runs everything on them.
        self.elsewhere: set[Any] = set()

    def renew(self) -> None:
        """Read the transforms as they are now, and get the layers that they need."""
        if self.watch.same():
            return
        self.relower()
        if not self.trained:
            self.networks = [t for t in self.transforms if isinstance(t, Network)]
        # Modes would leave their marks on what is kept.
        with torch.inference_mode(False), out_of_sight():
            watch, pieces = make_watch(), list(pieces_of(self.transforms))
            watch_pieces(watch, self.transforms)
            self.add_layers(pieces)
        self.watch, self.pieces, self.stand_ins = watch, pieces, {}
        self.ordered = any(ordered(piece.read) for piece in pieces)
        self.operating = [operates(piece.read) for piece in pieces]
        self.passing = [piece.transform for piece in pieces] if all(map(passes, pieces)) else []
        for position, piece in enumerate(pieces):
            if isinstance(piece.read, Views):  # What is foreign in it is told of at once.
                self.stand_in(position)

    def stand_in(self, position: int) -> Any:
        """Return what runs in place of a transform that layers run only in part; None: the transform itself; kept."""
        if self.trained or self.networks:
            return None
        if position not in self.stand_ins:
            options: dict[str, Any] = {"fallback": self.fallback, "backend": self.backend, "weights": self.given}
            piece = self.pieces[position]
            found = stand_in(piece.transform, piece.read, lambda some: type(self)(list(some), **options))
            self.stand_ins[position] = found
        return self.stand_ins[position]

    def add_layers(self, pieces: Sequence[Piece]) -> None:
        """Copy the learned layers that transforms need, and that are not there yet, with what is known of them."""
        roles = tuple(roles_of(piece.read for piece in pieces))
        if not roles:
            return
        source = self.source
        own = {
            key: layer
            for key, layer in source.layers.items()
            if key.partition("/")[2].startswith(roles) and key not in self.layers
        }
        if self.given is None:
            require_shipped(own)
        self.layers.update(copy.deepcopy(own))
        self.provenance |= {name: mark for name, mark in source.provenance.items() if name.rpartition(".")[0] in own}
        if not self.trained:
            self.certificates |= {key: source.certificates[key] for key in own if key in source.certificates}

    @property
    def source(self) -> Weights:
        """Where its layers come from."""
        return shipped() if self.given is None else self.given

    def segment(self, form: Form, start: int, observed: bool = False) -> Segment:
        """Return what begins with transform ``start``, for images of ``form``; kept.

        Args:
            observed: torch looks into the call, so that the reference backend runs.
        """
        segment = self.segments.get((form, start, observed))
        if segment is None:
            segment = self.segments[form, start, observed] = self.gather(form, start, observed)
        return segment

    def covers(self, image: Any) -> bool:
        """Return whether layers run all of it on an image, where that lies."""
        form, place = form_of(image), place_of(image)
        if form is None or place is None or self.why_torchvision(place) is not None or self.partial(place):
            return False
        return self.segment(form, 0).stop == len(self.pieces)

    def left_to_pillow(self, form: Form, start: int) -> bool:
        """Return whether Pillow is faster at what layers would do from ``start`` on to images of ``form``, its own."""
        if form.container != "pil":
            return False
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # A call will say it.
            return self.gather(form, start).slight

    def part(self, form: Form, start: int, shape: Shape, device: torch.device) -> Segment:
        """Return the same where the fast backend runs only a part of what there is, for images of ``shape`` (C, H, W);
        kept.

        It has as many transforms as that runs together; one that it does not run at all goes to torchvision.
        """
        key = form, start, shape[0], device
        found = self.segments.get(key)
        if found is None:
            found = self.gather(form, start)
            while found.stop > start:
                reason = self.lacking(found, shape, device)
                if reason is None:
                    break
                fewer = found.stop - 1
                found = self.gather(form, start, stop=fewer) if fewer > start else self.outside(form, start, reason)
            self.segments[key] = found
        return found

    def lacking(self, segment: Segment, shape: Shape, device: torch.device) -> str | None:
        """Return why the fast backend of a device does not run a segment, or None."""
        other = next((layer for layer in segment.network.members if type(layer) not in STEADY), None)
        if other is not None:
            return f"no kernels for {device.type} run {type(other).__name__}"
        if segment.draws.tracking:
            return f"on {device.type}, no draw may depend on the one before"
        return segment.network.why_not(fast(device), shape, device)

    def companion(self, segment: Segment, start: int, form: Form) -> Segment | None:
        """Return what does to masks or videos of ``form`` what a segment does to the images with them; None: nothing
        does."""
        if self.trainable:
            return None
        other = self.segments.get((form, start, segment.stop))
        if other is None:
            other = self.segments[form, start, segment.stop] = self.gather(form, start, stop=segment.stop)
        return other if other.stop == segment.stop else None

    @torch.inference_mode(False)  # What is made is kept, and serves other calls.
    def gather(self, form: Form, start: int, observed: bool = False, stop: int | None = None) -> Segment:
        """Gather as many transforms from ``start`` up to ``stop`` as learned layers cover, for images of ``form``."""
        # Masks are moved by layers that no training changes.
        built = Builder(form, self.source.layers if form.container == "mask" else self.layers, self.ordered)
        reason, stop = None, len(self.pieces) if stop is None else stop
        windows_first = self.backend != "auto" and not BACKENDS[self.backend].beginning
        for position, (_, transform) in enumerate(self.pieces[start:stop], start):
            covered = cover(transform, built.form, built.known.keys(), len(built.leaves))
            if built.leaves and not form.several and spec_of(transform).changes(built.form):
                # What comes before may give views of the image, which is changed through them.
                return self.outside(form, start, f"{name_of(transform)} behind it changes the image that it is given")
            first = looks(transform, built.form) or (windows_first and spec_of(transform).windowing)
            if built.leaves and first and not built.may_cut(covered):
                stop = position
                break
            if form.arrays and any(spec_of(leaf.transform).takes_arrays for leaf in leaves(transform)):
                reason, stop = "it takes the arrays beside the image, too", position
                break
            if isinstance(transform, Network):
                built.add_network(transform)
                continue
            if isinstance(covered, str):
                reason, stop = covered, position
                break
            if built.leaves and built.stands_alone(covered):
                stop = position
                break
            built.add(covered)
            if built.cutting is not None or (built.form.several and spec_of(transform).unmarking):
                stop = position + 1
                break
        if built.form.order == UNKNOWN and any(ordered(piece.read) for piece in self.pieces[start:]):
            return self.outside(form, start, "noise behind it is drawn in the order of torchvision's memory")
        network = Network(built.layers, built.params, form.dtype)
        backend = "reference" if observed and self.backend == "auto" else self.backend
        what = network, built.leaves, built.given, built.drawer, built.owners
        around = stop, form, built.form, built.cutting, reason
        return Segment(*what, *around, backend, self.trainable, self.budget)

    def outside(self, form: Form, start: int, reason: str) -> Segment:
        """Return a segment of nothing, before a transform that torchvision runs."""
        network, around = Network([], [], form.dtype), (start, form, form, None, reason)
        return Segment(network, [], [], None, [], *around, self.backend, self.trainable, self.budget)

    def why_torchvision(self, device: torch.device) -> str | None:
        """Return why torchvision itself had better run everything on a device: no fast backend does; None: one does.

        Networks, trained weights and a backend that was asked for by name have nothing to take their place.
        """
        if self.backend != "auto" or self.networks or self.trainable or self.trained:
            return None
        reason = fast(device).why_not(None, device, False)
        if reason is None and self.ordered and self.partial(device):
            return f"noise is drawn in the order of torchvision's memory on {device.type}"
        return reason

    def partial(self, device: torch.device) -> bool:
        """Return whether the fast backend of a device runs only a part of what there is, and torchvision the rest."""
        return self.backend == "auto" and not (fast(device).whole or self.networks or self.trainable or self.trained)

    @property
    def plain(self) -> bool:
        """Whether nothing but its transforms decides on what it does: no weights of its own, no choice of backend."""
        return self.given is None and not self.trained and not self.networks and self.backend == "auto"

    def relower(self) -> None:
        """Forget what was lowered."""
        for segment in self.__dict__.get("segments", {}).values():
            segment.release()
        self.segments, self.arrangements, self.elsewhere = {}, {}, set()
        self.runs, self.entry, self.kinds = {}, None, {}
        for network in self.networks:
            cast(Network, network).relower()

    def unbind(self) -> None:
        """Forget the calls for images of one signature; what was compiled serves others as well."""
        for segment in self.segments.values():
            segment.unbind()
        self.runs, self.entry = {}, None

    def keep_segment(self, key: Any, image: Any, segment: Segment, array: bool) -> None:
        """Have images like this one, and others of its kind, go straight to a segment from now."""
        lane, kind = segment.lane(image), kind_of(image)
        if lane.kept:
            self.keep_lane(key, image, lane, array)
        if not self.ordered and kind is not None:
            if len(self.kinds) >= MOST_LANES:
                self.kinds.clear()
            roaming = segment.roaming[kind]
            self.kinds[kind] = segment, roaming, array
            self.open(image, roaming)

    def patient(self, image: Any) -> Lane | None:
        """Return the lane of images that one segment takes all the way, to rows of a batch; None: they go one by
        one."""
        found = self.kinds.get(kind_of(image))
        lane = None if found is None else found[0].lane(image)
        return lane if lane is not None and lane.patient else None

    def keep_lane(self, key: Any, image: Any, lane: Lane, array: bool) -> None:
        """Have images like this one, of one signature, go straight to a lane from now."""
        self.keep_run(key, lane.entry(array))
        self.open(image, lane)

    def open(self, image: Any, lane: Lane) -> None:
        """Have native code know images like this one whole, which a lane runs on, if it can."""
        if not direct(lane, image) or self._compiled_call_impl is not None or "forward" in self.__dict__:
            return
        hooks = self._forward_hooks, self._forward_pre_hooks, self._backward_hooks, self._backward_pre_hooks
        self.entry = entry_of(self.entry, self.watch, hooks)
        self.entry.add(Rest(lane, image).route, not lane.kept)

    def keep_run(self, key: Any, run: Callable[[Any], Any]) -> None:
        """Have images of one signature go straight on from now."""
        if len(self.runs) >= MOST_LANES:
            self.runs.clear()
        self.runs[key] = run

    def tell(self, reasons: Mapping[str, str]) -> None:
        """Say once of each transform by name that torchvision runs it and why, or raise where that is not allowed."""
        new = {name: reason for name, reason in reasons.items() if name not in self.told}
        if not new:
            return
        if self.fallback == "error":
            raise UnsupportedTransformError(unsupported(*next(iter(new.items()))))
        self.told |= new.keys()
        if self.fallback == "warn":
            warn_fallback(new)

    def __getstate__(self) -> Mapping[str, Any]:
        state = {name: value for name, value in self.__dict__.items() if name not in CACHES}
        if self.given is None and not self.trained and same_as_shipped(self.layers):
            own = {key: known for key, known in self.certificates.items() if key not in self.layers}
            state |= {"layers": {}, "provenance": {}, "certificates": own}
        return state

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        super().__setstate__(dict(state))  # type: ignore[no-untyped-call]
        self.forget()
        self.renew()
        # What was told where it was made is not told again.
        self.told = {name_of(piece.transform) for piece in self.pieces if foreign(piece.read)}


def passes(piece: Piece) -> bool:
    """Return whether a transform is handed everything that comes: it is foreign, and so is all that it may hold."""
    own = type(piece.transform).__module__.startswith("torchvision.")
    return not own and type(piece.read) not in CONTAINERS and bool(foreign(piece.read))


def ordered(read: Any) -> bool:
    """Return whether what a transform makes of an image depends on the order of its values in memory."""
    return any(spec_of(leaf.transform).ordered for leaf in leaves(read))


def torchvision_of(transforms: Any) -> Any:
    """Return what torchvision runs, of a list of transforms or a Compose or Sequential."""
    return v2.Compose(list(transforms)) if isinstance(transforms, list | tuple | nn.ModuleList) else transforms
