"""What a user brings: models from folders or the hub, data from files, declared beside the built-in ones."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import models.own
import tasks.own
from benchmarks.extensions import OWN
from models import MODELS, NO_MODEL
from models.model import Model
from models.own import OwnModelError, is_own
from reports.records import write_atomically
from tasks import TASKS
from tasks.labels import LabelError, match
from tasks.own import OwnData
from tasks.task import Task, TaskError


class OwnError(ValueError):
    """What a user brought cannot be used; the message says what and why."""


@dataclass(frozen=True)
class Own:
    """A run's own models and task; all are in `MODELS` and `TASKS` once this exists."""

    models: tuple[str, ...] = ()
    """Every model of the run by name, own ones among them; empty: as the profile says."""
    tasks: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    """What was guessed, dropped and made, a sentence each."""
    declarations: tuple[dict[str, Any], ...] = ()
    """From which a worker declares the same."""

    @classmethod
    def declare(
        cls,
        names: Sequence[str],
        chosen: Sequence[str],
        data: OwnData | None,
        usual: Sequence[str] = (),
    ) -> Self:
        """Declare what the options bring.

        Args:
            names: what `--model` says: names, folders, hub ids.
            chosen: what `--task` says.
            usual: the tasks of the profile, which run where neither `--task` nor data are given.

        Raises:
            OwnError: a folder is no saved model, data cannot be used, or one does not fit the other.
        """
        known, declarations, notes = [], [], []
        try:
            for name in names:
                if not is_brought(name):
                    known.append(name)
                    continue
                model = models.own.own_model(name, {*MODELS, NO_MODEL})
                MODELS[model.name] = model
                known.append(model.name)
                declarations.append({"model": models.own.to_json(model)})
                notes += _about(model)
            if data is None:
                chosen_tasks = tuple(chosen)
            else:
                task, said = _own_task(data, [MODELS[n] for n in known if n in MODELS])
                TASKS[task.name] = task
                declarations.append({"task": tasks.own.to_json(task)})
                notes += [f"{task.name}: {sentence}" for sentence in said]
                chosen_tasks = (*chosen, task.name)
        except (OwnModelError, TaskError) as error:
            raise OwnError(str(error)) from error
        for model in (MODELS[name] for name in known if name in MODELS):
            for task in (TASKS[name] for name in chosen_tasks or usual if name in TASKS):
                _check_fit(model, task)
        return cls(tuple(known), chosen_tasks, tuple(notes), tuple(declarations))

    @classmethod
    def again(cls, folder: Path) -> Self:
        """Declare what a run was begun with.

        Raises:
            OwnError: the run's file of it is damaged.
        """
        if not (folder / OWN).exists():
            return cls()
        try:
            load(folder / OWN)
            return cls(declarations=tuple(json.loads((folder / OWN).read_text(encoding="utf-8"))))
        except (ValueError, KeyError, TypeError) as error:
            raise OwnError(f"--resume: {folder / OWN} is damaged ({error})") from None

    def check_same(self, folder: Path) -> None:
        """Refuse to go on with a run of other data, or of another model.

        Raises:
            OwnError: what has this name now is not what the run began with.
        """
        if not (folder / OWN).exists():
            return
        then = dict(map(_identity, json.loads((folder / OWN).read_text(encoding="utf-8"))))
        for (kind, name), now in map(_identity, self.declarations):
            if then.get((kind, name), now) != now:
                raise OwnError(
                    f"--resume: {folder.name} was made with another {kind} '{name}': its files have "
                    "changed since; start without --resume"
                )

    def write(self, folder: Path) -> Path | None:
        """Write the declarations for the workers of a run; None if there are none."""
        if not self.declarations:
            return None
        text = json.dumps(self.declarations, indent=1, ensure_ascii=False)
        write_atomically(folder / OWN, text)
        return folder / OWN


def is_brought(model: str) -> bool:
    """Say whether a `--model` is a user's own: no name that is known, but a path or a hub id."""
    return model not in MODELS and is_own(model)


def load(file: Path) -> None:
    """Declare in this process what `Own.write` wrote."""
    for declaration in json.loads(file.read_text(encoding="utf-8")):
        if "model" in declaration:
            model = models.own.from_json(declaration["model"])
            MODELS[model.name] = model
        else:
            task = tasks.own.from_json(declaration["task"])
            TASKS[task.name] = task


def _identity(declaration: dict[str, Any]) -> tuple[tuple[str, str], str]:
    ((kind, said),) = declaration.items()
    said = said.get("declared", said)
    return (kind, said["name"]), said["revision" if kind == "model" else "data_sha256"]


def _about(model: Model) -> list[str]:
    if model.head is None:
        return [f"{model.name}: an encoder without a fine-tuned head; 'finetune' trains one"]
    outputs = ", ".join(model.head[:6]) + (" …" if len(model.head) > 6 else "")
    return [
        f"{model.name}: fine-tuned already (outputs: {outputs}); 'as-is' takes the place of "
        "'finetune' and is the reference"
    ]


def _own_task(data: OwnData, given: Sequence[Model]) -> tuple[Task, list[str]]:
    """Declare the data for the models that read them: their label names, their longest input."""
    tuned = next((model for model in given if model.head is not None), None)
    own = replace(data, head=tuned.head if tuned else None)
    task, said = tasks.own.declare(own, TASKS)
    shortest = min((m.max_tokens for m in given if m.max_tokens), default=task.max_tokens)
    if data.max_tokens is None and shortest < task.max_tokens:
        task = replace(task, max_tokens=shortest)
        said.append(f"texts are cut at {shortest} tokens: the model reads no more")
    if tuned and data.test_data is None:
        said.append(
            f"rows that {tuned.name} was trained on may be in the test split: give those that it "
            "has not seen as --test-data"
        )
    return task, said


def _check_fit(model: Model, task: Task) -> None:
    """Refuse a model whose head or length does not fit a task."""
    if model.max_tokens is not None and task.max_tokens > model.max_tokens:
        raise OwnError(
            f"{model.name} reads at most {model.max_tokens} tokens, and '{task.name}' cuts at "
            f"{task.max_tokens}"
        )
    if model.head is None:
        return
    if len(model.head) != (len(task.labels) or 1):
        raise OwnError(
            f"{model.name} has {len(model.head)} outputs ({', '.join(model.head[:6])}), and "
            f"'{task.name}' has {len(task.labels) or 'one value and no'} labels"
        )
    try:
        match(task.labels, model.head)
    except LabelError as error:
        raise OwnError(f"{model.name} on '{task.name}': {error}") from error
