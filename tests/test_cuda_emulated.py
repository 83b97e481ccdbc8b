"""The CUDA backend without a GPU: its kernels on the CPU, of the source that NVRTC compiles for GPUs."""

import random
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
import torchvision.transforms as v1
from emulation import COMPILER, emulate
from helpers import compare, image_of, seeded, states, to_pil
from kernel_cases import FLOATS, MODES, random_image, random_pipeline
from torch import nn
from torchvision.transforms import InterpolationMode, v2

import learned_transforms as lt
from learned_transforms.errors import (
    BackendError,
    FallbackWarning,
    InputShapeError,
    UnevenBatchError,
    UnsupportedTransformError,
)
from learned_transforms.kernels import BACKENDS, cpu
from learned_transforms.kernels.cuda import launches
from learned_transforms.kernels.reference.executor import Reference
from learned_transforms.layers.network import Network
from learned_transforms.layers.resize import Resampling
from learned_transforms.runtime.executor import Run

pytestmark = [
    pytest.mark.skipif(COMPILER is None, reason="needs g++"),
    pytest.mark.skipif(cpu.MISSING is not None, reason="the native extension is not there, to compare with"),
]

JITTER = v2.ColorJitter(0.4, 0.4, 0.4, 0.1)
MOCO = [
    v2.RandomResizedCrop(30, (0.2, 1.0)),
    v2.RandomApply([JITTER], 0.8),
    v2.RandomGrayscale(0.2),
    v2.RandomApply([v2.GaussianBlur(23, (0.1, 2.0))], 0.5),
    v2.RandomHorizontalFlip(),
    *FLOATS,
]
SEED = [v2.Resize((28, 28)), v2.RandomHorizontalFlip(1), v2.RandomVerticalFlip(1), v2.Grayscale(1), *FLOATS[:1]]
RESAMPLED = {"axis_taps", "resample_3"}


def run_on(backend, transforms, image, seed, **options):
    """What a backend gives, or which error, and the random states behind."""
    seeded(seed)
    try:
        return lt.LearnedCompose(transforms, backend=backend)(image, **options), states()
    except lt.errors.LearnedTransformsError as error:
        return error, states()


@pytest.mark.parametrize(("threads", "count"), [(1, 250), (64, 40)])
def test_random_pipelines_give_the_pixels_of_the_cpu(monkeypatch, threads, count):
    emulated, ran = emulate(monkeypatch, threads), 0
    for seed in range(count):
        rng = random.Random(seed)
        image = random_image(rng)
        transforms = random_pipeline(rng, image.shape[-3]) or [v2.Identity()]
        before = image.clone()
        for options in ({}, {"per_sample": True}) if image.ndim == 4 else ({},):
            (expected, state), (found, after) = (
                run_on(backend, transforms, image, seed, **options) for backend in ("cpu", "cuda")
            )
            context = seed, tuple(image.shape), image.stride(), transforms, options
            assert after == state, context
            assert image.equal(before), context
            if isinstance(expected, Exception):
                assert type(found) is type(expected), context
                continue
            assert not isinstance(found, Exception), (found, *context)
            assert (found.dtype, found.stride()) == (expected.dtype, expected.stride()), context
            assert found.equal(expected), context
            ran += 1
    assert ran > 0.8 * count
    assert set(emulated.launched) == {"axis_taps", "resample_1", "resample_3", "copy", "blur"}


@pytest.mark.parametrize("size", [(3000, 40), (40, 3000), (1200, 1100), (2, 2)])
@pytest.mark.parametrize("mode", MODES)
def test_scales_at_which_one_chunk_of_lines_is_not_all(monkeypatch, size, mode):
    emulate(monkeypatch)
    image = image_of(3, size)
    for transforms in ([v2.Resize((7, 5), mode)], [v2.Resize((150, 80), mode), *FLOATS]):
        compare(lt.LearnedCompose(transforms, backend="cuda")(image), lt.LearnedCompose(transforms)(image), "exact")


COLORS = {
    "v2": [v2.ColorJitter(saturation=(1.37, 1.37), hue=(-0.37, -0.37))],
    "v1": [v1.ColorJitter(saturation=(0.2, 0.2), hue=(0.1, 0.1))],
    "gray": [v2.Grayscale(1)],
}


@pytest.mark.parametrize("name", COLORS)
def test_every_color(monkeypatch, name):
    emulate(monkeypatch)
    number = torch.arange(2**24, dtype=torch.int32).view(4096, 4096)
    every = torch.stack([number & 255, number >> 8 & 255, number >> 16]).to(torch.uint8)
    (expected, _), (found, _) = (run_on(backend, COLORS[name], every, 1) for backend in ("cpu", "cuda"))
    assert found.equal(expected)


