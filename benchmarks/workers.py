"""Worker processes: everything heavy or dangerous happens in one, never in pytest's own process.

A worker holds one object of ours and answers calls of its methods over a pipe. It is started in a
fresh interpreter (`spawn`) or forked from a zygote that has imported the runtimes already
(`fork`). What it prints goes to a log file; how it ends (an exception, a signal, a time-out) is
told in one line.
"""

from __future__ import annotations

import atexit
import contextlib
import faulthandler
import importlib.util
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from multiprocessing.connection import Connection, wait
from multiprocessing.util import get_temp_dir
from pathlib import Path
from typing import Any, Literal, NoReturn, Self, TextIO

import psutil

from benchmarks.zygote import die_with_parent, keep_to_ourselves

Start = Literal["spawn", "fork"]
LEAVING_SECONDS = 5
TEMPORARY_BYTES = 71
"""Longest temporary folder: the address of the zygote's socket may have 103 bytes (macOS), and
`/pymp-xxxxxxxx/listener-xxxxxxxx` are 32 of them."""
OWNER = "leanboard-"
"""Begins the name of a file that says which process a temporary folder belongs to."""
PRELOAD = ("benchmarks.zygote", "benchmarks.measures.turns", "torch", "tokenizers")
"""What the zygote imports, so that a forked worker starts in 0.3 s instead of 3."""
PRELOAD_FOR = {
    "PyTorch": (
        "transformers.models.auto.modeling_auto",
        "transformers.models.bert.modeling_bert",
        "transformers.models.roberta.modeling_roberta",
        "models.predictors.pytorch",
    ),
    "ONNX Runtime": ("onnxruntime", "models.predictors.onnx_runtime"),
    "OpenVINO": ("openvino", "models.predictors.openvino_runtime"),
    "scikit-learn": ("sklearn.feature_extraction.text", "models.predictors.linear"),
}
"""What it imports beside for a runtime that the run has: together they take seconds."""
_preloaded = [*PRELOAD]


class WorkerError(RuntimeError):
    """A worker did not answer as it should; the message is one line, `log` has the rest."""

    def __init__(self, message: str, log: Path) -> None:
        super().__init__(message)
        self.log = log


class WorkerFailed(WorkerError):
    """The call raised an exception."""


class WorkerCrashed(WorkerError):
    """The process ended: a native crash, or somebody killed it."""


class WorkerTimeout(WorkerError):
    """The call took too long, and the process was killed."""


@contextlib.contextmanager
def _without_main() -> Iterator[None]:
    """Hide pytest's own script: a new process would import it, and its memory would be counted."""
    main = sys.modules["__main__"]
    hidden: dict[str, Any] = {
        name: main.__dict__.pop(name) for name in ("__file__", "__spec__") if name in vars(main)
    }
    main.__spec__ = None
    try:
        yield
    finally:
        main.__dict__.update(hidden)


def fix_environment(threads: int) -> None:
    """Fix what the native libraries of every worker read that starts from now on."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(threads)
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # from 1.29 on it tells of every model that is loaded
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    os.environ["JOBLIB_MULTIPROCESSING"] = "0"  # scikit-learn's semaphores would outlive a kill


def remove_sockets_of_the_dead() -> None:
    """Remove the zygote's socket of runs that were killed."""
    for mark in Path(tempfile.gettempdir()).glob(f"pymp-*/{OWNER}*"):
        owner = mark.name.removeprefix(OWNER)
        if owner.isdecimal() and not psutil.pid_exists(int(owner)):
            shutil.rmtree(mark.parent, ignore_errors=True)


def can_fork() -> bool:
    """Say whether the system has zygotes, and the temporary folder room for the address of one."""
    fits = len(os.fsencode(tempfile.gettempdir())) <= TEMPORARY_BYTES
    return fits and "forkserver" in multiprocessing.get_all_start_methods()


def context(start: Start) -> Any:
    """Return the multiprocessing context of a way to start."""
    if start == "spawn" or not can_fork():
        return multiprocessing.get_context("spawn")
    # Its socket lies in a folder of ours that a kill would leave behind: say whose it was.
    Path(get_temp_dir(), f"{OWNER}{os.getpid()}").touch()
    zygote = multiprocessing.get_context("forkserver")
    there = [m for m in _preloaded if importlib.util.find_spec(m.partition(".")[0])]
    zygote.set_forkserver_preload(there)
    return zygote


def preload(runtimes: Iterable[str]) -> None:
    """Name the runtimes that the zygote imports: before the first worker is forked from it."""
    of_runtimes = (PRELOAD_FOR.get(name, ()) for name in runtimes)
    _preloaded[:] = [*PRELOAD, *chain.from_iterable(of_runtimes)]


