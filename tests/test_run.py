"""Signals to a process that runs a load: the load is undone, and the process ends as it would have without it."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pytest

SECONDS = 60.0

PROGRAM = """
import os, signal, sys, threading, time
from pydantic import BaseModel
from zoopipe_core import MultiThreadExecutor, Pipe, SingleThreadExecutor

class Row(BaseModel):
    id: int

def rows():
    number = 0
    while True:
        number += 1
        if number == 5_000:
            print("running", flush=True)  # rows are written by now
        yield {{"id": number if number % 100 else "bad"}}

pipe = Pipe(rows(), {target!r}, "out/rejects.csv", Row, executor={executor})
{before}
try:
    {call}
finally:
    names = [thread.name for thread in threading.enumerate()]
    left = [name for name in names if name.startswith("zoopipe-") and name != "zoopipe-kernels"]
    print(pipe.report.status.value, left, flush=True)
"""
RUN = "pipe.run()"
WITH = "with pipe: pipe.wait()"
START = "pipe.start(); pipe.wait()"
SINGLE, THREADS = "SingleThreadExecutor(1000)", "MultiThreadExecutor(3, 1000)"
each_way_to_wait = pytest.mark.parametrize(
    ("call", "executor"), [(RUN, SINGLE), (RUN, THREADS), (WITH, SINGLE), (START, THREADS)]
)


@contextmanager
def running(folder: Path, call: str = RUN, before: str = "", **options: str) -> Iterator[subprocess.Popen[str]]:
    """A process in `folder`, in the middle of a load without an end."""
    options = {"target": "out/rows.csv", "executor": SINGLE, **options}
    code = PROGRAM.format(call=call, before=before, **options)
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "running\n", process.communicate()
        yield process
    finally:
        process.kill()
        process.communicate()


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@each_way_to_wait
def test_ctrl_c_undoes_the_load_and_ends_the_process_as_usual(call: str, executor: str, tmp_path: Path) -> None:
    with running(tmp_path, call, executor=executor) as process:
        assert files(tmp_path) > {"out"}
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=SECONDS)
    assert process.returncode == -signal.SIGINT, "as Python itself ends on Ctrl-C"
    assert out == "aborted []\n"
    assert err.endswith("KeyboardInterrupt\n")
    assert files(tmp_path) == set()


@each_way_to_wait
def test_sigterm_undoes_the_load_and_ends_the_process_as_usual(call: str, executor: str, tmp_path: Path) -> None:
    with running(tmp_path, call, executor=executor) as process:
        process.terminate()
        out, err = process.communicate(timeout=SECONDS)
    assert (process.returncode, out, err) == (-signal.SIGTERM, "", "")
    assert files(tmp_path) == set()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"])
def test_a_signal_leaves_the_old_file(number: signal.Signals, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "rows.csv").write_text("old")
    with running(tmp_path) as process:
        process.send_signal(number)
        process.communicate(timeout=SECONDS)
    assert process.returncode == -number
    assert files(tmp_path) == {"out", "out/rows.csv"}
    assert (tmp_path / "out" / "rows.csv").read_text() == "old"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"])
def test_a_signal_leaves_the_old_table_and_the_database_free(number: signal.Signals, tmp_path: Path) -> None:
    with duckdb.connect(str(tmp_path / "wh.duckdb")) as connection:
        connection.execute("CREATE TABLE t AS SELECT 7 AS id")
    with running(tmp_path, target="duckdb:///wh.duckdb::t") as process:
        process.send_signal(number)
        process.communicate(timeout=SECONDS)
    assert process.returncode == -number
    with duckdb.connect(str(tmp_path / "wh.duckdb")) as connection:
        assert connection.sql("SHOW TABLES").fetchall() == [("t",)]
        assert connection.sql("FROM t").fetchall() == [(7,)]
    assert files(tmp_path) == {"wh.duckdb"}


def test_a_handler_of_your_own_for_sigterm_is_left_in_place(tmp_path: Path) -> None:
    before = "signal.signal(signal.SIGTERM, lambda *_: (print('mine', flush=True), pipe.shutdown(30)))"
    with running(tmp_path, before=before) as process:
        process.terminate()
        out, err = process.communicate(timeout=SECONDS)
    assert (process.returncode, out, err) == (0, "mine\naborted []\n", "")
    assert files(tmp_path) == set()


def test_the_default_of_sigterm_is_back_when_the_load_has_ended(tmp_path: Path) -> None:
    code = (
        "import signal\nfrom zoopipe_core import Pipe\n"
        "assert Pipe([{'id': 1}], None).run()\nassert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)


def test_in_a_thread_other_than_the_main_one_signals_are_not_touched(tmp_path: Path) -> None:
    before = "main = signal.getsignal(signal.SIGTERM)"
    call = (
        "thread = threading.Thread(target=pipe.run); thread.start()\n"
        "    while pipe.report.read_rows < 10_000: time.sleep(0.01)\n"
        "    assert signal.getsignal(signal.SIGTERM) is main; pipe.shutdown(30); thread.join()"
    )
    with running(tmp_path, call, before) as process:
        out, err = process.communicate(timeout=SECONDS)
    assert (process.returncode, out, err) == (0, "aborted []\n", "")


def test_a_second_ctrl_c_does_not_wait_for_a_source_that_is_stuck(tmp_path: Path) -> None:
    """The first one asks the load to end; it cannot, and the second gives the terminal back to its user."""
    before = """
