"""Tables as users have them: CSV, TSV, JSON lines, Parquet, a folder saved by `datasets`, a hub id.

Rows are read one by one; every complaint names file, row and column.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from tasks import glue
from tasks.assets import cache_folder
from tasks.task import TaskError

LARGEST_BYTES = 1 << 30
"""No larger file is opened: its texts would fill the memory of an ordinary machine."""
LARGEST_IN_MEMORY = 4 << 30
"""Bytes that the rows of one data set may take, however small their files are."""
ROW_BYTES = 500
"""What a row takes beside its text."""
WHOLE = "all"
"""The split of a source that has no splits of its own."""
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_GLUE_NAMES = [name.removeprefix("glue/") for name in glue.GLUE]

Row = dict[str, Any]


class DataError(TaskError):
    """A user's data cannot be used; the message names file, row and column and says what to do."""


@dataclass(frozen=True)
class Table:
    """One file, or one split of a saved data set."""

    name: str
    columns: tuple[str, ...]
    rows: Callable[[], Iterator[tuple[int, Row]]]
    """Reads from the beginning: the row's number as a spreadsheet or an editor shows it, and its
    values by column."""


def tables(source: str) -> dict[str, Table]:
    """Open a file, a folder that `datasets` saved, or a data set of the hub, split by split.

    Raises:
        DataError: it is not there, too large, or not of a format that is known.
    """
    if source in glue.GLUE:
        return _of_glue(source)
    path = Path(source).expanduser()
    if path.is_dir():
        return _saved(path)
    if path.is_file():
        return {WHOLE: table(path)}
    owner, _, name = source.rpartition("/")
    if owner in ("", "glue") and (near := get_close_matches(name, _GLUE_NAMES, n=1)):
        raise DataError(f"{source}: no such file or folder; did you mean glue/{near[0]}?")
    if not _HUB_ID.fullmatch(source) or path.suffix in READERS:
        raise DataError(f"{source}: no such file or folder")
    return _saved(_downloaded(source))


def table(path: Path) -> Table:
    """Open one file by its ending.

    Raises:
        DataError: an ending that is not known, or a file that is too large or empty.
    """
    if path.suffix.lower() not in READERS:
        raise DataError(f"{path}: unknown ending; known: {', '.join(READERS)}")
    size = path.stat().st_size
    if size > LARGEST_BYTES:
        raise DataError(
            f"{path} has {size / 1e9:.1f} GB, more than the {LARGEST_BYTES / 1e9:.1f} GB that are "
            "read; give a sample of its rows"
        )
    if size == 0:
        raise DataError(f"{path} is empty")
    return READERS[path.suffix.lower()](path)


def _encoding(path: Path) -> str:
    """Return UTF-16 where the file's first bytes say so, else UTF-8 with or without its mark."""
    with path.open("rb") as file:
        start = file.read(2)
    return "utf-16" if start in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"


def _undecodable(path: Path) -> DataError:
    """Find the first line that is no UTF-8."""
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                return DataError(
                    f"{path}, line {number}, byte {error.start + 1}: not UTF-8; write the file as "
                    f"UTF-8 (`iconv -f latin1 -t utf-8`, if that is what it is)"
                )
    return DataError(f"{path} cannot be decoded")


def _separated(path: Path) -> Table:
    """CSV and TSV: quotes and line breaks within quotes as RFC 4180 has them."""
    encoding = _encoding(path)
    try:
        with path.open(encoding=encoding, newline="") as file:
            first = file.readline()
    except UnicodeError:
        raise _undecodable(path) from None
    separator = "\t" if path.suffix.lower() == ".tsv" else max(",;\t|", key=first.count)

    def records() -> Iterator[list[str]]:
        csv.field_size_limit(LARGEST_BYTES)
        number = 1
        try:
            with path.open(encoding=encoding, newline="") as file:
                for fields in csv.reader(file, delimiter=separator, strict=True):
                    yield fields
                    number += 1
        except csv.Error as error:
            raise DataError(f"{path}, row {number}: {error}; is a quote left open?") from None
        except UnicodeError:
            raise _undecodable(path) from None

    columns = next(records(), [])
    _check_columns(path, columns)

    def rows() -> Iterator[tuple[int, Row]]:
        for number, fields in enumerate(records(), start=1):
            if number == 1 or not fields:
                continue
            if len(fields) != len(columns):
                raise DataError(
                    f"{path}, row {number}: {len(fields)} fields, but the first row names "
                    f"{len(columns)} columns; a text with '{separator}' in it needs quotes"
                )
            yield number, dict(zip(columns, fields, strict=True))

    return Table(str(path), tuple(columns), rows)


