"""The matrix of cells: task x model x recipe x device x seed, selected and checked before any work."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import lru_cache

from benchmarks.devices import DEVICES, present
from benchmarks.profiles import AS_IS, PROFILES, REFERENCE, Profile
from compressors.as_is import AsIs
from compressors.finetune import Finetune
from compressors.recipe import Recipe, RecipeError, parse_recipe
from models import MODELS, NO_MODEL
from reports.records import read_cell_id
from tasks import TASKS


class SelectionError(ValueError):
    """An option names something that does not exist; the message has the nearest valid choices."""


@dataclass(frozen=True)
class Cell:
    """One row of the leaderboard: plain data."""

    task: str
    model: str
    recipe: str
    device: str
    seed: int

    @property
    def id(self) -> str:
        return f"{self.task}/{self.model}/{self.recipe}/{self.device}/s{self.seed}"

    @property
    def reference(self) -> Cell | None:
        """The cell that its ratios are against; None for the controls without a model."""
        return None if self.model == NO_MODEL else replace(self, recipe=reference_of(self.model))

    def to_json(self) -> dict[str, str | int]:
        return asdict(self)


def cell_of(name: str) -> Cell:
    """Read a cell's id.

    Raises:
        SelectionError: its task or model is not known.
    """
    cell = Cell(**read_cell_id(name))
    one_of("task", cell.task, TASKS)
    one_of("model", cell.model, [*MODELS, NO_MODEL])
    one_of("device", cell.device, DEVICES)
    return cell


@dataclass(frozen=True)
class Selection:
    """What the options say; an empty tuple means: as the profile says."""

    profile: str = "quick"
    tasks: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    recipes: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    ablate: bool = False
    """Add each recipe without each of its steps: what a step buys is measured, not subtracted."""


def reference_of(model: str) -> str:
    """Return the recipe that a model's ratios are against: a fine-tuned one is not trained again."""
    return AS_IS if model in MODELS and MODELS[model].head is not None else REFERENCE


def control_of(cell: Cell, control: str | None) -> str | None:
    """Return the recipe of a runtime's own fp32, as the cell's model starts it."""
    return control and str(_started(parsed(control), cell.model))


def _started(recipe: Recipe, model: str) -> Recipe:
    """Put `as-is` in the place of a leading `finetune` of a model that is fine-tuned already."""
    if reference_of(model) == AS_IS and isinstance(recipe.steps[0], Finetune):
        return Recipe((AsIs(), *recipe.steps[1:]))
    return recipe


def one_of(kind: str, name: str, known: Iterable[str]) -> str:
    """Return a valid name.

    Raises:
        SelectionError: it is not; the message names the nearest ones.
    """
    names = list(known)
    if name in names:
        return name
    close = difflib.get_close_matches(name, names, n=2)
    hint = f"; did you mean {' or '.join(map(repr, close))}?" if close else ";"
    raise SelectionError(f"unknown {kind} '{name}'{hint} {kind}s: {', '.join(names)}")


@lru_cache
def parsed(recipe: str) -> Recipe:
    """Parse a recipe, once for all the cells that have it."""
    return parse_recipe(recipe)


def select(selection: Selection) -> list[Cell]:
    """Return the cells, in the order in which they run: each group's reference first.

    Raises:
        SelectionError: an unknown task, model, device or profile, or a wrong recipe.
    """
    profile: Profile = PROFILES[one_of("profile", selection.profile, PROFILES)]
    tasks = [one_of("task", name, TASKS) for name in selection.tasks or profile.tasks]
    models = [
        one_of("model", name, [*MODELS, NO_MODEL]) for name in selection.models or profile.models
    ]
    devices = [one_of("device", name, DEVICES) for name in selection.devices or present()]
    chosen = {
        (task, model, device): _recipes(selection, profile.recipes_for(task, model, device))
        for task in tasks
        for model in models
        for device in devices
    }
    cells = {
        Cell(
            task,
            model if recipe.needs_model else NO_MODEL,
            str(_started(recipe, model)),
            device,
            seed,
        ): None
        for device in devices
        for seed in selection.seeds or profile.seeds
        for task in tasks
        for model in models
        for recipe in chosen[task, model, device]
        if recipe.needs_model or device == "cpu"
        if not (recipe.needs_model and model == NO_MODEL)
    }
    if not any(chosen.values()):
        raise SelectionError(
            f"profile '{selection.profile}' has no recipe for model {', '.join(models)} on task "
            f"{', '.join(tasks)}; say which with --recipe"
        )
    if not cells:
        recipes = dict.fromkeys(str(recipe) for of_model in chosen.values() for recipe in of_model)
        raise SelectionError(
            f"nothing to run: {', '.join(recipes)} on model {', '.join(models)} and "
            f"device {', '.join(devices)} makes no cell (controls without a model run on cpu alone)"
        )
    return list(cells)


def without_each_step(recipe: str) -> list[str]:
    """Return a recipe without its second step, without its third … as far as the rest still fits."""
    try:
        steps = parsed(recipe).steps
    except RecipeError as error:
        raise SelectionError(str(error)) from error
    shorter = []
    for left_out in range(1, len(steps)):
        rest = str(Recipe(steps[:left_out] + steps[left_out + 1 :]))
        with suppress(RecipeError):
            shorter.append(str(parsed(rest)))
    return shorter


def _recipes(selection: Selection, usual: Sequence[str]) -> list[Recipe]:
    texts = list(selection.recipes or usual)
    if selection.ablate:
        texts += [REFERENCE, *(left for text in texts for left in without_each_step(text))]
    try:
        recipes = {str(parsed(text)): parsed(text) for text in texts}
    except RecipeError as error:
        raise SelectionError(str(error)) from error
    return sorted(
        recipes.values(),
        key=lambda recipe: (recipe.needs_model, str(recipe) not in (REFERENCE, AS_IS)),
    )
