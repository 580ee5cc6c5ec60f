"""Turns of the clock: processes that time themselves, woken one after the other.

A round of a candidate A and the reference B is A B B A, the idle one stopped; of a few candidates
that one reference serves it is A C D B B D C A. At each turn requests are asked before any is timed.
"""

from __future__ import annotations

import gc
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Literal

import numpy as np

from benchmarks import machine
from benchmarks.measures.requests import Requests
from benchmarks.workers import Worker
from models.artifact import read_manifest
from models.predictors import load_predictor
from models.zipped import SUFFIX

Kind = Literal["single", "batch"]
ROUNDS = (3, 10)
"""Blocks A B B A a pair, at least and at most: the median of two would not keep a burst out."""
WARM = 6
"""Texts asked at each turn before those that are timed; at a process's first turn all are.

With 6 the first calls after a turn of the other took as long as with all 12, within 2.5 % (ONNX
Runtime int8, PyTorch fp32, int8 and bf16; 20 turns each); with 3 up to 5 % longer, with none 12 %.
"""
TOLERANCE = {
    "pytorch": 1e-3,
    "pytorch-compiled": 1e-3,
    "onnx": 1e-3,
    "openvino": 1e-3,
    "linear": 1e-5,
    "pytorch-linear": 1e-3,
}
"""Allowed difference of a timed call's logits; 0.02 for formats of lower precision."""


def tolerance(format: str) -> float:
    """Return the allowed difference of a format's logits; zipping it changes nothing."""
    return TOLERANCE.get(format.removesuffix(SUFFIX), 2e-2)


class WrongLogits(RuntimeError):
    """A timed call computed something else than the quality run did."""


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
        self.tolerance = tolerance(artifact.format)
        self.warmed: set[Kind] = set()
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
        """Answer some requests, then time `count` blocks of all: seconds [count, requests].

        After the other's turn the caches are cold, as they are not under load; and what is done once
        for each length of text is done at the first turn.

        Raises:
            WrongLogits: what was fast is not what was right.
        """
        warm = self.requests[kind][: WARM if kind in self.warmed else None]
        self.warmed.add(kind)
        for texts in reversed(warm):
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


@contextmanager
def awake(worker: Worker) -> Iterator[Worker]:
    """Let a stopped worker run for one block."""
    worker.resume()
    try:
        yield worker
    finally:
        worker.pause()


def rounds_that_last(seconds: float, candidates: list[Worker], reference: Worker | None) -> int:
    """Return how many blocks A B B A of `single` take so long, for the fastest; all start stopped.

    Bursts of other work last longer than the calls of a fast pair: it is timed more often.
    """

    def once(worker: Worker) -> float:
        with awake(worker):
            return float(np.min(worker.call("blocks", kind="single", count=2), axis=0).sum())

    least = min(map(once, candidates)) + (once(reference) if reference else 0.0)
    return int(np.clip(np.ceil(seconds / (2 * least)), *ROUNDS))


def time_pairs(
    candidates: list[Worker],
    reference: Worker | None,
    rounds: int,
    yardstick: Callable[[], float] = lambda: float("nan"),
) -> list[Pair]:
    """Time blocks of `single`, `rounds` times, and once of `batch`; all workers start stopped.

    Of one candidate A and the reference B a round is A B B A, of two A C B B C A.
    """
    speeds: list[float] = []
    seconds: dict[Worker, dict[Kind, np.ndarray]] = defaultdict(dict)
    turns = [*candidates, reference, reference, *reversed(candidates)]
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
    return [Pair(seconds[worker], rival, np.array(speeds[:rounds])) for worker in candidates]
