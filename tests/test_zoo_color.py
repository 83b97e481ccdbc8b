"""The layers behind torchvision's colors: some are rebuilt here, damaged ones are caught, other teachers learned."""

import copy

import pytest
import torch

from learned_transforms.artifacts import weights as weight_files
from learned_transforms.artifacts.weights import Weights
from learned_transforms.errors import TeacherError
from learned_transforms.ir.arithmetic import Arithmetic
from learned_transforms.layers.color import COLOR_LAYERS, Blending, Equalizing, Turning
from learned_transforms.trainer.zoo import certify, color
from learned_transforms.trainer.zoo.blend import learn_blend
from learned_transforms.trainer.zoo.build import EVERYTHING
from learned_transforms.trainer.zoo.color import LEARNERS, blur, learn_equalize, learn_stretch, learn_taps
from learned_transforms.trainer.zoo.hue import learn_turn
from learned_transforms.trainer.zoo.teachers import TEACHER_KINDS, TINTED
from learned_transforms.trainer.zoo.teachers import color as teacher_of

KEYS = [f"{name}/{role}" for name, roles in TINTED.items() for role in roles]
REBUILT = [key for key in KEYS if not key.startswith("uint8_v1") and key != "pil/hue"]
OTHERS = {"brightness": "none", "contrast": "mean", "saturation": "gray", "sharpness": "window"}
DAMAGED = {
    **{"terms": 0.03, "weight": 0.03, "window": 0.02, "ends": -0.02},
    **{"levels": -20, "coefficients": 0.1, "centres": 0},
}
"""What is added to each weight, to ends in parts of the last; centres are reversed."""


@pytest.fixture(scope="module")
def shipped():
    return weight_files.load(EVERYTHING)


@pytest.fixture
def small(monkeypatch):
    """Certificates that take no time."""
    photos = certify.photos()[:1]
    monkeypatch.setattr(certify, "photos", lambda: photos)
    monkeypatch.setattr(certify, "COLORED", {})
    monkeypatch.setattr(certify, "PARAMS", {role: params[1:7:3] or params for role, params in certify.PARAMS.items()})


def test_every_color_is_there_and_marked(shipped):
    for key in KEYS:
        layer = shipped.layers[key]
        assert type(layer) in COLOR_LAYERS.values()
        marks = {name: shipped.provenance[f"{key}.{name}"] for name in layer.provenance()}
        assert marks == layer.provenance()
        given = {"span"} if getattr(layer, "steps", 0) else set()
        assert {name for name, _ in layer.named_parameters() if marks[name] != "learned"} == given
        assert shipped.about["trials"][key]


def test_certificates_of_the_colors(shipped):
    for key in KEYS:
        found = shipped.certificates[key]
        assert found.at_least("exact"), (key, found)
        if key.partition("/")[2] in certify.COLORED:
            assert found.groups["all 2^24 colors"].values >= 2 * 3 * 2**24


def kind_of_end(layer):
    names = {name for name, _ in layer.named_parameters()} - {"terms"}
    return "window" if "window" in names else "none" if not names else "gray" if layer.mean is None else "mean"


def test_what_a_blend_is_was_found_out(shipped):
    for key in KEYS:
        if isinstance(layer := shipped.layers[key], Blending):
            assert kind_of_end(layer) == OTHERS[key.partition("/")[2]]


@pytest.mark.parametrize("key", REBUILT)
def test_colors_are_rebuilt(shipped, key):
    name, _, role = key.partition("/")
    layer, trials = LEARNERS[role](teacher_of(name, role), TEACHER_KINDS[name])
    assert layer.describe() == shipped.layers[key].describe()
    for name, value in layer.named_parameters():
        assert torch.allclose(value, shipped.layers[key].get_parameter(name), rtol=0, atol=1e-12), name
    assert len(trials) > 1 or role == "equalize"


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("key", KEYS)
def test_damage_is_seen(shipped, key):
    name, _, role = key.partition("/")
    sound = shipped.layers[key]
    path = certify.able(sound, role)[-1]

    def tier(layer):
        return certify.certify_layer(name, role, 7, [path], Weights({key: layer}, []))[path].tier

    assert tier(sound) in ("exact", "rounding")
    for weight, _ in sound.named_parameters():
        if weight not in DAMAGED:
            continue
        damaged = copy.deepcopy(sound)
        value = damaged.get_parameter(weight)
        with torch.no_grad():
            if weight == "centres":
                value.copy_(-value % 6)
            else:
                value.add_(DAMAGED[weight] * (float(value.max()) if weight == "ends" else 1.0))
        assert tier(damaged) == "approximate", weight


def blended(image, other, factor):
    return (image * factor + other * (1 - factor)).clamp(0, 255).to(torch.uint8)


def mixed(image, weights):
    return sum(w * plane for w, plane in zip(weights, image.float(), strict=True)).floor()[None]


