"""Latency, timed inside workers in turns with the reference's worker (see turns.py).

`single` is one text a call, text to logits; `batch` is 32. A pair is a fresh candidate process
against a fresh process of the reference, which serves a few cells at once because it is among the
slowest. The speed-up's interval is taken over pairs: what varies most is the process, not the call.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import machine
from benchmarks.measures.measure import Measure, Metrics, NotMeasured, after
from benchmarks.measures.requests import Requests
from benchmarks.measures.turns import Kind, Pair, rounds_that_last, time_pairs
from benchmarks.workers import Worker, WorkerError
from models.artifact import Artifact
from reports.facts import LATER
from reports.limits import SECOND
from reports.records import FAILED, OK, write_arrays

if TYPE_CHECKING:
    from benchmarks.matrix import Cell
    from benchmarks.session import Session

CELLS_A_REFERENCE = 4
"""Cells that one reference serves: what is odd about a process must not colour every row."""
METRICS: Metrics = {
    "latency_samples": ("", None),
    "latency_single_p50_ms": ("ms", True),
    "latency_single_p90_ms": ("ms", True),
    "latency_single_p95_ms": ("ms", True),
    "latency_single_p99_ms": ("ms", True),
    "latency_batch_p50_ms": ("ms", True),
    "throughput_per_s": ("1/s", False),
    "speedup": ("x", False),
    "speedup_low": ("x", False),
    "speedup_high": ("x", False),
    "speedup_batch": ("x", False),
    "speedup_batch_low": ("x", False),
    "speedup_batch_high": ("x", False),
    "reference_single_p50_ms": ("ms", True),
    "pairs": ("", None),
}


def take(session: Session, cell: Cell, artifact: Artifact) -> None:
    """Time fresh candidate processes against the reference's, in turns, and the next cells with it."""
    if session.record("accuracy", cell).status != OK:
        raise NotMeasured(FAILED, "not timed: without its predictions nothing says what is right")
    reference = cell.reference
    if reference and session.record("accuracy", reference).status != OK:
        reference = None  # its own row says why; this one has no speed-up
    group: Group = {one: [] for one in (cell, *_neighbours(session, cell, reference))}
    session.progress.doing(
        f"latency of {cell.id}" + f" and {len(group) - 1} more" * (len(group) > 1)
    )
    with session.alone():
        for _ in range(session.options.profile.pairs):
            _add_pair(session, group, reference, "latency")
    for one, pairs in group.items():
        samples = session.samples(one, "latency")
        save(pairs, samples)
        metrics = summarize(pairs)
        metrics["throughput_per_s"] = throughput(session.requests(one), metrics)
        session.append(
            one,
            "latency",
            OK,
            artifact=session.artifact(one),
            metrics=metrics,
            samples=samples,
            facts=rounds_of(pairs),
        )


def _neighbours(session: Session, cell: Cell, reference: Cell | None) -> Iterator[Cell]:
    """Yield the next cells, of those that are built, which are timed with this one.

    What is to be trained first would keep this row waiting; a reference against itself is timed alone.
    """
    if reference in (None, cell):
        return
    waiting = (
        other
        for other in after(session.planned, cell)
        if other.reference == reference != other
        and "latency" in session.planned[other]
        and (other.id, "latency") not in session.records
    )
    built = (other for other in waiting if session.artifacts.is_there(other))
    ready = (other for other in built if session.record("accuracy", other).status == OK)
    yield from islice(ready, CELLS_A_REFERENCE - 1)


def look_again(session: Session, cells: list[Cell]) -> None:
    """Time new pairs of suspects, one of each in turn: what slowed one down may have passed."""
    together: dict[tuple[Cell | None, bool], list[Cell]] = defaultdict(list)
    for cell in cells:
        together[cell.reference, cell == cell.reference].append(cell)
    groups: list[tuple[Cell | None, Group]] = [
        (reference, {cell: [] for cell in those[start : start + CELLS_A_REFERENCE]})
        for (reference, _), those in together.items()
        for start in range(0, len(those), CELLS_A_REFERENCE)
    ]
    with session.alone():
        for _ in range(SECOND):
            for reference, group in groups:
                _add_pair(session, group, reference, LATER)
    for cell, taken in (item for _, group in groups for item in group.items()):
        samples = session.samples(cell, "later")
        save(taken, samples)
        facts = {f"later_{name}": v for name, v in rounds_of(taken).items()}
        artifact = session.artifact(cell)
        session.append(cell, LATER, OK, artifact=artifact, samples=samples, facts=facts)


def _add_pair(session: Session, group: Group, reference: Cell | None, measure: str) -> None:
    """Time one more pair of each cell of a group; one that fails leaves it, and the rest begin again."""
    while group:
        try:
            fresh = _fresh_pairs(session, group, reference)
        except WorkerError as error:
            # A reference that fails costs one row, as if each had a reference of its own.
            whose = (cell for cell in group if session.log(cell, "latency") == error.log)
            failed = next(whose, next(iter(group)))
            session.failed(failed, measure, error)
            del group[failed]
        else:
            for cell, pair in zip(group, fresh, strict=True):
                group[cell].append(pair)
            return


