"""What is to be learned, what is found, and how far that is from the teacher."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any, TypeVar

import torch
from torch import Tensor

from learned_transforms.images.formats import to_tensor
from learned_transforms.ir.arithmetic import Arithmetic
from learned_transforms.layers.base import Layer, Params
from learned_transforms.layers.network import Network
from learned_transforms.layers.resize import Resampling
from learned_transforms.trainer.data.sources import as_kind
from learned_transforms.trainer.optim.kernel import Sized
from learned_transforms.trainer.optim.training import Epoch, Settings, score
from learned_transforms.trainer.sizes.rules import Rules

FLOAT_ERROR = 1e-6
"""Float values that differ by no more count as equal."""

FINALISTS = 6
"""Candidates that are compared on all images, where a few rule out the others."""

CHECK_IMAGES = 200
"""Of the validation, by which forms are compared."""

L = TypeVar("L", bound=Layer)


@dataclass(frozen=True)
class Labelled:
    """Inputs and what a network should make of them.

    Attributes:
        inputs: ``[N, C, H, W]``, uint8 levels or float32.
        targets: ``[N, C', H', W']``, uint8 levels (where the teacher's output is quantized) or float32.
    """

    inputs: Tensor
    targets: Tensor

    @property
    def size(self) -> tuple[int, int]:
        h, w = self.targets.shape[-2:]
        return h, w

    @property
    def quantized(self) -> bool:
        return self.targets.dtype == torch.uint8

    @property
    def rounded(self) -> Arithmetic:
        """The arithmetic of a free network's output: levels are rounded, floats are not."""
        return Arithmetic("float32", rounding="half_up" if self.quantized else "none")

    def floats(self, dtype: torch.dtype = torch.float32) -> Sized:
        return self.inputs.to(dtype), self.targets.to(dtype)

    def part(self, index: slice | Tensor) -> "Labelled":
        return Labelled(self.inputs[index], self.targets[index])

    def rich(self, count: int) -> "Labelled":
        """``count`` images with many different values: the rounding errors of the others do not average out."""
        values = self.inputs[:, 0].flatten(1).sort(1).values
        different = (values.diff(dim=1) != 0).sum(1)
        index = (different >= min(64, values.shape[1] // 4)).nonzero()[:count, 0]
        return self.part(index) if len(index) else self.part(slice(count))

    def flip(self, flips: tuple[bool, bool]) -> "Labelled":
        """With targets flipped along (rows, columns)."""
        axes = [axis for axis, on in zip((-2, -1), flips, strict=True) if on]
        return Labelled(self.inputs, self.targets.flip(axes))


Ask = Callable[[Tensor], Labelled]
"""From images ``[N, C, H, W]`` to what the teacher makes of them, flips undone."""


@dataclass(frozen=True)
class Trial:
    """One row of the search table.

    Attributes:
        form: what was tried.
        differing: share of validation values that differ from the teacher's.
        largest: largest error, in the units of the targets.
        squares: mean squared error.
    """

    form: str
    differing: float
    largest: float
    squares: float

    @property
    def worth(self) -> tuple[float, float, float]:
        """Smaller is better. Errors of a float network below the tolerance are the noise of its arithmetic."""
        return self.differing, self.largest if self.differing else 0.0, self.squares if self.differing else 0.0


Grid = int | None
"""The denominator of the grid that weights were snapped onto; None: left as trained."""


@dataclass(frozen=True)
class Problem:
    """What the families of networks are fitted to.

    Attributes:
        train, val: pairs of one size.
        probes: pairs of other sizes, where the teacher takes them and its output keeps its size.
        ask: the teacher's answers to more images of the training size; None if there are pairs only.
        settings: of training.
        kernels: shipped ones, candidates beside the one that is learned.
        history: of all training, in order.
        rules: how targets follow from the size of inputs, where that is known.
        costly: an answer takes long, so that fewer are asked for.
    """

    train: Labelled
    val: Labelled
    probes: Sequence[Labelled]
    ask: Ask | None
    settings: Settings
    kernels: Sequence[Resampling] = ()
    history: list[Epoch] = field(default_factory=list)
    rules: Rules | None = None
    costly: bool = False

    @property
    def same_size(self) -> bool:
        """Whether outputs are as large as inputs, other than by chance."""
        resizes = self.rules is not None and self.rules.resizes
        return not resizes and self.train.inputs.shape[-2:] == self.train.targets.shape[-2:]

    @property
    def unit(self) -> float:
        """One level, in the units of the targets."""
        return 1.0 if self.train.quantized else 1 / 255

    @property
    def channels(self) -> tuple[int, int]:
        """Of inputs, and of outputs."""
        return self.train.inputs.shape[1], self.train.targets.shape[1]


@dataclass(frozen=True)
class FoundForm:
    """A network that a family found.

    Attributes:
        layers, params: in order.
        trials: what was tried on the way.
        learned: names of params that were found in the teacher's output.
        grids: the grid of each kind of weight.
        fitted: a kernel before snapping.
        notes: what was found out, in words.
    """

    layers: Sequence[Layer]
    params: Sequence[Params]
    trials: Sequence[Trial] = ()
    learned: Sequence[str] = ()
    grids: Mapping[str, Grid] = field(default_factory=dict)
    fitted: Tensor | None = None
    notes: Sequence[str] = ()

    @property
    def worth(self) -> tuple[float, float, float]:
        """Of the best of its trials; smaller is better."""
        return min(trial.worth for trial in self.trials)

    @classmethod
    def plain(cls, *layers: Layer, notes: Sequence[str] = ()) -> "FoundForm":
        """Layers that take no params."""
        return cls(layers, [{} for _ in layers], notes=notes)


def run_layers(layers: Sequence[Layer], part: Labelled, params: Sequence[Params] | None = None) -> Tensor:
    """Return the output of layers; unless ``params`` are given, the first of them may resample, and the rest take
    none."""
    chosen = (
        params
        if params is not None
        else [{"size": part.size} if isinstance(layer, Resampling) else {} for layer in layers]
    )
    result: Tensor = Network(layers, chosen, "float32")(part.inputs)
    return result


def flat(image: Tensor) -> Tensor:
    """Channels and a row of ones, float64 ``[C + 1, samples]``."""
    planes = image.transpose(0, 1).reshape(image.shape[1], -1).double()
    return torch.cat([planes, torch.ones_like(planes[:1])])


def mismatch(output: Tensor, target: Tensor) -> float:
    """Share of levels that differ; for floats the mean squared error, not less than what float32 can say."""
    if target.dtype == torch.uint8:
        return float((output != target).double().mean())
    return max(score(output, target)[0], 1e-14 * float(target.double().square().mean()))


def wording(layers: Sequence[Layer]) -> str:
    """Layers and their arithmetics, for a table."""
    words = (f"{type(layer).__name__}" + (f" ({layer.arithmetic})" if layer.arithmetic else "") for layer in layers)
    return " -> ".join(words)


def attempt(layers: Sequence[Layer], checks: Sequence[Labelled], params: Sequence[Params] | None = None) -> Trial:
    """Return how far a candidate is from the teacher, over validation pairs and probes together."""
    differing, values, largest, squares = 0, 0, 0.0, 0.0
    for check in checks:
        error = (run_layers(layers, check, params).double() - check.targets.double()).abs()
        differing += int((error > (0.0 if check.quantized else FLOAT_ERROR)).sum())
        values += error.numel()
        largest = max(largest, float(error.max()))
        squares += float(error.square().sum())
    return Trial(wording(layers), differing / values, largest, squares / values)


def labelled(teacher: Callable[..., Any], images: Sequence[Tensor] | Tensor, kind: str, *params: Any) -> Labelled:
    """Images of one size, and what a teacher that takes these params makes of them."""
    inputs = [as_kind(image, kind) for image in images]
    answers = torch.stack([to_tensor(teacher(image, *params)) for image in inputs])
    return Labelled(torch.stack([to_tensor(image) for image in inputs]), answers)


def select(
    layers: Sequence[L], checks: Sequence[tuple[Labelled, Params]], few: int | None = None
) -> tuple[L, list[Trial]]:
    """Return the layer that is nearest to the targets, the first among equals; and a trial for each, over all checks.

    With ``few``, that many images of each check rule out all but ``FINALISTS`` of the layers first.
    """
    trials = [overall(layer, checks, few) for layer in layers]
    order = sorted(range(len(layers)), key=lambda i: (trials[i].differing, trials[i].squares))
    if few is not None:
        # Equals stay in their order.
        for i in (order := sorted(order[:FINALISTS])):
            trials[i] = overall(layers[i], checks)
    return layers[min(order, key=lambda i: (trials[i].differing, trials[i].squares))], trials


def overall(layer: Layer, checks: Sequence[tuple[Labelled, Params]], few: int | None = None) -> Trial:
    """Return how far a layer is from the teacher, each check of the same weight; on the first ``few`` images, if
    given."""
    found = [attempt([layer], [check.part(slice(few))], [params]) for check, params in checks]
    differing, squares = fmean(t.differing for t in found), fmean(t.squares for t in found)
    return Trial(choices(layer), differing, max(t.largest for t in found), squares)


def choices(layer: Layer) -> str:
    """Return a layer in words, with all that was selected for it."""
    chosen = [f"{name}: {value}" for name, value in layer.describe().items() if isinstance(value, str | int)]
    return ", ".join([wording([layer]), *chosen])
