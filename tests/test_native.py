"""The native backend against the reference, for each set of instructions: the same values, whatever the image."""

import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
import torchvision.transforms as v1
from helpers import check_transform, seed_v1, seed_v2, to_pil
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms import v2

import learned_transforms as lt
from learned_transforms.errors import BackendError, InputShapeError
from learned_transforms.ir.arithmetic import Arithmetic
from learned_transforms.ir.indexing import Keep, Nearest
from learned_transforms.ir.interpolation import Axis, evaluate
from learned_transforms.ir.ops import Gather, Mix, Normalize, Resample, Table
from learned_transforms.ir.plan import Plan
from learned_transforms.kernels import cpu, stages
from learned_transforms.layers.geometry import Cropping, Flipping
from learned_transforms.layers.network import Network
from learned_transforms.layers.pointwise import Lookup, Mixing, Normalizing
from learned_transforms.layers.resize import Resampling

native = pytest.importorskip("learned_transforms.kernels._native", reason="built without a compiler")

INT16 = Arithmetic("int", 22, adaptive=True, rounding="half_up", each_pass=True)
INT22 = Arithmetic("int", 22, rounding="half_up", each_pass=True, tall_first=True)
FUSED = Arithmetic("float32", fma=True)
LEVELS = Arithmetic("float32", fma=True, rounding="half_even")
GROUPED = Arithmetic("float32", fma=True, grouped=4)
ROUNDED = Arithmetic("float32", rounding="half_up", each_pass=True, tall_first=True)
NEVER_ROUNDED = Arithmetic("float32", each_pass=True, tall_first=True)
ARITHMETICS = {
    **{"int16": INT16, "22 bits": INT22, "fused": FUSED},
    **{"levels": LEVELS, "rounded": ROUNDED, "never rounded": NEVER_ROUNDED, "grouped": GROUPED},
}

TRIANGLE = torch.tensor([[1.0, -1.0]], dtype=torch.float64)
CUBIC = torch.tensor([[1.0, 0, -2.5, 1.5], [0, -0.5, 1, -0.5]], dtype=torch.float64)
WIDE = torch.tensor([[1.0, -0.1], [0.9, -0.4], [0.5, -0.5]], dtype=torch.float64)
KERNELS = {"triangle": TRIANGLE, "cubic": CUBIC, "wide": WIDE}
NO_SHIFT = torch.zeros(2, dtype=torch.float64)


@pytest.fixture(params=native.simd(), autouse=True)
def simd(request, monkeypatch):
    """Each set of instructions that this processor has, writing into poisoned memory."""
    monkeypatch.setenv(cpu.SIMD, request.param)
    empty = torch.empty

    def poisoned(*size, **options):
        made = empty(*size, **options)
        return made.fill_(float("nan") if made.is_floating_point() else 171)

    monkeypatch.setattr(torch, "empty", poisoned)
    return request.param


