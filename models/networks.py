"""PyTorch networks on disk: load an artifact's encoder, with a head for a task, and save it again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.fitting import open_fitted
from models.linear_maps import last_of
from models.segments import tell_apart

if TYPE_CHECKING:
    import torch

LAYERS = {
    "bert": "bert.encoder.layer",
    "roberta": "roberta.encoder.layer",
    "xlm-roberta": "roberta.encoder.layer",
    "electra": "electra.encoder.layer",
    "mpnet": "mpnet.encoder.layer",
    "distilbert": "distilbert.transformer.layer",
}
"""Where an architecture keeps its stack of layers."""

FFN = {
    "bert": ("intermediate.dense", "output.dense"),
    "roberta": ("intermediate.dense", "output.dense"),
    "xlm-roberta": ("intermediate.dense", "output.dense"),
    "electra": ("intermediate.dense", "output.dense"),
    "mpnet": ("intermediate.dense", "output.dense"),
    "distilbert": ("ffn.lin1", "ffn.lin2"),
}
"""The two linear maps of a layer's feed-forward network: hidden -> ffn, ffn -> hidden."""

ATTENTION = {
    "bert": ("attention.self", ("query", "key", "value"), "attention.output.dense"),
    "roberta": ("attention.self", ("query", "key", "value"), "attention.output.dense"),
    "xlm-roberta": ("attention.self", ("query", "key", "value"), "attention.output.dense"),
    "electra": ("attention.self", ("query", "key", "value"), "attention.output.dense"),
    "mpnet": ("attention.attn", ("q", "k", "v"), "attention.attn.o"),
    "distilbert": ("attention", ("q_lin", "k_lin", "v_lin"), "attention.out_lin"),
}
"""A layer's self-attention, its three maps hidden -> heads, and the map heads -> hidden."""


def config_of(folder: Path) -> Any:
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(folder)


def load_classifier(folder: Path, outputs: int, seed: int = 0, dtype: Any = None) -> Any:
    """Load an encoder with a head of `outputs` logits; what the folder lacks starts from the seed.

    Args:
        folder: an artifact of format `pretrained` or `pytorch`.
        outputs: number of logits; 1 for regression.
        seed: initialises a missing head, or all of an untrained model.
        dtype: of the weights; the stored one if None.
    """
    import torch
    import transformers
    from transformers import AutoModelForSequenceClassification

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    config = config_of(folder)
    config.num_labels = outputs
    file = folder / "model.safetensors"
    fitted = file.exists() and open_fitted(AutoModelForSequenceClassification, config, file, dtype)
    torch.manual_seed(seed)
    if fitted:
        network = fitted
    elif file.exists():
        network = AutoModelForSequenceClassification.from_pretrained(
            folder, config=config, dtype=dtype or "auto"
        )
    else:
        network = AutoModelForSequenceClassification.from_config(config)
    return tell_apart(network).eval()


def load_encoder(folder: Path) -> Any:
    """Load the encoder alone: token ids in, hidden states [batch, tokens, hidden] out."""
    import transformers
    from transformers import AutoModel

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    file = folder / "model.safetensors"
    if file.exists():
        encoder = open_fitted(AutoModel, config_of(folder), file)
        encoder = encoder or AutoModel.from_pretrained(folder)
    else:
        encoder = AutoModel.from_config(config_of(folder))
    if getattr(encoder, "pooler", None) is not None:
        encoder.pooler = None  # it sees the first token only, and the head reads them all
    return tell_apart(encoder).eval()


def save_network(network: Any, folder: Path) -> None:
    """Write `config.json` and `model.safetensors`, as `save_pretrained` of transformers does."""
    network.save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config.pop("_name_or_path", None)
    (folder / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")


def layers_of(network: Any) -> torch.nn.ModuleList:
    """Return the stack of Transformer layers of a classifier.

    Raises:
        KeyError: an architecture that `LAYERS` does not know.
    """
    return network.get_submodule(LAYERS[network.config.model_type])


def head_size(network: Any) -> int:
    """Return the width of an attention head, the same in all layers."""
    return network.config.hidden_size // network.config.num_attention_heads


def attention_width(network: Any) -> float:
    """Return the mean width of a layer's heads together: less than hidden where heads are pruned."""
    path, (*_, values), _ = ATTENTION[network.config.model_type]
    maps = [layer.get_submodule(f"{path}.{values}") for layer in layers_of(network)]
    return sum(last_of(map).out_features for map in maps) / len(maps)


def mean_pool(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Average the hidden states of real tokens: [batch, tokens, hidden] to [batch, hidden]."""
    weights = mask.unsqueeze(-1).to(hidden.dtype)  # [batch, tokens, 1]
    return (hidden * weights).sum(1) / weights.sum(1)
