"""`leanboard merge RUN RUN …`: runs of several seeds or machines in one table."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from reports.merging import merge, table
from reports.records import find_run, read_run


def add(commands: Any, output: Path) -> None:
    """Add the command's parser."""
    parser = commands.add_parser("merge", help="mean and spread over seeds and runs, as Markdown")
    parser.add_argument("runs", metavar="RUN", nargs="+", help="a folder, a name, or `latest`")
    parser.add_argument("--output", type=Path, default=output, help="folder of the runs")
    parser.set_defaults(call=run)


def run(given: argparse.Namespace) -> int:
    """Print the table; 0.

    Raises:
        RecordError: there is no such run.
    """
    folders = dict.fromkeys(find_run(name, given.output).resolve() for name in given.runs)
    print(table(merge([read_run(folder) for folder in folders])))
    return 0
