"""What comes from elsewhere is used, or refused in words: recipes, records, artifacts of a stranger."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import struct
import warnings
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compressors import STEPS
from compressors.recipe import RecipeError, parse_recipe
from models.artifact import Artifact, ArtifactError, open_artifact, seal
from models.predictors import load_predictor
from reports.leaderboard import rows
from reports.records import RECORDS, RUN, RecordError, read_run
from reports.tables import csv_text, markdown, terminal
from tests.reports.made import make_run

# ---- recipes

VALUE = st.one_of(
    st.just(""),
    st.integers().map(str),
    st.floats().map(str),
    st.text(max_size=6),
)
STEP = st.tuples(st.sampled_from([*STEPS, "finetun", ""]), st.sampled_from(["", ":"]), VALUE)
RECIPE = st.one_of(
    st.text(max_size=40),
    st.lists(STEP.map("".join), min_size=1, max_size=4).map("+".join),
)


@settings(max_examples=500, deadline=None)
@given(RECIPE)
def test_any_text_is_a_recipe_or_refused_in_words(text: str) -> None:
    try:
        recipe = parse_recipe(text)
    except RecipeError:
        return
    assert str(parse_recipe(str(recipe))) == str(recipe)
    assert "/" not in str(recipe)


# ---- records

JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "made", 2)


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_any_record_is_reported_or_refused_in_words(
    run_folder: Path, tmp_path: Path, data: st.DataObject
) -> None:
    """One value anywhere in a record is replaced by any other."""
    lines = (run_folder / RECORDS).read_text().splitlines()
    number = data.draw(st.integers(0, len(lines) - 1))
    record = json.loads(lines[number])
    place: Any = record
    while True:
        key = data.draw(st.sampled_from(sorted(place)))
        if isinstance(place[key], dict) and place[key] and data.draw(st.booleans()):
            place = place[key]
            continue
        place[key] = data.draw(JSON)
        break
    lines[number] = json.dumps(record)
    (tmp_path / RECORDS).write_text("\n".join(lines))
    (tmp_path / RUN).write_bytes((run_folder / RUN).read_bytes())
    try:
        run = read_run(tmp_path)
        table = rows(run)
    except RecordError:
        return
    terminal(table, run.info), markdown(table, run.info), csv_text(table)


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(line=st.one_of(JSON.map(json.dumps), st.text(max_size=30)))
def test_any_line_is_no_traceback(run_folder: Path, tmp_path: Path, line: str) -> None:
    (tmp_path / RECORDS).write_text(f"{line}\n", encoding="utf-8", errors="replace")
    (tmp_path / RUN).write_bytes((run_folder / RUN).read_bytes())
    with warnings.catch_warnings(), contextlib.suppress(RecordError):
        warnings.simplefilter("ignore")
        read_run(tmp_path)


# ---- artifacts


def stranger(folder: Path, format: str) -> Artifact:
    """Seal whatever is in a folder: a stranger's manifest agrees with a stranger's files."""
    facts = {"format": format, "lineage": [], "outputs": 2, "max_tokens": 16, "pad_id": 0}
    return seal(folder, facts | {"labels": ["a", "b"], "shape": {"layers": 1, "hidden": 4}})


def tokenizer(folder: Path) -> None:
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel

    Tokenizer(WordLevel({"[UNK]": 0, "a": 1}, "[UNK]")).save(str(folder / "tokenizer.json"))


class Bomb:
    """Would leave a file behind if anybody unpickled it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_a_renamed_pickle_is_not_opened(tmp_path: Path) -> None:
    folder = tmp_path / "artifact"
    folder.mkdir()
    (folder / "head.safetensors").write_bytes(pickle.dumps(Bomb(tmp_path / "exploded")))
    stranger(folder, "linear")
    with pytest.raises(Exception, match=r"(?i)header|safetensor"):
        load_predictor(folder, "cpu", 1)
    assert not (tmp_path / "exploded").exists()


def test_a_tensor_that_claims_100_gigabytes_is_refused_without_taking_them(tmp_path: Path) -> None:
    header = json.dumps(
        {"coef": {"dtype": "F32", "shape": [5, 5 * 10**9], "data_offsets": [0, 10**11]}}
    ).encode()
    (tmp_path / "head.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + b"0" * 64)
    stranger(tmp_path, "linear")
    with pytest.raises(Exception, match=r"(?i)header|offset|incomplete|buffer"):
        load_predictor(tmp_path, "cpu", 1)


def test_weights_of_an_onnx_graph_outside_of_its_folder_are_not_read(tmp_path: Path) -> None:
    import numpy as np
    import onnx
    from onnx import TensorProto, helper

    folder = tmp_path / "artifact"
    folder.mkdir()
    (tmp_path / "secret.bin").write_bytes(np.ones(2, np.float32).tobytes())
    weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2])
    weight.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "../secret.bin"), ("offset", "0"), ("length", "8")):
        weight.external_data.add(key=key, value=value)
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["b", "t"])
        for name in ("input_ids", "attention_mask")
    ]
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [2])]
    node = helper.make_node("Identity", ["w"], ["logits"])
    graph = helper.make_graph([node], "g", inputs, outputs, initializer=[weight])
    opset = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=8)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    tokenizer(folder)
    stranger(folder, "onnx")
    with pytest.raises(Exception, match=r"(?i)external|escape|outside"):
        load_predictor(folder, "cpu", 1)
    with pytest.raises(Exception, match=r"(?i)outside|external|directory"):
        onnx.load(folder / "model.onnx")


@pytest.mark.parametrize("name", ["../manifest.json", "/etc/passwd", "a/../../b"])
def test_a_manifest_that_points_out_of_its_folder_is_refused(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "artifact"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(b"x")
    artifact = stranger(folder, "onnx")
    artifact.manifest["files"][0]["name"] = name
    (folder / "manifest.json").write_text(json.dumps(artifact.manifest))
    with pytest.raises(ArtifactError, match="points out of the folder"):
        open_artifact(folder)


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_any_manifest_is_opened_or_refused_in_words(tmp_path: Path, data: st.DataObject) -> None:
    folder = tmp_path / "artifact"
    folder.mkdir(exist_ok=True)
    (folder / "manifest.json").unlink(missing_ok=True)
    (folder / "model.onnx").write_bytes(b"x")
    manifest = dict(stranger(folder, "onnx").manifest)
    place: Any = data.draw(st.sampled_from([manifest, manifest["files"][0]]))
    place[data.draw(st.sampled_from(sorted(place)))] = data.draw(JSON)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with contextlib.suppress(ArtifactError):
        open_artifact(folder)
