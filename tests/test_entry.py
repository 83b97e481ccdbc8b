"""How images enter: windows behind conversions, levels that stay levels, floats first, and arrays in place."""

import numpy as np
import pytest
import torch
import torchvision.transforms as v1
from helpers import TOLERANCE, check_transform, image_of, same, seeded, states, to_pil, values
from PIL import Image
from torch import Tensor
from torchvision import tv_tensors
from torchvision.models import ResNet50_Weights, Swin_T_Weights, ViT_B_16_Weights
from torchvision.transforms import InterpolationMode, v2

import learned_transforms as lt
from learned_transforms.kernels import backends, cpu

FLOAT = v2.ToDtype(torch.float32, scale=True)
LEVELS = v2.ToDtype(torch.uint8, scale=True)
MEAN = (0.485, 0.456, 0.406)
SIZES = ((40, 50), (31, 65), (7, 9), (1, 1), (3, 1))
NATIVE = pytest.mark.skipif(backends()["cpu"] != "available", reason="no native code here")


def resized_crop(module, **options):
    return module.RandomResizedCrop((12, 17), antialias=True, **options)


CONVERSIONS = {
    "ToImage": [v2.ToImage()],
    "ToImage, levels": [v2.ToImage(), LEVELS],
    "PILToTensor": [v2.PILToTensor(), v2.Identity()],
    "PILToTensor, v1": [v1.PILToTensor()],
    "ToImage, floats": [v2.ToImage(), FLOAT],
    "ToTensor": [v1.ToTensor()],
    "ToTensor, pure": [v1.ToTensor(), v2.ToPureTensor()],
}
WINDOWS = {
    "RRC": lambda m: resized_crop(m),
    "RRC, bicubic": lambda m: resized_crop(m, interpolation=InterpolationMode.BICUBIC),
    "crop": lambda m: m.RandomCrop(1),
    "crop, padded": lambda m: m.RandomCrop((9, 12), padding=12),
    "crop, filled": lambda m: m.RandomCrop((9, 12), padding=12, fill=1),
    "crop, edge": lambda m: m.RandomCrop((9, 12), padding=12, padding_mode="edge"),
    "crop, mirrored": lambda m: m.RandomCrop((9, 12), padding=6, padding_mode="reflect"),
    "crop, needed": lambda m: m.RandomCrop((60, 9), pad_if_needed=True),
}


def module_of(first):
    return v1 if type(first).__module__ == "torchvision.transforms.transforms" else v2


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("first", CONVERSIONS)
def test_windows_are_drawn_behind_conversions(first, window, size):
    steps = CONVERSIONS[first]
    module = module_of(steps[0])
    behind = [WINDOWS[window](module), module.RandomHorizontalFlip()]
    for channels in (1, 3):
        same([*steps, *behind], to_pil(image_of(channels, size)), "exact", seeds=3)


@pytest.mark.parametrize("window", WINDOWS)
def test_one_segment_holds_the_conversion_and_the_window(window):
    ours = lt.LearnedCompose([v1.ToTensor(), WINDOWS[window](v1), v1.RandomHorizontalFlip()], fallback="error")
    ours(to_pil(image_of(3, (40, 50))))
    assert len(ours.segments) == 1


def test_no_copy_of_the_whole_image(monkeypatch):
    steps = [v2.ToImage(), LEVELS, resized_crop(v2), v2.RandomHorizontalFlip(), FLOAT]
    ours, image = lt.LearnedCompose(steps, fallback="error"), to_pil(image_of(3, (400, 500)))
    expected = [ours(image) for _ in range(3)]
    monkeypatch.setattr(
        "learned_transforms.runtime.segment.to_tensor", lambda image: pytest.fail("the whole image was read")
    )
    assert [one.shape for one in expected] == [ours(image).shape for _ in range(3)]


