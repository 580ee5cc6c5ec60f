"""Fixtures of the tests: a cache of their own beside the downloaded assets, and whole runs of pytest."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks.assets import Asset, cache_folder, fetch
from tasks.task import Splits

ROOT = Path(__file__).parent.parent
TINY = ROOT / "tests" / "tiny.py"
CRASHING = ROOT / "tests" / "benchmarks" / "crashing.py"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with a long file that would come last: of two processes neither then waits for the other."""
    items.sort(key=lambda item: item.path.name != "test_examples.py")


def assets() -> tuple[Asset, ...]:
    from models.assets import MINILM
    from tasks.bbc import BBC_NEWS
    from tasks.sentences import VADER

    return MINILM, VADER, BBC_NEWS


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep what tests build apart from the user's store; assets are shared."""
    for asset in assets():
        fetch(asset)
    shared = cache_folder() / "assets"
    folder = tmp_path_factory.mktemp("cache")
    (folder / "assets").symlink_to(shared)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LEANBOARD_CACHE", str(folder))
        patch.setenv("TOKENIZERS_PARALLELISM", "false")
        patch.delenv("PYTEST_XDIST_WORKER", raising=False)
        patch.delenv("PYTEST_ADDOPTS", raising=False)
        from benchmarks.extensions import load

        load([TINY])
        yield folder


def empty_cache(folder: Path) -> Path:
    """Make a cache that has the downloaded assets and nothing else."""
    (folder / "assets").symlink_to(cache_folder() / "assets")
    return folder


@pytest.fixture
def forget(own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Leave the store behind when called: what is asked for again is built again."""

    def go() -> None:
        monkeypatch.setenv("LEANBOARD_CACHE", str(empty_cache(tmp_path)))

    return go


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> str:
    """A small regression task, by its name: the first sentences of each split of `valence`."""
    from tasks import TASKS

    valence = TASKS["valence"]

    def read() -> Splits:
        return {name: examples[:96] for name, examples in valence.splits().items()}

    task = replace(valence, name="few", read=read, sizes={}, data_sha256=None)
    monkeypatch.setitem(TASKS, task.name, task)
    return task.name


@pytest.fixture(scope="session")
def tuned(own_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that `save_pretrained` wrote: a narrow BERT with a head, `positive` its first output."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    from models.assets import MINILM, write_tokenizer
    from tasks.assets import fetch

    folder = tmp_path_factory.mktemp("user") / "my-model"
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=30522,
        hidden_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=96,
        id2label={0: "positive", 1: "negative"},
        label2id={"positive": 0, "negative": 1},
        initializer_range=0.2,
    )
    BertForSequenceClassification(config).eval().save_pretrained(folder)
    write_tokenizer(fetch(MINILM), folder)
    return folder


@pytest.fixture(scope="session")
def reviews(own_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CSV file of film reviews, one of them hostile."""
    from tasks import TASKS

    examples = TASKS["movies"].splits()["test"][:400]
    file = tmp_path_factory.mktemp("user") / "reviews.csv"
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["review", "stars"])
        writer.writerow(["<script>document.title='run'</script> dull", "negative"])
        writer.writerows((e.text, ("negative", "positive")[int(e.label or 0)]) for e in examples)
    return file


@pytest.fixture(scope="session")
def own_run(tuned: Path, reviews: Path, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """A run of a user's own model on a user's own data."""
    output = tmp_path_factory.mktemp("own")
    compressed = ("int8", "bf16", "onnx-int8", "openvino", "prune-heads:0.5")
    recipes = ",".join(["tfidf-logistic", "finetune", *(f"finetune+{c}" for c in compressed)])
    options = ["--model", str(tuned), f"--data={reviews}", "--recipe", recipes]
    command = [sys.executable, "-m", "pytest", "benchmarks/", "--output", str(output), *options]
    return Outcome(
        output,
        subprocess.run(
            [*command, "--profile", "smoke"], cwd=ROOT, capture_output=True, text=True, check=False
        ),
    )


class Outcome:
    """What a run of `pytest benchmarks/` left."""

    def __init__(self, folder: Path, done: subprocess.CompletedProcess[str]) -> None:
        self.output, self.status, self.text = folder, done.returncode, done.stdout + done.stderr

    @property
    def folder(self) -> Path:
        return (self.output / "latest").resolve()

    @property
    def rows(self) -> dict[str, dict[str, Any]]:
        """Rows by recipe."""
        board = json.loads((self.folder / "leaderboard.json").read_text())
        return {row["recipe"]: row for row in board["rows"]}

    @property
    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "records.jsonl").open()]


Bench = Callable[..., Outcome]


def command(output: Path, *options: str) -> list[str]:
    """Return the command line of a run on the tiny task."""
    chosen = ["--extension", str(TINY), "--task", "tiny", "--output", str(output)]
    if not any(option.startswith("--model") for option in options):
        chosen += ["--model", "tiny-bert"]
    if not any(option.startswith("--device") for option in options):
        chosen += ["--device", "cpu"]
    return [sys.executable, "-m", "pytest", "benchmarks/", *chosen, *options]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """Run `pytest benchmarks/` on the tiny task, as a user does."""

    def run(*options: str, **environment: str) -> Outcome:
        output = tmp_path / "output"
        done = subprocess.run(
            command(output, *options),
            cwd=ROOT,
            env=os.environ | environment,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        return Outcome(output, done)

    return run
