"""Tables and a chart out of a result file: ``python benchmarks/report.py RESULT.json [--readme README.md]``."""

import argparse
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from learned_transforms.errors import DataError, MissingExtraError
from learned_transforms.trainer.figures import new_figure

OURS = "ours"
BEGIN, END = "<!-- benchmarks -->", "<!-- /benchmarks -->"
COLUMNS = {
    "v1 on PIL": ("v1-pil",),
    "v2 on PIL": ("v2-pil",),
    "v2 on tensors": ("v2-tensor", "v2-batched", "v2-to-tensor"),
    "torch.compile": ("v2-compiled",),
    "Albumentations": ("albumentations",),
    "Kornia": ("kornia",),
    "OpenCV": ("opencv-linear",),
    "fast_image_resize": ("fast-image-resize",),
    "memory floor": ("floor",),
}
"""Columns of the README's table: the first of these contenders that did the job."""


@dataclass(frozen=True)
class Row:
    """One contender at one job.

    Attributes:
        job, contender: names.
        job_title, title: of both, for tables.
        threads: it ran under.
        micros, spread: median and interquartile range, microseconds per image.
        equal, largest: share of values equal to torchvision's, largest error in levels; None where not compared.
        compile_seconds: before the first result; None: nothing is compiled.
        loader: images came out of a DataLoader.
        note: what a reader has to know.
    """

    job: str
    contender: str
    job_title: str
    title: str
    threads: int
    micros: float
    spread: float
    equal: float | None
    largest: float | None
    compile_seconds: float | None
    loader: bool
    note: str


def rows_of(result: Mapping[str, Any]) -> list[Row]:
    """What pytest-benchmark wrote, in the order in which it ran."""
    rows = []
    for entry in result["benchmarks"]:
        about = dict(entry["extra_info"])
        micros = 1e6 / about.pop("images")
        measured = about.pop("fidelity") or {"equal": None, "largest": None}
        stats = entry["stats"]
        rows.append(Row(**about, **measured, micros=stats["median"] * micros, spread=stats["iqr"] * micros))
    return rows


