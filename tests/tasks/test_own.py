"""A user's own data: what is read, guessed, split and said, and what is refused by file, row and column."""

from __future__ import annotations

import contextlib
import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks import labels
from tasks.own import OwnData, declare, from_json, to_json
from tasks.tables import LARGEST_BYTES, DataError, tables
from tasks.task import PAIR, Task
from tests.tasks.leaks import leaks

Rows = list[tuple[Any, ...]]
Write = Callable[..., str]

WORDS = ("good", "bad")
ROWS: Rows = [(f"text number {i} is {WORDS[i % 2]}", WORDS[i % 2]) for i in range(60)]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a CSV file with a header, and return its path."""

    def go(rows: Rows, header: tuple[str, ...] = ("text", "label"), name: str = "d.csv") -> str:
        path = tmp_path / name
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, delimiter="\t" if name.endswith("tsv") else ",")
            writer.writerows([header, *rows])
        return str(path)

    return go


def declared(data: str, **options: Any) -> tuple[Task, str]:
    task, notes = declare(OwnData(data, **options))
    return task, "\n".join(notes)


def refusal(data: str, **options: Any) -> str:
    with pytest.raises(DataError) as caught:
        declare(OwnData(data, **options))
    return str(caught.value)


def test_a_csv_becomes_a_task_with_splits_that_share_no_text(write: Write) -> None:
    task, said = declared(write(ROWS, ("review", "stars")))
    assert (task.kind, task.metric, task.labels) == ("classification", "accuracy", ("bad", "good"))
    assert task.sizes == {"train": 44, "validation": 4, "test": 12, "unlabelled": 0}
    assert not leaks({name: part for name, part in task.splits().items() if name != "unlabelled"})
    assert "'review' is taken for the text" in said
    assert "'stars' is taken for the label" in said
    assert "made by drawing of each class alike: test of 12, validation of 4" in said
    tested = [example.label for example in task.splits()["test"]]
    assert tested.count(0) == tested.count(1) == 6


def test_another_process_reads_the_same_task(write: Write) -> None:
    own = OwnData(write(ROWS))
    task, _ = declare(own)
    again = from_json(json.loads(json.dumps(to_json(task))))
    assert again.splits() == task.splits()
    assert again.labels == task.labels


def test_every_format_gives_the_same_task(write: Write, tmp_path: Path) -> None:
    from datasets import ClassLabel, Dataset, DatasetDict

    plain, _ = declared(write(ROWS))
    columns = {"text": [text for text, _ in ROWS], "label": [label for _, label in ROWS]}
    data = Dataset.from_dict(columns)
    data.to_json(tmp_path / "d.jsonl")
    data.to_parquet(tmp_path / "d.parquet")
    data.save_to_disk(tmp_path / "one")
    named = data.cast_column("label", ClassLabel(names=["bad", "good"]))
    DatasetDict({"train": named}).save_to_disk(tmp_path / "named")
    paths = [
        write(ROWS, name="d.tsv"),
        *(str(tmp_path / n) for n in ("d.jsonl", "d.parquet", "one", "named")),
    ]
    for path in paths:
        task, _ = declared(path)
        assert task.data_sha256 == plain.data_sha256, path


def test_a_folder_of_files_has_the_splits_of_their_names(write: Write, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    write(ROWS[:40], name="data/train.csv")
    write(ROWS[40:], name="data/test.csv")
    task, said = declared(str(tmp_path / "data"))
    assert task.sizes["test"] == 20
    assert "made by drawing of each class alike: validation of 4; 36 rows stay" in said
    (tmp_path / "empty").mkdir()
    assert "`datasets` cannot read it" in refusal(str(tmp_path / "empty"))


def test_given_splits_are_kept_and_leaks_are_named(write: Write) -> None:
    test = write(ROWS[:20], name="t.csv")
    other = write([("a text from elsewhere", "good"), ("another one", "bad")], name="o.csv")
    task, said = declared(write(ROWS[10:]), test_data=test, shifted=(("news", other),))
    assert task.sizes["test"] == 20
    assert task.sizes["news"] == 2
    assert task.shifted == ("news",)
    assert "10 texts of train stand in test too, and are left out" in said
    assert "d.csv, row 2" in said


def test_pairs_are_two_columns(write: Write) -> None:
    rows = [(f"premise {i}", f"hypothesis {i}", i % 2) for i in range(40)]
    path = write(rows, ("a", "b", "label"))
    task, _ = declared(path, text_columns=("a", "b"))
    assert all(example.text.count(PAIR) == 1 for example in task.splits()["test"])
    assert "which column? Say --text-column" in refusal(path)


@pytest.mark.parametrize(
    ("values", "kind", "names"),
    [
        (["1", "2", "3"], "classification", ("1", "2", "3")),
        (["1.0", "2.0"], "classification", ("1", "2")),
        (["10", "9"], "classification", ("9", "10")),
        (["0.5", "1.5", "2"], "regression", ()),
        ([str(i) for i in range(40)], "regression", ()),
        (["true", "FALSE"], "classification", ("FALSE", "true")),
    ],
)
def test_the_kind_is_inferred(
    write: Write, values: list[str], kind: str, names: tuple[str, ...]
) -> None:
    path = write([(f"text {i}", values[i % len(values)]) for i in range(80)])
    task, said = declared(path)
    assert (task.kind, task.labels) == (kind, names)
    assert kind in said
    if kind == "classification" and values[0] != "true":
        assert declared(path, kind="regression")[0].metric == "pearson"


def test_unequal_classes_are_scored_by_macro_f1(write: Write) -> None:
    rows = [(f"text {i}", "rare" if i % 10 == 0 else "usual") for i in range(200)]
    task, said = declared(write(rows))
    assert task.metric == "macro_f1"
    assert "balance 0.47, below 0.75" in said


# ---- data that hurts


def test_empty_texts_and_missing_labels_are_told_of(write: Write) -> None:
    rows = [*ROWS, ("", "good"), ("  ", "bad"), ("nobody knows", ""), ("nor this", "NaN")]
    task, said = declared(write(rows))
    assert "2 rows without a text are left out (first:" in said
    assert "d.csv, row 62)" in said
    assert "2 rows without a label are used as unlabelled text" in said
    assert task.sizes["unlabelled"] == 2


def test_a_very_long_text_is_cut_and_told_of(write: Write) -> None:
    task, said = declared(write([*ROWS, ("word " * 10_000, "good")]))
    assert "the longest text has 10,000 words; texts are cut at 128 tokens" in said
    assert task.max_tokens == 128


def test_repeated_rows_stand_once(write: Write) -> None:
    task, said = declared(write([*ROWS, ROWS[0], (ROWS[1][0].upper(), "good")]))
    assert "2 texts stand twice; the first is kept" in said
    assert "1 of them with another label" in said
    assert sum(task.sizes.values()) == 60


def test_a_class_that_train_lacks_is_told_of(write: Write) -> None:
    test = write([("quite new", "odd"), *ROWS[:5]], name="t.csv")
    task, said = declared(write(ROWS[5:]), test_data=test)
    assert "1 classes of test are not in train (odd: 1 rows)" in said
    assert task.labels == ("bad", "good", "odd")


def test_a_thousand_classes(write: Write) -> None:
    task, _ = declared(write([(f"text {i}", f"class {i % 1000}") for i in range(5000)]))
    assert len(task.labels) == 1000
    assert task.sizes["test"] == 1000


def test_strange_letters_stay(write: Write) -> None:
    texts = ["😀🎉 héllo", "שלום עולם", 'say "no"', "two\nlines", "a, b; c", "=cmd|'/c calc'!A1"]
    rows = [(f"{text} {i}", WORDS[i % 2]) for i in range(10) for text in texts]
    task, _ = declared(write(rows))
    seen = {example.text for split in task.splits().values() for example in split}
    assert seen == {text for text, _ in rows}


def test_half_a_character_and_nul_are_replaced(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    rows = [{"text": f"{t}\ud800\x00 x", "label": label} for t, label in ROWS]
    path.write_text("\n".join(json.dumps(row) for row in rows))
    task, _ = declared(str(path))
    assert all(e.text.endswith("?  x") for e in task.splits()["test"])


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_is_no_text(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "d.csv"
    path.write_text("text;label\n" + "".join(f"{t};{label}\n" for t, label in ROWS), encoding)
    assert declared(str(path))[0].sizes["test"] == 12


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"text,label\n", "no row has a label"),
        (b"text,label\nok,1\ncaf\xe9,2\n", "line 3, byte 4: not UTF-8"),
        (b"text,label\na,1\nb,1,2\n", "row 3: 3 fields, but the first row names 2 columns"),
        (b'text,label\na,1\n"b,1\nc,2\n', "row 3: unexpected end of data; is a quote left open?"),
        (b"text,label,label\na,1,1\n", "row 1: two columns are named 'label'"),
        (b"text,,label\na,1,1\n", "row 1, column 2: the first row must name every column"),
        (b"text,label\n" + b"".join(b"t%d,x\n" % i for i in range(20)), "every label is 'x'"),
        (b"text,label\na,x\nb,y\nc,x\n", "3 rows with text and label; 10 are the fewest"),
        (
            b"text,label\n" + b"".join(b"t%d,x%d\n" % (i, i) for i in range(20)),
            "20 different labels in 20 rows ('x0', 'x1' …) are no classes",
        ),
    ],
)
def test_what_cannot_be_used_is_refused_in_words(
    tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "d.csv"
    path.write_bytes(content)
    said = refusal(str(path))
    assert message in said
    assert "d.csv" in said


def test_wrong_cells_are_named_by_row_and_column(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    path.write_text('{"text": "a", "label": 1}\n{"text": 5, "label": 1}\n')
    assert "d.jsonl, row 2, column 'text': a text is needed, not 5" in refusal(str(path))
    path.write_text('{"text": "a", "label": [1]}\n')
    assert "row 1, column 'label': a label is a name or a number" in refusal(str(path))
    path.write_text('{"text": "a", "label": 1}\n[1]\n')
    assert "row 2: a JSON object a line is needed" in refusal(str(path))
    path.write_text('{"text": "a", "label": 1}\n{"text"')
    assert "row 2: no JSON" in refusal(str(path))


def test_a_label_that_is_no_number_is_named(write: Write) -> None:
    path = write([*[(f"text {i}", i / 7) for i in range(30)], ("odd", "inf")])
    assert "row 32: the label 'inf' is no number" in refusal(path, kind="regression")


def test_two_gigabytes_are_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    with path.open("wb") as file:
        file.truncate(2 * LARGEST_BYTES)
    assert "has 2.1 GB, more than the 1.1 GB that are read" in refusal(str(path))


def test_rows_that_would_fill_the_memory_are_refused_whatever_holds_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A packed file, or a folder, may be small and its rows large."""
    from datasets import Dataset

    data = Dataset.from_list([{"text": f"{i} " + "x" * 5000, "label": i % 2} for i in range(100)])
    data.to_parquet(tmp_path / "d.parquet")
    data.save_to_disk(str(tmp_path / "saved"))
    monkeypatch.setattr("tasks.own.LARGEST_IN_MEMORY", 100_000)
    for name in ("d.parquet", "saved"):
        assert "its first 19 rows would take more than 0.0 GB" in refusal(str(tmp_path / name))


