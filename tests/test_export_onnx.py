"""ONNX models of pipelines give what eager calls give: no level differs, floats by a last bit at most."""

import json
import random
import subprocess
import sys

import numpy as np
import onnx
import pytest
import torch
from export_cases import GRAPHS, PIPELINES, Exported, end, feeds, image_for, random_transforms, session
from onnx import TensorProto, helper
from torchvision.transforms import InterpolationMode, v2

import learned_transforms as lt
from learned_transforms.errors import (
    ExportError,
    PipelineTypeError,
    PipelineValueError,
    UnsupportedTransformError,
)

SIZES = [(64, 80), (101, 57), (48, 48), (33, 200)]


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("kind", ["uint8", "pil"])
@pytest.mark.parametrize("name", GRAPHS)
def test_no_level_differs(name, kind, layout):
    transforms = GRAPHS[name]()
    if kind == "pil":
        transforms.insert(len(transforms) - (1 if name == "seed" else 2), v2.ToImage())
    exported = Exported(transforms, kind=kind, layout=layout)
    assert len(exported.model.SerializeToString()) < 100_000
    assert [exported.differing(size, seed) for seed, size in enumerate(SIZES)] == [0] * len(SIZES)


@pytest.mark.parametrize("float64", [True, False])
@pytest.mark.parametrize("kind", ["uint8", "pil"])
@pytest.mark.parametrize("name", ["eval", "clip", "seed"])
def test_one_size(name, kind, float64):
    transforms = PIPELINES[name]()
    if kind == "pil":
        transforms.insert(len(transforms) - (1 if name == "seed" else 2), v2.ToImage())
    exported = Exported(transforms, kind=kind, size=(211, 140), float64=float64)
    assert [exported.differing((211, 140), seed) for seed in range(3)] == [0, 0, 0]
    types = {node.op_type for node in exported.model.graph.node}
    wide = [t for t in exported.model.graph.initializer if t.data_type == TensorProto.DOUBLE]
    casts = [a.i for n in exported.model.graph.node if n.op_type == "Cast" for a in n.attribute]
    assert "MatMul" in types
    assert float64 or not (wide or TensorProto.DOUBLE in casts)


def test_all_colors_are_gray_alike():
    """Without float64, products and sums of one rounding are made of float32: on all 2^24 colors."""
    grays = [Exported([v2.Grayscale()], size=(256, 256), float64=wide) for wide in (True, False)]
    blue, green = torch.meshgrid(torch.arange(256), torch.arange(256), indexing="ij")
    differing = 0
    for red in range(256):
        image = torch.stack([torch.full_like(blue, red), green, blue]).to(torch.uint8)
        expected = grays[0].pipeline(image).numpy()
        differing += sum(int((one.session.run(None, feeds(image))[0][0] != expected).sum()) for one in grays)
    assert differing == 0


@pytest.mark.parametrize("size", [None, (90, 71)])
def test_floats(size):
    for mode in (InterpolationMode.BILINEAR, InterpolationMode.BICUBIC):
        for antialias in (True, False):
            transforms = [v2.Resize((40, 50), mode, antialias=antialias), v2.RandomHorizontalFlip(), end()[1]]
            exported = Exported(transforms, kind="float32", size=size)
            sizes = [size] * 3 if size else [(90, 71), (30, 120), (40, 50)]
            assert [exported.differing(one, seed, 1e-6) for seed, one in enumerate(sizes)] == [0, 0, 0]


def compare(count, seed, each):
    generator, found = random.Random(seed), {"compared": 0, "differing": 0}
    while found["compared"] < count:
        kind = generator.choice(["uint8", "uint8", "pil", "pil", "float32"])
        layout, size = generator.choice(["NCHW", "NHWC"]), (generator.randint(24, 160), generator.randint(24, 160))
        fixed = size if generator.random() < 0.3 else None
        transforms = random_transforms(generator, kind)
        exported = Exported(transforms, kind=kind, layout=layout, size=fixed)
        for _ in range(each):
            own = fixed or (generator.randint(24, 160), generator.randint(24, 160))
            differing = exported.differing(own, generator.randint(0, 99), 1e-6 if kind == "float32" else 0.0)
            assert differing == 0, (transforms, kind, layout, own)
            found["compared"] += 1
    return found["compared"]


def test_random_pipelines():
    assert compare(60, 0, 3) >= 60


@pytest.mark.full
def test_a_thousand_random_pipelines():
    assert compare(1000, 1, 2) >= 1000


def test_what_a_file_says(tmp_path):
    path = tmp_path / "eval.onnx"
    pipeline = lt.LearnedCompose(PIPELINES["train"]())
    lt.export.onnx(pipeline, path)
    model = onnx.load(path)
    said = {entry.key.removeprefix("learned_transforms."): entry.value for entry in model.metadata_props}
    assert json.loads(said["pipeline"])[0]["transform"] == "v2.RandomResizedCrop"
    assert len(json.loads(said["params"])) == model.graph.input[1].type.tensor_type.shape.dim[0].dim_value == 5
    assert json.loads(said["certificates"])["uint8/resize_bilinear"]["differing"] == 0
    assert len(said["certificates.sha256"]) == 64
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 18)]
    assert {node.domain for node in model.graph.node} == {""}


