"""A user's own data as a task: columns, kind, labels and splits are found, and what was found is said."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Literal, NamedTuple

from tasks import labels as names
from tasks.glue import GLUE
from tasks.splits import shuffled
from tasks.tables import LARGEST_IN_MEMORY, ROW_BYTES, WHOLE, DataError, Table, table, tables
from tasks.task import PAIR, Example, Splits, Task, hash_of

Kind = Literal["classification", "regression"]

TEXT_NAMES = ("text", "sentence", "review", "content", "comment", "body", "document", "message")
LABEL_NAMES = ("label", "labels", "class", "category", "target", "sentiment", "stars", "rating")
"""Columns that are taken for the text and the label where exactly one is there."""
VALIDATION_NAMES = ("validation", "valid", "dev", "val")
RESERVED = ("train", "validation", "test", "unlabelled", "request_single", "request_batch")
TEST_SHARE, VALIDATION_SHARE = 0.2, 0.1
FEWEST_ROWS = 10
MOST_CLASSES = 30
"""Whole numbers of more different values than that are values, not classes."""
BALANCED = 0.75
"""Entropy of the classes / that of equal ones, below which macro-F1 is the headline: 80 : 20."""
SHORT_TOKENS, LONG_TOKENS = 128, 256
LONG_WORDS = 90
"""More than this share of the tokens that are cut at; with 1.4 tokens a word it is 128."""


@dataclass(frozen=True)
class OwnData:
    """What the options say of a user's data."""

    data: str
    text_columns: tuple[str, ...] = ()
    label_column: str | None = None
    test_data: str | None = None
    shifted: tuple[tuple[str, str], ...] = ()
    """Name and file of each shifted split."""
    kind: Kind | None = None
    metric: str | None = None
    """The headline, where the data come with one."""
    labels: tuple[str, ...] = ()
    """The classes in their order, where the data come with one."""
    max_tokens: int | None = None
    head: tuple[str, ...] | None = None
    """Label names of a fine-tuned head that the data are for."""


class Entry(NamedTuple):
    """A row, with where it stands."""

    text: str
    label: str | None
    where: str


@dataclass
class _Reading:
    """What has been found in the data so far, and what has to be said of it."""

    own: OwnData
    columns: tuple[tuple[str, ...], str] | None = None
    notes: list[str] = field(default_factory=list)
    bytes: int = 0
    """What the rows that were read take in memory, about."""

    def say(self, count: int, what: str, first: str) -> None:
        if count:
            self.notes.append(f"{count:,} {what} (first: {first})")


def declare(own: OwnData, taken: Collection[str] = ()) -> tuple[Task, list[str]]:
    """Read a user's data once and declare the task that they are.

    Args:
        taken: names that the task must not have.

    Returns:
        the task, and what was guessed, dropped and made, a sentence each.

    Raises:
        DataError: the data cannot be used; the message names file, row and column.
    """
    reading = _Reading(own := _as_benchmark(own))
    entries = _gather(reading)
    kind, labels = _labels(entries, reading)
    splits = _split(entries, kind, labels, reading)
    name = re.sub(r"[^a-z0-9]+", "-", Path(own.data).stem.lower()).strip("-") or "data"
    local = Path(own.data).expanduser().exists()
    test = [e.label for e in splits["test"]]
    balance = _balance(test) if kind == "classification" else 1.0
    by_kind = "pearson" if kind == "regression" else "accuracy"
    metric = own.metric or (by_kind if balance >= BALANCED else "macro_f1")
    if metric == "macro_f1":
        reading.notes.append(
            f"the classes are unequal (balance {balance:.2f}, below {BALANCED}): macro-F1 is the "
            "headline, accuracy and MCC stand beside it"
        )
    task = Task(
        name=name
        if name not in taken
        else next(n for i in count(2) if (n := f"{name}-{i}") not in taken),
        title=f"Your data: {Path(own.data).name}",
        kind=kind,
        metric=metric,
        read=partial(_read, own, kind, labels),
        source=Path(own.data).name if local else f"hub id {own.data}",
        licence="your own" if local else "see its page on the hub",
        max_tokens=own.max_tokens or _tokens(splits, reading),
        pairs=len(own.text_columns) == 2,
        labels=labels,
        shifted=tuple(name for name, _ in own.shifted),
        sizes={split: len(examples) for split, examples in splits.items()},
        data_sha256=hash_of(splits),
    )
    return task, reading.notes


def _as_benchmark(own: OwnData) -> OwnData:
    """Add what is known of GLUE's tasks; what the options say comes first."""
    name = own.data if own.data in GLUE else f"glue/{own.data}"
    if Path(own.data).exists() or name not in GLUE:
        return own
    known = GLUE[name]
    return replace(
        own,
        data=name,
        text_columns=own.text_columns or known.texts,
        label_column=own.label_column or "label",
        shifted=(*((other, name) for other, _ in known.shifted), *own.shifted),
        kind="classification" if known.labels else "regression",
        metric=known.metric,
        labels=known.labels,
    )


