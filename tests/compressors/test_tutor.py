"""Another model as a further teacher."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.matrix import without_each_step
from compressors.as_is import AsIs
from compressors.building import StepFailed, build, step_keys
from compressors.finetune import Finetune
from compressors.heal import Heal
from compressors.recipe import RecipeError, parse_recipe
from compressors.step import Unsupported
from compressors.teaching import TEXTS
from compressors.tutor import Tutor
from compressors.workbench import Workbench
from models import MODELS
from models.artifact import Artifact
from models.model import Model
from tasks import TASKS
from tests.compressors.artifacts import made


@pytest.mark.parametrize("step", ["distill:2", "heal", "distill-tiny:2", "distill-ensemble:2"])
def test_who_is_distilled_after_it_learns_from_it(other: Model, step: str) -> None:
    alone, tutored = made(f"finetune+{step}"), made(f"finetune+tutor:other-bert+{step}")
    tutor = made("finetune", "other-bert").sha256
    assert tutor in tutored.lineage[-1]["others"]
    assert tutor not in alone.lineage[-1]["others"]
    assert tutored.manifest["distillation"]["teacher"] == made("finetune").sha256
    assert tutored.sha256 != alone.sha256
    trained = [s["step"] for s in tutored.lineage].count("finetune")
    assert trained == (4 if "ensemble" in step else 2)


def test_no_weight_changes(other: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[bytes] = []

    def keep(self: Heal, source: Artifact, workbench: Workbench) -> Artifact:
        kept.append((source.folder / "model.safetensors").read_bytes())
        raise ValueError("seen")

    monkeypatch.setattr(Heal, "apply", keep)
    with pytest.raises(StepFailed, match="seen"):
        made("finetune+tutor:other-bert+heal:7")
    assert kept == [(made("finetune").folder / "model.safetensors").read_bytes()]


def test_tutors_say_half_of_what_is_learnt(other: Model, tmp_path: Path) -> None:
    own, equals, tutor = (
        made("finetune"),
        made("finetune", seed=1000),
        made("finetune", "other-bert"),
    )
    alone = Workbench(TASKS["tiny"], 0, "cpu", 1, tmp_path, lambda *_: None)
    a, b, c = (alone.lessons(teacher, *TEXTS)["logits"] for teacher in (own, equals, tutor))
    said = replace(alone, others=(equals,), tutors=(tutor,)).answers(own, *TEXTS)
    np.testing.assert_allclose(said, (a + b) / 4 + c / 2, atol=1e-6)
    assert np.abs(said - a).max() > 1e-3


def test_what_it_learnt_from_is_part_of_the_key(
    other: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    def keys() -> list[str]:
        recipe = parse_recipe("finetune+tutor:other-bert+heal")
        return step_keys(recipe, MODELS["tiny-bert"], TASKS["tiny"], 0, "cpu")

    before = keys()
    monkeypatch.setitem(MODELS, other.name, replace(other, revision="other-2"))
    assert keys()[0] == before[0]
    assert not set(keys()[1:]) & set(before[1:])


def test_a_fine_tuned_model_teaches_as_it_is(other: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Tutor(other.name).other_source(()) == (Finetune(),)
    monkeypatch.setitem(MODELS, other.name, replace(other, head=("negative", "positive")))
    assert Tutor(other.name).other_source(()) == (AsIs(),)


def test_a_failure_of_the_tutor_is_the_steps(other: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    made("finetune")
    monkeypatch.setitem(MODELS, other.name, replace(other, revision="never built"))

    def failing(self: Finetune, source: object, workbench: Workbench) -> None:
        raise ValueError("no tutor")

    monkeypatch.setattr(Finetune, "apply", failing)
    told: list[str] = []
    recipe = "finetune+tutor:other-bert+heal"
    with pytest.raises(
        StepFailed, match=r"tutor:other-bert: other-bert of seed 0: finetune: .*no tutor"
    ):
        build(recipe, "tiny-bert", "tiny", 0, "cpu", 1, lambda _, what: told.append(what))
    assert told[-1].startswith("finetune+tutor:other-bert: ")


def test_a_model_is_not_its_own_tutor() -> None:
    with pytest.raises(Unsupported, match="tutor:mpnet-base: that is the model itself"):
        parse_recipe("finetune+tutor:mpnet-base+heal").plan(MODELS["mpnet-base"], "cpu")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("finetune+tutor:mpnet-bse+heal", "unknown model 'mpnet-bse'; did you mean 'mpnet-base'"),
        ("finetune+tutor:mpnet-base", "'tutor:mpnet-base' teaches nobody: put a distillation"),
        ("finetune+distill:3+tutor:mpnet-base+onnx", "teaches nobody"),
        ("finetune+tutor:mpnet-base+tutor:minilm-roberta", "teaches nobody"),
        ("tutor:mpnet-base+heal", "needs pytorch, but gets pretrained there"),
    ],
)
def test_what_does_not_fit(text: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        parse_recipe(text)


def test_a_cascade_asks_the_network_that_nobody_tutored() -> None:
    recipe = parse_recipe("finetune+tutor:mpnet-base+distill:3+onnx-int8+cascade:0.6")
    large = recipe.steps[-1].other_source(recipe.steps[:-1])
    assert [str(step) for step in large] == ["finetune", "onnx-int8"]


def test_what_it_buys_is_measured_without_it() -> None:
    rest = without_each_step("finetune+tutor:mpnet-base+distill:3+onnx-int8")
    assert rest[0] == "finetune+distill:3+onnx-int8"
    assert "finetune+tutor:mpnet-base+onnx-int8" not in rest
