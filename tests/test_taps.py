"""Resizes by fixed-point taps: what the layer computes, and that taps are read and a kernel is found behind them."""

import importlib

import numpy as np
import pytest
import torch

import learned_transforms as lt
from learned_transforms.errors import PipelineValueError
from learned_transforms.ir.arithmetic import Arithmetic
from learned_transforms.layers.fixed_point import FixedPointResampling
from learned_transforms.layers.network import Network
from learned_transforms.layers.resize import Resampling
from learned_transforms.trainer import retrain
from learned_transforms.trainer.data.sources import PHOTOS, photo
from learned_transforms.trainer.search.choosing import COPY

EXACT = Arithmetic("float64", rounding="half_up")
CUBIC = torch.tensor([[1.0, 0.0, -2.25, 1.25], [0.0, -0.75, 1.5, -0.75]], dtype=torch.float64)


def taps(n_in, n_out, bits):
    """Pixels and whole taps of a windowed sine, eight an output."""
    places = ((np.arange(n_out) + 0.5) * (n_in / n_out) - 0.5).astype(np.float32).astype(float)
    pixels = np.floor(places)[:, None] + np.arange(-3, 5)
    weights = np.sinc(places[:, None] - pixels) * np.sinc((places[:, None] - pixels) / 4)
    whole = np.rint(weights / weights.sum(1, keepdims=True) * 2**bits).astype(int)
    return pixels.astype(int).clip(0, n_in - 1), whole


def lanczos(array, size=20, bits=10):
    """As OpenCV: taps of so many bits along either axis, one rounding in the end."""
    (rows, down), (columns, across) = (taps(n, size, bits) for n in array.shape[:2])
    sums = np.einsum("hokc,ok->hoc", array[:, columns].astype(int), across)
    sums = np.einsum("okwc,ok->owc", sums[rows], down)
    return ((sums + (1 << (2 * bits - 1))) >> (2 * bits)).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("size", [(5, 9), (40, 7)])
def test_sums_are_whole(size):
    """Cubic taps at quarters are multiples of 1/256: rounded to no fewer bits, they are what they were."""
    image = torch.randint(0, 256, (3, *size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    params = [{"size": tuple(2 * length for length in size), "antialias": False}]
    wanted = Network([Resampling(CUBIC, torch.zeros(2), EXACT)], params, "uint8")(image)
    made = FixedPointResampling(CUBIC, torch.zeros(2), EXACT, 8)
    assert Network([made], [{"size": params[0]["size"]}], "uint8")(image).equal(wanted)


@pytest.mark.parametrize("given", [(EXACT, 0), (EXACT, 17), (Arithmetic("int", 11, rounding="half_up"), 11)])
def test_layers_that_are_none_are_refused(given):
    with pytest.raises(PipelineValueError, match="bits"):
        FixedPointResampling(COPY.values, torch.zeros(2), *given)


def test_taps_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.import_module("learned_transforms.trainer.search.taps"), "SIDES", (29, 34, 44, 56))
    result = retrain(lanczos, PHOTOS, kind="numpy", size=(29, 29), count=300, progress=False, out=tmp_path)
    assert result.family == "fixed-point taps", [str(row) for row in result.table]
    assert result.certificate.at_least("rounding"), result.certificate
    assert result.networks[result.family].members[0].bits == 10
    array = photo("coffee")[:, :70, :90].permute(1, 2, 0).numpy()
    made = lt.LearnedCompose.from_pretrained(tmp_path)(array)
    assert np.abs(made.astype(int) - lanczos(array)).max() <= 1
