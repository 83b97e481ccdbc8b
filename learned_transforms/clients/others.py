"""Smaller clients, of each the classes that its pipelines hold."""

from typing import Any

from learned_transforms.clients.entries import Table, entry
from learned_transforms.clients.twins import Convert, python_up_to
from learned_transforms.containers import Sometimes


def applied(transform: Any, read: Any) -> Any:
    return Sometimes([read(transform.fn)], transform.p, python_up_to)


TABLE: Table = {
    "pretrainedmodels.utils.TransformImage": entry("79a2ddc275515f9e", opened="tf"),
    "pytorch_ood.utils.transforms.ToRGB": entry(
        "12bafb043c0d29f4", lambda transform, read: Convert("RGB", others=True)
    ),
    "vit_pytorch.dino.RandomApply": entry("cf8f346a24fbf893", applied),
    "byol_pytorch.byol_pytorch.RandomApply": entry("61242602226a4488", applied),
}
