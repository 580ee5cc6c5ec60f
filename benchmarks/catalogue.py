"""What there is to choose from, as `leanboard list` prints it."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable

from benchmarks.profiles import PROFILES
from benchmarks.recommended import RECOMMENDED
from compressors import STEPS
from compressors.recipe import parse_recipe
from compressors.step import Step
from models import MODELS
from models.predictors import RUNTIMES
from tasks import TASKS


def tasks() -> str:
    """One card a task."""
    return "\n\n".join(task.card() for task in TASKS.values())


def models() -> str:
    """One card a model."""
    return "\n\n".join(model.card() for model in MODELS.values())


def steps() -> str:
    """What each step takes, makes and lets one set."""
    cards = []
    for step in STEPS.values():
        own = step.headline_field()
        value = ""
        if own and "choices" in own.metadata:
            names = ", ".join(own.metadata["choices"])
            value = f"\n  {step.name}:{own.name.upper()}  one of {names}; by default {own.default}"
        elif own:
            kind = "a share" if "float" in str(own.type) else own.name
            default = "all" if own.default is None else f"{own.default:g}"
            low, high = own.metadata["low"], own.metadata["high"]
            value = f"\n  {step.name}:N  {kind} from {low} to {high}, by default {default}"
        says = (inspect.getdoc(step) or "").splitlines()[0]
        formats = f"{' or '.join(step.accepts)} -> {_makes(step())}"
        devices = "" if len(step.devices) > 1 else f"; on {step.devices[0]} only"
        cards.append(f"{step.name} ({step.family})\n  {says}\n  {formats}{devices}{value}")
    return "\n\n".join(cards)


def recipes() -> str:
    """The recipes of each profile, with the families that each one chains."""
    parts = []
    for name, profile in PROFILES.items():
        devices = {f"on {device}": more for device, more in profile.recipes_on.items()}
        for model, chosen in {"": profile.recipes, **profile.recipes_of, **devices}.items():
            if not chosen:
                continue
            width = max(map(len, chosen))
            lines = [f"  {r:<{width}}  {', '.join(parse_recipe(r).families)}" for r in chosen]
            of_model = f", {model}" if model else ""
            parts.append("\n".join([f"--profile {name}{of_model}", *lines]))
    return "\n\n".join([*parts, "Any steps that fit together make a recipe: join them with '+'."])


def chains() -> str:
    """Which step can follow which, as Markdown: made from what the steps declare."""
    known = [step() for step in STEPS.values()]
    formats = dict.fromkeys(
        format
        for step in known
        for before in step.accepts
        for format in (before, step.format_after(before))
    )
    lines = ["| step | family | starts from | makes |", "|---|---|---|---|"]
    for step in known:
        starts = ", ".join(step.accepts)
        lines.append(f"| `{step}` | {step.family} | {starts} | {_makes(step)} |")
    lines += ["", "| from the format | go on with | run by |", "|---|---|---|"]
    for format in formats:
        after = ", ".join(f"`{step}`" for step in known if format in step.accepts)
        runtime = RUNTIMES[format].name if format in RUNTIMES else "nothing: go on"
        lines.append(f"| {format} | {after or 'nothing: it is the end'} | {runtime} |")
    return "\n".join(lines)


def _makes(step: Step) -> str:
    made = list(dict.fromkeys(step.format_after(before) for before in step.accepts))
    return "the same" if made == list(step.accepts) and step.produces is None else ", ".join(made)


def _seeds(count: int) -> str:
    return "one seed" if count == 1 else f"means of {count} seeds"


def _rounded_down(figure: float) -> str:
    """Show one digit of a share or a ratio: 98.95 % are not 99, and 9.96x are not ten times."""
    return f"{math.floor(10 * figure + 1e-9) / 10:.1f}"


def recommended() -> str:
    """The chains worth shipping, each in a line to copy, with the measurement that chose it."""
    from tabulate import tabulate

    headers = ["validation", "test", "at least", "smaller", "faster", "batch", "RAM MB", "built in"]
    parts = []
    for found in RECOMMENDED:
        figures = [
            [
                *(
                    _rounded_down(100 * kept) + "%"
                    for kept in (choice.validation_kept, choice.test_kept, choice.test_kept_low)
                ),
                *(
                    _rounded_down(ratio) + "x"
                    for ratio in (choice.size_ratio, choice.speedup, choice.speedup_batch)
                ),
                "" if choice.memory_mb is None else f"{choice.memory_mb:.0f}",
                f"{choice.build_seconds:.0f} s",
            ]
            for choice in found.choices
        ]
        aligned = ["right"] * len(headers)
        head, *lines = tabulate(
            figures, headers, "plain", disable_numparse=True, colalign=aligned
        ).splitlines()
        parts.append(f"{found.task} · {found.model}, {_seeds(found.seeds)}")
        parts.append(f"{found.machine}; {found.versions}")
        parts.append(f"  {head}")
        for choice, line in zip(found.choices, lines, strict=True):
            parts += [choice.recipe, f"  {line}", f"  {choice.why}"]
        parts.append("")
    return "\n".join(
        [
            *parts,
            "validation, test: kept of the reference's quality; chosen by the former, `at least` is the",
            "  lower 95 % bound of the latter, all seeds together",
            "smaller, faster, batch (of 32 texts): against `finetune` of the model, eager PyTorch in fp32",
            "RAM: peak above the runtime's imports; built in: all steps, on the machine named",
            "for other models and tasks nothing was chosen: name their recipes, or --profile full",
        ]
    )


LISTS: dict[str, Callable[[], str]] = {
    "tasks": tasks,
    "models": models,
    "steps": steps,
    "chains": chains,
    "recipes": recipes,
    "recommended": recommended,
}
"""What `leanboard list` can show."""
