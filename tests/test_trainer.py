"""What "learned" means: the same code finds other teachers' numbers, rebuilds the shipped ones, and sees damage."""

import json
import subprocess
import sys

import pytest
import torch
from helpers import seed_v2
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

import learned_transforms as lt
from learned_transforms.artifacts import weights as weight_files
from learned_transforms.layers.fixed_size import Separable
from learned_transforms.layers.geometry import Flipping
from learned_transforms.layers.pointwise import Lookup, Mixing
from learned_transforms.layers.resize import Resampling
from learned_transforms.trainer import EarlyStopping, gather, retrain
from learned_transforms.trainer.conclusion import certify
from learned_transforms.trainer.data.bundled import training_images
from learned_transforms.trainer.optim.fit import fit_intervals
from learned_transforms.trainer.optim.snap import on_grid, snap
from learned_transforms.trainer.zoo.build import NAME, ROLES, TEACHER_KINDS, TWIN, learn, opaque

COUNT = 1600


@pytest.fixture(scope="module")
def images():
    return training_images(COUNT)


def kernel_matrix(phi, n_in: int, n_out: int, shift: float = 0.0) -> Tensor:
    """Normalized antialiased weights of any kernel, written apart from the library's."""
    scale = n_in / n_out
    center = (torch.arange(n_out).double() + 0.5) * scale + shift
    weights = phi((torch.arange(n_in).double() + 0.5 - center[:, None]).abs() / max(scale, 1.0))
    return weights / weights.sum(1, keepdim=True)


def triangle(t: Tensor) -> Tensor:
    return (1 - t).clamp(min=0)


def cubic(a: float):
    def phi(t: Tensor) -> Tensor:
        near = (a + 2) * t**3 - (a + 3) * t**2 + 1
        far = a * (t**3 - 5 * t**2 + 8 * t - 4)
        return torch.where(t < 1, near, torch.where(t < 2, far, 0.0))

    return phi


def resize_with(phi, shift: float = 0.0):
    """A resize to 28 x 28 in arithmetic of its own: float64 for floats, two rounded passes of 22 bits for levels."""

    def teacher(image: Tensor) -> Tensor:
        rows, columns = (kernel_matrix(phi, n, 28, shift) for n in image.shape[-2:])
        if image.is_floating_point():
            return (rows @ image.double() @ columns.T).float()
        rows, columns = ((m * 2**22 + 0.5).floor().long() for m in (rows, columns))
        wide = ((image.long() @ columns.T + 2**21) >> 22).clamp(0, 255)
        return ((rows @ wide + 2**21) >> 22).clamp(0, 255).to(torch.uint8)

    return teacher


def layer_of(result, layer_class):
    return next(layer for layer in result.networks["kernel"].layers if isinstance(layer, layer_class))


def test_perturbed_gray_is_learned(images):
    def teacher(image: Tensor) -> Tensor:
        r, g, b = F.resize(image, [28, 28]).int()
        return ((r + 2 * g + b + 2) >> 2)[None].to(torch.uint8)

    result = retrain(teacher, images, count=COUNT, progress=False)
    assert layer_of(result, Mixing).weight.tolist() == [[0.25, 0.5, 0.25]]
    assert result.certificate.tier == "exact"
    assert result.transform(images[0]).equal(teacher(images[0]))


@pytest.mark.parametrize("kind", ["uint8", "float32"])
def test_perturbed_bicubic_is_learned(images, kind):
    result = retrain(resize_with(cubic(-0.6)), images, kind=kind, count=COUNT, progress=False)
    expected = [[1, 0, -2.4, 1.4], [0, -0.6, 1.2, -0.6]]
    assert torch.allclose(layer_of(result, Resampling).kernel, torch.tensor(expected).double(), atol=1e-12)
    assert result.certificate.tier == "exact"


@pytest.mark.parametrize("kind", ["uint8", "float32"])
def test_shifted_centre_is_learned(images, kind):
    result = retrain(resize_with(triangle, shift=0.25), images, kind=kind, count=COUNT, progress=False)
    assert layer_of(result, Resampling).shift.tolist() == [0.25, 0.25]
    assert layer_of(result, Resampling).kernel.tolist() == [[1, -1]]
    assert result.certificate.tier == "exact"


