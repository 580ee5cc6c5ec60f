"""LoRA: a small adapter is trained beside frozen weights, and merged into them for prediction."""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from compressors.finetune import name_labels
from compressors.step import PRETRAINED, PYTORCH, Plan, Step, Unsupported, headline

if TYPE_CHECKING:
    from compressors.workbench import Workbench
    from models.artifact import Artifact

ADAPTER = "adapter/adapter_model.safetensors"
ADAPTER_CONFIG = "adapter/adapter_config.json"
HEADS = ("classifier", "pre_classifier", "pooler")
"""What reads the encoder's output in an architecture: trained whole, for it knows no task yet."""


@dataclass(frozen=True)
class Lora(Step):
    """Low-rank adaptation of every linear layer (Hu et al. 2021, arXiv 2106.09685), rank R.

    Merged, the network is as large and as fast as a fine-tuned one. What is small is another task:
    adapter and head, which whoever serves many tasks from one base adds for each. They lie beside
    the merged weights as peft reads them; `bytes_per_extra_task` is the size of their tensors' file.
    A base that was changed for this task serves no other: then there is no adapter beside.
    """

    name: ClassVar[str] = "lora"
    version: ClassVar[int] = 2
    family: ClassVar[str] = "transfer"
    accepts: ClassVar[tuple[str, ...]] = (PRETRAINED,)
    produces: ClassVar[str | None] = PYTORCH
    libraries: ClassVar[tuple[str, ...]] = ("torch", "transformers", "accelerate", "peft")
    extras: ClassVar[dict[str, str]] = {"peft": "peft"}

    rank: int = headline(8, low=1, high=256)
    alpha_per_rank: float = 2.0
    """The adapter's product is scaled by it."""
    epochs: int = 1
    learning_rate: float = 1e-3

    def plan(self, before: Plan, device: str) -> Plan:
        if before.shape and self.rank >= before.shape.hidden:
            raise Unsupported(f"{self}: a matrix of width {before.shape.hidden} has no lower rank")
        if before.sparse:
            raise Unsupported(f"{self}: the merged adapter would fill the pruned weights")
        return super().plan(before, device)

    def apply(self, source: Artifact | None, workbench: Workbench) -> Artifact:
        import torch
        from peft import LoraConfig, TaskType, get_peft_model

        from models.networks import load_classifier, save_network

        assert source
        network = load_classifier(source.folder, workbench.outputs, workbench.seed)
        parts = {name.rpartition(".")[2] for name, _ in network.named_modules()}
        torch.manual_seed(workbench.seed)
        adapted = get_peft_model(
            network,
            LoraConfig(
                task_type=TaskType.SEQ_CLS,
                r=self.rank,
                lora_alpha=round(self.alpha_per_rank * self.rank),
                target_modules="all-linear",
                modules_to_save=[name for name in HEADS if name in parts],
            ),
        )
        workbench.train(
            adapted,
            source,
            "train",
            epochs=self.epochs,
            learning_rate=self.learning_rate,
        )
        shared = not source.manifest["recipe"]
        if shared:
            save_adapter(adapted, source.manifest["model"], workbench.folder)
        merged = adapted.merge_and_unload()
        name_labels(merged, workbench)
        save_network(merged, workbench.folder)
        workbench.keep(source, "tokenizer.json")
        beside = (ADAPTER, ADAPTER_CONFIG) if shared else ()
        return workbench.seal(source, format=PYTORCH, not_needed=beside)


def save_adapter(adapted: Any, base: str, folder: Path) -> None:
    """Write an adapter and its head as peft does, with the base model's name in place of its path.

    In a folder of its own: beside the merged weights transformers would apply it a second time.
    """
    (folder / ADAPTER).parent.mkdir()
    with tempfile.TemporaryDirectory() as scratch:
        adapted.save_pretrained(scratch)
        shutil.copyfile(Path(scratch) / Path(ADAPTER).name, folder / ADAPTER)
        config = json.loads((Path(scratch) / Path(ADAPTER_CONFIG).name).read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = base
    config["target_modules"] = sorted(config["target_modules"])
    (folder / ADAPTER_CONFIG).write_text(json.dumps(config, indent=2), encoding="utf-8")
