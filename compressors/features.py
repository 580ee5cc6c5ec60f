"""Encode the data once with a frozen encoder: the first half of "train on the encodings"."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from compressors.step import PRETRAINED, PYTORCH, Step

if TYPE_CHECKING:
    from compressors.workbench import Workbench
    from models.artifact import Artifact

FEATURES = "features"
TRAIN_FEATURES = "train.safetensors"


@dataclass(frozen=True)
class Features(Step):
    """Mean-pooled last hidden states of the training texts (Peters et al. 2019, arXiv 1903.05987)."""

    name: ClassVar[str] = "features"
    family: ClassVar[str] = "transfer"
    accepts: ClassVar[tuple[str, ...]] = (PRETRAINED, PYTORCH)
    produces: ClassVar[str | None] = FEATURES
    version: ClassVar[int] = 3

    def apply(self, source: Artifact | None, workbench: Workbench) -> Artifact:
        import numpy as np
        import torch
        from safetensors.numpy import save_file

        from models.networks import load_encoder, mean_pool, save_network
        from models.tokenization import pad
        from models.training import autocast

        assert source
        torch.manual_seed(workbench.seed)
        encoder = load_encoder(source.folder)
        save_network(encoder, workbench.folder)
        workbench.keep(source, "tokenizer.json")
        device = workbench.device
        encoder.to(device)
        data = workbench.tokens(source, "train")
        order = np.argsort(data["length"], kind="stable")
        rows = np.empty((len(data), encoder.config.hidden_size), dtype=np.float32)
        for start in range(0, len(order), 64):
            batch = order[start : start + 64]
            tokens = pad(
                [data[int(i)]["input_ids"] for i in batch], encoder.config.pad_token_id or 0
            )
            with torch.inference_mode(), autocast(device):
                ids, mask = (torch.from_numpy(array).to(device) for array in tokens)
                hidden = encoder(input_ids=ids, attention_mask=mask).last_hidden_state
                rows[batch] = mean_pool(hidden.float(), mask).cpu().numpy()  # [batch, hidden]
            workbench.progress(start / len(order), "encoding the training texts")
        save_file({"features": rows}, workbench.folder / TRAIN_FEATURES)
        return workbench.seal(source, format=FEATURES, not_needed=(TRAIN_FEATURES,))
