"""How the size of an answer, and the place of the image in it, follow from the size of the image.

Hypotheses are made from what was seen at some sizes; where those that are left disagree, the teacher is asked.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import product
from math import ceil, floor

from learned_transforms.errors import EmptyImageError, TeacherError
from learned_transforms.ir.sizing import Size
from learned_transforms.layers.letterbox import PLACES
from learned_transforms.layers.size_rules import RULE_FORMS, RULE_KINDS, RULE_ROUNDINGS, SizeRule
from learned_transforms.trainer.sizes.layouts import LayoutSpan, Looker, SeenLayout
from learned_transforms.trainer.sizes.rules import Place, Rules

FIRST_SIZES = (
    *((48, 64), (64, 48), (32, 32), (40, 100), (100, 40), (97, 61), (61, 97), (33, 190), (190, 33)),
    *((127, 129), (128, 128), (129, 127), (199, 201), (201, 199), (240, 320), (333, 250), (427, 640), (500, 333)),
)
"""Real sizes, elongated ones, and both sides of round numbers."""

LATER_SIZES = ((720, 405), (405, 720), (31, 33), (255, 257), (257, 255), (150, 151), (640, 90), (90, 640))
"""At which a rule that explains the first is held to its word."""

POOL = 400
POOL_SIDES = 8, 200
"""Sizes among which those are looked for at which hypotheses disagree."""

MOST_ROUNDS = 24
FEWEST_SEEN = 6
"""Sizes that a rule must explain where it does not explain all."""

CROPPED_SIZES = (128, 128), (100, 300), (300, 100)
REACH = 8
"""Pixels beyond a crop, of the coarser of input and output, that kernels may look at."""

LEAVES_NOTHING_OUT = "answers depend on what a crop would leave out"

MOST_APART = 64
"""Lengths in a range that tells something."""

MOST_HYPOTHESES = 400
MOST_MULTIPLE = 256
LOOSE = 0.4
"""How far, in pixels of the resized image, what is measured may lie off."""


def learn_rules(looker: Looker) -> tuple[Rules, list[str]] | str:
    """Return the rules that explain what is seen of a teacher, with notes; or why there are none."""
    seen: dict[Size, SeenLayout] = {}
    reasons: dict[Size, str] = {}
    for size in FIRST_SIZES:
        found = looker.look(size)
        if isinstance(found, str):
            reasons[size] = found
        else:
            seen[size] = found
    if len(seen) < FEWEST_SEEN:
        return next(iter(reasons.values())) if reasons else "too few sizes"
    left, part = explained(list(seen.values()))
    if not left:
        return "no rule explains the sizes of its answers, such as " + ", ".join(
            f"{wide(s.size)} -> {s.rows.frame} x {s.columns.frame}" for s in list(seen.values())[:3]
        )
    if not crops_truly(left[0], looker):
        return LEAVES_NOTHING_OUT
    # Then at sizes at which what is left disagrees; where one contradicts all, hypotheses are made anew.
    later = iter(LATER_SIZES)
    for _ in range(MOST_ROUNDS):
        asked = disputed(left, looker) or next(later, None)
        if asked is None:
            break
        found = looker.look(asked)
        if isinstance(found, str):
            continue
        seen[asked] = found
        still = [rules for rules in left if fits(rules, found)]
        if still:
            left, part = still, [*part, found]
        else:
            anew, explaining = explained([*part, found])
            left, part = (anew, explaining) if anew else (left, part)
    if not crops_truly(left[0], looker):
        return LEAVES_NOTHING_OUT
    fills = {one.fill for one in part} - {None}
    if len(fills) > 1:
        return "what lies around the image has another value at another size"
    rules = replace(left[0], fill=next(iter(fills), None))
    contradicting = [size for size, one in seen.items() if not fits(rules, one)]
    notes = [f"other sizes than its rule says at {', '.join(map(wide, contradicting[:4]))}"] if contradicting else []
    return rules, notes


def crops_truly(rules: Rules, looker: Looker) -> bool:
    """Return whether the parts of images that rules leave out, if any, change nothing: ramps do not tell."""
    for size in CROPPED_SIZES:
        layout = outcome(rules, size)
        if layout is None:
            continue
        seen = []
        for place, length in zip(layout, size, strict=True):
            scale = place.length / place.full
            margin = REACH * max(scale, 1.0)
            low, high = place.low + place.start * scale, place.low + (place.start + place.kept) * scale
            seen.append(slice(max(0, floor(low - margin)), min(length, ceil(high + margin))))
        try:
            if not looker.left_out(size, seen[0], seen[1]):
                return False
        except TeacherError:
            continue
    return True


def wide(size: Size) -> str:
    return f"{size[0]} x {size[1]}"


def explained(seen: Sequence[SeenLayout]) -> tuple[list[Rules], list[SeenLayout]]:
    """Hypotheses that explain all of these, or as many as lie below a bound, and those; simplest first."""
    left = hypotheses(seen)
    if left:
        return left, list(seen)
    measures: Sequence[Callable[[Size], int]] = (lambda s: s[0], lambda s: s[1], max, min)
    parts = []
    for measure in measures:
        bounds = sorted({measure(one.size) for one in seen})[:-1]
        parts += [[one for one in seen if measure(one.size) <= bound] for bound in bounds]
    for part in sorted(parts, key=len, reverse=True):
        if len(part) < FEWEST_SEEN:
            break
        left = hypotheses(part)
        if left:
            return left, part
    return [], []


def fits(rules: Rules, seen: SeenLayout) -> bool:
    """Return whether rules explain what was seen of one size."""
    if rules.swapped != seen.swapped:
        return False
    try:
        layout = rules.layout(seen.size)
    except EmptyImageError:
        return False
    spans = (seen.rows, seen.columns)
    return all(fits_axis(*pair) for pair in zip(layout, spans, rules.flips, strict=True))


def fits_axis(place: Place, span: LayoutSpan, flipped: bool) -> bool:
    if (place.frame, place.first, place.kept, flipped) != (span.frame, span.first, span.count, span.flipped):
        return False
    # As if the whole axis were resized, and cut afterwards.
    full = place.full * span.length / place.length
    start = place.start + place.low * place.full / place.length
    slack = LOOSE + (span.full[1] - span.full[0]) / 2
    return near(full, span.full, LOOSE) and near(start, span.start, slack)


def near(value: float, measured: tuple[float, float], slack: float) -> bool:
    return measured[0] - slack <= value <= measured[1] + slack


def disputed(left: Sequence[Rules], looker: Looker) -> Size | None:
    """Return a size not yet looked at for which hypotheses disagree most, a small one; None: they do not."""
    if len(left) < 2:
        return None
    rng = random.Random(len(looker.asked))
    pool = [(rng.randint(*POOL_SIDES), rng.randint(*POOL_SIDES)) for _ in range(POOL)]
    best: tuple[int, Size] | None = None
    for size in pool:
        if size in looker.asked:
            continue
        count = len({outcome(rules, size) for rules in left})
        if count > 1 and (best is None or count > best[0]):
            best = count, size
    return None if best is None else best[1]


def outcome(rules: Rules, size: Size) -> tuple[Place, Place] | None:
    try:
        return rules.layout(size)
    except EmptyImageError:
        return None


def hypotheses(seen: Sequence[SeenLayout]) -> list[Rules]:
    """Rules that explain all that was seen, simplest first."""
    if len({(one.swapped, one.rows.flipped, one.columns.flipped) for one in seen}) > 1:
        return []
    swapped, flips = seen[0].swapped, (seen[0].rows.flipped, seen[0].columns.flipped)
    found: list[Rules] = []
    for box in (None, SizeRule("smallest")):
        for resize in resizes(seen, box):
            base = Rules(resize, None, flips=flips, swapped=swapped, box=box)
            for frame in frames(seen, base):
                found += placed(seen, replace(base, frame=frame))
            if len(found) >= MOST_HYPOTHESES:
                break
    return found


def placed(seen: Sequence[SeenLayout], rules: Rules) -> Iterator[Rules]:
    """Yield the same with each place that explains what was seen."""
    boxes = PLACES[:3] if rules.box is not None else PLACES[:1]
    if rules.frame is None:
        both: Sequence[tuple[str, str]] = [(PLACES[0], PLACES[0])]
    else:
        both = [(place, place) for place in PLACES] + [pair for pair in product(PLACES, PLACES) if pair[0] != pair[1]]
    for box_place, place in product(boxes, both):
        made = replace(rules, place=place, box_place=box_place)
        if all(fits(made, one) for one in seen):
            yield made


def frames(seen: Sequence[SeenLayout], base: Rules) -> Iterator[SizeRule | None]:
    """Rules from the resized size to that of the answer."""
    pairs: list[tuple[Size, Size]] = []
    for one in seen:
        layout = outcome(base, one.size)
        if layout is None:
            return
        pairs.append(((layout[0].full, layout[1].full), (one.rows.frame, one.columns.frame)))
    if all(full == frame for full, frame in pairs):
        yield None
        return
    tried = [SizeRule("fixed", pairs[0][1])]
    grown = pairs[0][1][0] - pairs[0][0][0], pairs[0][1][1] - pairs[0][0][1]
    tried += [SizeRule("same", grow=grown), SizeRule("largest"), SizeRule("smallest")]
    exact = [(full, ((float(r), float(r)), (float(c), float(c)))) for full, (r, c) in pairs]
    for multiple in common_multiples(exact):
        tried += [SizeRule("same", rounding=way, multiple=multiple) for way in ("up", "down", "even")]
    for rule in tried:
        if all(applied(rule, full) == frame for full, frame in pairs):
            yield rule


def applied(rule: SizeRule, size: Size) -> Size | None:
    try:
        return rule(size)
    except EmptyImageError:
        return None


Measured = tuple[Size, tuple[tuple[float, float], tuple[float, float]]]
"""A size, and the (least, most) lengths that its axes may be resized to."""


def resizes(seen: Sequence[SeenLayout], box: SizeRule | None) -> Iterator[SizeRule]:
    """Rules for the resized size that explain all that was seen, simplest first."""
    measured: list[Measured] = []
    for one in seen:
        size = one.size if box is None else box(one.size)
        ranges = []
        for span, length in zip((one.rows, one.columns), size, strict=True):
            share = length / span.length
            ranges.append((max(1.0, span.full[0] * share - LOOSE), span.full[1] * share + LOOSE))
        measured.append((size, (ranges[0], ranges[1])))
    for rule in candidates(measured):
        if all(explains(rule, *entry) for entry in measured):
            yield rule


def explains(rule: SizeRule, size: Size, ranges: Sequence[tuple[float, float]]) -> bool:
    found = applied(rule, size)
    return found is not None and all(low <= n <= high for n, (low, high) in zip(found, ranges, strict=True))


def candidates(measured: Sequence[Measured]) -> Iterator[SizeRule]:
    """All rules whose numbers may be told from what was measured."""
    yield SizeRule("same")
    multiples = [1, *common_multiples(measured)]
    numbers = numbers_of(measured)
    for kind in RULE_KINDS:
        for given in numbers.get(kind, ()):
            if kind in ("fixed", "between", "thumbnail"):
                yield SizeRule(kind, given)
                continue
            kept = kind in ("short", "long", "within", "cover")
            forms, shrinks = (RULE_FORMS, (False, True)) if kept else (RULE_FORMS[:1], (False,))
            for multiple, shrink, form, rounding in product(multiples, shrinks, forms, RULE_ROUNDINGS):
                if kind != "same" or multiple > 1:
                    yield SizeRule(kind, given, rounding, form, multiple, shrink)


def common_multiples(measured: Sequence[Measured]) -> list[int]:
    """Return what all lengths may be multiples of, above 1, the largest first."""
    ranges = [entry for _, pair in measured for entry in pair]
    most = floor(min(high for _, high in ranges))
    return [n for n in range(min(most, MOST_MULTIPLE), 1, -1) if all(floor(h / n) * n >= low for low, h in ranges)]


def numbers_of(measured: Sequence[Measured]) -> dict[str, list[tuple[float, ...]]]:
    """By kind of rule, the numbers that it may have."""
    rows, columns = ([ranges[axis] for _, ranges in measured] for axis in (0, 1))
    sizes = [size for size, _ in measured]
    short = [ranges[size.index(min(size))] for size, ranges in measured]
    long = [ranges[size.index(max(size))] for size, ranges in measured]
    most = tuple(float(max(ceil(low) for low, _ in axis)) for axis in (rows, columns))
    least = tuple(float(min(floor(high) for _, high in axis)) for axis in (rows, columns))
    found: dict[str, list[tuple[float, ...]]] = {"same": [()], "fixed": [most], "within": [most], "thumbnail": [most]}
    found["cover"] = [least]
    found["short"] = [(n,) for n in usual(short)]
    found["long"] = [(n,) for n in usual(long)]
    found["between"] = [(n, max(most)) for n in usual(short)]
    scales = [scales_of([size[axis] for size in sizes], ranges) for axis, ranges in ((0, rows), (1, columns))]
    found["factor"] = [(a, b) for a, b in product(*scales)]
    found["divisor"] = [(1 / a, 1 / b) for a, b in product(*scales)]
    for name in ("factor", "divisor"):
        # Both axes alike come first.
        found[name].sort(key=lambda pair: pair[0] != pair[1])
    return found


def usual(ranges: Sequence[tuple[float, float]]) -> list[float]:
    """Whole lengths that at least a third of the ranges hold, the most frequent first."""
    counts: dict[int, int] = {}
    for low, high in (each for each in ranges if each[1] - each[0] <= MOST_APART):
        for n in range(ceil(low), floor(high) + 1):
            counts[n] = counts.get(n, 0) + 1
    often = [n for n, count in counts.items() if count * 3 >= len(ranges) and n > 0]
    return [float(n) for n in sorted(often, key=lambda n: -counts[n])[:4]]


def scales_of(lengths: Sequence[int], ranges: Sequence[tuple[float, float]]) -> list[float]:
    """Return the simplest numbers by which lengths may be multiplied, for each way of rounding."""
    found: list[float] = []
    for below, above in ((0.0, 1.0), (0.5, 0.5), (1.0, 0.0)):
        low = max((r[0] - below) / n for n, r in zip(lengths, ranges, strict=True))
        high = min((r[1] + above) / n for n, r in zip(lengths, ranges, strict=True))
        if not 0 < low <= high:
            continue
        found.append(float(simplest(Fraction(low), Fraction(high))))
        for digits in range(1, 5):
            near = round((low + high) / 2, digits)
            if low <= near <= high:
                found.append(near)
                break
    return list(dict.fromkeys(found))


def simplest(low: Fraction, high: Fraction) -> Fraction:
    """Return the fraction of the least denominator in an interval of positive numbers."""
    whole = low.numerator // low.denominator
    if whole == low:
        return Fraction(whole)
    if whole + 1 <= high:
        return Fraction(whole + 1)
    return whole + 1 / simplest(1 / (high - whole), 1 / (low - whole))
