"""What the command line says of a run as a whole, checked before anything is built or downloaded."""

from __future__ import annotations

import datetime
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from benchmarks import extensions, machine
from benchmarks.matrix import Cell, SelectionError, cell_of, one_of
from benchmarks.own import Own
from benchmarks.profiles import PROFILES, Profile
from reports.baselines import BaselineError, of_machine
from reports.records import RecordError, find_run, read_run
from reports.verdicts import VERDICTS


@dataclass(frozen=True)
class Options:
    """Options of the run, all valid."""

    output: Path
    folder: Path
    threads: int
    resume: bool
    timeout: float
    extensions: tuple[str, ...]
    profile: Profile
    profile_name: str
    against: Path | None
    partial: bool
    fail_on: tuple[str, ...]
    baseline: tuple[str, ...]
    """The cells of the baseline, where there is one."""
    own: Own = field(default_factory=Own)

    @classmethod
    def check(
        cls,
        output: Path,
        threads: int | None,
        resume: bool,
        timeout: float,
        extension_files: list[Path],
        profile: str | None,
        against: Path | None,
        partial: bool,
        fail_on: str,
    ) -> Self:
        """Check the options, load the extensions and choose the run's folder.

        Raises:
            SelectionError: a value that cannot be; the message says what was expected.
        """
        most = os.cpu_count() or 1
        if threads is not None and not 1 <= threads <= most:
            raise SelectionError(f"--threads {threads}: this machine has 1 to {most}")
        if timeout <= 0:
            raise SelectionError(f"--cell-timeout {timeout:g}: needs a positive number of seconds")
        try:
            extensions.load(extension_files)
        except extensions.ExtensionError as error:
            raise SelectionError(str(error)) from error
        threads = threads or machine.default_threads()
        folder = _folder(output, resume).absolute()
        profile = profile or (_profile_of(folder) if resume else "quick")
        if resume:
            _check_same(folder, {"profile": profile, "threads": threads})
        return cls(
            output=output.absolute(),
            folder=folder,
            threads=threads,
            resume=resume,
            timeout=timeout,
            extensions=tuple(str(file.absolute()) for file in extension_files),
            profile=PROFILES[one_of("profile", profile, PROFILES)],
            profile_name=profile,
            against=against,
            partial=partial,
            fail_on=verdict_names(fail_on),
            baseline=() if against is None else _baseline(against),
        )


def _profile_of(folder: Path) -> str:
    try:
        return str(read_run(folder).info.get("profile", "quick"))
    except RecordError as error:
        raise SelectionError(f"--resume: {error}") from error


def _check_same(folder: Path, now: dict[str, object]) -> None:
    """Refuse to go on with a run under other settings: a row has one.

    Raises:
        SelectionError: the run is damaged, or differs; the message says in what.
    """
    try:
        before = read_run(folder).info
    except RecordError as error:
        raise SelectionError(f"--resume: {error}") from error
    hardware = ("cpu", "instructions", "logical_cores", "gpu")
    facts, machine_before = machine.describe(), before["machine"]
    before |= {"machine": {name: machine_before.get(name) for name in hardware}}
    now |= {"machine": {name: facts.get(name) for name in hardware}}
    for name, value in (now | {"versions": machine.versions()}).items():
        if (then := before.get(name)) != value:
            if isinstance(then, dict) and isinstance(value, dict):
                then, value = (
                    {key: d[key] for key in sorted(d) if d[key] != o.get(key)}
                    for d, o in ((then, value), (value, then))
                )
            raise SelectionError(
                f"--resume: {folder.name} was made with {name} {then}, this would be {value}"
            )


def planned_before(folder: Path) -> list[Cell]:
    """Return the cells that a run was to have.

    Raises:
        SelectionError: one is of a task or model that this command does not bring.
    """
    return [cell_of(name) for name in read_run(folder).info.get("planned", {})]


def verdict_names(text: str) -> tuple[str, ...]:
    """Read `regressed,missing`.

    Raises:
        SelectionError: a word is no verdict, or there is none.
    """
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if not names:
        raise SelectionError(f"--fail-on '{text}': needs one or more of {', '.join(VERDICTS)}")
    return tuple(one_of("verdict", name, VERDICTS) for name in names)


def _baseline(folder: Path) -> tuple[str, ...]:
    if not folder.is_dir():
        raise SelectionError(
            f"--against {folder}: no such folder; `leanboard promote RUN --to {folder}` makes one"
        )
    try:
        return tuple(of_machine(folder, machine.describe())[0].cells)
    except BaselineError as error:
        raise SelectionError(f"--against: {error}") from error


def _folder(output: Path, resume: bool) -> Path:
    if not resume:
        now = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
        return output / f"{now}-{os.getpid()}"
    try:
        return find_run("latest", output)
    except RecordError as error:
        raise SelectionError(f"--resume: {error}") from error
