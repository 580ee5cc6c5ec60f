"""What `leanboard list` prints is what there is."""

from __future__ import annotations

import subprocess
import sys

import pytest

from benchmarks.catalogue import LISTS
from compressors import STEPS
from models import MODELS
from tasks import TASKS
from tests.conftest import ROOT


@pytest.mark.parametrize(
    ("what", "names"), [("tasks", TASKS), ("models", MODELS), ("steps", STEPS), ("chains", STEPS)]
)
def test_nothing_is_left_out(what: str, names: dict[str, object]) -> None:
    text = LISTS[what]()
    assert all(name in text for name in names)


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