def number(value: float) -> str:
    """Three digits that count, no exponent."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def fidelity(row: Row) -> str:
    if row.equal is None or row.largest is None:
        return "-"
    if row.equal == 1:
        return "all equal"
    # Never rounded up to all of them.
    return f"{int(row.equal * 1e4) / 100:g} % equal, largest error {row.largest:.3g}"


def table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *lines))


def ratios(rows: Sequence[Row]) -> dict[tuple[str, str], float]:
    """By job and contender: how many times as long as ours it takes, in the same run; none where ours did not run."""
    ours = {row.job: row.micros for row in rows if row.contender == OURS}
    return {(row.job, row.contender): row.micros / ours[row.job] for row in rows if row.job in ours}


def full_table(rows: Sequence[Row]) -> str:
    """Every contender at every job, of one thread count."""
    ratio = ratios(rows)
    lines = []
    for row in rows:
        times = ratio.get((row.job, row.contender))
        extra = [row.note] if row.note else []
        if row.compile_seconds is not None:
            extra.append(f"compiled in {row.compile_seconds:.1f} s")
        micros = f"{number(row.micros)} ± {number(row.spread)}"
        if row.loader:
            micros += f" ({1e6 / row.micros:,.0f} images/s)"
        who = f"**{row.title}**" if row.contender == OURS else row.title
        who += f" ({'; '.join(extra)})" if extra else ""
        lines.append((row.job_title, who, micros, "-" if times is None else number(times), fidelity(row)))
    return table(("job", "contender", "µs per image", "times ours", "against torchvision"), lines)


def not_run(result: Mapping[str, Any]) -> str:
    """Which contenders are missing, why, and at how many jobs."""
    missing: dict[tuple[str, str], set[str]] = {}
    for entry in result.get("not_run", []):
        missing.setdefault((entry["title"], entry["reason"]), set()).add(entry["job"])
    return "\n".join(f"- Not run: {who}, {why} ({', '.join(sorted(jobs))})." for (who, why), jobs in missing.items())


def machine(result: Mapping[str, Any]) -> str:
    """What the figures depend on, in one line."""
    suite = result["machine_info"]["suite"]
    versions = ", ".join(f"{name} {version}" for name, version in suite["versions"].items())
    backends = ", ".join(f"{name}: {state}" for name, state in suite["backends"].items())
    where = suite["processor"] if suite["device"] == "cpu" else f"{suite['device']}, {suite['processor']}"
    quick = " A quick run: few rounds, not to be quoted." if suite["quick"] else ""
    return f"{where}, {suite['cpus']} CPUs, {suite['simd']}. {versions}. Backends: {backends}.{quick}"


HOW_TO_READ = (
    "µs per image: median ± interquartile range over rounds; for random crops, over boxes. Times ours: how many times "
    "as long as ours it takes in the same run; below 1 it is faster. Against torchvision: share of equal values "
    "(floats: within 1e-6 of full range) and largest error in levels, on the same input and the same random draw; v1 "
    "is the reference for PIL images, v2 for tensors."
)


def report(result: Mapping[str, Any]) -> str:
    """The whole report in Markdown: a table for each thread count, and what is missing."""
    rows = rows_of(result)
    parts = ["# Benchmarks", machine(result), HOW_TO_READ]
    for threads in sorted({row.threads for row in rows}):
        parts.append(f"## {threads} thread{'s' if threads > 1 else ''}")
        parts.append(full_table([row for row in rows if row.threads == threads]))
    return "\n\n".join(part for part in (*parts, not_run(result)) if part) + "\n"


def short_table(result: Mapping[str, Any]) -> str:
    """For the README: one row for each job, one thread, ours and how many times as long the others take."""
    rows = [row for row in rows_of(result) if row.threads == 1]
    ratio = ratios(rows)
    jobs = {row.job: row for row in rows if row.contender == OURS}
    if not jobs:
        raise DataError("Expected figures of ours under one thread. Run the suite with --threads 1.")

    def cell(job: str, names: Sequence[str]) -> str:
        return next((number(ratio[job, name]) for name in names if (job, name) in ratio), "")

    columns = {title: names for title, names in COLUMNS.items() if any(cell(job, names) for job in jobs)}
    lines = []
    for job, row in jobs.items():
        micros = number(row.micros) + (f" ({row.note})" if row.note else "")
        lines.append((row.job_title, micros, fidelity(row), *(cell(job, names) for names in columns.values())))
    head = ("job", "ours, µs per image", "ours against torchvision", *columns)
    told = "One thread. The columns on the right: how many times as long as ours; below 1 it is faster."
    missing = not_run(result)
    return "\n\n".join(part for part in (table(head, lines), f"{told} {machine(result)}", missing) if part)


def replace_block(text: str, block: str) -> str:
    """``text`` with ``block`` between the two marks.

    Raises:
        DataError: the marks are not there, or not in this order.
    """
    found = re.subn(
        f"({re.escape(BEGIN)}).*?({re.escape(END)})", lambda m: f"{m[1]}\n{block}\n{m[2]}", text, flags=re.S
    )
    if found[1] != 1:
        raise DataError(f"Expected {BEGIN} and {END} once each, found {found[1]} such pairs.")
    return found[0]


def chart(rows: Sequence[Row], path: Path) -> None:
    """Bars for every job of one thread count, microseconds per image on a log scale; ours in colour.

    Raises:
        MissingExtraError: Matplotlib is not installed.
    """
    jobs = {row.job: [other for other in rows if other.job == row.job] for row in rows}
    heights = [len(group) + 2 for group in jobs.values()]
    figure = new_figure(9, 1 + 0.19 * sum(heights))
    axes = figure.subplots(len(jobs), 1, squeeze=False, height_ratios=heights)[:, 0]
    for ax, group in zip(axes, jobs.values(), strict=True):
        colours = ["#12702f" if row.contender.startswith(OURS) else "#8899aa" for row in group]
        bars = ax.barh([row.title for row in group], [row.micros for row in group], color=colours)
        ax.bar_label(bars, [number(row.micros) for row in group], padding=3, fontsize=7)
        ax.set(xscale="log", title=group[0].job_title, xmargin=0.15)
        ax.invert_yaxis()
        ax.tick_params(labelsize=7)
    axes[-1].set_xlabel(f"µs per image, log scale; threads: {rows[0].threads}")
    figure.savefig(path, bbox_inches="tight")


def write(result_file: Path, out: Path) -> str:
    """Write ``benchmarks.md`` and a chart for each thread count into ``out``; gives the Markdown back."""
    result = json.loads(result_file.read_text(encoding="utf-8"))
    text = report(result)
    out.mkdir(parents=True, exist_ok=True)
    (out / "benchmarks.md").write_text(text, encoding="utf-8")
    rows = rows_of(result)
    try:
        for threads in {row.threads for row in rows}:
            chart([row for row in rows if row.threads == threads], out / f"benchmarks_{threads}.png")
    except MissingExtraError as error:
        text += f"\nNo chart. {error}\n"
    return text


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("result", type=Path, help="what pytest-benchmark wrote under --benchmark-json")
    parser.add_argument(
        "--out", type=Path, help="folder for benchmarks.md and the chart; by default that of the result"
    )
    parser.add_argument("--readme", type=Path, help=f"file whose text between {BEGIN} and {END} is replaced")
    options = parser.parse_args(arguments)
    print(write(options.result, options.out or options.result.parent))
    if options.readme is not None:
        block = short_table(json.loads(options.result.read_text(encoding="utf-8")))
        options.readme.write_text(replace_block(options.readme.read_text("utf-8"), block), encoding="utf-8")


if __name__ == "__main__":
    main()
