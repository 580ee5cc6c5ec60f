"""What is recommended can be built, and is worth it by its own figures."""

from __future__ import annotations

import pytest

from benchmarks.matrix import parsed
from benchmarks.profiles import PROFILES
from benchmarks.recommended import RECOMMENDED, Measured
from models import MODELS
from tasks import TASKS


@pytest.mark.parametrize("measured", RECOMMENDED, ids=lambda found: f"{found.task}/{found.model}")
def test_every_chain_can_be_built_and_is_in_the_profile(measured: Measured) -> None:
    assert measured.task in TASKS
    profile = PROFILES["recommended"]
    for choice in measured.choices:
        parsed(choice.recipe).plan(MODELS[measured.model], "cpu")
        assert choice.recipe in profile.recipes_for(measured.task, measured.model, "cpu")
    assert measured.task in profile.tasks
    assert measured.model in profile.models


@pytest.mark.parametrize("measured", RECOMMENDED, ids=lambda found: f"{found.task}/{found.model}")
def test_no_choice_is_beaten_by_another_that_needs_no_more(measured: Measured) -> None:
    assert measured.seeds >= 3
    for one in measured.choices:
        assert one.test_kept_low < one.test_kept
        for other in measured.choices:
            mine, theirs = (
                (c.validation_kept, c.size_ratio, c.speedup, -c.build_seconds) for c in (one, other)
            )
            if one != other and extras(other.recipe) <= extras(one.recipe):
                assert not all(b >= a for a, b in zip(mine, theirs, strict=True))


def extras(recipe: str) -> set[str]:
    """Return the extras that must be installed to build a chain."""
    return {extra for step in parsed(recipe).steps for extra in step.extras.values()}
