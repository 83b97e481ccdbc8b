"""The same pixels elsewhere: ONNX files, what ``torch.export`` holds, and program files, which C and browsers run."""

from learned_transforms.export.files import merge, onnx, pack, unpack
from learned_transforms.export.operator import decomposed
from learned_transforms.export.program_file import draw_of, program

__all__ = ["decomposed", "draw_of", "merge", "onnx", "pack", "program", "unpack"]