def to_json(task: Task) -> dict[str, Any]:
    """Return an own task as plain data, from which another process declares it again."""
    assert isinstance(task.read, partial)
    own = task.read.args[0]
    declared = {name: getattr(task, name) for name in DECLARED}
    return {"own": asdict(own), "declared": declared}


DECLARED = (
    *("name", "title", "kind", "metric", "source", "licence", "max_tokens"),
    *("pairs", "labels", "shifted", "sizes", "data_sha256"),
)


def from_json(data: dict[str, Any]) -> Task:
    """Declare an own task again, without reading its data."""
    given, declared = data["own"], data["declared"]
    own = OwnData(
        **given
        | {
            "text_columns": tuple(given["text_columns"]),
            "shifted": tuple((name, file) for name, file in given["shifted"]),
            "labels": tuple(given["labels"]),
            "head": None if given["head"] is None else tuple(given["head"]),
        }
    )
    declared |= {"labels": tuple(declared["labels"]), "shifted": tuple(declared["shifted"])}
    return Task(**declared, read=partial(_read, own, declared["kind"], declared["labels"]))


def _read(own: OwnData, kind: Kind, labels: tuple[str, ...]) -> Splits:
    reading = _Reading(own)
    return _split(_gather(reading), kind, labels, reading)


# ---- rows


def _gather(reading: _Reading) -> dict[str, list[Entry]]:
    """Read every split that the options name; cleaned, without empty texts."""
    own = reading.own
    found = {
        "validation" if name in VALIDATION_NAMES else name: source
        for name, source in tables(own.data).items()
    }
    if own.test_data:
        given = tables(own.test_data)
        if len(given) > 1 and "test" not in given:
            raise DataError(f"{own.test_data} has the splits {', '.join(given)}, and no 'test'")
        found["test"] = given.get("test") or next(iter(given.values()))
    known = {name: found[name] for name in (WHOLE, "train", "validation", "test") if name in found}
    if not known:
        raise DataError(f"{own.data} has the splits {', '.join(found)}; 'train' is needed")
    for name, file in own.shifted:
        if file == own.data and name in found:
            known[name] = found[name]
            continue
        if not re.fullmatch(r"[a-z0-9_-]+", name) or name in RESERVED:
            raise DataError(f"--shifted {name}={file}: choose another name (a-z, 0-9, - and _)")
        path = Path(file).expanduser()
        if not path.is_file():
            raise DataError(f"--shifted {name}={file}: no such file")
        known[name] = table(path)
    return {name: _entries(source, reading) for name, source in known.items()}


def _entries(source: Table, reading: _Reading) -> list[Entry]:
    columns, label_column = reading.columns = reading.columns or _columns(source, reading)
    if missing := [name for name in (*columns, label_column) if name not in source.columns]:
        raise DataError(
            f"{source.name}: no column '{missing[0]}'; columns: {', '.join(source.columns)}"
        )
    entries, empty = [], []
    for number, row in source.rows():
        if reading.bytes > LARGEST_IN_MEMORY:
            raise DataError(
                f"{source.name}: its first {number - 1:,} rows would take more than "
                f"{LARGEST_IN_MEMORY / 1e9:.1f} GB of memory; give a sample of its rows"
            )
        where = f"{source.name}, row {number}"
        texts = [_text(row.get(column), where, column) for column in columns]
        try:
            label = names.label_of(row.get(label_column))
        except TypeError as error:
            raise DataError(f"{where}, column '{label_column}': {error}") from None
        reading.bytes += ROW_BYTES + sum(map(len, texts))
        if not all(texts):
            empty.append(where)
        else:
            entries.append(Entry(PAIR.join(texts), label, where))
    reading.say(len(empty), "rows without a text are left out", empty[0] if empty else "")
    return entries


