"""How often does the gate cry wolf, and what does it miss? A table from real nights of one commit.

    python -m reports.studies.gate reports/output/*/ --fault +20%=reports/output/RUN

Each real night is judged by a baseline of all the others. For the larger numbers whole nights are
drawn again: the night's level of every cell stays as it was seen, and its pairs are drawn from the
cell's own. Drawing again cannot invent a spread between nights that was not seen.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count, islice, pairwise
from pathlib import Path

import numpy as np

from reports.baselines import Baseline, merged
from reports.comparison import compare
from reports.facts import Answers, CellFacts, RunFacts, facts_of
from reports.limits import FIRST, SECOND, spreads
from reports.night import NIGHT_JSON
from reports.records import read_run
from reports.verdicts import (
    FAIL_ON,
    NOT_JUDGED,
    OK,
    RED,
    REGRESSED,
    VOID,
    Comparison,
)

Change = Callable[[CellFacts, np.random.Generator], CellFacts]
CELLS = 50
"""Of a night that is drawn again."""
DRAWN = 1000
SLOWER = (1.05, 1.10, 1.20)
PLAIN_LIMIT = 0.05
"""`--benchmark-compare-fail=mean:5%`, on the same nights."""


@dataclass(frozen=True)
class Count:
    """So many of so many."""

    hits: int
    of: int

    def __str__(self) -> str:
        if not self.of:
            return "none"
        from scipy.stats import binomtest

        high = binomtest(self.hits, self.of).proportion_ci(0.90, "exact").high
        share = f"{self.hits / self.of:.1%}"
        return f"{self.hits} of {self.of} ({share}; at most {high:.1%} with 95 %)"


def baseline_of(runs: Sequence[RunFacts]) -> Baseline:
    """Promote runs one after the other, in memory, also those whose reference had moved."""
    found = Baseline()
    for run in runs:
        found, _ = merged(found, run, accept=True)
    return found


def beside_all_others(runs: Sequence[RunFacts]) -> Iterator[tuple[Baseline, RunFacts]]:
    """Yield each night and a baseline of all the others."""
    for index, run in enumerate(runs):
        yield baseline_of([*runs[:index], *runs[index + 1 :]]), run


def real_nights(runs: Sequence[RunFacts]) -> list[Comparison]:
    """Judge each night by a baseline of all the others."""
    return [compare(baseline, run) for baseline, run in beside_all_others(runs)]


class Drawing:
    """Nights of so many cells drawn again: each has a real cell's level of some night, and its pairs.

    Of the pairs those that no other work disturbed, and the reference's own speed of the same
    night. A copy of a cell has a night of its own.
    """

    def __init__(self, runs: Sequence[RunFacts], cells: int, seed: int = 0) -> None:
        self.info, self.random = runs[0].info, np.random.default_rng(seed)
        known = {
            name: [cell for run in runs if len((cell := run.cells[name]).sound) > 1]
            for name in runs[0].cells
            if all(name in run.cells for run in runs)
        }
        self.nights = {n: [np.array(c.sound) for c in cells] for n, cells in known.items() if cells}
        self.work = {
            name: [float(np.median(cell.work)) if cell.work else 0.0 for cell in known[name]]
            for name in self.nights
        }
        self.residuals = {
            name: np.concatenate([(p - p.mean()) * np.sqrt(len(p) / (len(p) - 1)) for p in pairs])
            for name, pairs in self.nights.items()
        }
        copies = (
            (name.replace("/s0", f"/s{copy}"), name) for copy in count() for name in self.nights
        )
        self.sources = dict(islice(copies, cells))
        self.facts = {name: runs[0].cells[name] for name in self.nights}

    def night(self, number: int, factor: float = 1.0) -> RunFacts:
        """Draw a night; `factor` slows every candidate down."""
        cells: dict[str, CellFacts] = {}
        for name, source in self.sources.items():
            nights = self.nights[source]
            which = self.random.integers(len(nights))
            level = nights[which].mean() - np.log(factor)
            drawn = level + self.random.choice(self.residuals[source], FIRST + SECOND)
            pairs, later = tuple(drawn[:FIRST]), tuple(drawn[FIRST:])
            work = self.work[source][which]
            cells[name] = replace(
                self.facts[source],
                pairs=pairs,
                later=later,
                work=(work,) * FIRST,
                later_work=(work,) * SECOND,
            )
        return RunFacts(self.info | {"run": f"drawn-{number}"}, cells)


def latency_reds(found: Comparison) -> int:
    return sum(v.metric == "latency" and v.verdict == REGRESSED for v in found.verdicts)


def drawn_nights(
    runs: Sequence[RunFacts], nights: int, total: int = DRAWN, cells: int = CELLS
) -> list[list[str]]:
    """Return rows on nights drawn again, against baselines of so many drawn nights."""
    drawing = Drawing(runs, cells)
    red = void = 0
    verdicts: dict[float, Counter[str]] = {factor: Counter() for factor in SLOWER}
    cells_judged = dict.fromkeys(SLOWER, 0)
    for block in range(10):
        baseline = baseline_of([drawing.night(number) for number in range(nights)])
        for number in range(total // 10):
            found = compare(baseline, drawing.night(1000 * block + number))
            red += latency_reds(found) > 0
            void += found.colour() == VOID
        for factor in SLOWER:
            for number in range(total // 100):
                found = compare(baseline, drawing.night(number, factor))
                for verdict in found.verdicts:
                    if verdict.metric == "latency":
                        cells_judged[factor] += 1
                        if (verdict.detectable or 1) <= factor - 1:
                            verdicts[factor][verdict.verdict] += 1
    shown = f"{red} of {total} ({red / total:.1%}), {void} void"
    rows = [[f"nights of {cells} cells drawn again: red by latency", shown]]
    for factor, of in verdicts.items():
        share = f"{of.total() / cells_judged[factor]:.0%} of the cells allow it"
        rows.append([f"drawn again, {factor - 1:+.0%} latency: found ({share})", found_of(of)])
    return rows


def found_of(verdicts: Counter[str]) -> str:
    """Tell what was found from what was missed, and from what a disturbed night left open."""
    if not verdicts:
        return "none"
    judged = verdicts.total() - sum(verdicts[verdict] for verdict in NOT_JUDGED)
    found = verdicts[REGRESSED]
    share = f" ({found / judged:.1%})" if judged else ""
    return f"{found} of {judged} that were judged{share}; {verdicts.total() - judged} disturbed"


def larger(metric: str, factor: float) -> Change:
    """Return a change that makes a metric of a cell so many times as large."""
    return lambda facts, _: replace(
        facts, metrics=facts.metrics | {metric: facts.metrics[metric] * factor}
    )


def wronger(points: int) -> Change:
    """Return a change that turns so many points of a cell's right answers wrong, at random."""

    def change(facts: CellFacts, random: np.random.Generator) -> CellFacts:
        assert facts.answers
        right = facts.answers.values() > 0
        lost = random.choice(np.flatnonzero(right), round(points / 100 * len(right)), replace=False)
        right[lost] = False
        metrics = facts.metrics | {"quality": float(right.mean())}
        return replace(facts, answers=Answers.of_right(right), metrics=metrics)

    return change


