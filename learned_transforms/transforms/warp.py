"""Warps: rotations, affine maps and perspectives.

The matrix that follows from what was drawn is given structure: the formulas are torchvision's and Pillow's, whose order
of operations decides on its last digits. What lies at a place, and how sums around it are computed, is learned.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
import torchvision.transforms as v1
from PIL import Image

from learned_transforms import installed
from learned_transforms.errors import SingularMatrixError
from learned_transforms.images.formats import Form, Window
from learned_transforms.ir.ops import Slots
from learned_transforms.ir.sizing import Size
from learned_transforms.layers.warp import Replacing
from learned_transforms.plain import finite, list_of, positive
from learned_transforms.transforms.color import factor_part
from learned_transforms.transforms.padding import outside
from learned_transforms.transforms.resize import interpolation_name
from learned_transforms.transforms.rng import between, toss
from learned_transforms.transforms.spec import DrawnPart, Factored, Outcome, Seen, Step, kind_of, names_are

Matrix = tuple[float, ...]
"""Six numbers of an affine map from output to input, or eight of a perspective."""

MASKS = ("bool", "uint8", "int8", "int16", "int32", "int64", "float32")
"""Dtypes of masks that torchvision warps in float32."""

DIGITS = 15
"""Decimals to which Pillow rounds sine and cosine."""

TOLERANCE = 1e-4
"""Of the size of an expanded image, in pixels: torchvision cuts corners off behind it."""


class Placement(NamedTuple):
    """Where the pixels of an output come from.

    Attributes:
        matrix: from places of the output to those of the input, as ``ops.Warp`` takes it.
        size: (rows, columns) of the output.
        copied: pixels change places as they are, whatever the interpolation.
    """

    matrix: Matrix
    size: Size
    copied: bool = False


def rotation(
    angle: float,
    size: Size,
    container: str,
    api: str,
    expand: bool = False,
    center: Sequence[float] | None = None,
) -> Placement:
    """Return where the pixels come from of an image turned by ``angle`` degrees, counter-clockwise.

    Args:
        size: (rows, columns) of the image.
        container: ``"pil"``, or that of a tensor.
        api: ``"v1"`` or ``"v2"``.
        expand: as large as it takes to hold all of the image.
        center: (x, y) about which it is turned, in pixels; None: the middle of the image.
    """
    pil = container == "pil"
    if (pil and not center) or (api == "v2" and not pil and center is None):
        copied = quarters(angle % 360, size, expand)
        if copied is not None:
            return copied
    if pil:
        return rotation_of_pillow(angle % 360, size, expand, center)
    rows, columns = size
    about = (0.0, 0.0) if center is None else (center[0] - columns * 0.5, center[1] - rows * 0.5)
    matrix = inverse(api, about, -(angle % 360 if api == "v2" else angle), (0.0, 0.0), 1.0, (0.0, 0.0))
    return Placement(matrix, expanded(matrix, size) if expand else size)


def quarters(angle: float, size: Size, expand: bool) -> Placement | None:
    """Return where the pixels come from under quarter turns that keep the shape or may change it; None: no such
    angle."""
    rows, columns = float(size[0]), float(size[1])
    if angle == 0:
        return Placement((1.0, 0.0, 0.0, 0.0, 1.0, 0.0), size, True)
    if angle == 180:
        return Placement((-1.0, 0.0, columns, 0.0, -1.0, rows), size, True)
    if angle in (90, 270) and (expand or rows == columns):
        swapped = size[1], size[0]
        if angle == 90:
            return Placement((0.0, -1.0, columns, 1.0, 0.0, 0.0), swapped, True)
        return Placement((0.0, 1.0, 0.0, -1.0, 0.0, rows), swapped, True)
    return None


def rotation_of_pillow(angle: float, size: Size, expand: bool, center: Sequence[float] | None) -> Placement:
    """Return the same as Pillow computes it."""
    rows, columns = size
    x, y = center or (columns / 2, rows / 2)
    turned = -math.radians(angle)
    cos, sin, back = (round(value, DIGITS) for value in (math.cos(turned), math.sin(turned), -math.sin(turned)))
    matrix = [cos, sin, 0.0, back, cos, 0.0]
    matrix[2], matrix[5] = moved(matrix, -x, -y)
    matrix[2] += x
    matrix[5] += y
    if not expand:
        return Placement(tuple(matrix), size)
    corners = [moved(matrix, *corner) for corner in ((0, 0), (columns, 0), (columns, rows), (0, rows))]
    width, height = (math.ceil(max(ends)) - math.floor(min(ends)) for ends in zip(*corners, strict=True))
    matrix[2], matrix[5] = moved(matrix, -(width - columns) / 2.0, -(height - rows) / 2.0)
    return Placement(tuple(matrix), (height, width))


def moved(matrix: Sequence[float], x: float, y: float) -> tuple[float, float]:
    """Return the place to which an affine map takes another."""
    a, b, c, d, e, f = matrix
    return a * x + b * y + c, d * x + e * y + f


def affine(
    angle: float,
    translate: Sequence[float],
    scale: float,
    shear: Sequence[float],
    size: Size,
    container: str,
    api: str,
    center: Sequence[float] | None = None,
) -> Placement:
    """Return where the pixels come from of an image that torchvision's ``affine`` moves.

    Args:
        angle: in degrees, clockwise.
        translate: (x, y) in pixels.
        shear: along x and y, in degrees.
        size, container, api, center: see :func:`rotation`.
    """
    rows, columns = size
    if container == "pil":
        about = (columns * 0.5, rows * 0.5) if center is None else (center[0], center[1])
    else:
        about = (0.0, 0.0) if center is None else (center[0] - columns * 0.5, center[1] - rows * 0.5)
    return Placement(inverse(api, about, angle, translate, scale, shear), size)


def inverse(
    api: str,
    center: Sequence[float],
    angle: float,
    translate: Sequence[float],
    scale: float,
    shear: Sequence[float],
) -> Matrix:
    """Return the inverse of an affine map, in the order of operations of v1 or v2."""
    turn, across, down = (math.radians(value) for value in (angle, shear[0], shear[1]))
    (x, y), (right, below) = center, translate
    if api == "v2":
        cos, tan = math.cos(down), math.tan(across)
        a, c = math.cos(turn - down) / cos, math.sin(turn - down) / cos
        b, d = -(a * tan + math.sin(turn)), math.cos(turn) - c * tan
        p, q, r, s = d / scale, -b / scale, -c / scale, a / scale
        from_x, from_y = x + right, y + below
        return p, q, 0.0 + (x - p * from_x - q * from_y), r, s, 0.0 + (y - r * from_x - s * from_y)
    a = math.cos(turn - down) / math.cos(down)
    b = -math.cos(turn - down) * math.tan(across) / math.cos(down) - math.sin(turn)
    c = math.sin(turn - down) / math.cos(down)
    d = -math.sin(turn - down) * math.tan(across) / math.cos(down) + math.cos(turn)
    p, q, r, s = (value / scale for value in (d, -b, -c, a))
    start = 0.0 / scale
    return (
        p,
        q,
        start + (p * (-x - right) + q * (-y - below)) + x,
        r,
        s,
        start + (r * (-x - right) + s * (-y - below)) + y,
    )


def expanded(matrix: Matrix, size: Size) -> Size:
    """Return the size of the output that holds the whole image, as torchvision computes it on tensors: in float32."""
    half = size[1] * 0.5, size[0] * 0.5
    corners = torch.tensor([[x * half[0], y * half[1], 1.0] for x, y in ((-1, -1), (-1, 1), (1, 1), (1, -1))])
    ends = corners @ torch.tensor(matrix, dtype=torch.float32).view(2, 3).T
    middle = torch.tensor(half)
    least, most = (end + middle for end in (ends.amin(0), ends.amax(0)))
    least, most = ((end.mul(1.0 / TOLERANCE)).trunc() * TOLERANCE for end in (least, most))
    width, height = (most.ceil() - least.floor()).tolist()
    return int(height), int(width)


def warped(form: Form, api: str, interpolation: Any, fill: Any, matrix: Slots) -> tuple[Step, Step] | str:
    """Lower a warp to the learned layer, and the one that copies pixels to other places; or say why torchvision must.

    Args:
        interpolation: as torchvision takes it.
        fill: what torchvision's function gets for ``form``; on tensors, None is not 0.
        matrix: where its numbers are among the factors.
    """
    name = "nearest" if form.container == "mask" else interpolation_name(interpolation)
    pil = form.container == "pil"
    if isinstance(interpolation, str) and (api == "v1" or not installed.resizes_by_name()):
        return "torchvision takes no names of interpolations here"
    if name not in ("nearest", "bilinear", "bicubic") or (name == "bicubic" and not pil):
        return f"torchvision refuses interpolation {name} here"
    around = outside(fill, form, api)
    if isinstance(around, str):
        return around
    if form.container == "mask" and form.dtype not in MASKS:
        return f"places in masks of {form.dtype} are computed in that type"
    if form.dtype == "float32" and api == "v1" and name != "nearest" and any(around):
        return "v1's order of sums with a fill other than 0 is not learned on floats"
    kind = "uint8" if form.container == "mask" else kind_of(form, api)
    params = {"matrix": matrix, "fill": around}
    return Step(form, f"{kind}/warp_{name}", None, params), Step(form, layer=Replacing(), params={"matrix": matrix})


class Warped(Factored):
    """A warp by a matrix that follows from what was drawn, and from the size of the image."""

    geometric = relative = shallow = True
    factors = tuple("abcdef")

    def roles(self) -> tuple[str, ...]:
        return ("warp_",)

    def lower(self, form: Form) -> Step | str:
        transform = self.transform
        parts = warped(form, self.api, transform.interpolation, transform.fill, Slots(0, len(self.factors)))
        return parts if isinstance(parts, str) else Step(form, parts=parts)

    def placed(self, drawn: Mapping[str, Any], size: Size, container: str) -> Placement:
        """Return where the pixels of an output come from, under what was drawn for an image of ``size``."""
        raise NotImplementedError

    def split(self, drawn: Outcome, size: Size, container: str) -> tuple[Outcome, tuple[float, ...]]:
        if isinstance(drawn, bool):
            return drawn, (0.0,) * len(self.factors)
        matrix, after, copied = self.placed(dict(drawn), size, container)
        return (("copied", copied), ("size", None if after == size else after)), matrix

    def parts(self, drawn: Any) -> tuple[Outcome, ...]:
        values = dict(drawn)
        how: Outcome = (("size", values["size"]),) if values.get("size") else True
        return (False, how) if values.get("copied") else (how, False)

    def takes_effect(self, drawn: Outcome) -> bool:
        return drawn is not False

    def size_behind(self, size: Size, drawn: Outcome, container: str) -> Size:
        return size if isinstance(drawn, bool) else self.placed(dict(drawn), size, container).size

    def size_after(self, size: Size, drawn: Outcome = True) -> Size:
        return self.size_behind(size, drawn, "pil")

    def carry(self, drawn: Outcome, pixel: Image.Image, size: Size) -> Image.Image:
        """What is copied is transposed, or copied as a whole."""
        if isinstance(drawn, bool) or self.placed(dict(drawn), size, "pil").copied:
            return pixel
        return pixel.transform((1, 1), Image.Transform.AFFINE, (1, 0, 0, 0, 1, 0))

    def v2_params(self, outcome: Outcome, window: Window | None, value: Any, channels: int) -> dict[str, Any]:
        drawn = {} if isinstance(outcome, bool) else dict(outcome)
        return {name: list(value) if name == "coefficients" else value for name, value in drawn.items()}

    def replay(self, entry: Any) -> Outcome | None:
        if not names_are(entry, self.names):
            return None
        drawn = {name: tuple(value) if isinstance(value, list) else value for name, value in entry.items()}
        return tuple((name, drawn[name]) for name in self.names) if self.fits(drawn) else None

    def fits(self, entry: Mapping[str, Any]) -> bool:
        """Return whether params of the right names are numbers, and as many as it draws."""
        raise NotImplementedError


class RandomRotation(Warped):
    """A turn by a drawn angle."""

    arguments = ("degrees", "interpolation", "expand", "center", "fill")
    names = ("angle",)

    def sample(self, seen: Seen) -> Outcome:
        return (("angle", between(*self.transform.degrees)),)

    def native_parts(self) -> list[DrawnPart] | None:
        return [factor_part("angle", self.transform.degrees)]

    def placed(self, drawn: Mapping[str, Any], size: Size, container: str) -> Placement:
        transform = self.transform
        return rotation(drawn["angle"], size, container, self.api, transform.expand, transform.center)

    def fits(self, entry: Mapping[str, Any]) -> bool:
        return finite(entry["angle"])


class RandomAffine(Warped):
    """A turn, a shift in whole pixels, a scale and shears, each drawn."""

    arguments = ("degrees", "translate", "scale", "shear", "interpolation", "fill", "center")
    names = ("angle", "translate", "scale", "shear")
    measuring = True

    def sample(self, seen: Seen) -> Outcome:
        transform, (height, width) = self.transform, seen.shape[1:]
        angle, shift = between(*transform.degrees), [0, 0]
        if transform.translate is not None:
            most = transform.translate[0] * width, transform.translate[1] * height
            shift = [round(between(-float(length), float(length))) for length in most]
        scale = 1.0 if transform.scale is None else between(*transform.scale)
        shear = transform.shear or ()
        drawn = [between(*shear[k : k + 2]) for k in range(0, len(shear), 2)]
        return ("angle", angle), ("translate", tuple(shift)), ("scale", scale), ("shear", (*drawn, 0.0, 0.0)[:2])

    def placed(self, drawn: Mapping[str, Any], size: Size, container: str) -> Placement:
        angle, translate, scale, shear = (drawn[name] for name in self.names)
        return affine(angle, translate, scale, shear, size, container, self.api, self.transform.center)

    def fits(self, entry: Mapping[str, Any]) -> bool:
        pairs = list_of(finite, 2)
        return (
            finite(entry["angle"]) and positive(entry["scale"]) and pairs(entry["translate"]) and pairs(entry["shear"])
        )


class RandomPerspective(Warped):
    """The corners of the image moved inwards by drawn amounts, or not."""

    arguments = ("distortion_scale", "p", "interpolation", "fill")
    names = ("coefficients",)
    factors = tuple("abcdefgh")
    optional = measuring = True

    def sample(self, seen: Seen) -> Outcome:
        """Draw what torchvision's own function draws.

        Raises:
            SingularMatrixError: the corners of so small an image lie on a line.
        """
        if not toss((self.chance(),))[0]:
            return False
        height, width = seen.shape[1:]
        try:
            if self.api == "v1":
                corners = self.transform.get_params(width, height, self.transform.distortion_scale)
                coefficients = v1.functional._get_perspective_coeffs(*corners)
            else:
                image = torch.empty((), device="cpu").expand(seen.shape)  # One number: its size is all that counts.
                coefficients = self.transform.make_params([image])["coefficients"]
        except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined]
            raise SingularMatrixError(
                f"RandomPerspective with distortion_scale={self.transform.distortion_scale} moved the corners of an "
                f"image of {(height, width)} (rows, columns) onto a line. Pass a smaller one, or larger images: {error}"
            ) from error
        return (("coefficients", tuple(coefficients)),)

    def placed(self, drawn: Mapping[str, Any], size: Size, container: str) -> Placement:
        return Placement(drawn["coefficients"], size)

    def fits(self, entry: Mapping[str, Any]) -> bool:
        return list_of(finite, len(self.factors))(entry["coefficients"])
