"""A run against a baseline, or against another run: every cell of both is judged."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from types import MappingProxyType

from reports import judges
from reports.baselines import (
    Baseline,
    BaselineError,
    device_of,
    fingerprint,
    of_machine,
    of_run,
    without,
)
from reports.changes import changes
from reports.facts import CellFacts, RunFacts
from reports.judges import Context, seed_of, without_seed
from reports.limits import ENOUGH_NIGHTS, PRIOR_NIGHTS, PRIOR_PAIRS, Spread, spreads
from reports.records import OK as MEASURED
from reports.records import SKIPPED, UNSUPPORTED
from reports.verdicts import (
    INCOMPARABLE,
    MISSING,
    NEW,
    NOT_GREEN,
    RED,
    VANISHED,
    VOID,
    Comparison,
    Verdict,
)

DAYS = timedelta(hours=12)
"""Nights that all began within so much time do not say how days differ."""


def against(folder: Path, run: RunFacts, partial: bool = False) -> Comparison:
    """Compare a run with the baseline of its machine.

    Raises:
        BaselineError: the baseline is damaged, edited or too new.
    """
    baseline, elsewhere = of_machine(folder, run.info["machine"])
    return compare(baseline, run, partial, elsewhere)


def between(before: RunFacts, after: RunFacts, partial: bool = False) -> Comparison:
    """Compare two runs; cells on a device that is another one's are not comparable."""
    moved = {}
    for device in {device_of(cell) for cell in before.cells}:
        was, now = (fingerprint(run.info["machine"], device) for run in (before, after))
        if was != now:
            moved[device] = [was]
    baseline = of_run(before)
    foreign = {name for name in baseline.cells if device_of(name) in moved}
    return compare(without(baseline, foreign), after, partial, moved)


def refuse_if_not_green(
    found: Comparison, *, partial: bool = False, allowed: Collection[str] = ()
) -> None:
    """Refuse to make a red or void night a baseline.

    Args:
        partial: cells that the night does not have may stay as they were.
        allowed: cells that it need not have.

    Raises:
        BaselineError: it is one; the message says how to promote it all the same.
    """
    run, before = found.run["run"], found.baseline.get("run")
    vanished = set(found.vanished())
    lacked = sorted(vanished - set(allowed))
    if lacked and not partial:
        raise BaselineError(
            f"{run} does not have {len(lacked)} of the cells of {before}, {lacked[0]} first: add "
            "--partial to keep them as they were, --prune to forget them"
        )
    if lacked and found.baseline.get("versions") != found.run.get("versions"):
        raise BaselineError(
            f"{run} was made with other libraries than {before}, and does not have {lacked[0]}: "
            "promote a run of all cells, or add --allow-failed to have both in one baseline"
        )
    rest = replace(found, verdicts=[v for v in found.verdicts if v.cell not in vanished])
    if (colour := rest.colour()) in (RED, VOID):
        first = next(v for v in rest.failing() or rest.verdicts if v.verdict in NOT_GREEN)
        counts = ", ".join(f"{count} {name}" for name, count in rest.count().items())
        raise BaselineError(
            f"{run} is {colour} against {before} ({counts}): {first.cell} {first.metric}: "
            f"{first.rule}: promote a green night, or add --allow-failed to accept what changed"
        )


def compare(
    baseline: Baseline,
    run: RunFacts,
    partial: bool = False,
    elsewhere: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> Comparison:
    """Judge every cell of a run and of its baseline.

    Args:
        partial: the run was narrowed on purpose: cells that it lacks are not missing.
        elsewhere: by device, baselines of other machines: named where this one has none.
    """
    common = [name for name in run.cells if name in baseline.cells]
    histories = {name: [n.pairs for n in baseline.nights.get(name, ())] for name in common}
    qualities: dict[str, list[float]] = defaultdict(list)
    for name, facts in baseline.cells.items():
        if "quality" in facts.metrics:
            qualities[without_seed(name)].append(facts.metrics["quality"])
    seen = spreads(histories)
    context = Context(baseline, seen, qualities, len(common), partial, elsewhere)
    verdicts = [verdict for name in run.cells for verdict in _judge(context, name, run.cells[name])]
    seeds = {seed_of(name) for name in run.cells}
    if not partial:
        verdicts += [
            Verdict(name, "cell", MISSING, VANISHED)
            for name in baseline.cells
            if name not in run.cells and seed_of(name) in seeds
        ]
    changed = changes(baseline.info, run.info)
    notes = [*run.damage, *_still_prior(seen), *_of_one_day(baseline)]
    return Comparison(run.info, baseline.info, changed, verdicts, notes)


def _still_prior(seen: dict[str, Spread]) -> Iterator[str]:
    young = [spread.seen for spread in seen.values() if spread.is_prior and spread.seen]
    if young:
        nights = f"{min(young)}" if min(young) == max(young) else f"{min(young)} to {max(young)}"
        yield (
            f"the latency limits of {len(young)} cells are those of the prior ({PRIOR_PAIRS:.0%} "
            f"between pairs, {PRIOR_NIGHTS:.0%} between nights): nights in the baseline {nights}, "
            f"needed {ENOUGH_NIGHTS}"
        )


def _of_one_day(baseline: Baseline) -> Iterator[str]:
    runs = {night.run for nights in baseline.nights.values() for night in nights}
    began = []
    for run in runs:
        with suppress(ValueError):  # a run that somebody named
            began.append(datetime.strptime(run[:15], "%Y%m%d-%H%M%S"))
    if len(began) > 1 and (within := max(began) - min(began)) < DAYS:
        yield (
            f"the baseline's {len(began)} nights began within {within / timedelta(hours=1):.1f} h: "
            "how days differ is not in the latency limits; promote nights of other days too"
        )


def _judge(context: Context, name: str, now: CellFacts) -> Iterator[Verdict]:
    before = context.baseline.cells.get(name)
    if before is None:
        if now.status in (UNSUPPORTED, SKIPPED):
            return  # its own tests say so, every night
        if found := context.elsewhere.get(device_of(name)):
            rule = f"the baseline is of another machine: {', '.join(found)}"
            yield Verdict(name, "cell", INCOMPARABLE, rule)
        else:
            failed = "" if now.status == MEASURED else f"; {now.status}: {now.reason}"
            yield Verdict(name, "cell", NEW, f"the baseline does not have it{failed}")
    elif now.status != MEASURED:
        yield Verdict(name, "cell", MISSING, f"{now.status}: {now.reason}")
    else:
        judged = {
            "quality": judges.quality(context, name, before, now),
            "size": judges.size(name, before, now),
            "memory": judges.memory(name, before, now),
            "latency": judges.latency(context, name, before, now),
        }
        for metric, verdict in judged.items():
            if verdict is not None:
                yield verdict
            elif _was_measured(now, metric):
                yield Verdict(name, metric, NEW, "the baseline does not have it")
            elif _was_measured(before, metric) and not context.partial:
                yield Verdict(name, metric, MISSING, VANISHED)


_METRIC = {
    "quality": "quality",
    "size": "size_bytes",
    "memory": "memory_inference_peak_bytes",
    "latency": "speedup",
}


def _was_measured(facts: CellFacts, metric: str) -> bool:
    return facts.metrics.get(_METRIC[metric]) is not None
