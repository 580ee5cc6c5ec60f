"""The field's own tools as steps, so that one run measures them beside ours: docs/other-tools.md.

Each works in a virtual environment of its own (`environments.py`), reads the fine-tuned model as
`leanboard export` writes it, and what it leaves on disk is measured like any other artifact.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from benchmarks.shipping import SHIPPED
from compressors import STEPS
from compressors.openvino_export import MODEL
from compressors.static_embeddings import StaticEmbeddings
from compressors.step import PRETRAINED, PYTORCH, Plan, Step, Unsupported
from compressors.workbench import Workbench
from models.artifact import Artifact
from models.predictors import ONNX_RUNTIME, OPENVINO, RUNTIMES
from models.predictors.onnx_runtime import OnnxPredictor
from models.predictors.onnx_runtime import load as load_ours
from models.predictors.openvino_runtime import OpenVinoPredictor
from models.tokenization import Tokens, load_tokenizer
from tasks.assets import file_sha256

HERE = Path(__file__).parent
sys.path.append(str(HERE))
from environments import TOOLS, is_made, python_of  # noqa: E402

CALIBRATION_TEXTS = 300
THEIR_ONNX, THEIR_OPENVINO = "other-onnx", "other-openvino"


@dataclass(frozen=True)
class Other(Step):
    """A script in another environment: what it is given, and which of its files is kept."""

    family: ClassVar[str] = "quantization"
    accepts: ClassVar[tuple[str, ...]] = (PYTORCH,)
    devices: ClassVar[tuple[str, ...]] = ("cpu",)
    tool: ClassVar[str]
    script: ClassVar[str]
    how: ClassVar[tuple[str, ...]] = ()

    def plan(self, before: Plan, device: str) -> Plan:
        plan = super().plan(before, device)
        if not is_made(self.tool):
            raise Unsupported(f"python examples/other_tools/environments.py {self.tool}")
        return plan

    def pins(self) -> list[str]:
        return [file_sha256(HERE / self.script), *TOOLS[self.tool]]

    def apply(self, source: Artifact | None, workbench: Workbench) -> Artifact:
        assert source
        self.write(source, workbench)
        workbench.keep(source, "tokenizer.json")
        return workbench.seal(source, format=self.produces, pad_id=0)

    def write(self, source: Artifact, workbench: Workbench) -> None:
        """Write the network that the tool makes to the workbench's folder."""
        raise NotImplementedError

    @contextmanager
    def made(self, source: Path, *more: str) -> Iterator[Path]:
        """Run the script, and yield the folder that it wrote; what it printed is in the build's log.

        Raises:
            RuntimeError: it failed.
        """
        with tempfile.TemporaryDirectory() as scratch:
            target = Path(scratch, "made")
            target.mkdir()
            command = [python_of(self.tool), HERE / self.script, source, target, *self.how, *more]
            alone = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
            ended = subprocess.run(command, check=False, cwd=scratch, env=alone)
            if ended.returncode != 0:
                raise RuntimeError(f"{self.script} ended with {ended.returncode}")
            yield target

    @contextmanager
    def given(self, source: Artifact) -> Iterator[Path]:
        """Write the fine-tuned model as a folder of transformers, and yield it."""
        with tempfile.TemporaryDirectory() as scratch:
            SHIPPED[source.format](source, Path(scratch))
            yield Path(scratch)


@dataclass(frozen=True)
class OptimumOnnx(Other):
    """optimum-onnx's export."""

    name: ClassVar[str] = "optimum-onnx"
    family: ClassVar[str] = "conversion"
    produces: ClassVar[str | None] = THEIR_ONNX
    tool: ClassVar[str] = "optimum-onnx"
    script: ClassVar[str] = "by_optimum_onnx.py"
    how: ClassVar[tuple[str, ...]] = ("fp32",)

    def write(self, source: Artifact, workbench: Workbench) -> None:
        with self.given(source) as given, self.made(given) as made:
            [file] = made.glob("*.onnx")
            shutil.copyfile(file, workbench.folder / "model.onnx")


