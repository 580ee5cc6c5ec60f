"""Structured pruning and factorization: what the files hold, and that everything opens them."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.measures import size
from compressors.recipe import parse_recipe
from compressors.relu import Relu
from compressors.step import PYTORCH, Plan, Unsupported
from compressors.workbench import Workbench
from models import MODELS
from models.artifact import Artifact, open_artifact
from models.model import Shape
from tasks import TASKS
from tests.compressors.artifacts import header, made, predict
from tests.models.test_first_token import classifier

SHAPE = Shape(layers=4, hidden=48, heads=4, ffn=96)


def shapes(artifact: Artifact) -> dict[str, tuple[int, ...]]:
    """Read the shapes as they lie in the safetensors file."""
    return {name: tuple(tensor["shape"]) for name, tensor in header(artifact).items()}


def plan(recipe: str, shape: Shape = SHAPE) -> Plan:
    model = replace(MODELS["tiny-bert"], shape=shape)
    return parse_recipe(recipe).plan(model, "cpu")


def network_of(artifact: Artifact) -> Any:
    from models.networks import load_classifier

    return load_classifier(artifact.folder, artifact.manifest["outputs"])


# What each step leaves in the file.


@pytest.mark.parametrize("model", ["tiny-bert", "minilm-roberta"])
def test_relu_is_all_that_changes(model: str) -> None:
    before, after = made("finetune", model), made("finetune+relu", model)
    stored = [(a.folder / "model.safetensors").read_bytes() for a in (before, after)]
    assert stored[0] == stored[1]
    configs = [json.loads((a.folder / "config.json").read_text()) for a in (before, after)]
    assert configs[0] | {"hidden_act": "relu"} == configs[1] != configs[0]
    assert np.abs(predict(before) - predict(after)).max() > 1e-5  # its FFNs add little


@pytest.mark.parametrize("kind", ["electra", "mpnet", "distilbert"])
def test_relu_of_other_architectures(kind: str, tmp_path: Path) -> None:
    from models.networks import FFN, layers_of, load_classifier, save_network

    source = made("finetune").folder
    folders = [tmp_path / "gelu", tmp_path / "relu"]
    for folder in folders:
        folder.mkdir()
    save_network(classifier(kind), folders[0])
    shutil.copy(source / "tokenizer.json", folders[0])
    bench = Workbench(TASKS["tiny"], 0, "cpu", 1, folders[1], lambda *_: None)
    Relu().apply(Artifact(folders[0], {"format": PYTORCH}), bench)
    between = []
    for folder in folders:
        network = load_classifier(folder, 2)
        layer = layers_of(network)[0]
        last = layer.get_submodule(FFN[network.config.model_type][1])
        last.register_forward_pre_hook(lambda _, given: between.append(given[0]))
        network(input_ids=torch.arange(5, 13)[None])
    assert between[0].min() < 0
    assert between[1].min() == 0


def test_relu_is_what_runtimes_compute() -> None:
    import onnx

    def activations(recipe: str) -> list[str]:
        graph = onnx.load(made(recipe).folder / "model.onnx").graph
        return [node.op_type for node in graph.node if node.op_type in ("Relu", "Erf", "Gelu")]

    assert activations("finetune+relu+distill:2+onnx") == ["Relu", "Relu"]
    assert "Relu" not in activations("finetune+onnx")


def test_prune_heads_makes_attention_smaller_and_leaves_a_head_in_each_layer() -> None:
    artifact = made("finetune+prune-heads:0.5")
    found = shapes(artifact)
    widths = []
    for layer in range(4):
        prefix = f"bert.encoder.layer.{layer}.attention"
        width = found[f"{prefix}.self.query.weight"][0]
        for name in ("query", "key", "value"):
            assert found[f"{prefix}.self.{name}.weight"] == (width, 48)
            assert found[f"{prefix}.self.{name}.bias"] == (width,)
        assert found[f"{prefix}.output.dense.weight"] == (48, width)
        widths.append(width)
    assert sum(widths) == 8 * 12  # half of 16 heads of width 12
    assert min(widths) >= 12
    assert not artifact.manifest["stock"]
    assert artifact.manifest["shape"]["attention"] == 8 * 12 / 4


def test_prune_heads_removes_those_that_do_nothing() -> None:
    """Heads whose output is multiplied by zero are the first to go, and nothing changes."""
    import torch

    from compressors.prune_heads import best_heads, head_importance, keep_heads
    from models.networks import layers_of

    network = network_of(made("finetune"))
    idle = [(0, 1), (0, 2), (2, 3), (3, 0)]
    with torch.no_grad():
        for layer, head in idle:
            dense = layers_of(network)[layer].attention.output.dense
            dense.weight[:, head * 12 : (head + 1) * 12] = 0.0
    ids = torch.randint(1000, 2000, (8, 9), generator=torch.Generator().manual_seed(0))
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    importance = head_importance(network, [batch | {"labels": torch.arange(8) % 2}])
    kept = best_heads(importance, 12)
    gone = {(i, h) for i, heads in enumerate(kept) for h in set(range(4)) - set(heads.tolist())}
    assert gone == set(idle)
    with torch.inference_mode():
        before = network(**batch).logits
    for layer, heads in zip(layers_of(network), kept, strict=True):
        keep_heads(network, layer, heads)
    with torch.inference_mode():
        torch.testing.assert_close(network(**batch).logits, before, atol=1e-5, rtol=0)


def test_prune_width_leaves_an_ordinary_narrower_network() -> None:
    pytest.importorskip("torch_pruning")
    from transformers import AutoModelForSequenceClassification

    artifact = made("finetune+prune-width:0.5")
    found = shapes(artifact)
    assert found["bert.embeddings.word_embeddings.weight"] == (30522, 24)
    assert found["bert.encoder.layer.3.attention.self.query.weight"] == (24, 24)
    assert found["bert.encoder.layer.3.intermediate.dense.weight"] == (96, 24)
    assert found["bert.pooler.dense.weight"] == (24, 24)
    assert "stock" not in artifact.manifest
    assert artifact.manifest["shape"] == {"layers": 4, "hidden": 24, "heads": 2, "ffn": 96} | {
        "attention": 24
    }
    plain, lists = AutoModelForSequenceClassification.from_pretrained(
        artifact.folder, output_loading_info=True
    )
    assert not any(lists.values())
    assert plain.config.hidden_size == 24


def test_prune_width_keeps_what_matters() -> None:
    """Channels that nothing reads or writes are the first to go, and nothing changes but the norms."""
    pytest.importorskip("torch_pruning")
    import torch

    from compressors.prune_width import narrow

    network = network_of(made("finetune"))
    idle = torch.arange(0, 48, 2)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if parameter.ndim == 2 and parameter.shape[1] == 48:  # reads, or a table
                parameter[:, idle] = 0.0
            if name.endswith(("output.dense.weight", "output.dense.bias")):  # writes
                parameter[idle] = 0.0
            if "LayerNorm" in name:
                parameter[idle] = 0.0
    kept = network.bert.embeddings.word_embeddings.weight[:, 1::2].clone()
    narrow(network, 24)
    torch.testing.assert_close(network.bert.embeddings.word_embeddings.weight, kept)


def test_drop_layers_keeps_the_lowest_as_they_were() -> None:
    from safetensors.numpy import load_file

    before, after = made("finetune"), made("finetune+drop-layers:2")
    kept = load_file(after.folder / "model.safetensors")
    assert {n.split(".")[3] for n in kept if ".layer." in n} == {"0", "1"}
    source = load_file(before.folder / "model.safetensors")
    assert all((tensor == source[name]).all() for name, tensor in kept.items())
    assert json.loads((after.folder / "config.json").read_text())["num_hidden_layers"] == 2
    assert after.manifest["shape"]["layers"] == 2
    assert "stock" not in after.manifest


def test_svd_replaces_matrices_by_thinner_ones() -> None:
    artifact = made("finetune+svd:8")
    found = shapes(artifact)
    prefix = "bert.encoder.layer.1"
    for name, out, into in (
        ("attention.self.query", 48, 48),
        ("attention.output.dense", 48, 48),
        ("intermediate.dense", 96, 48),
        ("output.dense", 48, 96),
    ):
        assert f"{prefix}.{name}.weight" not in found
        assert found[f"{prefix}.{name}.0.weight"] == (8, into)
        assert found[f"{prefix}.{name}.1.weight"] == (out, 8)
        assert found[f"{prefix}.{name}.1.bias"] == (out,)
        assert f"{prefix}.{name}.0.bias" not in found
    assert not artifact.manifest["stock"]
    assert artifact.manifest["shape"]["rank"] == 8


def test_svd_leaves_what_would_not_become_smaller() -> None:
    found = shapes(made("finetune+svd:28"))  # 48 x 48 needs less than 24, 48 x 96 less than 32
    assert found["bert.encoder.layer.0.attention.self.query.weight"] == (48, 48)
    assert found["bert.encoder.layer.0.intermediate.dense.0.weight"] == (28, 48)


def test_svd_that_knows_the_activations_keeps_more_of_the_outputs() -> None:
    import torch

    from compressors.svd import factor

    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(20, 16, generator=generator)
    inputs = torch.randn(200, 16, generator=generator) @ torch.randn(16, 16, generator=generator)
    inputs[:, 3] *= 30
    moments = inputs.T @ inputs / len(inputs)
    errors = []
    for known in (None, moments):
        into, out = factor(weight, 6, known)
        assert into.shape == (6, 16)
        assert out.shape == (20, 6)
        errors.append(float((inputs @ (weight - out @ into).T).norm()))
    assert errors[1] < 0.7 * errors[0]
    into, out = factor(weight, 16, moments)
    torch.testing.assert_close(out @ into, weight, atol=1e-4, rtol=1e-4)


def test_svd_keeps_the_logits_of_training_texts_better_than_the_plain_one() -> None:
    whole = predict(made("finetune"))
    errors = [np.abs(predict(made(f"finetune+{s}:6")) - whole).mean() for s in ("svd", "svd-plain")]
    assert errors[0] < errors[1]


def test_svd_embeddings_leave_a_narrow_table() -> None:
    artifact = made("finetune+svd-embeddings:12")
    found = shapes(artifact)
    prefix = "bert.embeddings.word_embeddings"
    assert f"{prefix}.weight" not in found
    assert found[f"{prefix}.0.weight"] == (30522, 12)
    assert found[f"{prefix}.1.weight"] == (48, 12)
    assert f"{prefix}.1.bias" not in found
    assert not artifact.manifest["stock"]


def test_svd_embeddings_are_the_best_of_their_rank() -> None:
    import torch

    from compressors.svd_embeddings import factor_table

    table = torch.randn(300, 16, generator=torch.Generator().manual_seed(0))
    narrow, wide = factor_table(table, 5)
    values = torch.linalg.svdvals(table.double())
    lost = (table - narrow @ wide.T).double().norm()
    torch.testing.assert_close(lost, values[5:].norm(), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("recipe", "limit"),
    [
        ("prune-heads:0.1", 0.4),
        ("svd:22", 0.4),
        ("svd-embeddings:46", 0.2),
        ("drop-layers:3", 2.0),
        ("prune-width:0.2", 2.0),
    ],
)
def test_little_compression_changes_little(recipe: str, limit: float) -> None:
    before, after = predict(made("finetune")), predict(made(f"finetune+{recipe}"))
    assert np.isfinite(after).all()
    assert np.abs(after - before).max() < limit


# What follows them.


@pytest.mark.parametrize(
    "recipe",
    [
        "finetune+svd:8+onnx-int8",
        "finetune+svd:8+int8",
        "finetune+svd-embeddings:12+svd:8+onnx",
        "finetune+svd-embeddings:12+int8",
        "finetune+svd-embeddings:12+bf16",
        "finetune+prune-heads:0.5+int8",
        "finetune+prune-heads:0.5+onnx-int8",
        "finetune+prune-heads:0.5+svd:8+svd-embeddings:12+prune-ffn:0.5+onnx-int8",
        "finetune+prune-width:0.5+prune-heads:0.5+int8",
        "finetune+drop-layers:2+onnx-int8",
    ],
)
def test_runtimes_and_quantizers_open_what_the_steps_leave(recipe: str) -> None:
    if "prune-width" in recipe:
        pytest.importorskip("torch_pruning")
    before, after = made(recipe.rpartition("+")[0]), made(recipe)
    np.testing.assert_allclose(predict(after), predict(before), atol=0.3)
    assert after.manifest.get("stock", True) == before.manifest.get("stock", True)


@pytest.mark.parametrize(
    ("recipe", "stays"),
    [
        ("finetune+prune-heads:0.5+finetune", "attention.self.query.weight"),
        ("finetune+svd:8+distill:2", "output.dense.0.weight"),
        ("svd:8+finetune+bf16", "output.dense.0.weight"),
        ("finetune+svd:8+svd:4", "intermediate.dense.1.weight"),
        ("finetune+svd:8+prune-width:0.5", "output.dense.0.weight"),
    ],
)
def test_later_steps_keep_the_tensors_as_they_are(recipe: str, stays: str) -> None:
    artifact = made(recipe)
    assert any(name.endswith(stays) for name in shapes(artifact))
    assert np.isfinite(predict(artifact)).all()
    assert artifact.manifest["stock"] is False


def test_bf16_stays_bf16() -> None:
    import torch

    network = network_of(made("finetune+svd:8+bf16"))
    assert {parameter.dtype for parameter in network.parameters()} == {torch.bfloat16}


def test_training_recovers_and_changes_no_source() -> None:
    pruned = made("finetune+prune-heads:0.5")
    tuned = made("finetune+prune-heads:0.5+finetune")
    assert shapes(tuned) == shapes(pruned)
    assert tuned.sha256 != pruned.sha256
    assert open_artifact(pruned.folder).sha256 == pruned.sha256


@pytest.mark.parametrize("recipe", ["prune-heads:0.5", "svd:8+svd-embeddings:12"])
def test_features_of_a_compressed_encoder(recipe: str) -> None:
    artifact = made(f"finetune+{recipe}+features+logistic")
    assert np.isfinite(predict(artifact)).all()
    assert not any("pooler" in name for name in shapes(artifact))


def test_regression(few: str) -> None:
    artifact = made("finetune+prune-heads:0.5+svd:8", task=few)
    assert predict(artifact).shape == (40, 1)


# What is counted.


def test_macs_follow_the_matrices_and_the_heads() -> None:
    whole, pruned = (
        size.measure(made(r))["macs"] for r in ("finetune", "finetune+prune-heads:0.5")
    )
    matrices = 4 * 4 * 48 * 48 / 2  # half of queries, keys, values and outputs
    attention = 2 * 128 * 128 * 4 * 48 / 2  # half of the heads
    assert whole - pruned == 128 * matrices + attention


def test_factors_count_where_they_multiply() -> None:
    whole, factored, narrow = (
        size.measure(made(r)) for r in ("finetune", "finetune+svd:8", "finetune+svd-embeddings:12")
    )
    matrices = 4 * (4 * (48 * 48 - 8 * 96) + 2 * (48 * 96 - 8 * 144))
    assert whole["macs"] - factored["macs"] == 128 * matrices
    assert narrow["macs"] - whole["macs"] == 128 * 12 * 48  # widening the rows
    assert whole["parameters"] - narrow["parameters"] == 30522 * 36 - 12 * 48


def test_macs_are_the_same_in_onnx() -> None:
    # But for what the export leaves out: of the last layer all tokens' outputs except the first.
    for recipe, width in (("svd-embeddings:12", 48), ("prune-heads:0.5", 24)):
        one, other = (size.measure(made(f"finetune+{recipe}{r}"))["macs"] for r in ("", "+onnx"))
        spared = 127 * (2 * 48 * width + 2 * 48 * 96 + 2 * 128 * width)
        assert other == pytest.approx(one - spared, rel=0.01)


# What is refused, before any work.


@pytest.mark.parametrize(
    ("recipe", "reason"),
    [
        ("finetune+prune-heads:0.9", "leaves 2 of 16 heads, fewer than the 4 layers: at most 0.75"),
        ("finetune+prune-heads:0.75+prune-heads:0.5", "leaves 2 of 4 heads"),
        ("finetune+prune-heads:0.05+prune-heads:0.05+prune-heads:0.8", "at most 0.71"),
        ("finetune+prune-width:0.95", "multiples of 12: from 0.12 to 0.75"),
        ("finetune+drop-layers:4", "needs a model of more layers; this one has 4"),
        ("finetune+svd:32", "at most 31"),
        ("finetune+svd:8+svd:8", "at most 7"),
        ("finetune+svd-embeddings:48", "at most 47"),
        ("finetune+svd-embeddings:12+svd-embeddings:12", "at most 11"),
    ],
)
def test_too_small_a_model_is_refused(recipe: str, reason: str) -> None:
    if "prune-width" in recipe:
        pytest.importorskip("torch_pruning")
    with pytest.raises(Unsupported, match=reason):
        plan(recipe)


@pytest.mark.parametrize(
    "recipe",
    [
        "finetune+prune-heads:0.5",
        "finetune+prune-width:0.5",
        "finetune+drop-layers:2",
        "finetune+svd:8+svd-embeddings:12",
        "finetune+prune-heads:0.5+prune-width:0.5",
    ],
)
def test_the_plan_says_what_comes_out(recipe: str) -> None:
    if "prune-width" in recipe:
        pytest.importorskip("torch_pruning")
    planned = plan(recipe).shape
    assert planned
    found = made(recipe).manifest["shape"]
    assert (
        planned.to_json() | {"attention": planned.attention or planned.hidden}
        == {"attention": planned.hidden} | found
    )


@pytest.mark.parametrize("fewer", ["distill:2", "distill-logits:2", "drop-layers:2"])
def test_layers_that_are_kept_have_a_mean_width_of_their_own(fewer: str) -> None:
    artifact = made(f"finetune+prune-heads:0.5+{fewer}")
    values = [t["shape"][0] for n, t in header(artifact).items() if n.endswith("self.value.weight")]
    assert artifact.manifest["shape"]["attention"] == sum(values) / 2
    planned = plan(f"finetune+prune-heads:0.5+{fewer}").shape
    assert planned
    assert planned.layers == len(values) == 2
