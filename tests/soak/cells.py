"""An extension for the soak: many cheap cells, each through the whole pipeline."""

import datetime
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from benchmarks.profiles import PROFILES, Profile
from compressors import STEPS
from compressors.step import NOTHING, Step, headline
from models import MODELS, linear_head
from models.model import Shape
from tasks import TASKS
from tests.tiny import narrow_bert, small_task

SIZES = {"train": 96, "validation": 32, "test": 64, "amazon": 32, "unlabelled": 32}
BLOCK = 1 << 16
"""Bytes of the file that `pieces` writes at a time."""

PROFILES["soak"] = Profile(
    tasks=("small",), models=("none",), recipes=("majority",), pairs=1, seconds=0.0, shifted_cap=16
)

TASKS["small"] = small_task("small", SIZES)
MODELS["small-bert"] = narrow_bert("small", Shape(layers=2, hidden=16, heads=2, ffn=32))


@dataclass(frozen=True)
class Pieces(Step):
    """A constant answer in an artifact of several files, written slowly enough to be cut short."""

    name = "pieces"
    family = "control"
    accepts = (NOTHING,)
    produces = "linear"

    count: float = headline(4, low=1, high=64)

    def apply(self, source, workbench):
        random = np.random.default_rng([workbench.seed, int(self.count)])
        intercept = random.standard_normal(workbench.outputs).astype(np.float32)
        linear_head.save(workbench.folder, np.zeros((workbench.outputs, 0), np.float32), intercept)
        for number in range(int(self.count)):
            with (workbench.folder / f"piece-{number}.bin").open("wb") as file:
                for _ in range(4):
                    file.write(random.bytes(BLOCK))
                    file.flush()
                    time.sleep(0.02)
        return workbench.seal(source, format=self.produces)


STEPS["pieces"] = Pieces


def jump(offset, real=time.time):
    """Have this process's wall clock be off by the seconds that a file says at each look."""
    time.time = lambda: real() + float(offset.read_text())
    time.time_ns = lambda: int(1e9 * time.time())

    class Jumping(datetime.datetime):
        @classmethod
        def now(cls, tz=None):
            return cls.fromtimestamp(time.time(), tz)

    # Only in our modules: native libraries have the real class's layout compiled in.
    for name in ("benchmarks.options", "benchmarks.session"):
        if module := sys.modules.get(name):
            module.datetime = SimpleNamespace(datetime=Jumping, UTC=datetime.UTC)


if clock := os.environ.get("LEANBOARD_SOAK_CLOCK"):
    jump(Path(clock))
