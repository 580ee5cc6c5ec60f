"""A vocabulary of the training text alone: what the unlabelled text adds is the difference to `trim-vocab`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from compressors.trim_vocab import TrimVocab


@dataclass(frozen=True)
class TrimVocabTrain(TrimVocab):
    """`trim-vocab` that counts the training text and no other (arXiv 2010.05609)."""

    name: ClassVar[str] = "trim-vocab-train"

    unlabelled: bool = False
