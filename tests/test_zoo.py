"""The layers behind torchvision's Resize: each is rebuilt here, damaged ones are caught, and other teachers learned."""

import copy
from dataclasses import replace
from functools import partial

import pytest
import torch

import learned_transforms as lt
from learned_transforms.artifacts import weights as weight_files
from learned_transforms.artifacts.weights import Weights
from learned_transforms.errors import TeacherError, WeightsError
from learned_transforms.installed import resizes_by_lanczos, takes_rows_first
from learned_transforms.ir.indexing import Keep, Nearest
from learned_transforms.ir.interpolation import phi
from learned_transforms.layers.resize import Picking, Resampling
from learned_transforms.trainer.zoo import certify, resize
from learned_transforms.trainer.zoo.build import EVERYTHING, NAME, RESIZE_ROLES, SEEDS, SHIPPED, TWIN, completed, main
from learned_transforms.trainer.zoo.impulse import learn_kernel
from learned_transforms.trainer.zoo.model_card import readme
from learned_transforms.trainer.zoo.nearest import coded, learn_offset, picked
from learned_transforms.trainer.zoo.parallel import all_threads, side_by_side
from learned_transforms.trainer.zoo.teachers import TAKEN

KEYS = [f"{name}/{role}" for name, roles in TAKEN.items() for role in roles]
RESAMPLED = [key for key in KEYS if key.partition("/")[2] in resize.KERNELS]
LANCZOS = ("resize_lanczos", "uint8/resize_lanczos", "float32/resize_lanczos")
PICKED = [key for key in KEYS if "nearest" in key]


@pytest.fixture(autouse=True)
def teacher_is_there(request):
    """Skip what has to be learned from, or compared with, a Lanczos of tensors where torchvision has none."""
    params = getattr(getattr(request.node, "callspec", None), "params", {})
    if params.get("key", params.get("role")) in LANCZOS and not resizes_by_lanczos():
        pytest.skip("this torchvision refuses Lanczos on tensors")


@pytest.fixture(scope="module")
def shipped():
    return weight_files.load(EVERYTHING)


def test_every_resize_is_there_and_marked(shipped):
    assert set(KEYS) <= set(shipped.layers)
    assert {type(shipped.layers[key]) for key in RESAMPLED} == {Resampling}
    assert {type(shipped.layers[key]) for key in PICKED} == {Picking}
    for key in RESAMPLED:
        found = {name: shipped.provenance[f"{key}.{name}"] for name in ("kernel", "shift", "arithmetic")}
        assert found == {"kernel": "learned", "shift": "given", "arithmetic": "selected"}
    for key, layer in weight_files.load(NAME).layers.items():
        assert all(a.equal(b) for a, b in zip(layer.parameters(), shipped.layers[key].parameters(), strict=True))
    with pytest.raises(WeightsError, match="no pipeline"):
        lt.LearnedCompose.from_pretrained(EVERYTHING)


def test_the_twin_was_learned_from_teachers_without_flips():
    """From other answers, the same layers; and the files say what they do."""
    seed, twin = weight_files.load(NAME), weight_files.load(TWIN)
    assert list(twin.layers) == list(seed.layers)
    for key, layer in seed.layers.items():
        assert layer.arithmetic == twin.layers[key].arithmetic
        assert all(a.equal(b) for a, b in zip(layer.parameters(), twin.layers[key].parameters(), strict=True))
    assert not any("Flip" in text for texts in twin.about["teachers"].values() for text in texts)
    found = [params for step in twin.about["steps"].values() for params in step["recognized"]]
    assert found
    assert not any("axis" in params for params in found)
    for made in (seed, twin):
        certified = {name: c for name, c in made.certificates.items() if name.partition(" ")[0].endswith("/pipeline")}
        assert len({name.partition(" ")[0] for name in certified}) == 5
        assert all(c.at_least("exact") for c in certified.values())


def test_certificates_of_the_resizes(shipped):
    for key in KEYS:
        found = shipped.certificates[key]
        # Torch's float positions without antialiasing depend on its threads.
        floats = key.startswith(("uint8_v1", "float32")) and key.endswith("plain")
        assert found.at_least("rounding" if floats and key not in PICKED else "exact"), (key, found)
        assert any(other.startswith(f"{key} (") for other in shipped.certificates)
        if key in PICKED:
            assert found.groups["every length up to 64"].images == 64 * 64
            assert found.groups["longer"].images >= 400


def test_the_page_is_of_these_files(shipped):
    seeds, alone = ({name: weight_files.load(name) for name in names} for names in (SEEDS, RESIZE_ROLES))
    page = (weight_files.folder() / "README.md").read_text()
    assert page == readme(seeds, shipped, alone)
    assert "images are turned by 180 degrees" in page


