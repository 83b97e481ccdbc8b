"""Channel maps that clamp, that are summed as matrix products are, and that look at what another map rounded."""

import numpy as np
import pytest
import torch

from learned_transforms.ir.arithmetic import Arithmetic
from learned_transforms.kernels.reference.rounding import multiply_add
from learned_transforms.layers.pointwise import Mixing
from learned_transforms.trainer import retrain
from learned_transforms.trainer.data.bundled import PHOTOS

SEPIA = np.array([[0.393, 0.769, 0.189], [0.349, 0.686, 0.168], [0.272, 0.534, 0.131]])
GAINS = np.eye(3) * 1.9 - 0.2


def luma_chroma(array):
    """Luma rounded to a level, and chroma from that, in integers of 14 bits."""
    r, g, b = array.astype(np.int64).transpose(2, 0, 1)
    y = (4899 * r + 9617 * g + 1868 * b + 8192) >> 14
    red, blue = ((((c - y) * factor + (128 << 14)) + 8192) >> 14 for c, factor in ((r, 11682), (b, 9241)))
    return np.clip(np.stack([y, red, blue], -1), 0, 255).astype(np.uint8)


TEACHERS = {
    "sepia": lambda a: np.minimum(a.astype(np.float64) @ SEPIA.T, 255).astype(np.uint8),
    "gains": lambda a: np.clip(a.astype(np.float64) @ GAINS.T + 5, 0, 255).round().astype(np.uint8),
    "contrast": lambda a: np.clip((a.astype(np.float32) - 128) * 1.5 + 128, 0, 255).astype(np.uint8),
    "white balance": lambda a: np.clip(a * np.array([1.3, 1.0, 0.8]), 0, 255).astype(np.uint8),
    "luma and chroma": luma_chroma,
}
FAMILIES = {"sepia": "channel map", "gains": "channel map", "luma and chroma": "two channel maps"}


@pytest.mark.parametrize("name", TEACHERS)
def test_maps_that_clamp(name):
    teacher = TEACHERS[name]
    result = retrain(teacher, PHOTOS, kind="numpy", size=(32, 32), count=1000, progress=False)
    assert result.certificate.tier == "exact", result.certificate
    assert result.family == FAMILIES.get(name, "table")
    image = np.random.default_rng(5).integers(0, 256, (37, 21, 3), np.uint8)
    assert np.array_equal(result.transform(image), teacher(image))


def test_sums_of_float64_are_fused():
    """Against whole numbers: products of levels and weights of 53 bits, rounded once behind the sum."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (2000,), generator=generator)
    weights = torch.randint(2**52, 2**53, (2000,), generator=generator)
    totals = torch.randint(-(2**53), 2**53, (2000,), generator=generator)
    exact = [a * b + c for a, b, c in zip(x.tolist(), weights.tolist(), totals.tolist(), strict=True)]
    made = multiply_add(x.double(), weights.double(), totals.double(), Arithmetic("float64", fma=True))
    assert made.tolist() == [float(value) for value in exact]
    plain = multiply_add(x.double(), weights.double(), totals.double(), Arithmetic("float64"))
    assert plain.tolist() != made.tolist()


def test_fused_sums_of_float64_are_stored():
    how = Arithmetic("float64", fma=True, rounding="truncate")
    assert Arithmetic.from_json(how.to_json()) == how
    assert Mixing(torch.eye(3), torch.zeros(3), how).describe() == {"arithmetic": how.to_json()}
