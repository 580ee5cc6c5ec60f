"""Fine-tuning with the Trainer of transformers: the one training loop of every step that learns."""

from __future__ import annotations

import math
import tempfile
import timeit
from collections.abc import Callable
from contextlib import nullcontext
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from models.processor import processor
from models.tokenization import pad

if TYPE_CHECKING:
    import torch
    from datasets import Dataset

Loss = Callable[[Any, dict[str, "torch.Tensor"]], "torch.Tensor"]
"""Model and batch (input_ids, attention_mask, labels, index) to a scalar."""

MIN_STEPS = 60
"""A few dozen steps on a few hundred texts teach a new head nothing."""

MOST_ACTIVATIONS = 40_000_000
"""Tokens x width x layers that are kept for going back: `mpnet-base` on 32 texts of 128 tokens has
38 million. Twice as many took 6.8 GiB, and 7.3 with LoRA."""
MOST_BESIDE_SCORES = MOST_ACTIVATIONS // 2
"""Where a score, its gradient and its moments are held for every weight: with the room of the others
`prune-movement` of `mpnet-base` took 6.5 GiB."""

Progress = Callable[[float, str], None]


class TrainingDiverged(RuntimeError):
    """The loss became NaN or infinite; the message says at which step."""


def bf16_is_fast(device: str) -> bool:
    """Say whether the device multiplies faster in bf16 than in fp32.

    On a CPU its instructions do not tell: with avx512_bf16 and no AMX, bf16 reached 370 GFLOP/s on
    two cores of an AMD EPYC, but 175 on two of an Intel Xeon that did 327 in fp32. It is timed once
    and kept in the cache: what is trained twice is computed twice in the same way.
    """
    import torch

    if device == "cuda":
        return torch.cuda.is_bf16_supported()
    if device == "cpu":
        native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
        return native and _kept_choice()
    return False


@cache
def _kept_choice() -> bool:
    import torch

    from models.store import kept_facts

    def measure() -> dict[str, bool]:
        fast = _seconds_of_products("bfloat16") < 0.8 * _seconds_of_products("float32")
        return {"bf16_is_fast": fast}

    identity = [processor(), torch.__version__, torch.get_num_threads()]
    return kept_facts("autocast", identity, measure)["bf16_is_fast"]


def _seconds_of_products(dtype: str) -> float:
    """Time a matrix product as a layer has them; the best of many, because others disturb it."""
    import torch

    tokens = torch.ones(896, 384, dtype=getattr(torch, dtype))
    weight = torch.ones(1536, 384, dtype=tokens.dtype)
    torch.nn.functional.linear(tokens, weight)
    return min(
        timeit.repeat(lambda: torch.nn.functional.linear(tokens, weight), number=1, repeat=20)
    )


def autocast(device: str) -> Any:
    """Return the context in which a network computes in bf16 where that is fast."""
    import torch

    return torch.autocast(device, torch.bfloat16, enabled=bf16_is_fast(device))


def train(
    network: Any,
    data: Dataset,
    *,
    pad_id: int,
    epochs: int,
    learning_rate: float,
    seed: int,
    device: str,
    loss: Loss | None = None,
    batch_size: int = 32,
    first_token: bool = False,
    progress: Progress | None = None,
) -> Any:
    """Train in place and return the network, in evaluation mode on the CPU.

    The same seed, data and machine give the same bits.

    Args:
        network: a sequence classifier of transformers.
        data: columns `input_ids` (list of int), `labels`, and any column that `loss` reads.
        epochs: at least so many, and more where the data are so few that they make less than
            `MIN_STEPS` steps.
        loss: replaces the network's own loss (cross-entropy; squared error for one output).
        first_token: the loss reads no other token of the last layer: no other is computed.
        batch_size: texts a step; a large network goes through long ones in parts (`MOST_ACTIVATIONS`).

    Raises:
        TrainingDiverged: the loss is not finite.
    """
    import torch
    from transformers import Trainer, TrainerCallback, TrainingArguments, set_seed

    from models.first_token import first_token_only
    from models.used_rows import used_rows_only

    class Watch(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if progress:
                progress(state.global_step / state.max_steps, "training")

    class OurTrainer(Trainer):
        def compute_loss(self, model: Any, inputs: Any, *_: Any, **__: Any) -> Any:  # type: ignore[override]
            own = loss or (lambda network, batch: network(**batch).loss)
            value = own(model, inputs)
            if not math.isfinite(value.item()):
                step = self.state.global_step
                raise TrainingDiverged(f"the loss is {value.item()} at step {step}: stopped")
            return value

    def collate(rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        tokens = pad([row["input_ids"] for row in rows], pad_id)
        batch = {name: torch.from_numpy(array) for name, array in tokens._asdict().items()}
        for name in rows[0].keys() - {"input_ids", "length"}:
            batch[name] = torch.from_numpy(np.asarray([row[name] for row in rows]))
        return batch

    parts = _parts(network, batch_size, max(data["length"]))
    set_seed(seed)
    _without_dropout(network)
    with tempfile.TemporaryDirectory() as scratch:
        arguments = TrainingArguments(
            output_dir=scratch,
            num_train_epochs=max(epochs, math.ceil(MIN_STEPS * batch_size / len(data))),
            learning_rate=learning_rate,
            per_device_train_batch_size=batch_size // parts,
            gradient_accumulation_steps=parts,
            warmup_steps=0.1,
            weight_decay=0.01,
            optim="adamw_torch_fused",
            bf16=bf16_is_fast(device),
            train_sampling_strategy="group_by_length",
            remove_unused_columns=False,
            use_cpu=device == "cpu",
            seed=seed,
            data_seed=seed,
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
            log_level="error",
            dataloader_pin_memory=device == "cuda",
        )
        # Of several GPUs one is used: the Trainer would copy the network to all of them.
        arguments._n_gpu = min(1, arguments.n_gpu)
        with (
            first_token_only(network) if first_token else nullcontext(),
            used_rows_only(network, data["input_ids"], pad_id),
        ):
            trainer = OurTrainer(
                model=network,
                args=arguments,
                train_dataset=data,
                data_collator=collate,
                callbacks=[Watch()],
            )
            trainer.model_accepts_loss_kwargs = False  # else the losses of parts are added up
            trainer.train()
    return network.to("cpu").eval()


def _parts(network: Any, batch_size: int, longest: int) -> int:
    """Return in how many parts a batch goes through the network, so that it fits into memory."""
    from torch.nn.utils.parametrize import is_parametrized

    config = network.config
    activations = batch_size * longest * config.hidden_size * config.num_hidden_layers
    scored = any(is_parametrized(module) for module in network.modules())
    most = MOST_BESIDE_SCORES if scored else MOST_ACTIVATIONS
    parts = 1
    while activations > parts * most and parts < batch_size:
        parts *= 2
    return parts


def _without_dropout(network: Any) -> None:
    """Switch dropout off, and take the attention that is fastest without it.

    On a CPU the random masks cost a fifth of every step, and short fine-tuning does not overfit:
    MiniLM on `movies`, 2 epochs, 0.861 in 60 s without, 0.851 in 82 s with dropout (2 cores).
    """
    from torch import nn

    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    if hasattr(network, "set_attn_implementation"):
        network.set_attn_implementation("eager")
