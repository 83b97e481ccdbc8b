"""Small images, which native code does whole: what it makes of them line by line, and torchvision of them."""

import pytest
import torch
from helpers import noise, states
from test_native import CUBIC, INT16, INT22, LEVELS, TRIANGLE, WIDE, layouts, resampling
from test_sampler import CROPS, DRAWING, positions
from torchvision.transforms import InterpolationMode, v2

import learned_transforms as lt
from learned_transforms.ir.arithmetic import Arithmetic
from learned_transforms.kernels import cpu
from learned_transforms.layers.geometry import Flipping
from learned_transforms.layers.network import Network
from learned_transforms.layers.pointwise import Mixing
from learned_transforms.transforms import sampler

native = pytest.importorskip("learned_transforms.kernels._native", reason="built without a compiler")

FLOATS = [v2.ToDtype(torch.float32, scale=True), v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))]
GRAY = [v2.Grayscale(), FLOATS[0]]
COLORS = [0.2989, 0.587, 0.114]
SIZES = (  # of an image, and what it becomes: up to four taps each way, more of them, and larger ones
    *(((32, 32), (28, 28)), ((64, 64), (56, 56)), ((64, 64), (32, 32)), ((40, 40), (32, 32)), ((48, 48), (32, 32))),
    *(((16, 16), (11, 9)), ((15, 15), (11, 9)), ((1, 1), (5, 7)), ((1, 128), (1, 97)), ((128, 128), (128, 128))),
    *(
        ((17, 31), (33, 16)),
        ((33, 65), (31, 64)),
        ((127, 128), (65, 127)),
        ((128, 128), (65, 64)),
        ((63, 90), (62, 47)),
    ),
    *(
        ((129, 30), (128, 30)),
        ((30, 130), (30, 128)),
        ((100, 100), (129, 50)),
        ((64, 64), (20, 20)),
        ((60, 7), (50, 6)),
    ),
)
FLIPS = [(0, 0), (0, 1), (1, 0), (1, 1)]


@pytest.fixture(params=native.simd(), autouse=True)
def simd(request, monkeypatch):
    """Each set of instructions that this processor has."""
    monkeypatch.setenv(cpu.SIMD, request.param)
    return request.param


def batch_of(images, channels, size):
    """Noise, black and white, and the ends of both."""
    batch = noise(images * channels, size)[:, :1].reshape(images, channels, *size).clone()
    batch[1::4] = batch[1::4] // 128 * 255
    batch[-1], batch[-2] = 255, 0
    return batch


def check(transforms, batch):
    """A batch is what torchvision makes of it, and each image too; parts of memory are read that end with an image."""
    expected = v2.Compose(transforms)(batch)
    model = lt.LearnedCompose(transforms)
    for same in (batch, batch.clone()):
        found = model(same)
        assert (found.shape, found.dtype, found.stride()) == (expected.shape, expected.dtype, expected.stride())
        assert found.equal(expected)
    assert model(batch[0]).equal(expected[0])


@pytest.mark.parametrize("flips", FLIPS, ids=str)
@pytest.mark.parametrize(("size", "new"), SIZES)
def test_resizes_as_torchvision(size, new, flips):
    flips = [v2.RandomHorizontalFlip(float(flips[0])), v2.RandomVerticalFlip(float(flips[1]))]
    for channels, ends in ((3, ([], GRAY[:1], GRAY, FLOATS)), (1, ([], FLOATS[:1])), (2, ([],))):
        for end in ends:
            check([v2.Resize(new), *flips, *end], batch_of(6, channels, size))


@pytest.mark.parametrize("mode", [InterpolationMode.BILINEAR, InterpolationMode.BICUBIC])
def test_parts_and_other_kernels(mode):
    """Crops behind a resize, weights below 0, no antialiasing: whole or line by line, as torchvision."""
    for antialias in (True, False):
        resize = v2.Resize((28, 30), mode, antialias=antialias)
        check([resize, v2.CenterCrop((20, 17)), v2.RandomHorizontalFlip(1.0), *GRAY], batch_of(5, 3, (32, 33)))
        check([v2.CenterCrop(31), resize, *FLOATS], batch_of(5, 3, (40, 41)))


@pytest.mark.parametrize("channels", [1, 3, 4, 5])
def test_layouts(channels):
    network = Network([resampling(), Flipping()], [{"size": (28, 27)}, {"axis": "horizontal"}], "uint8")
    for image in batch_of(3, channels, (32, 31)):
        expected = network(image, "reference")
        for layout, same in layouts(image).items():
            assert network(same, "cpu").equal(expected), layout


