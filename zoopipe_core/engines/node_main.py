"""``python -m zoopipe_core.engines.node_main FD``: the process in which a node of a cluster runs one pipe.

Standard input is the control pipe: the order, then a wish to stop, then nothing until the actor's process ends. Frames
go to file descriptor FD. See `zoopipe_core.engines.node` for both.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
import sys
import threading
import time
import traceback

from zoopipe_core.engines.node import ERROR, REPORT, RESULT, STOP, read_frame, write_frame
from zoopipe_core.engines.payload import load
from zoopipe_core.engines.worker import run_pipe
from zoopipe_core.report import PipeReport

__all__ = ["CALL", "TASK", "main"]

TASK, CALL = b"T", b"C"
ORPHAN_SECONDS = 1.0
"""How long a process that nobody waits for any more may take to undo its load."""


def main(control: int, channel: int) -> int:
    """Do what the first frame of `control` says, and tell `channel` about it. The process's exit code."""
    order = read_frame(control)
    if order is None:
        return 1
    stop, orphaned = threading.Event(), threading.Event()
    threading.Thread(target=_obey, args=(control, stop, orphaned), name="zoopipe-control", daemon=True).start()
    kind, body = order
    try:
        if kind == TASK:
            _run_task(body, channel, stop)
        else:
            _call(body, channel)
    except Exception as error:  # noqa: BLE001  the driver is told
        if orphaned.is_set():
            _end_group()
        traceback.print_exc()
        write_frame(channel, ERROR, json.dumps([type(error).__name__, str(error)]).encode())
    if orphaned.is_set():
        _end_group()
    return 0


def _run_task(body: bytes, channel: int, stop: threading.Event) -> None:
    def publish(report: PipeReport) -> None:
        write_frame(channel, REPORT, json.dumps(report.to_dict()).encode())

    run_pipe(load(body), publish, stop.is_set)


def _call(body: bytes, channel: int) -> None:
    function, items = pickle.loads(body)
    write_frame(channel, RESULT, pickle.dumps([function(item) for item in items]))


def _obey(control: int, stop: threading.Event, orphaned: threading.Event) -> None:
    """Hear a wish to stop. When the other side is gone, nobody is left who would publish: undo, and end."""
    while (frame := read_frame(control)) is not None:
        if frame[0] == STOP:
            stop.set()
    orphaned.set()
    stop.set()
    time.sleep(ORPHAN_SECONDS)
    _end_group()


def _end_group() -> None:
    """End this process and all that it started; it leads a session of its own."""
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(0, int(sys.argv[1])))