def _check_columns(path: Path, columns: list[str]) -> None:
    if blank := [i for i, name in enumerate(columns, start=1) if not name.strip()]:
        raise DataError(f"{path}, row 1, column {blank[0]}: the first row must name every column")
    if twice := [name for name in columns if columns.count(name) > 1]:
        raise DataError(f"{path}, row 1: two columns are named '{twice[0]}'")


def _json_lines(path: Path) -> Table:
    encoding = _encoding(path)

    def rows() -> Iterator[tuple[int, Row]]:
        try:
            with path.open(encoding=encoding) as file:
                for number, line in enumerate(file, start=1):
                    if line.strip():
                        yield number, _json_object(path, number, line)
        except UnicodeDecodeError:
            raise _undecodable(path) from None

    first = next(rows(), None)
    if first is None:
        raise DataError(f"{path} is empty")
    return Table(str(path), tuple(first[1]), rows)


def _json_object(path: Path, number: int, line: str) -> Row:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}, row {number}: no JSON ({error}); one object a line") from None
    if not isinstance(row, dict):
        raise DataError(f"{path}, row {number}: a JSON object a line is needed, not {line[:30]!r}")
    return row


def _parquet(path: Path) -> Table:
    import pyarrow
    from pyarrow.parquet import ParquetFile

    try:
        columns = tuple(ParquetFile(path).schema_arrow.names)
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{path}: no Parquet file ({error})") from None

    def rows() -> Iterator[tuple[int, Row]]:
        batches = ParquetFile(path).iter_batches()
        found = (row for batch in batches for row in batch.to_pylist())
        yield from enumerate(_readable(str(path), found), start=1)

    return Table(str(path), columns, rows)


def _readable(name: str, found: Iterable[Row]) -> Iterator[Row]:
    """Pass rows on as long as Arrow can read them."""
    import pyarrow

    count = 0
    try:
        for row in found:
            yield row
            count += 1
    except (pyarrow.ArrowException, OSError, UnicodeError) as error:
        line = str(error).partition("\n")[0]
        raise DataError(f"{name}: damaged after row {count} ({line})") from None


READERS: dict[str, Callable[[Path], Table]] = {
    ".csv": _separated,
    ".tsv": _separated,
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".json": _json_lines,
    ".parquet": _parquet,
}
"""How each ending is read. Add yours with one line."""


def _saved(folder: Path, files: dict[str, str] | None = None) -> dict[str, Table]:
    """Open what `save_to_disk` wrote, or a folder of files that `load_dataset` understands."""
    from datasets import DatasetDict, load_dataset, load_from_disk

    written = any((folder / name).exists() for name in ("dataset_dict.json", "state.json"))
    try:
        if written:
            loaded = load_from_disk(str(folder))
        else:
            loaded = load_dataset(
                str(folder), data_files=files, cache_dir=str(cache_folder() / "datasets")
            )
    except Exception as error:  # datasets raises its own, pyarrow's and the system's
        line = str(error).partition("\n")[0]
        raise DataError(f"{folder}: `datasets` cannot read it ({line})") from None
    splits = loaded if isinstance(loaded, DatasetDict) else {WHOLE: loaded}
    return {str(name): _of_dataset(f"{folder} {name}", data) for name, data in splits.items()}


def _of_dataset(name: str, data: Any) -> Table:
    """A split of `datasets`; a class stands as its name, the class -1 as nothing."""
    named = {
        column: feature.names
        for column, feature in data.features.items()
        if type(feature).__name__ == "ClassLabel"
    }

    def rows() -> Iterator[tuple[int, Row]]:
        for number, row in enumerate(_readable(name, data), start=1):
            for column, names in named.items():
                index = row[column]
                row[column] = None if index is None or index < 0 else names[index]
            yield number, row

    return Table(name, tuple(data.column_names), rows)


def _of_glue(name: str) -> dict[str, Table]:
    """Open one of GLUE's tasks: `train`, `test`, and its shifted splits."""
    benchmark, folder = glue.GLUE[name], name.removeprefix("glue/")
    splits = (("train", "train"), ("test", benchmark.test), *benchmark.shifted)
    files = {ours: f"{theirs}-*.parquet" for ours, theirs in splits}
    return _saved(_downloaded(glue.REPOSITORY, f"{folder}/*.parquet") / folder, files)


def _downloaded(hub_id: str, files: str | None = None) -> Path:
    """Fetch a data set of the hub, or some of its files, to the hub's own cache.

    Raises:
        DataError: the hub, or the data set, cannot be had.
    """
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(hub_id, repo_type="dataset", allow_patterns=files))
    except Exception as error:  # httpx's, the hub's and the system's
        raise DataError(
            f"{hub_id}: no such file or folder, and the hub gives no data set of that name "
            f"({type(error).__name__})"
        ) from None
