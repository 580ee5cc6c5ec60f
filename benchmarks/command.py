"""The `leanboard` command: what there is to choose from, and reports of runs that were made."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import export_command, extensions, merge_command, pick_command
from benchmarks.catalogue import LISTS
from benchmarks.export_command import ExportError
from benchmarks.extensions import ExtensionError
from benchmarks.matrix import SelectionError
from benchmarks.options import verdict_names
from models.artifact import ArtifactError
from reports import baselines, dashboards, night
from reports.baselines import BaselineError
from reports.comparison import against, between, refuse_if_not_green
from reports.facts import RunFacts, facts_of
from reports.history import history
from reports.pick import BoundError
from reports.records import RUN, RecordError, find_run, read_run
from reports.tables import write_reports
from reports.verdicts import FAIL_ON, NOT_GREEN, Comparison

OUTPUT = Path("reports/output")
BASELINES = Path("reports/baselines")
RUN_HELP = "a run's folder, its name, or `latest`"
OUTPUT_HELP = f"folder of the runs (default: {OUTPUT})"
BASELINES_HELP = f"folder of the baselines (default: {BASELINES})"


class _Parser(argparse.ArgumentParser):
    """One whose options are given in full: `--allow` today is another option tomorrow."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
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
    report.add_argument("run", metavar="RUN", help=RUN_HELP)
    report.add_argument(
        "--against",
        type=Path,
        metavar="DIR",
        help="baselines: the page shows each cell over the nights",
    )
    _compare(commands)
    promoted = commands.add_parser("promote", help="make a run the baseline of its machine")
    promoted.add_argument("run", metavar="RUN", help=RUN_HELP)
    promoted.add_argument("--to", type=Path, default=BASELINES, metavar="DIR", help=BASELINES_HELP)
    promoted.add_argument(
        "--allow-failed",
        action="store_true",
        help="accept a red or void night; of cells that failed or are gone nothing changes",
    )
    lacked = promoted.add_mutually_exclusive_group()
    lacked.add_argument(
        "--partial",
        action="store_true",
        help="RUN was narrowed on purpose: keep the cells that it does not have",
    )
    lacked.add_argument(
        "--prune", action="store_true", help="forget the cells that RUN does not have"
    )
    past = commands.add_parser("history", help="list the nights of every cell, and its trend")
    past.add_argument("--against", type=Path, default=BASELINES, metavar="DIR", help=BASELINES_HELP)
    exported = commands.add_parser(
        "export-dashboard", help="write a run for Bencher and for github-action-benchmark"
    )
    exported.add_argument("run", metavar="RUN", help=RUN_HELP)
    for shown in (report, promoted, past, exported):
        shown.add_argument("--output", type=Path, default=OUTPUT, help=OUTPUT_HELP)
    pick_command.add(commands, OUTPUT)
    export_command.add(commands, OUTPUT)
    merge_command.add(commands, OUTPUT)
    return parser


def _compare(commands: Any) -> None:
    compared = commands.add_parser("compare", help="judge a run by another one, or by a baseline")
    compared.add_argument("before", metavar="A", help="a run, or a folder of baselines")
    compared.add_argument("after", metavar="B", help=RUN_HELP)
    compared.add_argument(
        "--format", choices=FORMATS, default="terminal", help="what is printed (default: terminal)"
    )
    compared.add_argument(
        "--partial",
        action="store_true",
        help="B was narrowed on purpose: the cells that it does not have are not missing",
    )
    compared.add_argument(
        "--fail-on",
        default=",".join(FAIL_ON),
        metavar="VERDICTS",
        help="verdicts that make the exit status 1 (default: %(default)s)",
    )
    compared.add_argument("--output", type=Path, default=OUTPUT, help=OUTPUT_HELP)


FORMATS: dict[str, Callable[[Comparison, Sequence[str]], str]] = {
    "terminal": night.terminal,
    "markdown": night.markdown,
    "json": night.json_text,
}


def _facts(name: str, output: Path) -> RunFacts:
    return facts_of(read_run(find_run(name, output)))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns:
        the exit status: 0; of `compare` 1 if something got worse; what another command itself says;
        2 if what was asked for is not there or cannot be compared.
    """
    given = _parser().parse_args(arguments)
    warnings.showwarning = _show
    try:
        return given.call(given) if "call" in given else COMMANDS[given.command](given)
    except (
        ArtifactError,
        BaselineError,
        BoundError,
        ExportError,
        ExtensionError,
        RecordError,
        SelectionError,
    ) as error:
        print(f"leanboard: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        sys.stderr.close()  # `leanboard list steps | head` is no error
    except OSError as error:
        print(f"leanboard: {error.filename}: {error.strerror}", file=sys.stderr)
        return 2
    return 0


def _show(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: Any = None,
    line: str | None = None,
) -> None:
    """Show a warning as users read it, without the line of code that it came from."""
    print(f"leanboard: {message}", file=sys.stderr)


def _list(given: argparse.Namespace) -> int:
    extensions.load(given.extension)
    print(LISTS[given.what]())
    return 0


def _report(given: argparse.Namespace) -> int:
    folder = find_run(given.run, given.output)
    if given.against:
        baselines.some(given.against)
    print(f"{write_reports(folder, given.against)}\n\nreports in {folder}")
    return 0


def _compared(given: argparse.Namespace) -> int:
    fail_on = verdict_names(given.fail_on)
    if baselines.names(Path(given.after)):
        raise BaselineError(f"{given.after} holds baselines: they come first, then the run")
    after, before = _facts(given.after, given.output), Path(given.before)
    if baselines.names(before):
        comparison = against(before, after, given.partial)
    else:
        is_run = any((folder / RUN).exists() for folder in (before, given.output / before))
        if before.is_dir() and not is_run:
            raise BaselineError(f"{before} holds neither baselines nor a run")
        comparison = between(_facts(given.before, given.output), after, given.partial)
    print(FORMATS[given.format](comparison, fail_on))
    return comparison.status(fail_on)


def _promote(given: argparse.Namespace) -> int:
    run = _facts(given.run, given.output)
    found = against(given.to, run)
    vanished = set(found.vanished())
    forgotten = vanished if given.prune else set()
    if not given.allow_failed:
        refuse_if_not_green(found, partial=given.partial, allowed=forgotten)
    said = baselines.promote(run, given.to, allow_failed=given.allow_failed, forget=forgotten)
    said += [f"{cell}: kept as it was" for cell in sorted(vanished - forgotten)]
    accepted = [v for v in found.verdicts if v.verdict in NOT_GREEN and v.cell not in vanished]
    print(*said, *(f"accepted {night.line_of(verdict)}" for verdict in accepted), sep="\n")
    return 0


def _history(given: argparse.Namespace) -> int:
    print(history(given.against, given.output))
    return 0


def _export_dashboard(given: argparse.Namespace) -> int:
    run = read_run(find_run(given.run, given.output))
    print(*dashboards.export(run), sep="\n")
    for cell in dashboards.left_out(run):
        print(f"left out: {cell}", file=sys.stderr)
    return 0


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "list": _list,
    "report": _report,
    "compare": _compared,
    "promote": _promote,
    "history": _history,
    "export-dashboard": _export_dashboard,
}


if __name__ == "__main__":
    sys.exit(main())
