"""The pytest plugin: options, one parametrized cell behind every fixture, and the leaderboard at the end."""

from __future__ import annotations

import gc
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.artifacts import refusals, refused
from benchmarks.matrix import Cell, Selection, SelectionError, select
from benchmarks.measures import MEASURES
from benchmarks.options import Options, planned_before
from benchmarks.own import Own, OwnError, is_brought
from benchmarks.profiles import PROFILES, REFERENCE
from benchmarks.session import Session
from benchmarks.workers import WorkerError
from models.own import own_name
from reports.verdicts import FAIL_ON, VERDICTS
from tasks.own import OwnData

SESSION: pytest.StashKey[Session] = pytest.StashKey()
CELLS = pytest.StashKey[list[Cell]]()
JUDGED = "judged"
OPTIONS: pytest.StashKey[Options] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("leanboard", "which compressed model should I ship?")

    def names(option: str, what: str) -> None:
        group.addoption(
            option,
            action="append",
            default=[],
            metavar="NAME",
            help=f"{what}; repeat or use commas",
        )

    group.addoption(
        "--profile",
        metavar="NAME",
        help=f"one of {', '.join(PROFILES)}; quick, or what a resumed run has",
    )
    names("--task", "tasks")
    names("--model", "models: names, folders of `save_pretrained`, hub ids")
    names("--recipe", "recipes, matched exactly (-k matches loosely)")
    names("--device", "devices")
    names("--seed", "seeds")
    group.addoption(
        "--ablate",
        action="store_true",
        help="add each recipe without each of its steps: what every step buys",
    )
    _add_own(group)
    group.addoption("--threads", type=int, default=None, help="threads of every runtime")
    group.addoption(
        "--output", type=Path, default=Path("reports/output"), help="folder of the runs"
    )
    group.addoption("--resume", action="store_true", help="go on with the latest run")
    group.addoption(
        "--cell-timeout",
        type=float,
        default=3600.0,
        metavar="SECONDS",
        help="that one build or measure may take",
    )
    group.addoption(
        "--extension",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="a Python file that adds steps, tasks, models or runtimes to their dicts; repeatable",
    )

    group.addoption(
        "--against",
        type=Path,
        default=None,
        metavar="DIR",
        help="baselines to compare with: each cell's verdict is a test of its own",
    )
    group.addoption(
        "--partial",
        action="store_true",
        help="the run is narrowed on purpose: the baseline's other cells are not missing",
    )
    group.addoption(
        "--fail-on",
        default=",".join(FAIL_ON),
        metavar="VERDICTS",
        help=f"verdicts that fail, by default %(default)s; all: {', '.join(VERDICTS)}",
    )


def _add_own(group: pytest.OptionGroup) -> None:
    """The options of a user's own data."""
    own = "of --data"
    group.addoption("--data", metavar="FILE", help="CSV, TSV, JSON lines, Parquet, folder, hub id")
    group.addoption(
        "--text-column", action="append", default=[], metavar="NAME", help=f"{own}; two for pairs"
    )
    group.addoption("--label-column", metavar="NAME", help=own)
    group.addoption("--test-data", metavar="FILE", help="labelled rows for the test split")
    group.addoption(
        "--shifted",
        action="append",
        default=[],
        metavar="NAME=FILE",
        help="labelled rows of another domain; repeatable",
    )
    group.addoption("--kind", choices=["classification", "regression"], help=f"{own}; inferred")
    group.addoption("--max-tokens", type=int, metavar="N", help=f"where the texts {own} are cut")


def _own_data(option: Any) -> OwnData | None:
    others = {
        "--text-column": option.text_column,
        "--label-column": option.label_column,
        "--test-data": option.test_data,
        "--shifted": option.shifted,
        "--kind": option.kind,
        "--max-tokens": option.max_tokens,
    }
    if option.data is None:
        if given := [name for name, value in others.items() if value]:
            raise SelectionError(f"{given[0]} says something of --data, which is not given")
        return None
    if wrong := [text for text in option.shifted if not text.partition("=")[2]]:
        raise SelectionError(f"--shifted {wrong[0]}: NAME=FILE is needed")
    if len(option.text_column) > 2:
        raise SelectionError("--text-column: one, or two for pairs of sentences")
    if option.max_tokens is not None and not 8 <= option.max_tokens <= 8192:
        raise SelectionError(f"--max-tokens {option.max_tokens}: 8 to 8192 are possible")
    return OwnData(
        data=_absolute(option.data),
        text_columns=tuple(option.text_column),
        label_column=option.label_column,
        test_data=option.test_data and _absolute(option.test_data),
        shifted=tuple(
            (name, _absolute(file)) for name, _, file in (t.partition("=") for t in option.shifted)
        ),
        kind=option.kind,
        max_tokens=option.max_tokens,
    )


