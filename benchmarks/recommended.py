"""The chains worth shipping, by task and model, each with the measurement that chose it.

A chain is chosen by its validation split; what the test split says of it is only reported.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Choice:
    """A chain and what it reached on the validation split when it was chosen, seed 0."""

    recipe: str
    validation_kept: float
    """Validation quality against that of the reference."""
    size_ratio: float
    speedup: float
    machine: str


RECOMMENDED: dict[tuple[str, str], tuple[Choice, ...]] = {}


def recipes_of(task: str, model: str) -> tuple[str, ...]:
    """Return the recipes recommended for a task and model."""
    return tuple(choice.recipe for choice in RECOMMENDED.get((task, model), ()))
