"""Two OpenCV functions to learn from; docs/clone-a-pipeline.md walks through both.

``preprocess`` can be cloned exactly. ``smooth`` cannot: it decides at each pixel anew which neighbors to average.
"""

import cv2
import numpy as np


def preprocess(image: np.ndarray) -> np.ndarray:
    """Shrink an image, uint8 (H, W, C), to 28 x 28: each pixel is the mean of the area that it covers."""
    return cv2.resize(image, (28, 28), interpolation=cv2.INTER_AREA)


def preprocess_linear(image: np.ndarray) -> np.ndarray:
    """As :func:`preprocess`, but interpolated between the nearest four pixels, without antialiasing."""
    return cv2.resize(image, (28, 28), interpolation=cv2.INTER_LINEAR)


def smooth(image: np.ndarray) -> np.ndarray:
    """Average neighbors of like color in an image, uint8 (H, W, C), which keeps edges."""
    return cv2.bilateralFilter(image, 7, 50, 50)
