"""The pytest plugin: options, one parametrized cell behind every fixture, and the leaderboard at the end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.matrix import Cell, Selection, SelectionError, select
from benchmarks.measures import MEASURES
from benchmarks.options import Options
from benchmarks.own import Own, OwnError
from benchmarks.profiles import PROFILES
from benchmarks.session import Session
from tasks.own import OwnData

SESSION: pytest.StashKey[Session] = pytest.StashKey()
CELLS = pytest.StashKey[list[Cell]]()
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
        "--profile", default="quick", metavar="NAME", help=f"one of {', '.join(PROFILES)}"
    )
    names("--task", "tasks")
    names("--model", "models: names, folders of `save_pretrained`, hub ids")
    names("--recipe", "recipes, matched exactly (-k matches loosely)")
    names("--device", "devices")
    names("--seed", "seeds")
    _add_own(group)
    group.addoption("--threads", type=int, default=None, help="threads of every runtime")
    group.addoption(
        "--output", type=Path, default=Path("reports/output"), help="folder of the runs"
    )
    group.addoption("--resume", action="store_true", help="go on with the latest run")
    group.addoption(
        "--timeout", type=float, default=3600.0, help="seconds that one build or measure may take"
    )
    group.addoption(
        "--extension",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="a Python file that adds steps, tasks, models or runtimes to their dicts; repeatable",
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
    try:
        options = Options.check(
            output=option.output,
            threads=option.threads,
            resume=option.resume,
            timeout=option.timeout,
            extension_files=option.extension,
            profile=option.profile,
        )
        own = Own.declare(_models(option.model), _split(option.task), _own_data(option))
        options = replace(options, own=own)
        cells = select(
            Selection(
                profile=option.profile,
                tasks=own.tasks,
                models=own.models,
                recipes=_split(option.recipe),
                devices=_split(option.device),
                seeds=_seeds(option.seed),
            )
        )
    except (SelectionError, OwnError) as error:
        raise pytest.UsageError(str(error)) from error
    config.stash[OPTIONS] = options
    config.stash[CELLS] = cells


def _models(values: list[str]) -> tuple[str, ...]:
    """Return names, and folders whole, whatever is in their paths."""
    names = [(v,) if Path(v).expanduser().is_dir() else _split([v]) for v in values]
    return tuple(name for group in names for name in group)


def _split(values: list[str]) -> tuple[str, ...]:
    return tuple(name.strip() for value in values for name in value.split(",") if name.strip())


def _seeds(values: list[str]) -> tuple[int, ...]:
    wrong = [seed for seed in _split(values) if not seed.isdigit()]
    if wrong:
        raise SelectionError(f"--seed needs whole numbers, got '{wrong[0]}'")
    return tuple(int(seed) for seed in _split(values))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "cell" in metafunc.fixturenames:
        cells = metafunc.config.stash[CELLS]
        metafunc.parametrize("cell", cells, ids=[cell.id for cell in cells])


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Sort by cell, so that rows complete one by one; tests without a cell stay in front."""
    cells = config.stash[CELLS]
    order = {cell: index for index, cell in enumerate(cells)}
    measures = {name: index for index, name in enumerate(MEASURES)}

    def rank(item: pytest.Item) -> tuple[int, int]:
        cell = _cell_of(item)
        return (-1, 0) if cell is None else (order[cell], measures.get(_measure_of(item), 0))

    items.sort(key=rank)


def _cell_of(item: pytest.Item) -> Cell | None:
    callspec = getattr(item, "callspec", None)
    return callspec.params.get("cell") if callspec else None


def _measure_of(item: pytest.Item) -> str:
    return item.originalname.removeprefix("test_")  # type: ignore[attr-defined]


def pytest_collection_finish(session: pytest.Session) -> None:
    """Open the run once it is known which measures of which cells were selected."""
    planned: dict[Cell, list[str]] = {}
    for item in session.items:
        if (cell := _cell_of(item)) and _measure_of(item) in MEASURES:
            planned.setdefault(cell, []).append(_measure_of(item))
    config = session.config
    if not planned or config.option.collectonly:
        return
    reporter = config.pluginmanager.getplugin("terminalreporter")
    if config.get_verbosity() == 0:
        reporter.showfspath = False  # finished cells have lines of their own
    capture = config.pluginmanager.getplugin("capturemanager")

    def show(line: str) -> None:
        with capture.global_and_fixture_disabled() if capture else nullcontext():
            reporter.write_line(line)

    run = Session(config.stash[OPTIONS], planned, show)
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


@pytest.hookimpl(wrapper=True)
def pytest_sessionfinish(session: pytest.Session) -> Iterator[None]:
    yield
    if run := session.config.stash.get(SESSION, None):
        run.close()


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if run := config.stash.get(SESSION, None):
        terminalreporter.section("leaderboard")
        for line in run.summary().splitlines():
            terminalreporter.write_line(line)
