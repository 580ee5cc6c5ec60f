"""Imports go one way only, and listing or reporting needs no heavy library."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

MAY_IMPORT = {
    "tasks": set(),
    "reports": set(),
    "models": {"tasks"},
    "compressors": {"models", "tasks"},
    "benchmarks": {"compressors", "models", "reports", "tasks"},
}
HEAVY = ("torch", "transformers", "datasets", "onnx", "onnxruntime", "sklearn")


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
    return names


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_imports_go_one_way(package: str) -> None:
    allowed = MAY_IMPORT[package] | {package}
    for path in (ROOT / package).rglob("*.py"):
        wrong = imported(path) & set(MAY_IMPORT) - allowed
        assert not wrong, f"{path.relative_to(ROOT)} imports {wrong}"


def heavy_after(code: str) -> str:
    check = f"import sys; print([n for n in {HEAVY} if n in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{check}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    "code",
    [
        "from benchmarks.command import main; [main(['list', w]) for w in ('tasks', 'models', 'steps', 'recipes')]",
        "import reports.tables, reports.leaderboard, reports.comparison, reports.night, reports.dashboards",
        "import pytest; pytest.main(['benchmarks/', '--profile', 'full', '--collect-only', '-q'])",
        "import benchmarks.session",
    ],
)
def test_listing_and_reporting_import_nothing_heavy(code: str) -> None:
    assert heavy_after(code) == "[]"


def test_ten_thousand_cells_are_listed_in_seconds() -> None:
    seeds = ",".join(map(str, range(358)))
    code = (
        "import pytest, time; t = time.process_time(); "
        f"pytest.main(['benchmarks/', '--collect-only', '-qq', '--seed', '{seeds}', '--profile', 'quick']); "
        "print(time.process_time() - t)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    lines = done.stdout.splitlines()
    assert (
        sum(int(line.rpartition(": ")[2]) for line in lines if line.startswith("benchmarks/"))
        >= 40_000
    )
    assert float(lines[-1]) < 20  # the aim is 5 s; machines are busy
