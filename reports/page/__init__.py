"""`leaderboard.html`: one file that works from the disk, without a network, and asks nobody for anything."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from reports.leaderboard import REFERENCES, Row, disturbance, why_not
from reports.page.details import details
from reports.pick import Pick, describe, sentences
from reports.records import OK, Run, cell_id
from reports.trend import Trends

SHOWN = (
    *("task", "model", "recipe", "families", "device", "runtime", "seed", "status", "reason"),
    *("quality_metric", "quality", "quality_low", "quality_high", "quality_retained"),
    *("agreement", "shifted_quality", "calibration_error", "size_bytes", "size_ratio"),
    *("parameters", "nonzero_parameters", "memory_load_peak_bytes", "memory_steady_bytes"),
    *("memory_inference_peak_bytes", "memory_process_peak_bytes", "memory_ratio"),
    *("load_seconds", "latency_samples", "latency_single_p50_ms", "latency_single_p95_ms"),
    *("latency_batch_p50_ms", "throughput_per_s", "speedup", "speedup_low", "speedup_high"),
    *("speedup_batch", "speedup_same_runtime", "build_seconds", "pareto"),
)
"""The fields of a row that the page has, in order."""


@cache
def _plotly() -> str:
    """Return the script of Plotly as its package brings it, gzip in base64: two fifths of its bytes."""
    script = (files("plotly") / "package_data" / "plotly.min.js").read_bytes()
    return base64.b64encode(gzip.compress(script, mtime=0)).decode()


def page(run: Run, table: list[Row], answers: list[Pick], trends: Trends | None = None) -> str:
    """Return the whole page.

    Whatever stands in names and texts is data: it is written as JSON without `<`, shown as text,
    and no script runs but those whose nonce, a hash of all data, is in the page's policy.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    data = {
        "fields": SHOWN,
        "rows": [[_short(_said(row, name)) for name in SHOWN] for row in table],
        "ids": [cell_id(row) for row in table],
        "details": details(run, table),
        "references": REFERENCES,
        "trends": None if trends is None else _over_nights(trends),
    }
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    environment = Environment(
        loader=PackageLoader("reports.page", "."), autoescape=True, undefined=StrictUndefined
    )
    return environment.get_template("template.html").render(
        run=run.info.get("run", run.folder.name),
        started=run.info.get("started", ""),
        machine=_machine(run.info),
        warning=disturbance(run.info),
        notes=run.info.get("notes", []),
        answers=[_answer(pick) for pick in answers],
        count=len(table),
        data=text.replace("<", "\\u003c"),
        nonce=hashlib.sha256(text.encode("utf-8", errors="replace")).hexdigest()[:32],
        style=_file("style.css"),
        script=_file("script.js"),
        plotly=_plotly(),
    )


def _file(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


def _said(row: Row, name: str) -> Any:
    return why_not(row) if name == "reason" and row["status"] != OK else row[name]


def _short(value: Any) -> Any:
    """Write a figure with six digits: a page is no archive."""
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _over_nights(trends: Trends) -> dict[str, Any]:
    """Name each night once: a point is the night's index and the value."""
    nights = trends.nights
    index = {night: i for i, night in enumerate(nights)}

    def kind(night: str) -> str:
        return "now" if night == trends.now else "promoted" if night in trends.promoted else "since"

    return {
        "nights": [[night, kind(night)] for night in nights],
        "cells": {
            name: {
                metric: {
                    "points": [[index[night], _short(v)] for night, v in trend.points.items()],
                    "level": _short(trend.level),
                    "limit": _short(trend.limit),
                    "said": trend.said,
                }
                for metric, trend in cell.items()
            }
            for name, cell in trends.cells.items()
        },
    }


def _machine(info: dict[str, Any]) -> str:
    machine, versions = info.get("machine", {}), info.get("versions", {})
    libraries = [f"{n} {versions[n]}" for n in ("torch", "onnxruntime") if n in versions]
    cores = f"{machine['cores']} cores" if machine.get("cores") else ""
    threads = f"{info['threads']} threads" if info.get("threads") else ""
    return " · ".join(filter(None, [machine.get("cpu"), cores, threads, *libraries]))


def _answer(pick: Pick) -> dict[str, Any]:
    """Cut the answer into what the page shows large, and the rest."""
    first, *others = sentences(pick)
    best = pick.best
    return {
        "where": pick.where,
        "recipe": best["recipe"] if best else None,
        "id": cell_id(best) if best else None,
        "figures": describe(best).partition(": ")[2] if best else first.partition(": ")[2],
        "others": others,
    }
