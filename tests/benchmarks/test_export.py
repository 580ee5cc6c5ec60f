"""An exported row opens with the libraries of its format alone, and gives the logits that were scored."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import own
from benchmarks.command import main
from benchmarks.extensions import OWN
from benchmarks.measures.requests import requests_of
from tasks import TASKS
from tests.conftest import Outcome

ALONE = """
import importlib.util, json, sys
sys.path[:] = [p for p in sys.path if not {root!r} in p]
sys.meta_path[:] = [f for f in sys.meta_path if "editable" not in repr(f)]
ours = ("benchmarks", "compressors", "models", "reports", "tasks")
assert not any(importlib.util.find_spec(name) for name in ours)
answers = []
for text in json.load(open({texts!r})):
    texts = [text]
{code}
    answers.append(logits.tolist()[0])
print(json.dumps(answers))
"""


def opened(folder: Path, texts: list[str]) -> np.ndarray:
    """Run the card's own code in a process without Leanboard, text by text: [texts, outputs]."""
    (code,) = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    assert len(code.strip().splitlines()) <= 10
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
        ("as-is+prune-ffn:0.5", {"model.onnx"}),
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
    np.testing.assert_allclose(opened(target, texts), expected, atol=tolerance)


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
        ("as-is+int8", "the format pytorch-int8, which opens with Leanboard alone"),
        ("tfidf-logistic", "the format linear, which opens with Leanboard alone"),
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


def test_nothing_is_overwritten(
    own_run: Outcome, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    assert main(["export", str(own_run.folder), "as-is", str(tmp_path)]) == 2
    assert "is there already, and not empty" in capsys.readouterr().err