class Worker:
    """A process that holds `module:factory(**arguments)` and answers calls of its methods.

    Args:
        target: `module:name` of a class or function; what it returns answers the calls.
        arguments: plain data for it.
        log: file that gets what the worker prints and its tracebacks.
        extensions: Python files that the worker executes first.
        progress: called with (fraction, text) when the worker says how far it is.
        timeout: seconds that starting, or one call, may take.
        wait: for its object; without, `ready` does.
    """

    def __init__(
        self,
        target: str,
        arguments: dict[str, Any],
        *,
        log: Path,
        start: Start = "fork",
        extensions: Sequence[str] = (),
        progress: Callable[[float, str], None] | None = None,
        timeout: float = 3600.0,
        wait: bool = True,
    ) -> None:
        self.log, self.progress, self.timeout = log, progress, timeout
        log.parent.mkdir(parents=True, exist_ok=True)
        started = context(start)
        self._pipe, theirs = started.Pipe()
        self._process = started.Process(
            target=_serve,
            args=(theirs, target, arguments, str(log), list(map(str, extensions))),
            daemon=True,
        )
        with _without_main():
            self._process.start()
        theirs.close()
        # At its exit Python would wait for ever for a worker that is stopped and nobody closed.
        self._at_exit = weakref.finalize(self, self._process.kill)
        self.closed = False
        """Whether the process has been ended, by us or by a failure."""
        self._busy = True
        if wait:
            self.ready()

    def ready(self) -> None:
        """Wait until the worker has its object; it ends where that failed."""
        try:
            self._answer()
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        return self._process.pid

    def call(self, method: str, /, **arguments: Any) -> Any:
        """Call a method of the worker's object and return its answer.

        Raises:
            WorkerFailed, WorkerCrashed, WorkerTimeout: as their names say.
        """
        try:
            self._pipe.send((method, arguments))
        except (BrokenPipeError, ConnectionResetError):
            self._raise_crash()
        try:
            return self._answer()
        except KeyboardInterrupt:
            self.close()
            raise

    def _answer(self) -> Any:
        self._busy = True
        deadline = time.monotonic() + self.timeout
        while True:
            # A blocking wait: a parent that polls would take a core from its worker.
            left = max(0.0, deadline - time.monotonic())
            if not wait([self._pipe, self._process.sentinel], left):
                self.close()
                raise WorkerTimeout(f"no answer within {self.timeout:g} s", self.log)
            try:
                kind, value = self._pipe.recv()
            except (EOFError, ConnectionResetError):
                self._raise_crash()
            if kind == "progress":
                if self.progress:
                    self.progress(*value)
                continue
            self._busy = False
            if kind == "raised":
                raise WorkerFailed(value, self.log)
            return value

    def _raise_crash(self) -> NoReturn:
        self._process.join(5)
        code = self._process.exitcode
        if code is not None and code < 0:
            how = f"killed by {signal.Signals(-code).name}"
            if code == -signal.SIGKILL:
                how += " (out of memory?)"
        else:
            how = f"exit status {code}"
        self.close()
        raise WorkerCrashed(f"the process crashed: {how}", self.log)

    def pause(self) -> None:
        """Stop the process, so that it cannot take a cycle from another."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a stopped process go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self.closed:  # a call that failed has ended the process already
            return
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:  # somebody killed it while it was stopped
            self._raise_crash()

    def close(self) -> None:
        """End the process: an idle one leaves by itself, a busy one is killed."""
        if self.closed:
            return
        self._pipe.close()
        if not self._busy:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGCONT)
            self._process.join(LEAVING_SECONDS)
        self.closed = True
        if self._process.is_alive():
            self._process.kill()
        self._process.join()
        self._at_exit.detach()
        self._process.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def call_in_worker(function: str, arguments: dict[str, Any], **options: Any) -> Any:
    """Run `module:function` once in a worker of its own, and return what it returns."""
    with Worker("benchmarks.workers:Function", {"target": function}, **options) as worker:
        return worker.call("__call__", **arguments)


class Function:
    """A function as a worker's object; it gets the worker's `progress` if it takes one."""

    def __init__(self, target: str, progress: Callable[[float, str], None]) -> None:
        self.function, self.progress = resolve(target), progress

    def __call__(self, **arguments: Any) -> Any:
        wanted = self.function.__code__.co_varnames[: self.function.__code__.co_argcount]
        if "progress" in wanted:
            arguments["progress"] = self.progress
        return self.function(**arguments)


def resolve(target: str) -> Any:
    """Return what `module:name` names."""
    module, name = target.split(":")
    return getattr(importlib.import_module(module), name)


def _log_file(path: str) -> TextIO:
    """Open a log, or nothing where no file can be written: whoever keeps the record will say so."""
    try:
        return open(path, "a", buffering=1)
    except OSError:
        return open(os.devnull, "a")


def _serve(
    pipe: Connection, target: str, arguments: dict[str, Any], log: str, extensions: list[str]
) -> None:
    """Be the worker: in the new process, until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when we end
    die_with_parent()
    keep_to_ourselves()
    with _log_file(log) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    faulthandler.enable(2)
    from benchmarks.extensions import load

    def answer(make: Callable[[], Any]) -> bool:
        try:
            pipe.send(("value", make()))
        except BrokenPipeError:
            return False
        except BaseException as error:
            traceback.print_exc()
            line = str(error).strip().splitlines()
            pipe.send(("raised", f"{type(error).__name__}: {line[-1] if line else ''}"))
        return True

    held: list[Any] = []

    def begin() -> None:
        load(extensions)
        factory = resolve(target)
        extra = {}
        if factory is Function:
            extra["progress"] = lambda share, text: pipe.send(("progress", (share, text)))
        held.append(factory(**arguments, **extra))

    answer(begin)
    while True:
        try:
            method, given = pipe.recv()
        except (EOFError, ConnectionResetError):
            break
        if not answer(partial(getattr(held[0], method), **given)):
            break
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # Python's own leaving, of a spawned worker, takes a second once PyTorch is there
