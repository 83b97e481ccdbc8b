"""A wheel, an editable install and the source tree each find what they need; without a compiler they say so."""

import json
import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest
from conftest import ROOT

import learned_transforms as lt
from learned_transforms.trainer.zoo.build import EVERYTHING, SHIPPED

REQUIRED = "LEARNED_TRANSFORMS_REQUIRE_NATIVE"
NATIVE = os.environ.get(REQUIRED) == "1" or lt.backends()["cpu"] == "available"
"""Whether this machine is expected to compile."""
NO_COMPILER = {"CXX": "/nonexistent/c++"}
EXTENSION = f"learned_transforms/kernels/_native{sysconfig.get_config_var('EXT_SUFFIX')}"
PACKAGES = [path for path in sys.path if path.endswith("-packages")]
CODE = """
import json
import learned_transforms as lt
from learned_transforms.artifacts import weights
from learned_transforms.cli import main as cli

lt.LearnedCompose.from_pretrained("cifar10_gray28")
found = {"package": lt.__file__, "weights": weights.folder(), "benchmarks": cli.suite()}
found["native"] = getattr(sys.modules.get("learned_transforms.kernels._native"), "__file__", None)
print(json.dumps({"pretrained": lt.list_pretrained(), "cpu": lt.backends()["cpu"], **found}, default=str))
"""


def pip(*arguments: object, python: str = sys.executable, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != REQUIRED} | variables
    command = [python, "-m", "pip", "--disable-pip-version-check", *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def done(run: subprocess.CompletedProcess[str]) -> str:
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def told(cwd: Path, *command: str, first: Path | None = None) -> dict:
    """What the package says of itself, away from the source tree; the other packages are those of the tests."""
    here = [] if first is None else [str(first)]
    code = f"import sys; sys.path = {here!r} + sys.path + {PACKAGES!r}\n{CODE}"
    run = subprocess.run([*command, "-c", code], cwd=cwd, env={"PATH": os.defpath}, capture_output=True, text=True)
    found = json.loads(done(run))
    assert found["pretrained"] == sorted({*SHIPPED} - {EVERYTHING})
    return found


def told_by(folder: Path, cwd: Path) -> dict:
    """The same for a package in ``folder``, whatever is installed: without ``site`` no editable install comes first."""
    return told(cwd, sys.executable, "-S", first=folder)


def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as file:
        return set(file.namelist())


def install(wheel: Path, folder: Path) -> Path:
    done(pip("install", "--no-deps", "--target", folder, wheel))
    return folder / "learned_transforms"


@pytest.fixture(scope="module")
def sdist(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("sdist")
    done(pip("install", "--target", out / "backend", "scikit-build-core>=1.0"))
    code = "import sys; from scikit_build_core.build import build_sdist; build_sdist(sys.argv[1])"
    environment = {"PYTHONPATH": str(out / "backend"), "PATH": os.defpath}
    command = [sys.executable, "-c", code, str(out)]
    done(subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True))
    return next(out.glob("*.tar.gz"))


@pytest.fixture(scope="module")
def wheel(sdist, tmp_path_factory) -> Path:
    """From the sdist, with the extension where there is a compiler."""
    out = tmp_path_factory.mktemp("wheel")
    done(pip("wheel", "--no-deps", "-w", out, sdist, **{REQUIRED: str(int(NATIVE))}))
    return next(out.glob("*.whl"))


@pytest.fixture(scope="module")
def pure(tmp_path_factory) -> Path:
    """From the source tree, without a compiler."""
    out = tmp_path_factory.mktemp("pure")
    done(pip("wheel", "--no-deps", "-w", out, ROOT, **NO_COMPILER))
    return next(out.glob("*.whl"))


def test_sdist(sdist):
    with tarfile.open(sdist) as tar:
        held = {name.partition("/")[2] for name in tar.getnames()}
    assert {"weights/cifar10_gray28.safetensors", "benchmarks/pytest.ini", "CMakeLists.txt", "LICENSE"} <= held
    assert "learned_transforms/kernels/native/bindings/module.cpp" in held
    assert not [name for name in held if name.startswith(".ci/") or name.endswith((".so", ".pyd", ".pyc"))]


def test_wheel_holds_everything_inside_the_package(wheel, tmp_path):
    held = names(wheel)
    inside = {name.partition("/")[2] for name in held if name.startswith("learned_transforms/")}
    assert {"weights/cifar10_gray28.safetensors", "weights/README.md", "benchmarks/test_benchmarks.py"} <= inside
    assert {"benchmarks/pytest.ini", "photos/PROVENANCE.md", "py.typed"} <= inside
    assert {f"kernels/cuda/source/{name}" for name in ("kernels.cu", "taps.hpp", "pixels.hpp")} <= inside
    assert not [name for name in inside if name.startswith("kernels/native/") or "/." in name or "__pycache__" in name]
    name, version = wheel.name.split("-")[:2]
    assert {entry.split("/")[0] for entry in held} == {"learned_transforms", f"{name}-{version}.dist-info"}
    assert f"{name}-{version}.dist-info/licenses/LICENSE" in held
    assert wheel.name.endswith("-py3-none-any.whl") != NATIVE
    assert {entry for entry in held if entry.endswith((".so", ".pyd"))} == ({EXTENSION} if NATIVE else set())

    package = install(wheel, tmp_path / "site")
    found = told_by(tmp_path / "site", tmp_path)
    assert (found["weights"], found["benchmarks"]) == (str(package / "weights"), str(package / "benchmarks"))
    if NATIVE:
        assert (found["cpu"], found["native"]) == ("available", str(tmp_path / "site" / EXTENSION))


def test_without_a_compiler_all_is_there_but_the_extension(wheel, pure, tmp_path):
    assert pure.name.endswith("-py3-none-any.whl")
    assert names(pure) == names(wheel) - {EXTENSION}
    package = install(pure, tmp_path / "site")
    found = told_by(tmp_path / "site", tmp_path)
    assert found["weights"] == str(package / "weights")
    assert found["native"] is None
    assert "the native extension is not there" in found["cpu"]
    assert "compiler" in found["cpu"]


def test_a_required_extension_that_cannot_be_built_is_an_error(tmp_path):
    run = pip("wheel", "--no-deps", "-w", tmp_path, ROOT, **NO_COMPILER, **{REQUIRED: "1"})
    assert run.returncode != 0
    assert NO_COMPILER["CXX"] in run.stdout + run.stderr
    assert not list(tmp_path.glob("*.whl"))


def test_editable_install(tmp_path):
    venv.create(tmp_path / "env", system_site_packages=False, with_pip=True)
    python = str(tmp_path / "env" / "bin" / "python")
    done(pip("install", "--no-deps", "-e", ROOT, python=python, **{REQUIRED: str(int(NATIVE))}))
    found = told(tmp_path, python)
    assert found["package"] == str(ROOT / "learned_transforms" / "__init__.py")
    assert (found["weights"], found["benchmarks"]) == (str(ROOT / "weights"), str(ROOT / "benchmarks"))
    if NATIVE:
        assert found["cpu"] == "available"
        assert str(tmp_path / "env") in found["native"]


def test_source_tree(tmp_path):
    found = told_by(ROOT, tmp_path)
    assert found["package"] == str(ROOT / "learned_transforms" / "__init__.py")
    assert (found["weights"], found["benchmarks"]) == (str(ROOT / "weights"), str(ROOT / "benchmarks"))
