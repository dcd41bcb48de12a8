"""When the process that launched workers ends, so do they and all that they started; and nothing is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.contracts.deeds import is_running, wait_until

ROOT = Path(__file__).resolve().parent.parent.parent

# Launches a pipe whose hook has a grandchild, and then does ACTION in the middle of the load.
PROGRAM = """
import os, signal, subprocess, sys, time
from pydantic import BaseModel
from tests.contracts.deeds import Endless, hang_in_c, wait_until
from zoopipe_core import BaseHook, MultiProcessEngine, Pipe, SingleThreadExecutor, ZoosyncPoolEngine
from zoopipe_core.engines.base import WorkerTask

class Row(BaseModel):
    id: int

class Parenting(BaseHook):
    def execute(self, entries, store):
        if "child" not in store:
            store["child"] = subprocess.Popen(["sleep", "600"])
            with open("pids.new", "w") as file:
                file.write(f"{os.getpid()} {store['child'].pid}")
            os.rename("pids.new", "pids")
            DURING
        return entries

engine = ENGINE(2)
small = SingleThreadExecutor(100)
pipe = Pipe(Endless(), "out.jsonl", None, Row, post_validation_hooks=[Parenting()], executor=small)
worker = engine.launch(WorkerTask(0, pipe))
wait_until(lambda: os.path.exists("pids"), "the hook")
ACTION
"""
ENDS = {
    "returns": ("", 0),
    "raises": ("raise KeyError('no')", 1),
    "exits at once": ("os._exit(5)", 5),
    "is killed": ("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
    "is terminated": ("os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM),
    "is interrupted": ("os.kill(os.getpid(), signal.SIGINT); time.sleep(60)", -signal.SIGINT),
    "becomes another program": ("os.execv('/bin/true', ['true'])", 0),
}


def run(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    (folder / "script.py").write_text(text)
    temporary = folder / "temporary"
    temporary.mkdir()
    return subprocess.run(
        [sys.executable, "script.py"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(temporary)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=100,
    )


def assert_gone(folder: Path) -> None:
    """The worker and its child end."""
    pids = [int(word) for word in (folder / "pids").read_text().split()]
    assert len(pids) == 2
    wait_until(lambda: not any(map(is_running, pids)), f"the end of the processes {pids}")


@pytest.mark.parametrize(
    ("end", "engine"),
    [
        *((end, "MultiProcessEngine") for end in ENDS),
        ("returns", "ZoosyncPoolEngine"),
        ("is killed", "ZoosyncPoolEngine"),
    ],
)
def test_workers_end_when_their_parent(end: str, engine: str, tmp_path: Path) -> None:
    action, code = ENDS[end]
    done = run(tmp_path, PROGRAM.replace("ENGINE", engine).replace("ACTION", action).replace("DURING", "pass"))
    assert done.returncode == code, done.stdout
    assert_gone(tmp_path)
    # The load was undone, and no file of ours is anywhere.
    assert sorted(os.listdir(tmp_path)) == ["pids", "script.py", "temporary"]
    assert os.listdir(tmp_path / "temporary") == []


def test_a_worker_that_lets_no_thread_run_ends_with_its_parent_too(tmp_path: Path) -> None:
    text = PROGRAM.replace("ENGINE", "MultiProcessEngine").replace("DURING", "hang_in_c()")
    done = run(tmp_path, text.replace("ACTION", "time.sleep(0.2); os.kill(os.getpid(), signal.SIGKILL)"))
    assert done.returncode == -signal.SIGKILL, done.stdout
    assert_gone(tmp_path)
    assert os.listdir(tmp_path / "temporary") == []


def test_what_a_worker_started_ends_even_if_worker_and_parent_are_killed_together(tmp_path: Path) -> None:
    text = PROGRAM.replace("ENGINE", "MultiProcessEngine").replace("DURING", "pass")
    both = "os.kill(worker.pid, signal.SIGKILL); os.kill(os.getpid(), signal.SIGKILL)"
    done = run(tmp_path, text.replace("ACTION", both))
    assert done.returncode == -signal.SIGKILL, done.stdout
    assert_gone(tmp_path)
    assert os.listdir(tmp_path / "temporary") == []


def test_idle_workers_of_a_pool_end_with_their_parent(tmp_path: Path) -> None:
    text = """
        import os, signal
        from tests.contracts.deeds import final
        from zoopipe_core import Pipe, ZoosyncPoolEngine
        from zoopipe_core.engines.base import WorkerTask

        engine = ZoosyncPoolEngine(1)
        worker = engine.launch(WorkerTask(0, Pipe([{"id": 1}], None)))
        final(worker).raise_for_status()
        engine.warm()
        print(worker.pid)
        os.kill(os.getpid(), signal.SIGKILL)
        """
    (tmp_path / "pids").write_text("")
    done = run(tmp_path, textwrap.dedent(text).replace("print(worker.pid)", "print(worker.pid, flush=True)"))
    assert done.returncode == -signal.SIGKILL, done.stdout
    pid = int(done.stdout)
    wait_until(lambda: not is_running(pid), "the end of the idle process")


def test_a_fork_of_the_parent_keeps_no_worker_alive(tmp_path: Path) -> None:
    action = """
child = os.fork()
if not child:
    time.sleep(30)
    os._exit(0)
with open("fork", "w") as file:
    file.write(str(child))
os.kill(os.getpid(), signal.SIGKILL)
"""
    text = PROGRAM.replace("ENGINE", "MultiProcessEngine").replace("DURING", "pass").replace("ACTION", action)
    # The fork keeps the pipe of our own standard output open.
    text = text.replace("time.sleep(30)", "os.dup2(os.open(os.devnull, os.O_RDWR), 1); os.dup2(1, 2); time.sleep(30)")
    run(tmp_path, text)
    fork = int((tmp_path / "fork").read_text())
    try:
        assert_gone(tmp_path)
        assert is_running(fork)
    finally:
        os.kill(fork, signal.SIGKILL)
