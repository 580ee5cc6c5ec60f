"""Each verdict, with its evidence, and the reports that show them."""

from __future__ import annotations

import json
import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reports import night as report
from reports.baselines import Baseline, BaselineError, merged, of_run, promote
from reports.changes import changes
from reports.comparison import against, between, compare, refuse_if_not_green
from reports.facts import Answers, CellFacts, RunFacts, facts_of
from reports.history import drift
from reports.records import Metric, Record, Run
from reports.statistics import f1
from reports.verdicts import Comparison, Verdict
from tests.reports.nights import MACHINE, RIGHT, facts, history, name, run

CELL = name(0)
SLOWER = tuple(0.7 - math.log(1.2) for _ in range(5))


def judged(before: CellFacts, after: CellFacts, **options: Any) -> dict[str, Verdict]:
    """Compare two runs of one cell."""
    found = between(run({CELL: before}), run({CELL: after}, 1), **options)
    return {verdict.metric: verdict for verdict in found.verdicts}


def changed(**metrics: float) -> CellFacts:
    return facts(metrics=facts().metrics | metrics)


def answering(right: np.ndarray, **more: Any) -> CellFacts:
    metrics = facts().metrics | {"quality": float(right.mean())}
    return facts(answers=Answers.of_right(right), metrics=metrics, **more)


