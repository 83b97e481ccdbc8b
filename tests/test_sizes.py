"""Sizes and draws are data: images of many sizes share the programs of one pipeline, which stay few and small."""

import threading
from typing import Any

import pytest
import torch
from helpers import compare, seeded, states, to_pil, values
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2

import learned_transforms as lt
from learned_transforms.errors import EmptyImageError, PaddingError
from learned_transforms.images.formats import kind_of, signature
from learned_transforms.ir.indexing import BORDERS, Keep, Listed, Mirrored, Padded, Part
from learned_transforms.ir.ops import Gather, Stage
from learned_transforms.ir.passes import at, fold
from learned_transforms.ir.plan import Plan
from learned_transforms.ir.sizing import Sizing
from learned_transforms.kernels import cpu
from learned_transforms.kernels.reference.executor import Reference
from learned_transforms.runtime.segment import BYTES_OF_CALL, MOST_LANES

NATIVE = pytest.mark.skipif(cpu.MISSING is not None, reason="the native extension is not there")
FLOAT = [v2.ToDtype(torch.float32, scale=True), v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))]
JITTER = v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8)
BASE = torch.randint(0, 256, (3, 90, 110), dtype=torch.uint8, generator=torch.Generator().manual_seed(5))

PIPELINES: dict[str, list[Any]] = {
    "eval": [v2.Resize(40), v2.CenterCrop(32), *FLOAT],
    "larger crop": [v2.Resize(20, interpolation=InterpolationMode.BICUBIC), v2.CenterCrop((64, 24)), *FLOAT],
    "bounded": [v2.Resize(48, max_size=56), v2.RandomHorizontalFlip(), *FLOAT],
    "longer side": [v2.Resize(None, max_size=30), v2.RandomVerticalFlip()],
    "nearest": [v2.Resize(24, interpolation=InterpolationMode.NEAREST), v2.RandomHorizontalFlip(), v2.CenterCrop(20)],
    "same size": [v2.Resize((44, 57))],
    "train": [v2.RandomResizedCrop(24), v2.RandomHorizontalFlip(), *FLOAT],
    "moco": [
        v2.RandomResizedCrop(24, scale=(0.2, 1)),
        JITTER,
        v2.RandomGrayscale(0.2),
        v2.RandomApply([v2.GaussianBlur(5, (0.1, 2.0))], p=0.5),
        v2.RandomHorizontalFlip(),
        *FLOAT,
    ],
    "padded": [v2.Pad((3, 5, 7, 2), padding_mode="reflect"), v2.CenterCrop((50, 70)), v2.RandomHorizontalFlip()],
    "filled": [v2.Pad(4, fill=(9, 99, 199)), v2.Resize(30), v2.CenterCrop(28)],
    "sharper": [v2.Resize(30), v2.RandomAdjustSharpness(2.0, p=0.5), v2.RandomHorizontalFlip(), *FLOAT],
    "parts": [v2.RandomCrop(28, padding=4), v2.RandomHorizontalFlip(), *FLOAT],
}


def parts(count: int, seed: int = 0) -> list[Tensor]:
    """Views of one image, each of another size."""
    draw = torch.Generator().manual_seed(seed)
    sizes: dict[tuple[int, int], None] = {(44, 57): None}
    while len(sizes) < count:
        height, width = (int(torch.randint(40, most, (), generator=draw)) for most in (91, 111))
        sizes[height, width] = None
    return [BASE[:, :height, :width] for height, width in sizes]


@pytest.fixture(params=["reference", *cpu.instructions()])
def path(request: pytest.FixtureRequest) -> Any:
    """Each backend, with each set of instructions that there is."""
    if request.param == "reference":
        yield "reference"
        return
    with cpu.forced(request.param):
        yield "cpu"


