"""Kernels for GPUs, compiled without one: what NVRTC makes of them, where it is kept, and what a machine may lack."""

import ctypes
import re
import subprocess
import sys

import pytest
import torch

from learned_transforms.errors import BackendError
from learned_transforms.kernels import backends
from learned_transforms.kernels.cuda import backend as cuda
from learned_transforms.kernels.cuda import driver

SOURCES = {path.name: path.read_bytes() for path in driver.SOURCES.iterdir()}
COMPILED = ["axis_taps", "blur", "copy", "resample_1", "resample_3"]


@pytest.fixture(scope="module")
def nvrtc():
    try:
        return driver.nvrtc_library()
    except OSError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("architecture", ["sm_80", "sm_90", "sm_100"])
def test_nvrtc_compiles_without_spills_and_fuses_what_the_source_asks_for(nvrtc, architecture):
    options = (f"--gpu-architecture={architecture}", *driver.OPTIONS)
    text = driver.translated(SOURCES, options, "PTX").decode()
    assert sorted(re.findall(r"\.entry (\w+)", text)) == COMPILED
    assert "fma.rn.f64" not in text
    assert "fma.rn.f32" in text
    apart = {name: source.replace(b"__fmaf_rn(x, y, z)", b"x * y + z") for name, source in SOURCES.items()}
    assert apart != SOURCES
    assert b"fma.rn" not in driver.translated(apart, options, "PTX")
    said = driver.translated(SOURCES, (*options, "--ptxas-options=-v"), "ProgramLog").decode()
    used = re.findall(r"properties for (\w+).*?(\d+) bytes spill stores.*?Used (\d+) registers", said, re.DOTALL)
    assert sorted(name for name, _, _ in used) == COMPILED
    assert max(int(registers) for _, _, registers in used) <= 64
    assert {stores for _, stores, _ in used} == {"0"}


def test_products_would_be_fused_by_default(nvrtc):
    options = ("--gpu-architecture=sm_90", *(one for one in driver.OPTIONS if "fmad" not in one))
    assert driver.translated(SOURCES, options, "PTX").count(b"fma.rn") > 10


def test_compiled_kernels_are_kept_and_made_again_where_they_are_broken(monkeypatch, tmp_path):
    monkeypatch.setenv(driver.CACHE, str(tmp_path / "cache"))
    count = []
    monkeypatch.setattr(driver, "translated", lambda *given: count.append(given) or repr(given).encode())
    monkeypatch.setattr(driver, "nvrtc_version", lambda: (13, 0))
    made = driver.compiled("sm_90")
    assert driver.compiled("sm_90") == made
    assert len(count) == 1
    (kept,) = (tmp_path / "cache").iterdir()
    for broken in (b"", b"short", kept.read_bytes()[:-1], b"0" * 99):
        kept.write_bytes(broken)
        assert driver.compiled("sm_90") == made
    assert len(count) == 5
    assert driver.compiled("sm_80") != made
    monkeypatch.setattr(driver, "OPTIONS", (*driver.OPTIONS, "-DUNUSED"))
    driver.compiled("sm_90")
    assert len(count) == 7
    monkeypatch.setattr(driver, "nvrtc_version", lambda: (13, 1))
    driver.compiled("sm_90")
    assert len(count) == 8
    monkeypatch.setenv(driver.CACHE, str(kept))  # No folder can be made there.
    driver.compiled("sm_80")
    assert len(count) == 9


def test_what_nvrtc_refuses_is_said(nvrtc):
    with pytest.raises(BackendError, match="NVRTC refuses --gpu-architecture=sm_1"):
        driver.translated(SOURCES, ("--gpu-architecture=sm_1", *driver.OPTIONS), "CUBIN")


@pytest.fixture
def forgetful():
    """What is known of this machine is asked again, in the test and after it."""
    known = driver.missing, driver.failure, driver.driver_library, driver.nvrtc_library
    for one in known:
        one.cache_clear()
    yield
    for one in known:
        one.cache_clear()


def no_library(name):
    raise OSError(name)


LACKING = {
    "no CUDA": ([(torch.version, "cuda", None)], "this torch was built without CUDA"),
    "no GPU": ([(torch.version, "cuda", "13.0"), (torch.cuda, "is_available", lambda: False)], "there is no GPU"),
    "no libraries": (
        [
            (torch.version, "cuda", "13.0"),
            (torch.cuda, "is_available", lambda: True),
            (ctypes, "CDLL", no_library),
        ],
        "the CUDA driver is not there: tried libcuda.so.1, nvcuda.dll",
    ),
}


@pytest.mark.parametrize("name", LACKING)
def test_backends_say_what_is_missing(monkeypatch, forgetful, name):
    changes, reason = LACKING[name]
    for where, attribute, value in changes:
        monkeypatch.setattr(where, attribute, value)
    assert backends()["cuda"] == reason
    assert cuda.why_not(None, torch.device("cuda", 0), False) == reason


def test_a_gpu_that_is_too_old_is_told_of(monkeypatch, forgetful):
    monkeypatch.setattr(driver, "missing", lambda: None)
    monkeypatch.setattr(driver, "driver_library", lambda: None)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (6, 1))
    assert "from compute capability 7.5 on, not of 6.1" in cuda.why_not(None, torch.device("cuda", 7), False)


UNTOUCHED = """
import torch, learned_transforms as lt
from torchvision.transforms import v2
from learned_transforms.kernels.cuda import driver, launches
v2.Resize(3)(torch.zeros(3, 9, 9, dtype=torch.uint8))
learned = lt.LearnedCompose([v2.Resize(3)])
learned(torch.zeros(3, 9, 9, dtype=torch.uint8))
print(torch.cuda.is_initialized(), driver.missing.cache_info().currsize, driver.nvrtc_library.cache_info().currsize)
"""


def test_no_gpu_is_touched_before_a_tensor_on_one_comes():
    done = subprocess.run([sys.executable, "-c", UNTOUCHED], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "0", "0"]


def test_kernels_are_compiled_anew_for_users_without_a_folder(monkeypatch):
    for name in (driver.CACHE, "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(driver.os.path, "expanduser", lambda path: path)
    monkeypatch.setattr(driver, "nvrtc_version", lambda: (13, 0))
    monkeypatch.setattr(driver, "translated", lambda *given: b"made")
    monkeypatch.setattr(driver, "keep", lambda *given: pytest.fail("kept"))
    assert driver.compiled("sm_90") == b"made"
