"""An extension that the tests load: a runtime that really aborts its process, and steps that fail."""

import os
import time
from dataclasses import dataclass, replace

from compressors import STEPS
from compressors.step import PYTORCH, Step
from models.predictors import PYTORCH as RUNTIME
from models.predictors import RUNTIMES, pytorch

WARM_UP_CALLS = 3 + 12 + 1 + 1
"""Before the first timed block: a block of `single` and one of `batch`, and the calls dropped."""
WHEN = os.environ.get("LEANBOARD_TEST_CRASH")


@dataclass
class Crashing(pytorch.PyTorchPredictor):
    """Aborts on the 100th text of a split, or in the latency worker, which never calls `predict`."""

    texts: int = 0
    calls: int = 0
    predicted: bool = False

    def forward(self, batch):
        self.texts += len(batch.input_ids)
        self.calls += 1
        if WHEN == "predict" and self.texts > 100 and self.predicted:
            os.abort()
        if WHEN == "latency" and not self.predicted:
            os.abort()
        if WHEN == "block" and not self.predicted and self.calls > WARM_UP_CALLS:
            os.abort()
        return super().forward(batch)

    def predict(self, texts, batch_size=32):
        self.predicted = True
        return super().predict(texts, batch_size)


def load(artifact, device, threads):
    """Load as PyTorch's runtime does, or abort."""
    if WHEN == "load":
        os.abort()
    inner = pytorch.load(artifact, device, threads)
    return Crashing(inner.network, inner.tokenizer, inner.device)


if WHEN:
    RUNTIMES["pytorch-bf16"] = replace(RUNTIME, predictor=f"{__name__}:load")


@dataclass(frozen=True)
class Raising(Step):
    """Fails while it is applied."""

    name = "raising"
    family = "control"
    accepts = (PYTORCH,)
    produces = PYTORCH

    def apply(self, source, workbench):
        raise ValueError("this step never works")


@dataclass(frozen=True)
class Sleeping(Raising):
    """Takes longer than anybody waits."""

    name = "sleeping"

    def apply(self, source, workbench):
        time.sleep(600)


STEPS["raising"], STEPS["sleeping"] = Raising, Sleeping
