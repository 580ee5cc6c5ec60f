"""Profiles: which cells a run has and how long it looks at each, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from benchmarks.recommended import RECOMMENDED, SLENDER

CONTROLS = ("majority", "tfidf-logistic")
REFERENCE = "finetune"
"""The recipe that every ratio is against: eager PyTorch in fp32."""
AS_IS = "as-is"
"""The reference of a model that is fine-tuned already."""

POST_TRAINING = (
    REFERENCE,
    "finetune+bf16",
    "finetune+int8",
    "finetune+onnx",
    "finetune+onnx-int8",
    "finetune+onnx-int8-static",
    "finetune+trim-vocab+onnx-int8",
)
"""What needs no training once there is a fine-tuned model."""

FIRST_SET = (
    REFERENCE,
    "finetune+bf16",
    "finetune+int8",
    "finetune+onnx",
    "finetune+onnx-int8",
    "finetune+distill:3",
    "finetune+distill:3+onnx-int8",
    "student:3",
    "finetune+prune-ffn:0.5+finetune",
    "features+logistic",
)
"""At least one recipe of each family, and what distillation is compared with."""

QUICK = (*CONTROLS, *POST_TRAINING, "features+logistic")
QUICK_OF = {"minilm-bert": (*CONTROLS, *FIRST_SET, "finetune+trim-vocab+onnx-int8")}
"""What `quick` runs every model through, and the one that it looks at from all sides."""

METHODS = (
    "finetune:0",
    "finetune:2",
    "lora:8",
    "features+pca:64+logistic",
    "static-embeddings+logistic",
    "finetune+distill:2",
    "student:2",
    "student-long:3",
    "finetune+distill-logits:3",
    "finetune+distill-tiny:3",
    "finetune+distill-relations:3",
    "finetune+distill-long:3",
    "finetune+distill-ensemble:3",
    "finetune+relu+distill:3",
    "finetune+prune-heads:0.5+heal",
    "finetune+prune-ffn:0.5+heal",
    "finetune+prune-width:0.5+heal",
    "finetune+drop-layers:3+heal",
    "finetune+prune-magnitude:0.5",
    "finetune+prune-wanda:0.5",
    "prune-movement:0.7",
    "finetune+svd:128",
    "finetune+svd-plain:128",
    "finetune+svd-embeddings:128",
    "finetune+max-tokens:64",
    "finetune+trim-vocab+onnx-int8",
    "finetune+trim-vocab+distill-long:3+onnx-int8",
    "finetune+onnx-int8-static",
    "finetune+onnx-int4",
    "finetune+openvino",
    "finetune+openvino-bf16",
    "finetune+openvino-int8",
    "finetune+openvino-int4",
    "finetune+trim-vocab+distill-long:3+openvino-int4",
    "finetune+distill:3+onnx-int8+cascade:0.7",
    "finetune+compile",
    "finetune+int8-compiled",
    "finetune+int8-weights",
    "finetune+int4-weights",
    "finetune+qat-int8",
)
"""What the full profile has beside the first set: the other methods of the CPU, and chains."""

FULL = (*CONTROLS, *FIRST_SET, *METHODS)
ON_GPU = {
    "cuda": ("finetune+fp16", "finetune+fp8", "finetune+prune-2of4"),
    "mps": ("finetune+fp16",),
}
"""The methods of the devices that have what they need."""
INTO_MINILM = ("finetune+distill-into:minilm-bert", "finetune+distill-into:minilm-bert+onnx-int8")
"""What a larger model teaches a small one of another architecture."""

CHAINS = (
    "student-long:3",
    "finetune+onnx-int8",
    "finetune+trim-vocab+openvino-int8",
    "finetune+distill:4+trim-vocab+openvino-int8",
    "finetune+distill:4+trim-vocab:12000+openvino-int4",
    "finetune+distill:3+trim-vocab:12000+openvino-int4",
    "finetune+distill:3+trim-vocab+openvino-int4+cascade:0.6",
    "finetune+trim-vocab:14000+distill-long:4+openvino-int4+zip",
    "finetune+trim-vocab:12000+distill-long:3+openvino-int4+zip",
    "finetune+trim-vocab:12000+distill-long:3+onnx-int8+zip",
    f"finetune+trim-vocab+{SLENDER}:0.33+distill-ensemble:3+openvino-int4+zip",
    f"finetune+trim-vocab+{SLENDER}:0.5+distill-ensemble:3+openvino-int4+zip",
    f"finetune+trim-vocab+{SLENDER}:0.5+distill-ensemble:3+onnx-int8+zip",
    f"finetune+tutor:mpnet-base+trim-vocab+{SLENDER}:0.33+distill-ensemble:3+openvino-int4+zip",
    f"finetune+tutor:mpnet-base+trim-vocab+{SLENDER}:0.33+distill-ensemble:3+onnx-int8+zip",
    f"finetune+tutor:mpnet-base+trim-vocab+{SLENDER}:0.33+distill-ensemble:3+onnx-int4+zip",
)
"""Candidates to ship, for `python -m reports.studies.chains` to choose among: see recommended.py."""
CHAINS_FOR_LONG_TEXTS = (
    "finetune+onnx-int8",
    "finetune+trim-vocab+openvino-int8",
    "finetune+trim-vocab+max-tokens:64+openvino-int8",
    "finetune+distill:2+trim-vocab:12000+openvino-int4",
    "finetune+distill:3+trim-vocab:12000+openvino-int4",
    "finetune+distill:3+trim-vocab:12000+max-tokens:128+openvino-int4",
    "finetune+max-tokens:128+distill:3+trim-vocab:12000+openvino-int4",
    "finetune+max-tokens:96+distill:3+trim-vocab:12000+openvino-int4",
    "finetune+max-tokens:96+distill:3+trim-vocab:12000+openvino-int4+zip",
    "static-embeddings+logistic",
)
"""Candidates for documents of hundreds of tokens, whose beginning says most: of `--task bbc`."""


@dataclass(frozen=True)
class Profile:
    """What `--profile NAME` selects when nothing else is said."""

    tasks: tuple[str, ...]
    models: tuple[str, ...]
    recipes: tuple[str, ...]
    recipes_of: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By model, or by task/model, where one has others than `recipes`."""
    recipes_on: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By device, what is run there beside."""
    seeds: tuple[int, ...] = (0,)
    pairs: int = 3
    """Fresh candidate / reference pairs behind a speed-up's interval."""
    seconds: float = 2.0
    """How long a pair's calls of one text are timed for, in as many blocks A B B A as that takes
    (see `ROUNDS` of the latency); batches are timed in one."""
    shifted_cap: int | None = None
    """Texts of each shifted split: the first ones, always the same."""
    validation: bool = False
    """Score the validation split too: whoever chooses among the rows chooses there, not on test."""

    def recipes_for(self, task: str, model: str, device: str) -> tuple[str, ...]:
        """Return the recipes of a task and a model on a device."""
        by = self.recipes_of
        everywhere = by.get(f"{task}/{model}", by.get(model, self.recipes))
        return (*everywhere, *self.recipes_on.get(device, ()))