@pytest.mark.parametrize("first", CONVERSIONS)
def test_params_of_windows_behind_conversions(first):
    steps = CONVERSIONS[first]
    module = module_of(steps[0])
    for window in WINDOWS.values():
        ours = lt.LearnedCompose([*steps, window(module), module.RandomHorizontalFlip()])
        image = to_pil(image_of(3, (40, 50)))
        seeded(1)
        expected = ours(image)
        seeded(1)
        params = ours.make_params(image)
        assert params[len(steps)].keys() == {"top", "left", "height", "width"}
        seeded(2)
        before = states()
        assert torch.equal(ours(image, params=params), expected)
        assert states() == before


def test_masks_and_boxes_go_beside_windows_behind_conversions():
    image = to_pil(image_of(3, (40, 50)))
    mask = tv_tensors.Mask(image_of(1, (40, 50), seed=1))
    boxes = tv_tensors.BoundingBoxes(torch.tensor([[3, 4, 20, 30]]), format="XYXY", canvas_size=(40, 50))
    for window in (resized_crop(v2), v2.RandomCrop((20, 30), padding=4)):
        steps = [v2.ToImage(), window, v2.RandomHorizontalFlip()]
        ours, theirs = lt.LearnedCompose(steps, fallback="error"), v2.Compose(steps)
        for seed in range(4):
            seeded(seed)
            found = ours(image, mask, boxes)
            seeded(seed)
            for one, other in zip(found, theirs(image, mask, boxes), strict=True):
                assert type(one) is type(other)
                assert torch.equal(values(one), values(other))


@pytest.mark.parametrize(
    "step",
    [LEVELS, v2.ToDtype(torch.uint8), v2.ConvertImageDtype(torch.uint8), v1.ConvertImageDtype(torch.uint8)],
    ids=["scaled", "unscaled", "v2", "v1"],
)
def test_levels_stay_what_they_are(step):
    ours = lt.LearnedCompose([step], fallback="error")
    tensor = image_of(3, (5, 6))
    assert ours(tensor) is tensor
    assert step(tensor) is tensor
    if isinstance(step, v2.Transform):
        marked, picture = tv_tensors.Image(tensor), to_pil(tensor)
        assert (ours(picture) is picture) == (step(picture) is picture)
        found, expected = ours(marked), step(marked)
        assert type(found) is type(expected)
        assert (found is marked) == (expected is marked)
        assert found.data_ptr() == expected.data_ptr() == marked.data_ptr()


def test_floats_are_not_made_levels_unasked():
    same([LEVELS], image_of(3, (5, 6)).float() / 255, "exact", fallback="torchvision")


LAYOUTS = {
    "planes": lambda image: image,
    "interleaved": lambda image: image.movedim(-3, -1).contiguous().movedim(-1, -3),
    "part": lambda image: torch.nn.functional.pad(image, (2, 3, 1, 4))[..., 1:-4, 2:-3],
    "spread": lambda image: image.repeat_interleave(2, -1)[..., ::2],
}


@NATIVE
@pytest.mark.parametrize("simd", cpu.instructions())
@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("mode", [InterpolationMode.BILINEAR, InterpolationMode.BICUBIC])
@pytest.mark.parametrize("module", [v1, v2])
def test_float_resizes_are_those_of_the_reference(module, mode, antialias, simd):
    first = v1.ConvertImageDtype(torch.float32) if module is v1 else FLOAT
    ends = [module.CenterCrop(8), module.RandomHorizontalFlip(1), module.RandomVerticalFlip(1)]
    layouts = list(LAYOUTS.values())
    for number, wanted in enumerate(((12, 17), (33, 9), (64, 90), (3, 200))):
        steps = [module.Resize(wanted, interpolation=mode, antialias=antialias), *ends[: number % 4]]
        made = [
            [lt.LearnedCompose([*before, *steps], backend=backend, fallback="torchvision") for before in ([], [first])]
            for backend in ("cpu", "reference")
        ]
        for turn, size in enumerate(((40, 50), (97, 61), (300, 230), (5, 3))):
            for channels in (1, 3, 5):
                layout = layouts[(number + turn + channels) % len(layouts)]
                levels = layout(image_of(channels, size))
                for image, after in ((levels, 0), (levels, 1), (layout(levels / 255), 0)):
                    with cpu.forced(simd):
                        found = made[0][after](image)
                    assert torch.equal(found, made[1][after](image)), (wanted, size, channels, image.dtype, after)


