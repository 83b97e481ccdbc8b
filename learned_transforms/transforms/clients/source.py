"""Whether what a client defines is what was checked: by its source, and by what runs and what that relies on.

A digest is of what decides on a call, given the attributes of an object: a class without its constructor and its repr,
and the functions of its module that it calls. Comments, docstrings and blank lines do not count.
"""

import ast
import dis
import hashlib
import inspect
import math
import numbers
import random
import sys
import typing
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from types import CodeType, FunctionType
from typing import Any, NamedTuple

import numpy as np
import PIL.Image
import PIL.ImageEnhance
import PIL.ImageFilter
import PIL.ImageOps
import torch
import torchvision.transforms as v1
from torch import nn
from torchvision.transforms import v2

ASIDE = ("__init__", "__repr__", "__str__", "extra_repr")
"""Methods that a call does not come to."""

TRUSTED: dict[str, tuple[Any, ...]] = {
    "F": (v1.functional, v2.functional, nn.functional),
    "Image": (PIL.Image, PIL.Image.Image),
    "ImageEnhance": (PIL.ImageEnhance,),
    "ImageFilter": (PIL.ImageFilter,),
    "ImageOps": (PIL.ImageOps,),
    "Sequence": (typing.Sequence, Sequence),
    "Tensor": (torch.Tensor,),
    "math": (math,),
    "np": (np,),
    "numbers": (numbers,),
    "random": (random,),
    "torch": (torch,),
    "transforms": (v1,),
    "warnings": (warnings,),
    "_DEFAULT_INTERPOLATION": (PIL.Image.Resampling.BICUBIC,),
}
"""What names that clients' code relies on may stand for."""

CONSTANTS = {
    "_LEVEL_DENOM": 10.0,
    "_PIL_VER": tuple(int(part) for part in PIL.__version__.split(".")[:2]),
}
"""And numbers."""

BASES = (object, nn.Module, v1.ToTensor)
"""What clients' classes may inherit from besides those that were checked."""

MOST_MODULES = 64


class Definition(NamedTuple):
    """What a module's source says of a class or function.

    Attributes:
        text: its source, of a class without what lies aside.
        codes: what it compiles to, by the names of functions.
    """

    text: str
    codes: dict[str, CodeType]


def definitions(source: str) -> dict[str, Definition]:
    """Classes and functions of a module, by name."""
    lines = source.splitlines()
    # All of it: how a call is compiled depends on what the module imports.
    module = compile(source, "<source>", "exec", dont_inherit=True)
    compiled = {code.co_name: code for code in module.co_consts if isinstance(code, CodeType)}
    return {
        node.name: Definition(text_of(node, lines), codes_of(compiled[node.name], isinstance(node, ast.ClassDef)))
        for node in ast.parse(source).body
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name in compiled
    }


def text_of(node: ast.ClassDef | ast.FunctionDef, lines: Sequence[str]) -> str:
    """Return the lines of a definition, without what does not count."""
    without = {number for inner in ast.walk(node) for number in aside(inner)}
    start = min([node.lineno, *(one.lineno for one in node.decorator_list)])
    kept = (
        lines[number - 1].rstrip() for number in range(start, (node.end_lineno or start) + 1) if number not in without
    )
    return "\n".join(line for line in kept if line.strip() and not line.strip().startswith("#"))


def aside(node: ast.AST) -> Iterator[int]:
    """Yield the numbers of the lines of docstrings, constructors and reprs that begin at a node."""
    if isinstance(node, ast.FunctionDef) and node.name in ASIDE:
        yield from range(node.lineno, (node.end_lineno or 0) + 1)
    elif isinstance(node, ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node, clean=False) is not None:
        yield from range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1)


def codes_of(code: CodeType, is_class: bool) -> dict[str, CodeType]:
    """Return the functions of a compiled definition, by name."""
    return {c.co_name: c for c in code.co_consts if isinstance(c, CodeType)} if is_class else {code.co_name: code}


def digest_of(known: dict[str, Definition], name: str, helpers: Sequence[str] = ()) -> str:
    """Of a definition and of the functions that it calls; empty: one of them is not there."""
    if any(one not in known for one in (name, *helpers)):
        return ""
    text = "\n".join(known[one].text for one in (name, *helpers))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@lru_cache(maxsize=MOST_MODULES)
def definitions_of(module: str) -> dict[str, Definition]:
    """Return those of an imported module; none where its source cannot be read."""
    try:
        return definitions(inspect.getsource(sys.modules[module]))
    except (KeyError, OSError, SyntaxError, TypeError):
        return {}


def changed(owner: Any, digests: frozenset[str], helpers: Sequence[str]) -> str | None:
    """Return how a class or function differs from what was checked, in words; None: not at all."""
    known = definitions_of(owner.__module__)
    if not known:
        return "its source cannot be read"
    if digest_of(known, owner.__name__, helpers) not in digests:
        return "its source is none of those that were checked"
    functions = list(functions_of(owner, known))
    functions += [(name, getattr(sys.modules[owner.__module__], name, None), known[name].codes) for name in helpers]
    for name, function, codes in functions:
        if not isinstance(function, FunctionType) or not same_code(function.__code__, codes.get(function.__name__)):
            return f"its {name} was replaced"
        odd = next(unknown_names(function, helpers), None)
        if odd is not None:
            return f"it relies on {odd}, which is not what was checked"
    return None


def functions_of(owner: Any, known: dict[str, Definition]) -> Iterator[tuple[str, Any, dict[str, CodeType]]]:
    """Yield the functions of a class that a call may come to, or the function itself: name, object, and known codes."""
    codes = known[owner.__name__].codes
    if not isinstance(owner, type):
        yield owner.__name__, owner, codes
        return
    for name, value in vars(owner).items():
        if name not in ASIDE and isinstance(value, FunctionType | staticmethod | classmethod):
            yield name, value if isinstance(value, FunctionType) else value.__func__, codes
        elif name not in ASIDE and name in codes:
            yield name, None, codes


def same_code(one: CodeType, other: CodeType | None) -> bool:
    """Return whether two functions do the same, wherever they stand."""
    if other is None or (one.co_code, one.co_names, one.co_freevars) != (
        other.co_code,
        other.co_names,
        other.co_freevars,
    ):
        return False
    return len(one.co_consts) == len(other.co_consts) and all(map(same_constant, one.co_consts, other.co_consts))


def same_constant(one: Any, other: Any) -> bool:
    if isinstance(one, CodeType):
        return isinstance(other, CodeType) and same_code(one, other)
    return type(one) is type(other) and bool(one == other)


def names_in(code: CodeType) -> Iterator[str]:
    """Yield the global names that a function looks up."""
    yield from (one.argval for one in dis.get_instructions(code) if one.opname in ("LOAD_GLOBAL", "LOAD_NAME"))
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from names_in(inner)


def unknown_names(function: FunctionType, helpers: Sequence[str]) -> Iterator[str]:
    """Global names in a function that stand for something else than they should."""
    for name in names_in(function.__code__):
        if name in function.__globals__ and name not in helpers:
            value = function.__globals__[name]
            if not any(value is one for one in TRUSTED.get(name, ())) and not same_constant(value, CONSTANTS.get(name)):
                yield name


def getter(owner: Any, helpers: Sequence[str]) -> Callable[[], list[Any]]:
    """Return what gives the functions that a class relies on, as they are now."""
    module = sys.modules[owner.__module__]
    return lambda: [getattr(module, name, None) for name in helpers]
