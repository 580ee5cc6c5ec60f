"""What is recommended fits the model, and its figures are those of a measurement."""

from __future__ import annotations

from benchmarks.profiles import PROFILES
from benchmarks.recommended import RECOMMENDED
from compressors.recipe import parse_recipe
from models import MODELS
from tasks import TASKS


def test_every_recommended_chain_can_be_built() -> None:
    for (task, model), choices in RECOMMENDED.items():
        assert task in TASKS
        assert 3 <= len(choices) <= 7
        for choice in choices:
            parse_recipe(choice.recipe).plan(MODELS[model], "cpu")
            assert choice.recipe in PROFILES["recommended"].recipes


def test_no_choice_is_beaten_by_another() -> None:
    """Each is the best in quality on validation, size or speed among those that keep as much."""
    for choices in RECOMMENDED.values():
        for choice in choices:
            assert choice.why
            assert 0.9 < choice.validation_kept < 1.1
            assert not any(
                other.validation_kept >= choice.validation_kept
                and other.size_ratio >= choice.size_ratio
                and other.speedup >= choice.speedup
                for other in choices
                if other is not choice
            )
