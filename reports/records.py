"""Records: what one measure found in one cell, one JSON object a line, appended at once."""

from __future__ import annotations

import errno
import glob
import json
import math
import os
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil

SCHEMA = 1
CELL = ("task", "model", "recipe", "device")
RECORDS = "records.jsonl"
RUN = "run.json"
OK, UNSUPPORTED, SKIPPED, FAILED, TIMEOUT = "ok", "unsupported", "skipped", "failed", "timeout"
CELL_ID = re.compile(r"([^/]+/){4}s-?\d+")
NUMBERS = (
    "quality",
    "size_bytes",
    "memory_inference_peak_bytes",
    "latency_single_p50_ms",
    "speedup",
)
"""Metrics that nights are compared by."""
PAIRS = ("log_speedups", "log_reference_work", "later_log_speedups", "later_log_reference_work")
"""Facts of a latency: one log a pair of processes."""
LARGEST_LOG = 100.0
ANSWERS = ("bits", 0, "")
"""The form of the fact `test_answers`, how many, and what they are."""


class RecordError(ValueError):
    """A run's files are damaged or too new; the message names file and line."""


class CutLine(RecordError):
    """A line that is no JSON: a crash has cut it short."""


@dataclass(frozen=True)
class Metric:
    """A figure with its unit and direction."""

    value: float | int | str | None
    unit: str
    lower_is_better: bool | None


@dataclass(frozen=True)
class Record:
    """What one measure found in one cell."""

    run: str
    cell: dict[str, Any]
    measure: str
    """build, accuracy, size, memory or latency."""
    status: str
    reason: str | None = None
    artifact_sha256: str | None = None
    metrics: dict[str, Metric] = field(default_factory=dict)
    samples: str | None = None
    """File with the raw samples, relative to the run's folder."""
    facts: dict[str, Any] = field(default_factory=dict)
    """What is not a figure: runtime, families, lineage …"""
    schema: int = SCHEMA

    @property
    def cell_id(self) -> str:
        return cell_id(self.cell)

    def to_json(self) -> str:
        """Return one line; what is not a finite number becomes null."""
        return json.dumps(_finite(asdict(self)), ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_json(cls, line: str) -> Record:
        """Read one line.

        Raises:
            RecordError: it is no record, or of a newer schema.
        """
        try:
            data = json.loads(line)
            if data["schema"] > SCHEMA:
                raise RecordError(
                    f"schema {data['schema']} is newer than {SCHEMA}: upgrade Leanboard"
                )
            metrics = {name: Metric(**metric) for name, metric in data.pop("metrics").items()}
            record = cls(**data, metrics=metrics)
            if wrong := _wrong(record):
                raise RecordError(f"no record: {wrong}")
            return record
        except json.JSONDecodeError as error:
            raise CutLine(str(error)) from None
        except (KeyError, TypeError, AttributeError, RecursionError) as error:
            raise RecordError(f"no record ({type(error).__name__}: {error})") from None


def read_cell_id(name: str) -> dict[str, Any]:
    """Return the parts of a cell's id."""
    task, model, recipe, device, seed = name.split("/")
    names = {"task": task, "model": model, "recipe": recipe, "device": device}
    return names | {"seed": int(seed.removeprefix("s"))}


def _is_number(value: Any) -> bool:
    """Say whether it is a finite number, or nothing."""
    if value is None:
        return True
    return type(value) in (int, float) and abs(value) <= sys.float_info.max


def _is_pairs(value: Any) -> bool:
    return isinstance(value, list) and all(
        type(log) in (int, float) and abs(log) <= LARGEST_LOG for log in value
    )


def _is_text(value: Any) -> bool:
    return value is None or isinstance(value, str)


def _wrong(record: Record) -> str | None:
    """Say what in a record nobody could make a row of: a stranger may have written it."""
    cell, facts = record.cell, record.facts
    steps = facts.get("lineage") or []
    good = {
        "cell": cell.keys() == {*CELL, "seed"}
        and all(isinstance(cell[name], str) and "/" not in cell[name] for name in CELL)
        and type(cell["seed"]) is int,
        "run": isinstance(record.run, str),
        "measure": isinstance(record.measure, str),
        "status": record.status in (OK, UNSUPPORTED, SKIPPED, FAILED, TIMEOUT),
        "reason": _is_text(record.reason),
        "artifact_sha256": _is_text(record.artifact_sha256),
        "samples": _is_text(record.samples),
        "metrics": all(
            _is_number(m.value) or (_is_text(m.value) and name not in NUMBERS)
            for name, m in record.metrics.items()
        ),
        "facts": all(map(_is_text, (facts.get("runtime"), facts.get("runtime_control"))))
        and _is_number(facts.get("threads"))
        and isinstance(steps, list)
        and all(_is_number(s.get("seconds")) and _is_number(s.get("peak_bytes")) for s in steps)
        and all(isinstance(name, str) for name in facts.get("families") or [])
        and all(_is_pairs(facts.get(name, [])) for name in PAIRS)
        and [type(part) for part in facts.get("test_answers") or ANSWERS] == [*map(type, ANSWERS)],
    }
    return next((name for name, is_good in good.items() if not is_good), None)


def cell_id(cell: dict[str, Any]) -> str:
    """Return `task/model/recipe/device/s0`."""
    return "{task}/{model}/{recipe}/{device}/s{seed}".format(**cell)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def append(folder: Path, record: Record) -> None:
    """Append one record in one write, and wait until it is on the disk."""
    descriptor = os.open(folder / RECORDS, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        size = os.fstat(descriptor).st_size
        torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
        # A line that a kill has cut short must not swallow this one.
        line = (b"\n" if torn else b"") + record.to_json().encode() + b"\n"
        if os.write(descriptor, line) < len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder / RECORDS))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read(folder: Path) -> tuple[list[Record], list[str]]:
    """Read a run's records; what a crash has cut is left out, and named in the second list.

    Raises:
        RecordError: a newer schema, or JSON that is no record.
    """
    path = folder / RECORDS
    if not path.exists():
        return [], []
    records: list[Record] = []
    damage = [] if path.stat().st_size else [f"{path} is empty"]
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                records.append(Record.from_json(line))
            except CutLine:
                damage.append(f"{path}, line {number} was cut and is left out")
            except RecordError as error:
                raise RecordError(f"{path}, line {number}: {error}") from None
    return records, damage


