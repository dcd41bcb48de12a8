"""What a worker process does: it takes tasks from its channel, runs them, and ends with the process that started it.

Two watch the lifeline. A thread sees it close first, has the load undone, and ends the process group. A hook may keep
Python from running threads at all (one regular expression can), so a shell does the same from outside, a little later.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

from zoopipe_core._arrow import environment_for_import, import_arrow
from zoopipe_core.engines.modules import is_of_installation
from zoopipe_core.engines.slots import Slot
from zoopipe_core.report import PipeReport, PipeStatus, describe_exception, now

__all__ = ["MAX_MESSAGE_BYTES", "main"]

# Together below the two seconds within which children are gone.
UNDO_SECONDS = 0.8
_GUARD = "read -r line; sleep 1; kill -9 0"

_NEEDED = (
    "pyarrow.compute",
    "pyarrow.csv",
    "zoopipe_core.engines.payload",
    "zoopipe_core.engines.worker",
    "zoopipe_core.run",
)

# What the socket takes while nobody reads.
MAX_MESSAGE_BYTES = 32 * 1024

# What this process allocates is mostly rows, which are in no cycles: looking through them finds nothing.
COLLECT_AT = 20_000

_KEPT_AS_PYTHON_HAS_THEM = {signal.SIGKILL, signal.SIGSTOP, signal.SIGPIPE, signal.SIGXFSZ}


def main(channel: int, lifeline: int, keep: int) -> None:
    """Run one task, or one after the other (`keep`) until the channel closes.

    Args:
        channel: descriptor of a socket, from which tasks come: each a byte with two descriptors.
        lifeline: descriptor of a pipe that closes when the parent ends.
        keep: 1 or 0.
    """
    gc.disable()
    _settle(channel, lifeline)
    parent = _Parent(lifeline)
    _import_numpy()
    import_arrow()
    imports = _Imports()
    # Before the task is there: its process may be started before it is known what there is to do.
    for name in _NEEDED:
        importlib.import_module(name)
    with socket.socket(fileno=channel) as tasks:
        if not keep:
            _collect_seldom()
            received = _receive(tasks)
            if received is not None:
                _run(*received, parent, lambda: None)
            return
        _load_kernels()
        _collect_seldom()
        tasks.sendall(imports.look())
        while (received := _receive(tasks)) is not None:
            _run(*received, parent, lambda: tasks.sendall(imports.look()))


# ---- a process of its own -------------------------------------------------------------------------------------------


def _settle(*ours: int) -> None:
    """Shed what came from the parent beside what is meant for us."""
    for descriptor in ours:
        os.set_inheritable(descriptor, False)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    # What the parent ignores or blocks is inherited through an exec.
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    for number in signal.valid_signals() - _KEPT_AS_PYTHON_HAS_THEM:
        if number == signal.SIGINT or signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


class _Parent:
    """Sees the parent end, and ends this process and its group then; a load under way is undone first."""

    def __init__(self, lifeline: int) -> None:
        self.is_gone = threading.Event()
        self.idle = threading.Event()
        self.idle.set()
        self._lifeline = lifeline
        self._start_guard()
        threading.Thread(target=self._watch, name="zoopipe-lifeline", daemon=True).start()

    def _start_guard(self) -> None:
        actions = [(os.POSIX_SPAWN_DUP2, self._lifeline, 0)]
        actions += [(os.POSIX_SPAWN_OPEN, stream, os.devnull, os.O_WRONLY, 0) for stream in (1, 2)]  # type: ignore[misc]
        with contextlib.suppress(OSError):  # a system without a shell: the thread is alone with it then
            os.posix_spawn("/bin/sh", ["zoopipe-guard", "-c", _GUARD], {"PATH": os.defpath}, file_actions=actions)

    def _watch(self) -> None:
        poller = select.poll()
        poller.register(self._lifeline, select.POLLIN)
        poller.poll()
        self.is_gone.set()
        self.idle.wait(UNDO_SECONDS)
        os.killpg(0, signal.SIGKILL)


def _import_numpy() -> None:
    """Import NumPy, whose OpenBLAS would start a thread for each core, unless the user says how many it may have.

    They spin for a while as they start, in each of as many processes as there are cores, and no load needs them.
    """
    with environment_for_import("OPENBLAS_NUM_THREADS", "1"):
        importlib.import_module("numpy")


def _load_kernels() -> None:
    """Load the kernels if they were compiled before."""
    from zoopipe_core.kernels import native

    native.load()


def _collect_seldom() -> None:
    """Leave what was imported alone when garbage is looked for, and look for it less often."""
    gc.freeze()
    gc.set_threshold(COLLECT_AT, *gc.get_threshold()[1:])
    gc.enable()


class _Imports:
    """The project's own files that this process has imported: when one changes, it has stale code."""

    def __init__(self) -> None:
        self._seen: set[str] = set()
        self._looked = time.time_ns()

    def look(self) -> bytes:
        """A line of JSON: each new file with its time and size, and whether it was changed while it may have been read.

        The receiver compares them before it sends more work; `changed` means that it had better not.
        """
        files: dict[str, tuple[int, int]] = {}
        changed = False
        for module in tuple(sys.modules.values()):
            file = getattr(module, "__file__", None)
            if not isinstance(file, str) or file in self._seen:
                continue
            self._seen.add(file)
            if not is_of_installation(file):
                with contextlib.suppress(OSError):  # within an archive, or removed: it cannot be read anew either
                    stat = os.stat(file)
                    files[file] = stat.st_mtime_ns, stat.st_size
                    changed |= stat.st_mtime_ns >= self._looked
        self._looked = time.time_ns()
        message = json.dumps({"files": files, "changed": changed}).encode() + b"\n"
        if len(message) > MAX_MESSAGE_BYTES:
            message = json.dumps({"files": {}, "changed": True}).encode() + b"\n"
        return message


