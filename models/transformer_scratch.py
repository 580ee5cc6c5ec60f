"""An untrained Transformer of MiniLM's shape: the "no transfer" control.

The difference between its rows and `minilm-bert`'s is what pretraining is worth at the same budget.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from models.assets import MINILM, write_tokenizer
from models.minilm_bert import SHAPE
from models.model import Model
from tasks.assets import fetch


def write(folder: Path) -> None:
    """Write config and tokenizer; without weights, fine-tuning starts from the seed."""
    source = fetch(MINILM)
    shutil.copyfile(source / "config.json", folder / "config.json")
    write_tokenizer(source, folder)


TRANSFORMER_SCRATCH = Model(
    name="transformer-scratch",
    title="Transformer encoder of MiniLM's shape, random weights: no pretraining",
    shape=SHAPE,
    revision="random-1",
    source="nothing: initialised from the seed; MiniLM's tokenizer",
    licence="Apache-2.0",
    write=write,
    assets=(MINILM,),
    pretrained=False,
)
