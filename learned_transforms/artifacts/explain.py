"""What runs each transform of a pipeline, and where its numbers come from."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from learned_transforms.certificate import Certificate
from learned_transforms.images.formats import Form
from learned_transforms.layers.base import Layer, Params
from learned_transforms.layers.network import Network
from learned_transforms.layers.pointwise import Lookup, Selecting
from learned_transforms.transforms.containers import CONTAINERS, leaves
from learned_transforms.transforms.convert import OWN
from learned_transforms.transforms.partial import members
from learned_transforms.transforms.registry import SPECS, cover, spec_of
from learned_transforms.transforms.spec import PILLOWS, Step, Twin
from learned_transforms.transforms.torch_ops import OPERATIONS, operates


@dataclass(frozen=True)
class Row:
    """One transform, for one kind of input.

    Attributes:
        kind: of the input of the pipeline.
        transform: its repr.
        layer: what runs it: a layer's name, ``"torchvision"``, what torch itself computes, or ``"-"`` where no value
            changes.
        tier: of the layer's certificate, and what that was measured on where other versions are installed here, as
            ``"exact (torch 2.15.0)"``; ``"-"`` where values are only copied, or torch computes them.
        numbers: every number, as ``name: learned | selected | given``.
        backend: what runs the layer.
        reason: why torchvision runs it; empty otherwise.
    """

    kind: str
    transform: str
    layer: str
    tier: str
    numbers: Mapping[str, str]
    backend: str
    reason: str = ""


@dataclass(frozen=True)
class Explanation:
    """Rows for each transform; printed as a table."""

    rows: Sequence[Row]

    def __str__(self) -> str:
        head = ("input", "transform", "layer", "tier", "learned", "selected", "given")
        lines: list[tuple[str, ...]] = [head]
        for row in self.rows:
            by_mark = {mark: ", ".join(n for n, m in row.numbers.items() if m == mark) for mark in head[4:]}
            layer = f"torchvision ({row.reason})" if row.reason else row.layer
            lines.append((row.kind, row.transform, layer, row.tier, *(by_mark[mark] or "-" for mark in head[4:])))
        widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
        return "\n".join(
            "  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
        )

    __repr__ = __str__


def unsupported(name: str, reason: str) -> str:
    """Return what to say of a transform that no layer covers."""
    return (
        f"No learned layer runs {name}: {reason}. Learn it from its outputs with "
        "learned_transforms.trainer.retrain(transform, images), or allow fallback='torchvision'."
    )


class Known(NamedTuple):
    """What a pipeline has: learned layers by key, certificates by name, and where its numbers come from."""

    layers: Any
    certificates: Mapping[str, Certificate]
    provenance: Mapping[str, str]


def explain(
    kind: str,
    form: Form,
    pieces: Sequence[Any],
    known: Known,
    backend: str,
    route: Mapping[int, str | Form],
    outside: str | None,
    stand_in: Callable[[int], Any],
    left: Callable[[Form, int], bool],
) -> list[Row]:
    """Return the rows for one kind of input.

    Before a call, what comes behind a transform in torchvision is told for the form before it, and a foreign transform
    behind one that gives several images is taken to make one of them again.

    Args:
        pieces: the transforms, see ``identify.Piece``.
        route: of the last call with such an input, by position: why torchvision itself ran a transform, or the form of
            the image with which layers began.
        outside: why torchvision runs everything; None: it does not.
        stand_in: from a position to what runs there in part in layers, see ``partial.stand_in``.
        left: whether Pillow itself runs what begins at a position on images of a form.
    """
    rows = []
    for position, (own, transform) in enumerate(pieces):
        if isinstance(transform, Network):
            if transform.kind != kind:
                return []
            for number, (layer, params) in enumerate(zip(transform.members, transform.params, strict=True)):
                tier = tier_of(known.certificates, f"{position}/{number}", str(position))
                rows.append(layer_row(kind, "Network", layer, params, transform.learned, tier, backend))
            form = form._replace(container=transform.output, dtype="float32" if transform.floats else "uint8")
            continue
        told = route.get(position, outside)
        form = told if isinstance(told, Form) else form
        if not isinstance(told, str) and left(form, position):
            told = PILLOWS
        covered = told if isinstance(told, str) else cover(transform, form, known.layers)
        if covered == OWN or operates(transform):
            rows += operation_rows(kind, transform)
            continue
        mixed = stand_in(position) if isinstance(covered, str) and not isinstance(told, str) else None
        if mixed is not None:
            rows.append(Row(kind, name_of(own), "-", "-", {}, "-"))
            for part in members(mixed, transform):
                rows += [replace(row, transform=f"  {row.transform}") for row in part_rows(kind, form, part, backend)]
            continue
        if isinstance(covered, str):
            rows.append(Row(kind, name_of(own), "torchvision", "-", {}, "torchvision", covered))
            form = form._replace(several=form.several and type(transform) in SPECS)
            continue
        # Where the order is drawn, each transform comes once for each place.
        for place, (leaf, done) in enumerate({id(leaf.transform): (leaf, done) for leaf, done in covered}.values()):
            form = done.form
            name = ("" if leaf.within is None else "  ") + name_of(
                own if isinstance(leaf.transform, Twin) and not place else leaf.transform
            )
            for label, one in named(name, done):
                rows.append(step_row(kind, label, one, known, backend))
    return rows


def part_rows(kind: str, form: Form, part: Any, backend: str) -> list[Row]:
    """Return the rows of a pipeline, or of a foreign transform, within something that runs in part in layers."""
    if not hasattr(part, "pieces"):
        return [Row(kind, name_of(part), "torchvision", "-", {}, "torchvision", "not in the catalogue")]
    known = Known(part.layers, part.certificates, part.provenance)
    return explain(kind, form, part.pieces, known, backend, {}, None, part.stand_in, part.left_to_pillow)


def operation_rows(kind: str, transform: Any) -> list[Row]:
    """Return the rows for what torch itself computes; of a container, for each transform in it too."""
    rows = []
    for leaf in {id(leaf.transform): leaf for leaf in leaves(transform)}.values():
        one, operation = leaf.transform, OPERATIONS.get(type(leaf.transform))
        runs = "-" if type(one) in CONTAINERS else "torch" if operation is None else operation.runs(kind)
        numbers = dict.fromkeys(spec_of(one).arguments, "given")
        name = ("" if leaf.within is None else "  ") + name_of(one)
        rows.append(Row(kind, name, runs, "-", numbers, "-" if runs == "-" else "torch"))
    return rows


def named(name: str, done: Step) -> list[tuple[str, Step]]:
    """Return the step of a transform; or of several layers first the transform, then each layer once."""
    used = [part for part in done.parts if part.key is not None or part.layer is not None]
    parts = {f"{name[: len(name) - len(name.lstrip())]}  {role_of(part)}": part for part in used}
    return [(name, Step(done.form, given=done.given) if done.parts else done), *parts.items()]


def role_of(step: Step) -> str:
    return type(step.layer).__name__ if step.key is None else step.key.partition("/")[2]


def step_row(kind: str, name: str, step: Step, known: Known, backend: str) -> Row:
    runs: Layer | None = step.layer if step.key is None else known.layers[step.key]
    if runs is None:
        return Row(kind, name, "-", "-", dict.fromkeys(step.given, "given"), "-")
    # A table that was read off the transform itself holds for every level that there is.
    tier = "proved" if isinstance(runs, Lookup | Selecting) and step.key is None else "-"
    tier = tier if step.key is None else tier_of(known.certificates, step.key)
    row = layer_row(kind, name, runs, step.params, (), tier, backend)
    # The file knows more than the layer: what was given when a number was learned.
    marks, prefix = known.provenance.items(), f"{step.key}."
    own = {name.removeprefix(prefix): mark for name, mark in marks if name.startswith(prefix)}
    return replace(row, numbers={**row.numbers, **own, **dict.fromkeys(step.given, "given")})


def name_of(transform: Any) -> str:
    """Its repr, without those of the transforms in it."""
    if type(transform) not in CONTAINERS:
        return str(transform)
    return f"{type(transform).__name__}(p={transform.p})" if hasattr(transform, "p") else type(transform).__name__


def tier_of(certificates: Mapping[str, Certificate], *names: str) -> str:
    found = next((certificates[name] for name in names if name in certificates), None)
    if found is None:
        return "not certified"
    elsewhere = found.measured_elsewhere()
    return found.tier if elsewhere is None else f"{found.tier} ({elsewhere})"


def layer_row(
    kind: str, transform: str, layer: Layer, params: Params | None, learned: Sequence[str], tier: str, backend: str
) -> Row:
    given = {name: "learned" if name in learned else "given" for name in params or {}}
    return Row(kind, transform, type(layer).__name__, tier, {**layer.provenance(), **given}, backend)