MIXES = {
    "fused": (COLORS, 0.0, Arithmetic("float32", fma=True, rounding="truncate")),
    "moved": (COLORS, 0.25, Arithmetic("float32", fma=True, rounding="truncate")),
    "large": ([1.5, -0.2, 0.3], 0.0, Arithmetic("float32", fma=True, rounding="truncate")),
    "plain": (COLORS, 0.0, Arithmetic("float32", rounding="half_even")),
    "whole": (COLORS, 0.0, Arithmetic("int", 16, rounding="half_up")),
}


@pytest.mark.parametrize("arithmetic", [INT16, INT22, LEVELS], ids=["int16", "22 bits", "floats"])
@pytest.mark.parametrize("kernel", [TRIANGLE, CUBIC, WIDE], ids=["triangle", "cubic", "wide"])
def test_other_sums(kernel, arithmetic):
    """Wide weights, those below 0, sums of floats; gray channels that are rounded, moved or of large weights."""
    for weight, bias, how in MIXES.values():
        mixing = Mixing(torch.tensor([weight], dtype=torch.float64), torch.tensor([bias]), how)
        network = Network([resampling(kernel, arithmetic), mixing], [{"size": (29, 28)}, {}], "uint8")
        for image in batch_of(4, 3, (32, 33)):
            assert network(image, "cpu").equal(network(image, "reference"))


def test_gray_of_every_color():
    """All 2^24, a column each: rows that are alike stay so when they are resized."""
    weight, bias, how = MIXES["fused"]
    mixing = Mixing(torch.tensor([weight], dtype=torch.float64), torch.tensor([bias]), how)
    network = Network([resampling(), mixing], [{"size": (3, 128)}, {}], "uint8")
    alone = Network([mixing], [{}], "uint8")
    levels = torch.arange(256, dtype=torch.uint8)
    for red in range(0, 256, 64):
        colors = torch.cartesian_prod(levels[red : red + 64], levels, levels).reshape(-1, 128, 3).permute(0, 2, 1)
        columns = colors[:, :, None].expand(-1, -1, 2, -1).contiguous()
        assert network(columns, "cpu").equal(alone(colors[:, :, None].contiguous(), "reference").expand(-1, -1, 3, -1))


@pytest.mark.parametrize("mode", ["constant", "edge", "reflect", "symmetric"])
@pytest.mark.parametrize("size", [(32, 32), (17, 128), (64, 65), (128, 40), (129, 33), (16, 15), (9, 8)], ids=str)
def test_windows_beyond_small_images(size, mode):
    """Of batches with one draw, and with a draw each; the fill is of each channel."""
    crop = min(size[0], 31) + 1, min(size[1] + 5, 128)
    for channels, fill in ((3, [1, 200, 30]), (1, [7]), (2, 0)):
        fill = fill if mode == "constant" else 0
        transforms = [
            v2.RandomCrop(crop, padding=4, fill=fill, padding_mode=mode, pad_if_needed=True),
            v2.RandomHorizontalFlip(),
            v2.RandomVerticalFlip(),
        ]
        model = {end: lt.LearnedCompose([*transforms, *FLOATS[:end]]) for end in (0, 1)}
        batch = batch_of(9, channels, size)
        for seed in range(12):
            torch.manual_seed(seed)
            expected, state = v2.Compose(transforms)(batch), states()
            torch.manual_seed(seed)
            assert model[0](batch).equal(expected)
            assert states() == state
            torch.manual_seed(seed)
            assert model[1](batch).equal(FLOATS[0](expected))
        torch.manual_seed(1)
        expected, state = torch.stack([v2.Compose(transforms)(image) for image in batch]), states()
        torch.manual_seed(1)
        assert model[0](batch, per_sample=True).equal(expected)
        assert states() == state


@pytest.mark.skipif(sampler.scaled_at_once() is None, reason="this torch draws in a way not known here")
@pytest.mark.parametrize("name", [*DRAWING, *CROPS])
def test_many_draws_are_those_of_one_after_the_other(name):
    """The state is made anew several times meanwhile."""
    transforms, size = (DRAWING | CROPS)[name], (600, 640)
    draw = sampler.sampler_of(*positions(transforms))
    for seed in range(4):
        torch.manual_seed(seed)
        torch.rand(seed * 211)
        before = torch.get_rng_state()
        found = draw.many((3, *size), 500)
        after = torch.get_rng_state()
        torch.set_rng_state(before)
        if found is None:
            assert after.equal(before)
            continue
        draw.pays = True
        assert found == [draw((3, *size)) for _ in range(500)]
        assert torch.get_rng_state().equal(after)


def test_nothing_is_drawn_where_an_image_is_in_doubt():
    """One of many that Python must draw for: then all of them come one by one."""
    draw = sampler.sampler_of(*positions(CROPS["v2, 32, 4, False, constant"]))
    before = torch.get_rng_state()
    assert draw.many((3, 20, 5), 3) is None
    assert torch.get_rng_state().equal(before)
