"""Quantization-aware training: fine-tune through the rounding that int8 will do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from compressors.int8_compiled import Int8Compiled
from compressors.int8_weights import store
from compressors.step import PYTORCH

if TYPE_CHECKING:
    import torch

    from compressors.workbench import Workbench
    from models.artifact import Artifact


@dataclass(frozen=True)
class QatInt8(Int8Compiled):
    """Train with fake quantization (Jacob et al. 2017, arXiv 1712.05877), then quantize.

    On BERT: Zafrir et al. 2019, arXiv 1910.06188. The artifact is of `int8-compiled`'s format.
    """

    name: ClassVar[str] = "qat-int8"
    version: ClassVar[int] = 4
    accepts: ClassVar[tuple[str, ...]] = (PYTORCH,)
    libraries: ClassVar[tuple[str, ...]] = ("torch", "transformers", "accelerate", "torchao")

    epochs: int = 1
    learning_rate: float = 2e-5

    def apply(self, source: Artifact | None, workbench: Workbench) -> Artifact:
        from torchao.quantization import Int8DynamicActivationInt8WeightConfig, quantize_
        from torchao.quantization.qat import QATConfig

        from models.networks import load_classifier

        assert source
        network = load_classifier(source.folder, workbench.outputs)
        prepare(network)
        workbench.train(
            network,
            source,
            "train",
            epochs=self.epochs,
            learning_rate=self.learning_rate,
            first_token=True,
        )
        int8 = Int8DynamicActivationInt8WeightConfig(set_inductor_config=False)
        quantize_(network, QATConfig(int8, step="convert"))
        return store(self, network, source, workbench)


def prepare(network: Any) -> None:
    """Let every linear layer round its weights and inputs, in place."""
    import torch
    from torchao.quantization import PerAxis, quantize_
    from torchao.quantization.qat import IntxFakeQuantizeConfig, QATConfig

    class RoundedTokens(torch.nn.Module):
        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            return round_tokens(tokens)

    quantize_(network, QATConfig(weight_config=IntxFakeQuantizeConfig(torch.int8, PerAxis(0))))
    for layer in network.modules():
        if hasattr(layer, "activation_fake_quantizer"):
            # torchao 0.18 rounds tokens with a zero point alone, W8A8 has none.
            layer.activation_fake_quantizer = RoundedTokens()


def round_tokens(tokens: torch.Tensor) -> torch.Tensor:
    """Round activations [..., width] to int8 with one scale a token; gradients pass unchanged.

    The straight-through estimator of Bengio et al. 2013, arXiv 1308.3432.
    """
    exact = tokens.float()
    scale = exact.detach().abs().amax(dim=-1, keepdim=True).clamp(min=1e-6) / 127.5
    rounded = (exact.detach() / scale).round().clamp(-128, 127) * scale
    return (exact + (rounded - exact.detach())).to(tokens.dtype)
