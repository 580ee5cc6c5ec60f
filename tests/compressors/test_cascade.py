"""Cascades: which chain is asked where the student is unsure, and what its folder holds."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.measures import size
from compressors.building import StepFailed, build, step_keys
from compressors.cascade import Cascade
from compressors.recipe import RecipeError, parse_recipe
from compressors.step import Unsupported
from models import MODELS
from models.predictors import load_predictor, modules_of
from models.predictors.cascade import highest_probability
from tasks import TASKS
from tests.compressors.artifacts import made

CHAIN = "finetune+distill:1+onnx-int8"


def test_the_small_one_answers_what_it_is_sure_of_and_the_large_one_the_rest() -> None:
    texts = [e.text for e in TASKS["tiny"].splits()["test"][:60]]
    small, large = (
        load_predictor(made(recipe), "cpu", 1) for recipe in (CHAIN, "finetune+onnx-int8")
    )
    alone = np.concatenate([small.predict([text]) for text in texts])
    bound = round(float(np.median(highest_probability(alone))), 3)
    cascade = load_predictor(made(f"{CHAIN}+cascade:{bound:g}"), "cpu", 1)
    unsure = highest_probability(alone) < bound
    assert 0 < unsure.sum() < len(texts)
    for text, small_says, asks in zip(texts, alone, unsure, strict=True):
        expected = large.predict([text])[0] if asks else small_says
        np.testing.assert_allclose(cascade.predict([text])[0], expected, atol=1e-5)


def test_a_batch_is_answered_as_its_texts_are_alone() -> None:
    texts = [e.text for e in TASKS["tiny"].splits()["test"][:60]]
    chain = "finetune+distill:1+onnx"
    sure = highest_probability(load_predictor(made(chain), "cpu", 1).predict(texts))
    bound = round(float(np.median(sure)), 3)
    cascade = load_predictor(made(f"{chain}+cascade:{bound:g}"), "cpu", 1)
    near = np.abs(sure - bound) < 1e-3  # rounding chooses who answers
    alone = np.concatenate([cascade.predict([text]) for text in texts])
    together = cascade.predict(texts, batch_size=7)
    np.testing.assert_allclose(together[~near], alone[~near], atol=1e-4)


@pytest.mark.parametrize("runtime", ["bf16", "openvino-int8"])
def test_any_runtime_can_run_the_two(runtime: str) -> None:
    for step in parse_recipe(f"finetune+{runtime}").steps:
        for module in step.extras:
            pytest.importorskip(module)
    cascade = load_predictor(made(f"finetune+distill:1+{runtime}+cascade:0.999"), "cpu", 1)
    large = load_predictor(made(f"finetune+{runtime}"), "cpu", 1)
    np.testing.assert_allclose(cascade.predict(["dull"]), large.predict(["dull"]), atol=1e-5)


def test_its_key_depends_on_the_large_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def key() -> str:
        recipe = parse_recipe(f"{CHAIN}+cascade")
        return step_keys(recipe, MODELS["tiny-bert"], TASKS["tiny"], 0, "cpu")[-1]

    first = key()
    monkeypatch.setattr(
        Cascade, "other_source", lambda self, before: parse_recipe("finetune:1+onnx-int8").steps
    )
    assert key() != first


def test_a_failure_is_of_the_chain_that_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(Cascade, "apply", failing)
    with pytest.raises(StepFailed, match=r"^cascade:0\.9001: ValueError: no$"):
        build(
            f"{CHAIN}+cascade:0.9001",
            "tiny-bert",
            "tiny",
            0,
            "cpu",
            1,
            lambda _, what: told.append(what),
        )
    assert told[-1] == str(parse_recipe(f"{CHAIN}+cascade:0.9001").built)


def failing(self: Cascade, source: object, workbench: object) -> None:
    raise ValueError("no")


@pytest.mark.parametrize(
    ("before", "large"),
    [
        ("finetune+distill:3+trim-vocab+onnx-int8", "finetune+trim-vocab+onnx-int8"),
        ("finetune:2+prune-ffn:0.5+finetune+int8", "finetune:2+int8"),
        ("finetune+trim-vocab+distill:3+heal+svd:64", "finetune+trim-vocab"),
        ("finetune+relu+distill:3+int8", "finetune+int8"),
    ],
)
def test_the_large_one_is_the_chain_without_what_makes_it_smaller(before: str, large: str) -> None:
    recipe = parse_recipe(f"{before}+cascade")
    other = recipe.steps[-1].other_source(recipe.steps[:-1])
    assert "+".join(map(str, other)) == large
    assert set(parse_recipe(large).prefixes) < set(recipe.prefixes)


def test_its_files_are_those_of_both() -> None:
    cascade = made(f"{CHAIN}+cascade")
    parts = made(CHAIN), made("finetune+onnx-int8")
    figures = [size.measure(artifact) for artifact in (cascade, *parts)]
    assert figures[0]["parameters"] == figures[1]["parameters"] + figures[2]["parameters"]
    assert 0 < figures[0]["size_bytes"] - sum(f["size_bytes"] for f in figures[1:]) < 8_000
    assert figures[0]["macs"] is None
    assert {"onnxruntime", "tokenizers"} <= set(modules_of(cascade))
    steps = [step["step"] for step in cascade.lineage]
    assert steps == [
        "finetune",
        "distill:1",
        "onnx",
        "onnx-int8",
        "onnx",
        "onnx-int8",
        "cascade:0.7",
    ]


def test_another_bound_is_another_artifact() -> None:
    one, other = made(f"{CHAIN}+cascade:0.6"), made(f"{CHAIN}+cascade:0.8")
    assert one.sha256 != other.sha256


@pytest.mark.parametrize("recipe", ["finetune+onnx-int8+cascade", "student:3+onnx-int8+cascade"])
def test_a_chain_without_a_student_is_refused(recipe: str) -> None:
    with pytest.raises(RecipeError, match="asks the chain without its student"):
        parse_recipe(recipe)


def test_a_regression_is_refused() -> None:
    recipe = parse_recipe(f"{CHAIN}+cascade")
    assert recipe.plan(MODELS["minilm-bert"], "cpu").format == "cascade"
    with pytest.raises(Unsupported, match="needs probabilities, and a regression has none"):
        recipe.plan(MODELS["minilm-bert"], "cpu", "regression")
