"""Records of a CSV file that are no rows, and how they are told of."""

from __future__ import annotations

from zoopipe_core.batches.source import Fault

__all__ = ["MAX_RAW_CHARS", "LongRecordError", "ragged_fault", "readable", "unclosed_fault"]

MAX_RAW_CHARS = 64 * 1024


class LongRecordError(Exception):
    """A record is longer than it may be, or than a block."""


def ragged_fault(number: int, cells: int, width: int, raw: str) -> Fault:
    """A record with another number of cells than the header has."""
    shown = "1 cell" if cells == 1 else f"{cells:,} cells"
    return Fault(number, "ragged_row", f"the row has {shown} where the header has {width:,}", raw)


def unclosed_fault(number: int, raw: str, escape: str | None) -> Fault:
    """A last record of which the end is not there."""
    if escape is not None and raw.endswith(escape):
        message = "an escape character ends the file"
    else:
        message = "a quote opens in this record and is never closed"
    return Fault(number, "unclosed_quote", message, raw)


def readable(text: bytes) -> str:
    """A record's text for a person to read, not all of it if it is long."""
    shown = text[: 4 * MAX_RAW_CHARS].decode("utf-8", "surrogateescape")[:MAX_RAW_CHARS]
    return shown.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
