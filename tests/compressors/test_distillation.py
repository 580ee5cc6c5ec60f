"""Distillation: what a student learns, from whom, and that it is what its recipe says."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compressors import STEPS
from compressors.building import StepFailed, build
from compressors.distill import Distill, keep_layers, layer_at
from compressors.distill_ensemble import DistillEnsemble
from compressors.distill_long import DistillLong
from compressors.distill_relations import DistillRelations, relation_loss
from compressors.distill_tiny import squared_error
from compressors.finetune import Finetune
from compressors.live_teacher import LiveTeacher
from compressors.recipe import parse_recipe
from compressors.step import Unsupported
from compressors.student import Student
from compressors.student_long import StudentLong
from compressors.teaching import TEXTS, compare, logit_error, width_map
from compressors.workbench import Workbench
from models import MODELS
from models.artifact import Artifact, seal
from models.attention import QUERY_KEY_VALUE, listening, scores
from models.networks import layers_of, load_classifier
from models.sparse import keep_zeros
from models.tokenization import load_tokenizer, pad, tokenize
from tasks import TASKS
from tests.compressors.artifacts import header, made, margin_gap, predict

VARIANTS = (
    "distill",
    "distill-long",
    "distill-logits",
    "distill-tiny",
    "distill-relations",
    "distill-ensemble",
)


def bench(folder: Path, teacher: Artifact | None = None) -> Workbench:
    return Workbench(TASKS["tiny"], 0, "cpu", 1, folder, lambda *_: None, teacher)


def tokens(artifact: Artifact, n: int = 16) -> dict[str, Any]:
    """Some texts of the test split as the artifact's network reads them."""
    import torch

    texts = [e.text for e in TASKS["tiny"].splits()["test"][:n]]
    ids = tokenize(load_tokenizer(artifact.folder, 128), texts)
    padded = pad(ids, 0)
    return {name: torch.from_numpy(array) for name, array in padded._asdict().items()}


def heard(artifact: Artifact, layers: list[int]) -> dict[int, list[Any]]:
    import torch

    network = load_classifier(artifact.folder, 2)
    with torch.no_grad(), listening(network, layers) as found:
        network(**tokens(artifact))
    return found


# What every student is.


@pytest.mark.parametrize("variant", VARIANTS)
def test_students_have_fewer_layers_and_learn_their_teachers_logits(variant: str) -> None:
    student = made(f"finetune+{variant}:2")
    assert {n.split(".")[3] for n in header(student) if ".layer." in n} == {"0", "1"}
    assert json.loads((student.folder / "config.json").read_text())["num_hidden_layers"] == 2
    assert student.manifest["shape"]["layers"] == 2
    assert student.manifest["distillation"]["teacher"] == made("finetune").sha256
    seeds = (0, *STEPS[variant].other_seeds) if variant == "distill-ensemble" else (0,)
    teacher = np.mean([predict(made("finetune", seed=seed), 96) for seed in seeds], axis=0)
    taught, alone = (predict(a, 96) for a in (student, made("student:2")))
    assert margin_gap(taught, teacher) < margin_gap(alone, teacher)


def test_patience_is_more_epochs_in_larger_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, taught = made("finetune"), []

    def train(workbench: Workbench, *_: object, **lesson: Any) -> None:
        taught.append((lesson["epochs"], lesson["learning_rate"]))

    monkeypatch.setattr(Workbench, "train", train)
    for step in (Distill(2), DistillLong(2)):
        (tmp_path / step.name).mkdir()
        step.apply(source, bench(tmp_path / step.name, source))
    short, long = taught
    assert long == (2 * short[0], 2 * short[1])


@pytest.mark.parametrize(
    ("control", "taught"),
    [(Student(), Distill()), (StudentLong(), DistillLong()), (StudentLong(), DistillEnsemble())],
)
@pytest.mark.parametrize("task", ["tiny", "bbc"])
def test_the_control_learns_for_as_many_steps(
    control: Student, taught: Distill, task: str, tmp_path: Path
) -> None:
    bench = Workbench(TASKS[task], 0, "cpu", 1, tmp_path, lambda *_: None)
    alone = len(bench.texts("train"))
    steps = control.epochs_of_as_many_steps(bench) * alone
    assert steps == pytest.approx(taught.epochs * len(bench.texts(*TEXTS)), abs=alone / 2)
    assert control.learning_rate == taught.learning_rate