def test_a_damaged_parquet_file_is_named_with_the_row(tmp_path: Path) -> None:
    import pyarrow
    from pyarrow.parquet import write_table

    path = tmp_path / "d.parquet"
    texts = [f"text {i}" for i in range(60)]
    write_table(
        pyarrow.table({"text": texts, "label": [i % 2 for i in range(60)]}),
        path,
        compression="gzip",
    )
    content = bytearray(path.read_bytes())
    content[40:120] = bytes(80)  # the footer, which is read first, stays whole
    path.write_bytes(content)
    assert "d.parquet: damaged after row" in refusal(str(path))


def test_a_column_is_not_taken_for_another_that_its_name_stands_in(write: Write) -> None:
    rows = [(text, label) for text, label in ROWS]
    _, said = declared(write(rows, ("a", "label")), label_column="label")
    assert "'a' is taken for the text" in said
    three = [(str(i), text, label) for i, (text, label) in enumerate(ROWS)]
    path = write(three, ("id", "utterance", "valid_id"))
    assert "which column? Say --text-column" in refusal(path, label_column="valid_id")


def test_names_that_are_not_there_are_told_of(write: Write, tmp_path: Path) -> None:
    path = write(ROWS)
    assert "no column 'stars'; columns: text, label" in refusal(path, label_column="stars")
    assert "no such file" in refusal(str(tmp_path / "none.csv"))
    assert "unknown ending; known: .csv" in refusal(write(ROWS, name="d.xlsx"))
    assert "choose another name" in refusal(path, shifted=(("test", path),))


