"""Resizes by fixed-point taps: what the layer computes, and that taps are read and a kernel is found behind them."""

import numpy as np
import pytest
import torch

from learned_transforms.errors import PipelineValueError
from learned_transforms.ir.arithmetic import Arithmetic
from learned_transforms.layers.fixed_point import FixedPointResampling
from learned_transforms.layers.network import Network
from learned_transforms.layers.resize import Resampling
from learned_transforms.trainer.data.bundled import photo, training_images
from learned_transforms.trainer.search.choosing import COPYING
from learned_transforms.trainer.search.outliers import QUICK
from learned_transforms.trainer.search.problem import FoundForm, Problem, attempt, labelled
from learned_transforms.trainer.search.taps import taps_form

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
        FixedPointResampling(COPYING.values, torch.zeros(2), *given)


def test_taps_are_read():
    """Outputs of 20 pixels lie at 40 places between pixels, which images of these sides show."""

    def ask(images):
        return labelled(lanczos, images, "numpy")

    images = training_images(60, (29, 29))
    problem = Problem(ask(images[::2]), ask(images[1::2]), (), ask, QUICK)
    form = taps_form(problem)
    assert isinstance(form, FoundForm), form
    assert form.layers[0].bits == 10
    assert attempt(form.layers, [problem.val], form.params).differing == 0
    other = ask(photo("coffee")[None, :, :71, :90])
    assert attempt(form.layers, [other], form.params).largest <= 1
