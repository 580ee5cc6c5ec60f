"""What cannot be built is said before any work, and what failed once is not tried again."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks import artifacts
from benchmarks.artifacts import Artifacts, refusals
from benchmarks.machine import _container_cores
from benchmarks.matrix import Cell
from benchmarks.measures.measure import NotMeasured
from benchmarks.workers import PRELOAD_FOR
from models.predictors import RUNTIMES
from tasks.movies import MOVIES


def cell(recipe: str, model: str = "minilm-bert") -> Cell:
    return Cell("movies", model, recipe, "cpu", 0)


def test_refusals_are_known_before_any_work() -> None:
    refused = [cell("finetune+distill:6"), cell("finetune+distill:6", "minilm-roberta")]
    [line] = refusals([cell("finetune"), *refused])
    assert line.startswith("finetune+distill:6 of minilm-bert, minilm-roberta is unsupported: ")


def test_the_zygote_imports_the_runtimes_of_the_rows_and_of_their_references() -> None:
    cells = [cell("finetune+onnx-int8"), cell("finetune+distill:6+openvino")]
    found = Artifacts(SimpleNamespace()).runtimes(cells)  # type: ignore[arg-type]
    assert found == ["ONNX Runtime", "PyTorch"]
    assert set(PRELOAD_FOR) <= {runtime.name for runtime in RUNTIMES.values()}


def test_what_could_not_be_fetched_is_not_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def build(*_: Any) -> Any:
        raise AssertionError("nothing is looked for")

    monkeypatch.setattr(artifacts.building, "find", build)
    known = Artifacts(SimpleNamespace())  # type: ignore[arg-type]
    known.lacking[MOVIES.assets[0]] = "it cannot be fetched"
    with pytest.raises(NotMeasured, match="it cannot be fetched"):
        known.of(cell("majority", "none"))


def test_what_hinders_a_later_cell_is_no_matter_of_the_present_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def unreadable(*_: Any) -> Any:
        raise KeyError("a task's data have no such column")

    known = Artifacts(SimpleNamespace())  # type: ignore[arg-type]
    monkeypatch.setattr(artifacts.building, "find", unreadable)
    assert not known.is_there(cell("finetune"))
    monkeypatch.setattr(artifacts.building, "find", lambda *_: tmp_path)
    assert not known.is_there(cell("finetune+distill:6"))
    known.known[cell("finetune")] = NotMeasured("failed", "'model.safetensors' was changed")
    assert not known.is_there(cell("finetune"))
    known.known[cell("finetune+int8")] = SimpleNamespace()  # type: ignore[assignment]
    assert known.is_there(cell("finetune+int8"))
    known.lacking[MOVIES.assets[0]] = "it cannot be fetched"
    assert not known.is_there(cell("finetune+int8"))


@pytest.mark.parametrize(
    ("says", "cores"), [("200000 100000", 2), ("50000 100000", 1), ("max 100000", None)]
)
def test_a_container_has_as_many_threads_as_its_quota(
    tmp_path: Any, says: str, cores: int | None
) -> None:
    (tmp_path / "cpu.max").write_text(says)
    assert _container_cores(tmp_path / "cpu.max") == cores
    assert _container_cores(tmp_path / "nothing") is None
