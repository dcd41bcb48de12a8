"""What a load did: an immutable snapshot that goes to JSON and back.

`PipeReport` is the one description of a load in every place where a load is looked at: the progress display, the
terminal, a notebook, Airflow's XCom, a Prefect artifact. It holds numbers and names, never secrets, no cell values but
those of a watermark, and stays within a few KB however long the load was.
"""

from __future__ import annotations

import dataclasses
import html
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, ClassVar, Self

from zoopipe_core._text import format_bytes, format_seconds, shorten, without_secrets
from zoopipe_core.errors import LoadAbortedError, LoadFailedError

__all__ = ["ExceptionInfo", "PipeReport", "PipeStatus", "RejectionSummary"]

# Together these keep a report, as JSON, within a few KB.
MAX_TRACEBACK_CHARS = 3000
MAX_MESSAGE_CHARS = 1000
MAX_REJECTIONS = 10
MAX_KIND_CHARS = 100
MAX_NOTES = 10
MAX_NOTE_CHARS = 300
MAX_LABEL_CHARS = 200
MAX_UNKNOWN_COLUMNS = 20
MAX_COLUMN_CHARS = 64


class PipeStatus(StrEnum):
    """Where a load is in its life."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    ABORTED = "aborted"

    @property
    def is_final(self) -> bool:
        """True once the status cannot change any more."""
        return self in (PipeStatus.COMPLETED, PipeStatus.FAILED, PipeStatus.ABORTED)


@dataclass(frozen=True, slots=True)
class RejectionSummary:
    """One kind of rejection: which field, which pydantic error type, how often, and where to look at one.

    ``field`` is the dotted location, empty for a row as a whole. ``row`` counts records of ``source`` from 1.
    """

    field: str
    type: str
    count: int
    source: str
    row: int

    @property
    def where(self) -> str:
        """Source and row of the example."""
        return f"{self.source} row {self.row:,}" if self.row else f"a row that a hook added to {self.source}"

    def __str__(self) -> str:
        return f"{self.count:,} x {self.field or 'row'}: {self.type} (e.g. {self.where})"


@dataclass(frozen=True, slots=True)
class ExceptionInfo:
    """An exception as text: its type's name, its message and its traceback, each cut to a bound."""

    type: str
    message: str
    traceback: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PipeReport:
    """A snapshot of one load, or of several merged into one.

    ``read_rows + added_rows == loaded_rows + rejected_rows + filtered_rows`` holds for every completed load;
    ``added_rows`` counts rows that hooks put in. Times are seconds, sizes are bytes, rates are rows per second.
    ``loaded_rows`` of a load that did not complete were written but never published. ``unknown_columns`` are columns
    of the source that neither the model nor a hook looks at, the first 20 of them.

    >>> report = PipeReport(source="in.csv", target="out.jsonl", read_rows=3, loaded_rows=2, rejected_rows=1)
    >>> PipeReport.from_dict(report.to_dict()) == report
    True
    """

    pipe_index: int = 0
    status: PipeStatus = PipeStatus.PENDING
    source: str = ""
    target: str = ""
    rejects_target: str | None = None
    read_rows: int = 0
    loaded_rows: int = 0
    rejected_rows: int = 0
    filtered_rows: int = 0
    added_rows: int = 0
    bytes_read: int = 0
    bytes_written: int = 0
    fraction_done: float | None = None
    recent_rows_per_second: float = 0.0
    ram_bytes: int = 0
    peak_ram_bytes: int = 0
    started_at: datetime | None = None
    finished_at: datetime | None = None
    duration_seconds: float = 0.0
    read_seconds: float = 0.0
    validate_seconds: float = 0.0
    hook_seconds: float = 0.0
    write_seconds: float = 0.0
    rejections: tuple[RejectionSummary, ...] = ()
    load_id: str | None = None
    attempt: int = 1
    exception: ExceptionInfo | None = None
    notes: tuple[str, ...] = ()
    unknown_columns: tuple[str, ...] = ()
    pipe_count: int = 1
    cause: BaseException | None = field(default=None, compare=False, repr=False)
    """The exception itself, only in the process where it was raised; never serialized."""

    _DATES: ClassVar[tuple[str, ...]] = ("started_at", "finished_at")

    def __reduce__(self) -> tuple[Any, ...]:
        # Not by its slots: `cause` may be an exception that cannot be pickled, and belongs to this process.
        return PipeReport.from_dict, (self.to_dict(),)

    # ---- the names of the manager's specification -------------------------------------------------------------

    @property
    def total_processed(self) -> int:
        """Rows read so far, whatever became of them."""
        return self.read_rows

    @property
    def success_count(self) -> int:
        """Rows that went to the output."""
        return self.loaded_rows

    @property
    def error_count(self) -> int:
        """Rows that were rejected."""
        return self.rejected_rows

    @property
    def is_finished(self) -> bool:
        """True once the load has ended, in whatever way."""
        return self.status.is_final

    @property
    def has_error(self) -> bool:
        """True if the load failed or was aborted. Rejected rows are not an error of the load."""
        return self.status in (PipeStatus.FAILED, PipeStatus.ABORTED)

    @property
    def is_alive(self) -> bool:
        """True while the load runs."""
        return self.status is PipeStatus.RUNNING

    @property
    def items_per_second(self) -> float:
        """Rows read per second over the whole run."""
        return self.read_rows / self.duration_seconds if self.duration_seconds > 0 else 0.0

    @property
    def eta_seconds(self) -> float | None:
        """Seconds that the rest will take at the pace so far; None if the share done is unknown."""
        if not self.fraction_done or self.status is not PipeStatus.RUNNING:
            return None
        return self.duration_seconds * (1 - self.fraction_done) / self.fraction_done

    @property
    def _was_cancelled(self) -> bool:
        # By the exception and not by the status, which in a merged report is that of all pipes together.
        return self.exception is not None and self.exception.type in ("LoadAbortedError", "KeyboardInterrupt")

    # ---- verdict ----------------------------------------------------------------------------------------------

    def raise_for_status(self) -> Self:
        """Return the report itself if the load completed.

        Raises:
            LoadFailedError: the load failed, or has not finished; its cause is the original exception where the
                load ran in this process.
            LoadAbortedError: the load was cancelled. Both have this report as their ``report``.
        """
        if self.status is PipeStatus.COMPLETED:
            return self
        what = f"the load {self.source or 'of no source'} -> {self.target or 'no target'}"
        if not self.is_finished:
            raise LoadFailedError(f"{what} has not finished: it is {self.status.value}; wait for it")
        reason = f"\n{self.exception.type}: {self.exception.message}" if self.exception else ""
        error: LoadAbortedError | LoadFailedError
        if self.status is PipeStatus.ABORTED:
            error = LoadAbortedError(f"{what} was aborted; the target was left as it was{reason}")
        else:
            error = LoadFailedError(f"{what} failed; the target was left as it was{reason}")
        error.report = self
        raise error from self.cause

    # ---- JSON -------------------------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types only: the form for XCom, artifacts and files."""
        data: dict[str, Any] = {}
        for item in dataclasses.fields(self):
            if item.name == "cause":
                continue
            value = getattr(self, item.name)
            if isinstance(value, datetime):
                value = value.isoformat()
            elif isinstance(value, PipeStatus):
                value = value.value
            elif isinstance(value, ExceptionInfo):
                value = dataclasses.asdict(value)
            elif item.name == "rejections":
                value = [dataclasses.asdict(rejection) for rejection in value]
            elif isinstance(value, tuple):
                value = list(value)
            elif isinstance(value, float) and not math.isfinite(value):
                value = None
            data[item.name] = value
        # Derived figures, for readers of the JSON who have no PipeReport at hand.
        data["items_per_second"] = self.items_per_second
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> PipeReport:
        """The inverse of `to_dict`; unknown keys are ignored, so that older readers take newer reports.

        Raises:
            ValueError: a status or a date that is none.
        """
        # None stands for what JSON has no number for: the field's default.
        values = {name: value for name, value in _known(cls, data).items() if value is not None}
        for name in cls._DATES:
            if name in values:
                values[name] = datetime.fromisoformat(values[name])
        if "status" in values:
            values["status"] = PipeStatus(values["status"])
        if "exception" in values:
            values["exception"] = ExceptionInfo(**_known(ExceptionInfo, values["exception"]))
        values["rejections"] = tuple(
            RejectionSummary(**_known(RejectionSummary, item)) for item in values.get("rejections", ())
        )
        for name in ("notes", "unknown_columns"):
            values[name] = tuple(values.get(name, ()))
        return cls(**values)

    # ---- merging ----------------------------------------------------------------------------------------------

    @classmethod
    def merge(cls, reports: Iterable[PipeReport]) -> PipeReport:
        """One report for several pipes. Counts, bytes and seconds of work add up, times span all, FAILED wins.

        Pure: neither the order of the reports nor their grouping changes a number, a time or the status, and a merge
        of nothing changes nothing. Names and rejections are a summary: the first names, the commonest rejections, and
        of several exceptions the first one that is no cancellation.
        """
        reports = [report for report in reports if report.pipe_count]
        if not reports:
            return cls(pipe_count=0)
        status = _merge_status([r.status for r in reports])
        started = [r.started_at for r in reports if r.started_at]
        finished = [r.finished_at for r in reports if r.finished_at]
        raised = [r for r in reports if r.exception]
        failed = next((r for r in raised if not r._was_cancelled), raised[0] if raised else None)
        return cls(
            status=status,
            source=_merge_names(r.source for r in reports),
            target=_merge_names(r.target for r in reports),
            rejects_target=_merge_names(r.rejects_target for r in reports if r.rejects_target) or None,
            **{
                name: sum(getattr(r, name) for r in reports)
                for name in (
                    "read_rows", "loaded_rows", "rejected_rows", "filtered_rows", "added_rows",
                    "bytes_read", "bytes_written", "ram_bytes", "peak_ram_bytes",
                    "read_seconds", "validate_seconds", "hook_seconds", "write_seconds", "pipe_count",
                )
            },
            # What has ended has no pace any more.
            recent_rows_per_second=sum(r.recent_rows_per_second for r in reports if not r.is_finished),
            fraction_done=_merge_fractions(reports),
            started_at=min(started, default=None),
            finished_at=max(finished, default=None) if status.is_final else None,
            duration_seconds=_merge_durations(reports),
            rejections=merge_rejections(r.rejections for r in reports),
            load_id=next((r.load_id for r in reports if r.load_id), None),
            attempt=max(r.attempt for r in reports),
            exception=failed.exception if failed else None,
            cause=failed.cause if failed else None,
            notes=merge_notes(note for r in reports for note in r.notes),
            unknown_columns=merge_columns(name for r in reports for name in r.unknown_columns),
        )  # fmt: skip

    # ---- people -----------------------------------------------------------------------------------------------

    def __str__(self) -> str:
        head = f"{self.source or '?'} -> {self.target or '?'}   {self.status.name}"
        if self.started_at:
            head += f" in {format_seconds(self.duration_seconds)}"
        counts = [f"read {self.read_rows:,}", f"loaded {self.loaded_rows:,}", f"rejected {self.rejected_rows:,}"]
        counts.append(f"filtered {self.filtered_rows:,}")
        if self.added_rows:
            counts.append(f"added {self.added_rows:,}")
        counts.append(f"   {self.items_per_second:,.0f} rows/s")
        counts.append(f"peak {format_bytes(self.peak_ram_bytes)}")
        lines = [head, "  " + "   ".join(counts), "  " + self._time_line()]
        for r in self.rejections[:5]:
            lines.append(f"  rejected {r}")
        if self.rejected_rows and self.rejects_target:
            lines.append(f"  rejects: {self.rejects_target}")
        if self.unknown_columns:
            lines.append(f"  unknown to the model: {self._shown_columns()}")
        lines.extend(f"  note: {note}" for note in self.notes)
        if self.exception:
            lines.append(f"  {self.exception.type}: {self.exception.message}")
        return "\n".join(lines)

    def _shown_columns(self) -> str:
        more = ", ..." if len(self.unknown_columns) == MAX_UNKNOWN_COLUMNS else ""
        return shorten(", ".join(self.unknown_columns), MAX_NOTE_CHARS) + more

    def _time_line(self) -> str:
        parts = {
            "read": self.read_seconds, "validate": self.validate_seconds,
            "hooks": self.hook_seconds, "write": self.write_seconds,
        }  # fmt: skip
        total = sum(parts.values())
        shares = [
            f"{name} {value / total:.0%}" for name, value in parts.items() if total and (value or name != "hooks")
        ]
        line = "time: " + ("  ".join(shares) or "none")
        if self.load_id:
            shown = self.load_id if len(self.load_id) <= 12 else f"{self.load_id[:12]}..."
            line += f"      load {shown} attempt {self.attempt}"
        return line

    def _repr_html_(self) -> str:
        """A small table, for notebooks. Every value is escaped."""
        rows = {
            "status": self.status.name, "source": self.source, "target": self.target,
            "read": f"{self.read_rows:,}", "loaded": f"{self.loaded_rows:,}", "rejected": f"{self.rejected_rows:,}",
            "filtered": f"{self.filtered_rows:,}", "rows/s": f"{self.items_per_second:,.0f}",
            "duration": format_seconds(self.duration_seconds), "peak memory": format_bytes(self.peak_ram_bytes),
        }  # fmt: skip
        if self.rejected_rows and self.rejects_target:
            rows["rejects"] = self.rejects_target
        if self.unknown_columns:
            rows["unknown columns"] = self._shown_columns()
        for rejection in self.rejections[:5]:
            rows[f"{rejection.field or 'row'}: {rejection.type}"] = f"{rejection.count:,} x, e.g. {rejection.where}"
        if self.exception:
            rows["error"] = f"{self.exception.type}: {self.exception.message}"
        cells = "".join(f"<tr><th>{html.escape(k)}</th><td>{html.escape(v)}</td></tr>" for k, v in rows.items())
        return f"<table>{cells}</table>"


