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
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from reports.baselines import Baseline, merged
from reports.comparison import compare
from reports.facts import CellFacts, RunFacts, facts_of
from reports.limits import FIRST, SECOND, spreads
from reports.records import read_run
from reports.verdicts import REGRESSED, VOID, Comparison

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
    """Promote runs one after the other, in memory."""
    found = Baseline()
    for run in runs:
        found, _ = merged(found, run)
    return found


def real_nights(runs: Sequence[RunFacts]) -> list[Comparison]:
    """Judge each night by a baseline of all the others."""
    return [
        compare(baseline_of([*runs[:index], *runs[index + 1 :]]), run)
        for index, run in enumerate(runs)
    ]


class Drawing:
    """Nights drawn again from real ones."""

    def __init__(self, runs: Sequence[RunFacts], cells: int, seed: int = 0) -> None:
        self.runs, self.random = runs, np.random.default_rng(seed)
        timed = [
            name
            for name in runs[0].cells
            if all(len(run.cells[name].pairs) > 1 for run in runs if name in run.cells)
            and all(name in run.cells for run in runs)
        ]
        self.sources = {
            name.replace("/s0", f"/s{copy}"): name
            for copy in range(-(-cells // len(timed)))
            for name in timed
        }
        self.sources = dict(list(self.sources.items())[:cells])
        self.residuals = {
            name: np.concatenate(
                [np.array(run.cells[name].pairs) - np.median(run.cells[name].pairs) for run in runs]
            )
            for name in timed
        }

    def night(self, number: int, factor: float = 1.0) -> RunFacts:
        """Draw a night; `factor` slows every candidate down."""
        run = self.runs[int(self.random.integers(len(self.runs)))]
        cells: dict[str, CellFacts] = {}
        for name, source in self.sources.items():
            level = float(np.median(run.cells[source].pairs)) - float(np.log(factor))
            drawn = level + self.random.choice(self.residuals[source], FIRST + SECOND)
            pairs, later = tuple(drawn[:FIRST]), tuple(drawn[FIRST:])
            cells[name] = replace(run.cells[source], pairs=pairs, later=later, work=())
        return RunFacts(run.info | {"run": f"drawn-{number}"}, cells)


def latency_reds(found: Comparison) -> int:
    return sum(v.metric == "latency" and v.verdict == REGRESSED for v in found.verdicts)


def drawn_nights(
    runs: Sequence[RunFacts], nights: int, count: int = DRAWN, cells: int = CELLS
) -> list[list[str]]:
    """Return rows on nights drawn again, against baselines of so many drawn nights."""
    drawing = Drawing(runs, cells)
    red = 0
    caught = dict.fromkeys(SLOWER, 0)
    judged = dict.fromkeys(SLOWER, 0)
    allowed = dict.fromkeys(SLOWER, 0)
    for block in range(10):
        baseline = baseline_of([drawing.night(number) for number in range(nights)])
        for number in range(count // 10):
            red += latency_reds(compare(baseline, drawing.night(1000 * block + number))) > 0
        for factor in SLOWER:
            for number in range(count // 100):
                found = compare(baseline, drawing.night(number, factor))
                for verdict in found.verdicts:
                    if verdict.metric == "latency":
                        judged[factor] += 1
                        if (verdict.detectable or 1) <= factor - 1:
                            allowed[factor] += 1
                            caught[factor] += verdict.verdict == REGRESSED
    rows = [[f"nights of {cells} cells drawn again: red", str(Count(red, count))]]
    for factor in SLOWER:
        share = f"{allowed[factor] / judged[factor]:.0%} of the cells allow it"
        text = f"{caught[factor]} of {allowed[factor]}" if allowed[factor] else "none"
        if allowed[factor]:
            text += f" ({caught[factor] / allowed[factor]:.1%})"
        rows.append([f"drawn again, {factor - 1:+.0%} latency: found ({share})", text])
    return rows


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
    rows = [
        ["real A/A nights: red", str(Count(sum(c.status() == 1 for c in judged), len(judged)))],
        ["real A/A verdicts: regressed", str(Count(*_regressed(judged)))],
    ]
    nights, benchmarks = plain_gate(folders)
    rows += [
        ["`--benchmark-compare-fail=mean:5%`, the same nights: red", str(nights)],
        ["`--benchmark-compare-fail=mean:5%`, benchmarks: red", str(benchmarks)],
        *drawn_nights(runs, min(len(runs), 20)),
    ]
    baseline = baseline_of(runs)
    if busy:
        beside = [compare(baseline, facts_of(read_run(folder))) for folder in busy]
        red = Count(sum(found.status() == 1 for found in beside), len(beside))
        rows.append(["A/A nights beside a busy core: red", str(red)])
        void = sum(found.colour() == VOID for found in beside)
        rows.append(["A/A nights beside a busy core: void", f"{void} of {len(beside)}"])
    for name, folder in faults.items():
        found = compare(baseline, facts_of(read_run(folder)))
        failing = [f"{v.cell} {v.metric} {v.verdict}" for v in found.failing()]
        rows.append([f"injected: {name}", "; ".join(failing) or "not found"])
    counts: dict[str, int] = {}
    for comparison in judged:
        for verdict, count in comparison.count().items():
            counts[verdict] = counts.get(verdict, 0) + count
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


def _regressed(judged: Sequence[Comparison]) -> tuple[int, int]:
    verdicts = [verdict for comparison in judged for verdict in comparison.verdicts]
    return sum(v.verdict == REGRESSED for v in verdicts), len(verdicts)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m reports.studies.gate", description=__doc__)
    parser.add_argument("nights", nargs="+", type=Path, help="folders of A/A runs of one commit")
    parser.add_argument("--fault", action="append", default=[], metavar="NAME=RUN")
    given = parser.parse_args(arguments)
    faults = {name: Path(run) for name, _, run in (text.partition("=") for text in given.fault)}
    print(report(given.nights, faults))
    return 0


if __name__ == "__main__":
    sys.exit(main())
