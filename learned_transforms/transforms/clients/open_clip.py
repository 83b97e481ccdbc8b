"""open_clip: what ``image_transform`` is made of besides timm's."""

import random
from typing import Any

from learned_transforms.transforms.clients.entries import Entries, entry, fixed
from learned_transforms.transforms.clients.moves import CentredCropOrPad
from learned_transforms.transforms.clients.timm import crop_or_pad, keep_ratio
from learned_transforms.transforms.clients.twins import Convert, MaybeToTensor, python_below
from learned_transforms.transforms.containers import Sometimes


def sometimes(transform: Any, read: Any) -> Any:
    return Sometimes([read(transform.transf)], transform.p, python_below)


TABLE: Entries = {
    "open_clip.transform.MaybeConvertMode": entry(
        "8338a99a9559fb78", lambda transform, read: Convert(transform.mode, others=True)
    ),
    "open_clip.transform.MaybeToTensor": entry("0843df9e5b41237d", fixed(MaybeToTensor)),
    "open_clip.transform.ResizeKeepRatio": entry("f58a65fca0ef67e6", keep_ratio(random.uniform)),
    "open_clip.transform.CenterCropOrPad": entry(
        "e3eb0ed5868e1927", crop_or_pad(CentredCropOrPad), helpers=("center_crop_or_pad",)
    ),
    "open_clip.transform.color_jitter": entry("8e39f1e6610fa28d", sometimes),
    "open_clip.transform.gray_scale": entry("542a1a6a2a6581d2", sometimes),
}