def _absolute(source: str) -> str:
    """Return a path that workers find too; a hub id stays."""
    path = Path(source).expanduser()
    return str(path.absolute()) if path.exists() else source


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    option = config.option
    if _codspeed_is_on(config):
        raise pytest.UsageError(
            "pytest-codspeed is enabled and switches pytest-benchmark off: the durations that the "
            "workers measured would reach nobody; leave out --codspeed, or unset CODSPEED_ENV"
        )
    if getattr(option, "numprocesses", None) and _measures(config):
        raise pytest.UsageError("one process measures at a time: leave out -n of pytest-xdist")
    if _measures(config) and threading.current_thread() is threading.main_thread():
        # A time limit ends a run as Ctrl-C does: with the board of what was measured.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        options = Options.check(
            output=option.output,
            threads=option.threads,
            resume=option.resume,
            timeout=option.cell_timeout,
            extension_files=option.extension,
            profile=option.profile,
            against=option.against,
            partial=option.partial,
            fail_on=option.fail_on,
        )
        models = _models(option.model)
        said = Selection(
            profile=options.profile_name,
            tasks=_split(option.task),
            models=tuple(name for name in models if not is_brought(name)),
            recipes=_split(option.recipe),
            devices=_split(option.device),
            seeds=_seeds(option.seed),
            ablate=option.ablate,
        )
        data = _own_data(option)
        if options.resume and not (data or models or said != Selection(options.profile_name)):
            own, cells = Own.again(options.folder), planned_before(options.folder)
        else:
            if data or said.models != models:
                # A wrong name is refused before anything is downloaded.
                select(replace(said, recipes=_without_own(said.recipes, models)))
            own = Own.declare(models, said.tasks, data, usual=options.profile.tasks)
            if options.resume:
                own.check_same(options.folder)
            cells = select(replace(said, tasks=own.tasks, models=own.models))
    except (SelectionError, OwnError) as error:
        raise pytest.UsageError(str(error)) from error
    config.stash[OPTIONS] = replace(options, own=own)
    config.stash[CELLS] = cells


def _without_own(recipes: tuple[str, ...], models: tuple[str, ...]) -> tuple[str, ...]:
    """Return the recipes that name no model which the options bring: that one is not known yet."""
    own = tuple(own_name(model) for model in models if is_brought(model))
    kept = tuple(
        recipe
        for recipe in recipes
        if not any(part.partition(":")[2] in own for part in recipe.split("+"))
    )
    return kept or ((REFERENCE,) if recipes else ())


def _measures(config: pytest.Config) -> bool:
    """Say whether the command line names anything in this folder."""
    here = Path(__file__).parent
    return any(Path(arg.partition("::")[0]).resolve().is_relative_to(here) for arg in config.args)


def _codspeed_is_on(config: pytest.Config) -> bool:
    if not config.pluginmanager.hasplugin("codspeed"):
        return False
    return bool(getattr(config.option, "codspeed", False)) or "CODSPEED_ENV" in os.environ


def _models(values: list[str]) -> tuple[str, ...]:
    """Return names, and folders whole, whatever is in their paths."""
    names = [(v,) if Path(v).expanduser().is_dir() else _split([v]) for v in values]
    return tuple(name for group in names for name in group)


def _split(values: list[str]) -> tuple[str, ...]:
    names = tuple(name.strip() for value in values for name in value.split(","))
    if "" in names:
        raise SelectionError(f"an empty name in '{','.join(values)}'")
    return names


def _seeds(values: list[str]) -> tuple[int, ...]:
    seeds = _split(values)
    for seed in seeds:
        if not (seed.isascii() and seed.isdecimal() and int(seed) < 2**32):
            raise SelectionError(f"--seed needs whole numbers from 0 to 4294967295, got '{seed}'")
    return tuple(map(int, seeds))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Look for garbage less often: of 40,000 tests none is, and to look takes a fifth of the time."""
    before = gc.get_threshold()
    gc.set_threshold(100_000, *before[1:])
    try:
        return (yield)
    finally:
        gc.set_threshold(*before)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "cell" in metafunc.fixturenames:
        cells = metafunc.config.stash[CELLS]
        metafunc.parametrize("cell", cells, ids=[cell.id for cell in cells])
    if JUDGED in metafunc.fixturenames:
        names = [cell.id for cell in metafunc.config.stash[CELLS]]
        if not metafunc.config.stash[OPTIONS].partial:
            names += metafunc.config.stash[OPTIONS].baseline
        metafunc.parametrize(JUDGED, list(dict.fromkeys(names)))


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Without a baseline there are no verdicts."""
    judges = collection_path == Path(__file__).with_name("test_verdict.py")
    return True if judges and config.stash[OPTIONS].against is None else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Sort by cell, so that rows complete one by one; tests without a cell stay in front.

    Verdicts come last: they need every record.
    """
    cells = config.stash[CELLS]
    order = {cell: index for index, cell in enumerate(cells)}
    measures = {name: index for index, name in enumerate(MEASURES)}

    def rank(item: pytest.Item) -> tuple[int, int]:
        cell = _cell_of(item)
        if _judged_by(item):
            return (len(cells), 0)
        return (-1, 0) if cell is None else (order[cell], measures.get(_measure_of(item), 0))

    items.sort(key=rank)


def _cell_of(item: pytest.Item) -> Cell | None:
    callspec = getattr(item, "callspec", None)
    cell = callspec.params.get("cell") if callspec else None
    return cell if isinstance(cell, Cell) else None


def _judged_by(item: pytest.Item) -> str | None:
    """Return the id of the cell that a verdict's test judges."""
    callspec = getattr(item, "callspec", None)
    return callspec.params.get(JUDGED) if callspec else None


