"""A table with one row a token, and texts as the means of their tokens' rows: no network at all."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

TABLE = "table.safetensors"


class Words(NamedTuple):
    """The known tokens of a batch's texts, one text after the other."""

    ids: np.ndarray  # int64 [tokens + 1]; the last stands for nothing
    starts: np.ndarray  # int64 [texts + 1]: where each text begins, and the end
    counts: np.ndarray  # int64 [texts]


def lay_end_to_end(ids: list[list[int]], unknown_id: int | None) -> Words:
    """Join the token ids of texts, without the token that says that a word is not known."""
    known = [[token for token in text if token != unknown_id] for text in ids]
    counts = np.array([len(text) for text in known], dtype=np.int64)
    starts = np.concatenate([[0], np.cumsum(counts)])
    flat = [token for text in known for token in text]
    return Words(np.array([*flat, 0], dtype=np.int64), starts, counts)


def mean(table: np.ndarray, words: Words) -> np.ndarray:
    """Average the rows of each text's tokens: [texts, dim]; zeros for a text without tokens."""
    sums = np.add.reduceat(table[words.ids], words.starts, axis=0)[:-1]
    counts = words.counts[:, None]
    return np.where(counts > 0, sums / np.maximum(counts, 1), 0).astype(table.dtype)


def save(folder: Path, table: np.ndarray, **others: np.ndarray) -> None:
    """Write a table as float16, [vocabulary, dim], and other tensors as they are."""
    from safetensors.numpy import save_file

    tensors = {"embeddings": table.astype(np.float16)} | others
    save_file(
        {name: np.ascontiguousarray(value) for name, value in tensors.items()}, folder / TABLE
    )


def load(folder: Path) -> dict[str, np.ndarray]:
    """Read the tensors, `embeddings` among them, as float32."""
    from safetensors.numpy import load_file

    return {name: value.astype(np.float32) for name, value in load_file(folder / TABLE).items()}
