"""A load's report as Prefect shows it: pure functions from a `PipeReport` to text, without any Prefect.

What a report says comes from files and databases (paths, names of columns), so it is escaped: neither a `|` nor a
backtick nor a tag in it changes the page.
"""

from __future__ import annotations

import html
import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoopipe_core import PipeReport

__all__ = ["artifact_key", "report_markdown", "report_table"]

MAX_PIPES = 100  # a page of a thousand rows is read by nobody


def artifact_key(name: str) -> str:
    """A key that Prefect accepts (lower-case letters, digits, dashes), the same for the same load each time.

    >>> artifact_key("duckdb:///warehouse.duckdb::flights")
    'load-duckdb-warehouse-duckdb-flights'
    """
    words = re.findall(r"[a-z0-9]+", name.lower())
    if not name.isascii():  # letters are lost: a checksum keeps two names apart
        words.append(f"{zlib.crc32(name.encode()):08x}")
    return "-".join(["load", *words])


def report_table(reports: Iterable[PipeReport]) -> list[dict[str, Any]]:
    """A row for each pipe or shard, as Prefect's table artifacts take it: names of columns and plain values.

    Args:
        reports: those that failed come first, and at most 100 are shown.

    >>> from zoopipe_core import PipeReport
    >>> [row] = report_table([PipeReport(source="a.csv", target="b.csv", loaded_rows=3)])
    >>> row["source"], row["loaded"]
    ('a.csv', 3)
    """
    return [
        {
            "pipe": report.pipe_index,
            "source": report.source,
            "target": report.target,
            "status": report.status.name,
            "read": report.read_rows,
            "loaded": report.loaded_rows,
            "rejected": report.rejected_rows,
            "filtered": report.filtered_rows,
            "seconds": round(report.duration_seconds, 2),
            "rows/s": round(report.items_per_second),
            "attempt": report.attempt,
            "load id": report.load_id or "",
        }
        for report in _shown_first(reports)[:MAX_PIPES]
    ]


def report_markdown(
    report: PipeReport, pipes: Sequence[PipeReport] = (), links: Mapping[str, str] | None = None
) -> str:
    """The report as a page: what became of the rows, where the time went, the commonest rejections, the error.

    Args:
        report: of the load as a whole.
        pipes: the reports of the pipes or shards that it is made of, which become a table: those that failed first,
            and at most 100 of them.
        links: what they are called, and where they lead; for the end of the page.

    >>> from zoopipe_core import PipeReport, PipeStatus
    >>> page = report_markdown(PipeReport(source="a.csv", target="b.csv", status=PipeStatus.COMPLETED, read_rows=3))
    >>> page.splitlines()[0]
    '### a.csv → b.csv: COMPLETED'
    """
    parts = [
        f"### {_text(report.source)} → {_text(report.target)}: {report.status.name}",
        _table(["read", "loaded", "rejected", "filtered", "added"], [_row_counts(report)]),
        _table(["seconds", "rows/s", "reading", "validating", "hooks", "writing", "peak memory"], [_costs(report)]),
    ]
    if pipes:
        parts += ["#### Pipes", *_pipes(pipes)]
    if report.rejections:
        rows = [
            [item.field or "(row)", item.type, f"{item.count:,}", f"{item.source} row {item.row:,}"]
            for item in report.rejections
        ]
        parts += ["#### Rejected rows", _table(["field", "error", "rows", "for example"], rows)]
    if report.rejected_rows and report.rejects_target:
        parts.append(f"Rejects are in {_text(report.rejects_target)}.")
    if report.notes:
        parts.append("\n".join(f"- {_text(note)}" for note in report.notes))
    if report.exception is not None:
        parts += ["#### Error", f"**{_text(report.exception.type)}**", _preformatted(report.exception.message)]
    if report.load_id:
        parts.append(f"Load id: {_text(report.load_id)}")
    if links:
        parts.append(" · ".join(f"[{_text(name)}](<{_address(url)}>)" for name, url in links.items()))
    return "\n\n".join(parts) + "\n"


def _pipes(reports: Sequence[PipeReport]) -> list[str]:
    head = ["pipe", "source", "target", "status", "read", "loaded", "rejected", "filtered", "seconds", "attempt"]
    shown = _shown_first(reports)[:MAX_PIPES]
    rows = [
        [
            str(report.pipe_index),
            report.source,
            report.target,
            report.status.name,
            *_row_counts(report)[:4],
            f"{report.duration_seconds:,.2f}",
            str(report.attempt),
        ]
        for report in shown
    ]
    hidden = len(reports) - len(shown)
    return [_table(head, rows), *([f"And {hidden:,} more."] if hidden else [])]


def _shown_first(reports: Iterable[PipeReport]) -> list[PipeReport]:
    """Those that failed, then the others, each in order."""
    return sorted(reports, key=lambda report: not report.has_error)


def _row_counts(report: PipeReport) -> list[str]:
    counts = (report.read_rows, report.loaded_rows, report.rejected_rows, report.filtered_rows, report.added_rows)
    return [f"{count:,}" for count in counts]


def _costs(report: PipeReport) -> list[str]:
    seconds = (report.read_seconds, report.validate_seconds, report.hook_seconds, report.write_seconds)
    return [
        f"{report.duration_seconds:,.2f}",
        f"{report.items_per_second:,.0f}",
        *(f"{value:,.2f}" for value in seconds),
        f"{report.peak_ram_bytes / 1e6:,.0f} MB",
    ]


def _table(head: list[str], rows: Iterable[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *([_text(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _text(value: str) -> str:
    """`value` on one line, with everything that Markdown or HTML would read as markup taken literally."""
    escaped = html.escape(" ".join(value.split()), quote=False)
    return re.sub(r"([\\`*_{}\[\]|#~])", r"\\\1", escaped)


def _address(url: str) -> str:
    """`url` as it may stand between angle brackets."""
    return "".join(f"%{ord(letter):02X}" if letter in '<>\\"\r\n ' else letter for letter in url)


def _preformatted(value: str) -> str:
    """`value` as it stands: an indented block, which no text can end from within."""
    return "\n".join(f"    {line}" for line in value.splitlines())
