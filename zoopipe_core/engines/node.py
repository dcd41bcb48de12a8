"""A process on a node of a cluster, and what the driver may ask about it. Runs on the nodes.

    driver ── poll, stop, kill ──▶ ProcessHost (Ray or Dask actor) ── pipes ──▶ python -m zoopipe_core.engines.node_main
             (calls that return at once)                                        runs the pipe

The pipe runs in a process of its own rather than in the actor: it can be killed without its neighbours, its exit code
or signal is known, it does not share the interpreter with heartbeats, it sees exactly the packages that were prepared
for it, and what it does to signals, threads and memory ends with it. It ends when the actor's process ends, in
whatever way: its control pipe closes then.

Frames in both directions are one byte for the kind, eight for the length (big-endian), and the body.

This module reaches workers by value, as `zoopipe_core.engines.environment` does.
"""

from __future__ import annotations

import base64
import io
import json
import os
import signal
import struct
import subprocess
import sys
import threading
import weakref
from typing import NamedTuple

from zoopipe_core.engines.environment import Bundle, Plain, UnpreparedError, node_name, prepare

__all__ = ["ProcessHost"]

HEADER = ">cQ"
HEADER_BYTES = struct.calcsize(HEADER)
REPORT, RESULT, ERROR, STOP = b"R", b"V", b"X", b"S"
STDERR_CHARS = 2_000
LAST_WORDS_SECONDS = 2.0
# What clusters put on the path of their own workers: vendored packages, which would hide real ones.
OWN_FOLDERS = ("thirdparty_files", os.path.join("_private", "workers"))


class Answer(NamedTuple):
    """What the driver is told when it asks; travels as JSON, and results as bytes beside it.

    Attributes:
        node: the name of this machine.
        pid: of the process; 0 before it was started.
        report: the latest report, as JSON; empty before the first.
        error: (type, message) of why the process cannot do its work, or None.
        exit_code: None while it runs or is being prepared; negative: the signal that ended it.
        stderr: the end of what the process wrote there.
        result: what a process that was sent a call gave back, in Base64; empty while it runs.
    """

    node: str
    pid: int
    report: str
    error: tuple[str, str] | None
    exit_code: int | None
    stderr: str
    result: str


class ProcessHost:
    """Starts one process, and keeps what it tells. Every method returns at once.

    Made by the cluster, and used from whatever threads it uses. The process ends when the host is dropped: a cluster
    whose driver has died forgets its actors, but does not end the process that they live in (Dask).
    """

    def __init__(self) -> None:
        self._hosted = _HostedProcess()
        weakref.finalize(self, self._hosted.kill)

    def start(self, order: bytes, bundle: Plain) -> None:
        """Prepare this node, then start a process and give it its order, a frame. May be called once."""
        self._hosted.start(order, Bundle.from_plain(bundle))

    def poll(self) -> str:
        """The latest `Answer`, as a JSON list."""
        return json.dumps(self._hosted.answer())

    def stop(self) -> None:
        """Ask the process to undo its work and end."""
        self._hosted.stop()

    def kill(self) -> None:
        """End the process and all that it started, now."""
        self._hosted.kill()