def test_a_hub_that_does_not_answer_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    said = refusal("nobody/nothing")
    assert "the hub gives no data set of that name" in said
    assert "\n" not in said


# ---- label names and a head's outputs


def test_labels_are_matched_by_name() -> None:
    assert labels.match(["pos", "neg"], ["NEG", "POS"]) == {"pos": 1, "neg": 0}
    assert labels.match(["1", "0"], ["LABEL_0", "LABEL_1"]) == {"1": 1, "0": 0}
    assert labels.names_of(["b"], ["a", "B", "c"]) == ("a", "b", "c")
    assert labels.names_of(["1"], ["LABEL_0", "LABEL_1"]) == ("0", "1")
    with pytest.raises(labels.LabelError, match=r"'good' is no output of the model \(NEG, POS\)"):
        labels.match(["good"], ["NEG", "POS"])
    with pytest.raises(labels.LabelError, match="set `id2label`"):
        labels.match(["good"], ["LABEL_0", "LABEL_1"])


# ---- whatever the file holds


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(content=st.binary(max_size=300), ending=st.sampled_from([".csv", ".tsv", ".jsonl"]))
def test_any_bytes_are_read_or_refused_in_words(
    tmp_path: Path, content: bytes, ending: str
) -> None:
    path = tmp_path / f"d{ending}"
    path.write_bytes(content)
    with contextlib.suppress(DataError):
        declare(OwnData(str(path)))


CELL = st.text(st.characters(codec="utf-8", exclude_characters="\r\x00"), min_size=1, max_size=20)


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(rows=st.lists(st.tuples(CELL, CELL), min_size=1, max_size=8))
def test_what_csv_writes_is_what_is_read(write: Write, rows: Rows) -> None:
    path = write(rows)
    read = [tuple(row.values()) for _, row in tables(path)["all"].rows()]
    assert read == rows