@pytest.mark.parametrize("variant", VARIANTS)
def test_students_can_be_quantized(variant: str) -> None:
    before, after = made(f"finetune+{variant}:2"), made(f"finetune+{variant}:2+onnx-int8")
    assert np.abs(predict(before) - predict(after)).max() < 0.2


def test_regression(few: str) -> None:
    for step in (*(f"{variant}:2" for variant in VARIANTS[2:]), "prune-ffn:0.5+heal"):
        logits = predict(made(f"finetune+{step}", task=few))
        assert logits.shape == (40, 1)
        assert np.isfinite(logits).all()


# Who teaches.


@pytest.mark.parametrize(
    ("recipe", "teacher"),
    [
        ("finetune+prune-ffn:0.5+distill:2", "finetune"),
        ("finetune+distill:3+prune-ffn:0.5+heal", "finetune"),
        ("finetune+distill:3+distill-logits:2", "finetune"),
        ("finetune+prune-ffn:0.5+finetune+heal", "finetune"),
        ("prune-ffn:0.5+finetune+distill:2", "prune-ffn:0.5+finetune"),
        ("finetune:0+finetune+distill:2", "finetune:0+finetune"),
        ("lora:4+distill-logits:2", "lora:4"),
        ("student:3+distill:2", "student:3"),
    ],
)
def test_the_teacher_is_the_fine_tuned_network_before_anything_was_compressed(
    recipe: str, teacher: str
) -> None:
    assert made(recipe).manifest["distillation"]["teacher"] == made(teacher).sha256


def test_an_ensemble_is_the_fine_tuned_network_of_three_seeds() -> None:
    student = made("finetune+prune-ffn:0.5+distill-ensemble:2")
    others = [made("finetune", seed=seed).sha256 for seed in (1000, 2000)]
    assert student.lineage[-1]["others"] == others
    assert student.manifest["distillation"]["teacher"] == made("finetune").sha256
    seeds = [step["seed"] for step in student.lineage if step["step"] == "finetune"]
    assert sorted(seeds) == [0, 1000, 2000]


def test_an_ensemble_says_the_mean_of_its_logits(tmp_path: Path) -> None:
    import torch

    teachers = [made("finetune", seed=seed) for seed in (0, 1000, 2000)]
    alone = bench(tmp_path)
    mean = np.mean([alone.lessons(teacher, *TEXTS)["logits"] for teacher in teachers], axis=0)
    batch = {"index": torch.arange(len(mean))}
    by_all, by_one = (
        logit_error(teachers[0], 2.0, replace(alone, others=others))(torch.from_numpy(mean), batch)
        for others in (tuple(teachers[1:]), ())
    )
    assert by_all == pytest.approx(0, abs=1e-7)
    assert by_one > 1e-5


def test_an_ensemble_needs_what_can_be_fine_tuned_again() -> None:
    plan = parse_recipe("as-is+distill-ensemble:2").plan
    known = replace(MODELS["tiny-bert"], head=("negative", "positive"))
    with pytest.raises(Unsupported, match=r"fine-tuned already: 'distill-long:2' has one"):
        plan(known, "cpu")
    assert parse_recipe("as-is+finetune+distill-ensemble:2").plan(known, "cpu").shape


def test_an_ensemble_is_trained_as_its_recipe_says() -> None:
    *before, ensemble = parse_recipe("finetune:0+finetune+relu+distill-ensemble:2").steps
    read = ensemble.other_source(tuple(before))
    assert [str(step) for step in read] == ["finetune:0", "finetune"]


def test_a_failure_of_another_seed_is_the_ensembles(monkeypatch: pytest.MonkeyPatch) -> None:
    made("finetune")

    def failing(self: Finetune, source: object, workbench: Workbench) -> None:
        raise ValueError(f"no {workbench.seed}")

    monkeypatch.setattr(Finetune, "apply", failing)
    monkeypatch.setattr(DistillEnsemble, "other_seeds", (7000,))
    told: list[str] = []
    with pytest.raises(StepFailed, match="no 7000"):
        build(
            "finetune+distill-ensemble:2",
            *("tiny-bert", "tiny", 0, "cpu", 1),
            lambda _, what: told.append(what),
        )
    assert told[-1].startswith("finetune+distill-ensemble:2: ")


def test_a_narrow_student_is_taught_and_not_only_cut() -> None:
    student = made("finetune+prune-ffn:0.5+distill:2")
    assert header(student)["bert.encoder.layer.0.intermediate.dense.weight"]["shape"] == [48, 48]
    assert (student.manifest["shape"]["layers"], student.manifest["shape"]["ffn"]) == (2, 48)


