"""Pictures of what was learned. They need Matplotlib (the extra ``demo``), which is imported only here, on use."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from learned_transforms.errors import MissingExtraError
from learned_transforms.ir import ops
from learned_transforms.ir.interpolation import phi
from learned_transforms.ir.passes import at, fold
from learned_transforms.layers.fixed_size import Separable
from learned_transforms.layers.network import Network
from learned_transforms.layers.resize import Resampling
from learned_transforms.trainer.optim.training import Epoch

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, BLUE, ORANGE, GRAY = "#222222", "#1f6fb4", "#d9701a", "#9a9a9a"


@dataclass(frozen=True)
class Example:
    """One row of the table of pictures: uint8 or float ``[C, H, W]``."""

    name: str
    image: Tensor
    label: Tensor
    output: Tensor


def new_figure(width: float, height: float) -> "Figure":
    """Return an empty figure of so many inches, drawn without a screen.

    Raises:
        MissingExtraError: Matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError(
            "Pictures need Matplotlib. Install it with: pip install 'learned_transforms[demo]'"
        ) from error
    figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save(figure: "Figure", path: Path) -> Path:
    figure.savefig(path)
    return path


def show(axis: Any, image: Tensor, title: str = "", **options: Any) -> None:
    """An image ``[C, H, W]`` without axes."""
    pixels = image.detach().permute(1, 2, 0).numpy()
    if pixels.dtype.kind == "f":
        pixels = pixels.clip(0, 1)
    high = 255 if pixels.dtype.kind == "u" else 1
    if pixels.shape[2] == 1:
        axis.imshow(
            pixels[..., 0],
            cmap=options.pop("cmap", "gray"),
            vmin=options.pop("vmin", 0),
            vmax=options.pop("vmax", high),
        )
    else:
        axis.imshow(pixels)
    axis.set_xticks([])
    axis.set_yticks([])
    if title:
        axis.set_title(title, fontsize=9, color=INK)


def examples(rows: Sequence[Example], title: str, path: Path) -> Path:
    """Input | Label | Model output | Error: one row an example, the error magnified to its own range."""
    figure = new_figure(7.2, 1.75 * len(rows) + 0.6)
    figure.suptitle(fill(title, 76), fontsize=10, color=INK)
    axes = figure.subplots(len(rows), 4, squeeze=False)
    for number, (row, example) in enumerate(zip(axes, rows, strict=True)):
        heads = ("Input", "Label", "Model output", "Error") if number == 0 else ("", "", "", "")
        for axis, image, head in zip(row, (example.image, example.label, example.output), heads, strict=False):
            show(axis, image, head)
        error = (example.output.double() - example.label.double())[:1] * (
            1 if example.label.dtype == torch.uint8 else 255
        )
        # What is smaller than float32 can say of a level is not drawn as if it were an error.
        largest = float(error.abs().max())
        reach = largest if largest > 1e-3 else 1.0
        row[3].imshow(error[0].numpy(), cmap="RdBu_r", vmin=-reach, vmax=reach)
        row[3].set_xticks([])
        row[3].set_yticks([])
        if heads[3]:
            row[3].set_title(heads[3], fontsize=9, color=INK)
        row[3].set_xlabel(f"largest {largest:.3g} levels", fontsize=7)
        row[0].set_ylabel(example.name, fontsize=8)
    return save(figure, path)


def curves(history: Sequence[Epoch], path: Path, kind: str) -> Path:
    """``kind`` ``"train"`` or ``"val"``: loss and largest error of each step against the epoch."""
    steps = list(dict.fromkeys(epoch.step for epoch in history))
    figure = new_figure(9.0, 3.4)
    figure.suptitle("Training" if kind == "train" else "Validation", fontsize=11, color=INK)
    axes = figure.subplots(1, 2)
    for axis, what, label in zip(axes, ("loss", "largest"), ("mean squared error", "largest error"), strict=True):
        for step in steps:
            epochs = [epoch for epoch in history if epoch.step == step]
            values = [max(getattr(epoch, f"{kind}_{what}"), 1e-16) for epoch in epochs]
            axis.plot([epoch.epoch for epoch in epochs], values, marker=".", markersize=4, linewidth=1.2, label=step)
        axis.set_yscale("log")
        axis.set_xlabel("epoch")
        axis.set_ylabel(f"{label} (levels{'²' if what == 'loss' else ''})")
        axis.grid(alpha=0.3)
    axes[0].legend(fontsize=7)
    return save(figure, path)


def matrices(network: Separable, path: Path) -> Path:
    """Return the learned row and column matrices, and the channel weights: flips show as the falling diagonal."""
    figure = new_figure(10.0, 4.2)
    figure.suptitle("Free separable network: what was learned", fontsize=11, color=INK)
    axes = figure.subplots(1, 3, width_ratios=(1, 1, 0.45))
    reach = float(max(network.rows.abs().max(), network.columns.abs().max()))
    for axis, name in zip(axes, ("rows", "columns"), strict=False):
        matrix = getattr(network, name).detach()
        image = axis.imshow(matrix.numpy(), cmap="RdBu_r", vmin=-reach, vmax=reach)
        axis.set_title(f"{name}: {matrix.shape[0]} outputs from {matrix.shape[1]} inputs", fontsize=9)
        axis.set_xlabel("input")
        axis.set_ylabel("output")
    figure.colorbar(image, ax=axes[1], shrink=0.8)
    weight = network.weight.detach()[0]
    axes[2].bar(range(len(weight)), weight.tolist(), color=["#c0392b", "#2e8b57", "#2f6fb5"][: len(weight)])
    for position, value in enumerate(weight.tolist()):
        axes[2].text(position, value + 0.01, f"{value:.4f}", ha="center", fontsize=8)
    axes[2].set_xticks(range(len(weight)), ["R", "G", "B"][: len(weight)] if len(weight) == 3 else None)
    axes[2].set_title(f"channels; bias {float(network.bias[0]):.3f}", fontsize=9)
    axes[2].margins(y=0.12)
    return save(figure, path)


