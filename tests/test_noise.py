"""Noise that torch draws: as torchvision draws it, in number, order and memory; erased parts; JPEG; other dtypes."""

import json

import pytest
import torch
import torchvision
import torchvision.transforms as v1
from helpers import FORMS, compare, image_of, refusal, seeded, states
from torchvision import tv_tensors
from torchvision.transforms import v2

import learned_transforms as lt
from learned_transforms.errors import FallbackWarning, OperationError, PipelineValueError, UnsupportedTransformError
from learned_transforms.images import layout
from learned_transforms.layers import noise
from learned_transforms.transforms.registry import SPECS

pytestmark = pytest.mark.filterwarnings("ignore:The image decoding and encoding")
APIS = pytest.mark.parametrize("api", [v1, v2], ids=["v1", "v2"])
SIZE = (40, 50)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
TO_FLOAT = v2.ToDtype(torch.float32, scale=True)

IMAGES = {
    **{name: lambda form=form: form(image_of(3, SIZE)) for name, form in FORMS.items()},
    "gray": lambda: image_of(1, SIZE),
    "two channels": lambda: image_of(2, SIZE).float() / 255,
    "pixels": lambda: layout.by_pixels(image_of(3, SIZE)),
    "float pixels": lambda: layout.by_pixels(image_of(3, SIZE).float() / 255),
    "part": lambda: image_of(3, (60, 70))[:, 3:43, 5:55],
    "part of pixels": lambda: layout.by_pixels(image_of(3, (60, 70)))[:, 3:43, 5:55],
    "turned": lambda: image_of(3, SIZE).transpose(1, 2),
    "batch": lambda: torch.stack([image_of(3, SIZE, seed) for seed in range(3)]),
    "channels last": lambda: layout.by_pixels(torch.stack([image_of(3, SIZE)] * 3)).float() / 255,
    "deep": lambda: image_of(3, SIZE)[None, None].float() / 255,
    "tiny": lambda: image_of(3, (1, 2)),
}


def check(transforms, given, seeds=4):
    """As torchvision, without a fallback: what is made, its order in memory where noise hangs on it, the random state,
    and the input, which is changed where torchvision changes it."""
    learned = lt.LearnedCompose(transforms, fallback="error")
    for seed in range(seeds):
        ours, theirs = given(), given()
        seeded(seed)
        expected = theirs
        for transform in transforms:
            expected = transform(expected)
        state = states()
        seeded(seed)
        found = learned(ours)
        assert states() == state
        compare(found, expected, "exact")
        assert not isinstance(found, torch.Tensor) or found.equal(expected), "a last bit differs"
        if isinstance(ours, torch.Tensor):
            assert ours.equal(theirs), "the input was changed in another way"
            assert (found is ours) == (expected is theirs)
    return learned


@pytest.mark.parametrize("name", [name for name in IMAGES if name != "pil"])
def test_noise_is_drawn_as_torchvision_draws_it(name):
    for arguments in ({}, {"mean": 0.2, "sigma": 0.5}, {"mean": -0.1, "clip": False}, {"sigma": 0.0}):
        check([v2.GaussianNoise(**arguments)], IMAGES[name], seeds=2)


AROUND = {
    "first": [v2.GaussianNoise(), v2.RandomHorizontalFlip()],
    "behind floats": [v2.RandomHorizontalFlip(), TO_FLOAT, v2.GaussianNoise(), v2.Normalize(MEAN, STD)],
    "behind a resize": [v2.Resize(20, antialias=True), TO_FLOAT, v2.GaussianNoise()],
    "behind a crop": [v2.RandomResizedCrop(24), v2.GaussianNoise()],
    "behind a whole crop": [v2.CenterCrop(20), TO_FLOAT, v2.GaussianNoise(), v2.RandomVerticalFlip()],
    "behind padding": [v2.Pad(3), v2.GaussianNoise()],
    "behind gray": [v2.Grayscale(3), v2.GaussianNoise()],
    "behind an equalizing": [v2.RandomEqualize(0.5), v2.GaussianNoise()],
    "behind a shuffle": [v2.RandomChannelPermutation(), v2.GaussianNoise()],
    "behind what is erased": [TO_FLOAT, v2.RandomErasing(0.7, value="random"), v2.GaussianNoise()],
    "twice": [TO_FLOAT, v2.GaussianNoise(), v2.RandomHorizontalFlip(), v2.GaussianNoise()],
    "in a container": [TO_FLOAT, v2.RandomApply([v2.GaussianNoise()], 0.5), v2.RandomHorizontalFlip()],
}


