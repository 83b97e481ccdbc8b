"""The transforms of a pipeline as segments: what is lowered, for which images, and what torchvision runs between."""

import copy
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache, partial
from operator import attrgetter
from typing import Any, NamedTuple, cast

import numpy as np
from PIL import Image
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map, tree_unflatten

from learned_transforms import weights as weight_files
from learned_transforms.catalog import ROWS, cover, listed
from learned_transforms.certificate import Certificate
from learned_transforms.containers import CONTAINERS, Leaf, flat, leaves
from learned_transforms.errors import (
    FallbackWarning,
    InputTypeError,
    PipelineValueError,
    UnsupportedTransformError,
)
from learned_transforms.explain import unsupported
from learned_transforms.factors import FACTORED
from learned_transforms.given import WHOLE, Cutting
from learned_transforms.images import Form, form_of, from_tensor, signature, to_tensor
from learned_transforms.kernels import backends
from learned_transforms.layers import Layer, Params
from learned_transforms.nested import BESIDE, UNMARKING, check_cut, check_sizes, common, describe_leaf, together
from learned_transforms.network import Lowered, Network
from learned_transforms.plan import Slot
from learned_transforms.replay import LOOKING
from learned_transforms.segment import MOST_LANES, Lane, Owner, Segment
from learned_transforms.tape import Tape
from learned_transforms.weights import Weights

FALLBACKS = ("torchvision", "error")
ONE_IMAGE = "A network out of retrain takes one uint8 or float32 image at a time."


class Known(NamedTuple):
    """A transform, how to read its arguments, and what they were when it was lowered: they may change between calls."""

    transform: Any
    read: Callable[[Any], Any]
    arguments: Any

    @classmethod
    def all(cls, transforms: Sequence[Any]) -> "list[Known]":
        """Those of the catalogue, with those within them."""
        known = []
        for transform in (leaf.transform for outer in transforms for leaf in leaves(outer)):
            if type(transform) in CONTAINERS:
                read: Callable[[Any], Any] = contents
                known.append(cls(transform, read, read(transform)))
            elif type(transform) in ROWS and ROWS[type(transform)].arguments:
                read = attrgetter(*ROWS[type(transform)].arguments)
                known.append(cls(transform, read, copy.deepcopy(read(transform))))
            elif type(transform) in ROWS and ROWS[type(transform)].tensors:
                read = partial(identities, ROWS[type(transform)].tensors)
                known.append(cls(transform, read, read(transform)))
        return known


def contents(container: Any) -> Any:
    return getattr(container, "p", None), flat(list(container.transforms))


def identities(names: Sequence[str], transform: Any) -> list[int]:
    """Of tensors, which layers share: what changes in place needs no new one."""
    return [id(getattr(transform, name)) for name in names]


