"""The progress display: what a person sees on a terminal while a load runs.

Drawn by rich on standard error, and only where that is a terminal; in a log, a scheduler or a test nothing is shown.
"""

from __future__ import annotations

import logging
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeAlias

from zoopipe_core._text import format_bytes, format_seconds

if TYPE_CHECKING:
    from zoopipe_core.report import PipeReport

__all__ = ["Display", "ReportCallback", "open_display", "progress_display"]

logger = logging.getLogger(__name__)

ReportCallback: TypeAlias = "Callable[[PipeReport], Any]"
"""Called with a fresh snapshot a few times a second, and once at the end.

What it raises is logged and noted in the report, and does not touch the load: how a load is looked at has no say in
whether it succeeds. To end a load from a callback, call ``pipe.shutdown()``.
"""

CALLBACK_SECONDS = 0.25


def progress_display(report: PipeReport) -> None:
    """The default of ``on_report_update``: a progress display on a terminal, nothing elsewhere."""


class Display(ABC):
    """Something that is shown reports; a context manager."""

    @abstractmethod
    def update(self, report: PipeReport) -> None:
        """Show the newest report."""

    def close(self) -> None:
        """Leave the screen tidy."""
        return

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Silent(Display):
    def update(self, report: PipeReport) -> None:
        return


class _Calling(Display):
    """Hands reports to a user's function, at a bounded rate and the last one always, once."""

    def __init__(self, callback: ReportCallback, note: Callable[[str], None]) -> None:
        self._callback = callback
        self._note = note
        self._shown: float | None = None
        self._ended = False
        self._failed = False

    def update(self, report: PipeReport) -> None:
        clock = report.duration_seconds
        soon = self._shown is not None and clock - self._shown < CALLBACK_SECONDS
        if self._ended or (soon and not report.is_finished):
            return
        self._shown, self._ended = clock, report.is_finished
        try:
            self._callback(report)
        except Exception as error:  # see ReportCallback
            if not self._failed:  # once: it may fail each time
                self._failed = True
                logger.warning("on_report_update failed; the load goes on", exc_info=True)
                self._note(f"on_report_update raised {type(error).__name__}: {error}")


class _Terminal(Display):
    """One line that moves: bar, share, rows, rate, time left, rejects, memory."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        # What hooks print goes above the line if it shows up on this terminal, and else where it always went.
        shares_terminal = sys.stdout is not None and sys.stdout.isatty()
        console = Console(stderr=True)
        self._live = Live(
            console=console, refresh_per_second=8, transient=True, redirect_stdout=shares_terminal, redirect_stderr=True
        )
        self._live.start()

    def update(self, report: PipeReport) -> None:
        self._live.update(render_line(report))

    def close(self) -> None:
        self._live.stop()


def render_line(report: PipeReport) -> Any:
    """A report as one line for rich."""
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 1))
    parts: list[Any] = []
    if report.fraction_done is not None:
        parts.append(ProgressBar(total=1.0, completed=report.fraction_done, width=24))
        parts.append(Text(f"{report.fraction_done:4.0%}", style="bold"))
    else:
        parts.append(Text("...", style="bold"))
    parts.append(Text(f"{report.source} -> {report.target}", overflow="ellipsis", no_wrap=True))
    parts.append(Text(f"{report.read_rows:,} rows", style="cyan"))
    parts.append(Text(f"{report.recent_rows_per_second:,.0f}/s"))
    if report.eta_seconds is not None:
        parts.append(Text(f"{format_seconds(report.eta_seconds)} left"))
    if report.rejected_rows:
        parts.append(Text(f"{report.rejected_rows:,} rejected", style="yellow"))
    parts.append(Text(format_bytes(report.ram_bytes), style="dim"))
    if report.has_error:
        parts.append(Text(report.status.name, style="bold red"))
    grid.add_row(*parts)
    return grid


def open_display(callback: ReportCallback | None, note: Callable[[str], None]) -> Display:
    """The display for an ``on_report_update`` argument; `note` takes remarks for the report."""
    if callback is None:
        return _Silent()
    if callback is progress_display:
        return _Terminal() if sys.stderr is not None and sys.stderr.isatty() else _Silent()
    return _Calling(callback, note)
