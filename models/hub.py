"""Pretrained encoders by hub id, with pinned revisions, for machines that reach a model hub."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from models.model import Model, Shape


class HubUnreachable(RuntimeError):
    """The hub did not answer; the message says which model and what to do."""


def write_from_hub(hub_id: str, revision: str, folder: Path) -> None:
    """Download a pinned encoder and write it in the form that every step reads.

    Raises:
        HubUnreachable: the hub, the id or the revision cannot be had.
    """
    import torch
    from transformers import AutoModel, AutoTokenizer

    try:
        model = AutoModel.from_pretrained(
            hub_id, revision=revision, use_safetensors=True, dtype=torch.float32
        )
        tokenizer = AutoTokenizer.from_pretrained(hub_id, revision=revision)
    except (OSError, ValueError) as error:
        raise HubUnreachable(
            f"model '{hub_id}' at revision {revision} cannot be fetched from the hub "
            f"({type(error).__name__}); use a built-in model (`leanboard list models`), or fetch it "
            "once on a machine with access and share the hub's cache folder (HF_HOME)"
        ) from error
    model.save_pretrained(folder)
    backend = tokenizer.backend_tokenizer
    backend.no_padding()
    backend.no_truncation()
    backend.save(str(folder / "tokenizer.json"))


def hub_model(name: str, title: str, revision: str, shape: Shape, licence: str) -> Model:
    """Declare a model that lives on the hub under its own name."""
    return Model(
        name=name,
        title=title,
        shape=shape,
        revision=f"{name}@{revision}",
        source=f"hub id {name}, revision {revision[:12]}",
        licence=licence,
        write=partial(write_from_hub, name, revision),
    )


BASE = Shape(layers=12, hidden=768, heads=12, ffn=3072)
HALF = Shape(layers=6, hidden=768, heads=12, ffn=3072)

HUB_MODELS = (
    hub_model(
        "bert-base-uncased",
        "BERT base (Devlin et al. 2018, arXiv 1810.04805)",
        "86b5e0934494bd15c9632b12f734a8a67f723594",
        BASE,
        "Apache-2.0",
    ),
    hub_model(
        "roberta-base",
        "RoBERTa base (Liu et al. 2019, arXiv 1907.11692)",
        "e2da8e2f811d1448a5b465c236feacd80ffbac7b",
        BASE,
        "MIT",
    ),
    hub_model(
        "distilbert-base-uncased",
        "DistilBERT (Sanh et al. 2019, arXiv 1910.01108)",
        "12040accade4e8a0f71eabdb258fecc2e7e948be",
        HALF,
        "Apache-2.0",
    ),
    hub_model(
        "distilroberta-base",
        "DistilRoBERTa (Sanh et al. 2019, arXiv 1910.01108)",
        "fb53ab8802853c8e4fbdbcd0529f21fc6f459b2b",
        HALF,
        "Apache-2.0",
    ),
)
