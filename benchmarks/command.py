"""The `leanboard` command: what there is to choose from, and reports of runs that were made."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import export_command, extensions, merge_command, pick_command
from benchmarks.catalogue import LISTS
from benchmarks.export_command import ExportError
from benchmarks.extensions import ExtensionError
from models.artifact import ArtifactError
from reports.pick import BoundError
from reports.records import RecordError, find_run
from reports.tables import write_reports

OUTPUT = Path("reports/output")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="leanboard", description="Which compressed version of my Transformer should I ship?"
    )
    commands = parser.add_subparsers(dest="command", required=True)
    shown = commands.add_parser("list", help="show the tasks, models, steps, chains or recipes")
    shown.add_argument("what", choices=LISTS)
    shown.add_argument(
        "--extension",
        type=Path,
        action="append",
        default=[],
        help="a Python file that adds to them",
    )
    report = commands.add_parser("report", help="write and print the leaderboard of a run again")
    report.add_argument("run", metavar="RUN", help="a run's folder, its name, or `latest`")
    report.add_argument("--output", type=Path, default=OUTPUT, help="folder of the runs")
    pick_command.add(commands, OUTPUT)
    export_command.add(commands, OUTPUT)
    merge_command.add(commands, OUTPUT)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns:
        the exit status: 0, what the command itself says, or 2 if what was asked for is not there.
    """
    given = _parser().parse_args(arguments)
    try:
        if given.command == "list":
            extensions.load(given.extension)
            print(LISTS[given.what]())
        elif "call" in given:
            return given.call(given)
        else:
            folder = find_run(given.run, given.output)
            print(f"{write_reports(folder)}\n\nreports in {folder}")
    except (ArtifactError, BoundError, ExportError, ExtensionError, RecordError) as error:
        print(f"leanboard: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        sys.stderr.close()  # `leanboard list steps | head` is no error
    return 0


if __name__ == "__main__":
    sys.exit(main())
