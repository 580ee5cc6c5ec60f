"""The commands of the gate, as they are typed: what they print, and their exit status."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.command import main
from reports.baselines import FILE, Baseline, read
from reports.dashboards import FILES
from reports.records import RECORDS, RUN, Record, read_run
from tests.reports.made import make_run

CELLS = 3
CELL = "movies/minilm-bert/finetune+{}/cpu/s0"


class Typed:
    """Commands over a folder of runs and one of baselines."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.output, self.baselines, self.capsys = folder / "runs", folder / "baselines", capsys
        self.out = self.error = ""

    def night(self, day: int, size: int = CELLS, slower: float = 0.0) -> Path:
        return make_run(self.output / f"202601{day:02}", size, day, slower)

    def __call__(self, command: str, *arguments: object) -> int:
        """Run a command, keep what it prints, and return its exit status."""
        status = main([command, *map(str, arguments), "--output", str(self.output)])
        self.out, self.error = self.capsys.readouterr()
        return status

    def promote(self, run: Path, *options: str) -> int:
        return self("promote", run.name, "--to", self.baselines, *options)

    @property
    def baseline(self) -> Baseline:
        return read(next(self.baselines.glob(f"cpu-*/{FILE}")))


@pytest.fixture
def typed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Typed:
    return Typed(tmp_path, capsys)


def crash(run: Path) -> None:
    """Let the memory of every quantized cell of a run have failed."""
    records = [
        replace(record, status="failed", reason="the process crashed")
        if (record.measure, record.cell["recipe"]) == ("memory", "finetune+int8")
        else record
        for record in read_run(run).records
    ]
    (run / RECORDS).write_text("".join(f"{record.to_json()}\n" for record in records))


def rewrite(run: Path, measure: str, change: Callable[[Record], object]) -> None:
    """Change every record of a measure."""
    records = read_run(run).records
    for record in records:
        if record.measure == measure:
            change(record)
    (run / RECORDS).write_text("".join(f"{record.to_json()}\n" for record in records))


def disturb(run: Path, cell: str) -> None:
    """Let other work have come and gone while a cell of a run was timed."""

    def moved(record: Record) -> None:
        if record.cell_id == cell:
            pairs = len(record.facts["log_speedups"])
            record.facts["log_reference_work"] = [0.2 * i for i in range(pairs)]

    rewrite(run, "latency", moved)


def move(run: Path) -> None:
    """Let a run have been made on another machine."""
    info = json.loads((run / RUN).read_text())
    (run / RUN).write_text(json.dumps(info | {"machine": {"cpu": "another"}}))


def test_promote_says_what_it_replaces(typed: Typed) -> None:
    assert typed.promote(typed.night(1)) == 0
    assert "a new baseline" in typed.out
    assert f"{CELL.format('int8')}: new" in typed.out
    assert typed.promote(typed.night(2)) == 0
    assert f"replaces that of 20260101 ({CELLS} cells)" in typed.out
    assert typed.baseline.info["run"] == "20260102"


def test_promote_refuses_failed_cells_unless_told(typed: Typed) -> None:
    crash(run := typed.night(1))
    assert typed.promote(run) == 2
    assert "leanboard: 20260101 has a failed cell: movies/" in typed.error
    assert "the process crashed" in typed.error
    assert not typed.baselines.exists()
    assert typed.promote(run, "--allow-failed") == 0
    assert CELL.format("int8") not in typed.baseline.cells
    assert len(typed.baseline.cells) == CELLS - 1


def test_promote_refuses_a_red_night_unless_told(typed: Typed) -> None:
    typed.promote(typed.night(1))
    assert typed.promote(typed.night(2, slower=0.3)) == 2
    assert "leanboard: 20260102 is red against 20260101" in typed.error
    assert typed.baseline.info["run"] == "20260101"
    assert typed.promote(typed.output / "20260102", "--allow-failed") == 0
    assert f"accepted regressed: {CELL.format('int8')} latency: slower by" in typed.out
    assert typed.baseline.info["run"] == "20260102"


def test_promote_refuses_other_threads_and_fewer_measures_unless_told(typed: Typed) -> None:
    typed.promote(typed.night(1))
    run = typed.night(2)
    rewrite(run, "latency", lambda record: record.facts.update(threads=1))
    assert typed("compare", typed.baselines, run) == 0
    assert "20260102 against 20260101: void\n" in typed.out
    assert "a slow-down of" not in typed.out
    assert typed.promote(run) == 2
    assert "is void against" in typed.error
    assert "latency: threads: 2 -> 1: promote" in typed.error
    assert typed.promote(run, "--allow-failed") == 0
    assert f"{CELL.format('int8')}: 2 -> 1 threads: its history begins anew" in typed.out
    assert f"accepted incomparable: {CELL.format('int8')} latency: threads: 2 -> 1" in typed.out
    assert {len(nights) for nights in typed.baseline.nights.values()} == {1}
    rewrite(run, "size", lambda record: record.metrics.clear())
    assert typed.promote(run, "--partial") == 2
    assert "is red against 20260102 (3 missing, " in typed.error