LAUNCHES = {
    "seed": (SEED, {"axis_taps": 1, "resample_3": 1}),
    "eval": ([v2.Resize(30), v2.CenterCrop(28), *FLOATS], {"axis_taps": 1, "resample_3": 1}),
    "train": ([v2.RandomResizedCrop(28), v2.RandomHorizontalFlip(), v2.ToImage()], {"axis_taps": 1, "resample_3": 1}),
    "flip": ([v2.RandomHorizontalFlip(1), *FLOATS], {"copy": 1}),
    "jitter": ([MOCO[0], JITTER, *MOCO[4:]], {"axis_taps": 1, "resample_3": 1, "copy": 1}),
    "MoCo": (MOCO, {"axis_taps": 1, "resample_3": 1, "copy": 1, "blur": 1}),
}


STEADY = {"seed", "eval"}


@pytest.mark.parametrize("name", LAUNCHES)
def test_launches_of_a_batch(monkeypatch, name):
    transforms, most = LAUNCHES[name]
    emulated, learned = emulate(monkeypatch), lt.LearnedCompose(transforms, backend="cuda")
    batch = torch.stack([image_of(3, (190, 250), seed) for seed in range(9)])
    learned(batch)
    for per_sample in (False, True, True):
        counts = []
        for seed in range(8):
            seeded(seed)
            emulated.launched.clear()
            learned(batch, per_sample=per_sample)
            counts.append(dict(emulated.launched))
        # What was not drawn takes no launch, and weights that are always the same are kept.
        assert all(set(count) <= set(most) and max(count.values()) == 1 for count in counts[1:])
        kept = {} if per_sample or name not in STEADY else {"axis_taps": 1}
        assert {kernel: n for kernel, n in most.items() if kernel not in kept} in counts


@pytest.mark.parametrize("name", ["seed", "train", "jitter", "MoCo"])
def test_images_of_several_sizes_go_through_the_same_launches(monkeypatch, name):
    transforms, _ = LAUNCHES[name]
    images = [image_of(3, (60 + 7 * n, 90 - 3 * n), n) for n in range(6)]
    images[3] = images[3].movedim(0, -1).contiguous().movedim(-1, 0)
    emulated, learned, own = emulate(monkeypatch), *(lt.LearnedCompose(transforms, backend=b) for b in ("cuda", "cpu"))
    learned(images, per_sample=True)
    for seed in range(4):
        emulated.launched.clear()
        seeded(seed)
        found = learned(images, per_sample=True)
        assert set(emulated.launched.values()) == {1}
        seeded(seed)
        assert found.equal(own(images, per_sample=True))


CROPS = {
    "padded": v2.RandomCrop((8, 9), 1, fill=7),
    "some of it": v2.RandomCrop((5, 6)),
    "or larger": v2.RandomCrop((12, 7), pad_if_needed=True),
    "or not at all": v2.RandomCrop((8, 9), pad_if_needed=True),
}


@pytest.mark.parametrize("name", CROPS)
def test_crops_take_one_recipe_wherever_they_are(monkeypatch, name):
    emulated = emulate(monkeypatch)
    batch = torch.stack([image_of(3, (8, 9), seed) for seed in range(40)])
    flips = [v2.RandomHorizontalFlip(), v2.RandomVerticalFlip()]
    for transforms, most in (([CROPS[name], *flips, *FLOATS], 1), ([CROPS[name], JITTER, *flips, *FLOATS], 3)):
        learned, own = (lt.LearnedCompose(transforms, backend=backend) for backend in ("cuda", "cpu"))
        for seed in range(4):
            emulated.launched.clear()
            seeded(seed)
            found, state = learned(batch, per_sample=True), states()
            assert not seed or sum(emulated.launched.values()) <= most
            seeded(seed)
            assert found.equal(own(batch, per_sample=True))
            assert states() == state


def test_graphs_capture_one_draw_for_all(monkeypatch):
    emulated = emulate(monkeypatch)
    batch = torch.stack([image_of(3, (30, 40), seed) for seed in range(4)])
    learned = lt.LearnedCompose([v2.Resize(20), *FLOATS], backend="cuda")
    expected = learned(batch)
    learned(batch, per_sample=True)
    monkeypatch.setattr(emulated, "keeps", lambda: False)
    launches.CAPTURED.clear()
    assert learned(batch).equal(expected)
    assert len(launches.CAPTURED) == 1
    assert emulated.launched["axis_taps"] > 1  # In memory of the graph's own.
    with pytest.raises(BackendError, match="without per_sample"):
        learned(batch, per_sample=True)
    launches.CAPTURED.clear()