@pytest.mark.parametrize(
    ("flips", "axes"),
    [((), []), ((-1,), ["horizontal"]), ((-2,), ["vertical"]), ((-2, -1), ["vertical", "horizontal"])],
)
def test_flips_emerge_in_the_free_matrices(images, flips, axes):
    def teacher(image: Tensor) -> Tensor:
        return F.resize(image, [24, 28]).flip(flips)

    result = retrain(teacher, images[:800], count=800, progress=False)
    free = result.networks["separable"].layers[0]
    assert isinstance(free, Separable)
    for name, axis in (("rows", -2), ("columns", -1)):
        matrix = getattr(free, name)
        peak = matrix.argmax(1).tolist()
        assert peak == sorted(peak, reverse=axis in flips)
    found = result.networks["kernel"]
    assert [
        p["axis"] for layer, p in zip(found.layers, found.params, strict=True) if isinstance(layer, Flipping)
    ] == axes
    assert result.certificate.tier == "exact"


@pytest.mark.parametrize(("title", "name"), [*((NAME, name) for name in TEACHER_KINDS), (TWIN, "pil")])
def test_the_shipped_weights_are_rebuilt(title, name):
    result = learn(name, COUNT, progress=False, flips=title == NAME)
    shipped = weight_files.load(title).layers
    for layer in result.networks["kernel"].layers:
        if type(layer) in ROLES:
            other = shipped[f"{name}/{ROLES[type(layer)]}"]
            assert layer.arithmetic == other.arithmetic
            assert all(a.equal(b) for a, b in zip(layer.parameters(), other.parameters(), strict=True))
    separable = result.certificates["separable"]
    if name == "float32":  # A float teacher is one linear map, so free matrices can be exact too.
        assert separable.tier == "exact"
    else:
        assert 0.7 < separable.equal < 0.9
        assert separable.largest <= 3
    weights = sum(p.numel() for p in result.networks["separable"].layers[0].parameters())
    assert weights == 28 * 32 + 28 * 32 + 3 + 1


def test_damage_fails_certification(images):
    teacher = opaque(seed_v2())
    result = retrain(teacher, images[:800], count=800, progress=False)
    pairs, _ = gather(teacher, images[800:1000], "uint8", None, 200, 0, False)
    network = result.networks["kernel"]
    assert certify(network, pairs).tier == "exact"
    for layer in network.layers:
        for parameter in layer.parameters():
            kept = parameter.detach().clone()
            index = parameter.numel() // 2
            with torch.no_grad():
                parameter.view(-1)[index] += 0.01
            network.relower()
            assert certify(network, pairs).differing > 0
            with torch.no_grad():
                parameter.copy_(kept)
    network.relower()
    assert certify(network, pairs).tier == "exact"
    assert [type(layer) for layer in network.layers] == [Resampling, Mixing, Flipping, Flipping, Lookup]


def test_pairs_only():
    """Step one and two without a teacher to ask: what the pairs themselves tell."""
    images = training_images(COUNT)
    pairs = [(image, F.resize(image, [28, 28])) for image in images]
    result = retrain(None, pairs, progress=False)
    assert layer_of(result, Resampling).kernel.tolist() == [[1, -1]]
    assert result.certificate.tier == "exact"


@pytest.mark.parametrize("arch", ["separable", "dense", "cnn"])
def test_other_architectures_are_real(images, arch, tmp_path):
    teacher = opaque(seed_v2())
    result = retrain(teacher, images, count=400, arch=arch, epochs=3, progress=False, log_dir=tmp_path / "log")
    assert list(result.networks) == [arch]
    assert {epoch.step for epoch in result.history} == {arch}
    assert result.history[-1].val_loss < result.history[0].val_loss
    found = result.transform(images[:5])
    assert (found.shape, found.dtype) == ((5, 1, 28, 28), torch.float32)
    assert any((tmp_path / "log").iterdir())
    path = tmp_path / "net.safetensors"
    result.transform.save_pretrained(path)
    loaded = lt.LearnedCompose.from_pretrained(path, allow_approximate=True)
    assert loaded(images[:5]).equal(found)
    with pytest.raises(ValueError, match="approximate"):
        lt.LearnedCompose.from_pretrained(path)
    with pytest.raises(ValueError, match="trained on images of shape"):
        result.transform(images[..., :30])


