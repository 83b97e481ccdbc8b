"""A wheel, an sdist and an editable install each carry the weights and find them."""

import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest
from conftest import ROOT

CODE = (
    "import learned_transforms as lt; print(lt.list_pretrained(), lt.LearnedCompose.from_pretrained('cifar10_gray28'))"
)


def pip(*arguments: str, python: str = sys.executable) -> None:
    subprocess.run(
        [python, "-m", "pip", "--disable-pip-version-check", *arguments], check=True, capture_output=True, text=True
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--no-deps", "-w", str(out), str(ROOT))
    return next(out.glob("*.whl"))


def run_in(folder: Path, target: Path) -> str:
    """What the code prints with ``target`` first on the path, away from the source tree."""
    environment = {"PYTHONPATH": str(target), "PATH": "/usr/bin:/bin"}
    found = subprocess.run([sys.executable, "-c", CODE], cwd=folder, env=environment, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    return found.stdout


def test_wheel_holds_weights_inside_the_package(wheel, tmp_path):
    names = zipfile.ZipFile(wheel).namelist()
    assert "learned_transforms/weights/cifar10_gray28.safetensors" in names
    assert "learned_transforms/weights/README.md" in names
    assert "learned_transforms/photos/PROVENANCE.md" in names
    assert "learned_transforms/py.typed" in names
    assert {name.split("/")[0] for name in names} == {"learned_transforms", wheel.name.split("-py3")[0] + ".dist-info"}
    pip("install", "--no-deps", "--target", str(tmp_path / "site"), str(wheel))
    assert "['cifar10_gray28']" in run_in(tmp_path, tmp_path / "site")


def test_sdist_builds_the_same_wheel(wheel, tmp_path):
    code = "import sys; from hatchling.build import build_sdist; build_sdist(sys.argv[1])"
    pip("install", "--target", str(tmp_path / "hatch"), "hatchling")
    environment = {"PYTHONPATH": str(tmp_path / "hatch"), "PATH": "/usr/bin:/bin"}
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, env=environment, check=True, capture_output=True
    )
    archive = next(tmp_path.glob("*.tar.gz"))
    with tarfile.open(archive) as tar:
        assert any(name.endswith("/weights/cifar10_gray28.safetensors") for name in tar.getnames())
    pip("wheel", "--no-deps", "-w", str(tmp_path / "again"), str(archive))
    again = zipfile.ZipFile(next((tmp_path / "again").glob("*.whl")))
    assert sorted(again.namelist()) == sorted(zipfile.ZipFile(wheel).namelist())


def test_editable_install(tmp_path):
    venv.create(tmp_path / "env", system_site_packages=False, with_pip=True)
    python = str(tmp_path / "env" / "bin" / "python")
    pip("install", "--no-deps", "-e", str(ROOT), python=python)
    here = [path for path in sys.path if path.endswith("site-packages")]
    code = f"import sys; sys.path += {here!r}; {CODE}; print(lt.__file__)"
    found = subprocess.run([python, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    assert "['cifar10_gray28']" in found.stdout
    assert str(ROOT / "learned_transforms") in found.stdout


def test_source_tree(tmp_path):
    assert "['cifar10_gray28']" in run_in(tmp_path, ROOT)