class Pipeline(Lowered):
    """Transforms, the learned layers that they need, and the segments that they become.

    Args, attributes and errors are those of :class:`LearnedCompose`.
    """

    def __init__(
        self,
        transforms: Any,
        *,
        fallback: str = "torchvision",
        backend: str = "auto",
        weights: Weights | None = None,
    ) -> None:
        super().__init__()
        if backend != "auto" and backend not in backends():
            raise PipelineValueError(f"Expected backend to be auto or one of {', '.join(backends())}, got {backend!r}.")
        if fallback not in FALLBACKS:
            raise PipelineValueError(f"Expected fallback to be one of {', '.join(FALLBACKS)}, got {fallback!r}.")
        self.transforms = flat(listed(transforms))
        self.fallback, self.backend = fallback, backend
        inner = (leaf.transform for t in self.transforms for leaf in leaves(t))
        foreign = [
            type(t).__name__ for t in inner if type(t) not in (*ROWS, *CONTAINERS) and not isinstance(t, Network)
        ]
        if fallback == "error" and foreign:
            raise UnsupportedTransformError(unsupported(foreign[0], "not in the catalogue"))
        # Networks are copied like the shipped layers, so that training this pipeline trains no other.
        self.transforms = [copy.deepcopy(t) if isinstance(t, Network) else t for t in self.transforms]
        networks = [t for t in self.transforms if isinstance(t, Network)]
        roles = tuple(roles_of(self.transforms))
        source = shipped() if weights is None and roles else weights
        own = (
            {} if source is None else {k: v for k, v in source.layers.items() if k.partition("/")[2].startswith(roles)}
        )
        self.layers = nn.ModuleDict(copy.deepcopy(own))
        self.networks = nn.ModuleList(networks)
        self.certificates: dict[str, Certificate] = {}
        self.provenance = {} if source is None else {k: v for k, v in source.provenance.items() if parent(k) in own}
        if source is not None:
            self.certificates = {k: v for k, v in source.certificates.items() if k in own or weights is not None}
        for position, transform in enumerate(self.transforms):
            if isinstance(transform, Network) and transform.certificate is not None:
                self.certificates[str(position)] = transform.certificate
        self.segments: dict[Any, Segment] = {}
        self.lanes: dict[Any, Lane] = {}
        self.lowered: list[Any] = []
        self.known: list[Known] = []
        self.warned = self.trainable = False

    def walk(self, image: Any, key: Any, tape: Tape | None = None) -> Any:
        """Segment by segment, and in torchvision between them; images like this one go straight on where they can.

        Args:
            image: a PIL image, a tensor or an array.
            key: its signature.
            tape: what was drawn before, or where to write what is drawn.
        """
        form = form_of(image)
        if form is None:
            return self.several((image,), tape)
        # An array stays one until a transform converts it; between transforms, a tensor holds its values.
        array = form.container == "numpy"
        value = to_tensor(image) if array else image
        position = 0
        while position < len(self.transforms):
            if form is not None:
                segment = self.segment(form, position)
                whole = position == 0 and segment.stop == len(self.transforms) and segment.cutting is None
                if whole and not array and not self.trainable and tape is None:
                    if len(self.lanes) >= MOST_LANES:
                        self.lanes.clear()
                    self.lanes[key] = segment.lane(value)
                drawn = None if tape is None else tape.draw(segment, value, position)
                value = segment(value, drawn)
                array = array and segment.form.container == "numpy"
                form = segment.form if segment.cutting is None else None
                position, reason = segment.stop, segment.reason
            else:
                value, position, reason = self.abreast(value, position, tape)
            if reason is not None:
                self.warn(position, reason)
                value = self.pass_through(position, (value,), tape)
                position += 1
                form = form_of(value) if isinstance(value, Tensor | Image.Image) else None
                if array and form is not None and form.container == "tensor":
                    form = form._replace(container="numpy")
        return tree_map(lambda v: from_tensor(v, "numpy") if type(v) is Tensor else v, value) if array else value

    def renew(self) -> None:
        """Lower the transforms as they are now."""
        if not self.unchanged():
            self.relower()
            self.lowered = list(self.transforms)
            self.known = Known.all(self.transforms)

    def unchanged(self) -> bool:
        """Whether the transforms are those that were lowered, with the arguments that they had then."""
        if self.transforms != self.lowered:
            return False
        for transform, read, arguments in self.known:  # noqa: SIM110 - a generator costs more, at every call
            if read(transform) != arguments:
                return False
        return True

    def segment(self, form: Form, start: int) -> Segment:
        """What begins with transform ``start``, for images of ``form``; kept."""
        segment = self.segments.get((form, start))
        if segment is None:
            segment = self.segments[form, start] = self.gather(form, start)
        return segment

    def gather(self, form: Form, start: int) -> Segment:
        """As many transforms from ``start`` on as learned layers cover, for images of ``form``."""
        layers: list[Layer] = []
        params: list[Params | None] = []
        chosen: list[Leaf] = []
        owners: list[Owner] = []
        slots = 0
        cutting: Cutting | None = None
        current, reason, stop = form, None, len(self.transforms)
        for position, transform in enumerate(self.transforms[start:], start):
            if type(transform) in LOOKING and chosen:
                stop = position
                break
            if isinstance(transform, Network):
                current = self.check_kind(transform, current)
                layers += transform.members
                params += transform.params
                owners += [(len(chosen), None)] * len(transform.members)
                chosen.append(Leaf(transform))
                continue
            covered = cover(transform, current, self.layers.keys(), len(chosen))
            if isinstance(covered, str):
                reason, stop = covered, position
                break
            whole = any(isinstance(done.layer, WHOLE) for _, done in covered)
            if chosen and (whole or any(isinstance(layer, WHOLE) for layer in layers[-1:])):
                stop = position
                break
            for leaf, done in covered:
                for part, one in done.layers():
                    layer = one.layer if one.key is None else self.layers[one.key]
                    if isinstance(layer, Cutting):
                        cutting = layer
                    elif layer is not None:
                        layers.append(layer)  # type: ignore[arg-type]
                        params.append(moved(one.params or {}, slots))
                        owners.append((len(chosen), part))
                slots += len(FACTORED[type(leaf.transform)].factors) if type(leaf.transform) in FACTORED else 0
                chosen.append(leaf)
                current = done.form
            if cutting is not None or (current.several and type(transform) in UNMARKING):
                stop = position + 1
                break
        network = Network(layers, params, form.dtype)
        return Segment(network, chosen, owners, stop, form, current, cutting, reason, self.backend, self.trainable)

    def check_kind(self, network: Network, form: Form) -> Form:
        """The form of a network's output; its input must be of the kind that it learned from."""
        if form.several:
            raise InputTypeError(ONE_IMAGE)
        kind = "pil" if form.container == "pil" else form.dtype
        # Arrays hold the values of uint8 tensors, and a teacher of either says what becomes of both.
        if kind != ("uint8" if network.kind == "numpy" else network.kind):
            given = "numpy" if form.container == "numpy" else kind
            raise InputTypeError(
                f"This network learned with kind={network.kind!r} and takes no {given} images: teachers compute "
                f"differently on each. Convert the image, or retrain with kind={given!r}."
            )
        return form._replace(container=network.output, dtype="float32" if network.floats else "uint8")

    def relower(self) -> None:
        """Forget what was lowered."""
        self.segments, self.lanes = {}, {}
        for network in self.networks:
            cast(Network, network).relower()

    def pass_through(self, position: int, inputs: Sequence[Any], tape: Tape | None) -> Any:
        """One transform, in torchvision."""
        transform = self.transforms[position]
        return transform(*inputs) if tape is None else tape.pass_through(transform, inputs, position)

    def several(self, inputs: tuple[Any, ...], tape: Tape | None = None) -> Any:
        """Several inputs, or nested ones: images segment by segment, what goes with them in torchvision beside them."""
        self.check_inputs(inputs)
        value: Any = inputs if len(inputs) > 1 else inputs[0]
        position = 0
        while position < len(self.transforms):
            value, position, reason = self.abreast(value, position, tape)
            if reason is not None:
                self.warn(position, reason)
                value = self.pass_through(position, value if len(inputs) > 1 else (value,), tape)
                position += 1
        return value

    def abreast(self, value: Any, position: int, tape: Tape | None) -> tuple[Any, int, str | None]:
        """Nested values past the segment that begins at ``position``: what they become, where it stops, and why."""
        values, structure = tree_flatten(value)
        taken = together(values)
        images = [i for i in taken if signature(values[i]) is not None and type(values[i]) not in BESIDE]
        form = common([form_of(values[i]) for i in images])
        if form is None:
            return value, position, f"input {', '.join(describe_leaf(v) for v in values[:3])}"
        form = form._replace(several=True)
        segment = self.segment(form, position)
        first = values[images[0]]
        if segment.drawing:
            check_sizes([values[i] for i in taken])
        if segment.cutting is not None:
            check_cut(values)
        drawn = segment.draw(first) if tape is None else tape.draw(segment, first, position)
        if segment.erasing and drawn[0][0] is not False:
            check_sizes([values[i] for i in images])
        for i in taken:
            values[i] = segment(values[i], drawn) if i in images else segment.beside(values[i], drawn, first)
        return tree_unflatten(values, structure), segment.stop, segment.reason

    def check_inputs(self, inputs: tuple[Any, ...]) -> None:
        """Require something to transform, nothing that would silently stay as it is, and no network out of retrain."""
        leaves = tree_leaves(inputs)
        if any(isinstance(leaf, np.ndarray) for leaf in leaves):
            raise InputTypeError(
                "Arrays among several inputs would pass untransformed. Convert them with v2.ToImage()."
            )
        if not any(isinstance(leaf, Tensor | Image.Image) for leaf in leaves):
            kinds = ", ".join(sorted({type(leaf).__name__ for leaf in leaves})) or "nothing"
            raise InputTypeError(
                f"Expected a PIL image, a tensor [..., C, H, W] or an HWC uint8 array, got {kinds}. "
                "Open files with PIL.Image.open(path) first."
            )
        if self.networks:
            raise InputTypeError(ONE_IMAGE)

    def warn(self, position: int, reason: str) -> None:
        """Say once that torchvision runs a transform, or raise where that is not allowed."""
        name = type(self.transforms[position]).__name__
        if self.fallback == "error":
            raise UnsupportedTransformError(unsupported(name, reason))
        if not self.warned:
            self.warned = True
            warnings.warn(
                f"{name} runs in torchvision: {reason}. explain() lists all such.", FallbackWarning, stacklevel=6
            )

    def __getstate__(self) -> Mapping[str, Any]:
        return {**self.__dict__, "segments": {}, "lanes": {}, "lowered": []}


def parent(name: str) -> str:
    """The layer of a number."""
    return name.rpartition(".")[0]


def moved(params: Params, slots: int) -> Params:
    """Params in which slots are counted from the first of a segment, of which so many lie before."""
    return {name: Slot(v.number + slots) if isinstance(v, Slot) else v for name, v in params.items()}


@lru_cache(maxsize=1)
def shipped() -> Weights:
    """The weights that stand for catalogued transforms."""
    found = weight_files.load(weight_files.DEFAULT)
    weight_files.require_faithful(weight_files.DEFAULT, found)
    return found


def roles_of(transforms: Iterable[Any]) -> set[str]:
    """Beginnings of the roles of the learned layers that a pipeline needs."""
    inner = (leaf.transform for transform in transforms for leaf in leaves(transform))
    return {role for t in inner if type(t) in ROWS for role in ROWS[type(t)].role(t)}


def run_all(transforms: Iterable[Callable[[Any], Any]], image: Any) -> Any:
    """What the transforms themselves make of an image."""
    for transform in transforms:
        image = transform(image)
    return image
