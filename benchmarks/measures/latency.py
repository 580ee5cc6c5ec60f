"""Latency, timed inside workers in turns with the reference's worker.

`single` is one text a call, text to logits; `batch` is 32. A pair is a fresh candidate process
against a reference process; they take turns in blocks A B B A, the idle one stopped, and at each
turn every request is asked once before it is timed. The speed-up's interval is taken over pairs:
what varies most is the process, not the call.
"""

from __future__ import annotations

import gc
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from benchmarks import machine
from benchmarks.measures.measure import Measure, Metrics, NotMeasured
from benchmarks.measures.requests import Requests
from benchmarks.workers import Worker, WorkerError
from models.artifact import Artifact, read_manifest
from models.predictors import load_predictor
from reports.facts import LATER
from reports.limits import SECOND
from reports.records import FAILED, OK, write_arrays

if TYPE_CHECKING:
    from benchmarks.matrix import Cell
    from benchmarks.session import Session

Kind = Literal["single", "batch"]
ROUNDS = (3, 10)
"""Blocks A B B A a pair, at least and at most: the median of two would not keep a burst out."""
CELLS_A_REFERENCE = 4
"""Cells that one reference process serves: what is odd about a process must not colour every row."""
TOLERANCE = {
    "pytorch": 1e-3,
    "pytorch-compiled": 1e-3,
    "onnx": 1e-3,
    "openvino": 1e-3,
    "linear": 1e-5,
    "pytorch-linear": 1e-3,
}
"""Allowed difference of a timed call's logits; 0.02 for formats of lower precision."""

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


class WrongLogits(RuntimeError):
    """A timed call computed something else than the quality run did."""


def take(session: Session, cell: Cell, artifact: Artifact) -> None:
    """Time fresh candidate processes against the reference's, in turns."""
    if session.record("accuracy", cell).status != OK:
        raise NotMeasured(FAILED, "not timed: without its predictions nothing says what is right")
    reference = cell.reference
    if reference and session.record("accuracy", reference).status != OK:
        reference = None  # its own row says why; this one has no speed-up
    profile = session.options.profile
    with session.alone():
        pairs: list[Pair] = []
        while len(pairs) < profile.pairs:
            pairs.append(_fresh_pair(session, cell, reference, pairs))
    samples = session.samples(cell, "latency")
    save(pairs, samples)
    metrics = summarize(pairs)
    metrics["throughput_per_s"] = throughput(session.requests(cell), metrics)
    session.append(
        cell,
        "latency",
        OK,
        artifact=artifact,
        metrics=metrics,
        samples=samples,
        facts=rounds_of(pairs),
    )


def look_again(session: Session, cells: list[Cell]) -> None:
    """Time new pairs of suspects, one of each in turn: what slowed one down may have passed."""
    pairs: dict[Cell, list[Pair]] = {cell: [] for cell in cells}
    with session.alone():
        for _ in range(SECOND):
            session.references.close()
            for cell in list(pairs):
                try:
                    pairs[cell].append(_fresh_pair(session, cell, cell.reference, pairs[cell]))
                except WorkerError as error:
                    session.append(cell, LATER, FAILED, reason=str(error))
                    del pairs[cell]
    for cell, taken in pairs.items():
        samples = session.samples(cell, "later")
        save(taken, samples)
        facts = {f"later_{name}": v for name, v in rounds_of(taken).items()}
        artifact = session.artifact(cell)
        session.append(cell, LATER, OK, artifact=artifact, samples=samples, facts=facts)


def _fresh_pair(session: Session, cell: Cell, reference: Cell | None, before: list[Pair]) -> Pair:
    """Time a pair of processes in as many blocks as those before it, so that they can be stacked."""
    index, profile = len(before), session.options.profile
    cpu = machine.cpu_of(index % profile.pairs, session.options.threads)
    with session.account.spend("starting workers"):
        rival = None
        if reference:
            start = partial(_timed, session, reference, cpu)
            rival = session.references.get(reference.id, index, start)
        candidate = _timed(session, cell, cpu)
    with candidate:
        candidate.pause()
        watched = session.other_work.watch(candidate.pid, *([rival.pid] if rival else []))
        with session.account.spend("timing"), watched:
            wanted = profile.seconds
            rounds = before[0].rounds if before else rounds_that_last(wanted, candidate, rival)
            return time_pair(candidate, rival, rounds, partial(session.gflops, cpu=cpu))


def _timed(session: Session, cell: Cell, cpu: int | None) -> Worker:
    return session.worker(
        cell,
        "latency",
        "benchmarks.measures.latency:Timed",
        cpu=cpu,
        requests=session.requests(cell),
        expected=str(session.predictions(cell)),
    )


