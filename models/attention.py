"""What a network's attention is made of: queries, keys and values, heard while it computes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from models.networks import layers_of

if TYPE_CHECKING:
    import torch

_BERT = ("attention.self.query", "attention.self.key", "attention.self.value")

QUERY_KEY_VALUE = {
    "bert": _BERT,
    "roberta": _BERT,
    "xlm-roberta": _BERT,
    "electra": _BERT,
    "mpnet": ("attention.attn.q", "attention.attn.k", "attention.attn.v"),
    "distilbert": ("attention.q_lin", "attention.k_lin", "attention.v_lin"),
}
"""The linear maps of a layer that make its queries, keys and values."""


@contextmanager
def listening(network: Any, layers: Sequence[int]) -> Iterator[dict[int, list[torch.Tensor]]]:
    """Hear some layers' queries, keys and values, [batch, tokens, width] each.

    What it yields is filled by the forward passes inside it. The network is not asked for its
    attention maps: all of them at once are what costs memory.
    """
    heard: dict[int, list[Any]] = {layer: [None, None, None] for layer in layers}
    stack = layers_of(network)
    hooks = [
        stack[layer].get_submodule(name).register_forward_hook(_keep_in(heard[layer], place))
        for layer in layers
        for place, name in enumerate(QUERY_KEY_VALUE[network.config.model_type])
    ]
    try:
        yield heard
    finally:
        for hook in hooks:
            hook.remove()


def _keep_in(parts: list[Any], place: int) -> Any:
    def hook(module: Any, inputs: Any, output: torch.Tensor) -> None:
        parts[place] = output

    return hook


def scores(left: torch.Tensor, right: torch.Tensor, heads: int) -> torch.Tensor:
    """Scaled dot products of tokens, head by head.

    Args:
        left, right: [batch, tokens, width]; the width is cut into `heads` equal parts.

    Returns:
        [batch, heads, tokens, tokens], before any softmax.
    """
    batch, tokens, width = left.shape
    ours, theirs = (
        x.float().view(batch, tokens, heads, width // heads).transpose(1, 2) for x in (left, right)
    )
    return ours @ theirs.mT / (width // heads) ** 0.5
