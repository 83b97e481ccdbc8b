"""Files import only downwards, and importing the package stays light."""

import ast
import subprocess
import sys
from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import learned_transforms

PACKAGE = Path(learned_transforms.__file__).parent
ROOMS = (
    "errors plain choices modes installed certificate",
    "images",
    "ir",
    "kernels",
    "layers",
    "transforms",
    "artifacts",
    "runtime",
    "processors",
    "compose .",
    "trainer",
    "cli __main__",
)
"""Folders, and modules beside them: what stands in a line imports from lines above it, and from its own, in no circle;
``.`` is the package itself."""
EXTENSION = "kernels._native"
"""Compiled; it imports nothing."""
NAMING = ("trainer.zoo.teachers", "trainer.zoo.certify", "trainer.zoo.build")
"""What names teachers, or runs the pipelines that it certifies."""


FILES = [path for path in PACKAGE.rglob("*.py") if path.relative_to(PACKAGE).parts[0] != "benchmarks"]
"""An installed package holds the benchmarks too, which use it as anyone would."""


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


MODULES = {module_name(path): path.read_text() for path in FILES}


def imports(source: str) -> set[str]:
    """Modules of the package that a source imports, without the package's name."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.level:
            found.add("relative import")
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "learned_transforms":
            base = node.module.partition(".")[2]
            for alias in node.names:
                inner = f"{base}.{alias.name}".strip(".")
                found.add(inner if inner in (*MODULES, EXTENSION) else base)
        elif isinstance(node, ast.Import):
            found |= {a.name.partition(".")[2] for a in node.names if a.name.split(".")[0] == "learned_transforms"}
    return found


def floor(name: str) -> int:
    """Number of the line of :data:`ROOMS` that a module stands in, or lies in a folder of; -1: in none."""
    top = name.partition(".")[0] or "."
    return next((number for number, room in enumerate(ROOMS) if top in room.split()), -1)


def violations(modules: Mapping[str, str]) -> list[str]:
    """What modules, by name with their sources, import that does not lie below them."""
    needed = {name: imports(source) - {EXTENSION, name} for name, source in modules.items()}
    upward = [
        f"{name} imports {other}"
        for name, others in needed.items()
        for other in others
        if not 0 <= floor(other) <= floor(name)
    ]
    try:
        list(TopologicalSorter(needed).static_order())
    except CycleError as error:
        upward.append("circle: " + " <- ".join(error.args[1]))
    return upward


def test_every_file_lies_in_a_room():
    assert [name for name in MODULES if floor(name) < 0] == []


def test_imports_go_down():
    assert violations(MODULES) == []


@pytest.mark.parametrize(
    ("name", "source", "told"),
    [
        ("ir.ops", "from learned_transforms.layers.base import Layer", "ir.ops imports layers.base"),
        ("layers.base", "from learned_transforms import compose", "layers.base imports compose"),
        ("ir.ops", "from . import passes", "ir.ops imports relative import"),
        ("ir.arithmetic", "from learned_transforms.ir import passes", "circle: "),
        ("images.formats", "import learned_transforms.runtime.segment", "images.formats imports runtime.segment"),
    ],
)
def test_an_upward_import_is_seen(name, source, told):
    assert [line for line in violations({**MODULES, name: source}) if line.startswith(told)]


def test_a_file_beside_the_rooms_is_seen():
    assert floor("cellar") == -1


def test_trainer_knows_no_transforms():
    """What learns must not be able to look up what it learns."""
    for name, source in MODULES.items():
        if name.partition(".")[0] == "trainer" and name not in NAMING:
            assert not [other for other in imports(source) if other.startswith("transforms")], name
            assert "torchvision.transforms" not in source, name


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_import_pulls_in_nothing_heavy():
    code = """
import sys, torch, torchvision
from torchvision.transforms import v2
before = set(sys.modules)
import learned_transforms
added = {name.partition(".")[0] for name in set(sys.modules) - before}
print(sorted(added & {"triton", "matplotlib", "tensorboard", "scipy"}), "learned_transforms.trainer" in sys.modules)
"""
    assert run(code).split("\n")[0] == "[] False"
