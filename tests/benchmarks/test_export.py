"""An exported row opens with the libraries of its format alone, and gives the logits that were scored."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import own
from benchmarks.command import main
from benchmarks.export_command import ExportError, export
from benchmarks.extensions import OWN
from benchmarks.measures.requests import requests_of
from benchmarks.shipping import SHIPPED
from compressors.building import build
from compressors.recipe import parse_recipe
from models import NO_MODEL
from models.artifact import open_artifact, seal
from models.predictors import RUNTIMES, load_predictor, pytorch
from models.store import Store
from reports.leaderboard import rows
from reports.records import read_run
from tasks import TASKS
from tests.conftest import Outcome
from tests.reports.made import make_run

ALONE = """
import importlib.util, json, sys
sys.path[:] = [p for p in sys.path if not {root!r} in p]
sys.meta_path[:] = [f for f in sys.meta_path if "editable" not in repr(f)]
ours = ("benchmarks", "compressors", "models", "reports", "tasks")
sys.modules["torchao"] = None
assert not any(importlib.util.find_spec(name) for name in ours)
answers = []
for text in json.load(open({texts!r})):
    texts = [text]
{code}
    answers.append(logits.tolist()[0])
print(json.dumps(answers))
"""


def of_card(folder: Path) -> str:
    """Return the code that the model card shows."""
    (code,) = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    return str(code)


def opened(folder: Path, texts: list[str], code: str, most: int = 8) -> np.ndarray:
    """Run code in a process without Leanboard and torchao, text by text: logits [texts, outputs]."""
    assert len([line for line in code.splitlines() if line]) <= most
    given = folder.parent / "texts.json"
    given.write_text(json.dumps(texts))
    script = ALONE.format(
        root="leanboard",
        texts=str(given),
        code="\n".join(f"    {line}" for line in code.splitlines()),
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", script],
        cwd=folder,
        env=os.environ
        | {"TORCHDYNAMO_DISABLE": "1"},  # the program as it is: compiling is PyTorch's
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return np.array(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    ("recipe", "files"),
    [
        ("as-is", {"config.json", "model.safetensors"}),
        ("as-is+bf16", {"config.json", "model.safetensors"}),
        ("as-is+prune-heads:0.5", {"model.onnx"}),
        ("as-is+onnx-int8", {"model.onnx"}),
        ("as-is+openvino", {"openvino.xml", "openvino.bin"}),
    ],
)
def test_an_exported_row_gives_the_measured_logits_without_leanboard(
    own_run: Outcome, tmp_path: Path, recipe: str, files: set[str]
) -> None:
    if "openvino" in recipe and importlib.util.find_spec("openvino") is None:
        pytest.skip("openvino is not installed")
    target = tmp_path / "shipped"
    assert main(["export", str(own_run.folder), recipe, str(target)]) == 0
    names = {path.name for path in target.iterdir()}
    assert names == files | {"README.md", "tokenizer.json", "tokenizer_config.json"}
    own.load(own_run.folder / OWN)
    texts = requests_of([e.text for e in TASKS["reviews"].splits()["test"]]).single[::3]
    name = f"reviews__my-model__{recipe.replace(':', '-')}__cpu__s0.predictions.npz"
    with np.load(own_run.folder / "samples" / name) as kept:
        expected = kept["request_single"][::3]
    tolerance = 0.05 if "bf16" in recipe else 1e-3
    np.testing.assert_allclose(opened(target, texts, of_card(target)), expected, atol=tolerance)


RECIPES = {
    "pytorch": "finetune",
    "pytorch-bf16": "finetune+bf16",
    "pytorch-compiled": "finetune+compile",
    "pytorch-int8": "finetune+int8",
    "pytorch-int8-weights": "finetune+int8-weights",
    "pytorch-int4-weights": "finetune+int4-weights",
    "pytorch-int8-compiled": "finetune+drop-layers:1+int8-compiled",
    "pytorch-linear": "features+logistic",
    "onnx": "finetune+onnx",
    "onnx-int8": "finetune+onnx-int8",
    "onnx-int4": "finetune+onnx-int4",
    "openvino": "finetune+openvino",
    "openvino-bf16": "finetune+openvino-bf16",
    "openvino-int8": "finetune+openvino-int8",
    "openvino-int4": "finetune+openvino-int4",
    "linear": "tfidf-logistic",
    "static-linear": "static-embeddings+logistic",
    "cascade": "finetune+distill:1+onnx-int8+cascade:0.9",
    "onnx-zipped": "finetune+onnx+zip",
    "onnx-int8-zipped": "finetune+onnx-int8+zip",
    "onnx-int4-zipped": "finetune+onnx-int4+zip",
    "openvino-zipped": "finetune+openvino+zip",
    "openvino-bf16-zipped": "finetune+openvino-bf16+zip",
    "openvino-int8-zipped": "finetune+openvino-int8+zip",
    "openvino-int4-zipped": "finetune+openvino-int4+zip",
}
ON_A_GPU = {"pytorch-fp16", "pytorch-fp8"}


def test_every_format_of_the_cpu_ships() -> None:
    assert set(RECIPES) == set(RUNTIMES) - ON_A_GPU == set(SHIPPED) - ON_A_GPU


@pytest.mark.parametrize(
    "recipe", [*RECIPES.values(), "majority", "finetune+prune-heads:0.5+bf16", "finetune+svd:8"]
)
def test_every_format_opens_without_leanboard(recipe: str, tmp_path: Path) -> None:
    parsed = parse_recipe(recipe)
    for step in parsed.steps:
        for module in step.extras:
            pytest.importorskip(module)
    model = "tiny-bert" if parsed.needs_model else NO_MODEL
    if recipe == "finetune+int4-weights":  # its groups do not divide the tiny one's width
        model = "minilm-bert"
    artifact = open_artifact(Path(build(recipe, model, "tiny", 0, "cpu", 1, lambda *_: None)))
    shipped = SHIPPED[artifact.format](artifact, tmp_path)
    texts = [
        "A dull film.",
        "Warm and wise, and the music is a gift to everyone who listens!",
        "😀",
    ]
    loader = pytorch.load if artifact.format.startswith("pytorch") else load_predictor
    predictor = loader(artifact, "cpu", 1)  # of what is compiled, the network that is compiled
    expected = np.concatenate([predictor.predict([text]) for text in texts])
    most = {"cascade": 26}.get(artifact.format, 11 if recipe.endswith("+zip") else 8)
    found = opened(tmp_path, texts, shipped.loading, most)
    np.testing.assert_allclose(found, expected, atol=0.02 if "bf16" in recipe else 1e-3)


def test_a_graph_that_was_measured_is_shipped_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without PyTorch: a run's folder, an artifact in the store, and the graph opened elsewhere."""
    monkeypatch.setenv("LEANBOARD_CACHE", str(tmp_path))
    store = Store()
    artifact = store.build("ab" * 32, counting_graph)
    run = read_run(make_run(tmp_path / "made", 2))
    row = rows(run)[0] | {"artifact_sha256": artifact.sha256}
    export(run, row, tmp_path / "shipped", store)
    logits = opened(tmp_path / "shipped", ["a b b", "b"], of_card(tmp_path / "shipped"))
    np.testing.assert_array_equal(logits, [[3, 3], [1, 1]])


