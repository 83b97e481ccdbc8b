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
REFERENCES = ("v1-pil", "v2-tensor", "v2-batched")
"""torchvision itself: v1 for PIL images, v2 for tensors. Every job has one."""

NO_PEERS = (*REFERENCES, "ours-reference", "ours-again", "floor", "dense", "cnn", OURS)
"""Those that the README does not look for the fastest of the others among."""

FEWEST_EQUAL = 0.99
"""Share of equal values that the tier ``rounding`` asks for, as certificates do."""


@dataclass(frozen=True)
class Row:
    """One contender at one job.

    Attributes:
        job, contender: names.
        title: the contender's, for tables.
        pipeline, given, pixels: what runs, on which kind of input, of which size, for tables.
        summary: the job has a place in the README.
        threads: it ran under.
        micros, spread: median and interquartile range, microseconds per image.
        equal, largest: share of values equal to torchvision's, largest error in levels; None where not compared.
        compile_seconds: before the first result; None: nothing is compiled.
        loader: images came out of a DataLoader.
        shares: of the time, by stage of the DataLoader; None where they were not measured.
        note: what a reader has to know.
        times_ours: how many times as long as ours it takes, where the two took turns.
    """

    job: str
    contender: str
    title: str
    pipeline: str
    given: str
    pixels: str
    summary: bool
    threads: int
    micros: float
    spread: float
    equal: float | None
    largest: float | None
    compile_seconds: float | None
    loader: bool
    shares: Mapping[str, float] | None
    note: str
    times_ours: float

    @property
    def job_title(self) -> str:
        return f"{self.pipeline}, {self.given}, {self.pixels}"

    @property
    def tier(self) -> str:
        """What a certificate would call this fidelity, measured on one image; empty where it was not compared."""
        if self.equal is None or self.largest is None:
            return ""
        if self.equal == 1:
            return "exact"
        # A level is a hair more than one after the way to normalized floats and back.
        return "rounding" if self.equal >= FEWEST_EQUAL and self.largest < 1.001 else "approximate"


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
        return "exact"
    return f"{row.tier}, {percent(row.equal)} equal, largest error {row.largest:.3g}"


def percent(share: float) -> str:
    """Rounded down: never up to all of them."""
    return f"{int(share * 1e4) / 100:g} %"


def table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *lines))


def full_table(rows: Sequence[Row]) -> str:
    """Every contender at every job, of one thread count."""
    lines = []
    for row in rows:
        extra = [row.note] if row.note else []
        if row.compile_seconds is not None:
            extra.append(f"compiled in {row.compile_seconds:.1f} s")
        micros = f"{number(row.micros)} ± {number(row.spread)}{per_second(row)}"
        who = f"**{row.title}**" if row.contender == OURS else row.title
        who += f" ({'; '.join(extra)})" if extra else ""
        lines.append((row.job_title, who, micros, times(row), fidelity(row)))
    return table(("job", "contender", "µs per image", "times ours", "against torchvision"), lines)


def times(row: Row | None) -> str:
    """How many times as long as ours it takes."""
    return "-" if row is None else number(row.times_ours)


def per_second(row: Row) -> str:
    return f" ({1e6 / row.micros:,.0f} images/s)" if row.loader else ""


def where_time_goes(rows: Iterable[Row]) -> str:
    """A line for each contender whose stages were timed apart."""
    return "\n".join(
        f"- {row.pipeline}, {row.given}, {row.title}: "
        + ", ".join(f"{stage} {100 * share:.0f} %" for stage, share in row.shares.items())
        + "."
        for row in rows
        if row.shares is not None
    )


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
    "as long as ours it takes, by the medians of rounds that the two took in turns, since machines are faster at one "
    "time than at another: it is no quotient of two lines. Below 1 it is faster. Against torchvision: share of equal "
    "values (floats: within 1e-6 of full range) and largest error in levels, on the same input and the same random "
    "draw; v1 is the reference for PIL images, v2 for tensors. The tier is that of this one image: exact, rounding (at "
    "most one level, 99 % equal), approximate. Where the time goes: shares of an epoch without workers, in one process."
)


def report(result: Mapping[str, Any]) -> str:
    """The whole report in Markdown: a table for each thread count, and what is missing."""
    rows = rows_of(result)
    parts = ["# Benchmarks", machine(result), HOW_TO_READ]
    for threads in sorted({row.threads for row in rows}):
        parts.append(f"## {threads} thread{'s' if threads > 1 else ''}")
        group = [row for row in rows if row.threads == threads]
        parts += [full_table(group), where_time_goes(group)]
    return "\n\n".join(part for part in (*parts, not_run(result)) if part) + "\n"