@NATIVE
def test_what_is_no_number_stays_within_its_window():
    image = image_of(3, (64, 90)) / 255
    image[:, 20, 30], image[:, 40, 60] = torch.nan, torch.inf
    for wanted in ((16, 20), (20, 80), (100, 31)):
        steps = [v2.Resize(wanted, antialias=True)]
        found, expected = lt.LearnedCompose(steps, backend="cpu")(image), v2.Compose(steps)(image)
        assert torch.equal(found.isfinite(), expected.isfinite())


@pytest.mark.parametrize("form", ["pil", "levels", "array"])
def test_floats_first(form):
    image = image_of(3, (40, 50))
    given = {"pil": to_pil(image), "levels": image, "array": image.permute(1, 2, 0).contiguous().numpy()}[form]
    for resize in (v2.Resize(20), v2.Resize((15, 64)), v2.Resize(60, antialias=False), resized_crop(v2)):
        steps = [v2.ToImage(), FLOAT, resize, v2.CenterCrop(14), v2.RandomHorizontalFlip(), v2.Normalize(MEAN, MEAN)]
        for seed in range(3):
            check_transform(steps, given, seed=seed, fallback="error")


@pytest.mark.parametrize(
    "weights", [ResNet50_Weights.IMAGENET1K_V2, ViT_B_16_Weights.IMAGENET1K_V1, Swin_T_Weights.DEFAULT]
)
def test_published_presets(weights, photos):
    for name, photo in photos.items():
        odd = photo[:, : 255 + len(name), : 301 - len(name)]
        for image in (to_pil(photo), to_pil(odd), photo, odd, LAYOUTS["interleaved"](photo), photo / 255):
            tier = "exact" if isinstance(image, Image.Image) or image.is_floating_point() else "rounding"
            preset = weights.transforms()
            found, expected = lt.LearnedCompose(preset, fallback="error")(image), preset(image)
            assert (type(found), found.dtype, found.shape) == (type(expected), expected.dtype, expected.shape)
            error = (found - expected).abs() * torch.tensor(preset.std)[:, None, None]
            assert error.max() <= TOLERANCE[tier] / 255 + TOLERANCE["float"]
            assert (error > TOLERANCE["float"]).double().mean() < 1e-3


def read_only(array):
    array.flags.writeable = False
    return array


ARRAYS = {
    "plain": lambda array: array,
    "read-only": read_only,
    "upside down": lambda array: array[::-1],
    "mirrored": lambda array: array[:, ::-1],
    "BGR": lambda array: array[..., ::-1],
    "part": lambda array: np.pad(array, ((1, 2), (3, 1), (0, 0)))[1:-2, 3:-1],
    "rows apart": lambda array: np.repeat(array, 2, 0)[::2],
    "planes": lambda array: np.ascontiguousarray(array.transpose(2, 0, 1)).transpose(1, 2, 0),
    "repeated": lambda array: np.broadcast_to(array[:1], array.shape),
    "of four": lambda array: np.concatenate([array, array[..., :1]], 2)[..., :3],
    "swapped": lambda array: np.asfortranarray(array),
    "gray": lambda array: array[..., 0],
    "one": lambda array: array[..., :1],
}
PIPELINES = {
    "nothing": [v2.Identity()],
    "flip": [v2.RandomHorizontalFlip(1)],
    "levels": [v2.Resize((12, 13)), v2.RandomHorizontalFlip()],
    "no resize": [v2.Resize((40, 50))],
    "floats": [v2.Resize((12, 13)), FLOAT, v2.Normalize([0.5], [0.5])],
    "window": [v2.RandomCrop((12, 13), padding=3), v2.RandomVerticalFlip()],
    "resized window": [resized_crop(v2), FLOAT],
    "image": [v2.ToImage(), LEVELS, v2.Resize((12, 13))],
    "tensor": [v1.ToTensor(), v1.RandomCrop(16), v1.RandomHorizontalFlip()],
    "picture": [v2.Resize((12, 13)), v2.ToPILImage()],
}


