"""What each step claims, checked in the files that it left on the disk."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import logsumexp

import models
from benchmarks.measures import size
from compressors.building import step_keys
from compressors.features import Features
from compressors.recipe import parse_recipe
from compressors.step import Unsupported
from compressors.workbench import Workbench
from models.artifact import Artifact, open_artifact
from models.assets import MINILM
from models.predictors import load_predictor
from tasks import TASKS
from tasks.assets import fetch
from tests.compressors.artifacts import header, made, predict

MODELS = ("minilm-bert", "minilm-roberta", "tiny-bert")


def of_minilm(artifact: Artifact) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the encoder's tensors as pretrained and as an artifact has them."""
    from safetensors.numpy import load_file

    before = load_file(fetch(MINILM) / "model.safetensors")
    after = load_file(artifact.folder / "model.safetensors")
    encoder = {f"bert.{name}" for name in before} & after.keys()
    assert any("layer.5" in name for name in encoder)
    return ({n: before[n.removeprefix("bert.")] for n in encoder}, {n: after[n] for n in encoder})


def test_finetune_trains_every_layer_in_fp32() -> None:
    tuned = made("finetune", "minilm-bert")
    assert {t["dtype"] for t in header(tuned).values()} == {"F32"}
    assert tuned.manifest["labels"] == ["negative", "positive"]
    assert predict(tuned).shape == (40, 2)
    before, after = of_minilm(tuned)
    weights = [name for name in before if name.endswith("dense.weight") and "pooler" not in name]
    assert len(weights) == 6 * 3
    assert all((before[name] != after[name]).any() for name in weights)


def test_a_frozen_encoder_stays_as_it_was_pretrained() -> None:
    before, after = of_minilm(made("finetune:0", "minilm-bert"))
    changed = {name for name in before if (before[name] != after[name]).any()}
    assert all("pooler" in name for name in changed)


def test_a_second_finetune_brings_back_what_pruning_took() -> None:
    examples = TASKS["tiny"].splits()["train"]
    texts, labels = [e.text for e in examples], np.array([e.label for e in examples], dtype=int)

    def loss(recipe: str) -> float:
        logits = load_predictor(made(recipe), "cpu", 1).predict(texts)
        return float((logsumexp(logits, axis=1) - logits[np.arange(len(labels)), labels]).mean())

    assert loss("finetune+prune-ffn:0.75+finetune") < loss("finetune+prune-ffn:0.75")


@pytest.mark.parametrize(
    ("recipe", "learnt"), [("finetune:0", set()), ("finetune:1", {3}), ("finetune:2", {2, 3})]
)
def test_finetune_n_leaves_the_lower_layers_as_they_were(recipe: str, learnt: set[int]) -> None:
    from safetensors.numpy import load_file

    # Both start from the same seed: a layer that did not learn is the same in both.
    one = load_file(made(recipe).folder / "model.safetensors")
    other = load_file(made("finetune:0").folder / "model.safetensors")
    full = load_file(made("finetune").folder / "model.safetensors")
    for layer in range(4):
        name = f"bert.encoder.layer.{layer}.output.dense.weight"
        assert (one[name] != other[name]).any() == (layer in learnt)
        assert (full[name] != other[name]).any()
    embeddings = "bert.embeddings.word_embeddings.weight"
    assert (one[embeddings] == other[embeddings]).all()
    assert (one["classifier.weight"] != full["classifier.weight"]).any()


def test_bf16_halves_the_file() -> None:
    before, after = made("finetune"), made("finetune+bf16")
    assert {t["dtype"] for t in header(after).values()} == {"BF16"}
    sizes = [(a.folder / "model.safetensors").stat().st_size for a in (before, after)]
    assert sizes[1] == pytest.approx(sizes[0] / 2, rel=0.02)
    assert np.abs(predict(before) - predict(after)).max() < 0.05


def test_int8_stores_every_linear_layer_and_the_words_in_8_bits() -> None:
    after = header(made("finetune+int8"))
    linear = {n for n in after if f"{n}.scale" in after}
    assert len(linear) == 4 * 6 + 2
    assert {after[name]["dtype"] for name in linear} == {"I8"}
    words = "bert.embeddings.word_embeddings"
    assert after[f"{words}.weight"]["dtype"] == "I8"
    others = {n: t for n, t in after.items() if "embeddings" in n and not n.startswith(words)}
    assert {t["dtype"] for t in others.values()} == {"F32"}
    sizes = [
        (made(r).folder / "model.safetensors").stat().st_size for r in ("finetune", "finetune+int8")
    ]
    assert sizes[1] < 0.35 * sizes[0]
    assert np.abs(predict(made("finetune")) - predict(made("finetune+int8"))).max() < 0.2