CHANGES: dict[str, tuple[str, Change]] = {
    "memory +5%": ("memory", larger("memory_inference_peak_bytes", 1.05)),
    "memory +20%": ("memory", larger("memory_inference_peak_bytes", 1.20)),
    "bytes +1%": ("size", larger("size_bytes", 1.01)),
    **{f"{points} points of accuracy": ("quality", wronger(points)) for points in (1, 2, 3)},
}
"""What is done to every cell of every real night, and by which metric it should be found."""


def changed_nights(runs: Sequence[RunFacts]) -> list[list[str]]:
    """Return rows on real nights with a change in each cell, each judged by all the others."""
    random = np.random.default_rng(0)
    found: dict[str, list[bool]] = {name: [] for name in CHANGES}
    for baseline, run in beside_all_others(runs):
        for name, (metric, change) in CHANGES.items():
            cells = {cell: change(facts, random) for cell, facts in run.cells.items()}
            verdicts = compare(baseline, RunFacts(run.info, cells)).verdicts
            found[name] += [v.verdict == REGRESSED for v in verdicts if v.metric == metric]
    return [
        [f"real nights, {name} in each cell: found", f"{sum(hits)} of {len(hits)}"]
        for name, hits in found.items()
    ]


def plain_means(folder: Path) -> dict[str, float]:
    """Return pytest-benchmark's own mean of each benchmark of a run, in seconds."""
    path = folder / "pytest-benchmark.json"
    found = json.loads(path.read_text(encoding="utf-8"))["benchmarks"] if path.exists() else []
    return {benchmark["fullname"]: benchmark["stats"]["mean"] for benchmark in found}


def plain_gate(folders: Sequence[Path]) -> tuple[Count, Count]:
    """Judge each night by the one before as `--benchmark-compare-fail=mean:5%` does.

    Returns:
        red nights, and red benchmarks.
    """
    means = [plain_means(folder) for folder in folders]
    reds = [
        [now[name] / before[name] - 1 > PLAIN_LIMIT for name in now if name in before]
        for before, now in pairwise(means)
    ]
    return (
        Count(sum(any(night) for night in reds), len(reds)),
        Count(sum(map(sum, reds)), sum(map(len, reds))),
    )


