"""An extension that the tests load: artifacts that really abort their process, and steps that fail."""

import os
import time
from dataclasses import dataclass, replace
from typing import ClassVar

from compressors import STEPS
from compressors.finetune import Finetune
from compressors.step import PYTORCH, Step, headline_name
from models.predictors import PYTORCH as RUNTIME
from models.predictors import RUNTIMES, pytorch
from tasks import TASKS
from tests.tiny import SIZES, small_task

WARM_UP_CALLS = 12
"""Before the first timed block: each request of `single` is asked once."""
CRASHES = {
    "load": "while it is loaded",
    "predict": "on the 500th text of the test split",
    "latency": "in the latency worker, which never calls `predict`",
    "block": "in a timed block",
}


@dataclass(frozen=True)
class Crashing(Step):
    """Makes an artifact that aborts the process that runs it."""

    name: ClassVar[str] = "crashing"
    family: ClassVar[str] = "control"
    accepts: ClassVar[tuple[str, ...]] = (PYTORCH,)
    produces: ClassVar[str | None] = "crashing"

    when: str = headline_name("load", CRASHES)

    def apply(self, source, workbench):
        workbench.keep(source, "config.json", "model.safetensors", "tokenizer.json")
        return workbench.seal(source, format=self.produces)


@dataclass
class CrashingPredictor(pytorch.PyTorchPredictor):
    """Predicts as PyTorch does until it aborts."""

    when: str
    texts: int = 0
    calls: int = 0
    predicted: bool = False

    def forward(self, batch):
        self.texts += len(batch.input_ids)
        self.calls += 1
        if self.when == "predict" and self.texts >= 500 and self.predicted:
            os.abort()
        if self.when == "latency" and not self.predicted:
            os.abort()
        if self.when == "block" and not self.predicted and self.calls > WARM_UP_CALLS:
            os.abort()
        return super().forward(batch)

    def predict(self, texts, batch_size=32):
        self.predicted = True
        return super().predict(texts, batch_size)


def load(artifact, device, threads):
    """Load as PyTorch's runtime does, or abort."""
    when = artifact.manifest["recipe"].rpartition(":")[2]
    if when == "load":
        os.abort()
    inner = pytorch.load(artifact, device, threads)
    return CrashingPredictor(inner.network, inner.tokenizer, inner.device, when)


TASKS["tiny"] = small_task("tiny", SIZES | {"test": 600})
RUNTIMES["crashing"] = replace(RUNTIME, predictor=f"{__name__}:load")


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


@dataclass(frozen=True)
class Diverging(Finetune):
    """Learns in such steps that its weights overflow."""

    name: ClassVar[str] = "diverging"
    learning_rate: float = 1e30


STEPS |= {step.name: step for step in (Crashing, Raising, Sleeping, Diverging)}
