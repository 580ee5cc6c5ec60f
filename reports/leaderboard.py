"""The leaderboard: one flat row a cell, made from its records."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from reports.records import FAILED, OK, Record, RecordError, Run, cell_id, newest, read_cell_id

Row = dict[str, Any]

ROW_FIELDS = [
    "task",
    "model",
    "recipe",
    "families",
    "device",
    "runtime",
    "threads",
    "seed",
    "status",
    "reason",
    "artifact_sha256",
    "quality_metric",
    "quality",
    "quality_low",
    "quality_high",
    "quality_retained",
    "agreement",
    "shifted_quality",
    "calibration_error",
    "size_bytes",
    "size_ratio",
    "parameters",
    "nonzero_parameters",
    "macs",
    "memory_load_peak_bytes",
    "memory_steady_bytes",
    "memory_inference_peak_bytes",
    "memory_process_peak_bytes",
    "memory_ratio",
    "load_seconds",
    "latency_samples",
    "latency_single_p50_ms",
    "latency_single_p95_ms",
    "latency_batch_p50_ms",
    "throughput_per_s",
    "speedup",
    "speedup_low",
    "speedup_high",
    "speedup_batch",
    "speedup_same_runtime",
    "build_seconds",
    "pareto",
]
"""The public names, in order."""

REFERENCES = ("finetune", "as-is")
"""The recipes that ratios are against; a model has one of them."""
UNMEASURED = "not measured yet"
"""How the reason of a row begins that lacks a measure which was planned."""
NO_MODEL = "none"
CASCADE = "cascade"
"""The family of what asks a second model about some texts."""
MANY_ZEROS = 0.1
"""Share of the parameters from which on a row is told to have zeros."""
ZIPPED = "-zipped"
"""What a format's name ends with where its files are zipped."""
DISTURBING = 0.05
"""Share of the processors that others may take while rows are timed, and nothing is said of it."""
MEASURED = ROW_FIELDS[ROW_FIELDS.index("quality_metric") :]
"""What a row has of the records' metrics."""
FACTS = ("families", "runtime", "runtime_control", "threads")
"""What a row has of the records' facts."""
_SEVERITY = (OK, "skipped", "unsupported", "timeout", FAILED)


def disturbance(info: dict[str, Any]) -> str | None:
    """Say what other work took of the processors while rows were timed, if it was much."""
    others = info.get("other_work") or 0.0
    if others <= DISTURBING:
        return None
    return (
        f"Other work took {others:.0%} of the processors while rows were timed: what is `faster` "
        "here may not be on a quiet machine"
    )


def notes(table: list[Row], run: Run) -> list[str]:
    """Say of the run and of single rows what the figures do not."""
    return [*_unfinished(run), *_zeros(table, run), *_two_speeds(table), *_shared(run)]


def _unfinished(run: Run) -> list[str]:
    """Say that a run was interrupted, and how it goes on."""
    planned: dict[str, list[str]] = run.info["planned"]
    found = newest(run.records)
    lacking = [
        cell
        for cell, measures in planned.items()
        if any((cell, measure) not in found for measure in measures)
    ]
    if not lacking:
        return []
    return [
        f"this run is not finished: {len(lacking)} of its {len(planned)} cells lack a measure; "
        "pytest benchmarks/ --resume goes on with the latest run"
    ]


def _two_speeds(table: list[Row]) -> list[str]:
    """Say of each cascade what its median hides."""
    said = []
    for row in table:
        if row["status"] == OK and CASCADE in row["families"] and row["speedup"]:
            tail = row["latency_single_p95_ms"]
            said.append(
                f"{row['recipe']} of {row['model']}: p50 hides the texts that both its models read"
                f"{f' (p95 {tail:.2f} ms)' if tail else ''}; faster is of all"
            )
    return list(dict.fromkeys(said))


def _shared(run: Run) -> list[str]:
    """Say of how many steps the rows' artifacts are made, and how many of those differ."""
    steps, chains, taken = 0, 0, {}
    for record in newest(run.records).values():
        lineage = record.facts.get("lineage") or []
        steps, chains = steps + len(lineage), chains + bool(lineage)
        cell = record.cell
        for one in lineage:
            seed = one.get("seed", cell["seed"])
            read = (one.get("parent"), *(one.get("others") or ()))
            key = (cell["task"], cell["device"], seed, *read, one.get("step"))
            taken[key] = one.get("seconds") or 0.0
    if len(taken) == steps:
        return []
    return [
        f"{steps} steps make these {chains} rows, and {len(taken)} of them differ: what begins alike "
        f"is built once ({sum(taken.values()):,.0f} s in all, in this run or before)"
    ]


def _zeros(table: list[Row], run: Run) -> list[str]:
    """Say of each pruned network with many zeros that its file is dense, and what it is when zipped."""
    pruned = [
        row
        for row in table
        if row["status"] == OK and "pruning" in row["families"] and row["parameters"]
    ]
    records = newest(run.records) if pruned else {}
    said = []
    for row in pruned:
        share = 1 - row["nonzero_parameters"] / row["parameters"]
        if share >= MANY_ZEROS:
            zipped: Any = records[cell_id(row), "size"].metrics["zipped_bytes"].value
            says = (
                "the zipped file is smaller by them, dense kernels gain nothing"
                if records[cell_id(row), "build"].facts.get("format", "").endswith(ZIPPED)
                else "a dense file and dense kernels gain nothing by them "
                f"({row['size_bytes'] / 1e6:.1f} MB, {zipped / 1e6:.1f} MB zipped)"
            )
            said.append(
                f"{row['recipe']} of {row['model']}: {share:.0%} of its parameters are zero; {says}"
            )
    return said


