"""What is drawn for an image as a row of numbers, which graphs take as an input: one row for each image."""

import math
import random
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from learned_transforms.errors import InputTypeError, PipelineValueError, UnsupportedTransformError
from learned_transforms.images.formats import Form, form_of, shape_of
from learned_transforms.images.pytree import describe_leaf
from learned_transforms.ir.ops import Shape
from learned_transforms.runtime.draws import Drawn
from learned_transforms.runtime.pipeline import Pipeline
from learned_transforms.runtime.segment import Segment
from learned_transforms.transforms.places import Windowed
from learned_transforms.transforms.registry import name_of
from learned_transforms.transforms.rng import use_generator
from learned_transforms.transforms.spec import SIDES, Outcome, Seen, Spec

LARGE = (4096, 4096)
"""Rows and columns of an image for which anything can be drawn."""

MOST_TRIES = 64
"""Draws after which a number that is still None is never drawn."""


class Field(NamedTuple):
    """A number of a row.

    Attributes:
        segment: which segment of the pipeline draws it.
        leaf: position, among the transforms of that, of the one that draws it.
        name: of the param; empty for a coin.
        part: which number of a param that is several; None: it is one.
        kind: its type, as params have it.
        label: what it is, in words without spaces: ``0.RandomResizedCrop.top``.
    """

    segment: int
    leaf: int
    name: str
    part: int | None
    kind: type
    label: str


class DrawRow:
    """How what a pipeline draws for an image lies in a row of float64; NaN stands for None, and for what is not drawn.

    Args:
        pipeline: the pipeline.
        form: of its images.
        channels: of its images.

    Attributes:
        segments: that the pipeline is, in order.
        fields: one for each number.

    Raises:
        UnsupportedTransformError: a transform that no layer covers, or whose draws are no row of numbers; by name.
    """

    def __init__(self, pipeline: Pipeline, form: Form, channels: int = 3) -> None:
        self.segments = segments_of(pipeline, form)
        self.fields: list[Field] = []
        for number, segment in enumerate(self.segments):
            draws = segment.draws
            for position in draws.random:
                spec, name = draws.specs[position], name_of(draws.leaves[position].transform)
                place = f"{len(self.fields)}.{name}"
                for key, part, kind in shape_of_draw(spec, position == draws.drawer, channels, name):
                    label = ".".join([place, *filter(None, (key,)), *([] if part is None else [str(part)])])
                    self.fields.append(Field(number, position, key, part, kind, label))

    def __len__(self) -> int:
        return len(self.fields)

    def pack(self, params: Sequence[Any]) -> Tensor:
        """Return params, as ``make_params`` gives them, as a row: float64 ``[len(self)]``.

        Raises:
            PipelineValueError: they do not fit the pipeline.
        """
        count = self.segments[-1].stop if self.segments else 0
        if not isinstance(params, list | tuple) or len(params) != count:
            raise PipelineValueError(f"Expected a list of {count} params, one for each transform, got {params!r:.200}.")
        known, start = [], 0
        for segment in self.segments:
            outcomes, window = segment.draws.from_params(params[start : segment.stop])
            known.append((segment.draws.by_position(outcomes), window))
            start = segment.stop
        return self.row_of(known)

    def draw(self, shape: Shape) -> Tensor:
        """Draw for an image of ``shape`` (C, H, W), from torch's generator, as a call of the pipeline does."""
        known = []
        for segment in self.segments:
            # Of an image of one number, only its shape is looked at.
            outcomes, window = segment.draws(torch.empty((), device="cpu").expand(shape))
            found = segment.draws.by_position(outcomes)
            known.append((found, window))
            shape = segment.draws.shape_behind(shape, 0, len(segment.draws.specs), found)
        return self.row_of(known)

    def row_of(self, known: Sequence[tuple[dict[int, Outcome], Any]]) -> Tensor:
        values = [value_of(field, *known[field.segment]) for field in self.fields]
        return torch.tensor(values, dtype=torch.float64, device="cpu")

    def drawn(self, row: Tensor) -> list[Drawn]:
        """Return what was drawn for each segment, out of a row.

        Raises:
            PipelineValueError: it is no such row.
        """
        if row.shape != (len(self),):
            raise PipelineValueError(
                f"Expected a row of {len(self)} numbers for this pipeline, got {tuple(row.shape)}."
            )
        values = row.tolist()
        own: list[list[tuple[Field, float]]] = [[] for _ in self.segments]
        for field, value in zip(self.fields, values, strict=True):
            own[field.segment].append((field, value))
        return [drawn_of(segment, part) for segment, part in zip(self.segments, own, strict=True)]

    def unpack(self, row: Tensor) -> list[Any]:
        """Return the opposite.

        Raises:
            PipelineValueError: it is no such row.
        """
        params: list[Any] = []
        for segment, drawn in zip(self.segments, self.drawn(row), strict=True):
            params += segment.draws.to_params(drawn)
        return params


