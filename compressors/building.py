"""Building a recipe's artifact, step by step, through the store."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from compressors.recipe import Recipe, parse_recipe
from compressors.step import NOTHING, PRETRAINED, Step, teaching
from compressors.workbench import Workbench
from models import MODELS, NO_MODEL
from models.artifact import Artifact, seal
from models.model import Model
from models.process_memory import peak_bytes, reset_peak
from models.store import Store
from models.training import bf16_is_fast
from tasks import TASKS
from tasks.task import Task

Progress = Callable[[float, str], None]


class StepFailed(RuntimeError):
    """A step raised; the message names it, the cause has its traceback."""


def library_versions(names: tuple[str, ...]) -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in names}


def _hash(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def base_key(model: Model, task: Task) -> str:
    return _hash("base", model.name, model.revision, *(["pairs"] if task.pairs else []))


def step_keys(recipe: Recipe, model: Model | None, task: Task, seed: int, device: str) -> list[str]:
    """Return the store's key of the artifact after each step.

    A key depends on all that one chooses: the model's pinned revision, the data and where texts are
    cut, the seed, the device, and each step's parameters, code version and libraries. What the
    machine adds, its threads among it, can move the last bits of a trained network; the lineage
    has it, and the same file is timed with one thread and with two.
    """
    # A head that is fine-tuned already is matched with the labels by their names.
    names = list(task.labels) if model and model.head is not None else []
    key = _hash(
        base_key(model, task) if model else NOTHING,
        task.name,
        task.data_hash(),
        task.max_tokens,
        seed,
        device,
        *names,
    )
    keys = []
    steps = recipe.built.steps
    for index, step in enumerate(steps):
        others = [
            step_keys(read, its_model, task, its_seed, device)[-1]
            for read, its_model, its_seed in _read_by(step, steps[:index], model, seed)
        ]
        key = _hash(key, _fingerprint(step), *others)
        keys.append(key)
    return keys


def _read_by(
    step: Step, before: tuple[Step, ...], model: Model | None, seed: int
) -> list[tuple[Recipe, Model | None, int]]:
    """Return recipe, model and seed of each other artifact that a step reads."""
    read = Recipe(step.other_source(before))
    of = MODELS[step.other_model] if step.other_model else model
    return [(read, of, another_seed(seed, more)) for more in step.other_seeds if read.steps]


def _fingerprint(step: Step) -> list[Any]:
    versions = library_versions(step.libraries)
    return [step.name, asdict(step), step.version, versions, *step.pins()]


def find(
    recipe: Recipe, model: str, task: Task, seed: int, device: str, store: Store
) -> Path | None:
    """Return the folder of an artifact that the store already has."""
    source = None if model == NO_MODEL else MODELS[model]
    key = step_keys(recipe, source, task, seed, device)[-1]
    return store.folder(key) if store.has(key) else None


@dataclass(frozen=True)
class Job:
    """What is the same for all steps of a build."""

    model: Model | None
    task: Task
    seed: int
    device: str
    threads: int
    progress: Progress
    store: Store


def build(
    recipe: str, model: str, task: str, seed: int, device: str, threads: int, progress: Progress
) -> str:
    """Build what is missing of a recipe, and return the folder of its artifact.

    Raises:
        StepFailed: a step raised.
    """
    # Kernels are made for a shape: texts of 70 lengths in layers of uneven widths have more shapes
    # than oneDNN keeps by default (1,024), and making them anew takes a quarter of a training step.
    os.environ["ONEDNN_PRIMITIVE_CACHE_CAPACITY"] = "4096"
    import torch

    torch.set_num_threads(threads)
    source = None if model == NO_MODEL else MODELS[model]
    job = Job(source, TASKS[task], seed, device, threads, progress, Store())
    return str(_build(parse_recipe(recipe).built, job).folder)


def _build(recipe: Recipe, job: Job) -> Artifact:
    steps = recipe.steps
    keys = step_keys(recipe, job.model, job.task, job.seed, job.device)
    artifact = _base(job.model, job.task, job.store) if job.model else None
    if artifact:
        _refuse(steps, keys, artifact, job)
    teacher: Artifact | None = None
    for index, (step, key) in enumerate(zip(steps, keys, strict=True)):
        prefix = str(Recipe(steps[: index + 1]))

        def make(
            folder: Path,
            step: Step = step,
            parent: Artifact | None = artifact,
            teacher: Artifact | None = teacher,
            before: tuple[Step, ...] = steps[:index],
            prefix: str = prefix,
        ) -> None:
            others = _others(step, before, job, prefix)
            tutors = tuple(
                tutor
                for index, earlier in enumerate(before)
                if earlier.others_teach and step.learns
                for tutor in _others(earlier, before[:index], job, prefix)
            )
            job.progress(0.0, prefix)  # what fails from here on is this step
            bench = Workbench(
                job.task,
                job.seed,
                job.device,
                job.threads,
                folder,
                lambda f, w: job.progress(f, f"{prefix}: {w}"),
                teacher,
                others,
                tutors,
            )
            _apply(step, parent, bench, job.model.name if job.model else NO_MODEL, prefix)

        job.progress(0.0, prefix)
        made = job.store.build(key, make)
        if index + 1 == len(teaching(steps)):
            teacher = made
        artifact = made
    assert artifact
    return artifact


def _others(step: Step, before: tuple[Step, ...], job: Job, prefix: str) -> tuple[Artifact, ...]:
    """Build what a step reads.

    What fails in it of another seed or model has failed in the step: the recipe's own network of
    that name may be whole.

    Raises:
        StepFailed: it cannot be built.
    """

    def told(share: float, what: str) -> None:
        job.progress(share, f"{prefix}: {what}")

    made = []
    for read, model, seed in _read_by(step, before, job.model, job.seed):
        same = (model, seed) == (job.model, job.seed)
        its = job if same else replace(job, model=model, seed=seed, progress=told)
        try:
            made.append(_build(read.built, its))
        except StepFailed as error:
            if same:
                raise
            whose = f"{model.name if model else NO_MODEL} of seed {seed}"
            raise StepFailed(f"{step}: {whose}: {error}") from error
    return tuple(made)


def another_seed(seed: int, more: int) -> int:
    """Add to a seed, within what NumPy takes."""
    return (seed + more) % 2**32


def _refuse(steps: tuple[Step, ...], keys: list[str], start: Artifact, job: Job) -> None:
    for end, (step, key) in enumerate(zip(steps, keys, strict=True), 1):
        if step.becomes:
            start = _base(MODELS[step.becomes], job.task, job.store)
        if not job.store.has(key):
            job.progress(0.0, str(Recipe(steps[:end])))  # what fails from here on is this step
            with _named(step):
                step.refuse(start)


def _base(model: Model, task: Task, store: Store) -> Artifact:
    """Put the pretrained model itself in the store."""

    def make(folder: Path) -> None:
        model.start(folder, task.pairs)
        facts = {
            "format": PRETRAINED,
            "model": model.name,
            "recipe": "",
            "shape": model.shape.to_json(),
            "lineage": [],
        }
        seal(folder, facts)

    return store.build(base_key(model, task), make)


def _root(error: BaseException) -> BaseException:
    """Return what a library's error was raised from: exporters and compilers wrap what they do not know.

    An error of ours says itself what is wrong.
    """
    ours = ("compressors", "models", "tasks")
    while error.__cause__ is not None and type(error).__module__.partition(".")[0] not in ours:
        error = error.__cause__
    return error


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), "")


@contextmanager
def _named(step: Step) -> Iterator[None]:
    try:
        yield
    except OSError:
        raise  # the store says what is wrong with the disk
    except Exception as error:
        root = _root(error)
        raise StepFailed(f"{step}: {type(root).__name__}: {_first_line(root)}") from error


def _apply(step: Step, parent: Artifact | None, bench: Workbench, model: str, prefix: str) -> None:
    reset_peak()
    started = time.perf_counter()
    with _named(step):
        made = step.apply(parent, bench)
    cost = {
        "step": str(step),
        "model": model,
        "family": step.family,
        "seconds": round(time.perf_counter() - started, 3),
        "peak_bytes": peak_bytes(),
        "seed": bench.seed,
        "device": bench.device,
        "threads": bench.threads,
        "bf16": bf16_is_fast(bench.device) if "torch" in step.libraries else None,
        "parent": parent.sha256 if parent else None,
        "others": [other.sha256 for other in (*bench.others, *bench.tutors)],
        "versions": library_versions(step.libraries),
    }
    lineage = list(parent.lineage) if parent else []
    for other in bench.others:
        lineage += [step for step in other.lineage if step not in lineage]
    task = bench.task
    seal(
        bench.folder,
        made.manifest
        | {
            "task": task.name,
            "kind": task.kind,
            "labels": list(task.labels),
            "metric": task.metric,
            "data_sha256": task.data_hash(),
            "model": model,
            "recipe": prefix,
            "seed": bench.seed,
            "lineage": [*lineage, cost],
        },
        tuple(f["name"] for f in made.manifest["files"] if not f["needed"]),
    )
