"""The same recipe and seed give the same bits, built twice from nothing on one machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.compressors.artifacts import made
from tests.conftest import empty_cache

RECIPES = (
    "finetune",
    "finetune:0",
    "student:2",
    "finetune+int8",
    "finetune+onnx-int8",
    "features+logistic",
    "tfidf-logistic",
    "static-embeddings+logistic",
    "lora:4",
    "finetune+distill:2",
    "finetune+distill-tiny:2",
    "finetune+distill-relations:2",
    "finetune+prune-ffn:0.5+heal",
    "finetune+prune-heads:0.5+svd:8+svd-embeddings:12",
    "finetune+prune-magnitude:0.5",
    "finetune+prune-wanda:0.5",
    "finetune+prune-movement:0.5",
    "finetune+prune-2of4",
    "finetune+int8-compiled",
    "finetune+qat-int8",
)


@pytest.fixture(scope="module")
def caches(own_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two caches of their own: the tests' store may have what a run trained, on more threads."""
    return [empty_cache(tmp_path_factory.mktemp(name)) for name in ("first", "again")]


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_same_seed_gives_the_same_bits(
    recipe: str, caches: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for cache in caches:
        monkeypatch.setenv("LEANBOARD_CACHE", str(cache))
        found.append(made(recipe))
    first, again = found
    assert first.folder.is_relative_to(caches[0])
    assert again.folder.is_relative_to(caches[1])
    assert first.sha256 == again.sha256
