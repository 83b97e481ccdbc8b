"""Pipelines in torch.compile, torch.export, AOTInductor, traces, vmap and the ONNX exporter are equal to eager ones."""

import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
import torch
from export_cases import PIPELINES, end, image_for, session, to_pil
from test_modes import environment
from torch import nn
from torchvision import tv_tensors
from torchvision.transforms import v2

import learned_transforms as lt
from learned_transforms.errors import PipelineValueError
from learned_transforms.export import operator

pytestmark = pytest.mark.filterwarnings("ignore")  # Of torch's own deprecated parts, and of what it does slowly.

SIZES = [(64, 80), (101, 57), (90, 77)]


class Model(nn.Module):
    """A pipeline, as a part of a model: of images, and of what is drawn for them."""

    def __init__(self, name):
        super().__init__()
        self.transform = lt.LearnedCompose(PIPELINES[name](), fallback="error")

    def forward(self, image, row=None):
        return self.transform(image, params=row) * 2 if row is not None else self.transform(image) * 2


def cases(model, kind="uint8"):
    """Images of several sizes and layouts, each with a row of what is drawn."""
    for seed, size in enumerate(SIZES):
        image = image_for(kind, size, seed)[0]
        row = lt.export.pack(model.transform, model.transform.make_params(image), kind=kind)
        yield image, row if len(row) else None


def equal(model, found, kind="uint8"):
    for image, row in cases(model, kind):
        expected = model(image, row)
        made = found(image, row) if row is not None else found(image)
        assert made.equal(expected) if kind == "uint8" else (made - expected).abs().max() < 2e-6


def lengths(row):
    least = {1: torch.export.Dim("height", min=32, max=4096), 2: torch.export.Dim("width", min=32, max=4096)}
    return (least,) if row is None else (least, None)


def exported(model, kind="uint8"):
    image, row = next(iter(cases(model, kind)))
    given = (image,) if row is None else (image, row)
    return torch.export.export(model, given, dynamic_shapes=lengths(row))


def called(program):
    return Counter(str(n.target) for n in program.graph.nodes if n.op == "call_function" and "learned" in str(n.target))


@pytest.mark.parametrize("kind", ["uint8", "float32"])
@pytest.mark.parametrize("name", PIPELINES)
def test_compiled_as_one_graph(name, kind):
    torch._dynamo.reset()
    model = Model(name)
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    if kind == "float32":
        model.transform.transforms = [t for t in model.transform.transforms if not isinstance(t, v2.ToDtype)]
    equal(model, torch.compile(model, fullgraph=True, dynamic=True, backend=backend), kind)
    assert len(graphs) <= 2  # Compilers make one for each order in memory.


@pytest.mark.parametrize("name", ["eval", "moco"])
def test_inductor_and_draws_within(name):
    torch._dynamo.reset()
    model = Model(name)
    compiled = torch.compile(model, fullgraph=True, dynamic=True)
    for image, _ in cases(model):
        torch.manual_seed(3)
        expected, after = model(image), torch.rand(1)
        torch.manual_seed(3)
        assert compiled(image).equal(expected)
        assert torch.rand(1).equal(after)


@pytest.mark.parametrize("name", PIPELINES)
def test_exported_with_lengths_that_vary(name):
    model = Model(name)
    program = exported(model)
    assert called(program) == {"learned_transforms.run.default": 1}
    equal(model, program.module())


def test_a_batch_that_varies_and_draws_within():
    model = Model("train")
    images = torch.stack([image_for("uint8", (40, 50), seed)[0] for seed in range(3)])
    sizes = {0: torch.export.Dim("batch", min=1, max=64), 2: torch.export.Dim.AUTO, 3: torch.export.Dim.AUTO}
    program = torch.export.export(model, (images,), dynamic_shapes=(sizes,))
    assert called(program) == {"learned_transforms.draw.default": 1, "learned_transforms.run.default": 1}
    for batch in (images, images[:1, :, 3:], images[:2].to(memory_format=torch.channels_last)):
        torch.manual_seed(1)
        expected = model(batch)
        torch.manual_seed(1)
        assert program.module()(batch).equal(expected)


def test_another_process_reads_what_was_exported(tmp_path):
    model = Model("eval")
    torch.export.save(exported(model), tmp_path / "model.pt2")
    image = image_for("uint8", (70, 90), 1)[0]
    torch.save((image, model(image)), tmp_path / "both.pt")
    code = f"""
import torch
import learned_transforms
image, expected = torch.load({str(tmp_path / "both.pt")!r})
print(torch.export.load({str(tmp_path / "model.pt2")!r}).module()(image).equal(expected))
"""
    made = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, env=environment()
    )
    assert made.stdout == "True\n", made.stderr


def test_a_pipeline_of_another_process():
    with pytest.raises(PipelineValueError, match="of the process that made it"):
        operator.pipeline_of("#-1")


@pytest.mark.parametrize("name", ["eval", "moco"])
def test_compiled_ahead_of_time(name, tmp_path):
    model = Model(name)
    path = torch._inductor.aoti_compile_and_package(exported(model), package_path=str(tmp_path / "model.pt2"))
    equal(model, torch._inductor.aoti_load_package(path))