@pytest.mark.filterwarnings("ignore::learned_transforms.errors.FallbackWarning")
@pytest.mark.parametrize("name", ["uint8", "image", "pixels", "part of pixels", "channels last", "batch", "turned"])
@pytest.mark.parametrize("around", AROUND)
def test_noise_follows_the_order_in_memory(around, name):
    """Of layers that change it torchvision's own results tell: numbers are drawn in the order of memory."""
    transforms, image = AROUND[around], IMAGES[name]
    if around == "behind an equalizing" and name == "channels last":
        pytest.skip("floats become levels there, which noise may move by one")
    learned = lt.LearnedCompose(transforms)
    for seed in range(4):
        seeded(seed)
        expected = image()
        for transform in transforms:
            expected = transform(expected)
        state = states()
        seeded(seed)
        found = learned(image())
        assert states() == state
        compare(found, expected, "exact" if "resize" not in around and "crop" not in around else "rounding")


@pytest.mark.parametrize(
    "transforms",
    [
        [v2.ToImage(), TO_FLOAT, v2.GaussianNoise(), v2.Normalize(MEAN, STD)],
        [v2.RandomHorizontalFlip(), v2.PILToTensor(), v2.GaussianNoise()],
        [v1.ToTensor(), v1.Normalize(MEAN, STD), v2.GaussianNoise(clip=False)],
        [v2.Grayscale(), v2.ToImage(), v2.GaussianNoise(), v2.ToPILImage()],
        [v2.ToImage(), TO_FLOAT, v2.RandomErasing(0.6), v2.GaussianNoise(), v2.GaussianNoise()],
    ],
)
def test_noise_in_what_was_a_pil_image(transforms):
    learned = check(transforms, IMAGES["pil"])
    rows = [row for row in learned.explain("pil").rows if "GaussianNoise" in row.transform]
    assert {(row.layer, row.reason) for row in rows} == {("torch's noise", "")}
    assert rows[0].numbers == dict.fromkeys(("mean", "sigma", "clip"), "given")


def test_orders_that_transforms_keep():
    """The table says of tensors of either order what torchvision does to them."""
    made = {
        v2.RandomErasing: [v2.RandomErasing(1), v2.RandomErasing(0)],
        v1.RandomErasing: [v1.RandomErasing(1), v1.RandomErasing(0)],
        **{api.Normalize: [api.Normalize(MEAN, STD)] for api in (v1, v2)},
        **{api.ConvertImageDtype: [api.ConvertImageDtype(torch.float32)] for api in (v1, v2)},
        v2.ToDtype: [TO_FLOAT],
    }
    # v1.PILToTensor takes no tensors.
    for kind in (kind for kind, spec in SPECS.items() if spec.keeps_order and kind is not v1.PILToTensor):
        for transform in made[kind] if kind in made else [kind()]:
            for name in ("pixels", "float pixels", "channels last", "part of pixels"):
                if "Normalize" in kind.__name__ and "float" not in name:
                    continue
                kept = transform(IMAGES[name]())
                assert torch.empty_like(kept).movedim(-3, -1).is_contiguous(), (transform, name)


