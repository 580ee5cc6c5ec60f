"""Pairs of sentences: every runtime sees which token belongs to which, as transformers does."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from benchmarks.export_command import SHIPPED
from compressors.onnx_export import export
from models import dynamic_int8
from models.artifact import Artifact, seal
from models.networks import load_classifier
from models.own import own_model
from models.predictors import load_predictor
from models.segments import SEPARATOR
from tasks.task import PAIR

PAIRS = [("a dull film", "it bored me"), ("short", "and this one is quite a bit longer, is it not")]
TEXTS = [PAIR.join(pair) for pair in PAIRS]


@pytest.fixture
def start(tuned: Path, tmp_path: Path) -> Artifact:
    """What a recipe starts from on a task of pairs; its segment vectors are far apart."""
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "start"
    folder.mkdir()
    own_model(str(tuned)).start(folder, pairs=True)
    weights = load_file(folder / "model.safetensors")
    weights["bert.embeddings.token_type_embeddings.weight"][1] += 3.0
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    facts = {"format": "pytorch", "outputs": 2, "max_tokens": 64, "lineage": []}
    return seal(folder, facts)


def logits_of_transformers(folder: Path, *, segments: bool) -> np.ndarray:
    import torch
    from transformers import AutoModelForSequenceClassification, PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(folder / "tokenizer.json"), pad_token="[PAD]"
    )
    network = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    names = ["input_ids", "attention_mask", *(["token_type_ids"] if segments else [])]
    given = tokenizer(PAIRS, padding=True, return_token_type_ids=True, return_tensors="pt")
    with torch.inference_mode():
        return network(**{name: given[name] for name in names}).logits.numpy()


def test_pairs_are_read_as_transformers_reads_them(start: Artifact) -> None:
    ours = load_predictor(start, "cpu", 1).predict(TEXTS)
    np.testing.assert_allclose(ours, logits_of_transformers(start.folder, segments=True), atol=1e-5)
    assert np.abs(ours - logits_of_transformers(start.folder, segments=False)).max() > 0.01


def test_every_runtime_sees_the_segments(start: Artifact, tmp_path: Path) -> None:
    expected = load_predictor(start, "cpu", 1).predict(TEXTS)
    without = logits_of_transformers(start.folder, segments=False)
    made: dict[str, Any] = {name: tmp_path / name for name in ("onnx", "pytorch-int8")}
    for name, folder in made.items():
        folder.mkdir()
        (folder / "tokenizer.json").write_bytes((start.folder / "tokenizer.json").read_bytes())
        facts: dict[str, Any] = {"format": name, "outputs": 2, "max_tokens": 64, "lineage": []}
        if name == "onnx":
            facts |= export(start, 2, folder / "model.onnx")
        else:
            dynamic_int8.save(dynamic_int8.quantize(load_classifier(start.folder, 2)), folder)
        answers = load_predictor(seal(folder, facts), "cpu", 1).predict(TEXTS)
        assert np.abs(answers - expected).max() < 0.5 * np.abs(answers - without).max()


def test_openvino_sees_the_segments(start: Artifact, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    from compressors.openvino_export import OpenVinoExport

    def sealed(source: Artifact, **facts: Any) -> Artifact:
        return seal(tmp_path / "ir", dict(source.manifest) | facts)

    def keep(source: Artifact, name: str) -> None:
        (tmp_path / "ir" / name).write_bytes((source.folder / name).read_bytes())

    (tmp_path / "ir").mkdir()
    bench = SimpleNamespace(outputs=2, folder=tmp_path / "ir", keep=keep, seal=sealed)
    made = OpenVinoExport().apply(start, cast(Any, bench))
    expected = load_predictor(start, "cpu", 1).predict(TEXTS)
    np.testing.assert_allclose(load_predictor(made, "cpu", 1).predict(TEXTS), expected, atol=1e-4)


def test_an_exported_folder_asks_transformers_for_the_segments(
    start: Artifact, tmp_path: Path
) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder = tmp_path / "shipped"
    folder.mkdir()
    SHIPPED["pytorch"](start, folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    network = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    with torch.inference_mode():
        logits = network(**tokenizer(PAIRS, padding=True, return_tensors="pt")).logits.numpy()
    np.testing.assert_allclose(logits, load_predictor(start, "cpu", 1).predict(TEXTS), atol=1e-5)


def test_a_task_of_single_texts_has_no_separator(tuned: Path, tmp_path: Path) -> None:
    own_model(str(tuned)).start(tmp_path, pairs=False)
    assert SEPARATOR not in json.loads((tmp_path / "config.json").read_text())
