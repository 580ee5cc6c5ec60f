"""Rows from records: ratios, fronts, answers, and nothing silently absent."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from reports.leaderboard import ROW_FIELDS, notes, rows, step_of, typical_ms
from reports.records import Metric, Record, Run
from reports.tables import WIDTH, csv_text, latex, markdown, recommended, terminal

PUBLIC = """
task model recipe families device runtime threads seed status reason artifact_sha256 quality_metric
quality quality_low quality_high quality_retained agreement shifted_quality calibration_error
size_bytes size_ratio parameters nonzero_parameters macs memory_load_peak_bytes memory_steady_bytes
memory_inference_peak_bytes memory_process_peak_bytes memory_ratio load_seconds latency_samples
latency_single_p50_ms latency_single_p95_ms latency_batch_p50_ms throughput_per_s speedup
speedup_low speedup_high speedup_batch speedup_same_runtime build_seconds pareto
"""
"""What others read: a name that changes breaks them."""

MEASURES = ["accuracy", "size", "memory", "latency"]


def records(recipe: str, quality: float, size: float, speedup: float, **cell: Any) -> list[Record]:
    where = {"task": "t", "model": "m", "recipe": recipe, "device": "cpu", "seed": 0} | cell
    values: dict[str, dict[str, Any]] = {
        "build": {"build_seconds": 1.0},
        "accuracy": {"quality_metric": "accuracy", "quality": quality},
        "size": {"size_bytes": size},
        "memory": {"memory_inference_peak_bytes": 10 * size},
        "latency": {
            "latency_single_p50_ms": 8 / speedup,
            "speedup": speedup,
            "latency_samples": 72,
        },
    }
    return [
        Record(
            "run",
            where,
            measure,
            "ok",
            artifact_sha256=recipe,
            metrics={name: Metric(value, "", None) for name, value in metrics.items()},
            facts={"runtime_control": "finetune+onnx"} if measure == "build" else {},
        )
        for measure, metrics in values.items()
    ]


def run(found: list[Record], planned: list[str] = MEASURES) -> Run:
    return Run(Path(), {"planned": {r.cell_id: planned for r in found}}, found)


FOUR = [
    *records("finetune", 0.90, 100, 1.0),
    *records("finetune+onnx", 0.90, 101, 2.0),
    *records("finetune+onnx-int8", 0.895, 25, 4.0),
    *records("finetune+distill:3", 0.85, 50, 1.9),
]


def by_recipe(table: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {row["recipe"]: row for row in table}


def test_ratios_are_larger_is_better_against_the_reference() -> None:
    row = by_recipe(rows(run(FOUR)))["finetune+onnx-int8"]
    assert row["quality_retained"] == pytest.approx(0.895 / 0.90)
    assert row["size_ratio"] == row["memory_ratio"] == 4.0
    assert row["speedup_same_runtime"] == 2.0
    assert list(row) == ROW_FIELDS == PUBLIC.split()


def test_the_front_is_what_nothing_beats_in_every_respect() -> None:
    found = by_recipe(rows(run(FOUR)))
    assert {name for name, row in found.items() if row["pareto"]} == {
        "finetune+onnx",
        "finetune",
        "finetune+onnx-int8",
    }


def test_the_answer_names_only_rows_within_one_percent() -> None:
    *_, small_and_fast, best = recommended(rows(run(FOUR)))
    assert "of these the smallest and the fastest is finetune+onnx-int8" in small_and_fast
    assert "of these the most accurate is finetune+onnx " in best
    alone = recommended(rows(run([*FOUR[:5], *FOUR[15:]])))
    assert alone[-1].endswith("no compressed row keeps --within 1%")


def test_the_answer_says_what_it_was_not_chosen_among() -> None:
    whole = recommended(rows(run(FOUR)))
    first, *others = recommended(rows(run(FOUR[:-1])))
    assert first == "this leaves out what is not measured yet: 1 of 4 rows"
    assert whole[0] not in first
    assert others


def test_the_answer_names_the_smallest_the_fastest_and_the_most_accurate() -> None:
    table = rows(run([*FOUR, *records("finetune+svd:8", 0.896, 20, 3.0)]))
    *_, small, fast, best = recommended(table)
    assert "of these the smallest is finetune+svd:8" in small
    assert "of these the fastest is finetune+onnx-int8" in fast
    assert "of these the most accurate is finetune+onnx " in best


def test_the_front_and_the_best_of_each_column_are_marked() -> None:
    lines = {
        line.split()[1]: line for line in terminal(rows(run(FOUR)), {}).splitlines() if "◆" in line
    }
    assert lines.keys() >= {"finetune", "finetune+onnx", "finetune+onnx-int8"}
    assert "finetune+distill:3" not in lines
    assert "2.00 ms" not in lines["finetune+onnx-int8"]
    assert lines["finetune+onnx-int8"].count("*") == 4  # MB, RAM, p50, times faster
    assert lines["finetune"].count("*") == 1  # the quality


def test_a_missing_measure_is_a_failure() -> None:
    row = rows(run([r for r in FOUR[:5] if r.measure != "memory"]))[0]
    assert (row["status"], row["reason"]) == ("failed", "not measured yet: memory")


def test_an_interrupted_run_says_so_and_how_it_goes_on() -> None:
    assert notes(rows(run(FOUR)), run(FOUR)) == []
    begun = run(FOUR)
    begun.info["planned"] |= {"t/m/student:3/cpu/s0": MEASURES}
    text = terminal(rows(begun), {"of_rows": notes(rows(begun), begun)})
    assert "this run is not finished: 1 of its 5 cells lack a measure" in text
    assert "--resume" in text


def test_measures_of_two_artifacts_are_no_row() -> None:
    other = records("finetune", 0.9, 100, 1.0)
    mixed = [*FOUR[:4], Record(**{**vars(other[4]), "artifact_sha256": "another"})]
    row = rows(run(mixed))[0]
    assert (row["status"], row["reason"]) == ("failed", "measures of 2 different artifacts")


def test_a_cell_without_any_record_is_a_row() -> None:
    table = rows(Run(Path(), {"planned": {"t/m/finetune/cpu/s0": MEASURES}}, []))
    assert (table[0]["status"], table[0]["reason"]) == ("failed", "not measured yet")


def test_the_terminal_is_120_wide_and_shows_failures_with_their_reason() -> None:
    bad = Record(
        "run",
        FOUR[0].cell | {"recipe": "finetune+" + "int8+" * 9 + "x"},
        "size",
        "failed",
        "because " * 40,
    )
    text = terminal(rows(run([*FOUR, bad])), {})
    assert max(map(len, text.splitlines())) <= WIDTH
    assert "failed: because" in text
    assert "| finetune+distill:3 " in markdown(rows(run(FOUR)), {})


def test_figures_of_four_digits_and_long_steps_fit_too() -> None:
    fast = records("finetune+distill-into:transformer-scratch+onnx-int8", 0.9, 0.5, 1234.5)
    for record in fast:
        if record.measure == "latency":
            low_high = {"speedup_low": 1201.2, "speedup_high": 1256.7}
            record.metrics.update({n: Metric(v, "x", False) for n, v in low_high.items()})
        if record.measure == "accuracy":
            low_high = {"quality_low": 0.886, "quality_high": 0.912, "shifted_quality": 0.7}
            record.metrics.update({n: Metric(v, "", False) for n, v in low_high.items()})
    text = terminal(rows(run([*records("finetune", 0.90, 1e9, 1.0), *fast])), {})
    assert "1234 [1201 1257]x" in text
    assert max(map(len, text.splitlines())) <= WIDTH


def test_latex_escapes_names_and_prints_the_best_bold() -> None:
    text = latex(rows(run(records("finetune+a_b%{x}\\\\", 0.9, 100e6, 2.0) + FOUR)))
    assert r"finetune+a\_b\%\{x\}\textbackslash{}" in text
    assert r"\textbf{4.00x}" in text
    assert text.count(r"\toprule") == text.count(r"\bottomrule") == 1
    assert r"$\diamond$ finetune" in text


def test_csv_runs_no_formula() -> None:
    table = rows(run([Record("run", FOUR[0].cell, "size", "failed", "=HYPERLINK(1)")]))
    assert "'=HYPERLINK(1)" in csv_text(table)


def test_a_hundred_thousand_records_in_seconds() -> None:
    """On a quiet machine, in half of it; the bound allows for other work beside."""
    many = [
        r
        for seed in range(5000)
        for part in (
            records("finetune", 0.9, 100, 1.0, seed=seed),
            records("finetune+onnx", 0.9, 90, 2.0, seed=seed),
            records("finetune+int8", 0.89, 60, 2.0, seed=seed),
            records("student:3", 0.8, 50, 2.0, seed=seed),
        )
        for r in part
    ]
    assert len(many) == 100_000
    started = time.process_time()
    table = rows(run(many))
    terminal(table, {}), markdown(table, {}), csv_text(table), recommended(table)
    assert len(table) == 20_000
    assert time.process_time() - started < 20


def test_a_pruned_row_says_that_its_dense_file_gains_nothing() -> None:
    found = records("finetune+prune-magnitude:0.5", 0.89, 100e6, 1.0)
    found[0].facts["families"] = ["training", "pruning"]
    for name, value in {"parameters": 100, "nonzero_parameters": 60, "zipped_bytes": 70e6}.items():
        found[2].metrics[name] = Metric(value, "", None)
    pruned = run([*FOUR, *found])
    assert notes(rows(pruned), pruned) == [
        "finetune+prune-magnitude:0.5 of m: 40% of its parameters are zero; a dense file and dense "
        "kernels gain nothing by them (100.0 MB, 70.0 MB zipped)"
    ]
    found[0].facts["format"] = "onnx-zipped"
    assert notes(rows(pruned), pruned) == [
        "finetune+prune-magnitude:0.5 of m: 40% of its parameters are zero; the zipped file is "
        "smaller by them, dense kernels gain nothing"
    ]


def test_a_cascade_says_what_its_median_hides() -> None:
    several = run([*FOUR, *cascade(speedup=8.0)])
    assert notes(rows(several), several) == [
        "finetune+distill:3+onnx-int8+cascade:0.7 of m: p50 hides the texts that both its models "
        "read; faster is of all"
    ]


def test_a_cascade_is_as_fast_as_over_all_texts() -> None:
    """Its median is a hundredth of the reference's, its speed-up says an eighth."""
    table = rows(run([*FOUR, *cascade(speedup=8.0, p50=0.01)]))
    reference = next(row for row in table if row["recipe"] == "finetune")
    assert typical_ms(table[-1], table) == reference["latency_single_p50_ms"] / 8
    assert typical_ms(reference, table) == reference["latency_single_p50_ms"]


