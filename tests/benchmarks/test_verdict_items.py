"""Verdicts as test items: a run whose records are all there is resumed, so that nothing is measured."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from benchmarks import machine
from benchmarks.measures import MEASURES
from reports.baselines import promote
from reports.facts import facts_of
from reports.records import Metric, Record, append, read_run
from tests.conftest import ROOT, Bench, Outcome, command

RECIPES = ("majority", "tfidf-logistic")
SIZE, PEAK = 1_000_000, 50_000_000


def cell(recipe: str) -> str:
    return f"tiny/none/{recipe}/cpu/s0"


def written(output: Path, recipes: tuple[str, ...], size: int = SIZE) -> Path:
    """Write a run of controls in which every measure has its record; `size` is the last one's."""
    folder = output / "run"
    (folder / "samples").mkdir(parents=True)
    info = {
        "schema": 1,
        "run": "run",
        "profile": "quick",
        "threads": machine.default_threads(),
        "machine": machine.describe(),
        "versions": machine.versions(),
    }
    planned = {cell(recipe): list(MEASURES) for recipe in recipes}
    (folder / "run.json").write_text(json.dumps(info | {"planned": planned}))
    (output / "latest").symlink_to("run")
    for recipe in recipes:
        where = dict(
            zip(("task", "model", "recipe", "device"), cell(recipe).split("/"), strict=False)
        )
        for measure in ("build", *MEASURES):
            values = {
                "size": {"size_bytes": size if recipe == recipes[-1] else SIZE},
                "memory": {"memory_inference_peak_bytes": PEAK},
            }.get(measure, {})
            metrics = {name: Metric(value, "B", True) for name, value in values.items()}
            record = Record("run", where | {"seed": 0}, measure, "ok", None, "a" * 64, metrics)
            append(folder, record)
    return folder


@pytest.fixture
def baseline(tmp_path: Path) -> Path:
    promote(facts_of(read_run(written(tmp_path / "before", RECIPES))), tmp_path / "baselines")
    return tmp_path / "baselines"


def judged(output: Path, recipes: tuple[str, ...], *options: str) -> Outcome:
    """Resume a run, and ask for its verdicts alone."""
    chosen = ("--recipe", ",".join(recipes), "--resume", "-k", "verdict", *options)
    done = subprocess.run(
        command(output, *chosen), cwd=ROOT, capture_output=True, text=True, check=False
    )
    return Outcome(output, done)


def test_a_night_like_its_baseline_is_green(baseline: Path, tmp_path: Path) -> None:
    written(tmp_path / "after", RECIPES)
    outcome = judged(tmp_path / "after", RECIPES, "--against", str(baseline))
    assert outcome.status == 0, outcome.text
    assert "run against run: green" in outcome.text
    assert "2 passed" in outcome.text
    assert '"trends":{"nights":' in (tmp_path / "after" / "run" / "leaderboard.html").read_text()


def test_a_larger_file_and_a_missing_cell_are_red_items(baseline: Path, tmp_path: Path) -> None:
    output = tmp_path / "after"
    written(output, RECIPES[1:], size=SIZE + SIZE // 100)
    junit = tmp_path / "junit.xml"
    options = ("--against", str(baseline), "--junitxml", str(junit))
    outcome = judged(output, RECIPES[1:], *options)
    assert outcome.status == pytest.ExitCode.TESTS_FAILED
    said = outcome.text[outcome.text.index("= verdicts =") :]
    assert f"regressed: {cell('tfidf-logistic')} size: larger by more than 0.1%" in said
    assert "1 MB -> 1.01 MB (1.0% worse), limits tolerance 0.1%" in said
    assert f"missing: {cell('majority')} cell: the baseline has it, the run does not" in said
    for recipe in RECIPES:
        assert f'name="test_verdict[{cell(recipe)}]"' in junit.read_text()
    assert json.loads((outcome.folder / "night.json").read_text())["status"] == "red"
    assert (outcome.folder / "night.md").read_text().startswith("## run against run: red")
    partial = judged(output, RECIPES[1:], *options, "--partial", "--fail-on", "missing")
    assert partial.status == 0, partial.text


def test_a_new_cell_can_be_made_to_fail(tmp_path: Path) -> None:
    promote(facts_of(read_run(written(tmp_path / "one", RECIPES[:1]))), tmp_path / "young")
    written(tmp_path / "after", RECIPES)
    options = ("--against", str(tmp_path / "young"))
    assert judged(tmp_path / "after", RECIPES, *options).status == 0
    red = judged(tmp_path / "after", RECIPES, *options, "--fail-on", "new")
    assert red.status == pytest.ExitCode.TESTS_FAILED
    assert f"new: {cell('tfidf-logistic')} cell: the baseline does not have it" in red.text


def collected(*options: str) -> list[str]:
    done = subprocess.run(
        [*command(Path("nowhere"), *options), "--collect-only", "-q", "-p", "no:cacheprovider"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = done.stdout.splitlines() + done.stderr.splitlines()
    return [line for line in lines if "test_" in line or "ERROR" in line]


def test_verdicts_come_last_and_name_missing_cells_unless_partial(baseline: Path) -> None:
    options = ("--recipe", "majority", "--against", str(baseline))
    names = [line.partition("::")[2] for line in collected(*options)]
    assert names[-2:] == [f"test_verdict[{cell(recipe)}]" for recipe in RECIPES]
    assert len(names) == len(MEASURES) + 2
    assert len(collected(*options, "--partial")) == len(MEASURES) + 1
    assert len(collected("--recipe", "majority")) == len(MEASURES)


def test_a_damaged_baseline_ends_the_run_before_any_work(baseline: Path, tmp_path: Path) -> None:
    path = next(baseline.glob("*/baseline.json"))
    broken = tmp_path / "broken" / path.parent.name / path.name
    broken.parent.mkdir(parents=True)
    broken.write_text(path.read_text()[:500])
    said = collected("--against", str(tmp_path / "broken"))
    assert said[0].startswith(f"ERROR: --against: {broken} is cut or damaged")
    assert collected("--against", str(tmp_path / "nowhere"))[0].startswith("ERROR: --against")
    wrong = collected("--against", str(baseline), "--fail-on", "regresed")
    assert "unknown verdict 'regresed'; did you mean 'regressed'" in wrong[0]


def test_several_processes_are_refused(bench: Bench) -> None:
    pytest.importorskip("xdist")
    done = bench("--recipe", "majority", "-n", "2")
    assert done.status == pytest.ExitCode.USAGE_ERROR
    assert "leave out -n of pytest-xdist" in done.text


def test_codspeed_is_noticed_before_any_work(tmp_path: Path) -> None:
    """It blocks pytest-benchmark when enabled; a plugin of its name and option stands for it."""
    (tmp_path / "codspeed.py").write_text(
        "def pytest_addoption(parser):\n    parser.addoption('--codspeed', action='store_true')\n"
    )
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"}
    for option, status in (("--codspeed", pytest.ExitCode.USAGE_ERROR), ("-q", pytest.ExitCode.OK)):
        done = subprocess.run(
            [
                *command(tmp_path, "--recipe", "majority", "--collect-only", "-p", "codspeed"),
                option,
            ],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == status
        assert ("switches pytest-benchmark off" in done.stderr) == (option == "--codspeed")
