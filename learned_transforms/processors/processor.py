"""LearnedProcessor: what an image processor of transformers gives, by learned layers."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from learned_transforms.artifacts.explain import Explanation, Row, layer_row, tier_of, unsupported
from learned_transforms.choices import Fallback
from learned_transforms.errors import ProcessorInputError, UnsupportedTransformError, brief, check_choice, warn_fallback
from learned_transforms.ir.sizing import Size
from learned_transforms.layers.base import Layer
from learned_transforms.layers.pointwise import Lookup
from learned_transforms.processors import inputs
from learned_transforms.processors.features import Features
from learned_transforms.processors.reading import Configuration
from learned_transforms.processors.running import Runner
from learned_transforms.processors.steps import Steps
from learned_transforms.runtime.pipeline import FALLBACKS
from learned_transforms.runtime.shipped import shipped

KINDS = ("pt", "np")
"""What ``return_tensors`` may be."""

MOST_VARIANTS = 16
"""Sets of options of a call for which runners are kept."""

IDLE = {"disable_grouping", "device"}
"""Options of a call that change no value, on the CPU."""

OPTIONS = {
    *("do_resize", "size", "default_to_square", "resample", "crop_pct", "min_pixels", "max_pixels"),
    *("do_center_crop", "crop_size", "do_rescale", "rescale_factor", "rescale_offset", "include_top"),
    *("do_normalize", "image_mean", "image_std", "do_pad", "pad_size", "do_convert_rgb"),
    *("patch_size", "merge_size", "temporal_patch_size", "max_num_patches", *IDLE),
}
"""Options of a call that layers know; those with None count as not given."""

PROBE = (48, 97)
"""(rows, columns) of the image on which a processor and its layers are compared."""


class LearnedProcessor:
    """Run a published image processor as a learned network: the same mapping of the same tensors.

    Takes PIL images, uint8 tensors and uint8 arrays, one or a list of any sizes, and gives one batch, to the bit that
    of the backend which it stands for. Native code runs without Python's lock. It can be pickled.

    Args:
        configuration: what the processor was told.
        original: the processor itself, which runs what no layer takes, such as annotations and floats; None: there is
            none, and an error says so.
        fallback: ``"warn"``, ``"torchvision"`` (the original runs silently) or ``"error"``.

    Attributes:
        steps: what it does, see ``processors.steps.Steps``.

    Raises:
        ProcessorError: keys that are missing, or contradict each other.
    """

    def __init__(self, configuration: Configuration, original: Any = None, fallback: Fallback = "warn") -> None:
        check_choice("fallback", fallback, FALLBACKS)
        self.configuration, self.original, self.fallback = configuration, original, fallback
        self.told: set[str] = set()
        self.foreign: str | None = None
        self.renew()
        if original is not None:
            self.foreign = self.difference()
            if self.foreign is not None:
                self.tell(self.foreign)

    def renew(self) -> None:
        """Lower the steps."""
        self.runner = Runner(self.configuration.steps())
        self.steps = self.runner.steps
        self.variants: dict[str, Runner] = {}

    def __getstate__(self) -> Mapping[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("runner", "steps", "variants")}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(state)
        self.renew()

    def __getattr__(self, name: str) -> Any:
        """Return what else the original has, such as the methods that process what a model gives."""
        original = self.__dict__.get("original")
        if original is None or name.startswith("__"):
            raise AttributeError(f"{type(self).__name__} has no {name!r}.")
        return getattr(original, name)

    def difference(self) -> str | None:
        """Return why layers do not stand for the original as it is installed here: what they give differs; None: they
        do."""
        pixels = torch.arange(3 * PROBE[0] * PROBE[1]).mul(97).remainder(251).to(torch.uint8)
        image = Image.fromarray(pixels.view(*PROBE, 3).numpy())
        theirs = self.original(images=image, return_tensors="pt")
        ours = self.run(self.runner, [image], "pt")
        same = set(ours) == set(theirs) and all(torch.equal(ours[name], theirs[name]) for name in ours)
        return None if same else "as it is installed here, it gives other values than its layers"

    def tell(self, reason: str) -> None:
        """Say once why the original runs, or raise where that is not allowed."""
        name = self.configuration.name
        if self.fallback == "error":
            raise UnsupportedTransformError(unsupported(name, reason))
        if self.fallback == "warn" and reason not in self.told:
            warn_fallback({name: reason})
        self.told.add(reason)

    def __call__(
        self,
        images: Any,
        *,
        return_tensors: str | None = "pt",
        input_data_format: str | None = None,
        **options: Any,
    ) -> Features:
        """Process one image, or a list of images.

        Args:
            images: PIL images, uint8 tensors ``[C, H, W]`` or arrays ``[H, W, C]`` or ``[C, H, W]``; batches of them.
            return_tensors: ``"pt"`` for tensors, ``"np"`` for arrays; None: as the processor leaves it, mostly lists of
                tensors or arrays, which may differ in size.
            input_data_format: where the channels of arrays and tensors are, if that is to be said.
            options: keys of the configuration, changed for this call.

        Raises:
            ProcessorInputError: images or options that the layers do not take, without an original that does.
            UnevenBatchError: images that differ in size behind all steps. ProcessorError: options that do not fit.
        """
        try:
            if self.foreign is not None:
                raise ProcessorInputError(self.foreign)
            runner = self.runner if not options else self.variant(options)
            ready = [
                inputs.ready(image, runner.steps.to_rgb, input_data_format) for image in inputs.flat_images(images)
            ]
            return self.run(runner, ready, return_tensors)
        except ProcessorInputError as error:
            if self.original is None:
                raise
            self.tell(str(error))
        told = {} if input_data_format is None else {"input_data_format": input_data_format}
        made: Features = self.original(images, return_tensors=return_tensors, **told, **options)
        return made

    preprocess = __call__

    def run(self, runner: Runner, images: list[Any], kind: str | None) -> Features:
        """All steps on images that are ready for them."""
        if kind is not None:
            check_choice("return_tensors, unless it is None,", kind, KINDS, ProcessorInputError)
        steps = runner.steps
        if steps.patches is not None:
            values, grids = runner.patches(images)
            return packed({"pixel_values": values, **about_patches(grids, steps.patches.most)}, kind, steps)
        found: dict[str, Tensor | list[Tensor]]
        if kind is None and steps.padding is None and steps.gives != "masks":
            made, bounds = runner.each(images)
            found = {"pixel_values": made}
        else:
            batch, bounds = runner.batch(images)
            masked = steps.padding is not None and steps.gives == "masks"
            found = {"pixel_mask": mask_of([bound.output[1:] for bound in bounds], batch)} if masked else {}
            found["pixel_values"] = batch
        if steps.gives == "sizes":
            found["original_sizes"] = torch.tensor(inputs.sizes(images))
            found["reshaped_input_sizes"] = torch.tensor([bound.resized for bound in bounds])
        return packed(found, kind, steps)

    def variant(self, options: Mapping[str, Any]) -> Runner:
        """Return the steps under options of a call; kept.

        Raises:
            ProcessorInputError: options that layers do not know.
        """
        unknown = {name for name, value in options.items() if value is not None} - OPTIONS
        if unknown or not on_cpu(options.get("device")):
            raise ProcessorInputError(
                f"No learned layers know of {', '.join(sorted(unknown)) or 'devices'}: {brief(dict(options))}. Pass "
                "the processor itself to from_processor, which then runs them."
            )
        changes = {name: value for name, value in options.items() if name in OPTIONS - IDLE}
        key = repr(sorted(changes.items()))
        if key not in self.variants:
            if len(self.variants) >= MOST_VARIANTS:
                self.variants.clear()
            self.variants[key] = Runner(self.configuration.steps(**changes))
        return self.variants[key]

    def explain(self) -> Explanation:
        """Return what runs each step: layer, tier, and which numbers are learned, selected or given."""
        steps, known = self.steps, shipped()
        if self.foreign is not None:
            return Explanation([Row(steps.backend, steps.name, "torchvision", "-", {}, "transformers", self.foreign)])
        rows: list[Row] = []
        for member, params in zip(self.runner.network.members, self.runner.network.params, strict=True):
            resizing = member is self.runner.resize
            tier = tier_of(known.certificates, str(self.runner.key)) if resizing else tier_of_given(member)
            name = (
                f"resize {steps.interpolation}, {rule_in_words(steps)}" if resizing else type(member).__name__.lower()
            )
            rows.append(layer_row(steps.backend, name, member, params, (), tier, "auto"))
        if self.runner.patching is not None and self.runner.table is not None:
            rows.append(layer_row(steps.backend, "lookup", Lookup(self.runner.table), {}, (), "proved", "auto"))
        return Explanation(rows)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.steps})"


def tier_of_given(layer: Layer) -> str:
    """Of layers without learned numbers: a table that was read off the steps themselves holds for every level."""
    return "proved" if isinstance(layer, Lookup) else "-"


def rule_in_words(steps: Steps) -> str:
    rule: Any = steps.resize
    return f"{rule.func.__name__}({', '.join(f'{name}={value}' for name, value in rule.keywords.items())})"


def about_patches(grids: Sequence[Size], most: int | None) -> dict[str, Tensor]:
    """Return what is told of patches: their grid, and which of them are not padding."""
    if most is None:
        return {"image_grid_thw": torch.tensor([(1, *grid) for grid in grids])}
    counts = torch.tensor([rows * columns for rows, columns in grids])
    mask = (torch.arange(most) < counts[:, None]).to(torch.int32)
    return {"pixel_attention_mask": mask, "spatial_shapes": torch.tensor(grids)}


def mask_of(sizes: Sequence[tuple[int, ...]], batch: Tensor) -> Tensor:
    """1 where there is an image, 0 where there is padding, int64 ``[N, H, W]``."""
    mask = torch.zeros(len(batch), *batch.shape[-2:], dtype=torch.int64)
    for row, (height, width) in zip(mask.unbind(), sizes, strict=True):
        row[:height, :width] = 1
    return mask


def packed(found: Mapping[str, Tensor | list[Tensor]], kind: str | None, steps: Steps) -> Features:
    """Tensors as the processor gives them."""
    whole = steps.backend == "torchvision" and steps.gives == "masks"
    whole = whole or (steps.patches is not None and steps.patches.most is None)
    return Features({name: contained(name, value, kind, whole, steps.backend) for name, value in found.items()})


def contained(name: str, value: Tensor | list[Tensor], kind: str | None, whole: bool, backend: str) -> Any:
    """Return one of them: a tensor, an array, or a list where no kind is asked for, unless a batch is made all the
    same."""
    if kind == "pt":
        return value
    if kind == "np" or (whole and backend == "pil"):
        return value.numpy() if isinstance(value, Tensor) else [one.numpy() for one in value]
    if whole:
        return value
    if name in ("original_sizes", "reshaped_input_sizes", "spatial_shapes"):
        return [tuple(one.tolist()) for one in value]
    return [one.numpy() if backend == "pil" else one for one in value]


def on_cpu(device: Any) -> bool:
    """Return whether results are to lie in the CPU's memory, as they do if no device is named.

    Raises:
        ProcessorInputError: torch knows no such device.
    """
    try:
        return device is None or torch.device(device).type == "cpu"
    except (RuntimeError, TypeError, ValueError) as error:
        raise ProcessorInputError(f"Expected device to be one that torch knows, got {brief(device)}.") from error