def random_levels(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def resampling(kernel=TRIANGLE, arithmetic=INT16, shift=NO_SHIFT) -> Resampling:
    return Resampling(kernel, shift, arithmetic)


def check(network: Network, image: torch.Tensor) -> torch.Tensor:
    """Both backends give the same; floats up to the reference's emulated fused multiply-add."""
    before = image.clone()
    found, expected = network(image, "cpu"), network(image, "reference")
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    if found.is_floating_point():
        scale = max(1.0, float(expected.abs().max()))
        assert torch.allclose(found, expected, rtol=0, atol=1e-6 * scale, equal_nan=True)
    else:
        assert found.equal(expected)
    assert image.equal(before)
    return found


SIZES = [
    ((1, 1), (1, 1)),
    ((1, 1), (5, 3)),
    ((2, 3), (7, 1)),
    ((9, 7), (4, 11)),
    ((32, 32), (28, 28)),
    ((33, 65), (31, 64)),
    ((40, 63), (13, 17)),
    ((150, 31), (20, 29)),  # tall: rows first
    ((17, 400), (16, 23)),  # many taps
    ((120, 90), (200, 131)),
]


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("name", ARITHMETICS)
def test_resample(kernel, name):
    for size, new in SIZES:
        for channels in (1, 3):
            network = Network([resampling(KERNELS[kernel], ARITHMETICS[name])], [{"size": new}], "uint8")
            for image in (
                random_levels(channels, *size),
                torch.zeros(channels, *size, dtype=torch.uint8),
                torch.full((channels, *size), 255, dtype=torch.uint8),
            ):
                check(network, image)


@pytest.mark.parametrize("name", ["fused", "levels", "rounded"])
def test_resample_of_floats(name):
    for size, new in SIZES:
        network = Network([resampling(CUBIC, ARITHMETICS[name])], [{"size": new}], "float32")
        image = torch.rand(3, *size, generator=torch.Generator().manual_seed(1)) * (1 if name == "fused" else 255)
        check(network, image)
        check(network, image.permute(1, 2, 0).contiguous().permute(2, 0, 1))


def layouts(image: torch.Tensor) -> dict[str, torch.Tensor]:
    """The same image in other memory."""
    c, h, w = image.shape
    padded = torch.zeros(c, h + 5, w + 9, dtype=image.dtype)
    padded[:, 2 : h + 2, 3 : w + 3] = image
    wide = torch.zeros(h, w, c + 1, dtype=image.dtype)
    wide[..., :c] = image.permute(1, 2, 0)
    spread = torch.zeros(c, h, 2 * w, dtype=image.dtype)
    spread[..., ::2] = image
    return {
        "planar": image,
        "interleaved": image.permute(1, 2, 0).contiguous().permute(2, 0, 1),
        "part of a larger one": padded[:, 2 : h + 2, 3 : w + 3],
        "one channel more": wide.permute(2, 0, 1)[:c],
        "every second value": spread[..., ::2],
        "transposed": image.transpose(1, 2).contiguous().transpose(1, 2),
    }


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 6])
@pytest.mark.parametrize("name", ["int16", "22 bits", "levels"])
def test_layouts(channels, name):
    network = Network([resampling(CUBIC, ARITHMETICS[name])], [{"size": (15, 22)}], "uint8")
    image = random_levels(channels, 19, 27)
    expected = network(image, "reference")
    for layout, same in layouts(image).items():
        assert same.equal(image), layout
        assert network(same, "cpu").equal(expected), layout


# By the number of taps, passes along rows take them lane by lane, or in pieces of neighboring pixels.
REDUCTIONS = [
    ((7, 300), (5, 37)),
    ((7, 300), (5, 11)),
    ((6, 301), (5, 3)),
    ((5, 1000), (4, 1)),
    ((4, 999), (4, 28)),
    ((300, 40), (4, 2)),  # rows first
    ((1, 64), (1, 1)),
]


@pytest.mark.parametrize(("size", "new"), REDUCTIONS)
@pytest.mark.parametrize("name", ["int16", "22 bits"])
def test_large_reductions(name, size, new):
    for kernel, channels in ((TRIANGLE, 3), (CUBIC, 1), (WIDE, 4), (CUBIC, 2)):
        network = Network([resampling(kernel, ARITHMETICS[name])], [{"size": new}], "uint8")
        image = random_levels(channels, *size)
        for same in [*layouts(image).values(), torch.full_like(image, 255), 255 * (image > 127).byte()]:
            assert network(same, "cpu").equal(network(same, "reference"))
        turned = Network(
            [Cropping(), Flipping(), network.members[0]],
            [{"size": size}, {"axis": "horizontal"}, {"size": new}],
            "uint8",
        )
        assert turned(image, "cpu").equal(turned(image, "reference"))


@pytest.mark.parametrize("api", [v1, v2])
def test_large_reductions_are_torchvisions(api):
    for size, new in (((90, 1300), (13, 29)), ((1200, 80), (9, 5)), ((333, 777), (7, 7)), ((64, 2049), (64, 3))):
        for interpolation in (v2.InterpolationMode.BILINEAR, v2.InterpolationMode.BICUBIC):
            transforms = [api.Resize(new, interpolation), api.RandomHorizontalFlip(1)]
            image = random_levels(3, *size)
            for same in (image, *layouts(image).values(), to_pil(image), to_pil(image[:1])):
                check_transform(transforms, same)


@pytest.mark.parametrize(("size", "new"), REDUCTIONS)
def test_large_reductions_of_floats(size, new):
    for kernel, channels in ((TRIANGLE, 3), (CUBIC, 1)):
        network = Network([resampling(kernel, FUSED)], [{"size": new}], "float32")
        for same in layouts(random_levels(channels, *size) / 255).values():
            check(network, same)


