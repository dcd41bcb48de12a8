"""Worker processes of this machine: what they get, what they say, what is left of them."""

from __future__ import annotations

import contextlib
import gc
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.contracts.deeds import At, Endless, final, hang, is_running, wait_until
from tests.contracts.engine_contract import EngineContract
from zoopipe_core import BaseHook, MultiProcessEngine, Pipe, PipeReport, PipeStatus, SQLOutputAdapter
from zoopipe_core.engines import process
from zoopipe_core.engines.base import WorkerTask
from zoopipe_core.errors import EngineError
from zoopipe_core.executors import usable_cores

CANARY = "canary" + "-7f3a"


@pytest.fixture(scope="module")
def engine() -> Iterator[MultiProcessEngine]:
    engine = MultiProcessEngine(2)
    yield engine
    engine.close()


def run(engine: MultiProcessEngine, hook: BaseHook) -> PipeReport:
    worker = engine.launch(WorkerTask(0, Pipe([{"id": 1}], None, post_validation_hooks=[hook])))
    report = final(worker)
    worker.close()
    return report


# ---- secrets --------------------------------------------------------------------------------------------------------


class Secretive(BaseHook):
    """Holds a secret, as an adapter with a password does."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.secret, self.wait = CANARY, At("middle", hang, folder)

    def execute(self, entries: list[Any], store: dict[str, Any]) -> list[Any]:
        return self.wait.execute(entries, store)


def test_a_secret_is_in_no_argument_no_environment_and_no_file(
    engine: MultiProcessEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr("tempfile.tempdir", None)
    target = SQLOutputAdapter(f"postgresql://etl:{CANARY}@localhost/wh", "t")
    pipe = Pipe(Endless(), str(tmp_path / "out.csv"), None, post_validation_hooks=[Secretive(tmp_path)])
    worker = engine.launch(WorkerTask(0, Pipe(Endless(), target)))
    failed = final(worker)  # nobody listens there
    worker = engine.launch(WorkerTask(0, EngineContract.pipe(tmp_path, hooks=(Secretive(tmp_path),))))
    wait_until(lambda: (tmp_path / "pid").exists(), "the hook")
    for name in ("cmdline", "environ"):
        assert CANARY.encode() not in Path(f"/proc/{worker.pid}/{name}").read_bytes()
    assert os.listdir(temporary) == []
    worker.kill()
    assert CANARY not in str(final(worker).to_dict())
    assert CANARY not in repr(pipe)
    assert failed.status is PipeStatus.FAILED
    assert CANARY not in str(failed.to_dict())


def test_no_descriptor_of_the_parent_is_inherited(engine: MultiProcessEngine, tmp_path: Path) -> None:
    secret = tmp_path / "open.txt"
    with secret.open("w") as file:
        os.set_inheritable(file.fileno(), True)
        worker = engine.launch(WorkerTask(0, EngineContract.pipe(tmp_path, hooks=(At("middle", hang, tmp_path),))))
        wait_until(lambda: (tmp_path / "pid").exists(), "the hook")
        folder = f"/proc/{worker.pid}/fd"
        assert str(secret) not in [os.readlink(f"{folder}/{name}") for name in os.listdir(folder)]
        worker.close()


# ---- how they end ---------------------------------------------------------------------------------------------------


class Parenting(BaseHook):
    """Starts a process, in a session of its own or not, and then hangs."""

    def __init__(self, folder: Path, own_session: bool) -> None:
        super().__init__()
        self.folder, self.own_session = str(folder), own_session

    def execute(self, entries: list[Any], store: dict[str, Any]) -> list[Any]:
        child = subprocess.Popen(["sleep", "600"], start_new_session=self.own_session)
        note = Path(self.folder, "pids.new")
        note.write_text(f"{os.getpid()} {child.pid}")
        note.rename(note.with_suffix(""))
        hang()
        return entries


@pytest.mark.parametrize("own_session", [False, True])
def test_what_a_worker_started_is_killed_with_it(own_session: bool, engine: MultiProcessEngine, tmp_path: Path) -> None:
    pipe = Pipe([{"id": 1}], None, post_validation_hooks=[Parenting(tmp_path, own_session)])
    worker = engine.launch(WorkerTask(0, pipe))
    wait_until(lambda: (tmp_path / "pids").exists(), "the hook")
    pids = [int(word) for word in (tmp_path / "pids").read_text().split()]
    worker.kill()
    wait_until(lambda: not any(map(is_running, pids)), "the end of both")


def test_what_a_worker_started_ends_when_it_dies_by_itself(engine: MultiProcessEngine, tmp_path: Path) -> None:
    pipe = Pipe([{"id": 1}], None, post_validation_hooks=[Parenting(tmp_path, False)])
    worker = engine.launch(WorkerTask(0, pipe))
    wait_until(lambda: (tmp_path / "pids").exists(), "the hook")
    pids = [int(word) for word in (tmp_path / "pids").read_text().split()]
    os.kill(pids[0], signal.SIGKILL)
    assert final(worker).status is PipeStatus.FAILED
    wait_until(lambda: not is_running(pids[1]), "the end of its child")


def test_a_terminated_worker_undoes_its_load_first(engine: MultiProcessEngine, tmp_path: Path) -> None:
    worker = engine.launch(WorkerTask(0, EngineContract.pipe(tmp_path, Endless())))
    wait_until(lambda: worker.report().loaded_rows, "the first rows")
    os.kill(worker.pid, signal.SIGTERM)
    assert final(worker).has_error
    wait_until(lambda: not is_running(worker.pid), "the end of the process")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGSEGV, signal.SIGKILL])
def test_the_signal_that_ended_a_worker_is_named(number: signal.Signals, engine: MultiProcessEngine) -> None:
    worker = engine.launch(WorkerTask(0, Pipe(Endless(), None)))
    os.kill(worker.pid, number)  # while it is starting
    report = final(worker)
    assert report.status is PipeStatus.FAILED
    assert report.exception is not None
    assert number.name in report.exception.message
    assert isinstance(report.cause, EngineError)


# ---- what they say --------------------------------------------------------------------------------------------------


class Noisy(BaseHook):
    def execute(self, entries: list[Any], store: dict[str, Any]) -> list[Any]:
        for _ in range(1000):
            os.write(2, b"x" * 9_999 + b"\n")
        os.write(2, b"the last words; password=" + CANARY.encode() + b"\n")
        os._exit(4)


def test_the_end_of_what_a_dying_worker_said_is_in_its_report(engine: MultiProcessEngine) -> None:
    report = run(engine, Noisy())
    assert report.exception is not None
    assert "exit code 4" in report.exception.message
    assert "the last words" in report.exception.message
    assert CANARY not in str(report.to_dict())
    assert len(str(report.to_dict())) < 5_000


class Haunted(BaseHook):
    """Leaves a process behind, in a session of its own, that never stops talking."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = str(folder)

    def execute(self, entries: list[Any], store: dict[str, Any]) -> list[Any]:
        ghost = subprocess.Popen(["sh", "-c", "yes >&2"], start_new_session=True, stdout=subprocess.DEVNULL)
        Path(self.folder, "ghost").write_text(str(ghost.pid))
        os._exit(5)


