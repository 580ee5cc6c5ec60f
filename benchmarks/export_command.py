"""`leanboard export RUN ROW DIR`: a row as a folder that opens without Leanboard, with a model card."""

from __future__ import annotations

import argparse
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import own
from benchmarks.extensions import OWN
from models import MODELS
from models.artifact import Artifact
from models.segments import SEPARATOR
from models.store import Store
from reports.card import Origin, card
from reports.leaderboard import Row, rows
from reports.records import OK, RecordError, Run, cell_id, find_run, newest, read_run
from tasks import TASKS


class ExportError(ValueError):
    """A row cannot be exported; the message says which, and what can be."""


TRANSFORMERS = """\
from transformers import AutoModelForSequenceClassification, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained(".")
model = AutoModelForSequenceClassification.from_pretrained(".", dtype="auto").eval()
inputs = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
logits = model(**inputs).logits.float().detach().numpy()"""

_ENCODED = """\
encoded = Tokenizer.from_file("tokenizer.json").encode_batch(texts)  # cuts and pads
inputs = {
    "input_ids": numpy.array([text.ids for text in encoded]),
    "attention_mask": numpy.array([text.attention_mask for text in encoded]),
}"""
ONNX = f"""\
import numpy, onnxruntime
from tokenizers import Tokenizer

{_ENCODED}
logits = onnxruntime.InferenceSession("model.onnx").run(["logits"], inputs)[0]"""
OPENVINO = f"""\
import numpy, openvino
from tokenizers import Tokenizer

{_ENCODED}
settings = {{"INFERENCE_PRECISION_HINT": "f32"}}
logits = openvino.compile_model("openvino.xml", "CPU", settings)(inputs)[0]"""


@dataclass(frozen=True)
class Shipped:
    """What a folder was made to be."""

    loading: str
    """Python that opens it and makes `logits` of `texts`."""
    note: str = ""


Ship = Callable[[Artifact, Path], Shipped]


def _stock(artifact: Artifact, folder: Path) -> Shipped:
    """A network of transformers; one that no config describes becomes ONNX."""
    from transformers import AutoModelForSequenceClassification

    from models.fitting import open_fitted
    from models.networks import config_of

    config = config_of(artifact.folder)
    config.num_labels = artifact.manifest["outputs"]
    weights = artifact.folder / "model.safetensors"
    if open_fitted(AutoModelForSequenceClassification, config, weights) is not None:
        return _converted(artifact, folder)
    for name in ("config.json", "model.safetensors"):
        shutil.copyfile(artifact.folder / name, folder / name)
    # Our networks tell two sentences apart by themselves; those of transformers want to be told.
    _write_tokenizer(artifact, folder, config.pad_token_id or 0, hasattr(config, SEPARATOR))
    return Shipped(TRANSFORMERS)


def _converted(artifact: Artifact, folder: Path) -> Shipped:
    from compressors.onnx_export import export

    if artifact.format != "pytorch":
        raise ExportError(
            f"its layers are of sizes that no config describes, and in {artifact.format} they "
            "cannot become ONNX; export the fp32 row that it was made from"
        )
    pad_id = export(artifact, artifact.manifest["outputs"], folder / "model.onnx")["pad_id"]
    _write_tokenizer(artifact, folder, pad_id)
    return Shipped(
        ONNX,
        "Its layers are of sizes that no config of transformers describes, so it was converted to "
        "ONNX: the logits are the same, size, memory and speed below are those of PyTorch.",
    )


def _files(loading: str, *names: str) -> Ship:
    """Copy the files of a format that its runtime opens by itself."""

    def ship(artifact: Artifact, folder: Path) -> Shipped:
        for name in names:
            shutil.copyfile(artifact.folder / name, folder / name)
        _write_tokenizer(artifact, folder, artifact.manifest["pad_id"])
        return Shipped(loading)

    return ship


_OPENVINO = _files(OPENVINO, "openvino.xml", "openvino.bin")
SHIPPED: dict[str, Ship] = {
    "pytorch": _stock,
    "pytorch-bf16": _stock,
    "pytorch-fp16": _stock,
    "onnx": _files(ONNX, "model.onnx"),
    "onnx-int8": _files(ONNX, "model.onnx"),
    "openvino": _OPENVINO,
    "openvino-int8": _OPENVINO,
    "openvino-int4": _OPENVINO,
}
"""How each format becomes a folder that its runtime's own library opens."""


