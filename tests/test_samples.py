"""Samples of images, masks, boxes, keypoints, videos and labels: as v2's Compose, whatever comes together."""

import copy
import itertools
import json
import os
import sys
import warnings
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest
import torch
from generated_check import Outcome, compare, compare_memory, compare_outcomes, states
from helpers import PACKAGE, noise, to_pil
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torchvision import tv_tensors
from torchvision.transforms import v2

import learned_transforms as lt
from learned_transforms.errors import InputShapeError, InputTypeError, PipelineValueError
from learned_transforms.transforms.places import RandomIoUCrop
from learned_transforms.transforms.spec import Seen

DTYPES = (torch.uint8, torch.bool, torch.int8, torch.int16, torch.int32, torch.int64, torch.float32, torch.float16)
FORMATS = ("XYXY", "XYWH", "CXCYWH", "XYWHR", "CXCYWHR", "XYXYXYXY")
MODES = ("soft", "hard", None)
FILL = {tv_tensors.Mask: 1, "others": 7}

CROPS = (
    lambda: v2.RandomCrop((20, 24), pad_if_needed=True, fill=FILL),
    lambda: v2.RandomCrop((24, 20), padding=[3, 5], pad_if_needed=True, fill={tv_tensors.Mask: 0, "others": [1, 2, 3]}),
    lambda: v2.RandomCrop(16, pad_if_needed=True, padding_mode="edge"),
    lambda: v2.RandomResizedCrop((18, 22)),
    lambda: v2.RandomIoUCrop(),
    lambda: v2.RandomIoUCrop(min_scale=0.6, sampler_options=[0.1, 0.3, 1.0], trials=5),
)
SIZES = (
    lambda: v2.RandomShortestSize([15, 22, 31], max_size=40),
    lambda: v2.RandomShortestSize(17),
    lambda: v2.RandomResize(14, 33),
    lambda: v2.ScaleJitter((30, 26), scale_range=(0.4, 1.6)),
    lambda: v2.ScaleJitter((30, 30), interpolation="nearest-exact"),
    lambda: v2.Resize(None, max_size=27),
    lambda: v2.Resize(21, max_size=25),
    lambda: v2.Resize((19, 23), interpolation=v2.InterpolationMode.NEAREST),
    lambda: v2.RandomZoomOut(fill=FILL, p=0.7),
    lambda: v2.RandomZoomOut(fill=[9.5, 8, 7], side_range=(1, 1.5)),
    lambda: v2.Pad((3, 1), fill=FILL),
    lambda: v2.Pad(2, padding_mode="symmetric"),
    lambda: v2.CenterCrop((20, 18)),
)
OTHERS = (
    lambda: v2.RandomHorizontalFlip(),
    lambda: v2.RandomVerticalFlip(),
    lambda: v2.RandomPhotometricDistort(),
    lambda: v2.ColorJitter(0.3, 0.3),
    lambda: v2.RandomGrayscale(0.5),
    lambda: v2.RandomErasing(0.6),
    lambda: v2.SanitizeBoundingBoxes(),
    lambda: v2.SanitizeBoundingBoxes(min_size=4, min_area=20, labels_getter=None),
    lambda: v2.SanitizeBoundingBoxes(labels_getter=lambda sample: (sample[1]["labels"], sample[1]["area"])),
    lambda: v2.SanitizeBoundingBoxes(labels_getter=lambda sample: (sample[1]["labels"], sample[1]["masks"])),
    lambda: v2.SanitizeKeyPoints(),
    lambda: v2.ClampBoundingBoxes(),
    lambda: v2.ClampBoundingBoxes("hard"),
    lambda: v2.ClampKeyPoints(),
    lambda: v2.SetClampingMode("hard"),
    lambda: v2.ConvertBoundingBoxFormat("CXCYWH"),
    lambda: v2.ToImage(),
    lambda: v2.ToDtype(torch.float32, scale=True),
    lambda: v2.ToDtype({tv_tensors.Mask: torch.int64, tv_tensors.Image: torch.float32, "others": None}, scale=True),
    lambda: v2.ToDtype({tv_tensors.Mask: torch.float32, "others": None}),
    lambda: v2.ConvertImageDtype(torch.float32),
    lambda: v2.Normalize([0.5], [0.5]),
    lambda: v2.ToPureTensor(),
    lambda: v2.Identity(),
    lambda: v2.RandomApply([v2.RandomZoomOut(p=1.0), v2.RandomHorizontalFlip()]),
    lambda: v2.RandomChoice([v2.RandomShortestSize(20), v2.RandomIoUCrop(), v2.RandomVerticalFlip()]),
)


