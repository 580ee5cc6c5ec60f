"""A user's own steps, tasks, models and runtimes: Python files that add to our plain dicts."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path

OWN = "own.json"
"""What a user brought without code, as a run has declared it."""


class ExtensionError(ValueError):
    """An extension file is missing or raises; the message names it."""


def module_name(file: Path) -> str:
    """Return the name of the module that a file becomes: two files of one name are two modules."""
    where = hashlib.sha256(str(file.resolve()).encode()).hexdigest()[:8]
    return f"leanboard_extension_{file.stem}_{where}"


def load(files: Sequence[str | Path]) -> None:
    """Execute each file once in this process; workers do the same before they start.

    What a user brought without code (`OWN`) is declared likewise.

    Raises:
        ExtensionError: a file is not there, or raises.
    """
    for file in map(Path, files):
        if file.name == OWN:
            from benchmarks import own  # only then: its memory would be counted in every worker

            own.load(file)
            continue
        name = module_name(file)
        if name in sys.modules:
            continue
        if not file.is_file():
            raise ExtensionError(f"--extension {file}: no such file")
        spec = importlib.util.spec_from_file_location(name, file)
        assert spec
        assert spec.loader
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except Exception as error:
            del sys.modules[name]
            raise ExtensionError(f"--extension {file}: {type(error).__name__}: {error}") from error