def merge_rejections(groups: Iterable[Iterable[RejectionSummary]]) -> tuple[RejectionSummary, ...]:
    """Add up equal kinds of rejection, commonest first, at most `MAX_REJECTIONS` of them."""
    merged: dict[tuple[str, str], RejectionSummary] = {}
    for group in groups:
        for item in group:
            key = (item.field, item.type)
            seen = merged.get(key)
            merged[key] = dataclasses.replace(seen, count=seen.count + item.count) if seen else item
    ordered = sorted(merged.values(), key=lambda item: (-item.count, item.field, item.type))
    return tuple(ordered[:MAX_REJECTIONS])


def merge_notes(notes: Iterable[str]) -> tuple[str, ...]:
    """Each note once, shortened, at most `MAX_NOTES` of them."""
    return tuple(dict.fromkeys(shorten(note, MAX_NOTE_CHARS) for note in notes))[:MAX_NOTES]


def merge_columns(names: Iterable[str]) -> tuple[str, ...]:
    """Each name once, shortened, at most `MAX_UNKNOWN_COLUMNS` of them."""
    unique = dict.fromkeys(shorten(name, MAX_COLUMN_CHARS) for name in names)
    return tuple(unique)[:MAX_UNKNOWN_COLUMNS]


def describe_exception(error: BaseException, traceback_text: str = "") -> ExceptionInfo:
    """An exception as bounded text without secrets: its message and its notes, and the end of the traceback."""
    message = without_secrets("\n".join([str(error), *getattr(error, "__notes__", ())]))
    if len(message) > MAX_MESSAGE_CHARS:
        message = message[:MAX_MESSAGE_CHARS] + "..."
    return ExceptionInfo(type(error).__name__, message, without_secrets(traceback_text)[-MAX_TRACEBACK_CHARS:])


