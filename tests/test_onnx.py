"""The legacy ONNX export, which traces: what it writes computes what torchvision does."""

import numpy as np
import pytest
import torch
import torchvision.transforms as v1
from helpers import image_of
from torch import nn
from torchvision.transforms import v2

import learned_transforms as lt

onnx = pytest.importorskip("onnx")
evaluated = pytest.importorskip("onnx.reference").ReferenceEvaluator

LEVELS = image_of(3, (40, 50))
PIPELINES = {
    "v2": lambda: [v2.Resize(24), v2.CenterCrop(20), v2.Normalize([0.5] * 3, [0.25] * 3)],
    "v1": lambda: [v1.Resize((20, 21)), v1.RandomHorizontalFlip(1.0), v1.Grayscale(1), v1.Normalize([0.5], [0.25])],
}


@pytest.mark.parametrize("name", PIPELINES)
@pytest.mark.parametrize("kind", ["float32", "uint8"])
@pytest.mark.filterwarnings("ignore")
def test_the_legacy_export(name, kind, tmp_path):
    first = [] if kind == "float32" else [v2.ToDtype(torch.float32, scale=True)]
    transforms = [*first, *PIPELINES[name]()]
    one, other = (image / 255 if kind == "float32" else image for image in (LEVELS, image_of(3, (40, 50), seed=1)))
    path = str(tmp_path / "model.onnx")
    ours = lt.LearnedCompose(transforms, fallback="error")
    torch.onnx.export(nn.Sequential(ours), (one,), path, input_names=["image"], dynamo=False, opset_version=18)
    (made,) = evaluated(path).run(None, {"image": other.numpy()})
    expected = v2.Compose(transforms)(other).numpy()
    assert made.shape == expected.shape
    assert np.abs(made - expected).max() < 1e-5