@st.composite
def pipelines(draw: Any) -> list[Any]:
    any_of = st.sampled_from(CROPS) | st.sampled_from(SIZES) | st.sampled_from(OTHERS)
    return [make() for make in draw(st.lists(any_of, min_size=1, max_size=6))]


def boxes(count: int, form: str, size: tuple[int, int], mode: str | None, dtype: torch.dtype, seed: int) -> Any:
    height, width = size
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(count, 4, generator=generator) * torch.tensor([width, height] * 2) * 1.1
    corners[:, 2:] = corners[:, :2] + corners[:, 2:] * 0.6
    rotated = tv_tensors.is_rotated_bounding_format(form)
    if rotated:
        angles = torch.rand(count, 1, generator=generator) * 90 - 45
        values, first = torch.cat([corners[:, :2], corners[:, 2:] - corners[:, :2], angles], 1), "XYWHR"
    else:
        values, first = corners, "XYXY"
    made = v2.functional.convert_bounding_box_format(values, old_format=first, new_format=form)
    return tv_tensors.BoundingBoxes(
        made if rotated else made.to(dtype), format=form, canvas_size=size, clamping_mode=mode
    )


@st.composite
def samples(draw: Any) -> tuple[Any, ...]:
    size = draw(st.sampled_from([(26, 34), (40, 22), (31, 31), (12, 45)]))
    count, seed = draw(st.integers(0, 4)), draw(st.integers(0, 99))
    kind = draw(st.sampled_from(["pil", "gray", "image", "tensor", "video", "both"]))
    image = noise(1, size)[0]
    first: Any = {
        "pil": lambda: to_pil(image),
        "gray": lambda: to_pil(image[:1]),
        "image": lambda: tv_tensors.Image(image),
        "tensor": lambda: image,
        "video": lambda: tv_tensors.Video(noise(3, size)),
        "both": lambda: to_pil(image),
    }[kind]()
    dtype = draw(st.sampled_from(DTYPES))
    generator = torch.Generator().manual_seed(seed)
    highest = 2 if dtype is torch.bool else draw(st.sampled_from([2, 100, 2**26 if dtype.itemsize > 2 else 100]))
    flat = draw(st.sampled_from([False, False, True]))
    shape = size if flat else (count, *size)
    masks = torch.randint(0, highest, shape, generator=generator).to(dtype)
    if draw(st.booleans()):
        masks = masks.mT.contiguous().mT
    form, mode = draw(st.sampled_from((*FORMATS[:3] * 2, *FORMATS))), draw(st.sampled_from(MODES))
    target = {
        "boxes": boxes(count, form, size, mode, draw(st.sampled_from([torch.float32, torch.int64])), seed),
        "labels": torch.arange(count),
        "masks": tv_tensors.Mask(masks),
        "area": torch.rand(count, generator=generator),
        "points": tv_tensors.KeyPoints(torch.rand(count, 2, generator=generator) * 30, canvas_size=size),
        "id": 7,
    }
    if kind == "both":
        target["clip"] = tv_tensors.Video(noise(2, size))
    for name in draw(st.lists(st.sampled_from(sorted(target)), max_size=2)):
        target.pop(name, None)
    return first, target


