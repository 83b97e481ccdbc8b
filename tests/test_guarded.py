"""Native code in memory that ends where an image ends: whatever reads on is killed by the system."""

import subprocess
import sys
from pathlib import Path

import pytest
from test_native import FUSED, INT16, NO_SHIFT, TRIANGLE, native

from learned_transforms.errors import BackendError
from learned_transforms.ir.indexing import Keep, Nearest
from learned_transforms.ir.interpolation import Axis
from learned_transforms.ir.ops import Gather, Resample
from learned_transforms.ir.plan import Plan
from learned_transforms.kernels import cpu, stages

SCRIPT = """
import ctypes, mmap, sys
sys.path.insert(0, sys.argv[1])
import torch
from torchvision.transforms import v2
import learned_transforms as lt
from test_native import ARITHMETICS, CUBIC, TRIANGLE, resampling
from learned_transforms.kernels import cpu
from learned_transforms.layers.network import Network

libc = ctypes.CDLL(None, use_errno=True)
page, room = mmap.PAGESIZE, 16 * mmap.PAGESIZE
memory = mmap.mmap(-1, room + page)
start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
assert libc.mprotect(ctypes.c_void_p(start + room), ctypes.c_size_t(page), 0) == 0

def guarded(image, pixel):
    # The image's values, `pixel` apart, the last of which is the last before memory that cannot be read.
    channels, height, width = image.shape
    length = image.element_size() * ((height * width - 1) * pixel + channels)
    flat = torch.frombuffer(memory, dtype=image.dtype, count=length // image.element_size(), offset=room - length)
    view = flat.as_strided(image.shape, (1, width * pixel, pixel))
    return view.copy_(image)

torch.manual_seed(0)
runs = 0
for simd in cpu.instructions():
    for channels, pixel in ((1, 2), (1, 4), (2, 3), (3, 3), (3, 4)):
        for height, width in ((31, 17), (40, 5), (9, 33)):
            levels = torch.randint(0, 256, (channels, height, width), dtype=torch.uint8)
            for name, arithmetic in ARITHMETICS.items():
                for kernel in (TRIANGLE, CUBIC):
                    network = Network([resampling(kernel, arithmetic)], [{"size": (7, 16)}], "uint8")
                    for image in (levels, levels.float()) if arithmetic.number != "int" else (levels,):
                        if channels == 1 and pixel > 1 and not image.is_floating_point():
                            continue  # A gray image of bytes apart is copied first.
                        with cpu.forced(simd):
                            network.relower()
                            found = network(guarded(image, pixel), "cpu")
                        assert torch.equal(found, network(image, "reference")), (simd, name, channels, pixel)
                        runs += 1

def planar(image):
    length = image.numel()
    flat = torch.frombuffer(memory, dtype=image.dtype, count=length, offset=room - length)
    return flat.view(image.shape).copy_(image)

for simd in cpu.instructions():
    for channels in (1, 3):
        for height, width in ((20, 9), (33, 16), (31, 17), (20, 64), (30, 65), (40, 128)):
            levels = torch.randint(0, 256, (channels, height, width), dtype=torch.uint8)
            network = Network([resampling(TRIANGLE)], [{"size": (height - 3, width - 2)}], "uint8")
            padded = lt.LearnedCompose([v2.RandomCrop((height, width), padding=3), v2.RandomHorizontalFlip(1.0)])
            with cpu.forced(simd):
                assert torch.equal(network(planar(levels), "cpu"), network(levels, "reference"))
                torch.manual_seed(width)
                expected = v2.Compose(padded.transforms)(levels)
                torch.manual_seed(width)
                assert torch.equal(padded(planar(levels)), expected)
            runs += 1

for simd in cpu.instructions():
    for mode in (v2.InterpolationMode.NEAREST, v2.InterpolationMode.BILINEAR):
        turned = v2.Compose([v2.RandomRotation(30, mode)])
        for channels, pixel in ((3, 3), (3, 4), (2, 3)):
            for height, width in ((31, 17), (40, 8), (9, 33), (16, 16)):
                levels = torch.randint(0, 256, (channels, height, width), dtype=torch.uint8)
                for image in (lambda: guarded(levels, pixel), lambda: planar(levels)):
                    with cpu.forced(simd):
                        torch.manual_seed(width)
                        found = lt.LearnedCompose(turned.transforms)(image())
                    torch.manual_seed(width)
                    assert torch.equal(found, turned(levels)), (simd, mode, channels, pixel)
                    runs += 1
print(runs)
"""


def test_nothing_is_read_behind_an_image():
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(Path(__file__).parent)], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, f"{done.returncode}: {done.stderr[-2000:]}"
    assert int(done.stdout) > 200


FAR = (Keep(0, 2**62, 5), Keep(0, -(2**62), 3), Keep(2**62, 1, 3), Keep(-(2**63), 1, 3), Keep(1, 2**62, 5))


@pytest.mark.parametrize("keep", FAR)
def test_steps_that_overflow_are_refused(keep):
    """Four steps of 2^62 come to 0, modulo 2^64."""
    axis = Axis(TRIANGLE, NO_SHIFT[0], 4, INT16)
    count = keep.count
    for stage, output in (
        (Resample(axis.kept(keep), axis, INT16), (3, count, 4)),
        (Gather(rows=keep), (3, count, 8)),
        (Gather(columns=Nearest(8, 0.5, FUSED, keep)), (3, 8, count)),
    ):
        with pytest.raises(BackendError, match="beyond any image"):
            cpu.Program(Plan(3, None, (stage,), output))
    with pytest.raises(ValueError, match="beyond any image"):
        native.taps(stages.axis_of(axis.kept(keep)), 8, stages.arithmetic_of(INT16), "")