def test_promote_forgets_what_a_run_lacks_only_with_prune(typed: Typed) -> None:
    typed.promote(typed.night(1))
    assert typed.promote(typed.night(2, size=CELLS - 1)) == 2
    assert f"1 of the cells of 20260101, {CELL.format('bf16')} first: add" in typed.error
    assert typed.promote(typed.output / "20260102", "--partial") == 0
    assert f"{CELL.format('bf16')}: kept as it was" in typed.out
    assert len(typed.baseline.cells) == CELLS
    assert typed.promote(typed.night(3, size=CELLS - 1), "--prune") == 0
    assert f"{CELL.format('bf16')}: gone" in typed.out
    assert len(typed.baseline.cells) == CELLS - 1


def test_promote_keeps_no_cells_beside_those_of_other_libraries(typed: Typed) -> None:
    typed.promote(typed.night(1))
    run = typed.night(2, size=CELLS - 1)
    info = json.loads((run / RUN).read_text())
    (run / RUN).write_text(json.dumps(info | {"versions": {"torch": "another"}}))
    assert typed.promote(run, "--partial") == 2
    assert "was made with other libraries than 20260101" in typed.error
    assert typed.promote(run, "--prune") == 0


def test_prune_forgets_what_is_missing_alone(typed: Typed) -> None:
    """A GPU that is gone is; the seeds of other nights are not."""
    run = typed.night(1)
    records = read_run(run).records
    info = json.loads((run / RUN).read_text())
    info["machine"]["gpu"] = "H100, 550.1"
    for part, value in (("device", "cuda"), ("seed", 1)):
        more = [replace(r, cell=r.cell | {part: value}) for r in records]
        info["planned"] |= {
            r.cell_id: info["planned"][records[0].cell_id] for r in more if r.status == "ok"
        }
        with (run / RECORDS).open("a") as file:
            file.writelines(f"{record.to_json()}\n" for record in more)
    (run / RUN).write_text(json.dumps(info))
    assert typed.promote(run) == 0
    assert len(list(typed.baselines.glob("cuda-*"))) == 1
    today = typed.night(2)
    assert typed("compare", typed.baselines, today) == 1
    assert typed.promote(today, "--prune") == 0
    gone = [line.removesuffix(": gone") for line in typed.out.splitlines() if "gone" in line]
    assert gone
    assert all("/cuda/s0" in cell for cell in gone)
    assert typed("compare", typed.baselines, today) == 0
    assert any(cell.endswith("/cpu/s1") for cell in typed.baseline.cells)


def test_promote_names_the_latency_that_it_leaves_out(typed: Typed) -> None:
    typed.promote(typed.night(1))
    cell = CELL.format("int8")
    run = typed.night(2)
    disturb(run, cell)
    assert typed.promote(run) == 0
    assert f"{cell}: its latency enters no history: its rounds were disturbed" in typed.out
    assert typed("history", "--against", typed.baselines) == 0
    assert f"  promoted 20260102: {CELLS - 1} cells timed, not {cell} (its" in typed.out


def test_promote_says_that_a_run_is_older(typed: Typed) -> None:
    for day in (2, 1):
        info = json.loads(((run := typed.night(day)) / RUN).read_text())
        (run / RUN).write_text(json.dumps(info | {"started": f"2026-01-{day:02}"}))
        typed.promote(run)
    assert "20260102 (3 cells), which is a later run than this one" in typed.out


@pytest.mark.parametrize("promoted", [True, False], ids=["a baseline", "a run"])
@pytest.mark.parametrize(
    ("size", "slower", "options", "status", "says"),
    [
        (CELLS, 0.0, [], 0, "20260102 against 20260101: green"),
        (CELLS, 0.3, [], 1, "20260102 against 20260101: red"),
        (CELLS, 0.3, ["--fail-on", "missing,void"], 0, "regressed: movies/"),
        (CELLS - 1, 0.0, [], 1, "missing: movies/"),
        (CELLS - 1, 0.0, ["--partial"], 0, "green"),
        (CELLS - 1, 0.0, ["--fail-on", "regressed"], 0, "missing: movies/"),
        (CELLS + 1, 0.0, [], 0, "new: movies/"),
        (CELLS + 1, 0.0, ["--fail-on", "regressed, new"], 1, "red"),
    ],
)
def test_compare_exits_with_0_or_1(
    typed: Typed,
    promoted: bool,
    size: int,
    slower: float,
    options: list[str],
    status: int,
    says: str,
) -> None:
    before, after = typed.night(1), typed.night(2, size, slower)
    if promoted:
        typed.promote(before)
    given = typed.baselines if promoted else before.name
    assert typed("compare", given, after.name, *options) == status
    assert says in typed.out
    assert not typed.error


