"""What a step buys is the ratio of two measured rows: the chain, and the chain built without it."""

from __future__ import annotations

import pytest

from reports.gains import gains, shown
from reports.leaderboard import rows
from reports.tables import markdown, terminal
from tests.reports.test_leaderboard import records, run

CHAIN = "finetune+distill:3+onnx-int8"
FOUR = [
    *records("finetune", 0.90, 100, 1.0),
    *records("finetune+onnx-int8", 0.895, 25, 4.0),
    *records("finetune+distill:3", 0.85, 50, 2.0),
    *records(CHAIN, 0.84, 10, 10.0),
]


def test_each_step_is_weighed_against_the_chain_without_it() -> None:
    ((name, found),) = gains(rows(run(FOUR))).items()
    assert name == ("t", "m", "cpu", CHAIN)
    distill, int8 = found
    assert (distill.step, distill.without) == ("distill:3", "finetune+onnx-int8")
    assert distill.quality == pytest.approx(0.84 - 0.895)
    assert (distill.size, distill.memory, distill.speed) == pytest.approx((2.5, 2.5, 2.5))
    assert (int8.step, int8.without) == ("onnx-int8", "finetune+distill:3")
    assert (int8.size, int8.speed) == pytest.approx((5.0, 5.0))
    assert shown(int8) == ["onnx-int8", "-0.010", "5.00x", "5.00x", "5.00x", "+0"]


def test_seeds_are_taken_together_where_both_rows_are_there() -> None:
    more = [
        *records("finetune+onnx-int8", 0.885, 25, 4.0, seed=1),
        *records(CHAIN, 0.85, 10, 40.0, seed=1),
        *records(CHAIN, 0.1, 10, 1.0, seed=2),
    ]
    (found,) = gains(rows(run([*FOUR, *more]))).values()
    distill, int8 = found
    assert (distill.seeds, int8.seeds) == (2, 1)
    assert distill.quality == pytest.approx((-0.055 - 0.035) / 2)
    assert distill.speed == pytest.approx(5.0)


def test_a_chain_with_one_step_weighed_alone_is_left_out() -> None:
    assert gains(rows(run(FOUR[:10]))) == {}
    assert "what each step" not in terminal(rows(run(FOUR[:10])), {})


def test_the_board_has_the_table() -> None:
    table = rows(run(FOUR))
    for text in (terminal(table, {}), markdown(table, {})):
        assert f"t · m · cpu: what each step of {CHAIN} buys" in text
        assert max(map(len, terminal(table, {}).splitlines())) <= 120
