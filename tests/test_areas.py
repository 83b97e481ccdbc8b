"""Resizes whose pixels are means of their parts of the image: the layer, and that the search finds them."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F

from learned_transforms.ir.arithmetic import Arithmetic
from learned_transforms.layers.grid import GridResampling, mean_of, settled_grid
from learned_transforms.layers.network import Network
from learned_transforms.trainer import retrain
from learned_transforms.trainer.data.bundled import PHOTOS

ONE, STILL = torch.ones(1, 1, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
ROUNDED = Arithmetic("float64", rounding="half_even")


@pytest.mark.parametrize(("n_in", "n_out"), [(7, 3), (3, 7), (12, 4), (5, 5), (1, 6), (6, 1)])
@pytest.mark.parametrize("grid", ["overlaps", "pairs", "touched"])
def test_weights_of_means_sum_to_one(grid, n_in, n_out):
    matrix = mean_of(grid, n_in, n_out)
    assert matrix.shape == (n_out, n_in)
    assert torch.allclose(matrix.sum(1), torch.ones(n_out, dtype=torch.float64))
    assert bool((matrix >= 0).all())


@pytest.mark.parametrize("size", [(5, 9), (40, 33), (61, 7)])
def test_touched_pixels_are_those_of_torch(size):
    image = torch.randint(0, 256, (3, 21, 30), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    made = Network([GridResampling(ONE, STILL, ROUNDED)], [{"size": size, "grid": "touched"}], "uint8")(image)
    wanted = F.interpolate(image[None].double(), size, mode="area")[0]
    assert (made.double() - wanted).abs().max() <= 0.5 + 1e-9


def test_overlaps_and_pairs_are_one_where_an_axis_grows():
    assert mean_of("pairs", 5, 13).equal(mean_of("overlaps", 5, 13))
    assert mean_of("pairs", 3, 2).equal(torch.tensor([[2 / 3, 1 / 3, 0], [0, 1 / 3, 2 / 3]], dtype=torch.float64))


def stretched(image, size, grid="overlaps"):
    """Means in float64, rounded once."""
    grid = settled_grid(grid, image.shape[-2:], (size, size))
    rows, columns = (mean_of(grid, n, size) for n in image.shape[-2:])
    return (rows @ image.double() @ columns.T).round().clamp(0, 255).to(torch.uint8)


def pooled(image):
    return F.interpolate(image[None].double(), (20, 20), mode="area")[0].round().to(torch.uint8)


@pytest.mark.parametrize(
    ("teacher", "grid"),
    [
        (partial(stretched, size=20), "overlaps"),
        (partial(stretched, size=90), "overlaps"),
        (partial(stretched, size=40, grid="overlaps or pairs"), "overlaps or pairs"),
        (pooled, "touched"),
    ],
)
def test_means_are_found_for_any_size(teacher, grid):
    result = retrain(teacher, PHOTOS, kind="uint8", size=(32, 32), count=400, progress=False)
    assert result.family == "areas", [str(row) for row in result.table]
    # Where means lie just between two levels, the order of sums decides.
    assert result.certificate.at_least("rounding"), result.certificate
    assert f"means of parts of the image: {grid}" in result.notes
    image = torch.randint(0, 256, (3, 71, 110), dtype=torch.uint8, generator=torch.Generator().manual_seed(4))
    error = result.transform(image).int() - teacher(image).int()
    assert error.abs().max() <= 1


def test_images_that_grow_may_be_summed_otherwise():
    cut, params = Arithmetic("float64", rounding="truncate"), {"size": (8, 8), "grid": "overlaps or pairs"}
    network = Network([GridResampling(ONE, STILL, cut, growing=ROUNDED)], [params], "uint8", floats=False)
    image = torch.randint(0, 256, (3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(5))
    for part, kind, rounding in ((image, "overlaps", torch.floor), (image[:, :, :4], "pairs", torch.round)):
        rows, columns = (mean_of(kind, n, 8) for n in part.shape[1:])
        assert network(part).equal(rounding(rows @ part.double() @ columns.T).to(torch.uint8))