def _write_tokenizer(
    artifact: Artifact, folder: Path, pad_id: int, segmented: bool = False
) -> None:
    """Write a tokenizer that cuts and pads by itself, and what transformers wants beside it."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(artifact.folder / "tokenizer.json"))
    pad = tokenizer.id_to_token(pad_id)
    tokenizer.enable_truncation(artifact.manifest["max_tokens"])
    tokenizer.enable_padding(pad_id=pad_id, pad_token=pad)
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    given = ["token_type_ids"] if segmented else []
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": artifact.manifest["max_tokens"],
        "pad_token": pad,
        "model_input_names": ["input_ids", *given, "attention_mask"],
    }
    text = json.dumps(config, indent=2, ensure_ascii=False)
    (folder / "tokenizer_config.json").write_text(text, encoding="utf-8")


def export(run: Run, row: Row, target: Path, store: Store) -> Shipped:
    """Write a row's artifact to a new folder, with its model card.

    Raises:
        ExportError: its format opens with Leanboard alone, or the artifact or the place is not there.
    """
    if row["status"] != OK:
        raise ExportError(f"{cell_id(row)} is {row['status']}: {row['reason']}")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ExportError(f"{target} is there already, and not empty")
    artifact = store.find(row["artifact_sha256"])
    if artifact is None:
        raise ExportError(
            f"the artifact of {cell_id(row)} is not in {store.root} any more: run it again"
        )
    if artifact.format not in SHIPPED:
        raise ExportError(
            f"{cell_id(row)} has the format {artifact.format}, which opens with Leanboard alone; "
            f"these open without: {', '.join(SHIPPED)}"
        )
    unfinished = target.with_name(f".{target.name}-{os.getpid()}")
    try:
        unfinished.mkdir(parents=True)
        try:
            shipped = SHIPPED[artifact.format](artifact, unfinished)
        except ExportError as error:
            raise ExportError(f"{cell_id(row)}: {error}") from None
        text = card(row, _origin(run, row, artifact), run.info, shipped.loading, shipped.note)
        (unfinished / "README.md").write_text(text, encoding="utf-8")
        os.replace(unfinished, target)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return shipped


def _origin(run: Run, row: Row, artifact: Artifact) -> Origin:
    """Find out where model and data come from; what is not declared here is unknown."""
    if (run.folder / OWN).exists():
        own.load(run.folder / OWN)
    model, task = MODELS.get(row["model"]), TASKS.get(row["task"])
    build = newest(run.records).get((cell_id(row), "build"))
    return Origin(
        labels=tuple(artifact.manifest["labels"]),
        lineage=(build.facts if build else artifact.manifest)["lineage"],
        model_source=model.source if model else "unknown",
        model_licence=model.licence if model else "unknown",
        data_source=task.source if task else "unknown",
        data_licence=task.licence if task else "unknown",
        data_sha256=artifact.manifest["data_sha256"],
        max_tokens=artifact.manifest["max_tokens"],
        sizes=task.sizes if task else {},
    )


def choose(table: list[Row], name: str) -> Row:
    """Return the row of a cell's id, or of a recipe that one row has.

    Raises:
        ExportError: none, or several.
    """
    found = [row for row in table if name in (cell_id(row), row["recipe"])]
    if len(found) == 1:
        return found[0]
    ids = ", ".join(cell_id(row) for row in (found or table)[:8])
    what = f"{len(found)} rows are" if found else "no row is"
    raise ExportError(f"{what} '{name}'; give one of {ids}")


def add(commands: Any, output: Path) -> None:
    """Add the command's parser."""
    parser = commands.add_parser("export", help="write a row as a folder that opens elsewhere")
    parser.add_argument("run", metavar="RUN", help="a run's folder, its name, or `latest`")
    parser.add_argument("row", metavar="ROW", help="a cell's id, or a recipe that one row has")
    parser.add_argument("target", metavar="DIR", type=Path, help="a folder that is not there yet")
    parser.add_argument("--output", type=Path, default=output, help="folder of the runs")
    parser.set_defaults(call=run_command)


def run_command(given: argparse.Namespace) -> int:
    """Export, and print how to load it; 0.

    Raises:
        ExportError, RecordError: as they say.
    """
    run = read_run(find_run(given.run, given.output))
    table = rows(run)
    if not table:
        raise RecordError(f"{run.folder} has no rows")
    row = choose(table, given.row)
    shipped = export(run, row, given.target, Store())
    print(f'{cell_id(row)} is in {given.target}; in that folder, with texts = ["…"]:\n')
    print("\n".join(f"    {line}".rstrip() for line in shipped.loading.splitlines()))
    if shipped.note:
        print(f"\n{shipped.note}")
    return 0
