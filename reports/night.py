"""The report of a night: what changed, what got worse, and the evidence; for a terminal, Markdown, JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from reports.records import write_atomically
from reports.verdicts import (
    FAIL_ON,
    NOT_JUDGED,
    OK,
    VERDICTS,
    Comparison,
    Verdict,
)

SCHEMA = 1
NIGHT_JSON, NIGHT_MARKDOWN = "night.json", "night.md"
LARGEST_COMMENT = 60_000
"""Characters: a comment on GitHub holds 65,536."""


def terminal(comparison: Comparison, fail_on: Sequence[str] = FAIL_ON) -> str:
    """Return suspects, then every verdict that is not `ok` with its evidence, then the counts."""
    lines = [_title(comparison, fail_on)]
    lines += [f"changed: {change}" for change in comparison.changes]
    lines += [f"note: {note}" for note in comparison.notes]
    lines += [line_of(verdict) for verdict in _notable(comparison)]
    return "\n".join([*lines, _counts(comparison)])


def _title(comparison: Comparison, fail_on: Sequence[str]) -> str:
    before = comparison.baseline.get("run", "no baseline")
    title = f"{comparison.run['run']} against {before}: {comparison.colour(fail_on)}"
    if undecided := comparison.undecided():
        title += f", {len(undecided)} suspect{'s' * (len(undecided) > 1)} not judged"
    return title


def _notable(comparison: Comparison) -> list[Verdict]:
    found = [verdict for verdict in comparison.verdicts if verdict.verdict != OK]
    return sorted(found, key=lambda verdict: VERDICTS.index(verdict.verdict))


def _counts(comparison: Comparison) -> str:
    counts = comparison.count()
    judged = (v for v in comparison.verdicts if v.verdict not in NOT_JUDGED)
    caught = [v.detectable for v in judged if v.metric == "latency" and v.detectable]
    parts = ", ".join(f"{count} {name}" for name, count in counts.items())
    if caught:
        low, high = (f"{edge:.0%}" for edge in (min(caught), max(caught)))
        span = low if low == high else f"{low} to {high}"
        parts += f"; a slow-down of {span} is found in one night with 95 %"
    return parts or "nothing to compare"


def line_of(verdict: Verdict) -> str:
    """Return a verdict in one line, and its evidence in a second one."""
    line = f"{verdict.verdict}: {verdict.cell} {verdict.metric}: {verdict.rule}"
    return "\n    ".join(filter(None, (line, evidence_of(verdict))))


def evidence_of(verdict: Verdict) -> str:
    """Return both values, the limits, the samples and what could have been seen, in one line."""
    if verdict.baseline is None or verdict.value is None:
        return ""
    shown = {"size": (1e-6, " MB"), "memory": (1e-6, " MB"), "latency": (1, "x")}
    scale, unit = shown.get(verdict.metric, (1, ""))
    was, now = (f"{value * scale:.4g}{unit}" for value in (verdict.baseline, verdict.value))
    parts = [f"{was} -> {now}"]
    if verdict.worse is not None:
        parts[0] += f" ({abs(verdict.worse):.1%} {'worse' if verdict.worse > 0 else 'better'})"
    if verdict.limits:
        parts.append("limits " + ", ".join(_limits(verdict)))
    parts.append(verdict.samples)
    if verdict.detectable is not None:
        parts.append(f"would find {verdict.detectable:.1%}")
    return ", ".join(part for part in parts if part)


def _limits(verdict: Verdict) -> Iterator[str]:
    for name, limit in verdict.limits.items():
        if verdict.metric == "latency":  # in log units, as the pairs are
            yield f"{name} {math.expm1(limit):.1%}"
        elif name == "tolerance":
            yield f"{name} {limit:.1%}"
        else:
            yield f"{name} {limit:.4g}"


def markdown(comparison: Comparison, fail_on: Sequence[str] = FAIL_ON) -> str:
    """Return the report for a pull request's comment or a job's step summary."""
    parts = [f"## {_title(comparison, fail_on)}", "", _counts(comparison), ""]
    if comparison.changes:
        parts += ["What changed:", "", *(f"- {change}" for change in comparison.changes), ""]
    parts += [f"*{note}*\n" for note in comparison.notes]
    table: list[list[str]] = []
    left_out, length = 0, sum(map(len, parts))
    for verdict in _notable(comparison):
        line = [verdict.verdict, f"`{verdict.cell}`", verdict.metric]
        line.append(" · ".join(filter(None, (verdict.rule, evidence_of(verdict)))))
        length += sum(map(len, line)) + 16
        if length > LARGEST_COMMENT:
            left_out += 1
        else:
            table.append([text.replace("|", "\\|") for text in line])
    if table:
        headers = ["verdict", "cell", "metric", "evidence"]
        parts += [" | ".join(["", *line, ""]).strip() for line in [headers, ["---"] * 4, *table]]
    if left_out:
        parts += ["", f"{left_out} more are in {NIGHT_JSON}."]
    return "\n".join([*parts, ""])


def json_text(comparison: Comparison, fail_on: Sequence[str] = FAIL_ON) -> str:
    """Return every verdict with its evidence, one a line."""
    head: dict[str, Any] = {
        "schema": SCHEMA,
        "run": comparison.run["run"],
        "baseline": comparison.baseline.get("run"),
        "status": comparison.colour(fail_on),
        "suspects_not_judged": len(comparison.undecided()),
        "counts": comparison.count(),
        "changed": comparison.changes,
        "notes": comparison.notes,
    }
    verdicts = (json.dumps(vars(verdict), ensure_ascii=False) for verdict in comparison.verdicts)
    opened = json.dumps(head, indent=1, ensure_ascii=False).removesuffix("\n}")
    return opened + ',\n "verdicts": [\n  ' + ",\n  ".join(verdicts) + "\n ]\n}"


def write(folder: Path, comparison: Comparison, fail_on: Sequence[str] = FAIL_ON) -> str:
    """Write `night.json` and `night.md` into a run's folder, and return the terminal's text."""
    write_atomically(folder / NIGHT_JSON, json_text(comparison, fail_on))
    write_atomically(folder / NIGHT_MARKDOWN, markdown(comparison, fail_on))
    return terminal(comparison, fail_on)
