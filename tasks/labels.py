"""Label names: what in a user's data is a label, and which output of a fine-tuned head it is."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

_WHOLE = re.compile(r"^([-+]?\d+)\.0+$")
_UNNAMED = re.compile(r"LABEL_(\d+)")


class LabelError(ValueError):
    """Labels that a head does not have; the message names both sides."""


def label_of(value: Any) -> str | None:
    """Return a cell of the label column as text; None if nobody labelled it.

    Raises:
        TypeError: a list or an object.
    """
    if isinstance(value, list | dict | bytes):
        raise TypeError(f"a label is a name or a number, not {value!r:.40}")
    if isinstance(value, bool):
        return str(value).lower()
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    text = str(value).strip()
    return None if text.casefold() in ("", "nan") else text


def number_of(label: str) -> float | None:
    """Return the number that a label is, or None; infinity is none."""
    try:
        number = float(label)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def is_continuous(labels: Iterable[str], most_classes: int) -> bool:
    """Say whether labels are values, not classes: numbers with fractions, or very many of them."""
    numbers = [number_of(label) for label in set(labels)]
    if None in numbers:
        return False
    return len(numbers) > most_classes or any(n is not None and n % 1 for n in numbers)


def plain(label: str) -> str:
    """Write a whole number without the `.0` that a column with gaps gets."""
    return _WHOLE.sub(r"\1", label)


def in_order(labels: Iterable[str]) -> tuple[str, ...]:
    """Return distinct names, numbers by their size and others by the alphabet."""

    def key(label: str) -> tuple[bool, float, str, str]:
        number = number_of(label)
        return number is None, number or 0.0, label.casefold(), label

    return tuple(sorted(set(labels), key=key))


def match(labels: Sequence[str], head: Sequence[str]) -> dict[str, int]:
    """Return for each label the output of a head that means it.

    Names are compared exactly, then without regard to case; a head that nobody named (`LABEL_0`,
    `LABEL_1`) answers to the numbers 0, 1 …

    Raises:
        LabelError: a label that the head does not have.
    """
    exact = {name: i for i, name in enumerate(head)}
    folded = {name.casefold(): i for i, name in enumerate(head)}
    if len(folded) < len(exact):
        folded = {}  # names that differ by case alone
    hint = ""
    if _is_unnamed(head):
        exact |= {str(i): i for i in range(len(head))}
        hint = "; its outputs have no names: set `id2label` in its config.json"
    found = {label: exact.get(label, folded.get(label.casefold(), -1)) for label in labels}
    if missing := [label for label, output in found.items() if output < 0]:
        raise LabelError(
            f"the data's label '{missing[0]}' is no output of the model "
            f"({', '.join(head[:10])}{' …' if len(head) > 10 else ''}){hint}"
        )
    return found


def names_of(labels: Sequence[str], head: Sequence[str]) -> tuple[str, ...]:
    """Return every output's name as the data write it; the head's own where they do not have it."""
    found = match(labels, head)
    written = {output: label for label, output in found.items()}
    unnamed = _is_unnamed(head)
    return tuple(written.get(i, str(i) if unnamed else name) for i, name in enumerate(head))


def _is_unnamed(head: Sequence[str]) -> bool:
    return all(_UNNAMED.fullmatch(name) for name in head)
