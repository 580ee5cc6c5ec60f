"""Recipes are checked before any work, and say what to write instead."""

from __future__ import annotations

import pytest

from compressors import STEPS
from compressors.recipe import RecipeError, parse_recipe
from compressors.step import Unsupported
from models import MODELS
from models.predictors import RUNTIMES

GOOD = (
    "finetune",
    "finetune:0",
    "finetune:2+int8",
    "finetune+distill:3+onnx-int8",
    "finetune+onnx+onnx-int8",
    "prune-ffn:0.5+finetune",
    "finetune+prune-ffn:0.5+finetune",
    "finetune+features+logistic",
    "majority",
)


@pytest.mark.parametrize("text", GOOD)
def test_a_recipe_reads_as_it_was_written(text: str) -> None:
    assert str(parse_recipe(text)) == text


def test_default_values_are_written_out() -> None:
    assert str(parse_recipe("finetune+distill")) == "finetune+distill:3"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "unknown step ''"),
        ("finetun", "did you mean 'finetune'.; steps: `leanboard list steps`"),
        ("finetune+distil:3", "did you mean 'distill:3'"),
        ("finetune++int8", "unknown step ''"),
        (
            "int8+finetune",
            "'int8' needs pytorch, but gets pretrained there; put .*finetune.* before it",
        ),
        ("finetune+int8+finetune", "'finetune' needs pretrained or pytorch, but gets pytorch-int8"),
        ("onnx+distill:3", "'onnx' needs pytorch, but gets pretrained there"),
        (
            "finetune+onnx+distill:3",
            "'distill:3' needs pytorch, but gets onnx there; put it before 'onnx'",
        ),
        ("finetune+distill:99", "'distill:99' is out of range: 1 to 48"),
        ("finetune+distill:x", "'distill:x' needs a whole number from 1 to 48, got 'x'"),
        ("finetune+distill:1.5", "needs a whole number"),
        ("finetune+distill:", "needs a whole number from 1 to 48, got ''"),
        ("finetune+prune-ffn:1", "out of range: 0.05 to 0.95"),
        ("finetune+prune-ffn:nan", "out of range"),
        ("finetune+int8:8", "step 'int8' takes no value, got '8'"),
        ("features", "no runtime executes"),
        ("majority+finetune", "needs pretrained or pytorch, but gets linear"),
    ],
)
def test_what_does_not_fit(text: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        parse_recipe(text)


def test_a_value_that_the_model_cannot_have_is_unsupported() -> None:
    with pytest.raises(Unsupported, match="needs a model of more layers; this one has 6"):
        parse_recipe("finetune+distill:6").plan(MODELS["minilm-bert"], "cpu")
    with pytest.raises(Unsupported, match="has 6 layers"):
        parse_recipe("finetune:7").plan(MODELS["minilm-bert"], "cpu")


def test_a_device_that_a_step_cannot_use_is_unsupported() -> None:
    with pytest.raises(Unsupported, match="int8 runs on cpu, not on cuda"):
        parse_recipe("finetune+int8").plan(MODELS["minilm-bert"], "cuda")


def test_shapes_are_planned() -> None:
    plan = parse_recipe("finetune+distill:3+prune-ffn:0.5").plan(MODELS["minilm-bert"], "cpu")
    assert plan.shape is not None
    assert (plan.shape.layers, plan.shape.ffn) == (3, 768)


@pytest.mark.parametrize("name", STEPS)
def test_declarations(name: str) -> None:
    step = STEPS[name]
    assert step.name == name
    assert step.family in [
        "training",
        "distillation",
        "quantization",
        "pruning",
        "factorization",
        "vocabulary",
        "shorter inputs",
        "activation",
        "transfer",
        "conversion",
        "cascade",
        "control",
    ]
    assert step.__doc__
    makers = {other.produces for other in STEPS.values()} | {"nothing", "pretrained"}
    assert set(step.accepts) <= makers
    readers = {format for other in STEPS.values() for format in other.accepts}
    made = {step().format_after(format) for format in step.accepts}
    assert made <= readers | set(RUNTIMES)
