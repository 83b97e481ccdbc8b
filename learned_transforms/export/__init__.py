"""The same pixels elsewhere: ONNX files, and what ``torch.export`` holds."""

from learned_transforms.export.files import merge, onnx, pack, unpack
from learned_transforms.export.operator import plain

__all__ = ["merge", "onnx", "pack", "plain", "unpack"]
