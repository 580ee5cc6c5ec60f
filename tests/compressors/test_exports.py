"""Exports to other runtimes: the same logits, and what the files of each hold."""

from __future__ import annotations

from collections import Counter
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from benchmarks.measures import size
from compressors import onnx_int4, openvino_int4
from compressors.building import StepFailed
from compressors.openvino_bf16 import INSTRUCTIONS
from compressors.recipe import parse_recipe
from compressors.step import Unsupported
from models import MODELS
from models.artifact import Artifact
from models.predictors import load_predictor
from models.processor import cpu_flags
from tests.compressors.artifacts import made, predict
from tests.models.test_first_token import classifier

pytest.importorskip("openvino")

MATRICES = 4 * 6 + 2
"""Of the tiny network: six a layer, the pooler's and the classifier's."""


def constants(artifact: Artifact) -> Counter[tuple[str, tuple[int, ...]]]:
    """Count the constants of two axes by element type and shape, as the .xml says they lie in the .bin."""
    found: Counter[tuple[str, tuple[int, ...]]] = Counter()
    for layer in ElementTree.parse(artifact.folder / "openvino.xml").getroot().iter("layer"):
        if layer.attrib["type"] == "Const" and (data := layer.find("data")) is not None:
            shape = tuple(int(n) for n in data.attrib["shape"].split(",") if n.strip())
            found[data.attrib["element_type"], shape] += len(shape) == 2 and min(shape) > 1
    return +found


def bits(artifact: Artifact) -> Counter[str]:
    counted: Counter[str] = Counter()
    for (kind, _), count in constants(artifact).items():
        counted[kind] += count
    return counted


@pytest.mark.parametrize("kind", ["bert", "roberta", "xlm-roberta", "electra", "mpnet"])
def test_only_what_nothing_reads_is_left_out(kind: str) -> None:
    import torch

    from models.exporting import LogitsOnly
    from models.first_token import FIRST_TOKEN_LAYERS

    network = classifier(kind).eval()
    ids = torch.randint(5, 100, (3, 9))
    mask = torch.ones_like(ids)
    mask[1, 4:] = 0
    with torch.inference_mode():
        whole = network(input_ids=ids, attention_mask=mask).logits
        exported = LogitsOnly(network)
        torch.testing.assert_close(exported(ids, mask), whole, atol=1e-5, rtol=0)
        widths = []
        layers = network.base_model.encoder.layer
        layers[-1].register_forward_hook(lambda *call: widths.append(call[-1]))
        exported(ids, mask)
    output = widths[0] if isinstance(widths[0], torch.Tensor) else widths[0][0]
    assert output.shape[1] == (1 if kind in FIRST_TOKEN_LAYERS else 9)


@pytest.mark.parametrize(
    "before", ["", "+prune-heads:0.5", "+svd:8", "+svd-embeddings:8", "+prune-width:0.5"]
)
@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
def test_exports_compute_the_same(runtime: str, before: str) -> None:
    source, artifact = made(f"finetune{before}"), made(f"finetune{before}+{runtime}")
    np.testing.assert_allclose(predict(source), predict(artifact), atol=1e-4)


def test_openvino_reads_ids_as_its_kernels_do() -> None:
    artifact = made("finetune+openvino-int8")
    layers = ElementTree.parse(artifact.folder / "openvino.xml").getroot().iter("layer")
    inputs = [layer.find("data") for layer in layers if layer.attrib["type"] == "Parameter"]
    assert [data.attrib["element_type"] for data in inputs if data is not None] == ["i64", "i64"]
    predictor = load_predictor(artifact, "cpu", 1)
    predictor.predict(["a film"])
    assert predictor.one_text
    requests = [predictor.any_shape, *(one.request for one in predictor.one_text.values())]
    for request in requests:
        inputs = request.get_compiled_model().inputs
        assert [port.get_element_type().get_type_name() for port in inputs] == ["i32", "i32"]


