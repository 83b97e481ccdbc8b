"""Where a resample lies is learned with its kernel; and sums of separable maps, where one map does not explain all."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional as F

import learned_transforms as lt
from learned_transforms.errors import BackendError
from learned_transforms.ir.arithmetic import Arithmetic
from learned_transforms.ir.interpolation import evaluate
from learned_transforms.layers.fixed_size import FixedResampling, SeparableSum
from learned_transforms.layers.geometry import Cropping, Flipping
from learned_transforms.layers.letterbox import RequireSize
from learned_transforms.layers.network import Network
from learned_transforms.layers.resize import Resampling
from learned_transforms.plain import LONGEST
from learned_transforms.trainer import retrain
from learned_transforms.trainer.data.bundled import PHOTOS
from learned_transforms.trainer.search.choosing import is_identity
from learned_transforms.trainer.search.placement import Line, ResizePlacement
from learned_transforms.trainer.search.recognize import recognize


def at_least(rows, columns):
    """What refuses images of fewer rows or columns."""
    return RequireSize, {"rows": (rows, LONGEST), "columns": (columns, LONGEST), "sizes": None}


MIDDLE = v2.Compose([v2.Resize(30), v2.CenterCrop(24)])
BICUBIC = InterpolationMode.BICUBIC
GEOMETRIES = {
    "resize, then the middle": (
        MIDDLE,
        "pil",
        [(Resampling, {"size": (30,)}), (Cropping, {"size": (24, 24)})],
        (50, 41),
    ),
    "a box, resized": (
        lambda image: F.resize(image[..., 3:33, 5:32], [20, 20]),
        "uint8",
        # Of smaller images a slice is shorter, and is resized all the same.
        [at_least(33, 32), (Cropping, {"size": (30, 27), "start": (3, 5)}), (Resampling, {"size": (20, 20)})],
        (50, 41),
    ),
    "no antialiasing": (
        lambda image: F.resize(image, [17, 20], antialias=False),
        "uint8",
        [(Resampling, {"size": (17, 20), "antialias": False})],
        (50, 41),
    ),
    "bicubic, no antialiasing": (
        lambda image: F.resize(image, [17, 20], interpolation=BICUBIC, antialias=False),
        "uint8",
        [(Resampling, {"size": (17, 20), "antialias": False})],
        (50, 41),
    ),
    "flip and crop": (
        lambda image: image.flip(-1)[..., 3:27, 2:30],
        "uint8",
        [at_least(27, 30), (Cropping, {"size": (24, 28), "start": (3, -30)}), (Flipping, {"axis": "horizontal"})],
        (50, 41),
    ),
}


def given(image, kind):
    return Image.fromarray(image.permute(1, 2, 0).numpy()) if kind == "pil" else image


@pytest.mark.parametrize("name", GEOMETRIES)
def test_geometry(name, tmp_path):
    teacher, kind, expected, other = GEOMETRIES[name]
    result = retrain(teacher, PHOTOS, kind=kind, size=(36, 36), count=400, progress=False, out=tmp_path)
    assert result.certificate.tier == "exact", [str(row) for row in result.table]
    network = result.networks[result.family]
    found = [(type(layer), dict(params)) for layer, params in zip(network.members, network.params, strict=True)]
    assert found == expected
    assert result.family == ("kernel" if Resampling in dict(found) else "crop")
    loaded = lt.LearnedCompose.from_pretrained(tmp_path)
    generator = torch.Generator().manual_seed(3)
    for size in ((36, 36), other):
        image = given(torch.randint(0, 256, (3, *size), dtype=torch.uint8, generator=generator), kind)
        assert np.array_equal(np.asarray(loaded(image)), np.asarray(teacher(image))), size


def test_other_sizes_that_contradict_a_rule():
    """A crop by a share of the image is no rule that is known: matrices, which refuse other sizes, are right."""

    def teacher(image):
        h, w = image.shape[-2:]
        return F.resize(image[..., h // 12 : h - h // 6, w // 6 : w - w // 12], [20, 20])

    result = retrain(teacher, PHOTOS, kind="uint8", size=(36, 36), count=300, progress=False)
    reasons = [row.reason for row in result.table if row.family == "kernel"]
    assert reasons[0].startswith("images of other sizes contradict it"), reasons
    assert type(result.networks[result.family].members[0]) is FixedResampling


TRIANGLE = torch.tensor([[1.0, -1.0]], dtype=torch.float64)
CUBIC = torch.tensor([[1, 0, -2.5, 1.5], [0, -0.5, 1, -0.5]], dtype=torch.float64)
LINES = (Line(0, 40, 24, 0), Line(0, 40, 33, 5), Line(7, 31, 24, 0), Line(0, 40, 50, 12), Line(0, 40, 40, 9))


def matrix_of(line, kernel, antialias):
    taps = evaluate(kernel, torch.zeros(()), line.length, line.full, Arithmetic("float64"), antialias)
    kept = taps.dense()[line.start : line.start + 24]
    return torch.nn.functional.pad(kept, (line.low, 40 - line.low - line.length))


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("kernel", [TRIANGLE, CUBIC], ids=["bilinear", "bicubic"])
@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize("flipped", [True, False])
def test_lines(line, kernel, antialias, flipped):
    """Free matrices tell the line, the flip and the antialiasing, through a little noise."""
    noise = 1e-3 * torch.randn(24, 40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    matrix = matrix_of(line, kernel, antialias)
    matrix = matrix + noise * (matrix != 0)
    found = recognize(matrix.flip(0) if flipped else matrix, matrix)
    assert not isinstance(found, str), found
    assert found[0].lines == (line, line)
    assert found[0].flips == (flipped, False)
    assert found[0].antialias == (antialias or line.scale <= 1)


def test_what_is_no_resampling():
    generator = torch.Generator().manual_seed(0)
    random = torch.rand(24, 40, generator=generator, dtype=torch.float64) + 0.1
    assert "straight line" in str(recognize(random / random.sum(1, True), random / random.sum(1, True)))


def test_rules_leave_images_alone_that_they_do_not_fit():
    kernel, shift = TRIANGLE, torch.zeros(2, dtype=torch.float64)
    rule = ResizePlacement({"size": (30, 27), "start": (3, 5)})
    assert rule.matrices(kernel, shift, (36, 36), (20, 20)) is not None
    assert rule.matrices(kernel, shift, (32, 36), (20, 20)) is None


def turned_sum(image):
    """Parts of an image and of the image turned round: no product of one row and one column matrix."""
    return 0.6 * F.resize(image, [14, 14]) + 0.4 * F.resize(image.flip(-1).flip(-2), [14, 14])


def test_a_sum_of_separable_maps_in_floats(tmp_path):
    result = retrain(turned_sum, PHOTOS, kind="float32", size=(22, 22), count=300, progress=False, out=tmp_path)
    assert (result.family, result.certificate.tier) == ("sum of separable maps", "exact"), result.certificate
    loaded = lt.LearnedCompose.from_pretrained(tmp_path)
    image = torch.rand(3, 22, 22, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(loaded(image), turned_sum(image), atol=1e-5)


def test_a_sum_of_separable_maps_in_levels():
    def teacher(image):
        return turned_sum(image.float()).round().to(torch.uint8)

    result = retrain(teacher, PHOTOS, kind="uint8", size=(22, 22), count=2000, progress=False)
    assert (result.family, result.certificate.tier) == ("sum of separable maps", "rounding"), result.certificate


def test_a_sum_is_what_it_says():
    generator = torch.Generator().manual_seed(2)
    rows, columns, weight, bias = (
        torch.randn(*shape, generator=generator, dtype=torch.float64)
        for shape in ((3, 5, 7), (3, 4, 6), (3, 2, 3), (2,))
    )
    network = Network([SeparableSum(rows, columns, weight, bias, Arithmetic("float32"))], [{}], "float32")
    image = torch.rand(2, 3, 7, 6, generator=generator)
    expected = torch.einsum("kih,kjw,koc,nchw->noij", rows, columns, weight, image.double()) + bias[:, None, None]
    assert torch.allclose(network(image), expected.float(), atol=1e-4)
    with pytest.raises(BackendError, match="Product"):
        network(image, backend="cpu")


@pytest.mark.parametrize(
    ("weight", "expected"), [(torch.eye(3), True), (torch.eye(3) + 0.01, True), (torch.eye(3).flip(0), False)]
)
def test_channels_that_pass_unchanged_are_seen(weight, expected):
    assert is_identity(weight) == expected
    assert not is_identity(weight[:1])
