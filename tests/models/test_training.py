"""The one training loop: what it does when the numbers run away."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from models import MODELS, training
from models.networks import load_classifier
from models.training import TrainingDiverged, train


def test_how_to_compute_is_chosen_once(
    forget: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a busy neighbour makes of a stopwatch must not change what is trained tomorrow."""
    forget()
    monkeypatch.setattr("torch.cpu._is_avx512_bf16_supported", lambda: True)
    choices = []
    for seconds in (1.0, 2.0):
        training._kept_choice.cache_clear()
        took = {"bfloat16": seconds, "float32": 1.5}
        monkeypatch.setattr(training, "_seconds_of_products", took.__getitem__)
        choices.append(training.bf16_is_fast("cpu"))
    training._kept_choice.cache_clear()
    assert choices == [True, True]


def learn(network: Any, data: Any, loss: training.Loss, epochs: int) -> None:
    train(
        network,
        data,
        pad_id=0,
        epochs=epochs,
        learning_rate=1e-4,
        seed=0,
        device="cpu",
        loss=loss,
    )


def test_a_network_with_scores_beside_its_weights_takes_twice_as_many_parts(tmp_path: Any) -> None:
    from torch.nn.utils.parametrize import register_parametrization

    from compressors.prune_movement import learnt_mask

    MODELS["tiny-bert"].write(tmp_path)
    network = load_classifier(tmp_path, 2)
    longest = training.MOST_ACTIVATIONS // (32 * 48 * 4)
    assert training._parts(network, 32, longest) == 1
    register_parametrization(network.classifier, "weight", learnt_mask(network.classifier.weight))
    assert training._parts(network, 32, longest) == 2


def test_a_batch_in_parts_teaches_the_same(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Long texts go through a large network a few at a time; the step is that of the whole batch."""
    import torch
    from datasets import Dataset

    MODELS["tiny-bert"].write(tmp_path)
    monkeypatch.setattr(training, "bf16_is_fast", lambda _: False)
    monkeypatch.setattr(training, "MIN_STEPS", 6)
    ids = [[101, *range(2000 + i, 2006 + i), 102] for i in range(64)]
    data = Dataset.from_dict({"input_ids": ids, "length": [8] * 64, "labels": [0, 1] * 32})

    def gradients(parts: int) -> tuple[set[int], list[torch.Tensor]]:
        monkeypatch.setattr(training, "MOST_ACTIVATIONS", 32 * 8 * 48 * 4 // parts)
        rows: set[int] = set()
        found: list[torch.Tensor] = []

        def loss(network: Any, batch: dict[str, Any]) -> Any:
            rows.add(len(batch["input_ids"]))
            return network(**batch).loss

        torch.manual_seed(0)
        network = load_classifier(tmp_path, 2)
        weight = network.classifier.weight
        weight.register_post_accumulate_grad_hook(lambda w: found.append(w.grad.clone()))
        learn(network, data, loss, epochs=1)
        return rows, found

    sizes, whole = gradients(1)
    parted_sizes, parted = gradients(4)
    assert (sizes, parted_sizes) == ({32}, {8})
    assert len(parted) == 4 * len(whole)
    for step, gradient in enumerate(whole):  # a part adds to those before it
        assert torch.allclose(parted[4 * step + 3], gradient, rtol=1e-3, atol=1e-5)


def test_training_that_diverges_stops_and_says_at_which_step(tmp_path: Any) -> None:
    import torch
    from datasets import Dataset

    MODELS["tiny-bert"].write(tmp_path)
    network = load_classifier(tmp_path, 2)
    ids = [[101, 2000 + i, 102] for i in range(64)]
    data = Dataset.from_dict({"input_ids": ids, "length": [3] * 64, "labels": [0, 1] * 32})
    calls: list[int] = []

    def loss(network: Any, batch: dict[str, Any]) -> Any:
        calls.append(1)
        value = network(**batch).loss
        return value * torch.nan if len(calls) == 3 else value

    with pytest.raises(TrainingDiverged, match="the loss is nan at step 2: stopped"):
        learn(network, data, loss, epochs=3)
    assert len(calls) == 3


def test_only_what_the_texts_use_of_the_embeddings_is_trained(tmp_path: Path) -> None:
    from datasets import Dataset

    MODELS["tiny-bert"].write(tmp_path)
    network = load_classifier(tmp_path, 2)
    table = network.get_input_embeddings()
    before = table.weight.detach().clone()
    ids = [[101, 2000 + i, 102] for i in range(64)]
    data = Dataset.from_dict({"input_ids": ids, "length": [3] * 64, "labels": [0, 1] * 32})
    train(network, data, pad_id=0, epochs=1, learning_rate=1e-4, seed=0, device="cpu")
    assert network.get_input_embeddings() is table
    changed = set((table.weight != before).any(dim=1).nonzero().flatten().tolist())
    assert {101, 102, *range(2000, 2064)} <= changed <= {0, 101, 102, *range(2000, 2064)}