def test_texts_of_any_length_are_answered_as_in_a_batch() -> None:
    predictor = load_predictor(made("finetune+openvino-int8"), "cpu", 1)
    texts = [" ".join(["film"] * n) for n in (1, 5, 6, 7, 30, 63, 80, 126, 500)]
    together = predictor.predict(texts, batch_size=len(texts))
    alone = np.concatenate([predictor.predict([text]) for text in texts])
    # Padding changes nothing, but int8 rounds near its steps either way.
    np.testing.assert_allclose(alone, together, atol=0.01)
    assert sorted(predictor.one_text) == [8, 16, 32, 80, 96, 128]


@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
def test_macs_of_the_last_layer_are_those_of_one_token(runtime: str) -> None:
    whole, exported = (size.measure(made(r))["macs"] for r in ("finetune", f"finetune+{runtime}"))
    # Queries, attention's output and both maps of the FFN; and the attention itself.
    spared = 127 * (2 * 48 * 48 + 2 * 48 * 96 + 2 * 128 * 48)
    assert exported == pytest.approx(whole - spared, rel=1e-3)


def test_openvino_stays_in_fp32_on_the_disk() -> None:
    artifact = made("finetune+openvino")
    names = [f["name"] for f in artifact.manifest["files"]]
    assert names == ["openvino.bin", "openvino.xml", "tokenizer.json"]
    assert bits(artifact).keys() - {"i64", "i32", "boolean"} == {"f32"}
    found, stored = (size.measure(made(r)) for r in ("finetune+openvino", "finetune"))
    for name in ("parameters", "nonzero_parameters", "bits_per_parameter"):
        assert found[name] == pytest.approx(stored[name], rel=2e-3)


def test_openvino_bf16_halves_the_file_and_computes_as_it_says() -> None:
    before, artifact = made("finetune+openvino"), made("finetune+openvino-bf16")
    assert constants(artifact)["f16", (30522, 48)] == 1
    figures, whole = size.measure(artifact), size.measure(before)
    assert figures["parameters"] == whole["parameters"]
    assert figures["bits_per_parameter"] < 16.1
    bytes_of = lambda a: (a.folder / "openvino.bin").stat().st_size  # noqa: E731
    assert bytes_of(artifact) < 0.51 * bytes_of(before)
    assert np.abs(predict(before) - predict(artifact)).max() < 0.05
    if not cpu_flags().isdisjoint(INSTRUCTIONS):  # elsewhere it is not offered
        for made_of, precision in ((before, "f32"), (artifact, "bf16")):
            compiled = load_predictor(made_of, "cpu", 1).any_shape.get_compiled_model()
            assert compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name() == precision


def test_openvino_bf16_is_refused_where_it_would_be_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = parse_recipe("finetune+openvino-bf16").plan
    flags = {"avx2", "avx512f", "amx_bf16"}
    monkeypatch.setattr("compressors.openvino_bf16.cpu_flags", lambda: flags)
    assert plan(MODELS["minilm-bert"], "cpu").format == "openvino-bf16"
    flags.remove("amx_bf16")
    with pytest.raises(Unsupported, match="needs a processor with avx512_bf16 or amx_bf16"):
        plan(MODELS["minilm-bert"], "cpu")


def test_openvino_int8_stores_weights_and_embeddings_in_8_bits() -> None:
    artifact = made("finetune+openvino-int8")
    found = bits(artifact)
    assert found["i8"] + found["u8"] == MATRICES + 3  # words, positions, types
    assert found["f32"] == 0
    assert size.measure(artifact)["bits_per_parameter"] < 9
    assert size.measure(artifact)["parameters"] == pytest.approx(
        size.measure(made("finetune"))["parameters"], rel=2e-3
    )
    assert np.abs(predict(made("finetune")) - predict(artifact)).max() < 0.05


@pytest.mark.parametrize(("before", "width"), [("", 48), ("+svd-embeddings:16", 16)])
def test_openvino_int4_stores_word_embeddings_in_4_bits(before: str, width: int) -> None:
    artifact = made(f"finetune{before}+openvino-int4")
    assert constants(artifact)["i4", (30522, width)] == 1
    assert bits(artifact)["i4"] == 1
    assert bits(artifact)["i8"] >= MATRICES
    bytes_of = lambda a: (a.folder / "openvino.bin").stat().st_size  # noqa: E731
    halved = bytes_of(made(f"finetune{before}+openvino-int8")) - 30522 * width / 2
    assert bytes_of(artifact) == pytest.approx(halved, rel=0.15)
    assert np.abs(predict(made("finetune")) - predict(artifact)).max() < 0.1


