"""Resizes on other grids: the layer at any size, and how free matrices tell on which grid their outputs lie."""

import pytest
import torch
import torch.nn.functional as F

from learned_transforms.ir.arithmetic import Arithmetic
from learned_transforms.layers.grid import GRIDS, GridResampling, evaluate_on
from learned_transforms.layers.network import Network
from learned_transforms.layers.resize import Resampling
from learned_transforms.trainer.search.placement import placements
from learned_transforms.trainer.search.recognize import recognize

LINEAR, SHIFT = torch.tensor([[1.0, -1.0]], dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
ROUNDED = Arithmetic("float64", rounding="half_even")


@pytest.mark.parametrize("size", [(40, 40), (1, 7), (97, 13)])
@pytest.mark.parametrize("shape", [(32, 61), (200, 33), (2, 1)])
def test_corners_are_those_of_torch(shape, size):
    params = {"size": size, "grid": "corners", "antialias": False}
    network = Network([GridResampling(LINEAR, SHIFT, ROUNDED)], [params], "uint8", floats=False)
    image = torch.randint(0, 256, (3, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    wanted = F.interpolate(image[None].double(), size, mode="bilinear", align_corners=True)[0]
    assert (network(image).double() - wanted).abs().max() <= 0.5 + 1e-9


def test_starts_take_the_first_pixel_of_each_block():
    params = {"size": (5, 4), "grid": "starts", "antialias": False}
    network = Network([GridResampling(LINEAR, SHIFT, ROUNDED)], [params], "uint8", floats=False)
    image = torch.randint(0, 256, (1, 15, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert network(image).equal(image[:, ::3, ::2])


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize(("n_in", "n_out"), [(32, 40), (40, 32)])
def test_matrices_tell_their_grid(grid, n_in, n_out):
    matrix = evaluate_on(grid, LINEAR, SHIFT[0], n_in, n_out, antialias=False).dense()
    noise = torch.randn(matrix.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    matrix = matrix + 2e-4 * noise * (matrix != 0)
    found = recognize(matrix, matrix)[0]
    assert [line.grid for line in found.lines] == [grid, grid]
    assert found.shift.abs().max() < 1e-3
    rule = placements(found.lines, (n_in, n_in), (n_out, n_out), False, False)[0]
    layer, params = rule.parts(Resampling(LINEAR, SHIFT, ROUNDED), (n_out, n_out))[0]
    assert params.get("grid", "centres") == grid
    assert isinstance(layer, GridResampling) == (grid != "centres")


def test_an_enlargement_leaves_antialiasing_undecided_unless_its_borders_tell():
    """Cubic kernels: what lies beyond the borders counts for the nearest pixel, or is left out."""
    cubic = torch.tensor([[1, 0, -2.25, 1.25], [0, -0.75, 1.5, -0.75]], dtype=torch.float64)
    for antialias in (True, False):
        matrix = evaluate_on("centres", cubic, SHIFT[0], 32, 40, antialias).dense()
        assert recognize(matrix, matrix)[0].antialias == antialias
    matrix = evaluate_on("centres", LINEAR, SHIFT[0], 32, 40).dense()
    assert [each.undecided for each in recognize(matrix, matrix)] == [True]