def test_a_process_that_got_away_and_goes_on_talking_delays_nothing(engine: MultiProcessEngine, tmp_path: Path) -> None:
    report = run(engine, Haunted(tmp_path))
    with contextlib.suppress(ProcessLookupError):  # nobody listened to it any more
        os.killpg(int((tmp_path / "ghost").read_text()), signal.SIGKILL)
    assert report.exception is not None
    assert "exit code 5" in report.exception.message


class Crashing(BaseHook):
    def execute(self, entries: list[Any], store: dict[str, Any]) -> list[Any]:
        import ctypes
        import faulthandler

        faulthandler.enable()
        ctypes.string_at(0)
        return entries


def test_a_crash_in_native_code_shows_where(engine: MultiProcessEngine) -> None:
    report = run(engine, Crashing())
    assert report.exception is not None
    assert "SIGSEGV" in report.exception.message
    assert "in execute" in report.exception.traceback


class Talking(BaseHook):
    def execute(self, entries: list[Any], store: dict[str, Any]) -> list[Any]:
        print("to the output", flush=True)
        print("to standard error", file=sys.stderr)
        return entries


def test_what_a_hook_prints_is_seen(engine: MultiProcessEngine, capfd: pytest.CaptureFixture[str]) -> None:
    run(engine, Talking()).raise_for_status()
    shown = ["", ""]

    def seen() -> bool:
        for index, text in enumerate(capfd.readouterr()):
            shown[index] += text
        return all(shown)

    wait_until(seen, "what was printed")
    assert shown == ["to the output\n", "to standard error\n"]


