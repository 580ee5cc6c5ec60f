"""What every cell of a task is asked: the texts whose answers are scored, and those that are timed."""

from __future__ import annotations

from typing import NamedTuple

from benchmarks.profiles import Profile
from tasks.task import Example, Task

SINGLES = 12
BATCH_SIZE = 32
VALIDATION = "validation"


class Requests(NamedTuple):
    """What is timed: real test texts at their real lengths, fixed for a task."""

    single: list[str]
    """Texts asked one by one, spread over the quantiles of length."""
    batch: list[str]
    """Texts asked 32 at a time, as they come."""


def requests_of(texts: list[str]) -> Requests:
    """Choose requests from the test texts: the same ones every time."""
    by_length = sorted(texts, key=lambda text: (len(text), text))
    count = min(SINGLES, len(texts))
    single = [by_length[(2 * i + 1) * len(texts) // (2 * count)] for i in range(count)]
    return Requests(single, texts[:BATCH_SIZE])


def evaluated(task: Task, profile: Profile) -> dict[str, list[Example]]:
    """Return the splits that are predicted: test, shifted ones, and validation if the profile says so."""
    splits = task.splits()
    chosen = {"test": splits["test"]}
    if profile.validation and splits.get(VALIDATION):
        chosen[VALIDATION] = splits[VALIDATION]
    return chosen | {name: splits[name][: profile.shifted_cap] for name in task.shifted}
