"""Only the embeddings of the texts' tokens are trained: the same is learnt, the others stay."""

from __future__ import annotations

import copy
from contextlib import nullcontext
from typing import Any

import pytest
import torch

from models.used_rows import used_rows_only
from tests.models.test_first_token import classifier

TEXTS = [[5, 8, 8, 31], [5, 77, 12, 6]]
USED = {5, 6, 8, 12, 31, 77, 1}
PAD = 1


def learn(network: Any, context: Any) -> dict[str, torch.Tensor]:
    ids = torch.tensor([[*text, PAD] for text in TEXTS])
    mask = torch.tensor([[1, 1, 1, 1, 0]] * 2)
    with context:
        optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2, weight_decay=0.0)
        for _ in range(3):
            optimizer.zero_grad()
            network(input_ids=ids, attention_mask=mask, labels=torch.tensor([0, 1])).loss.backward()
            optimizer.step()
    return network.state_dict()


@pytest.mark.parametrize("kind", ["bert", "roberta", "electra", "mpnet"])
def test_a_network_learns_the_same(kind: str) -> None:
    network = classifier(kind)
    table = network.get_input_embeddings()
    whole = learn(copy.deepcopy(network), nullcontext())
    spared = learn(network, used_rows_only(network, TEXTS, PAD))
    assert network.get_input_embeddings() is table
    assert list(spared) == list(whole)
    for name in whole:
        torch.testing.assert_close(spared[name], whole[name], atol=1e-6, rtol=1e-4)


def test_the_other_rows_stay_and_are_not_in_the_optimizer() -> None:
    network = classifier("bert")
    before = network.get_input_embeddings().weight.detach().clone()
    with used_rows_only(network, TEXTS, PAD):
        assert network.get_input_embeddings().weight.shape == (len(USED), before.shape[1])
        learn(network, nullcontext())
    changed = (network.get_input_embeddings().weight != before).any(dim=1).nonzero().flatten()
    assert set(changed.tolist()) <= USED
    assert {5, 8, 31, 77, 12, 6} <= set(changed.tolist())


def test_a_token_of_no_text_is_an_error() -> None:
    network = classifier("bert")
    with used_rows_only(network, TEXTS, PAD), pytest.raises(IndexError):
        network(input_ids=torch.tensor([[5, 9]]))


def test_frozen_or_factored_embeddings_are_left_alone() -> None:
    network = classifier("bert")
    table = network.get_input_embeddings()
    table.weight.requires_grad_(False)
    with used_rows_only(network, TEXTS, PAD):
        assert network.get_input_embeddings() is table
    factored = torch.nn.Sequential(torch.nn.Embedding(100, 4), torch.nn.Linear(4, 32))
    network.set_input_embeddings(factored)
    with used_rows_only(network, TEXTS, PAD):
        assert network.get_input_embeddings() is factored


def test_the_table_is_back_when_training_stops() -> None:
    network = classifier("bert")
    table = network.get_input_embeddings()

    def stopped() -> None:
        with used_rows_only(network, TEXTS, PAD):
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        stopped()
    assert network.get_input_embeddings() is table
