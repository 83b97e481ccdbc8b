"""Crops of tensors as views, as torchvision gives them: what a function behind a crop writes, the image shows."""

from collections.abc import Iterable, Sequence
from typing import Any

from learned_transforms.images.formats import Call, Later, Window
from learned_transforms.ir.indexing import Keep
from learned_transforms.ir.ops import Gather, Shape, Stage
from learned_transforms.ir.passes import at


def spans_of(stages: Iterable[Stage], shape: Shape) -> Sequence[Keep] | None:
    """Return which rows and columns crops keep of images of ``shape`` (C, H, W); None: some lie outside."""
    spans = [Keep(0, 1, length) for length in shape[1:]]
    for stage in at(stages, shape):
        kept = (stage.rows, stage.columns) if isinstance(stage, Gather) else ()
        for axis, keep in enumerate(kept):
            if isinstance(keep, Keep):
                if not keep.inside(spans[axis].count):
                    return None
                spans[axis] = spans[axis].then(keep)
    return spans


def viewing(bound: Call, spans: Sequence[Keep]) -> Call:
    """Return what gives a view of the image; ``bound`` runs where a window reaches beyond it.

    Args:
        spans: rows and columns of the image, or of the window that comes with it.
    """
    (top, height), (left, width) = ((span.start, span.count) for span in spans)

    def run(image: Any, window: Window | None = None, factors: Sequence[float] = (), later: Later | None = None) -> Any:
        rows, columns = image.shape[-2:]
        y, x, used_rows, used_columns = (0, 0, rows, columns) if window is None else window
        if y < 0 or x < 0 or y + used_rows > rows or x + used_columns > columns:
            return bound(image, window, factors, later)
        y, x = y + top, x + left
        return image[..., y : y + height, x : x + width]

    return run
