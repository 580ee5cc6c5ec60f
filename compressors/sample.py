"""A sample of the training text in padded batches: importance and activations are measured on it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from models.tokenization import pad

if TYPE_CHECKING:
    import torch

    from compressors.workbench import Workbench
    from models.artifact import Artifact

BATCH = 8
"""Each text counts by itself; 32 documents of 256 tokens took `mpnet-base` 7.8 GiB of gradients."""
FEWEST = 8
"""Texts that are needed at least: what one or two say is not what the others would."""


def batches(
    workbench: Workbench, source: Artifact, pad_id: int, examples: int
) -> Iterator[dict[str, torch.Tensor]]:
    """Draw training examples by the seed, and yield those of like lengths together.

    Yields:
        `input_ids` and `attention_mask` [batch, tokens] and `labels` [batch], on the device.

    Raises:
        ValueError: there are fewer than `FEWEST`.
    """
    import torch

    data = workbench.tokens(source, "train")
    refuse_few(len(data))
    drawn = np.random.default_rng(workbench.seed).permutation(len(data))[:examples]
    rows = data.select(drawn).sort("length")
    for start in range(0, len(rows), BATCH):
        batch = rows[start : start + BATCH]
        labels = np.asarray(batch["labels"], dtype=workbench.label_type)
        arrays = pad(batch["input_ids"], pad_id)._asdict() | {"labels": labels}
        yield {name: torch.from_numpy(a).to(workbench.device) for name, a in arrays.items()}
        workbench.progress(start / len(rows), "reading the training texts")


def calibration(
    workbench: Workbench, source: Artifact, pad_id: int, examples: int
) -> list[dict[str, np.ndarray]]:
    """Draw training examples by the seed, each a batch of one without padding: ranges are measured on it.

    Returns:
        `input_ids` and `attention_mask`, int64 [1, tokens].

    Raises:
        ValueError: there are fewer than `FEWEST`.
    """
    from models.tokenization import tokenize

    texts = workbench.texts("train")
    refuse_few(len(texts))
    drawn = np.random.default_rng(workbench.seed).permutation(len(texts))[:examples]
    chosen = tokenize(workbench.tokenizer(source), [texts[i] for i in drawn])
    return [pad([ids], pad_id)._asdict() for ids in chosen]


def refuse_few(texts: int) -> None:
    """Refuse to measure activations on fewer than `FEWEST` texts.

    Raises:
        ValueError: there are fewer.
    """
    if texts < FEWEST:
        raise ValueError(
            f"activations are measured on training texts: {texts} are too few, {FEWEST} are needed"
        )