def test_an_exported_model_is_quantized_the_same() -> None:
    direct, staged = made("finetune+openvino-int8"), made("finetune+openvino+openvino-int8")
    np.testing.assert_allclose(predict(direct), predict(staged), atol=1e-5)


def kinds(recipe: str) -> set[str]:
    import onnx

    return {node.op_type for node in onnx.load(made(recipe).folder / "model.onnx").graph.node}


def test_attention_in_onnx_guards_against_no_empty_text() -> None:
    assert "Softmax" in kinds("finetune+onnx")
    assert "IsNaN" not in kinds("finetune+onnx")


def test_a_graph_does_not_tell_where_its_code_lay() -> None:
    written = (made("finetune+onnx").folder / "model.onnx").read_bytes()
    assert b"site-packages" not in written
    assert b"stack_trace" not in written


def test_static_int8_measures_no_activation_at_a_call() -> None:
    assert "DynamicQuantizeLinear" in kinds("finetune+onnx-int8")
    assert "DynamicQuantizeLinear" not in kinds("finetune+onnx-int8-static")
    artifact = made("finetune+onnx-int8-static")
    found = size.measure(artifact)
    assert found["bits_per_parameter"] < 12
    assert found["macs"] == size.measure(made("finetune+onnx-int8"))["macs"]
    assert np.abs(predict(made("finetune")) - predict(artifact)).max() < 0.05