def test_onnx_computes_the_same() -> None:
    before, after = made("finetune"), made("finetune+onnx")
    np.testing.assert_allclose(predict(before), predict(after), atol=1e-4)


def test_onnx_int8_stores_weights_and_embeddings_in_8_bits() -> None:
    import onnx

    artifact = made("finetune+onnx-int8")
    graph = onnx.load(artifact.folder / "model.onnx").graph
    matrices = [
        t
        for t in graph.initializer
        if len(t.dims) == 2 and np.prod(t.dims) > 200 and t.data_type != onnx.TensorProto.INT64
    ]
    assert {t.data_type for t in matrices} <= {onnx.TensorProto.INT8, onnx.TensorProto.UINT8}
    assert len(matrices) >= 4 * 6 + 2
    before = (made("finetune+onnx").folder / "model.onnx").stat().st_size
    assert (artifact.folder / "model.onnx").stat().st_size < before / 3
    assert [f["name"] for f in artifact.manifest["files"]] == ["model.onnx", "tokenizer.json"]


def test_onnx_int8_of_an_exported_model_is_the_same() -> None:
    one, other = made("finetune+onnx-int8"), made("finetune+onnx+onnx-int8")
    np.testing.assert_allclose(predict(one), predict(other), atol=1e-5)


def test_the_control_has_fewer_layers() -> None:
    artifact = made("student:2")
    assert {n.split(".")[3] for n in header(artifact) if ".layer." in n} == {"0", "1"}
    assert json.loads((artifact.folder / "config.json").read_text())["num_hidden_layers"] == 2
    assert artifact.manifest["shape"]["layers"] == 2


def test_prune_ffn_makes_the_matrices_smaller() -> None:
    after = header(made("finetune+prune-ffn:0.5+finetune"))
    for layer in range(4):
        prefix = f"bert.encoder.layer.{layer}"
        assert after[f"{prefix}.intermediate.dense.weight"]["shape"] == [48, 48]
        assert after[f"{prefix}.intermediate.dense.bias"]["shape"] == [48]
        assert after[f"{prefix}.output.dense.weight"]["shape"] == [48, 48]


def test_prune_ffn_keeps_the_most_important_neurons() -> None:
    import torch
    from torch import nn

    from compressors.prune_ffn import prune_neurons

    into, out = nn.Linear(4, 6), nn.Linear(6, 4)
    with torch.no_grad():
        into.weight[[1, 4]] = 0.0
        into.bias[[1, 4]] = 0.0
    x = torch.randn(5, 4)
    before = out(torch.relu(into(x)))
    prune_neurons(into, out, 4)
    assert into.weight.shape == (4, 4)
    torch.testing.assert_close(out(torch.relu(into(x))), before)


