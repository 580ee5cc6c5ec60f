"""`leanboard pick RUN`: which row to ship, why, and what each bound costs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from reports.leaderboard import rows
from reports.pick import (
    BOUND_HELP,
    BOUNDS,
    WEIGHTS,
    WITHIN,
    Pick,
    describe,
    parse_weights,
    picks,
    sentences,
    within,
)
from reports.records import RecordError, cell_id, find_run, read_run

SHOWN = 10
"""Rows that fit, printed."""


def add(commands: Any, output: Path) -> None:
    """Add the command's parser."""
    parser = commands.add_parser("pick", help="say which row to ship, and what each bound costs")
    parser.add_argument("run", metavar="RUN", help="a run's folder, its name, or `latest`")
    parser.add_argument("--output", type=Path, default=output, help="folder of the runs")
    for option, (example, what) in BOUND_HELP.items():
        parser.add_argument(option, metavar=example, help=what)
    parser.add_argument("--weights", metavar="NAME=N,…", help="what counts: speed=1,size=1")
    for option in ("--task", "--model", "--device"):
        parser.add_argument(option, metavar="NAME", help="only among the rows of this one")
    parser.set_defaults(call=run)


def run(given: argparse.Namespace) -> int:
    """Print the answer.

    Returns:
        0, or 1 if a task has no row that keeps every bound.

    Raises:
        BoundError, RecordError: a bound is no quantity; there is no such run, or no such row.
    """
    values = {option: getattr(given, option[2:].replace("-", "_")) for option in BOUNDS}
    bounds = [BOUNDS[option](text) for option, text in values.items() if text is not None]
    if not values["--within"] and not values["--min-quality"]:
        bounds = [within(WITHIN), *bounds]
    chosen = {"task": given.task, "model": given.model, "device": given.device}
    table = [
        row
        for row in rows(read_run(find_run(given.run, given.output)))
        if all(name in (None, row[field]) for field, name in chosen.items())
    ]
    if not table:
        raise RecordError(f"no row of {given.run} is of {', '.join(filter(None, chosen.values()))}")
    weights = parse_weights(given.weights) if given.weights else WEIGHTS
    found = picks(table, bounds, weights)
    print("\n\n".join("\n".join(_lines(pick, given.run)) for pick in found))
    return 0 if all(pick.best for pick in found) else 1


def _lines(pick: Pick, run: str) -> list[str]:
    first, *others = sentences(pick)
    lines = [first, *(f"  {sentence}" for sentence in others)]
    if len(pick.fitting) > 1:
        lines.append("  all that fit, the best first:")
        lines += [f"    {describe(row)}" for row in pick.fitting[:SHOWN]]
    if len(pick.fitting) > SHOWN:
        lines.append(f"    … and {len(pick.fitting) - SHOWN} more")
    if pick.best:
        lines.append(f"  ship it: leanboard export {run} {cell_id(pick.best)} DIR")
    return lines
