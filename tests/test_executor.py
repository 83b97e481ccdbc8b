"""How values go through a pipeline: what runs outside gets what Compose would hand it, and layers go on behind it."""

import dataclasses
import io
from collections import namedtuple
from typing import Any

import numpy as np
import pytest
import torch
import torchvision.transforms as v1
from helpers import REFUSALS, Unknown, UnknownV1, image_of, meant, seeded, states, to_pil, values
from PIL import Image
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten
from torchvision import tv_tensors
from torchvision.transforms import v2

import learned_transforms as lt
from learned_transforms.kernels import cpu
from learned_transforms.runtime.executor import Run
from learned_transforms.transforms.spec import PILLOWS

LEVELS = image_of(3, (40, 50))
PIL = to_pil(LEVELS)
ARRAY = LEVELS.permute(1, 2, 0).contiguous().numpy()
BOXES = tv_tensors.BoundingBoxes(torch.tensor([[3, 4, 20, 30]]), format="XYXY", canvas_size=(40, 50))
MASK = tv_tensors.Mask(torch.randint(0, 4, (1, 40, 50), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)))
VIDEO = tv_tensors.Video(torch.stack([LEVELS, 255 - LEVELS]))


def png() -> bytes:
    file = io.BytesIO()
    PIL.save(file, "PNG")
    return file.getvalue()


def decode(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data)).convert("RGB")


@dataclasses.dataclass
class Record:
    image: Any
    label: int


Pair = namedtuple("Pair", ["image", "label"])


class Wrapped(Tensor):
    pass


def same(found: Any, expected: Any) -> None:
    (ours, structure), (theirs, wanted) = tree_flatten(found), tree_flatten(expected)
    assert structure == wanted
    for one, other in zip(ours, theirs, strict=True):
        assert type(one) is type(other)
        if isinstance(other, Tensor | Image.Image | np.ndarray):
            assert getattr(one, "dtype", None) == getattr(other, "dtype", None)
            assert values(one).shape == values(other).shape
            assert (values(one) - values(other)).abs().max() <= 1e-6 * max(1, values(other).abs().max())
        elif dataclasses.is_dataclass(other):
            same(one.image, other.image)
        else:
            assert one == other


def agree(transforms: list[Any], value: Any, api: Any = v2, calls: int = 3) -> None:
    """The result and the random state of torchvision's Compose, call after call, or an exception of its type."""
    ours = lt.LearnedCompose(transforms, fallback="torchvision")
    for call in range(calls):
        seeded(call)
        try:
            expected, refused = api.Compose(transforms)(value), None
        except REFUSALS as error:
            expected, refused = None, error
        if refused is not None:
            seeded(call)
            with pytest.raises(type(refused)) as found:
                ours(value)
            assert meant(found.value, refused)
            continue
        state = states()
        seeded(call)
        same(ours(value), expected)
        assert states() == state


END = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]
OUTSIDE = {
    "vector": ([v1.ToTensor(), v1.Normalize([0.5], [0.5]), torch.flatten], PIL, v1),
    "channel": ([v1.ToTensor(), lambda image: image[0], v1.CenterCrop(9)], PIL, v1),
    "number": ([v2.Resize(9), lambda image: float(image.float().mean()), v2.RandomHorizontalFlip()], LEVELS, v2),
    "list": ([v2.Resize(20), lambda image: [image, image.flip(-1)], v2.RandomInvert()], LEVELS, v2),
    "nothing": ([lambda image: None, v2.Resize(9)], LEVELS, v2),
    "bytes": ([decode, v1.Resize(20), v1.RandomHorizontalFlip(), v1.ToTensor()], png(), v1),
    "record": ([lambda record: record.image, v1.Resize(20), v1.ToTensor()], Record(PIL, 3), v1),
    "sample": ([lambda sample: sample["image"], v2.Resize(20), *END], {"image": PIL, "label": 3}, v2),
    "into a sample": ([v2.Resize(20), lambda image: {"image": image, "label": 3}, *END], PIL, v2),
    "other mode": ([lambda image: image.convert("RGB"), v1.Resize(20), v1.ToTensor()], PIL.convert("RGBA"), v1),
    "through another mode": (
        [v1.Resize(30), lambda image: image.convert("HSV"), lambda image: image.convert("RGB"), v1.ToTensor()],
        PIL,
        v1,
    ),
    "other dtype": ([v2.ToDtype(torch.float64, scale=True), lambda image: image.float(), v2.Resize(20)], LEVELS, v2),
    "warped": ([v2.Resize(30), Unknown(20.0, 1.0), v2.RandomHorizontalFlip(), *END], PIL, v2),
}


