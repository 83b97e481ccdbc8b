"""What the transforms of a segment draw for an image: sampled, taken apart, written down, and played back."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from learned_transforms.errors import PipelineValueError, SingularMatrixError
from learned_transforms.images.formats import Form, Window, shape_of
from learned_transforms.ir.ops import Shape
from learned_transforms.ir.sizing import Size
from learned_transforms.transforms.containers import Container, Leaf, reached
from learned_transforms.transforms.params import from_params, to_params
from learned_transforms.transforms.registry import spec_of
from learned_transforms.transforms.rng import toss, toss_many
from learned_transforms.transforms.sampler import sampler_of
from learned_transforms.transforms.spec import SIDES, Outcome, Seen, Spec

Drawn = tuple[tuple[Outcome, ...], Window | None]
"""Outcomes of the random transforms of a segment, in order; and the part of the image that the first one drew."""

Effect = tuple[int, Spec, Outcome]
"""The position of a transform that is applied, what it is, and what it drew."""


class Draws:
    """What consecutive transforms draw.

    Args:
        leaves: the transforms; of those that look at the image before they draw, only the first, or such as draw from
            the size that those before leave.
        given: for each of them, what images it gets.
        drawer: position of the one whose window is cut out of the image first; None: there is none.

    Attributes:
        specs: what the transforms are.
        random: positions of those that draw.
        lonely: of those that take one image in a sample.
        affecting: of those that do anything to what goes with images.
        chances: where all that is drawn are coins, each whatever the others: of each. They are tossed together.
        tossing: whether that is so.
        factored: positions of those that draw factors.
        relative: of these, of which the size of the image decides on the factors.
        varying: some draw where the image goes, and hardly ever the same twice.
        tracking: some of these or others draw from the size that those before them left.
    """

    def __init__(self, leaves: Sequence[Leaf], given: Sequence[Form], drawer: int | None) -> None:
        self.leaves, self.drawer = leaves, drawer
        # As for Pad, mirrored padding of PIL images may be larger than these.
        self.limited = [form.container != "pil" for form in given]
        self.specs = [spec_of(leaf.transform) for leaf in leaves]
        self.random = [position for position, spec in enumerate(self.specs) if spec.random]
        self.lonely = [position for position, spec in enumerate(self.specs) if spec.alone]
        self.affecting = [position for position, spec in enumerate(self.specs) if spec.affects]
        self.chances = [spec.chance() for spec in self.specs if spec.coin]
        self.tossing = all(leaf.within is None for leaf in leaves) and len(self.chances) == len(self.random)
        others = [position for position in self.random if position != drawer]
        self.factored = [position for position in others if self.specs[position].factors]
        self.relative = [position for position in self.factored if self.specs[position].relative]
        drawing = [self.specs[position] for position in others]
        self.varying = any(spec.placing or (spec.windowing and not spec.measuring) for spec in drawing)
        self.tracking = self.varying or any(spec.measuring for spec in drawing)
        self.containers = [form.container for form in given]
        self.sampler = None if self.tossing or self.tracking else sampler_of(leaves, self.random)

    def __call__(self, image: Any, beside: Any = None) -> Drawn:
        """Draw for an image, and for the :class:`~companions.Beside` that goes with it."""
        if self.tossing:
            return toss(self.chances) if self.chances else (), None
        shape = shape_of(image)
        drawn = None if self.sampler is None else self.sampler(shape)
        if drawn is not None:
            return drawn
        window: Window | None = None
        outcomes: dict[int, Outcome] = {}
        seen, known = Seen(shape), 0
        for position in self.random:
            spec = self.specs[position]
            limited = self.limited[position] or (beside is not None and beside.masked)
            if self.tracking:
                shape, known = self.shape_behind(shape, known, position, outcomes), position
                seen = Seen(shape, limited)
            if not self.reached(position, outcomes):
                outcomes[position] = False
            elif position == self.drawer:
                window, outcomes[position] = spec.window(shape[1:], limited), True
            elif spec.placing and beside is not None:
                beside.advance(position, self.effects(self.affecting, outcomes), window)
                outcomes[position] = spec.sample(seen._replace(boxes=beside.boxes(spec.transform)))
            else:
                try:
                    outcomes[position] = spec.sample(seen)
                except SingularMatrixError as error:
                    error.position, error.outcomes = position, outcomes
                    raise
        return tuple(outcomes.values()), window

    def many(self, shape: Shape, images: int) -> list[Drawn] | None:
        """Draw for so many images of a shape (C, H, W), one after the other, at once; None, and nothing is drawn: each
        must be drawn for by itself."""
        if self.tossing:
            return [(coins, None) for coins in toss_many(self.chances, images)]
        return None if self.sampler is None else self.sampler.many(shape, images)

    def retold(self, drawn: Drawn, by: "Draws") -> Drawn:
        """Return what the same transforms drew in another segment, where another of them, or none, may cut its window
        out first, as they would have drawn it here."""
        if self.drawer == by.drawer:
            return drawn
        outcomes, window = by.by_position(drawn[0]), drawn[1]
        if by.drawer is not None and window is not None:
            outcomes[by.drawer], window = tuple(zip(SIDES, window, strict=True)), None
        found = False if self.drawer is None else outcomes[self.drawer]
        if self.drawer is not None and not isinstance(found, bool):
            top, left, height, width = (value for _, value in found)
            outcomes[self.drawer], window = True, (top, left, height, width)
        return tuple(outcomes.values()), window

    def by_position(self, outcomes: Sequence[Outcome]) -> dict[int, Outcome]:
        """Return outcomes by the positions of the transforms that drew them."""
        return dict(zip(self.random, outcomes, strict=True))

    def reached(self, position: int, outcomes: Mapping[int, Outcome]) -> bool:
        """Return whether the containers around a transform, if there are any, come to it."""
        _, within, branch = self.leaves[position]
        if within is None:
            return True
        return reached(outcomes.get(within, True), branch) and self.reached(within, outcomes)

    def applied(self, position: int, outcomes: Mapping[int, Outcome]) -> Outcome:
        """Return what was drawn for a transform: False where it, or a container around it, is left out."""
        return self.reached(position, outcomes) and outcomes.get(position, True)

    def effects(self, positions: Iterable[int], outcomes: Sequence[Outcome] | Mapping[int, Outcome]) -> list[Effect]:
        """List those transforms of some that are applied, with what they drew.

        Args:
            outcomes: in order, or by position.
        """
        known = outcomes if isinstance(outcomes, Mapping) else self.by_position(outcomes)
        found: list[Effect] = []
        for position in positions:
            outcome = known.get(position, True)
            within = self.leaves[position].within
            if outcome is not False and (within is None or self.reached(position, known)):
                found.append((position, self.specs[position], outcome))
        return found

    def ran(self, outcomes: Sequence[Outcome]) -> list[tuple[Spec, Outcome]]:
        """List the transforms that did something and are no containers, with what they drew."""
        found = []
        for _, spec, outcome in self.effects(range(len(self.specs)), outcomes):
            if not isinstance(spec, Container) and spec.takes_effect(outcome):
                found.append((spec, outcome))
        return found

    def alone(self, outcomes: Sequence[Outcome]) -> bool:
        """Return whether a transform runs that takes one image in a sample."""
        return bool(self.effects(self.lonely, outcomes))

    def shape_behind(self, shape: Shape, first: int, stop: int, outcomes: Mapping[int, Outcome]) -> Shape:
        """Return (C, H, W) of an image behind the transforms from number ``first`` up to ``stop``, excluded."""
        size = shape[1:]
        for position in range(first, stop):
            outcome = self.applied(position, outcomes)
            if outcome is not False:
                size = self.specs[position].size_behind(size, outcome, self.containers[position])
        return shape[0], *size

    def split(self, outcomes: Sequence[Outcome], image: Any) -> tuple[tuple[Outcome, ...], tuple[float, ...]]:
        """Take the factors, which go to the plan beside the image, out of outcomes; the rest decides on the plan."""
        structure: list[Outcome] = []
        factors: list[float] = []
        sizes = self.sizes_before(shape_of(image), outcomes) if self.relative else {}
        for position, outcome in zip(self.random, outcomes, strict=True):
            if position in self.factored:
                size = sizes.get(position, (0, 0))
                outcome, own = self.specs[position].split(outcome, size, self.containers[position])
                factors += own
            structure.append(outcome)
        return tuple(structure), tuple(factors)

    def sizes_before(self, shape: Shape, outcomes: Sequence[Outcome]) -> dict[int, Size]:
        """Return (rows, columns) of what transforms get whose factors follow from that, of an image of ``shape``."""
        known, last, sizes = self.by_position(outcomes), 0, {}
        for position in self.relative:
            shape, last = self.shape_behind(shape, last, position, known), position
            sizes[position] = shape[1:]
        return sizes

    def without_whole(self, position: int, outcomes: tuple[Outcome, ...], shape: Shape) -> tuple[Outcome, ...]:
        """Leave a crop of all that is there out of outcomes, for an image of ``shape`` (C, H, W)."""
        known = self.by_position(outcomes)
        found = known[position]
        if isinstance(found, bool) or not self.reached(position, known):
            return outcomes
        _, *size = self.shape_behind(shape, 0, position, known)
        if tuple(dict(found)[side] for side in SIDES) != (0, 0, *size):
            return outcomes
        known[position] = False
        return tuple(known.values())

    def to_params(self, drawn: Drawn) -> list[Any]:
        """Write what was drawn as plain values: an entry for each transform, within that of its container."""
        outcomes = self.by_position(drawn[0])
        entries: list[Any] = []
        lists: dict[int | None, list[Any] | None] = {None: entries}
        for position, (leaf, spec) in enumerate(zip(self.leaves, self.specs, strict=True)):
            around, outcome = lists[leaf.within], outcomes.get(position, True)
            if around is None or not self.reached(position, outcomes):
                lists[position] = None
            elif isinstance(spec, Container) and outcome is not False:
                entry, lists[position] = spec.entry(outcome)
                around.append(entry)
            else:
                lists[position] = None
                around.append(to_params(outcome if drawn[1] is None or position != self.drawer else drawn[1]))
        return entries

    def from_params(self, entries: Sequence[Any]) -> Drawn:
        """Read what was drawn; there is an entry for each transform that is not in a RandomApply.

        Raises:
            PipelineValueError: the entries do not fit the transforms.
        """
        outcomes: dict[int, Outcome] = {}
        window: Window | None = None
        lists: dict[int | None, list[Any] | None] = {None: list(entries)}
        for position, (leaf, spec) in enumerate(zip(self.leaves, self.specs, strict=True)):
            around = lists[leaf.within]
            lists[position] = None
            outcome: Outcome = False
            if around is not None and self.reached(position, outcomes):
                if not around:
                    raise PipelineValueError("Expected params for each transform in a container, got too few entries.")
                outcome, inner = parsed(spec, around.pop(0))
                lists[position] = inner if outcome is not False else None
            if position == self.drawer and isinstance(outcome, tuple):
                top, left, height, width = (side for _, side in outcome)
                window, outcome = (top, left, height, width), True
            if spec.random:
                outcomes[position] = outcome
        if any(lists.values()):
            raise PipelineValueError("Expected params for each transform in a container, got too many entries.")
        return tuple(outcomes.values()), window


def parsed(spec: Spec, entry: Any) -> tuple[Outcome, list[Any] | None]:
    """Read an entry of params; of a container, with the list of those in it.

    Raises:
        PipelineValueError: it does not fit the transform.
    """
    if not isinstance(spec, Container):
        return from_params(spec, entry), None
    found = spec.parsed(entry)
    if found is None:
        name = type(spec.transform).__name__
        raise PipelineValueError(f"Expected params of {name}, got {entry!r}; see make_params(image).")
    return found
