"""Which row to ship: bounds, weights, the reason, and what each bound costs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports import pick
from reports.leaderboard import ROW_FIELDS, Row
from reports.pick import BOUNDS, BoundError, picks, sentences, within


def row(recipe: str, quality: float, megabytes: float, ms: float, **more: object) -> Row:
    found: Row = dict.fromkeys(ROW_FIELDS)
    found |= {
        "task": "t",
        "model": "m",
        "recipe": recipe,
        "device": "cpu",
        "status": "ok",
        "quality_metric": "accuracy",
        "quality": quality,
        "quality_retained": quality / 0.9,
        "size_bytes": megabytes * 1e6,
        "size_ratio": 90 / megabytes,
        "latency_single_p50_ms": ms,
        "latency_single_p95_ms": 1.5 * ms,
        "speedup": 12 / ms,
    }
    return found | more


TABLE = [
    row("finetune", 0.90, 90, 12),
    row("finetune+onnx-int8", 0.898, 24, 2.4),
    row("finetune+bf16", 0.90, 45, 6),
    row("finetune+distill:2+onnx-int8", 0.88, 16, 0.8),
    row("majority", 0.51, 0.001, 0.01, model="none", quality_retained=None),
    row("finetune+broken", 0.9, 1, 1, status="failed"),
]


def answer(*bounds: str, weights: str = "speed=1,size=1") -> tuple[pick.Pick, str]:
    limits = [BOUNDS[option](text) for option, text in (b.split("=") for b in bounds)]
    (found,) = picks(TABLE, limits, pick.parse_weights(weights))
    return found, "\n".join(sentences(found))


def test_the_recommended_row_keeps_every_bound_and_says_why() -> None:
    found, said = answer("--within=1%")
    assert found.best
    assert found.best["recipe"] == "finetune+onnx-int8"
    assert (
        "t on cpu: ship finetune+onnx-int8 of m: accuracy 0.898 (keeps 99.8% of the best reference)"
        in said
    )
    assert "24.0 MB (3.8x smaller), p50 2.40 ms (5.0x faster)" in said
    assert (
        "why: 3 of 5 rows keep --within 1%; of these it has the most of speed x1 and size x1"
        in said
    )
    assert "next is finetune+bf16 of m" in said


def test_each_bound_says_what_relaxing_it_would_buy() -> None:
    found, said = answer("--within=1%")
    assert [r["recipe"] for _, r in found.relaxed] == ["finetune+distill:2+onnx-int8"]
    assert "with --within 2.23% instead of 1%: finetune+distill:2+onnx-int8 of m" in said


def test_what_misses_a_bound_by_the_least_is_named() -> None:
    far = row("finetune+distill:1+onnx-int8", 0.6, 10, 0.4)
    (found,) = picks([*TABLE, far], [within(0.01)])
    assert [r["recipe"] for _, r in found.relaxed] == ["finetune+distill:2+onnx-int8"]


@pytest.mark.parametrize(
    ("option", "limit"), [("--max-p50", "1ms"), ("--max-size", "15MB"), ("--within", "0.1%")]
)
def test_the_bound_that_is_advised_admits_its_row(option: str, limit: str) -> None:
    quality = [row("finetune+a", 0.8976543, 24.567891, 2.3456789), TABLE[0]]
    table = [*quality, row("finetune+b", 0.85, 15.01234, 1.001234)]
    (found,) = picks(table, [BOUNDS[option](limit)])
    for bound, wanted in found.relaxed:
        (again,) = picks(table, [BOUNDS[option](bound.admitting(wanted))])
        assert wanted["recipe"] in [fits["recipe"] for fits in again.fitting]
    assert found.relaxed


def test_quality_counts_against_the_best_reference_of_all_models() -> None:
    weak = row("finetune+int8", 0.7, 10, 1.0, model="weak", quality_retained=1.1)
    (found,) = picks([*TABLE, weak], [within(0.25)], {"quality": 1.0})
    assert found.best
    assert found.best["quality"] == 0.9


def test_where_nothing_fits_the_nearest_rows_are_named() -> None:
    found, said = answer("--within=1%", "--max-size=20MB")
    assert found.best is None
    assert "nothing to ship: 0 of 5 rows keep --within 1%, --max-size 20MB" in said
    assert "with --within 2.23% instead of 1%: finetune+distill:2+onnx-int8" in said
    assert "with --max-size 24MB instead of 20MB: finetune+onnx-int8" in said


def test_weights_say_what_counts() -> None:
    assert answer("--within=1%", weights="quality=1")[0].best["quality"] == 0.9  # type: ignore[index]
    assert answer("--min-quality=0.5")[0].best["recipe"] == "majority"  # type: ignore[index]


def test_a_row_without_the_figure_does_not_keep_its_bound() -> None:
    unknown = [row("finetune", 0.9, 90, 12, latency_single_p95_ms=None)]
    (found,) = picks(unknown, [BOUNDS["--max-p95"]("50ms")])
    assert not found.fitting
    assert not found.relaxed


@pytest.mark.parametrize(
    ("option", "text", "message"),
    [
        ("--max-size", "20", "'20': a quantity like 20MB is needed"),
        ("--max-size", "20 miles", "a quantity like 20MB is needed"),
        ("--max-p95", "5MB", "a quantity like 5ms is needed"),
        ("--within", "1", "'1' is 100%: did you mean 1%"),
        ("--within", "150%", "a share from 0% to 100% is needed"),
        ("--within", "-1%", "a quantity like 1% is needed"),
    ],
)
def test_what_is_no_quantity_is_refused(option: str, text: str, message: str) -> None:
    with pytest.raises(BoundError, match=message):
        BOUNDS[option](text)


@pytest.mark.parametrize("text", ["", "speed", "speed=x", "sped=1", "speed=0"])
def test_what_are_no_weights_is_refused(text: str) -> None:
    with pytest.raises(BoundError):
        pick.parse_weights(text)


@given(st.lists(st.tuples(st.floats(0.4, 1), st.floats(0.1, 500), st.floats(0.1, 50)), min_size=1))
def test_nothing_that_fits_is_better_in_all_respects(figures: list[tuple[float, ...]]) -> None:
    table = [row(f"r{i}", *figure) for i, figure in enumerate(figures)]
    (found,) = picks(table, [within(0.1)])
    for other in found.fitting:
        assert found.best
        assert not (
            other["size_bytes"] < found.best["size_bytes"]
            and other["latency_single_p50_ms"] < found.best["latency_single_p50_ms"]
        )
    for bound, better in found.relaxed:
        assert not bound.keeps(better)


def test_a_bad_model_is_not_shipped_because_little_of_it_was_lost() -> None:
    good = row("finetune+onnx-int8", 0.9, 20, 3.0)
    bad = row("finetune+int8", 0.6, 10, 1.0, model="scratch", quality_retained=1.0)
    (pick,) = picks([good, bad], [within(0.01)])
    assert [r["recipe"] for r in pick.fitting] == ["finetune+onnx-int8"]
