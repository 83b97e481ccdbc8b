"""The kernels of the CUDA backend on the CPU, compiled by g++ from the same source: what stands in for a GPU."""

import ctypes
import shutil
import subprocess
import tempfile
from collections import Counter
from functools import cache
from pathlib import Path

from learned_transforms.kernels import cpu
from learned_transforms.kernels.cuda import backend as cuda
from learned_transforms.kernels.cuda import driver, launches

COMPILER = shutil.which("g++")
FLAGS = (
    "-O2",
    "-std=c++17",
    "-ffp-contract=off",
    "-mfma",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-shared",
    "-fPIC",
    "-x",
    "c++",
)


@cache
def library(threads, counting=False):
    """The kernels as functions; a block is one thread, or so many coroutines; ``counting`` bytes, which is slow."""
    folder = Path(tempfile.mkdtemp())
    where = f"-I{Path(__file__).parent}"
    made = folder / "kernels.so"
    command = [
        COMPILER,
        *FLAGS,
        f"-DTHREADS={threads}",
        *["-DCOUNTING"] * counting,
        where,
        driver.SOURCES / driver.MAIN,
        "-o",
        made,
    ]
    subprocess.run(command, check=True)
    return ctypes.CDLL(str(made))


class Emulated:
    """A driver whose device is the CPU; it counts launches by name."""

    def __init__(self, threads=1, counting=False):
        self.library, self.launched = library(threads, counting), Counter()
        self.library.bytes_moved.restype = ctypes.c_longlong

    def stream(self):
        return 0

    def keeps(self):
        return True

    def launch(self, name, blocks, shared, arguments, stream):
        assert 0 < blocks < 2**31
        assert 0 <= shared <= launches.SHARED
        self.launched[name] += 1
        pointers = (ctypes.c_void_p * len(arguments))(*map(ctypes.addressof, arguments))
        getattr(self.library, f"launch_{name}")(blocks, pointers)


def emulate(monkeypatch, threads=1, only=False, counting=False):
    """Have the CUDA backend run on tensors of the CPU; ``only``: without the native code, which comes first."""
    emulated = Emulated(threads, counting)
    monkeypatch.setattr(cuda, "PLACE", "cpu")
    monkeypatch.setattr(cuda, "index_of", lambda device: 0)
    monkeypatch.setattr(driver, "missing", lambda: None)
    monkeypatch.setattr(driver, "failure", lambda device: None)
    monkeypatch.setattr(driver, "gpu", lambda device: emulated)
    if only:
        monkeypatch.setattr(cpu, "MISSING", "taken away by this test")
    return emulated