@pytest.mark.parametrize("promoted", [True, False], ids=["a baseline", "a run"])
def test_compare_exits_with_2_where_nothing_can_be_compared(typed: Typed, promoted: bool) -> None:
    before, after = typed.night(1), typed.night(2)
    typed.promote(before)
    move(after)
    assert typed("compare", typed.baselines if promoted else before.name, after.name) == 2
    assert "not comparable" in typed.out
    assert "the baseline is of another machine: cpu-a-processor-" in typed.out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["20260101", "20260109"], "no run '20260109'; runs in "),
        (["nothing", "20260101"], "no run 'nothing'; runs in "),
        (["20260101", "20260101", "--fail-on", "regresed"], "regressed"),
        (["20260101", "20260101", "--fail-on", ","], "--fail-on ',': needs one or more of"),
        (["{baselines}", "20260101"], "baselines holds neither baselines nor a run"),
        (["20260101", "{baselines}"], "baselines is no run: it has no run.json"),
        (["{output}/20260101/run.json", "20260101"], "run.json is a file: give a run's folder"),
    ],
)
def test_compare_exits_with_2_where_something_is_not_there(
    typed: Typed, arguments: list[str], says: str
) -> None:
    typed.night(1)
    typed.baselines.mkdir()
    assert typed("compare", *(argument.format(**vars(typed)) for argument in arguments)) == 2
    assert typed.error.startswith("leanboard: ")
    assert says in typed.error
    assert not typed.out


def test_compare_says_that_baselines_come_first(typed: Typed) -> None:
    typed.promote(run := typed.night(1))
    assert typed("compare", run.name, typed.baselines) == 2
    assert typed.error == (
        f"leanboard: {typed.baselines} holds baselines: they come first, then the run\n"
    )


@pytest.mark.parametrize(
    ("share", "what"), [(0.5, r"line \d+ was cut and is left out"), (0.0, "is empty")]
)
def test_what_a_crash_cut_is_named_beside_what_it_cost(
    typed: Typed, share: float, what: str
) -> None:
    typed.promote(typed.night(1))
    path = (run := typed.night(2)) / RECORDS
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    assert typed("compare", typed.baselines, run) == 1
    assert re.search(f"^leanboard: .*{what}$", typed.error, re.M)
    assert re.search(f"^note: .*{what}$", typed.out, re.M)
    assert "cell: failed: not measured: " in typed.out


def test_compare_speaks_to_people_to_pull_requests_and_to_programs(typed: Typed) -> None:
    before, after = typed.night(1), typed.night(2, slower=0.3)
    said = {}
    for form in ("terminal", "markdown", "json"):
        assert typed("compare", before, after, "--format", form) == 1
        said[form] = typed.out
    assert said["terminal"].startswith("20260102 against 20260101: red\n")
    assert said["markdown"].startswith("## 20260102 against 20260101: red\n")
    assert "| regressed | `movies/" in said["markdown"]
    found = json.loads(said["json"])
    assert (found["run"], found["baseline"], found["status"]) == ("20260102", "20260101", "red")
    assert found["counts"]["regressed"] == len(
        [verdict for verdict in found["verdicts"] if verdict["verdict"] == "regressed"]
    )


@pytest.mark.parametrize("command", ["compare", "promote", "history"])
def test_a_damaged_baseline_is_named_and_stays(typed: Typed, command: str) -> None:
    typed.promote(typed.night(1))
    path = next(typed.baselines.glob(f"cpu-*/{FILE}"))
    path.write_text(cut := path.read_text()[:1000])
    arguments = {
        "compare": [typed.baselines, typed.night(2).name],
        "promote": ["20260102", "--to", typed.baselines],
        "history": ["--against", typed.baselines],
    }
    assert typed(command, *arguments[command]) == 2
    assert typed.error.startswith(f"leanboard: {path} is cut or damaged")
    assert path.read_text() == cut


def test_history_lists_the_nights(typed: Typed) -> None:
    assert typed("history", "--against", typed.baselines) == 2
    assert f"`leanboard promote RUN --to {typed.baselines}` makes one" in typed.error
    for day in (1, 2):
        typed.promote(typed.night(day))
    typed.night(3)
    assert typed("history", "--against", typed.baselines) == 0
    lines = typed.out.splitlines()
    assert f"  promoted 20260101: {CELLS} cells timed" in lines
    assert f"  promoted 20260102: {CELLS} cells timed (its figures are the baseline)" in lines
    assert f"  ran 20260103: {CELLS} cells timed" in lines


def test_export_dashboard_writes_into_the_run(typed: Typed) -> None:
    run = typed.night(1)
    assert typed("export-dashboard", run.name) == 0
    assert typed.out.split() == [str(run / name) for name in FILES]
    for name in FILES:
        assert json.loads((run / name).read_text())
    crash(run)
    assert typed("export-dashboard", run.name) == 0
    assert f"left out: {CELL.format('int8')}: failed: the process crashed" in typed.error
    assert typed("export-dashboard", "latest") == 2
    assert typed.error.startswith("leanboard: no run 'latest'; runs in ")
