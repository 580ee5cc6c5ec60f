"""Profiles and recommended chains are plain data: every name in them exists and fits."""

from __future__ import annotations

import pytest

from benchmarks.matrix import Selection, parsed, select
from benchmarks.profiles import PROFILES
from benchmarks.recommended import RECOMMENDED
from models import MODELS
from tasks import TASKS


@pytest.mark.parametrize("profile", PROFILES)
def test_every_recipe_of_a_profile_fits_its_models(profile: str) -> None:
    cells = select(Selection(profile=profile, devices=("cpu",)))
    assert len(cells) == len(set(cells))
    for cell in cells:
        parsed(cell.recipe).plan(MODELS.get(cell.model), cell.device)


def test_recommended_chains_come_with_the_measurement_that_chose_them() -> None:
    for (task, model), choices in RECOMMENDED.items():
        assert task in TASKS
        assert model in MODELS
        for choice in choices:
            assert str(parsed(choice.recipe)) == choice.recipe
            assert choice.validation_kept > 0.9
            assert choice.machine
