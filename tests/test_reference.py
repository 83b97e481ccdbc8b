"""The reference backend against plain arithmetic written another way."""

import pytest
import torch

from learned_transforms.errors import BackendError
from learned_transforms.ir.arithmetic import Arithmetic
from learned_transforms.ir.interpolation import Taps, evaluate
from learned_transforms.ir.ops import Gather, Mix, Resample
from learned_transforms.ir.passes import at, fold
from learned_transforms.ir.plan import Plan
from learned_transforms.kernels import backends, choose, cpu
from learned_transforms.kernels.reference import executor as reference
from learned_transforms.layers.geometry import Flipping
from learned_transforms.layers.network import Network
from learned_transforms.layers.pointwise import Lookup, Mixing
from learned_transforms.layers.resize import Resampling

INT16 = Arithmetic("int", 22, adaptive=True, rounding="half_up", each_pass=True)
INT22 = Arithmetic("int", 22, rounding="half_up", each_pass=True)
FLOAT = Arithmetic("float32")
TRIANGLE = torch.tensor([[1.0, -1.0]])
CUBIC = torch.tensor([[1.0, 0, -2.5, 1.5], [0, -0.5, 1, -0.5]])
NO_SHIFT = torch.zeros(2)


def resampling(kernel=TRIANGLE, arithmetic=INT16, shift=NO_SHIFT):
    return Resampling(kernel.double(), shift.double(), arithmetic)


@pytest.mark.parametrize("kernel", [TRIANGLE, CUBIC])
@pytest.mark.parametrize("arithmetic", [INT16, INT22])
@pytest.mark.parametrize(("n_in", "n_out"), [(32, 28), (7, 19), (1, 5), (90, 3), (5, 1)])
def test_integer_pass_is_the_matrix_product_in_python_integers(kernel, arithmetic, n_in, n_out):
    taps = evaluate(kernel.double(), torch.zeros(()), n_in, n_out, arithmetic)
    matrix = taps.dense().tolist()
    for levels in (torch.randint(0, 256, (n_in,)), torch.zeros(n_in), torch.full((n_in,), 255)):
        row = [int(v) for v in levels]
        expected = []
        for weights in matrix:
            total = (sum(w * v for w, v in zip(weights, row, strict=True)) + 2 ** (taps.bits - 1)) // 2**taps.bits
            expected.append(min(max(total, 0), 255))
        image = torch.tensor(row, dtype=torch.uint8).view(1, 1, -1)
        found = reference.shift_down(reference.weighted_sum(image, taps, -1, arithmetic), taps.bits)
        assert found.flatten().tolist() == expected


@pytest.mark.parametrize("arithmetic", [INT16, INT22, FLOAT])
def test_weights_sum_to_one(arithmetic):
    for n_in, n_out in ((32, 28), (640, 17), (3, 100)):
        taps = evaluate(CUBIC.double(), torch.zeros(()), n_in, n_out, arithmetic)
        total = taps.weights.double().sum(1) / (2.0**taps.bits if taps.bits else 1)
        assert (total - 1).abs().max() < (1e-3 if arithmetic.adaptive else 1e-5)


def test_adaptive_weights_fill_an_int16():
    for n_in, n_out in ((32, 28), (28, 32), (640, 31), (8, 8)):
        taps = evaluate(TRIANGLE.double(), torch.zeros(()), n_in, n_out, INT16)
        assert 2**14 <= int(taps.weights.max()) < 2**15
        assert taps.bits <= 22


def test_fused_multiply_add_rounds_once():
    x, weight, total = torch.tensor([3.0]), torch.tensor([0.1]), torch.tensor([1e8])
    fused = reference.multiply_add(x, weight, total, Arithmetic("float32", fma=True))
    exact = torch.tensor([float(x) * float(weight) + float(total)], dtype=torch.float64).float()
    assert fused.equal(exact)


def test_rounding_modes():
    value = torch.tensor([-3.0, 0.5, 1.5, 2.4, 2.5, 254.5, 300.0])
    assert reference.to_levels(value, "half_even").tolist() == [0, 0, 2, 2, 2, 254, 255]
    assert reference.to_levels(value, "half_up").tolist() == [0, 1, 2, 2, 3, 255, 255]
    assert reference.to_levels(value, "truncate").tolist() == [0, 0, 1, 2, 2, 254, 255]
    assert reference.to_levels(value, "none").equal(value)


def test_nan_outside_the_window_does_not_leak():
    taps = evaluate(TRIANGLE.double(), torch.zeros(()), 8, 4, FLOAT)
    image = torch.rand(1, 1, 8)
    image[..., 7] = float("nan")
    result = reference.weighted_sum(image, taps, -1, FLOAT).flatten()
    assert result.isnan().tolist() == [False, False, False, True]


