"""How each format becomes a folder that plain libraries open."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from textwrap import indent
from typing import Any

from models.artifact import MANIFEST, Artifact
from models.cascade import confidence_of, parts_of
from models.predictors import RUNTIMES
from models.segments import SEPARATOR
from models.zipped import ARCHIVE, SUFFIX, pack, unpacked


@dataclass(frozen=True)
class Shipped:
    """What a folder was made to be."""

    loading: str
    """Python that opens it and makes `logits` of `texts`."""
    note: str = ""


Ship = Callable[[Artifact, Path], Shipped]

TRANSFORMERS = """\
from transformers import AutoModelForSequenceClassification, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained(".")
model = AutoModelForSequenceClassification.from_pretrained(".", dtype="auto").eval()
inputs = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
logits = model(**inputs).logits.float().detach().numpy()"""
COMPILED_TRANSFORMERS = f"import torch\n{TRANSFORMERS}".replace(
    "logits = model(", "logits = torch.compile(model, dynamic=True)("
)

_ENCODED = """\
encoded = Tokenizer.from_file("tokenizer.json").encode_batch(texts)  # cuts and pads
ids = {array}([text.ids for text in encoded])
mask = {array}([text.attention_mask for text in encoded])"""
ONNX = f"""\
import numpy, onnxruntime
from tokenizers import Tokenizer

{_ENCODED.format(array="numpy.array")}
session = onnxruntime.InferenceSession("model.onnx")
logits = session.run(["logits"], {{"input_ids": ids, "attention_mask": mask}})[0]"""


def _openvino_in(precision: str) -> str:
    return f"""\
import numpy, openvino
from tokenizers import Tokenizer

{_ENCODED.format(array="numpy.array")}
model = openvino.compile_model("openvino.xml", "CPU", {{"INFERENCE_PRECISION_HINT": "{precision}"}})
logits = model({{"input_ids": ids, "attention_mask": mask}})[0]"""


OPENVINO = _openvino_in("f32")
OPENVINO_BF16 = _openvino_in("bf16")


def _program_of(opened: str) -> str:
    return f"""\
import torch
from tokenizers import Tokenizer

{_ENCODED.format(array="torch.tensor")}
program = {opened}
logits = program(ids, mask).detach().numpy()"""


PROGRAM = _program_of('torch.export.load("model.pt2").module()')
COMPILED_PROGRAM = _program_of(
    'torch.compile(torch.export.load("model.pt2").module(), dynamic=True)'
)
TORCHSCRIPT = _program_of('torch.jit.load("model.pt")')
TFIDF = """\
import json, numpy
from safetensors.numpy import load_file
from sklearn.feature_extraction.text import TfidfVectorizer

tfidf, head = json.load(open("tfidf.json")), load_file("head.safetensors")
words = TfidfVectorizer(**tfidf["settings"], vocabulary=tfidf["vocabulary"])
words.idf_ = numpy.array(tfidf["idf"])
logits = words.transform(texts) @ head["coef"].T + head["intercept"]"""
CONSTANT = """\
import numpy
from safetensors.numpy import load_file

logits = numpy.tile(load_file("head.safetensors")["intercept"], (len(texts), 1))"""
STATIC = """\
import numpy
from safetensors.numpy import load_file
from tokenizers import Tokenizer

encoded, table = Tokenizer.from_file("tokenizer.json").encode_batch(texts), load_file("table.safetensors")
rows = table["embeddings"].astype("float32")  # [vocabulary, outputs]
known = [[token for token in text.ids if token != {unknown_id}] for text in encoded]
means = [rows[ids].mean(axis=0) if ids else 0 * rows[0] for ids in known]
logits = numpy.stack(means) + table["intercept"]"""
UNZIPPED = f"""\
import zipfile

zipfile.ZipFile("{ARCHIVE}").extractall()
"""
CASCADE = """\
from contextlib import chdir
import numpy

def small(texts):
    with chdir("small"):
{small}
    return logits

def large(texts):
    with chdir("large"):
{large}
    return logits

