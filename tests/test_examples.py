"""The examples run as their first lines say, and their rows are rows like any other."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.conftest import ROOT, TINY, Bench, Outcome

EXAMPLES = ROOT / "examples"


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """One run with a method, a task, a runtime and a measure of a user's own."""
    output = tmp_path_factory.mktemp("examples")
    files = [TINY, *sorted(EXAMPLES.glob("own_*.py")), EXAMPLES / "other_tools" / "steps.py"]
    command = [sys.executable, "-m", "pytest", "benchmarks/", str(EXAMPLES / "own_measure.py")]
    command += [f"--extension={file}" for file in files]
    command += ["--task", "sports", "--model", "tiny-bert", "--profile", "smoke"]
    recipes = ["majority", "finetune", "finetune+round-mantissa:6", "finetune+onnx-unoptimized"]
    recipes += ["finetune+torch-pruning", "finetune+optimum-onnx-int8"]
    command += ["--recipe", ",".join(recipes), "--output", str(output)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return Outcome(output, done)


def test_a_method_is_a_row(together: Outcome) -> None:
    assert together.status == 0, together.text
    row = together.rows["finetune+round-mantissa:6"]
    assert row["status"] == "ok"
    assert row["families"] == "training quantization"
    assert row["agreement"] > 0.9
    sizes = {
        r["cell"]["recipe"]: r["metrics"]
        for r in together.records
        if r["measure"] == "size" and r["status"] == "ok"
    }
    zipped = {recipe: metrics["zipped_bytes"]["value"] for recipe, metrics in sizes.items()}
    assert zipped["finetune+round-mantissa:6"] < 0.7 * zipped["finetune"]


def test_a_task_is_scored_by_its_metric(together: Outcome) -> None:
    row = together.rows["majority"]
    assert row["task"] == "sports"
    assert row["quality_metric"] == "macro_f1"
    assert row["quality"] < 0.5  # one class alone has an F1 of 0
    assert together.rows["finetune"]["quality_metric"] == "macro_f1"


def test_a_runtime_executes_its_format(together: Outcome) -> None:
    row = together.rows["finetune+onnx-unoptimized"]
    assert row["runtime"] == "ONNX Runtime, unoptimized"
    assert row["agreement"] > 0.95  # the small network's logits lie near each other


def test_another_tool_is_a_row(together: Outcome) -> None:
    pytest.importorskip("torch_pruning")
    row, reference = together.rows["finetune+torch-pruning"], together.rows["finetune"]
    assert row["status"] == "ok"
    assert row["parameters"] < 0.6 * reference["parameters"]


def test_a_tool_without_its_environment_says_what_makes_it(together: Outcome) -> None:
    row = together.rows["finetune+optimum-onnx-int8"]
    if row["status"] == "ok":
        pytest.skip("its environment is there")
    assert row["status"] == "unsupported"
    assert row["reason"] == "python examples/other_tools/environments.py optimum-onnx"


def test_a_measure_is_taken_of_every_row(together: Outcome) -> None:
    found = {r["cell"]["recipe"]: r for r in together.records if r["measure"] == "typos"}
    assert set(found) == set(together.rows)
    for record in (r for r in found.values() if r["status"] == "ok"):
        assert 0 < record["metrics"]["typos_accuracy"]["value"] <= 1
        assert record["metrics"]["typos_accuracy"]["lower_is_better"] is False


def test_a_fault_is_in_the_cells_of_its_format_alone(
    bench: Bench,
) -> None:
    faulty = ["--extension", str(EXAMPLES / "faults.py"), "-k", "accuracy"]
    recipes = ["--recipe", "finetune,finetune+onnx-int8"]
    sound = bench(*recipes, "--profile", "smoke", "-k", "accuracy").rows
    wrong = {"FAULT": "wrong:20", "FAULT_TASK": "tiny"}
    outcome = bench(*faulty[:2], *recipes, "--profile", "smoke", **wrong)
    assert outcome.status == 0, outcome.text
    lost = {name: row["quality"] - outcome.rows[name]["quality"] for name, row in sound.items()}
    assert lost["finetune"] == 0
    assert lost["finetune+onnx-int8"] == pytest.approx(round(0.2 * 96) / 96)
    fat = bench(*faulty[:2], "-k", "size", *recipes, "--profile", "smoke", FAULT="fat:2")
    sizes = {recipe: row["size_bytes"] for recipe, row in fat.rows.items()}
    assert sizes["finetune+onnx-int8"] > 0.5 * sizes["finetune"]  # it is a third without
    refused = bench(*faulty, *recipes, FAULT="slower:2")
    assert refused.status == pytest.ExitCode.USAGE_ERROR
    assert "one of slow, heavy, wrong, crash, fat, slow-reference, short-test" in refused.text
