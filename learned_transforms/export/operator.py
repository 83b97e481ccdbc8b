"""Pipelines as operators of torch: ``torch.compile``, ``torch.export``, AOTInductor, traces and ``vmap`` go past them.

``learned_transforms::draw`` draws for images, as a row of numbers; ``learned_transforms::run`` runs on them under such
a row. A pipeline is named by a number, for as long as it lives, or by its description, which other processes read.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from torch.random import fork_rng
from torchvision.tv_tensors import TVTensor

from learned_transforms.artifacts.describe import describe
from learned_transforms.errors import LearnedTransformsError, PipelineTypeError, PipelineValueError
from learned_transforms.export.graph_program import GraphProgram, output_size_of
from learned_transforms.export.torch_graph import TorchGraph
from learned_transforms.images.formats import DTYPES, Form
from learned_transforms.modes import is_compiling, is_exporting, is_in_onnx_export, out_of_sight, plain_shape
from learned_transforms.runtime.pipeline import LIVING, Pipeline
from learned_transforms.runtime.rows import DrawRow
from learned_transforms.transforms.identify import read

MADE: dict[str, Pipeline] = {}
"""Pipelines that were made of their description; they are kept, as graphs may name them at any time."""

KNOWN: "WeakKeyDictionary[Pipeline, dict[Any, Any]]" = WeakKeyDictionary()

OPENERS: list[Callable[[str], Pipeline]] = []
"""What makes a pipeline of its description; its module says so."""

CHANNELS = (1, 2, 3, 4)
"""Of the images that operators take."""

WRAPPED: Any = TVTensor
"""What an operator would take the class from."""

TRIES = ((37, 53), (64, 48))
"""Sizes of images on which the shape that is expected of a pipeline is compared with what it gives."""


def name_of(pipeline: Pipeline, lasting: bool) -> str:
    """Return the name of a pipeline for operators.

    Args:
        lasting: it shall hold in other processes, too: its description, where it has one.
    """
    if lasting and pipeline.plain:
        try:
            return json.dumps([describe(read(transform)) for transform in pipeline.transforms], sort_keys=True)
        except PipelineTypeError:  # One that no file names holds in this process only.
            pass
    return pipeline.handle


def pipeline_of(name: str) -> Pipeline:
    """Return the pipeline of a name.

    Raises:
        PipelineValueError: it is none of this process.
    """
    found = LIVING.get(name) or MADE.get(name)
    if found is None and name.startswith("#"):
        raise PipelineValueError(
            f"This graph names pipeline {name} of the process that made it, where it no longer lives. Pipelines of "
            "torchvision's transforms and the shipped weights alone can be named in other processes."
        )
    if found is None:
        found = MADE[name] = OPENERS[0](name)
    found.renew()
    return found


def form_for(dtype: str, dimensions: int, channels: int) -> Form:
    """Return the form of a tensor ``[..., C, H, W]``."""
    return Form("tensor", dtype, dimensions == 3 and channels in (1, 3), channels <= 4, deep=dimensions > 4)


def known_of(pipeline: Pipeline) -> dict[Any, Any]:
    """Return what is kept of a pipeline, until it changes."""
    known = KNOWN.setdefault(pipeline, {})
    if known.get("watch") is not pipeline.watch:
        known.clear()
        known["watch"] = pipeline.watch
    return known


def kept(pipeline: Pipeline, kind: type, image: Tensor) -> Any:
    """Return the :class:`DrawRow` or :class:`GraphProgram` of a pipeline for such images; kept until it changes."""
    form, channels = form_for(DTYPES[image.dtype], image.ndim, int(image.shape[-3])), int(image.shape[-3])
    known, key = known_of(pipeline), (kind, form, channels)
    if key not in known:
        known[key] = kind(pipeline, form, channels)
    return known[key]


def carry(pipeline: Pipeline, image: Any, row: Tensor | None) -> Any:
    """Return what a pipeline makes of an image, as an operator that compilers hold; None: none carries it.

    Args:
        row: what was drawn, as ``export.pack`` gives it; None: draw.
    """
    if not isinstance(image, Tensor) or isinstance(image, WRAPPED) or image.ndim < 3:
        return None
    dtype, channels = DTYPES.get(image.dtype, ""), 0
    found = image.shape[-3] if is_compiling() else plain_shape(image)[-3]
    for count in CHANNELS:  # A compiler learns by comparing that it is a number.
        channels = count if found == count else channels
    name, numbers = carried(pipeline.handle, dtype, image.ndim, channels, is_exporting())
    return apply(image, name, numbers, row) if name else None


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def carried(handle: str, dtype: str, dimensions: int, channels: int, lasting: bool) -> tuple[str, int]:
    """Return the name of a pipeline for operators, and how many numbers it draws; an empty name: none carries it.

    Args:
        dtype, channels: of images; empty, and 0: others than operators take.
        dimensions: of them.
        lasting: the name shall hold in other processes, too.
    """
    pipeline = LIVING[handle]
    with out_of_sight():
        pipeline.renew()
        if not dtype or not channels or pipeline.trainable:
            return "", 0
        known, key = known_of(pipeline), (dtype, dimensions, channels)
        if key not in known:
            known[key] = tried(pipeline, *key)
        numbers = known[key]
    return ("", 0) if numbers is None else (name_of(pipeline, lasting), numbers)


def tried(pipeline: Pipeline, dtype: str, dimensions: int, channels: int) -> int | None:
    """Return how many numbers a pipeline draws, if it gives images of the shape that is expected; else None."""
    image = torch.zeros((*(1,) * (dimensions - 3), channels, 1, 1), dtype=getattr(torch, dtype))
    with fork_rng(devices=()):
        try:
            row: DrawRow = kept(pipeline, DrawRow, image)
            for size in TRIES:
                one = image.expand(*image.shape[:-2], *size)
                made = run_now(pipeline, one, row.draw((channels, *size)))
                if (made.shape, made.dtype) != shape_for(row, one):
                    return None
        except (LearnedTransformsError, RuntimeError, TypeError, ValueError):
            return None  # Run as it is called, it says what it lacks.
    return len(row)


def shape_for(row: DrawRow, image: Tensor) -> tuple[tuple[Any, ...], torch.dtype]:
    """Return the shape and the dtype of what is made of an image, whose lengths may be symbols."""
    *lead, channels, height, width = image.shape
    size: tuple[Any, ...] = int(channels), height, width
    for segment in row.segments:
        size = output_size_of(TorchGraph(), segment, size)
    dtype: torch.dtype = getattr(torch, row.segments[-1].form.dtype) if row.segments else image.dtype
    return (*lead, *size), dtype


@torch.library.custom_op("learned_transforms::run", mutates_args=())
def run_op(image: Tensor, pipeline: str, row: Tensor | None) -> Tensor:
    """Run a pipeline on an image ``[..., C, H, W]`` under a row of numbers, or on a batch under a row for each."""
    return run_now(pipeline_of(pipeline), image, row)


def run_now(pipeline: Pipeline, image: Tensor, row: Tensor | None) -> Tensor:
    """:func:`run_op`, in memory of its own, row by row."""
    if row is not None and row.ndim == 2:
        check_rows(image, row)
        return torch.stack([run_now(pipeline, one, own) for one, own in zip(image, row, strict=True)])
    known: DrawRow = kept(pipeline, DrawRow, image)
    numbers = torch.empty(0) if row is None else row.detach().cpu()
    value: Any = image
    if image.device.type == "cpu":
        for segment, drawn in zip(known.segments, known.drawn(numbers), strict=True):
            if drawn[1] is not None:
                segment.beginning.check_window(drawn[1], tuple(value.shape[-3:]))
            value = segment(value, drawn)
    else:
        value = cast(Any, pipeline).taped((image,), known.unpack(numbers))[0]
    made: Tensor = value.contiguous()
    return made.clone() if made.untyped_storage().data_ptr() == image.untyped_storage().data_ptr() else made


def check_rows(image: Tensor, row: Tensor) -> None:
    """Require a row for each image of a batch ``[N, C, H, W]``.

    Raises:
        PipelineValueError: there are others.
    """
    if image.ndim < 4 or len(image) != len(row):
        raise PipelineValueError(
            f"Expected a row of params for each image of a batch [N, C, H, W], got {tuple(row.shape)} for "
            f"{tuple(image.shape)}."
        )


@run_op.register_fake
def _(image: Tensor, pipeline: str, row: Tensor | None) -> Tensor:
    with out_of_sight():
        shape, dtype = shape_for(kept(pipeline_of(pipeline), DrawRow, image), image)
    return image.new_empty(shape, dtype=dtype)


@torch.library.custom_op("learned_transforms::run_backward", mutates_args=())
def run_backward(gradient: Tensor, image: Tensor, pipeline: str, row: Tensor | None) -> Tensor:
    """Return the gradient of :func:`run_op` by an image of floats."""
    # Operators run below what records gradients.
    with torch._C._SetExcludeDispatchKeyGuard(torch._C.DispatchKey.AutogradFunctionality, False), torch.enable_grad():
        source = image.detach().requires_grad_()
        made = run_now(pipeline_of(pipeline), source, row)
        (found,) = torch.autograd.grad(made, source, gradient)
    return found.contiguous()


@run_backward.register_fake
def _(gradient: Tensor, image: Tensor, pipeline: str, row: Tensor | None) -> Tensor:
    return image.new_empty(image.shape)


def keep_for_backward(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    image, ctx.pipeline, row = inputs
    ctx.save_for_backward(image, row)


def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, None, None]:
    image, row = ctx.saved_tensors
    wanted = ctx.needs_input_grad[0]
    return run_backward(gradient, image, ctx.pipeline, row) if wanted else None, None, None


run_op.register_autograd(backward, setup_context=keep_for_backward)


@torch.library.custom_op("learned_transforms::draw", mutates_args=(), tags=(torch.Tag.nondeterministic_seeded,))
def draw(image: Tensor, pipeline: str) -> Tensor:
    """Draw for an image, or for a batch that shares it: float64 ``[numbers]``, on the CPU."""
    known: DrawRow = kept(pipeline_of(pipeline), DrawRow, image)
    channels, height, width = image.shape[-3:]
    return known.draw((channels, height, width))


@draw.register_fake
def _(image: Tensor, pipeline: str) -> Tensor:
    with out_of_sight():
        known: DrawRow = kept(pipeline_of(pipeline), DrawRow, image)
    return torch.empty(len(known), dtype=torch.float64, device="cpu")


def keep_nothing(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    """What is drawn follows from no value of an image."""


draw.register_autograd(lambda ctx, gradient: (None, None), setup_context=keep_nothing)


@run_op.register_vmap
def _(info: Any, in_dims: Any, image: Tensor, pipeline: str, row: Tensor | None) -> tuple[Tensor, int]:
    of_image, _, of_row = in_dims
    image = image.expand(info.batch_size, *image.shape) if of_image is None else image.movedim(of_image, 0)
    if row is None or of_row is None:
        return run_op(image, pipeline, row), 0
    row = row.movedim(of_row, 0)
    if image.ndim == 4 and row.ndim == 2:
        return run_op(image, pipeline, row), 0
    return torch.stack([run_op(one, pipeline, own) for one, own in zip(image, row, strict=True)]), 0


@draw.register_vmap
def _(info: Any, in_dims: Any, image: Tensor, pipeline: str) -> tuple[Tensor, int | None]:
    of_image = in_dims[0]
    if info.randomness == "error":
        raise RuntimeError(
            "vmap: a random pipeline was called while in randomness error mode. Use the randomness flag 'same' or "
            "'different', or pass params."
        )
    images = image.expand(info.batch_size, *image.shape) if of_image is None else image.movedim(of_image, 0)
    if info.randomness == "same":
        return draw(images[0], pipeline), None
    return torch.stack([draw(one, pipeline) for one in images]), 0


PLAIN = [False]
"""Whether pipelines are traced as torch's own operations."""


