"""Inputs and pipelines as Python source: what hypothesis draws cases from."""

from functools import cache
from typing import Any, NamedTuple

from hypothesis import strategies as st

Source = st.SearchStrategy[str]


class Case(NamedTuple):
    """Source of a list of transforms (or of one Compose), of an input, and of a change between the calls.

    Attributes:
        several: the input is a tuple of arguments.
    """

    pipeline: str
    input: str
    change: str = ""
    several: bool = False
    seed: int = 0


# Sources of arguments. ``call`` writes one call; what stands by name may be left out.


def call(name: str, *required: Source, **optional: Source) -> Source:
    return st.tuples(st.tuples(*required), st.fixed_dictionaries({}, optional=optional)).map(
        lambda drawn: f"{name}({', '.join([*drawn[0], *(f'{k}={v}' for k, v in drawn[1].items())])})"
    )


def among(*values: Any) -> Source:
    """One of some values, or sources where they are strings."""
    return st.sampled_from([value if isinstance(value, str) else repr(value) for value in values])


def scalar(*numbers: float) -> Source:
    """A number, now and then as NumPy or torch write it."""
    dtypes = ("int64", "int32", "uint8") if all(isinstance(n, int) for n in numbers) else ("float64", "float32")
    spelled = [f"np.{dtype}({n})" for n in numbers for dtype in dtypes] + [f"torch.tensor({n})" for n in numbers]
    return st.one_of(among(*numbers), among(*numbers), st.sampled_from(spelled))


def several(*groups: tuple[float, ...]) -> Source:
    """Numbers in some container."""
    forms = ("{0}", "{1}", "{0}", "{1}", "torch.tensor({1})", "np.array({1})", "np.array({1}, np.float32)")
    forms = (*forms, "[np.float64(x) for x in {0}]", "torch.tensor({1}).double()", "[torch.tensor(x) for x in {0}]")
    forms = (*forms, "collections.UserList({1})", "torch.Size([int(x) for x in {0}])", "(x for x in {0})")
    return st.tuples(st.sampled_from(groups), st.sampled_from(forms)).map(
        lambda drawn: drawn[1].format(tuple(drawn[0]), list(drawn[0]))
    )


def weighted(*shares: tuple[int, Source]) -> Source:
    """From one of some strategies, by their shares."""
    chosen = [strategy for share, strategy in shares for _ in range(share)]
    return st.integers(0, len(chosen) - 1).flatmap(chosen.__getitem__)


def mostly(usual: Source, rare: Source) -> Source:
    return weighted((7, usual), (1, rare))


FLAG = among(True, False)
CHANCE = mostly(among(0.0, 1.0, 0.5, 1), scalar(0.3, 0.7))
LENGTH = mostly(among(1, 5, 8, 17, 30), scalar(4, 9))
SIZE = mostly(among(1, 7, (5, 9), [8, 6], (12, 30), [9], (33, 4), 20), several((5, 9), (4,), (10, 3)))
MODES = ("NEAREST", "NEAREST_EXACT", "BILINEAR", "BICUBIC", "LANCZOS", "BOX", "HAMMING")
MODE = mostly(
    among(*(f"v2.InterpolationMode.{mode}" for mode in MODES[:4])),
    among(*(f"v2.InterpolationMode.{mode}" for mode in MODES), *range(4), "'bilinear'"),
)
FILL = mostly(
    among(0, 7, 255, 0.5, (1, 2, 3), [9], None),
    st.one_of(
        scalar(3, 200),
        several((1, 2, 3), (7,), (0.1, 0.2, 0.3)),
        among("{tv_tensors.Image: 3, tv_tensors.Mask: 1, 'others': 0}", "'random'", -1, 300),
    ),
)
PADDING = mostly(among(0, 2, (1, 3), [1, 2, 3, 4], 5), st.one_of(several((2, 1), (1, 2, 0, 3)), scalar(2)))
PADDING_MODE = among("'constant'", "'edge'", "'reflect'", "'symmetric'")
RANGE = mostly(among(0.4, (0.5, 1.5), [0.9, 1.1], 0), st.one_of(scalar(0.2), several((0.7, 1.2))))
HUE = mostly(among(0.1, (-0.2, 0.3), 0.5, 0), scalar(0.3))
MEAN = mostly(
    among([0.5], (0.485, 0.456, 0.406), (0.1, 0.2), [0.5, 0.5, 0.5, 0.5]),
    st.one_of(several((0.5,), (0.485, 0.456, 0.406)), scalar(0.5)),
)
STD = mostly(
    among([0.25], (0.229, 0.224, 0.225), (0.1, 0.2), [0.5, 0.5, 0.5, 0.5]),
    st.one_of(several((0.25,), (0.229, 0.224, 0.225), (0.5, 0, 0.5)), scalar(0.5)),
)
CENTER = among(None, None, (3, 4.5))
DTYPE = among(*(f"torch.{d}" for d in ("float32", "uint8", "float32", "float64", "float16", "int32", "uint16", "bool")))