def worse_by(points: int) -> np.ndarray:
    """Turn so many points of the right answers wrong."""
    right = RIGHT.copy()
    right[np.flatnonzero(right)[: points * len(right) // 100]] = False
    return right


def test_nothing_changed_is_ok_everywhere() -> None:
    found = judged(facts(), facts())
    assert {metric: v.verdict for metric, v in found.items()} == {
        "quality": "ok",
        "size": "ok",
        "memory": "ok",
        "latency": "ok",
    }
    assert found["latency"].detectable == pytest.approx(0.08, abs=0.04)


@pytest.mark.parametrize(
    ("metric", "field", "factor", "verdict"),
    [
        ("size", "size_bytes", 1.01, "regressed"),
        ("size", "size_bytes", 1.0005, "ok"),
        ("size", "size_bytes", 0.9, "improved"),
        ("memory", "memory_inference_peak_bytes", 1.05, "regressed"),
        ("memory", "memory_inference_peak_bytes", 1.2, "regressed"),
        ("memory", "memory_inference_peak_bytes", 1.02, "ok"),
        ("memory", "memory_inference_peak_bytes", 0.9, "improved"),
    ],
)
def test_sizes_have_tolerances(metric: str, field: str, factor: float, verdict: str) -> None:
    found = judged(facts(), changed(**{field: factor * facts().metrics[field]}))
    assert found[metric].verdict == verdict
    assert found[metric].worse == pytest.approx(factor - 1)


@pytest.mark.parametrize(("points", "verdict"), [(0, "ok"), (1, "insufficient"), (3, "regressed")])
def test_the_same_artifact_is_compared_example_by_example(points: int, verdict: str) -> None:
    """2,000 examples surely show a loss of 4 points, not of 2: the detectable size says so."""
    found = judged(facts(), answering(worse_by(points)))["quality"]
    assert found.verdict == verdict
    if points:
        assert found.detectable
        assert 0.02 < found.detectable < 0.04
        assert "would decide" in found.rule or verdict == "regressed"


def test_a_rebuilt_artifact_needs_five_seeds() -> None:
    rebuilt = answering(worse_by(2), artifact_sha256="b" * 64)
    found = judged(facts(), rebuilt)["quality"]
    assert found.verdict == "insufficient"
    assert found.rule.endswith("; 5 seeds decide, the baseline has 1")
    broken = answering(worse_by(20), artifact_sha256="b" * 64)
    assert judged(facts(), broken)["quality"].verdict == "regressed"
    seeds = {f"movies/bert/finetune+0/cpu/s{i}": changed(quality=0.86 + i / 1000) for i in range(5)}
    before, after = (
        run(seeds),
        run(seeds | {CELL: answering(worse_by(8), artifact_sha256="b" * 64)}),
    )
    found = next(v for v in between(before, after).of(CELL) if v.metric == "quality")
    assert (found.verdict, found.samples) == ("regressed", "1 against 5 seeds")
    another = replace(changed(quality=0.861), artifact_sha256="b" * 64)
    another = replace(another, answers=Answers.of_right(np.roll(RIGHT, 1)))
    found = next(
        v for v in between(before, run(seeds | {CELL: another})).of(CELL) if v.metric == "quality"
    )
    assert found.verdict == "ok"


def test_a_shrunken_test_split_is_red_and_another_one_incomparable() -> None:
    found = judged(facts(), answering(RIGHT[:1500], test_sha256="e" * 64))["quality"]
    assert (found.verdict, found.rule) == ("regressed", "the test split lost 500 of its examples")
    other = answering(np.roll(RIGHT, 1), test_sha256="e" * 64)
    assert judged(facts(), other)["quality"].verdict == "incomparable"


def test_a_suspect_needs_a_second_look() -> None:
    slow = tuple(pair - 0.066 for pair in facts().pairs)
    first = judged(facts(), facts(pairs=slow))["latency"]
    assert (first.verdict, first.suspect) == ("insufficient", True)
    confirmed = judged(facts(), facts(pairs=slow, later=tuple(p - 0.11 for p in (0.7,) * 10)))
    assert confirmed["latency"].verdict == "regressed"
    passed = judged(facts(), facts(pairs=slow, later=(0.7,) * 10))["latency"]
    assert (passed.verdict, passed.worse) == ("ok", pytest.approx(0.0))
    assert "not by" in passed.rule


@pytest.mark.parametrize(
    ("work", "verdict", "rule"),
    [
        ((2.0,) * 5 + (2.2,) * 5, "void", "the second look was disturbed"),
        ((2.1,) * 10, "reference-moved", "in the second look the reference itself is 10.5% slower"),
        ((2.0,) * 10, "regressed", "slower by more than"),
    ],
)
def test_a_second_look_is_disturbed_as_a_first_one(
    work: tuple[float, ...], verdict: str, rule: str
) -> None:
    slow = tuple(pair - 0.066 for pair in facts().pairs)
    found = judged(facts(), facts(pairs=slow, later=(0.6,) * 10, later_work=work))["latency"]
    assert (found.verdict, found.rule[: len(rule)]) == (verdict, rule)


def test_other_seeds_of_the_baseline_are_not_missing() -> None:
    seeds = {f"movies/bert/finetune+0/cpu/s{i}": facts() for i in range(5)}
    found = between(run(seeds), run({CELL: facts()}, 1))
    assert {v.cell for v in found.verdicts} == {CELL}


GPU = MACHINE | {"gpu": "Some GPU, driver 1"}
ON_GPU = CELL.replace("/cpu/", "/cuda/")


def test_a_gpu_that_is_gone_is_missing_and_another_one_incomparable(tmp_path: Path) -> None:
    promote(run({CELL: facts(), ON_GPU: facts()}, machine=GPU), tmp_path)
    skipped = CellFacts("skipped", "no CUDA device")
    for cells in ({CELL: facts()}, {CELL: facts(), ON_GPU: skipped}):
        gone = against(tmp_path, run(cells, 1))
        assert [(v.cell, v.verdict) for v in gone.failing()] == [(ON_GPU, "missing")]
    both = run({CELL: facts(), ON_GPU: facts()}, 1, machine=GPU | {"gpu": "Another GPU"})
    for found in (
        against(tmp_path, both),
        between(run({CELL: facts(), ON_GPU: facts()}, machine=GPU), both),
    ):
        assert [v.verdict for v in found.of(ON_GPU)] == ["incomparable"]
        assert {v.verdict for v in found.of(CELL)} == {"ok"}


def test_other_metrics_than_accuracy_are_compared_by_their_own_loss() -> None:
    """A model that answers the common class alone keeps 90 % accuracy and loses all of its F1."""
    random = np.random.default_rng(0)
    truth = (random.random(2000) < 0.1).astype(int)
    good = np.where(random.random(2000) < 0.95, truth, 1 - truth)
    kept = [
        facts(
            answers=Answers.of_metric(f1, chosen, truth),
            metrics=facts().metrics | {"quality": f1(chosen, truth)},
        )
        for chosen in (good, np.zeros_like(truth))
    ]
    assert kept[0].answers
    assert kept[0].answers.values().mean() == pytest.approx(f1(good, truth), abs=0.01)
    assert judged(*kept)["quality"].verdict == "regressed"


def test_a_large_slow_down_needs_no_second_look_and_a_large_gain_is_improved() -> None:
    assert judged(facts(), facts(pairs=SLOWER))["latency"].verdict == "regressed"
    assert judged(facts(pairs=SLOWER), facts())["latency"].verdict == "improved"


def test_disturbed_rounds_are_left_out_and_too_many_are_void() -> None:
    two = facts(pairs=(*SLOWER[:2], 0.7, 0.7, 0.7), work=(2.2, 2.3, 2.0, 2.0, 2.0))
    assert judged(facts(), two)["latency"].verdict == "ok"
    three = facts(pairs=SLOWER, work=(2.2, 2.3, 2.0, 1.8, 2.4))
    found = judged(facts(), three)["latency"]
    assert (found.verdict, found.rule[:6]) == ("void", "4 of 5")
    night = between(run({CELL: facts()}), run({CELL: three}, 1))
    assert (night.colour(), night.status()) == ("void", 0)
    assert (night.colour(("void",)), night.status(("void",))) == ("red", 1)


def test_a_baseline_that_was_disturbed_judges_no_latency() -> None:
    three = facts(pairs=SLOWER, work=(2.2, 2.3, 2.0, 1.8, 2.4))
    found = judged(three, facts())
    assert (found["latency"].verdict, found["size"].verdict) == ("new", "ok")


def test_a_reference_that_moved_judges_nobody() -> None:
    found = judged(facts(), facts(pairs=SLOWER, work=(2.1,) * 5))["latency"]
    assert found.verdict == "reference-moved"
    assert "10.5% slower against the matrix product" in found.rule


def test_other_threads_are_incomparable() -> None:
    assert judged(facts(), facts(threads=1))["latency"].verdict == "incomparable"


def test_pairs_that_were_not_kept_are_missing() -> None:
    lost = replace(facts(), pairs=(), work=())
    assert judged(facts(), lost)["latency"].verdict == "missing"


@pytest.mark.parametrize(("quality", "verdict"), [(0.3, "regressed"), (0.855, "insufficient")])
def test_without_its_answers_a_model_that_fell_apart_is_red(quality: float, verdict: str) -> None:
    found = judged(facts(), replace(changed(quality=quality), answers=None))["quality"]
    assert found.verdict == verdict
    assert found.rule.startswith("the answers were not kept: loss, if seeds lie 1% apart,")


def test_another_seed_of_a_weak_control_is_no_regression() -> None:
    control = "movies/bert/student:3/cpu/s0"
    reference = {"movies/bert/finetune/cpu/s0": changed(quality=0.85)}
    before = run(reference | {control: replace(changed(quality=0.10), answers=None)})
    after = run(reference | {control: replace(changed(quality=0.06), answers=None)}, 1)
    found = {v.cell: v for v in between(before, after).verdicts if v.metric == "quality"}
    assert found[control].verdict == "insufficient"


def test_what_could_not_be_seen_is_insufficient() -> None:
    random = np.random.default_rng(0)
    noisy = history(random, 20, 10, pairs=0.08, nights=0.05)
    tonight = run({name(n): facts() for n in range(20)}, 11)
    found = [v for v in compare(noisy, tonight).verdicts if v.verdict == "insufficient"]
    assert len(found) > 10
    assert all((v.detectable or 0) > 0.15 for v in found if not v.suspect)


def test_a_cell_that_crashed_or_vanished_is_missing() -> None:
    two = run({CELL: facts(), name(1): facts()})
    crashed = CellFacts("failed", "memory: the process crashed: killed by SIGABRT")
    found = between(two, run({CELL: facts(), name(1): crashed}, 1))
    assert "SIGABRT" in found.of(name(1))[0].rule
    assert found.status() == 1
    vanished = between(two, run({CELL: facts()}, 1))
    assert [v.cell for v in vanished.failing()] == [name(1)]
    assert between(two, run({CELL: facts()}, 1), partial=True).status() == 0


def test_a_measure_that_vanished_is_missing() -> None:
    metrics = {k: v for k, v in facts().metrics.items() if k != "size_bytes"}
    assert judged(facts(), facts(metrics=metrics))["size"].verdict == "missing"
    assert "size" not in judged(facts(), facts(metrics=metrics), partial=True)


def test_new_cells_are_listed_and_can_be_made_to_fail() -> None:
    found = between(run({CELL: facts()}), run({CELL: facts(), name(1): facts()}, 1))
    assert found.of(name(1))[0].verdict == "new"
    assert found.status() == 0
    assert found.status(fail_on=("new",)) == 1


def test_an_unsupported_cell_is_not_new_every_night() -> None:
    extra = CellFacts("unsupported", "pip install -e '.[torchao]'")
    found = between(run({CELL: facts()}), run({CELL: facts(), name(1): extra}, 1))
    assert found.of(name(1)) == []
    broken = between(run({CELL: facts()}), run({CELL: facts(), name(1): CellFacts("failed", "x")}))
    assert broken.of(name(1))[0].rule.endswith("; failed: x")


def test_another_machine_is_incomparable(tmp_path: Path) -> None:
    promote(run({CELL: facts()}), tmp_path)
    elsewhere = run({CELL: facts()}, 1, machine=MACHINE | {"cpu": "Another CPU"})
    for found in (against(tmp_path, elsewhere), between(run({CELL: facts()}), elsewhere)):
        assert [v.verdict for v in found.verdicts] == ["incomparable"]
        assert "cpu-some-cpu-2-" in found.verdicts[0].rule
        assert found.status() == 2
    empty = against(tmp_path / "empty", elsewhere)
    assert ([v.verdict for v in empty.verdicts], empty.status()) == (["new"], 2)


def test_what_changed_is_named_above_the_verdicts() -> None:
    after = run(
        {CELL: facts(pairs=SLOWER)},
        1,
        versions={"torch": "2.14"},
        machine=MACHINE | {"git_commit": "b" * 40, "matmul_gflops": 80.0, "load": 3},
    )
    text = report.terminal(between(run({CELL: facts()}), after))
    lines = text.splitlines()
    assert lines[0] == "night-001 against night-000: red"
    assert lines[1:4] == [
        "changed: commit: aaaaaaaaaaaa -> bbbbbbbbbbbb",
        "changed: torch: 2.13 -> 2.14",
        "changed: matrix product: 100 -> 80 GFLOP/s, 20% slower",
    ]
    assert lines[4].startswith("note: the latency limits of 1 cells are those of the prior")
    assert lines[5].startswith(f"regressed: {CELL} latency: slower by more than")
    assert "2.014x -> 1.678x (20.0% worse)" in lines[6]


@pytest.mark.parametrize(
    ("machine", "info", "line"),
    [
        ({"governor": "powersave"}, {}, "governor: performance -> powersave"),
        ({"system": "Linux 6.9"}, {}, "kernel: Linux 6.8 -> Linux 6.9"),
        ({"cpu": "Other CPU"}, {}, "processor: Some CPU -> Other CPU"),
        ({"instructions": ["avx2", "amx"]}, {}, "instruction sets: avx2 -> avx2 amx"),
        ({}, {"threads": 1}, "threads: 2 -> 1"),
        ({}, {"assets": {"minilm": "b" * 64}}, f"minilm: {'a' * 12} -> {'b' * 12}"),
        ({}, {"assets": {}}, f"minilm: {'a' * 12} -> none"),
    ],
)
def test_each_suspect_has_a_line(machine: dict[str, Any], info: dict[str, Any], line: str) -> None:
    known = MACHINE | {"governor": "performance", "system": "Linux 6.8"}
    before = {"machine": known, "threads": 2, "assets": {"minilm": "a" * 64}}
    assert changes(before, before) == []
    assert changes(before, before | {"machine": known | machine} | info) == [line]


@pytest.mark.parametrize(
    ("last", "notes"),
    [
        ("20261127-083112-7", ["the baseline's 2 nights began within 1.4 h: how days differ"]),
        ("20261128-070500-7", []),
        ("named", []),
    ],
)
def test_nights_of_one_day_are_noted(last: str, notes: list[str]) -> None:
    baseline = of_run(run({CELL: facts()}, run="20261127-070852-1"))
    baseline, _ = merged(baseline, run({CELL: facts()}, run=last))
    said = [note for note in compare(baseline, run({CELL: facts()})).notes if "prior" not in note]
    assert [note[: len(start)] for note, start in zip(said, notes, strict=True)] == notes


def worst(cells: int) -> Comparison:
    before = {name(n): facts() for n in range(cells)}
    return between(run(before), run({n: facts(pairs=SLOWER) for n in before}, 1))


def test_markdown_fits_a_comment_and_json_has_every_verdict() -> None:
    found = worst(1000)
    text = report.markdown(found)
    assert len(text) < 65_536
    assert "more are in night.json" in text
    data = json.loads(report.json_text(found))
    assert len(data["verdicts"]) == 4000
    assert (data["status"], data["counts"]["regressed"]) == ("red", 1000)


def test_a_red_night_is_not_promoted() -> None:
    refuse_if_not_green(between(run({CELL: facts()}), run({CELL: facts()}, 1)))
    with pytest.raises(BaselineError, match=r"is red against night-000 \(1 regressed, 3 ok\): "):
        refuse_if_not_green(worst(1))


def test_a_drift_of_five_percent_is_found_within_eight_nights() -> None:
    """1 % between nights and the median of 5 pairs of 2 %: 0.015 a night."""
    random = np.random.default_rng(0)
    found = false = 0
    for _ in range(200):
        promoted = list(random.normal(0.7, 0.015, 10))
        slow = drift(promoted, list(random.normal(0.7 - np.log(1.05), 0.015, 8)))
        same = drift(promoted, list(random.normal(0.7, 0.015, 8)))
        assert slow
        assert same
        found += slow.is_real
        false += same.is_real
    assert found >= 0.9 * 200
    assert false <= 2


def test_facts_come_from_the_records() -> None:
    cell = dict(zip(("task", "model", "recipe", "device"), CELL.split("/"), strict=False)) | {
        "seed": 0
    }

    def record(measure: str, metrics: dict[str, float], **kept: Any) -> Record:
        values = {key: Metric(value, "", None) for key, value in metrics.items()}
        return Record("r", cell, measure, "ok", None, "a" * 64, values, facts=kept)

    found = [
        record("accuracy", {"quality": 0.5}, test_answers=Answers.of_right(RIGHT).to_json()),
        record("latency", {"speedup": 2.0}, log_speedups=[0.7], log_reference_work=[2.0]),
        record(
            "remeasured", {}, later_log_speedups=[0.6, 0.1], later_log_reference_work=[2.0, 9.0]
        ),
    ]
    whole = facts_of(Run(Path(), {"run": "r", "planned": {CELL: ["accuracy", "latency"]}}, found))
    facts_found = whole.cells[CELL]
    assert facts_found.metrics == {"quality": 0.5, "speedup": 2.0}
    assert (facts_found.pairs, facts_found.status) == ((0.7,), "ok")
    cut = facts_of(Run(Path(), {"run": "r", "planned": {CELL: ["accuracy", "size"]}}, found))
    assert cut.cells[CELL].reason == "not measured: size"


def test_ten_thousand_cells_are_compared_in_seconds() -> None:
    """On a quiet machine, in a third of it; the bound allows for other work beside."""
    many = [f"movies/bert/finetune+{n}/cpu/s0" for n in range(10_000)]
    random = np.random.default_rng(0)
    before = run({n: facts(random.normal(0.7, 0.02, 5)) for n in many})
    after = run({n: facts(random.normal(0.7, 0.02, 5)) for n in many}, 1)
    started = time.process_time()
    found = between(before, after)
    report.terminal(found), report.markdown(found), report.json_text(found)
    assert len(found.verdicts) == 40_000
    assert time.process_time() - started < 10


def test_a_baseline_without_cells_compares_nothing() -> None:
    assert compare(Baseline(), RunFacts({"run": "r", "machine": MACHINE}, {})).status() == 2
