"""Timing in turns measures what a stop-watch would: nothing is added, and nobody is disturbed.

The bounds are generous and a test may measure more, because these tests also run on busy machines;
`-s` prints the figures.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from benchmarks.extensions import module_name
from benchmarks.machine import cpu_of
from benchmarks.measures.memory import Subject
from benchmarks.measures.requests import Requests, requests_of
from benchmarks.measures.turns import ROUNDS, Timed, rounds_that_last, time_pairs
from benchmarks.workers import Worker
from compressors.building import build
from models.predictors import load_predictor
from reports.statistics import pair_log_ratio, speedup
from tasks import TASKS
from tests.conftest import TINY

THREADS = 2
REFERENCE = "finetune:0"  # trains in seconds, and predicts as `finetune` does
TIMED = "benchmarks.measures.turns:Timed"
BARE = f"{module_name(Path(__file__))}:Bare"


class Bare:
    """A plain loop with a stop-watch: transformers and tokenizers, none of our predictors."""

    def __init__(self, folder: str, requests: Requests) -> None:
        import torch
        from tokenizers import Tokenizer
        from transformers import AutoModelForSequenceClassification

        torch.set_num_threads(THREADS)
        self.network = AutoModelForSequenceClassification.from_pretrained(folder).eval()
        self.tokenizer = Tokenizer.from_file(f"{folder}/tokenizer.json")
        self.tokenizer.enable_truncation(128)
        self.requests = requests

    def blocks(self, kind: str, count: int) -> list[list[float]]:
        """Time every text `count` times, after each was asked and not counted."""
        import torch

        seconds = []
        for text in [*reversed(self.requests.single), *(count * self.requests.single)]:
            started = time.perf_counter()
            with torch.inference_mode():
                ids = torch.tensor([self.tokenizer.encode(text).ids])
                self.network(input_ids=ids, attention_mask=torch.ones_like(ids)).logits.numpy()
            seconds.append(time.perf_counter() - started)
        return np.reshape(seconds[len(self.requests.single) :], (count, -1)).tolist()


@pytest.fixture(scope="module")
def requests() -> Requests:
    return requests_of([e.text for e in TASKS["movies"].splits()["test"]])


class Bench:
    """Starts workers of MiniLM artifacts, as the latency measure does."""

    def __init__(self, requests: Requests, folder: Path, stack: ExitStack) -> None:
        self.requests, self.folder, self.stack = requests, folder, stack

    def artifact(self, recipe: str) -> str:
        return build(recipe, "minilm-bert", "tiny", 0, "cpu", THREADS, lambda *_: None)

    def start(self, target: str, **arguments: Any) -> Worker:
        extensions = [str(TINY), __file__]
        log = self.folder / "worker.log"
        worker = Worker(target, arguments, log=log, extensions=extensions)
        self.stack.enter_context(worker)
        worker.pause()
        return worker

    def timed(self, recipe: str, threads: int = THREADS, cpu: int | None = None) -> Worker:
        folder = self.artifact(recipe)
        expected = self.folder / f"{recipe.replace(':', '-')}.npz"
        if not expected.exists():
            subject = Subject(folder, "cpu", THREADS)
            subject.predictor = load_predictor(Path(folder), "cpu", THREADS)
            subject.predict({}, self.requests, str(expected))
        return self.start(
            TIMED,
            folder=folder,
            device="cpu",
            threads=threads,
            requests=self.requests,
            expected=str(expected),
            cpu=cpu,
        )


@pytest.fixture
def bench(requests: Requests, tmp_path: Path) -> Any:
    os.environ["OMP_NUM_THREADS"] = str(THREADS)
    with ExitStack() as stack:
        yield Bench(requests, tmp_path, stack)


def within(low: float, high: float, measure: Callable[[], float]) -> bool:
    """Say whether a ratio lies between the bounds, as the geometric mean of two to six measurements."""
    logs: list[float] = []
    while len(logs) < 6:
        logs.append(np.log(measure()))
        if len(logs) > 1 and low < np.exp(np.mean(logs)) < high:
            return True
    return False


def blocks(worker: Worker, count: int) -> list[list[float]]:
    worker.resume()
    try:
        return worker.call("blocks", kind="single", count=count)
    finally:
        worker.pause()


def test_a_bare_loop_takes_as_long(bench: Bench) -> None:
    ours = bench.timed(REFERENCE)
    bare = bench.start(BARE, folder=bench.artifact(REFERENCE), requests=bench.requests)

    def ratio() -> float:
        measured, plain = [], []
        for _ in range(6):
            measured += blocks(ours, 1)
            plain += blocks(bare, 1)
        found = np.exp(pair_log_ratio(np.array(measured).T, np.array(plain).T))
        print(f"\nreference / bare loop: {found:.3f}")
        return float(found)

    assert within(0.85, 1.15, ratio)


@pytest.mark.parametrize(
    "steps", [("int8",), ("onnx-int8",), ("int8", "onnx-int8", "bf16")], ids="+".join
)
def test_turns_do_not_disturb_the_reference(bench: Bench, steps: tuple[str, ...]) -> None:
    reference = bench.timed(REFERENCE)
    candidates = [bench.timed(f"{REFERENCE}+{step}") for step in steps]

    def ratio() -> float:
        alone = blocks(reference, 4)  # the candidates' processes are stopped
        pair = time_pairs(candidates, reference, rounds=4)[0]
        alone += blocks(reference, 4)
        assert pair.reference
        found = np.exp(pair_log_ratio(pair.reference["single"], np.array(alone).T))
        print(f"\nreference in turns with {' '.join(steps)} / alone: {found:.3f}")
        return float(found)

    assert within(0.8, 1.2, ratio)


def test_company_does_not_change_a_candidates_figure(bench: Bench) -> None:
    reference = bench.timed(REFERENCE)
    candidates = [bench.timed(f"{REFERENCE}+{step}") for step in ("int8", "bf16", "onnx-int8")]

    def figure(few: list[Worker]) -> float:
        pair = time_pairs(few, reference, rounds=4)[-1]
        assert pair.reference
        return pair_log_ratio(pair.reference["single"], pair.candidate["single"])

    def ratio() -> float:
        found = np.exp(figure(candidates) - figure(candidates[-1:]))
        print(f"\nspeed-up of onnx-int8 with two others / alone: {found:.3f}")
        return float(found)

    assert within(0.85, 1.18, ratio)


def test_the_reference_against_itself(bench: Bench) -> None:
    pairs: list[tuple[np.ndarray, np.ndarray]] = []
    while len(pairs) < 9:
        for _ in range(3):
            reference, candidate = bench.timed(REFERENCE), bench.timed(REFERENCE)
            (pair,) = time_pairs([candidate], reference, rounds=4)
            assert pair.reference
            pairs.append((pair.reference["single"], pair.candidate["single"]))
            reference.close()
            candidate.close()
        found = speedup(pairs)
        print(f"\nreference against itself: {found.value:.3f} [{found.low:.3f} {found.high:.3f}]")
        if found.low < 1.0 < found.high < 1.5 * found.low and 0.85 < found.value < 1.15:
            return
    pytest.fail("the reference is not as fast as itself")


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no processor can be chosen")
@pytest.mark.parametrize("step", ["", "+onnx-int8", "+openvino-int8"])
def test_a_pair_of_one_thread_stays_on_one_processor(bench: Bench, step: str) -> None:
    if step == "+openvino-int8":
        pytest.importorskip("nncf")
    allowed = sorted(os.sched_getaffinity(0))
    assert cpu_of(1, threads=1) == cpu_of(1 + len(allowed), threads=1) == allowed[1 % len(allowed)]
    assert cpu_of(0, threads=2) is None
    for cpu in (allowed[-1], None):
        worker = bench.timed(REFERENCE + step, threads=1 if cpu is not None else THREADS, cpu=cpu)
        blocks(worker, 1)
        threads = [thread.id for thread in psutil.Process(worker.pid).threads()]
        used = set().union(*(os.sched_getaffinity(thread) for thread in threads))
        assert used == (set(allowed) if cpu is None else {cpu})


class Paced:
    """Stands for a worker whose block of calls takes so long, the first one twice."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.awake = seconds, False

    def resume(self) -> None:
        self.awake = True

    def pause(self) -> None:
        self.awake = False

    def call(self, method: str, kind: str, count: int) -> list[list[float]]:
        assert self.awake
        calls = [self.seconds / 4] * 4
        return [[2 * call for call in calls], *([calls] * (count - 1))]


