"""Gains by position: those on simple grids are found to the last digit, which ties between levels need."""

import numpy as np

from learned_transforms.trainer import retrain
from learned_transforms.trainer.data.bundled import PHOTOS


def watermark(array):
    """White of 30 % alpha on a part of the image: sums often lie just between two levels."""
    alpha = np.zeros((*array.shape[:2], 1))
    alpha[4:12, 6:16] = 0.3
    return (array * (1 - alpha) + 255 * alpha).round().astype(np.uint8)


def test_a_watermark_is_exact_where_sums_lie_between_levels():
    result = retrain(watermark, PHOTOS, kind="numpy", size=(20, 20), count=300, progress=False)
    assert (result.family, result.certificate.tier) == ("gain map", "exact"), [str(row) for row in result.table]