def policies(api: str) -> list[Source]:
    """Policies of augmentation."""
    moved = {"interpolation": MODE, "fill": FILL}
    names = among(*(f"v2.AutoAugmentPolicy.{name}" for name in ("IMAGENET", "CIFAR10", "SVHN")))
    bins = mostly(among(31, 5, 2), among(1, 0, 2.5))
    return [
        call(f"{api}.AutoAugment", policy=names, **moved),
        call(f"{api}.RandAugment", num_ops=among(1, 2, 3, 0), magnitude=among(9, 1), num_magnitude_bins=bins, **moved),
        call(f"{api}.TrivialAugmentWide", num_magnitude_bins=bins, **moved),
        call(f"{api}.AugMix", severity=among(3, 10), mixture_width=among(1, 2), all_ops=FLAG, **moved),
    ]


@cache
def catalogued(api: str) -> list[Source]:
    """Transforms that layers stand for."""
    resized = {"interpolation": MODE, "antialias": among(True, False, None)}
    warped = {"interpolation": MODE, "fill": FILL}
    scaled = {"scale": among((0.3, 1.0), [0.08, 1]), "ratio": among((0.5, 2.0), (1, 1))}
    if api == "v2":
        resized["antialias"] = FLAG
    own = [
        call("v2.RandomChannelPermutation"),
        call("v2.RandomPhotometricDistort", p=CHANCE, brightness=among((0.8, 1.2)), hue=among((-0.1, 0.1))),
        call("v2.RGB"),
        call("v2.ToDtype", mostly(DTYPE, among("{tv_tensors.Image: torch.float32, 'others': None}")), scale=FLAG),
        call("v2.ToImage"),
        call("v2.ToPureTensor"),
        call("v2.Identity"),
        call("v2.ScaleJitter", among((9, 12)), scale_range=among((0.5, 1.5))),
        call("v2.RandomShortestSize", among([7, 9]), max_size=among(20)),
        call("v2.RandomResize", among(5), among(9)),
        call("v2.RandomZoomOut", fill=FILL, p=CHANCE),
        call("v2.RandomIoUCrop"),
        call("v2.SanitizeBoundingBoxes", labels_getter=among("'default'", None)),
        call("v2.ClampBoundingBoxes"),
        call("v2.ConvertBoundingBoxFormat", among("'CXCYWH'", "'XYWH'")),
        call("v2.SanitizeKeyPoints"),
        call("v2.ClampKeyPoints"),
        call("v2.SetClampingMode", among("'soft'", "'hard'", None)),
    ]
    return [
        call(f"{api}.Resize", SIZE, **resized),
        call(f"{api}.Resize", LENGTH, max_size=mostly(among(None, 31, 40), scalar(31)), **resized),
        call(f"{api}.RandomResizedCrop", SIZE, **scaled, **resized),
        call(f"{api}.CenterCrop", SIZE),
        call(f"{api}.RandomCrop", SIZE, padding=PADDING, pad_if_needed=FLAG, fill=FILL, padding_mode=PADDING_MODE),
        call(f"{api}.Pad", PADDING, fill=FILL, padding_mode=PADDING_MODE),
        call(f"{api}.RandomHorizontalFlip", p=CHANCE),
        call(f"{api}.RandomVerticalFlip", p=CHANCE),
        call(f"{api}.RandomRotation", among(30, (10, 20), (90, 90)), expand=FLAG, center=CENTER, **warped),
        call(
            f"{api}.RandomAffine",
            among(0, 10),
            translate=among(None, (0.1, 0.2)),
            scale=among(None, (0.8, 1.1)),
            shear=among(None, 7, (1, 2, 3, 4)),
            center=CENTER,
            **warped,
        ),
        call(f"{api}.RandomPerspective", among(0.1, 0.5, 1), p=CHANCE, **warped),
        call(f"{api}.ElasticTransform", alpha=among(5.0, 90.0), sigma=among(0.1, 0.5, 1.0, 5.0), **warped),
        call(f"{api}.Grayscale", num_output_channels=mostly(among(1, 3), scalar(1, 3))),
        call(f"{api}.RandomGrayscale", p=CHANCE),
        call(f"{api}.RandomInvert", p=CHANCE),
        call(f"{api}.RandomPosterize", mostly(among(0, 3, 8), scalar(4)), p=CHANCE),
        call(f"{api}.RandomSolarize", mostly(among(0, 100, 0.5, 255), scalar(128, 7)), p=CHANCE),
        call(f"{api}.RandomAdjustSharpness", mostly(among(0, 0.5, 2), scalar(1.5)), p=CHANCE),
        call(f"{api}.RandomAutocontrast", p=CHANCE),
        call(f"{api}.RandomEqualize", p=CHANCE),
        call(f"{api}.ColorJitter", brightness=RANGE, contrast=RANGE, saturation=RANGE, hue=HUE),
        call(
            f"{api}.GaussianBlur",
            mostly(among(3, (5, 1), [3, 7]), st.one_of(several((3, 5)), scalar(3))),
            sigma=mostly(among(1.0, (0.1, 2.0), [0.5, 0.5]), st.one_of(scalar(0.8), several((0.3, 1.1)))),
        ),
        call(
            f"{api}.RandomErasing",
            p=CHANCE,
            scale=among((0.02, 0.33), (0.3, 1)),
            value=mostly(among(0, 7.5, "'random'", (1, 2, 3)), st.one_of(scalar(9), several((1, 2, 3)))),
            inplace=FLAG,
        ),
        *policies(api),
        call(f"{api}.LinearTransformation", among("torch.eye(12)", "torch.eye(48) * 2"), among("torch.zeros(12)")),
        call(f"{api}.FiveCrop", SIZE),
        call(f"{api}.TenCrop", SIZE, vertical_flip=FLAG),
        call(f"{api}.Normalize", MEAN, STD, inplace=FLAG),
        call(f"{api}.ToTensor"),
        call(f"{api}.ConvertImageDtype", DTYPE),
        call(f"{api}.PILToTensor"),
        call(f"{api}.ToPILImage", mode=among(None, "'RGB'", "'L'", "'RGBA'")),
        *(own if api == "v2" else []),
    ]