def spread_rows(runs: Sequence[RunFacts]) -> list[list[str]]:
    """Return one row a cell: the spread between pairs and between nights, as it was seen."""
    seen = spreads(
        {
            name: [run.cells[name].pairs for run in runs if name in run.cells]
            for name, facts in runs[0].cells.items()
            if facts.pairs
        },
        enough=2,
    )
    return [
        [f"`{name}`", f"{spread.pairs:.1%}", f"{spread.nights:.1%}"]
        for name, spread in seen.items()
    ]


def table(rows: Sequence[Sequence[str]], *headers: str) -> str:
    lines = [headers, ["---"] * len(headers), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def report(folders: Sequence[Path], faults: dict[str, Path], busy: Sequence[Path] = ()) -> str:
    """Return the study as Markdown; `busy` are healthy nights beside other work."""
    folders = sorted(folders, key=lambda folder: folder.name)
    runs = [facts_of(read_run(folder)) for folder in folders]
    machine = runs[0].info["machine"]
    judged = real_nights(runs)
    baseline = baseline_of(runs)
    live = [folder for folder in folders if (folder / NIGHT_JSON).exists()]
    then = [_judged(folder, baseline)[0] for folder in live]
    rows = [
        ["real A/A nights, as they were judged then: red", str(Count(then.count(RED), len(then)))],
        ["real A/A nights, as they were judged then: void", f"{then.count(VOID)} of {len(then)}"],
        [
            "real A/A nights, each by all the others: red",
            str(Count(sum(c.status() == 1 for c in judged), len(judged))),
        ],
        ["the same, verdicts: regressed", str(Count(*_regressed(judged)))],
    ]
    nights, benchmarks = plain_gate(folders)
    rows += [
        ["`--benchmark-compare-fail=mean:5%`, the same nights: red", str(nights)],
        ["`--benchmark-compare-fail=mean:5%`, benchmarks: red", str(benchmarks)],
        *drawn_nights(runs, min(len(runs), 20)),
        *changed_nights(runs),
    ]
    if busy:
        colours = [_judged(folder, baseline)[0] for folder in busy]
        rows.append(
            ["A/A nights beside a busy core: red", str(Count(colours.count(RED), len(busy)))]
        )
        rows.append(
            ["A/A nights beside a busy core: void", f"{colours.count(VOID)} of {len(busy)}"]
        )
    for name, folder in faults.items():
        colour, verdicts = _judged(folder, baseline)
        shown = verdicts["failing"] or verdicts["other"] or ["not found"]
        rows.append([f"injected: {name}", f"{colour}: {'; '.join(shown)}"])
    counts: dict[str, int] = {}
    for comparison in judged:
        for verdict, times in comparison.count().items():
            counts[verdict] = counts.get(verdict, 0) + times
    return "\n".join(
        [
            f"{len(runs)} nights of {len(runs[0].cells)} cells on {machine.get('cpu')}, "
            f"{machine.get('logical_cores')} cores, {runs[0].info.get('pairs')} pairs a cell; "
            f"verdicts of the real nights: {', '.join(f'{n} {v}' for v, n in counts.items())}.",
            "",
            table(rows, "what", "seen"),
            "",
            table(spread_rows(runs), "cell", "between pairs", "between nights"),
        ]
    )


def _judged(folder: Path, baseline: Baseline) -> tuple[str, dict[str, list[str]]]:
    """Return a night's colour and what is not ok in it: as said at its end, or by `baseline`."""
    path = folder / NIGHT_JSON
    if path.exists():
        night = json.loads(path.read_text(encoding="utf-8"))
        colour, found = night["status"], night["verdicts"]
    else:
        comparison = compare(baseline, facts_of(read_run(folder)))
        colour, found = comparison.colour(), [vars(verdict) for verdict in comparison.verdicts]
    said: dict[str, list[str]] = {"failing": [], "other": []}
    for verdict in found:
        if verdict["verdict"] != OK:
            kind = "failing" if verdict["verdict"] in FAIL_ON else "other"
            said[kind].append(f"{verdict['cell']} {verdict['metric']} {verdict['verdict']}")
    return colour, said


def _regressed(judged: Sequence[Comparison]) -> tuple[int, int]:
    verdicts = [verdict for comparison in judged for verdict in comparison.verdicts]
    return sum(v.verdict == REGRESSED for v in verdicts), len(verdicts)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m reports.studies.gate", description=__doc__)
    parser.add_argument("nights", nargs="+", type=Path, help="folders of A/A runs of one commit")
    parser.add_argument("--fault", action="append", default=[], metavar="NAME=RUN")
    parser.add_argument("--busy", action="append", default=[], type=Path, metavar="RUN")
    given = parser.parse_args(arguments)
    faults = {name: Path(run) for name, _, run in (text.partition("=") for text in given.fault)}
    print(report(given.nights, faults, given.busy))
    return 0


if __name__ == "__main__":
    sys.exit(main())