def newest(records: list[Record]) -> dict[tuple[str, str], Record]:
    """Return the last record of each (cell id, measure)."""
    return {(record.cell_id, record.measure): record for record in records}


@dataclass(frozen=True)
class Run:
    """A run's folder, as read."""

    folder: Path
    info: dict[str, Any]
    """`run.json`: id, machine, versions, threads, planned measures of each cell."""
    records: list[Record]
    damage: tuple[str, ...] = ()
    """What of the records is lost, in words."""


def read_run(folder: Path) -> Run:
    """Read a run, and warn of what is damaged in it.

    Raises:
        RecordError: it is no run, or damaged.
    """
    try:
        info = json.loads((folder / RUN).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RecordError(f"{folder} is no run: it has no {RUN}") from None
    except ValueError as error:
        raise RecordError(f"{folder / RUN} is damaged: {error}") from None
    if not isinstance(info, dict):
        raise RecordError(f"{folder / RUN} is damaged: it is no object")
    for name, kind in {"run": str, "planned": dict, "machine": dict}.items():
        if not isinstance(info.get(name), kind):
            raise RecordError(f"{folder / RUN} is damaged: it has no '{name}'")
    for name, measures in info["planned"].items():
        if not CELL_ID.fullmatch(name) or not isinstance(measures, list):
            raise RecordError(f"{folder / RUN} is damaged: '{name}' is no planned cell")
    for name in ("versions", "assets"):
        if not isinstance(info.get(name, {}), dict):
            raise RecordError(f"{folder / RUN} is damaged: its '{name}' is no object")
    if info.get("schema", 0) > SCHEMA:
        raise RecordError(f"{folder / RUN} has a newer schema than {SCHEMA}: upgrade Leanboard")
    records, damage = read(folder)
    for part in damage:
        warnings.warn(part, stacklevel=2)
    return Run(folder, info, records, tuple(damage))


def find_run(name: str, output: Path) -> Path:
    """Return the folder of a run given by path, by name below `output`, or as `latest`.

    Raises:
        RecordError: there is none; the message has the newest names.
    """
    for folder in (Path(name), output / name):
        if (folder / RUN).exists():
            return folder.resolve()
    for path in (Path(name), output / name):
        if path.is_dir():
            raise RecordError(f"{path} is no run: it has no {RUN}")
    if Path(name).exists():
        raise RecordError(f"{name} is a file: give a run's folder, its name, or `latest`")
    known = sorted(
        (p.parent.name for p in output.glob(f"*/{RUN}") if not p.parent.is_symlink()), reverse=True
    )
    hint = f"; runs in {output}: {', '.join(known[:5])}" if known else f"; {output} has no runs"
    raise RecordError(f"no run '{name}'{hint}")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a path to write to, which then takes the place of `path`: nobody ever sees half of it.

    What a killed writer left beside it goes.
    """
    for old in path.parent.glob(f".{glob.escape(path.name)}.*"):
        writer = old.suffix.removeprefix(".")
        if writer.isdecimal() and not psutil.pid_exists(int(writer)):
            old.unlink(missing_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.unlink(missing_ok=True)
    try:
        yield unfinished
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def write_arrays(path: Path, arrays: dict[str, Any]) -> None:
    """Replace a compressed npz as a whole."""
    import numpy as np

    with replacing(path) as unfinished, unfinished.open("wb") as file:
        np.savez_compressed(file, **arrays)


def write_atomically(path: Path, text: str) -> None:
    """Replace a text file as a whole."""
    with replacing(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")
