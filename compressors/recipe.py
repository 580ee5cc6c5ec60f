"""Recipes: steps joined with `+`, parsed and checked before any work."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from compressors import STEPS
from compressors.step import NOTHING, PRETRAINED, Plan, Step, Unsupported
from models import MODELS
from models.model import Model
from models.predictors import RUNTIMES


class RecipeError(ValueError):
    """A recipe that no model can follow; the message names the step and what would be right."""


@dataclass(frozen=True)
class Recipe:
    """Steps in order."""

    steps: tuple[Step, ...]

    def __str__(self) -> str:
        return "+".join(map(str, self.steps))

    @property
    def reads_models(self) -> tuple[str, ...]:
        """Return the models that its steps read beside its own, each once."""
        return tuple(dict.fromkeys(name for step in self.steps for name in step.reads_models))

    @property
    def families(self) -> tuple[str, ...]:
        """The families of its steps, each once, in order."""
        return tuple(dict.fromkeys(step.family for step in self.steps))

    @property
    def built(self) -> Recipe:
        """The steps that are really taken: `finetune+onnx+onnx-int8` for `finetune+onnx-int8`."""
        steps: list[Step] = []
        for step in self.steps:
            first = step.starts_with
            if first and steps and steps[-1].produces != first.produces:
                steps.append(first())
            steps.append(step)
        return Recipe(tuple(steps))

    @property
    def prefixes(self) -> list[str]:
        """What is built on the way: `finetune`, `finetune+distill:3`, … and the recipe itself."""
        steps = self.built.steps
        names: dict[str, None] = {}
        for end, step in enumerate(steps):
            if step.other_model is None and (other := step.other_source(steps[:end])):
                names |= dict.fromkeys(Recipe(other).prefixes)
            names[str(Recipe(steps[: end + 1]))] = None
        return list(names)

    @property
    def needs_model(self) -> bool:
        return NOTHING not in self.steps[0].accepts

    def plan(
        self,
        model: Model | None,
        device: str,
        kind: str = "classification",
        max_tokens: int | None = None,
    ) -> Plan:
        """Say what the recipe would make of a model on a device, for a kind of task.

        Args:
            max_tokens: where the task cuts its texts.

        Raises:
            Unsupported: a step cannot do it; the message says which and why.
        """
        plan = Plan(NOTHING, kind=kind, max_tokens=max_tokens)
        if model:
            plan = replace(
                plan,
                format=PRETRAINED,
                shape=model.shape,
                architecture=model.architecture,
                has_head=model.head is not None,
            )
        for index, step in enumerate(self.steps):
            plan = step.plan(plan, device)
            if other := step.other_source(self.steps[:index]):
                of = MODELS[step.other_model] if step.other_model else model
                if step.other_model and of == model:
                    raise Unsupported(f"{step}: that is the model itself")
                Recipe(other).plan(of, device, kind, max_tokens)
        runtime = RUNTIMES[plan.format]
        if device not in runtime.devices:
            raise Unsupported(f"{runtime.name} runs {plan.format} on {', '.join(runtime.devices)}")
        return plan


def parse_recipe(text: str) -> Recipe:
    """Parse `finetune+distill:3+onnx-int8`.

    Raises:
        RecipeError: an unknown step, a value out of its range, or steps that do not fit.
    """
    recipe = Recipe(tuple(_parse_step(part, text) for part in text.split("+")))
    _check_formats(recipe, text)
    return recipe


def _parse_step(part: str, recipe: str) -> Step:
    name, colon, value = part.partition(":")
    if name not in STEPS:
        hint = _did_you_mean(name, STEPS, value)
        all_steps = "`leanboard list steps`" if hint else ", ".join(sorted(STEPS))
        raise RecipeError(f"recipe '{recipe}': unknown step '{part}'{hint}; steps: {all_steps}")
    step = STEPS[name]
    if not colon:
        return step()
    field = step.headline_field()
    if field is None:
        raise RecipeError(f"recipe '{recipe}': step '{name}' takes no value, got '{value}'")
    if "choices" in field.metadata:
        return step.with_value(_one_of(field, part, value, recipe))
    low, high = field.metadata["low"], field.metadata["high"]
    kind = float if "float" in str(field.type) else int
    try:
        number = kind(value)
    except ValueError:
        expected = "a whole number" if kind is int else "a number"
        raise RecipeError(
            f"recipe '{recipe}': '{part}' needs {expected} from {low} to {high}, got '{value}'"
        ) from None
    if not low <= number <= high:
        raise RecipeError(f"recipe '{recipe}': '{part}' is out of range: {low} to {high}")
    return step.with_value(number)


def _one_of(field: Any, part: str, value: str, recipe: str) -> str:
    choices = field.metadata["choices"]
    if value not in choices:
        raise RecipeError(
            f"recipe '{recipe}': '{part}': unknown {field.name} '{value}'"
            f"{_did_you_mean(value, choices)}; {field.name}s: {', '.join(choices)}"
        )
    return value


def _did_you_mean(name: str, known: Iterable[str], value: str = "") -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    if not close:
        return ""
    return f"; did you mean '{close[0]}{':' + value if value else ''}'?"


def _check_formats(recipe: Recipe, text: str) -> None:
    first = recipe.steps[0]
    format = NOTHING if NOTHING in first.accepts else PRETRAINED
    maker: Step | None = None
    for index, step in enumerate(recipe.steps):
        if format not in step.accepts:
            raise RecipeError(
                f"recipe '{text}': '{step}' needs {' or '.join(step.accepts)}, "
                f"but gets {format} there{_advice(step, format, maker)}"
            )
        try:
            step.other_source(recipe.steps[:index])
        except Unsupported as error:
            raise RecipeError(f"recipe '{text}': {error}") from None
        if step.format_after(format) != format:
            format, maker = step.format_after(format), step
        later = recipe.steps[index + 1 :]
        if step.others_teach and not any(one.learns for one in later):
            raise RecipeError(
                f"recipe '{text}': '{step}' teaches nobody: put a distillation after it, "
                "'distill:3' or 'heal'"
            )
    if format not in RUNTIMES:
        raise RecipeError(
            f"recipe '{text}' ends in format '{format}', which no runtime executes; "
            "a head must be trained: add 'finetune' or 'logistic'"
        )


def _advice(step: Step, format: str, maker: Step | None) -> str:
    """Say what could stand between, or that `step` comes too late: behind the `maker` of a format."""
    between = sorted(
        name
        for name, other in STEPS.items()
        if other.produces in step.accepts and format in other.accepts
    )
    if between:
        return f"; put {' or '.join(between)} before it"
    return f"; put it before '{maker}'" if maker else ""
