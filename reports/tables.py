"""The leaderboard as text, Markdown, LaTeX, CSV, JSON and a page."""

from __future__ import annotations

import csv
import io
import json
import re
import textwrap
from collections import defaultdict
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any

from tabulate import DataRow, TableFormat, tabulate

from reports import gains
from reports.leaderboard import (
    NO_MODEL,
    REFERENCES,
    ROW_FIELDS,
    UNMEASURED,
    Row,
    disturbance,
    notes,
    rows,
    why_not,
)
from reports.page import page
from reports.pick import WITHIN, Pick, extremes, picks, sentences, within
from reports.records import OK, SCHEMA, read_run, write_atomically
from reports.trend import trends

WIDTH = 120
RECIPE_WIDTH = 28
BEST, FRONT = "*", "◆"


def _interval(row: Row, name: str, digits: int) -> str:
    value, low, high = row[name], row[f"{name}_low"], row[f"{name}_high"]
    if value is None:
        return "-"
    if low is None or high is None:
        return f"{value:.{digits}f}"
    return f"{value:.{digits}f} [{low:.{digits}f} {high:.{digits}f}]"


def _number(row: Row, name: str, shape: str, scale: float = 1.0) -> str:
    value = row[name]
    return "-" if value is None else format(value * scale, shape)


Show = Callable[[Row], str]
COLUMNS: tuple[tuple[str, str, int, Show], ...] = (
    ("quality", "quality", 1, lambda r: _interval(r, "quality", 3)),
    ("kept", "quality_retained", 0, lambda r: _number(r, "quality_retained", ".1%")),
    ("shifted", "shifted_quality", 1, lambda r: _number(r, "shifted_quality", ".3f")),
    ("MB", "size_bytes", -1, lambda r: _number(r, "size_bytes", ".1f", 1e-6)),
    (
        "smaller",
        "size_ratio",
        0,
        lambda r: _number(r, "size_ratio", ".1f") + _times(r, "size_ratio"),
    ),
    (
        "RAM MB",
        "memory_inference_peak_bytes",
        -1,
        lambda r: _number(r, "memory_inference_peak_bytes", ".0f", 1e-6),
    ),
    ("p50 ms", "latency_single_p50_ms", -1, lambda r: _number(r, "latency_single_p50_ms", ".2f")),
    ("faster", "speedup", 1, lambda r: _interval(r, "speedup", _digits(r)) + _times(r, "speedup")),
)
"""Header, field, direction (1: larger is better, -1: smaller, 0: not marked), how a cell shows."""


def _digits(row: Row) -> int:
    """Decimals that leave a speed-up three figures."""
    high = row["speedup_high"] or row["speedup"] or 0
    return 2 if high < 10 else 1 if high < 100 else 0


def _times(row: Row, name: str) -> str:
    return "" if row[name] is None else "x"


def _groups(table: list[Row]) -> list[tuple[tuple[str, str, str], list[Row]]]:
    def key(row: Row) -> tuple[str, str, str]:
        return row["task"], row["model"], row["device"]

    return [(name, list(group)) for name, group in groupby(sorted(table, key=key), key=key)]


def _cells(group: list[Row]) -> list[list[str]]:
    """Show the ok rows of a group, the best of each column marked."""
    shown = [row for row in group if row["status"] == OK]
    best: dict[str, Any] = {}
    for _, name, direction, _show in COLUMNS:
        values = [row[name] for row in shown if row[name] is not None]
        if direction and len(values) > 1:
            best[name] = max(values) if direction > 0 else min(values)
    lines = []
    for row in shown:
        mark = FRONT if row["pareto"] else " "
        line = [f"{mark} {_name(row)}"]
        for _, name, _direction, show in COLUMNS:
            is_best = name in best and row[name] == best[name]
            line.append(show(row) + (BEST if is_best else " "))
        lines.append(line)
    return lines


def _name(row: Row) -> str:
    return f"{row['recipe']} s{row['seed']}" if row["seed"] else row["recipe"]


def _order(row: Row) -> tuple[Any, ...]:
    return (row["recipe"] not in REFERENCES, -(row["speedup"] or 0), row["recipe"], row["seed"])


def terminal(table: list[Row], info: dict[str, Any]) -> str:
    """Return the leaderboard for a terminal of 120 characters, with the answer below it."""
    parts = []
    headers = ["  recipe", *(f"{header} " for header, *_ in COLUMNS)]
    for (task, model, device), group in _groups(table):
        group.sort(key=_order)
        metric = next((row["quality_metric"] for row in group if row["quality_metric"]), "quality")
        title = "controls without a model" if model == NO_MODEL else model
        parts.append(f"\n{task} · {title} · {device} (quality: {metric})")
        cells = _cells(group)
        if cells:
            parts.append(_aligned(headers, cells))
        parts += _failures(group)
    for title, found in _gains(table):
        parts += ["", *_wrapped([title]), tabulate(found, gains.HEADERS, "plain", **_RIGHT)]
    parts.append("\n" + _legend(table, info))
    parts += ["", *_wrapped(recommended(table))]
    return "\n".join(parts)