def rows(run: Run) -> list[Row]:
    """Return one row a cell, in the order in which the run planned them."""
    found = newest(run.records)
    planned: dict[str, list[str]] = run.info["planned"]
    cells: dict[str, dict[str, Record]] = {name: {} for name in planned}
    for (cell, measure), record in found.items():
        cells.setdefault(cell, {})[measure] = record
    table = [
        _row(cell, records, planned.get(cell, [])) for cell, records in cells.items() if records
    ]
    table += [_unmeasured(cell) for cell, records in cells.items() if not records]
    by_recipe = {(*_group(row), row["recipe"]): row for row in table}
    for row in table:
        _add_ratios(row, by_recipe)
    _mark_pareto(table)
    return [{name: row.get(name) for name in ROW_FIELDS} for row in table]


def step_of(one: dict[str, Any], model: str) -> str:
    """Name a step of a lineage, as of which model if that is not `model`."""
    own = one.get("model") in (None, model, NO_MODEL)
    return str(one.get("step")) if own else f"{one['step']} of {one['model']}"


def why_not(row: Row) -> str:
    """Say why a row has no figures: what went wrong, or that its turn did not come."""
    reason = str(row["reason"])
    return reason if reason.startswith(UNMEASURED) else f"{row['status']}: {reason}"


def _group(row: Row) -> tuple[Any, ...]:
    return (row["task"], row["model"], row["device"], row["seed"])


def _row(cell: str, records: dict[str, Record], planned: list[str]) -> Row:
    any_record = next(iter(records.values()))
    row: Row = dict(any_record.cell)
    hashes = {r.artifact_sha256 for r in records.values() if r.artifact_sha256}
    for record in records.values():
        row |= {n: m.value for n, m in record.metrics.items() if _has_its_kind(record, n)}
        row |= {name: record.facts[name] for name in FACTS if name in record.facts}
    worst = max(records.values(), key=lambda record: _SEVERITY.index(record.status))
    row["status"], row["reason"] = worst.status, worst.reason
    row["artifact_sha256"] = min(hashes, default=None)
    missing = [measure for measure in planned if measure not in records]
    if row["status"] == OK and len(hashes) > 1:
        row["status"], row["reason"] = FAILED, f"measures of {len(hashes)} different artifacts"
    elif row["status"] == OK and missing:
        row["status"], row["reason"] = FAILED, f"{UNMEASURED}: {', '.join(missing)}"
    row["families"] = " ".join(row.get("families") or [])
    return row


def _has_its_kind(record: Record, name: str) -> bool:
    """Say whether a row has this metric.

    Raises:
        RecordError: a text where the row has a figure, or the other way round.
    """
    value = record.metrics[name].value
    if name not in MEASURED:
        return False
    if value is not None and isinstance(value, str) != (name == "quality_metric"):
        raise RecordError(f"{record.cell_id}: {name} cannot be {value!r:.40}")
    return True


def _unmeasured(cell: str) -> Row:
    row = read_cell_id(cell) | {"status": FAILED, "reason": UNMEASURED}
    assert cell_id(row) == cell
    return row


def _ratio(above: Any, below: Any) -> float | None:
    return above / below if above is not None and below else None


def _add_ratios(row: Row, by_recipe: dict[tuple[Any, ...], Row]) -> None:
    """Add what is relative to the reference and to the same runtime's fp32; larger is better."""
    found = [by_recipe.get((*_group(row), recipe)) for recipe in REFERENCES]
    reference = next(filter(None, found), None)
    if reference is None or row["model"] == NO_MODEL:
        return
    if (reference.get("quality") or 0) > 0:
        row["quality_retained"] = _ratio(row.get("quality"), reference["quality"])
    row["size_ratio"] = _ratio(reference.get("size_bytes"), row.get("size_bytes"))
    peak = "memory_inference_peak_bytes"
    row["memory_ratio"] = _ratio(reference.get(peak), row.get(peak))
    control = by_recipe.get((*_group(row), row.get("runtime_control")))
    if control:
        row["speedup_same_runtime"] = _ratio(row.get("speedup"), control.get("speedup"))


def typical_ms(row: Row, table: Iterable[Row]) -> float | None:
    """Return what one text takes: the median; of a cascade, which the median flatters, the speed-up's.

    Args:
        table: has the row's reference.
    """
    p50: float | None = row.get("latency_single_p50_ms")
    if p50 is None or not row.get("speedup") or CASCADE not in (row.get("families") or ""):
        return p50
    own = (
        r["latency_single_p50_ms"]
        for r in table
        if r["recipe"] in REFERENCES and _group(r) == _group(row) and r.get("latency_single_p50_ms")
    )
    return max(p50, next(own, 0.0) / row["speedup"])


def _mark_pareto(table: list[Row]) -> None:
    """Mark the rows that no other row of their task, device and seed beats in every respect.

    The respects are quality (up), bytes on disk (down) and what one text takes (down).
    """
    import numpy as np

    groups: dict[tuple[Any, ...], list[tuple[Row, list[Any]]]] = defaultdict(list)
    for row in table:
        row["pareto"] = False
        quality: Any = row.get("quality")
        size, takes = row.get("size_bytes"), typical_ms(row, table)
        if row["status"] == OK and None not in (quality, size, takes):
            point = [-quality, size, takes]
            groups[row["task"], row["device"], row["seed"]].append((row, point))
    for group in groups.values():
        points = np.array([point for _, point in group])
        for (row, _), point in zip(group, points, strict=True):
            no_worse = (points <= point).all(axis=1)
            row["pareto"] = not (no_worse & (points < point).any(axis=1)).any()
