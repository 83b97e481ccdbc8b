"""Operations on images, of which plans are made. Shapes are ``(C, H, W)``; levels are values in [0, 255]."""

from learned_transforms.ir.ops.base import Alike, Factor, Shape, Slot, Slots, Stage, number
from learned_transforms.ir.ops.color import Blend, Cast, Equalize, Mix, Normalize, Stretch, Table, Tables, Turn
from learned_transforms.ir.ops.filters import BLURS, FILTER_BORDERS, Blur, BoxBlur, Filter
from learned_transforms.ir.ops.spatial import Apply, Gather, Pick, Product, Resample, Resize, Sparse
from learned_transforms.ir.ops.warp import WARPS, Places, Warp

__all__ = [
    "BLURS",
    "FILTER_BORDERS",
    "WARPS",
    "Alike",
    "Apply",
    "Blend",
    "Blur",
    "BoxBlur",
    "Cast",
    "Equalize",
    "Factor",
    "Filter",
    "Gather",
    "Mix",
    "Normalize",
    "Pick",
    "Places",
    "Product",
    "Resample",
    "Resize",
    "Shape",
    "Slot",
    "Slots",
    "Sparse",
    "Stage",
    "Stretch",
    "Table",
    "Tables",
    "Turn",
    "Warp",
    "number",
]