def kernel(fitted: Tensor, snapped: Resampling, path: Path) -> Path:
    """Return the kernel as fitted and as snapped, and their difference."""
    t = torch.linspace(-fitted.shape[0] - 0.25, fitted.shape[0] + 0.25, 801, dtype=torch.float64)
    old, new = phi(fitted, t), phi(snapped.kernel, t).detach()
    figure = new_figure(9.0, 3.6)
    axes = figure.subplots(1, 2)
    axes[0].plot(t, new, color=BLUE, linewidth=3, alpha=0.5, label="snapped")
    axes[0].plot(t, old, color=ORANGE, linewidth=1, label="as fitted")
    axes[0].set_title("Learned kernel", fontsize=10)
    axes[0].legend(fontsize=8)
    axes[1].plot(t, old - new, color=ORANGE, linewidth=1)
    axes[1].set_title("as fitted - snapped", fontsize=10)
    for axis in axes:
        axis.set_xlabel("distance, in output taps")
        axis.grid(alpha=0.3)
    lines = [f"fitted  {', '.join(f'{v:+.5f}' for v in row)}" for row in fitted.tolist()]
    lines += [f"snapped {', '.join(f'{v:+.5g}' for v in row)}" for row in snapped.kernel.tolist()]
    figure.supxlabel("coefficients per unit interval, constant term first:  " + "   |   ".join(lines), fontsize=7)
    return save(figure, path)


def stage_text(stage: ops.Stage, current: ops.Shape) -> tuple[str, str]:
    """Name and numbers of a stage for images of shape ``current``, for the drawing."""
    if isinstance(stage, ops.Resample):
        rows, columns = stage.rows.taps(current[1]), stage.columns.taps(current[2])
        bits = "" if rows.bits is None else f", 2^-{rows.bits}"
        return "Resample", f"{columns.weights.shape[1]} x {rows.weights.shape[1]} taps{bits}"
    if isinstance(stage, ops.Product):
        return "Product", f"{stage.columns.shape[-1]} x {stage.rows.shape[-1]} weights"
    if isinstance(stage, ops.Mix):
        return "Mix", f"{stage.weight.shape[1]} -> {stage.weight.shape[0]} channels"
    if isinstance(stage, ops.Table):
        return "Table", "256 entries"
    if isinstance(stage, ops.Gather):
        return "Gather", "copies"
    if isinstance(stage, ops.Normalize):
        return "Normalize", "mean, std"
    if isinstance(stage, ops.Sparse):
        return "Sparse", f"{stage.weights.shape[1]} weights a pixel"
    if isinstance(stage, ops.Filter):
        return "Filter", " x ".join(str(length) for length in stage.weights.shape)
    if isinstance(stage, ops.Apply):
        return "Apply", f"{sum(p.numel() for p in stage.module.parameters()):,} weights"
    return type(stage).__name__, ""


def drawing(networks: Mapping[str, Network], shape: tuple[int, int, int], path: Path) -> Path:
    """Each network as the plan that it comes to, with the shapes between the stages."""
    figure = new_figure(11.5, 1.05 * len(networks) + 0.2)
    axes = figure.subplots(len(networks), 1, squeeze=False)[:, 0]
    for axis, (name, network) in zip(axes, networks.items(), strict=True):
        plan, _ = network.plan(shape, torch.device("cpu"))
        axis.set_xlim(-1.2, 13.4)
        axis.set_ylim(-0.6, 0.9)
        axis.axis("off")
        weights = sum(p.numel() for p in network.parameters())
        axis.text(-1.1, 0.65, f"{name}: {weights:,} learned numbers", fontsize=9, color=INK, weight="bold")
        current, x = shape, -0.5
        axis.text(x, 0, "x".join(map(str, current)), ha="center", va="center", fontsize=9)
        for stage in fold(at(plan.stages, shape)):
            color = (
                BLUE
                if isinstance(stage, ops.Resample | ops.Product)
                else GRAY
                if isinstance(stage, ops.Apply)
                else ORANGE
            )
            axis.annotate("", (x + 1.0, 0), (x + 0.45, 0), arrowprops={"arrowstyle": "->", "color": INK})
            title, detail = stage_text(stage, current)
            x += 1.75
            box = {"boxstyle": "round,pad=0.45", "facecolor": color, "edgecolor": "none", "alpha": 0.25}
            axis.text(x, 0, f"{title}\n{detail}", ha="center", va="center", fontsize=8, bbox=box)
            current = stage.output(current)
            x += 1.25
            axis.annotate("", (x - 0.1, 0), (x - 0.5, 0), arrowprops={"arrowstyle": "->", "color": INK})
            x += 0.35
            axis.text(x, 0, "x".join(map(str, current)), ha="center", va="center", fontsize=9)
    return save(figure, path)
