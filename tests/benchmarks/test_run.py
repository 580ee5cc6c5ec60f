"""Whole runs of `pytest benchmarks/`, as a user starts them, on the tiny task."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from reports.leaderboard import ROW_FIELDS
from reports.statistics import accuracy, speedup
from tasks import TASKS
from tests.conftest import CRASHING, ROOT, Bench, Outcome, command, empty_cache


@pytest.fixture(scope="module")
def whole(own_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """One run of four recipes with nothing built, looked at from many sides."""
    output = tmp_path_factory.mktemp("whole")
    recipes = "finetune,finetune+int8,finetune+onnx-int8,majority"
    cache = empty_cache(tmp_path_factory.mktemp("cold"))
    done = subprocess.run(
        command(output, "--recipe", recipes),
        cwd=ROOT,
        env=os.environ | {"LEANBOARD_CACHE": str(cache)},
        capture_output=True,
        text=True,
        check=False,
    )
    return Outcome(output, done)


def test_passes_and_ends_with_the_leaderboard(whole: Outcome) -> None:
    assert whole.status == 0, whole.text
    assert "16 passed" in whole.text
    board = whole.text[whole.text.index("= leaderboard =") :]
    assert "finetune+onnx-int8" in board
    assert "wall time" in board
    lines = board.splitlines()[1:]
    table = [line for line in lines if not line.startswith(("=", "wall time", "reports in"))]
    assert max(map(len, table)) <= 120


def test_rows_are_the_public_ones(whole: Outcome) -> None:
    board = json.loads((whole.folder / "leaderboard.json").read_text())
    assert board["schema"] == 1
    assert board["run"]["machine"]["cpu"]
    assert all(tuple(row) == tuple(ROW_FIELDS) for row in board["rows"])
    rows = list(csv.DictReader((whole.folder / "leaderboard.csv").open()))
    assert [row["recipe"] for row in rows] == [row["recipe"] for row in board["rows"]]
    reference = whole.rows["finetune"]
    assert reference["quality_retained"] == reference["size_ratio"] == reference["agreement"] == 1.0
    assert whole.rows["finetune+onnx-int8"]["size_ratio"] > 2
    assert whole.rows["majority"]["speedup"] is None
    assert all(row["status"] == "ok" for row in whole.rows.values())


def test_every_figure_can_be_made_again_from_the_samples(whole: Outcome) -> None:
    row = whole.rows["finetune+onnx-int8"]
    name = "tiny__tiny-bert__finetune+onnx-int8__cpu__s0"
    labels = np.array([e.label for e in TASKS["tiny"].splits()["test"]])
    with np.load(whole.folder / "samples" / f"{name}.predictions.npz") as kept:
        again = accuracy(kept["test"].argmax(axis=1) == labels)
    assert (row["quality"], row["quality_low"], row["quality_high"]) == tuple(again)
    with np.load(whole.folder / "samples" / f"{name}.latency.npz") as kept:
        pairs = list(zip(kept["reference_single"], kept["candidate_single"], strict=True))
        assert row["latency_samples"] == kept["candidate_single"].size
        p50 = 1e3 * float(np.median(kept["candidate_single"]))
    assert row["latency_single_p50_ms"] == p50
    assert (row["speedup"], row["speedup_low"], row["speedup_high"]) == pytest.approx(
        speedup(pairs)
    )


def test_one_row_is_of_one_artifact(whole: Outcome) -> None:
    for recipe, row in whole.rows.items():
        hashes = {r["artifact_sha256"] for r in whole.records if r["cell"]["recipe"] == recipe}
        assert hashes == {row["artifact_sha256"]}


def test_pytest_benchmark_has_the_workers_durations(whole: Outcome) -> None:
    found = json.loads((whole.folder / "pytest-benchmark.json").read_text())["benchmarks"]
    assert len(found) == 4
    for benchmark in found:
        info = benchmark["extra_info"]
        assert 1e3 * benchmark["stats"]["median"] == pytest.approx(info["latency_single_p50_ms"])
        assert info["artifact_sha256"]


def test_the_reference_against_itself_has_the_samples_of_both(whole: Outcome) -> None:
    row = whole.rows["finetune"]
    with np.load(
        whole.folder / "samples" / "tiny__tiny-bert__finetune__cpu__s0.latency.npz"
    ) as kept:
        assert kept["reference_single"].shape == kept["candidate_single"].shape
        assert (kept["reference_single"] != kept["candidate_single"]).any()
    assert row["speedup_low"] < row["speedup"] < row["speedup_high"]


def test_what_pytest_benchmark_saves_it_compares(bench: Bench, tmp_path: Path) -> None:
    options = ("--recipe", "majority", "-k", "latency", f"--benchmark-storage={tmp_path / 'saved'}")
    first = bench(*options, "--benchmark-autosave")
    assert first.status == 0, first.text
    assert len(list((tmp_path / "saved").rglob("0001_*.json"))) == 1
    second = bench(*options, "--benchmark-compare")
    assert second.status == 0, second.text
    assert "Comparing against benchmarks from" in second.text
    assert "(NOW)" in second.text
    assert "(0001_" in second.text


def test_without_a_network_each_row_says_what_to_do(bench: Bench, tmp_path: Path) -> None:
    nowhere = {"LEANBOARD_CACHE": str(tmp_path / "empty"), "PIP_INDEX_URL": "http://127.0.0.1:9/"}
    outcome = bench("--recipe", "majority", **nowhere)
    assert outcome.status == pytest.ExitCode.TESTS_FAILED
    assert "check the network" in outcome.rows["majority"]["reason"]
    assert "Traceback" not in outcome.text


def test_the_account_of_the_time_adds_up(whole: Outcome) -> None:
    account = json.loads((whole.folder / "run.json").read_text())["account"]
    wall = account.pop("wall")
    assert sum(account.values()) == pytest.approx(wall, abs=0.1)
    for kind in ("building", "starting workers", "loading", "predicting", "timing"):
        assert account[kind] > 0
    assert account["other"] < 0.4 * wall  # of tiny cells, which leave the harness the most


def test_memory_and_latency_are_plausible(whole: Outcome) -> None:
    for row in whole.rows.values():
        assert row["memory_process_peak_bytes"] >= row["memory_inference_peak_bytes"] > 0
        assert row["latency_single_p95_ms"] >= row["latency_single_p50_ms"] > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--threads", "1"], "was made with threads {threads}, this would be 1"),
        (["--profile", "smoke"], "was made with profile quick, this would be smoke"),
    ],
)
def test_a_run_goes_on_as_it_began(whole: Outcome, options: list[str], message: str) -> None:
    done = subprocess.run(
        command(whole.output, "--resume", *options),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    threads = json.loads((whole.folder / "run.json").read_text())["threads"]
    if "threads" in message and threads == 1:
        pytest.skip("one core: it cannot be another number of threads")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert message.format(threads=threads) in done.stdout + done.stderr


def test_a_run_does_not_go_on_on_another_machine(whole: Outcome, tmp_path: Path) -> None:
    shutil.copytree(whole.output, tmp_path / "output", symlinks=True)
    path = tmp_path / "output" / "latest" / "run.json"
    info = json.loads(path.read_text())
    path.write_text(json.dumps(info | {"machine": info["machine"] | {"cpu": "Another CPU"}}))
    done = subprocess.run(
        command(tmp_path / "output", "--resume"),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "was made with machine {'cpu': 'Another CPU'}" in done.stdout + done.stderr


@pytest.mark.parametrize("text", ["", "[]", '{"schema": 99}'])
def test_a_damaged_run_does_not_go_on(bench: Bench, tmp_path: Path, text: str) -> None:
    (tmp_path / "output" / "latest").mkdir(parents=True)
    (tmp_path / "output" / "latest" / "run.json").write_text(text)
    outcome = bench("--resume")
    assert outcome.status == pytest.ExitCode.USAGE_ERROR
    assert "--resume: " in outcome.text
    assert "run.json" in outcome.text


def test_a_repeated_test_alone_gives_its_row(bench: Bench) -> None:
    """Order and -k change only speed: latency alone builds, predicts and times what it needs."""
    outcome = bench("--recipe", "finetune+int8", "-k", "latency")
    assert outcome.status == 0, outcome.text
    assert outcome.rows["finetune+int8"]["speedup"] > 0
    assert outcome.rows["finetune"]["quality"] is not None
    narrowed = bench("--recipe", "finetune+int8", "-k", "size")
    assert narrowed.rows["finetune+int8"]["size_ratio"] > 1


def test_a_row_without_its_reference_has_a_p50(bench: Bench, tmp_path: Path) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text(
        "import os\n"
        "from dataclasses import replace\n"
        "from models.predictors import RUNTIMES\n"
        "def load(*_): os.abort()\n"
        "RUNTIMES['pytorch'] = replace(RUNTIMES['pytorch'], predictor=f'{__name__}:load')\n"
    )
    outcome = bench("--extension", str(broken), "--recipe", "finetune,finetune+onnx-int8")
    assert outcome.rows["finetune"]["status"] == "failed"
    row = outcome.rows["finetune+onnx-int8"]
    assert row["status"] == "ok", outcome.text
    assert row["latency_single_p50_ms"] > 0
    assert row["speedup"] is row["quality_retained"] is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--task", "movie"], "unknown task 'movie'; did you mean 'movies'"),
        (["--model", "minilm-bart"], "unknown model 'minilm-bart'; did you mean 'minilm-bert'"),
        (["--recipe", "finetune+int9"], "unknown step 'int9'; did you mean 'int8'"),
        (["--recipe", "int8+finetune"], "'int8' needs pytorch"),
        (["--device", "cdua"], "unknown device 'cdua'; did you mean 'cuda'"),
        (["--profile", "quik"], "unknown profile 'quik'"),
        (["--seed", "one"], "--seed needs whole numbers from 0 to 4294967295, got 'one'"),
        (["--seed", "²"], "--seed needs whole numbers from 0 to 4294967295, got '²'"),
        (["--seed", "4294967296"], "got '4294967296'"),
        (["--recipe", ""], "an empty name in ''"),
        (["--model", "none", "--recipe", "finetune"], "nothing to run: finetune on model none"),
        (["--threads", "0"], "--threads 0: this machine has 1 to"),
        (["--cell-timeout", "-1"], "--cell-timeout -1: needs a positive number"),
        (["--extension", "nowhere.py"], "--extension nowhere.py: no such file"),
        (["--resume"], "--resume: no run 'latest'"),
    ],
)
def test_wrong_options_end_before_any_work(bench: Bench, options: list[str], message: str) -> None:
    outcome = bench(*options, LEANBOARD_CACHE="/nowhere/at/all")
    assert outcome.status == pytest.ExitCode.USAGE_ERROR
    assert message in outcome.text
    assert not outcome.output.exists()


@pytest.mark.parametrize("option", ["--benchmark-only", "--benchmark-skip"])
def test_what_pytest_benchmark_leaves_out_is_not_missing(bench: Bench, option: str) -> None:
    outcome = bench("--recipe", "majority", option)
    assert outcome.status == 0, outcome.text
    assert outcome.rows["majority"]["status"] == "ok"
    timed = outcome.rows["majority"]["latency_samples"] is not None
    assert timed == (option == "--benchmark-only")


@pytest.mark.parametrize("form", ["--model={}", "--model {}"])
def test_a_folder_given_as_a_model_is_not_executed(bench: Bench, tmp_path: Path, form: str) -> None:
    hostile = tmp_path / "model"
    hostile.mkdir()
    (hostile / "conftest.py").write_text(f"open({str(tmp_path / 'executed')!r}, 'w')")
    outcome = bench(*form.format(hostile).split())
    assert outcome.status == pytest.ExitCode.USAGE_ERROR
    assert not (tmp_path / "executed").exists()


def test_a_device_that_is_not_there_is_skipped_with_the_reason(bench: Bench) -> None:
    outcome = bench("--device", "mps", "--recipe", "finetune", "-rs")
    assert outcome.status == 0
    assert "4 skipped" in outcome.text
    assert outcome.rows["finetune"]["status"] == "skipped"
    assert "Apple silicon" in outcome.rows["finetune"]["reason"]


def test_what_a_model_cannot_have_is_unsupported(bench: Bench) -> None:
    outcome = bench("--recipe", "majority,finetune+distill:9", "--model", "tiny-bert,none")
    assert outcome.status == 0
    row = outcome.rows["finetune+distill:9"]
    assert (row["status"], row["quality"]) == ("unsupported", None)
    assert "this one has 4" in row["reason"]
    board = outcome.text[outcome.text.index("= leaderboard =") :]
    assert "finetune+distill:9: unsupported: " in board


def test_a_run_of_nothing_that_can_be_measured_does_not_begin(bench: Bench) -> None:
    outcome = bench("--recipe", "finetune+distill:9")
    assert outcome.status == pytest.ExitCode.USAGE_ERROR
    assert outcome.text.count("this one has 4") == 1
    assert not outcome.output.exists()


def test_a_native_crash_fails_its_cell_alone(bench: Bench) -> None:
    crashes = {
        "load": {"memory", "accuracy", "latency"},
        "predict": {"accuracy", "latency"},
        "latency": {"latency"},
        "block": {"latency"},
    }
    recipes = {f"finetune+crashing:{when}": measures for when, measures in crashes.items()}
    chosen = ",".join(("finetune", *recipes, "finetune+bf16"))
    outcome = bench("--extension", str(CRASHING), "--recipe", chosen)
    assert outcome.status == pytest.ExitCode.TESTS_FAILED
    assert outcome.rows["finetune"]["status"] == outcome.rows["finetune+bf16"]["status"] == "ok"
    board = outcome.text[outcome.text.index("= leaderboard =") :]
    for recipe, measures in recipes.items():
        row = outcome.rows[recipe]
        assert row["status"] == "failed"
        assert "SIGABRT" in row["reason"]
        assert ".log" in row["reason"]
        failed = {
            record["measure"]
            for record in outcome.records
            if record["status"] == "failed" and record["cell"]["recipe"] == recipe
        }
        assert failed == measures, recipe
    assert board.count("failed") >= len(recipes)


def test_a_step_that_fails_is_tried_once_for_all_that_build_on_it(bench: Bench) -> None:
    recipes = ("finetune+raising", "finetune+raising+int8")
    together = ",".join(("finetune", *recipes, "diverging"))
    outcome = bench("--extension", str(CRASHING), "--recipe", together)
    for recipe in recipes:
        assert outcome.rows[recipe]["status"] == "failed"
        assert "ValueError: this step never works" in outcome.rows[recipe]["reason"]
    logs = (outcome.folder / "logs").glob("*raising*.build.log")
    assert sum("never works" in log.read_text() for log in logs) == 1
    assert outcome.rows["finetune"]["status"] == "ok"
    diverged = outcome.rows["diverging"]
    assert diverged["status"] == "failed"
    assert re.search(r"the loss is (nan|inf) at step \d+: stopped", diverged["reason"])


def test_a_build_that_takes_too_long_is_a_timeout(bench: Bench) -> None:
    outcome = bench(
        "--extension", str(CRASHING), "--recipe", "finetune+sleeping", "--cell-timeout", "8"
    )
    row = outcome.rows["finetune+sleeping"]
    assert row["status"] == "timeout"
    assert "no answer within 8 s" in row["reason"]


def test_a_damaged_artifact_is_not_measured(
    bench: Bench, forget: Callable[[], None], tmp_path: Path
) -> None:
    forget()
    first = bench("--recipe", "finetune+bf16", "--seed", "7", "-k", "size")
    assert first.status == 0, first.text
    sha256 = first.rows["finetune+bf16"]["artifact_sha256"]
    manifests = (tmp_path / "store").glob("??/*/manifest.json")
    folder = next(m.parent for m in manifests if json.loads(m.read_text())["sha256"] == sha256)
    weights = folder / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[len(data) // 2] ^= 1
    weights.write_bytes(data)
    second = bench("--recipe", "finetune+bf16", "--seed", "7", "-k", "size")
    assert second.status == pytest.ExitCode.TESTS_FAILED
    assert "'model.safetensors' was changed" in second.rows["finetune+bf16"]["reason"]


def test_a_run_that_other_work_disturbed_says_so_itself(bench: Bench, tmp_path: Path) -> None:
    busy = tmp_path / "busy.py"
    busy.write_text(
        "from benchmarks.other_work import OtherWork\n"
        "OtherWork.share = property(lambda self: 0.31)\n"
    )
    outcome = bench("--extension", str(busy), "--recipe", "majority")
    said = "Other work took 31% of the processors while rows were timed"
    assert said in outcome.text
    assert said in (outcome.folder / "leaderboard.md").read_text()
    assert json.loads((outcome.folder / "leaderboard.json").read_text())["run"]["account"]
