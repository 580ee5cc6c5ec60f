"""torch.compile: the same numbers by fused, generated code; the control of every compiled row."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from compressors.step import PYTORCH, Plan, Step, Unsupported

if TYPE_CHECKING:
    from compressors.workbench import Workbench
    from models.artifact import Artifact


@dataclass(frozen=True)
class Compile(Step):
    """Run by PyTorch's compiler (Ansel et al. 2024, doi 10.1145/3620665.3640366).

    The artifact holds the weights alone: code is generated for the machine that loads it, and kept
    in the cache folder there.
    """

    name: ClassVar[str] = "compile"
    family: ClassVar[str] = "conversion"
    accepts: ClassVar[tuple[str, ...]] = (PYTORCH,)
    produces: ClassVar[str | None] = "pytorch-compiled"
    devices: ClassVar[tuple[str, ...]] = ("cpu", "cuda")

    def plan(self, before: Plan, device: str) -> Plan:
        if device == "cpu":
            needs_compiler()
        return super().plan(before, device)

    def apply(self, source: Artifact | None, workbench: Workbench) -> Artifact:
        assert source
        workbench.keep(source, "config.json", "model.safetensors", "tokenizer.json")
        return workbench.seal(source, format=self.produces)


def needs_compiler() -> None:
    """Check for what turns the generated code into machine code.

    Raises:
        Unsupported: there is no C++ compiler.
    """
    if not any(shutil.which(name) for name in (os.environ.get("CXX", "g++"), "g++", "clang++")):
        raise Unsupported("torch.compile needs a C++ compiler on this machine: g++ or clang++")
