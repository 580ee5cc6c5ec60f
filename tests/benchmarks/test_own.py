"""A user's own model on a user's own data, by the command line."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.command import main
from models import MODELS
from models.own import OwnModelError, own_model
from tests.conftest import ROOT, Bench, Outcome


def listed(*options: str) -> subprocess.CompletedProcess[str]:
    """List the tests of a command line; nothing is measured."""
    command = [sys.executable, "-m", "pytest", "benchmarks/", "--collect-only", "-q", *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_a_fine_tuned_model_is_the_reference_and_is_not_trained(own_run: Outcome) -> None:
    assert own_run.status == 0, own_run.text
    rows = own_run.rows
    assert {"as-is", "as-is+int8", "as-is+onnx-int8", "as-is+prune-heads:0.5"} < set(rows)
    assert not any(name.startswith("finetune") for name in rows)
    assert rows["as-is"]["quality_retained"] == rows["as-is"]["size_ratio"] == 1.0
    assert rows["as-is+bf16"]["agreement"] > 0.9
    assert rows["as-is+onnx-int8"]["size_ratio"] > 2
    assert rows["tfidf-logistic"]["quality"] > 0.5
    assert {row["task"] for row in rows.values()} == {"reviews"}
    assert rows["as-is"]["model"] == "my-model"


def test_what_was_found_in_the_data_is_said(own_run: Outcome) -> None:
    assert "'review' is taken for the text (--text-column)" in own_run.text
    assert (
        "2 classes (negative, positive)" in own_run.text or "(positive, negative)" in own_run.text
    )
    assert "test of 80" in own_run.text
    assert "fine-tuned already (outputs: positive, negative)" in own_run.text
    assert "give those that it has not seen as --test-data" in " ".join(own_run.text.split())


def test_the_logits_are_those_of_transformers(own_run: Outcome, tuned: Path) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification, PreTrainedTokenizerFast

    from tasks.own import from_json

    declared = json.loads((own_run.folder / "own.json").read_text())
    task = from_json(next(d["task"] for d in declared if "task" in d))
    assert task.labels == ("positive", "negative")
    texts = [example.text for example in task.splits()["test"]][:16]
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(tuned / "tokenizer.json"), pad_token="[PAD]"
    )
    network = AutoModelForSequenceClassification.from_pretrained(tuned).eval()
    with torch.inference_mode():
        inputs = tokenizer(
            texts, padding=True, truncation=True, max_length=128, return_tensors="pt"
        )
        expected = network(inputs.input_ids, inputs.attention_mask).logits.numpy()
    name = "reviews__my-model__as-is__cpu__s0"
    with np.load(own_run.folder / "samples" / f"{name}.predictions.npz") as kept:
        np.testing.assert_allclose(kept["test"][:16], expected, atol=1e-4)


@pytest.mark.parametrize("form", ["--model={}", "--model {}"])
def test_a_saved_models_conftest_is_not_executed(tuned: Path, tmp_path: Path, form: str) -> None:
    hostile = tmp_path / "hostile"
    shutil.copytree(tuned, hostile)
    for name in ("conftest.py", "test_it.py", "modeling.py"):
        (hostile / name).write_text(f"open({str(tmp_path / 'executed')!r}, 'w')\n")
    done = listed(*form.format(hostile).split(), "--task", "movies", "--profile", "smoke")
    assert done.returncode == 0, done.stdout
    assert "movies/hostile/as-is/cpu/s0" in done.stdout
    assert "test_it" not in done.stdout
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--label-column", "stars"], "--label-column says something of --data"),
        (["--data", "none.csv"], "none.csv: no such file or folder"),
        (["--model", "./nowhere"], "--model ./nowhere: no such folder"),
        (["--data", "{reviews}", "--shifted", "news"], "--shifted news: NAME=FILE is needed"),
        (["--data", "{reviews}", "--text-column", "text"], "no column 'text'; columns: review"),
        (["--model", "{tuned}", "--task", "bbc"], "my-model has 2 outputs (positive, negative)"),
        (
            ["--model", "{tuned}", "--data", "{reviews}", "--max-tokens", "600"],
            "my-model reads at most 512 tokens, and 'reviews' cuts at 600",
        ),
    ],
)
def test_what_does_not_fit_is_refused_before_any_work(
    tuned: Path, reviews: Path, options: list[str], message: str
) -> None:
    done = listed(*(option.format(tuned=tuned, reviews=reviews) for option in options))
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert message in done.stdout + done.stderr


def test_a_head_that_does_not_fit_the_profiles_task_is_refused_too(
    tuned: Path, tmp_path: Path
) -> None:
    five = tmp_path / "five"
    shutil.copytree(tuned, five)
    config = json.loads((five / "config.json").read_text())
    names = {str(i): f"topic {i}" for i in range(5)}
    config |= {"id2label": names, "label2id": {name: int(i) for i, name in names.items()}}
    (five / "config.json").write_text(json.dumps(config))
    done = listed("--model", str(five))
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "five has 5 outputs" in done.stderr


def test_other_data_of_the_same_name_are_no_part_of_a_run_that_is_resumed(
    tuned: Path, tmp_path: Path
) -> None:
    file, output = tmp_path / "d.csv", ["--output", str(tmp_path / "output")]
    words = ("negative", "positive")

    def run(*options: str) -> subprocess.CompletedProcess[str]:
        chosen = ("--data", str(file), "--recipe", "majority", "--profile", "smoke")
        return subprocess.run(
            [sys.executable, "-m", "pytest", "benchmarks/", *output, *chosen, *options],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )

    def write(rows: int) -> None:
        lines = [f"text {i},{words[i % 2]}" for i in range(rows)]
        file.write_text("\n".join(["text,label", *lines]))

    write(60)
    assert run().returncode == 0
    assert run("--resume").returncode == 0
    alone = subprocess.run(
        [sys.executable, "-m", "pytest", "benchmarks/", *output, "--resume"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert alone.returncode == 0, alone.stdout  # profile, data and model are the run's own
    assert "majority" in alone.stdout
    write(61)
    done = run("--resume")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "was made with another task 'd'" in done.stderr


def test_code_that_a_config_names_is_not_executed(tuned: Path, tmp_path: Path) -> None:
    """`auto_map` makes transformers execute a folder's code, if `trust_remote_code` is on."""
    folder = tmp_path / "hostile"
    shutil.copytree(tuned, folder)
    (folder / "modeling.py").write_text(f"open({str(tmp_path / 'executed')!r}, 'w')\n")
    config = json.loads((folder / "config.json").read_text())
    auto = ("AutoConfig", "AutoModel", "AutoModelForSequenceClassification")
    config["auto_map"] = {name: f"modeling.{name}" for name in auto}
    for kind, status in (("bert", "ok"), ("nobody-knows-it", None)):
        (folder / "config.json").write_text(json.dumps(config | {"model_type": kind}))
        chosen = ["--task", "movies", "--recipe", "finetune", "--profile", "smoke", "-k", "size"]
        chosen += ["--model", str(folder), "--output", str(tmp_path / kind)]
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "benchmarks/", *chosen],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode == 0) == (status == "ok"), done.stdout
        assert not (tmp_path / "executed").exists()


