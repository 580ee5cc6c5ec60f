"""The gate in whole runs: a run is its own green baseline, and each fault is red with its evidence."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from benchmarks.command import main
from tests.conftest import ROOT, Outcome, command

HERE = Path(__file__).parent
RECIPES = "finetune,finetune+bf16,finetune+onnx-int8,majority"
CELL = "tiny/tiny-bert/finetune+{}/cpu/s0"
FAULTS = {"onnx-int8": {"slower": 1.0, "ballast": 30_000_000}, "padding": 0.01}
BUSY = ("insufficient", "new", "void", "reference-moved")
"""What is said of a latency on a machine that does other work meanwhile, as a test machine may."""


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    output = tmp_path_factory.mktemp("healthy")
    return started(output, "--recipe", RECIPES)


@pytest.fixture(scope="module")
def baseline(healthy: Outcome) -> Path:
    folder = healthy.output / "baselines"
    assert main(["promote", "latest", "--to", str(folder), "--output", str(healthy.output)]) == 0
    return folder


def started(output: Path, *options: str, **environment: str) -> Outcome:
    done = subprocess.run(
        command(output, "--profile", "smoke", "--threads", "1", *options),
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return Outcome(output, done)


def test_a_run_against_itself_is_green(
    healthy: Outcome, baseline: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert healthy.status == 0, healthy.text
    where = ["--output", str(healthy.output)]
    assert main(["compare", str(baseline), "latest", *where]) == 0
    said = capsys.readouterr().out
    assert ": green" in said
    assert main(["compare", "latest", "latest", *where, "--format", "json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert {v["metric"] for v in data["verdicts"]} == {"quality", "size", "memory", "latency"}
    assert set(data["counts"]) <= {"ok", *BUSY}
    assert main(["history", "--against", str(baseline), *where]) == 0
    assert ("promoted " in capsys.readouterr().out) or data["counts"].get("new")


def test_faults_are_red_each_with_its_evidence(baseline: Path, tmp_path: Path) -> None:
    """Twice the time, 30 MB of ballast and 1 % of padding in one cell; a crash; a cell too few."""
    outcome = started(
        tmp_path,
        *("--recipe", "finetune,finetune+bf16,finetune+onnx-int8"),
        *("--against", str(baseline), "--junitxml", str(tmp_path / "junit.xml")),
        *("--extension", str(HERE / "faulty.py"), "--extension", str(HERE / "crashing.py")),
        LEANBOARD_TEST_FAULTS=json.dumps(FAULTS),
        LEANBOARD_TEST_CRASH="load",
    )
    assert outcome.status == pytest.ExitCode.TESTS_FAILED
    said = outcome.text[outcome.text.index("= verdicts =") :]
    assert ": red" in said
    assert f"regressed: {CELL.format('onnx-int8')} size: larger by more than 0.1%" in said
    assert f"regressed: {CELL.format('onnx-int8')} memory: larger by more than 3.0%" in said
    assert f"missing: {CELL.format('bf16')} cell: failed" in said
    assert "SIGABRT" in said
    assert "missing: tiny/none/majority/cpu/s0 cell: the baseline has it" in said
    junit = (tmp_path / "junit.xml").read_text()
    assert f"test_verdict[{CELL.format('onnx-int8')}]" in junit
    assert "test_verdict[tiny/none/majority/cpu/s0]" in junit
    night = json.loads((outcome.folder / "night.json").read_text())
    assert night["status"] == "red"
    verdicts = {(v["cell"], v["metric"]): v for v in night["verdicts"]}
    latency = verdicts[CELL.format("onnx-int8"), "latency"]
    assert latency["verdict"] in ("regressed", *BUSY)
    if latency["verdict"] == "regressed":
        assert latency["worse"] == pytest.approx(1.0, abs=0.5)
        assert latency["samples"].endswith("10 later")
        assert list(outcome.folder.glob("samples/*.later.npz"))
    assert (outcome.folder / "night.md").read_text().startswith("## ")
    assert main(["promote", "latest", "--output", str(tmp_path), "--to", str(baseline)]) == 2
