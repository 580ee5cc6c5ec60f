"""`leanboard export RUN ROW DIR`: a row as a folder that opens without Leanboard, with a model card."""

from __future__ import annotations

import argparse
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks import own
from benchmarks.extensions import OWN
from benchmarks.shipping import SHIPPED, Shipped
from compressors.recipe import RecipeError, parse_recipe
from models import MODELS
from models.artifact import Artifact
from models.store import Store
from reports.card import Origin, card
from reports.leaderboard import Row, rows, why_not
from reports.records import OK, RecordError, Run, cell_id, find_run, newest, read_run
from tasks import TASKS


class ExportError(ValueError):
    """A row cannot be exported; the message says which, and what can be."""


def export(run: Run, row: Row, target: Path, store: Store) -> Shipped:
    """Write a row's artifact to a new folder, with its model card.

    Raises:
        ExportError: its format opens with Leanboard alone, or the artifact or the place is not there.
    """
    if row["status"] != OK:
        raise ExportError(f"{cell_id(row)} is {why_not(row)}")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ExportError(f"{target} is there already, and not empty")
    target = target.absolute()
    artifact = store.find(row["artifact_sha256"])
    if artifact is None:
        raise ExportError(
            f"the artifact of {cell_id(row)} is not in {store.root} any more: run it again"
        )
    if artifact.format not in SHIPPED:
        raise ExportError(
            f"{cell_id(row)} has the format {artifact.format}, which opens with Leanboard alone; "
            f"these open without: {', '.join(SHIPPED)}"
        )
    unfinished = target.with_name(f".{target.name}-{os.getpid()}")
    try:
        unfinished.mkdir(parents=True)
        shipped = SHIPPED[artifact.format](artifact, unfinished)
        text = card(row, _origin(run, row, artifact), run.info, shipped.loading, shipped.note)
        (unfinished / "README.md").write_text(text, encoding="utf-8")
        os.replace(unfinished, target)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return shipped


def _origin(run: Run, row: Row, artifact: Artifact) -> Origin:
    """Find out where model and data come from; what is not declared here is unknown.

    Of the data the run's own task speaks: the store may have the same files of other data.
    """
    if (run.folder / OWN).exists():
        own.load(run.folder / OWN)
    model, task = MODELS.get(row["model"]), TASKS.get(row["task"])
    build = newest(run.records).get((cell_id(row), "build"))
    told = artifact.manifest
    return Origin(
        labels=task.labels if task else tuple(told["labels"]),
        lineage=(build.facts if build else told)["lineage"],
        model_source=model.source if model else "unknown",
        model_licence=model.licence if model else "unknown",
        other_models=_others(row["recipe"]),
        data_source=task.source if task else "unknown",
        data_licence=task.licence if task else "unknown",
        data_sha256=(task and task.data_sha256) or told["data_sha256"],
        max_tokens=None if artifact.format == "linear" else told["max_tokens"],
        pairs=bool(task and task.pairs),
        sizes=task.sizes if task else {},
    )


def _others(recipe: str) -> tuple[tuple[str, str, str], ...]:
    """Return name, source and licence of each other model that the steps of a recipe read."""
    try:
        names = parse_recipe(recipe).reads_models
    except RecipeError:
        return ()  # a step of one's own, which is not declared here
    models = {name: MODELS.get(name) for name in names}
    return tuple(
        (name, model.source if model else "unknown", model.licence if model else "unknown")
        for name, model in models.items()
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep off the terminal what libraries say while they are imported; what fails is raised."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def choose(table: list[Row], name: str) -> Row:
    """Return the row of a cell's id, or of a recipe that one row has.

    Raises:
        ExportError: none, or several.
    """
    found = [row for row in table if name in (cell_id(row), row["recipe"])]
    if len(found) == 1:
        return found[0]
    ids = ", ".join(cell_id(row) for row in (found or table)[:8])
    what = f"{len(found)} rows are" if found else "no row is"
    raise ExportError(f"{what} '{name}'; give one of {ids}")


def add(commands: Any, output: Path) -> None:
    """Add the command's parser."""
    parser = commands.add_parser("export", help="write a row as a folder that opens elsewhere")
    parser.add_argument("run", metavar="RUN", help="a run's folder, its name, or `latest`")
    parser.add_argument("row", metavar="ROW", help="a cell's id, or a recipe that one row has")
    parser.add_argument("target", metavar="DIR", type=Path, help="a folder that is not there yet")
    parser.add_argument("--output", type=Path, default=output, help="folder of the runs")
    parser.set_defaults(call=run_command)


def run_command(given: argparse.Namespace) -> int:
    """Export, and print how to load it; 0.

    Raises:
        ExportError, RecordError: as they say.
    """
    run = read_run(find_run(given.run, given.output))
    table = rows(run)
    if not table:
        raise RecordError(f"{run.folder} has no rows")
    row = choose(table, given.row)
    with _quiet():
        shipped = export(run, row, given.target, Store())
    print(f'{cell_id(row)} is in {given.target}; in that folder, with texts = ["…"]:\n')
    print("\n".join(f"    {line}".rstrip() for line in shipped.loading.splitlines()))
    if shipped.note:
        print(f"\n{shipped.note}")
    return 0
