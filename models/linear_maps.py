"""Linear maps of a network, whole or factored in two: read, shrink and factor them, in place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import nn


def linear_maps(module: nn.Module) -> dict[str, Any]:
    """Return the linear maps inside a module by name, factored ones whole."""
    from torch.nn import Linear, Sequential

    maps: dict[str, Any] = {}
    for name, part in module.named_modules():
        inside = name.rpartition(".")[0] in maps
        if isinstance(part, Sequential) or (isinstance(part, Linear) and not inside):
            maps[name] = part
    return maps


def matrix(map: Any) -> torch.Tensor:
    """Return what a map multiplies by, [out, in]; of a factored one, the product of both."""
    first, last = first_of(map), last_of(map)
    return first.weight if first is last else last.weight @ first.weight


def first_of(map: Any) -> Any:
    """Return the linear layer (or table) that the inputs go into."""
    from torch.nn import Sequential

    return map[0] if isinstance(map, Sequential) else map


def last_of(map: Any) -> Any:
    """Return the linear layer that the outputs come from; it has the bias."""
    from torch.nn import Sequential

    return map[-1] if isinstance(map, Sequential) else map


def keep_outputs(map: Any, kept: torch.Tensor) -> None:
    """Keep the outputs of these indices alone."""
    from torch.nn import Parameter

    last = last_of(map)
    last.weight = Parameter(last.weight.detach()[kept].contiguous())  # [kept, in]
    if last.bias is not None:
        last.bias = Parameter(last.bias.detach()[kept].contiguous())
    last.out_features = len(kept)


def keep_inputs(map: Any, kept: torch.Tensor) -> None:
    """Keep the inputs of these indices alone."""
    from torch.nn import Parameter

    first = first_of(map)
    first.weight = Parameter(first.weight.detach()[:, kept].contiguous())  # [out, kept]
    first.in_features = len(kept)


def two_maps(into: torch.Tensor, out: torch.Tensor, bias: torch.Tensor | None) -> nn.Sequential:
    """Make a factored map of `into` [rank, in], `out` [out, rank] and a bias [out]."""
    from torch import nn

    first = nn.Linear(into.shape[1], into.shape[0], bias=False, device="meta")
    second = nn.Linear(out.shape[1], out.shape[0], bias=bias is not None, device="meta")
    first.weight, second.weight = nn.Parameter(into), nn.Parameter(out)
    if bias is not None:
        second.bias = nn.Parameter(bias)
    return nn.Sequential(first, second)
