"""Faults to try a nightly gate with: does it turn red, and does it say why?

    FAULT=slow:1.10 pytest benchmarks/ --profile nightly --against reports/baselines --extension examples/faults.py

The faults are real: a predictor that keeps the processor busy, that holds memory, that answers
wrongly, that aborts; an export that writes more bytes; a test split that lost its second half.
All but the last two are in the format that `CANDIDATE` names, whatever recipe made it. `wrong` is
for a task of two classes: `movies`, or what `FAULT_TASK` names.
"""

import os
import time
from dataclasses import dataclass, fields, replace
from typing import ClassVar

import numpy as np

from compressors import STEPS
from compressors.onnx_int8 import OnnxInt8
from models.predictors import RUNTIMES, Predictor, onnx_runtime, predict_in_batches, pytorch
from models.process_memory import resident
from tasks import TASKS
from tasks.task import Task

CANDIDATE, REFERENCE = "onnx-int8", "pytorch"
FAULTS = ("slow", "heavy", "wrong", "crash", "fat", "slow-reference", "short-test")


def busy(seconds):
    """Keep a core busy for so long."""
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pass


@dataclass
class Slow:
    """Takes `factor` times as long as the predictor that it wraps."""

    inner: Predictor
    factor: float
    encoding: float = 0.0

    def encode(self, texts):
        started = time.perf_counter()
        batch = self.inner.encode(texts)
        self.encoding = time.perf_counter() - started
        return batch

    def forward(self, batch):
        started = time.perf_counter()
        logits = self.inner.forward(batch)
        busy((self.factor - 1) * (self.encoding + time.perf_counter() - started))
        return logits

    def predict(self, texts, batch_size=32):
        return self.inner.predict(texts, batch_size)


@dataclass
class Wrong:
    """Turns the answers to some texts round."""

    inner: Predictor
    texts: frozenset[str]
    asked: tuple[str, ...] = ()

    def encode(self, texts):
        self.asked = tuple(texts)
        return self.inner.encode(texts)

    def forward(self, batch):
        turned = np.array([text in self.texts for text in self.asked])
        logits = self.inner.forward(batch)
        return np.where(turned[:, None], -logits, logits)

    def predict(self, texts, batch_size=32):
        return predict_in_batches(self, texts, batch_size)


def load_slow(artifact, device, threads):
    return Slow(onnx_runtime.load(artifact, device, threads), AMOUNT)


def load_slow_reference(artifact, device, threads):
    return Slow(pytorch.load(artifact, device, threads), AMOUNT)


def load_heavy(artifact, device, threads):
    """Hold `AMOUNT` times the memory that loading and one call took."""
    before = resident().total
    predictor = onnx_runtime.load(artifact, device, threads)
    predictor.predict(["one text"] * 32)
    taken = resident().total - before
    predictor.ballast = np.ones(int((AMOUNT - 1) * taken), np.uint8)
    return predictor


def load_wrong(artifact, device, threads):
    """Lose `AMOUNT` points of accuracy."""
    inner = onnx_runtime.load(artifact, device, threads)
    answers = inner.predict([example.text for example in TEST]).argmax(axis=1)
    right = [e.text for e, answer in zip(TEST, answers, strict=True) if answer == e.label]
    return Wrong(inner, frozenset(right[: round(AMOUNT / 100 * len(TEST))]))


def load_crash(artifact, device, threads):
    os.abort()


@dataclass(frozen=True)
class FatOnnxInt8(OnnxInt8):
    """Writes a graph with `AMOUNT` times as many bytes."""

    version: ClassVar[int] = 10_000

    def quantize(self, source, workbench):
        import onnx

        super().quantize(source, workbench)
        path = workbench.folder / "model.onnx"
        more = " " * int((AMOUNT - 1) * path.stat().st_size)
        model = onnx.load(path)
        onnx.helper.set_model_props(model, {"left over": more})
        onnx.save(model, path)


@dataclass(frozen=True)
class ShortTest(Task):
    """Lost the second half of its test split, and does not say so."""

    def splits(self):
        whole = super().splits()
        return whole | {"test": whole["test"][: len(whole["test"]) // 2]}


FAULT, _, amount = os.environ.get("FAULT", "").partition(":")
AMOUNT = float(amount or "nan")
if FAULT not in FAULTS:
    raise ValueError(f"FAULT={FAULT!r}: one of {', '.join(FAULTS)}, and how much: slow:1.10")
if FAULT == "wrong":  # read before a cell's memory is measured: it is the fault's, not the cell's
    TEST = TASKS[os.environ.get("FAULT_TASK", "movies")].splits()["test"]
if FAULT == "fat":
    STEPS["onnx-int8"] = FatOnnxInt8
elif FAULT == "short-test":
    for name, task in list(TASKS.items()):
        given = {field.name: getattr(task, field.name) for field in fields(Task) if field.init}
        TASKS[name] = ShortTest(**given)
else:
    format = REFERENCE if FAULT == "slow-reference" else CANDIDATE
    RUNTIMES[format] = replace(
        RUNTIMES[format],
        name=f"{RUNTIMES[format].name}, {FAULT} {amount}",
        predictor=f"{__name__}:load_{FAULT.replace('-', '_')}",
    )
