"""What every distillation shares: a student learns a loss, is kept, and is compared with its teacher."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from compressors.finetune import name_labels
from compressors.step import PYTORCH

if TYPE_CHECKING:
    from compressors.workbench import Workbench
    from models.artifact import Artifact
    from models.training import Loss

TEXTS = ("train", "unlabelled")
"""The splits that a teacher is asked about."""

SUSPICIOUS = 2.0
"""Standard errors by which a student is better than its teacher before that is no accident."""


LogitError = Callable[[Any, dict[str, Any]], Any]
"""A student's logits [batch, outputs] and its batch to a scalar."""


class Lesson(Protocol):
    """How long and how fast a step teaches."""

    @property
    def epochs(self) -> int: ...

    @property
    def learning_rate(self) -> float: ...


def teach(
    step: Lesson,
    student: Any,
    loss: Loss,
    source: Artifact,
    workbench: Workbench,
    *,
    first_token: bool = False,
) -> None:
    """Train a student in place on train and unlabelled texts.

    Args:
        student: a classifier that reads the tokens of `source`'s tokenizer.
        loss: gets batches with `index`, the texts' places in `workbench.texts(*TEXTS)`.
        first_token: the loss reads no other token of the last layer.
    """
    workbench.train(
        student,
        source,
        *TEXTS,
        epochs=step.epochs,
        learning_rate=step.learning_rate,
        loss=loss,
        first_token=first_token,
    )


def logit_error(teacher: Artifact, temperature: float, workbench: Workbench) -> LogitError:
    """Make what tells how far a student's logits of a batch are from its teacher's."""
    import torch

    logits = torch.from_numpy(workbench.answers(teacher, *TEXTS))  # [n, outputs]

    def error(made: Any, batch: dict[str, Any]) -> Any:
        goal = logits[batch["index"].cpu()].to(made.device)
        return logit_loss(made, goal, temperature, workbench.task.kind)

    return error


def logit_loss(student: Any, teacher: Any, temperature: float, kind: str) -> Any:
    """Kullback-Leibler divergence of softened logits [n, classes]; squared error for regression."""
    from torch.nn import functional

    if kind == "regression":
        return functional.mse_loss(student.float(), teacher.float())
    soft = functional.log_softmax(student.float() / temperature, dim=-1)
    goal = functional.log_softmax(teacher.float() / temperature, dim=-1)
    return functional.kl_div(soft, goal, log_target=True, reduction="batchmean") * temperature**2


def write_student(
    step: Lesson, student: Any, source: Artifact, workbench: Workbench
) -> dict[str, Any]:
    """Write a student that has learnt, with its tokenizer.

    Returns:
        facts for the manifest: the format, and `distillation`, how teacher and student do on the
        validation split, with a `warning` if the teacher does worse.
    """
    from models.networks import save_network

    name_labels(student, workbench)
    save_network(student, workbench.folder)
    workbench.keep(source, "tokenizer.json")
    return {"format": PYTORCH, "distillation": compare(step, student, source, workbench)}


def compare(step: Lesson, student: Any, source: Artifact, workbench: Workbench) -> dict[str, Any]:
    """Return how teacher and student do on the validation split; a teacher that is worse is told of."""
    teacher = workbench.teacher or source
    facts: dict[str, Any] = {"teacher": teacher.sha256}
    facts |= workbench.compare_on_validation(student, source, teacher)
    if facts.get("gain", 0.0) > SUSPICIOUS:
        facts["warning"] = (
            f"{step}: the teacher is worse than its student on the validation split: "
            f"error {facts['teacher_error']:.4f}, the student's {facts['student_error']:.4f}"
        )
        print(f"warning: {facts['warning']}", file=sys.stderr)
    return facts


@contextmanager
def width_map(student: Any, width: int) -> Iterator[Any]:
    """Lend a student the linear map that makes its hidden states as wide as its teacher's.

    It learns with the student, and is taken away from it afterwards (Jiao et al. 2019, arXiv
    1909.10351). Where the widths are the same nothing is mapped.
    """
    from torch import nn

    if student.config.hidden_size == width:
        yield nn.Identity()
        return
    student.width_map = nn.Linear(student.config.hidden_size, width, bias=False)
    nn.init.eye_(student.width_map.weight)
    try:
        yield student.width_map
    finally:
        del student.width_map