@pytest.mark.parametrize("name", PIPELINES)
def test_one_pipeline_takes_images_of_many_sizes(name: str, path: str) -> None:
    steps = PIPELINES[name]
    ours = lt.LearnedCompose(steps, backend=path, fallback="error")
    tier = "rounding" if name in ("moco", "sharper") else "exact"
    for number, image in enumerate(parts(5 if path == "reference" else 16)):
        forms = [image, image.permute(1, 2, 0).contiguous().permute(2, 0, 1)]
        forms += [] if FLOAT[0] in steps else [to_pil(image)]
        for one in forms:
            seeded(number)
            expected, state = v2.Compose(steps)(one), states()
            seeded(number)
            compare(ours(one), expected, tier)
            assert states() == state


@NATIVE
@pytest.mark.parametrize("name", ["eval", "bounded", "nearest", "train", "padded", "sharper"])
def test_new_sizes_make_no_programs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    program = cpu.Program
    monkeypatch.setattr(cpu, "Program", lambda plan: made.append(plan) or program(plan))
    ours = lt.LearnedCompose(PIPELINES[name], backend="cpu", fallback="error")
    images = parts(120)
    for seed in range(40):  # Every coin has fallen either way.
        seeded(seed)
        ours(images[0])
    before = len(made)
    for seed, image in enumerate(images):
        seeded(seed)
        ours(image)
    assert len(made) == before
    (segment,) = ours.segments.values()
    assert all(plan.size is None for plan, _ in segment.network.plans.values())
    assert len(segment.network.plans) == before
    assert len(segment.lanes) == len(ours.runs) == 1  # Of the size that came again and again.


@NATIVE
def test_calls_are_kept_for_sizes_that_come_again() -> None:
    ours = lt.LearnedCompose(PIPELINES["eval"], backend="cpu")
    first, second, third = parts(3)
    for image in (first, second, third, second, third):
        ours.forward(image)  # Native code keeps what it needs by itself.
    assert list(ours.runs) == [signature(first)]
    ours.forward(third)
    assert list(ours.runs) == [signature(first), signature(third)]
    assert set(ours.kinds) == {kind_of(first)}
    expected = v2.Compose(PIPELINES["eval"])(third)
    assert (ours(third) - expected).abs().max() < 1e-5


@NATIVE
def test_what_is_kept_is_bounded_in_bytes() -> None:
    ours = lt.LearnedCompose(PIPELINES["moco"], backend="cpu")
    ours.budget.most = 2**16  # A few dozen calls, of fewer images than there are lanes for.
    seeded(0)
    for image in parts(150):
        for _ in range(4):
            ours(image)
        assert ours.budget.spent <= ours.budget.most
        (segment,) = ours.segments.values()
        kept = sum(len(lane.calls) for lane in segment.lanes.values())
        assert kept * BYTES_OF_CALL <= ours.budget.most
        assert max(len(segment.lanes), len(ours.runs)) <= MOST_LANES


