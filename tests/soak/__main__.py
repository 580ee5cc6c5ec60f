"""A soak of the suite: real runs, a random fault in each, and an observer who believes no word of it.

`python -m tests.soak --cells 200 --seed 0` needs Linux, and root or user namespaces: its mounts are
its own and vanish with it.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import astuple, dataclass, field, fields
from functools import partial
from pathlib import Path

from tabulate import tabulate

from tasks.assets import cache_folder, fetch
from tasks.sentences import VADER
from tests.soak.faults import BESIDE, FAULTS, MOMENTS, Scene, Started, wait_for
from tests.soak.observer import (
    MARK,
    Sight,
    differing,
    failed_cells,
    left_alive,
    measured_twice,
)

ROOT = Path(__file__).parents[2]
RECIPES = ("majority", "tfidf-logistic", "pieces:4", "pieces:8")
WITH_MODEL = ("majority", "pieces:4", "finetune", "finetune+bf16")
CELLS_A_RUN = len(RECIPES)
RECORDS_A_CELL = 5
DISK = "256m"
RESUMES = 3
"""A run that is not whole after so many is not counted as resumed."""


@dataclass
class Tally:
    """What was seen of one kind of fault."""

    runs: int = 0
    faults: int = 0
    records_before: int = 0
    records_after: int = 0
    lost: int = 0
    twice: int = 0
    half: int = 0
    processes: int = 0
    temporary: int = 0
    others: int = 0
    hung: int = 0
    tracebacks: int = 0
    accepted: int = 0
    resumed: int = 0
    anew: int = 0


HEADERS = {
    "runs": "runs",
    "faults": "faults",
    "records_before": "records before",
    "records_after": "after",
    "lost": "lost",
    "twice": "measured twice",
    "half": "half artifacts",
    "processes": "processes left",
    "temporary": "temporary files left",
    "others": "other cells failed",
    "hung": "hung",
    "tracebacks": "tracebacks",
    "accepted": "second writers",
    "resumed": "runs made whole",
    "anew": "begun anew",
}


@dataclass
class Soak:
    """One run with its faults, on a disk of its own."""

    number: int
    kind: str
    draw: random.Random
    work: Path
    patience: float
    tally: Tally
    moments: Counter[str]
    said: list[str] = field(default_factory=list)
    starts: int = 0

    def __post_init__(self) -> None:
        self.mark = f"{os.getpid()}-{self.number}"
        self.disk = self.work / "disk"
        self.disk.mkdir()
        size = f"size={DISK}"
        subprocess.run(["mount", "-t", "tmpfs", "-o", size, "soak", self.disk], check=True)
        for name in ("cache", "output", "tmp"):
            (self.disk / name).mkdir()
        (self.disk / "cache" / "assets").symlink_to(cache_folder() / "assets")
        self.sight = Sight(self.disk)
        self.model = "small-bert" if self.number % 4 == 3 else "none"
        self.recipes = WITH_MODEL if self.model != "none" else RECIPES

    def begin(self, *options: str, output: str = "output") -> Started:
        """Start `pytest benchmarks/` in a session of its own."""
        self.starts += 1
        said = self.work / "said" / f"{self.number:03}-{self.starts}.txt"
        command = [sys.executable, "-m", "pytest", "benchmarks/", "-p", "no:cacheprovider"]
        command += ["--extension", str(ROOT / "tests" / "soak" / "cells.py"), "--profile", "soak"]
        command += ["--model", self.model, "--recipe", ",".join(self.recipes)]
        command += ["--seed", str(self.number), "--output", str(self.disk / output), *options]
        own = {MARK: self.mark, "LEANBOARD_CACHE": str(self.disk / "cache")}
        with said.open("wb") as file:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=os.environ | own | {"TMPDIR": str(self.disk / "tmp")},
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                # A shell starts what runs in its background deaf to the signal.
                preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
            )
        return Started(process, said)

    def wait(self, started: Started) -> int:
        """Wait for a run's end; one that hangs is told to say where, and ended."""
        for _ in range(int(self.patience)):  # seconds of ours: we may be stopped ourselves
            with suppress(subprocess.TimeoutExpired):
                return started.process.wait(1)
        self.find("hung", f"{started.said.name} hung")
        with suppress(ProcessLookupError):
            started.process.send_signal(signal.SIGABRT)
            started.process.send_signal(signal.SIGCONT)
        return started.process.wait()

    def find(self, name: str, what: str, count: int = 1) -> None:
        """Count what should not be."""
        if count:
            setattr(self.tally, name, getattr(self.tally, name) + count)
            self.said.append(f"{what} ({count})" if count > 1 else what)

    def go(self) -> None:
        others = self.be_struck("build" if self.kind == "resumed while it runs" else None)
        if self.kind != "corrupt store" and self.draw.random() < 1 / 3:
            others += self.be_struck(None)
        sights = [self.sight, *(Sight(self.disk, name) for name in dict.fromkeys(others))]
        for sight in sights:
            self.make_whole(sight)
        left = self.sight.temporary()
        self.find("temporary", f"left: {', '.join(left)}", len(left))
        halves = self.sight.half()
        self.find("half", f"half artifacts at the end: {halves}", len(halves))

    def be_struck(self, moment: str | None) -> list[str]:
        """Start or resume the run and strike once; return the output folders of runs beside it."""
        scene = Scene(self.sight, self.mark, self.draw, self.begin)
        with FAULTS[self.kind](scene) as strike:
            before = len(self.sight.lines())
            scene.main = self.begin(*self.resume(self.sight))
            if strike is None:
                self.tally.faults += 1
            else:
                moment = moment or self.draw.choice(MOMENTS)
                struck = wait_for(scene, moment)
                if struck:
                    strike(scene)
                    self.tally.faults += 1
                self.moments[moment if struck else "never came"] += 1
                self.said.append(moment if struck else f"{moment} never came")
            status = [self.wait(started) for started in (scene.main, *scene.others)]
            self.said += [f"status {' '.join(map(str, status))}", *scene.notes]
            left = left_alive(self.mark)
            self.find("processes", "processes left", left)
        self.find("accepted", "second writers were let in", scene.accepted)
        for started in (scene.main, *scene.others):
            if self.kind == "SIGINT" and moment == "starting":
                break  # Python itself was still starting
            if "INTERNALERROR" in started.text or "\nTraceback" in started.text:
                self.find("tracebacks", f"a traceback in {started.said.name}")
        if self.kind == "kill -9, worker":
            failed = failed_cells(self.sight.lines()[before:])
            self.find("others", "cells failed beside the one in hand", max(0, failed - 1))
        if self.kind == "corrupt store":
            self.check_refused(scene, before)
        else:
            half = self.sight.half()
            self.find("half", f"half artifacts in the store: {half}", len(half))
        return [BESIDE] * bool(scene.others)

    def check_refused(self, scene: Scene, before: int) -> None:
        """Nothing damaged was loaded; then do what the refusal of an artifact says: remove it."""
        assert scene.main
        assert scene.damaged
        self.said.append(f"a bit of {scene.damaged.name}")
        other = differing(self.sight, Sight(self.disk, BESIDE))
        self.find("half", "other predictions than before the damage", other)
        for folder in self.sight.half():
            self.find("half", "a damaged artifact was loaded", self.sight.loaded_half(before))
            words = str(folder) in scene.main.text
            self.said.append("refused in words" if words else "not asked for")
            shutil.rmtree(folder)

    def resume(self, sight: Sight) -> list[str]:
        there = (self.disk / sight.output / "latest" / "run.json").exists()
        return ["--resume"] if there else []

    def make_whole(self, sight: Sight) -> None:
        """Resume until every record is there, and compare with what was there before."""
        self.tally.runs += 1
        sight.lines()
        before = dict(sight.seen)
        self.tally.records_before += len(before)
        for _ in range(RESUMES):
            options = self.resume(sight)
            if not options:
                self.tally.anew += 1
            started = self.begin(*options, output=sight.output)
            if self.wait(started) == 0:
                break
        after = sight.lines()
        self.tally.records_after += len(after)
        lost = len(before.keys() - set(after))
        self.find("lost", "records lost", lost)
        self.find("twice", "measured twice", measured_twice(after))
        self.find("half", "records of half artifacts", sight.loaded_half(0))
        good = sum('"status": "ok"' in line for line in after)
        whole = good == RECORDS_A_CELL * CELLS_A_RUN and started.process.returncode == 0
        self.tally.resumed += whole
        if not whole:
            self.said.append(f"NOT WHOLE: {good} good records, {started.said.name}")
        self.find("processes", "processes left after the resumed run", left_alive(self.mark))

    def clean_up(self) -> None:
        subprocess.run(["umount", "-l", self.disk], check=True)
        self.disk.rmdir()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--cells", type=int, default=200, help=f"{CELLS_A_RUN} make a run")
    parser.add_argument("--seed", type=int, default=0, help="of the faults")
    parser.add_argument("--minutes", type=float, default=600.0, help="begin no run after so many")
    parser.add_argument("--kind", action="append", choices=FAULTS, help="only this one; repeatable")
    parser.add_argument("--patience", type=float, default=600.0, help="seconds until a run hangs")
    options = parser.parse_args()
    if os.environ.get(MARK) != "alone":
        alone = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
        os.environ[MARK] = "alone"
        os.execvp("unshare", [*alone, sys.executable, "-m", "tests.soak", *sys.argv[1:]])
    fetch(VADER)
    os.environ.pop("PYTEST_ADDOPTS", None)
    kinds = options.kind or list(FAULTS)
    draw = random.Random(options.seed)
    runs = options.cells // CELLS_A_RUN
    # In rounds, so that a soak that is cut short has met every kind.
    order = [kind for _ in range(runs) for kind in draw.sample(kinds, len(kinds))][:runs]
    tallies = {kind: Tally() for kind in kinds}
    moments: Counter[str] = Counter()
    work = Path(tempfile.mkdtemp(prefix="leanboard-soak-"))
    (work / "said").mkdir()
    print(f"{runs} runs of {CELLS_A_RUN} cells, seed {options.seed}; what they say: {work}/said")
    started = time.monotonic()
    with suppress(KeyboardInterrupt):
        for number, kind in enumerate(order):
            if time.monotonic() - started > 60 * options.minutes:
                break
            own = random.Random(f"{options.seed}/{number}")
            soak = Soak(number, kind, own, work, options.patience, tallies[kind], moments)
            try:
                soak.go()
            finally:
                soak.clean_up()
            print(f"{number:>3} {kind}: {'; '.join(soak.said)}", flush=True)
    print(f"\nseed {options.seed}, {(time.monotonic() - started) / 60:.0f} minutes")
    print(table(tallies))
    print("struck:", ", ".join(f"{count} at {name}" for name, count in sorted(moments.items())))
    return int(any(map(is_bad, tallies.values())))


def is_bad(tally: Tally) -> bool:
    wrong = (
        tally.lost,
        tally.twice,
        tally.half,
        tally.processes,
        tally.temporary,
        tally.hung,
        tally.others,
        tally.tracebacks,
        tally.accepted,
    )
    return any(wrong) or tally.resumed < tally.runs


def table(tallies: dict[str, Tally]) -> str:
    """Return a row a kind of fault, and one of all."""
    rows = {kind: astuple(tally) for kind, tally in tallies.items()}
    rows["all"] = tuple(map(sum, zip(*rows.values(), strict=True)))
    headers = ["fault", *(HEADERS[f.name] for f in fields(Tally))]
    return tabulate([[kind, *row] for kind, row in rows.items()], headers, "pipe")


if __name__ == "__main__":
    sys.exit(main())
