"""Quantization by torchao and torch.compile: what lies in the files, and what they compute."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.measures import size
from compressors import STEPS
from compressors.recipe import parse_recipe
from compressors.step import PYTORCH, Plan, Step, Unsupported
from compressors.workbench import Workbench
from models import MODELS
from models.artifact import Artifact, open_artifact, seal
from models.predictors import RUNTIMES, load_predictor
from tasks import TASKS
from tests.compressors.artifacts import header, made

WORDS = "bert.embeddings.word_embeddings"
FFN = "bert.encoder.layer.0.intermediate.dense"
MINILM = "minilm-bert"
MINILM_ROWS, HIDDEN, INNER = 30522, 384, 1536


def bytes_of(artifact: Artifact) -> int:
    return (artifact.folder / "model.safetensors").stat().st_size


def texts(n: int = 24) -> list[str]:
    return [e.text for e in TASKS["tiny"].splits()["test"][:n]]


def predict(artifact: Artifact) -> np.ndarray:
    return predicted(artifact.folder)


@cache
def predicted(folder: Path) -> np.ndarray:
    """Compiling takes long, and a folder never changes: each is asked once."""
    return load_predictor(folder, "cpu", 1).predict(texts())


def small(name: str) -> str:
    """The smallest model that a step takes: the 4-bit kernel wants a width of many 32s."""
    return "minilm-bert" if name == "int4-weights" else "tiny-bert"


def source_of(name: str) -> str:
    """What a step is tried on: one layer where a compiler would take minutes for six of the same."""
    return "finetune+drop-layers:1" if "compile" in name else "finetune"


def applied(step: Step, source: Artifact, folder: Path) -> Artifact:
    """Apply a step whose device this machine lacks: its file can be made and read anywhere."""
    folder.mkdir()
    bench = Workbench(TASKS["tiny"], 0, "cpu", 1, folder, lambda *_: None)
    facts = step.apply(source, bench).manifest
    return seal(folder, {k: v for k, v in facts.items() if k not in ("files", "sha256", "schema")})


def test_compiled_code_is_no_part_of_the_artifact() -> None:
    source, artifact = made("finetune", "tiny-bert"), made("finetune+compile", "tiny-bert")
    assert {f["name"]: f["sha256"] for f in artifact.manifest["files"]} == {
        f["name"]: f["sha256"] for f in source.manifest["files"]
    }
    np.testing.assert_allclose(predict(source), predict(artifact), atol=1e-4)


@pytest.mark.parametrize("step", ["compile", "int8-compiled"])
def test_nothing_is_compiled_after_loading(step: str) -> None:
    import torch

    predictor = load_predictor(made(f"{source_of(step)}+{step}", "tiny-bert"), "cpu", 1)
    words = " ".join(texts(96))
    with torch.compiler.set_stance("fail_on_recompile"):
        for batch in (1, 2, 16, 31, 64):
            for letters in (1, 40, 200, 5000):
                logits = predictor.predict([words[:letters]] * batch, batch_size=batch)
                assert np.isfinite(logits).all()


def test_compile_needs_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    for recipe in ("finetune+compile", "finetune+int8-compiled", "finetune+qat-int8"):
        with pytest.raises(Unsupported, match="C\\+\\+ compiler"):
            parse_recipe(recipe).plan(MODELS["minilm-bert"], "cpu")


@pytest.mark.parametrize("name", ["int8-compiled", "int8-weights"])
def test_int8_stores_8_bits_a_weight_embeddings_included(name: str) -> None:
    artifact = made(f"finetune+{name}", MINILM)
    after = header(artifact)
    scaled = {n for n in after if f"{n.removesuffix('.weight')}.scale" in after}
    assert len({n for n in scaled if n.endswith(".weight")}) == 6 * 6 + 2 + 1
    assert {after[n]["dtype"] for n in scaled if n.endswith(".weight")} == {"I8"}
    assert after[f"{FFN}.weight"]["shape"] == [INNER, HIDDEN]
    assert after[f"{FFN}.scale"]["shape"] == [INNER, 1]
    assert after[f"{WORDS}.weight"]["shape"] == [MINILM_ROWS, HIDDEN]
    assert bytes_of(artifact) < 0.27 * bytes_of(made("finetune", MINILM))
    figures, before = size.measure(artifact), size.measure(made("finetune", MINILM))
    assert figures["parameters"] == before["parameters"]
    assert figures["macs"] == before["macs"]


def test_int4_stores_two_weights_a_byte() -> None:
    artifact = made("finetune+int4-weights", MINILM)
    after = header(artifact)
    packed = {n for n, t in after.items() if t["dtype"] == "U8"}
    assert len(packed) == 6 * 6 + 1 + 1  # six matrices a layer, the pooler's, the words
    assert after[f"{WORDS}.weight"]["shape"] == [MINILM_ROWS, HIDDEN // 2]
    assert after[f"{WORDS}.scale"]["shape"] == [MINILM_ROWS, HIDDEN // 32]
    assert after[f"{FFN}.weight"]["shape"] == [INNER, HIDDEN // 2]
    assert after[f"{FFN}.scale"] | {"data_offsets": None} == {
        "dtype": "BF16",
        "shape": [INNER, HIDDEN // 32],
        "data_offsets": None,
    }
    assert after["classifier.weight"]["dtype"] == "I8"
    assert bytes_of(artifact) < 0.16 * bytes_of(made("finetune", MINILM))
    assert (
        size.measure(artifact)["parameters"] == size.measure(made("finetune", MINILM))["parameters"]
    )


def test_a_table_that_groups_do_not_divide_is_int8() -> None:
    artifact = made("finetune+svd-embeddings:48+int4-weights", MINILM)
    assert header(artifact)[f"{WORDS}.0.weight"]["dtype"] == "I8"
    assert header(artifact)[f"{WORDS}.0.scale"]["shape"] == [MINILM_ROWS, 1]


@pytest.mark.parametrize(
    ("name", "near", "model"),
    [
        ("compile", 1e-4, "minilm-bert"),
        ("int8-weights", 0.15, "minilm-bert"),
        ("int8-weights", 0.15, "minilm-roberta"),
        ("int8-compiled", 0.03, "minilm-roberta"),
        ("int4-weights", 0.6, "minilm-bert"),
        ("int4-weights", 0.6, "minilm-roberta"),
        ("qat-int8", None, "tiny-bert"),
    ],
)
def test_logits_stay_near_the_sources(name: str, near: float | None, model: str) -> None:
    source = source_of(name)
    before, after = predict(made(source, model)), predict(made(f"{source}+{name}", model))
    assert after.shape == before.shape
    assert np.isfinite(after).all()
    if near is not None:
        assert np.abs(before - after).max() < near * max(1.0, np.abs(before).max())


def test_training_through_the_rounding_makes_the_same_format() -> None:
    trained, rounded = (made(f"finetune+{s}", "tiny-bert") for s in ("qat-int8", "int8-compiled"))
    assert trained.format == rounded.format
    assert {n: t["shape"] for n, t in header(trained).items()} == {
        n: t["shape"] for n, t in header(rounded).items()
    }
    assert trained.sha256 != rounded.sha256


def test_training_goes_through_the_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch
    from torchao.quantization.qat import FakeQuantizedLinear

    rounding: list[bool] = []

    def train(workbench: Workbench, network: Any, *_: object, **__: object) -> None:
        linear = [part for part in network.modules() if isinstance(part, torch.nn.Linear)]
        rounding.extend(isinstance(part, FakeQuantizedLinear) for part in linear)

    monkeypatch.setattr(Workbench, "train", train)
    made("finetune+prune-ffn:0.4+qat-int8", "tiny-bert")
    assert len(rounding) == 4 * 6 + 2
    assert all(rounding)


def test_training_sees_the_rounding_that_prediction_does() -> None:
    import torch
    from torchao.quantization import Int8DynamicActivationInt8WeightConfig, quantize_

    from compressors.qat_int8 import prepare

    torch.manual_seed(0)
    exact = torch.nn.Sequential(torch.nn.Linear(32, 16))
    tokens = torch.randn(3, 5, 32)
    fake = torch.nn.Sequential(torch.nn.Linear(32, 16))
    fake.load_state_dict(exact.state_dict())
    prepare(fake)
    seen = fake(tokens)
    off = (seen - exact(tokens)).abs().max()
    quantize_(exact, Int8DynamicActivationInt8WeightConfig(set_inductor_config=False))
    assert (seen - exact(tokens)).abs().max() < 0.5 * off
    seen.sum().backward()
    assert fake[0].weight.grad.abs().sum() > 0


@pytest.mark.parametrize("name", ["int8-weights", "int8-compiled", "int4-weights", "compile"])
def test_smaller_and_factored_networks_are_accepted(name: str) -> None:
    for first in ("prune-ffn:0.3", "distill:2"):
        artifact = made(f"finetune+{first}+{name}", small(name))
        before = predict(made(f"finetune+{first}", small(name)))
        assert np.abs(before - predict(artifact)).max() < 0.6


@pytest.mark.parametrize(
    "name", ["int8-weights", "int8-compiled", "int4-weights", "qat-int8", "compile"]
)
def test_an_artifact_works_wherever_it_is_moved(name: str, tmp_path: Path) -> None:
    import shutil

    artifact = made(f"finetune+{name}", small(name))
    moved = open_artifact(shutil.copytree(artifact.folder, tmp_path / "moved"))
    # Code that is generated a second time may add in another order.
    np.testing.assert_allclose(predict(artifact), predict(moved), atol=1e-4)
    assert {Path(f["name"]).suffix for f in moved.manifest["files"]} == {".json", ".safetensors"}


@pytest.mark.parametrize("name", ["int8-weights", "int8-compiled", "int4-weights", "compile"])
def test_logits_do_not_depend_on_the_order_in_a_batch(name: str) -> None:
    predictor = load_predictor(made(f"finetune+{name}", small(name)), "cpu", 1)
    asked = texts(32)
    one = predictor.predict(asked, batch_size=len(asked))
    other = predictor.forward(predictor.encode(asked))
    assert np.abs(one - other).max() <= 2e-2 * max(1.0, float(np.abs(one).max()))


def test_regression(few: str) -> None:
    for name in ("int8-weights", "int8-compiled", "qat-int8"):
        logits = predict(made(f"finetune+{name}", "tiny-bert", few))
        assert logits.shape == (24, 1)
        assert np.isfinite(logits).all()


@pytest.mark.parametrize(("name", "hidden"), [("int4-weights", 48), ("fp8", 40)])
def test_a_width_that_the_kernel_cannot_take_is_refused(name: str, hidden: int) -> None:
    shape = replace(MODELS["tiny-bert"].shape, hidden=hidden)
    device = STEPS[name].devices[0]
    with pytest.raises(Unsupported, match=f"this model's is {hidden}"):
        STEPS[name]().plan(Plan(PYTORCH, shape), device)


@pytest.mark.parametrize("name", ["fp16", "fp8"])
def test_gpu_formats_are_unsupported_on_the_cpu(name: str) -> None:
    with pytest.raises(Unsupported, match="not on cpu"):
        parse_recipe(f"finetune+{name}").plan(MODELS["minilm-bert"], "cpu")
    assert "cuda" in RUNTIMES[STEPS[name].produces or ""].devices


def test_fp16_halves_the_file(tmp_path: Path) -> None:
    source = made("finetune", MINILM)
    artifact = applied(STEPS["fp16"](), source, tmp_path / "fp16")
    assert {t["dtype"] for t in header(artifact).values()} == {"F16"}
    assert bytes_of(artifact) == pytest.approx(bytes_of(source) / 2, rel=0.02)
    assert np.abs(predict(source) - predict(artifact)).max() < 0.02


def test_fp8_is_refused_by_a_gpu_that_cannot_multiply_it(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = parse_recipe("finetune+fp8").plan
    monkeypatch.setattr("compressors.fp8.capability", lambda: (9, 0))
    assert plan(MODELS["minilm-bert"], "cuda").format == "pytorch-fp8"
    monkeypatch.setattr("compressors.fp8.capability", lambda: (7, 5))
    with pytest.raises(Unsupported, match=r"compute capability 8\.9; this one has 7\.5"):
        plan(MODELS["minilm-bert"], "cuda")


def test_fp8_stores_8_bits_a_weight_embeddings_included(tmp_path: Path) -> None:
    source = made("finetune", MINILM)
    artifact = applied(STEPS["fp8"](), source, tmp_path / "fp8")
    after = header(artifact)
    assert after[f"{FFN}.weight"]["dtype"] == "F8_E4M3"
    assert after[f"{FFN}.scale"]["shape"] == [INNER, 1]
    assert after[f"{WORDS}.weight"]["dtype"] == "I8"
    assert after["classifier.weight"]["dtype"] == "BF16"  # two outputs are no multiple of 16
    assert np.abs(predict(source) - predict(artifact)).max() < 0.5
