"""What loading an artifact costs beside its own weights."""

from __future__ import annotations

import subprocess
import sys

import pytest

from models.predictors import modules_of
from tests.compressors.artifacts import made
from tests.conftest import ROOT

CODE = """
import importlib, sys
from pathlib import Path
from models.artifact import read_manifest
from models.predictors import load_predictor, modules_of
artifact = read_manifest(Path(sys.argv[1]))
for name in modules_of(artifact):
    importlib.import_module(name)
before = set(sys.modules)
load_predictor(artifact, "cpu", 1).predict(["a film"])
print(sorted(name for name in set(sys.modules) - before if name.startswith("transformers.models.")))
print(sum(name.startswith("transformers.") for name in set(sys.modules) - before))
"""


@pytest.mark.parametrize("recipe", ["finetune", "features+logistic", "finetune+onnx-int8"])
def test_the_libraries_are_imported_before_memory_is_counted(recipe: str) -> None:
    artifact = made(recipe)
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(artifact.folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    architectures, others = done.stdout.split("\n")[:2]
    assert architectures == "[]"
    assert int(others) <= 3


def test_the_architecture_is_the_files() -> None:
    assert "transformers.models.bert.modeling_bert" in modules_of(made("finetune"))
    assert not any("transformers" in name for name in modules_of(made("finetune+onnx")))
