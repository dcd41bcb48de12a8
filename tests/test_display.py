"""The progress display: what a person sees on a terminal, and that nobody sees it elsewhere."""

import io
import os
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import pytest
from rich.console import Console

from zoopipe_core import PipeReport, PipeStatus
from zoopipe_core.display import open_display, progress_display, render_line

pty = pytest.importorskip("pty", reason="this system has no pseudo-terminals")
SECONDS = 60

PROGRAM = """
import sys, time
from pydantic import BaseModel
from zoopipe_core import BaseHook, Pipe, SingleThreadExecutor

class Row(BaseModel):
    id: int

class Talking(BaseHook):
    def execute(self, entries, store):
        print("from a hook")
        return entries

class Rows(list):
    def __iter__(self):
        for row in super().__iter__():
            time.sleep(0.02)
            yield row

rows = Rows({"id": n if n % 10 else "bad"} for n in range(60))
hooks = [Talking()] if "talk" in sys.argv else []
pipe = Pipe(rows, None, None, Row, hooks, executor=SingleThreadExecutor(6))
options = {"on_report_update": None} if "off" in sys.argv else {}
assert pipe.run(**options)
print("the end")
"""


def on_a_terminal(*arguments: str) -> str:
    """What the program writes to a terminal 120 characters wide that is its standard output and error."""
    child, terminal = pty.fork()
    if child == 0:
        environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120", "LINES": "30"}
        os.execve(sys.executable, [sys.executable, "-c", PROGRAM, *arguments], environment)
    written = b""
    while True:
        try:
            part = os.read(terminal, 65536)
        except OSError:  # how Linux says that the other end is closed
            break
        if not part:
            break
        written += part
    os.close(terminal)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0, written.decode()
    return written.decode()


def line(width: int = 200, **fields: Any) -> str:
    report = PipeReport(**{"status": PipeStatus.RUNNING, "source": "in.csv", "target": "wh.db::t", **fields})
    console = Console(file=io.StringIO(), width=width, color_system=None, legacy_windows=False)
    console.print(render_line(report))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_terminal_shows_the_load_as_it_goes_and_is_left_tidy() -> None:
    written = on_a_terminal()
    for shown in ("Rows -> no output", " rows", "/s", "rejected", " MB", "100%"):
        assert shown in written
    assert written.count("Rows -> no output") > 2, "the line moves"
    assert written.count("\x1b[?25l") == written.count("\x1b[?25h") == 1, "the cursor is hidden, and shown again"
    assert written.endswith("\x1b[2Kthe end\r\n"), "the line is gone"


def test_what_hooks_print_is_not_drawn_over() -> None:
    written = on_a_terminal("talk")
    assert written.count("from a hook") == 10
    assert "Rows -> no output" in written


def test_a_terminal_shows_nothing_if_that_is_asked_for() -> None:
    assert on_a_terminal("off") == "the end\r\n"


def test_elsewhere_nothing_is_shown() -> None:
    run = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=SECONDS, check=True)
    assert (run.stdout, run.stderr) == ("the end\n", "")


def test_rich_is_not_loaded_where_there_is_no_terminal() -> None:
    code = (
        "import sys\nfrom zoopipe_core import Pipe\n"
        "assert Pipe([{'id': 1}], None).run()\nassert 'rich' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], stderr=subprocess.PIPE, timeout=SECONDS, check=True)


def test_a_line_shows_share_rows_rate_time_left_rejects_and_memory() -> None:
    shown = line(
        read_rows=1_234_567,
        fraction_done=0.25,
        recent_rows_per_second=98_765.4,
        duration_seconds=25.0,
        rejected_rows=1_200,
        ram_bytes=148_000_000,
        started_at=datetime(2024, 1, 1, tzinfo=UTC),
    )
    for part in (
        "25%",
        "in.csv -> wh.db::t",
        "1,234,567 rows",
        "98,765/s",
        "1 min 15 s left",
        "1,200 rejected",
        "148 MB",
    ):
        assert part in shown


def test_a_line_leaves_out_what_is_unknown_or_nothing() -> None:
    shown = line(read_rows=5)
    for part in ("%", "left", "rejected"):
        assert part not in shown


@pytest.mark.parametrize("status", [PipeStatus.FAILED, PipeStatus.ABORTED])
def test_a_line_says_that_the_load_did_not_complete(status: PipeStatus) -> None:
    assert status.name in line(status=status)
    assert status.name not in line(status=PipeStatus.COMPLETED)


def test_markup_in_a_name_is_text() -> None:
    assert "[red]x[/red].csv -> wh.db::t" in line(source="[red]x[/red].csv")


class Sink:
    """Standard error that is a terminal or is none."""

    def __init__(self, is_terminal: bool) -> None:
        self.is_terminal = is_terminal

    def isatty(self) -> bool:
        return self.is_terminal


@pytest.mark.parametrize("stream", [None, Sink(False)])
def test_without_a_terminal_the_default_display_is_silent(stream: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", stream)
    notes: list[str] = []
    with open_display(progress_display, notes.append) as display:
        display.update(PipeReport())
    assert notes == []


def test_a_callback_gets_the_first_report_spaced_ones_and_the_last_once() -> None:
    seen: list[float] = []
    with open_display(lambda report: seen.append(report.duration_seconds), lambda note: None) as display:
        for tick in range(11):
            display.update(PipeReport(status=PipeStatus.RUNNING, duration_seconds=tick / 10))
        for _ in range(3):
            display.update(PipeReport(status=PipeStatus.COMPLETED, duration_seconds=1.01))
    assert seen == [0.0, 0.3, 0.6, 0.9, 1.01]


def test_a_callback_that_fails_each_time_is_noted_once() -> None:
    notes: list[str] = []
    display = open_display(lambda report: 1 / 0, notes.append)
    for second in range(5):
        display.update(PipeReport(status=PipeStatus.RUNNING, duration_seconds=second))
    assert notes == ["on_report_update raised ZeroDivisionError: division by zero"]
