"""How long is left is told by the cells that take long."""

from __future__ import annotations

import io

import pytest

from benchmarks.progress import Progress


def test_controls_and_kept_cells_say_nothing_of_the_time_that_is_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 100.0
    monkeypatch.setattr("benchmarks.progress.time.monotonic", lambda: now)
    progress = Progress(5, io.StringIO())
    assert progress.finished("majority", False) == "[1/5] majority"
    now += 60
    assert progress.finished("finetune") == "[2/5] finetune  (~3 min left)"
    now += 20
    assert progress.finished("finetune+int8") == "[3/5] finetune+int8  (~80 s left)"
    progress.finished("kept", False)
    assert progress.finished("finetune+onnx") == "[5/5] finetune+onnx  (80 s in all)"