@contextmanager
def decomposed() -> Iterator[None]:
    """Have ``torch.export``, and what goes through it, see torch's own operations in place of operators of ours.

    It is for targets that hold no others. The ONNX exporter of torch has it so by itself.
    """
    before, PLAIN[0] = PLAIN[0], True
    try:
        yield
    finally:
        PLAIN[0] = before


def apply(image: Tensor, name: str, numbers: int, row: Tensor | None) -> Tensor:
    """Return what :func:`run_op` gives as one operator, or as many.

    Args:
        numbers: that the pipeline draws for an image.
        row: those numbers; None: draw.

    Raises:
        PipelineValueError: torch's own operations draw nothing.
    """
    if not (PLAIN[0] or is_in_onnx_export()):
        return cast(Tensor, run_op(image, name, row if row is not None or not numbers else draw(image, name)))
    if row is None and numbers:
        raise PipelineValueError(
            "Expected params for a random pipeline that becomes torch's own operations: give the model an input for "
            "them, tf(image, params=row), with rows of export.pack(tf, tf.make_params(image))."
        )
    with out_of_sight():
        program: GraphProgram = kept(pipeline_of(name), GraphProgram, image)
    made = program.run(TorchGraph(image.device), image, row, image.shape[-2], image.shape[-1])
    return cast(Tensor, made.x)
