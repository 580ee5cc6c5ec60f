"""Files that do not fit their config: every architecture opens them, and what is wrong is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models import MODELS
from models.model import Model, Shape
from tests.compressors.artifacts import made, predict
from tests.compressors.test_structured import network_of

# Every architecture.


def _write(kind: str, folder: Path) -> None:
    import transformers

    from models.assets import MINILM, write_tokenizer
    from tasks.assets import fetch

    own: dict[str, dict[str, Any]] = {
        "RobertaConfig": {"max_position_embeddings": 258, "type_vocab_size": 1},
        "MPNetConfig": {"max_position_embeddings": 258},
        "DistilBertConfig": {},
        "ElectraConfig": {"embedding_size": 32},
    }
    config = getattr(transformers, kind)(
        vocab_size=30527,
        hidden_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        **own[kind],
        **{"hidden_dim" if kind == "DistilBertConfig" else "intermediate_size": 96},
    )
    config.save_pretrained(folder)
    write_tokenizer(fetch(MINILM), folder)


@pytest.fixture(params=["RobertaConfig", "MPNetConfig", "DistilBertConfig", "ElectraConfig"])
def architecture(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    kind: str = request.param
    name = f"tiny-{kind}"
    model = Model(
        name=name,
        title=kind,
        shape=Shape(layers=3, hidden=48, heads=4, ffn=96),
        revision=name,
        source="nothing",
        licence="Apache-2.0",
        write=lambda folder: _write(kind, folder),
        pretrained=False,
    )
    monkeypatch.setitem(MODELS, name, model)
    return name


@pytest.mark.parametrize(
    "recipe",
    [
        "finetune+prune-heads:0.5+int8",
        "finetune+prune-heads:0.5+prune-heads:0.5+onnx",
        "finetune+svd:8+svd-embeddings:12+int8",
        "finetune+prune-ffn:0.5+prune-width:0.5+onnx",
    ],
)
def test_every_architecture(recipe: str, architecture: str) -> None:
    if "prune-width" in recipe:
        pytest.importorskip("torch_pruning")
    before, after = made(recipe.rpartition("+")[0], architecture), made(recipe, architecture)
    np.testing.assert_allclose(predict(after), predict(before), atol=0.1)
    before = made(before.manifest["recipe"] + "+features+logistic", architecture)
    assert np.isfinite(predict(before)).all()


# The loader.


def test_heads_keep_their_own_part_of_a_shared_position_bias(tmp_path: Path) -> None:
    """MPNet's bias is one for all layers: after two prunings each head still has its own."""
    import torch
    from transformers import MPNetConfig, MPNetForSequenceClassification

    from compressors.prune_heads import keep_heads
    from models.networks import layers_of, load_classifier, save_network

    torch.manual_seed(0)
    config = MPNetConfig(
        vocab_size=50,
        hidden_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=96,
        initializer_range=0.5,
    )
    network = MPNetForSequenceClassification(config).eval()
    ids = torch.arange(5, 21).unsqueeze(0)
    with torch.inference_mode():
        for layer, head in ((0, 0), (0, 2), (1, 1)):
            dense = layers_of(network)[layer].attention.attn.o
            dense.weight[:, head * 12 : (head + 1) * 12] = 0.0
        before = network(input_ids=ids).logits
    keep_heads(network, layers_of(network)[0], torch.tensor([0, 1, 3]))
    keep_heads(network, layers_of(network)[0], torch.tensor([1, 2]))
    keep_heads(network, layers_of(network)[1], torch.tensor([0, 2, 3]))
    save_network(network, tmp_path)
    for changed in (network.eval(), load_classifier(tmp_path, 2)):
        with torch.inference_mode():
            torch.testing.assert_close(changed(input_ids=ids).logits, before)


def test_uneven_ffn_widths_open(tmp_path: Path) -> None:
    import torch

    from compressors.prune_ffn import prune_neurons
    from models.networks import layers_of, load_classifier, save_network

    network = network_of(made("finetune"))
    for layer, width in zip(layers_of(network), (80, 56, 32, 96), strict=True):
        prune_neurons(layer.intermediate.dense, layer.output.dense, width)
    save_network(network, tmp_path)
    ids = torch.arange(1000, 1008).unsqueeze(0)
    opened = load_classifier(tmp_path, 2)
    assert [layer.intermediate.dense.out_features for layer in layers_of(opened)] == [
        80,
        56,
        32,
        96,
    ]
    with torch.inference_mode():
        torch.testing.assert_close(opened(input_ids=ids).logits, network(input_ids=ids).logits)


def test_a_stock_file_is_opened_by_transformers_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from safetensors.torch import load_file

    from models import fitting

    artifact = made("finetune")

    def never(*_: Any) -> None:
        raise AssertionError("a stock file needs no buffers")

    monkeypatch.setattr(fitting, "restore_buffers", never)
    state = network_of(artifact).state_dict()
    for name, tensor in load_file(artifact.folder / "model.safetensors").items():
        assert (state[name] == tensor).all()


def test_a_file_that_lacks_a_tensor_is_refused(tmp_path: Path) -> None:
    import shutil

    from safetensors.torch import load_file, save_file

    from models.networks import load_classifier

    shutil.copytree(made("finetune+svd:8").folder, tmp_path / "damaged")
    file = tmp_path / "damaged" / "model.safetensors"
    tensors = load_file(file)
    name = "bert.encoder.layer.1.output.dense.1.bias"
    del tensors[name]
    file.unlink()
    save_file(tensors, file)
    with pytest.raises(ValueError, match=f"'{name}' is missing"):
        load_classifier(tmp_path / "damaged", 2)


def test_another_number_of_labels_is_no_fitting() -> None:
    from models.networks import load_classifier

    with pytest.raises((RuntimeError, ValueError), match=r"classifier\.weight|mismatch"):
        load_classifier(made("finetune+svd:8").folder, 5)
