"""Crops of tensors as views, as torchvision gives them: what a function behind a crop writes, the image shows."""

from collections.abc import Iterable, Sequence
from typing import Any

from learned_transforms.images.formats import Call, Later, Window
from learned_transforms.ir.indexing import Keep
from learned_transforms.ir.ops import Gather, Shape, Stage
from learned_transforms.ir.passes import at
from learned_transforms.ir.plan import settled


def spans_of(stages: Iterable[Stage], shape: Shape) -> Sequence[Keep] | None:
    """Return which rows and columns crops keep of images of ``shape`` (C, H, W); None: some lie outside."""
    spans = [Keep(0, 1, length) for length in shape[1:]]
    for stage in at(stages, shape):
        kept = (stage.rows, stage.columns) if isinstance(stage, Gather) else ()
        for axis, keep in enumerate(kept):
            if keep is None:
                continue
            if not isinstance(keep, Keep) or not keep.inside(spans[axis].count):
                return None
            spans[axis] = spans[axis].then(keep)
    return spans


def viewing(bound: Call, stages: Sequence[Stage], shape: Shape) -> Call:
    """Return what gives a view of images, or of the windows that come with them, of ``shape`` (C, H, W); ``bound`` runs
    where a part reaches beyond them."""
    drawn = any(isinstance(stage, Gather) and stage.starts is not None for stage in stages)
    known = None if drawn else spans_of(stages, shape)
    if known is None and not drawn:
        return bound

    def run(image: Any, window: Window | None = None, factors: Sequence[float] = (), later: Later | None = None) -> Any:
        rows, columns = image.shape[-2:]
        y, x, used_rows, used_columns = (0, 0, rows, columns) if window is None else window
        spans = spans_of([settled(stage, factors) for stage in stages], shape) if drawn else known
        if spans is None or y < 0 or x < 0 or y + used_rows > rows or x + used_columns > columns:
            return bound(image, window, factors, later)
        (y, height), (x, width) = ((start + span.start, span.count) for start, span in zip((y, x), spans, strict=True))
        return image[..., y : y + height, x : x + width]

    return run