@dataclass(frozen=True)
class OptimumOnnxInt8(OptimumOnnx):
    """Its dynamic quantization, by its settings for VNNI."""

    name: ClassVar[str] = "optimum-onnx-int8"
    family: ClassVar[str] = "quantization"
    produces: ClassVar[str | None] = f"{THEIR_ONNX}-int8"
    how: ClassVar[tuple[str, ...]] = ("int8",)


@dataclass(frozen=True)
class NeuralCompressor(Other):
    """neural-compressor's dynamic quantization of a file of ONNX that optimum exported.

    Of ours, a network that computes only the first token at its end, it infers wrong shapes.
    """

    name: ClassVar[str] = "neural-compressor-int8"
    accepts: ClassVar[tuple[str, ...]] = (THEIR_ONNX,)
    produces: ClassVar[str | None] = f"{THEIR_ONNX}-int8"
    tool: ClassVar[str] = "neural-compressor"
    script: ClassVar[str] = "by_neural_compressor.py"

    def write(self, source: Artifact, workbench: Workbench) -> None:
        with self.made(source.folder) as made:
            shutil.copyfile(made / "model.onnx", workbench.folder / "model.onnx")


@dataclass(frozen=True)
class OptimumIntel(Other):
    """optimum-intel's export to OpenVINO."""

    name: ClassVar[str] = "optimum-intel"
    family: ClassVar[str] = "conversion"
    produces: ClassVar[str | None] = THEIR_OPENVINO
    tool: ClassVar[str] = "optimum-intel"
    script: ClassVar[str] = "by_optimum_intel.py"
    how: ClassVar[tuple[str, ...]] = ("fp32",)

    def write(self, source: Artifact, workbench: Workbench) -> None:
        with self.given(source) as given:
            texts = given / "texts.json"
            texts.write_text(json.dumps(workbench.texts("train")[:CALIBRATION_TEXTS]))
            with self.made(given, str(texts)) as made:
                for file in made.glob("openvino_model.*"):
                    shutil.copyfile(file, (workbench.folder / MODEL).with_suffix(file.suffix))


@dataclass(frozen=True)
class OptimumIntelInt8(OptimumIntel):
    """Its post-training quantization by NNCF."""

    name: ClassVar[str] = "optimum-intel-int8"
    family: ClassVar[str] = "quantization"
    produces: ClassVar[str | None] = f"{THEIR_OPENVINO}-int8"
    how: ClassVar[tuple[str, ...]] = ("int8",)


@dataclass(frozen=True)
class Model2Vec(Other):
    """model2vec's own distillation, with the head that `static-embeddings` gets: `+logistic`."""

    name: ClassVar[str] = "model2vec"
    family: ClassVar[str] = "transfer"
    accepts: ClassVar[tuple[str, ...]] = (PRETRAINED,)
    produces: ClassVar[str | None] = StaticEmbeddings.produces
    tool: ClassVar[str] = "model2vec"
    script: ClassVar[str] = "by_model2vec.py"

    def apply(self, source: Artifact | None, workbench: Workbench) -> Artifact:
        from safetensors.numpy import load_file
        from tokenizers import Tokenizer

        from compressors.static_embeddings import write_static

        assert source
        with self.made(source.folder) as made:
            tokenizer = Tokenizer.from_file(str(made / "tokenizer.json"))
            table = load_file(made / "model.safetensors")["embeddings"]
        unknown = json.loads(tokenizer.to_str())["model"].get("unk_token")
        unknown_id = None if unknown is None else tokenizer.token_to_id(unknown)
        return write_static(tokenizer, table, unknown_id, source, workbench)