@pytest.mark.parametrize("role", list(resize.KERNELS))
def test_kernels_are_rebuilt(shipped, role):
    kernel, width = resize.kernel_of(role)
    distance = torch.linspace(0, 4, 4001, dtype=torch.float64)
    holders = [shipped.layers[key] for key in RESAMPLED if key.endswith(f"/{role}")]
    for layer in holders:
        # The last digits of a rich kernel's coefficients depend on how torch sums.
        assert (phi(kernel, distance) - phi(layer.kernel, distance)).abs().max() < 1e-8
        assert (layer.shift.tolist(), layer.width) == ([0, 0], width)
        assert layer.kernel.equal(holders[0].kernel)
    if "lanczos" not in role and "hamming" not in role:
        assert kernel.equal(holders[0].kernel)


@pytest.mark.parametrize("key", RESAMPLED)
def test_arithmetics_are_selected_again(shipped, key, monkeypatch):
    if key == "pil/resize_box" and not takes_rows_first():
        pytest.skip("a Pillow before 13 has no order of passes that tells this arithmetic from another")
    monkeypatch.setattr(resize, "CHECKS", (((97, 300), (131, 77)), ((500, 224), (150, 97))))
    name, _, role = key.partition("/")
    layer, trials = resize.resampler(name, role, shipped.layers[key].kernel, shipped.layers[key].width)
    found, expected = layer.arithmetic, shipped.layers[key].arithmetic
    # How products are added makes no difference to a kernel that is not exact, or one that depends on threads.
    if key in ("float32/resize_lanczos", "uint8_v1/resize_bilinear_plain", "uint8_v1/resize_bicubic_plain"):
        found, expected = (replace(arithmetic, fma=False) for arithmetic in (found, expected))
    assert found == expected
    assert len(trials) > 1


@pytest.mark.parametrize("key", PICKED)
def test_nearest_neighbors_are_rebuilt(shipped, key):
    layer, trials = resize.picker(*key.split("/"))
    assert layer.offset.equal(shipped.layers[key].offset)
    assert layer.arithmetic == shipped.layers[key].arithmetic
    assert sorted(trial.differing for trial in trials)[:2] == pytest.approx([0, 0.002], abs=0.002)
    assert sum(trial.differing == 0 for trial in trials) == 1


@pytest.mark.parametrize("key", RESAMPLED + PICKED)
def test_damage_is_seen(shipped, key, monkeypatch):
    monkeypatch.setattr(certify, "SIZES", ((40, 31), (130,)))
    monkeypatch.setattr(certify, "LARGER", 14)
    photos = certify.photos()[:1]
    monkeypatch.setattr(certify, "photos", lambda: photos)
    name, _, role = key.partition("/")
    sound, damaged = shipped.layers[key], copy.deepcopy(shipped.layers[key])
    weight = damaged.offset if key in PICKED else damaged.kernel
    with torch.no_grad():
        weight.view(-1)[-1] += 0.03

    def tier(layer):
        path = certify.paths()[0]
        return certify.certify_layer(name, role, 7, [path], Weights({key: layer}, []))[path].tier

    assert tier(sound) in ("exact", "rounding")
    assert tier(damaged) == "approximate"


def without_antialias(a):
    """A resize of float64 images by cubic convolution, edges repeated: an independent one, pixel by pixel."""

    def weight(t):
        t = abs(t)
        return (a + 2) * t**3 - (a + 3) * t**2 + 1 if t < 1 else a * (t**3 - 5 * t**2 + 8 * t - 4) if t < 2 else 0.0

    def teacher(image, size):
        n = image.shape[-1]
        matrix = torch.zeros(size, n, dtype=torch.float64)
        for i in range(size):
            place = (i + 0.5) * n / size - 0.5
            for x in range(int(place) - 3, int(place) + 4):
                matrix[i, min(max(x, 0), n - 1)] += weight(place - x)
        return matrix @ image @ matrix.T

    return teacher


@pytest.mark.parametrize("a", [-0.75, -0.6])
def test_another_kernel_without_antialiasing_is_learned(a):
    kernel = learn_kernel(without_antialias(a), ((61, 37), (29, 45)), antialias=False)
    expected = torch.tensor([[1, 0, -a - 3, a + 2], [0, a, -2 * a, a]], dtype=torch.float64)
    assert torch.allclose(kernel, expected, rtol=0, atol=1e-12)


def test_antialiasing_must_be_told():
    with pytest.raises(TeacherError, match="no resampling by one even kernel"):
        learn_kernel(without_antialias(-0.6), ((61, 37), (29, 45)))


def picks(offset, n_in, n_out):
    return ((torch.arange(n_out) + offset) * n_in / n_out).long().clamp(0, n_in - 1)


@pytest.mark.parametrize("offset", [0, 0.25, 1 / 3, 0.5, 0.9])
def test_another_offset_is_learned(offset):
    def teacher(image, size):
        rows, columns = (picks(offset, n, m) for n, m in zip(image.shape[1:], size, strict=True))
        return image[:, rows][:, :, columns]

    assert learn_offset(teacher, resize.IMPULSE_SIZES).item() == pytest.approx(offset, abs=1e-12)