def _measure_of(item: pytest.Item) -> str:
    return item.originalname.removeprefix("test_")  # type: ignore[attr-defined]


def pytest_collection_finish(session: pytest.Session) -> None:
    """Open the run once it is known which measures of which cells were selected."""
    planned: dict[Cell, list[str]] = {}
    for item in session.items:
        if item.get_closest_marker("skip"):  # --benchmark-only marks what is no benchmark
            continue
        if (cell := _cell_of(item)) and _measure_of(item) in MEASURES:
            planned.setdefault(cell, []).append(_measure_of(item))
    config = session.config
    judged = {name for item in session.items if (name := _judged_by(item))}
    for cell in config.stash[CELLS]:
        if cell.id in judged:
            planned.setdefault(cell, list(MEASURES))
    reporter = config.pluginmanager.getplugin("terminalreporter")
    if config.option.collectonly:
        for note in (*config.stash[OPTIONS].own.notes, *refusals(planned)):
            reporter.write_line(f"leanboard: {note}")
    if not (planned or judged) or config.option.collectonly:
        return
    only_cells = not judged and all(map(_cell_of, session.items))
    if only_cells and all(map(refused, planned)):
        raise pytest.UsageError("\n".join(["nothing can be measured:", *refusals(planned)]))
    if config.get_verbosity() == 0:
        reporter.showfspath = False  # finished cells have lines of their own
    capture = config.pluginmanager.getplugin("capturemanager")

    def show(line: str) -> None:
        with capture.global_and_fixture_disabled() if capture else nullcontext():
            reporter.write_line(line)

    try:
        run = Session(config.stash[OPTIONS], planned, show)
    except (OSError, WorkerError) as error:
        raise pytest.UsageError(f"the run cannot begin: {error}") from error
    config.stash[SESSION] = run
    benchmarks = getattr(config, "_benchmarksession", None)
    if benchmarks is not None and benchmarks.json is None:
        benchmarks.json = run.folder / "pytest-benchmark.json"


@pytest.fixture(scope="session")
def leanboard(request: pytest.FixtureRequest) -> Session:
    """The run: builds artifacts, measures cells, keeps records."""
    return request.config.stash[SESSION]


@pytest.hookimpl(tryfirst=True)
def pytest_report_teststatus(report: pytest.TestReport, config: pytest.Config) -> Any:
    """Hide the dots: a finished cell prints a line of its own."""
    quiet = report.passed and SESSION in config.stash and config.get_verbosity() == 0
    if quiet and report.when == "call" and "/test_" in f"/{report.nodeid}" and "[" in report.nodeid:
        return report.outcome, "", ""
    return None


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> Iterator[None]:
    """Close the run after all others, pytest-benchmark too: a disk may be full when it writes."""
    run = session.config.stash.get(SESSION, None)
    try:
        with run.told() if run else nullcontext():  # pytest-benchmark writes its JSON
            yield
        if run and run.unwritten:
            session.exitstatus = max(session.exitstatus, pytest.ExitCode.TESTS_FAILED)
            if not run.was_shown:
                _show_board(session.config.pluginmanager.get_plugin("terminalreporter"), run)
    finally:
        if run:
            run.close()


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if run := config.stash.get(SESSION, None):
        _show_board(terminalreporter, run)


def _show_board(terminal: Any, run: Session) -> None:
    run.was_shown = True
    terminal.section("leaderboard")
    with run.told():
        for line in run.summary().splitlines():
            terminal.write_line(line)
        if verdicts := run.verdicts():
            terminal.section("verdicts")
            for line in verdicts.splitlines():
                terminal.write_line(line)