@pytest.mark.parametrize(
    ("seconds", "candidate", "reference", "rounds"),
    [
        (2.0, 0.05, 0.2, 4),  # A B B A: 0.5 s
        (1.0, 0.2, None, 3),
        (2.0, 0.001, 0.003, ROUNDS[1]),
        (0.5, 1.0, 1.0, ROUNDS[0]),
    ],
)
def test_what_is_fast_is_timed_more_often(
    seconds: float, candidate: float, reference: float | None, rounds: int
) -> None:
    other: Any = reference and Paced(reference)
    fast: Any = Paced(candidate)
    assert rounds_that_last(seconds, [fast], other) == rounds
    slower: Any = Paced(7 * candidate)
    assert rounds_that_last(seconds, [slower, fast], other) == rounds
    assert not fast.awake


def test_turns_are_a_b_b_a_and_the_machine_is_measured_before_each_of_the_references() -> None:
    turns: list[str] = []

    class Turn(Paced):
        def __init__(self, name: str, seconds: float) -> None:
            super().__init__(seconds)
            self.name = name

        def call(self, method: str, kind: str, count: int) -> list[list[float]]:
            turns.append(self.name * count)
            return [[self.seconds]] * count

    def yardstick() -> float:
        turns.append("y")
        return 100.0 + len(turns)

    candidate, reference = Turn("A", 0.1), Turn("B", 0.2)
    (pair,) = time_pairs([candidate], reference, 3, yardstick)  # type: ignore[arg-type, list-item]
    assert " ".join(turns) == "A y BB AA y BB AA y BB A A y BB A"
    assert pair.rounds == 3
    assert pair.reference
    assert (pair.candidate["single"].shape, pair.reference["batch"].shape) == ((1, 6), (1, 2))
    assert pair.matmul_gflops.tolist() == [102, 105, 108]
    (alone,) = time_pairs([candidate], None, 3, yardstick)  # type: ignore[list-item]
    assert (alone.reference, alone.matmul_gflops.size) == (None, 0)
    turns.clear()
    other = Turn("C", 0.3)
    found = time_pairs([candidate, other], reference, 2, yardstick)  # type: ignore[arg-type, list-item]
    assert " ".join(turns) == "A C y BB C AA C y BB C A A C y BB C A"
    assert found[0].reference is found[1].reference
    assert [pair.candidate["single"][0, 0] for pair in found] == [0.1, 0.3]


def test_what_is_timed_must_be_what_was_right(requests: Requests, tmp_path: Path) -> None:
    from benchmarks.measures.turns import WrongLogits

    folder = build("finetune", "tiny-bert", "tiny", 0, "cpu", THREADS, lambda *_: None)
    subject = Subject(folder, "cpu", THREADS)
    subject.predictor = load_predictor(Path(folder), "cpu", THREADS)
    subject.predict({}, requests, str(tmp_path / "right.npz"))
    with np.load(tmp_path / "right.npz") as kept:
        wrong = {name: logits + 0.1 for name, logits in kept.items()}
    np.savez(tmp_path / "wrong.npz", **wrong)  # type: ignore[arg-type]
    right = Timed(folder, "cpu", THREADS, requests, str(tmp_path / "right.npz"))
    off = Timed(folder, "cpu", THREADS, requests, str(tmp_path / "wrong.npz"))
    for kind in right.requests:
        assert np.shape(right.blocks(kind, 1)) == (1, len(right.requests[kind]))
        with pytest.raises(WrongLogits, match=r"differ from the quality run's by 0\.1"):
            off.blocks(kind, 1)