def test_a_standard_error_that_nobody_reads_holds_nobody_up(
    engine: MultiProcessEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, writing = os.pipe()
    kept = os.dup(2)
    os.dup2(writing, 2)
    try:
        report = run(engine, Noisy())
    finally:
        os.dup2(kept, 2)
        for descriptor in (kept, reading, writing):
            os.close(descriptor)
    assert report.exception is not None
    assert "exit code 4" in report.exception.message


# ---- starting -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("executable", ["", "/no/such/python"])
def test_without_an_interpreter_no_worker_can_be_started(
    executable: str, engine: MultiProcessEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", executable)
    with pytest.raises(EngineError, match=r"no worker process can be started|sys\.executable names none"):
        engine.launch(WorkerTask(0, Pipe([], None)))


def test_without_descriptors_no_worker_can_be_started_and_none_leaks(engine: MultiProcessEngine) -> None:
    run(engine, Talking())
    wait_until(lambda: not process._living, "the end of other workers")
    gc.collect()
    before = set(os.listdir("/proc/self/fd"))
    free = [number for number in range(200) if str(number) not in before]
    task = WorkerTask(0, Pipe([], None))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    refused = []
    for allowed in range(20):
        resource.setrlimit(resource.RLIMIT_NOFILE, (free[allowed], hard))
        try:
            engine.launch(task).close()
        except EngineError:
            refused.append(allowed)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        wait_until(lambda: not process._living, "the end of the worker")
    assert refused == list(range(len(refused)))
    assert 5 < len(refused) < 20
    gc.collect()
    assert set(os.listdir("/proc/self/fd")) == before


def test_many_workers_leave_no_threads_no_descriptors_and_no_processes(engine: MultiProcessEngine) -> None:
    run(engine, Talking())
    wait_until(lambda: not process._living, "the end of other workers")
    gc.collect()
    threads, descriptors = threading.active_count(), len(os.listdir("/proc/self/fd"))
    children = set(psutil.Process().children())
    workers = [engine.launch(WorkerTask(index, Pipe([{"id": 1}], None))) for index in range(6)]
    assert {final(worker).status for worker in workers} == {PipeStatus.COMPLETED}
    del workers
    wait_until(lambda: not process._living, "the end of the processes")
    gc.collect()
    wait_until(lambda: threading.active_count() <= threads, "the end of the threads")
    assert len(os.listdir("/proc/self/fd")) == descriptors
    assert set(psutil.Process().children()) <= children


def test_a_worker_whose_exit_status_another_took_is_told_of(engine: MultiProcessEngine) -> None:
    worker = engine.launch(WorkerTask(0, Pipe(Endless(), None)))
    previous = signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the system reaps at once
    try:
        os.kill(worker.pid, signal.SIGKILL)
        report = final(worker)
    finally:
        signal.signal(signal.SIGCHLD, previous)
    assert report.exception is not None
    assert report.exception.type == "WorkerDiedError"
    assert "taken by another part of this program" in report.exception.message


def test_the_options_of_the_interpreter_are_handed_on(tmp_path: Path) -> None:
    text = """
import sys
from tests.contracts.deeds import final
from zoopipe_core import BaseHook, MultiProcessEngine, Pipe
from zoopipe_core.engines.base import WorkerTask
class Look(BaseHook):
    def execute(self, entries, store):
        print(sys.flags.isolated, sys.flags.dev_mode, sys.warnoptions, sys.flags.safe_path)
        return entries
worker = MultiProcessEngine(1).launch(WorkerTask(0, Pipe([{"id": 1}], None, post_validation_hooks=[Look()])))
final(worker).raise_for_status()
worker._interpreter.ended.wait()
"""
    root = Path(__file__).resolve().parent.parent.parent
    command = [
        sys.executable,
        "-I",
        "-X",
        "dev",
        "-W",
        "error::UserWarning",
        "-c",
        f"import sys; sys.path.insert(0, {str(root)!r})\n{text}",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("1 True ['default', 'error::UserWarning'] True\n", "")


@pytest.mark.skipif(sys.platform != "linux", reason="threads are counted in /proc")
@pytest.mark.parametrize(("given", "threads"), [(None, 1), ("2", min(2, usable_cores()))])
def test_numpy_starts_no_threads_that_a_load_does_not_need(given: str | None, threads: int) -> None:
    code = """
import os
from zoopipe_core.engines.child import _import_numpy
_import_numpy()
print(len(os.listdir("/proc/self/task")), os.environ.get("OPENBLAS_NUM_THREADS"))
"""
    name = "OPENBLAS_NUM_THREADS"
    environment = {key: value for key, value in os.environ.items() if key != name} | ({name: given} if given else {})
    done = subprocess.run([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True, check=True)
    assert done.stdout.split() == [str(threads), str(given)]
