"""RandomErasing: a part of the image is overwritten, before anything else runs."""

from typing import Any

import torch
from PIL import Image
from torchvision.transforms import v2

from learned_transforms.images.formats import Form, Window
from learned_transforms.ir.sizing import Size
from learned_transforms.layers.given import Erasing, check_value
from learned_transforms.layers.noise import Noise, read_state
from learned_transforms.transforms.area import as_v2, lengths
from learned_transforms.transforms.rng import default_rng_active, round_float32, toss, two_below
from learned_transforms.transforms.spec import Outcome, Seen, Spec, Step, is_whole, names_are


class RandomErasing(Spec):
    """A rectangle of the image overwritten by numbers or noise, or not."""

    arguments = ("p", "scale", "ratio", "value", "inplace")
    names = ("i", "j", "h", "w", "v")
    random = optional = looks = alike = True
    erasing = converting = writes = keeps_order = True

    def argument(self, name: str) -> Any:
        """v2 keeps None for noise."""
        value = super().argument(name)
        return "random" if value is None else value

    @property
    def noisy(self) -> bool:
        """Whether it writes noise."""
        return self.transform.value is None or self.transform.value == "random"

    @property
    def value(self) -> tuple[float, ...] | None:
        """What it writes, one number or one a channel; None: anything else."""
        value = self.transform.value if isinstance(self.transform.value, list | tuple) else [self.transform.value]
        return tuple(float(v) for v in value) if all(isinstance(v, int | float) for v in value) else None

    def lower(self, form: Form) -> Step | str:
        value = "random" if self.noisy else self.value
        if form.container == "pil" and self.api == "v1":
            return "v1 erases tensors only"
        if value is None:
            return "its value is no number, and no numbers"
        return Step(form, layer=Erasing(), params={"value": value})

    def sample(self, seen: Seen) -> Outcome:
        """Draw which part is overwritten: of up to ten tries, the first that is smaller than the image.

        Noise is drawn before the place of that part.
        """
        channels, height, width = seen.shape
        value: Any = self.value or ()
        if not toss((round_float32(self.transform.p),))[0]:
            return False
        if not self.noisy:
            check_value(value, channels)
        if not default_rng_active():
            drawn = v2.RandomErasing.make_params(as_v2(self.transform), [torch.empty(seen.shape, device="cpu")])
            value = Noise(drawn["v"], None) if self.noisy else value
            return tuple((drawn | {"v": None if drawn["v"] is None else value}).items())
        found: tuple[Any, ...] = 0, 0, height, width, None
        for h, w in lengths(self.transform, height * width):
            if h < height and w < width:
                value = Noise.drawn((channels, h, w)) if self.noisy else value
                found = *two_below(height - h + 1, width - w + 1), h, w, value
                break
        return tuple(zip(self.names, found, strict=True))

    def replay(self, entry: Any) -> Outcome | None:
        if not names_are(entry, self.names) or not is_whole(entry, "ijhw"):
            return None
        value = self.replayed(entry["v"])
        return None if value is False else tuple((name, value if name == "v" else entry[name]) for name in self.names)

    def replayed(self, value: Any) -> tuple[float, ...] | Noise | bool | None:
        """Read what it writes out of plain values; False: they are none."""
        if isinstance(value, str):
            return Noise(None, read_state(value)) if self.noisy else False
        numbers = isinstance(value, list | tuple) and value and all(isinstance(v, int | float) for v in value)
        return tuple(value) if numbers else None if value is None else False

    def v2_params(self, outcome: Outcome, window: Window | None, value: Any, channels: int) -> dict[str, Any]:
        if isinstance(outcome, bool):
            return {}
        where = dict(outcome)
        found = where["v"]
        if isinstance(found, Noise):
            return {**where, "v": found.of((channels, where["h"], where["w"]))}
        return {**where, "v": None if found is None else torch.tensor(found)[:, None, None]}

    def carry(self, drawn: Outcome, pixel: Image.Image, size: Size) -> Image.Image:
        pixel.info = {}
        return pixel