def test_another_gray_is_learned():
    weights = (0.2126, 0.7152, 0.0722)
    layer, _ = learn_blend(lambda image, factor: blended(image.float(), mixed(image, weights), factor), "uint8")
    assert kind_of_end(layer) == "gray"
    assert layer.weight[0].tolist() == pytest.approx(weights, abs=1e-9)
    assert layer.terms.tolist() == [[0, 1], [1, -1]]
    assert (layer.form, layer.inner.rounding) == ("sum", "truncate")


def test_the_mean_of_another_gray_is_learned():
    def teacher(image, factor):
        return blended(image.float(), (mixed(image, (0.25, 0.5, 0.25)).mean() + 0.5).floor(), factor)

    layer, _ = learn_blend(teacher, "uint8")
    assert kind_of_end(layer) == "mean"
    assert layer.weight[0].tolist() == [0.25, 0.5, 0.25]
    assert (layer.mean, layer.terms.tolist()) == ("half_up", [[0, 1], [1, -1]])


def test_other_terms_are_learned():
    layer, _ = learn_blend(lambda image, factor: blended(image.float(), torch.zeros(()), 0.5 * factor), "uint8")
    assert layer.terms.tolist() == [[0, 0.5], [0, 0]]


def test_no_blend_is_told():
    with pytest.raises(TeacherError, match="Factor 0 gives neither"):
        learn_blend(lambda image, factor: blended(image.float(), 255.0 - image.flip(2), factor), "uint8")


def test_other_channels_turn():
    plain = teacher_of("uint8", "hue")
    layer, trials = learn_turn(lambda image, factor: plain(image.flip(0), factor).flip(0), "uint8")
    assert (layer.centres[0] - layer.centres[1]) % 6 == 2
    assert (layer.centres[2] - layer.centres[1]) % 6 == 4
    # Which of two equal channels is the highest is told by their order, which is reversed here.
    assert min(trial.differing for trial in trials) < 1e-4
    with pytest.raises(TeacherError, match="thirds"):
        learn_turn(lambda image, factor: image, "uint8")


@pytest.mark.parametrize("span", [255.99, 255.5])
def test_another_span_is_learned(span):
    centres, truncate = torch.tensor([0.0, 2, 4]), Arithmetic("float32", rounding="truncate")
    known = Turning(centres, torch.tensor([span], dtype=torch.float64), truncate, "multiply", 0)

    def teacher(image, factor):
        return certify.alone(known, "uint8", {"factor": factor}, certify.Path("reference"))(image)

    assert learn_turn(teacher, "uint8")[0].span.item() == span


def test_other_ends_are_learned():
    def teacher(image):
        low, high = image.float().amin((-2, -1), keepdim=True), image.float().amax((-2, -1), keepdim=True)
        made = ((image - low) * ((240 - 16) / (high - low).clamp(min=1)) + 16 + 0.5).floor()
        return torch.where(low == high, image, made.to(torch.uint8))

    layer, trials = learn_stretch(teacher, "uint8")
    assert layer.ends.tolist() == [16, 240]
    assert layer.arithmetic.rounding == "half_up"
    assert min(trial.differing for trial in trials) < 1e-4


def test_another_histogram_is_learned():
    known = Equalizing(torch.tensor([200.0]), torch.tensor([0.25]))
    layer, trials = learn_equalize(certify.alone(known, "uint8", {}, certify.Path("reference")), "uint8")
    assert (layer.levels.item(), layer.offset.item(), trials[0].differing) == (200, 0.25, 0)
    with pytest.raises(TeacherError, match="No number of levels"):
        learn_equalize(lambda image: 255 - image, "uint8")


def falling(law):
    """A blur of float64 images by taps that fall by a law, zeros around the image."""

    def teacher(image, sigma, size):
        for axis, length in ((-2, size[0]), (-1, size[1])):
            taps = law((torch.arange(length).double() - length // 2).abs() / sigma)
            windows = torch.nn.functional.pad(image, (length // 2,) * 4).unfold(axis, length, 1)
            inner = windows.narrow(-2 if axis == -2 else -3, length // 2, image.shape[-1 if axis == -2 else -2])
            image = inner @ (taps / taps.sum())
        return image

    return teacher


def test_other_taps_are_learned():
    assert learn_taps(falling(lambda t: torch.exp(-0.3 * t**2))).tolist() == [-0.3]
    found = learn_taps(falling(lambda t: torch.exp(-0.3 * t**2 - 0.01 * t**4)))
    assert found.tolist() == pytest.approx([-0.3, -0.01], abs=1e-9)
    with pytest.raises(TeacherError, match="No even polynomial"):
        learn_taps(falling(lambda t: 1 / (1 + t)))


def test_another_border_is_selected():
    known = color.Blurring(torch.tensor([-0.4]), "edge", Arithmetic("float32", rounding="half_up"))

    def teacher(image, sigma, size):
        return certify.alone(known, "uint8", {"sigma": sigma, "size": size}, certify.Path("reference"))(image)

    layer, _ = blur(teacher, "uint8", known.coefficients)
    assert (layer.border, layer.arithmetic.rounding) == ("edge", "half_up")
