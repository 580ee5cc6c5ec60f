"""Weights that torchao quantized, kept as plain tensors: no pickle, and nothing that one processor packed.

`X.weight` holds what is left of a weight, `X.scale` what it is multiplied by:

- int8 [out, in] and one scale a row;
- uint8 [out, in / 2]: two 4-bit weights a byte, the even column in the low half, each less 8, and
  one scale a group of columns;
- float8 [out, in] and one scale a row;
- of an embedding table [rows, width], int8 with one scale a row, or uint8 with one a group.

Kernels that want weights in an order of their own get them so at loading, on the machine at hand.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.fitting import fit, restore_buffers
from models.int4 import pack_int4, unpack_int4
from models.networks import config_of
from models.quantized_tables import quantized_table
from models.segments import tell_apart

if TYPE_CHECKING:
    import torch

SCALE = ".scale"
INT8_COMPILED = "pytorch-int8-compiled"
"""int8 weights, activations in int8 with one scale a token, found at each call."""
INT8_WEIGHTS = "pytorch-int8-weights"
INT4_WEIGHTS = "pytorch-int4-weights"
FP8 = "pytorch-fp8"
FORMATS = (INT8_COMPILED, INT8_WEIGHTS, INT4_WEIGHTS, FP8)


def save(network: Any, folder: Path) -> None:
    """Write `config.json` and `model.safetensors` of a network with weights of torchao."""
    from safetensors.torch import save_file

    tensors: dict[str, torch.Tensor] = {}
    for name, value in network.state_dict().items():
        tensors |= _plain(name, value.detach())
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    network.config.to_json_file(folder / "config.json")


def _plain(name: str, value: Any) -> dict[str, torch.Tensor]:
    import torch

    if not hasattr(value, "qdata"):
        return {name: value.contiguous()}
    weight = value.qdata
    if getattr(value, "target_dtype", None) == torch.int4:  # type: ignore[attr-defined]
        weight = pack_int4(weight)
    name = name.removesuffix(".weight")
    return {f"{name}.weight": weight.contiguous(), f"{name}{SCALE}": value.scale.contiguous()}


def load(folder: Path, outputs: int, format: str) -> Any:
    """Rebuild the network from `save`'s files; no float copy of a quantized weight is ever made."""
    import torch
    from safetensors.torch import load_file
    from transformers import AutoModelForSequenceClassification

    config = config_of(folder)
    config.num_labels = outputs
    with torch.device("meta"):
        network = AutoModelForSequenceClassification.from_config(config)
    tensors = load_file(folder / "model.safetensors")
    fit(network, {name: _shape(tensor) for name, tensor in tensors.items()})
    for name in [name.removesuffix(SCALE) for name in tensors if name.endswith(SCALE)]:
        weight, scale = tensors.pop(f"{name}.weight"), tensors.pop(f"{name}{SCALE}")
        module = network.get_submodule(name)
        if isinstance(module, torch.nn.Embedding):
            network.set_submodule(name, quantized_table(weight, scale))
        else:
            rebuilt = _rebuild(weight, scale, activations=format == INT8_COMPILED)
            module.weight = torch.nn.Parameter(rebuilt, requires_grad=False)
    network.load_state_dict(tensors, strict=False, assign=True)
    restore_buffers(network, AutoModelForSequenceClassification)
    return tell_apart(network).eval()


def _shape(tensor: torch.Tensor) -> tuple[int, ...]:
    """Return the shape of the weights that a tensor of the file holds."""
    import torch

    if tensor.dtype == torch.uint8:
        return tensor.shape[0], tensor.shape[1] * 2
    return tuple(tensor.shape)


def _rebuild(weight: torch.Tensor, scale: torch.Tensor, activations: bool) -> torch.Tensor:
    """Make torchao's tensor of a linear layer's weight.

    Args:
        activations: in int8 too, where the weight is.
    """
    import torch

    if weight.dtype == torch.int8:
        return _int8(weight, scale, activations)
    if weight.dtype == torch.uint8:
        return _int4(weight, scale)
    return _fp8(weight, scale)


def _int8(weight: torch.Tensor, scale: torch.Tensor, activations: bool) -> torch.Tensor:
    from torchao.quantization import Int8Tensor, PerRow
    from torchao.quantization.quantize_.workflows import QuantizeTensorToInt8Kwargs

    return Int8Tensor(
        weight,
        scale,
        [1, weight.shape[1]],
        scale.dtype,
        act_quant_kwargs=QuantizeTensorToInt8Kwargs(PerRow()) if activations else None,
    )


def _int4(weight: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    import torch
    from torchao.prototype.quantization.int4 import Int4OpaqueTensor
    from torchao.quantization.utils import pack_tinygemm_scales_and_zeros

    codes = unpack_int4(weight) + 8
    return Int4OpaqueTensor(
        torch.ops.aten._convert_weight_to_int4pack_for_cpu(codes, 1),
        pack_tinygemm_scales_and_zeros(scale, torch.zeros_like(scale), scale.dtype),
        [1, codes.shape[1] // scale.shape[1]],
        codes.shape,
    )


def _fp8(weight: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    import torch
    from torchao.float8.inference import Float8MMConfig
    from torchao.quantization import Float8Tensor, PerRow
    from torchao.quantization.quantize_.workflows import QuantizeTensorToFloat8Kwargs

    return Float8Tensor(
        weight,
        scale,
        block_size=[1, weight.shape[1]],
        mm_config=Float8MMConfig(use_fast_accum=True),
        act_quant_kwargs=QuantizeTensorToFloat8Kwargs(weight.dtype, PerRow()),
        dtype=torch.bfloat16,
    )