def rows():
    yield {"id": 1}
    print("running", flush=True)
    try:
        time.sleep(3600)
    finally:
        os._exit(9)
pipe = Pipe(rows(), "out/rows.csv", executor=SingleThreadExecutor(1))
"""
    call = """
    try:
        pipe.run()
    except KeyboardInterrupt:
        print("back", flush=True)
        os._exit(5)
"""
    with running(tmp_path, call.strip(), before) as process:
        process.send_signal(signal.SIGINT)
        time.sleep(0.5)
        assert process.poll() is None, "it waits for the load to be undone"
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=10)
    assert (process.returncode, out) == (5, "back\n")


def test_ctrl_c_at_any_moment_leaves_old_or_new_and_nothing_beside(tmp_path: Path) -> None:
    """The signal comes at moments spread over the run, from its start to its end."""
    code = (
        "from zoopipe_core import Pipe, SingleThreadExecutor\n"
        "rows = ({'id': n} for n in range(20_000))\n"
        "pipe = Pipe(rows, 'out/rows.csv', 'out/rejects.csv', executor=SingleThreadExecutor(500))\n"
        "print('ready', flush=True)\n"
        "pipe.run()\n"
    )
    seen = set()
    for step in range(6):
        folder = tmp_path / str(step)
        folder.mkdir()
        process = subprocess.Popen(
            [sys.executable, "-c", code], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(step * 0.06)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=SECONDS)
        assert process.returncode in (0, -signal.SIGINT), err
        left = files(folder)
        assert left in (set(), {"out", "out/rows.csv", "out/rejects.csv"}), err
        if left:
            assert len((folder / "out" / "rows.csv").read_text().splitlines()) == 20_001
        seen.add(bool(left))
    assert False in seen


def test_ctrl_c_while_the_thread_is_starting_waits_for_the_load_to_be_undone(tmp_path: Path) -> None:
    """The handler runs within Thread.start(), when the thread is at work and its starter does not know it yet."""
    before = """
wait = threading.Event.wait
def interrupted(event, timeout=None):
    threading.Event.wait = wait
    wait(event, timeout)
    print("running", flush=True)
    raise KeyboardInterrupt
threading.Event.wait = interrupted
pipe = Pipe(({"id": n} for n in range(10**9)), "out/rows.csv", executor=SingleThreadExecutor(1000))
"""
    with running(tmp_path, before=before) as process:
        out, err = process.communicate(timeout=SECONDS)
    assert (process.returncode, out) == (-signal.SIGINT, "aborted []\n"), err
    assert files(tmp_path) == set()