def _text(value: Any, where: str, column: str) -> str:
    """Return a cell as text, freed of what no tokenizer should get (NUL, halves of characters)."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if not isinstance(value, str):
        raise DataError(f"{where}, column '{column}': a text is needed, not {value!r:.40}")
    whole = value.encode("utf-8", errors="replace").decode("utf-8")
    return whole.replace("\x00", " ").replace(PAIR, " ").strip()


def _columns(source: Table, reading: _Reading) -> tuple[tuple[str, ...], str]:
    """Take the columns that the options name; guess where there is one candidate, and say so."""
    own, columns = reading.own, source.columns
    texts, label = own.text_columns, own.label_column
    if not texts:
        rest = [name for name in columns if name != label]
        others = () if label else LABEL_NAMES
        texts = (_guess(source, rest, TEXT_NAMES, others, "--text-column"),)
        reading.notes.append(f"'{texts[0]}' is taken for the text (--text-column)")
    if label is None:
        rest = [name for name in columns if name not in texts]
        label = _guess(source, rest, LABEL_NAMES, (), "--label-column")
        reading.notes.append(f"'{label}' is taken for the label (--label-column)")
    return texts, label


def _guess(
    source: Table, columns: Sequence[str], known: Sequence[str], others: Sequence[str], option: str
) -> str:
    named = [name for name in columns if name.strip().casefold() in known]
    left = named or [name for name in columns if name.strip().casefold() not in others]
    if len(left) == 1:
        return left[0]
    raise DataError(
        f"{source.name}: which column? Say {option}; columns: {', '.join(source.columns)}"
    )


# ---- labels


def _labels(entries: dict[str, list[Entry]], reading: _Reading) -> tuple[Kind, tuple[str, ...]]:
    """Infer classification or regression, and the names of the classes."""
    own = reading.own
    labelled = [entry for split in entries.values() for entry in split if entry.label is not None]
    found = {entry.label for entry in labelled if entry.label}
    if not found:
        raise DataError(f"{own.data}: no row has a label")
    continuous = names.is_continuous(found, MOST_CLASSES)
    if own.head is not None:
        continuous = len(own.head) == 1
    kind: Kind = own.kind or ("regression" if continuous else "classification")
    if kind == "regression":
        for entry in labelled:
            if names.number_of(entry.label or "") is None:
                raise DataError(f"{entry.where}: the label '{entry.label}' is no number")
        reading.notes.append(f"regression: {len(found):,} different values (--kind classification)")
        return kind, ()
    classes = names.in_order({names.plain(label) for label in found})
    if len(classes) < 2:
        raise DataError(f"{own.data}: every label is '{classes[0]}'; two classes are needed")
    if len(classes) > max(2, len(labelled) // 2):
        raise DataError(
            f"{own.data}: {len(classes):,} different labels in {len(labelled):,} rows "
            f"('{classes[0]}', '{classes[1]}' …) are no classes; say --label-column or --kind"
        )
    if own.head is not None:
        try:
            classes = names.names_of(classes, own.head)
        except names.LabelError as error:
            raise DataError(f"{own.data}: {error}") from None
    if set(own.labels) == set(classes):
        classes = own.labels
    shown = ", ".join(classes[:6]) + (" …" if len(classes) > 6 else "")
    reading.notes.append(f"classification: {len(classes):,} classes ({shown})")
    return kind, classes


def _balance(labels: Iterable[Any]) -> float:
    """Return the entropy of the classes that occur / the entropy of as many equal ones."""
    counts = Counter(labels)
    total = sum(counts.values())
    entropy = -sum(n / total * math.log(n / total) for n in counts.values())
    return entropy / math.log(len(counts)) if len(counts) > 1 else 0.0


# ---- splits


def _split(
    entries: dict[str, list[Entry]], kind: Kind, labels: tuple[str, ...], reading: _Reading
) -> Splits:
    """Put every row into one split: no text stands in two, what has no label is `unlabelled`."""
    index = _index(entries, kind, labels, reading.own)
    known = dict(entries)
    if WHOLE in known:
        known["train"] = known.pop(WHOLE)
    if "test" in known and not any(e.label is not None for e in known["test"]):
        reading.notes.append("the test split has no labels: the validation split is the test")
        known["test"] = known.pop("validation", [])
    kept, unlabelled = _without_repeats(known, reading)
    splits: Splits = {
        name: [Example(e.text, index(e.label)) for e in split] for name, split in kept.items()
    }
    made = [name for name in ("test", "validation") if name not in splits]
    if sum(len(splits.get(name, [])) for name in ("train", "test")) < FEWEST_ROWS:
        rows = len(splits.get("train", []))
        raise DataError(
            f"{reading.own.data}: {rows} rows with text and label; {FEWEST_ROWS} are the fewest "
            "that can be split"
        )
    for name in made:
        share = TEST_SHARE if name == "test" else VALIDATION_SHARE
        splits[name], splits["train"] = _drawn(splits.get("train", []), share, kind)
    if made:
        reading.notes.append(
            f"made by drawing{' of each class alike' if labels else ''}: "
            + ", ".join(f"{name} of {len(splits[name]):,}" for name in made)
            + f"; {len(splits['train']):,} rows stay for training"
        )
    _check_classes(splits, labels, reading)
    order = ("train", "validation", "test", *(name for name, _ in reading.own.shifted))
    examples = {name: shuffled(splits[name]) for name in order}
    return examples | {"unlabelled": shuffled(Example(e.text, None) for e in unlabelled)}


def _index(
    entries: dict[str, list[Entry]], kind: Kind, labels: tuple[str, ...], own: OwnData
) -> Callable[[str | None], int | float | None]:
    """Return what makes an example's label of a row's."""
    if kind == "regression":
        return lambda label: None if label is None else float(label)
    found = {e.label for split in entries.values() for e in split if e.label is not None}
    output = names.match([names.plain(label) for label in found], labels)
    return lambda label: None if label is None else output[names.plain(label)]


def _without_repeats(
    known: dict[str, list[Entry]], reading: _Reading
) -> tuple[dict[str, list[Entry]], list[Entry]]:
    """Leave each text once, evaluated splits first: a text in two splits would leak.

    What GLUE evaluates stays whole, repeats and all: its figures stand beside those of papers.
    """
    whole = ("test", *(name for name, _ in reading.own.shifted)) if reading.own.data in GLUE else ()
    seen: dict[str, tuple[str, Entry]] = {}
    kept: dict[str, list[Entry]] = {}
    unlabelled, again, torn = [], [], []
    leaked: dict[tuple[str, str], list[str]] = defaultdict(list)
    evaluated = ("test", *(name for name, _ in reading.own.shifted), "validation", "train")
    for name in (name for name in evaluated if name in known):
        kept[name] = []
        for entry in known[name]:
            identity = " ".join(entry.text.split()).casefold()
            if identity in seen and name not in whole:
                where, first = seen[identity]
                if where == name:
                    again.append(entry.where)
                    if first.label != entry.label:
                        torn.append(entry.where)
                else:
                    leaked[name, where].append(entry.where)
            elif entry.label is None:
                unlabelled.append(entry)
            else:
                kept[name].append(entry)
            seen.setdefault(identity, (name, entry))
    for (name, where), rows in leaked.items():
        reading.say(len(rows), f"texts of {name} stand in {where} too, and are left out", rows[0])
    reading.say(len(again), "texts stand twice; the first is kept", again[0] if again else "")
    reading.say(len(torn), "of them with another label", torn[0] if torn else "")
    blank = unlabelled[0].where if unlabelled else ""
    reading.say(len(unlabelled), "rows without a label are used as unlabelled text", blank)
    return kept, unlabelled


def _drawn(
    examples: list[Example], share: float, kind: Kind
) -> tuple[list[Example], list[Example]]:
    """Draw a share of each class by the texts' hashes: the same rows every time."""
    classes: dict[Any, list[Example]] = defaultdict(list)
    for example in shuffled(examples):
        classes[example.label if kind == "classification" else None].append(example)
    drawn: list[Example] = []
    left: list[Example] = []
    for members in classes.values():
        count = max(round(share * len(members)), int(share == TEST_SHARE and len(members) > 1))
        drawn += members[:count]
        left += members[count:]
    return drawn, left


