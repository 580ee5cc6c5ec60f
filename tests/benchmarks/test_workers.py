"""A worker's end, whatever it is, is one clear error."""

from __future__ import annotations

import ast
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from benchmarks.extensions import module_name
from benchmarks.measures.turns import awake
from benchmarks.session import Session
from benchmarks.workers import (
    Worker,
    WorkerCrashed,
    WorkerFailed,
    WorkerTimeout,
    call_in_worker,
    remove_sockets_of_the_dead,
)
from tests.conftest import ROOT

FILE = """
import atexit, os, signal, time
from pathlib import Path
class Subject:
    def add(self, a, b): return a + b
    def fail(self): raise ValueError("first line\\nlast line")
    def abort(self): os.abort()
    def kill(self): os.kill(os.getpid(), signal.SIGKILL)
    def leave(self): os._exit(3)
    def sleep(self): time.sleep(60)
    def speak(self): print("spoken")
    def promise(self, path): atexit.register(Path(path).write_text, "kept")
def chatter(progress):
    for _ in range(200):
        progress(0.5, "still at it")
        time.sleep(0.1)
def broken(): raise RuntimeError("cannot begin")
"""


@pytest.fixture
def extension(tmp_path: Path) -> str:
    path = tmp_path / "subject.py"
    path.write_text(FILE)
    return str(path)


def subject(extension: str, start: str = "fork", name: str = "Subject", **options: float) -> Worker:
    log = Path(extension).with_suffix(".log")
    target = f"{module_name(Path(extension))}:{name}"
    return Worker(target, {}, log=log, extensions=[extension], start=start, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_what_was_left_for_the_exit_is_done(extension: str, tmp_path: Path, start: str) -> None:
    with subject(extension, start) as worker:
        worker.call("promise", path=str(tmp_path / "promise"))
        worker.call("speak")
    assert (tmp_path / "promise").read_text() == "kept"
    assert "spoken" in Path(extension).with_suffix(".log").read_text()


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_answers(extension: str, start: str) -> None:
    with subject(extension, start) as worker:
        assert worker.call("add", a=1, b=2) == 3
        pid = worker.pid
        assert pid != os.getpid()
    assert not psutil.pid_exists(pid)


def test_an_exception_is_its_last_line_and_the_worker_lives_on(extension: str) -> None:
    with subject(extension) as worker:
        with pytest.raises(WorkerFailed, match=r"^ValueError: last line$") as error:
            worker.call("fail")
        assert "Traceback" in error.value.log.read_text()
        assert worker.call("add", a=1, b=1) == 2


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("abort", "killed by SIGABRT"),
        ("kill", r"SIGKILL \(out of memory\?\)"),
        ("leave", "exit status 3"),
    ],
)
def test_a_crash_says_how(extension: str, how: str, says: str) -> None:
    with subject(extension) as worker, pytest.raises(WorkerCrashed, match=says):
        worker.call(how)


def test_a_slow_call_is_killed(extension: str) -> None:
    with subject(extension, timeout=5) as worker:
        pid = worker.pid
        with pytest.raises(WorkerTimeout, match="no answer within 5 s"):
            worker.call("sleep")
    assert not psutil.pid_exists(pid)


def test_progress_buys_no_time(extension: str) -> None:
    target = f"{module_name(Path(extension))}:chatter"
    started = time.monotonic()
    with pytest.raises(WorkerTimeout, match="no answer within 4 s"):
        call_in_worker(
            target, {}, log=Path(extension).with_suffix(".log"), extensions=[extension], timeout=4
        )
    assert time.monotonic() - started < 15


def test_stopping_a_dead_worker_hides_nothing(extension: str) -> None:
    with subject(extension) as worker, pytest.raises(WorkerCrashed, match="SIGABRT"), awake(worker):
        worker.call("abort")
    assert worker.closed


def test_a_worker_that_was_killed_while_it_was_stopped_says_so(extension: str) -> None:
    with subject(extension) as worker:
        worker.pause()
        os.kill(worker.pid, signal.SIGKILL)
        deadline = time.monotonic() + 10
        while psutil.pid_exists(worker.pid) and time.monotonic() < deadline:
            time.sleep(0.1)
        with pytest.raises(WorkerCrashed, match="SIGKILL"), awake(worker):
            worker.call("add", a=1, b=1)
        assert worker.closed


def test_a_killed_yardstick_costs_one_cell(tmp_path: Path) -> None:
    session = SimpleNamespace(yardstick=None, folder=tmp_path)
    assert Session.gflops(session) > 0
    os.kill(session.yardstick.pid, signal.SIGKILL)
    with pytest.raises(WorkerCrashed, match="SIGKILL"):
        Session.gflops(session)
    assert Session.gflops(session) > 0
    session.yardstick.close()


def test_an_object_that_cannot_begin(extension: str) -> None:
    with pytest.raises(WorkerFailed, match="RuntimeError: cannot begin"):
        subject(extension, name="broken")


