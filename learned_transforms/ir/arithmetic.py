"""How a weighted sum is computed: number, precision, rounding."""

from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeVar

from torch import Tensor

from learned_transforms.errors import WeightsError, brief
from learned_transforms.plain import LONGEST

N = TypeVar("N", int, Tensor)

Order = Literal["taps", "second", "joint"]
NUMBERS = ("int", "float32", "float64")
ROUNDINGS = ("none", "truncate", "half_up", "half_even")


@dataclass(frozen=True)
class Arithmetic:
    """How a weighted sum is computed. Picked by validation among candidates, never learned.

    Attributes:
        number: ``"int"`` for fixed-point integers, else the float type of weights, products and sums; the result of
            a stage is uint8 or float32 all the same.
        bits: fraction bits of the integer weights.
        adaptive: use the most fraction bits, up to ``bits``, with which every weight still fits an int16.
        fma: each product joins the sum with a single rounding (fused multiply-add); without antialiasing, positions and
            kernels are evaluated so, too, as in aten.
        rounding: how a sum becomes a level; ``"none"`` leaves it a float.
        each_pass: of a two-pass resample, round to uint8 after each pass rather than at the end.
        tall_first: of a two-pass resample, do the rows first where that pass removes more than twice as many lines
            as the columns pass does, if the installed Pillow does so (since 13); otherwise the columns come first.
        quarters: of a two-pass resample in integers, round nothing after the first pass, and cut each product of the
            second to quarters of a level before it joins the sum (OpenCV).
        running: of positions along an axis, add the distance from one to the next up instead of multiplying it
            (Pillow's nearest neighbor).
        small: fuse where the installed torch does (see :func:`~learned_transforms.installed.fuses`), which is asked for
            outputs of no more rows and columns than this in all, and those of three channels that one thread makes,
            apart from larger ones, as aten has a loop for either; 0 fuses at every size, in every torch.
        grouped: of an antialiased resample, fuse as the installed torch does (see
            :func:`~learned_transforms.installed.grouping`): of the products behind the first, as many as fill groups of
            this many are rounded before they join the sum, and the rest is fused. Places are computed in float64 from
            those in float32, and kernels as polynomials of the distance, fused throughout. 0: none of this.
        order: of a resample in floats without antialiasing: ``"taps"``, one after the other; ``"second"``, the second
            before the first, and the rest fused even without ``fma``; ``"joint"``, the two of either axis in one sum of
            four products, of which the second again comes first, and the weights are multiplied before (aten's loop for
            channels side by side). Not in files: it follows from ``small``.
    """

    number: Literal["int", "float32", "float64"]
    bits: int = 0
    adaptive: bool = False
    fma: bool = False
    rounding: Literal["none", "truncate", "half_up", "half_even"] = "none"
    each_pass: bool = False
    tall_first: bool = False
    quarters: bool = False
    running: bool = False
    small: int = 0
    grouped: int = 0
    order: Order = "taps"

    def rounded(self, products: N) -> N:
        """Of so many products behind the first, how many are rounded before they join the sum."""
        if self.order == "second":
            return products * 0
        if not self.fma:
            return products
        return products // self.grouped * self.grouped if self.grouped else products * 0

    def __str__(self) -> str:
        words: list[str] = [self.number]
        if self.number == "int":
            words.append("int16 weights" if self.adaptive else f"{self.bits} bits")
        if self.fma:
            words.append(f"fma as in torch, up to and above {self.small} rows and columns" if self.small else "fma")
            if self.grouped:
                words.append(f"groups of {self.grouped} as in torch")
        if self.rounding != "none":
            words.append(self.rounding.replace("_", "-"))
            if self.each_pass:
                words.append("each pass")
        if self.tall_first:
            words.append("tall first")
        if self.quarters:
            words.append("quarters")
        if self.running:
            words.append("running")
        return ", ".join(words)

    @classmethod
    def from_json(cls, description: Any) -> "Arithmetic":
        """Read back what ``asdict`` wrote; a :class:`WeightsError` names whatever does not fit."""
        try:
            made = cls(**description)
        except TypeError as error:
            raise WeightsError(f"Expected the fields of an Arithmetic, got {brief(description)}: {error}") from None
        whole = made.number == "int"
        switches = made.adaptive, made.fma, made.each_pass, made.tall_first, made.quarters, made.running
        if not (
            made.number in NUMBERS
            and made.rounding in ROUNDINGS
            and all(type(switch) is bool for switch in switches)
            and type(made.bits) is int
            and (1 <= made.bits <= 22 if whole else made.bits == 0)
            and type(made.small) is int
            and 0 <= made.small <= LONGEST
            and type(made.grouped) is int
            and 0 <= made.grouped <= LONGEST
            and made.order == "taps"
            # Whole sums are rounded half up, and only sums of floats are fused, whatever else is said here.
            and (made.rounding == "half_up" or not whole)
            and (not whole or not made.fma)
            and (made.fma or not (made.small or made.grouped))
        ):
            raise WeightsError(f"Unknown arithmetic {brief(description)}: the file is damaged or from a newer release.")
        return made

    def to_json(self) -> dict[str, Any]:
        """Return a dictionary of plain values, for weight files."""
        # Files from before there were groups say nothing of them, and their digests must hold.
        plain = {name: value for name, value in asdict(self).items() if name != "order"}
        return {name: value for name, value in plain.items() if value or name != "grouped"}


SMOOTH = Arithmetic("float32")
"""No rounding anywhere, so that gradients pass."""