def test_flips_fold_into_taps():
    mixing = Mixing(torch.tensor([[0.25, 0.5, 0.25]]), torch.zeros(1), Arithmetic("int", 8, rounding="half_up"))
    layers = [resampling(), mixing, Flipping(), Flipping()]
    params = [{"size": (5, 9)}, {}, {"axis": "horizontal"}, {"axis": "vertical"}]
    network = Network(layers, params, "uint8")
    image = torch.randint(0, 256, (2, 3, 13, 11), dtype=torch.uint8)
    plan, _ = network.plan((3, 13, 11), torch.device("cpu"))
    assert [type(stage) for stage in fold(at(plan.stages, (3, 13, 11)))] == [Resample, Mix]
    plain = Network(layers[:2], params[:2], "uint8")(image)
    assert network(image).equal(plain.flip((-1, -2)))


def test_flips_without_a_resample_are_one_copy():
    network = Network([Flipping(), Flipping()], [{"axis": "horizontal"}, {"axis": "vertical"}], "uint8")
    plan, _ = network.plan((3, 4, 6), torch.device("cpu"))
    assert [type(stage) for stage in fold(at(plan.stages, (3, 4, 6)))] == [Gather]
    image = torch.randint(0, 256, (3, 4, 6), dtype=torch.uint8)
    assert network(image).equal(image.flip((-1, -2)))


@pytest.mark.parametrize("arithmetic", [INT22, Arithmetic("float32", fma=True, rounding="half_even"), FLOAT])
def test_layouts_and_batches_give_the_same(arithmetic):
    network = Network([resampling(CUBIC, arithmetic)], [{"size": (9, 31)}], "uint8")
    batch = torch.randint(0, 256, (2, 4, 3, 17, 23), dtype=torch.uint8)
    together = network(batch)
    assert together.equal(torch.stack([torch.stack([network(image) for image in row]) for row in batch]))
    interleaved = batch.movedim(-3, -1).contiguous().movedim(-1, -3)
    assert network(interleaved).equal(together)


def test_gradients_reach_the_image_and_the_weights():
    network = Network(
        [resampling(CUBIC, FLOAT), Mixing(torch.ones(1, 3) / 3, torch.zeros(1), FLOAT)],
        [{"size": (5, 6)}, {}],
        "float32",
    )
    image = torch.rand(3, 9, 8, requires_grad=True)
    network(image).sum().backward()
    assert image.grad.abs().sum() > 0
    assert torch.autograd.gradcheck(
        lambda x: network(x.float()).double(), (image.detach().double().requires_grad_(),), eps=1e-2, atol=1e-3
    )
    network.requires_grad_(True)
    network(image).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


def test_table_per_channel():
    values = torch.rand(3, 256)
    image = torch.randint(0, 256, (2, 3, 4, 5), dtype=torch.uint8)
    found = Network([Lookup(values)], [{}], "uint8")(image)
    expected = torch.stack([values[c][image[:, c].long()] for c in range(3)], 1)
    assert found.equal(expected)


def test_dense_taps_agree_with_the_loop():
    taps = evaluate(CUBIC.double(), torch.zeros(()), 12, 7, FLOAT)
    image = torch.rand(3, 12)
    assert torch.allclose(reference.weighted_sum(image, taps, -1, FLOAT), image @ taps.dense().T, atol=1e-6)
    selected = taps.select(torch.tensor([3, 0]))
    assert selected.dense().equal(taps.dense()[[3, 0]])
    assert isinstance(selected, Taps)


def test_backends_say_why():
    assert list(backends()) == ["cpu", "cuda", "reference"]
    assert backends()["reference"] == "available"
    plan = Plan(1, None, (), (1, 1, 1))
    with pytest.raises(BackendError, match=r"Unknown backend 'fast'\. Known: auto, cpu, cuda, reference"):
        choose(plan, torch.device("cpu"), "fast")
    with pytest.raises(BackendError, match="cpu: it runs on the CPU, not on meta"):
        choose(plan, torch.device("meta"), "cpu")
    assert choose(plan, torch.device("meta")) is choose(plan, torch.device("cpu"), "reference")


def test_without_the_extension_the_reference_runs(monkeypatch):
    monkeypatch.setattr(cpu, "MISSING", "the native extension is not there")
    assert backends()["cpu"] == "the native extension is not there"
    image = torch.randint(0, 256, (3, 9, 9), dtype=torch.uint8)
    network = Network([resampling()], [{"size": (4, 4)}], "uint8")
    assert network(image).equal(network(image, "reference"))
    with pytest.raises(BackendError, match="not there"):
        network(image, "cpu")
