"""lightly: the transforms that its views are made of, the views, and what holds several of them."""

from typing import Any

import numpy as np
import torchvision.transforms as v1

from learned_transforms.transforms.clients.entries import Entries, entry
from learned_transforms.transforms.clients.twins import FromPillow, Solarize, blur_between, numpy_below
from learned_transforms.transforms.containers import Sometimes

VIEWS = {
    "byol_transform.BYOLView1Transform": "c0a58cf7a8081f5e",
    "byol_transform.BYOLView2Transform": "21eba218d5c4c11b",
    "dino_transform.DINOViewTransform": "4a1a95aec1fa4641",
    "fda_transform.FDAView1Transform": "b1c8d5464048b0ff",
    "fda_transform.FDAView2Transform": "2f8226acff5bdf79",
    "ibot_transform.IBOTViewTransform": "61464e11c0528780",
    "ijepa_transform.IJEPATransform": "85e26198bb921fa7",
    "msn_transform.MSNViewTransform": "ed2d656700c9cad1",
    "simclr_transform.SimCLRViewTransform": "7b216e234713872a",
    "simsiam_transform.SimSiamViewTransform": "c78ec669aac74cb7",
    "smog_transform.SmoGViewTransform": "9904fc950f9e1002",
    "swav_transform.SwaVViewTransform": "74563afbf4ad716d",
    "vicreg_transform.VICRegViewTransform": "704574593626929f",
    "vicregl_transform.VICRegLViewTransform": "819c6e1cb91d4867",
}
"""Classes whose call is that of the Compose that they hold, and digests of these."""


def rotated(transform: Any, read: Any) -> Any:
    """By default it rotates nothing, and draws all the same."""
    return Sometimes([], transform.prob, numpy_below) if transform.prob <= 0 else "rotations are not learned yet"


def blurred(transform: Any, read: Any) -> Any:
    """Tensors are PIL images in between, blurred or not."""
    blur = blur_between(np.random.uniform, *transform.sigmas)
    return blur if isinstance(blur, str) else v1.Compose([Sometimes([blur], transform.prob, numpy_below), FromPillow()])


def solarized(transform: Any, read: Any) -> Any:
    return Sometimes([Solarize(transform.threshold)], transform.prob, numpy_below)


TABLE: Entries = {
    "lightly.transforms.torchvision_v2_compatibility.ToTensor": entry("62cdb51a12851693", opened="transform"),
    "lightly.transforms.rotation.RandomRotate": entry("1ee25f779e9ea997", rotated),
    "lightly.transforms.rotation.RandomRotateDegrees": entry("5c8b6c1c29c4c0ef", opened="transform"),
    "lightly.transforms.solarize.RandomSolarization": entry("46a01b9e7d7a3b80", solarized),
    "lightly.transforms.gaussian_blur.GaussianBlur": entry("08579c51a3e48f73", blurred),
    "lightly.transforms.multi_view_transform.MultiViewTransform": entry("e5adf89dea39817d", views=("transforms",)),
    "lightly.transforms.image_grid_transform.ImageGridTransform": entry("d23806f6718bb4f6", views=("transforms",)),
    "lightly.transforms.jigsaw.Jigsaw": entry("4cee1f651954daf3", views=("transform",)),
    **{f"lightly.transforms.{name}": entry(digest, opened="transform") for name, digest in VIEWS.items()},
}