def test_what_it_prints_goes_to_the_log(extension: str, capfd: pytest.CaptureFixture[str]) -> None:
    with subject(extension) as worker:
        worker.call("speak")
        assert "spoken" in worker.log.read_text()
    assert "spoken" not in capfd.readouterr().out


def test_a_paused_worker_does_nothing(extension: str) -> None:
    with subject(extension) as worker:
        worker.pause()
        time.sleep(0.2)
        assert psutil.Process(worker.pid).status() == psutil.STATUS_STOPPED
        worker.resume()
        assert worker.call("add", a=2, b=2) == 4


def test_workers_end_with_a_killed_parent(extension: str) -> None:
    code = (
        "import sys, time\nfrom tests.benchmarks.test_workers import subject\n"
        f"worker = subject({extension!r})\nprint(worker.pid, flush=True)\nworker.pause()\ntime.sleep(60)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout
    pid = int(parent.stdout.readline())
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    deadline = time.monotonic() + 10
    while psutil.pid_exists(pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not psutil.pid_exists(pid)


def test_the_socket_of_a_killed_run_goes(extension: str, monkeypatch: pytest.MonkeyPatch) -> None:
    code = (
        "import os, signal\nfrom tests.benchmarks.test_workers import subject\n"
        f"worker = subject({extension!r})\nos.kill(os.getpid(), signal.SIGKILL)"
    )
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:  # tmp_path may be too long for a socket
        monkeypatch.setenv("TMPDIR", folder)
        subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False)
        monkeypatch.setattr("tempfile.tempdir", folder)
        assert list(Path(folder).glob("*/listener-*"))
        remove_sockets_of_the_dead()
        assert not list(Path(folder).glob("pymp-*"))


def test_a_temporary_folder_too_long_for_a_socket(extension: str, tmp_path: Path) -> None:
    folder = tmp_path / ("t" * 100)
    folder.mkdir()
    code = (
        "from tests.benchmarks.test_workers import subject\n"
        f"with subject({extension!r}) as worker: print(worker.call('add', a=3, b=4))"
    )
    environment = os.environ | {"TMPDIR": str(folder)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.stdout == "7\n", done.stderr


def test_a_function_in_a_worker_of_its_own(tmp_path: Path) -> None:
    gflops = call_in_worker("benchmarks.machine:matmul_gflops", {"size": 64}, log=tmp_path / "log")
    assert gflops > 0


def test_a_log_that_cannot_be_written_is_no_traceback(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "log").mkdir()  # opens as little as a file of a read-only disk
    target = {"target": "benchmarks.machine:default_threads"}
    with Worker("benchmarks.workers:Function", target, log=tmp_path / "log") as worker:
        assert worker.call("__call__") >= 1
    assert "Traceback" not in capfd.readouterr().err


def test_a_stopped_worker_keeps_nobody_from_leaving(tmp_path: Path) -> None:
    """Python ends its daemons by a signal that a stopped process never sees, and waits for them."""
    code = (
        "from pathlib import Path\nfrom benchmarks.workers import Worker\n"
        f"log = Path({str(tmp_path / 'log')!r})\n"
        "target = {'target': 'benchmarks.machine:default_threads'}\n"
        "worker = Worker('benchmarks.workers:Function', target, start='spawn', log=log)\n"
        "worker.pause()\nimport psutil, time\n"
        "while psutil.Process(worker.pid).status() != 'stopped': time.sleep(0.01)\n"
        "print(worker.pid)\nraise OSError('nobody closed it')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert "nobody closed it" in done.stderr
    assert not psutil.pid_exists(int(done.stdout))


ZYGOTE = """
import sys
from pathlib import Path
import psutil
from benchmarks.workers import PRELOAD_FOR, Worker, fix_environment, preload
fix_environment(2)
preload(PRELOAD_FOR)
given = {"target": "benchmarks.machine:matmul_gflops"}
with Worker("benchmarks.workers:Function", given, log=Path(sys.argv[1])) as worker:
    own = Path("/proc", str(psutil.Process(worker.pid).ppid()))
    print([task.read_text().strip() for task in own.glob("task/*/comm")])
    print([str(opened.resolve()) for opened in own.glob("fd/*")])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="threads and files are read from /proc")
def test_no_thread_of_a_library_runs_in_the_zygote_and_nothing_is_told_to_its_makers(
    tmp_path: Path,
) -> None:
    """What a thread held while a worker was forked would be held for ever in the worker."""
    pytest.importorskip("openvino")
    done = subprocess.run(
        [sys.executable, "-c", ZYGOTE, str(tmp_path / "log")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    threads, files = done.stdout.splitlines()
    harmless = "jemalloc_bg_thd"  # pyarrow's: jemalloc lets go of its locks when it is forked
    assert len([name for name in ast.literal_eval(threads) if name != harmless]) == 1
    assert "telemetry" not in files
    assert "onnxruntime.db" not in files
