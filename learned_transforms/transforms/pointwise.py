"""Functions of each pixel by itself: of levels, whose tables are read off all 256, and of floats."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
import torchvision.transforms as v1
from PIL import Image
from torchvision.transforms import v2

from learned_transforms.images.formats import Form, to_tensor
from learned_transforms.layers.given import Posterizing, Projecting, Solarizing
from learned_transforms.layers.pointwise import Lookup, Normalizing
from learned_transforms.modes import out_of_sight
from learned_transforms.transforms.color import Adjusting, permitted
from learned_transforms.transforms.spec import Spec, Step

CHANGING = "it changes the image that it is given"
"""Why torchvision runs what is ``inplace``, unless the image was made by the transforms before."""


def tabled(function: Callable[..., Any], *arguments: Any, pil: bool = False) -> Lookup | None:
    """Read a table off what a function of levels makes of all 256; None: it leaves them as they are.

    Args:
        pil: it takes them as a PIL image, not as a tensor.
    """
    with torch.inference_mode(False), out_of_sight():  # It is kept.
        levels = torch.arange(256, dtype=torch.uint8).view(1, 16, 16)
        image = Image.fromarray(levels[0].numpy()) if pil else levels
        made = function(image, *arguments)
        return None if made is image else Lookup(to_tensor(made).reshape(1, 256))


def table_step(form: Form, api: str, name: str, *arguments: Any) -> Step | str:
    """Lower a function of levels alone, by its name among torchvision's functionals."""
    functional = v1.functional if api == "v1" else v2.functional
    try:
        table = tabled(getattr(functional, name), *arguments, pil=form.container == "pil")
    except (TypeError, ValueError) as error:  # Where it is applied, which chance decides.
        return f"torchvision refuses its arguments: {error}"
    return Step(form) if table is None else Step(form, layer=table, params=permitted(form, api))


class Tabled(Adjusting):
    """A function of levels; of floats it is computed.

    Attributes:
        function: its name among torchvision's functionals.
        given: the arguments of that behind the image.
    """

    function: ClassVar[str]
    given: ClassVar[Sequence[str]] = ()

    def lower(self, form: Form) -> Step | str:
        if form.dtype != "uint8":
            return self.lower_floats(form)
        return table_step(form, self.api, self.function, *(getattr(self.transform, name) for name in self.given))

    def lower_floats(self, form: Form) -> Step | str:
        """Say what it does to float images."""
        raise NotImplementedError


class RandomInvert(Tabled):
    """Values subtracted from the largest, or not."""

    arguments = ("p",)
    function = "invert"

    def lower_floats(self, form: Form) -> Step | str:
        # (x - 1) / -1 is 1 - x, rounded once.
        params = {"mean": (1.0,), "std": (-1.0,), **permitted(form, self.api)}
        return Step(form, layer=Normalizing(), params=params)


class RandomPosterize(Tabled):
    """Levels of fewer bits, or not."""

    arguments = ("bits", "p")
    function, given = "posterize", ("bits",)

    def lower_floats(self, form: Form) -> Step | str:
        bits = self.transform.bits
        if self.api == "v1":
            return "v1 posterizes uint8 only"
        if not isinstance(bits, int) or not 0 <= bits <= 8:
            return f"{bits!r} bits are none of 0 to 8"
        return Step(form, layer=Posterizing(bits), params={})


class RandomSolarize(Tabled):
    """Values from a threshold on inverted, or not."""

    arguments = ("threshold", "p")
    function, given = "solarize", ("threshold",)

    def lower_floats(self, form: Form) -> Step | str:
        return Step(form, layer=Solarizing(self.transform.threshold), params=permitted(form, self.api))


class Normalize(Spec):
    """Mean subtracted and divided by std, by channel."""

    arguments = ("mean", "std", "inplace")
    half = writes = keeps_order = True

    def lower(self, form: Form) -> Step | str:
        if form.container == "pil" or form.dtype == "uint8":
            return "Normalize takes float tensors only"
        mean, std = (numbers(value) for value in (self.transform.mean, self.transform.std))
        if mean is None or std is None or 0 in std or (self.api == "v1" and len(mean) != len(std)):
            return "its mean and std are no sequences of numbers to normalize by"
        if self.changes(form):
            return CHANGING
        # torchvision divides in place, and v1 subtracts so too.
        copy_gray = self.api == "v2" and not self.transform.inplace and len(mean) >= len(std)
        params: dict[str, Any] = {"mean": mean, "std": std, "copy_gray": copy_gray}
        if form.half:
            with out_of_sight():
                divides = torch.tensor(std, dtype=getattr(torch, form.dtype)).all()
            if not divides:
                return f"its std comes to 0 in {form.dtype}"
            params["dtype"] = form.dtype
        return Step(form, layer=Normalizing(), params=params)


def numbers(value: Any) -> tuple[float, ...] | None:
    """Return a sequence of numbers as a tuple; None for anything else."""
    plain = isinstance(value, list | tuple) and value and all(isinstance(v, int | float) for v in value)
    return tuple(float(v) for v in value) if plain else None


class LinearTransformation(Spec):
    """All values of the image times a matrix."""

    tensors = ("transformation_matrix", "mean_vector")

    def lower(self, form: Form) -> Step | str:
        matrix, mean = self.transform.transformation_matrix, self.transform.mean_vector
        if form.container == "pil":
            return "LinearTransformation takes tensors only"
        if matrix.dtype != torch.float32 or mean.dtype != torch.float32:
            return f"a matrix of {matrix.dtype} is not learned"
        return Step(form._replace(dtype="float32"), layer=Projecting(matrix, mean), params={})