def counting_graph(folder: Path) -> None:
    """Write an artifact whose logits are the number of tokens, twice."""
    from onnx import TensorProto, helper
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "tokens"])
        for name in ("input_ids", "attention_mask")
    ]
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 2])]
    axis = helper.make_tensor("axis", TensorProto.INT64, [1], [1])
    nodes = [
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("ReduceSum", ["mask", "axis"], ["count"], keepdims=1),
        helper.make_node("Concat", ["count", "count"], ["logits"], axis=1),
    ]
    graph = helper.make_graph(nodes, "counting", inputs, outputs, initializer=[axis])
    opset = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=8)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    tokenizer = Tokenizer(WordLevel({"[PAD]": 0, "a": 1, "b": 2, "[UNK]": 3}, "[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    facts = {"format": "onnx", "lineage": [], "outputs": 2, "max_tokens": 16, "pad_id": 0}
    seal(folder, facts | {"labels": ["a", "b"], "data_sha256": "0" * 64})


def test_the_card_says_where_it_comes_from_and_what_it_costs(
    own_run: Outcome, tmp_path: Path
) -> None:
    main(["export", str(own_run.folder), "reviews/my-model/as-is/cpu/s0", str(tmp_path / "a")])
    text = (tmp_path / "a" / "README.md").read_text()
    row = own_run.rows["as-is"]
    assert f"{row['quality']:.3f} [{row['quality_low']:.3f} {row['quality_high']:.3f}]" in text
    for part in ("folder my-model", "reviews.csv", "your own", row["artifact_sha256"], "| as-is"):
        assert part in text
    assert "Outputs, in order: `positive`, `negative`. Texts are cut at 128 tokens." in text
    assert json.loads(text.split("metrics: ")[1].split("\n")[0]) == ["accuracy"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("finetune", "no row is 'finetune'; give one of reviews/none/tfidf-logistic/cpu/s0"),
    ],
)
def test_what_does_not_open_plainly_says_so(
    own_run: Outcome,
    tmp_path: Path,
    row: str,
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["export", str(own_run.folder), row, str(tmp_path / "a")]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_format_of_ones_own_says_that_it_needs_leanboard(
    own_run: Outcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(SHIPPED, "pytorch-int8")
    run = read_run(own_run.folder)
    row = next(row for row in rows(run) if row["recipe"] == "as-is+int8")
    with pytest.raises(ExportError, match="pytorch-int8, which opens with Leanboard alone"):
        export(run, row, tmp_path / "a", Store())


def test_an_empty_folder_is_filled_by_whatever_name(
    own_run: Outcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["export", str(own_run.folder), "tfidf-logistic", "."]) == 0
    assert (tmp_path / "tfidf.json").exists()


def test_nothing_is_overwritten(
    own_run: Outcome, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    assert main(["export", str(own_run.folder), "as-is", str(tmp_path)]) == 2
    assert "is there already, and not empty" in capsys.readouterr().err
