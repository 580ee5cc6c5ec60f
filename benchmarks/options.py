"""What the command line says of a run as a whole, checked before anything is built or downloaded."""

from __future__ import annotations

import datetime
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from benchmarks import extensions, machine
from benchmarks.matrix import SelectionError, one_of
from benchmarks.own import Own
from benchmarks.profiles import PROFILES, Profile
from reports.records import RecordError, find_run


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
    own: Own = field(default_factory=Own)

    @classmethod
    def check(
        cls,
        output: Path,
        threads: int | None,
        resume: bool,
        timeout: float,
        extension_files: list[Path],
        profile: str,
    ) -> Self:
        """Check the options, load the extensions and choose the run's folder.

        Raises:
            SelectionError: a value that cannot be; the message says what was expected.
        """
        most = os.cpu_count() or 1
        if threads is not None and not 1 <= threads <= most:
            raise SelectionError(f"--threads {threads}: this machine has 1 to {most}")
        if timeout <= 0:
            raise SelectionError(f"--timeout {timeout:g}: needs a positive number of seconds")
        try:
            extensions.load(extension_files)
        except extensions.ExtensionError as error:
            raise SelectionError(str(error)) from error
        return cls(
            output=output.absolute(),
            folder=_folder(output, resume).absolute(),
            threads=threads or machine.default_threads(),
            resume=resume,
            timeout=timeout,
            extensions=tuple(str(file.absolute()) for file in extension_files),
            profile=PROFILES[one_of("profile", profile, PROFILES)],
            profile_name=profile,
        )


def _folder(output: Path, resume: bool) -> Path:
    if not resume:
        now = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
        return output / f"{now}-{os.getpid()}"
    try:
        return find_run("latest", output)
    except RecordError as error:
        raise SelectionError(f"--resume: {error}") from error
