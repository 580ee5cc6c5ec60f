"""A run's folder as a real run leaves it, with figures drawn by a seed: the page needs many rows."""

from __future__ import annotations

import json
from itertools import count, islice, product
from pathlib import Path

import numpy as np

from reports.baselines import promote
from reports.facts import facts_of
from reports.records import RECORDS, RUN, Metric, Record, read_run

HOSTILE = "<script>document.title='run'</script><img src=x onerror=\"document.title='run'\">"
NAME = "<img src=x onerror=\"document.title='run'\">"
MODELS = ("minilm-bert", "minilm-roberta", "mpnet-base")
STEPS = ("int8", "bf16", "onnx", "onnx-int8", "distill:3", "prune-ffn:0.5", "svd:128", "trim-vocab")
FAMILIES = {
    "int8": "quantization",
    "bf16": "quantization",
    "onnx": "conversion",
    "onnx-int8": "quantization",
    "distill:3": "distillation",
    "prune-ffn:0.5": "pruning",
    "svd:128": "factorization",
    "trim-vocab": "vocabulary",
}
TEXTS = 40


def recipes() -> list[tuple[str, ...]]:
    """Return chains, short ones first."""
    return [(), *((a,) for a in STEPS), *((a, b) for a, b in product(STEPS, STEPS) if a != b)]


def make_nights(output: Path, size: int) -> tuple[Path, Path]:
    """Write four nights and `made`, a slower one; promote three. Return `made` and the baselines."""
    for night in range(1, 4):
        folder = make_run(output / f"2026010{night}", size, night)
        promote(facts_of(read_run(folder)), output / "baselines")
    make_run(output / "20260104", size, 4)
    return make_run(output / "made", size, 5, slower=0.1), output / "baselines"


def make_run(folder: Path, size: int, night: int = 0, slower: float = 0.0) -> Path:
    """Write `run.json`, `records.jsonl` and `samples/` of about `size` cells.

    Nights differ in the pairs of their latency alone; `slower` is a log ratio.
    """
    random, noise = np.random.default_rng(0), np.random.default_rng(night)
    (folder / "samples").mkdir(parents=True)
    labels = random.integers(0, 2, TEXTS)
    examples = [[f"{HOSTILE} text {i}", int(label)] for i, label in enumerate(labels)]
    kept = {"labels": ["negative", "<b>positive</b>"], "examples": examples}
    (folder / "samples" / "movies.test.json").write_text(json.dumps(kept))
    cells = islice(((s, m, r) for s in count() for m in MODELS for r in recipes()), size)
    records, planned = [], {}
    for seed, model, chain in cells:
        recipe = "+".join(("finetune", *chain))
        cell = {"task": "movies", "model": model, "recipe": recipe, "device": "cpu", "seed": seed}
        found = _records(folder, cell, chain, labels, random, noise.normal(-slower, 0.02, 5))
        planned[found[0].cell_id] = ["accuracy", "size", "memory", "latency"]
        records += found
    bad = {
        "task": "movies",
        "model": NAME,
        "recipe": "finetune+fp8",
        "device": "cuda",
        "seed": 0,
    }
    records.append(Record("made", bad, "size", "unsupported", f"no GPU here {HOSTILE}"))
    planned[records[-1].cell_id] = ["size"]
    (folder / RECORDS).write_text("".join(f"{record.to_json()}\n" for record in records))
    machine = {"cpu": "a processor", "cores": 2}
    info = {
        "schema": 1,
        "run": folder.name,
        "started": "2026-01-01T00:00:00+00:00",
        "threads": 2,
        "pairs": 3,
        "machine": machine,
        "versions": {"torch": "2.13.0"},
        "notes": [HOSTILE],
        "planned": planned,
    }
    (folder / RUN).write_text(json.dumps(info))
    return folder


def _records(
    folder: Path,
    cell: dict[str, object],
    chain: tuple[str, ...],
    labels: np.ndarray,
    random: np.random.Generator,
    pairs: np.ndarray,
) -> list[Record]:
    gain = float(np.prod([random.uniform(1.1, 2.6) for _ in chain])) if chain else 1.0
    quality = 0.86 - 0.012 * len(chain) + random.normal(0, 0.004)
    size, ms = 91e6 / gain**0.8, 12.3 / gain
    name = f"{cell['model']}-{cell['recipe']}-{cell['seed']}".replace(":", "-")
    logits = np.where(labels[:, None] == [0, 1], 2.0, -2.0) * np.where(
        random.random(TEXTS) < quality, 1, -1
    ).reshape(-1, 1)
    np.savez(folder / "samples" / f"{name}.predictions.npz", test=logits.astype(np.float32))
    seconds = 1e-3 * ms * random.lognormal(0, 0.2, (3, 12, 2))
    np.savez(folder / "samples" / f"{name}.latency.npz", candidate_single=seconds)
    values: dict[str, dict[str, object]] = {
        "build": {"build_seconds": 60.0 + 20 * len(chain)},
        "accuracy": {
            "quality_metric": "accuracy",
            "quality": quality,
            "quality_low": quality - 0.015,
            "quality_high": quality + 0.014,
            "agreement": 0.99 - 0.01 * len(chain),
            "calibration_error": 0.04,
            "macro_f1": quality,
            "shifted_quality": 0.67,
            "shifted_quality_amazon": 0.71,
            "shifted_quality_tweets": 0.63,
        },
        "size": {"size_bytes": size, "parameters": 22_700_000, "nonzero_parameters": 22_700_000},
        "memory": {
            "memory_load_peak_bytes": 2 * size,
            "memory_steady_bytes": 1.5 * size,
            "memory_inference_peak_bytes": 1.8 * size,
            "memory_process_peak_bytes": 1.8 * size + 3e8,
        },
        "latency": {
            "latency_samples": 72,
            "latency_single_p50_ms": ms,
            "latency_single_p95_ms": 1.4 * ms,
            "latency_batch_p50_ms": 20 * ms,
            "throughput_per_s": 32 / (0.02 * ms),
            "speedup": gain,
            "speedup_low": 0.97 * gain,
            "speedup_high": 1.03 * gain,
            "speedup_batch": gain,
        },
    }
    samples = {"accuracy": "predictions", "latency": "latency"}
    lineage = [
        {"step": step, "seconds": 20.0, "peak_bytes": 1_000_000_000}
        for step in ("finetune", *chain)
    ]
    timed = {"threads": 2, "log_speedups": (np.log(gain) + pairs).tolist()}
    built = {
        "families": list(dict.fromkeys(["training", *(FAMILIES[step] for step in chain)])),
        "runtime": "ONNX Runtime" if any("onnx" in step for step in chain) else "PyTorch",
        "lineage": lineage,
    }
    return [
        Record(
            "made",
            cell,
            measure,
            "ok",
            artifact_sha256=name,
            metrics={key: Metric(value, "", None) for key, value in metrics.items()},  # type: ignore[arg-type]
            samples=f"samples/{name}.{samples[measure]}.npz" if measure in samples else None,
            facts={"build": built, "latency": timed}.get(measure, {}),
        )
        for measure, metrics in values.items()
    ]