@cache
def uncatalogued() -> list[Source]:
    """Transforms of v2 that no layer stands for: torch itself runs them."""
    return [
        call("v2.GaussianNoise", sigma=among(0.1)),
        call("v2.JPEG", among(50, (20, 90))),
        call("v2.UniformTemporalSubsample", among(2)),
    ]


FOREIGN = (
    *("lambda x: x", "np.asarray", "np.array", "torch.flatten", "list", "type", "len", "torch.as_tensor"),
    *("lambda x: x.convert('RGB')", "lambda x: x.convert('L')", "lambda x: x.convert('RGBA')", "lambda x: x.copy()"),
    *("lambda x: x.float()", "lambda x: x.numpy()", "lambda x: x.mean()", "lambda x: x.squeeze()", "lambda x: x[0]"),
    *("lambda x: x[..., ::2]", "lambda x: x.unsqueeze(0)", "lambda x: x / 255", "lambda x: (x, 3)", "lambda x: None"),
    *("lambda x: {'image': x, 'label': 3}", "lambda x: x.transpose(0, 1)", "lambda x: x.to(torch.float64)"),
    *("lambda x: x.add_(1)", "lambda x: x.shape", "lambda x: x['image']", "lambda x: [x, x]", "tv_tensors.Image"),
    *("lambda x: x.requires_grad_()", "lambda x: x.rotate(90)", "lambda x: np.asarray(x).astype('float32')"),
    *("lambda x: random.random()", "lambda x: torch.stack(tuple(x))", "Image.fromarray", "tv_tensors.wrap"),
    *("lambda x: x.as_subclass(Subclass)", "v1.functional.hflip", "v2.functional.to_image", "nn.Identity()"),
)
"""Functions of the user's: they change types and shapes, or raise."""

ALTERED = (
    "Resized(5)",
    "Resized((9, 4))",
    "Cropped(4)",
    "Halved()",
    "hooked(v2.Resize(6))",
    "hooked(v1.Grayscale())",
    "redrawn(v2.RandomHorizontalFlip(1))",
    "redrawn(v2.Grayscale(3))",
    "Views(v2.RandomHorizontalFlip(), v2.Resize(5))",
    "Views(v1.ToTensor(), v1.Compose([v1.CenterCrop(4), v1.ToTensor()]))",
)


