"""Marginal gains: what each step of a chain buys, by the row of the same chain built without it.

The rows are measured, not subtracted from one another: a step's gain depends on its neighbours.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from statistics import fmean, geometric_mean

from reports.leaderboard import Row
from reports.records import OK

LEAST = 2
"""So many steps must have been left out, each in a row of its own, before a chain is shown."""


@dataclass(frozen=True)
class Gain:
    """One step of a chain, over the seeds that have both rows."""

    step: str
    without: str
    """The recipe that is left."""
    quality: float
    """Chain less the rest, in the metric's own unit: positive is better."""
    size: float
    """Bytes of the rest / bytes of the chain, as the three below: larger is better."""
    memory: float | None
    speed: float | None
    seconds: float
    """What the step costs to build; negative where it saves more than it takes."""
    seeds: int


def gains(table: list[Row]) -> dict[tuple[str, str, str, str], list[Gain]]:
    """Return the gains by (task, model, device, chain), in the order of the rows."""
    groups: dict[tuple[str, str, str], dict[str, dict[int, Row]]] = {}
    for row in table:
        if row["status"] == OK:
            group = groups.setdefault((row["task"], row["model"], row["device"]), defaultdict(dict))
            group[row["recipe"]][row["seed"]] = row
    return {
        (*name, chain): found
        for name, by_recipe in groups.items()
        for chain in list(by_recipe)
        if len(found := _of_chain(chain, by_recipe)) >= LEAST
    }


def _of_chain(chain: str, by_recipe: dict[str, dict[int, Row]]) -> list[Gain]:
    steps = chain.split("+")
    found = []
    for index, step in enumerate(steps):
        without = "+".join(steps[:index] + steps[index + 1 :])
        rest = by_recipe.get(without, {})
        pairs = [(row, rest[seed]) for seed, row in by_recipe[chain].items() if seed in rest]
        if pairs:
            found.append(_gain(step, without, pairs))
    return found


def _gain(step: str, without: str, pairs: list[tuple[Row, Row]]) -> Gain:
    def ratio(name: str, *, larger_is_better: bool = False) -> float | None:
        known = [(a[name], b[name]) for a, b in pairs if a[name] and b[name]]
        ratios = [a / b if larger_is_better else b / a for a, b in known]
        return geometric_mean(ratios) if ratios else None

    def difference(name: str) -> float:
        return fmean((a[name] or 0) - (b[name] or 0) for a, b in pairs)

    return Gain(
        step=step,
        without=without,
        quality=difference("quality"),
        size=ratio("size_bytes") or 1.0,
        memory=ratio("memory_inference_peak_bytes"),
        speed=ratio("speedup", larger_is_better=True),
        seconds=difference("build_seconds"),
        seeds=len(pairs),
    )


HEADERS = ("without", "quality", "smaller", "less RAM", "faster", "seconds")


def shown(gain: Gain) -> list[str]:
    """Return the texts that stand under `HEADERS`."""
    ratios = [
        "-" if ratio is None else f"{ratio:.2f}x" for ratio in (gain.size, gain.memory, gain.speed)
    ]
    return [gain.step, f"{gain.quality:+.3f}", *ratios, f"{gain.seconds:+.0f}"]