PROFILES: dict[str, Profile] = {
    "smoke": Profile(
        tasks=("movies",),
        models=("minilm-bert",),
        recipes=(*CONTROLS, REFERENCE, "finetune+int8", "finetune+onnx-int8", "features+logistic"),
        seconds=0.5,
        shifted_cap=200,
    ),
    "quick": Profile(
        tasks=("movies",),
        models=("minilm-bert", "minilm-roberta", "transformer-scratch"),
        recipes=QUICK,
        recipes_of=QUICK_OF,
        recipes_on={"cuda": ("finetune+fp16",), "mps": ("finetune+fp16",)},
        seconds=0.5,
        shifted_cap=500,
    ),
    "nightly": Profile(
        tasks=("movies",),
        models=("minilm-bert", "minilm-roberta"),
        recipes=QUICK,
        recipes_of=QUICK_OF,
        pairs=5,
        seconds=3.5,
        shifted_cap=500,
    ),
    "post-training": Profile(
        tasks=("movies",),
        models=("minilm-bert",),
        recipes=(*CONTROLS, *POST_TRAINING),
        seconds=1.0,
        shifted_cap=500,
    ),
    "chains": Profile(
        tasks=("movies",),
        models=("minilm-bert",),
        recipes=(*CONTROLS, REFERENCE, *CHAINS),
        recipes_of={"bbc/minilm-bert": (*CONTROLS, REFERENCE, *CHAINS_FOR_LONG_TEXTS)},
        seeds=(0, 1, 2),
        seconds=1.0,
        shifted_cap=500,
        validation=True,
    ),
    "recommended": Profile(
        tasks=tuple(dict.fromkeys(measured.task for measured in RECOMMENDED)),
        models=tuple(dict.fromkeys(measured.model for measured in RECOMMENDED)),
        recipes=(),
        recipes_of={
            f"{measured.task}/{measured.model}": (
                *CONTROLS,
                REFERENCE,
                *(choice.recipe for choice in measured.choices),
            )
            for measured in RECOMMENDED
        },
        shifted_cap=500,
        validation=True,
    ),
    "full": Profile(
        tasks=("movies", "valence", "bbc"),
        models=("minilm-bert", "minilm-roberta", "transformer-scratch", "mpnet-base"),
        recipes=FULL,
        recipes_of={"mpnet-base": (*FULL, *INTO_MINILM)},
        recipes_on=ON_GPU,
        seconds=1.0,
        shifted_cap=1500,
        validation=True,
    ),
}
