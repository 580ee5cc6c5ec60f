"""Pretrained models: the weights are what they claim to be."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from models import MODELS
from models.hub import write_from_hub
from models.networks import load_classifier, load_encoder
from models.tokenization import load_tokenizer, pad, tokenize
from tasks import TASKS
from tasks.assets import file_sha256
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folders = {}
    for name in ("minilm-bert", "minilm-roberta", "transformer-scratch"):
        folders[name] = tmp_path_factory.mktemp(name)
        MODELS[name].write(folders[name])
    return folders


def test_minilm_has_the_pinned_bytes(written: dict[str, Path]) -> None:
    assert file_sha256(written["minilm-bert"] / "model.safetensors") == (
        "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
    )


def test_roberta_computes_exactly_what_bert_does(written: dict[str, Path]) -> None:
    import torch
    from transformers import RobertaModel

    bert, roberta = (load_encoder(written[f"minilm-{name}"]) for name in ("bert", "roberta"))
    assert isinstance(roberta, RobertaModel)
    tokenizer = load_tokenizer(written["minilm-bert"], 512)
    texts = [e.text for e in TASKS["movies"].splits()["test"][:40]]
    texts.append(" ".join(e.text for e in TASKS["bbc"].splits()["test"][:5]))  # all 512 positions
    ids, mask = (torch.from_numpy(array) for array in pad(tokenize(tokenizer, texts), 0))
    assert ids.shape[1] == 512
    with torch.inference_mode():
        one, other = (
            network(input_ids=ids, attention_mask=mask).last_hidden_state[mask.bool()]
            for network in (bert, roberta)
        )
    assert float((one - other).abs().max()) == 0.0


def test_scratch_has_minilms_shape_and_no_weights(written: dict[str, Path]) -> None:
    import torch

    assert not (written["transformer-scratch"] / "model.safetensors").exists()
    shapes = []
    for name in ("transformer-scratch", "minilm-bert"):
        torch.manual_seed(0)
        shapes.append({n: p.shape for n, p in load_encoder(written[name]).named_parameters()})
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize("name", ["minilm-bert", "minilm-roberta"])
def test_declared_shape(written: dict[str, Path], name: str) -> None:
    config, shape = load_encoder(written[name]).config, MODELS[name].shape
    found = config.num_hidden_layers, config.hidden_size, config.num_attention_heads
    assert (*found, config.intermediate_size) == (
        shape.layers,
        shape.hidden,
        shape.heads,
        shape.ffn,
    )


def test_tokenizer_neither_pads_nor_forgets_to_cut(written: dict[str, Path]) -> None:
    tokenizer = load_tokenizer(written["minilm-bert"], 16)
    short, long = tokenize(tokenizer, ["fine", "word " * 100])
    assert (len(short), len(long)) == (3, 16)
    tokens = pad([short, long], 0)
    assert tokens.input_ids.shape == (2, 16)
    assert tokens.attention_mask.sum(axis=1).tolist() == [3, 16]
    assert tokens.input_ids.dtype == np.int64


def test_a_model_by_hub_id_is_written_as_every_step_reads_it(tuned: Path, tmp_path: Path) -> None:
    """A folder stands for the hub: transformers loads both in one way."""
    write_from_hub(str(tuned), "main", tmp_path)
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= set(os.listdir(tmp_path))
    assert load_classifier(tmp_path, 2).config.hidden_size == 48


def test_a_hub_that_does_not_answer_is_one_clear_line(tmp_path: Path) -> None:
    code = (
        "import time\n"
        "time.sleep = lambda seconds: None\n"  # between the hub's retries
        "from models import MODELS\n"
        "from pathlib import Path\n"
        f"MODELS['roberta-base'].write(Path({str(tmp_path)!r}))"
    )
    closed = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path / "hub")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | closed,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    last = done.stderr.strip().splitlines()[-1]
    assert "HubUnreachable: model 'roberta-base' at revision e2da8e2f811d" in last
    assert "use a built-in model" in last