def test_labels_that_the_head_does_not_have_are_refused(tuned: Path, tmp_path: Path) -> None:
    file = tmp_path / "d.csv"
    file.write_text("text,label\n" + "".join(f"t {i},{'ab'[i % 2]}\n" for i in range(40)))
    done = listed("--model", str(tuned), "--data", str(file))
    assert "the data's label 'a' is no output of the model (positive, negative)" in done.stderr


def test_a_folder_that_is_no_saved_model_is_refused_in_words(tuned: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()

    def refused() -> str:
        with pytest.raises(OwnModelError) as caught:
            own_model(str(folder))
        return str(caught.value)

    assert "no config.json" in refused()
    (folder / "config.json").write_text("{}")
    assert "names no `model_type`" in refused()
    shutil.copy(tuned / "config.json", folder)
    (folder / "pytorch_model.bin").write_bytes(b"cos\nsystem\n")
    assert "no model.safetensors (pickled weights are not opened)" in refused()
    shutil.copy(tuned / "model.safetensors", folder)
    assert "no tokenizer" in refused()


def test_half_precision_is_read_as_float32(tuned: Path, tmp_path: Path) -> None:
    """Or the reference that every ratio is against would not be what it is called."""
    from safetensors import safe_open
    from transformers import AutoModelForSequenceClassification

    network = AutoModelForSequenceClassification.from_pretrained(tuned)
    shutil.copytree(tuned, tmp_path / "half")
    network.half().save_pretrained(tmp_path / "half")
    written = tmp_path / "written"
    written.mkdir()
    own_model(str(tmp_path / "half")).write(written)
    with safe_open(written / "model.safetensors", "np") as file:
        kinds = {file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118
    assert kinds == {"F32"}
    assert json.loads((written / "config.json").read_text())["dtype"] == "float32"


def test_a_model_of_the_hub_is_read_from_its_cache(
    tuned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hub's own layout: what was fetched once needs no network."""
    repository = tmp_path / "models--someone--tiny"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    shutil.copytree(tuned, repository / "snapshots" / ("0" * 40))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    model = own_model("someone/tiny")
    assert (model.name, model.head) == ("someone-tiny", ("positive", "negative"))
    with pytest.raises(OwnModelError, match="the hub gives no model of that name"):
        own_model("someone/else")


def test_another_process_declares_the_same(
    reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a worker does first: no code of the user, nothing guessed a second time."""
    from safetensors.numpy import save_file

    from benchmarks.own import Own
    from tasks import TASKS
    from tasks.own import OwnData

    monkeypatch.delitem(TASKS, "reviews", raising=False)  # of another test
    folder = tmp_path / "mine"
    folder.mkdir()
    save_file({"classifier.weight": np.zeros((2, 4), np.float32)}, folder / "model.safetensors")
    (folder / "tokenizer.json").write_text("{}")
    config = {"model_type": "bert", "architectures": ["BertForSequenceClassification"]}
    config |= {"num_hidden_layers": 2, "hidden_size": 4, "num_attention_heads": 2}
    config |= {"intermediate_size": 8, "id2label": {"0": "NEGATIVE", "1": "POSITIVE"}}
    (folder / "config.json").write_text(json.dumps(config))
    own = Own.declare([str(folder), "minilm-bert"], [], OwnData(str(reviews)))
    assert own.models == ("mine", "minilm-bert")
    (name,) = own.tasks  # another one where a run of before has left `reviews` in this process
    file = own.write(tmp_path)
    code = (
        "import sys, json; from benchmarks.extensions import load; load([sys.argv[1]]);"
        "from models import MODELS; from tasks import TASKS; m, t = MODELS['mine'], TASKS[sys.argv[2]];"
        "t.splits(); print(json.dumps([m.revision, m.head, m.shape.layers, t.labels, t.sizes]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(file), name],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    model, task = MODELS.pop("mine"), TASKS.pop(name)
    expected = [model.revision, ["NEGATIVE", "POSITIVE"], 2, ["negative", "positive"], task.sizes]
    assert json.loads(done.stdout) == expected


def test_an_own_model_can_be_the_tutor_of_another(
    bench: Bench, tuned: Path, tmp_path: Path
) -> None:
    models = f"{tuned},tiny-bert"
    outcome = bench("--model", models, "--recipe", "finetune+tutor:my-model+heal", "-k", "accuracy")
    assert outcome.status == 0, outcome.text
    board = json.loads((outcome.folder / "leaderboard.json").read_text())
    status = {row["model"]: (row["status"], row["reason"]) for row in board["rows"]}
    assert status["tiny-bert"][0] == "ok"
    assert status["my-model"] == ("unsupported", "tutor:my-model: that is the model itself")
    builds = [r for r in outcome.records if r["measure"] == "build"]
    taught = next(b for b in builds if "tutor" in b["cell"]["recipe"])
    assert [step["step"] for step in taught["facts"]["lineage"]][:2] == ["finetune", "as-is"]
    row, target = f"tiny/tiny-bert/{taught['cell']['recipe']}/cpu/s0", tmp_path / "shipped"
    assert main(["export", str(outcome.folder), row, str(target)]) == 0
    tutor = f"my-model, {MODELS.pop('my-model').source} (licence: your own)"
    assert f"- read by its steps too: {tutor}" in (target / "README.md").read_text()