def test_samples_of_several_images():
    transforms = [v2.RandomHorizontalFlip(), TO_FLOAT, v2.GaussianNoise()]
    for make in (tv_tensors.Image, lambda x: tv_tensors.Image(layout.by_pixels(x))):
        sample = {"a": make(image_of(3, SIZE)), "label": 3, "b": make(image_of(3, SIZE, 1))}
        for seed in range(4):
            seeded(seed)
            expected = v2.Compose(transforms)(sample)
            seeded(seed)
            found = lt.LearnedCompose(transforms, fallback="error")(sample)
            for name in ("a", "b"):
                compare(found[name], expected[name], "exact")


@APIS
@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("value", ["random", 7])
def test_parts_of_noise_and_in_place(api, name, inplace, value):
    if api is v1 and name in ("pil", "image"):
        pytest.skip("v1 erases plain tensors")
    erase = api.RandomErasing(0.7, value=value, inplace=inplace)
    check([erase], IMAGES[name])
    if name != "tiny":
        check([api.RandomErasing(0.7, scale=(1, 1), ratio=(0.8, 0.8), value=value, inplace=inplace)], IMAGES[name])
        check([api.RandomErasing(1, scale=(0, 0), value=value, inplace=inplace)], IMAGES[name], seeds=1)
        check([erase, api.RandomHorizontalFlip()], IMAGES[name])


@APIS
def test_the_usual_recipes_erase_without_a_fallback(api):
    start = (
        [v1.RandomHorizontalFlip(), v1.ToTensor()] if api is v1 else [v2.RandomHorizontalFlip(), v2.ToImage(), TO_FLOAT]
    )
    for inplace in (False, True):
        erase = api.RandomErasing(0.6, value="random", inplace=inplace)
        check([*start, api.Normalize(MEAN, STD), erase], IMAGES["pil"])
        check([*start, erase, api.Normalize(MEAN, STD, inplace)], IMAGES["pil"])


@pytest.mark.filterwarnings("ignore::learned_transforms.errors.FallbackWarning")
@APIS
def test_the_image_behind_a_view_is_changed(api):
    """A crop of torchvision's is a view of its input, which a transform in place writes to."""
    for transforms in (
        [api.CenterCrop(30), api.RandomErasing(1, inplace=True)],
        [api.RandomErasing(1, inplace=True, value=2), api.Normalize(MEAN, STD, True)],
    ):
        ours, theirs = IMAGES["float32"](), IMAGES["float32"]()
        seeded(0)
        expected = v2.Compose(transforms)(theirs)
        seeded(0)
        compare(lt.LearnedCompose(transforms)(ours), expected, "exact")
        assert ours.equal(theirs)


@APIS
def test_gradients_of_what_is_written_over(api):
    for inplace in (False, True):
        for leaf in (True, False):
            image = IMAGES["float32"]().requires_grad_()
            learned = lt.LearnedCompose([api.RandomErasing(1, value="random", inplace=inplace)], fallback="error")
            if inplace and leaf:  # As torchvision: torch refuses it.
                with pytest.raises(RuntimeError, match="leaf Variable"):
                    learned(image)
                continue
            learned(image if leaf else image * 1).sum().backward()
            assert set(image.grad.unique().tolist()) == {0, 1}


@APIS
def test_noise_under_another_default_dtype(api):
    torch.set_default_dtype(torch.float64)
    try:
        check([api.RandomErasing(0.8, value="random")], IMAGES["float32"])
        with pytest.raises(UnsupportedTransformError, match="default dtype"):
            lt.LearnedCompose([api.RandomErasing(1, value="random")]).make_params(IMAGES["float32"]())
    finally:
        torch.set_default_dtype(torch.float32)


PLAYED = {
    "noise": ([TO_FLOAT, v2.GaussianNoise(), v2.RandomHorizontalFlip()], "uint8"),
    "part, v1": ([v1.RandomErasing(1, value="random")], "float32"),
    "part, v2": ([v2.RandomErasing(1, value="random"), v2.RandomVerticalFlip()], "uint8"),
    "part of a PIL image": ([v2.RandomErasing(1, value="random")], "pil"),
    "codec": ([v2.JPEG((5, 95)), v2.RandomHorizontalFlip()], "uint8"),
    "container": ([v2.RandomApply([v2.GaussianNoise()], 0.5)], "float32"),
}


