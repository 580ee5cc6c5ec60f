"""Distillation as in TinyBERT: attention maps, hidden states of all tokens, and logits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from compressors.distill import FewerLayers, layer_at
from compressors.live_teacher import live_teacher
from compressors.step import Plan, Unsupported
from compressors.teaching import logit_error, teach, width_map

if TYPE_CHECKING:
    from compressors.workbench import Workbench
    from models.artifact import Artifact
    from models.model import Shape


@dataclass(frozen=True)
class DistillTiny(FewerLayers):
    """Distil into `layers` layers as TinyBERT does (Jiao et al. 2019, arXiv 1909.10351).

    Each layer of the student answers to a layer of its teacher: squared errors of the attention
    scores, head by head, before their softmax, and of every token's hidden state; and the embeddings
    to the embeddings. Jiao et al. train that first and the logits later; here it is one loss. The
    student starts from its teacher's layers, not from a general distillation.
    """

    name: ClassVar[str] = "distill-tiny"

    attention_weight: float = 1.0
    hidden_weight: float = 1.0

    def plan(self, before: Plan, device: str) -> Plan:
        plan = super().plan(before, device)
        if before.teacher and before.shape and heads_of(before.teacher) != heads_of(before.shape):
            raise Unsupported(
                f"{self} compares attention head by head, and its student has not all "
                f"{before.teacher.heads} heads of the teacher; 'distill-relations' compares any"
            )
        return plan

    def learn(
        self, student: Any, taught: list[float], source: Artifact, workbench: Workbench
    ) -> None:
        from models.attention import listening, scores
        from models.networks import layers_of

        heads = student.config.num_attention_heads
        teacher = live_teacher(workbench.teacher or source, source, workbench)
        depth = len(layers_of(teacher.network))
        pairs = [(mine, layer_at(share, depth)) for mine, share in enumerate(taught)]
        error = logit_error(workbench.teacher or source, self.temperature, workbench)

        with width_map(student, teacher.network.config.hidden_size) as widen:

            def loss(student: Any, batch: dict[str, Any]) -> Any:
                with listening(student, range(self.layers)) as heard:
                    made = student(
                        input_ids=batch["input_ids"],
                        attention_mask=batch["attention_mask"],
                        output_hidden_states=True,
                    )
                soft = error(made.logits, batch)
                said = teacher.answer(batch, [theirs for _, theirs in pairs])
                if said is None:
                    return soft
                tokens = said.mask.shape[1]
                hidden = [(0, 0), *((mine + 1, theirs + 1) for mine, theirs in pairs)]
                attention_error = sum(
                    squared_error(
                        scores(
                            heard[mine][0][said.rows, :tokens],
                            heard[mine][1][said.rows, :tokens],
                            heads,
                        ),
                        scores(said.attention[theirs][0], said.attention[theirs][1], heads),
                        (said.mask[:, None, :, None] & said.mask[:, None, None, :]),
                    )
                    for mine, theirs in pairs
                ) / len(pairs)
                hidden_error = sum(
                    squared_error(
                        widen(made.hidden_states[mine][said.rows, :tokens]),
                        said.states[theirs],
                        said.mask[..., None],
                    )
                    for mine, theirs in hidden
                ) / len(hidden)
                return (
                    soft
                    + self.attention_weight * attention_error
                    + self.hidden_weight * hidden_error
                )

            teach(self, student, loss, source, workbench)


def heads_of(shape: Shape) -> tuple[int, float | None]:
    """Return how many heads a model has, and how wide they are together where some were pruned."""
    return shape.heads, getattr(shape, "attention", None)


def squared_error(mine: Any, theirs: Any, mask: Any) -> Any:
    """Mean squared error of the values that `mask`, which broadcasts to them, lets through."""
    error = (mine.float() - theirs.float()).square() * mask
    return error.sum() / mask.expand_as(error).sum()
