"""The progress display: what a person sees on a terminal while a load runs.

Drawn by rich on standard error, and only where that is a terminal; in a log, a scheduler or a test nothing is shown.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from zoopipe_core.report import PipeReport, PipeStatus, format_bytes, format_seconds

__all__ = ["AUTO", "Display", "ReportCallback", "open_display"]

ReportCallback = Callable[[PipeReport], Any]
"""Called with a fresh snapshot a few times a second, and once at the end."""

CALLBACK_SECONDS = 0.25


def AUTO(report: PipeReport) -> None:
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
    """Hands reports to a user's function, at a bounded rate and always the last one."""

    def __init__(self, callback: ReportCallback) -> None:
        self._callback = callback
        self._shown = -CALLBACK_SECONDS

    def update(self, report: PipeReport) -> None:
        if report.is_finished or report.duration_seconds - self._shown >= CALLBACK_SECONDS:
            self._shown = report.duration_seconds
            self._callback(report)


class _Terminal(Display):
    """One line that moves: bar, share, rows, rate, time left, rejects, memory."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        self._live = Live(console=Console(stderr=True), refresh_per_second=8, transient=True)
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
    if report.status in (PipeStatus.FAILED, PipeStatus.ABORTED):
        parts.append(Text(report.status.name, style="bold red"))
    grid.add_row(*parts)
    return grid


def open_display(callback: ReportCallback | None) -> Display:
    """The display for an ``on_report_update`` argument."""
    if callback is None:
        return _Silent()
    if callback is AUTO:
        return _Terminal() if sys.stderr.isatty() else _Silent()
    return _Calling(callback)