def test_healing_brings_back_what_pruning_took_and_keeps_the_shape() -> None:
    teacher, cut = made("finetune"), made("finetune+prune-ffn:0.75")
    healed = made("finetune+prune-ffn:0.75+heal:2")
    shapes = [{n: t["shape"] for n, t in header(a).items()} for a in (cut, healed)]
    assert shapes[0] == shapes[1]
    gap = [np.abs(predict(a, 96) - predict(teacher, 96)).mean() for a in (cut, healed)]
    assert gap[1] < gap[0]


def test_healing_needs_a_teacher() -> None:
    with pytest.raises(Unsupported, match="heal:1 needs a teacher"):
        parse_recipe("student:3+heal").plan(MODELS["tiny-bert"], "cpu")


def test_zeros_of_a_pruned_network_stay_zero() -> None:
    import torch
    from datasets import Dataset

    from models.training import train

    network = load_classifier(made("finetune").folder, 2)
    weight = layers_of(network)[0].get_submodule("output.dense").weight
    with torch.no_grad():
        weight[:, ::2] = 0.0
    before = weight.detach().clone()
    keep_zeros(network)
    batch = tokens(made("finetune"))
    data = Dataset.from_dict(
        {
            "input_ids": batch["input_ids"].tolist(),
            "length": [batch["input_ids"].shape[1]] * 16,
            "labels": [0, 1] * 8,
        }
    )
    train(network, data, pad_id=0, epochs=1, learning_rate=1e-3, seed=0, device="cpu")
    assert (weight[:, ::2] == 0).all()
    assert (weight[:, 1::2] != before[:, 1::2]).any()


def test_layers_answer_to_layers_of_a_deeper_teacher() -> None:
    network = load_classifier(made("finetune").folder, 2)
    taught = keep_layers(network, 2)
    assert [layer_at(share, 4) for share in taught] == [1, 3]
    assert [layer_at(share, 6) for share in taught] == [2, 5]
    assert [layer_at(share, 12) for share in taught] == [5, 11]


@pytest.mark.parametrize("step", [Distill(2), DistillRelations(2)])
def test_student_and_teacher_may_differ_in_width_and_heads(step: Any, tmp_path: Path) -> None:
    teacher = made("finetune", "minilm-bert")  # 6 layers, 384 wide, 12 heads
    student = step.apply(made("finetune"), bench(tmp_path, teacher))  # 48 wide, 4 heads
    assert student.manifest["distillation"]["teacher"] == teacher.sha256
    assert not any("width_map" in name for name in header(student))
    assert np.isfinite(predict(student)).all()


def test_a_width_map_is_only_lent() -> None:
    network = load_classifier(made("finetune").folder, 2)
    names = set(dict(network.named_parameters()))
    with width_map(network, 384) as widen:
        assert "width_map.weight" in dict(network.named_parameters())
        assert widen.weight.shape == (384, 48)
    assert set(dict(network.named_parameters())) == names


def test_a_teacher_that_is_worse_than_its_student_is_told_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    from safetensors.numpy import load_file, save_file

    monkeypatch.setattr("compressors.teaching.SUSPICIOUS", 0.5)  # 32 examples say little
    monkeypatch.setattr("tests.compressors.artifacts.FEW_STEPS", 60)  # here quality matters
    good = made("finetune", "minilm-bert", seed=1)
    folder = Path(shutil.copytree(good.folder, tmp_path / "bad"))
    weights = load_file(folder / "model.safetensors")
    weights |= {n: -weights[n] for n in ("classifier.weight", "classifier.bias")}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    bad = seal(folder, good.manifest)
    student = load_classifier(good.folder, 2)
    facts = compare(Distill(2), student, good, bench(tmp_path, teacher=bad))
    assert "the teacher is worse than its student" in facts["warning"]
    assert facts["teacher_error"] == pytest.approx(1 - facts["student_error"])
    assert "warning: distill:2" in capsys.readouterr().err
    assert "warning" not in compare(Distill(2), student, good, bench(tmp_path, teacher=good))
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("split", ["validation", "test", "amazon"])
def test_no_step_can_read_what_is_evaluated(split: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="train and unlabelled only"):
        bench(tmp_path).texts("train", split)


# What the losses compare.


