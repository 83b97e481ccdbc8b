"""LearnedCompose: a drop-in for torchvision's Compose that runs learned layers."""

import copy
import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from operator import attrgetter
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.modules.module import _has_any_global_hook as any_global_hook
from torch.utils._pytree import tree_leaves
from torchvision.transforms import v2

from learned_transforms import weights as weight_files
from learned_transforms.catalog import APPLIES, ROWS, Leaf, cover, describe, flat, leaves, listed
from learned_transforms.certificate import Certificate, measure
from learned_transforms.draws import LOOKING, local
from learned_transforms.errors import (
    ApproximateWeightsError,
    FallbackWarning,
    InputShapeError,
    InputTypeError,
    PipelineValueError,
    UnsupportedTransformError,
)
from learned_transforms.explain import Explanation, Row, explain, unsupported
from learned_transforms.images import Form, form_of, from_tensor, signature, to_tensor
from learned_transforms.kernels import backends
from learned_transforms.layers import Layer, Params
from learned_transforms.network import Lowered, Network
from learned_transforms.segment import MOST_LANES, Lane, Segment
from learned_transforms.tape import Tape
from learned_transforms.weights import Weights

DEFAULT_WEIGHTS = "torchvision"
FALLBACKS = ("torchvision", "error")
FORMS = {"pil": Form("pil", "uint8"), "uint8": Form("tensor", "uint8"), "float32": Form("tensor", "float32")}
"""The forms of input that :meth:`LearnedCompose.explain` tells of."""


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
            if type(transform) in APPLIES:
                read: Callable[[Any], Any] = contents
                known.append(cls(transform, read, read(transform)))
            elif type(transform) in ROWS and ROWS[type(transform)].arguments:
                read = attrgetter(*ROWS[type(transform)].arguments)
                known.append(cls(transform, read, copy.deepcopy(read(transform))))
        return known


def contents(container: Any) -> Any:
    return container.p, flat(list(container.transforms))


