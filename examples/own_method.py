"""A method of your own: `pytest benchmarks/ --extension examples/own_method.py --recipe finetune+round-mantissa:6`."""

from dataclasses import dataclass
from typing import ClassVar

from compressors import STEPS
from compressors.step import PYTORCH, Step, headline
from compressors.workbench import Workbench
from models.artifact import Artifact


@dataclass(frozen=True)
class RoundMantissa(Step):
    """Round every weight to N bits of its mantissa: the file zips smaller, and runs no faster."""

    name: ClassVar[str] = "round-mantissa"
    family: ClassVar[str] = "quantization"
    accepts: ClassVar[tuple[str, ...]] = (PYTORCH,)
    produces: ClassVar[str | None] = None

    bits: int = headline(6, low=1, high=23)

    def apply(self, source: Artifact | None, workbench: Workbench) -> Artifact:
        import torch

        from models.networks import load_classifier, save_network

        assert source
        network = load_classifier(source.folder, workbench.outputs)
        for parameter in network.parameters():
            mantissa, exponent = torch.frexp(parameter.data)
            rounded = torch.round(mantissa * 2**self.bits) / 2**self.bits
            parameter.data = torch.ldexp(rounded, exponent)
        save_network(network, workbench.folder)
        workbench.keep(source, "tokenizer.json")
        return workbench.seal(source)


STEPS[RoundMantissa.name] = RoundMantissa
