"""Open files whose tensors are smaller than their config says, or factored: the file says what is what.

Structured pruning leaves layers of uneven sizes, factorization leaves two maps in the place of one.
A config cannot describe either, but the names and shapes of the tensors do:

- `X.weight` of another shape: the linear layer or table X has that shape;
- `X.0.weight` and `X.1.weight` instead of `X.weight`: X is two maps, one after the other;
- `X.heads`: which of the heads that share a position bias the attention X kept.

The width of a head is always the config's `hidden_size / num_attention_heads`; so the number of
heads of a layer follows from its tensors too.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.linear_maps import last_of

if TYPE_CHECKING:
    import torch

HEADS = "heads"


def open_fitted(auto: Any, config: Any, file: Path, dtype: Any = None) -> Any | None:
    """Open a file that does not fit its config; return None if the stock network fits it.

    Args:
        auto: the class of transformers that makes the network of a config.
        dtype: of the weights; the stored ones if None.

    Raises:
        ValueError: a tensor is missing, or of a shape that no step makes.
    """
    import torch
    from safetensors import safe_open
    from safetensors.torch import load_file

    with torch.device("meta"):
        network = auto.from_config(copy.deepcopy(config))
    with safe_open(file, framework="pt") as stored:
        found = {name: tuple(stored.get_slice(name).get_shape()) for name in stored.keys()}  # noqa: SIM118
    if not fit(network, _named_as_in(network, found)):
        return None
    tensors = {
        name: tensor.to(dtype) if dtype and tensor.is_floating_point() else tensor
        for name, tensor in _named_as_in(network, load_file(file)).items()
    }
    if not any(name.startswith("pooler.") for name in tensors) and hasattr(network, "pooler"):
        network.pooler = None  # an encoder that was kept for its other outputs
    network.load_state_dict(tensors, strict=False, assign=True)
    restore_buffers(network, auto)
    if lost := [name for name, parameter in network.named_parameters() if parameter.is_meta]:
        raise ValueError(f"{file}: the tensor '{lost[0]}' is missing")
    return network


def _named_as_in(network: Any, tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Name an encoder's or a classifier's tensors as the network does: one of them has a prefix."""
    prefix = f"{network.base_model_prefix}."
    if network.base_model is network:
        return {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    if any(name.startswith(prefix) for name in tensors):
        return dict(tensors)
    return {prefix + name: tensor for name, tensor in tensors.items()}


def fit(network: Any, shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """Replace every module of a network on the meta device that a file holds otherwise.

    Returns:
        whether anything was replaced.

    Raises:
        ValueError: a tensor has a shape that no step makes.
    """
    import torch

    fitted = False
    for name, module in list(network.named_modules()):
        if (made := _as_in_file(name, module, shapes, network.config.num_labels)) is not None:
            network.set_submodule(name, made)
            fitted = True
        if kept := shapes.get(f"{name}.{HEADS}"):
            share_bias(module, torch.empty(kept, dtype=torch.int64, device="meta"))
            fitted = True
    for name, parameter in network.named_parameters() if fitted else ():
        if (found := shapes.get(name, parameter.shape)) != parameter.shape:
            raise ValueError(f"'{name}' has shape {found}, expected {tuple(parameter.shape)}")
    for module in network.modules() if fitted else ():
        if hasattr(module, "all_head_size"):
            set_heads_width(module)
    return fitted


def _as_in_file(
    name: str, module: Any, shapes: Mapping[str, tuple[int, ...]], logits: int
) -> Any | None:
    """Make the module as the file has it; None if it is so already, or no map.

    The layer of `logits` outputs is the task's, not the file's.
    """
    import torch
    from torch import nn

    table = isinstance(module, nn.Embedding)
    if not table and (not isinstance(module, nn.Linear) or module.out_features == logits):
        return None
    biased = not table and module.bias is not None
    whole, first, second = (shapes.get(f"{name}.{part}weight") for part in ("", "0.", "1."))
    with torch.device("meta"):
        if first and second:
            return nn.Sequential(
                nn.Embedding(first[0], first[1], module.padding_idx)
                if table
                else nn.Linear(first[1], first[0], bias=False),
                nn.Linear(second[1], second[0], biased),
            )
        if whole and whole != module.weight.shape:
            return (
                nn.Embedding(whole[0], whole[1], module.padding_idx)
                if table
                else nn.Linear(whole[1], whole[0], biased)
            )
    return None


def set_heads_width(attention: Any) -> None:
    """Tell an attention how wide its heads are together (MPNet joins them by that number)."""
    values = attention.v if hasattr(attention, "v") else attention.value
    attention.all_head_size = last_of(values).out_features


def share_bias(attention: Any, heads: torch.Tensor) -> None:
    """Give an attention that kept the heads of these indices their part of the shared position bias.

    MPNet computes one bias [batch, heads, tokens, tokens] for all layers.
    """
    if not hasattr(attention, HEADS):
        attention.register_forward_pre_hook(_select_bias)
    attention.register_buffer(HEADS, heads)


def _select_bias(attention: Any, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    hidden, mask, bias, *rest = arguments
    return hidden, mask, bias[:, attention.heads], *rest


def restore_buffers(network: Any, auto: Any) -> None:
    """Fill what no file holds (position ids): a network without layers knows the same values."""
    bare = copy.deepcopy(network.config)
    bare.num_hidden_layers = 0
    bare.vocab_size = (bare.pad_token_id or 0) + 1
    values = dict(auto.from_config(bare).named_buffers())
    for name, buffer in list(network.named_buffers()):
        if buffer.is_meta:
            parent, _, child = name.rpartition(".")
            network.get_submodule(parent).register_buffer(child, values[name], persistent=False)
