"""A fresh Python process of ours: started, given work, watched, ended.

    parent                                                        child (zoopipe_core.engines.child)
    ──────                                                        ─────
    Interpreter ── standard input: sys.path, then empty ────────▶ imports what it needs
                ── channel: descriptors of payload and slot ────▶ runs the pipe, writes its slot
                ◀─ standard error: passed on, its end kept ─────
       thread   ── lifeline: never written, closes when we end ─▶ ends itself and all that it started

Not `multiprocessing`: its children run the caller's ``__main__`` again, or inherit its threads and signal handlers, and
a daemonic process may have none. The child leads a session of its own, so that it can be ended with all that it
started, and gets no secret by its arguments.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time

import psutil

from zoopipe_core.engines.slots import memory_file
from zoopipe_core.errors import EngineError

__all__ = ["Interpreter", "child_path"]

LAST_WORDS_BYTES = 8192
SHOWN_WORDS_CHARS = 600
MAX_LAST_READS = 32
# Where no descriptor tells of the end of a process, this is how often the system is asked.
POLL_SECONDS = 0.1
# How long the children of an ending process may take to undo their loads.
EXIT_SECONDS = 1.5

# The path comes first: without it nothing of ours can be imported. -P: no file of the current folder stands in for one.
_BOOTSTRAP = (
    "import json, sys; sys.path[:] = json.load(sys.stdin); "
    "from zoopipe_core.engines.child import main; main(*map(int, sys.argv[1:]))"
)


class Interpreter:
    """One child process. Methods return at once and may be called from any thread.

    Args:
        keep: whether it waits for more work after its first task.

    Raises:
        EngineError: it cannot be started.
    """

    def __init__(self, *, keep: bool) -> None:
        self.ended = threading.Event()
        """Set once the process is gone, with all of its process group."""
        self._lock = threading.Lock()
        self._reaped = False
        self._status_taken = False
        self._last_words = bytearray()
        self._process, self._channel, self._stderr = _start(keep)
        self._pidfd = _open_pidfd(self.pid)
        _living.add(self)
        watching = threading.Thread(target=self._watch, name=f"zoopipe-worker-{self.pid}", daemon=True)
        try:
            watching.start()
        except RuntimeError as error:
            _kill_group(self.pid)
            self._process.wait()
            _living.discard(self)
            self._close()
            raise EngineError(f"no worker process can be watched: {error}") from error

    @property
    def pid(self) -> int:
        """The process, and the group and session that it leads."""
        return self._process.pid

    def send(self, payload: int, slot: int) -> None:
        """Give it a task, by descriptors of which it gets copies.

        Raises:
            EngineError: it is gone, or going.
        """
        try:
            socket.send_fds(self._channel, [b"t"], [payload, slot])
        except OSError as error:
            raise EngineError(f"the worker process {self.pid} takes no task any more: {error}") from error

    def received(self) -> bytes:
        """What it has sent since the last call."""
        data = bytearray()
        with contextlib.suppress(BlockingIOError, ConnectionResetError):
            while chunk := self._channel.recv(65536, socket.MSG_DONTWAIT):
                data += chunk
        return bytes(data)

    def kill(self) -> None:
        """End it and all that it started, now."""
        # Those in a session of their own are found only while their parents live.
        strays: list[psutil.Process] = []
        with self._lock:
            if self._reaped:
                return
            with contextlib.suppress(psutil.Error):
                strays = psutil.Process(self.pid).children(recursive=True)
            _kill_group(self.pid)
        for stray in strays:
            with contextlib.suppress(psutil.Error):
                stray.kill()

    def finish(self) -> None:
        """Let it end when it has done what it was given."""
        with contextlib.suppress(OSError):  # it is gone already
            self._channel.shutdown(socket.SHUT_WR)

    @property
    def last_words(self) -> str:
        """The end of what it wrote to standard error."""
        return bytes(self._last_words).decode(errors="replace")

    def describe_end(self) -> str:
        """How the process ended, and the last of its last words."""
        code = self._process.returncode
        if self._status_taken:
            how = "and its exit status was taken by another part of this program"
        elif code >= 0:
            how = f"with exit code {code}"
        else:
            how = f"killed by {_signal_name(-code)}"
            if -code == signal.SIGKILL:
                how += ", which is also how the system answers a lack of memory"
        words = self.last_words.strip()
        tail = f"; the end of its standard error:\n{words[-SHOWN_WORDS_CHARS:]}" if words else ""
        return f"the worker process {self.pid} ended without a result, {how}{tail}"

    # ---- watching -------------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        """Pass its standard error on until it ends; then end its group and reap it."""
        poller = select.poll()
        poller.register(self._stderr, select.POLLIN)
        if self._pidfd is not None:
            poller.register(self._pidfd, select.POLLIN)
        while not self._has_ended():
            for descriptor, _ in poller.poll(None if self._pidfd is not None else POLL_SECONDS * 1000):
                if descriptor == self._stderr and not self._pass_on():
                    poller.unregister(self._stderr)
        with self._lock:
            _kill_group(self.pid)  # before it is reaped: afterwards its number may be another's
            self._process.wait()
            self._reaped = True
        os.set_blocking(self._stderr, False)
        with contextlib.suppress(BlockingIOError):
            # Not to its end: a process that left the group may hold it open, and go on talking.
            for _ in range(MAX_LAST_READS):
                if not self._pass_on():
                    break
        self.ended.set()
        _living.discard(self)
        self._close()

    def _has_ended(self) -> bool:
        if not hasattr(os, "waitid"):  # macOS
            return self._process.poll() is not None
        try:
            return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:
            self._status_taken = True
            return True

    def _pass_on(self) -> bool:
        """Read standard error once; False at its end."""
        chunk = os.read(self._stderr, 65536)
        self._last_words += chunk
        del self._last_words[:-LAST_WORDS_BYTES]
        _forward(chunk)
        return bool(chunk)

    def _close(self) -> None:
        self._channel.close()
        for descriptor in (self._stderr, self._pidfd):
            if descriptor is not None:
                os.close(descriptor)
        self._pidfd = None

    def _disown(self) -> None:
        """In a forked child: it is the parent's, and the parent's ends of its pipes must not live on here."""
        self._close()
        self._lock = threading.Lock()
        self._reaped = True
        self._process.returncode = 0  # or it would warn of a child that is left running
        self.ended = threading.Event()
        self.ended.set()


def child_path() -> list[str]:
    """The `sys.path` of this process, each entry made absolute."""
    return [os.path.abspath(entry) for entry in sys.path if isinstance(entry, str)]


# ---- starting -------------------------------------------------------------------------------------------------------


def _start(keep: bool) -> tuple[subprocess.Popen[bytes], socket.socket, int]:
    """The process, our end of the channel, and the reading end of its standard error."""
    if os.name != "posix":
        raise EngineError("worker processes need a POSIX system; on this one, use RayEngine or DaskEngine")
    if not sys.executable:
        raise EngineError("worker processes need a Python interpreter, and sys.executable names none")
    with contextlib.ExitStack() as here, contextlib.ExitStack() as on_error:
        try:
            channel, end = map(on_error.enter_context, socket.socketpair())
            here.callback(end.close)
            theirs = _above_standard(end.fileno())
            here.callback(os.close, theirs)
            stderr, stderr_end = os.pipe()
            on_error.callback(os.close, stderr)
            here.callback(os.close, stderr_end)
            boot = memory_file("zoopipe-boot")
            here.callback(os.close, boot)
            os.pwrite(boot, json.dumps(child_path()).encode(), 0)
            lifeline = _open_lifeline()
            arguments = [str(number) for number in (theirs, lifeline, int(keep))]
            process = subprocess.Popen(
                [sys.executable, *_flags(), "-P", "-c", _BOOTSTRAP, *arguments],
                stdin=boot,
                stderr=stderr_end,
                pass_fds=[theirs, lifeline],
                start_new_session=True,
            )
        except OSError as error:
            raise EngineError(f"no worker process can be started: {error}") from error
        on_error.pop_all()
    return process, channel, stderr


def _flags() -> list[str]:
    """The options of this interpreter, such as -W, -X and -E, as `multiprocessing` hands them on."""
    return list(subprocess._args_from_interpreter_flags())  # type: ignore[attr-defined]


def _above_standard(descriptor: int) -> int:
    """A copy that cannot be taken for a standard stream, in a program that has closed its own."""
    return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 3)


def _open_pidfd(pid: int) -> int | None:
    """A descriptor that becomes readable when the process ends; None where there is none."""
    if hasattr(os, "pidfd_open"):
        with contextlib.suppress(OSError):  # an older kernel, or a sandbox that forbids it
            return os.pidfd_open(pid)
    return None


# ---- ending ---------------------------------------------------------------------------------------------------------


def _kill_group(leader: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # nothing is left of it; macOS says it so
        os.killpg(leader, signal.SIGKILL)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"


def _forward(chunk: bytes) -> None:
    """Write to our own standard error as far as that takes it at once: no worker's noise may hold up its watcher."""
    if sys.__stderr__ is None:
        return
    poller = select.poll()
    poller.register(2, select.POLLOUT)
    for start in range(0, len(chunk), select.PIPE_BUF):
        if not any(event & select.POLLOUT for _, event in poller.poll(0)):
            return
        with contextlib.suppress(OSError):  # closed since, or broken: there is nobody left to tell
            os.write(2, chunk[start : start + select.PIPE_BUF])


# ---- the lifeline: children end when this process does, however it ends ---------------------------------------------

_living: set[Interpreter] = set()
_lifeline_lock = threading.Lock()
_lifeline: tuple[int, int] | None = None
"""A pipe that nobody writes to. Its writing end is this process's alone, and so closes when it ends."""


def _open_lifeline() -> int:
    """The end that children watch."""
    global _lifeline
    with _lifeline_lock:
        if _lifeline is None:
            ends = os.pipe()
            _lifeline = _above_standard(ends[0]), _above_standard(ends[1])
            for end in ends:
                os.close(end)
        return _lifeline[0]


def _cut_lifeline() -> None:
    global _lifeline
    ends, _lifeline = _lifeline, None
    for end in ends or ():
        os.close(end)


@atexit.register
def _at_exit() -> None:
    with _lifeline_lock:
        _cut_lifeline()
    deadline = time.monotonic() + EXIT_SECONDS
    for interpreter in tuple(_living):
        if not interpreter.ended.wait(max(deadline - time.monotonic(), 0)):
            interpreter.kill()


def _after_fork() -> None:
    global _lifeline_lock
    _lifeline_lock = threading.Lock()
    _cut_lifeline()
    for interpreter in tuple(_living):
        interpreter._disown()
    _living.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
