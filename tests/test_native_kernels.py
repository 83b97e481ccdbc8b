"""The kernels without Python, as tests/native has them: every set of instructions against the portable ones."""

import os
import platform
import re
import shutil
import subprocess
import sysconfig

import pytest
from conftest import ROOT

from learned_transforms.kernels import cpu

PATH = os.pathsep.join((sysconfig.get_path("scripts"), os.environ["PATH"]))
"""Where pip puts CMake, and what else there is."""
LINE = re.compile(r"(\w+): 0 of (\d+) values differ from the portable ones")


def missing(*programs: str) -> str | None:
    """Say which of these programs are not installed."""
    absent = [program for program in programs if shutil.which(program, path=PATH) is None]
    return f"{', '.join(absent)} is not installed" if absent else None


def compared(processor: str, programs: int) -> dict[str, int]:
    """The values that were compared, by set of instructions; it fails where one differs."""
    command = [ROOT / "tools" / "native_test", processor, str(programs)]
    done = subprocess.run(command, env={**os.environ, "PATH": PATH}, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stdout + done.stderr
    return {name: int(values) for name, values in LINE.findall(done.stdout)}


@pytest.mark.timeout(1200)
def test_kernels_of_this_processor():
    reason = missing("cmake", "c++")
    if reason:
        pytest.skip(reason)
    found = compared(platform.machine(), 5000)
    assert {"portable", *cpu.instructions()} <= set(found)
    assert all(values > 10**7 for name, values in found.items() if name != "portable")


@pytest.mark.timeout(1200)
def test_kernels_of_arm_under_emulation():
    reason = missing("cmake", "aarch64-linux-gnu-g++", "qemu-aarch64")
    if reason:
        pytest.skip(reason)
    found = compared("aarch64", 1500)
    assert set(found) == {"neon", "portable"}
    assert found["neon"] > 10**6
