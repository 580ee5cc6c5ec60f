"""Transfer: adapters, components and static embeddings, checked in the files that they leave."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.measures import size
from compressors.building import step_keys
from compressors.features import TRAIN_FEATURES
from compressors.lora import ADAPTER
from compressors.pca import PROJECTION, Pca, through_projection
from compressors.recipe import RecipeError, parse_recipe
from compressors.step import Unsupported
from models import MODELS, static_table
from models.artifact import Artifact, open_artifact, read_manifest
from models.linear_head import load as load_head
from models.networks import load_classifier
from models.predictors import RUNTIMES, load_predictor
from models.store import Store
from models.tokenization import load_tokenizer, tokenize
from tasks import TASKS
from tests.compressors.artifacts import header, made, predict
from tests.compressors.test_distillation import bench, tokens
from tests.conftest import ROOT

RECIPES = (
    "lora:8",
    "lora:8+int8",
    "features+pca:64+logistic",
    "static-embeddings+logistic",
    "static-embeddings+pca:64+logistic",
    "finetune+static-embeddings+logistic",
    "finetune+distill-logits:3",
    "finetune+distill-tiny:3",
    "finetune+distill-relations:3",
    "finetune+distill-long:3+onnx-int8",
    "finetune+distill:3+prune-ffn:0.5+heal:1",
    "finetune+distill-into:minilm-bert+prune-ffn:0.5+heal:2+int8",
    "lora:8+distill:3",
)


def after_step(recipe: str, steps: int) -> Artifact:
    """The artifact after the first steps of a recipe that was built."""
    keys = step_keys(parse_recipe(recipe), MODELS["tiny-bert"], TASKS["tiny"], 0, "cpu")
    return open_artifact(Store().folder(keys[steps - 1]))


def kept_features(artifact: Artifact) -> np.ndarray:
    from safetensors.numpy import load_file

    return load_file(artifact.folder / TRAIN_FEATURES)["features"]


@pytest.mark.parametrize("model", ["minilm-bert", "minilm-roberta", "transformer-scratch"])
@pytest.mark.parametrize("recipe", RECIPES)
def test_recipes_are_planned_for_every_model(recipe: str, model: str) -> None:
    parsed = parse_recipe(recipe)
    assert str(parsed) == recipe
    assert parsed.plan(MODELS[model], "cpu").format in RUNTIMES


# LoRA


def test_lora_leaves_a_stock_network_and_its_adapter_beside_it() -> None:
    artifact = made("lora:4")
    assert header(artifact).keys() == header(made("finetune")).keys()
    needed = {f["name"]: f["needed"] for f in artifact.manifest["files"]}
    assert needed == {
        "adapter/adapter_config.json": False,
        "adapter/adapter_model.safetensors": False,
        "config.json": True,
        "model.safetensors": True,
        "tokenizer.json": True,
    }
    settings = json.loads((artifact.folder / "adapter" / "adapter_config.json").read_text())
    assert (settings["r"], settings["base_model_name_or_path"]) == (4, "tiny-bert")
    assert predict(artifact).shape == (40, 2)


def test_adapter_and_base_are_the_merged_network() -> None:
    import torch
    from peft import PeftModel

    artifact = made("lora:4")
    merged = load_classifier(artifact.folder, 2)
    network = load_classifier(pretrained(artifact.lineage[0]["parent"]).folder, 2, seed=0)
    adapted = PeftModel.from_pretrained(network, str(artifact.folder / "adapter")).eval()
    batch = tokens(artifact)
    with torch.no_grad():
        torch.testing.assert_close(
            adapted(**batch).logits, merged(**batch).logits, atol=1e-4, rtol=1e-4
        )


def test_what_lora_learns_is_of_its_rank() -> None:
    import torch

    from models.sparse import layer_matrices

    artifact = made("lora:4")
    base = load_classifier(pretrained(artifact.lineage[0]["parent"]).folder, 2, seed=0)
    merged = load_classifier(artifact.folder, 2)
    for one, other in zip(layer_matrices(base), layer_matrices(merged), strict=True):
        learnt = torch.linalg.svdvals(other.weight.detach() - one.weight.detach())
        assert (learnt > 1e-3 * learnt[0]).sum() == 4


def pretrained(sha256: str) -> Artifact:
    """The artifact of this content, among all that the store keeps."""
    kept = (read_manifest(path.parent) for path in Store().root.glob("*/*/manifest.json"))
    return next(artifact for artifact in kept if artifact.sha256 == sha256)


def test_bytes_per_extra_task_are_those_of_the_adapters_file() -> None:
    artifact = made("lora:4")
    found = size.measure(artifact)["bytes_per_extra_task"]
    assert found == (artifact.folder / ADAPTER).stat().st_size
    assert found < size.measure(artifact)["size_bytes"] / 10
    assert found < size.measure(made("lora:8"))["bytes_per_extra_task"]
    # What was quantized shares no base with other tasks, nor does one that was trimmed for this.
    assert size.measure(made("trim-vocab+lora:4"))["bytes_per_extra_task"] is None
    assert size.measure(made("lora:4+int8"))["bytes_per_extra_task"] is None


def test_lora_chains() -> None:
    before = predict(made("lora:4"))
    assert np.abs(before - predict(made("lora:4+int8"))).max() < 0.2
    np.testing.assert_allclose(before, predict(made("lora:4+onnx")), atol=1e-4)


def test_a_rank_as_large_as_the_matrix_is_unsupported() -> None:
    with pytest.raises(Unsupported, match="lora:48: a matrix of width 48 has no lower rank"):
        parse_recipe("lora:48").plan(MODELS["tiny-bert"], "cpu")
    with pytest.raises(RecipeError, match="needs pretrained, but gets pytorch"):
        parse_recipe("finetune+lora:8")


# Principal components


def test_the_head_is_mapped_back_through_the_components() -> None:
    from safetensors.numpy import load_file

    recipe = "features+pca:8+logistic"
    artifact = made(recipe)
    coef, intercept = load_head(artifact.folder)
    assert coef.shape == (2, 48)
    middle = after_step(recipe, 2)
    projected, features = kept_features(middle), kept_features(after_step(recipe, 1))
    assert projected.shape == (256, 8)
    assert PROJECTION not in {f["name"] for f in artifact.manifest["files"]}
    components = load_file(middle.folder / PROJECTION)["weight"]
    near = 1e-3 * np.abs(coef).max()
    np.testing.assert_allclose(coef - coef @ components.T @ components, 0 * coef, atol=near)
    # The same head on the projected features says the same.
    from models import linear_head

    scale = projected.std(axis=0) + 1e-6
    labels = bench(Path()).labels()
    small, bias = linear_head.fit(projected / scale, labels, "classification")
    np.testing.assert_allclose(
        features @ coef.T + intercept, projected / scale @ small.T + bias, atol=0.02
    )


def test_prediction_through_components_is_that_of_the_texts() -> None:
    artifact = made("features+pca:8+logistic")
    features = kept_features(after_step("features+pca:8+logistic", 1))
    coef, intercept = load_head(artifact.folder)
    texts = [e.text for e in TASKS["tiny"].splits()["train"]]
    found = load_predictor(artifact, "cpu", 1).predict(texts)
    # The kept features may have been computed in bf16.
    assert np.corrcoef(found[:, 1], (features @ coef.T + intercept)[:, 1])[0, 1] > 0.98


def test_projections_compose(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    generator = np.random.default_rng(0)
    first, second = generator.normal(size=(5, 9)), generator.normal(size=(3, 5))
    shift, offset = generator.normal(size=5), generator.normal(size=3)
    save_file({"weight": first, "bias": shift}, tmp_path / PROJECTION)
    weight, bias = through_projection(tmp_path, second, offset)
    x = generator.normal(size=(4, 9))
    np.testing.assert_allclose(
        x @ weight.T + bias, (x @ first.T + shift) @ second.T + offset, atol=1e-12
    )
    assert np.isfinite(predict(made("features+pca:16+pca:8+logistic"))).all()


def test_more_components_than_there_are() -> None:
    with pytest.raises(Unsupported, match="pca:64: the features have 48 dimensions"):
        parse_recipe("features+pca:64+logistic").plan(MODELS["tiny-bert"], "cpu")
    with pytest.raises(Unsupported, match="pca:300: the features have 256 dimensions"):
        parse_recipe("static-embeddings+pca:300+logistic").plan(MODELS["minilm-bert"], "cpu")
    with pytest.raises(RecipeError, match="'pca:64' needs features or static-features"):
        parse_recipe("pca:64+logistic")


def test_fewer_texts_than_components(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    (tmp_path / "few").mkdir()
    save_file({"features": np.ones((5, 48), np.float32)}, tmp_path / "few" / TRAIN_FEATURES)
    with pytest.raises(ValueError, match="5 texts of 48 features have 5 components at most"):
        Pca(8).apply(Artifact(tmp_path / "few", {"files": []}), bench(tmp_path))


# Static embeddings


def test_a_static_artifact_is_a_table_and_a_tokenizer() -> None:
    artifact = made("static-embeddings+logistic")
    files = [f["name"] for f in artifact.manifest["files"]]
    assert files == ["table.safetensors", "tokenizer.json"]
    data = (artifact.folder / "table.safetensors").read_bytes()
    tensors = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    vocabulary = load_tokenizer(artifact.folder, 128).get_vocab_size()
    assert (tensors["embeddings"]["dtype"], tensors["embeddings"]["shape"]) == (
        "F16",
        [vocabulary, 2],
    )
    figures = size.measure(artifact)
    assert figures["parameters"] == vocabulary * 2 + 2
    assert figures["macs"] is None


def test_a_text_is_the_mean_of_its_tokens_as_model2vec_computes_it() -> None:
    from model2vec import StaticModel

    recipe = "static-embeddings+logistic"
    artifact = made(recipe)
    middle = after_step(recipe, 1)
    table = static_table.load(middle.folder)["embeddings"]
    theirs = StaticModel(table, load_tokenizer(middle.folder, 128), normalize=False, max_length=128)
    texts = [e.text for e in TASKS["tiny"].splits()["train"]]
    means = theirs.encode(texts)
    np.testing.assert_allclose(kept_features(middle), means, atol=1e-5)
    # The head that was folded into the table is the one that fits the means.
    from models import linear_head

    scale = means.std(axis=0) + 1e-6
    coef, bias = linear_head.fit(means / scale, bench(Path()).labels(), "classification")
    found = load_predictor(artifact, "cpu", 1).predict(texts)
    np.testing.assert_allclose(found, means / scale @ coef.T + bias, atol=0.02)


def test_texts_without_known_tokens_get_the_intercept() -> None:
    artifact = made("static-embeddings+logistic")
    predictor: Any = load_predictor(artifact, "cpu", 1)
    logits = predictor.predict(["", "fine", "\u2603\u2603", ""])
    np.testing.assert_array_equal(logits[[0, 2, 3]], np.stack([predictor.intercept] * 3))
    assert (logits[1] != predictor.intercept).any()
    assert predictor.predict([""]).shape == (1, 2)


def test_static_prediction_needs_no_network_library() -> None:
    folder = made("static-embeddings+logistic").folder
    code = (
        "import sys; from pathlib import Path; from models.predictors import load_predictor; "
        f"print(load_predictor(Path({str(folder)!r}), 'cpu', 1).predict(['fine']).shape); "
        "print([n for n in ('torch', 'transformers', 'sklearn', 'model2vec') if n in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["(1, 2)", "[]"]


@pytest.mark.parametrize(
    "recipe", ["static-embeddings+pca:16+logistic", "finetune+static-embeddings+logistic"]
)
def test_static_embeddings_chain(recipe: str) -> None:
    artifact = made(recipe)
    assert artifact.format == "static-linear"
    logits = predict(artifact)
    assert np.isfinite(logits).all()
    assert len(np.unique(logits, axis=0)) > 30


def test_lay_end_to_end_drops_what_is_unknown() -> None:
    words = static_table.lay_end_to_end([[3, 1, 2], [], [1]], unknown_id=1)
    assert words.counts.tolist() == [2, 0, 0]
    table = np.arange(8, dtype=np.float32).reshape(4, 2)
    assert static_table.mean(table, words).tolist() == [[5, 6], [0, 0], [0, 0]]
    assert tokenize(load_tokenizer(made("lora:4").folder, 8), ["a b"])[0][0] == 101


@pytest.mark.parametrize(
    ("recipe", "module", "extra"),
    [("lora:8", "peft", "peft"), ("static-embeddings+logistic", "model2vec", "static")],
)
def test_what_is_not_installed_is_unsupported(
    recipe: str, module: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(Unsupported, match=rf"pip install -e '\.\[{extra}\]'"):
        parse_recipe(recipe).plan(MODELS["tiny-bert"], "cpu")