@NATIVE
@pytest.mark.parametrize("name", ["eval", "train", "moco"])
def test_threads_share_one_pipeline(name: str) -> None:
    """Each thread draws from torch's generator as it comes; whatever was drawn, it is given back to be replayed."""
    ours = lt.LearnedCompose(PIPELINES[name], backend="cpu", fallback="error")
    images = parts(60)
    drawn = [ours.make_params(image) for image in images]
    expected = [ours(image, params=params) for image, params in zip(images, drawn, strict=True)]
    wrong: list[Any] = []

    def work(offset: int) -> None:
        for n in range(len(images)):
            k = (n + offset) % len(images)
            found = ours(images[k], params=drawn[k])
            ours(images[k])
            if not found.equal(expected[k]):
                wrong.append(k)

    threads = [threading.Thread(target=work, args=(15 * n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


RULES = (
    Mirrored(),
    *(Part("middle", 0, count, border) for count in (5, 8, 12) for border in BORDERS),
    *(Part("start", start, 6, border) for start in (-3, 2, 7) for border in BORDERS),
    *(Part("end", start, 4, border) for start in (-9, -4, -1) for border in BORDERS),
    *(Padded(*more, border) for more in ((2, 3), (0, 0), (-2, 4), (-1, -2)) for border in BORDERS),
)


@NATIVE
@pytest.mark.parametrize("number", range(0, len(RULES), 4))
def test_native_code_follows_rules(number: int) -> None:
    for rule in RULES[number : number + 4]:
        rows: Stage = Gather(rows=rule, columns=Mirrored(), fill=(3.0,))
        both: Stage = Gather(rows=Mirrored(), columns=rule, fill=(3.0,))
        for stages in ((rows,), (both,), (rows, both), (both, Gather(rows=Part("middle", 0, 4)), rows)):
            plan = Plan(1, None, stages, None)
            program = cpu.Program(plan)
            for shape in ((1, 7, 9), (1, 8, 8), (1, 12, 5)):
                image = BASE[:1, : shape[1], : shape[2]].contiguous()
                assert program.bind(image)(image).equal(Reference(plan).run(image)), (rule, shape)


def test_rules_say_which_pixels_are_kept() -> None:
    assert Mirrored().on(5) == Keep(4, -1, 5)
    assert Part("middle", 0, 3).on(6) == Keep(2, 1, 3)  # 1.5, to the even number
    assert Part("middle", 0, 2).on(7) == Keep(2, 1, 2)  # 2.5, to the even number
    assert Part("middle", 0, 6).on(3) == Keep(-1, 1, 6)
    assert Part("end", -2, 2).on(7) == Keep(5, 1, 2)
    assert Part("start", -1, 3, "edge").on(9) == Listed((0, 0, 1))
    assert Padded(1, 1, "reflect").on(3) == Listed((1, 0, 1, 2, 1))
    assert Padded(-1, -1).on(5) == Keep(1, 1, 3)
    assert [Padded(2, 1).length(4), Part("end", -2, 2).length(9), Mirrored().length(3)] == [7, 2, 3]


def test_copies_of_rules_fold_as_those_of_pixels() -> None:
    stages = (Gather(rows=Mirrored()), Gather(rows=Part("middle", 0, 4)), Gather(rows=Part("middle", 0, 8)))
    first, second = fold(at(stages, (1, 6, 3)))
    assert isinstance(first, Gather)
    assert first.rows == Keep(4, -1, 4)
    assert isinstance(second, Gather)
    assert second.outside
    assert second.rows == Keep(-2, 1, 8)


@pytest.mark.parametrize("size", [(40, 50), (50, 40), (33, 33), (90, 31)])
def test_native_sizes_are_those_of_the_rule(size: tuple[int, int]) -> None:
    rules = [((24,), None), ((24,), 28), ((17, 31), None), ((), 25), ((60,), 61)]
    for wanted, most in rules:
        expected = Sizing(wanted, most).of(size)
        image = BASE[:, : size[0], : size[1]]
        found = lt.LearnedCompose([v2.Resize(wanted or None, max_size=most)])(image)
        assert found.shape[1:] == expected
        assert found.shape == v2.Resize(wanted or None, max_size=most)(image).shape


@pytest.mark.parametrize(
    ("steps", "size", "error"),
    [
        ([v2.Pad(9, padding_mode="reflect"), v2.CenterCrop(4)], (8, 12), PaddingError),
        ([v2.GaussianBlur(23, 2.0), v2.CenterCrop(4)], (10, 12), PaddingError),
        ([v2.Resize(None, max_size=10), *FLOAT], (1, 90), EmptyImageError),
    ],
)
def test_sizes_that_are_refused_are_named_in_any_order(steps: Any, size: tuple[int, int], error: type) -> None:
    """The program serves them all; those that torchvision refuses are refused all the same, and others go on."""
    ours = lt.LearnedCompose(steps, fallback="error")
    good, bad = BASE[:, :40, :50], BASE[:, : size[0], : size[1]]
    expected = v2.Compose(steps)(good)
    for image in (good, bad, good, BASE[:, :41, :50], bad, good):
        if image is bad:
            with pytest.raises(error):
                ours(image)
        else:
            ours(image)
    assert (values(ours(good)) - values(expected)).abs().max() <= 1


def test_images_of_the_wanted_size_stay_the_same_object() -> None:
    ours = lt.LearnedCompose([v2.Resize((44, 57))])
    for height, width in ((50, 60), (44, 57), (30, 30), (44, 57)):
        image = BASE[:, :height, :width]
        assert (ours(image) is image) == ((height, width) == (44, 57))
