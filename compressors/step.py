"""What a step is: a frozen dataclass that says everything about one transformation of an artifact."""

from __future__ import annotations

import importlib.util
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

from models.model import Shape

if TYPE_CHECKING:
    from compressors.workbench import Workbench
    from models.artifact import Artifact

NOTHING = "nothing"
"""The format that a control starts from."""
PRETRAINED = "pretrained"
"""A PyTorch encoder without a head for the task."""
PYTORCH = "pytorch"
"""A fine-tuned PyTorch classifier in fp32."""


class Unsupported(Exception):
    """A step cannot be applied; the message is the reason, known before any work."""


@dataclass(frozen=True)
class Plan:
    """What is known of an artifact before it exists."""

    format: str
    shape: Shape | None = None
    teacher: Shape | None = None
    """Of the fine-tuned network that the steps after it learn from, if there is one."""
    architecture: str | None = None
    """The `model_type` of a user's own model; None for a built-in one, which every step knows."""
    has_head: bool = False
    """The model brings a head that is fine-tuned already."""
    kind: str = "classification"
    """Of the task: `classification` or `regression`."""
    max_tokens: int | None = None
    """Where texts are cut, if that is known."""
    as_is: bool = False
    """Its network is fine-tuned already, and another seed would not make another one."""
    sparse: bool = False
    """A step made weights zero, and the steps after it keep them so."""


def headline(default: Any, low: float, high: float) -> Any:
    """Declare the field that the value after the colon sets, with its range (both ends allowed)."""
    return field(default=default, metadata={"low": low, "high": high})


def headline_name(default: str, choices: Mapping[str, Any]) -> Any:
    """Declare the field that the value after the colon sets, where that is a name among `choices`."""
    return field(default=default, metadata={"choices": choices})


@dataclass(frozen=True)
class Step:
    """One transformation, artifact in, artifact out. Subclasses are frozen dataclasses.

    A subclass declares the class variables below, has at most one `headline` field, and applies
    itself. Its `version` goes into the store's key: raise it when the result changes.
    """

    name: ClassVar[str]
    family: ClassVar[str]
    """training, distillation, quantization, pruning, factorization, vocabulary, shorter inputs,
    activation, transfer, conversion, cascade or control."""
    accepts: ClassVar[tuple[str, ...]]
    """Formats that it can start from."""
    produces: ClassVar[str | None]
    """Format that it makes; None: what `format_after` makes of the one that it got, by default that."""
    devices: ClassVar[tuple[str, ...]] = ("cpu", "cuda", "mps")
    libraries: ClassVar[tuple[str, ...]] = ("torch", "transformers")
    """Distributions whose versions change the result."""
    extras: ClassVar[dict[str, str]] = {}
    """Modules that a bare install lacks, each with the extra that brings it."""
    architectures: ClassVar[Collection[str] | None] = None
    """Those whose layers it finds; None: it needs to find none."""
    starts_with: ClassVar[type[Step] | None] = None
    """A conversion that comes first unless its artifact is there: recipes share it so."""
    makes_zeros: ClassVar[bool] = False
    version: ClassVar[int] = 1

    def plan(self, before: Plan, device: str) -> Plan:
        """Say what this step would make of `before`, without any work.

        Raises:
            Unsupported: it cannot; the message is the reason.
        """
        if before.format not in self.accepts:
            raise Unsupported(f"{self} needs {' or '.join(self.accepts)}, got {before.format}")
        if device not in self.devices:
            raise Unsupported(f"{self} runs on {', '.join(self.devices)}, not on {device}")
        for module, extra in self.extras.items():
            if importlib.util.find_spec(module) is None:
                raise Unsupported(f"pip install -e '.[{extra}]'")
        if self.architectures is not None:
            self.refuse_unknown(before, self.architectures)
        teacher = before.teacher or (before.shape if self.teaches else None)
        return replace(
            before,
            format=self.format_after(before.format),
            teacher=teacher,
            as_is=before.as_is and not self.teaches,
            sparse=before.sparse or self.makes_zeros,
        )

    def refuse_unknown(self, before: Plan, known: Collection[str]) -> None:
        """Refuse an architecture whose layers nobody has named.

        Raises:
            Unsupported: it is not among `known`.
        """
        if before.architecture is not None and before.architecture not in known:
            raise Unsupported(
                f"{self} knows the layers of {', '.join(known)}, not of {before.architecture}"
            )

    def format_after(self, before: str) -> str:
        """Return the format that it makes of an artifact of format `before`."""
        return self.produces or before

    @property
    def teaches(self) -> bool:
        """Say whether it makes a network fine-tuned on the labels: a teacher for the steps after it."""
        return self.produces == PYTORCH and self.family in ("training", "transfer")

    other_seeds: ClassVar[tuple[int, ...]] = (0,)
    """What is added to the recipe's seed for each other artifact that it reads."""

    others_teach: ClassVar[bool] = False
    """Every step after it that `learns` has the other artifacts as teachers too."""

    @property
    def learns(self) -> bool:
        """Say whether it learns what teachers answer, those among them that steps before it lend."""
        return self.family == "distillation" and not self.others_teach

    @property
    def reads_models(self) -> tuple[str, ...]:
        """Return the models that it reads beside the recipe's own."""
        return tuple(model for model in (self.other_model, self.becomes) if model)

    @property
    def becomes(self) -> str | None:
        """Return the model whose network and tokenizer take the place of the recipe's own."""
        return None

    @property
    def other_model(self) -> str | None:
        """Return the model of the other artifacts; None: the recipe's own."""
        return None

    def other_source(self, before: tuple[Step, ...]) -> tuple[Step, ...]:
        """Return the steps of the other artifacts that it reads beside its source; most read none.

        Args:
            before: the steps of its source.

        Raises:
            Unsupported: `before` has nothing that it could read.
        """
        return ()

    def pins(self) -> list[str]:
        """Return what changes the result beside its parameters and libraries: a model's revision …"""
        return []

    def refuse(self, start: Artifact) -> None:
        """Raise what the files of the recipe's pretrained model already forbid, before any step."""

    def apply(self, source: Artifact | None, workbench: Workbench) -> Artifact:
        """Make the new artifact in `workbench.folder`; `source` is never changed."""
        raise NotImplementedError

    @classmethod
    def headline_field(cls) -> Any:
        """Return the dataclass field behind the colon, or None."""
        return next((f for f in fields(cls) if {"low", "choices"} & f.metadata.keys()), None)

    @classmethod
    def with_value(cls, value: Any) -> Self:
        """Make the step from its headline value."""
        return cls(**{cls.headline_field().name: value})

    def __str__(self) -> str:
        """The step as a recipe writes it: `distill:3`."""
        own = self.headline_field()
        value = getattr(self, own.name) if own else None
        if value is None:
            return self.name
        return f"{self.name}:{value if isinstance(value, str) else format(value, 'g')}"


def teaching(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """Return the steps that make a recipe's teacher; none if nothing is fine-tuned.

    It is the first fine-tuned network, and what is fine-tuned again at once. A network that
    recovered from pruning does not take its place.
    """
    first = next((index for index, step in enumerate(steps) if step.teaches), None)
    if first is None:
        return ()
    end = first + 1
    while end < len(steps) and steps[end].teaches:
        end += 1
    return steps[:end]