def test_expanded_memory():
    image = random_levels(1, 1, 20).expand(3, 16, 20)
    check(Network([resampling()], [{"size": (9, 9)}], "uint8"), image)


def test_batches():
    network = Network([resampling()], [{"size": (9, 13)}], "uint8")
    batch = random_levels(2, 5, 3, 17, 23)
    expected = torch.stack([torch.stack([network(image, "reference") for image in row]) for row in batch])
    for same in (
        batch,
        batch.movedim(-3, -1).contiguous().movedim(-1, -3),
        batch.transpose(0, 1).contiguous().transpose(0, 1),
    ):
        assert network(same, "cpu").equal(expected)
    assert network(batch[:, ::2], "cpu").equal(expected[:, ::2])
    assert network(batch[:0], "cpu").shape == (0, 5, 3, 9, 13)


@pytest.mark.filterwarnings("ignore:The given NumPy array is not writable")
def test_memory_that_is_read_only_or_shared(tmp_path):
    network = Network([resampling()], [{"size": (28, 28)}], "uint8")
    values = random_levels(3, 32, 32)
    path = tmp_path / "image"
    path.write_bytes(values.numpy().tobytes())
    mapped = torch.from_numpy(np.memmap(path, np.uint8, "r", shape=(3, 32, 32)))
    expected = network(values, "reference")
    assert network(mapped, "cpu").equal(expected)
    assert network(values.clone().share_memory_(), "cpu").equal(expected)


GRAY = torch.tensor([[0.2989, 0.587, 0.114]], dtype=torch.float64)
MIXES = {
    "fused": Arithmetic("float32", fma=True, rounding="truncate"),
    "plain": Arithmetic("float32", rounding="half_even"),
    "up": Arithmetic("float32", rounding="half_up"),
    "floats": Arithmetic("float32"),
    "whole": Arithmetic("int", 16, rounding="half_up"),
}


@pytest.mark.parametrize("name", MIXES)
def test_mix_of_every_color(name):
    """All 2^24 colors, as an image."""
    levels = torch.arange(256, dtype=torch.uint8)
    colors = torch.cartesian_prod(levels, levels, levels).T.reshape(3, 4096, 4096)
    network = Network([Mixing(GRAY, torch.tensor([0.25]), MIXES[name])], [{}], "uint8")
    check(network, colors)


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
@pytest.mark.parametrize("name", MIXES)
def test_mix_of_other_channels(channels, name):
    generator = torch.Generator().manual_seed(2)
    weight = torch.rand(4, channels, generator=generator, dtype=torch.float64) * 2 - 0.7
    network = Network([Mixing(weight, torch.tensor([3.0, -50, 0, 300]), MIXES[name])], [{"copies": 2}], "uint8")
    for image in layouts(random_levels(channels, 13, 71)).values():
        check(network, image)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("scaled", [True, False])
def test_tables(channels, scaled):
    values = torch.arange(256) * torch.tensor(1 / 255, dtype=torch.float32)
    values = values.expand(1, 256) if scaled else torch.rand(channels, 256, generator=torch.Generator().manual_seed(3))
    layers = [Lookup(values.double()), Normalizing()]
    params = [{}, {"mean": (0.485, 0.456, 0.406)[:channels], "std": (0.229, 0.224, 0.225)[:channels]}]
    image = torch.arange(256, dtype=torch.uint8).repeat(channels, 3, 1)[..., :251]
    for count in (1, 2):
        network = Network(layers[:count], params[:count], "uint8")
        assert network(image, "cpu").equal(network(image, "reference"))
    interleaved = image.permute(1, 2, 0).contiguous().permute(2, 0, 1)
    assert network(interleaved, "cpu").equal(network(image, "reference"))


def test_normalize_of_floats():
    network = Network([Normalizing()], [{"mean": (0.4, 0.5, 0.6), "std": (0.1, 0.2, 0.3)}], "float32")
    image = torch.rand(3, 21, 35)
    image[0, 0, 0], image[1, 2, 3] = float("nan"), float("inf")
    found = network(image, "cpu")
    assert torch.equal(found.nan_to_num(7), network(image, "reference").nan_to_num(7))


