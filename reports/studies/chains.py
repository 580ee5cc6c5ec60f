"""Which chains are worth shipping? Chosen on the validation split, reported on test.

    pytest benchmarks/ --profile chains
    python -m reports.studies.chains latest

A figure is the mean over the seeds. What a chain keeps of the reference's quality on test has a
lower bound: the seeds are taken together example by example, because they share the test split.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, geometric_mean

import numpy as np
from tabulate import tabulate

from reports.facts import CellFacts, facts_of
from reports.leaderboard import REFERENCES, Row, rows
from reports.records import OK, RecordError, Run, cell_id, find_run, newest, read_run

OUTPUT = Path("reports/output")
HEADERS = (
    "chain",
    "seeds",
    "validation kept",
    "test kept",
    "at least",
    "shifted",
    "MB",
    "smaller",
    "RAM MB",
    "faster",
    "batch",
    "built in s",
)


@dataclass(frozen=True)
class Chain:
    """A recipe over its seeds, against the references of the same seeds."""

    task: str
    model: str
    recipe: str
    seeds: int
    validation_kept: float | None
    """Share of the reference's quality on the validation split, by which chains are chosen."""
    test_kept: float
    test_kept_low: float | None
    """Of the two-sided 95 % interval, all seeds together."""
    shifted: float | None
    size_bytes: float
    size_ratio: float
    memory_bytes: float | None
    """Peak above the runtime's imports."""
    speedup: float | None
    speedup_batch: float | None
    build_seconds: float | None
    on_front: bool = False
    """No other chain keeps as much of validation, is as small and as fast, and better in one."""


def chains(run: Run) -> list[Chain]:
    """Return the recipes that have a reference on the run's first device, the fastest first."""
    table = [row for row in rows(run) if row["status"] == OK]
    facts, validation = facts_of(run).cells, _validation(run)
    references = {_group(row): row for row in table if row["recipe"] in REFERENCES}
    device = table[0]["device"] if table else ""
    by_recipe: dict[tuple[str, str, str], list[tuple[Row, Row]]] = defaultdict(list)
    for row in (row for row in table if row["device"] == device):
        if (reference := references.get(_group(row))) and row["size_ratio"]:
            by_recipe[row["task"], row["model"], row["recipe"]].append((row, reference))
    found = [_chain(*name, pairs, facts, validation) for name, pairs in by_recipe.items()]
    found.sort(key=lambda chain: (chain.task, chain.model, -(chain.speedup or 0)))
    return [_placed(chain, found) for chain in found]


def _group(row: Row) -> tuple[str, str, str, int]:
    return row["task"], row["model"], row["device"], row["seed"]


def _validation(run: Run) -> dict[str, float]:
    found = {}
    for (cell, _), record in newest(run.records).items():
        metric = record.metrics.get("validation_quality")
        if metric and isinstance(metric.value, float):
            found[cell] = metric.value
    return found


def _chain(
    task: str,
    model: str,
    recipe: str,
    pairs: list[tuple[Row, Row]],
    facts: dict[str, CellFacts],
    validation: dict[str, float],
) -> Chain:
    ids = [(cell_id(row), cell_id(reference)) for row, reference in pairs]
    chosen = [validation[a] / validation[b] for a, b in ids if a in validation and b in validation]

    def mean(name: str) -> float | None:
        return _mean(row[name] for row, _ in pairs)

    def ratio(name: str) -> float | None:
        known = [row[name] for row, _ in pairs if row[name]]
        return geometric_mean(known) if known else None

    return Chain(
        task=task,
        model=model,
        recipe=recipe,
        seeds=len(pairs),
        validation_kept=_mean(chosen),
        test_kept=fmean(row["quality_retained"] for row, _ in pairs),
        test_kept_low=kept_low([(facts[a], facts[b]) for a, b in ids]),
        shifted=mean("shifted_quality"),
        size_bytes=mean("size_bytes") or 0.0,
        size_ratio=ratio("size_ratio") or 0.0,
        memory_bytes=mean("memory_inference_peak_bytes"),
        speedup=ratio("speedup"),
        speedup_batch=ratio("speedup_batch"),
        build_seconds=mean("build_seconds"),
    )


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def kept_low(pairs: Sequence[tuple[CellFacts, CellFacts]]) -> float | None:
    """Bound from below what a chain keeps of its reference's quality, all seeds together.

    Each example counts once, with the mean over the seeds of what the chain lost on it. None where
    the examples are not the same, or unknown.
    """
    from scipy.stats import t

    known = [(a.answers, b.answers) for a, b in pairs if a.answers and b.answers]
    if len(known) < len(pairs) or len({facts.test_sha256 for pair in pairs for facts in pair}) > 1:
        return None
    gained = np.mean([a.values() - b.values() for a, b in known], axis=0)
    reference = float(np.mean([b.values() for _, b in known]))
    error = float(gained.std(ddof=1)) / np.sqrt(len(gained))
    low = float(gained.mean()) - float(t.ppf(0.975, len(gained) - 1)) * error
    return 1 + low / reference


def _placed(chain: Chain, all_chains: list[Chain]) -> Chain:
    def figures(one: Chain) -> tuple[float, float, float]:
        return one.validation_kept or 0.0, one.size_ratio, one.speedup or 0.0

    mine = figures(chain)
    beaten = any(
        all(a >= b for a, b in zip(figures(other), mine, strict=True)) and figures(other) != mine
        for other in all_chains
        if (other.task, other.model) == (chain.task, chain.model)
    )
    return replace(chain, on_front=not beaten)


def table(found: list[Chain]) -> str:
    """Return a Markdown table for each task and model; a chain on the front has a mark."""
    parts = []
    for task, model in dict.fromkeys((chain.task, chain.model) for chain in found):
        lines = [_line(chain) for chain in found if (chain.task, chain.model) == (task, model)]
        text = tabulate(lines, HEADERS, "pipe", disable_numparse=True)
        parts.append(f"{task} · {model}\n\n{text}")
    return "\n\n".join(parts)


def _line(chain: Chain) -> list[str]:
    def shown(value: float | None, shape: str) -> str:
        return "-" if value is None else format(value, shape)

    return [
        f"{'◆ ' if chain.on_front else ''}`{chain.recipe}`",
        str(chain.seeds),
        shown(chain.validation_kept, ".1%"),
        shown(chain.test_kept, ".1%"),
        shown(chain.test_kept_low, ".1%"),
        shown(chain.shifted, ".3f"),
        f"{chain.size_bytes * 1e-6:.1f}",
        f"{chain.size_ratio:.1f}x",
        "-" if chain.memory_bytes is None else f"{chain.memory_bytes * 1e-6:.0f}",
        shown(chain.speedup, ".1f") + "x",
        shown(chain.speedup_batch, ".1f") + "x",
        shown(chain.build_seconds, ".0f"),
    ]


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m reports.studies.chains")
    parser.add_argument("run", metavar="RUN", help="a folder, a name, or `latest`")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="folder of the runs")
    given = parser.parse_args(arguments)
    try:
        run = read_run(find_run(given.run, given.output))
    except RecordError as error:
        print(error, file=sys.stderr)
        return 2
    print(table(chains(run)))
    machine = run.info["machine"]
    print(f"\n{machine['cpu']}, {machine['cores']} cores, {' '.join(machine['instructions'])}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