@pytest.mark.parametrize("backend", ["auto", "reference"])
@pytest.mark.parametrize("pipeline", PIPELINES)
@pytest.mark.parametrize("kind", ARRAYS)
def test_arrays_become_what_tensors_become(kind, pipeline, backend):
    array = ARRAYS[kind](image_of(3, (40, 50)).permute(1, 2, 0).contiguous().numpy())
    kept = array.copy()
    steps = PIPELINES[pipeline]
    tensor = torch.from_numpy(kept.reshape(40, 50, -1)).permute(2, 0, 1)
    # torchvision's ToTensor takes arrays, and tensors not.
    teacher = [v2.ToImage(), FLOAT, v2.ToPureTensor(), *steps[1:]] if pipeline == "tensor" else steps
    ours = lt.LearnedCompose(steps, fallback="error", backend=backend)
    for seed in range(4):  # The first call is lowered, the others go straight on.
        seeded(seed)
        found, state = ours(array), states()
        seeded(seed)
        expected = v2.Compose(teacher)(tensor)
        assert states() == state
        if pipeline in ("image", "tensor", "picture"):
            assert type(found) is type(expected)
            wanted = values(expected)
        else:
            assert isinstance(found, np.ndarray)
            wanted = values(expected).movedim(-3, -1)
            wanted = wanted[..., 0] if found.ndim == 2 else wanted
            assert not (pipeline != "nothing" and np.shares_memory(found, array))
        assert values(found).shape == wanted.shape
        assert (values(found) - wanted).abs().max() <= 1e-6
        assert np.array_equal(array, kept)


@NATIVE
def test_arrays_are_read_in_place(monkeypatch):
    array = image_of(3, (40, 50)).permute(1, 2, 0).contiguous().numpy()
    ours = lt.LearnedCompose([v2.Resize((12, 13)), FLOAT], fallback="error")
    expected = ours(array)
    for module in ("runtime.segment", "runtime.executor", "kernels.cpu"):
        monkeypatch.setattr(f"learned_transforms.{module}.to_tensor", lambda image: pytest.fail("it was copied"))
    for one in (array, read_only(array.copy())):
        run = ours.runs.get(lt.images.formats.signature(one))
        assert (run is not None) == (one is array)
        if run is not None:
            assert np.array_equal(ours(one), expected)


def test_arrays_of_one_layout_share_what_was_made():
    ours = lt.LearnedCompose([v2.Resize((12, 13)), v2.RandomHorizontalFlip()], fallback="error")
    arrays = [image_of(3, (40, 50), seed).permute(1, 2, 0).contiguous().numpy() for seed in range(3)]
    for array in arrays:
        seeded(0)
        found = ours(array)
        seeded(0)
        assert np.array_equal(
            found, v2.Compose(ours.transforms)(torch.from_numpy(array).permute(2, 0, 1)).movedim(0, -1)
        )
    assert len(ours.runs) == 1


@pytest.mark.parametrize(
    "make", [to_pil, lambda image: image.permute(1, 2, 0).contiguous().numpy()], ids=["pil", "array"]
)
def test_levels_are_posterized_as_floats(make):
    check_transform([v2.ToImage(), FLOAT, v2.RandomPosterize(3, p=1)], make(image_of(3, (9, 8))), fallback="error")


def test_storage_is_shared_only_where_torchvision_shares_it():
    image = image_of(3, (40, 50))
    given: list[tuple[list, Tensor]] = [
        ([v2.ToImage(), v2.RandomCrop((40, 50))], image),
        ([v2.ToImage(), LEVELS], image),
        ([LEVELS, v2.RandomHorizontalFlip(0)], image),
        ([FLOAT, v2.RandomHorizontalFlip(0)], image / 255),
        ([v2.ToImage(), v2.RandomCrop(20)], image),
        ([v2.ToImage(), LEVELS, resized_crop(v2)], image),
    ]
    for steps, one in given:
        found, expected = lt.LearnedCompose(steps, fallback="error")(one), v2.Compose(steps)(one)
        start = one.untyped_storage().data_ptr()
        shared = [made.untyped_storage().data_ptr() == start for made in (found, expected)]
        assert shared[0] <= shared[1], steps
        assert type(found) is type(expected)
