"""Unstructured pruning: which weights are zero in the file, and that they stay zero."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.measures import size
from compressors.prune_movement import PruneMovement
from compressors.recipe import parse_recipe
from compressors.step import Unsupported
from models import MODELS
from models.artifact import Artifact
from models.model import Shape
from tasks import TASKS
from tests.compressors.artifacts import made, predict

PRUNED = (
    "finetune+prune-magnitude:0.5",
    "finetune+prune-wanda:0.5",
    "finetune+prune-movement:0.5",
    "finetune+prune-2of4",
)


def weights(artifact: Artifact) -> dict[str, np.ndarray]:
    from safetensors.numpy import load_file

    return load_file(artifact.folder / "model.safetensors")


def matrices(artifact: Artifact) -> dict[str, np.ndarray]:
    """The linear maps of the Transformer layers, as they lie in the file."""
    return {n: w for n, w in weights(artifact).items() if ".layer." in n and w.ndim == 2}


def test_magnitude_zeroes_the_smallest_weights_of_each_matrix_and_nothing_else() -> None:
    before, after = made("finetune"), made("finetune+prune-magnitude:0.7")
    pruned, dense = matrices(after), weights(before)
    assert len(pruned) == 4 * 6
    for name, weight in weights(after).items():
        if name not in pruned:
            np.testing.assert_array_equal(weight, dense[name])
            continue
        zero = weight == 0
        assert zero.sum() == round(0.7 * weight.size)
        np.testing.assert_array_equal(weight[~zero], dense[name][~zero])
        assert np.abs(dense[name][zero]).max() <= np.abs(weight[~zero]).min()


def test_wanda_weighs_by_the_inputs_of_training_texts_row_by_row() -> None:
    import torch

    from models.networks import load_classifier
    from models.tokenization import load_tokenizer, tokenize

    before, after = made("finetune"), made("finetune+prune-wanda:0.5")
    for weight in matrices(after).values():
        assert ((weight == 0).sum(axis=1) == round(0.5 * weight.shape[1])).all()
    # The first layer's query reads the embeddings: its inputs can be had without any hook.
    tokenizer = load_tokenizer(before.folder, TASKS["tiny"].max_tokens)
    ids = tokenize(tokenizer, [e.text for e in TASKS["tiny"].splits()["train"]])
    network = load_classifier(before.folder, 2)
    with torch.inference_mode():
        read = torch.cat([network.bert.embeddings(torch.tensor([row]))[0] for row in ids])
    name = "bert.encoder.layer.0.attention.self.query.weight"
    scores = np.abs(weights(before)[name]) * read.norm(dim=0).numpy()
    lowest = np.sort(scores, axis=1)[:, :24]
    np.testing.assert_allclose(
        np.sort(scores[matrices(after)[name] == 0].reshape(48, 24)), lowest, rtol=1e-4
    )


def test_movement_learns_which_weights_to_mask_and_leaves_a_stock_file() -> None:
    artifact = made("finetune+prune-movement:0.8")
    before = weights(made("finetune"))
    assert {n: w.shape for n, w in weights(artifact).items()} == {
        n: w.shape for n, w in before.items()
    }
    smallest = matrices(made("finetune+prune-magnitude:0.8"))
    for name, weight in matrices(artifact).items():
        zero = weight == 0
        assert zero.sum() == round(0.8 * weight.size)
        assert (weight[~zero] != before[name][~zero]).mean() > 0.9  # it was fine-tuned
        # Some are not among the smallest: the scores, which start as magnitudes, have learnt.
        assert 0.8 < (smallest[name][zero] == 0).mean() < 1
    assert artifact.manifest["labels"] == ["negative", "positive"]


def test_movements_share_rises_with_a_cubic_to_its_value() -> None:
    step = PruneMovement(0.8)
    shares = [step.masked(done / 10) for done in range(11)]
    assert shares[:2] == [0.0, 0.0]
    assert shares == sorted(shares)
    assert step.masked(0.4) == pytest.approx(0.8 * (1 - 0.5**3))
    assert shares[7:] == pytest.approx([0.8] * 4)


def test_scores_learn_straight_through_the_mask() -> None:
    import torch

    from compressors.prune_movement import learnt_mask

    weight = torch.randn(3, 4, requires_grad=True)
    mask = learnt_mask(weight)
    mask.kept[0] = 0
    mask.scores.data.normal_()
    masked = mask(weight)
    assert torch.equal(masked, weight * mask.kept)
    gradient = torch.randn(3, 4)
    masked.backward(gradient)
    assert torch.equal(mask.scores.grad, gradient * weight)
    assert torch.equal(weight.grad, gradient * mask.kept)


def test_2of4_keeps_two_of_every_four_inputs() -> None:
    for weight in matrices(made("finetune+prune-2of4")).values():
        assert ((weight == 0).reshape(-1, 4).sum(axis=1) == 2).all()


def test_2of4_is_for_cuda_and_for_widths_that_four_divides() -> None:
    recipe, model = parse_recipe("finetune+prune-2of4"), MODELS["minilm-bert"]
    assert recipe.plan(model, "cuda").format == "pytorch"
    with pytest.raises(Unsupported, match="prune-2of4 runs on cuda, not on cpu"):
        recipe.plan(model, "cpu")
    odd = replace(model, shape=Shape(layers=2, hidden=48, heads=4, ffn=90))
    with pytest.raises(
        Unsupported, match="widths that 4 divides; this model has hidden 48, FFN 90"
    ):
        recipe.plan(odd, "cuda")
    with pytest.raises(Unsupported, match="rank 30"):
        parse_recipe("finetune+svd:30+prune-2of4").plan(model, "cuda")


@pytest.mark.parametrize("pruned", PRUNED)
@pytest.mark.parametrize("later", ["finetune", "distill:2"])
def test_zeros_stay_zero_through_later_training(pruned: str, later: str) -> None:
    source, trained = matrices(made(pruned)), matrices(made(f"{pruned}+{later}"))
    assert len(trained) == 6 * (2 if later == "distill:2" else 4)
    for name, weight in trained.items():
        layer = int(name.split(".")[3])
        origin = 2 * layer if later == "distill:2" else layer  # the student starts from 0 and 2
        before = source[name.replace(f"layer.{layer}", f"layer.{origin}")]
        assert (weight[before == 0] == 0).all()
        assert (weight[before != 0] != before[before != 0]).mean() > 0.9


def test_zeros_stay_in_frozen_layers_and_those_above() -> None:
    source = matrices(made("finetune+prune-magnitude:0.5"))
    for name, weight in matrices(made("finetune+prune-magnitude:0.5+finetune:1")).items():
        assert (weight[source[name] == 0] == 0).all()
        assert (weight != source[name]).any() == (".layer.3." in name)


def test_zeros_stay_when_more_are_pruned_while_learning() -> None:
    source = matrices(made("finetune+prune-magnitude:0.5"))
    for name, weight in matrices(made("finetune+prune-magnitude:0.5+prune-movement:0.7")).items():
        assert (weight[source[name] == 0] == 0).all()
        assert (weight == 0).sum() >= round(0.7 * weight.size)


def test_a_pretrained_encoder_is_pruned_first_and_transferred_later() -> None:
    for weight in matrices(made("prune-magnitude:0.5+finetune", "minilm-roberta")).values():
        assert (weight == 0).sum() == round(0.5 * weight.size)


def test_zeros_stay_through_the_training_of_a_student_and_of_int8() -> None:
    source = matrices(made("finetune+prune-magnitude:0.5"))
    trained = made("finetune+prune-magnitude:0.5+qat-int8")
    kept = {name: w for name, w in weights(trained).items() if w.dtype == np.int8 and w.ndim == 2}
    kept = {name: weight for name, weight in kept.items() if ".layer." in name}
    assert len(kept) == len(source)
    assert all((weight == 0).mean() >= 0.5 for weight in kept.values())
    for weight in matrices(made("prune-magnitude:0.5+student:3", "minilm-roberta")).values():
        assert (weight == 0).sum() == round(0.5 * weight.size)


def test_an_adapter_would_fill_them() -> None:
    with pytest.raises(Unsupported, match="the merged adapter would fill the pruned weights"):
        parse_recipe("prune-magnitude:0.5+lora:4").plan(MODELS["tiny-bert"], "cpu")


def test_factors_would_fill_them() -> None:
    with pytest.raises(Unsupported, match="its factors have none of the zeros"):
        parse_recipe("finetune+prune-magnitude:0.5+svd:8").plan(MODELS["tiny-bert"], "cpu")


@pytest.mark.parametrize("pruned", PRUNED)
def test_a_dense_file_gains_nothing_but_zips_better(pruned: str) -> None:
    before, after = size.measure(made("finetune")), size.measure(made(pruned))
    zeros = sum(int((w == 0).sum()) for w in matrices(made(pruned)).values())
    assert after["size_bytes"] == pytest.approx(before["size_bytes"], rel=1e-3)
    assert after["parameters"] == before["parameters"]
    assert before["nonzero_parameters"] - after["nonzero_parameters"] == pytest.approx(
        zeros, abs=50
    )
    assert after["zipped_bytes"] < before["zipped_bytes"] - zeros  # at least a byte a zero
    assert made(pruned).manifest["sparse"] is True
    assert "sparse" not in made("finetune").manifest


@pytest.mark.parametrize("step", ["prune-magnitude:0.05", "prune-wanda:0.05"])
def test_few_zeros_change_little(step: str) -> None:
    assert np.abs(predict(made("finetune")) - predict(made(f"finetune+{step}"))).max() < 0.1


@pytest.mark.parametrize("pruned", PRUNED)
@pytest.mark.parametrize("quantized", ["int8", "onnx-int8", "bf16"])
def test_pruned_models_are_quantized(pruned: str, quantized: str) -> None:
    sparse, small = predict(made(pruned)), predict(made(f"{pruned}+{quantized}"))
    assert np.abs(sparse - small).max() < 0.3
