"""Run the nights that the study of the gate is about: healthy ones, disturbed ones, and real faults.

    python -m reports.studies.nights FOLDER --healthy 20 --pytest '--model minilm-bert --threads 1'

A night is `pytest benchmarks/ --profile nightly` with these options. One that is in the folder
already is not run again, so that they can be spread over hours: begin with `--healthy 10`, and go
on with more. Ends with the table of `reports.studies.gate`.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from reports import baselines
from reports.facts import facts_of
from reports.records import find_run, read_run
from reports.studies.gate import report

PROMOTED = 8
"""Healthy nights that make the baseline; the others are judged by it."""
FAULTS = (
    "slow:1.10",
    "slow:1.20",
    "heavy:1.05",
    "heavy:1.20",
    "fat:1.01",
    "wrong:1",
    "wrong:2",
    "wrong:3",
    "crash",
    "short-test",
    "slow-reference:1.20",
    "vanished",
)
"""Of examples/faults.py, and a cell that is not there."""
VANISHED = FAULTS[-1]
RECIPES = ("finetune", "finetune+int8", "finetune+onnx", "finetune+onnx-int8")
"""Cheap cells; the last one gets the faults, and vanishes."""


def _spin(parent: int) -> None:
    """Keep a core busy for as long as the parent lives: a killed study must not leave it behind."""
    while os.getppid() == parent:
        sum(range(1_000_000))


@contextmanager
def busy_core() -> Iterator[None]:
    """Keep one core busy with other work."""
    process = multiprocessing.get_context("spawn").Process(
        target=_spin, args=(os.getpid(),), daemon=True
    )
    process.start()
    try:
        yield
    finally:
        process.kill()
        process.join()


class Nights:
    """Nights in a folder: `FOLDER/NAME/` is one, `FOLDER/baselines/` what they are judged by."""

    def __init__(self, folder: Path, arguments: Sequence[str]) -> None:
        self.folder, self.arguments = folder, tuple(arguments)
        self.baselines = folder / "baselines"
        folder.mkdir(parents=True, exist_ok=True)

    def healthy(self, number: int) -> Path:
        """Run a healthy night; the first ones are promoted, the others judged."""
        promoted = number <= PROMOTED
        run = self._run(f"healthy-{number:02}", judged=not promoted)
        if promoted:  # twice is once: a baseline knows its nights by name
            baselines.promote(facts_of(read_run(run)), self.baselines)
        return run

    def busy(self, number: int) -> Path:
        """Run a healthy night beside other work."""
        with busy_core():
            return self._run(f"busy-{number:02}")

    def faulty(self, fault: str) -> Path:
        """Run a night with a fault; a vanished cell is a profile without its last recipe."""
        if fault == VANISHED:
            return self._run(f"fault-{fault}", RECIPES[:-1])
        return self._run(
            f"fault-{fault}", RECIPES, "--extension", "examples/faults.py", FAULT=fault
        )

    def _run(
        self,
        name: str,
        recipes: Sequence[str] = RECIPES,
        *more: str,
        judged: bool = True,
        **environment: str,
    ) -> Path:
        output = self.folder / name
        mark = output / "ended"
        if not mark.exists():
            command = [sys.executable, "-m", "pytest", "benchmarks/", "--profile", "nightly"]
            command += ["--recipe", ",".join(recipes), "--output", str(output)]
            command += [*self.arguments, *more]
            command += ["--against", str(self.baselines)] if judged else []
            with (self.folder / f"{name}.log").open("w") as log:
                started = time.monotonic()
                ended = subprocess.run(
                    command, stdout=log, stderr=log, env=os.environ | environment, check=False
                )
            seconds = time.monotonic() - started
            print(f"{name}: exit status {ended.returncode}, {seconds:.0f} s", flush=True)
            if ended.returncode not in (0, 1):
                raise SystemExit(f"{name} was no night: {self.folder / name}.log")
            mark.touch()
        return find_run("latest", output)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m reports.studies.nights", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--healthy", type=int, default=20, metavar="N")
    parser.add_argument("--busy", type=int, default=2, metavar="N", help="beside a busy core")
    parser.add_argument("--fault", action="append", help=f"of {', '.join(FAULTS)}; default all")
    parser.add_argument(
        "--pytest", default="", metavar="'OPTIONS'", help="what a night measures besides"
    )
    given = parser.parse_args(arguments)
    nights = Nights(given.folder.resolve(), shlex.split(given.pytest))
    healthy = [nights.healthy(number + 1) for number in range(given.healthy)]
    faults = {fault: nights.faulty(fault) for fault in given.fault or FAULTS}
    busy = [nights.busy(number + 1) for number in range(given.busy)]
    print(report(healthy, faults, busy))
    return 0


if __name__ == "__main__":
    sys.exit(main())
