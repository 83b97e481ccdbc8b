"""Stages of color in the native backend against the reference: blends, statistics, hue, blur."""

import os
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import to_pil
from test_native import CUBIC, INT16, INT22, layouts, random_levels
from test_native import simd as simd  # autouse: each set of instructions, into poisoned memory
from torch import Tensor

from learned_transforms.errors import BackendError, InputShapeError, PipelineValueError
from learned_transforms.images.formats import Window
from learned_transforms.ir.arithmetic import Arithmetic
from learned_transforms.ir.indexing import Keep
from learned_transforms.ir.interpolation import Axis
from learned_transforms.ir.ops import (
    Blend,
    Blur,
    Equalize,
    Filter,
    Gather,
    Mix,
    Normalize,
    Resample,
    Slot,
    Stage,
    Stretch,
    Table,
    Turn,
)
from learned_transforms.ir.plan import Plan
from learned_transforms.kernels import cpu
from learned_transforms.kernels.reference.executor import Reference
from learned_transforms.layers.color import FORMS

ROUNDINGS = ("none", "truncate", "half_up", "half_even")
PLAIN = {rounding: Arithmetic("float32", rounding=rounding) for rounding in ROUNDINGS}
FUSED = {rounding: Arithmetic("float32", fma=True, rounding=rounding) for rounding in ROUNDINGS}
DOUBLE = {rounding: Arithmetic("float64", rounding=rounding) for rounding in ROUNDINGS}
DRAWN = Slot(0)
SIZES = ((1, 1), (1, 9), (7, 1), (33, 65), (31, 7), (300, 3), (5, 2100))