@dataclass(frozen=True)
class TorchPruning(Step):
    """torch-pruning's pruner, set as in its example for BERT: half of width, heads and FFN.

    Every layer alike, where the example lets layers differ: a head's width must stay the same. The
    pooler is pruned too: in the example it is what the model gives.
    """

    name: ClassVar[str] = "torch-pruning"
    family: ClassVar[str] = "pruning"
    accepts: ClassVar[tuple[str, ...]] = (PYTORCH,)
    produces: ClassVar[str | None] = PYTORCH
    libraries: ClassVar[tuple[str, ...]] = ("torch", "transformers", "torch-pruning")
    extras: ClassVar[dict[str, str]] = {"torch_pruning": "pruning"}
    architectures: ClassVar[Collection[str] | None] = ("bert",)

    def apply(self, source: Artifact | None, workbench: Workbench) -> Artifact:
        import torch
        import torch_pruning

        from models.networks import load_classifier, save_network

        assert source
        network = load_classifier(source.folder, workbench.outputs)
        ids = torch.ones(1, 8, dtype=torch.int64)
        attentions = [layer.attention.self for layer in network.bert.encoder.layer]
        heads = {
            map: attention.num_attention_heads
            for attention in attentions
            for map in (attention.query, attention.key, attention.value)
        }
        pruner = torch_pruning.pruner.MetaPruner(
            network,
            {"input_ids": ids, "attention_mask": ids},
            importance=torch_pruning.importance.MagnitudeImportance(p=2, group_reduction="mean"),
            pruning_ratio=0.5,
            num_heads=heads,
            prune_head_dims=False,
            prune_num_heads=True,
            head_pruning_ratio=0.5,
            output_transform=lambda made: made.logits.sum(),
            ignored_layers=[network.classifier],
        )
        pruner.step()
        width = attentions[0].query.out_features
        config = network.config
        config.num_attention_heads = pruner.num_heads[attentions[0].query]
        config.hidden_size = network.bert.embeddings.word_embeddings.embedding_dim
        config.intermediate_size = network.bert.encoder.layer[0].intermediate.dense.out_features
        save_network(network, workbench.folder)
        workbench.keep(source, "tokenizer.json")
        now = {
            "hidden": config.hidden_size,
            "heads": config.num_attention_heads,
            "ffn": config.intermediate_size,
            "attention": width,
        }
        return workbench.seal(source, shape=source.manifest["shape"] | now)


class TheirOnnx(OnnxPredictor):
    """Ours, for a graph that also wants the segments of its tokens: all are of the first."""

    def forward(self, batch: Tokens) -> Any:
        import numpy as np

        given = batch._asdict() | {"token_type_ids": np.zeros_like(batch.input_ids)}
        wanted = {port.name: given[port.name] for port in self.session.get_inputs()}
        return self.session.run(["logits"], wanted)[0]


class TheirOpenVino(OpenVinoPredictor):
    """Ours without the fixed lengths, for a graph that also wants segments."""

    def forward(self, batch: Tokens) -> Any:
        import numpy as np

        given = batch._asdict() | {"token_type_ids": np.zeros_like(batch.input_ids)}
        wanted = {port.any_name: given[port.any_name] for port in self.model.inputs}
        return np.array(self.any_shape.infer(wanted, share_inputs=True, share_outputs=True)[0])


def load_onnx(artifact: Artifact, device: str, threads: int) -> TheirOnnx:
    """Load a file of ONNX that another tool wrote."""
    ours = load_ours(artifact, device, threads)
    return TheirOnnx(ours.session, ours.tokenizer, ours.pad_id)


def load_openvino(artifact: Artifact, device: str, threads: int) -> TheirOpenVino:
    """Load an OpenVINO model that another tool wrote, for latency, as it does itself."""
    import openvino

    settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    return TheirOpenVino(
        openvino.Core().read_model(artifact.folder / MODEL),
        settings,
        load_tokenizer(artifact.folder, artifact.manifest["max_tokens"]),
        artifact.manifest["pad_id"],
        artifact.manifest["max_tokens"],
        fixed_lengths=False,
    )


for step in (
    OptimumOnnx,
    OptimumOnnxInt8,
    NeuralCompressor,
    OptimumIntel,
    OptimumIntelInt8,
    Model2Vec,
    TorchPruning,
):
    STEPS[step.name] = step
for ending in ("", "-int8"):
    RUNTIMES[f"{THEIR_ONNX}{ending}"] = replace(ONNX_RUNTIME, predictor=f"{__name__}:load_onnx")
    RUNTIMES[f"{THEIR_OPENVINO}{ending}"] = replace(OPENVINO, predictor=f"{__name__}:load_openvino")
