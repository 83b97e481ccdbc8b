"""Crops that are drawn behind other layers: where they begin is a number, and the plan is the same for all of them."""

import json

import pytest
import torch
import torchvision.transforms as v1
from helpers import FORMS, check_transform, noise, seeded, values
from torchvision import tv_tensors
from torchvision.transforms import v2

import learned_transforms as lt
from learned_transforms.errors import BackendError, PipelineValueError
from learned_transforms.images.formats import Form
from learned_transforms.ir.indexing import Keep, Mirrored, Part
from learned_transforms.ir.ops import Gather, Slots
from learned_transforms.ir.plan import Plan
from learned_transforms.kernels import cpu
from learned_transforms.kernels.reference.executor import Reference

FLOATS = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize((0.4, 0.5, 0.6), (0.2, 0.3, 0.25))]
CHAINS = {
    "resized": lambda api: [api.Resize(37), api.RandomCrop(28), api.RandomHorizontalFlip()],
    "whole": lambda api: [api.Resize((37, 37)), api.RandomCrop(37), api.RandomHorizontalFlip()],
    "mirrored": lambda api: [api.RandomVerticalFlip(), api.RandomCrop((20, 30))],
    "padded": lambda api: [api.Resize(37), api.RandomCrop(40, padding=5, fill=7)],
    "edges": lambda api: [api.Resize(37), api.RandomCrop(40, padding=(1, 5), padding_mode="edge")],
    "reflected": lambda api: [api.RandomVerticalFlip(), api.RandomCrop((44, 51), padding=5, padding_mode="reflect")],
    "needed": lambda api: [api.Resize(20), api.RandomCrop(30, pad_if_needed=True, padding_mode="symmetric")],
    "beyond": lambda api: [api.RandomApply([api.RandomCrop(60, pad_if_needed=True, padding_mode="edge")], p=0.7)],
    "beyond, flipped": lambda api: [
        api.RandomVerticalFlip(0.3),
        api.RandomCrop(70, pad_if_needed=True, padding_mode="symmetric"),
    ],
    "twice": lambda api: [api.RandomCrop((33, 44)), api.Resize(30), api.RandomCrop(24), api.RandomCrop(16)],
    "maybe": lambda api: [api.Resize(37), api.RandomApply([api.RandomCrop(28)], p=0.5), api.RandomHorizontalFlip()],
    "colored": lambda api: [
        api.ColorJitter(0.4, 0.4, 0.4, 0.1),
        api.Resize(37),
        api.RandomCrop(28),
        api.ColorJitter(0.3),
    ],
    "warped": lambda api: [api.RandomRotation(20), api.RandomCrop(28), api.RandomRotation(9)],
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("api", [v1, v2], ids=["v1", "v2"])
@pytest.mark.parametrize("name", CHAINS)
def test_windows_are_torchvisions(name, api, form):
    if form == "numpy" or (api is v1 and form == "image"):
        pytest.skip("v1 makes plain tensors of these")
    for seed in range(12):
        check_transform(
            CHAINS[name](api), FORMS[form](noise(1)[0]), seed=seed, tier="rounding" if name == "colored" else "exact"
        )


@pytest.mark.parametrize("form", ["pil", "uint8"])
def test_one_plan_serves_all_that_is_drawn(form):
    transform = lt.LearnedCompose([v2.Resize(37), v2.RandomCrop(28), *FLOATS], fallback="error")
    seeded(1)
    for height in range(40, 60):
        transform(FORMS[form](noise(1, (height, 50))[0]))
    (segment,) = transform.segments.values()
    assert len(segment.network.plans) == 1
    assert segment.stop == 5


def test_what_was_drawn_is_written_down_and_played_back():
    transform = lt.LearnedCompose([v2.Resize(37), v2.RandomCrop(28), v2.RandomHorizontalFlip()])
    image = noise(1)[0]
    for seed in range(5):
        seeded(seed)
        params = json.loads(json.dumps(transform.make_params(image)))
        seeded(seed)
        assert transform(image, params=params).equal(v2.Compose(transform.transforms)(image))
        assert params[1].keys() == {"top", "left", "height", "width"}
    params[1]["top"] = 100  # It may lie anywhere, as for a window that is cut out first.
    assert not transform(image, params=params).any()


def test_each_of_a_batch_has_its_own():
    transform = lt.LearnedCompose([v2.Resize((37, 37)), v2.RandomCrop(28), v2.RandomHorizontalFlip()])
    images = noise(9)
    seeded(3)
    made = transform(images, per_sample=True)
    seeded(3)
    assert made.equal(torch.stack([v2.Compose(transform.transforms)(image) for image in images]))


def test_crops_behind_nothing_else_are_views():
    transform = lt.LearnedCompose([v2.RandomHorizontalFlip(0.0), v2.RandomCrop(28)])
    image = noise(1)[0]
    for seed in range(4):
        seeded(seed)
        found = transform(image)
        seeded(seed)
        expected = v2.Compose(transform.transforms)(image)
        assert found.equal(expected)
        assert found.data_ptr() == expected.data_ptr()


def test_masks_and_boxes_follow():
    image, mask = noise(1)[0], noise(1)[0][0]
    boxes = torch.tensor([[3, 4, 30, 25]])
    for seed in range(12):
        sample = {
            "image": tv_tensors.Image(image),
            "mask": tv_tensors.Mask(mask),
            "boxes": tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=(40, 50)),
        }
        chain = [v2.RandomHorizontalFlip(), v2.RandomCrop((24, 30)), v2.RandomVerticalFlip(), v2.RandomCrop(20)]
        seeded(seed)
        found = lt.LearnedCompose(chain, fallback="error")(sample)
        seeded(seed)
        expected = v2.Compose(chain)(sample)
        assert all(
            torch.equal(found[name], expected[name]) and type(found[name]) is type(sample[name]) for name in sample
        )


