"""A last layer that computes the first token alone: the same logits, the same gradients, less work."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
import torch

from models.first_token import FIRST_TOKEN_LAYERS, first_token_only


def classifier(kind: str) -> Any:
    """A small classifier of an architecture, without dropout."""
    from transformers import AutoConfig, AutoModelForSequenceClassification

    torch.manual_seed(0)
    config = AutoConfig.for_model(
        kind,
        vocab_size=100,
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=64,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        classifier_dropout=0.0,
    )
    return AutoModelForSequenceClassification.from_config(config).train()


@pytest.mark.parametrize("kind", [*FIRST_TOKEN_LAYERS, "mpnet"])
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_a_network_learns_the_same(kind: str, attention: str) -> None:
    network = classifier(kind)
    if kind == "mpnet" and attention == "sdpa":
        pytest.skip("transformers has no such attention for MPNet")
    network.set_attn_implementation(attention)
    ids, labels = torch.randint(5, 99, (4, 9)), torch.tensor([0, 1, 1, 0])
    mask = torch.ones_like(ids)
    mask[1:3, 4:] = 0

    def learn(context: Any) -> list[torch.Tensor]:
        with context:
            network.zero_grad()
            said = network(input_ids=ids, attention_mask=mask, labels=labels)
            said.loss.backward()
        gradients = [p.grad.clone() for p in network.parameters() if p.grad is not None]
        return [said.logits.detach(), *gradients]

    before = [name for name, _ in network.named_parameters()]
    for whole, spared in zip(learn(nullcontext()), learn(first_token_only(network)), strict=True):
        torch.testing.assert_close(spared, whole, atol=1e-6, rtol=1e-4)
    assert [name for name, _ in network.named_parameters()] == before


def test_other_tokens_are_not_computed() -> None:
    network = classifier("bert")
    ids = torch.randint(5, 99, (2, 9))
    with first_token_only(network):
        said = network(input_ids=ids, output_hidden_states=True)
    assert [states.shape[1] for states in said.hidden_states] == [9, 9, 9, 1]


def test_it_ends_with_an_error() -> None:
    network = classifier("bert")
    with pytest.raises(RuntimeError), first_token_only(network):
        raise RuntimeError
    ids = torch.ones(1, 5, dtype=torch.int64)
    said = network(input_ids=ids, output_hidden_states=True)
    assert said.hidden_states[-1].shape[1] == 5