def cascade(speedup: float, p50: float = 1.0) -> list[Record]:
    found = records("finetune+distill:3+onnx-int8+cascade:0.7", 0.89, 40e6, speedup)
    found[0].facts["families"] = ["training", "distillation", "quantization", "cascade"]
    found[-1].metrics["latency_single_p50_ms"] = Metric(p50, "ms", True)
    return found


def test_what_begins_alike_is_counted_once() -> None:
    def step(name: str, parent: str, seconds: float) -> dict[str, Any]:
        return {"step": name, "parent": parent, "seconds": seconds}

    first, second = step("finetune", "base", 100.0), step("distill:3", "tuned", 200.0)
    found = [
        *records("finetune", 0.9, 100, 1.0),
        *records("finetune+distill:3", 0.9, 70, 2.0),
        *records("finetune+distill:3+int8", 0.9, 20, 4.0),
    ]
    chains = ([first], [first, second], [first, second, step("int8", "taught", 4.0)])
    for record, lineage in zip((r for r in found if r.measure == "build"), chains, strict=True):
        record.facts["lineage"] = lineage
    table = rows(run(found))
    assert notes(table, run(found)) == [
        "6 steps make these 3 rows, and 3 of them differ: what begins alike is built once (304 s in "
        "all, in this run or before)"
    ]
    assert not notes(table, run(found[: len(found) // 3]))


def test_the_same_step_with_other_teachers_is_another() -> None:
    first = {"step": "finetune", "parent": "base", "seconds": 100.0}
    taught = {"step": "distill:3", "parent": "tuned", "seconds": 200.0}
    found = [
        *records("finetune+distill:3", 0.9, 70, 2.0),
        *records("finetune+tutor:mpnet-base+distill:3", 0.9, 70, 2.0),
    ]
    chains = ([first, taught], [first, taught | {"others": ["strong"]}])
    for record, lineage in zip((r for r in found if r.measure == "build"), chains, strict=True):
        record.facts["lineage"] = lineage
    assert notes(rows(run(found)), run(found)) == [
        "4 steps make these 2 rows, and 3 of them differ: what begins alike is built once (500 s in "
        "all, in this run or before)"
    ]


def test_a_step_of_another_model_says_whose_it_is() -> None:
    assert step_of({"step": "finetune", "model": "mpnet-base"}, "minilm-bert") == (
        "finetune of mpnet-base"
    )
    for own in ("minilm-bert", None):
        assert step_of({"step": "finetune", "model": own}, "minilm-bert") == "finetune"
