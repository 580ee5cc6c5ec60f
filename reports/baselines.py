"""Baselines: promoted runs, one file a machine and device, kept in the repository and reviewed there.

`DIR/<fingerprint>/baseline.json` is written so that a pull request shows what changed: one line a
fact, one line a night. It changes only when somebody promotes a run.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean, median, stdev
from typing import Any

from filelock import FileLock

from reports.facts import DISTURBED, CellFacts, RunFacts
from reports.limits import limits, spreads
from reports.records import OK, write_atomically

SCHEMA = 3


def _without_pairs(data: dict[str, Any]) -> dict[str, Any]:
    """Forget the pairs of schemas 1 and 2: of each text's median and quartile over all blocks."""
    for cell in data["cells"].values():
        cell.pop("pairs", None)
        cell["nights"] = {}
    return data


MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {
    1: _without_pairs,
    2: _without_pairs,
}
"""From each older schema to the next one, in memory. Add a line when the format changes."""
FILE = "baseline.json"
KEPT_NIGHTS = 20
"""Of each cell's history; older ones are dropped."""
HARDWARE = ("cpu", "instructions", "logical_cores", "memory_bytes")
DESCRIPTION = (
    "run",
    "started",
    "profile",
    "threads",
    "pairs",
    "seconds",
    "workers",
    "machine",
    "versions",
    "assets",
)
"""What a baseline keeps of each run's `run.json`."""


class BaselineError(ValueError):
    """A baseline is damaged, too new or was edited; or a run cannot be promoted."""


@dataclass(frozen=True)
class Night:
    """One promoted run's pairs of one cell."""

    run: str
    pairs: tuple[float, ...]
    work: float | None
    """Median of the reference's work: see `CellFacts.work`."""


@dataclass(frozen=True)
class Baseline:
    """What a machine's later runs are compared with."""

    info: dict[str, Any] = field(default_factory=dict)
    """The description of the run that was promoted last."""
    cells: dict[str, CellFacts] = field(default_factory=dict)
    nights: dict[str, tuple[Night, ...]] = field(default_factory=dict)
    """History of green nights of each cell, oldest first."""


def fingerprint(machine: dict[str, Any], device: str) -> str:
    """Name the hardware and the device; versions of the software are no part of it."""
    hardware = {name: machine.get(name) for name in HARDWARE}
    hardware["memory_bytes"] = round((hardware["memory_bytes"] or 0) / 2**30)
    if device != "cpu":
        hardware["gpu"] = (machine.get("gpu") or "").partition(",")[0]  # the driver is software
    digest = hashlib.sha256(json.dumps(hardware, sort_keys=True).encode()).hexdigest()[:8]
    name = re.sub(r"[^a-z0-9]+", "-", str(machine.get("cpu", "unknown")).lower()).strip("-")
    return f"{device}-{name}-{machine.get('logical_cores', 0)}-{digest}"


def device_of(cell: str) -> str:
    """Return the device in a cell's id."""
    return cell.split("/")[3]


def of_machine(folder: Path, machine: dict[str, Any]) -> tuple[Baseline, dict[str, list[str]]]:
    """Return what `folder` has for a machine, all devices together; and by device the others' names.

    A GPU that is gone is a device of this machine still: its cells are missed.

    Raises:
        BaselineError: a file is damaged, edited or too new.
    """
    found = Baseline()
    parts, elsewhere = _parts(folder, machine)
    for part in parts.values():
        found = Baseline(
            found.info or part.info, found.cells | part.cells, found.nights | part.nights
        )
    return found, elsewhere


def _parts(
    folder: Path, machine: dict[str, Any]
) -> tuple[dict[Path, Baseline], dict[str, list[str]]]:
    """Return the files of a machine, the CPU's first; and by device the others' names."""
    parts, elsewhere = {}, defaultdict(list)
    for name in names(folder):
        device, path = name.partition("-")[0], folder / name / FILE
        is_ours = name == fingerprint(machine, device)
        if is_ours or (device != "cpu" and not machine.get("gpu")):
            part = read(path)
            host = part.info.get("machine", {})
            if is_ours or fingerprint(host, "cpu") == fingerprint(machine, "cpu"):
                parts[path] = part
                continue
        elsewhere[device].append(name)
    return parts, dict(elsewhere)


def names(folder: Path) -> list[str]:
    """Return the fingerprints that a folder has baselines of."""
    return sorted(path.parent.name for path in folder.glob(f"*/{FILE}"))


def some(folder: Path) -> list[str]:
    """Return the same.

    Raises:
        BaselineError: there are none; the message says what makes one, or where they lie.
    """
    if found := names(folder):
        return found
    if (folder / FILE).exists():
        raise BaselineError(f"{folder} is one machine's baseline: give {folder.parent}")
    if folder.exists() and not folder.is_dir():
        raise BaselineError(f"{folder} is a file: give a folder of baselines")
    raise BaselineError(
        f"no baselines in {folder}: `leanboard promote RUN --to {folder}` makes one"
    )