def test_what_takes_no_pixels_has_no_offset():
    def blurs(image, size):
        return torch.nn.functional.interpolate(image[None].float(), size, mode="bilinear")[0].to(torch.uint8)

    def mirrors(image, size):
        rows, columns = (picks(0.5, n, m) for n, m in zip(image.shape[1:], size, strict=True))
        return image[:, rows][:, :, columns].flip(2)

    with pytest.raises(TeacherError, match="whole rows and columns"):
        learn_offset(blurs, resize.IMPULSE_SIZES)
    with pytest.raises(TeacherError, match="bounds"):
        learn_offset(mirrors, resize.IMPULSE_SIZES)


def test_coded_images_tell_every_place(shipped):
    layer = shipped.layers["uint8/nearest"]

    def kept(n_in, n_out):
        return Nearest(n_out, float(layer.offset), layer.arithmetic, Keep(0, 1, n_out)).on(n_in)

    def teacher(image, size):
        rows, columns = (kept(n, m).index() for n, m in zip(image.shape[1:], size, strict=True))
        return image[:, rows][:, :, columns]

    rows, columns = picked(teacher, (1100, 700), (333, 901))
    assert rows.tolist() == list(kept(1100, 333).pixels)
    assert columns.tolist() == list(kept(700, 901).pixels)
    assert len(coded(300, 600).flatten(1).T.unique(dim=0)) == 300 * 600


def test_a_layer_is_learned_again(shipped):
    key = "float32/resize_bilinear_plain"
    sound, damaged = shipped.layers[key], copy.deepcopy(shipped.layers[key])
    with torch.no_grad():
        damaged.kernel += 0.03
    made = completed(replace(shipped, layers={**shipped.layers, key: damaged}), False, [key])
    assert list(made.layers) == list(shipped.layers)
    assert made.layers[key].kernel.equal(sound.kernel)
    assert made.layers[key].arithmetic == sound.arithmetic
    assert all(made.layers[other] is layer for other, layer in shipped.layers.items() if other != key)


def test_paths_share_the_answers_of_a_teacher():
    asked = []

    def teacher(image):
        asked.append(image)
        return image

    fast, slow = certify.Path("cpu"), certify.Path("reference")
    networks = {fast: lambda image: image, slow: lambda image: image + 1}
    images = list(torch.zeros(25, 3, 4, 4, dtype=torch.uint8))
    found = certify.join([(networks, teacher, {certify.EVERY_COLOR: images, "noise": images[:1]})], "uint8", stride=10)
    assert len(asked) == 26
    assert {name: group.images for name, group in found[fast].groups.items()} == {certify.EVERY_COLOR: 25, "noise": 1}
    assert {name: group.images for name, group in found[slow].groups.items()} == {"colors": 3, "noise": 1}
    assert (found[fast].differing, found[slow].equal) == (0, 0)


def test_what_is_known_is_not_measured_again(shipped, monkeypatch):
    weights = Weights({"uint8/to_float": shipped.layers["uint8/to_float"]}, [])
    found = certify.entitled((task.name, task.certify()) for task in certify.audits(weights, 20))
    others = [f"uint8/to_float ({path})" for path in certify.paths()[1:]]
    assert list(found) == ["uint8/to_float", *others]
    assert {certificate.tier for certificate in found.values()} == {"proved"}
    monkeypatch.delattr(certify, "join")
    assert found == certify.entitled((task.name, task.certify()) for task in certify.audits(weights, 20, known=found))


def test_tasks_side_by_side():
    assert side_by_side([partial(pow, 2, n) for n in range(5)], "powers", False) == [1, 2, 4, 8, 16]
    with pytest.raises(ValueError, match="invalid literal"):
        side_by_side([partial(int, "1"), partial(int, "x")], "numbers", False)
    threads = torch.get_num_threads
    assert side_by_side([threads, all_threads(threads), threads], "threads", False) == [1, threads(), 1]


def test_one_file_is_rebuilt_alone(tmp_path):
    main(["--only", "bicubic_224", "--certified", "8", "--out", str(tmp_path)])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["README.md", "bicubic_224.safetensors"]
    made, kept = (weight_files.load(name) for name in (tmp_path / "bicubic_224.safetensors", "bicubic_224"))
    assert made.layers["0/0"].kernel.equal(kept.layers["0/0"].kernel)
    assert made.layers["0/0"].arithmetic == kept.layers["0/0"].arithmetic
    assert made.certificates["0"].tier == "exact"
    assert all(f"| {name} |" in (tmp_path / "README.md").read_text() for name in RESIZE_ROLES)
    with pytest.raises(SystemExit):
        main(["--only", "nothing", "--out", str(tmp_path)])
    assert set(SHIPPED) == {*lt.list_pretrained(), EVERYTHING}
