"""Policies of augmentation against torchvision: each operation alone, policies over many draws, samples, replay."""

import json
import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torchvision.transforms as v1
from helpers import FORMS, compare, image_of, same, seeded, states, values
from torch.utils._pytree import tree_flatten
from torchvision import tv_tensors
from torchvision.transforms import AutoAugmentPolicy, InterpolationMode, autoaugment, v2

import learned_transforms as lt
from learned_transforms.errors import FallbackWarning, PipelineValueError
from learned_transforms.ir.ops import Slot, Tables
from learned_transforms.ir.plan import Plan
from learned_transforms.kernels import backends, cpu
from learned_transforms.kernels.reference.executor import Reference
from learned_transforms.runtime import budget
from learned_transforms.runtime.budget import MOST_BETWEEN, Budget
from learned_transforms.transforms.registry import spec_of

Make = Callable[[Any], Any]

SMOOTH = {"interpolation": InterpolationMode.BILINEAR}
POLICIES: dict[str, Make] = {
    **{f"AutoAugment {one.value}": lambda api, one=one: api.AutoAugment(one) for one in AutoAugmentPolicy},
    "AutoAugment filled": lambda api: api.AutoAugment(AutoAugmentPolicy.SVHN, fill=[9.0], **SMOOTH),
    "RandAugment": lambda api: api.RandAugment(),
    "RandAugment of three": lambda api: api.RandAugment(3, 7, 11, fill=128, **SMOOTH),
    "TrivialAugmentWide": lambda api: api.TrivialAugmentWide(),
    "TrivialAugmentWide of few": lambda api: api.TrivialAugmentWide(7, **SMOOTH),
    "AugMix": lambda api: api.AugMix(),
    "AugMix severe": lambda api: api.AugMix(10, 2, 2, 0.5, fill=7),
}
DRAWN = [name for name in POLICIES if "AugMix" not in name]
SIZES = ((1, 9), (37, 46), (64, 64))
BATCH = torch.stack([image_of(3, (37, 46), seed) for seed in range(3)])
BOXES = tv_tensors.BoundingBoxes([[1, 2, 9, 8]], format="XYXY", canvas_size=(37, 46))


def many(steps: list[Any], image: Any, seeds: int) -> None:
    """Draws of one pipeline, by layers alone, against torchvision: values, types and random state."""
    learned, compose = lt.LearnedCompose(steps, fallback="error"), v2.Compose(steps)
    for seed in range(seeds):
        seeded(seed)
        expected, state = compose(image), states()
        seeded(seed)
        found = learned(image)
        assert states() == state
        compare(found, expected, "exact")


@pytest.mark.parametrize("form", ["pil", "uint8", "image"])
@pytest.mark.parametrize("api", [v1, v2], ids=["v1", "v2"])
@pytest.mark.parametrize("name", POLICIES)
def test_row(name: str, api: Any, form: str) -> None:
    """Alone, and between a crop, a flip and a conversion to floats."""
    if api is v1 and form == "image":
        pytest.skip("v1 makes plain tensors of these, in torchvision")
    make, last = POLICIES[name], v1.ToTensor() if form == "pil" else v2.ToDtype(torch.float32, scale=True)
    for number, size in enumerate(SIZES):
        image = FORMS[form](image_of((3, 1)[number % 2], size, number))
        many([make(api)], image, 8)
        around = [api.RandomResizedCrop(24, antialias=True), api.RandomHorizontalFlip()]
        many([*around, make(api), *([last] if api is v2 or form == "pil" else [])], image, 5)


@pytest.mark.full
@pytest.mark.parametrize("form", ["pil", "uint8"])
@pytest.mark.parametrize("api", [v1, v2], ids=["v1", "v2"])
@pytest.mark.parametrize("name", POLICIES)
def test_many_draws(name: str, api: Any, form: str) -> None:
    for number, size in enumerate(((37, 46), (64, 65), (31, 90))):
        many([POLICIES[name](api)], FORMS[form](image_of(3, size, number)), 1000)


def operation(api: Any, policy: Any, image: Any, name: str, magnitude: float) -> Any:
    """What torchvision makes of one operation."""
    if api is v1:
        return autoaugment._apply_op(image, name, magnitude, policy.interpolation, policy.fill)
    return policy._apply_image_or_video_transform(image, name, magnitude, policy.interpolation, policy._fill)