@pytest.mark.parametrize("name", PIPELINES)
def test_as_operations_of_torch(name):
    model = Model(name)
    with lt.export.decomposed():
        program = exported(model)
    assert not called(program)
    equal(model, program.module())


def test_plain_operations_need_what_is_drawn():
    model = Model("train")
    with lt.export.decomposed(), pytest.raises(PipelineValueError, match="Expected params"):
        torch.export.export(model, (image_for("uint8", (40, 50), 0)[0],))


@pytest.mark.parametrize("name", ["eval", "train"])
def test_the_onnx_exporter_of_torch(name):
    """Of images in HWC memory, whose strides it would otherwise read others by."""
    model = Model(name)
    image, row = next(case for case in cases(model) if not case[0].is_contiguous())
    given = (image,) if row is None else (image, row)
    made = torch.onnx.export(model, given, dynamo=True, verbose=False, dynamic_shapes=lengths(row)).model_proto
    runs = session(made)
    names = [one.name for one in runs.get_inputs()]

    def run(image, *row):
        values = [image.contiguous().numpy(), *(one.numpy() for one in row)]
        return torch.from_numpy(runs.run(None, dict(zip(names, values, strict=True)))[0])

    equal(model, run)


@pytest.mark.parametrize("name", PIPELINES)
def test_traced(name):
    model = Model(name)
    image, row = next(iter(cases(model)))
    given = (image,) if row is None else (image, row)
    equal(model, torch.jit.trace(model, given, check_trace=False))


@pytest.mark.parametrize("name", PIPELINES)
def test_vmapped_with_a_row_for_each(name):
    model = Model(name)
    images = torch.stack([image_for("uint8", (40, 50), seed)[0] for seed in range(4)])
    params = [model.transform.make_params(image) for image in images]
    rows = torch.stack([lt.export.pack(model.transform, one) for one in params])
    expected = torch.stack([model.transform(image, params=one) for image, one in zip(images, params, strict=True)])
    assert torch.vmap(lambda image, row: model.transform(image, params=row))(images, rows).equal(expected)
    assert model.transform(images, params=rows).equal(expected)
    with pytest.raises(PipelineValueError, match="a row of params for each image"):
        model.transform(images[:3], params=rows)


def test_gradients_pass():
    transforms = [v2.RandomResizedCrop(12), v2.RandomHorizontalFlip(), end()[1]]
    pipeline = lt.LearnedCompose(transforms, fallback="error")
    image = torch.rand(3, 30, 40, requires_grad=True)
    params = pipeline.make_params(image.detach())
    row = lt.export.pack(pipeline, params, kind="float32")
    pipeline(image, params=params).square().sum().backward()
    expected, image.grad = image.grad, None
    torch._dynamo.reset()
    compiled = torch.compile(lambda image, row: pipeline(image, params=row).square().sum(), fullgraph=True)
    compiled(image, row).backward()
    assert (image.grad - expected).abs().max() < 1e-5


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_gradients_pass_where_a_pipeline_draws_inside(backend):
    transforms = [v2.RandomResizedCrop(12), v2.RandomHorizontalFlip(), end()[1]]
    pipeline, found = lt.LearnedCompose(transforms, fallback="error"), []
    torch._dynamo.reset()
    for run in (torch.compile(pipeline, fullgraph=True, backend=backend), pipeline):
        image = torch.rand(3, 30, 40, generator=torch.Generator().manual_seed(1)).requires_grad_()
        torch.manual_seed(5)
        run(image).square().sum().backward()
        found.append(image.grad)
    assert found[1].abs().sum() > 0
    assert (found[0] - found[1]).abs().max() < 1e-5


def test_the_operator_keeps_its_contract():
    pipeline = lt.LearnedCompose(PIPELINES["train"](), fallback="error")
    image = image_for("uint8", (40, 50), 1)[0]
    row = lt.export.pack(pipeline, pipeline.make_params(image))
    checks = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(operator.run_op, (image, pipeline.handle, row), test_utils=checks)
    torch.library.opcheck(operator.draw, (image, pipeline.handle), test_utils=("test_schema",))


def test_rows_of_other_containers():
    pipeline = lt.LearnedCompose([v2.RandomResizedCrop(12), v2.RandomHorizontalFlip()], fallback="error")
    values = image_for("uint8", (40, 50), 1)[0]
    for image, kind in ((to_pil(values), "pil"), (tv_tensors.Image(values), "uint8")):
        params = pipeline.make_params(image)
        row = lt.export.pack(pipeline, params, kind=kind)
        made, expected = pipeline(image, params=row), pipeline(image, params=params)
        assert type(made) is type(expected)
        assert np.array_equal(np.asarray(made), np.asarray(expected))


def test_what_no_operator_carries_breaks_the_graph():
    torch._dynamo.reset()
    pipeline = lt.LearnedCompose([v2.RandomZoomOut(p=1.0)])
    image = image_for("uint8", (20, 30), 1)[0]
    torch.manual_seed(0)
    expected = pipeline(image)
    torch.manual_seed(0)
    assert torch.compile(pipeline, backend="eager")(image).equal(expected)
    torch._dynamo.reset()
    with pytest.raises(RuntimeError, match="uncompiled"):
        torch.compile(lambda image: pipeline(image) * 2, backend="eager", fullgraph=True)(image)
