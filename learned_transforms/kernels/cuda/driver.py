"""Kernels on a GPU, in torch's own context: compiled at run time by NVRTC, launched through the CUDA driver.

Both are called by ctypes: torch's wheels for CUDA bring the first, and no torch works there without the second. Nothing
here is touched before a tensor on a GPU comes, or :func:`missing` is asked.
"""

import ctypes
import hashlib
import os
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import torch

from learned_transforms.errors import BackendError

CACHE = "LEARNED_TRANSFORMS_CACHE"
"""The environment variable that names a folder for compiled kernels."""
SOURCES = Path(__file__).parent / "source"
MAIN = "kernels.cu"
SYSTEM = ("/usr/local/cuda/lib64",)
"""Folders of an installed CUDA toolkit."""
THREADS = 256
"""Of a block."""
OPTIONS = (f"-DTHREADS={THREADS}", "--std=c++17", "--fmad=false")
"""No product is fused with a sum: values must be those of the CPU."""
OLDEST = (7, 5)
"""The oldest compute capability that NVRTC 13 compiles for, and whose instructions the kernels use."""
OUT_OF_MEMORY = 2
"""CUDA_ERROR_OUT_OF_MEMORY."""


class Driver(Protocol):
    """What launches kernels by name on one device."""

    def stream(self) -> int:
        """Return the current stream of torch."""

    def keeps(self) -> bool:
        """Return whether memory lives on behind what is launched now: no graph captures it."""

    def launch(self, name: str, blocks: int, shared: int, arguments: Sequence[Any], stream: int) -> None:
        """Launch on a stream.

        Args:
            name: of the kernel.
            blocks: how many.
            shared: bytes of shared memory for each.
            arguments: values of ctypes.
            stream: the current one, as :meth:`stream` gives it.
        """


class Gpu:
    """The kernels on one GPU.

    Args:
        device: an index.

    Raises:
        BackendError: they cannot be compiled or loaded for it.
    """

    def __init__(self, device: int) -> None:
        self.device, self.library = device, driver_library()
        self.functions: dict[str, ctypes.c_void_p] = {}
        self.popped = ctypes.byref(ctypes.c_void_p())
        capability = torch.cuda.get_device_capability(device)
        if capability < OLDEST:
            raise BackendError(f"it takes GPUs from compute capability 7.5 on, not of {capability[0]}.{capability[1]}")
        image = compiled("sm_{}{}".format(*capability))
        torch.cuda.synchronize(device)  # torch makes its context.
        self.context, self.module, handle = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_int()
        ask(self.library, "cuDeviceGet", ctypes.byref(handle), device)
        ask(self.library, "cuDevicePrimaryCtxRetain", ctypes.byref(self.context), handle)
        self.within("cuModuleLoadData", ctypes.byref(self.module), image)

    def within(self, name: str, *arguments: Any) -> None:
        """Call the driver in the context of the device, whichever is current in this thread."""
        ask(self.library, "cuCtxPushCurrent_v2", self.context)
        try:
            ask(self.library, name, *arguments)
        finally:
            self.library.cuCtxPopCurrent_v2(self.popped)

    def function(self, name: str) -> ctypes.c_void_p:
        """Return a kernel; kept."""
        found = self.functions.get(name)
        if found is None:
            found = ctypes.c_void_p()
            self.within("cuModuleGetFunction", ctypes.byref(found), self.module, name.encode())
            self.functions[name] = found
        return found

    def stream(self) -> int:
        return torch._C._cuda_getCurrentRawStream(self.device)  # Without an object of torch's about it.

    def keeps(self) -> bool:
        return not torch.cuda.is_current_stream_capturing()

    def launch(self, name: str, blocks: int, shared: int, arguments: Sequence[Any], stream: int) -> None:
        pointers = (ctypes.c_void_p * len(arguments))(*map(ctypes.addressof, arguments))
        grid, block = (blocks, 1, 1), (THREADS, 1, 1)
        self.within(
            "cuLaunchKernel", self.function(name), *grid, *block, shared, ctypes.c_void_p(stream), pointers, None
        )


def ask(library: ctypes.CDLL, name: str, *arguments: Any) -> None:
    """Call a function of the driver.

    Raises:
        BackendError: it refuses; a torch.OutOfMemoryError for want of memory.
    """
    status = getattr(library, name)(*arguments)
    if status == OUT_OF_MEMORY:
        raise torch.OutOfMemoryError(f"CUDA out of memory in {name}.")
    if status:
        text = ctypes.c_char_p()
        library.cuGetErrorString(status, ctypes.byref(text))
        raise BackendError(f"{name} failed: {(text.value or b'unknown error').decode()} ({status})")


@cache
def gpu(device: int) -> Gpu:
    """Return the kernels on a GPU; kept.

    Raises:
        BackendError: they cannot be compiled or loaded for it.
    """
    return Gpu(device)


@cache
def failure(device: int) -> str | None:
    """Return why there are no kernels on a GPU; kept."""
    lacking = missing()
    if lacking is not None:
        return lacking
    try:
        gpu(device)
    except BackendError as error:
        return str(error)
    return None