@pytest.mark.parametrize("name", OUTSIDE)
def test_what_runs_outside_gives_what_it_likes(name):
    agree(*OUTSIDE[name])


@pytest.mark.parametrize("name", ["bytes", "record", "sample", "other mode", "through another mode", "other dtype"])
def test_layers_go_on_behind(name):
    transforms, value, _ = OUTSIDE[name]
    ours = lt.LearnedCompose(transforms, fallback="torchvision")
    ours(value)
    ran = ours.segments.values()
    assert max(segment.stop for segment in ran if segment.draws.leaves) == len(transforms)


ARRAYS = {
    "float32 HW": ([v1.ToTensor(), v1.Normalize([0.5], [0.5])], ARRAY[..., 0].astype(np.float32), v1),
    "float64 HWC": ([v1.ToTensor(), v1.Resize(10)], ARRAY / 255, v1),
    "uint16 HW": ([v1.ToTensor()], ARRAY[..., 0].astype(np.uint16), v1),
    "float32 ToImage": ([v2.ToImage(), v2.Resize(10)], ARRAY.astype(np.float32), v2),
    "float32 ToPILImage": ([v1.ToPILImage(), v1.Resize(10), v1.ToTensor()], ARRAY[..., :1].astype(np.float32), v1),
    "int16 into v2": ([v2.Resize(10)], ARRAY.astype(np.int16), v2),
    "int16 into v1": ([v1.Resize(10)], ARRAY.astype(np.int16), v1),
    "fromarray": ([Image.fromarray, v1.Resize(10), v1.ToTensor()], ARRAY, v1),
    "own function": ([lambda array: array[::2, :, ::-1].copy(), v1.ToTensor(), v1.Resize(10)], ARRAY, v1),
    "statistics": ([np.mean], ARRAY, v1),
    "v2 Lambda": ([v2.Lambda(lambda array: array.shape)], ARRAY, v2),
    "within": ([v2.RandomApply([v2.Lambda(lambda array: array[:7])], p=0.5), np.sum], ARRAY, v2),
    "masked": ([v2.Resize(10)], np.ma.masked_array(ARRAY, ARRAY > 9), v2),
    "masked into v1": ([v1.Resize(10)], np.ma.masked_array(ARRAY, ARRAY > 9), v1),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays(name):
    agree(*ARRAYS[name])


def test_functions_between_layers_take_arrays_as_arrays():
    seen = []

    def look(array):
        seen.append((type(array), array.shape, array.dtype))
        return array[:, ::-1]

    ours = lt.LearnedCompose([v2.Resize((20, 30)), look, v2.CenterCrop(9)], fallback="torchvision")
    expected = v2.Compose([v2.Resize((20, 30)), lambda image: image.flip(-1), v2.CenterCrop(9)])(LEVELS)
    found = ours(ARRAY)
    assert seen == [(np.ndarray, (20, 30, 3), np.uint8)]
    assert isinstance(found, np.ndarray)
    assert torch.from_numpy(found).permute(2, 0, 1).equal(expected)


SAMPLES = {
    "arrays": {"image": tv_tensors.Image(LEVELS), "label": np.array([1, 4]), "id": "a7", "score": np.float32(0.5)},
    "array image": {"image": ARRAY, "label": 3},
    "boxes": {"boxes": BOXES, "labels": torch.tensor([1])},
    "only labels": {"labels": [1, 2], "name": "x"},
    "mask": MASK,
    "video": VIDEO,
    "video and mask": (VIDEO, MASK),
    "none": {"image": PIL, "boxes": None, "empty": []},
    "pair": Pair(PIL, 3),
    "dataclass": Record(PIL, 3),
    "subclass and mask": (LEVELS.as_subclass(Wrapped), MASK),
    "parameter and mask": (nn.Parameter(LEVELS / 255), MASK),
    "subclass": LEVELS.as_subclass(Wrapped),
    "tensors": (LEVELS, LEVELS.flip(-1), 3),
    "pil and tensor": (PIL, LEVELS),
    "gray and color": (PIL, PIL.convert("L")),
    "float and uint8": (tv_tensors.Image(LEVELS), tv_tensors.Image(LEVELS / 255)),
}


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.filterwarnings("ignore:.*`labels_getter`.*:UserWarning")
def test_samples(name):
    for transforms in (
        [v2.Resize((20, 30)), v2.RandomHorizontalFlip()],
        [v2.RandomResizedCrop(20), v2.ColorJitter(0.4), v2.RandomVerticalFlip()],
        [v2.RandomHorizontalFlip(), *END],
        [v2.ToPureTensor(), v2.Resize(9)],
    ):
        agree(transforms, SAMPLES[name])
    agree([v1.Resize(20)], SAMPLES[name], v1)


@pytest.mark.filterwarnings("ignore:The transform `ToTensor:UserWarning")
def test_the_old_conversion():
    agree([v2.ToTensor()], (ARRAY, PIL, 3))
    agree([v2.RandomHorizontalFlip(), v2.ToTensor()], {"image": PIL, "mask": ARRAY})
    agree([v2.ToTensor(), v2.RandomPosterize(3, p=1)], PIL)


def test_several_inputs_of_no_transforms_and_of_v1():
    assert lt.LearnedCompose(v1.Compose([]))(PIL) is PIL
    with pytest.raises(TypeError):
        lt.LearnedCompose([v1.Resize(20)])(PIL, 3)


def test_explain_tells_what_ran():
    ours = lt.LearnedCompose(
        [lambda image: image.convert("L").copy(), v1.Resize(20), UnknownV1(9.0, 1.0)], fallback="torchvision"
    )
    ours(PIL)
    rows = ours.explain("pil").rows
    assert [(row.layer, bool(row.reason)) for row in rows] == [
        ("torchvision", True),
        ("Resampling", False),
        ("torchvision", True),
    ]
    # A function that makes tensors: what comes behind is told of those.
    ours = lt.LearnedCompose([v1.functional.pil_to_tensor, v1.Resize(20, antialias=False)], fallback="torchvision")
    assert "antialias" not in ours.explain("pil").rows[1].numbers
    ours(PIL)
    assert ours.explain("pil").rows[1].numbers["antialias"] == "given"


def test_where_only_the_reference_could_run_torchvision_does(monkeypatch):
    monkeypatch.setattr(cpu, "MISSING", "the native extension is not there. Install a C++ compiler")
    ours = lt.LearnedCompose([v2.Resize(20), v2.RandomHorizontalFlip()])
    with pytest.warns(lt.errors.FallbackWarning, match=r"C\+\+ compiler") as caught:
        ours(LEVELS)
    assert len(caught) == 1
    agree(ours.transforms, LEVELS)
    assert all("compiler" in row.reason for row in ours.explain("uint8").rows)
    asked = lt.LearnedCompose(ours.transforms, backend="reference", fallback="error")
    seeded(0)
    expected = v2.Compose(ours.transforms)(LEVELS)
    seeded(0)
    assert asked(LEVELS).equal(expected)
    assert not any(row.reason for row in asked.explain("uint8").rows)
    ours.unfreeze()
    assert ours(LEVELS).dtype == torch.float32


def test_without_a_fast_backend_one_warning_names_everything(monkeypatch):
    monkeypatch.setattr(cpu, "MISSING", "the native extension is not there")
    learned = lt.LearnedCompose([v2.RandomApply([v2.ColorJitter(0.4)], 1), v2.RandomChoice([v2.Resize(9)]), *END])
    with pytest.warns(lt.errors.FallbackWarning) as caught:
        learned(LEVELS)
    assert len(caught) == 1
    assert all(name in str(caught[0].message) for name in ("RandomApply", "RandomChoice", "ToDtype"))


def test_memory_is_bounded_by_bytes(monkeypatch):
    """Compiled calls are dropped when together they hold too much, and images go on being right."""
    ours = lt.LearnedCompose([v2.Resize((20, 30)), v2.RandomHorizontalFlip()])
    held = []
    monkeypatch.setattr(ours.budget, "most", 2**17)
    for n in range(60):
        image = image_of(3, (40 + n, 50))
        seeded(n)
        expected = v2.Compose(ours.transforms)(image)
        seeded(n)
        assert ours(image).equal(expected)
        held.append((ours.budget.spent, len(ours.runs)))
    assert max(spent for spent, _ in held) <= 2**17
    assert max(lanes for _, lanes in held) < 60
    assert min(lanes for _, lanes in held[20:]) < 20


def test_wholly_foreign_pipelines_hand_on_what_comes():
    """The very objects, whatever they are; and layers run once there is one for what is added."""
    seen = []

    def look(value):
        seen.append(value)
        return value

    learned = lt.LearnedCompose([look, Doubled()], fallback="torchvision")
    array = np.zeros((3, 4, 3), np.uint8)
    for value in (array, {"a": 1}, None, "text", torch.zeros(3, 4, 5), Image.new("RGB", (4, 3))):
        made, behind = learned(value)
        assert (made, behind is value, seen[-1] is value) == ("doubled", True, True)
    learned.transforms = [look, v2.Resize((2, 2))]
    assert learned(torch.zeros(3, 4, 5)).shape == (3, 2, 2)
    assert "Resampling" in str(learned.explain("float32"))


class Doubled:
    def __call__(self, value):
        return "doubled", value


def test_without_a_fast_backend_later_images_go_straight_to_torchvision(monkeypatch):
    monkeypatch.setattr(cpu, "MISSING", "the native extension is not there")
    learned = lt.LearnedCompose([v2.Resize(20), v2.RandomHorizontalFlip(), v2.RandomApply([v2.ColorJitter(0.4)]), *END])
    learned(torch.zeros(0, 3, 40, 30, dtype=torch.uint8))  # Of which nothing is told, so that the next one must be.
    with pytest.warns(lt.errors.FallbackWarning):
        learned(LEVELS)
    monkeypatch.setattr(Run, "go", lambda run: pytest.fail("looked at transform by transform"))
    for image in (LEVELS, LEVELS[..., 3:].contiguous(), LEVELS.flip(1)):
        seeded(3)
        expected, state = v2.Compose(learned.transforms)(image), states()
        seeded(3)
        same(learned(image), expected)
        assert states() == state


def test_without_a_fast_backend_what_may_change_devices_is_looked_at(monkeypatch):
    monkeypatch.setattr(cpu, "MISSING", "the native extension is not there")
    learned = lt.LearnedCompose([v2.Resize(20), v2.Lambda(lambda image: image)], fallback="torchvision")
    for _ in range(2):
        learned(LEVELS)
    assert not learned.elsewhere


SLIGHT = {
    "nearest": [v2.Resize((9, 12), v2.InterpolationMode.NEAREST)],
    "flips": [v1.RandomHorizontalFlip(), v1.RandomVerticalFlip()],
    "crops": [v2.RandomCrop(20, padding=3, padding_mode="reflect"), v2.CenterCrop(9)],
    "gray": [v2.RandomApply([v2.RandomHorizontalFlip()]), v2.Grayscale(1)],
}


@pytest.mark.parametrize("transforms", SLIGHT.values(), ids=SLIGHT)
def test_pillow_runs_what_it_does_faster_to_its_own_images(transforms, monkeypatch):
    learned = lt.LearnedCompose(transforms, fallback="error")
    for _ in range(2):  # Before a call, and behind it.
        assert {row.reason for row in learned.explain("pil").rows} == {PILLOWS}
        assert not any(row.reason for row in learned.explain("uint8").rows)
        agree(transforms, PIL, (type(transforms[0]).__module__.startswith("torchvision.transforms.v2") and v2) or v1)
        learned(PIL)
    params = learned.make_params(PIL)
    assert learned(PIL, params=params).tobytes() == learned(PIL, params=params).tobytes()
    monkeypatch.setattr(Run, "go", lambda run: pytest.fail("looked at transform by transform"))
    for image in (PIL, PIL.rotate(90), PIL.crop((0, 0, 40, 40))):
        seeded(1)
        expected, state = v1.Compose(transforms)(image), states()
        seeded(1)
        same(learned(image), expected)
        assert states() == state


@pytest.mark.parametrize(
    "more", [[v1.ToTensor()], [v1.ColorJitter(0.4)], [v1.Resize(9)]], ids=["tensor", "jitter", "resize"]
)
def test_with_more_than_copies_layers_run_all(more):
    learned = lt.LearnedCompose([v1.RandomHorizontalFlip(), *more], fallback="error")
    learned(PIL)
    assert not any(row.reason for row in learned.explain("pil").rows)
    asked = lt.LearnedCompose([v1.RandomHorizontalFlip()], backend="cpu")
    assert [row.layer for row in asked.explain("pil").rows] == ["Flipping"]