def double(*values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


BRIGHTEN = double([0, 1], [0, 0])
MIXING = double([0, 1], [1, -1])


def gray(channels: int, arithmetic: Arithmetic) -> Mix:
    weights = {1: [1.0], 2: [0.75, 0.25], 3: [0.2989, 0.587, 0.114]}[channels]
    return Mix(double(weights), double(0.0), arithmetic)


def smooth(arithmetic: Arithmetic, border: str = "copy") -> Filter:
    return Filter(double([1, 1, 1], [1, 5, 1], [1, 1, 1]) / 13, border, arithmetic)


GRAYS = {
    "fused": FUSED["truncate"],
    "whole": Arithmetic("int", 16, rounding="half_up"),
    "floats": PLAIN["none"],
}


def blends(channels: int, arithmetic: Arithmetic, ceiling: float = 255.0, floats: bool = False) -> dict[str, Blend]:
    """Every kind of other image, every form, every mean."""
    made = {"black": Blend(BRIGHTEN, DRAWN, None, None, "sum", ceiling, arithmetic)}
    kinds = {"floats": GRAYS["floats"]} if floats else GRAYS
    for kind, how in kinds.items():
        for form in ("sum", "from_image", "from_other"):
            for mean in (None, "none", "half_up"):
                other = gray(channels, how)
                made[f"{kind} {form} {mean}"] = Blend(MIXING, DRAWN, other, mean, form, ceiling, arithmetic)
    for how in (
        (PLAIN["none"],) if floats else (PLAIN["half_up"], PLAIN["none"], Arithmetic("int", 8, rounding="half_up"))
    ):
        for form in ("sum", "from_image"):
            made[f"smooth {how} {form}"] = Blend(MIXING, DRAWN, smooth(how), None, form, ceiling, arithmetic)
    return made


def stretches(ceiling: float = 255.0) -> list[Stretch]:
    ends = double(0.0, ceiling)
    hows = [*PLAIN.values(), *DOUBLE.values()] if ceiling == 255 else [PLAIN["none"], DOUBLE["none"]]
    return [Stretch(ends, form, ceiling, how) for form in ("divide", "multiply", "affine") for how in hows]


FORWARD, SWAPPED = (0, 2, 4), (3, 5, 1)
TURNS = [
    *(Turn(FORWARD, DRAWN, 255.999, form, 0, 255.0, how) for how in PLAIN.values() for form in FORMS["turn"]),
    Turn(FORWARD, DRAWN, 1.0, "multiply", 0, 255.0, PLAIN["none"]),
    *(Turn(FORWARD, DRAWN, 1.0, form, 255, 255.0, how) for how in PLAIN.values() for form in FORMS["turn"]),
    Turn(SWAPPED, DRAWN, 255.0, "divide", 0, 255.0, PLAIN["half_even"]),
    Turn(SWAPPED, DRAWN, 1.0, "divide", 255, 255.0, PLAIN["truncate"]),
]
GAUSSIAN = double(-0.5)


def blurs(arithmetic: Arithmetic, border: str = "edge") -> list[Blur]:
    sizes = ((1, 1), (3, 3), (1, 5), (7, 1), (9, 23))
    return [Blur(GAUSSIAN, DRAWN, size, border, arithmetic) for size in sizes]


def plan_of(image: Tensor, stages: Sequence[Stage]) -> Plan:
    shape: Any = tuple(image.shape[-3:])
    for stage in stages:
        shape = stage.output(shape)
    return Plan(image.shape[-3], None, tuple(stages), shape)


def images(channels: int, *size: int) -> list[Tensor]:
    """Random, extreme, few levels far from both ends, all alike."""
    noise = random_levels(channels, *size, seed=size[0])
    flat = torch.full_like(noise, 255)
    flat[0] = 7
    return [noise, (noise > 99) * torch.tensor(255, dtype=torch.uint8), noise // 16 + 100, flat]


def agree(found: Tensor, expected: Tensor, within: float = 0) -> None:
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    if within:
        assert torch.allclose(found, expected, rtol=1e-6, atol=within, equal_nan=True)
    else:
        assert found.nan_to_num(7).equal(expected.nan_to_num(7))


def check(image: Tensor, *stages: Stage, factors: Sequence[float] = (), within: float = 0) -> Tensor:
    """Both backends give the same, from whatever memory."""
    plan = plan_of(image, stages)
    assert cpu.why_not(plan, None, False) is None
    expected = Reference(plan).run(image, None, factors)
    fused = any(getattr(stage, "arithmetic", INT16).fma for stage in stages)
    within = max(within, 1e-4 if fused and expected.is_floating_point() else 0)
    program = cpu.Program(plan)
    for same in layouts(image).values() if image.ndim == 3 else (image,):
        for interleaved in (False, True):
            agree(program.bind(same, interleaved)(same, None, factors), expected, within)
    return expected


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("how", [PLAIN, FUSED], ids=["plain", "fused"])
def test_blends(how: dict[str, Arithmetic], rounding: str) -> None:
    for channels in (1, 3):
        for n, stage in enumerate(blends(channels, how[rounding]).values()):
            for k, factor in enumerate((0.0, 0.37, 1.0, 1.9)):
                check(images(channels, *SIZES[(n + k) % len(SIZES)])[k], stage, factors=(factor,))
            check(random_levels(3, channels, 9, 11), stage, factors=(1.3,))


@pytest.mark.parametrize("how", [PLAIN, FUSED], ids=["plain", "fused"])
def test_blends_of_floats(how: dict[str, Arithmetic]) -> None:
    for n, (name, stage) in enumerate(blends(3, how["none"], 1.0, floats=True).items()):
        within = 1e-6 if "None" not in name and name.startswith("floats") else 0
        for size in SIZES[n % 2 :: 2]:
            image = random_levels(3, *size).float() / 255
            for factor in (0.0, 0.6, 1.7):
                check(image, stage, factors=(factor,), within=within)
    for rounding in ROUNDINGS[1:]:
        for stage in blends(3, how[rounding], floats=True).values():
            if stage.mean is None:
                check(random_levels(3, 9, 35).float(), stage, factors=(1.4,))


def test_nan_of_floats_stays() -> None:
    image = torch.rand(3, 5, 300)
    image[0, 2, 3], image[1, 4, 290], image[2, 0, 0] = (float("nan"),) * 3
    mean = Blend(MIXING, 0.7, gray(3, PLAIN["none"]), "none", "sum", 1.0, PLAIN["none"])
    turn = Turn(FORWARD, 0.2, 1.0, "divide", 0, 1.0, PLAIN["none"])
    for stage in (replace(mean, mean=None), replace(mean, other=None), mean, stretches(1.0)[0], turn):
        assert check(image, stage).isnan().any()


def test_stretches() -> None:
    for n, stage in enumerate(stretches()):
        for k in range(4):
            for channels in (1, 3):
                size = SIZES[(n + k) % len(SIZES)]
                check(images(channels, *size)[k], stage)
                check(random_levels(channels, *size).float() * 0.7 + 20.3, stage)
        check(random_levels(2, 3, 9, 11) // 2, stage)
    for stage in stretches(1.0):
        check(torch.rand(3, 9, 35), stage)
        check(torch.full((3, 9, 35), 0.3), stage)
    every = torch.arange(256, dtype=torch.uint8)
    ranges = torch.stack([every.clamp(low, high) for low in range(0, 256, 3) for high in range(low, 256, 7)])[
        :, None, None
    ]
    for stage in stretches()[1::4]:
        check(ranges, replace(stage, ends=double(3.0, 251.0)))
        check(ranges, stage)


def test_histograms() -> None:
    for stage in (Equalize(255, 0.5), Equalize(255, 0.0), Equalize(1, 0.9), Equalize(100, -0.3)):
        for size in (*SIZES, (64, 64)):
            for channels in (1, 3):
                for image in images(channels, *size):
                    check(image, stage)
        check(random_levels(2, 3, 40, 51) // 3, stage)


@pytest.mark.parametrize(
    "stage", TURNS, ids=lambda stage: f"{stage.centres} {stage.form} {stage.steps} {stage.arithmetic.rounding}"
)
def test_turns(stage: Turn) -> None:
    for size in SIZES:
        for image, factor in zip(images(3, *size), (-0.5, 0.0, 0.31, 0.5), strict=True):
            check(image, stage, factors=(factor,))
    check(random_levels(2, 3, 9, 11), stage, factors=(0.1,))
    for factor in (-1.0, 1.0, 3.3, -77.7):
        check(random_levels(3, 9, 11), stage, factors=(factor,))
    if stage.steps == 0:
        floats = replace(stage, ceiling=1.0, span=1.0, arithmetic=PLAIN["none"])
        for factor in (-0.5, -1e-9, 0.0, 0.2):
            check(random_levels(3, 33, 65).float() / 255, floats, factors=(factor,))
            check(torch.rand(3, 9, 11), floats, factors=(factor,))


@cache
def colors(form: str, steps: int, every: int) -> tuple[Turn, Tensor, Tensor]:
    """All colors of every so many levels, and what a turn makes of them."""
    stage = Turn(FORWARD, 0.123, 1.0 if steps else 255.999, form, steps, 255.0, PLAIN["truncate"])
    level = torch.arange(0, 256, every, dtype=torch.uint8)
    image = torch.stack(torch.meshgrid(level, level, level, indexing="ij")).flatten(-2)
    reference = Reference(plan_of(image, [stage]))
    return stage, image, torch.cat([reference.run(part) for part in image.split(8, 1)], 1)


@pytest.mark.parametrize("every", [3, pytest.param(1, marks=pytest.mark.full)])
@pytest.mark.parametrize(("form", "steps"), [("multiply", 0), ("divide", 0), ("divide", 255)])
def test_colors(form: str, steps: int, every: int) -> None:
    stage, image, expected = colors(form, steps, every)
    assert cpu.Program(plan_of(image, [stage])).bind(image)(image).equal(expected)


@pytest.mark.parametrize("border", ["edge", "reflect", "symmetric"])
@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_blurs(border: str, rounding: str) -> None:
    for how in (PLAIN[rounding], FUSED[rounding]):
        for stage in blurs(how, border):
            for size in SIZES:
                if border == "reflect" and not (stage.size[0] // 2 < size[0] and stage.size[1] // 2 < size[1]):
                    continue
                for image, sigma in zip(images(3, *size), (0.1, 0.8, 1.9, 30.0), strict=True):
                    check(image, stage, factors=(sigma,))
                if rounding == "none":
                    check(random_levels(1, *size).float() / 255, stage, factors=(1.1,))
    check(random_levels(2, 3, 30, 40), blurs(PLAIN[rounding], border)[-1], factors=(2.0,))


def test_blurs_of_other_shapes() -> None:
    """More coefficients, sides that differ, infinities."""
    stage = Blur(double(-0.3, -0.01), DRAWN, (5, 9), "reflect", PLAIN["none"])
    image = random_levels(3, 20, 41).float()
    check(image, stage, factors=(1.3,))
    image[0, 4, 4], image[1, 0, 3], image[2, 19, 40] = float("nan"), float("inf"), -float("inf")
    check(image, stage, factors=(0.05,))


MEANS = Blend(MIXING, Slot(1), gray(3, GRAYS["fused"]), "none", "sum", 255.0, FUSED["truncate"])
PASTEL = Blend(MIXING, Slot(2), gray(3, GRAYS["whole"]), None, "from_image", 255.0, PLAIN["truncate"])
BRIGHT = Blend(BRIGHTEN, Slot(0), None, None, "sum", 255.0, PLAIN["truncate"])
SHARP = Blend(MIXING, Slot(1), smooth(PLAIN["half_up"]), None, "sum", 255.0, FUSED["truncate"])
HUE = replace(TURNS[2], factor=Slot(3))
HUE_8 = replace(TURNS[12], factor=Slot(3))
SOFT = Blur(GAUSSIAN, Slot(0), (5, 7), "reflect", PLAIN["half_even"])
SHRINK = Resample(*(Axis(CUBIC, torch.zeros(()), n, INT22) for n in (14, 21)), INT22)
LEVELS = Table(random_levels(3, 256, seed=4))
ONE_LEVELS = Table(random_levels(1, 256, seed=5))
FLOATS = Table(torch.arange(256.0)[None] / 255)
NORMALIZE = Normalize(torch.tensor([0.4, 0.5, 0.6]), torch.tensor([0.2, 0.3, 0.4]))
MIRROR = Gather(rows=Keep(13, -1, 14), columns=Keep(20, -1, 21))
SWAP = Gather(channels=(2, 0, 1))
GRAY3 = Mix(gray(3, FUSED["truncate"]).weight.expand(3, 3), torch.zeros(3).double(), FUSED["truncate"])
CHAINS: dict[str, tuple[Stage, ...]] = {
    "jitter": (SHRINK, BRIGHT, MEANS, PASTEL, HUE, FLOATS, NORMALIZE),
    "jitter in another order": (SHRINK, HUE_8, MEANS, PASTEL, BRIGHT, FLOATS),
    "tables": (LEVELS, BRIGHT, ONE_LEVELS, BRIGHT, LEVELS, BRIGHT, FLOATS, NORMALIZE),
    "statistics in a row": (stretches()[1], Equalize(255, 0.5), MEANS, MEANS, ONE_LEVELS, stretches()[5], LEVELS),
    "self-supervised": (SHRINK, BRIGHT, MEANS, HUE, GRAY3, SOFT, MIRROR, FLOATS, NORMALIZE),
    "sharp and soft": (SOFT, SHARP, LEVELS, SHARP, SHRINK, SHARP, SOFT, SWAP, BRIGHT, SWAP),
    "to floats": (SWAP, PASTEL, replace(BRIGHT, arithmetic=PLAIN["none"]), NORMALIZE),
    "floats on the way": (replace(TURNS[0], factor=Slot(3)), replace(SOFT, arithmetic=PLAIN["none"]), NORMALIZE),
}


@pytest.mark.parametrize("name", CHAINS)
def test_chains(name: str) -> None:
    factors = (1.2, 0.7, 1.5, -0.13)
    for size in ((33, 65), (14, 21), (140, 9)) if SHRINK in CHAINS[name] else ((33, 65), (4, 4), (100, 70)):
        check(random_levels(3, *size), *CHAINS[name], factors=factors)
        check(random_levels(3, 3, *size), *CHAINS[name], factors=factors)
    image = random_levels(3, 60, 45)
    plan = plan_of(image, CHAINS[name])
    expected = Reference(plan).run(image, None, factors)
    for interleaved in (False, True):
        agree(cpu.Program(plan).bind(to_pil(image), interleaved)(to_pil(image), None, factors), expected)


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_pil_images(mode: str) -> None:
    channels = 3 if mode == "RGB" else 1
    stages: list[Stage] = [*blends(channels, PLAIN["truncate"]).values(), *stretches(), Equalize(255, 0.5)]
    stages += [*blurs(PLAIN["half_even"]), *(TURNS if channels == 3 else ())]
    for image in images(channels, 37, 90):
        for stage in stages:
            plan = plan_of(image, [stage])
            agree(
                cpu.Program(plan).bind(to_pil(image))(to_pil(image), None, (0.7,)),
                Reference(plan).run(image, None, (0.7,)),
            )


def test_windows() -> None:
    image = random_levels(3, 61, 90)
    for stages in ((MEANS, SHRINK), (SOFT, SHRINK), (Equalize(255, 0.5), SHRINK), (HUE, SHARP, SHRINK)):
        plan = plan_of(image, stages)
        call = cpu.Program(plan).bind(image)
        for window in ((0, 0, 61, 90), (30, 50, 31, 40), (7, 9, 4, 5)):
            agree(call(image, window, (1.2, 0.7, 1.5, 0.1)), Reference(plan).run(image, window, (1.2, 0.7, 1.5, 0.1)))
    small: Window = (0, 0, 3, 3)
    with pytest.raises(ValueError, match="further beyond the image than it can be reflected"):
        cpu.Program(plan_of(image, (SOFT, SHRINK))).bind(image)(image, small, (1.2,))


def test_threads_change_nothing() -> None:
    """One image is cut into bands, which share its statistics."""
    image = random_levels(3, 301, 600)
    before = torch.get_num_threads()
    stages = (MEANS, PASTEL, HUE, SHARP, SOFT, stretches()[5], Equalize(255, 0.5), BRIGHT)
    try:
        for stage in stages:
            plan = plan_of(image, [stage])
            call, expected = cpu.Program(plan).bind(image), Reference(plan).run(image, None, (0.7, 1.2, 0.3, 0.2))
            for threads in (1, 2, 3):
                torch.set_num_threads(threads)
                assert call(image, None, (0.7, 1.2, 0.3, 0.2)).equal(expected)
        many = random_levels(5, 3, 200, 200)
        plan = plan_of(many, CHAINS["jitter"])
        factors = (0.7, 1.2, 0.3, 0.2)
        agree(cpu.Program(plan).bind(many)(many, None, factors), Reference(plan).run(many, None, factors))
    finally:
        torch.set_num_threads(before)


def test_factors() -> None:
    """Given ones, drawn ones, and those that are not there."""
    image = random_levels(3, 20, 30)
    for stage in (BRIGHT, MEANS, PASTEL, SHARP):
        drawn = check(image, replace(stage, factor=Slot(2)), factors=(9.0, 9.0, 0.6, 9.0))
        assert drawn.equal(check(image, replace(stage, factor=0.6)))
    call = cpu.Program(plan_of(image, (HUE, BRIGHT))).bind(image)
    for factors in ((), (1.0,), (1.0, 1.0, 1.0)):
        with pytest.raises(ValueError, match="Expected factor 3 with the image: it is drawn for each"):
            call(image, None, factors)
        with pytest.raises(PipelineValueError, match="Expected factor 3 with the image: it is drawn for each"):
            Reference(plan_of(image, (HUE, BRIGHT))).run(image, None, factors)
    for factors in ((1.0, 0.0, 0.0, float("nan")), (1.0, 0.0, float("inf"), 0.0)):
        with pytest.raises(ValueError, match="finite"):
            call(image, None, factors)
    with pytest.raises(ValueError, match="a turn of hue"):
        call(image, None, (1.0, 0.0, 0.0, 1e9))
    for sigma in (0.0, -1.0):
        with pytest.raises(ValueError, match="sigma above 0"):
            cpu.Program(plan_of(image, [SOFT])).bind(image)(image, None, (sigma,))
    for factors in ((1e300, 0.5, 0.5, 0.1), (-1e300, -3.0, 1e30, 0.1)):
        check(image, BRIGHT, MEANS, PASTEL, HUE, factors=factors)


def test_stages_that_do_not_fit() -> None:
    image = random_levels(3, 6, 8)
    nothing = float("nan")
    mean, hue, soft = MEANS, TURNS[0], SOFT
    for stage, message in (
        (replace(mean, other=gray(1, PLAIN["none"])), "another number of channels"),
        (replace(mean, other=GRAY3), "one gray channel"),
        (replace(mean, mean="truncate"), "rounded half up, or not"),
        (replace(mean, form="product"), "nothing known is called product"),
        (replace(mean, factor=nothing), "finite"),
        (replace(mean, factor=Slot(-1)), "numbered from 0"),
        (replace(mean, factor=Slot(2**40)), "numbered from 0"),
        (replace(mean, ceiling=nothing), "ceiling"),
        (replace(mean, terms=double(0, 1, 2)), ""),
        (replace(mean, terms=double([nothing, 1], [1, 1])), "finite"),
        (replace(mean, arithmetic=INT22), "not computed in integers"),
        (Stretch(double(1.0, 1.0), "divide", 255.0, PLAIN["none"]), "ends"),
        (Stretch(double(0.0, 1.0), "add", 255.0, PLAIN["none"]), "nothing known"),
        (Equalize(0, 0.5), "at least one level"),
        (Equalize(255, nothing), "offset"),
        (replace(hue, centres=(0, 2, 2)), "centres"),
        (replace(hue, centres=(0, 2, 6)), "centres"),
        (replace(hue, steps=-1), "255 steps, or none"),
        (replace(hue, span=nothing), "finite"),
        (replace(soft, size=(4, 5)), "odd"),
        (replace(soft, size=(5, -1)), "odd"),
        (replace(soft, border="copy"), "beyond every border"),
        (replace(soft, coefficients=double()), "at least one coefficient"),
        (replace(soft, coefficients=double(nothing)), "finite"),
    ):
        with pytest.raises(BackendError, match=f"cannot run this plan.*{message}"):
            cpu.Program(plan_of(image, [stage]))
    with pytest.raises(BackendError, match="three channels"):
        cpu.Program(plan_of(image[:1], [hue]))
    for stage in (Equalize(255, 0.5), PASTEL, replace(SHARP, other=smooth(Arithmetic("int", 8, rounding="half_up")))):
        with pytest.raises(InputShapeError, match="uint8 images"):
            cpu.Program(plan_of(image, [stage])).bind(image.float())
    with pytest.raises(InputShapeError, match="further beyond the image than it can be reflected"):
        cpu.Program(plan_of(image, [replace(soft, size=(13, 3))])).bind(image)


def test_reasons() -> None:
    def reason(stage: Stage) -> str:
        return cpu.why_not(Plan(3, None, (stage,), (3, 1, 1)), None, False) or ""

    assert "Blend does not sum in float64" in reason(replace(BRIGHT, arithmetic=DOUBLE["none"]))
    assert "Blur does not sum in float64" in reason(replace(SOFT, arithmetic=DOUBLE["none"]))
    assert "Mix does not sum in float64" in reason(replace(PASTEL, other=gray(3, DOUBLE["none"])))
    assert "mean of what a Filter makes" in reason(replace(SHARP, mean="none"))
    assert "nothing around it" in reason(replace(SOFT, border="zero"))
    assert "255 steps" in reason(replace(HUE, steps=100))
    assert "being trained" in reason(replace(BRIGHT, terms=MIXING.clone().requires_grad_()))
    assert "being trained" in reason(
        replace(SHARP, other=replace(smooth(PLAIN["none"]), weights=MIXING.clone().requires_grad_()))
    )


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
def test_tables_of_one_image_are_used_for_the_next() -> None:
    """Statistics make a table for each image, of some kilobytes: a batch must not keep them all."""
    plan = Plan(3, None, (Stretch(double(0.0, 255.0), "divide", 255.0, stretches()[0].arithmetic),), (3, 2, 2))
    batch = random_levels(20_000, 3, 2, 2)
    call = cpu.compile_plan(plan).bind(batch)
    call(batch)
    before = resident_bytes()
    call(batch)
    assert resident_bytes() - before < 4 << 20


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
