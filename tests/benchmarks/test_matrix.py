"""Profiles are plain data: every name in them exists and fits."""

from __future__ import annotations

from collections import Counter

import pytest

from benchmarks.devices import DEVICES
from benchmarks.matrix import Selection, parsed, select
from benchmarks.profiles import CONTROLS, PROFILES
from models import MODELS, NO_MODEL
from tasks import TASKS


@pytest.mark.parametrize("profile", PROFILES)
def test_every_recipe_of_a_profile_fits_its_models(profile: str) -> None:
    cells = select(Selection(profile=profile, devices=("cpu",)))
    assert len(cells) == len(set(cells))
    for cell in cells:
        parsed(cell.recipe).plan(MODELS.get(cell.model), cell.device)


def test_quick_looks_at_three_models_from_eight_sides_and_mpnet_is_for_longer_runs() -> None:
    cells = select(Selection(profile="quick", devices=("cpu",)))
    recipes = Counter(cell.model for cell in cells if cell.model != NO_MODEL)
    assert len(recipes) >= 3
    assert min(recipes.values()) >= 8
    assert {cell.recipe for cell in cells} >= set(CONTROLS)
    large = {name for name, profile in PROFILES.items() if "mpnet-base" in profile.models}
    assert large == {"full", "recommended"}
    assert {
        cell.task
        for cell in select(Selection(profile="recommended", devices=("cpu",)))
        if cell.model == "mpnet-base"
    } == {"movies"}


def test_devices_that_are_not_there_are_not_collected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DEVICES, "cuda", lambda: "no GPU")
    monkeypatch.setitem(DEVICES, "mps", lambda: "no Apple silicon")
    assert {cell.device for cell in select(Selection(profile="quick"))} == {"cpu"}
    asked = select(Selection(profile="quick", devices=("cuda",)))
    assert {cell.device for cell in asked} == {"cuda"}


def test_quick_needs_no_extra() -> None:
    for cell in select(Selection(profile="quick", devices=("cpu",))):
        assert not [step for step in parsed(cell.recipe).steps if step.extras], cell.recipe


@pytest.mark.parametrize(
    ("profile", "device"), [("quick", "cuda"), ("full", "cuda"), ("full", "mps")]
)
def test_a_gpu_runs_its_own_methods_beside(profile: str, device: str) -> None:
    chosen = PROFILES[profile].recipes_on[device]
    assert "finetune+fp16" in chosen
    cells = [c for c in select(Selection(profile, devices=("cpu", device))) if c.recipe in chosen]
    assert {cell.device for cell in cells} == {device}
    assert {cell.model for cell in cells} == set(PROFILES[profile].models)
    for cell in cells:
        assert parsed(cell.recipe).plan(MODELS[cell.model], device, TASKS[cell.task].kind)