def test_rows_and_back():
    pipeline = lt.LearnedCompose(PIPELINES["moco"]())
    image = image_for("uint8", (64, 80), 1)[0]
    for _ in range(20):
        params = pipeline.make_params(image)
        row = lt.export.pack(pipeline, params)
        assert lt.export.unpack(pipeline, row) == params
        assert pipeline(image, params=row).equal(pipeline(image, params=params))
    with pytest.raises(PipelineValueError, match="numbers for this pipeline"):
        pipeline(image, params=row[1:])
    with pytest.raises(PipelineValueError, match="one for each transform"):
        lt.export.pack(pipeline, params[1:])


def classifier(channels=3, dtype=TensorProto.FLOAT, opset=20):
    image = helper.make_tensor_value_info("pixels", dtype, ["batch", channels, None, None])
    logits = helper.make_tensor_value_info("logits", dtype, ["batch", channels, 1, 1])
    nodes = [helper.make_node("GlobalAveragePool", ["pixels"], ["logits"])]
    graph = helper.make_graph(nodes, "classifier", [image], [logits])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


def test_a_model_with_its_preprocessing(tmp_path):
    pipeline = lt.LearnedCompose(PIPELINES["eval"]())
    first, second, whole = (tmp_path / f"{name}.onnx" for name in ("first", "second", "whole"))
    lt.export.onnx(pipeline, first, layout="NHWC")
    onnx.save(classifier(), second)
    merged = lt.export.merge(first, second, whole)
    assert onnx.load(whole).graph.input[0].name == "image"
    for seed, size in enumerate(SIZES):
        image, values = image_for("uint8", size, seed)
        (made,) = session(merged).run(None, feeds(values, "NHWC"))
        (expected,) = session(classifier()).run(None, {"pixels": pipeline(image)[None].numpy()})
        assert np.array_equal(made, expected)


def test_models_that_do_not_fit():
    model = lt.export.onnx(lt.LearnedCompose(PIPELINES["eval"]()))
    with pytest.raises(ExportError, match="input_name"):
        lt.export.merge(model, classifier(), input_name="image")
    with pytest.raises(ExportError, match="of shape"):
        lt.export.merge(model, classifier(channels=1))
    with pytest.raises(ExportError, match="takes DOUBLE"):
        lt.export.merge(model, classifier(dtype=TensorProto.DOUBLE))
    with pytest.raises(ExportError, match="opset 18"):
        lt.export.merge(model, classifier(opset=13))


def own(image):
    return image.flip(-1)


@pytest.mark.parametrize(
    ("transforms", "options", "error", "told"),
    [
        ([v2.Resize(8), v2.Lambda(own)], {}, UnsupportedTransformError, "Lambda"),
        ([own], {}, UnsupportedTransformError, "own"),
        ([v2.RandomRotation(20)], {}, UnsupportedTransformError, "RandomRotation"),
        ([v2.RandAugment()], {}, UnsupportedTransformError, "RandAugment"),
        ([v2.FiveCrop(8)], {}, UnsupportedTransformError, "FiveCrop"),
        ([v2.RandomApply([v2.RandomCrop(8)])], {}, UnsupportedTransformError, "RandomCrop"),
        ([v2.GaussianBlur(3)], {}, UnsupportedTransformError, "GaussianBlur.*last bits"),
        (
            [v2.RandomAutocontrast()],
            {"size": (9, 9), "kind": "pil", "float64": False},
            UnsupportedTransformError,
            "float64",
        ),
        ([v2.Resize(8)], {"float64": False}, UnsupportedTransformError, "Resize.*float64"),
        ([v2.Resize(8)], {"size": (2**16, 2**16)}, PipelineValueError, "int32"),
        ([v2.Resize(8)], {"size": 8}, PipelineValueError, "rows, columns"),
        ([v2.Resize(8)], {"channels": 0}, PipelineValueError, "channels"),
        ([v2.Resize(8)], {"kind": "jpeg"}, PipelineValueError, "kind"),
        ([v2.Resize(8)], {"layout": "CHW"}, PipelineValueError, "layout"),
    ],
)
def test_what_has_no_graph(transforms, options, error, told):
    with pytest.raises(error, match=told):
        lt.export.onnx(lt.LearnedCompose(transforms, fallback="torchvision"), **options)


def test_no_pipeline():
    with pytest.raises(PipelineTypeError, match="LearnedCompose"):
        lt.export.onnx([v2.Resize(8)])


def test_an_extra_that_is_missing():
    code = """
import sys
sys.modules["onnx"] = None
import learned_transforms as lt
from torchvision.transforms import v2
try:
    lt.export.onnx(lt.LearnedCompose([v2.Resize(8)]))
except lt.errors.MissingExtraError as error:
    print(isinstance(error, ImportError), "learned_transforms[export]" in str(error))
"""
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert made.stdout == "True True\n"
