"""Models that are fine-tuned already: taken as they are, whatever their architecture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compressors.building import build
from compressors.recipe import parse_recipe
from compressors.step import Unsupported
from models import MODELS
from models.assets import MINILM, write_tokenizer
from models.model import Model
from models.own import own_model
from models.predictors import load_predictor
from tasks.assets import fetch

SMALL: dict[str, Any] = {
    "vocab_size": 30522,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "pad_token_id": 0,
    "id2label": {0: "Positive", 1: "Negative"},
    "label2id": {"Positive": 0, "Negative": 1},
}
DISTILBERT = {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64}
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "bert": {},
    "roberta": {},
    "xlm-roberta": {},
    "distilbert": DISTILBERT,
    "mpnet": {},
    "electra": {"embedding_size": 32},
    "albert": {"embedding_size": 32},
    "deberta-v2": {},
    "modernbert": {
        **dict.fromkeys(("bos_token_id", "cls_token_id"), 101),
        **dict.fromkeys(("eos_token_id", "sep_token_id"), 102),
    },
}
TEXTS = ["a wonderful film", "dull, and far too long for what it has to say", "so so"]


def saved(folder: Path, architecture: str) -> tuple[Model, Any]:
    """Save a small classifier of an architecture, and declare it as a user's own."""
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification

    torch.manual_seed(0)
    settings = SMALL | ARCHITECTURES[architecture]
    if architecture == "distilbert":
        settings = {k: v for k, v in settings.items() if k not in ("hidden_size",)}
        settings = {k: v for k, v in settings.items() if not k.startswith(("num_", "interm"))}
    config = AutoConfig.for_model(architecture, **settings)
    network = AutoModelForSequenceClassification.from_config(config).eval()
    folder.mkdir()
    network.save_pretrained(folder)
    write_tokenizer(fetch(MINILM), folder)
    return own_model(str(folder), MODELS), network


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_fine_tuned_model_gives_its_own_logits_in_the_order_of_the_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, architecture: str
) -> None:
    import torch

    model, network = saved(tmp_path / architecture, architecture)
    monkeypatch.setitem(MODELS, model.name, model)
    assert (model.shape.layers, model.shape.hidden, model.shape.heads) == (2, 32, 2)
    assert model.head == ("Positive", "Negative")
    folder = Path(build("as-is", model.name, "tiny", 0, "cpu", 1, lambda *_: None))
    predictor = load_predictor(folder, "cpu", 1)
    tokens = predictor.encode(TEXTS)
    with torch.inference_mode():
        ids, mask = torch.from_numpy(tokens.input_ids), torch.from_numpy(tokens.attention_mask)
        expected = network(input_ids=ids, attention_mask=mask).logits.numpy()
    found = predictor.forward(tokens)  # of `negative`, then of `positive`
    np.testing.assert_allclose(found, expected[:, ::-1], atol=1e-4)


@pytest.mark.parametrize("recipe", ["as-is+distill:1", "as-is+prune-heads:0.5", "as-is+svd:16"])
def test_layers_that_nobody_named_are_unsupported_before_any_work(
    tmp_path: Path, recipe: str
) -> None:
    model, _ = saved(tmp_path / "deberta-v2", "deberta-v2")
    with pytest.raises(Unsupported, match=r"knows the layers of bert, .*, not of deberta-v2"):
        parse_recipe(recipe).plan(model, "cpu")
    assert parse_recipe("as-is+int8").plan(model, "cpu").format == "pytorch-int8"


def test_a_model_without_a_head_is_not_taken_as_it_is() -> None:
    with pytest.raises(Unsupported, match="has no fine-tuned head; start with 'finetune'"):
        parse_recipe("as-is+int8").plan(MODELS["minilm-bert"], "cpu")