class Timed:
    """A loaded predictor that times itself."""

    def __init__(
        self,
        folder: str,
        device: str,
        threads: int,
        requests: Requests,
        expected: str,
        cpu: int | None = None,
    ) -> None:
        machine.stay_on(cpu)  # before a library starts its threads
        gc.freeze()  # what the zygote imported: to look through it takes longer than to load
        artifact = read_manifest(Path(folder))
        self.predictor = load_predictor(artifact, device, threads)
        self.tolerance = TOLERANCE.get(artifact.format, 2e-2)
        self.requests: dict[Kind, list[list[str]]] = {
            "single": [[text] for text in requests.single],
            "batch": [requests.batch],
        }
        with np.load(expected) as kept:
            self.expected = {
                "single": list(kept["request_single"][:, None]),
                "batch": [kept["request_batch"]],
            }
        gc.collect()
        gc.freeze()

    def blocks(self, kind: Kind, count: int) -> list[list[float]]:
        """Answer every request once, then time `count` blocks of all: seconds [count, requests].

        After the other's turn the caches are cold, as they are not under load.

        Raises:
            WrongLogits: what was fast is not what was right.
        """
        for texts in reversed(self.requests[kind]):
            self._answer(texts)
        return [self._block(kind) for _ in range(count)]

    def _block(self, kind: Kind) -> list[float]:
        requests = self.requests[kind]
        gc.disable()
        seconds, answers = [], []
        for texts in requests:
            started = time.perf_counter_ns()
            logits = self._answer(texts)
            seconds.append((time.perf_counter_ns() - started) * 1e-9)
            answers.append(logits)
        gc.enable()
        self._check(kind, answers)
        return seconds

    def _answer(self, texts: list[str]) -> np.ndarray:
        return self.predictor.forward(self.predictor.encode(texts))

    def _check(self, kind: Kind, answers: list[np.ndarray]) -> None:
        for answer, expected in zip(answers, self.expected[kind], strict=True):
            off = float(np.abs(answer - expected).max())
            allowed = self.tolerance * max(1.0, float(np.abs(expected).max()))
            if not off <= allowed:
                raise WrongLogits(
                    f"the timed logits differ from the quality run's by {off:.2g} (allowed {allowed:.2g})"
                )


@dataclass(frozen=True)
class Pair:
    """Seconds of one fresh pair, [requests, blocks] for each kind; no reference: `model` none."""

    candidate: dict[Kind, np.ndarray]
    reference: dict[Kind, np.ndarray] | None
    matmul_gflops: np.ndarray
    """Speed of the fixed matrix product just before each of the reference's turns [rounds]."""

    @property
    def rounds(self) -> int:
        """Blocks A B B A of `single`."""
        return self.candidate["single"].shape[1] // 2


Start = Callable[[], Worker]


class References:
    """Reference processes, one a pair index, kept (stopped) for the few cells that share them."""

    def __init__(self) -> None:
        self._workers: dict[tuple[str, int], Worker] = {}
        self._served: Counter[tuple[str, int]] = Counter()

    def get(self, key: str, index: int, start: Start) -> Worker:
        """Return the running or newly started reference; it is stopped while it waits."""
        name = (key, index)
        for old in [k for k in self._workers if k[0] != key]:
            self._workers.pop(old).close()
        kept = self._workers.get(name)
        if kept and (kept.closed or self._served[name] >= CELLS_A_REFERENCE):
            self._workers.pop(name).close()
        if name not in self._workers:
            self._workers[name] = start()
            self._workers[name].pause()
            self._served[name] = 0
        self._served[name] += 1
        return self._workers[name]

    def close(self) -> None:
        for worker in self._workers.values():
            worker.close()
        self._workers.clear()


@contextmanager
def awake(worker: Worker) -> Iterator[Worker]:
    """Let a stopped worker run for one block."""
    worker.resume()
    try:
        yield worker
    finally:
        worker.pause()


def rounds_that_last(seconds: float, candidate: Worker, reference: Worker | None) -> int:
    """Return how many blocks A B B A of `single` take so long; both start stopped.

    Bursts of other work last longer than the calls of a fast pair: it is timed more often.
    """
    once = 0.0
    for worker in filter(None, (candidate, reference)):
        with awake(worker):
            once += np.min(worker.call("blocks", kind="single", count=2), axis=0).sum()
    return int(np.clip(np.ceil(seconds / (2 * once)), *ROUNDS))


def time_pair(
    candidate: Worker,
    reference: Worker | None,
    rounds: int,
    yardstick: Callable[[], float] = lambda: float("nan"),
) -> Pair:
    """Time blocks A B B A of `single`, `rounds` times, and once of `batch`; both start stopped."""
    speeds: list[float] = []
    seconds: dict[Worker, dict[Kind, np.ndarray]] = defaultdict(dict)
    turns = [candidate, reference, reference, candidate]
    order: dict[Kind, list[Worker | None]] = {"single": turns * rounds, "batch": turns}
    for kind, workers in order.items():
        blocks: dict[Worker, list[list[float]]] = defaultdict(list)
        for worker, turn in groupby(workers):
            if worker is not None:
                if worker is reference:
                    speeds.append(yardstick())
                with awake(worker):
                    blocks[worker] += worker.call("blocks", kind=kind, count=len(list(turn)))
        for worker, timed in blocks.items():
            seconds[worker][kind] = np.array(timed).T
    rival = seconds[reference] if reference else None
    return Pair(seconds[candidate], rival, np.array(speeds[:rounds]))


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
