"""The artifacts of a run's cells: from the store, or built in a worker; a failure is remembered."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.devices import DEVICES
from benchmarks.matrix import Cell, control_of, parsed
from benchmarks.measures.measure import Metrics, NotMeasured
from benchmarks.workers import WorkerError, WorkerTimeout, call_in_worker
from compressors import building
from compressors.step import Plan, Unsupported
from models import MODELS
from models.artifact import Artifact, ArtifactError, open_artifact
from models.predictors import RUNTIMES
from models.store import Store
from reports.records import FAILED, OK, SKIPPED, TIMEOUT, UNSUPPORTED
from tasks import TASKS
from tasks.assets import Asset

if TYPE_CHECKING:
    from benchmarks.session import Session

BUILD = "build"
BUILD_METRICS: Metrics = {"build_seconds": ("s", True), "build_peak_bytes": ("B", True)}


@cache
def planned(recipe: str, model: str, device: str, kind: str, max_tokens: int) -> Plan | Unsupported:
    """Return what a recipe would make of a model on a device, or why it cannot, before any work.

    Args:
        kind: of the task: `classification` or `regression`.
        max_tokens: where the task cuts its texts.
    """
    try:
        return parsed(recipe).plan(MODELS.get(model), device, kind, max_tokens)
    except Unsupported as error:
        return error


def _planned(cell: Cell) -> Plan | Unsupported:
    task = TASKS[cell.task]
    return planned(cell.recipe, cell.model, cell.device, task.kind, task.max_tokens)


def refused(cell: Cell) -> str | None:
    """Return why a cell cannot be built, before any work; None if it can."""
    plan = _planned(cell)
    return str(plan) if isinstance(plan, Unsupported) else None


def refusals(cells: Iterable[Cell]) -> list[str]:
    """Say before any work which recipes cannot be built, and why: a line a recipe and reason."""
    models: dict[tuple[str, str], dict[str, None]] = defaultdict(dict)
    for cell in cells:
        if why_not := refused(cell):
            models[cell.recipe, why_not][cell.model] = None
    return [
        f"{recipe} of {', '.join(names)} is unsupported: {why_not}"
        for (recipe, why_not), names in models.items()
    ]


def assets_of(cell: Cell) -> list[Asset]:
    """Return what a cell needs from the package index."""
    names = [cell.model, *parsed(cell.recipe).reads_models]
    models = [MODELS[name] for name in names if name in MODELS]
    return [*TASKS[cell.task].assets, *(asset for model in models for asset in model.assets)]


@dataclass
class Artifacts:
    """What a session's cells are measured from."""

    session: Session
    store: Store = field(default_factory=Store)
    known: dict[Cell, Artifact | NotMeasured] = field(default_factory=dict)
    broken: dict[Cell, NotMeasured] = field(default_factory=dict)
    """By cells whose recipe is what was being built when a build failed: a prefix of many."""
    lacking: dict[Asset, str] = field(default_factory=dict)
    """Assets that could not be fetched, and why: nobody waits for them again."""

    def runtimes(self, cells: Iterable[Cell]) -> list[str]:
        """Name the runtimes that execute what the cells' recipes make, and their references'."""
        both = [one for cell in cells for one in (cell, cell.reference) if one]
        plans = [plan for plan in map(_planned, both) if not isinstance(plan, Unsupported)]
        return list(dict.fromkeys(RUNTIMES[p.format].name for p in plans if p.format in RUNTIMES))

    def of(self, cell: Cell) -> Artifact:
        """Return a cell's artifact; build it if the store lacks it.

        Raises:
            NotMeasured: unsupported, skipped, failed or out of time.
        """
        if cell not in self.known:
            try:
                self.known[cell] = self._open(cell)
            except NotMeasured as error:
                self.known[cell] = error
        found = self.known[cell]
        if isinstance(found, NotMeasured):
            raise found
        return found

    def is_there(self, cell: Cell) -> bool:
        """Say whether the store has a cell's artifact, and it can be opened."""
        try:
            self._check(cell)
            found = self._find(cell)
        except Exception:  # whatever hinders it is told when the cell itself is measured
            return False
        try:
            return bool(found and self.of(cell))
        except NotMeasured:
            return False

    def _check(self, cell: Cell) -> None:
        if why_not := refused(cell):
            raise NotMeasured(UNSUPPORTED, why_not)
        if why_not := DEVICES[cell.device]():
            raise NotMeasured(SKIPPED, why_not)
        for asset in assets_of(cell):
            if asset in self.lacking:
                raise NotMeasured(FAILED, self.lacking[asset])

    def _find(self, cell: Cell) -> Path | None:
        recipe, task = parsed(cell.recipe), TASKS[cell.task]
        return building.find(recipe, cell.model, task, cell.seed, cell.device, self.store)

    def _open(self, cell: Cell) -> Artifact:
        self._check(cell)
        try:
            folder = self._find(cell) or Path(self._build(cell))
            with self.session.account.spend("verifying"):
                artifact = open_artifact(folder)
        except (ArtifactError, RuntimeError, OSError) as error:
            raise NotMeasured(FAILED, f"build: {error}") from error
        self._append(cell, artifact)
        return artifact

    def _build(self, cell: Cell) -> str:
        for prefix in parsed(cell.recipe).prefixes:
            if failure := self.broken.get(replace(cell, recipe=prefix)):
                raise failure
        session, prefix = self.session, cell.recipe

        def progress(share: float, what: str) -> None:
            nonlocal prefix
            prefix = what.partition(": ")[0]
            session.progress.doing(f"building {cell.model}/{what}", share)

        try:
            with session.alone(), session.account.spend("building"):
                session.progress.begins(f"building {cell.model}/{cell.recipe}")
                return call_in_worker(
                    "compressors.building:build",
                    cell.to_json() | {"threads": session.options.threads},
                    log=session.log(cell, BUILD),
                    extensions=session.extensions,
                    timeout=session.options.timeout,
                    progress=progress,
                )
        except WorkerError as error:
            status = TIMEOUT if isinstance(error, WorkerTimeout) else FAILED
            failure = NotMeasured(status, f"build: {session.with_log(error)}")
            self.broken[replace(cell, recipe=prefix)] = failure
            raise failure from error

    def _append(self, cell: Cell, artifact: Artifact) -> None:
        if (cell.id, BUILD) in self.session.records:
            return
        metrics = {
            "build_seconds": artifact.build_seconds,
            "build_peak_bytes": max((s["peak_bytes"] for s in artifact.lineage), default=None),
        }
        runtime = RUNTIMES[artifact.format]
        facts = {
            "families": list(parsed(cell.recipe).families),
            "runtime": runtime.name,
            "runtime_control": control_of(cell, runtime.control),
            "format": artifact.format,
            "threads": self.session.options.threads,
            "lineage": artifact.lineage,
        }
        if warning := artifact.manifest.get("distillation", {}).get("warning"):
            self.session.show(f"leanboard: {cell.recipe} of {cell.model}: {warning}")
            facts["warning"] = warning
        self.session.append(cell, BUILD, OK, artifact=artifact, metrics=metrics, facts=facts)