@pytest.mark.parametrize("name", PLAYED)
def test_what_was_drawn_is_played_back(name):
    transforms, kind = PLAYED[name]
    learned, image = lt.LearnedCompose(transforms, fallback="error"), IMAGES[kind]()
    for seed in range(3):
        seeded(seed)
        expected = learned(image)
        seeded(seed)
        params = json.loads(json.dumps(learned.make_params(image)))
        seeded(99)
        state = states()
        compare(learned(image, params=params), expected, "exact")
        assert states() == state, "nothing is drawn where params are given"


def test_params_that_do_not_fit():
    image = IMAGES["float32"]()
    noisy, erasing, coded = (
        lt.LearnedCompose([t]) for t in (v2.GaussianNoise(), v2.RandomErasing(1, value="random"), v2.JPEG(50))
    )
    for entry in ({}, None, {"state": 3}, {"state": "no state"}, {"state": "AAAA"}, {"mean": 0}):
        with pytest.raises(PipelineValueError, match="make_params"):
            noisy(image, params=[entry])
    place = {"i": 0, "j": 0, "h": 2, "w": 2}
    for entry in ({**place, "v": "no state"}, place, {**place, "v": 3}):
        with pytest.raises(PipelineValueError, match="make_params"):
            erasing(image, params=[entry])
    with pytest.raises(PipelineValueError, match="Expected params"):
        lt.LearnedCompose([v2.RandomErasing(1)])(image, params=[{**place, "v": erasing.make_params(image)[0]["v"]}])
    for entry in ({"quality": 0}, {"quality": 5.0}, {"quality": True}, {}):
        with pytest.raises(PipelineValueError, match="quality"):
            coded(IMAGES["uint8"](), params=[entry])


def test_each_image_of_a_batch_draws_for_itself():
    batch = IMAGES["batch"]()
    for transforms in ([TO_FLOAT, v2.GaussianNoise()], [v2.RandomErasing(0.7, value="random")], [v2.JPEG((5, 95))]):
        seeded(1)
        expected = torch.stack([v2.Compose(transforms)(image) for image in batch])
        seeded(1)
        compare(lt.LearnedCompose(transforms, fallback="error")(batch, per_sample=True), expected, "exact")


def test_noise_from_a_generator_of_ones_own():
    image, learned = IMAGES["float32"](), lt.LearnedCompose([v2.GaussianNoise(), v2.RandomErasing(1, value="random")])
    seeded(5)
    expected = learned(image)
    state = states()
    assert learned(image, generator=torch.Generator().manual_seed(5)).equal(expected)
    assert states() == state


def test_noise_that_torchvision_refuses():
    for transform, name, advice in (
        (v2.GaussianNoise(), "pil", "ToImage"),
        (v2.GaussianNoise(sigma=-1), "float32", "at least 0"),
        (v2.JPEG(50), "float32", "uint8"),
        (v2.JPEG(50), "two channels", "1 or 3"),
        (v2.UniformTemporalSubsample(3), "uint8", "T, C, H, W"),
    ):
        refused = refusal([transform], IMAGES[name](), 0)
        with pytest.raises(type(refused), match=advice) as ours:
            lt.LearnedCompose([transform], fallback="error")(IMAGES[name]())
        assert isinstance(ours.value, OperationError)


def test_errors_of_a_part_that_is_told_apart():
    """A GaussianNoise whose class was altered is the user's, not torch's."""
    altered = v2.GaussianNoise()
    altered.transform = lambda inpt, params: inpt + 1
    image = IMAGES["float32"]()
    with pytest.warns(FallbackWarning, match="transform was replaced"):
        learned = lt.LearnedCompose([altered])
    assert learned(image).equal(image + 1)