@pytest.mark.parametrize("size", [(5, 9), (31, 31), (40, 20), (60, 90)])
def test_crops_and_flips(size):
    layers = [Cropping(), Flipping(), Flipping()]
    params = [{"size": size}, {"axis": "horizontal"}, {"axis": "vertical"}]
    network = Network(layers, params, "uint8")
    for image in layouts(random_levels(3, 31, 37)).values():
        check(network, image)
        check(Network(layers, params, "float32"), image.float())


def test_flips_and_crops_behind_a_resample():
    params = [{"size": (26, 35)}, {"size": (11, 20)}, {"axis": "horizontal"}, {"axis": "vertical"}, {}]
    for arithmetic in ARITHMETICS.values():
        layers = [
            resampling(CUBIC, arithmetic),
            Cropping(),
            Flipping(),
            Flipping(),
            Mixing(GRAY, torch.zeros(1), FUSED),
        ]
        for image in layouts(random_levels(3, 41, 50)).values():
            check(Network(layers, params, "uint8"), image)


def test_several_passes():
    layers = [
        Mixing(GRAY, torch.zeros(1), MIXES["fused"]),
        resampling(),
        Cropping(),
        resampling(CUBIC),
        Lookup(torch.rand(1, 256)),
    ]
    params = [{}, {"size": (30, 40)}, {"size": (50, 20)}, {"size": (7, 8)}, {}]
    network = Network(layers, params, "uint8")
    for image in layouts(random_levels(3, 41, 50)).values():
        check(network, image)
    check(network, random_levels(4, 3, 41, 50))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_random_resamples(data):
    draw = data.draw
    side = st.integers(1, 90)
    name = draw(st.sampled_from(sorted(ARITHMETICS)))
    kernel = KERNELS[draw(st.sampled_from(sorted(KERNELS)))]
    shift = torch.tensor([draw(st.sampled_from([0.0, 0.25, -0.4])) for _ in "yx"], dtype=torch.float64)
    layer = Resampling(kernel, shift, ARITHMETICS[name])
    image = random_levels(draw(st.integers(1, 4)), draw(side), draw(side), seed=draw(st.integers(0, 99)))
    network = Network([layer], [{"size": (draw(side), draw(side))}], "uint8")
    layout = draw(st.sampled_from(sorted(layouts(image))))
    check(network, layouts(image)[layout])


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("arithmetic", [INT16, INT22, FUSED])
def test_taps_are_the_same_numbers(kernel, arithmetic, simd):
    generator = torch.Generator().manual_seed(4)
    pairs = [(1, 1), (1, 9), (9, 1), (640, 384), (427, 256), (2000, 7), (65, 65), (7, 700)]
    pairs += [tuple(p) for p in torch.randint(1, 300, (60, 2), generator=generator).tolist()]
    for n_in, n_out in pairs:
        for shift in (0.0, 0.3):
            keep = Keep(n_out - 1, -1, n_out) if n_in % 2 else Keep(n_out // 3, 1, n_out - n_out // 3)
            axis = Axis(KERNELS[kernel], torch.tensor(shift).double(), n_out, arithmetic, keep)
            expected = axis.taps(n_in)
            first, count, whole, real, bits = native.taps(
                stages.axis_of(axis), n_in, stages.arithmetic_of(arithmetic), simd
            )
            assert first == expected.first.tolist()
            assert count == expected.count.tolist()
            # The reference keeps as many weights as the kept outputs need at most; both end in zeros.
            weights = torch.tensor(whole or real).view(-1, len(first)).T
            common = min(weights.shape[1], expected.weights.shape[1])
            assert weights[:, :common].equal(expected.weights[:, :common]), (n_in, n_out)
            assert not weights[:, common:].any()
            assert not expected.weights[:, common:].any()
            assert (expected.bits or 0) == bits


def test_windows_are_the_parts_that_they_name():
    layers = [resampling(), Flipping(), Lookup(torch.rand(1, 256))]
    network = Network(layers, [{"size": (24, 24)}, {"axis": "horizontal"}, {}], "uint8")
    _, compiled = network.plan((3, 61, 90), torch.device("cpu"), backend="cpu")
    generator = torch.Generator().manual_seed(5)
    for image in layouts(random_levels(3, 61, 90)).values():
        call = compiled.bind(image)
        for _ in range(20):
            top, left = (int(torch.randint(0, n, (), generator=generator)) for n in (60, 89))
            height = int(torch.randint(1, 62 - top, (), generator=generator))
            width = int(torch.randint(1, 91 - left, (), generator=generator))
            part = image[:, top : top + height, left : left + width]
            assert call(image, (top, left, height, width)).equal(network(part, "reference"))
        with pytest.raises(ValueError, match="window"):
            call(image, (50, 0, 20, 10))


@pytest.mark.parametrize("threads", [2, 3, 16])
def test_threads_change_nothing(threads):
    before = torch.get_num_threads()
    network = Network([resampling(), Flipping()], [{"size": (224, 224)}, {"axis": "vertical"}], "uint8")
    batch = random_levels(7, 3, 300, 400)
    try:
        torch.set_num_threads(1)
        expected, single = network(batch, "cpu"), network(batch[0], "cpu")
        torch.set_num_threads(threads)
        assert network(batch, "cpu").equal(expected)
        assert network(batch[0], "cpu").equal(single)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("size", [(32, 32), (61, 90), (90, 17), (200, 300)])
def test_pipelines_are_torchvisions(size):
    image = random_levels(3, *size)
    check_transform(seed_v2(), image, backend="cpu", fallback="error")
    check_transform(seed_v2(), to_pil(image), backend="cpu", fallback="error")
    check_transform(seed_v1(), to_pil(image), backend="cpu", fallback="error")
    check_transform([*seed_v1(), v1.ToTensor()], to_pil(image), backend="cpu", fallback="error")
    check_transform(seed_v2(), image.float() / 255, backend="cpu", fallback="error")


MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pytest.mark.parametrize("size", [(427, 640), (640, 427), (300, 256), (100, 1000)])
def test_imagenet_evaluation(size):
    image = random_levels(3, *size)
    tensor = [v2.Resize(256), v2.CenterCrop(224), v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)]
    pil = [v1.Resize(256), v1.CenterCrop(224), v1.ToTensor(), v1.Normalize(MEAN, STD)]
    both = [v2.Resize(256), v2.CenterCrop(224), v2.ToImage(), *tensor[2:]]
    for transforms, given_image in ((tensor, image), (pil, to_pil(image)), (both, to_pil(image))):
        found = check_transform(transforms, given_image, backend="cpu", fallback="error")
        expected = v2.Compose(transforms)(given_image)
        assert found.equal(expected)  # bit by bit, Normalize included


