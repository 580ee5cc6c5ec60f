"""Distillation as in MiniLM: how tokens relate to each other in the last layer, and logits."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from compressors.distill import FewerLayers
from compressors.live_teacher import live_teacher
from compressors.teaching import logit_error, teach
from models.attention import QUERY_KEY_VALUE

if TYPE_CHECKING:
    from compressors.workbench import Workbench
    from models.artifact import Artifact


@dataclass(frozen=True)
class DistillRelations(FewerLayers):
    """Distil into `layers` layers by the last layer's self-attention relations, as MiniLM does.

    Queries with queries, keys with keys, values with values, over relation heads of their own, so
    that student and teacher need neither the same width nor the same heads (Wang et al. 2020, arXiv
    2012.15828; the first MiniLM: arXiv 2002.10957). MiniLM pretrains a student so; here it is taught
    a task, so the teacher's logits are learnt beside them.
    """

    name: ClassVar[str] = "distill-relations"
    architectures: ClassVar[Collection[str] | None] = QUERY_KEY_VALUE

    relation_weight: float = 1.0
    relation_heads: int = 12
    """The most; fewer where the widths of student and teacher cannot both be cut into so many."""

    def learn(
        self, student: Any, taught: list[float], source: Artifact, workbench: Workbench
    ) -> None:
        from models.attention import listening
        from models.networks import layers_of

        teacher = live_teacher(workbench.teacher or source, source, workbench)
        mine, theirs = self.layers - 1, len(layers_of(teacher.network)) - 1
        error = logit_error(workbench.teacher or source, self.temperature, workbench)

        def loss(student: Any, batch: dict[str, Any]) -> Any:
            with listening(student, [mine]) as heard:
                made = student(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
            soft = error(made.logits, batch)
            said = teacher.answer(batch, [theirs])
            if said is None:
                return soft
            tokens = said.mask.shape[1]
            relations = sum(
                relation_loss(one[said.rows, :tokens], other, said.mask, self.relation_heads)
                for one, other in zip(heard[mine], said.attention[theirs], strict=True)
            )
            return soft + self.relation_weight * relations

        teach(self, student, loss, source, workbench)


def relation_loss(mine: Any, theirs: Any, mask: Any, heads: int) -> Any:
    """Kullback-Leibler divergence of how each token relates to the others.

    Args:
        mine, theirs: [batch, tokens, width], of any two widths.
        mask: bool [batch, tokens], the real tokens.
        heads: relation heads, or the most that divide both widths.
    """
    from torch.nn.functional import kl_div, log_softmax

    from models.attention import scores

    heads = math.gcd(heads, mine.shape[-1], theirs.shape[-1])
    related, goal = (
        log_softmax(scores(x, x, heads).masked_fill(~mask[:, None, None, :], -1e4), dim=-1)
        for x in (mine, theirs)
    )
    divergence = kl_div(related, goal, log_target=True, reduction="none").sum(-1)
    return (divergence * mask[:, None, :]).sum() / (mask.sum() * heads)