_RIGHT: dict[str, Any] = {
    "colalign": ("left", *["right"] * (len(gains.HEADERS) - 1)),
    "disable_numparse": True,
}


def _gains(table: list[Row]) -> list[tuple[str, list[list[str]]]]:
    """Return a title and the lines of each chain that was also built without each of its steps."""
    return [
        (
            f"{task} · {model} · {device}: what each step of {chain} buys, by the chain built without it",
            [gains.shown(gain) for gain in found],
        )
        for (task, model, device, chain), found in gains.gains(table).items()
    ]


def answers(table: list[Row]) -> list[Pick]:
    """Pick what to ship within `WITHIN` of the best reference; nothing where no model was compared."""
    found = picks(table, [within(WITHIN)])
    return [pick for pick in found if any(row["quality_retained"] for row in pick.measured)]


def recommended(table: list[Row]) -> list[str]:
    """Say what to ship and which rows are the smallest, the fastest and the most accurate."""
    lines = [line for pick in answers(table) for line in (*sentences(pick), *extremes(pick))]
    waiting = sum((row["reason"] or "").startswith(UNMEASURED) for row in table)
    if lines and waiting:
        lines.insert(0, f"this leaves out what is {UNMEASURED}: {waiting} of {len(table)} rows")
    return lines


def _aligned(headers: list[str], cells: list[list[str]]) -> str:
    """Lay out a table within WIDTH; its columns stand one space apart."""
    narrow = TableFormat(None, None, None, None, *2 * [DataRow("", " ", "")], 0, None)
    body = tabulate(
        [headers, *(line for cell in cells for line in _folded(*cell))],
        tablefmt=narrow,
        colalign=("left", *("right" for _ in COLUMNS)),
        disable_numparse=True,
        preserve_whitespace=True,
    )
    head, *lines = body.splitlines()
    return "\n".join([head, "-" * len(head), *lines])


def _folded(recipe: str, *figures: str) -> list[list[str]]:
    """Fold a long recipe after a `+` (a long step after its `:`); its figures stand in the first line."""
    lines = [""]
    steps = re.split(r"(?<=\+)", recipe)
    if any(len(step) > RECIPE_WIDTH for step in steps):
        steps = re.split(r"(?<=[+:])", recipe)
    for step in steps:
        if lines[-1] and len(lines[-1] + step) > RECIPE_WIDTH:
            lines.append("    ")
        lines[-1] += step
    return [[lines[0], *figures], *([line] + [""] * len(figures) for line in lines[1:])]


def _failures(group: list[Row]) -> list[str]:
    """Name the rows without figures, those of one reason together."""
    reasons: dict[str, list[str]] = defaultdict(list)
    for row in group:
        if row["status"] != OK:
            reasons[why_not(row)].append(_name(row))
    lines = [f"{', '.join(names)}: {reason}" for reason, names in reasons.items()]
    return _wrapped(lines, indent="  ! ", hanging="    ")


def _wrapped(lines: list[str], indent: str = "", hanging: str = "  ") -> list[str]:
    wrapper = textwrap.TextWrapper(
        WIDTH, initial_indent=indent, subsequent_indent=hanging, break_on_hyphens=False
    )
    return [part for line in lines for part in wrapper.wrap(line)]


def _legend(table: list[Row], info: dict[str, Any]) -> str:
    machine = info.get("machine", {})
    versions = info.get("versions", {})
    libraries = ", ".join(
        f"{n} {versions[n]}" for n in ("torch", "onnxruntime", "openvino") if n in versions
    )
    samples = sorted({row["latency_samples"] for row in table if row["latency_samples"]})
    calls = "-".join(map(str, dict.fromkeys((samples[0], samples[-1])))) if samples else "0"
    timed = (
        f"p50: one text a call, tokenization included, {calls} calls a row in "
        f"{info.get('pairs', '?')} fresh processes, {info.get('threads', '?')} threads"
    )
    shifted = any(row["shifted_quality"] is not None for row in table)
    instructions = " ".join(machine.get("instructions", []))
    cap = info.get("shifted_cap")
    lines = [
        "",
        f"{FRONT} on the Pareto front of quality, MB and p50 (all models of the task)   {BEST} best of its table",
        "[low high] 95 % interval   kept, smaller, faster: against the model's own reference (eager PyTorch, fp32); "
        "faster: timed in turns with it, the ratio of neighbouring calls, not p50 / p50   "
        "RAM: peak above imports, freed blocks returned (MALLOC_MMAP_THRESHOLD_=131072)",
        *(
            [f"shifted: at most the first {cap} texts of each other domain"]
            if cap and shifted
            else []
        ),
        *([timed] if samples else []),
        f"{machine.get('cpu', 'unknown CPU')}, {machine.get('cores', '?')} cores, {instructions}; {libraries}",
    ]
    lines += info.get("of_rows", [])
    if warning := disturbance(info):
        lines.append(warning)
    return "\n".join(_wrapped(lines[1:]))