@dataclass(frozen=True)
class Compared:
    """Ours at one job, beside torchvision and the fastest of the others; None where those did not run."""

    ours: Row
    reference: Row | None
    peer: Row | None

    @classmethod
    def of(cls, rows: Sequence[Row]) -> "Compared | None":
        """Out of the rows of one job; None where ours did not run."""
        by_name = {row.contender: row for row in rows}
        if OURS not in by_name:
            return None
        peers = [row for row in rows if row.contender not in NO_PEERS]
        reference = next((by_name[name] for name in REFERENCES if name in by_name), None)
        return cls(by_name[OURS], reference, min(peers, key=lambda row: row.times_ours, default=None))

    def fastest(self) -> str:
        if self.peer is None:
            return "-"
        equal = "" if self.peer.equal in (None, 1) else f", {percent(self.peer.equal or 0)} equal"
        return f"{times(self.peer)} ({self.peer.title}{equal})"


HEAD = (
    "pipeline",
    "input",
    "ours, µs",
    "torchvision, µs",
    "times ours",
    "fastest other, times ours",
    "ours against torchvision",
)


def short_table(result: Mapping[str, Any]) -> str:
    """For the README, one thread: a row for each pipeline and kind of input, with a column for larger photos."""
    jobs: dict[str, list[Row]] = {}
    for row in rows_of(result):
        if row.threads == 1 and row.summary:
            jobs.setdefault(row.job, []).append(row)
    compared = [found for rows in jobs.values() if (found := Compared.of(rows)) is not None]
    if not compared:
        raise DataError("Expected figures of ours under one thread. Run the suite with --threads 1.")
    # Smaller photos come first.
    lines: dict[tuple[str, str], list[Compared]] = {}
    for found in compared:
        lines.setdefault((found.ours.pipeline, found.ours.given), []).append(found)
    larger = next((group[1].ours.pixels for group in lines.values() if len(group) > 1), None)
    head = HEAD if larger is None else (*HEAD, f"{larger}: ours, µs; torchvision; fastest other")
    body = [short_line(group, len(head)) for group in lines.values()]
    told = (
        "One thread, or one for each worker; µs per image, and how many times as long as ours the others take: below 1 "
        "they are faster. For these the two took turns, round by round, so they are no quotients of the columns, which "
        "were timed one after the other. torchvision: v1 on PIL images, v2 on tensors."
    )
    timed = [row for found in compared for row in (found.ours, found.reference) if row is not None]
    parts = (table(head, body), where_time_goes(timed), f"{told} {machine(result)}", not_run(result))
    return "\n\n".join(part for part in parts if part)


def short_line(group: Sequence[Compared], cells: int) -> tuple[str, ...]:
    """The README's line of one pipeline and kind of input; the worst fidelity of all sizes."""
    first, *rest = group
    ours, reference = first.ours, first.reference
    worst = min((found.ours for found in group), key=lambda row: 0 if row.equal is None else row.equal)
    line = [
        f"{ours.pipeline}, {ours.pixels}",
        ours.given,
        number(ours.micros) + per_second(ours) + (f" ({ours.note})" if ours.note else ""),
        "-" if reference is None else number(reference.micros) + per_second(reference),
        times(reference),
        first.fastest(),
        fidelity(worst),
    ]
    line += [f"{number(found.ours.micros)}; {times(found.reference)}; {times(found.peer)}" for found in rest]
    return tuple(line + [""] * (cells - len(line)))


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
    """Bars for every job of one thread count, microseconds per image on a log scale; ours in color.

    Of a whole run, the jobs of the README alone: more would be no picture.

    Raises:
        MissingExtraError: Matplotlib is not installed.
    """
    rows = [row for row in rows if row.summary] or rows
    jobs = {row.job: [other for other in rows if other.job == row.job] for row in rows}
    heights = [len(group) + 2 for group in jobs.values()]
    figure = new_figure(9, 1 + 0.19 * sum(heights))
    axes = figure.subplots(len(jobs), 1, squeeze=False, height_ratios=heights)[:, 0]
    for ax, group in zip(axes, jobs.values(), strict=True):
        colors = ["#12702f" if row.contender.startswith(OURS) else "#8899aa" for row in group]
        bars = ax.barh([row.title for row in group], [row.micros for row in group], color=colors)
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