@cache
def missing() -> str | None:
    """Return what this machine lacks; kept."""
    if torch.version.cuda is None:
        return "this torch was built without CUDA"
    if not torch.cuda.is_available():
        return "there is no GPU"
    try:
        driver_library()
        nvrtc_library()
    except OSError as error:
        return str(error)
    return None


@cache
def driver_library() -> ctypes.CDLL:
    """Return the CUDA driver.

    Raises:
        OSError: it is not there.
    """
    return loaded(("libcuda.so.1", "nvcuda.dll"), "the CUDA driver")


@cache
def nvrtc_library() -> ctypes.CDLL:
    """Return the compiler that torch's wheel brings, or else the system's.

    Raises:
        OSError: there is none.
    """
    installed, major = Path(torch.__file__).parents[1], (torch.version.cuda or "").partition(".")[0]
    folders = [*installed.glob("nvidia/*/lib"), installed / "torch" / "lib", *map(Path, SYSTEM)]
    beside = [str(path) for folder in folders for path in sorted(folder.glob(f"libnvrtc*.so.{major}*"))]
    found = [path for path in beside if "builtins" not in path and ".alt." not in path]
    return loaded((*found, f"libnvrtc.so.{major}", "libnvrtc.so"), "NVRTC (it comes with torch's wheels for CUDA)")


def loaded(names: Sequence[str], what: str) -> ctypes.CDLL:
    """Return the first library that is there."""
    for name in names:
        with suppress(OSError):
            return ctypes.CDLL(name)
    raise OSError(f"{what} is not there: tried {', '.join(names)}")


def compiled(architecture: str) -> bytes:
    """Return the kernels for an architecture, out of the cache on disk where they are there.

    Raises:
        BackendError: NVRTC refuses; what it says comes with it.
    """
    sources = {path.name: path.read_bytes() for path in sorted(SOURCES.iterdir()) if path.suffix in (".cu", ".hpp")}
    options = (f"--gpu-architecture={architecture}", *OPTIONS)
    key = hashlib.sha256(repr((sources, options, nvrtc_version())).encode()).hexdigest()
    folder = cache_folder()
    if folder is None:
        return translated(sources, options, "CUBIN")
    path = folder / f"{key}.cubin"
    made = checked(path)
    if made is None:
        made = translated(sources, options, "CUBIN")
        keep(path, made)
    return made


def cache_folder() -> Path | None:
    """Return where compiled kernels are kept: a folder of the user's; None: this user has none."""
    named = os.environ.get(CACHE)
    if named:
        return Path(named)
    base = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))
    return base / "learned_transforms" if base.is_absolute() else None


def checked(path: Path) -> bytes | None:
    """Return what :func:`keep` wrote; None: nothing, or it is broken."""
    try:
        held = path.read_bytes()
    except OSError:
        return None
    digest, made = held[:32], held[32:]
    return made if hashlib.sha256(made).digest() == digest else None


def keep(path: Path, made: bytes) -> None:
    """Write bytes behind their digest, at once for whoever reads; where nothing can be written, nothing is kept."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(hashlib.sha256(made).digest() + made)
        os.replace(file.name, path)
    except OSError:
        return


def nvrtc_version() -> tuple[int, int]:
    major, minor = ctypes.c_int(), ctypes.c_int()
    nvrtc_library().nvrtcVersion(ctypes.byref(major), ctypes.byref(minor))
    return major.value, minor.value


def translated(sources: dict[str, bytes], options: Sequence[str], form: str) -> bytes:
    """Return what NVRTC makes of sources by name: ``"CUBIN"`` or ``"PTX"``.

    Raises:
        BackendError: it refuses; what it says comes with it.
    """
    nvrtc, program = nvrtc_library(), ctypes.c_void_p()
    headers = {name: text for name, text in sources.items() if name != MAIN}
    texts, names = strings(headers.values()), strings(name.encode() for name in headers)
    main = sources[MAIN], MAIN.encode()
    if nvrtc.nvrtcCreateProgram(ctypes.byref(program), *main, len(headers), texts, names):
        raise BackendError("NVRTC takes no program")
    try:
        if nvrtc.nvrtcCompileProgram(program, len(options), strings(option.encode() for option in options)):
            raise BackendError(
                f"NVRTC refuses {options[0]}: {output_of(nvrtc, 'ProgramLog', program).decode().strip()}"
            )
        return output_of(nvrtc, form, program)
    finally:
        nvrtc.nvrtcDestroyProgram(ctypes.byref(program))


def strings(values: Any) -> Any:
    held = list(values)
    return (ctypes.c_char_p * len(held))(*held)


def output_of(nvrtc: ctypes.CDLL, what: str, program: ctypes.c_void_p) -> bytes:
    """Return the program's log, PTX or CUBIN, without the zero behind text."""
    size = ctypes.c_size_t()
    getattr(nvrtc, f"nvrtcGet{what}Size")(program, ctypes.byref(size))
    made = ctypes.create_string_buffer(size.value)
    getattr(nvrtc, f"nvrtcGet{what}")(program, made)
    return made.raw if what == "CUBIN" else made.value