@pytest.mark.parametrize("form", ["pil", "uint8"])
@pytest.mark.parametrize("api", [v1, v2], ids=["v1", "v2"])
def test_every_draw_of_a_wide_policy(api: Any, form: str) -> None:
    """All operations, magnitudes and signs that TrivialAugmentWide may draw."""
    policy = api.TrivialAugmentWide(**SMOOTH)
    learned, spec = lt.LearnedCompose([policy], fallback="error"), spec_of(policy)
    image = FORMS[form](image_of(3, (37, 46)))
    tried = 0
    for name in spec.choices:
        table, signed = spec.space(name, (37, 46))
        for magnitude in (0.0,) if table is None else (*table, *(-one for one in table if signed)):
            found = learned(image, params=[{"ops": [[name, magnitude]]}])
            assert values(found).equal(values(operation(api, policy, image, name, magnitude))), (name, magnitude)
            tried += 1
    assert tried == 3 + 9 * 62 + 2 * 31


@pytest.mark.parametrize("name", DRAWN)
@pytest.mark.parametrize("api", [v1, v2], ids=["v1", "v2"])
def test_what_was_drawn_is_played_back(name: str, api: Any) -> None:
    image = image_of(3, (50, 61))
    steps = [api.RandomResizedCrop(24, antialias=True), POLICIES[name](api), api.RandomHorizontalFlip()]
    learned = lt.LearnedCompose(steps, fallback="error")
    for seed in range(20):
        torch.manual_seed(seed)
        expected = learned(image)
        torch.manual_seed(seed)
        params = json.loads(json.dumps(learned.make_params(image)))
        assert learned(image, params=params).equal(expected)
    for odd in ([["Twist", 1.0]], [["Rotate", "much"]], [["Solarize", 300.0]], [["Posterize", 9]], [["Rotate"]] * 9, 3):
        with pytest.raises(PipelineValueError, match=r"AutoAugment|RandAugment|TrivialAugmentWide"):
            learned(image, params=[params[0], {"ops": odd}, params[2]])


@pytest.mark.parametrize("name", ["RandAugment", "AutoAugment cifar10", "AugMix"])
def test_batches_layouts_and_arrays(name: str) -> None:
    for image in (BATCH, BATCH[None], BATCH[:, :, ::2], BATCH.contiguous(memory_format=torch.channels_last)):
        same([POLICIES[name](v2), v2.RandomHorizontalFlip()], image, "exact", seeds=6, fallback="error")
    learned = lt.LearnedCompose([POLICIES[name](v2)], fallback="torchvision")
    seeded(3)
    each = torch.stack([learned(one) for one in BATCH])
    seeded(3)
    assert learned(BATCH, per_sample=True).equal(each)
    seeded(3)
    assert torch.from_numpy(learned(BATCH[0].movedim(0, -1).numpy())).movedim(-1, 0).equal(each[0])


@pytest.mark.parametrize("name", POLICIES)
def test_samples(name: str) -> None:
    """One image among what v2 leaves alone; others are refused, where the policy runs."""
    image, policy = BATCH[0], POLICIES[name](v2)
    for sample in (
        {"image": tv_tensors.Image(image), "label": 3},
        (image, torch.tensor(4)),
        [FORMS["pil"](image), "a"],
    ):
        learned = lt.LearnedCompose([policy], fallback="error")
        for seed in range(5):
            seeded(seed)
            expected = tree_flatten(policy(sample))
            seeded(seed)
            found = tree_flatten(learned(sample))
            assert found[1] == expected[1]
            for one, other in zip(found[0], expected[0], strict=True):
                assert type(one) is type(other)
                assert one == other if isinstance(one, int | str) else values(one).equal(values(other))
    pair = (tv_tensors.Image(image), tv_tensors.Image(image))
    for sample in (pair, (tv_tensors.Image(image), BOXES), (FORMS["pil"](image), tv_tensors.Mask(image[0]))):
        for made in (policy, lt.LearnedCompose([v2.RandomHorizontalFlip(), policy])):
            with pytest.raises(TypeError, match=r"image|BoundingBoxes|Mask"):
                made(sample)
        lt.LearnedCompose([v2.RandomApply([policy], p=0)])(sample)


def test_videos_move_as_one() -> None:
    video = tv_tensors.Video(BATCH)
    same([v2.RandAugment()], video, "exact", seeds=10, fallback="error")


@pytest.mark.parametrize("api", [v1, v2], ids=["v1", "v2"])
def test_containers_choose_policies(api: Any) -> None:
    chosen = api.RandomChoice([api.RandAugment(), api.RandomApply([api.TrivialAugmentWide()], 0.5), api.AutoAugment()])
    for form in ("pil", "uint8"):
        same([chosen, api.RandomVerticalFlip()], FORMS[form](BATCH[0]), "exact", seeds=30, fallback="error")


class Gentle(v1.RandAugment):
    """Its own magnitudes."""

    def _augmentation_space(self, num_bins: int, image_size: Any) -> Any:
        return {"Rotate": (torch.linspace(0.0, 3.0, num_bins), True)}


