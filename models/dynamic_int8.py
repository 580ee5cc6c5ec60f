"""PyTorch's dynamically quantized linear layers, stored as plain tensors instead of pickle.

Weights are int8 with one scale a row, large embedding tables too; activations are quantized at each
call, by their range.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from models.fitting import fit, restore_buffers
from models.networks import config_of
from models.quantized_tables import quantize_tables, quantized_table
from models.segments import tell_apart

SCALE, TABLE = ".weight.scale", ".scale"
"""Ends the name of a linear layer's scales, and of a table's."""


def quantize(network: Any) -> Any:
    """Return a copy of a classifier with dynamically quantized linear layers and int8 tables."""
    import torch

    with warnings.catch_warnings():  # torch 2.13 announces the end of quantized tensors
        warnings.simplefilter("ignore")
        quantized = torch.ao.quantization.quantize_dynamic(
            network,
            {torch.nn.Linear: torch.ao.quantization.per_channel_dynamic_qconfig},
            inplace=False,
        )
    quantize_tables(quantized)
    return quantized


def save(network: Any, folder: Path) -> None:
    """Write `config.json` and `model.safetensors`: int8 weights, their scales, and the rest."""
    import torch
    from safetensors.torch import save_file
    from torch.ao.nn.quantized.dynamic import Linear

    tensors: dict[str, torch.Tensor] = {}
    quantized = [(n, m) for n, m in network.named_modules() if isinstance(m, Linear)]
    for name, layer in quantized:
        weight, bias = layer._weight_bias()
        tensors[f"{name}.weight"] = weight.int_repr()
        tensors[f"{name}{SCALE}"] = weight.q_per_channel_scales()  # zero points are 0: symmetric
        if bias is not None:
            tensors[f"{name}.bias"] = bias.detach()
    inside = tuple(f"{name}." for name, _ in quantized)
    for name, value in network.state_dict().items():
        if not name.startswith(inside):
            tensors[name] = value.contiguous()
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    network.config.to_json_file(folder / "config.json")


def load(folder: Path) -> Any:
    """Rebuild the network from `save`'s files; no float copy of a quantized weight is ever made."""
    import torch
    from safetensors.torch import load_file
    from torch.ao.nn.quantized.dynamic import Linear
    from transformers import AutoModelForSequenceClassification

    config = config_of(folder)
    with torch.device("meta"):
        network = AutoModelForSequenceClassification.from_config(config)
    tensors = load_file(folder / "model.safetensors")
    fit(network, {name: tuple(tensor.shape) for name, tensor in tensors.items()})
    names = [name.removesuffix(SCALE) for name in tensors if name.endswith(SCALE)]
    quantized: dict[str, tuple[Any, ...]] = {
        name: (
            tensors.pop(f"{name}.weight"),
            tensors.pop(f"{name}.bias", None),
            tensors.pop(name + SCALE),
        )
        for name in names
    }
    for name in [name.removesuffix(TABLE) for name in tensors if name.endswith(TABLE)]:
        table = quantized_table(tensors.pop(f"{name}.weight"), tensors.pop(name + TABLE))
        network.set_submodule(name, table)
    network.load_state_dict(tensors, strict=False, assign=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, (weight, bias, scales) in quantized.items():
            layer = Linear(weight.shape[1], weight.shape[0], dtype=torch.qint8)
            packed = torch._make_per_channel_quantized_tensor(
                weight, scales, torch.zeros_like(scales, dtype=torch.int64), axis=0
            )
            layer.set_weight_bias(packed, bias)
            parent, _, child = name.rpartition(".")
            setattr(network.get_submodule(parent), child, layer)
    restore_buffers(network, AutoModelForSequenceClassification)
    return tell_apart(network).eval()
