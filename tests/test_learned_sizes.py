"""Rules for sizes are learned from answers; clones serve any size by them, name the sizes, and refuse others."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

import learned_transforms as lt
from learned_transforms.errors import EmptyImageError, UnlearnedSizeError, WeightsError
from learned_transforms.layers.letterbox import CropOrPad, RequireSize, Transpose, offset
from learned_transforms.layers.network import Network
from learned_transforms.layers.resize import RESIZED, Resampling
from learned_transforms.layers.size_rules import SizeRule, is_rule
from learned_transforms.trainer import retrain
from learned_transforms.trainer.data.bundled import PHOTOS
from learned_transforms.trainer.sizes.bounds import limits_of
from learned_transforms.trainer.sizes.hypotheses import learn_rules
from learned_transforms.trainer.sizes.layouts import Looker
from learned_transforms.trainer.sizes.ruled import samples
from learned_transforms.trainer.sizes.rules import Place

BICUBIC = Image.Resampling.BICUBIC
ELONGATED = ((31, 200), (200, 31), (97, 211), (255, 257), (640, 427))


def letterbox(side, stride=None, enlarge=True):
    """The long side gets ``side`` pixels; gray around it, as YOLO does, but by Pillow."""

    def teacher(image):
        ratio = min(side / image.height, side / image.width)
        ratio = ratio if enlarge else min(ratio, 1.0)
        width, height = round(image.width * ratio), round(image.height * ratio)
        right, down = side - width, side - height
        if stride:
            right, down = right % stride, down % stride
        made = Image.new("RGB", (width + right, height + down), (114, 114, 114))
        made.paste(image.resize((width, height), BICUBIC), (round(right / 2 - 0.1), round(down / 2 - 0.1)))
        return made

    return teacher


def thumbnail(image):
    small = image.copy()
    small.thumbnail((64, 64))
    return small


def square_of(image):
    return v2.Compose([v2.CenterCrop(min(image.size)), v2.Resize(40)])(image)


def padded_to(multiple):
    return lambda x: np.pad(x, ((0, -x.shape[0] % multiple), (0, -x.shape[1] % multiple), (0, 0)), constant_values=9)


def within(image):
    ratio = min(60 / image.width, 40 / image.height)
    return image.resize((max(1, int(image.width * ratio)), max(1, int(image.height * ratio))))


NORMALIZED = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize((0.4, 0.5, 0.6), (0.2, 0.3, 0.4))]
TEACHERS = {
    "imagenet": (v2.Compose([v2.Resize(256), v2.CenterCrop(224), *NORMALIZED]), "pil", "short side 256"),
    "small crop": (v2.Compose([v2.Resize(36), v2.CenterCrop(32)]), "uint8", "short side 36"),
    "short side": (v2.Resize(24), "pil", "short side 24"),
    "at most": (v2.Resize(64, max_size=100), "pil", "between 64 x 100"),
    "letterbox": (letterbox(64), "pil", "long side 64"),
    "letterbox, stride": (letterbox(64, 16), "pil", "multiples of 16, rounded up"),
    "letterbox, never enlarged": (letterbox(64, None, False), "pil", "never enlarged"),
    "thumbnail": (thumbnail, "pil", "thumbnail 64 x 64"),
    "multiple of 14": (lambda x: F.resize(x, [n // 14 * 14 or 14 for n in x.shape[-2:]]), "uint8", "multiples of 14"),
    "cut to 14": (lambda x: x[..., : x.shape[-2] // 7 * 7, : x.shape[-1] // 7 * 7], "uint8", "multiples of 7"),
    "half": (lambda x: F.resize(x, [n // 2 for n in x.shape[-2:]]), "uint8", "times 0.5 x 0.5, rounded down"),
    "an odd factor": (lambda x: F.resize(x, [round(n * 0.37) for n in x.shape[-2:]]), "uint8", "times 0.37 x 0.37"),
    "within": (within, "pil", "within 40 x 60"),
    "square": (square_of, "pil", "square of the shorter side"),
    "padded": (padded_to(32), "numpy", "multiples of 32, rounded up"),
    "border": (lambda x: F.pad(x, [5, 5, 5, 5], fill=7), "uint8", "enlarged by 10 x 10"),
    "turned": (lambda x: x.transpose(Image.Transpose.ROTATE_90), "pil", "rows and columns exchanged"),
    "fixed": (v2.Resize((28, 20)), "uint8", "28 x 20"),
    "solarized": (lambda x: F.solarize(F.resize(x, [24]), 100), "uint8", "short side 24"),
}


@pytest.mark.parametrize("name", TEACHERS)
def test_rules_are_learned_from_shapes_and_ramps(name):
    """And hold at sizes that were never looked at."""
    teacher, kind, words = TEACHERS[name]
    looker = Looker(teacher, kind, 3)
    found = learn_rules(looker)
    assert not isinstance(found, str), found
    rules, notes = found
    assert words in str(rules)
    assert notes == []
    generator = torch.Generator().manual_seed(1)
    for size in (*ELONGATED, *(tuple(pair) for pair in torch.randint(20, 300, (20, 2), generator=generator).tolist())):
        answer = looker.ask(torch.full(size, 100, dtype=torch.uint8))
        frame = tuple(place.frame for place in rules.layout(size))
        assert answer.shape[-2:] == (frame[::-1] if rules.swapped else frame), size


def test_a_rule_that_changes_is_told():
    found = learn_rules(Looker(lambda x: F.resize(x, [48, 48] if x.shape[-2] > 200 else [48]), "uint8", 3))
    assert not isinstance(found, str)
    assert str(found[0]) == "resized: short side 48, rounded down"
    assert found[1][0].startswith("other sizes than its rule says at ")


def brighter_beside_noise(image):
    """The middle, a level brighter where the first row is rough, as neither ramps nor constants are."""
    rough = (image[..., 0, 1:].float() - image[..., 0, :-1].float()).abs().mean() > 20
    return F.center_crop(image, [24, 24]) // 2 + rough.to(torch.uint8)


@pytest.mark.parametrize(
    ("teacher", "words"),
    [
        (lambda x: F.resize(x, [24, 20 + x.shape[-1] ** 2 % 7]), "no rule explains the sizes"),
        (lambda x: F.rotate(x, 30, F.InterpolationMode.BILINEAR), "answers depend on the image in no rectangle"),
        (lambda x: x[..., : 4 + int(x.float().mean()) // 8], "hangs on what images hold"),
        (lambda x: (0.6 * x + 0.4 * x.flip(-1).flip(-2)).to(torch.uint8), "no rule explains the sizes"),
        (brighter_beside_noise, "answers depend on what a crop would leave out"),
        (lambda x: (0.5 * x + 0.5 * x.flip(-1)).to(torch.uint8), "images are not mapped along straight lines"),
        (lambda x: x // 64, "levels of gray are kept apart"),
    ],
)
def test_what_follows_no_rule(teacher, words):
    found = learn_rules(Looker(teacher, "uint8", 3))
    assert isinstance(found, str)
    assert words in found


@pytest.fixture(scope="module")
def short_side(tmp_path_factory):
    folder = tmp_path_factory.mktemp("short")
    teacher = v2.Compose([v2.Resize(24), v2.Pad(2, fill=9)])
    return teacher, retrain(teacher, PHOTOS, kind="uint8", count=300, progress=False, out=folder), folder


def test_a_clone_serves_every_size(short_side):
    teacher, result, folder = short_side
    assert result.certificate.tier == "exact", [str(row) for row in result.table]
    assert result.certificate.sizes.startswith("any size (held at ")
    assert str(result.certificate).startswith("exact (taps recovered): 0 of ")
    loaded = lt.LearnedCompose.from_pretrained(folder)
    generator = torch.Generator().manual_seed(3)
    for size in ELONGATED:
        image = torch.randint(0, 256, (3, *size), dtype=torch.uint8, generator=generator)
        assert loaded(image).equal(teacher(image)), size
    assert result.speed is not None
    assert min(result.speed.clone, result.speed.teacher) > 0


def test_a_clone_refuses_sizes_at_which_its_teacher_does_otherwise():
    """Of two teachers behind one callable, that is cloned which is asked first, and up to where it answers."""

    def teacher(image):
        return 255 - image if image.shape[-2] > 150 else image

    result = retrain(teacher, PHOTOS, kind="uint8", count=200, progress=False)
    assert result.certificate.sizes.startswith("up to 150 rows")
    image = torch.zeros(3, 150, 333, dtype=torch.uint8)
    assert result.transform(image).equal(image)
    with pytest.raises(UnlearnedSizeError, match=r"up to 150 rows; got an image of 151 x 333"):
        result.transform(torch.zeros(3, 151, 333, dtype=torch.uint8))


def test_turns_serve_every_size(tmp_path):
    result = retrain(TEACHERS["turned"][0], PHOTOS, kind="pil", count=100, progress=False, out=tmp_path)
    assert result.certificate.tier == "exact"
    loaded = lt.LearnedCompose.from_pretrained(tmp_path)
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (45, 70, 3), np.uint8))
    assert np.array_equal(np.asarray(loaded(image)), np.asarray(image.transpose(Image.Transpose.ROTATE_90)))


def test_what_was_learned_from_pairs_of_one_size_squeezes_no_other():
    images = torch.randint(0, 256, (200, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    result = retrain(None, [(image, F.resize(image, [24])) for image in images], progress=False)
    assert result.transform(images[0]).shape == (3, 24, 24)
    with pytest.raises(UnlearnedSizeError, match="images of 32 x 32"):
        result.transform(torch.zeros(3, 32, 64, dtype=torch.uint8))


def test_limits_lie_where_answers_change():
    held, failed = [(32, 32), (90, 300), (150, 40)], [(200, 40), (300, 300)]
    limits = limits_of(held, failed, (32, 32), lambda size: size[0] <= 171)
    assert limits == {"rows": (1, 171), "columns": None, "sizes": None}
    both = limits_of([(32, 32), (100, 100)], [(24, 64), (64, 24)], (32, 32), lambda size: min(size) >= 30)
    assert (both["rows"][0], both["columns"][0]) == (30, 30)
    assert limits_of([(32, 32), (90, 90)], [(64, 64)], (32, 32), lambda size: True)["sizes"] == ((32, 32),)


@pytest.mark.parametrize("place", ["torchvision", "floor", "ceil", "start", "end"])
@pytest.mark.parametrize("length", [7, 8, 9, 14, 15])
def test_frames_hold_images_where_they_say(place, length):
    image = torch.arange(length, dtype=torch.uint8).expand(1, 3, length)
    params = {"frame": {"kind": "fixed", "numbers": (3, 10)}, "place": (place, place), "fill": (200.0,)}
    made = Network([CropOrPad()], [params], "uint8", floats=False)(image)[0, 0]
    before = offset(length, 10, place)
    expected = [n - before if 0 <= n - before < length else 200 for n in range(10)]
    assert made.tolist() == expected
    if place == "torchvision":
        assert made.eq(200).equal(F.center_crop(image + 100, [3, 10])[0, 0].eq(0))


def test_transposes_are_exact():
    image = torch.rand(3, 5, 9)
    assert Network([Transpose()], [{"levels": False}], "float32")(image).equal(image.mT)
    levels = (image * 255).to(torch.uint8)
    assert Network([Transpose()], [{"levels": True}], "uint8", floats=False)(levels).equal(levels.mT)


def test_sizes_are_refused_in_words():
    network = Network([RequireSize()], [{"rows": (8, 20), "columns": None, "sizes": None}], "uint8", floats=False)
    assert network(torch.zeros(3, 20, 99, dtype=torch.uint8)).shape == (3, 20, 99)
    with pytest.raises(UnlearnedSizeError, match=r"for 8 to 20 rows; got an image of 21 x 9 \(rows x columns\)"):
        network(torch.zeros(3, 21, 9, dtype=torch.uint8))


def test_resizes_follow_rules():
    kernel = torch.tensor([[1.0, -1.0]], dtype=torch.float64)
    layer = Resampling(kernel, torch.zeros(2), lt.ir.arithmetic.Arithmetic("float64", rounding="half_up"))
    rule = SizeRule("long", (24.0,), "even", multiple=8).to_json()
    network = Network([layer], [{"size": rule}], "uint8", floats=False)
    assert network(torch.zeros(3, 60, 31, dtype=torch.uint8)).shape == (3, 24, 16)
    assert network(torch.zeros(3, 31, 60, dtype=torch.uint8)).shape == (3, 16, 24)
    with pytest.raises(EmptyImageError, match="nothing is left"):
        Network([layer], [{"size": {"kind": "factor", "numbers": (0.1, 0.1)}}], "uint8")(torch.zeros(3, 5, 50))


@pytest.mark.parametrize(
    "values",
    [
        {"kind": "other"},
        {"numbers": (3.0,)},
        {"kind": "short", "numbers": (3.0, 4.0)},
        {"kind": "fixed", "numbers": (3.0, -4.0)},
        {"kind": "short", "numbers": (24.0,), "rounding": "odd"},
        {"kind": "same", "multiple": 0},
        {"kind": "same", "grow": (1,)},
        [],
    ],
)
def test_files_hold_no_other_rules(values):
    assert not is_rule(values)
    with pytest.raises(WeightsError, match="another size"):
        RESIZED.require("params", {"size": values})


@pytest.mark.parametrize(("length", "full"), [(32, 224), (32, 640), (64, 512), (32, 1024), (32, 256)])
def test_samples_meet_every_phase(length, full):
    """Of an enlargement by a whole factor, too: each pixel of the input is enlarged to as many phases."""
    keep = samples(Place(0, length, full, 0, full, 0, full))
    assert 20 <= keep.count <= 72
    assert keep.start + keep.step * (keep.count - 1) < full
    assert len({index % (full // length) for index in keep.index().tolist()}) == full // length


@pytest.mark.parametrize("kind", ["uint8", "float32"])
def test_vignettes_and_watermarks_are_gains_by_position(kind, tmp_path):
    place = torch.linspace(-1, 1, 24)
    gain = 1 - 0.3 * (place[:, None] ** 2 + place**2)
    offset = torch.zeros(3, 24, 24)
    offset[:, 15:20, 4:20] = torch.tensor([60.0, 10.0, 90.0])[:, None, None]

    def teacher(image):
        if kind == "float32":
            return image * gain + offset / 255
        return (image * gain + offset).round().clamp(0, 255).to(torch.uint8)

    result = retrain(teacher, PHOTOS, kind=kind, size=(24, 24), count=600, progress=False, out=tmp_path)
    assert result.family == "gain map"
    assert result.certificate.largest <= 1
    assert result.certificate.at_least("rounding")
    image = torch.randint(0, 256, (3, 24, 24), dtype=torch.uint8, generator=torch.Generator().manual_seed(5))
    given = image if kind == "uint8" else image.float() / 255
    made = lt.LearnedCompose.from_pretrained(tmp_path)(given)
    assert (made.double() - teacher(given).double()).abs().max() <= (1 if kind == "uint8" else 1e-6)
