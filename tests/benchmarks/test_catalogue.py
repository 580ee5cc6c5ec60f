"""What `leanboard list` prints is what there is."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable

import pytest

from benchmarks.catalogue import LISTS, _rounded_down
from benchmarks.matrix import Selection, select, without_each_step
from benchmarks.profiles import PROFILES
from benchmarks.recommended import RECOMMENDED
from compressors import STEPS
from models import MODELS
from reports.tables import WIDTH
from tasks import TASKS
from tests.conftest import ROOT


@pytest.mark.parametrize(
    ("what", "names"),
    [
        ("tasks", TASKS),
        ("models", MODELS),
        ("steps", STEPS),
        ("chains", STEPS),
        ("recipes", [f"--profile {name}" for name in PROFILES]),
        ("recommended", [f"{found.task} · {found.model}" for found in RECOMMENDED]),
        ("recommended", [c.recipe for found in RECOMMENDED for c in found.choices]),
    ],
)
def test_nothing_is_left_out(what: str, names: Iterable[str]) -> None:
    text = LISTS[what]()
    assert all(name in text for name in names)


def test_what_is_recommended_fits_a_terminal() -> None:
    lines = LISTS["recommended"]().splitlines()
    assert max(map(len, lines)) <= WIDTH
    chosen = [choice.recipe for found in RECOMMENDED for choice in found.choices]
    assert [line for line in lines if line in chosen] == chosen  # whole, to be copied


def test_what_is_kept_is_not_rounded_up() -> None:
    shares = [
        _rounded_down(100 * kept) + "%" for kept in (0.9895, 0.98996, 0.99, 1.001, 0.9998, 0.57)
    ]
    assert shares == ["98.9%", "98.9%", "99.0%", "100.1%", "99.9%", "57.0%"]
    assert [_rounded_down(ratio) for ratio in (9.96, 9.984, 10.0)] == ["9.9", "9.9", "10.0"]


def test_ablation_leaves_out_each_step_once() -> None:
    recipe = "finetune+trim-vocab+distill:3+openvino-int8"
    cells = select(Selection(models=("minilm-bert",), recipes=(recipe,), ablate=True))
    assert [cell.recipe for cell in cells] == [
        "finetune",
        recipe,
        "finetune+distill:3+openvino-int8",
        "finetune+trim-vocab+openvino-int8",
        "finetune+trim-vocab+distill:3",
    ]
    # What no longer fits is left out: nothing else makes a network of a pretrained encoder.
    assert without_each_step("features+logistic") == []


def test_the_documented_chains_are_those_of_the_code() -> None:
    listed = subprocess.run(
        [sys.executable, "-m", "benchmarks.command", "list", "chains"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    written = (ROOT / "docs" / "chains.md").read_text(encoding="utf-8")
    assert written.endswith(listed.stdout), "run: leanboard list chains >> docs/chains.md"
