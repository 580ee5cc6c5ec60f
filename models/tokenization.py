"""Texts to token ids, the same way for training and for every runtime."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tasks.task import PAIR

if TYPE_CHECKING:
    from tokenizers import Tokenizer


class Tokens(NamedTuple):
    """A padded batch."""

    input_ids: np.ndarray  # int64 [batch, tokens]
    attention_mask: np.ndarray  # int64 [batch, tokens]


def load_tokenizer(folder: Path, max_tokens: int) -> Tokenizer:
    """Load an artifact's tokenizer; it cuts at `max_tokens` and pads nothing."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_tokens)
    return tokenizer


def tokenize(tokenizer: Tokenizer, texts: list[str]) -> list[list[int]]:
    """Return the ids of each text, framed and cut; a text with `PAIR` in it is two sentences."""
    inputs = [tuple(text.split(PAIR, 1)) if PAIR in text else text for text in texts]
    return [encoding.ids for encoding in tokenizer.encode_batch_fast(inputs)]


def pad(ids: list[list[int]], pad_id: int) -> Tokens:
    """Pad to the longest text of the batch."""
    longest = max(map(len, ids))
    input_ids = np.full((len(ids), longest), pad_id, dtype=np.int64)
    mask = np.zeros((len(ids), longest), dtype=np.int64)
    for row, tokens in enumerate(ids):
        input_ids[row, : len(tokens)] = tokens
        mask[row, : len(tokens)] = 1
    return Tokens(input_ids, mask)
