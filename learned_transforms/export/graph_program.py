"""A pipeline as a program for graphs: its operations, under what condition each runs, and what is drawn for it."""

from collections.abc import Iterator
from functools import reduce
from typing import Any

from learned_transforms.export.picture import Picture
from learned_transforms.export.resample import resized_size
from learned_transforms.export.steps import Condition, GraphStep, run_steps
from learned_transforms.images.formats import Form
from learned_transforms.ir.ops import Gather, Mix, Pick, Resize, Stage, Warp
from learned_transforms.layers.resize import Resizing
from learned_transforms.modes import out_of_sight
from learned_transforms.runtime.pipeline import Pipeline
from learned_transforms.runtime.rows import DrawRow, no_graph
from learned_transforms.runtime.segment import Segment
from learned_transforms.transforms.color import ColorJitter, GaussianBlur, Jittered
from learned_transforms.transforms.containers import Applying, Choosing, RandomOrder
from learned_transforms.transforms.places import Cut, Windowed
from learned_transforms.transforms.registry import name_of
from learned_transforms.transforms.spec import SIDES, Spec


class GraphProgram:
    """A pipeline for images of one form, to be run in a graph.

    Args:
        pipeline: the pipeline.
        form: of its images.
        channels: of its images.

    Attributes:
        row: what is drawn for an image, as the graph takes it.

    Raises:
        UnsupportedTransformError: a transform that is no part of a graph, by name.
    """

    def __init__(self, pipeline: Pipeline, form: Form, channels: int = 3) -> None:
        self.row, self.channels, self.floating = DrawRow(pipeline, form, channels), channels, form.dtype != "uint8"
        for segment in self.row.segments:
            for position in segment.draws.random:
                check(segment, position)

    def run(self, g: Any, x: Any, row: Any, height: Any, width: Any) -> Picture:
        """Return what the pipeline makes of an image; levels are uint8.

        Args:
            g: the graph.
            x: the image, ``[..., C, H, W]``.
            row: what was drawn; None: nothing is.
            height, width: lengths of the image.
        """
        known = isinstance(height, int) and isinstance(width, int)
        least = (height, width) if known else (1, 1)
        picture = Picture(x, self.channels, height, width, not self.floating, least)
        for number, segment in enumerate(self.row.segments):
            with out_of_sight():
                steps = list(Lowering(g, self.row, row, number, segment).steps(picture))
            picture = run_steps(g, picture, steps)
        return picture.of(g.cast(picture.x, "uint8")) if picture.levels else picture


def check(segment: Segment, position: int) -> None:
    """Require that a graph can follow what a transform draws.

    Raises:
        UnsupportedTransformError: it cannot.
    """
    draws = segment.draws
    spec, name = draws.specs[position], name_of(draws.leaves[position].transform)
    if position == draws.drawer:
        if draws.leaves[position].within is not None:
            raise no_graph(name, "whether an image is cut is drawn")
        return
    if not (spec.coin or isinstance(spec, ColorJitter | GaussianBlur | Cut | Applying | Choosing | RandomOrder)):
        raise no_graph(name, "no graph follows what it draws yet")
    if isinstance(spec, Cut) and draws.leaves[position].within is not None:
        raise no_graph(name, "whether an image is cut is drawn")


