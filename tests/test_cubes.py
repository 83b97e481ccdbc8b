"""Tables of colors with trilinear interpolation: what the layer computes, and that the search finds any grid."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter

import learned_transforms as lt
from learned_transforms.errors import PipelineValueError
from learned_transforms.ir.arithmetic import Arithmetic
from learned_transforms.layers.cube import ColorCube
from learned_transforms.layers.network import Network
from learned_transforms.trainer import retrain
from learned_transforms.trainer.data.bundled import PHOTOS, photo
from learned_transforms.trainer.search.cube import hats, nodes_along

GRID = (5, 9, 12)


def nodes(counts, spread=25.0, seed=0):
    """Levels ``[3, *counts]``, a little off those of the colors themselves."""
    own = torch.stack(torch.meshgrid(*[torch.linspace(0, 255, n, dtype=torch.float64) for n in counts], indexing="ij"))
    noise = torch.rand(own.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (own + (2 * noise - 1) * spread).clamp(0, 255)


@pytest.mark.parametrize("counts", [(2, 2, 2), GRID])
def test_values_lie_between_nodes(counts):
    table = nodes(counts)
    image = torch.randint(0, 256, (3, 7, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    made = Network([ColorCube(table, Arithmetic("float32", rounding="half_up"))], [{}], "uint8")(image)
    weights = [hats(channel.flatten(), n) for channel, n in zip(image, counts, strict=True)]
    expected = torch.einsum("pa,pb,pc,oabc->op", *weights, table).view(3, 7, 5)
    assert (made.double() - expected).abs().max() <= 0.5 + 1e-3


@pytest.mark.parametrize("shape", [(3, 1, 4, 4), (3, 4, 4, 130), (3, 4, 4)])
def test_tables_that_are_none_are_refused(shape):
    with pytest.raises(PipelineValueError, match="nodes"):
        ColorCube(torch.zeros(shape), Arithmetic("float32"))


@pytest.mark.parametrize("count", [2, 3, 17, 33])
def test_grids_are_told_by_where_lines_bend(count):
    generator = torch.Generator().manual_seed(count)
    lines = hats(torch.arange(256), count) @ (
        40 + 170 * torch.rand(count, 30, generator=generator, dtype=torch.float64)
    )
    assert nodes_along(lines.round(), torch.ones(30, dtype=torch.bool)) == count


def test_curves_are_no_grid():
    waves = 128 + 100 * torch.sin(torch.arange(256)[:, None] * torch.linspace(1, 3, 20, dtype=torch.float64))
    assert nodes_along(waves.round(), torch.ones(20, dtype=torch.bool)) is None


def test_a_table_of_any_grid_is_found(tmp_path):
    table = nodes(GRID).permute(3, 2, 1, 0) / 255  # Pillow counts red fastest.
    cube = ImageFilter.Color3DLUT(GRID, table.reshape(-1, 3).numpy())

    def teacher(image):
        return image.filter(cube)

    result = retrain(teacher, PHOTOS, kind="pil", size=(24, 24), count=400, progress=False, out=tmp_path)
    assert result.family == "color table", [str(row) for row in result.table]
    assert [layer.nodes.shape for layer in result.networks[result.family].members] == [(3, *GRID)]
    assert result.certificate.at_least("rounding"), result.certificate
    image = Image.fromarray(photo("coffee")[:, :70, :90].permute(1, 2, 0).numpy())
    loaded = lt.LearnedCompose.from_pretrained(tmp_path)
    error = np.abs(np.asarray(loaded(image)).astype(int) - np.asarray(teacher(image)))
    assert error.max() <= 1