class Stronger(v2.GaussianNoise):
    """A plain subclass."""

    def __init__(self):
        super().__init__(sigma=0.5)


def test_subclasses_and_changes_count():
    learned = check([Stronger()], IMAGES["float32"])
    learned.transforms[0].sigma = 0.0
    assert learned(IMAGES["float32"]()).equal(IMAGES["float32"]())


@pytest.mark.parametrize("name", ["pil", "uint8", "image", "pixels", "part", "gray", "batch", "deep"])
def test_jpeg_by_the_codec_that_torchvision_calls(name):
    if name == "deep":
        transforms, image = [v2.ToDtype(torch.uint8, scale=True), v2.JPEG(30)], IMAGES[name]
    else:
        transforms, image = [v2.RandomHorizontalFlip(), v2.JPEG((5, 95)), v2.RandomVerticalFlip()], IMAGES[name]
    check(transforms, image)
    for kind, expected in (("pil", "Pillow's libjpeg"), ("uint8", f"torchvision {torchvision.__version__}")):
        row = lt.LearnedCompose([v2.JPEG(50)]).explain(kind).rows[0]
        assert row.layer.startswith(expected)
        assert any(letter.isdigit() for letter in row.layer), "with its version"


def test_videos_are_thinned():
    frames = torch.randint(0, 256, (9, 3, *SIZE), dtype=torch.uint8)
    for video in (tv_tensors.Video(frames), frames, tv_tensors.Video(frames[None]), tv_tensors.Video(frames.float())):
        for count in (1, 4, 9, 12):
            check([v2.UniformTemporalSubsample(count)], video.clone, seeds=1)
    sample = {"video": tv_tensors.Video(frames), "label": 3}
    made = lt.LearnedCompose([v2.UniformTemporalSubsample(4)], fallback="error")(sample)
    compare(made["video"], v2.UniformTemporalSubsample(4)(sample)["video"], "exact")


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.int32, torch.int64, torch.uint16])
@pytest.mark.parametrize("scale", [False, True])
def test_other_dtypes_at_the_end(dtype, scale):
    for name in ("uint8", "float32", "image"):
        transforms = [v2.RandomHorizontalFlip(), v2.ToDtype(dtype, scale=scale)]
        if refusal(transforms, IMAGES[name](), 0) is not None:  # Floats lack the digits of large integers.
            continue
        learned = check(transforms, IMAGES[name], seeds=2)
    row = learned.explain("uint8").rows[-1]
    assert (row.layer, row.reason) == ("Lookup" if dtype is torch.float16 else "torch", "")


def test_noise_is_filled_in_as_torch_fills_it():
    image = torch.rand(3, *SIZE)
    seeded(1)
    expected = image.clone()
    expected[:, 3:13, 4:24] = torch.empty((3, 10, 20)).normal_()
    seeded(1)
    made = noise.fill_with_noise(image, 3, 4, 10, 20)
    assert made is image
    assert made.equal(expected)


def test_pipelines_with_noise_are_saved(tmp_path):
    transforms = [v2.GaussianNoise(0.1, 0.2, False), v2.JPEG([3, 50]), v2.UniformTemporalSubsample(2)]
    lt.LearnedCompose(transforms).save_pretrained(tmp_path / "a.safetensors")
    restored = lt.LearnedCompose.from_pretrained(tmp_path / "a.safetensors").transforms
    assert [str(one) for one in restored] == [str(one) for one in transforms]


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_traced_noise_is_drawn_anew():
    image = IMAGES["float32"]()
    traced = torch.jit.trace(lt.LearnedCompose([v2.GaussianNoise()], fallback="error"), image, check_trace=False)
    for seed in (2, 3):
        seeded(seed)
        expected = v2.GaussianNoise()(image)
        seeded(seed)
        compare(traced(image), expected, "exact")
