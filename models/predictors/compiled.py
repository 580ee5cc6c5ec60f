"""PyTorch's compiler: generated code for any batch size and length, made before the first request.

Code is generated for the processor and the number of threads at hand and kept in the cache folder,
so that only the first load of an artifact on a machine waits for the C++ compiler.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from models.artifact import Artifact
from models.predictors import pytorch
from models.predictors.pytorch import PyTorchPredictor
from models.tokenization import Tokens
from tasks.assets import cache_folder

if TYPE_CHECKING:
    import torch

KEPT_IN = "TORCHINDUCTOR_CACHE_DIR"
WARM_UP = ((1, 24), (3, 40))
"""Batches and tokens that make the compiler see each kind of call: one text, and several.

A batch of one is code of its own. All four numbers differ, or it would take two for the same.
"""


@dataclass
class CompiledPredictor(PyTorchPredictor):
    """A compiled classifier of transformers."""

    compiled: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

    def logits(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return self.compiled(ids, mask)


def load(artifact: Artifact, device: str, threads: int) -> CompiledPredictor:
    """Load a PyTorch artifact and compile it, on `cpu` or `cuda`."""
    import torch
    from torch._inductor import config
    from torch._inductor.runtime.cache_dir_utils import default_cache_dir

    # PyTorch may have named its own folder, a temporary one, when it was imported.
    if os.environ.get(KEPT_IN) in (None, default_cache_dir()):
        os.environ[KEPT_IN] = str(cache_folder() / "compiled")
    config.compile_threads = 1  # a pool of processes would stay, beside what is measured
    eager = pytorch.load(artifact, device, threads)
    compiled = torch.compile(eager.logits, dynamic=True)
    predictor = CompiledPredictor(eager.network, eager.tokenizer, device, compiled)
    for shape in WARM_UP:
        some = np.full(shape, 1000, dtype=np.int64)
        predictor.forward(Tokens(some % eager.network.config.vocab_size, np.ones_like(some)))
    return predictor