def row_for(pipeline: Pipeline, image: Any) -> DrawRow:
    """Return how what a pipeline draws for images like this one lies in a row.

    Raises:
        InputTypeError: layers take no such images. UnsupportedTransformError: see :class:`DrawRow`.
    """
    form = form_of(image)
    if form is None:
        raise InputTypeError(f"Expected one image with a row of params, got {describe_leaf(image)}.")
    return DrawRow(pipeline, form, shape_of(image)[0])


def segments_of(pipeline: Pipeline, form: Form) -> list[Segment]:
    """Return the segments that a pipeline is, all of it, for images of ``form``.

    Raises:
        UnsupportedTransformError: some transform is covered by no layer, by name.
    """
    pipeline.renew()
    segments: list[Segment] = []
    start = 0
    while start < len(pipeline.pieces):
        name = name_of(pipeline.pieces[start].transform)
        if pipeline.operating[start]:
            raise no_graph(name, "it is torch's own")
        segment = pipeline.segment(form, start)
        if segment.stop == start:
            raise no_graph(name, segment.reason or "no layer covers it")
        if segment.cutting is not None:
            raise no_graph(name_of(pipeline.pieces[segment.stop - 1].transform), "it makes several images of one")
        segments.append(segment)
        form, start = segment.form, segment.stop
    return segments


def no_graph(name: str, reason: str) -> UnsupportedTransformError:
    """Return the error of a transform that cannot become part of a graph."""
    return UnsupportedTransformError(
        f"{name} cannot be part of a graph: {reason}. Leave it out of this pipeline and apply it before or behind the "
        "graph; explain() tells what layers cover."
    )


def shape_of_draw(spec: Spec, cut: bool, channels: int, name: str) -> list[tuple[str, int | None, type]]:
    """List what a transform draws: names, parts and types.

    Args:
        cut: its window is cut out of the image first.

    Raises:
        UnsupportedTransformError: it is no list of numbers.
    """
    if spec.coin:
        return [("", None, bool)]
    if cut or isinstance(spec, Windowed):
        return [(side, None, int) for side in SIDES]
    outcome: Outcome = False
    state = random.getstate()
    with use_generator(torch.Generator().manual_seed(0)):
        for _ in range(MOST_TRIES):
            outcome = spec.sample(Seen((channels, *LARGE)))
            if isinstance(outcome, tuple) and all(value is not None for _, value in outcome):
                break
    random.setstate(state)
    if isinstance(outcome, bool):
        raise no_graph(name, "what it draws is no list of numbers")
    found: list[tuple[str, int | None, type]] = []
    for key, value in outcome:
        parts = list(enumerate(value)) if isinstance(value, tuple) else [(None, value)]
        found += [(key, part, float if one is None else type(one)) for part, one in parts]
    if not all(kind in (int, float, bool) for _, _, kind in found):
        raise no_graph(name, "what it draws is no list of numbers")
    return found


def value_of(field: Field, outcomes: dict[int, Outcome], window: Any) -> float:
    """Return the number that a field has under what was drawn."""
    outcome = outcomes.get(field.leaf, False)
    if not field.name:
        return float(outcome is not False)
    if outcome is True and window is not None:
        return float(window[SIDES.index(field.name)])
    value = dict(outcome)[field.name] if isinstance(outcome, tuple) else None
    if value is not None and field.part is not None:
        value = value[field.part]
    return math.nan if value is None else float(value)


def drawn_of(segment: Segment, own: Sequence[tuple[Field, float]]) -> Drawn:
    """Return what was drawn for a segment, of its fields and their values."""
    outcomes: dict[int, Outcome] = {}
    window: Any = None
    for position in segment.draws.random:
        fields = [(field, value) for field, value in own if field.leaf == position]
        if not fields[0][0].name:
            outcomes[position] = fields[0][1] != 0
            continue
        if all(math.isnan(value) for _, value in fields):
            outcomes[position] = False
            continue
        values: dict[str, Any] = {}
        for field, value in fields:
            one = None if math.isnan(value) else field.kind(round(value) if field.kind is int else value)
            values[field.name] = one if field.part is None else (*(values.get(field.name) or ()), one)
        known = {k: None if isinstance(v, tuple) and None in v else v for k, v in values.items()}
        if position == segment.draws.drawer:
            if None in known.values():
                raise PipelineValueError("Expected a window (top, left, height, width) in the row, got NaN.")
            window, outcomes[position] = tuple(known[side] for side in SIDES), True
        else:
            outcomes[position] = tuple(known.items())
    return tuple(outcomes.values()), window