def test_tensorboard_groups(images, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    retrain(opaque(seed_v2()), images, count=200, arch="separable", epochs=3, progress=False, log_dir=tmp_path)
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    expected = {f"{group}/{what} (separable)" for group in ("Train", "Val") for what in ("loss", "largest error")}
    assert set(events.Tags()["scalars"]) == expected


def test_a_learned_network_is_a_transform(images, tmp_path):
    result = retrain(opaque(seed_v2(end=False)), images[:800], kind="pil", count=800, progress=False)
    pipeline = lt.LearnedCompose([*result.transform.transforms, v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])
    pil = F.to_pil_image(images[3])
    expected = v2.Compose([*seed_v2(end=False), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])(pil)
    assert pipeline(pil).equal(expected)
    with pytest.raises(TypeError, match=r"learned with kind=.pil. and takes no uint8"):
        pipeline(images[3])
    larger = F.to_pil_image(torch.randint(0, 256, (3, 70, 51), dtype=torch.uint8))
    assert F.pil_to_tensor(result.transform(larger)).equal(F.pil_to_tensor(v2.Compose(seed_v2(end=False))(larger)))
    path = tmp_path / "clone.safetensors"
    pipeline.save_pretrained(path)
    assert lt.LearnedCompose.from_pretrained(path)(pil).equal(expected)
    rows = result.transform.explain("pil").rows
    assert rows[0].numbers["size"] == "learned"
    assert rows[0].tier == "exact"


def test_what_is_no_resize_stays_separable(images):
    mixed = torch.linalg.qr(torch.randn(32, 32, dtype=torch.float64)).Q.float()
    result = retrain(lambda image: mixed @ image @ mixed, images[:400], kind="float32", count=400, progress=False)
    assert {"separable", "matrices"} <= set(result.networks)
    assert "kernel" not in result.networks
    assert any(row.family == "kernel" and row.reason for row in result.table)
    assert not any("kernel" in note for note in result.notes)


def test_equal_seeds_give_equal_networks(images):
    first, second = (
        retrain(opaque(seed_v2()), images, count=300, arch=arch, epochs=3, seed=4, progress=False)
        for arch in ("cnn", "cnn")
    )
    for a, b in zip(first.networks["cnn"].parameters(), second.networks["cnn"].parameters(), strict=True):
        assert a.equal(b)


def test_early_stopping():
    stopping = EarlyStopping(patience=2, min_delta=0.1)
    assert [stopping.improved(loss) for loss in (1.0, 0.95, 0.5)] == [True, False, True]
    assert not stopping.stop
    assert [stopping.improved(loss) for loss in (0.45, 0.45)] == [False, False]
    assert stopping.stop
    with pytest.raises(ValueError, match="patience"):
        EarlyStopping(patience=0)


def test_the_best_weights_come_back(images):
    from learned_transforms.trainer.optim.training import Settings, train

    weight = torch.zeros(1)
    losses = iter([3.0, 1.0, 2.0, 2.0])

    def step():
        weight.add_(1)
        return 0.0, 0.0

    history = train("x", {"w": weight}, step, lambda: (next(losses), 0.0), Settings(10, 2, 0.0, False, lambda e: None))
    assert len(history) == 4
    assert weight.item() == 2


def test_snapping_takes_the_simplest_grid():
    target = torch.tensor([0.2989, 0.587, 0.114], dtype=torch.float64)
    found = snap(target + 1e-6, lambda w: float((w - target).abs().max()), slack=0.0, floor=0.0, most=1)
    assert found[0][0] == 10000
    assert on_grid(target, 10000).equal(target)
    assert snap(torch.tensor([0.3333331]).double(), lambda w: float((w - 1 / 3).abs()), 0.0, 1e-9, 1)[0][0] == 3


def test_intervals_are_sharper_than_least_squares():
    x = torch.randint(0, 256, (3, 20000)).double()
    inputs = torch.cat([x, torch.ones(1, 20000).double()])
    weights = torch.tensor([0.2989, 0.587, 0.114, 0.0], dtype=torch.float64)
    found, violation = fit_intervals(inputs, (weights @ inputs).floor())
    assert violation == 0
    assert (found - weights).abs()[:3].max() < 1e-5


def test_a_missing_extra_is_named(tmp_path):
    code = (
        "import sys; sys.modules['tensorboard'] = None\n"
        "import torch\nfrom learned_transforms.errors import MissingExtraError\n"
        "from learned_transforms.trainer.optim.training import tensorboard\n"
        "try:\n    tensorboard('x').__enter__()\nexcept MissingExtraError as error:\n    print(error)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert "pip install 'learned_transforms[tensorboard]'" in found.stdout, found.stderr


def test_history_is_plain_data():
    history = weight_files.load("cifar10_gray28").about["steps"]["uint8"]["history"]
    assert json.loads(json.dumps(history)) == history
    assert {"step", "epoch", "train_loss", "val_loss", "train_largest", "val_largest", "seconds"} == set(history[0])