@pytest.mark.parametrize("api", [v1, v2])
def test_random_resized_crop(api):
    image = random_levels(3, 70, 95)
    start = [api.RandomResizedCrop(24, antialias=True), api.RandomHorizontalFlip()]
    for seed in range(25):
        torch.manual_seed(seed)
        check_transform(start, to_pil(image), backend="cpu", fallback="error")
        if api is v2:
            check_transform(start, image, backend="cpu", fallback="error")


def test_pil_images_whose_memory_is_not_shared(monkeypatch):
    image = to_pil(random_levels(3, 40, 50))
    transform = lt.LearnedCompose(seed_v1(), backend="cpu")
    expected = np.array(transform(image))

    def refuse(self, schema=None):
        raise ValueError("Image is in multiple array blocks")

    monkeypatch.setattr(Image.Image, "__arrow_c_array__", refuse, raising=False)  # Not in Pillow before 11.2.
    assert np.array_equal(np.array(transform(image)), expected)


def test_wrong_plans_and_images_raise():
    axis = Axis(TRIANGLE, torch.zeros(()), 4, INT16)
    table = Table(torch.rand(1, 256))
    image = random_levels(3, 8, 8)

    def compiled(*stages, channels=3, output=(3, 4, 4)):
        return cpu.Program(Plan(channels, None, stages, output))

    with pytest.raises(BackendError, match="another number of channels"):
        compiled(Mix(torch.ones(1, 4), torch.zeros(1), MIXES["fused"]))
    with pytest.raises(BackendError, match="not there"):
        compiled(Gather(channels=(0, 3)))
    with pytest.raises(BackendError, match="does not make"):
        compiled(Resample(axis.kept(Keep(2, 1, 4)), axis, INT16))
    with pytest.raises(BackendError, match="at least one pixel"):
        compiled(Gather(rows=Keep(0, 1, 0)))
    for nearest in (Nearest(4, 0.5, FUSED, Keep(2, 1, 3)), Nearest(4, 2.0, FUSED, Keep(0, 1, 4))):
        with pytest.raises(BackendError, match=r"does not make|within one pixel"):
            compiled(Gather(rows=nearest))
    with pytest.raises(BackendError, match="four million"):
        compiled(Mix(torch.full((1, 3), 1e30), torch.zeros(1), MIXES["fused"]))
    with pytest.raises(InputShapeError, match="channels"):
        compiled(Resample(axis, axis, INT16)).bind(image[:2])
    with pytest.raises(InputShapeError, match="uint8 images"):
        compiled(Resample(axis, axis, INT16)).bind(image.float())
    with pytest.raises(InputShapeError, match="uint8 images"):
        compiled(table).bind(image.float())
    with pytest.raises(InputShapeError, match="float images"):
        compiled(Normalize(torch.zeros(3), torch.ones(3))).bind(image)
    with pytest.raises(BackendError, match="Expected output"):
        compiled(Resample(axis, axis, INT16), output=(3, 5, 5)).bind(image)


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        ((1, (3, 8, 8), (1, 1, 64), 0, "uint8", False), "side by side"),
        ((1, (3, 8, 8), (64, 8, -1), 0, "uint8", False), "negative"),
        ((1, (3, 8, 0), (64, 8, 1), 0, "uint8", False), "at least one"),
        ((0, (3, 8, 8), (64, 8, 1), 0, "uint8", False), "at least one"),
        ((1, (3, 2**40, 8), (64, 8, 1), 0, "uint8", False), "2\\^24"),
        ((2**62, (3, 8, 8), (64, 8, 1), 192, "uint8", False), "large"),
        ((1, (3, 8, 8), (2**62, 8, 1), 0, "uint8", False), "large"),
    ],
)
def test_native_code_checks_layouts(layout, message):
    program = native.Program(3, "")
    program.add(native.gather(None, (0, 1, 8), None, [], False, False, None))
    with pytest.raises(ValueError, match=message):
        program.bind(*layout)


