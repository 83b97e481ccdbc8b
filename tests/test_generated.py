"""Generated inputs x pipelines against torchvision under equal seeds, five calls each; see generated_check.py."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from generated import QUIET
from generated_check import Difference, check
from generated_sources import Case, cases, transform
from generated_values import evaluated
from hypothesis import Phase, given, settings

import learned_transforms
from learned_transforms.artifacts.describe import class_name
from learned_transforms.transforms.containers import COMPOSES
from learned_transforms.transforms.registry import SPECS
from learned_transforms.transforms.torch_ops import OPERATIONS

HERE = Path(__file__).parent
CHUNK = 1000
"""Cases of one process."""


@settings(max_examples=400, derandomize=True, phases=[Phase.generate], **QUIET)  # Shrinking takes minutes.
@given(case=cases())
def test_generated(case: Case) -> None:
    check(case)


APPEND, REPLACE = "compose.transforms.append(v2.Grayscale())", "every(compose)[-1].forward = lambda *x: 'replaced'"
FOUND = (
    # What a pipeline is.
    Case("nn.Sequential(v2.Identity(), v2.Resize(5))", "tensor((3, 4, 4))"),
    Case("v2.Grayscale()", "tensor((3, 1, 9))"),
    Case("v2.RandomApply([v2.RandomAutocontrast()], p=0.5)", "tensor((3, 2, 2))"),
    Case("Views(v2.Resize(5), v2.Resize(6))", "tensor((3, 4, 4))"),
    Case("[nn.Sequential()]", "tensor((3, 4, 4))"),
    Case("v1.Compose([])", "'a path'"),
    Case("[v1.RandomAutocontrast(p=1.0), v1.RandomPerspective(0.1, p=1.0)]", "tensor((2, 2, 1, 5, 60))"),
    # Altered transforms.
    Case("[redrawn(v2.RandomHorizontalFlip(1))]", "tensor((3, 7, 11))"),
    Case("[redrawn(v2.Grayscale(3))]", "pil('RGB', (4, 4))"),
    Case("[v2.Pad(1), hooked(v2.Resize(6))]", "tensor((3, 4, 9))"),
    Case("[hooked(v2.Resize(6))]", "(tensor((3, 4, 9)), 3)"),
    Case("[Cropped(4)]", "tensor((3, 9, 9))"),
    Case("[v2.TenCrop(1)]", "tensor((3, 4, 4))", REPLACE),
    Case("[v2.Resize(5), v2.Identity()]", "tensor((3, 4, 4))", REPLACE),
    Case("[v2.Resize(5)]", "tensor((3, 4, 4))", APPEND),
    # Arguments of any kind.
    Case("[v2.GaussianBlur(np.array([3, 5]))]", "tensor((3, 40, 40))"),
    Case("[v2.RandomCrop(torch.tensor([5, 9]), padding=5)]", "tensor((5, 4, 4))"),
    Case("[v2.RandomApply(nn.ModuleList([v2.RandomCrop(np.array([5, 3]))]), p=1)]", "tensor((3, 9, 9))"),
    Case("[v2.RandomPosterize(np.int64(3), p=1)]", "tensor((3, 4, 4))"),
    Case("[v2.GaussianBlur(torch.tensor([3, 5]).double())]", "pil('RGB', (9, 9))"),
    Case("[v2.CenterCrop(torch.tensor([5, 9]).double())]", "pil('L', (10, 10))"),
    Case("v1.Resize([np.float64(3)])", "tensor((3, 4, 9))"),
    *(
        Case("[v2.CenterCrop(np.array([10, 3], np.float32))]", source)
        for source in ("pil('L', (1, 1))", "tensor((3, 4, 4))")
    ),
    Case("[v1.Resize((4,), interpolation='bilinear')]", "tensor((3, 4, 4))"),
    Case("[v1.Resize(7), v1.CenterCrop([torch.tensor(5)])]", "tensor((3, 4, 4))"),
    Case("[v2.FiveCrop(torch.tensor([5, 9]))]", "tensor((3, 20, 20))"),
    Case("[v2.PILToTensor(), v1.RandomCrop(7, padding=np.int64())]", "pil('RGB', (9, 9))"),
    Case("[v1.Pad(1, fill=np.int64(3))]", "tensor((3, 4, 4))"),
    Case("nn.Sequential(v2.Identity())", "(tensor((3, 4, 4)), 3)", several=True),
    Case("v2.Compose([v2.RandomCrop(1), nn.Sequential()])", "(tensor((3, 4, 4)), pil('L', (2, 2)))", several=True),
    Case("[v2.Compose([nn.Sequential(v2.Identity())])]", "(tensor((3, 4, 4)), 3)", several=True),
    Case("[v2.Normalize(torch.tensor([0.5]), np.array([0.5]))]", "tensor((3, 4, 4), torch.float32)"),
    # Inputs that torchvision takes, or refuses in its own way.
    *(Case("[v2.Resize(5)]", source) for source in ("None", "3", "'path'", "png((6, 5))", "{}", "[]", "()")),
    Case("[v2.Grayscale()]", "Record(pil('RGB', (4, 4)), 3)"),
    Case("[v2.ColorJitter(0.5)]", "{'image': pil('RGB', (4, 4)), 'label': array((4, 5))}"),
    Case("[v2.RandomHorizontalFlip()]", "(boxes((7, 9)), 3)"),
    Case("[v2.ToTensor()]", "array((1, 9), np.float64)"),
    Case("[v1.ToTensor()]", "array((4, 9), np.uint16)"),
    Case("[v2.ColorJitter()]", "array((9,))"),
    Case("[v2.AutoAugment()]", "tensor((7, 11))"),
    Case("[v2.ToPureTensor()]", "tensor(())"),
    Case("[v2.Grayscale()]", "tensor(())"),
    Case("[v2.Grayscale()]", "tensor((2, 3, 3))"),
    Case("[v2.Grayscale()]", "tensor((4, 3, 3))"),
    Case("[v2.RGB()]", "tensor((5, 3, 3))"),
    Case("[v2.RandomAdjustSharpness(0.5, p=1)]", "tensor((9,))"),
    Case("[v2.RandomEqualize(p=1)]", "tensor((0, 0, 0))"),
    Case("[v2.ColorJitter(hue=0.3)]", "tensor((5, 40, 0))"),
    Case("[v2.ToDtype(torch.float32), v2.Normalize((0.1, 0.2), [0.25])]", "tensor((4, 3, 3))"),
    Case("[v2.RandomErasing(p=1, value=np.int64())]", "tensor((3, 13, 9))"),
    *(Case("[v2.Resize(30, max_size=31)]", source) for source in ("tensor((1, 1, 60))", "pil('L', (60, 1))")),
    Case("[v2.RandomAdjustSharpness(0, p=1)]", "tensor((0, 1, 40, 40))"),
    Case("[v2.GaussianBlur([3]), v2.TenCrop(1)]", "{'a': tensor((5, 1, 1)), 'b': tv_tensors.Mask(tensor((1, 1)))}"),
    Case("[v2.GaussianBlur([3]), v2.TenCrop(1)]", "{'a': tensor((3, 5, 5)), 'b': tv_tensors.Mask(tensor((5, 5)))}"),
    Case("v2.RandomCrop([torch.tensor(x) for x in (4,)])", "pil('L', (4, 61))"),
    Case("[v2.CenterCrop((9,)), v2.Resize(1)]", "tensor((1, 3, 5, 60))"),
    Case("[v2.Resize((5, 1))]", "tensor((2, 4, 13, 9))"),
    Case("[v2.Resize((5, 1))]", "tensor((2, 5, 13, 9))"),
    Case("[v2.FiveCrop(9)]", "[pil('RGB', (4, 4)), tv_tensors.Mask(tensor((4, 4)))]"),
    *(
        Case(f"[v1.RandomApply([v1.ConvertImageDtype(torch.float32)], p=1), v1.{name}()]", "array((4, 1))")
        for name in ("ToTensor", "ToPILImage")
    ),
    # Foreign functions and arrays.
    *(Case(f"[{f}]", "array((4, 5, 3))") for f in ("lambda x: x.mean()", "Image.fromarray", "len")),
    *(Case(f"[{f}]", "array((4, 5))") for f in ("lambda x: x", "lambda x: x.ndim", "lambda x: x, v2.Resize(3)")),
    Case("[lambda x: (x,), v2.RandomChannelPermutation()]", "array((4, 5, 3))"),
    Case("[Views(v2.Resize(5)), v2.ToTensor()]", "array((4, 5, 3))"),
    Case("[v2.ToDtype(torch.uint16), v2.ToTensor()]", "array((4, 5, 3))"),
    *(
        Case(f"[lambda x: np.asarray(x), {then}]", "pil('RGB', (9, 5))")
        for then in ("v1.ToTensor(), v1.Normalize([0.5], [0.5])", "v2.ToImage()", "v2.Resize(3)", "v1.Resize(3)")
    ),
    Case("[v2.RandomChannelPermutation(), v2.Lambda(lambda x: x.numpy()), v2.Identity()]", "tensor((3, 1, 1))"),
    Case("[v2.RandomOrder([v2.ToTensor()])]", "array((16, 1))"),
    Case("[v1.RandomApply([v1.Resize(1), v1.ToPILImage()])]", "array((2, 2))"),
    Case("[v2.CenterCrop((12, 30)), v2.RandomErasing(p=1, value='random')]", "array((4, 0, 3))"),
    Case("[v2.RandomOrder([v2.Pad(1), v2.RandomPosterize(np.uint8(3))])]", "array((5, 4))"),
    Case("[v2.PILToTensor()]", "array((5, 60))"),
    # The same object, the same layout, the same info, modified in place.
    Case("[v2.RandomSolarize(0, p=0)]", "tensor((3, 4, 4))"),
    Case("[v2.RandomEqualize(p=0)]", "pil('RGB', (4, 4))"),
    Case("[v2.RandomApply([v2.CenterCrop(7)], p=0)]", "pil('L', (2, 2))"),
    *(Case(f"[v2.{name}]", "tensor((3, 4, 4))") for name in ("Resize(4)", "RandomCrop(4)", "RGB()")),
    Case("[v2.Resize(4)]", "pil('RGB', (4, 4))"),
    Case("[v2.Pad(1)]", "laid(tensor((2, 3, 6, 4)), 'interleaved')"),
    Case("[v2.RandomVerticalFlip(1)]", "laid(tensor((3, 40, 40)), 'transposed')"),
    Case("[v2.Resize(17), v2.ToImage()]", "pil('RGB', (9, 4))"),
    *(Case(f"[v2.{name}]", "pil('RGB', (9, 9), dpi=(72, 72))") for name in ("Pad(2)", "GaussianBlur(3)", "Resize(4)")),
    Case("[v2.Grayscale()]", "pil('RGB', (4, 4), transparency=(1, 2, 3))"),
    Case("[v2.Normalize([0.5], [0.25], inplace=True)]", "tensor((3, 4, 4), torch.float32)"),
    *(
        Case(f"[v2.ToPILImage(), {then}]", source)
        for then in ("v2.PILToTensor()", "v2.ToImage()", "v2.RandomInvert(p=0), v2.PILToTensor()")
        for source in ("tensor((3, 61, 4))", "tv_tensors.Image(tensor((3, 1, 2)))")
    ),
    Case("[v2.RandomPosterize(8, p=1)]", "tensor((3, 7, 11), torch.float32).requires_grad_()"),
    *(
        Case(f"[{first}v2.RandomChannelPermutation()]", "laid(tensor((2, 4, 7, 11)), 'channels_last')")
        for first in ("", "v2.RandomInvert(), ")
    ),
    Case("[v2.CenterCrop(5), v2.RandomErasing(inplace=True, p=1)]", "tensor((3, 9, 9), torch.float32)"),
    Case("[v2.RandomInvert(), v2.PILToTensor()]", "pil('RGB', (4, 4))"),
    Case("[v2.ToImage(), v2.Compose([v2.ToPureTensor()])]", "tensor((3, 7, 11))"),
    # Draws and pixels.
    Case("[v2.RandomPosterize(0, p=0)]", "pil('L', (4, 4))"),
    Case(
        "[v2.RandomApply(nn.ModuleList([v2.TenCrop((9,))]), p=1), v2.ToTensor(), v2.RandomInvert()]",
        "pil('RGB', (40, 40))",
    ),
    Case("[v2.RandomPosterize(3, p=1)]", "tensor((3, 5, 5), torch.float32, 'nan')"),
    Case("[v1.RandomCrop(24, padding=3, pad_if_needed=True, padding_mode='reflect')]", "tensor((3, 15, 16))"),
    Case("[v1.RandomCrop(40, padding=3, pad_if_needed=True, padding_mode='symmetric')]", "pil('RGB', (15, 16))"),
    Case("[v1.ToTensor(), v1.Normalize([0.1, 0.2, 0.3], [1, 1, 1])]", "pil('L', (4, 5))"),
    Case("[v1.Pad(2, fill=[9])]", "tensor((3, 4, 4))"),
    Case("[v2.Resize((5, 1))]", "tensor((3, 13, 9), torch.float32)"),
    Case("[v2.Resize((5, 1))]", "tensor((5, 13, 9))"),
    Case("[v1.Resize(1)]", "tensor((3, 61, 4))"),
    Case("[v1.Resize(4)]", "pil('RGB', (4, 4))"),
    Case("[v1.Normalize([0.5], [0.25], inplace=True)]", "tensor((3, 4, 4), torch.float32)"),
    Case("[v2.RandomErasing(p=0), v2.Lambda(lambda x: x.requires_grad_())]", "tensor((3, 1, 9), torch.float32)"),
    Case("[v2.RandomGrayscale(p=0)]", "tensor((5, 3, 3))"),
    Case("[v2.Grayscale(3), v2.ColorJitter(0.5)]", "(pil('RGB', (4, 5)), pil('L', (4, 5)))"),
    Case("[lambda x: x.convert('RGB'), v1.Resize(5), v1.ToTensor()]", "pil('RGBA', (9, 9))"),
    # Found by many cases: a crop of all that is there, erasing of arrays, sizes of what has none, videos, no padding.
    Case("[v2.RandomEqualize(), v2.RandomCrop(1)]", "(tensor((3, 1, 1)), boxes((1, 1)))", seed=1),
    Case("[v2.RandomCrop(2, padding=1)]", "tensor((3, 2, 2))", seed=4),
    Case("[v1.RandomErasing(value=0, p=1, scale=(0.9, 1), ratio=(9, 9))]", "array((5, 60, 3), np.uint8)"),
    *(
        Case(
            "[v2.RandomChoice([v2.RandomVerticalFlip(p=1)]), v2.RandomShortestSize([7, 9])]",
            "{'d': tv_tensors.Image(tensor((2, 3, 1, 9)))}",
            "for t in every(compose): t.size = [6, 5]",
            seed=seed,
        )
        for seed in range(2)
    ),
    Case("[v2.Grayscale(1)]", "tv_tensors.Video(tensor((2, 3, 1, 9)))"),
    Case("[v2.RandomGrayscale(p=1)]", "(pil('RGB', (9, 1)), tv_tensors.Video(tensor((2, 3, 1, 9))))"),
    Case("[v2.Pad(0, fill=(1, 2, 3))]", "tensor((1, 4, 4))"),
    # In which order errors come.
    Case(
        "[v2.RandomResizedCrop(1), v2.Pad([1, 2, 3, 4], padding_mode='symmetric')]",
        "(tv_tensors.Image(tensor((3, 4, 4))), boxes((4, 4)))",
    ),
    Case("[v2.TenCrop(1), v2.GaussianBlur((5, 1)), v2.SanitizeBoundingBoxes()]", "tensor((2, 3, 2, 2))"),
    Case("[v2.FiveCrop(1), v2.RandomOrder([v2.GaussianBlur(3), v2.SanitizeKeyPoints()])]", "tensor((3, 1, 1))"),
    Case("[lambda x: [x, v2.Resize(5)(x)], v2.RandomIoUCrop(), v2.RandomIoUCrop()]", "pil('RGB', (1, 1))"),
    Case(
        "[v2.ToImage(), v2.RandomApply([v2.GaussianBlur(3)], p=1), v2.RandomCrop((12, 30))]",
        "{'a': pil('RGBa', (1, 13)), 'b': pil('RGB', (1, 13))}",
    ),
    *(
        Case(
            "[v2.RandomZoomOut(), v2.Lambda(list)]", "(3, pil('RGB', (4, 61)), tv_tensors.Mask(tensor((2, 2))))", seed=n
        )
        for n in range(2)
    ),
    Case(
        "[v2.RandomApply([v2.Pad([1, 2, 3, 4], padding_mode='symmetric'), v2.RandomAdjustSharpness(1.5, p=1)], p=1)]",
        "tensor((4, 3, 3))",
    ),
    Case("[nn.Identity(), v2.ToPILImage()]", "(tensor((3, 5, 6)), 'a string')", several=True),
    Case(
        "[v2.RandomHorizontalFlip(p=1), v2.LinearTransformation(torch.eye(12), torch.zeros(12))]",
        "(tv_tensors.Image(tensor((3, 4, 4))), tv_tensors.Mask(tensor((1,))))",
    ),
    *(Case(f"[v1.GaussianBlur({size}([3, 5]))]", "tensor((3, 9, 9))") for size in ("torch.tensor", "np.array")),
    # Views of the input, which functions write to; containers that hold what is foreign, on arrays.
    *(
        Case(f"[{crop}, {then}]", "tensor((3, 4, 4))", seed=seed)
        for crop in (
            "v1.RandomCrop(1)",
            "v2.RandomCrop((2, 4))",
            "v1.CenterCrop(2)",
            "v2.CenterCrop(3), v2.RandomCrop(2)",
        )
        for then in ("lambda x: x.add_(1)", "v2.Lambda(lambda x: x.add_(1))")
        for seed in range(2)
    ),
    Case("[v1.RandomOrder([v1.RandomAutocontrast(), v1.RandomCrop(1)]), lambda x: x.add_(1)]", "tensor((3, 4, 4))"),
    Case(
        "[v2.RandomApply([v2.RandomIoUCrop()]), lambda x: (x[0].add_(1), x[1])]", "(tensor((3, 9, 9)), boxes((9, 9)))"
    ),
    Case("[v2.RandomChoice([Views(v2.RandomHorizontalFlip(), v2.Resize(5))]), v2.Resize(3)]", "array((24, 33, 5))"),
    Case("[v1.RandomOrder([Halved(), Views(v1.Resize(2))])]", "array((4, 5))"),
    Case("[v2.RandomEqualize(p=1), v2.GaussianNoise()]", "array((4, 5, 3))"),
    *(
        Case(pipeline, "array((4, 5))")
        for pipeline in ("[nn.Identity()]", "[nn.Identity(), v2.Resize(3)]", "[v2.RandomApply([nn.Identity()], p=1)]")
    ),
    # Batches of one, and padding that mirrors the edge, in torch's usual order; gray images whose hue is turned.
    *(
        Case(f"[{name}]", f"laid(tensor(({count}, 2, 16, 16)), 'interleaved')", seed=1)
        for name in ("v2.RandomZoomOut(p=1)", "v2.Pad(1, padding_mode='edge')", "v2.RandomResizedCrop(7)")
        for count in (1, 2)
    ),
    *(
        Case(f"[{api}.Pad(1, padding_mode='symmetric')]", "laid(tensor((2, 3, 5, 4)), 'interleaved')")
        for api in ("v1", "v2")
    ),
    *(
        Case(f"[{steps}]", f"laid(tensor(({shape}), torch.float32), 'interleaved')" + then)
        for steps in ("v2.Resize(8), v2.GaussianBlur(3)", "v2.Grayscale(3), v2.Resize(8)", "v2.RandomHorizontalFlip(1)")
        for shape, then in (("1, 3, 7, 9", ""), ("3, 7, 9", ".unsqueeze(0)"))
    ),
    *(Case(f"[{api}.ColorJitter(hue=0.2)]", "pil('L', (4, 5))") for api in ("v1", "v2")),
    *(Case("[v2.RandomPhotometricDistort()]", "pil('L', (4, 5))", seed=seed) for seed in range(4)),
    # Channels of one value beyond 0 to 1.
    *(
        Case(f"[lambda x: x - {less}, {api}.RandomAutocontrast(p=1)]", "tensor((3, 4, 5), torch.float32, 'constant')")
        for less in (-6, 0.5, 3)
        for api in ("v1", "v2")
    ),
    # A crop that is left with nothing; batches that hue and gray leave in torch's usual order.
    Case("[v2.RandomResizedCrop(17, ratio=(3, 4))]", "tensor((3, 1, 1))"),
    Case("[v1.RandomResizedCrop(17, ratio=(3, 4)), v1.RandomHorizontalFlip()]", "tensor((3, 9, 1), torch.float32)"),
    Case("[v2.RandomResizedCrop(17, ratio=(3, 4))]", "pil('RGB', (1, 1))"),
    Case("[v2.ColorJitter(hue=(0.2, 0.2))]", "laid(tensor((2, 3, 9, 7)), 'interleaved')"),
    Case("[v1.ColorJitter(hue=(0.2, 0.2))]", "laid(tensor((2, 3, 9, 7)), 'interleaved')"),
    Case("[v2.RandomGrayscale(1.0), v2.Resize(5)]", "laid(tensor((2, 3, 9, 7)), 'interleaved')"),
)
"""Of each kind of fault that the cases found, one."""


@pytest.mark.parametrize("case", FOUND, ids=lambda case: f"{case.pipeline} {case.input}"[:100])
def test_found(case: Case) -> None:
    assert check(case)


def test_every_row_is_drawn() -> None:
    seen: set[str] = set()

    @settings(max_examples=1500, derandomize=True, phases=[Phase.generate], **QUIET)
    @given(transform("v1"), transform("v2"))
    def draw(first: str, second: str) -> None:
        seen.update(re.findall(r"v[12]\.\w+", first + second))

    draw()
    # Operations are in test_noise.py and test_mixing.py, clients' classes in test_known.py.
    drawn = {kind for kind in (*SPECS, *COMPOSES) if kind not in OPERATIONS}
    assert {class_name(kind) for kind in drawn if kind.__module__.startswith("torchvision.")} <= seen


@pytest.mark.full
@pytest.mark.parametrize("seed", range(20))
def test_many_generated(seed: int) -> None:
    """A thousand in a child process each: where it dies, the case that it died of is told."""
    paths = [str(HERE), str(Path(learned_transforms.__file__).parent.parent)]
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", str(HERE / "generated.py"), str(seed), str(CHUNK)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([*paths, os.environ.get("PYTHONPATH", "")])},
        capture_output=True,
        text=True,
    )
    lines = [line.partition("\t") for line in ran.stdout.splitlines()]
    tried, differing = ([rest for tag, _, rest in lines if tag == wanted] for wanted in ("case", "differs"))
    assert ran.returncode == 0, f"exit status {ran.returncode} at {tried[-1:]}:\n{ran.stderr[-2000:]}"
    assert len(tried) >= CHUNK
    assert ran.stdout.count("\nnothing to compare\n") < CHUNK / 4
    assert not differing, f"{len(differing)} of {len(tried)} differ, the shortest: {min(differing, key=len)}"


@pytest.mark.parametrize(
    ("ours", "kind"),
    [
        ("v2.RandomHorizontalFlip(0)", "values"),
        ("v2.RandomHorizontalFlip(1), v2.RandomHorizontalFlip(0)", "random state"),
        ("v2.RandomHorizontalFlip(1), v2.ToDtype(torch.float32)", "dtype or shape"),
        ("v2.RandomHorizontalFlip(1), tv_tensors.Image", "type"),
        ("v2.RandomHorizontalFlip(1), lambda x: x.mT.contiguous().mT", "layout"),
        ("v2.RandomHorizontalFlip(1), v2.Lambda(lambda x: x / 0 if x.sum() else 1 / 0)", "dtype or shape"),
        ("lambda x: (torch.rand(1), v2.functional.horizontal_flip(x), x.add_(1))[1]", "input modified"),
        ("v2.RandomHorizontalFlip(1), v2.Identity(), lambda x: 1 / 0", "raises"),
    ],
)
def test_check_sees(ours: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipeline that does other things than it should is noticed, whatever it is that differs."""
    real = learned_transforms.LearnedCompose
    other = evaluated(f"[{ours}]")
    monkeypatch.setattr(learned_transforms, "LearnedCompose", lambda transforms: real(other))
    with pytest.raises(Difference) as found:
        check(Case("[v2.RandomHorizontalFlip(1)]", "tensor((3, 4, 5))"))
    assert found.value.kind == kind