class LearnedCompose(Lowered):
    """Run a pipeline of transforms as a learned network.

    Takes PIL images (RGB, L), tensors and tv_tensors ``[..., C, H, W]`` (uint8 in [0, 255], float32), and uint8
    arrays ``[H, W, C]``; gives the type that torchvision's Compose gives, and leaves the same random state behind.
    Arrays use tensor arithmetic and come back as arrays, unless the pipeline converts them. Other PIL modes and dtypes,
    several or nested inputs, and every transform without a learned layer run in torchvision itself.

    Args:
        transforms: a v1 or v2 Compose, or a sequence of transforms; a :class:`Network` out of ``retrain`` may be one.
        fallback: ``"torchvision"`` runs what no layer covers in torchvision, with one :class:`FallbackWarning`;
            ``"error"`` raises :class:`UnsupportedTransformError`.
        backend: ``"auto"``, or a name out of ``backends()``.
        weights: learned layers to use; None: the shipped ones.

    Attributes:
        transforms: the list of transforms.
        certificates: of the layers and networks, by name.

    Raises:
        PipelineTypeError, PipelineValueError: no sequence of callables, an empty one, or an unknown option.
        UnsupportedTransformError: under ``fallback="error"``, a transform outside the catalogue.
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
        foreign = [type(t).__name__ for t in inner if type(t) not in (*ROWS, *APPLIES) and not isinstance(t, Network)]
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

    @classmethod
    def from_pretrained(
        cls, name: str | os.PathLike[str], *, allow_approximate: bool = False, **options: Any
    ) -> "LearnedCompose":
        """A pipeline from a shipped name (``list_pretrained()``) or from a weight file.

        Args:
            name: the name or path.
            allow_approximate: take networks that are certified as ``approximate`` only.
            options: ``fallback`` and ``backend``, as for the constructor.

        Raises:
            UnknownPretrainedError, WeightsError: no such weights, or damaged ones.
            ApproximateWeightsError: approximate weights that were not asked for.
        """
        loaded = weight_files.load(name)
        transforms = weight_files.restore_pipeline(loaded)
        poor = [
            str(c) if key.isdigit() else f"{key}: {c}"
            for key, c in loaded.certificates.items()
            if not c.at_least("rounding")
        ]
        for position, transform in enumerate(transforms):
            if isinstance(transform, Network):
                transform.certificate = loaded.certificates.get(str(position))
                if transform.certificate is None:
                    poor.append(f"network {position} is not certified")
        if poor and not allow_approximate:
            raise ApproximateWeightsError(
                f"{name} is no faithful copy of its teacher ({poor[0]}). "
                "Pass allow_approximate=True if that is good enough."
            )
        return cls(transforms, weights=loaded, **options)

    def save_pretrained(self, path: str | os.PathLike[str]) -> None:
        """Write weights and the description of the pipeline; :meth:`from_pretrained` reads them back.

        Raises:
            PipelineTypeError: a transform that cannot be written down, such as a lambda.
        """
        layers: dict[str, Layer] = dict(self.layers.items())  # type: ignore[arg-type]
        pipeline = []
        for position, transform in enumerate(self.transforms):
            if isinstance(transform, Network):
                keys = [f"{position}/{number}" for number in range(len(transform.members))]
                layers |= dict(zip(keys, transform.members, strict=True))
                pipeline.append({"network": {"layers": keys, **transform.describe()}})
            else:
                pipeline.append(describe(transform))
        provenance = {
            f"{key}.{name}": mark for key, layer in layers.items() for name, mark in layer.provenance().items()
        }
        weight_files.save(Weights(layers, pipeline, self.certificates, provenance), path)

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        """:meth:`forward`, and hooks where there are any: what nn.Module looks for costs a tenth of a call."""
        hooked = self._forward_hooks or self._forward_pre_hooks or self._backward_hooks or self._backward_pre_hooks
        if hooked or self._compiled_call_impl is not None or any_global_hook():
            return super().__call__(*inputs, **options)
        return self.forward(*inputs, **options)

    def forward(
        self,
        *inputs: Any,
        params: Sequence[Any] | None = None,
        per_sample: bool = False,
        generator: torch.Generator | None = None,
    ) -> Any:
        """Transform one image, or a batch ``[..., C, H, W]`` under one draw.

        Args:
            inputs: one image. Several inputs, or nested ones, run in torchvision.
            params: what was drawn, from :meth:`make_params`; None: draw.
            per_sample: of a batch ``[N, C, H, W]``, draw for each image, as if they came one by one.
            generator: of the CPU, to draw from; None: torch's global one.

        Raises:
            InputTypeError, InputShapeError: what the pipeline cannot take, as the types that torchvision raises.
            PipelineValueError: params that do not fit the pipeline.
        """
        if params is not None or per_sample or generator is not None:
            return self.forward_with(inputs, params, per_sample, generator)
        if len(inputs) != 1:
            return self.pass_all(inputs)
        image = inputs[0]
        if not self.unchanged():
            self.renew()
        key = signature(image)
        lane = self.lanes.get(key)
        return self.walk(image, key) if lane is None else lane.run(image)

    def forward_with(
        self, inputs: tuple[Any, ...], params: Sequence[Any] | None, per_sample: bool, generator: torch.Generator | None
    ) -> Any:
        """:meth:`forward` under options."""
        if params is not None and (generator is not None or per_sample):
            raise PipelineValueError("Expected params, or per_sample and a generator to draw from; got both.")
        if per_sample:
            return self.each(inputs, generator)
        with local(generator):
            if params is None:
                return self.forward(*inputs)
            if len(inputs) != 1 or form_of(inputs[0]) is None:
                raise InputTypeError("Expected one image with params: a PIL image, a tensor or an array.")
            self.renew()
            return self.walk(inputs[0], None, Tape(params, len(self.transforms)))

    def each(self, inputs: tuple[Any, ...], generator: torch.Generator | None) -> Tensor:
        """A batch, image by image."""
        if len(inputs) != 1 or not isinstance(inputs[0], Tensor) or inputs[0].ndim != 4 or not len(inputs[0]):
            found = ", ".join(f"{describe_leaf(x)} {tuple(getattr(x, 'shape', ()))}" for x in inputs)
            raise InputTypeError(f"Expected one batch [N, C, H, W] of at least one image with per_sample, got {found}.")
        with local(generator):
            made = [self.forward(image) for image in inputs[0]]
        shapes = sorted({tuple(image.shape) for image in made})
        if len(shapes) > 1:
            raise InputShapeError(f"Expected images of one size to make a batch of, got {shapes} (C, H, W).")
        return torch.stack(made)

    def make_params(self, image: Any) -> list[Any]:
        """Draw for an image, and give what was drawn: an entry for each transform, to be passed as ``params``.

        An entry is None where the transform is not applied, a dictionary of plain values where it is, and a list of
        entries for a RandomApply. The image is carried through, since later draws may depend on its size.

        Raises:
            UnsupportedTransformError: a transform that torchvision runs draws by itself.
        """
        if form_of(image) is None:
            raise InputTypeError(f"Expected one image to make params for, got {describe_leaf(image)}.")
        self.renew()
        tape = Tape(None, len(self.transforms))
        self.walk(image, None, tape)
        return tape.entries

    def renew(self) -> None:
        """Lower the transforms as they are now."""
        if not self.unchanged():
            self.relower()
            self.lowered = list(self.transforms)
            self.known = Known.all(self.transforms)

    def walk(self, image: Any, key: Any, tape: Tape | None = None) -> Any:
        """Segment by segment, and in torchvision between them; images like this one go straight on where they can.

        Args:
            image: a PIL image, a tensor or an array.
            key: its signature.
            tape: what was drawn before, or where to write what is drawn.
        """
        form = form_of(image)
        if form is None:
            return self.pass_all((image,))
        # An array stays one until a transform converts it; between transforms, a tensor holds its values.
        array = form.container == "numpy"
        value = to_tensor(image) if array else image
        position = 0
        while position < len(self.transforms):
            if form is not None:
                segment = self.segments.get((form, position))
                if segment is None:
                    segment = self.segments[form, position] = self.gather(form, position)
                whole = position == 0 and segment.stop == len(self.transforms)
                if whole and not array and not self.trainable and tape is None:
                    if len(self.lanes) >= MOST_LANES:
                        self.lanes.clear()
                    self.lanes[key] = segment.lane(value)
                value = segment(value) if tape is None else tape.run(segment, value, position)
                position, form, reason = segment.stop, segment.form, segment.reason
                array = array and form.container == "numpy"
            else:
                reason = f"a value of type {type(value).__name__}"
            if reason is not None:
                self.warn(position, reason)
                transform = self.transforms[position]
                value = transform(value) if tape is None else tape.pass_through(transform, value, position)
                position += 1
                form = form_of(value) if isinstance(value, Tensor | Image.Image) else None
                if array and form is not None and form.container == "tensor":
                    form = Form("numpy", form.dtype)
        return from_tensor(value, "numpy") if array and type(value) is Tensor else value

    def unchanged(self) -> bool:
        """Whether the transforms are those that were lowered, with the arguments that they had then."""
        if self.transforms != self.lowered:
            return False
        for transform, read, arguments in self.known:  # noqa: SIM110 - a generator costs more, at every call
            if read(transform) != arguments:
                return False
        return True

    def gather(self, form: Form, start: int) -> Segment:
        """As many transforms from ``start`` on as learned layers cover, for images of ``form``."""
        layers: list[Layer] = []
        params: list[Params | None] = []
        chosen: list[Leaf] = []
        owners: list[int] = []
        current, reason, stop = form, None, len(self.transforms)
        for position, transform in enumerate(self.transforms[start:], start):
            if type(transform) in LOOKING and chosen:
                stop = position
                break
            if isinstance(transform, Network):
                current = self.check_kind(transform, current)
                layers += transform.members
                params += transform.params
                owners += [len(chosen)] * len(transform.members)
                chosen.append(Leaf(transform))
                continue
            covered = cover(transform, current, self.layers.keys(), len(chosen))
            if isinstance(covered, str):
                reason, stop = covered, position
                break
            for leaf, done in covered:
                layer = done.layer if done.key is None else self.layers[done.key]
                if layer is not None:
                    layers.append(layer)  # type: ignore[arg-type]
                    params.append(done.params or {})
                    owners.append(len(chosen))
                chosen.append(leaf)
                current = done.form
        network = Network(layers, params, form.dtype)
        return Segment(network, chosen, owners, stop, form, current, reason, self.backend, self.trainable)

    def check_kind(self, network: Network, form: Form) -> Form:
        """The form of a network's output; its input must be of the kind that it learned from."""
        kind = "pil" if form.container == "pil" else form.dtype
        # Arrays hold the values of uint8 tensors, and a teacher of either says what becomes of both.
        if kind != ("uint8" if network.kind == "numpy" else network.kind):
            given = "numpy" if form.container == "numpy" else kind
            raise InputTypeError(
                f"This network learned with kind={network.kind!r} and takes no {given} images: teachers compute "
                f"differently on each. Convert the image, or retrain with kind={given!r}."
            )
        return Form(network.output, "float32" if network.floats else "uint8")

    def unfreeze(self, trainable: bool = True) -> "LearnedCompose":
        """Make the weights trainable; ``unfreeze(False)`` lowers them again.

        While they are trainable nothing is rounded, so that gradients pass: a pipeline that gives uint8 levels gives
        them as float32. Certificates are dropped.
        """
        for parameter in self.parameters():
            # Positions and tables of levels are no floats, and cannot be trained.
            parameter.requires_grad_(trainable and parameter.is_floating_point())
        self.trainable = trainable
        # What was measured before training says nothing of the weights after it.
        self.certificates = {}
        for network in self.networks:
            cast(Network, network).certificate = None
        self.relower()
        return self

    def relower(self) -> None:
        """Forget what was lowered."""
        self.segments, self.lanes = {}, {}
        for network in self.networks:
            cast(Network, network).relower()

    def pass_all(self, inputs: tuple[Any, ...]) -> Any:
        """Run everything in torchvision: several inputs, nested ones, and types that no layer covers."""
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
            raise InputTypeError("A network out of retrain takes one uint8 or float32 image at a time.")
        self.warn(0, f"input {', '.join(describe_leaf(leaf) for leaf in leaves[:3])}")
        if len(inputs) > 1:
            return v2.Compose(self.transforms)(*inputs)
        return run_all(self.transforms, inputs[0])

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

    def explain(self, kind: str | None = None) -> Explanation:
        """What runs each transform: layer, tier, and which numbers are learned, selected or given.

        Args:
            kind: of the input: ``"pil"``, ``"uint8"`` or ``"float32"``; None: all three that the pipeline takes.
        """
        if kind is not None and kind not in FORMS:
            raise PipelineValueError(f"Expected kind to be one of {', '.join(FORMS)}, got {kind!r}.")
        rows: list[Row] = []
        for name in FORMS if kind is None else (kind,):
            rows += explain(name, FORMS[name], self.transforms, self.layers, self.certificates, self.backend)
        return Explanation(rows)

    def certify(self, images: Iterable[Any], teacher: Callable[[Any], Any] | None = None) -> Certificate:
        """Measure fidelity to torchvision's Compose of the same transforms (or to ``teacher``), under equal draws.

        Args:
            images: RGB and L PIL images, tensors or arrays, one by one.
            teacher: what to compare with; needed where a network out of ``retrain`` is part of the pipeline.
        """
        if teacher is None and self.networks:
            raise PipelineValueError("A network out of retrain needs its teacher: certify(images, teacher).")

        def compare() -> Iterable[tuple[str, Tensor, Tensor]]:
            for image in images:
                state = torch.get_rng_state()
                # Arrays use tensor arithmetic, which torchvision has for tensors only.
                given = to_tensor(image) if isinstance(image, np.ndarray) else image
                target = run_all(self.transforms, given) if teacher is None else teacher(image)
                torch.set_rng_state(state)
                yield type(image).__name__, to_tensor(self(image)), to_tensor(target)

        return measure(compare(), "as given")

    def __repr__(self) -> str:
        lines = "\n".join(f"    {transform}" for transform in self.transforms)
        return f"{type(self).__name__}(\n{lines}\n)"

    def __getstate__(self) -> Mapping[str, Any]:
        return {**self.__dict__, "segments": {}, "lanes": {}, "lowered": []}


@lru_cache(maxsize=1)
def shipped() -> Weights:
    """The weights that stand for catalogued transforms."""
    return weight_files.load(DEFAULT_WEIGHTS)


def roles_of(transforms: Iterable[Any]) -> set[str]:
    """Beginnings of the roles of the learned layers that a pipeline needs."""
    inner = (leaf.transform for transform in transforms for leaf in leaves(transform))
    roles = ((ROWS[type(t)].role, t) for t in inner if type(t) in ROWS)
    return {role(transform) for role, transform in roles if role is not None}


def run_all(transforms: Iterable[Callable[[Any], Any]], image: Any) -> Any:
    """What the transforms themselves make of an image."""
    for transform in transforms:
        image = transform(image)
    return image


def describe_leaf(leaf: Any) -> str:
    if isinstance(leaf, Tensor):
        return f"{type(leaf).__name__} {leaf.dtype}"
    return f"PIL image of mode {leaf.mode}" if isinstance(leaf, Image.Image) else type(leaf).__name__