def test_rows_that_do_not_go_together(monkeypatch):
    """A part that has the size of the result is not resized; and sizes that differ make no batch."""
    emulate(monkeypatch)
    cut = v2.RandomResizedCrop(20, (1.0, 1.0), (1.0, 1.0))
    images = [image_of(3, size, 1) for size in ((20, 20), (50, 50), (20, 20), (31, 31))]
    for transforms in ([cut], [cut, *FLOATS], [cut, JITTER, *FLOATS]):
        learned, own = (lt.LearnedCompose(transforms, backend=backend) for backend in ("cuda", "cpu"))
        for seed in range(3):
            seeded(seed)
            expected = own(images, per_sample=True)
            seeded(seed)
            assert learned(images, per_sample=True).equal(expected)
    uneven = lt.LearnedCompose([v2.RandomHorizontalFlip()], backend="cuda")
    for _ in range(2):
        with pytest.raises(UnevenBatchError):
            uneven(images, per_sample=True)


RESIZED_CROP = v2.RandomResizedCrop(224)
MOVED = {
    "eval": ([v2.Resize(256), v2.CenterCrop(224), *FLOATS], 1.3),
    "train": ([RESIZED_CROP, v2.RandomHorizontalFlip(), *FLOATS], 1.3),
    "MoCo": ([RESIZED_CROP, JITTER, v2.GaussianBlur(23, (0.1, 2.0)), *FLOATS], 4),
}


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("name", MOVED)
def test_bytes_moved_for_a_photo(monkeypatch, name, layout):
    """Against reading what is needed once, and writing the result once."""
    (transforms, bar), emulated = MOVED[name], emulate(monkeypatch, counting=True)
    photo = image_of(3, (427, 640))[None].contiguous(memory_format=layout)
    learned = lt.LearnedCompose(transforms, backend="cuda")
    for seed in range(1 if name == "eval" else 4):
        seeded(seed)
        params = learned.make_params(photo)
        emulated.library.bytes_moved()
        made = learned(photo, params=params)
        pixels = 427 * 427 * (224 / 256) ** 2 if name == "eval" else params[0]["height"] * params[0]["width"]
        assert 1 < emulated.library.bytes_moved() / (3 * pixels + made.nbytes) < bar


def test_draws_for_each_image_and_given_ones(monkeypatch):
    emulate(monkeypatch)
    transforms = [v2.RandomResizedCrop(28), v2.RandomHorizontalFlip(), *FLOATS]
    learned, own = (lt.LearnedCompose(transforms, backend=name) for name in ("cuda", "cpu"))
    batch = torch.stack([image_of(3, (40, 50), seed) for seed in range(4)])
    params = learned.make_params(batch)
    assert learned(batch, params=params).equal(own(batch, params=params))
    made = [one(batch, per_sample=True, generator=torch.Generator().manual_seed(3)) for one in (learned, own)]
    assert made[0].equal(made[1])
    _, program = Network([], [], "uint8").plan((3, 40, 50), torch.device("cpu"), backend="cuda")
    assert isinstance(program, Reference)  # Nothing is to be done.
    flip = lt.LearnedCompose([v2.RandomHorizontalFlip(1)], backend="cuda")
    segment = flip.segment(lt.compose.FORMS["uint8"], 0)
    _, program = segment.network.plan((3, 40, 50), torch.device("cpu"), backend="cuda")
    assert program.bind(batch)(batch).equal(batch.flip(-1))


AUTO = {
    "eval": ([v2.Resize(32), v2.CenterCrop(28), *FLOATS], RESAMPLED, []),
    "seed": (SEED, RESAMPLED, []),
    "cifar": ([v2.RandomCrop(32, 4), v2.RandomHorizontalFlip(), *FLOATS], {"copy"}, []),
    "moco": (MOCO, {*RESAMPLED, "copy", "blur"}, []),
    "erasing": ([*FLOATS, v2.RandomErasing(1.0)], {"copy"}, ["RandomErasing"]),
    "levels": ([v2.RandomPosterize(4, 1), v2.RandomEqualize(1)], {"copy"}, ["RandomEqualize"]),
    "jitter": ([JITTER, v2.RandomGrayscale()], {"copy"}, []),
    "nearest": ([v2.Resize((29, 31), InterpolationMode.NEAREST)], set(), ["Resize"]),
    "twice": ([v2.Resize(40), v2.RandomCrop(36), v2.Resize(20)], RESAMPLED, []),  # It is a view.
    "drawn from sizes": ([v2.ScaleJitter((30, 30)), v2.RandomCrop(9, 9)], {"copy"}, ["ScaleJitter"]),
}
ROUNDED = {"moco"}
"""torchvision's own blur adds in an order that depends on the processor; the CPU's layers do not."""