def test_scores_are_those_of_the_networks_own_attention() -> None:
    import torch

    artifact = made("finetune")
    network, batch = load_classifier(artifact.folder, 2), tokens(artifact)
    network.set_attn_implementation("eager")
    with torch.no_grad(), listening(network, [1, 3]) as found:
        maps = network(**batch, output_attentions=True).attentions
    hidden = batch["attention_mask"][:, None, None, :] == 0
    for layer in (1, 3):
        query, key, _ = found[layer]
        ours = scores(query, key, 4).masked_fill(hidden, -torch.inf).softmax(-1)
        torch.testing.assert_close(ours, maps[layer])


@pytest.mark.parametrize("architecture", QUERY_KEY_VALUE)
def test_every_architecture_can_be_listened_to(architecture: str) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification

    names = {"vocab_size": 50, "hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 2}
    config = AutoConfig.for_model(architecture, **names)
    network = AutoModelForSequenceClassification.from_config(config).eval()
    ids = torch.full((2, 5), 7)
    with torch.no_grad(), listening(network, [1]) as found:
        network(input_ids=ids, attention_mask=torch.ones_like(ids))
    assert [part.shape for part in found[1]] == [(2, 5, 16)] * 3


def test_padding_takes_no_part_in_the_losses() -> None:
    import torch

    torch.manual_seed(0)
    mask = torch.tensor([[True, True, True, False], [True, True, True, True]])
    one, other = torch.randn(2, 4, 24), torch.randn(2, 4, 48)
    changed = one.clone()
    changed[0, 3] += 100
    before, after = (relation_loss(x, other, mask, 12) for x in (one, changed))
    assert before > 0
    torch.testing.assert_close(before, after)
    assert float(relation_loss(one, one.clone(), mask, 12)) == pytest.approx(0, abs=1e-6)
    assert squared_error(one, one + 2, mask[..., None]) == pytest.approx(4)
    torch.testing.assert_close(
        *(squared_error(x, torch.zeros_like(x), mask[..., None]) for x in (one, changed))
    )


def test_distill_tiny_brings_attention_closer_to_the_teachers() -> None:
    teacher = heard(made("finetune"), [1, 3])
    errors = {}
    for variant in ("distill-logits", "distill-tiny"):
        student = heard(made(f"finetune+{variant}:2"), [0, 1])
        pairs = [(student[0], teacher[1]), (student[1], teacher[3])]
        maps = [(scores(*a[:2], 4), scores(*b[:2], 4)) for a, b in pairs]
        errors[variant] = sum(float((a - b).square().mean()) for a, b in maps)
    assert errors["distill-tiny"] < errors["distill-logits"]


def test_distill_relations_brings_the_last_layers_relations_closer_to_the_teachers() -> None:
    mask = tokens(made("finetune"))["attention_mask"].bool()
    teacher = heard(made("finetune"), [3])[3]
    errors = {}
    for variant in ("distill-logits", "distill-relations"):
        student = heard(made(f"finetune+{variant}:2"), [1])[1]
        errors[variant] = sum(
            float(relation_loss(a, b, mask, 12)) for a, b in zip(student, teacher, strict=True)
        )
    assert errors["distill-relations"] < errors["distill-logits"]


def test_texts_that_student_and_teacher_cut_differently_are_not_compared_token_by_token() -> None:
    import torch

    artifact = made("finetune")
    teacher = LiveTeacher(load_classifier(artifact.folder, 2), [[101, 5, 102], [101, 102]], "cpu")
    batch = {
        "index": torch.tensor([0, 1]),
        "attention_mask": torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1]]),
    }
    said = teacher.answer(batch, [3])
    assert said is not None
    assert said.rows == [0]
    assert said.attention[3][0].shape == (1, 3, 48)
    assert teacher.answer({n: value[1:] for n, value in batch.items()}, [3]) is None


def test_attention_is_compared_head_by_head_only_where_there_are_the_same_heads() -> None:
    plan = parse_recipe("finetune").plan(MODELS["tiny-bert"], "cpu")
    assert plan.shape is not None
    fewer = replace(plan, shape=replace(plan.shape, heads=2))
    with pytest.raises(Unsupported, match=r"distill-tiny:2 compares attention head by head"):
        parse_recipe("finetune+distill-tiny:2").steps[1].plan(fewer, "cpu")
    assert parse_recipe("finetune+distill-relations:2").steps[1].plan(fewer, "cpu").shape