def test_unknown_instructions_are_named(monkeypatch):
    monkeypatch.setenv(cpu.SIMD, "mmx")
    with pytest.raises(BackendError, match="no kernels called 'mmx'"):
        Network([resampling()], [{"size": (4, 4)}], "uint8")(random_levels(3, 8, 8), "cpu")


def test_reasons():
    network = Network([resampling()], [{"size": (4, 4)}], "float32")
    image = torch.rand(3, 8, 8, requires_grad=True)
    with pytest.raises(BackendError, match="no gradients"):
        network(image, "cpu")
    with pytest.raises(BackendError, match="not on meta"):
        network(image.detach().to("meta"), "cpu")
    with pytest.raises(BackendError, match="float64"):
        Network([resampling(arithmetic=Arithmetic("float64"))], [{"size": (4, 4)}], "uint8")(image.detach(), "cpu")


INTERRUPTED = """
import signal
import torch, learned_transforms as lt
from torchvision.transforms import v2
torch.set_num_threads(2)
transform = lt.LearnedCompose([v2.Resize((224, 224)), v2.ToDtype(torch.float32, scale=True)], backend="cpu")
batch = torch.zeros(64, 3, 600, 800, dtype=torch.uint8)
transform(batch)
signal.signal(signal.SIGINT, signal.default_int_handler)  # Whoever runs the tests in the background has it ignored.
print("ready", flush=True)
try:
    while True:
        transform(batch)
except KeyboardInterrupt:
    print(transform(batch[:8]).shape, flush=True)
"""


def test_an_interrupt_leaves_no_lock_held(tmp_path):
    given = [sys.executable, "-c", INTERRUPTED]
    with subprocess.Popen(given, stdout=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        try:
            assert process.stdout.readline() == "ready\n"
            time.sleep(0.3)
            process.send_signal(signal.SIGINT)
            out, _ = process.communicate(timeout=60)
            assert out == "torch.Size([8, 3, 224, 224])\n"
        finally:
            process.kill()


def test_evaluate_is_what_the_axis_gives():
    axis = Axis(CUBIC, torch.zeros(()), 9, INT16)
    assert axis.taps(17).weights.equal(evaluate(CUBIC, torch.zeros(()), 17, 9, INT16).weights)
    assert axis.kept(Keep(8, -1, 9)).taps(17).weights.equal(axis.taps(17).weights.flip(0))