# ---- a task ---------------------------------------------------------------------------------------------------------


def _receive(tasks: socket.socket) -> tuple[int, int] | None:
    """The descriptors of the next task's payload and slot; None when there will be none."""
    data, descriptors, _, _ = socket.recv_fds(tasks, 1, 2)
    if not data:
        return None
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
    payload, slot = descriptors
    return payload, slot


def _run(payload: int, slot_descriptor: int, parent: _Parent, before_end: Callable[[], Any]) -> None:
    """Run one task. `before_end` is called just before its final report can be seen."""
    from zoopipe_core.engines.payload import load
    from zoopipe_core.engines.worker import run_pipe

    slot = Slot(slot_descriptor)
    parent.idle.clear()

    def publish(report: PipeReport) -> None:
        if report.is_finished:
            before_end()
        slot.write(report)

    try:
        with open(payload, "rb") as file:
            _adopt(json.loads(file.readline()))
            data = file.read()
        task = load(data)
    except Exception as error:  # noqa: BLE001  it is in the report
        publish(
            PipeReport(
                status=PipeStatus.FAILED,
                started_at=now(),
                finished_at=now(),
                exception=describe_exception(error, "".join(traceback.format_exception(error))),
            )
        )
    else:
        run_pipe(task, publish, lambda: slot.stop_requested or parent.is_gone.is_set())
    finally:
        parent.idle.set()
        slot.close()


def _adopt(surroundings: dict[str, Any]) -> None:
    """Take over the folder and the environment of the parent, as a process that is started now would have them."""
    folder: str | None = surroundings.get("folder")
    if folder is not None:
        os.chdir(folder)
    environment: dict[str, str] | None = surroundings.get("environment")
    if environment is not None:
        for name in os.environ.keys() - environment.keys():
            del os.environ[name]
        # Only what differs: changing it is not safe beside threads of C libraries that read it.
        for name, value in environment.items():
            if os.environ.get(name) != value:
                os.environ[name] = value
