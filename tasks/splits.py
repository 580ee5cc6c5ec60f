"""Deterministic splits in which no text, and no near copy of one, stands twice."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence

from tasks.task import Example, Splits

NEAR = 0.8
"""Texts that share at least this part of their words (Jaccard) are copies."""
_WORD = re.compile(r"[^\W_]+")


def shuffled(examples: Iterable[Example]) -> list[Example]:
    """Order examples by a hash of their texts: the same everywhere, and like a random order."""
    return sorted(examples, key=lambda e: hashlib.sha256(e.text.encode("utf-8")).digest())


def words(text: str) -> frozenset[str]:
    """Return the words of a text without case and punctuation: what makes two texts copies."""
    return frozenset(_WORD.findall(text.casefold())) or frozenset([text.strip()])


class Copies:
    """Finds a text that shares at least `NEAR` of its words with one that was added before.

    Prefix filtering (Chaudhuri et al. 2006): with rare words first, two sets of Jaccard >= t share
    a word among the first |set| - ceil(t * |set|) + 1 of each, so few candidates are compared.
    """

    def __init__(self, vocabulary: Iterable[frozenset[str]]) -> None:
        self._frequency: dict[str, int] = defaultdict(int)
        for text in vocabulary:
            for word in text:
                self._frequency[word] += 1
        self._index: dict[str, list[frozenset[str]]] = defaultdict(list)

    def _prefix(self, text: frozenset[str]) -> Sequence[str]:
        rare_first = sorted(text, key=lambda word: (self._frequency[word], word))
        needed = -int(-NEAR * len(text) // 1)  # ceil
        return rare_first[: len(text) - needed + 1]

    def find(self, text: frozenset[str]) -> frozenset[str] | None:
        """Return an added text that `text` is a copy of."""
        for word in self._prefix(text):
            for other in self._index[word]:
                shared = len(text & other)
                if shared >= NEAR * (len(text) + len(other) - shared):
                    return other
        return None

    def add(self, text: frozenset[str]) -> None:
        for word in self._prefix(text):
            self._index[word].append(text)


def without_copies(splits: Splits, first: Sequence[str]) -> Splits:
    """Drop every text that is a copy of an earlier one; splits in `first` keep theirs.

    Evaluated splits come first, so that what is dropped is what would be learnt.
    """
    texts = {name: [words(e.text) for e in examples] for name, examples in splits.items()}
    copies = Copies(text for split in texts.values() for text in split)
    kept: Splits = {}
    for name in [*first, *(name for name in splits if name not in first)]:
        kept[name] = []
        for example, text in zip(splits[name], texts[name], strict=True):
            if copies.find(text) is None:
                copies.add(text)
                kept[name].append(example)
    return {name: kept[name] for name in splits}