@pytest.mark.parametrize("border", ["zero", "edge", "reflect", "symmetric"])
def test_native_windows_against_the_reference(border):
    image = noise(1, (33, 20))[0]
    parts = Part("start", 0, 15, border), Part("start", 0, 9, border)
    copy = Gather(rows=parts[0], columns=parts[1], fill=(3.0, 5.0, 7.0) if border == "zero" else (), starts=Slots(1, 2))
    for stages in ((copy,), (Gather(columns=Mirrored()), copy), (copy, Gather(rows=Keep(14, -1, 15)))):
        plan = Plan(3, None, stages, None)
        native, reference = cpu.Program(plan).bind(image), Reference(plan).run
        for top in range(-17, 40, 3):
            for left in (-10, -1, 0, 4, 11, 12, 25):
                factors = (0.5, float(top), float(left))
                assert native(image, None, factors).equal(reference(image, None, factors)), (top, left)


def test_windows_that_are_none_are_refused():
    part = Part("start", 0, 4)
    plan = Plan(3, None, (Gather(rows=part, columns=part, starts=Slots(0, 2)),), None)
    image, native = noise(1)[0], cpu.Program(plan)
    for factors in ((), (1.0,), (0.5, 1.0), (1.0, 2.0**40), (float("nan"), 0.0)):
        with pytest.raises(ValueError, match=r"[Ff]actors|whole pixels"):
            native.bind(image)(image, None, factors)
    with pytest.raises(PipelineValueError, match="factors"):
        Reference(plan).run(image)
    for rows, starts in (
        (Keep(0, 1, 4), Slots(0, 2)),
        (Mirrored(), Slots(0, 2)),
        (part, Slots(-1, 2)),
        (part, Slots(2**20, 2)),
    ):
        with pytest.raises(BackendError, match="cpu backend"):
            cpu.Program(Plan(3, None, (Gather(rows=rows, columns=part, starts=starts),), None))


def test_values_type():
    """A crop of floats in half precision, too, begins where it is drawn."""
    image = noise(1)[0]
    chain = [v2.ToDtype(torch.float16, scale=True), v2.RandomCrop(28), v2.RandomHorizontalFlip()]
    for seed in range(4):
        assert values(check_transform(chain, image, seed=seed)).shape == (3, 28, 28)


def test_where_windows_must_come_first_they_begin_a_segment():
    """No kernel for a GPU cuts drawn windows out of what others made."""
    form = Form("tensor", "uint8")
    for backend, stops in (("cpu", [4]), ("cuda", [1, 4])):
        transform = lt.LearnedCompose([v2.Resize(37), v2.RandomCrop(28), v2.Resize(20), v2.Pad(1)], backend=backend)
        found = [transform.segment(form, 0).stop]
        while found[-1] < 4:
            found.append(transform.segment(form, found[-1]).stop)
        assert found == stops
