"""The same pixels elsewhere: ONNX files, and what ``torch.export`` holds."""

from learned_transforms.export.files import merge, onnx, pack, unpack
from learned_transforms.export.operator import decomposed

__all__ = ["decomposed", "merge", "onnx", "pack", "unpack"]
