"""Masks as images that layers move: their bytes, whatever their dtype."""

import torch
from torch import Tensor
from torchvision import tv_tensors

CARRIERS = {
    **dict.fromkeys((torch.uint8, torch.bool, torch.int8, torch.int16, torch.float16, torch.bfloat16), torch.uint8),
    **dict.fromkeys((torch.int32, torch.float32, torch.int64, torch.float64), torch.float32),
}
"""By dtype of masks: of what their values are copied as, one or two side by side."""

FLOATING = (torch.int32, torch.int64)
"""Dtypes that torchvision resizes and pads as float32, which does not have all of their values."""

MOST = 2**24
"""Up to here, float32 has every whole number."""


def taken(mask: Tensor) -> bool:
    """Return whether layers may move a mask: an exact :class:`tv_tensors.Mask` of known dtype, with values, on the
    CPU."""
    if type(mask) is not tv_tensors.Mask:
        return False
    plain = mask.as_subclass(Tensor)  # Of which it is faster to ask.
    return (
        plain.dtype in CARRIERS
        and plain.layout == torch.strided
        and plain.device.type == "cpu"
        and plain.ndim >= 2
        and not (plain.requires_grad or plain.is_nested)
        and plain.numel() > 0
    )


def carried(mask: Tensor) -> Tensor:
    """Return the values of a mask ``[..., H, W]`` as images ``[..., 1 or 2, H, W]``, in the same memory."""
    carrier = CARRIERS[mask.dtype]
    if mask.element_size() == carrier.itemsize:
        return mask.view(carrier).unsqueeze(-3)
    return mask.unsqueeze(-1).view(carrier).movedim(-1, -3)


def uncarried(images: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the opposite."""
    if images.element_size() == dtype.itemsize:
        return images.squeeze(-3).view(dtype)
    values = images.movedim(-3, -1).contiguous()
    # Without any values, strides are whatever they were.
    return values.view(dtype).squeeze(-1) if values.numel() else values.new_empty(values.shape[:-1], dtype=dtype)


def rounded(mask: Tensor) -> bool:
    """Return whether float32 would change a value of a mask."""
    if mask.dtype not in FLOATING or not mask.numel():
        return False
    least, most = mask.aminmax()
    return bool(least < -MOST or most > MOST)
