"""The faults: what is done to a run from outside, and at which moments."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.soak.observer import Sight, processes

BESIDE = "beside"
"""The output folder of a second run."""
CLOCK = "LEANBOARD_SOAK_CLOCK"
"""Names the file that says by how many seconds a run's clock is off: `cells.py` reads it."""


@dataclass
class Started:
    """A `pytest benchmarks/` of its own, and the file that gets what it says."""

    process: subprocess.Popen[bytes]
    said: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def text(self) -> str:
        return self.said.read_text(errors="replace")

    @property
    def running(self) -> bool:
        return self.process.poll() is None


@dataclass
class Scene:
    """One start of a run: what a fault has at hand."""

    sight: Sight
    mark: str
    random: random.Random
    begin: Callable[..., Started]
    """`begin(*options, output=...)` starts a run."""
    main: Started | None = None
    others: list[Started] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    accepted: int = 0
    """Second writers of a run that was being written."""
    damaged: Path | None = None
    """What was corrupted in the store."""

    @property
    def run(self) -> Started:
        assert self.main
        return self.main


Strike = Callable[[Scene], None]


@contextmanager
def kill_parent(scene: Scene) -> Iterator[Strike | None]:
    yield lambda scene: scene.run.process.kill()


@contextmanager
def kill_worker(scene: Scene) -> Iterator[Strike | None]:
    """Kill any process of the run but the first: a worker, the zygote, multiprocessing's tracker."""

    def strike(scene: Scene) -> None:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            children = [p for p in processes(scene.mark) if p.pid != scene.run.pid]
            if children:
                scene.random.choice(children).kill()
                return

    yield strike


@contextmanager
def interrupt(scene: Scene) -> Iterator[Strike | None]:
    """Send SIGINT: to pytest alone as `kill` does, or to all of its group as a terminal does."""

    def strike(scene: Scene) -> None:
        send = scene.random.choice([os.kill, os.killpg])
        send(scene.run.pid, signal.SIGINT)

    yield strike


@contextmanager
def fill_disk(scene: Scene) -> Iterator[Strike | None]:
    """Leave a few KiB, or nothing, on the file system of cache, output and temporary files."""
    ballast = scene.sight.disk / "ballast"

    def strike(scene: Scene) -> None:
        left = 1024 * scene.random.choice([0, 4, 16, 64, 256])
        disk = os.statvfs(scene.sight.disk)
        with ballast.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, max(1, disk.f_bavail * disk.f_frsize - left))

    try:
        yield strike
    finally:
        ballast.unlink(missing_ok=True)


@contextmanager
def forbid_writing(scene: Scene) -> Iterator[Strike | None]:
    """Lay a read-only mount over the output folder: root, too, cannot write there."""
    output = scene.sight.disk / scene.sight.output
    mounted = []

    def strike(scene: Scene) -> None:
        subprocess.run(["mount", "--bind", output, output], check=True)
        mounted.append(output)
        subprocess.run(["mount", "-o", "remount,bind,ro", output], check=True)

    try:
        yield strike
    finally:
        for folder in mounted:
            subprocess.run(["umount", folder], check=True)


@contextmanager
def corrupt(scene: Scene) -> Iterator[Strike | None]:
    """After another run of the same cells, flip a bit of a random file that it left in the cache."""
    scene.begin("-k", "size or memory", output=BESIDE).process.wait()
    cache = scene.sight.disk / "cache"
    kept = [p for name in ("store", "predictions") for p in sorted((cache / name).rglob("*.*"))]
    file = scene.random.choice([p for p in kept if p.suffix != ".lock" and p.is_file()])
    data = bytearray(file.read_bytes())
    data[scene.random.randrange(len(data))] ^= 1 << scene.random.randrange(8)
    file.write_bytes(data)
    scene.damaged = file
    yield None


@contextmanager
def jump_clock(scene: Scene) -> Iterator[Strike | None]:
    """Move the clock of every process of the run, by an hour or by more than a year, either way."""
    offset = scene.sight.disk.parent / "clock"

    def strike(scene: Scene) -> None:
        days = scene.random.choice([-400, -1 / 24, 1 / 24, 400])
        new = offset.with_suffix(".new")
        new.write_text(f"{86400 * days}")
        os.replace(new, offset)

    offset.write_text("0")
    os.environ[CLOCK] = str(offset)
    try:
        yield strike
    finally:
        del os.environ[CLOCK]


@contextmanager
def run_beside(scene: Scene) -> Iterator[Strike | None]:
    """Start the same cells a second time on the same cache, and kill one of the two, or none."""

    def strike(scene: Scene) -> None:
        second = scene.begin(output=BESIDE)
        scene.others.append(second)
        time.sleep(scene.random.uniform(0, 15))
        if victim := scene.random.choice([scene.run, second, None]):
            victim.process.kill()

    yield strike


@contextmanager
def resume_twice(scene: Scene) -> Iterator[Strike | None]:
    """Resume a run that is still being written: it must be refused."""

    def strike(scene: Scene) -> None:
        second = scene.begin("--resume")
        status = second.process.wait()
        refused = status == 4 and "is being written by another process" in second.text
        if not refused and scene.run.process.poll() is None:
            scene.accepted += 1
        scene.notes.append("refused in words" if refused else f"resume: status {status}")

    yield strike


FAULTS = {
    "kill -9, parent": kill_parent,
    "kill -9, worker": kill_worker,
    "SIGINT": interrupt,
    "disk full": fill_disk,
    "read-only output": forbid_writing,
    "corrupt store": corrupt,
    "clock jumps": jump_clock,
    "second run beside": run_beside,
    "resumed while it runs": resume_twice,
}

AFTER = ("build", "memory", "accuracy", "size", "latency")
MOMENTS = ("starting", "opening", "building", "writing", *AFTER, "reporting")
"""`size` is followed by timing; `writing` is while a temporary file is there."""


def wait_for(scene: Scene, moment: str) -> bool:
    """Wait until a moment has come, and a little longer; False if the run ended first."""
    sight, draw = scene.sight, scene.random
    before = len(sight.lines())
    started = time.time()
    count = draw.randint(1, 4)
    seen: set[str] = set()

    def reached() -> bool:
        if moment == "starting":
            return True
        if moment == "opening":
            return sight.folder is not None
        if moment == "building":
            seen.update(path.name for path in sight.building())
            return len(seen) >= count
        if moment == "writing":
            seen.update(now := sight.being_written())
            return bool(now) and len(seen) >= count
        if moment == "reporting":
            board = sight.folder / "leaderboard.md" if sight.folder else None
            return board is not None and board.exists() and board.stat().st_mtime > started
        new = sight.lines()[before:]
        return sum(f'"measure": "{moment}"' in line for line in new) >= count

    longest = {"starting": 4.0, "writing": 0.0, "reporting": 0.2}.get(moment, 1.0)
    delay = draw.uniform(0, longest)
    while scene.run.running:
        if reached():
            time.sleep(delay)
            return scene.run.running
        time.sleep(0.005 if moment == "writing" else 0.1)  # who looks takes time from who runs
    return False