class _HostedProcess:
    """The process of a `ProcessHost`, which its own threads keep alive."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a host may be dropped by a garbage collection within any of these
        self._process: subprocess.Popen[bytes] | None = None
        self._has_order = False
        self._stop_wanted = False
        self._report = ""
        self._result = ""
        self._error: tuple[str, str] | None = None
        self._exit_code: int | None = None
        self._stderr = ""

    def start(self, order: bytes, bundle: Bundle) -> None:
        threading.Thread(target=self._run, args=(order, bundle), name="zoopipe-host", daemon=True).start()

    def answer(self) -> Answer:
        with self._lock:
            pid = 0 if self._process is None else self._process.pid
            result = "" if self._exit_code is None else self._result
            return Answer(node_name(), pid, self._report, self._error, self._exit_code, self._stderr, result)

    def stop(self) -> None:
        with self._lock:
            self._stop_wanted = True
            if self._process is None:
                self._end(-signal.SIGTERM)  # nothing was begun
            elif self._has_order:
                _send(self._process, struct.pack(HEADER, STOP, 0))

    def kill(self) -> None:
        with self._lock:
            if self._process is None:
                self._end(-signal.SIGKILL)
            elif self._exit_code is None:
                _kill_group(self._process.pid)

    # ---- in the host's thread -----------------------------------------------------------------------------------

    def _run(self, order: bytes, bundle: Bundle) -> None:
        error, exit_code = None, 1
        try:
            exit_code = self._attend(order, bundle)
        except UnpreparedError as unprepared:
            error = ("EngineError", str(unprepared))
        except Exception as other:  # noqa: BLE001  the driver is told; a thread has nobody to raise it to
            error = ("EngineError", f"the worker on {node_name()} failed: {type(other).__name__}: {other}")
        with self._lock:
            self._error = self._error or error
            self._end(exit_code)

    def _end(self, exit_code: int) -> None:
        """The first end is the one that counts. With the lock held."""
        if self._exit_code is None:
            self._exit_code = exit_code

    def _attend(self, order: bytes, bundle: Bundle) -> int:
        paths = prepare(bundle)
        reading, writing = os.pipe()
        process = None
        try:
            process = self._start(paths, bundle.folder, writing)
        finally:
            os.close(writing)
            if process is None:
                os.close(reading)
        if process is None:
            return -signal.SIGKILL  # it was told to end meanwhile
        listeners = [
            threading.Thread(target=self._listen, args=(reading,), name="zoopipe-frames", daemon=True),
            threading.Thread(target=self._forward, args=(process,), name="zoopipe-stderr", daemon=True),
        ]
        for listener in listeners:
            listener.start()
        _send(process, order)
        with self._lock:
            self._has_order = True
            if self._stop_wanted:
                _send(process, struct.pack(HEADER, STOP, 0))
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        _kill_group(process.pid)  # before it is reaped: afterwards its number may be another's
        exit_code = process.wait()
        for listener in listeners:
            listener.join(LAST_WORDS_SECONDS)
        process.stdin.close()  # type: ignore[union-attr]  # it was asked for
        return exit_code

    def _start(self, paths: list[str], folder: str, writing: int) -> subprocess.Popen[bytes] | None:
        search = [*paths, *(path for path in sys.path if path and not path.endswith(OWN_FOLDERS))]
        with self._lock:
            if self._exit_code is None:
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-m", "zoopipe_core.engines.node_main", str(writing)],
                    bufsize=0,
                    stdin=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    pass_fds=(writing,),
                    cwd=folder if os.path.isdir(folder) else None,
                    env={**os.environ, "PYTHONPATH": os.pathsep.join(search)},
                    start_new_session=True,
                )
            return self._process

    def _listen(self, reading: int) -> None:
        while (frame := read_frame(reading)) is not None:
            kind, body = frame
            with self._lock:
                if kind == REPORT:
                    self._report = body.decode()
                elif kind == RESULT:
                    self._result = base64.b64encode(body).decode()
                else:
                    name, message = json.loads(body)
                    self._error = (name, message)
        os.close(reading)

    def _forward(self, process: subprocess.Popen[bytes]) -> None:
        """Let standard error go where the actor's own goes, and keep its end for the message if the process dies."""
        assert process.stderr is not None
        with io.TextIOWrapper(process.stderr, errors="replace") as lines:
            for line in lines:
                self._stderr = (self._stderr + line)[-STDERR_CHARS:]
                sys.stderr.write(line)


def read_frame(source: int) -> tuple[bytes, bytes] | None:
    """The next frame's kind and body from a file descriptor; None where the other side has ended."""
    header = _read(source, HEADER_BYTES)
    if header is None:
        return None
    kind, size = struct.unpack(HEADER, header)
    body = _read(source, size)
    return None if body is None else (kind, body)


def write_frame(target: int, kind: bytes, body: bytes) -> None:
    """Write a frame to a file descriptor.

    Raises:
        OSError: the other side has ended.
    """
    view = memoryview(struct.pack(HEADER, kind, len(body)) + body)
    while view:
        view = view[os.write(target, view) :]


def _read(source: int, size: int) -> bytes | None:
    # Not through a buffer: a thread that waits in one would hold its lock while the interpreter ends.
    data = bytearray()
    while len(data) < size:
        piece = os.read(source, min(size - len(data), 1 << 20))
        if not piece:
            return None
        data += piece
    return bytes(data)


def _send(process: subprocess.Popen[bytes], frames: bytes) -> None:
    assert process.stdin is not None
    view = memoryview(frames)
    try:
        while view:
            view = view[os.write(process.stdin.fileno(), view) :]
    except BrokenPipeError:
        return  # it has ended; its exit code will tell


def _kill_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
