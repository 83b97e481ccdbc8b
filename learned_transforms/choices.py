"""Arguments that are one of a few words: their types, which a type checker holds callers to."""

from typing import Literal

Fallback = Literal["warn", "torchvision", "error"]
"""What is done with transforms that no layer covers."""

BackendName = Literal["auto", "cpu", "cuda", "reference"]
"""What runs layers."""

Stack = Literal["torchvision", "pil"]
"""Whose arithmetic a published processor has."""

Architecture = Literal["auto", "separable", "dense", "cnn", "local"]
"""Families of networks to learn a teacher with."""

Kind = Literal["pil", "uint8", "float32"]
"""Of images: PIL images, or tensors of a dtype."""

TeacherKind = Literal["pil", "uint8", "float32", "numpy"]
"""Of images that a teacher takes; arrays too."""
