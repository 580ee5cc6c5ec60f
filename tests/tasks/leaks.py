"""Finding what lies in two splits at once."""

from __future__ import annotations

from tasks.splits import Copies, words
from tasks.task import Splits


def leaks(splits: Splits) -> list[tuple[str, str, str]]:
    """Return (split, other split, text) for every text with a copy in another split."""
    texts = {name: [words(e.text) for e in examples] for name, examples in splits.items()}
    copies = Copies(text for split in texts.values() for text in split)
    where: dict[frozenset[str], str] = {}
    found = []
    for name, examples in splits.items():
        for example, text in zip(examples, texts[name], strict=True):
            other = copies.find(text)
            if other is not None and where[other] != name:
                found.append((name, where[other], example.text))
            copies.add(text)
            where[text] = name
    return found