@pytest.mark.parametrize(("before", "width"), [("", 48), ("+svd-embeddings:16", 16)])
def test_onnx_int4_stores_word_embeddings_in_4_bits(before: str, width: int) -> None:
    import onnx

    artifact, wider = (made(f"finetune{before}+onnx-{kind}") for kind in ("int4", "int8"))
    graph = onnx.load(artifact.folder / "model.onnx").graph
    four = [t.dims for t in graph.initializer if t.data_type == onnx.TensorProto.INT4]
    assert four == [[30522, width]]
    scales = 30522 * 4 * -(-width // onnx_int4.GROUP)
    spared = 30522 * width / 2 - scales
    bytes_of = lambda a: (a.folder / "model.onnx").stat().st_size  # noqa: E731
    assert bytes_of(wider) - bytes_of(artifact) == pytest.approx(spared, rel=0.05)
    assert "DynamicQuantizeLinear" in kinds(f"finetune{before}+onnx-int4")
    found, other = size.measure(artifact), size.measure(wider)
    assert found["parameters"] == other["parameters"]
    assert found["macs"] == other["macs"]
    assert np.abs(predict(made("finetune")) - predict(artifact)).max() < 0.1


def test_onnx_int4_rounds_each_group_by_its_own_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    import onnx
    from onnx.numpy_helper import to_array

    monkeypatch.setattr(onnx_int4, "GROUP", 16)
    exported = made("finetune+onnx").folder / "model.onnx"
    graph = onnx_int4.OnnxInt4().to_quantize(exported).graph
    (look_up,) = (node for node in graph.node if node.op_type == "GatherBlockQuantized")
    kept = {tensor.name: to_array(tensor) for tensor in graph.initializer}
    values = kept[look_up.input[0]].astype(np.float32).reshape(-1, 3, 16)
    scales = kept[look_up.input[2]].reshape(-1, 3, 1)
    before = {tensor.name: to_array(tensor) for tensor in onnx.load(exported).graph.initializer}
    table = max((t for t in before.values() if t.ndim == 2), key=len).reshape(-1, 3, 16)
    assert np.unique(np.abs(scales[5])).size == 3
    assert (np.abs(values * scales - table) <= np.abs(scales) + 1e-6).all()


def test_ranges_are_measured_on_training_texts_alone() -> None:
    from pathlib import Path

    from compressors.sample import calibration
    from compressors.workbench import Workbench
    from models.tokenization import load_tokenizer, tokenize
    from tasks import TASKS

    source = made("finetune")
    bench = Workbench(TASKS["tiny"], 0, "cpu", 1, Path(), lambda *_: None)
    read = {tuple(batch["input_ids"][0]) for batch in calibration(bench, source, 0, 50)}
    tokenizer = load_tokenizer(source.folder, 128)
    known = {tuple(ids) for ids in tokenize(tokenizer, bench.texts("train"))}
    assert len(read) > 40
    assert read <= known


def test_one_text_is_no_calibration(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of ranges (calibration), of importance (batches), and of the norms of what weights read."""
    from pathlib import Path

    from datasets import Dataset

    from compressors.prune_wanda import input_norms
    from compressors.sample import batches, calibration
    from compressors.workbench import Workbench
    from tasks import TASKS

    one = Dataset.from_dict({"input_ids": [[101, 102]], "length": [2], "labels": [0]})
    monkeypatch.setattr(Workbench, "texts", lambda *_: ["one text"])
    monkeypatch.setattr(Workbench, "tokens", lambda *_: one)
    bench = Workbench(TASKS["tiny"], 0, "cpu", 1, Path(), lambda *_: None)
    source = made("finetune")
    for read in (
        lambda: calibration(bench, source, 0, 50),
        lambda: next(batches(bench, source, 0, 50)),
        lambda: input_norms(None, source, bench, 50),
    ):
        with pytest.raises(ValueError, match="training texts: 1 are too few, 8 are needed"):
            read()


def test_a_network_without_tables_has_no_int4_embeddings() -> None:
    import onnx
    import openvino

    x = openvino.opset13.parameter([-1, 4], name="x")
    with pytest.raises(ValueError, match="no table of embeddings"):
        openvino_int4.word_table(openvino.Model([openvino.opset13.relu(x)], [x]))
    with pytest.raises(ValueError, match="no table of embeddings"):
        onnx_int4.word_table(onnx.GraphProto())


def test_without_the_extra_the_row_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "openvino" else find(name)
    )
    with pytest.raises(Unsupported, match=r"pip install -e '\.\[openvino\]'"):
        parse_recipe("finetune+openvino-int8").plan(MODELS["minilm-bert"], "cpu")


def test_the_logits_of_one_call_outlive_the_next() -> None:
    predictor = load_predictor(made("finetune+openvino"), "cpu", 1)
    batches = [predictor.encode([text]) for text in ("good", "a very bad film indeed")]
    first = predictor.forward(batches[0])
    kept = first.copy()
    predictor.forward(batches[1])
    np.testing.assert_array_equal(first, kept)


@pytest.mark.parametrize(
    ("runtime", "quantizers"),
    [
        ("onnx", ("onnx-int8", "onnx-int8-static", "onnx-int4")),
        ("openvino", ("openvino-bf16", "openvino-int8", "openvino-int4")),
    ],
)
def test_a_network_is_converted_once_for_all_its_quantizers(
    runtime: str, quantizers: tuple[str, ...]
) -> None:
    converted = made(f"finetune+{runtime}")
    for quantizer in quantizers:
        artifact = made(f"finetune+{quantizer}")
        assert [cost["step"] for cost in artifact.lineage] == ["finetune", runtime, quantizer]
        assert artifact.lineage[-1]["parent"] == converted.sha256
        assert made(f"finetune+{runtime}+{quantizer}").folder == artifact.folder
        recipe = parse_recipe(f"finetune+{quantizer}")
        assert recipe.prefixes == ["finetune", f"finetune+{runtime}", str(recipe.built)]
        assert str(recipe) == f"finetune+{quantizer}"


@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
def test_an_operation_that_a_runtime_does_not_know_is_named_in_one_line(
    runtime: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from models.exporting import LogitsOnly

    exactly = LogitsOnly.forward

    def with_airy(self: LogitsOnly, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> Any:
        return torch.special.airy_ai(exactly(self, input_ids, attention_mask))

    monkeypatch.setattr(LogitsOnly, "forward", with_airy)
    with pytest.raises(StepFailed, match=rf"^{runtime}: .*airy_ai") as failed:
        made(f"finetune+prune-magnitude:0.31+{runtime}")
    assert "\n" not in str(failed.value)
