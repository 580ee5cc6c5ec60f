"""The model card that goes with an exported row: what it is, how good, how fast, at what cost, how to load it."""

from __future__ import annotations

import html
import json
from dataclasses import dataclass, field
from typing import Any

from tabulate import tabulate

from reports.leaderboard import NO_MODEL, step_of

Row = dict[str, Any]


@dataclass(frozen=True)
class Origin:
    """What a card says beside the row: where everything comes from."""

    labels: tuple[str, ...]
    lineage: list[dict[str, Any]]
    model_source: str
    model_licence: str
    data_source: str
    data_licence: str
    data_sha256: str
    max_tokens: int | None
    """Where texts are cut; None if they are not."""
    other_models: tuple[tuple[str, str, str], ...] = ()
    """Name, source and licence of each further model that taught or was taught: its steps read it."""
    pairs: bool = False
    """Each text is two sentences."""
    sizes: dict[str, int] = field(default_factory=dict)
    """Examples of each split."""


def card(row: Row, origin: Origin, info: dict[str, Any], loading: str, note: str = "") -> str:
    """Return `README.md` of an exported row.

    Args:
        info: `run.json` of its run.
        loading: Python that opens the folder and makes `logits` of `texts`.
        note: what is different from the measured files, if anything is.
    """
    machine, versions = info.get("machine", {}), info.get("versions", {})
    has_model = row["model"] != NO_MODEL
    parts = [
        _front_matter(row),
        f"# {_text(row['recipe'])}" + (f" of {_text(row['model'])}" if has_model else ""),
        f"A text classifier for `{_text(row['task'])}`, compressed and measured by Leanboard."
        if origin.labels
        else f"A regressor for `{_text(row['task'])}`, compressed and measured by Leanboard.",
        note and f"**{note}**",
        "## How to load it",
        f"```python\n{loading}\n```",
        f"Outputs, in order: {', '.join(map(_code, origin.labels)) or 'one value'}."
        + (f" Texts are cut at {origin.max_tokens} tokens." if origin.max_tokens else "")
        + (" Each is a pair of sentences: `texts = [(first, second), …]`." if origin.pairs else ""),
        "## How good it is",
        tabulate(_figures(row), ("figure", "value"), "pipe", disable_numparse=True),
        f"Measured on {_text(machine.get('cpu', 'an unknown CPU'))}, {machine.get('cores', '?')} "
        f"cores, {row['threads']} threads, device {row['device']}, seed {row['seed']}; "
        + ", ".join(f"{name} {versions[name]}" for name in LIBRARIES if name in versions)
        + ". The interval is a 95 % one; speed-up, memory and size are against the uncompressed "
        "model (eager PyTorch, fp32).",
        "## How it was made",
        tabulate(_steps(origin.lineage, row["model"]), ("step", "seconds", "peak memory"), "pipe"),
        f"- base model: {_text(origin.model_source)} (licence: {_text(origin.model_licence)})"
        if has_model
        else "- base model: none",
        *(
            f"- read by its steps too: {_text(name)}, {_text(source)} (licence: {_text(licence)})"
            for name, source, licence in origin.other_models
        ),
        f"- data: {_text(origin.data_source)} (licence: {_text(origin.data_licence)}), "
        + ", ".join(f"{name} {size:,}" for name, size in origin.sizes.items())
        + f"; sha256 `{origin.data_sha256[:16]}…`",
        f"- artifact: sha256 `{row['artifact_sha256']}`, run `{_text(info.get('run', '?'))}`",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


LIBRARIES = ("torch", "transformers", "onnxruntime", "openvino")


def _text(value: Any) -> str:
    """Make any name harmless in Markdown."""
    return html.escape(str(value), quote=False).replace("|", "&#124;").replace("`", "'")


def _code(value: Any) -> str:
    """Show a name as code, where HTML means nothing."""
    return f"`{' '.join(str(value).replace('`', chr(39)).split())}`"


def _front_matter(row: Row) -> str:
    """The header that model hubs read; JSON is YAML too."""
    head = {
        "pipeline_tag": "text-classification",
        "tags": ["leanboard", "compression", *(row["families"] or "").split()],
        "metrics": [row["quality_metric"]],
    }
    lines = (f"{name}: {json.dumps(value)}" for name, value in head.items())
    return "\n".join(["---", *lines, "---"])


def _figures(row: Row) -> list[tuple[str, str]]:
    """Name every figure that the row has."""
    metric = str(row["quality_metric"])
    figures = [
        (metric, _interval(row, "quality", "{:.3f}")),
        ("kept of the uncompressed model's", _shown(row["quality_retained"], "{:.1%}")),
        ("agreement with it", _shown(row["agreement"], "{:.1%}")),
        (f"{metric} on other domains", _shown(row["shifted_quality"], "{:.3f}")),
        ("calibration error", _shown(row["calibration_error"], "{:.3f}")),
        ("size", _shown(row["size_bytes"], "{:.1f} MB", 1e-6)),
        ("times smaller", _shown(row["size_ratio"], "{:.1f}")),
        ("parameters", _shown(row["parameters"], "{:,}")),
        (
            "memory of the whole process (`MALLOC_MMAP_THRESHOLD_=131072`)",
            _shown(row["memory_process_peak_bytes"], "{:.0f} MB", 1e-6),
        ),
        ("p50 of one text", _shown(row["latency_single_p50_ms"], "{:.2f} ms")),
        ("p95 of one text", _shown(row["latency_single_p95_ms"], "{:.2f} ms")),
        ("texts a second, 32 at a time", _shown(row["throughput_per_s"], "{:.0f}")),
        ("times faster", _interval(row, "speedup", "{:.2f}")),
        ("time to load", _shown(row["load_seconds"], "{:.2f} s")),
        ("time to build", _shown(row["build_seconds"], "{:.0f} s")),
    ]
    return [(name, value) for name, value in figures if value]


def _shown(value: Any, shape: str, scale: float = 1) -> str:
    return "" if value is None else shape.format(value * scale if scale != 1 else value)


def _interval(row: Row, name: str, shape: str) -> str:
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    interval = "" if None in (low, high) else f" [{shape.format(low)} {shape.format(high)}]"
    return _shown(row[name], shape) + interval


def _steps(lineage: list[dict[str, Any]], model: str) -> list[tuple[str, str, str]]:
    return [
        (
            _text(step_of(step, model)),
            f"{step['seconds']:.1f}",
            "" if step.get("peak_bytes") is None else f"{step['peak_bytes'] / 1e6:.0f} MB",
        )
        for step in lineage
    ]
