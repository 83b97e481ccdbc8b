"""The network of a segment, compiled for what was drawn, and bound to images as they lie in memory."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from learned_transforms.errors import LearnedTransformsError
from learned_transforms.images.formats import CPU, MARKED, Call, Form, channels_last, shape_of, to_tensor
from learned_transforms.ir.ops import Equalize, Shape
from learned_transforms.ir.passes import at
from learned_transforms.ir.plan import Plan
from learned_transforms.kernels import Compiled
from learned_transforms.layers.color import Turning
from learned_transforms.layers.network import Network
from learned_transforms.layers.pointwise import Arranging
from learned_transforms.layers.warp import Warping
from learned_transforms.runtime.draws import Draws
from learned_transforms.runtime.views import viewing
from learned_transforms.transforms.convert import ToImage, ToPILImage
from learned_transforms.transforms.spec import Outcome, Spec

Owner = tuple[int, int | None]
"""Position of a transform among the leaves; and of one of several layers, its number."""


class Specialized(NamedTuple):
    """What a network is for one kind of images and one outcome of draws.

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


class Specializer:
    """Compile a network for what was drawn.

    Args:
        owners: for each layer, which transform it belongs to.
        taken, form: forms of the input and of the output.
        backend: the name of what runs it, or ``"auto"``.
        trainable: leave out every rounding, so that gradients pass.
    """

    def __init__(
        self,
        network: Network,
        draws: Draws,
        owners: Sequence[Owner],
        taken: Form,
        form: Form,
        backend: str,
        trainable: bool,
    ) -> None:
        self.network, self.draws, self.owners, self.form = network, draws, owners, form
        self.backend, self.trainable = backend, trainable
        # Of several layers, what is drawn says what becomes of each.
        self.several = {position for position, part in owners if part is not None or position in draws.factored}
        self.tensors = {taken.container, form.container} <= {"tensor", *MARKED.values()}
        # Plain tensors that are made of something else are others, even if nothing is done to them.
        wrapped = taken.container != form.container or any(isinstance(spec, ToImage) for spec in draws.specs)
        self.remade = form.container == "tensor" and wrapped
        # An array's memory is the caller's, and a PIL image has its own.
        unwrapped = taken.container != "pil" and any(isinstance(spec, ToPILImage) for spec in draws.specs)
        self.copying = taken.container == "numpy" or unwrapped

    def __call__(self, image: Any, shape: Shape, outcomes: Sequence[Outcome]) -> Specialized:
        """Compile for images like this one.

        Args:
            image: a plain tensor, a PIL image or an array.
            shape: (C, H, W) of the part of it that is used.
            outcomes: one for each random transform.
        """
        device, gradients = (image.device, image.requires_grad) if isinstance(image, Tensor) else (CPU, False)
        applied = self.owned(self.draws.by_position(outcomes))
        chosen = None if all(what is True for what in applied) else applied
        try:
            plan, compiled = self.network.plan(shape, device, chosen, self.backend, self.trainable, gradients)
        except LearnedTransformsError:
            self.check_before(shape, device, applied)
            raise
        ran = [n for n, what in enumerate(applied) if what is not False]
        specs = [self.draws.specs[self.owners[n][0]] for n in ran]
        ordered = any(isinstance(stage, Equalize) for stage in plan.stages) or any(map(self.orders, ran, specs))
        views = self.tensors and bool(ran) and all(spec.gives_view() for spec in specs)
        # Where torch reshapes a batch of one, or several transforms come to it, the order in memory is forgotten.
        others = {id(spec) for spec in specs if not spec.keeps_order}
        reshaping = len(others) > 1 or any(spec.reshaping and spec.api == "v2" for spec in specs)
        return Specialized(plan, compiled, ordered, reshaping, views)

    def orders(self, member: int, spec: Spec) -> bool:
        """Return whether a member gives contiguous tensors in torchvision, too, whatever it takes."""
        layer, params = self.network.members[member], self.network.params[member] or {}
        return (
            isinstance(layer, Arranging | Warping)
            or (isinstance(layer, Turning) and spec.api == "v2")
            or params.get("border") == "symmetric"
            or spec.expanding  # what follows keeps the order of what it expands
        )

    def check_before(self, shape: Shape, device: torch.device, applied: Sequence[Outcome]) -> None:
        """Raise what the first layer that refuses images of ``shape`` raises: in one plan, a later one may come first.

        Args:
            applied: what was drawn for each layer.
        """
        for count in range(1, len(applied) + 1):
            some = (*applied[:count], *(False,) * (len(applied) - count))
            at(self.network.plan(shape, device, some, "reference", self.trainable, False)[0].stages, shape)

    def check_until(self, position: int, image: Any, outcomes: Mapping[int, Outcome]) -> None:
        """Raise what a transform before a position raises of an image, if one does.

        Args:
            outcomes: of those that draw, by position.
        """
        drawn, _ = self.draws.split([outcomes.get(random, False) for random in self.draws.random], image)
        applied = zip(self.owned(self.draws.by_position(drawn)), self.owners, strict=True)
        before = [what if owner < position else False for what, (owner, _) in applied]
        self.check_before(shape_of(image), image.device if isinstance(image, Tensor) else CPU, before)

    def owned(self, outcomes: Mapping[int, Outcome]) -> tuple[Outcome, ...]:
        """Return what was drawn for each layer."""
        positions = dict.fromkeys(position for position, _ in self.owners)
        drawn = {position: self.draws.applied(position, outcomes) for position in positions}
        parts = {
            position: self.draws.specs[position].parts(what)
            for position, what in drawn.items()
            if position in self.several and not isinstance(what, bool)
        }
        return tuple(parts[p][part or 0] if p in parts else drawn[p] for p, part in self.owners)

    def bind(self, made: Specialized, image: Any, shape: Shape, windowed: bool) -> Call:
        """Bind what was compiled to images like this one in memory.

        Args:
            windowed: they come with a window, whose part is of ``shape``.
        """
        if made.plan.idle(shape):
            if self.copying:
                return copied
            return plain if self.remade else untouched
        call = made.compiled.bind(image, self.interleaved(made, image), windowed)
        return viewing(call, made.plan.stages, shape) if made.views else call

    def interleaved(self, made: Specialized, image: Any) -> bool:
        """Return whether the channels of a pixel shall lie side by side in what is made of an image."""
        masked = self.form.container == "mask" and shape_of(image)[0] > 1
        last = channels_last(image) and not made.ordered and not (made.reshaping and len(image) == 1)
        return last or masked or self.form.container in ("pil", "numpy")


def untouched(image: Any, *drawn: Any) -> Any:
    """Return the image back, where nothing is done to it."""
    return image


def copied(image: Any, *drawn: Any) -> Tensor:
    """Return the values of an image in memory of their own."""
    return to_tensor(image).clone()


def plain(image: Any, *drawn: Any) -> Tensor:
    """Return the values of an image as another plain tensor; in the same memory, if it is a tensor."""
    return to_tensor(image).as_subclass(Tensor)