def _check_classes(splits: Splits, labels: tuple[str, ...], reading: _Reading) -> None:
    """Tell of classes that cannot be learnt, or are not asked for."""
    if not splits["test"]:
        raise DataError(f"{reading.own.data}: no row is left for the test split")
    taught = {e.label for e in splits["train"]}
    if not taught and reading.own.head is None:
        raise DataError(
            f"{reading.own.data}: no row is left for training: all stand in other splits"
        )
    for name in ("test", *(name for name, _ in reading.own.shifted)):
        asked = Counter(e.label for e in splits[name])
        untaught = [i for i in range(len(labels)) if i in asked and i not in taught]
        if not untaught:
            continue
        rows = sum(asked[i] for i in untaught)
        shown = ", ".join(labels[i] for i in untaught[:3])
        if len(untaught) == len(asked) and name == "test" and reading.own.head is None:
            raise DataError(
                f"{reading.own.data}: no class of the test split ({shown} …) is in train "
                f"({', '.join(name for i, name in enumerate(labels) if i in taught)[:60]} …)"
            )
        reading.notes.append(
            f"{len(untaught)} classes of {name} are not in train ({shown}: {rows} rows): "
            "what is trained here cannot know them"
        )
    if len(splits["test"]) < 100:
        reading.notes.append(f"{len(splits['test'])} test rows are few: intervals will be wide")


def _tokens(splits: Splits, reading: _Reading) -> int:
    """Choose where texts are cut by the length of the longest twentieth."""
    lengths = sorted(len(e.text.split()) for split in splits.values() for e in split)
    longer = lengths[int(0.95 * (len(lengths) - 1))] > LONG_WORDS
    limit = LONG_TOKENS if longer else SHORT_TOKENS
    if lengths[-1] > limit:
        reading.notes.append(
            f"the longest text has {lengths[-1]:,} words; texts are cut at {limit} tokens "
            "(--max-tokens)"
        )
    return limit