class Lowering:
    """A segment of a program, in a graph.

    Args:
        values: the row, of the graph; None: nothing is drawn.
        number: of the segment.
    """

    def __init__(self, g: Any, row: DrawRow, values: Any, number: int, segment: Segment) -> None:
        self.g, self.segment, self.values = g, segment, values
        self.places = {(f.leaf, f.name, f.part): place for place, f in enumerate(row.fields) if f.segment == number}
        draws = segment.draws
        self.slots: list[tuple[int, str]] = []
        for position, spec in enumerate(draws.specs):
            if position != draws.drawer:  # A window that is cut out first has no slots.
                self.slots += [(position, name) for name in spec.factors]

    def value(self, leaf: int, name: str, part: int | None = None) -> Any:
        """Return a number of the row."""
        place = self.places[leaf, name, part]
        return self.g.squeeze(self.g.slice(self.values, place, place + 1, 0), 0)

    def window(self) -> tuple[Any, ...]:
        drawer = self.segment.draws.drawer or 0
        return tuple(self.g.cast(self.value(drawer, side), "int64") for side in SIDES)

    def drawn(self, slot: int) -> Any:
        return self.value(*self.slots[slot])

    def is_whole(self, leaf: int, name: str, part: int | None, number: int) -> Condition:
        return lambda: self.g.equal(self.value(leaf, name, part), float(number))

    def reached(self, position: int) -> tuple[Condition, ...]:
        """Return the conditions under which the containers around a transform come to it."""
        _, within, branch = self.segment.draws.leaves[position]
        if within is None:
            return ()
        spec = self.segment.draws.specs[within]
        if branch is None:
            own: Condition = lambda: self.value(within, "") > 0.0  # noqa: E731 - one of several of its kind
        elif len(branch) == 1:
            own = self.is_whole(within, spec.names[0], None, branch[0])
        else:
            own = self.is_whole(within, spec.names[0], branch[0], branch[1])
        return (*self.reached(within), own)

    def conditions(self, position: int, part: int | None) -> tuple[Condition, ...] | None:
        """Return the conditions under which a layer of a transform runs; None: it never does."""
        spec = self.segment.draws.specs[position]
        around = self.reached(position)
        if spec.coin:
            return (*around, lambda: self.value(position, "") > 0.0)
        if isinstance(spec, ColorJitter):
            place, layer = divmod(part or 0, 4)
            if not used(spec)[layer]:
                return None
            return (*around, self.is_whole(position, "fn_idx", place, layer))
        return around

    def steps(self, picture: Picture) -> Iterator[GraphStep]:
        """Yield what each layer does to a picture."""
        segment, network = self.segment, self.segment.network
        draws = segment.draws
        shape: Any = (picture.channels, picture.height, picture.width)
        cutting = draws.drawer is not None
        known = isinstance(picture.height, int) and isinstance(picture.width, int)
        for layer, given, (position, part) in zip(network.members, network.params, segment.owners, strict=True):
            spec = draws.specs[position]
            name = name_of(draws.leaves[position].transform)
            conditions = self.conditions(position, part)
            if given is None or conditions is None:
                continue
            if isinstance(spec, Cut) and position != draws.drawer:
                rows, columns = spec.size_after((0, 0))
                given = {**given, "height": rows, "width": columns}
            window = None
            if cutting and position >= (draws.drawer or 0):
                cutting = False
                window = self.window
                if not segment.beginning.resizing:
                    rows, columns = given["size"]
                    given = {**given, "height": rows, "width": columns, "starts": None}
            if known:
                stages = layer.stages(shape, given) if layer.by_size(given) else layer.free(shape[0], given)
                shape = reduce(lambda s, stage: stage.output(s), stages, shape)
            elif layer.by_size(given):
                raise no_graph(name, "it is of one size: export it with size=(rows, columns)")
            else:
                stages = layer.free(shape[0], given)
                shape = (reduce(channels_behind, stages, shape[0]), *shape[1:])
            yield GraphStep(name, tuple(stages), conditions, self.drawn, window)


def used(spec: Spec) -> tuple[bool, ...]:
    """Return which of its four layers a ColorJitter has."""
    return tuple(getattr(spec.transform, name) is not None for name in ("brightness", "contrast", "saturation", "hue"))


def channels_behind(channels: int, stage: Stage) -> int:
    return stage.output((channels, 1, 1))[0] if isinstance(stage, Gather | Mix) else channels


def output_size_of(g: Any, segment: Segment, shape: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the shape (C, H, W) of what a segment makes of images of ``shape``, whose lengths may be symbols.

    Whatever is drawn, it is the same: of transforms that draw it, the result is wrong.
    """
    draws, (channels, height, width) = segment.draws, shape
    for layer, given, (position, _) in zip(
        segment.network.members, segment.network.params, segment.owners, strict=True
    ):
        spec = draws.specs[position]
        if given is None or spec.optional:
            continue
        if isinstance(spec, Windowed) and not isinstance(layer, Resizing):
            height, width = spec.size_after((0, 0))
            continue
        if isinstance(spec, Jittered) or draws.leaves[position].within is not None:
            continue
        known = isinstance(height, int) and isinstance(width, int)
        if layer.by_size(given) and not known:
            raise no_graph(name_of(draws.leaves[position].transform), "it is of one size")
        stages = layer.stages((channels, height, width), given) if known else layer.free(channels, given)
        for stage in stages:
            if known:
                channels, height, width = stage.output((channels, height, width))
            elif isinstance(stage, Resize | Pick):
                height, width = resized_size(g, stage.sizing, height, width)
            elif isinstance(stage, Gather):
                height, width = (
                    length if one is None else one.length(length)
                    for one, length in ((stage.rows, height), (stage.columns, width))
                )
            elif isinstance(stage, Warp) and stage.size is not None:
                height, width = stage.size
            channels = channels_behind(channels, stage)
    return channels, height, width
