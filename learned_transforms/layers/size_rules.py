"""Rules from the size of an image to the size that it is resized, cropped or padded to, as plain values."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from math import ceil, floor
from typing import Any

from learned_transforms.errors import EmptyImageError
from learned_transforms.ir.sizing import Size
from learned_transforms.plain import LONGEST, integer, list_of, mapping, one_of, positive, switch

RULE_ROUNDINGS: Mapping[str, Callable[[float], int]] = {
    "down": floor,
    "even": round,
    "half_up": lambda value: floor(value + 0.5),
    "up": ceil,
}
"""From a length in pixels to a whole one; ``even`` and ``half_up`` are to the nearest."""

RULE_FORMS = ("product", "ratio", "aspect")
"""The order in which a length is scaled: ``length * wanted / side``, ``length * (wanted / side)``, and
``wanted * (length / side)``; they round differently."""

RULE_KINDS = (
    *("same", "fixed", "short", "long", "factor", "divisor", "within", "cover", "between"),
    *("thumbnail", "largest", "smallest"),
)


@dataclass(frozen=True)
class SizeRule:
    """A rule from the (rows, columns) of an image to others.

    Attributes:
        kind: ``same``; ``fixed`` to ``numbers``; ``factor``, both sides times ``numbers``; ``divisor``, divided by
            them; ``short`` or ``long``, the ratio is kept and that side gets ``numbers[0]`` pixels; ``within`` or
            ``cover``, the ratio is kept and the image fits into ``numbers``, or covers them; ``between``, ``short``
            unless the longer side got more than ``numbers[1]``, as torchvision; ``thumbnail``, as Pillow;
            ``largest`` and ``smallest``, a square with the longer or the shorter side.
        numbers: (rows, columns), or one length.
        rounding: one of ``RULE_ROUNDINGS``.
        form: one of ``RULE_FORMS``.
        multiple: sides are rounded to multiples of it, of which there is at least one.
        shrink: images are never enlarged.
        grow: pixels added to (rows, columns) at the end.
    """

    kind: str
    numbers: tuple[float, ...] = ()
    rounding: str = "down"
    form: str = "product"
    multiple: int = 1
    shrink: bool = False
    grow: Size = (0, 0)

    def __call__(self, size: Size) -> Size:
        """Return the (rows, columns) that an image of ``size`` gets.

        Raises:
            EmptyImageError: nothing is left of it.
        """
        rows, columns = self.scaled(size)
        found = rows + self.grow[0], columns + self.grow[1]
        if min(found) < 1:
            raise EmptyImageError(f"An image of {size} (rows, columns) would become one of {found}: nothing is left.")
        return found

    def scaled(self, size: Size) -> Size:
        """:meth:`__call__` before ``grow``."""
        if self.kind == "fixed":
            return int(self.numbers[0]), int(self.numbers[1])
        if self.kind in ("largest", "smallest"):
            side = max(size) if self.kind == "largest" else min(size)
            return self.rounded(side), self.rounded(side)
        if self.kind == "thumbnail":
            return thumbnail(size, (int(self.numbers[0]), int(self.numbers[1])))
        if self.kind == "between":
            return between(size, int(self.numbers[0]), int(self.numbers[1]))
        if self.kind == "same":
            return self.rounded(size[0]), self.rounded(size[1])
        if self.kind in ("factor", "divisor"):
            rows, columns = (
                n * by if self.kind == "factor" else n / by for n, by in zip(size, self.numbers, strict=True)
            )
            return self.rounded(rows), self.rounded(columns)
        wanted, side = self.fitted(size)
        if self.shrink and wanted >= side:
            return self.rounded(size[0]), self.rounded(size[1])
        rows, columns = (self.along(n, wanted, side) for n in size)
        return self.rounded(rows), self.rounded(columns)

    def fitted(self, size: Size) -> tuple[float, int]:
        """Return the length that is wanted, and the side that gets it."""
        if self.kind in ("short", "long"):
            return self.numbers[0], min(size) if self.kind == "short" else max(size)
        choose = min if self.kind == "within" else max
        return choose(zip(self.numbers, size, strict=True), key=lambda pair: pair[0] / pair[1])

    def along(self, length: int, wanted: float, side: int) -> float:
        if self.form == "product":
            return wanted * length / side
        return length * (wanted / side) if self.form == "ratio" else wanted * (length / side)

    def rounded(self, length: float) -> int:
        whole = RULE_ROUNDINGS[self.rounding](length / self.multiple) * self.multiple
        return max(whole, self.multiple if self.multiple > 1 else 0)

    def __str__(self) -> str:
        numbers = " x ".join(f"{number:g}" for number in self.numbers)
        words = {"short": "short side ", "long": "long side ", "same": "same size", "factor": "times "}
        words |= {"divisor": "divided by ", "fixed": "", "largest": "square of the longer side"}
        text = words.get(self.kind, f"{self.kind} ") + numbers
        text = "square of the shorter side" if self.kind == "smallest" else text
        text += f", multiples of {self.multiple}" if self.multiple > 1 else ""
        text += " enlarged by {} x {}".format(*self.grow) if any(self.grow) else ""
        text += ", never enlarged" if self.shrink else ""
        exact = self.kind in ("fixed", "between", "thumbnail") or (
            self.kind in ("same", "largest") and self.multiple == 1
        )
        return text if exact else f"{text}, rounded {self.rounding.replace('_', ' ')}"

    def to_json(self) -> dict[str, Any]:
        """Plain values, without what is as usual."""
        usual = asdict(SizeRule("", ()))
        return {name: value for name, value in asdict(self).items() if value != usual[name]}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "SizeRule":
        """Read back what :meth:`to_json` gave."""
        plain: dict[str, Any] = {n: tuple(value) if isinstance(value, list) else value for n, value in values.items()}
        return cls(**plain)


def between(size: Size, wanted: int, most: int) -> Size:
    """Give the shorter side what is wanted, unless the longer one got more than ``most``."""
    short, long = sorted(size)
    new_short, new_long = wanted, int(wanted * long / short)
    if new_long > most:
        new_short, new_long = int(most * new_short / new_long), most
    return (new_long, new_short) if size[1] <= size[0] else (new_short, new_long)


def thumbnail(size: Size, most: Size) -> Size:
    """Make it as large as fits, never enlarged; of the two nearest lengths, that which keeps the ratio better."""
    (rows, columns), (high, wide) = size, most
    if wide >= columns and high >= rows:
        return size
    aspect = columns / rows
    if wide / high >= aspect:
        wide = nearer(high * aspect, lambda n: abs(aspect - n / high))
    else:
        high = nearer(wide / aspect, lambda n: 0 if n == 0 else abs(aspect - wide / n))
    return high, wide


def nearer(length: float, error: Callable[[int], float]) -> int:
    return max(min(floor(length), ceil(length), key=error), 1)


CHECKS = {
    "kind": one_of(*RULE_KINDS),
    "numbers": list_of(positive, 0, 2),
    "rounding": one_of(*RULE_ROUNDINGS),
    "form": one_of(*RULE_FORMS),
    "multiple": integer(1),
    "shrink": switch,
    "grow": list_of(integer(-LONGEST), 2),
}
NUMBERS = {"same": 0, "largest": 0, "smallest": 0, "short": 1, "long": 1}
"""How many there are to a rule; two to any other."""


def is_rule(value: Any) -> bool:
    """Return whether plain values, as a file holds them, are a rule."""
    if not mapping(value) or not value.keys() <= CHECKS.keys() or "kind" not in value:
        return False
    whole = all(CHECKS[name](entry) for name, entry in value.items())
    return whole and len(value.get("numbers", ())) == NUMBERS.get(value["kind"], 2)
