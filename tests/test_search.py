"""The search finds the family of an opaque teacher, and says exactly how faithful the clone is."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import seed_v2
from PIL import Image, ImageFilter
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

import learned_transforms as lt
from learned_transforms.artifacts.weights import load
from learned_transforms.errors import ApproximateWeightsError, DataError, PipelineValueError
from learned_transforms.ir.arithmetic import Arithmetic
from learned_transforms.ir.interpolation import evaluate
from learned_transforms.layers.filter import Filtering
from learned_transforms.layers.fixed_size import FixedResampling, Scattered
from learned_transforms.layers.network import Network
from learned_transforms.layers.pointwise import Lookup, Mixing
from learned_transforms.layers.rank import Ranking
from learned_transforms.layers.resize import Resampling
from learned_transforms.trainer import retrain
from learned_transforms.trainer.data.bundled import PHOTOS
from learned_transforms.trainer.search.search import longest_monotone
from learned_transforms.trainer.zoo.impulse import learn_kernel


def gamma(image):
    return ((image.double() / 255) ** 2.2 * 255).round()


def gray(image, weights=(0.2126, 0.7152, 0.0722)):
    weights = torch.tensor(weights, dtype=torch.float64)[:, None, None]
    return ((image.double() * weights).sum(0, keepdim=True) + 0.5).floor().clamp(0, 255).to(torch.uint8)


def area(n_in, n_out):
    """Each output is the mean of the stretch of input that it covers, in eighths."""
    scale = n_in / n_out
    edges = torch.arange(n_in, dtype=torch.float64)
    low = torch.arange(n_out, dtype=torch.float64)[:, None] * scale
    overlap = torch.minimum(low + scale, edges + 1) - torch.maximum(low, edges)
    return (overlap.clamp(min=0) / scale * 8).round() / 8


def area_resize(image):
    made = area(image.shape[-2], 21) @ image.double() @ area(image.shape[-1], 21).T
    return made.round().clamp(0, 255).to(torch.uint8)


def odd_blur(image):
    """A window of 5 x 5 that is no Gaussian, beyond whose edge the image is mirrored."""
    taps = torch.tensor([1.0, 3, 6, 4, 2], dtype=torch.float64)
    window = torch.outer(taps, taps.flip(0))[None, None] / 256
    padded = torch.nn.functional.pad(image[:, None].double(), (2, 2, 2, 2), mode="reflect")
    return torch.nn.functional.conv2d(padded, window)[:, 0].round().to(torch.uint8)


def sheared(image):
    """Each row moved by its number, around: no rows and columns explain it."""
    rows, columns = (torch.arange(n) for n in image.shape[-2:])
    return image.gather(-1, ((columns + rows[:, None]) % len(columns)).expand_as(image))


TEACHERS = {
    "table": (lambda image: 255 - image // 2, "uint8", (Lookup,)),
    "table, channel map": (lambda image: gray(gamma(image)), "uint8", (Lookup, Mixing)),
    "filter": (lambda image: image.filter(ImageFilter.SHARPEN), "pil", (Filtering,)),
    "rank": (lambda image: image.filter(ImageFilter.MedianFilter(3)), "pil", (Ranking,)),
    "matrices": (area_resize, "uint8", (FixedResampling,)),
    "sparse map": (sheared, "uint8", (Scattered,)),
    "before a pointwise part: kernel": (
        lambda image: F.solarize(F.resize(image, [21, 21]), 128),
        "uint8",
        (Resampling, Lookup),
    ),
    "after a pointwise part: kernel": (lambda image: F.resize(gray(gamma(image)), [21, 21]), "uint8", None),
}


@pytest.mark.parametrize("family", TEACHERS)
def test_families(family, tmp_path):
    teacher, kind, layers = TEACHERS[family]
    result = retrain(teacher, PHOTOS, kind=kind, size=(24, 24), count=1500, progress=False, out=tmp_path)
    assert result.family == family, [str(row) for row in result.table]
    assert result.certificate.tier == "exact", result.certificate
    assert layers is None or tuple(type(layer) for layer in result.networks[family].members) == layers
    for backend in ("reference", "auto"):
        loaded = lt.LearnedCompose.from_pretrained(tmp_path, backend=backend)
        image = torch.randint(0, 256, (3, 24, 24), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))
        given = Image.fromarray(image.permute(1, 2, 0).numpy()) if kind == "pil" else image
        assert np.array_equal(np.asarray(loaded(given)), np.asarray(teacher(given)))


def test_a_flip_with_a_crop():
    result = retrain(lambda image: image.flip(-1)[..., 2:20, 1:21], PHOTOS, kind="uint8", size=(24, 24), count=800)
    assert result.certificate.tier == "exact", result.certificate


def test_a_blur_of_odd_taps():
    result = retrain(odd_blur, PHOTOS, kind="uint8", size=(24, 24), count=1500, progress=False)
    assert result.family == "filter", [str(row) for row in result.table]
    assert result.certificate.tier == "exact", result.certificate
    assert result.networks["filter"].members[0].border == "reflect"


def test_result_folder(tmp_path):
    result = retrain(lambda image: 255 - image, PHOTOS, kind="uint8", count=200, progress=False, out=tmp_path / "made")
    names = {path.name for path in (tmp_path / "made").iterdir()}
    assert {"model.safetensors", "certificate.json", "history.json", "search.json", "search.md"} <= names
    assert not any(name.startswith(".") or name == "checkpoint" for name in names)
    certificate = json.loads((tmp_path / "made" / "certificate.json").read_text())
    assert certificate["tier"] == result.certificate.tier == "exact"
    assert "| table |" in (tmp_path / "made" / "search.md").read_text()
    assert result.folder == tmp_path / "made"


def test_approximate_clones_are_refused(tmp_path):
    def voted(image):
        return image.filter(ImageFilter.ModeFilter(5))

    result = retrain(voted, PHOTOS, kind="pil", size=(16, 16), count=300, epochs=2, progress=False, out=tmp_path)
    assert result.certificate.tier == "approximate"
    assert "Approximate" in (tmp_path / "search.md").read_text()
    with pytest.raises(ApproximateWeightsError, match="allow_approximate"):
        lt.LearnedCompose.from_pretrained(tmp_path)
    loaded = lt.LearnedCompose.from_pretrained(tmp_path, allow_approximate=True)
    assert loaded(Image.new("RGB", (16, 16))).size == (16, 16)


def test_misaligned_pairs_are_told():
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (300, 3, 12, 12), dtype=torch.uint8, generator=generator)
    targets = torch.randint(0, 256, (300, 3, 12, 12), dtype=torch.uint8, generator=generator)
    with pytest.raises(DataError, match="aligned"):
        retrain(None, list(zip(images, targets, strict=True)), epochs=2, progress=False)


@pytest.mark.parametrize("mode", [Image.Resampling.HAMMING, Image.Resampling.BOX])
def test_kernels_that_are_hard_to_fit_are_selected(mode):
    def teacher(image):
        return image.resize((20, 20), mode)

    result = retrain(teacher, PHOTOS, kind="pil", size=(31, 31), count=1000, progress=False)
    assert (result.family, result.certificate.tier) == ("kernel", "exact"), result.certificate
    assert result.networks["kernel"].members[0].provenance()["kernel"] == "selected"
    image = Image.open(PHOTOS / "rocket.jpg").convert("RGB").resize((97, 61))
    assert np.array_equal(np.asarray(result.transform(image)), np.asarray(teacher(image)))


def test_missing_data_is_counted():
    images = torch.randint(0, 256, (40, 3, 24, 24), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    pairs = [(image, image.mT.contiguous()) for image in images]
    with pytest.raises(DataError, match=r"\d+ more images are needed"):
        retrain(None, pairs, epochs=2, progress=False)


def test_pairs_alone(tmp_path):
    images = [Image.open(path).convert("RGB").resize((300, 240)) for path in sorted(PHOTOS.glob("*.jpg"))]
    rng = np.random.default_rng(0)
    pairs = []
    for _ in range(500):
        left, top = rng.integers(0, 240), rng.integers(0, 200)
        image = images[int(rng.integers(len(images)))].crop((left, top, left + 36, top + 36))
        pairs.append((image, image.resize((24, 24), Image.Resampling.BICUBIC)))
    result = retrain(None, pairs, progress=False)
    assert (result.family, result.certificate.tier) == ("kernel", "exact"), result.certificate


def test_resume_needs_a_folder():
    with pytest.raises(PipelineValueError, match="out"):
        retrain(lambda image: image, PHOTOS, resume=True)


SCRIPT = """
import sys
from PIL import Image
from learned_transforms.trainer import retrain
from learned_transforms.trainer.data.bundled import PHOTOS
retrain(lambda image: image.resize((20, 20), Image.Resampling.BICUBIC), PHOTOS, kind="pil", size=(30, 30), count=1000,
        progress=False, out=sys.argv[1], resume=True)
