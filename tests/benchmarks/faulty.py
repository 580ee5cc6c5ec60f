"""An extension that injects faults into real cells, so that the gate has something to catch.

`LEANBOARD_TEST_FAULTS` is JSON: for a format `slower` (a share of the time of each call, spent in a
busy loop), `ballast` (bytes held from loading on), `flipped` (the share of texts whose logits change
sides); and for the whole run `padding` (a share of bytes added to what `onnx-int8` writes) and
`test` (the examples that are left of the tiny task's test split).
"""

import json
import os
import time
import zlib
from dataclasses import dataclass, replace

import numpy as np

from compressors import STEPS
from compressors.onnx_int8 import OnnxInt8
from compressors.workbench import Workbench
from models.predictors import RUNTIMES, predict_in_batches
from tasks import TASKS

FAULTS = json.loads(os.environ.get("LEANBOARD_TEST_FAULTS", "{}"))
FORMATS = {name: fault for name, fault in FAULTS.items() if name in RUNTIMES}
ORIGINAL = {name: RUNTIMES[name].predictor for name in FORMATS}


class Faulty:
    """A predictor that is slower, larger or more often wrong than the one inside."""

    def __init__(self, inner, slower=0.0, ballast=0, flipped=0.0):
        self.inner, self.slower, self.flipped = inner, slower, flipped
        self.ballast = np.ones(ballast, np.uint8)

    def encode(self, texts):
        self.texts, self.started = texts, time.perf_counter()
        return self.inner.encode(texts)

    def forward(self, batch):
        logits = self.inner.forward(batch)
        end = self.started + (time.perf_counter() - self.started) * (1 + self.slower)
        while time.perf_counter() < end:
            pass
        wrong = [zlib.crc32(text.encode()) % 1000 < 1000 * self.flipped for text in self.texts]
        return np.where(np.array(wrong)[:, None], logits[:, ::-1], logits)

    def predict(self, texts, batch_size=32):
        return predict_in_batches(self, texts, batch_size)


def load(artifact, device, threads):
    """Load as the format's own runtime does, and spoil it."""
    from importlib import import_module

    module, function = ORIGINAL[artifact.format].split(":")
    inner = getattr(import_module(module), function)(artifact, device, threads)
    return Faulty(inner, **FORMATS[artifact.format])


for name in FORMATS:
    RUNTIMES[name] = replace(RUNTIMES[name], predictor=f"{__name__}:load")


class Padding(Workbench):
    """Adds a file that nobody needs to what it seals."""

    def seal(self, source, **facts):
        size = sum(file.stat().st_size for file in self.folder.iterdir())
        (self.folder / "padding.bin").write_bytes(bytes(int(size * FAULTS["padding"])))
        return super().seal(source, **facts)


@dataclass(frozen=True)
class Padded(OnnxInt8):
    """Writes more bytes than it must."""

    version = 99

    def apply(self, source, workbench):
        return super().apply(source, Padding(**vars(workbench)))


if "padding" in FAULTS:
    STEPS["onnx-int8"] = Padded

if "test" in FAULTS:
    whole = TASKS["tiny"]

    def read():
        splits = whole.splits()
        return splits | {"test": splits["test"][: FAULTS["test"]]}

    TASKS["tiny"] = replace(whole, read=read, sizes={})