def test_features_are_computed_once(
    forget: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    computed, apply = [], Features.apply

    def counting(step: Features, *given: Any) -> Artifact:
        computed.append(step)
        return apply(step, *given)

    monkeypatch.setattr(Features, "apply", counting)
    forget()
    for recipe in ("features+logistic", "features+pca:8+logistic", "features+logistic"):
        made(recipe)
    assert len(computed) == 1


def test_the_head_on_features_is_no_pickle() -> None:
    artifact = made("features+logistic")
    names = sorted(f["name"] for f in artifact.manifest["files"])
    assert names == ["config.json", "head.safetensors", "model.safetensors", "tokenizer.json"]
    assert [step["step"] for step in artifact.lineage] == ["features", "logistic"]
    assert not any("pooler" in name for name in header(artifact))


@pytest.mark.parametrize("recipe", ["majority", "tfidf-logistic"])
def test_controls_need_no_network(recipe: str) -> None:
    artifact = made(recipe)
    assert {Path(f["name"]).suffix for f in artifact.manifest["files"]} <= {".safetensors", ".json"}
    logits = predict(artifact)
    assert logits.shape == (40, 2)
    assert (len(np.unique(logits, axis=0)) == 1) is (recipe == "majority")


def test_where_texts_are_cut_is_part_of_the_key() -> None:
    recipe, model, task = parse_recipe("finetune"), models.MODELS["tiny-bert"], TASKS["tiny"]
    shorter = replace(task, max_tokens=task.max_tokens // 2)
    keys = {step_keys(recipe, model, t, 0, "cpu")[0] for t in (task, shorter)}
    assert len(keys) == 2


@pytest.mark.parametrize("then", ["", "+onnx-int8"])
def test_max_tokens_reads_the_beginning_alone(then: str) -> None:
    before, after = made(f"finetune{then}"), made(f"finetune+max-tokens:16{then}")
    tokenizer = json.loads((after.folder / "tokenizer.json").read_text(encoding="utf-8"))
    assert tokenizer["truncation"]["max_length"] == after.manifest["max_tokens"] == 16
    assert after.sha256 != before.sha256
    framed = 14  # of 16, two are the frame's
    texts = [" ".join("a" * framed), " ".join("a" * framed + "b" * 40)]
    predictors = [load_predictor(artifact, "cpu", 1) for artifact in (before, after)]
    whole, cut = ([p.predict([text])[0] for text in texts] for p in predictors)
    assert np.abs(whole[0] - whole[1]).max() > 1e-3
    np.testing.assert_allclose(cut[0], cut[1], atol=1e-6)
    np.testing.assert_allclose(cut[0], whole[0], atol=1e-4)


def test_who_learns_after_max_tokens_reads_as_little(tmp_path: Path) -> None:
    whole, cut = made("finetune"), made("finetune+max-tokens:16")
    bench = Workbench(TASKS["tiny"], 0, "cpu", 1, tmp_path, lambda *_: None, teacher=whole)
    lengths = [max(bench.tokens(artifact, "train")["length"]) for artifact in (whole, cut)]
    assert lengths[0] > lengths[1] == 16


@pytest.mark.parametrize(
    "then",
    [
        "distill:2+trim-vocab+onnx",
        "distill-tiny:2",
        "distill-relations:2",
        "distill-into:tiny-bert",
        "static-embeddings+logistic",
    ],
)
def test_what_follows_max_tokens_reads_as_little(then: str) -> None:
    recipe = f"finetune+max-tokens:16+{then}"
    planned = parse_recipe(recipe).plan(models.MODELS["tiny-bert"], "cpu", max_tokens=128)
    assert made(recipe).manifest["max_tokens"] == planned.max_tokens == 16


def test_a_cascade_asks_who_reads_all() -> None:
    *before, cascade = parse_recipe("finetune+max-tokens:16+onnx-int8+cascade").steps
    assert [str(step) for step in cascade.other_source(tuple(before))] == ["finetune", "onnx-int8"]


def test_more_tokens_than_are_read_are_refused() -> None:
    plan = parse_recipe("finetune+max-tokens:64").plan
    assert plan(models.MODELS["tiny-bert"], "cpu", max_tokens=128).max_tokens == 64
    with pytest.raises(Unsupported, match="max-tokens:64: at most 64 tokens are read already"):
        plan(models.MODELS["tiny-bert"], "cpu", max_tokens=64)


def test_another_seed_gives_other_weights() -> None:
    assert made("finetune", seed=1).sha256 != made("finetune").sha256


def test_prefixes_are_shared_and_sources_stay_as_they_were() -> None:
    source = made("finetune")
    for recipe in ("finetune+int8", "finetune+prune-ffn:0.5", "finetune+distill:2"):
        artifact = made(recipe)
        assert artifact.lineage[1]["parent"] == source.sha256
        assert artifact.lineage[0] == source.lineage[0]
    assert open_artifact(source.folder).sha256 == source.sha256


@pytest.mark.parametrize(
    "recipe", ["finetune", "finetune+int8", "finetune+onnx-int8", "tfidf-logistic"]
)
def test_an_artifact_works_wherever_it_is_moved(recipe: str, tmp_path: Path) -> None:
    import shutil

    artifact = made(recipe)
    moved = shutil.copytree(artifact.folder, tmp_path / "moved")
    np.testing.assert_array_equal(predict(artifact), predict(open_artifact(moved)))


@pytest.mark.parametrize("model", ["minilm-bert", "minilm-roberta"])
@pytest.mark.parametrize(
    "recipe", ["finetune+int8", "finetune+onnx-int8", "finetune+distill:3", "features+logistic"]
)
def test_both_architectures(model: str, recipe: str) -> None:
    artifact = made(recipe, model)
    assert np.isfinite(predict(artifact)).all()
    figures = size.measure(artifact)
    assert figures["nonzero_parameters"] <= figures["parameters"]


def test_regression(few: str) -> None:
    for recipe in ("finetune", "finetune+distill:2", "finetune+onnx", "features+logistic"):
        assert predict(made(recipe, task=few)).shape == (40, 1)
