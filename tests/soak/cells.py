"""An extension for the soak: many cheap cells, each through the whole pipeline."""

import datetime
import os
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from benchmarks import workers
from benchmarks.profiles import PROFILES, Profile
from compressors import STEPS
from compressors.step import NOTHING, Step, headline
from models import MODELS, linear_head
from models.model import Model, Shape
from tasks import TASKS
from tasks.movies import MOVIES

SIZES = {"train": 96, "validation": 32, "test": 64, "amazon": 32, "unlabelled": 32}
BLOCK = 1 << 16
"""Bytes of the file that `pieces` writes at a time."""

# Each start of a soaked run would pay for runtimes that its cells have no use for.
workers.PRELOAD = (
    "benchmarks.zygote",
    "torch",
    "sklearn.feature_extraction.text",
    "models.predictors.linear",
    "benchmarks.measures.latency",
)
PROFILES["soak"] = Profile(
    tasks=("small",), models=("none",), recipes=("majority",), pairs=1, rounds=1, shifted_cap=16
)


def read():
    """Take the first sentences of each split of `movies`."""
    splits = MOVIES.splits()
    return {name: splits[name][:size] for name, size in SIZES.items()}


TASKS["small"] = replace(
    MOVIES, name="small", read=read, shifted=("amazon",), sizes=SIZES, data_sha256=None
)


def write(folder):
    """Write the config of a BERT of two narrow layers, and MiniLM's tokenizer."""
    from transformers import BertConfig

    from models.minilm_bert import write_tokenizer

    BertConfig(
        vocab_size=30522,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
    ).save_pretrained(folder)
    write_tokenizer(folder)


MODELS["small-bert"] = Model(
    name="small-bert",
    title="BERT of 2 layers x 16, random weights",
    shape=Shape(layers=2, hidden=16, heads=2, ffn=32),
    revision="small-1",
    source="nothing",
    licence="Apache-2.0",
    write=write,
    pretrained=False,
)


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