@pytest.mark.parametrize("name", AUTO)
def test_what_the_kernels_run_and_torchvision_for_the_rest(monkeypatch, name):
    transforms, kernels, outside = AUTO[name]
    images = [image_of(3, (60, 50)), torch.stack([image_of(3, (45, 70), seed) for seed in range(2)])]
    expected = {}
    for seed in range(12):
        seeded(seed)
        run = lt.LearnedCompose(transforms, backend="cpu") if name in ROUNDED else v2.Compose(transforms)
        expected[seed] = run(images[seed % 2]), states()
    emulated = emulate(monkeypatch, only=True)
    monkeypatch.setattr(Reference, "run", lambda *_: pytest.fail("the slow reference ran"))
    learned = lt.LearnedCompose(transforms)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for seed, (wanted, state) in expected.items():
            seeded(seed)
            compare(learned(images[seed % 2]), wanted, "exact")
            assert states() == state
    assert set(emulated.launched) == kernels
    assert [one.category for one in said] == [FallbackWarning] * bool(outside)
    assert all(f"{one} (" in str(said[0].message) for one in outside)
    assert {row.transform.partition("(")[0] for row in learned.explain("uint8").rows if row.reason} == set(outside)
    if outside:
        with pytest.raises(UnsupportedTransformError, match=r"no kernels for cpu|on cpu, no draw"):
            lt.LearnedCompose(transforms, fallback="error")(images[0])


def test_a_pipeline_with_nothing_for_the_kernels_goes_straight_to_torchvision(monkeypatch):
    emulate(monkeypatch, only=True)
    learned = lt.LearnedCompose([v2.Resize(20), v2.RandomEqualize(1)], fallback="torchvision")
    learned(image_of(3, (40, 30)).float() / 255)
    learned(image_of(3, (40, 30)))
    assert len(learned.elsewhere) == 1  # Floats only.
    go = Run.go
    monkeypatch.setattr(Run, "go", lambda run: pytest.fail("looked at transform by transform"))
    learned(image_of(3, (40, 30)).float() / 255)
    learned(image_of(3, (44, 36)).float() / 255)
    monkeypatch.setattr(Run, "go", go)
    emulated = emulate(monkeypatch, only=True)
    learned.transforms = [v2.Resize(20)]
    learned(image_of(3, (40, 30)))
    assert emulated.launched["resample_3"] == 1


def test_noise_is_left_to_torchvision_with_all_before_it(monkeypatch):
    emulated = emulate(monkeypatch, only=True)
    transforms = [v2.Resize(20), v2.ToDtype(torch.float32, scale=True), v2.GaussianNoise()]
    learned, image = lt.LearnedCompose(transforms), image_of(3, (40, 30))
    seeded(1)
    expected = v2.Compose(transforms)(image)
    seeded(1)
    with pytest.warns(FallbackWarning, match="noise is drawn"):
        assert learned(image).equal(expected)
    assert not emulated.launched


def test_samples_are_left_to_torchvision(monkeypatch):
    emulated = emulate(monkeypatch, only=True)
    learned, image = lt.LearnedCompose([v2.Resize(20)]), image_of(3, (40, 30))
    with pytest.warns(FallbackWarning, match="lone images and batches"):
        found = learned({"image": image, "label": 3})
    assert found["image"].equal(v2.Resize(20)(image))
    assert not emulated.launched