@cache
def transform(api: str) -> Source:
    """One transform: mostly of the catalogue."""
    known = st.one_of(catalogued(api))
    other = st.one_of(uncatalogued()) if api == "v2" else known
    functions = st.one_of(st.sampled_from(FOREIGN), st.sampled_from([f"{api}.Lambda({f})" for f in FOREIGN]))

    def held(inner: Source) -> Source:
        many = st.lists(inner, min_size=1, max_size=3).map(", ".join)
        chances = among("[1, 0, 2]", "[0.2, 0.5]", "None", "[1]")
        return st.one_of(
            call(f"{api}.RandomApply", many.map("[{}]".format), p=CHANCE),
            call(f"{api}.RandomChoice", many.map("[{}]".format), p=chances),
            call(f"{api}.RandomOrder", many.map("[{}]".format)),
            call(f"{api}.Compose", many.map("[{}]".format)),
            many.map("nn.Sequential({})".format),
            call(f"{api}.RandomApply", many.map("nn.ModuleList([{}])".format)),
        )

    single = weighted((13, known), (2, other), (3, functions), (2, st.sampled_from(ALTERED)))
    return weighted((8, single), (2, held(st.one_of(known, single))))


def bracketed(api: str, steps: list[str], form: str) -> str:
    inner = ", ".join(steps)
    return {"Compose": f"{api}.Compose([{inner}])", "Sequential": f"nn.Sequential({inner})"}.get(form, f"[{inner}]")


@cache
def pipelines() -> Source:
    """Mostly of one api; some are a Compose or a Sequential already."""
    form = st.sampled_from(["list", "list", "Compose", "Sequential"])
    v1, v2 = (
        st.tuples(st.just(api), st.lists(mostly(transform(api), transform("v2")), min_size=1, max_size=5), form)
        for api in ("v1", "v2")
    )
    return weighted((1, v1), (2, v2)).map(lambda drawn: bracketed(*drawn))


# Sources of inputs.

