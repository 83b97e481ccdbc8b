"""Files import only downwards, and importing the package stays light."""

import ast
import subprocess
import sys
from pathlib import Path

import learned_transforms

PACKAGE = Path(learned_transforms.__file__).parent
ORDER = (
    "errors",
    "modes",
    "plain",
    "arithmetic",
    "installed",
    "keep",
    "sizing",
    "taps",
    "plan",
    "fold",
    "images",
    "nested",
    "noise",
    "layout",
    "certificate",
    "kernels.sums",
    "kernels.colour",
    "kernels.reference",
    "kernels.cpu",
    "kernels.rows",
    "kernels.driver",
    "kernels.spans",
    "kernels.cuda",
    "kernels",
    "mixing",
    "size_rules",
    "layers",
    "framing",
    "pooling",
    "gridded",
    "colour",
    "given",
    "ranks",
    "cubes",
    "fixed",
    "network",
    "draws",
    "moving",
    "factors",
    "containers",
    "clients",
    "clients.twins",
    "replay",
    "operations",
    "steps",
    "clients.layers",
    "clients.steps",
    "catalog",
    "metadata",
    "watch",
    "arguments",
    "clients.source",
    "clients.entries",
    "clients.pillow",
    "clients.timm",
    "clients.open_clip",
    "clients.lightly",
    "clients.selfsupervised",
    "clients.references",
    "clients.others",
    "clients.known",
    "identify",
    "describe",
    "stored",
    "weights",
    "folders",
    "stand_ins",
    "views",
    "explain",
    "sampler",
    "segment",
    "masks",
    "beside",
    "tape",
    "pipeline",
    "executor",
    "processors.sizes",
    "processors.levels",
    "processors.steps",
    "processors.checks",
    "processors.families",
    "processors.reading",
    "processors.pipelines",
    "processors.features",
    "processors.inputs",
    "processors.patching",
    "processors.running",
    "processors.processor",
    "processors",
    "compose",
    "",
    "trainer.stages",
    "trainer.files",
    "trainer.forms",
    "trainer.rules",
    "trainer.data",
    "trainer.layouts",
    "trainer.hypotheses",
    "trainer.snap",
    "trainer.crew",
    "trainer.checkpoint",
    "trainer.fit",
    "trainer.placement",
    "trainer.ruled",
    "trainer.kernel",
    "trainer.problem",
    "trainer.pointwise",
    "trainer.outliers",
    "trainer.noisy",
    "trainer.gains",
    "trainer.recognise",
    "trainer.thinning",
    "trainer.choosing",
    "trainer.resampling",
    "trainer.summed",
    "trainer.spatial",
    "trainer.ranked",
    "trainer.cubed",
    "trainer.plain",
    "trainer.bounds",
    "trainer.blocks",
    "trainer.areal",
    "trainer.search",
    "trainer.contradictions",
    "trainer.levels",
    "trainer.pairs",
    "trainer.assemble",
    "trainer.impulse",
    "trainer.nearest",
    "trainer.figures",
    "trainer.speed",
    "trainer.result",
    "trainer",
    "trainer.teachers",
    "trainer.resizes",
    "trainer.blends",
    "trainer.hues",
    "trainer.colours",
    "trainer.audit",
    "trainer.page",
    "trainer.zoo",
    "doctor",
    "report",
    "apply",
    "commands",
    "cli",
    "__main__",
)
EXTENSION = "kernels._native"
"""Compiled; it imports nothing."""
NAMING = ("trainer.teachers", "trainer.audit", "trainer.zoo")
"""What names teachers, or runs the pipelines that it certifies."""
FREE_OF_TRANSFORMS = [name for name in ORDER if name.startswith("trainer.") and name not in NAMING]


FILES = [path for path in PACKAGE.rglob("*.py") if path.relative_to(PACKAGE).parts[0] != "benchmarks"]
"""An installed package holds the benchmarks too, which use it as anyone would."""


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def imports(source: str) -> set[str]:
    """Modules of the package that a source imports, without the package's name."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.level:
            found.add("relative import")
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "learned_transforms":
            base = node.module.split(".", 1)[1] if "." in node.module else ""
            for alias in node.names:
                inner = f"{base}.{alias.name}".strip(".")
                found.add(inner if inner in (*ORDER, EXTENSION) else base)
        elif isinstance(node, ast.Import):
            found |= {a.name.partition(".")[2] for a in node.names if a.name.split(".")[0] == "learned_transforms"}
    return found


def violations(name: str, source: str) -> list[str]:
    below = {EXTENSION, *ORDER[: ORDER.index(name)]}
    return [f"{name} imports {other}" for other in imports(source) - below]


def test_every_file_has_its_place():
    assert {module_name(path) for path in FILES} == set(ORDER)


def test_imports_go_down():
    found = [v for path in FILES for v in violations(module_name(path), path.read_text())]
    assert found == []


def test_an_upward_import_is_seen():
    assert violations("plan", "from learned_transforms.layers import Layer") == ["plan imports layers"]
    assert violations("layers", "from learned_transforms import compose") == ["layers imports compose"]
    assert violations("plan", "from . import layers") == ["plan imports relative import"]


def test_trainer_knows_no_transforms():
    """What learns must not be able to look up what it learns."""
    for name in (*FREE_OF_TRANSFORMS, "trainer"):
        path = PACKAGE / (name.replace(".", "/") + ("/__init__.py" if name == "trainer" else ".py"))
        source = path.read_text()
        assert not imports(source) & {"catalog", "draws"}, name
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