def _fresh_pairs(session: Session, group: Group, reference: Cell | None) -> list[Pair]:
    """Time a fresh process of each cell against one of the reference.

    In as many blocks as the pairs before it, so that they can be stacked.
    """
    before, profile = next(iter(group.values())), session.options.profile
    cpu = machine.cpu_of(len(before) % profile.pairs, session.options.threads)
    with ExitStack() as stack:
        with session.account.spend("starting workers"):
            cells = ([reference] if reference else []) + list(group)
            workers = [stack.enter_context(_timed(session, cell, cpu)) for cell in cells]
            for worker in workers:  # they load at the same time
                worker.ready()
                worker.pause()
        rival, candidates = (workers[0], workers[1:]) if reference else (None, workers)
        watched = session.other_work.watch(*(worker.pid for worker in workers))
        with session.account.spend("timing"), watched:
            wanted = profile.seconds
            rounds = before[0].rounds if before else rounds_that_last(wanted, candidates, rival)
            return time_pairs(candidates, rival, rounds, partial(session.gflops, cpu=cpu))


def _timed(session: Session, cell: Cell, cpu: int | None) -> Worker:
    return session.worker(
        cell,
        "latency",
        "benchmarks.measures.turns:Timed",
        wait=False,
        cpu=cpu,
        requests=session.requests(cell),
        expected=str(session.predictions(cell)),
    )


Group = dict["Cell", list[Pair]]
"""Cells that are timed with one reference, and the pairs of each so far: equally many."""


def summarize(pairs: list[Pair]) -> dict[str, Any]:
    """Make the metrics of a cell from its pairs."""
    from reports.statistics import percentile, speedup

    single = np.concatenate([pair.candidate["single"].ravel() for pair in pairs])
    batch = np.concatenate([pair.candidate["batch"].ravel() for pair in pairs])
    metrics: dict[str, Any] = {
        "latency_samples": int(single.size),
        "pairs": len(pairs),
        "latency_batch_p50_ms": 1e3 * float(np.median(batch)),
    }
    for rank in (50, 90, 95, 99):
        value = percentile(single, rank)
        metrics[f"latency_single_p{rank}_ms"] = None if value is None else 1e3 * value
    if all(pair.reference for pair in pairs):
        names: dict[Kind, str] = {"single": "speedup", "batch": "speedup_batch"}
        for kind, name in names.items():
            low_mean_high = speedup(
                [(pair.reference[kind], pair.candidate[kind]) for pair in pairs if pair.reference]
            )
            metrics[name], metrics[f"{name}_low"], metrics[f"{name}_high"] = low_mean_high
        reference = np.concatenate([p.reference["single"].ravel() for p in pairs if p.reference])
        metrics["reference_single_p50_ms"] = 1e3 * float(np.median(reference))
    return metrics


def rounds_of(pairs: list[Pair]) -> dict[str, list[float]]:
    """Return one figure a pair, for the comparison of nights; nothing without a reference.

    `log_speedups` are those of the speed-up. `log_reference_work` is the log of the reference's
    seconds x GFLOP/s of the fixed matrix product just before: constant on a quiet machine.
    """
    from reports.statistics import fastest_of_rounds, pair_log_ratio

    rounds: dict[str, list[float]] = {"log_speedups": [], "log_reference_work": []}
    for pair in pairs:
        if pair.reference is None:
            return {}
        reference, candidate = pair.reference["single"], pair.candidate["single"]
        work = np.median(np.log(fastest_of_rounds(reference) * pair.matmul_gflops), axis=1).mean()
        rounds["log_speedups"].append(round(pair_log_ratio(reference, candidate), 5))
        rounds["log_reference_work"].append(round(float(work), 5))
    return rounds


def throughput(requests: Requests, metrics: dict[str, Any]) -> float:
    """Texts a second in batches."""
    return len(requests.batch) / (metrics["latency_batch_p50_ms"] / 1e3)


def save(pairs: list[Pair], target: Path) -> None:
    """Write `candidate_single`, `reference_batch` …: float64 seconds [pairs, requests, blocks].

    `matmul_gflops` [pairs, rounds] is beside them: it tells a disturbed pair from a slow predictor.
    """
    kinds: tuple[Kind, ...] = ("single", "batch")
    arrays = {f"candidate_{kind}": np.stack([p.candidate[kind] for p in pairs]) for kind in kinds}
    arrays["matmul_gflops"] = np.stack([pair.matmul_gflops for pair in pairs])
    if all(pair.reference for pair in pairs):
        for kind in kinds:
            arrays[f"reference_{kind}"] = np.stack(
                [p.reference[kind] for p in pairs if p.reference]
            )
    write_arrays(target, arrays)


LATENCY = Measure("latency", METRICS, take)
