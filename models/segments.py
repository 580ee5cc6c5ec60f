"""Segments: BERT and its like tell the two sentences of a pair apart by a vector of each.

Which token belongs to which sentence follows from the ids: the second begins behind the first
separator. So the network works it out by itself, and every runtime has the same two inputs.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

SEPARATOR = "segment_separator_token_id"
"""What a config names the token that ends the first sentence; absent where there are no segments."""


def declare(folder: Path) -> None:
    """Name the separator in the config of a model that has a vector for a second sentence."""
    from tokenizers import Tokenizer

    from models.networks import config_of

    pair = Tokenizer.from_file(str(folder / "tokenizer.json")).encode("one", "two")
    if (getattr(config_of(folder), "type_vocab_size", 0) or 0) < 2 or 1 not in pair.type_ids:
        return
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config[SEPARATOR] = pair.ids[pair.type_ids.index(1) - 1]
    path.write_text(json.dumps(config, indent=2, ensure_ascii=False), encoding="utf-8")


def tell_apart(network: Any) -> Any:
    """Have a network compute its segments, if its config names a separator; return it."""
    separator = getattr(network.config, SEPARATOR, None)
    if separator is not None:
        hook = partial(_with_segments, separator)
        network.base_model.register_forward_pre_hook(hook, with_kwargs=True)
    return network


def _with_segments(
    separator: int, _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    ids = args[0] if args else kwargs["input_ids"]
    return args, kwargs | {"token_type_ids": segments_of(ids, separator)}


def segments_of(ids: torch.Tensor, separator: int) -> torch.Tensor:
    """Return 0 up to the first separator and 1 behind it, int64 [batch, tokens]."""
    separators = (ids == separator).long()
    return (separators.cumsum(dim=1) - separators).clamp(max=1)
