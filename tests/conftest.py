import os
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

ROOT = Path(__file__).resolve().parent.parent

# Processes that tests start import what is installed, too, not the source tree that they are started in.
os.environ["PYTHONSAFEPATH"] = "1"

# Several workers share the processor's cores.
WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
torch.set_num_threads(max(1, torch.get_num_threads() // WORKERS))


@pytest.fixture(autouse=True)
def seeded():
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def photos() -> dict[str, Tensor]:
    from learned_transforms.trainer.data.bundled import HELD_OUT_PHOTOS, TRAINING_PHOTOS, photo

    return {name: photo(name) for name in (*TRAINING_PHOTOS, *HELD_OUT_PHOTOS)}


@pytest.fixture
def image() -> Tensor:
    return torch.randint(0, 256, (3, 37, 45), dtype=torch.uint8)


@pytest.fixture
def pil(image) -> Image.Image:
    return Image.fromarray(image.permute(1, 2, 0).numpy())