def outcome(compose: Any, inputs: tuple[Any, ...], seed: int) -> Outcome:
    found = Outcome(copy.deepcopy(inputs))
    torch.manual_seed(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found.value = compose(*found.given)
        except Exception as error:  # of whatever type: it is compared
            found.raised = error
    found.states = states()
    return found


@settings(max_examples=int(os.environ.get("LT_EXAMPLES", "60")), deadline=None, suppress_health_check=list(HealthCheck))
@given(pipelines(), samples(), st.integers(0, 99))
def test_samples_come_out_as_v2_has_them(transforms: list[Any], inputs: tuple[Any, ...], seed: int) -> None:
    """Values, types, what boxes lie on, exceptions, random state, and memory that is shared, call after call."""
    learned, compose = lt.LearnedCompose(transforms, fallback="torchvision"), v2.Compose(transforms)
    for number in range(3):
        ours, theirs = outcome(learned, inputs, seed + number), outcome(compose, inputs, seed + number)
        compare_outcomes(ours, theirs, 0, f"call {number}")
        if theirs.raised is None:
            compare_memory(ours, theirs, f"call {number}")


def sample(count: int = 3, size: tuple[int, int] = (26, 34)) -> tuple[Any, dict[str, Any]]:
    """An image with boxes, labels and masks."""
    masks = tv_tensors.Mask(torch.randint(0, 5, (count, *size), dtype=torch.uint8))
    found = {"boxes": boxes(count, "XYXY", size, "soft", torch.float32, 3), "labels": torch.arange(count)}
    return tv_tensors.Image(noise(1, size)[0]), {**found, "masks": masks}


SSD = [
    v2.RandomPhotometricDistort(),
    v2.RandomZoomOut(fill={tv_tensors.Mask: 0, "others": [1, 2, 3]}),
    v2.RandomIoUCrop(),
    v2.RandomHorizontalFlip(),
    v2.ToDtype(torch.float32, scale=True),
    v2.SanitizeBoundingBoxes(),
]
"""One segment: what is drawn last depends on boxes that two others have moved."""


def preset(*augmentation: Any) -> list[Any]:
    """As torchvision's detection reference has it."""
    return [*augmentation, v2.ToImage(), v2.ToDtype(torch.float32, scale=True), *AFTER]


AFTER = (v2.ConvertBoundingBoxFormat("XYXY"), v2.SanitizeBoundingBoxes(min_size=3), v2.ToPureTensor())
PRESETS = {
    "hflip": preset(v2.RandomHorizontalFlip()),
    "multiscale": preset(v2.RandomShortestSize([15, 22, 31], max_size=40), v2.RandomHorizontalFlip()),
    "ssd": preset(
        v2.RandomPhotometricDistort(), v2.RandomZoomOut(fill=FILL), v2.RandomIoUCrop(), v2.RandomVerticalFlip()
    ),
    "lsj": preset(
        v2.ScaleJitter((30, 30)), v2.RandomCrop(28, pad_if_needed=True, fill=FILL), v2.RandomHorizontalFlip()
    ),
    "segmentation": [
        v2.RandomResize(14, 40),
        v2.RandomCrop(20, pad_if_needed=True, fill={tv_tensors.Mask: 255, "others": 0}),
        v2.ToImage(),
        v2.ToDtype({tv_tensors.Image: torch.float32, tv_tensors.Mask: torch.int64, "others": None}, scale=True),
        v2.Normalize([0.5], [0.5]),
    ],
}


@pytest.mark.parametrize("kind", ["pil", "image"])
@pytest.mark.parametrize("form", FORMATS[:3])
@pytest.mark.parametrize("name", PRESETS)
def test_presets_of_detection_and_segmentation(name: str, form: str, kind: str) -> None:
    """Some of the boxes are dropped, with their labels and masks."""
    ours, theirs = lt.LearnedCompose(PRESETS[name], fallback="error"), v2.Compose(PRESETS[name])
    image, target = sample(12, (46, 54))
    target["boxes"] = boxes(12, form, (46, 54), "soft", torch.float32, 5)
    given = (to_pil(image) if kind == "pil" else image, target)
    left = set()
    for seed in range(12):
        one, other = (outcome(compose, given, seed) for compose in (ours, theirs))
        compare_outcomes(one, other, 0, f"seed {seed}")
        compare_memory(one, other, f"seed {seed}")
        left.add(len(other.value[1]["labels"]))
    assert name == "segmentation" or left & set(range(1, 12))


def test_overlaps_of_crops_are_those_of_torchvision() -> None:
    """Boxes of the size of crops, so that many overlap by about as much as is asked for."""
    transform = v2.RandomIoUCrop(sampler_options=[0.2, 0.35, 0.5, 1.0])
    cut = 0
    for seed in range(300):
        given = boxes(5, "XYXY", (64, 80), None, torch.float32, seed)
        given[:, 2:] = given[:, :2] + given[:, 2:]
        torch.manual_seed(seed)
        expected = transform.make_params([torch.empty(3, 64, 80), given])
        state = torch.get_rng_state()
        torch.manual_seed(seed)
        found = dict(RandomIoUCrop(transform).sample(Seen((3, 64, 80), boxes=[given])) or ())
        assert torch.get_rng_state().equal(state)
        cut += bool(expected)
        if expected:
            expected["is_within_crop_area"] = tuple(expected["is_within_crop_area"].tolist())
        assert found == expected
    assert cut > 100


def test_one_segment_runs_what_draws_from_what_came_before() -> None:
    learned = lt.LearnedCompose(SSD, fallback="error")
    learned(*sample())
    assert [stop for _, _, stop in learned.segments if stop is True or stop is False] == [False]


@pytest.mark.parametrize(
    "transforms",
    [
        SSD,
        [v2.ScaleJitter((20, 24)), v2.RandomCrop((18, 22), pad_if_needed=True, fill=FILL)],
        [v2.RandomShortestSize([12, 20]), v2.RandomHorizontalFlip()],
        [v2.RandomChoice([v2.RandomResize(9, 30), v2.RandomZoomOut(p=0.5)])],
    ],
)
def test_what_was_drawn_for_a_sample_is_played_back(transforms: list[Any]) -> None:
    learned, given = lt.LearnedCompose(transforms), sample()
    for seed in range(8):
        torch.manual_seed(seed)
        drawn = learned.make_params(*given)
        torch.manual_seed(seed)
        expected = learned(*given)
        found = learned(*given, params=json.loads(json.dumps(drawn)))
        compare(found, expected, 0, f"seed {seed}")


@pytest.mark.parametrize(
    ("transform", "entry"),
    [
        (v2.RandomShortestSize(20), {"size": [20]}),
        (v2.RandomResize(5, 9), {"size": [0]}),
        (v2.ScaleJitter((20, 20)), {"size": [1.5, 2]}),
        (v2.RandomZoomOut(), {"padding": [1, 2, 3]}),
        (v2.RandomZoomOut(), {"padding": [1, 2, 3, -1]}),
        (v2.RandomIoUCrop(), {"top": 0, "left": 0, "height": 4, "width": 4}),
        (v2.RandomIoUCrop(), {"top": 0, "left": 0, "height": 0, "width": 4, "is_within_crop_area": [True]}),
    ],
)
def test_params_that_do_not_fit_are_refused(transform: Any, entry: Any) -> None:
    with pytest.raises(PipelineValueError, match=f"for {type(transform).__name__}"):
        lt.LearnedCompose([transform])(*sample(), params=[entry])


def test_refusals_name_keys() -> None:
    """They are of torchvision's types, and say where in the sample things lie."""
    image, target = sample()
    with pytest.raises(InputTypeError, match=r"RandomIoUCrop.*\[1\]\['labels'\]"):
        lt.LearnedCompose([v2.RandomIoUCrop()])(image, {"labels": target["labels"]})
    for labels in (torch.arange(2), "none"):
        with pytest.raises(InputShapeError, match=r"SanitizeBoundingBoxes.*\['boxes'\]"):
            lt.LearnedCompose([v2.SanitizeBoundingBoxes()])(image, {**target, "labels": labels})
    with pytest.raises(InputShapeError, match=r"No bounding boxes.*BoundingBoxes lie at no key"):
        lt.LearnedCompose([v2.SanitizeBoundingBoxes()])(image, {"labels": target["labels"]})


def test_sizes_that_differ_go_to_torchvision_where_a_resize_comes_first() -> None:
    image, target = sample()
    target["masks"] = tv_tensors.Mask(torch.zeros(3, 8, 9, dtype=torch.uint8))
    transforms = [v2.Resize((20, 20)), v2.ScaleJitter((30, 30))]
    ours, theirs = (
        outcome(make, (image, target), 1) for make in (lt.LearnedCompose(transforms), v2.Compose(transforms))
    )
    compare_outcomes(ours, theirs, 0, "")


@pytest.mark.parametrize("value", [2**24 + 1, -(2**24) - 1, 2**40 + 3])
def test_masks_beyond_float32_are_rounded_as_v2_rounds_them(value: int) -> None:
    image, target = sample()
    target["masks"] = tv_tensors.Mask(torch.full((3, 26, 34), value))
    for transforms in ([v2.Resize((13, 17))], [v2.CenterCrop(9)], [v2.Pad(2, padding_mode="reflect")]):
        target.pop("boxes", None)
        ours, theirs = (lt.LearnedCompose(transforms), v2.Compose(transforms))
        compare(ours(image, target), theirs(image, target), 0, str(transforms))


@pytest.mark.parametrize("transforms", [[v2.RandomEqualize(0), v2.RandomCrop((9, 7))], [v2.RandomCrop((9, 7))]])
def test_a_crop_of_all_that_is_there_gives_back_the_image(transforms):
    image = torch.zeros(3, 9, 7, dtype=torch.uint8)
    boxes = tv_tensors.BoundingBoxes(torch.tensor([[0, 0, 5, 5]]), format="XYXY", canvas_size=(9, 7))
    assert v2.Compose(transforms)(image, boxes)[0] is image
    assert lt.LearnedCompose(transforms)(image, boxes)[0] is image


@pytest.mark.parametrize("before", [[], [v2.RandomEqualize()]])
@pytest.mark.parametrize("options", [{"padding": 1}, {"padding": 1, "padding_mode": "edge"}, {"pad_if_needed": True}])
def test_crops_share_memory_only_where_torchvisions_do(before, options):
    image = torch.arange(12, dtype=torch.uint8).view(3, 2, 2)
    transforms = [*before, v2.RandomCrop(2, **options)]
    learned = lt.LearnedCompose(transforms)
    for seed in range(40):  # One window in nine is that of the image.
        made = []
        for pipeline in (learned, v2.Compose(transforms)):
            torch.manual_seed(seed)
            made.append(pipeline(image, image.clone())[0])
        assert made[0].equal(made[1])
        assert (made[0] is image) == (made[1] is image)


def way(call: Callable[[], Any]) -> tuple[int, int]:
    """How many functions of the package a call comes to, and how often the next lies in another file."""
    files: list[str] = []

    def note(frame: FrameType, event: str, argument: Any) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(PACKAGE):
            files.append(frame.f_code.co_filename)

    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(None)
    return len(files), sum(one != other for one, other in itertools.pairwise(files))


WAYS = {
    "flip, resize": ((v2.RandomHorizontalFlip(), v2.Resize((20, 24))), 31, 15),
    "crop, flip": ((v2.RandomResizedCrop(20), v2.RandomHorizontalFlip()), 35, 20),
    # A crop that looks at the image begins another segment.
    "flip, crop": ((v2.RandomHorizontalFlip(), v2.RandomResizedCrop(20)), 58, 34),
}


@pytest.mark.parametrize("kind", ["image", "pil"])
@pytest.mark.parametrize("name", WAYS)
def test_a_warm_sample_takes_few_calls(name: str, kind: str) -> None:
    """With comprehensions as calls, as Python counted them before 3.12."""
    transforms, most_calls, most_changes = WAYS[name]
    image, target = sample()
    first = [v2.ToImage()] if kind == "pil" else []
    value = {
        "image": to_pil(image.as_subclass(torch.Tensor)) if kind == "pil" else image,
        "boxes": target["boxes"],
        "labels": target["labels"],
    }
    learned = lt.LearnedCompose([*first, *transforms, v2.ToDtype(torch.float32, scale=True)], fallback="error")
    for seed in range(20):
        torch.manual_seed(seed)
        learned(value)
    ways = []
    for seed in range(20):
        torch.manual_seed(seed)
        ways.append(way(lambda: learned(value)))
    calls, changes = map(max, zip(*ways, strict=True))
    assert 20 < calls <= most_calls
    assert 10 < changes <= most_changes


CHANGES: dict[str, Callable[[lt.LearnedCompose], None]] = {
    "an argument": lambda learned: setattr(learned.transforms[0], "size", [9, 31]),
    "an entry of the list": lambda learned: learned.transforms.__setitem__(-1, v2.RandomVerticalFlip(1)),
    "the list": lambda learned: setattr(learned, "transforms", [v2.Resize((12, 13)), v2.RandomHorizontalFlip(1)]),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("form", ["image", "pil", "tuple", "boxes", "all"])
def test_changes_count_for_samples_too(form: str, change: str) -> None:
    image, target = sample()
    picture = to_pil(image.as_subclass(torch.Tensor))
    value = {
        "image": {"image": image, "label": 3},
        "pil": {"image": picture, "label": 3},
        "tuple": (picture, 3),
        "boxes": {"image": image, "boxes": target["boxes"]},
        "all": (image, target),
    }[form]
    learned = lt.LearnedCompose([v2.Resize((20, 24)), v2.RandomHorizontalFlip(1)])
    for _ in range(4):
        learned(value)
    CHANGES[change](learned)
    for _ in range(3):
        compare(learned(value), v2.Compose(learned.transforms)(value), 0, "sample")