def read(path: Path) -> Baseline:
    """Read one baseline; an empty one if there is no file.

    Raises:
        BaselineError: it is damaged, was edited by hand, or is of a newer schema.
    """
    if not path.exists():
        return Baseline()
    again = "restore the file, or promote a run into another folder"
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        schema = data["schema"]
        if schema > SCHEMA:
            raise BaselineError(
                f"{path}: schema {schema} is newer than {SCHEMA}: upgrade Leanboard"
            )
        if data.pop("sha256") != _digest(data):
            raise BaselineError(f"{path} was edited by hand: its sha256 does not match; {again}")
        for older in range(schema, SCHEMA):
            data = MIGRATIONS[older](data)
        cells, nights = {}, {}
        for name, kept in data["cells"].items():
            history = kept.pop("nights")
            nights[name] = tuple(Night(run, tuple(p), work) for run, (work, *p) in history.items())
            cells[name] = CellFacts.from_json(kept)
        return Baseline(data["info"], cells, nights)
    except OSError as error:
        raise BaselineError(f"{path} cannot be read: {error.strerror}") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        what = "empty" if not path.stat().st_size else f"cut or damaged ({error})"
        raise BaselineError(f"{path} is {what}; {again}") from None
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        if isinstance(error, BaselineError):
            raise
        reason = f"{type(error).__name__}: {error}"
        raise BaselineError(f"{path} is no baseline ({reason}); {again}") from None


def _digest(data: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()


def to_text(baseline: Baseline) -> str:
    """Return the file's text: JSON with one line a fact."""
    cells = {
        name: facts.to_json()
        | {"nights": {night.run: [night.work, *night.pairs] for night in baseline.nights[name]}}
        for name, facts in sorted(baseline.cells.items())
    }
    data = {"schema": SCHEMA, "info": baseline.info, "cells": cells}
    return _lines(data | {"sha256": _digest(data)}) + "\n"


def _lines(value: Any, depth: int = 0) -> str:
    if not isinstance(value, dict) or not value:
        return json.dumps(value, ensure_ascii=False)
    inner = ",\n".join(
        f"{' ' * (depth + 1)}{json.dumps(key)}: {_lines(item, depth + 1)}"
        for key, item in value.items()
    )
    return f"{{\n{inner}\n{' ' * depth}}}"


def promote(
    run: RunFacts, folder: Path, *, allow_failed: bool = False, forget: Collection[str] = ()
) -> list[str]:
    """Make a run the baseline of its machine, and return what it replaces, in sentences.

    The file is read, changed and replaced under a lock: of two nights that end together, none is
    lost. Cells that the run lacks stay, but for those to `forget`.

    Raises:
        BaselineError: the run has failed cells, or the present baseline cannot be read.
    """
    failed = {name: facts for name, facts in run.cells.items() if facts.status not in _GOOD}
    if failed and not allow_failed:
        name, facts = next(iter(failed.items()))
        many = f"{len(failed)} failed cells" if len(failed) > 1 else "a failed cell"
        raise BaselineError(
            f"{run.name} has {many}: {name} ({facts.reason}): "
            "promote another run, or add --allow-failed to leave it out"
        )
    machine = run.info["machine"]
    present, _ = _parts(folder, machine)  # one that is damaged must not leave half a promotion
    devices = sorted({device_of(name) for name in run.cells})
    paths = [folder / fingerprint(machine, device) / FILE for device in devices]
    said = [f"{name}: left out: {facts.reason}" for name, facts in failed.items()]
    for path in dict.fromkeys([*paths, *present]):
        ours = {
            name: facts
            for name, facts in run.cells.items()
            if path.parent.name.startswith(f"{device_of(name)}-") and facts.status == OK
        }
        if not ours and not path.exists():
            continue  # a device of which nothing was measured
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(f".{FILE}.lock")):
            old = read(path)
            gone = sorted(set(old.cells) & set(forget))
            new, changes = without(old, set(gone)), [f"{name}: gone" for name in gone]
            if ours:
                new, more = merged(new, RunFacts(run.info, ours), accept=allow_failed)
                changes = [f"{path}: {_replaced(old, run)}", *more, *changes]
            if changes:
                write_atomically(path, to_text(new))
        said += changes
    return said


_GOOD = (OK, "unsupported", "skipped")


def _other_threads(before: CellFacts, now: CellFacts) -> bool:
    return None not in (before.threads, now.threads) and before.threads != now.threads


def without(baseline: Baseline, names: set[str]) -> Baseline:
    """Return a baseline that has forgotten some cells."""
    cells = {name: facts for name, facts in baseline.cells.items() if name not in names}
    return replace(baseline, cells=cells, nights={name: baseline.nights[name] for name in cells})