SIZES = ((1, 1), (1, 9), (13, 1), (7, 11), (24, 33), (40, 40), (5, 60), (61, 4), (2, 2), (4, 4), (16, 16))
CHANNELS = (3, 3, 3, 1, 1, 2, 4, 5)
TORCH = [f"torch.{d}" for d in ("uint8", "int8", "int16", "int32", "int64", "uint16", "bool", "float16", "float32")]
TORCH += ["torch.float64", "torch.bfloat16", "torch.complex64"]
LAYOUTS = ("", "channels_last", "interleaved", "transposed", "strided", "cropped", "expanded", "every other")
FILLS = ("random", "random", "extreme", "constant", "nan", "inf", "wild", "small")
PIL_MODES = ("1", "L", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV", "I", "F", "LA", "La", "RGBa", "I;16")
INFOS = ("", ", dpi=(72, 72)", ", transparency=0", ", transparency=(1, 2, 3)", ", comment=b'x'")


@st.composite
def tensors(draw: Any, size: tuple[int, int] | None = None, kind: str | None = None) -> str:
    """A tensor, or a subclass of it."""
    h, w = size or draw(st.sampled_from(SIZES))
    c = draw(st.sampled_from(CHANNELS))
    shape: tuple[int, ...] = draw(
        st.sampled_from([(c, h, w)] * 8 + [(2, c, h, w), (1, c, h, w), (2, 2, c, h, w), (h, w), (w,), ()])
    )
    if size is None and draw(st.integers(0, 15)) == 15:
        shape = draw(st.sampled_from([(0, c, h, w), (c, 0, w), (c, h, 0), (0, h, w), (0, 0, 0)]))
    dtype = draw(
        st.one_of(st.sampled_from(["torch.uint8"]), st.sampled_from(["torch.float32"]), st.sampled_from(TORCH))
    )
    fill = draw(st.sampled_from(FILLS))
    made = f"tensor({shape}, {dtype}" + (f", {fill!r})" if fill != "random" else ")")
    layout = draw(st.sampled_from(("",) * 6 + LAYOUTS))
    made = f"laid({made}, {layout!r})" if layout else made
    kind = kind or draw(st.sampled_from(["", "", "", "Image", "Image", "Video", "Mask", "Subclass", "nn", "grad"]))
    if kind in ("Image", "Video", "Mask"):
        return f"tv_tensors.{kind}({made})"
    if kind == "Subclass":
        return f"{made}.as_subclass(Subclass)"
    if kind == "nn":
        return f"nn.Parameter({made}, requires_grad={'float' in dtype and draw(st.booleans())})"
    return f"{made}.requires_grad_()" if kind == "grad" and "float" in dtype else made


@st.composite
def arrays(draw: Any) -> str:
    h, w = draw(st.sampled_from(SIZES))
    c = draw(st.sampled_from(CHANNELS))
    shape = draw(st.sampled_from([(h, w, c)] * 5 + [(h, w), (c, h, w), (2, h, w, c), (h, 0, 3), (w,)]))
    others = [f"np.{d}" for d in ("uint8", "float32", "float64", "uint16", "int16", "int32", "int64", "bool_", "int8")]
    dtype = draw(st.one_of(st.just("np.uint8"), st.sampled_from(others)))
    layout = draw(st.sampled_from(("", "", "read-only", "fortran", "mirrored", "upside down", "expanded", "strided")))
    return f"array({shape}, {dtype}" + (f", {layout!r})" if layout else ")")


@st.composite
def pictures(draw: Any, size: tuple[int, int] | None = None) -> str:
    h, w = size or draw(st.sampled_from(SIZES))
    mode = draw(st.one_of(st.sampled_from(["RGB", "RGB", "L"]), st.sampled_from(PIL_MODES)))
    return f"pil({mode!r}, {(w, h)}{draw(st.sampled_from(('',) * 4 + INFOS))})"


@st.composite
def samples(draw: Any) -> str:
    """Several leaves in a container."""
    size = draw(st.sampled_from(SIZES))
    image = st.one_of(tensors(size), tensors(size, "Image"), pictures(size), tensors())
    beside = st.sampled_from(
        [
            f"boxes({size})",
            f"boxes({size}, 'XYWH', 1)",
            f"boxes({size}, 'CXCYWH', 2, torch.int64)",
            f"boxes({size}, 'XYXY', 0)",
            f"points({size})",
            f"tv_tensors.Mask(tensor({size}))",
            f"tv_tensors.Mask(tensor((2, *{size}), torch.bool))",
            f"tv_tensors.Video(tensor((2, 3, *{size})))",
            *("3", "2.5", "'a string'", "None", "torch.tensor([1, 2])", "np.array([1.5, 2])", "True", "b'x'"),
            *("array((4, 5, 3))", "torch.tensor(7)", "np.float32(2)", "object", "[]", "{}"),
        ]
    )
    leaves = draw(st.lists(image, min_size=draw(st.sampled_from([0, 1, 1, 1])), max_size=2))
    leaves += draw(st.lists(beside, min_size=1, max_size=3))
    leaves = draw(st.permutations(leaves))
    form = draw(st.sampled_from(["tuple", "dict", "dict", "list", "Pair", "Record", "OrderedDict", "nested"]))
    named = ", ".join(f"{name!r}: {leaf}" for name, leaf in zip(("a", "b", "labels", "d", "e"), leaves, strict=False))
    if form == "tuple":
        return f"({', '.join(leaves)},)"
    if form == "list":
        return f"[{', '.join(leaves)}]"
    if form in ("Pair", "Record"):
        return f"{form}({leaves[0]}, {leaves[-1]})"
    if form == "OrderedDict":
        return f"collections.OrderedDict({{{named}}})"
    return f"{{{named}}}" if form == "dict" else f"({leaves[0]}, {{{named}}})"


OTHERS = among("None", "'no/such/path.png'", 3, 2.5, "png((6, 5))", "object()", "[]", "()", "{}", "torch.device('cpu')")


SINGLE = weighted((8, tensors()), (5, pictures()), (3, arrays()), (3, samples()), (1, OTHERS))


CHANGES = (
    "for t in every(compose): t.p = 1.0",
    "for t in every(compose): t.size = [6, 5]",
    "for t in every(compose): t.mean, t.std = [0.1], [0.3]",
    "for t in every(compose): t.padding = [1, 1, 1, 1]",
    "for t in every(compose): t.antialias = False",
    "for t in every(compose): t.factor = t.sharpness_factor = 1.7",
    "for t in every(compose): change(t, 'mean')",
    "for t in every(compose): change(t, 'sigma')",
    "for t in every(compose): change(t, 'size')",
    "for t in every(compose): change(t, 'transformation_matrix')",
    "every(compose)[-1].forward = lambda *x: 'replaced'",
    "compose.transforms.append(v2.Grayscale())",
    "compose.transforms[-1] = v2.RandomHorizontalFlip(1.0)",
    "del compose.transforms[1:]",
)
"""Made between the first call and the second."""


@st.composite
def cases(draw: Any) -> Case:
    change = draw(st.sampled_from(("",) * 80 + CHANGES))
    pipeline, key = draw(pipelines()), draw(st.integers(0, 3))
    if pipeline.startswith("nn.Sequential") and "compose.transforms" in change:
        change = ""  # A Sequential has no such list.
    if draw(st.integers(0, 24)) == 24 and "v1." not in pipeline:
        inner = draw(st.lists(st.one_of(SINGLE, samples()), min_size=2, max_size=3))
        return Case(pipeline, f"({', '.join(inner)})", change, True, key)
    return Case(pipeline, draw(SINGLE), change, False, key)
