"""Pillow's Gaussian blur by boxes: native code and reference against Pillow itself, and layers around it."""

import random

import numpy as np
import pytest
import torch
from helpers import image_of, to_pil
from PIL import ImageFilter

from learned_transforms.ir.ops import BoxBlur, Slot
from learned_transforms.ir.plan import Plan
from learned_transforms.kernels import backends, cpu
from learned_transforms.kernels.reference.color import box_of
from learned_transforms.kernels.reference.executor import Reference

SIGMAS = (0.01, 0.1, 0.4, 0.77, 1.0, 1.5, 2.0, 3.3, 7.0, 16.0)
SIZES = ((1, 1), (1, 9), (9, 1), (2, 3), (17, 64), (65, 41), (130, 97))


def plan_of(image, sigma):
    return Plan(len(image), None, (BoxBlur(sigma, 3),), tuple(image.shape))


def by_pillow(image, sigma):
    made = np.array(to_pil(image).filter(ImageFilter.GaussianBlur(sigma)))
    return torch.from_numpy(made.reshape(*image.shape[1:], len(image))).permute(2, 0, 1)


@pytest.mark.parametrize("sigma", SIGMAS)
@pytest.mark.parametrize("channels", [1, 3])
def test_as_pillow(sigma, channels):
    for size in SIZES:
        image = image_of(channels, size)
        assert Reference(plan_of(image, sigma)).bind(image)(image).equal(by_pillow(image, sigma)), size
        if "cpu" in backends():
            assert cpu.compile_plan(plan_of(image, sigma)).bind(image)(image).equal(by_pillow(image, sigma)), size


def test_drawn_radii():
    image = image_of(3, (40, 33))
    for made, times in ((cpu.compile_plan(plan_of(image, Slot(0))), 500), (Reference(plan_of(image, Slot(0))), 20)):
        run = made.bind(image)
        for _ in range(times):
            sigma = random.uniform(0.05, 4.0)
            assert run(image, None, (sigma,)).equal(by_pillow(image, sigma)), sigma


def test_boxes_count_all_pixels_once():
    for sigma in np.linspace(0.01, 64, 400):
        radius, inside, beyond = box_of(float(sigma), 3)
        assert 0 <= 2**24 - (2 * radius + 1) * inside - 2 * beyond <= 1
        assert 2 * radius + 1 <= 257


def test_a_sigma_that_is_no_blur_is_refused():
    image = image_of(3, (20, 20))
    compiled = cpu.compile_plan(plan_of(image, Slot(0))).bind(image)
    for sigma in (0.0, -1.0, 65.0, float("nan")):
        with pytest.raises(ValueError, match="Expected"):
            compiled(image, None, (sigma,))
