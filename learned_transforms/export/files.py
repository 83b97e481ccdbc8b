"""ONNX files of pipelines: written, merged with models, and what their inputs take."""

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from learned_transforms.artifacts.describe import describe
from learned_transforms.artifacts.stored import write
from learned_transforms.choices import Kind
from learned_transforms.errors import (
    ExportError,
    PipelineTypeError,
    PipelineValueError,
    brief,
    check_choice,
    check_flag,
)
from learned_transforms.export.graph_program import GraphProgram
from learned_transforms.export.onnx_graph import OPSET, OnnxGraph, onnx_package
from learned_transforms.images.formats import Form
from learned_transforms.runtime.pipeline import Pipeline
from learned_transforms.runtime.rows import DrawRow
from learned_transforms.transforms.identify import read

KINDS = {"uint8": Form("tensor", "uint8"), "float32": Form("tensor", "float32"), "pil": Form("pil", "uint8")}
LAYOUTS = ("NCHW", "NHWC")
LONGEST = 2**31 - 1
"""Of a side, and of the values of an image: engines count in int32."""


def onnx(
    pipeline: Pipeline,
    path: str | os.PathLike[str] | None = None,
    *,
    kind: Kind = "uint8",
    layout: str = "NCHW",
    size: Sequence[int] | None = None,
    channels: int = 3,
    float64: bool = True,
) -> Any:
    """Return a pipeline as an ONNX model of opset 18, of standard operators only, with the pixels of eager calls.

    Its inputs are ``image``, a batch ``[N, C, H, W]`` or ``[N, H, W, C]``, and, of a random pipeline, ``params``: what
    is drawn for the batch, as :func:`pack` gives it. Its output is ``output``, ``[N, C, H, W]``. Its metadata tell of
    the pipeline, of the numbers of ``params``, and of the certificates of its layers, with a hash.

    Args:
        pipeline: a :class:`~learned_transforms.LearnedCompose`.
        path: where to write it; None: nowhere.
        kind: of the images whose pixels it has: ``"uint8"`` or ``"float32"`` tensors, or ``"pil"``, whose
            values come as uint8 too.
        layout: of the input: one of ``LAYOUTS``.
        size: (rows, columns) of images; None: of any size, whose taps the graph works out, in float64.
        channels: of images.
        float64: the engine has float64. Without, sums are of float32 in exact parts, and images have one ``size``.

    Raises:
        UnsupportedTransformError: a transform that has no form in a graph, by name.
        PipelineValueError: an unknown kind or layout, or a size or channels beyond what engines count.
        MissingExtraError: onnx is not installed. OSError: nothing can be written there.
    """
    if not isinstance(pipeline, Pipeline):
        raise PipelineTypeError(
            f"Expected a LearnedCompose, got {brief(pipeline)}. LearnedCompose(transforms) makes one."
        )
    check_choice("kind", kind, KINDS)
    check_choice("layout", layout, LAYOUTS)
    check_flag("float64", float64)
    height, width = checked(size, channels)
    g, program = OnnxGraph(float64), GraphProgram(pipeline, KINDS[kind], channels)
    shape: tuple[int | str, ...] = ("N", channels, height or "H", width or "W")
    if layout == "NHWC":
        shape = shape[0], *shape[2:], channels
    image = g.input("image", "float32" if kind == "float32" else "uint8", shape)
    params = g.input("params", g.widest, [len(program.row)]) if len(program.row) else None
    x = g.transpose(image, (0, 3, 1, 2)) if layout == "NHWC" else image
    made = program.run(g, x, params, height or g.length(x, -2), width or g.length(x, -1))
    about = {"kind": kind, "layout": layout, "size": None if size is None else [height, width], "channels": channels}
    lengths = [length if isinstance(length, int) else None for length in (made.height, made.width)]
    model = g.model([(made.x, "output", ["N", made.channels, *lengths])], metadata(pipeline, program, about))
    if path is not None:
        write(Path(path), model.SerializeToString())
    return model


def checked(size: Sequence[int] | None, channels: int) -> tuple[int | None, int | None]:
    """Require a size and channels that engines can count.

    Raises:
        PipelineValueError: otherwise.
    """
    if type(channels) is not int or channels < 1:
        raise PipelineValueError(f"Expected channels to be a whole number above 0, got {brief(channels)}.")
    if size is None:
        return None, None
    whole = isinstance(size, list | tuple) and len(size) == 2 and all(type(n) is int and n > 0 for n in size)
    if not whole:
        raise PipelineValueError(f"Expected size to be (rows, columns), whole numbers above 0, got {brief(size)}.")
    if size[0] * size[1] * channels > LONGEST:
        raise PipelineValueError(
            f"Expected an image of at most {LONGEST:,} values, which engines count in int32, got {channels} x "
            f"{size[0]} x {size[1]}. Export without a size, and give it parts."
        )
    return size[0], size[1]