def markdown(table: list[Row], info: dict[str, Any]) -> str:
    """Return the leaderboard for a README or a pull request."""
    said = recommended(table)
    parts = [f"# Leaderboard of {info.get('run', 'a run')}", "", *(f"- {s}" for s in said)]
    headers = ["recipe", *(header for header, *_ in COLUMNS)]
    for (task, model, device), group in _groups(table):
        group.sort(key=_order)
        title = "controls without a model" if model == NO_MODEL else model
        parts += ["", f"## {task} · {title} · {device}", ""]
        if cells := _cells(group):
            align = ("left", *("right" for _ in COLUMNS))
            parts.append(tabulate(cells, headers, "pipe", colalign=align, disable_numparse=True))
        parts += ["", *(f"- {line.strip(' !')}" for line in _failures(group))]
    for title, found in _gains(table):
        parts += [f"## {title}", "", tabulate(found, gains.HEADERS, "pipe", **_RIGHT), ""]
    legend = _legend(table, info).splitlines()
    return "\n".join([*parts, "", *(f"{line}  " for line in legend), ""])


_TEX = {character: f"\\{character}" for character in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    FRONT: r"$\diamond$",
}


def latex(table: list[Row]) -> str:
    """Return the leaderboard for a paper: a `tabular` (booktabs) for each task, model and device."""
    headers = ["recipe", *(header for header, *_ in COLUMNS)]
    parts = ["% \\usepackage{booktabs}"]
    for (task, model, device), group in _groups(table):
        group.sort(key=_order)
        lines = [[_tex(text) for text in line] for line in _cells(group)]
        body = tabulate(
            lines,
            [_tex(header) for header in headers],
            "latex_raw",
            colalign=("left", *["right"] * len(COLUMNS)),
            disable_numparse=True,
        )
        for rule in ("toprule", "midrule", "bottomrule"):
            body = body.replace(r"\hline", rf"\{rule}", 1)
        parts.append(f"% {_tex(f'{task}, {model}, {device}')}\n{body}")
    return "\n\n".join(parts) + "\n"


def _tex(text: str) -> str:
    """Escape a text for LaTeX; the best of a column is bold."""
    plain = text.strip()
    escaped = "".join(_TEX.get(character, character) for character in plain.removesuffix(BEST))
    escaped = " ".join(escaped.split())
    return rf"\textbf{{{escaped}}}" if plain.endswith(BEST) else escaped


def csv_text(table: list[Row]) -> str:
    """Return the rows as CSV; a text that a spreadsheet would run as a formula gets a quote."""
    file = io.StringIO()
    writer = csv.DictWriter(file, ROW_FIELDS)
    writer.writeheader()
    for row in table:
        writer.writerow({name: _harmless(value) for name, value in row.items()})
    return file.getvalue()


def _harmless(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value[:1] in tuple("=+-@\t\r") else value


def json_text(table: list[Row], info: dict[str, Any]) -> str:
    """Return `{"schema": 1, "run": {…}, "rows": [row, …]}`."""
    return json.dumps({"schema": SCHEMA, "run": info, "rows": table}, indent=1, ensure_ascii=False)


def write_reports(folder: Path, against: Path | None = None) -> str:
    """Write what `reports_of` makes of a run, and return the terminal's text."""
    board, reports = reports_of(folder, against)
    for name, text in reports.items():
        write_atomically(folder / name, text)
    return board


def reports_of(folder: Path, against: Path | None = None) -> tuple[str, dict[str, str]]:
    """Return the terminal's text of a run, and its reports by file name: Markdown, LaTeX, CSV, JSON, HTML.

    Args:
        against: a folder of baselines; the page then shows each cell over the nights.

    Raises:
        RecordError: it is no run, or damaged.
        BaselineError: the baseline is damaged, edited or too new.
    """
    run = read_run(folder)
    table = rows(run)
    info = run.info | {"of_rows": notes(table, run)}
    over_nights = None if against is None else trends(run, against)
    return terminal(table, info), {
        "leaderboard.md": markdown(table, info),
        "leaderboard.tex": latex(table),
        "leaderboard.csv": csv_text(table),
        "leaderboard.json": json_text(table, run.info),
        "leaderboard.html": page(run, table, answers(table), over_nights),
    }