"""


def test_killed_and_resumed_is_uninterrupted(tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    command = [sys.executable, "-c", SCRIPT]
    subprocess.run([*command, str(whole)], check=True)
    process = subprocess.Popen([*command, str(killed)])
    wait_for(killed / "checkpoint" / "state.json", process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (killed / "model.safetensors").exists()
    subprocess.run([*command, str(killed)], check=True)
    first, second = (load(folder) for folder in (whole, killed))
    assert first.pipeline == second.pipeline
    assert first.certificates == second.certificates
    for key, layer in first.layers.items():
        assert all(a.equal(b) for a, b in zip(layer.parameters(), second.layers[key].parameters(), strict=True))
    losses = [[e["val_loss"] for e in json.loads((f / "history.json").read_text())] for f in (whole, killed)]
    assert losses[0] == losses[1]
    assert {path.name for path in killed.iterdir()} == {path.name for path in whole.iterdir()}


def wait_for(path: Path, process: subprocess.Popen) -> None:
    while not path.exists():
        assert process.poll() is None, "training ended before its first checkpoint"
        time.sleep(0.01)


def test_impulses_tell_the_kernel():
    true = torch.tensor([[1, 0, -2.4, 1.4], [0, -0.6, 1.2, -0.6]], dtype=torch.float64)

    def teacher(image, size):
        matrix = evaluate(true, torch.zeros(()), image.shape[-1], size, Arithmetic("float64")).dense()
        return matrix @ image @ matrix.T

    kernel = learn_kernel(teacher, ((61, 37), (29, 45)))
    assert kernel.shape == true.shape
    assert float((kernel - true).abs().max()) < 1e-12


def test_shipped_lanczos_is_pillows():
    loaded = lt.LearnedCompose.from_pretrained("lanczos_224")
    image = Image.open(PHOTOS / "coffee.jpg").convert("RGB")
    assert np.array_equal(np.asarray(loaded(image)), np.asarray(image.resize((224, 224), Image.Resampling.LANCZOS)))


@pytest.mark.parametrize("size", [(5, 7), (1, 1), (2, 9)])
@pytest.mark.parametrize("border", ["copy", "zero", "edge", "reflect", "symmetric"])
def test_filters_are_torchs(size, border):
    """Against torch's own padding and convolution."""
    weights = torch.tensor([[1, 2, 1], [0, 3, -1], [2, 1, -1]], dtype=torch.float64) / 8
    image = torch.randint(0, 256, (2, *size), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    made = Network([Filtering(weights, border, Arithmetic("float64"))], [{}], "uint8")(image, backend="reference")
    mode = {"zero": "constant", "edge": "edge", "reflect": "reflect", "symmetric": "symmetric", "copy": "edge"}[border]
    padded = torch.from_numpy(np.pad(image.double().numpy(), ((0, 0), (1, 1), (1, 1)), mode=mode))
    expected = torch.nn.functional.conv2d(padded[:, None], weights[None, None])[:, 0]
    if border == "copy":
        inner = torch.zeros(size, dtype=torch.bool)
        inner[1:-1, 1:-1] = True
        expected = torch.where(inner, expected, image.double())
    assert torch.allclose(made.double(), expected, atol=1e-4)


def test_longest_monotone_stretch():
    solarized = torch.cat([torch.arange(128), 255 - torch.arange(128, 256)])
    assert longest_monotone(solarized) in ((0, 127), (0, 128), (128, 255), (127, 255))
    assert longest_monotone(torch.zeros(256, dtype=torch.int64)) == (0, 0)


def test_seed_is_still_found_by_the_search():
    result = retrain(v2.Compose(seed_v2()), PHOTOS, kind="uint8", count=1200, progress=False)
    assert (result.family, result.certificate.tier) == ("kernel", "exact"), result.certificate


@pytest.mark.parametrize("border", ["edge", "reflect", "symmetric"])
@pytest.mark.parametrize(("window", "rank"), [(3, 4), (3, 0), (5, 24)])
def test_ranks_are_numpys(window, rank, border):
    image = torch.randint(0, 256, (2, 6, 9), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))
    made = Network([Ranking(window, rank, border)], [{}], "uint8", floats=False)(image)
    reach = window // 2
    padded = np.pad(image.numpy(), ((0, 0), (reach, reach), (reach, reach)), mode=border)
    views = np.lib.stride_tricks.sliding_window_view(padded, (window, window), (1, 2)).reshape(2, 6, 9, -1)
    assert np.array_equal(made.numpy(), np.sort(views, -1)[..., rank])


def test_windows_that_are_none_are_refused():
    for wrong in ((4, 1, "edge"), (3, 9, "edge"), (3, 1, "zero")):
        with pytest.raises(PipelineValueError, match="odd window"):
            Ranking(*wrong)
