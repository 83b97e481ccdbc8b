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
    "export",
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


SHARED = {
    "Normalize": "an operation, and the object of the transform of that name",
    "Resize": "an operation, and the object of the transform of that name",
    "compile_plan": "of each backend",
    "run_all": "of each backend",
    "why_not": "of each backend",
    "kind_of": "of an image, what its programs are for; of a form, whose arithmetic applies",
    "main": "of each command line",
    "merge": "of operations, and of models",
    "retrain": "the function, and the command that calls it",
}
"""Names that stand in several modules, and that others import from more than one of them."""


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


def definitions(source: str) -> set[str]:
    """Names that a module defines at its top."""
    found = set()
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {one.id for target in targets for one in ast.walk(target) if isinstance(one, ast.Name)}
    return found


def taken_names(source: str) -> set[tuple[str, str]]:
    """Names that a source takes out of modules of the package, each with its module."""
    tree = ast.parse(source)
    found, modules = set(), {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "learned_transforms":
            base = node.module.partition(".")[2]
            for alias in node.names:
                inner = f"{base}.{alias.name}".strip(".")
                if inner in MODULES:
                    modules[alias.asname or alias.name] = inner
                else:
                    found.add((base, alias.name))
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules:
            found.add((modules[node.value.id], node.attr))
    return found


def ambiguous(modules: Mapping[str, str]) -> set[str]:
    """Names that several modules define, and that others take from more than one of them."""
    homes: dict[str, set[str]] = {}
    for name, source in modules.items():
        for one in definitions(source):
            homes.setdefault(one, set()).add(name)
    taken = set().union(*map(taken_names, modules.values()))
    return {name for name, places in homes.items() if sum((place, name) in taken for place in places) > 1}


def test_a_name_that_is_imported_stands_in_one_module():
    assert ambiguous(MODULES) == set(SHARED)


def test_a_second_home_of_a_name_is_seen():
    again = {**MODULES, "ir.again": "def settled(): ...", "ir.user": "from learned_transforms.ir.again import settled"}
    assert ambiguous(again) == {*SHARED, "settled"}


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
