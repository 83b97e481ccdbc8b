"""Program files: a pipeline as the operations that it comes to, which native code runs without Python.

A file is safetensors. Its metadata hold the operations as JSON, the pipeline, the certificates of its layers, and a
hash of the file; its tensors are the arrays of the operations. ``kernels/native/file/`` reads it.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any, Literal

import numpy as np
import torch

from learned_transforms.artifacts.describe import describe
from learned_transforms.artifacts.stored import write
from learned_transforms.artifacts.weights import target_of
from learned_transforms.errors import (
    PipelineTypeError,
    PipelineValueError,
    UnsupportedTransformError,
    brief,
    check_choice,
)
from learned_transforms.images.formats import Form
from learned_transforms.ir.plan import Plan
from learned_transforms.kernels.stages import made_of, unfit
from learned_transforms.runtime.pipeline import Pipeline
from learned_transforms.runtime.segment import Segment
from learned_transforms.transforms.identify import read
from learned_transforms.transforms.registry import name_of

FORMAT = "learned_transforms.program/1"
VERSION = 1
FORMS = {"uint8": Form("tensor", "uint8"), "pil": Form("pil", "uint8")}
"""By kind of images whose pixels a program has."""

USUAL = (512, 512)
"""Rows and columns of an image by which operations are worked out that are the same for all sizes."""

MOST_COINS = 10
"""Of a program: each doubles its outcomes."""

DTYPES = {"uint8": "U8", "uint16": "U16", "int32": "I32", "int64": "I64", "float32": "F32", "float64": "F64"}
"""Names of safetensors', by those of numpy's."""

NO_DIGEST = "0" * 64
"""In its place, the hash of a file is taken."""


def program(
    pipeline: Pipeline,
    path: str | os.PathLike[str] | None = None,
    *,
    kind: Literal["uint8", "pil"] = "uint8",
    size: Sequence[int] | None = None,
    channels: int = 3,
) -> bytes:
    """Return a pipeline as a program file, which the C library and the browser run with the pixels of eager calls.

    Coins and a window that are drawn are inputs of it, see :func:`draw_of`.

    Args:
        pipeline: a :class:`~learned_transforms.LearnedCompose`.
        path: where to write it; None: nowhere.
        kind: of the images whose pixels it has: ``"uint8"`` tensors, or ``"pil"``.
        size: (rows, columns) of all images, for pipelines with layers of one size; None: any.
        channels: of images.

    Raises:
        UnsupportedTransformError: a transform that no program has, by name.
        PipelineTypeError: no pipeline. PipelineValueError: an unknown kind, or an impossible size or channels.
        OSError: nothing can be written there.
    """
    check_kind(pipeline, kind)
    check_size(size, channels)
    segment = segment_of(pipeline, FORMS[kind])
    shape = channels, *(USUAL if size is None else size)
    file = Writer()
    outcomes = [file.outcome(plan_of(segment, coins, shape, size)) for coins in coins_of(segment)]
    described = {
        "version": VERSION,
        "channels": channels,
        "dtype": "uint8",
        "interleaved": segment.form.container in ("pil", "numpy"),
        "windowed": segment.draws.drawer is not None,
        "size": None if size is None else list(size),
        "coins": [name_of(segment.draws.leaves[position].transform) for position in tossed(segment)],
        "outcomes": outcomes,
        "stages": file.stages,
    }
    content = file.content({**texts(pipeline, segment), "program": compact(described)})
    if path is not None:
        write(target_of(path), content)
    return content


def draw_of(pipeline: Pipeline, params: Sequence[Any], *, kind: Literal["uint8", "pil"] = "uint8") -> dict[str, Any]:
    """Return what ``make_params`` gave as the inputs of a program.

    Returns:
        ``outcome``: bit n says whether coin n is applied; ``window``: (top, left, height, width), or None.

    Raises:
        PipelineValueError: params that do not fit the pipeline.
        UnsupportedTransformError, PipelineTypeError: as :func:`program`.
    """
    check_kind(pipeline, kind)
    segment = segment_of(pipeline, FORMS[kind])
    if not isinstance(params, list | tuple) or len(params) != segment.stop:
        raise PipelineValueError(
            f"Expected a list of {segment.stop} params, one for each transform, got {brief(params)}."
        )
    outcomes, window = segment.draws.from_params(params)
    drawn = segment.draws.by_position(outcomes)
    for position in coined(segment):
        known = certain(segment, position)
        if known is not None and bool(drawn[position]) != known:
            name = name_of(segment.draws.leaves[position].transform)
            raise PipelineValueError(f"Expected {name} to be applied {'always' if known else 'never'}, as its p says.")
    bits = (bool(drawn[position]) << number for number, position in enumerate(tossed(segment)))
    return {"outcome": sum(bits), "window": None if window is None else list(window)}


def check_kind(pipeline: Pipeline, kind: str) -> None:
    if not isinstance(pipeline, Pipeline):
        raise PipelineTypeError(
            f"Expected a LearnedCompose, got {brief(pipeline)}. LearnedCompose(transforms) makes one."
        )
    check_choice("kind", kind, FORMS)


def check_size(size: Sequence[int] | None, channels: int) -> None:
    if type(channels) is not int or channels < 1:
        raise PipelineValueError(f"Expected channels to be a whole number above 0, got {brief(channels)}.")
    whole = isinstance(size, list | tuple) and len(size) == 2 and all(type(n) is int and n > 0 for n in size)
    if size is not None and not whole:
        raise PipelineValueError(f"Expected size to be (rows, columns), whole numbers above 0, got {brief(size)}.")


def outside(name: str, reason: str) -> UnsupportedTransformError:
    """Return the error of a transform that no program has."""
    return UnsupportedTransformError(
        f"{name} cannot be part of a program file: {reason}. Leave it out of this pipeline and apply it before or "
        "behind the program; explain() tells what layers cover."
    )


def segment_of(pipeline: Pipeline, form: Form) -> Segment:
    """Return the segment that a pipeline is, all of it.

    Raises:
        UnsupportedTransformError: it is not one, or draws other things than coins and a window of the image.
    """
    pipeline.renew()
    if not pipeline.pieces:
        raise UnsupportedTransformError("There is nothing to write: the pipeline has no transforms.")
    segment = pipeline.segment(form, 0)
    names = [name_of(piece.transform) for piece in pipeline.pieces]
    operating = next((name for name, own in zip(names, pipeline.operating, strict=True) if own), None)
    if operating is not None:
        raise outside(operating, "it is torch's own")
    if segment.stop < len(names):
        raise outside(names[segment.stop], segment.reason or "it looks at what those before it leave")
    if segment.cutting is not None:
        raise outside(names[-1], "it makes several images of one")
    draws = segment.draws
    for position in draws.random:
        if position != draws.drawer and not draws.specs[position].coin:
            name = name_of(draws.leaves[position].transform)
            raise outside(
                name, "it draws other things than whether it is applied, or a part of the image to begin with"
            )
    if draws.drawer is not None and draws.leaves[draws.drawer].within is not None:
        raise outside(name_of(draws.leaves[draws.drawer].transform), "whether it takes a part of the image is drawn")
    if len(tossed(segment)) > MOST_COINS:
        raise outside(
            name_of(draws.leaves[tossed(segment)[MOST_COINS]].transform), f"there are {MOST_COINS} coins before it"
        )
    return segment


def certain(segment: Segment, position: int) -> bool | None:
    """Return whether a transform that tosses a coin is applied always, or never; None: that is drawn."""
    chance = segment.draws.specs[position].chance()
    return chance >= 1 if chance >= 1 or chance <= 0 else None


def coined(segment: Segment) -> list[int]:
    """List the positions of the transforms that toss a coin."""
    return [position for position in segment.draws.random if position != segment.draws.drawer]


def tossed(segment: Segment) -> list[int]:
    """List those of them that may be applied, or not."""
    return [position for position in coined(segment) if certain(segment, position) is None]


def coins_of(segment: Segment) -> Iterator[dict[int, bool]]:
    """Yield the outcomes of all coins, in the order of their numbers."""
    positions, settled = tossed(segment), {position: certain(segment, position) for position in coined(segment)}
    for sides in product((False, True), repeat=len(positions)):
        drawn = dict(zip(positions, reversed(sides), strict=True))
        yield {position: drawn.get(position, bool(known)) for position, known in settled.items()}


def plan_of(segment: Segment, coins: dict[int, bool], shape: tuple[int, ...], size: Sequence[int] | None) -> Plan:
    """Return what a segment comes to under coins.

    Raises:
        UnsupportedTransformError: it is of one size, which is not given; or has operations that native code has not.
    """
    outcomes = [coins.get(position, True) for position in segment.draws.random]
    c, h, w = shape
    if size is None and segment.network.sized(segment.network.params):
        raise UnsupportedTransformError(
            "A layer of this pipeline is of one size. Pass size=(rows, columns) of the images."
        )
    plan = segment.specialize(torch.empty(shape, dtype=torch.uint8, device="cpu"), (c, h, w), outcomes).plan
    for stage in plan.stages:
        reason = unfit(stage)
        if reason is not None:
            raise UnsupportedTransformError(f"A program file cannot hold this pipeline: of native code, {reason}.")
    return plan


def texts(pipeline: Pipeline, segment: Segment) -> dict[str, str]:
    """Return what a file says of its pipeline."""
    try:
        described: Any = [describe(read(transform)) for transform in pipeline.transforms]
    except PipelineTypeError:  # What no file can name has its words.
        described = [repr(transform) for transform in pipeline.transforms]
    used = {id(layer) for layer in segment.network.members}
    certificates = {
        key: certificate.to_json()
        for key, certificate in sorted(pipeline.certificates.items())
        if key in pipeline.layers and id(pipeline.layers[key]) in used
    }
    return {"pipeline": json.dumps(described), "certificates": json.dumps(certificates, sort_keys=True)}


def compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


class Writer:
    """Operations and their arrays, each written once."""

    def __init__(self) -> None:
        self.stages: list[Any] = []
        self.numbers: dict[str, int] = {}
        self.arrays: dict[tuple[str, tuple[int, ...], bytes], str] = {}

    def outcome(self, plan: Plan) -> list[Any]:
        """Return a plan as numbers of operations, and what lies around images."""
        around = None if plan.around is None else self.plain(plan.around)
        return [[self.stage(*made_of(stage)) for stage in plan.stages], around]

    def stage(self, name: str, arguments: tuple[Any, ...]) -> int:
        """Return the number of an operation."""
        described = [name, *self.plain(arguments)]
        number = self.numbers.setdefault(compact(described), len(self.stages))
        if number == len(self.stages):
            self.stages.append(described)
        return number

    def plain(self, value: Any) -> Any:
        """Return a value as JSON has it: floats in hexadecimal digits, arrays by name."""
        if isinstance(value, np.ndarray):
            key = DTYPES[value.dtype.name], value.shape, np.ascontiguousarray(value).tobytes()
            return {"tensor": self.arrays.setdefault(key, f"{len(self.arrays)}")}
        if isinstance(value, tuple | list):
            return [self.plain(one) for one in value]
        return value.hex() if isinstance(value, float) else value

    def content(self, metadata: dict[str, str]) -> bytes:
        """Return a file of all of it; the same bytes for the same pipeline."""
        header: dict[str, Any] = {"__metadata__": {"format": FORMAT, "digest": NO_DIGEST, **metadata}}
        parts: list[bytes] = []
        start = 0
        # Wide ones first, so that all lie where their type asks.
        for (dtype, shape, data), name in sorted(self.arrays.items(), key=lambda item: -int(item[0][0][1:])):
            header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [start, start + len(data)]}
            parts.append(data)
            start += len(data)
        text = compact(header).encode()
        text += b" " * (-len(text) % 8)
        made = len(text).to_bytes(8, "little") + text + b"".join(parts)
        digest = hashlib.sha256(made).hexdigest()
        return made.replace(f'"digest":"{NO_DIGEST}"'.encode(), f'"digest":"{digest}"'.encode(), 1)
