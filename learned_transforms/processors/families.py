"""Published processors by class: what their configurations leave out, and how they are read."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from learned_transforms.errors import ProcessorError, brief
from learned_transforms.processors import checks, sizes
from learned_transforms.processors.checks import ConfigValues
from learned_transforms.processors.levels import LevelSteps
from learned_transforms.processors.sizes import SizeOf
from learned_transforms.processors.steps import PadStep, Patches, Steps

CLIP = {"image_mean": (0.48145466, 0.4578275, 0.40821073), "image_std": (0.26862954, 0.26130258, 0.27577711)}
IMAGENET = {"image_mean": (0.485, 0.456, 0.406), "image_std": (0.229, 0.224, 0.225)}
HALVES = {"image_mean": (0.5, 0.5, 0.5), "image_std": (0.5, 0.5, 0.5)}
BILINEAR, BICUBIC, LANCZOS = 2, 3, 1

ALWAYS = {"do_resize": True, "do_rescale": True, "do_normalize": True, "rescale_factor": 1 / 255}
"""What all processors do unless they are told otherwise."""


def square(side: int) -> dict[str, int]:
    return {"height": side, "width": side}


def crop(side: int) -> dict[str, Any]:
    return {"do_center_crop": True, "crop_size": square(side)}


CONTRASTIVE = {
    **ALWAYS,
    **CLIP,
    **crop(224),
    "resample": BICUBIC,
    "size": {"shortest_edge": 224},
    "default_to_square": False,
    "do_convert_rgb": True,
}
"""CLIP, and what came after it."""

DETECTING = {
    **ALWAYS,
    **IMAGENET,
    "resample": BILINEAR,
    "do_pad": True,
    "size": {"shortest_edge": 800, "longest_edge": 1333},
    "default_to_square": False,
}
"""DETR, and what came after it."""


def rule_of(size: Mapping[str, int], name: str) -> SizeOf:
    """Return how most processors resize.

    Raises:
        ProcessorError: a size that says something else.
    """
    if set(size) == {"shortest_edge", "longest_edge"}:
        return partial(sizes.edge_within, edge=size["shortest_edge"], most=size["longest_edge"])
    if set(size) == {"shortest_edge"}:
        return partial(sizes.shortest, edge=size["shortest_edge"])
    if set(size) == {"max_height", "max_width"}:
        return partial(sizes.fit_within, rows=size["max_height"], columns=size["max_width"])
    if set(size) == {"height", "width"}:
        return partial(sizes.fixed_size, rows=size["height"], columns=size["width"])
    raise ProcessorError(
        f'Expected "size" of a {name} with "height" and "width", "max_height" and "max_width", or "shortest_edge", got '
        f"{brief(dict(size))}."
    )


def plain(values: ConfigValues, name: str, backend: str) -> Steps:
    """Resize, crop the middle, rescale, normalize, pad."""
    resizing = checks.flag(values, "do_resize")
    rule = rule_of(checks.sizes_in(values, "size", values.get("default_to_square", True)), name) if resizing else None
    steps = unsized(values, name, backend, rule)
    if not checks.flag(values, "do_pad"):
        return steps
    return replace(steps, padding=padding_of(values))


def padding_of(values: ConfigValues) -> PadStep:
    return PadStep(None if values.get("pad_size") is None else checks.rectangle(values, "pad_size"))


def unsized(values: ConfigValues, name: str, backend: str, rule: SizeOf | None) -> Steps:
    """Return the same under a rule by which to resize, without a padding."""
    crops = (checks.rectangle(values, "crop_size"),) if checks.flag(values, "do_center_crop") else ()
    interpolation = checks.interpolation(values, backend) if rule is not None else ""
    to_rgb = checks.flag(values, "do_convert_rgb")
    return Steps(name, backend, to_rgb, None, rule, interpolation, crops, levels_of(values))


def levels_of(values: ConfigValues) -> LevelSteps:
    factor = (
        checks.positive_number(values, "rescale_factor", "do_rescale") if checks.flag(values, "do_rescale") else None
    )
    mean, std = checks.mean_and_std(values) if checks.flag(values, "do_normalize") else (None, None)
    return LevelSteps(factor, mean=mean, std=std)


def unpadded(values: ConfigValues, name: str, backend: str) -> Steps:
    """Return those that have a padding among their options and take no notice of it."""
    return plain({**values, "do_pad": False}, name, backend)


def uncropped(values: ConfigValues, name: str, backend: str) -> Steps:
    """Return those that do not crop either."""
    return unpadded({**values, "do_center_crop": False}, name, backend)


def shares(values: ConfigValues, name: str, backend: str) -> Steps:
    """ConvNeXT: below 384 pixels, resize to more than is wanted, and cut the middle out."""
    if not checks.flag(values, "do_resize"):
        return unpadded(values, name, backend)
    size = checks.sizes_in(values, "size", square=False)
    if "shortest_edge" not in size:
        raise ProcessorError(f'Expected "size" of a {name} with "shortest_edge", got {brief(dict(size))}.')
    edge = size["shortest_edge"]
    if edge >= 384:
        return unsized(values, name, backend, partial(sizes.fixed_size, rows=edge, columns=edge))
    share = checks.positive_number(values, "crop_pct", "do_resize")
    steps = unsized(values, name, backend, partial(sizes.shortest, edge=int(edge / share)))
    return replace(steps, crops=((edge, edge), *steps.crops))


def offset(values: ConfigValues, name: str, backend: str) -> Steps:
    """EfficientNet: levels may be moved around 0, and divided by the standard deviation twice."""
    steps = unpadded(values, name, backend)
    again, moved = checks.flag(values, "include_top"), checks.flag(values, "rescale_offset")
    if again and steps.levels.factor is None and steps.levels.mean is None and backend == "torchvision":
        raise ProcessorError('Expected "include_top" together with "do_rescale" or "do_normalize", which make floats.')
    std = checks.mean_and_std(values)[1] if again else steps.levels.std
    shift = moved and steps.levels.factor is not None
    return replace(steps, levels=replace(steps.levels, offset=shift, std=std, again=again))


def widened(values: ConfigValues, name: str, backend: str) -> Steps:
    """LeViT: resize to 256 where 224 is said, and crop; a longest edge does not count."""
    if not checks.flag(values, "do_resize"):
        return plain(values, name, backend)
    size = checks.sizes_in(values, "size", square=False)
    if "shortest_edge" in size:
        size = {"shortest_edge": int((256 / 224) * size["shortest_edge"])}
    elif set(size) != {"height", "width"}:
        raise ProcessorError(
            f'Expected "size" of a {name} with "height" and "width", or "shortest_edge", got {brief(size)}.'
        )
    return plain({**values, "size": size}, name, backend)


def squared(values: ConfigValues, name: str, backend: str) -> Steps:
    """LLaVA: images may be padded to squares of their mean first."""
    steps = unpadded(values, name, backend)
    if not checks.flag(values, "do_pad"):
        return steps
    mean = checks.numbers(values, "image_mean")
    color = tuple(float(int(one * 255)) for one in (mean if isinstance(mean, tuple) else (mean,) * 3))
    return replace(steps, square=color)


def longest(values: ConfigValues, name: str, backend: str) -> Steps:
    """SAM: resize the longer edge, pad, and tell of both sizes."""
    rule = None
    if checks.flag(values, "do_resize"):
        size = checks.sizes_in(values, "size")
        if "longest_edge" not in size:
            raise ProcessorError(f'Expected "size" of a {name} with "longest_edge", got {brief(dict(size))}.')
        rule = partial(sizes.longest, edge=size["longest_edge"])
    steps = replace(unsized(values, name, backend, rule), gives="sizes")
    return replace(steps, padding=padding_of(values)) if checks.flag(values, "do_pad") else steps


def detecting(values: ConfigValues, name: str, backend: str, multiple: int = 1, legacy: bool = True) -> Steps:
    """DETR: the shorter edge, or the longer one; pad, and give a mask.

    Args:
        multiple: of which sides are.
        legacy: a number, and ``max_size``, stand for a size, as in old configurations.
    """
    values = dict(values)
    if legacy and isinstance(values.get("size"), int):
        values["size"] = {"shortest_edge": values["size"], "longest_edge": values.get("max_size") or 1333}
    if legacy and values.get("pad_and_return_pixel_mask") is not None:
        values["do_pad"] = values["pad_and_return_pixel_mask"]
    rule = None
    if checks.flag(values, "do_resize"):
        size = checks.sizes_in(values, "size", square=False)
        if set(size) == {"shortest_edge"}:
            raise ProcessorError(
                f'Expected "size" of a {name} with "shortest_edge" and "longest_edge", or "height" and "width", got '
                f"{brief(dict(size))}."
            )
        rule = rule_of(size, name)
        if multiple > 1 and "shortest_edge" in size:
            rule = partial(sizes.edge_within, edge=size["shortest_edge"], most=size["longest_edge"], multiple=multiple)
    steps = replace(unsized({**values, "do_center_crop": False}, name, backend, rule), gives="masks")
    if not checks.flag(values, "do_pad"):
        return steps
    return replace(steps, padding=padding_of(values))


def merging(values: ConfigValues, name: str, backend: str) -> Steps:
    """Qwen2-VL: sides are multiples of blocks of patches, within a number of pixels."""
    patch, merge, copies = (
        checks.whole_number(values, key) for key in ("patch_size", "merge_size", "temporal_patch_size")
    )
    rule = None
    if checks.flag(values, "do_resize"):
        size = values.get("size")
        size = dict(size) if isinstance(size, Mapping) else size
        for old, new in (("min_pixels", "shortest_edge"), ("max_pixels", "longest_edge")):
            if values.get(old) is not None and isinstance(size, dict):
                size.pop(old, None)
                size[new] = values[old]
        size = checks.sizes_in({"size": size}, "size", square=False)
        if set(size) != {"shortest_edge", "longest_edge"}:
            raise ProcessorError(
                f'Expected "size" of a {name} with "shortest_edge" and "longest_edge", the least and the most pixels, '
                f"got {brief(dict(size))}."
            )
        least, most = size["shortest_edge"], size["longest_edge"]
        rule = partial(sizes.pixels, multiple=patch * merge, least=least, most=most)
    steps = unsized({**values, "do_center_crop": False}, name, backend, rule)
    return replace(steps, patches=Patches(patch, merge, copies))


def counting(values: ConfigValues, name: str, backend: str) -> Steps:
    """SigLIP 2: as many patches as are wanted, or less."""
    patch, most = checks.whole_number(values, "patch_size"), checks.whole_number(values, "max_num_patches")
    rule = partial(sizes.patches_within, multiple=patch, most=most) if checks.flag(values, "do_resize") else None
    steps = unsized({**values, "do_center_crop": False}, name, backend, rule)
    return replace(steps, patches=Patches(patch, most=most, channels_last=True))


@dataclass(frozen=True)
class Family:
    """Processors of one class.

    Attributes:
        defaults: by key, for what a configuration leaves out.
        read: from (values, name of the class, backend) to :class:`Steps`.
    """

    defaults: ConfigValues
    read: Callable[[ConfigValues, str, str], Steps] = plain


CLASSIFYING = {**ALWAYS, **HALVES, "size": square(224)}

FAMILIES: dict[str, Family] = {
    "BeitImageProcessor": Family({**CLASSIFYING, "resample": BICUBIC, "crop_size": square(224)}, unpadded),
    "BitImageProcessor": Family(CONTRASTIVE),
    "BlipImageProcessor": Family({**ALWAYS, **CLIP, "resample": BICUBIC, "size": square(384), "do_convert_rgb": True}),
    "CLIPImageProcessor": Family(CONTRASTIVE),
    "ConvNextImageProcessor": Family(
        {**ALWAYS, **HALVES, "resample": BICUBIC, "size": {"shortest_edge": 384}, "crop_pct": 224 / 256}, shares
    ),
    "DeiTImageProcessor": Family({**ALWAYS, **HALVES, **crop(224), "resample": BICUBIC, "size": square(256)}),
    "EfficientNetImageProcessor": Family(
        {
            **ALWAYS,
            **HALVES,
            "resample": BICUBIC,
            "size": square(346),
            "crop_size": square(289),
            "rescale_offset": False,
            "include_top": True,
        },
        offset,
    ),
    "LevitImageProcessor": Family(
        {
            **ALWAYS,
            **IMAGENET,
            **crop(224),
            "resample": BICUBIC,
            "size": {"shortest_edge": 224},
            "default_to_square": False,
        },
        widened,
    ),
    "LlavaImageProcessor": Family({**CONTRASTIVE, "do_pad": False}, squared),
    "MobileNetV1ImageProcessor": Family(
        {
            **ALWAYS,
            **HALVES,
            **crop(224),
            "resample": BILINEAR,
            "size": {"shortest_edge": 256},
            "default_to_square": False,
        }
    ),
    "MobileNetV2ImageProcessor": Family(
        {
            **ALWAYS,
            **HALVES,
            **crop(224),
            "resample": BILINEAR,
            "size": {"shortest_edge": 256},
            "default_to_square": False,
        },
        unpadded,
    ),
    "Qwen2VLImageProcessor": Family(
        {
            **ALWAYS,
            **CLIP,
            "resample": BICUBIC,
            "size": {"shortest_edge": 56 * 56, "longest_edge": 28 * 28 * 1280},
            "do_convert_rgb": True,
            "patch_size": 14,
            "temporal_patch_size": 2,
            "merge_size": 2,
        },
        merging,
    ),
    "SamImageProcessor": Family(
        {
            **ALWAYS,
            **IMAGENET,
            "resample": BILINEAR,
            "size": {"longest_edge": 1024},
            "do_convert_rgb": True,
            "do_pad": True,
            "pad_size": square(1024),
        },
        longest,
    ),
    "SegformerImageProcessor": Family({**ALWAYS, **IMAGENET, "resample": BILINEAR, "size": square(512)}, uncropped),
    "SiglipImageProcessor": Family(
        {**CLASSIFYING, "resample": BICUBIC, "default_to_square": False, "do_convert_rgb": True}
    ),
    "Siglip2ImageProcessor": Family(
        {**ALWAYS, **HALVES, "resample": BILINEAR, "patch_size": 16, "max_num_patches": 256}, counting
    ),
    "ViTImageProcessor": Family({**CLASSIFYING, "resample": BILINEAR}),
    **{
        f"{name}ImageProcessor": Family(DETECTING, detecting)
        for name in ("Detr", "ConditionalDetr", "DeformableDetr", "GroundingDino")
    },
    "YolosImageProcessor": Family(DETECTING, partial(detecting, multiple=16)),
    "RTDetrImageProcessor": Family(
        {**DETECTING, "do_normalize": False, "do_pad": False, "size": square(640)}, partial(detecting, legacy=False)
    ),
}
"""By the name of the class, without a suffix for the backend."""
