"""The answer: which rows keep every bound, which one to ship and why, and what each bound costs."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter

from reports.leaderboard import NO_MODEL, REFERENCES, Row, typical_ms
from reports.records import OK

WITHIN = 0.01
"""The share of the best reference's quality that may be lost, where nothing else is said."""
KEPT = "kept_of_best_reference"
"""Of a task's models one is shipped: what a row keeps of a bad model's quality says nothing."""
TYPICAL = "typical_ms"
"""Milliseconds that a text takes: see `typical_ms`."""
WEIGHTS = {"speed": 1.0, "size": 1.0}
"""What counts by default: half the time is worth as much as half the bytes."""
WEIGHED = {
    "speed": TYPICAL,
    "size": "size_bytes",
    "memory": "memory_inference_peak_bytes",
    "build": "build_seconds",
}
"""What a weight stands for: each halving of the figure counts one point; `quality` counts one point
for each per cent of the reference's."""
_QUANTITY = re.compile(r"([0-9]*\.?[0-9]+)\s*([a-zA-Z%]*)")
_BYTES = {"B": 1.0, "kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9}
_MS = {"ms": 1.0, "s": 1e3, "us": 1e-3}


class BoundError(ValueError):
    """A bound that is no quantity; the message says what was expected."""


def _quantity(text: str, units: Mapping[str, float], example: str) -> float:
    found = _QUANTITY.fullmatch(text.strip())
    if found is None or found[2] not in units:
        raise BoundError(f"'{text}': a quantity like {example} is needed")
    return float(found[1]) * units[found[2]]


def parse_bytes(text: str) -> float:
    """Read `20MB`; the unit is needed.

    Raises:
        BoundError: no quantity, or another unit.
    """
    return _quantity(text, _BYTES, "20MB")


def parse_ms(text: str) -> float:
    """Read `5ms` or `0.1s` as milliseconds; see `parse_bytes`."""
    return _quantity(text, _MS, "5ms")


def parse_share(text: str) -> float:
    """Read `1%` or `0.01` as a share; see `parse_bytes`."""
    share = _quantity(text, {"%": 0.01, "": 1.0}, "1%")
    if share >= 1 and "%" not in text:
        raise BoundError(f"'{text}' is {share:.0%}: did you mean {share:g}%?")
    if not 0 <= share <= 1:
        raise BoundError(f"'{text}': a share from 0% to 100% is needed")
    return share


def parse_weights(text: str) -> dict[str, float]:
    """Read `speed=2,size=1`.

    Raises:
        BoundError: an unknown name, or no positive number.
    """
    known = [*WEIGHED, "quality"]
    weights = {}
    for part in text.split(","):
        name, _, value = (word.strip() for word in part.partition("="))
        if name not in known or not re.fullmatch(r"[0-9]*\.?[0-9]+", value):
            raise BoundError(f"'{part}': NAME=NUMBER is needed; names: {', '.join(known)}")
        weights[name] = float(value)
    if not any(weights.values()):
        raise BoundError(f"'{text}': one weight must be more than 0")
    return weights


@dataclass(frozen=True)
class Bound:
    """A limit on one figure of a row."""

    option: str
    """As the command line has it."""
    field: str
    limit: float
    at_most: bool
    show: Callable[[float], str]

    def keeps(self, row: Row) -> bool:
        """Say whether a row keeps it; a row without the figure does not."""
        value = row[self.field]
        return value is not None and (value <= self.limit if self.at_most else value >= self.limit)

    def admitting(self, row: Row) -> str:
        """Return the bound that a row just keeps, rounded so that it still does."""
        value = row[self.field]
        if self.field == KEPT:
            return self.show(1 - _three_digits(1 - value, math.ceil))
        return self.show(_three_digits(value, math.ceil if self.at_most else math.floor))

    def misses_by(self, row: Row) -> float:
        """Return how far a row's figure is from the limit."""
        return abs(row[self.field] - self.limit)

    def __str__(self) -> str:
        return f"{self.option} {self.show(self.limit)}"


def _three_digits(value: float, rounded: Callable[[float], int]) -> float:
    if value <= 0:
        return 0.0
    step = 10.0 ** (math.floor(math.log10(value)) - 2)
    return rounded(round(value / step, 6)) * step


def megabytes(size: float) -> str:
    return f"{size / 1e6:.3g}MB" if size < 1e9 else f"{size / 1e9:.3g}GB"


def milliseconds(value: float) -> str:
    return f"{value:.3g}ms"


def lost(kept: float) -> str:
    return f"{100 * max(0.0, 1 - kept):.3g}%"


BOUNDS: dict[str, Callable[[str], Bound]] = {
    "--within": lambda text: within(parse_share(text)),
    "--max-size": lambda t: Bound("--max-size", "size_bytes", parse_bytes(t), True, megabytes),
    "--max-memory": lambda t: Bound(
        "--max-memory", "memory_process_peak_bytes", parse_bytes(t), True, megabytes
    ),
    "--max-p50": lambda t: Bound(
        "--max-p50", "latency_single_p50_ms", parse_ms(t), True, milliseconds
    ),
    "--max-p95": lambda t: Bound(
        "--max-p95", "latency_single_p95_ms", parse_ms(t), True, milliseconds
    ),
    "--min-quality": lambda t: Bound(
        "--min-quality", "quality", parse_share(t), False, "{:.3g}".format
    ),
}
"""Every bound that can be set, by its option."""


BOUND_HELP = {
    "--within": ("SHARE", "of the best reference's quality that may be lost: 1%% (the default)"),
    "--max-size": ("SIZE", "of every file that prediction needs: 20MB"),
    "--max-memory": ("SIZE", "of the whole process at its peak (docs/measuring.md): 500MB"),
    "--max-p50": ("TIME", "median of one text: 5ms"),
    "--max-p95": ("TIME", "19 of 20 calls of one text take less: 5ms"),
    "--min-quality": ("QUALITY", "of the test split: 0.84"),
}
"""An example and a sentence for each bound."""


def within(share: float) -> Bound:
    """Make the bound that at most a share of the quality of the task's best reference is lost."""
    return Bound("--within", KEPT, 1 - share, False, lost)


@dataclass(frozen=True)
class Pick:
    """The answer for one task on one device."""

    where: str
    bounds: tuple[Bound, ...]
    weights: Mapping[str, float]
    measured: list[Row]
    """Every row that could be chosen."""
    fitting: list[Row]
    """Those that keep every bound, the best first."""
    relaxed: list[tuple[Bound, Row]]
    """For each bound the row that would be better and misses it, and no other, by the least."""

    @property
    def limits(self) -> str:
        return ", ".join(map(str, self.bounds)) or "no bound"

    @property
    def best(self) -> Row | None:
        return self.fitting[0] if self.fitting else None


def picks(
    table: Sequence[Row], bounds: Sequence[Bound] = (), weights: Mapping[str, float] = WEIGHTS
) -> list[Pick]:
    """Answer for each task and device of a leaderboard."""
    groups: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in table:
        groups[row["task"], row["device"]].append(row)
    return [
        _pick(f"{task} on {device}", group, tuple(bounds), weights)
        for (task, device), group in groups.items()
    ]


def _pick(
    where: str, group: list[Row], bounds: tuple[Bound, ...], weights: Mapping[str, float]
) -> Pick:
    scored = [
        (score, row)
        for row in _against_best(group)
        if row["status"] == OK and (score := score_of(row, weights)) is not None
    ]
    scored.sort(key=lambda pair: (-pair[0], -(pair[1]["quality"] or 0.0), pair[1]["recipe"]))
    broken = [
        ([bound for bound in bounds if not bound.keeps(row)], score, row) for score, row in scored
    ]
    fitting = [row for missed, _, row in broken if not missed]
    reached = next((score for missed, score, _ in broken if not missed), -math.inf)
    relaxed = []
    for bound in bounds:
        better = [
            row
            for missed, score, row in broken
            if missed == [bound] and score > reached and row[bound.field] is not None
        ]
        if better:
            relaxed.append((bound, min(better, key=bound.misses_by)))
    return Pick(where, bounds, weights, [row for _, row in scored], fitting, relaxed)


def _against_best(group: list[Row]) -> list[Row]:
    """Return the rows with what they keep of the best reference's quality, and what a text takes."""
    known = [row for row in group if row["quality"] and row["quality_retained"]]
    best = max((row["quality"] / row["quality_retained"] for row in known), default=None)
    return [
        row
        | {
            KEPT: row["quality"] / best if best and row["quality"] else None,
            TYPICAL: typical_ms(row, group),
        }
        for row in group
    ]


def score_of(row: Row, weights: Mapping[str, float]) -> float | None:
    """Return the points of a row: larger is better; None if a figure that counts is not there."""
    points = 0.0
    for name, weight in weights.items():
        if not weight:
            continue
        value = row[KEPT if name == "quality" else WEIGHED[name]]
        if value is None:
            return None
        points += weight * (100 * value if name == "quality" else -math.log2(max(value, 1e-9)))
    return points


def sentences(pick: Pick) -> list[str]:
    """Say what to ship and why, and what each bound costs."""
    counts = f"{len(pick.fitting)} of {len(pick.measured)} rows keep {pick.limits}"
    unknown = [b for b in pick.bounds if all(row[b.field] is None for row in pick.measured)]
    if unknown:
        names = ", ".join(bound.option for bound in unknown)
        said = [
            f"{pick.where}: nothing to ship: no row has what {names} asks for: "
            "it is not measured yet, or the reference is not"
        ]
    elif pick.best is None:
        said = [f"{pick.where}: nothing to ship: {counts}"]
    else:
        what = " and ".join(f"{name} x{w:g}" for name, w in pick.weights.items() if w)
        said = [
            f"{pick.where}: ship {describe(pick.best)}",
            f"why: {counts}; of these it has the most of {what}{_runner_up(pick)}",
        ]
    for bound, row in pick.relaxed:
        said.append(
            f"with {bound.option} {bound.admitting(row)} instead of {bound.show(bound.limit)}: {describe(row)}"
        )
    return said


def extremes(pick: Pick) -> list[str]:
    """Say which of the compressed rows that keep every bound leads in size, speed and quality."""
    rows = [row for row in pick.fitting if row["recipe"] not in REFERENCES]
    best: dict[str, tuple[str, bool]] = {
        "smallest": ("size_bytes", False),
        "fastest": (TYPICAL, False),
        "most accurate": ("quality", True),
    }
    leads: dict[str, list[str]] = defaultdict(list)
    for word, (figure, most) in best.items():
        known = sorted((row for row in rows if row[figure] is not None), key=itemgetter(figure))
        if known:
            leads[describe(known[-1 if most else 0])].append(f"the {word}")
    said = [f"{pick.where}: of these {_listed(words)} is {row}" for row, words in leads.items()]
    return said or [f"{pick.where}: no compressed row keeps {pick.limits}"]


def _listed(words: list[str]) -> str:
    *before, last = words
    return f"{', '.join(before)} and {last}" if before else last


def _runner_up(pick: Pick) -> str:
    return f"; next is {_name(pick.fitting[1])}" if len(pick.fitting) > 1 else ""


def describe(row: Row) -> str:
    """Return a row's name with the figures that one decides by."""
    parts = [f"{row['quality_metric']} {row['quality']:.3f}"]
    if (kept := row.get(KEPT, row["quality_retained"])) is not None:
        parts[0] += f" (keeps {kept:.1%} of the best reference)"
    size = f"{row['size_bytes'] / 1e6:.1f} MB" if row["size_bytes"] is not None else ""
    parts.append(size + (f" ({row['size_ratio']:.1f}x smaller)" if row["size_ratio"] else ""))
    speed = f"p50 {row['latency_single_p50_ms']:.2f} ms" if row["latency_single_p50_ms"] else ""
    parts.append(speed + (f" ({_how_fast(row['speedup'])})" if row["speedup"] else ""))
    return f"{_name(row)}: {', '.join(filter(None, parts))}"


def _how_fast(speedup: float) -> str:
    return f"{speedup:.1f}x faster" if speedup >= 1 else f"{1 / speedup:.1f}x slower"


def _name(row: Row) -> str:
    seed = f" s{row['seed']}" if row["seed"] else ""
    of_model = "" if row["model"] == NO_MODEL else f" of {row['model']}"
    return f"{row['recipe']}{of_model}{seed}"
