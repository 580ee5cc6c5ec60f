"""Distillation into another model: its own architecture, tokenizer and weights."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.catalogue import steps
from compressors.building import step_keys
from compressors.distill_into import DistillInto
from compressors.recipe import RecipeError, parse_recipe
from models import MODELS
from models.model import Model
from models.tokenization import load_tokenizer
from tasks import TASKS
from tests.compressors.artifacts import header, made, margin_gap, predict


def test_distill_into_gives_the_student_its_own_tokenizer_and_shape(other: Model) -> None:
    student = made("finetune+distill-into:other-bert")
    assert header(student)["bert.embeddings.word_embeddings.weight"]["shape"] == [300, 32]
    assert load_tokenizer(student.folder, 128).get_vocab_size() == 300
    assert student.manifest["shape"] == other.shape.to_json()
    assert student.manifest["model"] == "tiny-bert"
    assert student.manifest["student"] == "other-bert"
    assert student.manifest["distillation"]["teacher"] == made("finetune").sha256
    assert [step["step"] for step in student.lineage] == ["finetune", "distill-into:other-bert"]
    assert np.isfinite(predict(student)).all()
    after = made("finetune+distill-into:other-bert+prune-ffn:0.5+heal+onnx")
    assert after.manifest["distillation"]["teacher"] == made("finetune").sha256
    assert np.isfinite(predict(after)).all()


def test_the_student_learns_its_teachers_logits(other: Model) -> None:
    teacher, taught, alone = (
        predict(made(recipe, model), 96)
        for recipe, model in (
            ("finetune", "tiny-bert"),
            (f"finetune+distill-into:{other.name}", "tiny-bert"),
            ("finetune", other.name),
        )
    )
    assert margin_gap(taught, teacher) < margin_gap(alone, teacher)


def test_the_students_revision_is_part_of_the_key(
    other: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    def keys() -> list[str]:
        recipe = parse_recipe("finetune+distill-into:other-bert")
        return step_keys(recipe, MODELS["tiny-bert"], TASKS["tiny"], 0, "cpu")

    before = keys()
    monkeypatch.setitem(MODELS, other.name, replace(other, revision="other-2"))
    assert keys()[0] == before[0]
    assert keys()[1] != before[1]


def test_a_models_name_is_a_value() -> None:
    assert str(parse_recipe("finetune+distill-into")) == "finetune+distill-into:minilm-bert"
    text = "finetune+distill-into:minilm-roberta+int8"
    assert str(parse_recipe(text)) == text
    plan = parse_recipe("finetune+distill-into:minilm-bert").plan(MODELS["mpnet-base"], "cpu")
    assert plan.shape == MODELS["minilm-bert"].shape
    assert plan.teacher == MODELS["mpnet-base"].shape
    assert "  distill-into:MODEL  one of minilm-bert, minilm-roberta, " in steps()
    assert "; by default minilm-bert" in steps()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "finetune+distill-into:minilm-brt",
            "'distill-into:minilm-brt': unknown model 'minilm-brt'; did you mean 'minilm-bert'.; "
            "models: minilm-bert, ",
        ),
        ("finetune+distill-into:", "'distill-into:': unknown model ''; models: "),
        ("finetune+distill-into:3", "unknown model '3'; models: "),
        ("distill-into:minilm-bert", "needs pytorch, but gets pretrained there"),
        ("finetune+heal:0", "'heal:0' is out of range: 1 to 50"),
    ],
)
def test_what_does_not_fit(text: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        parse_recipe(text)


def test_distill_into_reads_the_same_field_as_it_prints() -> None:
    assert str(DistillInto("minilm-roberta")) == "distill-into:minilm-roberta"
    assert DistillInto("minilm-roberta").pins() == [MODELS["minilm-roberta"].revision]
