"""Several inputs, or nested ones, taken as a list: which of them v2 transforms, and what they must have in common."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision import tv_tensors

from learned_transforms.errors import InputShapeError, InputTypeError
from learned_transforms.images.formats import Form, kind_of, shape_of

SHOWN = (Image.Image, tv_tensors.Image, tv_tensors.Video)
"""What v2 takes for images, so that plain tensors beside it are none."""

BESIDE = (tv_tensors.Mask, tv_tensors.BoundingBoxes, tv_tensors.KeyPoints)
"""What v2 transforms besides images and videos."""


KNOWN = (Tensor, tv_tensors.Image, tv_tensors.Video, *BESIDE)
"""Classes of tensors of which a key says enough."""


def key_of(values: Sequence[Any]) -> Any:
    """Return what samples share whose parts are taken in one way, whatever their sizes; None: too little is known."""
    key: list[Any] = [torch.get_num_threads()]
    for value in values:
        kind = type(value)
        if kind in KNOWN:
            plain = value.as_subclass(Tensor)  # Of which it is faster to ask.
            if plain.is_nested or plain.layout != torch.strided or not plain.numel():
                return None
            key.append((kind, plain.dtype, plain.shape[:-2], plain.device, plain.requires_grad))
        elif isinstance(value, Image.Image):
            if 0 in value.size:
                return None
            key.append((kind, value.mode))
        elif isinstance(value, np.ndarray):
            found = kind_of(value)
            if found is None:
                return None
            key.append((kind, found))
        elif isinstance(value, Tensor):
            return None
        else:
            key.append(kind)
    return tuple(key)


def together(values: Sequence[Any]) -> list[int]:
    """Return which of several inputs v2 transforms: of plain tensors the first, and only where there is no other
    image."""
    shown = any(isinstance(v, SHOWN) for v in values)
    plain = [i for i, v in enumerate(values) if isinstance(v, Tensor) and not isinstance(v, tv_tensors.TVTensor)]
    images = [i for i, v in enumerate(values) if isinstance(v, (*SHOWN, *BESIDE))]
    return images if shown else sorted(images + plain[:1])


def differ(values: Sequence[Any], taken: Sequence[int]) -> bool:
    """Return whether there are several sizes among those that are taken of values."""
    return len(set(map(size_of, map(values.__getitem__, taken)))) > 1


def check_sizes(values: Sequence[Any]) -> None:
    """Require one size, as a window is drawn for all of them.

    Raises:
        InputShapeError: there are several.
    """
    sizes = sorted({size_of(value) for value in values})
    if len(sizes) > 1:
        raise InputShapeError(f"Found multiple sizes (rows, columns) in the sample: {sizes}. Resize them first.")


def check_shapes(values: Sequence[Any]) -> None:
    """Require images of one shape (C, H, W), where a transform draws for images of one.

    Raises:
        InputShapeError: there are several.
    """
    images = [v for v in values if not isinstance(v, tv_tensors.BoundingBoxes | tv_tensors.KeyPoints | tv_tensors.Mask)]
    shapes = {shape_of(image) for image in images}
    if len(shapes) > 1:
        raise InputShapeError(
            f"Found multiple shapes (C, H, W) in the sample: {sorted(shapes)}. Make them alike first."
        )


def check_alone(values: Sequence[Any]) -> None:
    """Require one image or video, and nothing that lies on it.

    Raises:
        InputTypeError: otherwise, as torchvision's policies.
    """
    odd = next((value for value in values if isinstance(value, BESIDE)), None)
    if odd is not None or len(values) > 1:
        found = f"{len(values)} images" if odd is None else type(odd).__name__
        raise InputTypeError(f"Policies take one image or video in a sample, and nothing on it; found {found}.")


def check_cut(values: Sequence[Any]) -> None:
    """Require nothing that cannot be cut into several parts.

    Raises:
        InputTypeError: boxes or masks, as torchvision.
    """
    if any(isinstance(value, tv_tensors.BoundingBoxes | tv_tensors.Mask) for value in values):
        raise InputTypeError("FiveCrop and TenCrop take no boxes and no masks. Give them the images alone.")


def common(forms: Sequence[Form | None]) -> Form | None:
    """Return the form that several images share; plain where all are."""
    known = [form for form in forms if form is not None]
    alike = len(known) == len(forms) and len({form[:2] for form in known}) == 1
    return min(known) if alike else None


def size_of(value: Any) -> tuple[int, int]:
    """(rows, columns) of an image, or of what boxes and keypoints lie on."""
    if isinstance(value, tv_tensors.BoundingBoxes | tv_tensors.KeyPoints):
        h, w = value.canvas_size
    elif isinstance(value, Image.Image):
        w, h = value.size
    else:
        h, w = (1, 1, *value.shape)[-2:]  # Masks may have fewer dimensions.
    return h, w


def describe_leaf(leaf: Any) -> str:
    if isinstance(leaf, Tensor):
        return f"{type(leaf).__name__} {leaf.dtype}"
    return f"PIL image of mode {leaf.mode}" if isinstance(leaf, Image.Image) else type(leaf).__name__