logits = numpy.array(small(texts))
unsure = 1 / numpy.exp(logits - logits.max(axis=1, keepdims=True)).sum(axis=1) < {confidence}
if unsure.any():
    logits[unsure] = large([text for text, again in zip(texts, unsure) if again])"""


def _stock(artifact: Artifact, folder: Path) -> Shipped:
    """A network of transformers; one that no config describes becomes ONNX, or a program."""
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
    return Shipped(COMPILED_TRANSFORMERS if artifact.format.endswith("-compiled") else TRANSFORMERS)


def _converted(artifact: Artifact, folder: Path) -> Shipped:
    from compressors.onnx_export import export

    why = "Its layers are of sizes that no config of transformers describes"
    if artifact.format != "pytorch":
        return Shipped(_program(artifact, folder).loading, f"{why}, so it is a program of PyTorch.")
    pad_id = export(artifact, artifact.manifest["outputs"], folder / "model.onnx")["pad_id"]
    _write_tokenizer(artifact, folder, pad_id)
    return Shipped(
        ONNX,
        f"{why}, so it was converted to ONNX: the logits are the same, size, memory and speed "
        "below are those of PyTorch.",
    )


def _program(artifact: Artifact, folder: Path) -> Shipped:
    """A program of torch.export: the graph and its weights, as narrow as they are in the artifact."""
    import torch
    from torch.export import Dim

    whole, example = _whole(artifact)
    any_size = {0: Dim.DYNAMIC, 1: Dim.DYNAMIC}
    with torch.no_grad():
        program = torch.export.export(whole, example, dynamic_shapes=(any_size, any_size))
    if any(str(node.target).startswith("torchao.") for node in program.graph.nodes):
        program = program.run_decompositions()  # into operators that PyTorch has by itself
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # it names files of this machine
    torch.export.save(program, folder / "model.pt2")
    _write_tokenizer(artifact, folder, whole.pad_id)
    return Shipped(COMPILED_PROGRAM if artifact.format.endswith("-compiled") else PROGRAM)


def _torchscript(artifact: Artifact, folder: Path) -> Shipped:
    """TorchScript, where torch.export does not know the packed weights of dynamic int8."""
    import torch

    whole, example = _whole(artifact)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the branches of transformers that a trace takes once
        torch.jit.trace(whole, example, check_trace=False).save(folder / "model.pt")
    _write_tokenizer(artifact, folder, whole.pad_id)
    return Shipped(TORCHSCRIPT)


def _whole(artifact: Artifact) -> tuple[Any, tuple[Any, Any]]:
    """Load a network, weights of torchao as plain tensors, and what to trace it with."""
    from models import torchao_weights
    from models.exporting import Whole, example
    from models.predictors import pytorch

    whole = Whole(pytorch.load(artifact, "cpu", threads=1)).requires_grad_(False)
    if artifact.format in torchao_weights.FORMATS:
        from torchao.utils import unwrap_tensor_subclass

        unwrap_tensor_subclass(whole.network)
    return whole, example()


def _linear(artifact: Artifact, folder: Path) -> Shipped:
    for name in {file["name"] for file in artifact.manifest["files"]} - {MANIFEST}:
        shutil.copyfile(artifact.folder / name, folder / name)
    return Shipped(TFIDF if (folder / "tfidf.json").exists() else CONSTANT)


def _static(artifact: Artifact, folder: Path) -> Shipped:
    shutil.copyfile(artifact.folder / "table.safetensors", folder / "table.safetensors")
    _write_tokenizer(artifact, folder, None)
    return Shipped(STATIC.format(unknown_id=artifact.manifest["unknown_id"]))


def _cascade(artifact: Artifact, folder: Path) -> Shipped:
    """Each part in a folder of its own, as its format ships."""
    codes, notes = {}, []
    for part in parts_of(artifact):
        target = folder / part.folder.name
        target.mkdir()
        shipped = SHIPPED[part.format](part, target)
        codes[target.name] = indent(shipped.loading, 8 * " ")
        notes += [f"{target.name}: {shipped.note}"] if shipped.note else []
    loading = CASCADE.format(**codes, confidence=confidence_of(artifact))
    return Shipped(loading, " ".join(notes))


def _zipped(artifact: Artifact, folder: Path) -> Shipped:
    """What the format inside ships, in one archive again."""
    with unpacked(artifact) as inner, TemporaryDirectory() as scratch:
        shipped = SHIPPED[inner.format](inner, Path(scratch))
        pack({path.name: path for path in Path(scratch).iterdir()}, folder / ARCHIVE)
    note = "It unpacks beside itself: the folder must be writable."
    return Shipped(UNZIPPED + shipped.loading, f"{note} {shipped.note}".strip())


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
    "pytorch-compiled": _stock,
    "pytorch-int8": _torchscript,
    "pytorch-int8-weights": _program,
    "pytorch-int4-weights": _program,
    "pytorch-int8-compiled": _program,
    "pytorch-linear": _program,
    "onnx": _files(ONNX, "model.onnx"),
    "onnx-int8": _files(ONNX, "model.onnx"),
    "onnx-int4": _files(ONNX, "model.onnx"),
    "openvino": _OPENVINO,
    "openvino-bf16": _files(OPENVINO_BF16, "openvino.xml", "openvino.bin"),
    "openvino-int8": _OPENVINO,
    "openvino-int4": _OPENVINO,
    "linear": _linear,
    "static-linear": _static,
    "cascade": _cascade,
}
"""What writes each format. Add yours with one line."""
SHIPPED |= {format + SUFFIX: _zipped for format in SHIPPED if format + SUFFIX in RUNTIMES}


def _write_tokenizer(
    artifact: Artifact, folder: Path, pad_id: int | None, segmented: bool = False
) -> None:
    """Write a tokenizer that cuts and pads by itself, and what transformers wants beside it.

    Args:
        pad_id: None where nothing is to be padded.
        segmented: the network wants to be told which of two sentences a token is of.
    """
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(artifact.folder / "tokenizer.json"))
    config: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": artifact.manifest["max_tokens"],
    }
    tokenizer.no_padding()
    tokenizer.enable_truncation(artifact.manifest["max_tokens"])
    if pad_id is not None:
        config["pad_token"] = tokenizer.id_to_token(pad_id)
        tokenizer.enable_padding(pad_id=pad_id, pad_token=config["pad_token"])
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    given = ["token_type_ids"] if segmented else []
    config["model_input_names"] = ["input_ids", *given, "attention_mask"]
    text = json.dumps(config, indent=2, ensure_ascii=False)
    (folder / "tokenizer_config.json").write_text(text, encoding="utf-8")
