"""Knowledge distillation: a student with fewer layers learns its teacher's logits and hidden states."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from compressors.step import PYTORCH, Plan, Step, Unsupported, headline
from compressors.teaching import TEXTS, logit_error, teach, width_map, write_student
from models.networks import LAYERS

if TYPE_CHECKING:
    from compressors.heal import Heal
    from compressors.workbench import Workbench
    from models.artifact import Artifact


@dataclass(frozen=True)
class FewerLayers(Step):
    """A student that starts from every k-th layer of its source and learns from a teacher.

    The teacher is the recipe's fine-tuned network, the student starts from what the steps in between
    left of it: `finetune+prune-ffn:0.75+distill:3` makes a narrow student that is taught, not cut.
    What it learns is the subclass's.
    """

    family: ClassVar[str] = "distillation"
    version: ClassVar[int] = 3
    accepts: ClassVar[tuple[str, ...]] = (PYTORCH,)
    produces: ClassVar[str | None] = PYTORCH
    architectures: ClassVar[Collection[str] | None] = LAYERS
    libraries: ClassVar[tuple[str, ...]] = ("torch", "transformers", "accelerate")

    layers: int = headline(3, low=1, high=48)
    epochs: int = 2
    learning_rate: float = 1e-4
    """Smaller steps are better: after one epoch of `distill:3` on `movies` the divergence from the
    teacher on validation texts is 0.040 at 1e-4, 0.046 at 2e-4 and 0.060 at 4e-4 (seed 0)."""
    temperature: float = 2.0

    def plan(self, before: Plan, device: str) -> Plan:
        return replace(super().plan(before, device), shape=fewer_layers(self, before, self.layers))

    def apply(self, source: Artifact | None, workbench: Workbench) -> Artifact:
        from models.networks import load_classifier

        assert source
        student = load_classifier(source.folder, workbench.outputs)
        taught = keep_layers(student, self.layers)
        self.learn(student, taught, source, workbench)
        facts = write_student(self, student, source, workbench)
        return workbench.seal(source, **facts, shape=shape_of(student, source))

    def learn(
        self, student: Any, taught: list[float], source: Artifact, workbench: Workbench
    ) -> None:
        """Train the student in place.

        Args:
            taught: for each of its layers, how far up its teacher's it answers to, 0 to 1.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class Distill(FewerLayers):
    """Distil into `layers` layers, with unlabelled text beside the training text.

    Logits: Hinton et al. 2015, arXiv 1503.02531. Hidden states of the first token, layer by layer:
    Sun et al. 2019, arXiv 1908.09355. A student that starts from every k-th layer of its teacher:
    Sanh et al. 2019, arXiv 1910.01108. Unlabelled text of other domains keeps the transfer to them.
    """

    name: ClassVar[str] = "distill"
    version: ClassVar[int] = 6

    hidden_weight: float = 1.0
    """Weight of the hidden states' squared error beside that of the logits."""

    def learn(
        self, student: Any, taught: list[float], source: Artifact, workbench: Workbench
    ) -> None:
        teach_states(self, student, taught, source, workbench)


def teach_states(
    step: Distill | Heal, student: Any, taught: list[float], source: Artifact, workbench: Workbench
) -> None:
    """Teach a student its teacher's logits and its first token's hidden states.

    Args:
        taught: for each of the student's layers, how far up its teacher's it answers to, 0 to 1.
    """
    import torch
    from torch.nn.functional import mse_loss, normalize

    teacher = workbench.teacher or source
    soft = logit_error(teacher, step.temperature, workbench)
    kept_states = workbench.lessons(teacher, *TEXTS)["states"]  # [n, layers of the teacher, hidden]
    rows = [layer_at(share, kept_states.shape[1]) for share in taught]
    goal_states = torch.from_numpy(kept_states[:, rows])
    del kept_states

    with width_map(student, goal_states.shape[-1]) as widen:

        def loss(student: Any, batch: dict[str, Any]) -> Any:
            made = student(
                input_ids=batch["input_ids"],
                attention_mask=batch["attention_mask"],
                output_hidden_states=True,
            )
            texts, device = batch["index"].cpu(), made.logits.device
            first = torch.stack([layer[:, 0] for layer in made.hidden_states[1:]], dim=1)
            mine = normalize(widen(first).float(), dim=-1)  # [batch, layers, hidden]
            theirs = normalize(goal_states[texts].to(device).float(), dim=-1)
            hidden = mse_loss(mine, theirs, reduction="sum") / mine[..., 0].numel()
            return soft(made.logits, batch) + step.hidden_weight * hidden

        teach(step, student, loss, source, workbench, first_token=True)


def fewer_layers(step: Step, before: Plan, layers: int) -> Any:
    """Return the planned shape with fewer layers.

    Raises:
        Unsupported: the model does not have more layers than that.
    """
    if before.shape and layers >= before.shape.layers:
        raise Unsupported(
            f"{step} needs a model of more layers; this one has {before.shape.layers}"
        )
    return before.shape and replace(before.shape, layers=layers)


def keep_layers(network: Any, layers: int) -> list[float]:
    """Keep every k-th layer from the first on, in place.

    Returns:
        for each kept layer how far up the stack lies the layer whose output it learns, 0 to 1: the
        last one before the next kept layer, so that the student's top answers to the top.
    """
    from torch import nn

    from models.networks import LAYERS, layers_of

    stack = layers_of(network)
    total = len(stack)
    kept = [i * total // layers for i in range(layers)]
    path, _, name = LAYERS[network.config.model_type].rpartition(".")
    setattr(network.get_submodule(path), name, nn.ModuleList(stack[i] for i in kept))
    network.config.num_hidden_layers = layers
    return [*(i / total for i in kept[1:]), 1.0]


def layer_at(share: float, layers: int) -> int:
    """Return the layer, from 0, whose output lies at `share` of a stack of `layers`."""
    return max(round(share * layers), 1) - 1


def shape_of(network: Any, source: Artifact) -> dict[str, float]:
    """Return the shape of a network that has some of its source's layers, for the manifest.

    Where heads were pruned the layers differ, and what is left of them has a mean width of its own.
    """
    from models.networks import attention_width, layers_of

    kept = {"layers": len(layers_of(network)), "attention": attention_width(network)}
    return source.manifest["shape"] | kept