def _replaced(old: Baseline, run: RunFacts) -> str:
    if not old.cells:
        return "a new baseline"
    before, now = (info.get("started") or "" for info in (old.info, run.info))
    age = ", which is a later run than this one" * (before > now)
    count = len(old.cells)
    return f"replaces that of {old.info['run']} ({count} cell{'s' * (count != 1)}){age}"


def merged(old: Baseline, run: RunFacts, *, accept: bool = False) -> tuple[Baseline, list[str]]:
    """Put a run's cells into a baseline, and say what changed; cells that it lacks stay.

    Pairs of a cell that was disturbed enter no history, and those whose reference had moved do if
    they are accepted. Another speed of another artifact or with other libraries begins a new
    history, and so do other threads; without such a reason it is how nights vary, and widens the
    limits.
    """
    cells, nights = dict(old.cells), dict(old.nights)
    seen = spreads({name: [night.pairs for night in nights.get(name, ())] for name in run.cells})
    changes = []
    for name, facts in run.cells.items():
        before = old.cells.get(name)
        history = nights.get(name, ())
        if before and history and _other_threads(before, facts):
            changes.append(
                f"{name}: {before.threads} -> {facts.threads} threads: its history begins anew"
            )
            history = ()
        known = [night for night in history if night.run != run.name]
        moved = next(
            filter(None, (how_moved(known, w) for w in (facts.work, facts.later_work))), ""
        )
        left_out = "its rounds were disturbed" if facts.is_void else "" if accept else moved
        if facts.pairs and left_out:
            changes.append(f"{name}: its latency enters no history: {left_out}")
        elif facts.pairs:
            looked_again = facts.sound_later and not facts.is_later_void
            pairs, works = (
                (facts.sound_later, facts.later_work) if looked_again else (facts.sound, facts.work)
            )
            limit = limits(seen[name], len(run.cells), len(pairs)).alone
            is_other = (facts.artifact_sha256, run.info.get("versions")) != (
                before and before.artifact_sha256,
                old.info.get("versions"),
            )
            has_jumped = bool(known) and abs(usual_level(known) - median(pairs)) > limit
            if is_other and (moved or has_jumped):
                changes.append(f"{name}: its speed has another level: its history begins anew")
                known = []
            work = round(median(works), 5) if works else None
            history = (*known, Night(run.name, pairs, work))[-KEPT_NIGHTS:]
        cells[name] = replace(facts, later=(), later_work=())
        nights[name] = tuple(history)
        changes.append(_change(name, before, facts))
    info = {key: run.info[key] for key in DESCRIPTION if key in run.info}
    return Baseline(info, cells, nights), [change for change in changes if change]


def usual_level(nights: Sequence[Night]) -> float:
    """Return the mean over nights of their pairs' median: the speed that they stand for."""
    return fmean(median(night.pairs) for night in nights)


def reference_moved(nights: Sequence[Night], work: Sequence[float]) -> float:
    """Return the log of how much slower the reference is than in these nights.

    0 within 5 %, or within twice what these nights vary by: neighbours come and go on a shared
    machine, and nights of both kinds may have been promoted.
    """
    known = [night.work for night in nights if night.work is not None]
    if not known or not work:
        return 0.0
    moved = median(work) - fmean(known)
    usual = max(DISTURBED, 2 * stdev(known) if len(known) > 1 else 0.0)
    return moved if abs(moved) > usual else 0.0


def how_moved(nights: Sequence[Night], work: Sequence[float]) -> str:
    """Say how the reference's own speed changed against the fixed matrix product, if it did."""
    moved = reference_moved(nights, work)
    if not moved:
        return ""
    how = f"{abs(math.expm1(moved)):.1%} {'slower' if moved > 0 else 'faster'}"
    return f"the reference itself is {how} against the matrix product"


def _change(name: str, before: CellFacts | None, after: CellFacts) -> str:
    """Say what a promotion changes in one cell; nothing if the cell was the same."""
    if before is None:
        return f"{name}: new"
    parts = [
        f"{metric} {before.metrics[metric]:{form}} -> {after.metrics[metric]:{form}}"
        for metric, form in _SHOWN.items()
        if metric in before.metrics
        and metric in after.metrics
        and before.metrics[metric] != after.metrics[metric]
    ]
    if before.artifact_sha256 != after.artifact_sha256:
        parts.append("another artifact")
    return f"{name}: {', '.join(parts)}" if parts else ""


_SHOWN = {
    "quality": ".6g",
    "size_bytes": ",.0f",
    "memory_inference_peak_bytes": ",.0f",
    "speedup": ".3g",
}


def of_run(run: RunFacts) -> Baseline:
    """Return a baseline that is one run, to compare two runs with each other."""
    good = {name: facts for name, facts in run.cells.items() if facts.status == OK}
    return merged(Baseline(), RunFacts(run.info, good))[0]