REFUSED = {
    "not antialiased": ([v2.Resize(20, antialias=False)], "antialiased"),
    "mirrored": ([v2.Pad(3, padding_mode="reflect")], "fills in one value"),
    "float jitter": ([*FLOATS[:1], v2.Grayscale()], "takes levels only|in float32, cut off"),
    "wide blur": ([v2.GaussianBlur(65)], "up to 63 pixels"),
    "sharpness": ([v2.RandomAdjustSharpness(2, 1)], "has no Filter"),
    "equalize": ([v2.RandomEqualize(1)], "has no Equalize"),
    "autocontrast": ([v2.RandomAutocontrast(1)], "has no Stretch"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_by_name(monkeypatch, name):
    emulate(monkeypatch)
    transforms, reason = REFUSED[name]
    with pytest.raises(BackendError, match=reason):
        lt.LearnedCompose(transforms, backend="cuda")(image_of(3, (90, 80)))


def test_images_that_are_refused(monkeypatch):
    learned, image = lt.LearnedCompose([v2.Resize(20)], backend="cuda"), image_of(3, (40, 30))
    for given in (image, to_pil(image)):
        with pytest.raises(BackendError, match="it runs on a GPU, not on cpu"):
            learned(given)
    emulate(monkeypatch)
    with pytest.raises(BackendError, match="uint8 images"):
        lt.LearnedCompose([v2.RandomHorizontalFlip(1)], backend="cuda")(image.float())
    with pytest.raises(BackendError, match="1 or 3 channels, not 2"):
        learned(image[:2])
    taken = image.clone()
    taken.untyped_storage().resize_(9)
    with pytest.raises(InputShapeError, match="storage of 9 bytes"):
        learned(taken)
    arithmetic = lt.artifacts.weights.load("torchvision").layers["uint8/resize_bilinear"].arithmetic
    wild = Resampling(torch.tensor([[1.0, -3.0]]), torch.zeros(2), arithmetic)
    with pytest.raises(BackendError, match="does not sum to 1"):
        Network([wild], [{"size": (20, 20)}], "uint8")(image, "cuda")
    trained = lt.LearnedCompose([v2.Resize(20), *FLOATS], backend="cuda").unfreeze()
    with pytest.raises(BackendError):
        trained(image)


GUARDED = """
import ctypes, mmap, sys
sys.path.insert(0, sys.argv[1])
import pytest, torch
from emulation import emulate
from torchvision.transforms import v2
import learned_transforms as lt

libc = ctypes.CDLL(None, use_errno=True)
page, room = mmap.PAGESIZE, 64 * mmap.PAGESIZE
memory = mmap.mmap(-1, page + room + page)
start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
for offset in (0, page + room):
    assert libc.mprotect(ctypes.c_void_p(start + offset), ctypes.c_size_t(page), 0) == 0
with pytest.MonkeyPatch.context() as patch:
    emulate(patch)
    runs = 0
    for size in ((61, 75), (9, 33), (1, 1), (150, 7), (57, 64)):
        image = torch.randint(0, 256, (3, *size), dtype=torch.uint8)
        for at_end in (False, True):
            for pixels in (False, True):
                flat = torch.frombuffer(memory, dtype=torch.uint8, count=image.numel(),
                                        offset=page + (room - image.numel()) * at_end)
                view = flat.view(*size, 3).permute(2, 0, 1) if pixels else flat.view(3, *size)
                view.copy_(image)
                for transforms in ([v2.Resize((20, 30))], [v2.Resize((90, 80))], [v2.RandomVerticalFlip(1)],
                                   [v2.RandomVerticalFlip(1), v2.Resize((20, 30))],
                                   [v2.RandomVerticalFlip(1), v2.RandomHorizontalFlip(1), v2.Resize((20, 30))]):
                    found = lt.LearnedCompose(transforms, backend="cuda")(view)
                    assert found.equal(lt.LearnedCompose(transforms, backend="cpu")(image)), (size, transforms)
                    runs += 1
print(runs)
"""


def test_nothing_is_read_before_or_behind_an_image():
    command = [sys.executable, "-c", GUARDED, str(Path(__file__).parent)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, f"{done.returncode}: {done.stderr[-2000:]}"
    assert int(done.stdout) == 100


def test_no_default_device_and_no_mode_leaves_its_mark(monkeypatch):
    emulate(monkeypatch)
    transforms, image = [v2.Resize(20), v2.CenterCrop(30), *FLOATS], image_of(3, (40, 30))
    expected = lt.LearnedCompose(transforms, backend="cpu")(image)
    for mode in (torch.device("meta"), torch.inference_mode()):
        learned = lt.LearnedCompose(transforms, backend="cuda")
        with mode:
            assert learned(image).equal(expected)
        assert learned(image).equal(expected)
        assert not learned(image).is_inference()


def test_images_of_more_values_than_offsets_reach_are_refused(monkeypatch):
    emulate(monkeypatch)
    image = torch.zeros(1, dtype=torch.uint8).expand(3, 2**15, 2**15)
    with pytest.raises(InputShapeError, match="less than 2\\^31 values"):
        lt.LearnedCompose([v2.Resize(20)], backend="cuda")(image)


def test_models_may_begin_with_it(monkeypatch):
    emulate(monkeypatch)
    learned = lt.LearnedCompose([v2.Resize((9, 11)), *FLOATS], backend="cuda")
    model = nn.Sequential(learned, nn.Conv2d(3, 2, 3))
    images = torch.stack([image_of(3, (40, 30), seed) for seed in range(2)])
    expected = model(images)
    model.double().float()
    assert model(images).equal(expected)
    assert list(BACKENDS) == ["cpu", "cuda", "reference"]