@pytest.mark.filterwarnings("ignore::learned_transforms.errors.FallbackWarning")
def test_altered_policies_are_their_own() -> None:
    own, replaced = v1.AutoAugment(), v2.RandAugment()
    own.policies = [(("Invert", 1.0, None), ("Color", 0.5, 3))]
    replaced._get_random_item = lambda table: ("Invert", table["AutoContrast"])
    longer, odd, unknown = v2.AutoAugment(), v1.AutoAugment(), v2.AutoAugment()
    longer._policies = [(("Rotate", 1.0, 3), ("Invert", 0.5, None), ("Color", 1.0, 9))]
    odd.policies = [(("Rotate", "often", 3), ("Invert", 0.5, None))]
    unknown._policies = [(("Twist", 1.0, 3),)]
    for policy in (Gentle(), own, replaced, longer, odd):
        same([policy], BATCH[0], "exact", seeds=8)
    for made in (unknown, lt.LearnedCompose([unknown])):
        with pytest.raises(KeyError, match="Twist"):
            made(BATCH[0])
    learned = lt.LearnedCompose([own], fallback="error")
    learned(BATCH[0])
    own.policies.append((("Solarize", 1.0, 2), ("Equalize", 1.0, None)))
    for seed in range(8):
        seeded(seed)
        expected = own(BATCH[0])
        seeded(seed)
        assert learned(BATCH[0]).equal(expected)


@pytest.mark.filterwarnings("ignore::learned_transforms.errors.FallbackWarning")
@pytest.mark.parametrize("api", [v1, v2], ids=["v1", "v2"])
def test_odd_arguments(api: Any) -> None:
    """What torchvision does, or raises."""
    for policy in (
        api.RandAugment(0),
        api.RandAugment(magnitude=31),
        api.RandAugment(magnitude=-1),
        api.RandAugment(num_magnitude_bins=1, magnitude=0),
        api.RandAugment(9),
        api.TrivialAugmentWide(1),
        api.TrivialAugmentWide(0),
        api.RandAugment(interpolation=InterpolationMode.BICUBIC),
        api.RandAugment(fill=[1, 2]),
        api.TrivialAugmentWide(fill=300),
    ):
        for form in ("pil", "uint8"):
            same([policy], FORMS[form](BATCH[0]), "exact", seeds=4)
    with pytest.warns(FallbackWarning, match="floats"):
        same([api.TrivialAugmentWide()], torch.rand(3, 9, 9), "exact", seeds=1)


@pytest.mark.parametrize("policy", [v2.RandAugment(), v2.AugMix()], ids=["RandAugment", "AugMix"])
def test_tables_and_rules_are_given(policy: Any) -> None:
    rows = lt.LearnedCompose([policy]).explain("uint8").rows
    assert {row.layer for row in rows} >= {"Warping", "Blending", "Stretching", "Equalizing", "Selecting"}
    assert {"draws", "magnitudes"} <= {name for row in rows for name, mark in row.numbers.items() if mark == "given"}
    assert not [row for row in rows if row.layer == "torchvision"]
    assert [row.tier for row in rows if row.layer == "Selecting"] == ["proved"]


def test_a_table_is_chosen_for_each_image() -> None:
    tables = torch.randint(0, 256, (5, 256), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    plan = Plan(3, None, (Tables(tables, Slot(1)),), None)
    for made in (Reference(plan), *([cpu.compile_plan(plan)] if "cpu" in backends() else [])):
        run = made.bind(BATCH[0])
        for number in range(5):
            assert run(BATCH[0], None, (7.0, float(number))).equal(tables[number][BATCH[0].long()])


@pytest.mark.skipif("cpu" not in backends(), reason="there is no native code")
@pytest.mark.parametrize("number", [-1.0, 5.0, float("nan"), 1e300])
def test_tables_that_are_not_there_are_refused(number: float) -> None:
    run = cpu.compile_plan(Plan(3, None, (Tables(torch.zeros(5, 256, dtype=torch.uint8), Slot(0)),), None)).bind(BATCH)
    with pytest.raises(ValueError, match="Expected"):
        run(BATCH, None, (number,))


def test_memory_between_calls_that_are_kept_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    trimmed: list[int] = []
    monkeypatch.setattr(budget.cpu, "trim", lambda: trimmed.append(1))
    kept = Budget(2**20, lambda: None)
    for _ in range(3 * MOST_BETWEEN):
        kept.keep()
    assert len(trimmed) == 3
    learned = lt.LearnedCompose([v2.RandAugment()])
    for seed in range(20 * MOST_BETWEEN):
        random.seed(seed)
        learned(BATCH[0])
    assert len(trimmed) > 3