def metadata(pipeline: Pipeline, program: GraphProgram, about: dict[str, Any]) -> dict[str, str]:
    """Return what a file says of itself, as texts."""
    try:
        described: Any = [describe(read(transform)) for transform in pipeline.transforms]
    except PipelineTypeError:  # What no file can name has its words.
        described = [repr(transform) for transform in pipeline.transforms]
    used = {id(layer) for segment in program.row.segments for layer in segment.network.members}
    own = {
        key: certificate.to_json()
        for key, certificate in sorted(pipeline.certificates.items())
        if key in pipeline.layers and id(pipeline.layers[key]) in used
    }
    certificates = json.dumps(own, sort_keys=True)
    return {
        "learned_transforms.pipeline": json.dumps(described),
        "learned_transforms.input": json.dumps(about),
        "learned_transforms.params": json.dumps([field.label for field in program.row.fields]),
        "learned_transforms.certificates": certificates,
        "learned_transforms.certificates.sha256": hashlib.sha256(certificates.encode()).hexdigest(),
    }


def pack(pipeline: Pipeline, params: Sequence[Any], *, kind: Kind = "uint8", channels: int = 3) -> Tensor:
    """Return what ``make_params`` gave as the numbers that graphs take: float64, one for each that is drawn.

    They are the ``params`` of a call and of a compiled or exported one, of ONNX models as ``.numpy()``; of several
    images, ``torch.stack`` makes rows.

    Raises:
        PipelineValueError: params that do not fit the pipeline. UnsupportedTransformError: draws that are no numbers.
    """
    check_choice("kind", kind, KINDS)
    return DrawRow(pipeline, KINDS[kind], channels).pack(params)


def unpack(pipeline: Pipeline, row: Tensor, *, kind: Kind = "uint8", channels: int = 3) -> list[Any]:
    """Return the opposite of :func:`pack`.

    Raises:
        PipelineValueError: it is no such row.
    """
    check_choice("kind", kind, KINDS)
    return DrawRow(pipeline, KINDS[kind], channels).unpack(torch.as_tensor(row))


def merge(
    preprocessing: Any, model: Any, path: str | os.PathLike[str] | None = None, *, input_name: str | None = None
) -> Any:
    """Return a model of ONNX with its preprocessing before it, as one.

    Args:
        preprocessing: what :func:`onnx` gave, or a file of it.
        model: a ``ModelProto``, or a file of one; of opset 18 or later.
        path: where to write it; None: nowhere.
        input_name: of the model's input that takes images; None: its only one.

    Raises:
        ExportError: no such input, or one of another dtype, rank or number of channels; an older opset.
        MissingExtraError: onnx is not installed. OSError: nothing can be written there.
    """
    package = onnx_package()
    first, second = (
        package.load(os.fspath(m)) if isinstance(m, str | os.PathLike) else m for m in (preprocessing, model)
    )
    stored = {one.name for one in second.graph.initializer}
    inputs = {one.name: one for one in second.graph.input if one.name not in stored}
    name = input_name if input_name is not None else next(iter(inputs)) if len(inputs) == 1 else None
    if name not in inputs:
        raise ExportError(f"Expected input_name to be one of {', '.join(inputs)}, got {brief(input_name)}.")
    check_joint(package, first.graph.output[0].type.tensor_type, inputs[name].type.tensor_type)
    opset = next((entry.version for entry in second.opset_import if entry.domain in ("", "ai.onnx")), 0)
    if opset < OPSET:
        raise ExportError(
            f"Expected a model of opset {OPSET} or later, got {opset}. Export it again, with a newer one."
        )
    # What pipelines are made of is the same in each later opset.
    joint = package.compose.add_prefix(first, prefix="preprocessing/", rename_inputs=False)
    joint.opset_import[0].version = opset
    joint.ir_version = second.ir_version = max(first.ir_version, second.ir_version)
    merged = package.compose.merge_models(joint, second, io_map=[(joint.graph.output[0].name, name)])
    del merged.metadata_props[:]
    package.helper.set_model_props(merged, {e.key: e.value for m in (second, first) for e in m.metadata_props})
    package.checker.check_model(merged, full_check=True)
    if path is not None:
        write(Path(path), merged.SerializeToString())
    return merged


def check_joint(package: Any, given: Any, taken: Any) -> None:
    """Require that an input takes what an output gives.

    Raises:
        ExportError: it does not.
    """
    names = package.TensorProto.DataType.Name
    if given.elem_type != taken.elem_type:
        raise ExportError(
            f"The preprocessing gives {names(given.elem_type)}, and the model takes {names(taken.elem_type)}. End the "
            "pipeline with ToDtype(torch.float32, scale=True), or cast in the model."
        )
    lengths = [[d.dim_value for d in one.shape.dim] for one in (given, taken)]
    fits = len(lengths[0]) == len(lengths[1]) and all(not a or not b or a == b for a, b in zip(*lengths, strict=True))
    if not fits:
        raise ExportError(
            f"The preprocessing gives images of shape {lengths[0]}, and the model takes {lengths[1]} (0: any). "
            "Resize to what the model takes."
        )