def now() -> datetime:
    """The current time with its zone, UTC."""
    return datetime.now(UTC)


def _merge_status(states: list[PipeStatus]) -> PipeStatus:
    """RUNNING until all have ended; then the worst."""
    found = set(states)
    if PipeStatus.RUNNING in found or (PipeStatus.PENDING in found and len(found) > 1):
        return PipeStatus.RUNNING
    for status in (PipeStatus.FAILED, PipeStatus.ABORTED, PipeStatus.PENDING):
        if status in found:
            return status
    return PipeStatus.COMPLETED


def _merge_durations(reports: list[PipeReport]) -> float:
    """Seconds from the first start to the latest moment that a report tells of."""
    seen = [
        (r.started_at, r.finished_at or r.started_at + timedelta(seconds=r.duration_seconds))
        for r in reports
        if r.started_at
    ]
    if not seen:
        return max(r.duration_seconds for r in reports)
    return (max(last for _, last in seen) - min(first for first, _ in seen)).total_seconds()


def _merge_names(names: Iterable[str]) -> str:
    unique = list(dict.fromkeys(name for name in names if name))
    more = f" and {len(unique) - 3} more" if len(unique) > 3 else ""
    return shorten(", ".join(unique[:3]), 2 * MAX_LABEL_CHARS) + more


def _merge_fractions(reports: list[PipeReport]) -> float | None:
    """The share done, each pipe weighing the same; None if that of a pipe that has begun is unknown."""
    done = 0.0
    for report in reports:
        if report.fraction_done is not None:
            done += report.fraction_done * report.pipe_count
        elif report.status is not PipeStatus.PENDING:
            return None
    return done / sum(report.pipe_count for report in reports)


def _known(kind: type, data: Mapping[str, Any]) -> dict[str, Any]:
    """What of `data` the dataclass `kind` has fields for and JSON can hold."""
    names = {item.name for item in dataclasses.fields(kind)} - {"cause"}
    return {name: value for name, value in data.items() if name in names}
