"""Shorter inputs: what a text's beginning says already need not be read to its end."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from compressors.step import PYTORCH, Plan, Step, Unsupported, headline

if TYPE_CHECKING:
    from compressors.workbench import Workbench
    from models.artifact import Artifact


@dataclass(frozen=True)
class MaxTokens(Step):
    """Read the first N tokens of a text (head-only truncation: Sun et al. 2019, arXiv 1905.05583).

    Time goes with the tokens that are read; the file stays as large. A student that is distilled
    after it reads as little; its teacher says what it makes of the whole text, but for attention,
    which is compared token by token. Of two sentences the longer one is cut.
    """

    name: ClassVar[str] = "max-tokens"
    family: ClassVar[str] = "shorter inputs"
    accepts: ClassVar[tuple[str, ...]] = (PYTORCH,)
    produces: ClassVar[str | None] = PYTORCH
    libraries: ClassVar[tuple[str, ...]] = ("tokenizers",)

    tokens: int = headline(128, low=8, high=8192)

    def plan(self, before: Plan, device: str) -> Plan:
        plan = super().plan(before, device)
        if before.max_tokens is not None and self.tokens >= before.max_tokens:
            raise Unsupported(f"{self}: at most {before.max_tokens} tokens are read already")
        return replace(plan, max_tokens=self.tokens)

    def apply(self, source: Artifact | None, workbench: Workbench) -> Artifact:
        from models.tokenization import load_tokenizer

        assert source
        workbench.keep(source, "config.json", "model.safetensors")
        tokenizer = load_tokenizer(source.folder, self.tokens)
        tokenizer.save(str(workbench.folder / "tokenizer.json"))
        return workbench.seal(source, max_tokens=self.tokens)
