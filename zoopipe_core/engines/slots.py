"""The progress of a worker in shared memory: written by the worker, read by whoever launched it, neither waiting.

    0      magic, 8 bytes
    8      sequence number: odd while an update is under way                  ┐
    16     status, times and counters in fixed fields, behind them their CRC  ├ written by the worker
    4096   the final report as JSON                                           ┘
    1024   a byte that is 1 once the worker is to stop                          written by the parent

A seqlock: a reader takes a copy, and takes it for good only if the sequence number was even and the same before and
after. The checksum is for processors that reorder writes, for which Python has no barriers.

The file has no name. Whoever holds a descriptor of it keeps it alive; it vanishes with the last of them, however that
one ends.
"""

from __future__ import annotations

import json
import mmap
import os
import struct
import sys
import tempfile
import zlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from zoopipe_core.errors import EngineError
from zoopipe_core.report import ExceptionInfo, PipeReport, PipeStatus

__all__ = ["Slot", "memory_file"]

_MAGIC = int.from_bytes(b"zooslot1", "little")
_SEQUENCE_WORD = 1
_RECORD_AT = 16
_STOP_AT = 1024
_JSON_AT = 4096
# A report is bounded to some 13,000 characters, each of which takes at most 12 bytes as JSON.
_SIZE = 256 * 1024

_STATUSES = tuple(PipeStatus)
_COUNTS = (
    "read_rows", "loaded_rows", "rejected_rows", "filtered_rows", "added_rows",
    "bytes_read", "bytes_written", "ram_bytes", "peak_ram_bytes",
)  # fmt: skip
_SECONDS = (
    "recent_rows_per_second", "duration_seconds", "read_seconds", "validate_seconds", "hook_seconds", "write_seconds",
)  # fmt: skip
# Status, start, counts, the length and CRC of the JSON; the fraction done, seconds. Native, so that each field is
# copied as a whole.
_RECORD = struct.Struct(f"@qq{len(_COUNTS)}qqq d{len(_SECONDS)}d")
_CRC = struct.Struct("@Q")
_RECORD_END = _RECORD_AT + _RECORD.size + _CRC.size

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_NO_TIME = -(2**63)
_NO_FRACTION = -1.0

# An update takes microseconds. A writer that was killed in the middle of one never ends it.
_TRIES = 50


class Slot:
    """One worker's slot. One process writes, any number may read; each maps it by itself.

    Args:
        descriptor: of a file that `create` made, perhaps in another process. The slot takes it over.

    Raises:
        EngineError: it is no slot, or one of another version.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._map = mmap.mmap(descriptor, _SIZE)
        self._words = memoryview(self._map).cast("Q")
        if self._words[0] != _MAGIC:
            raise EngineError("this is no progress slot of this version of zoopipe")

    @classmethod
    def create(cls) -> Self:
        """A new, empty slot.

        Raises:
            OSError: no memory or no descriptors are left.
        """
        descriptor = memory_file("zoopipe-slot")
        os.ftruncate(descriptor, _SIZE)
        os.pwrite(descriptor, _MAGIC.to_bytes(8, sys.byteorder), 0)
        return cls(descriptor)

    # ---- the worker's side ----------------------------------------------------------------------------------------

    def write(self, report: PipeReport) -> None:
        """Publish a snapshot: its counters, and of a final report everything.

        What a live snapshot has besides (notes, rejections) is not published before the end.
        """
        text = _as_json(report) if report.is_finished else b""
        started = _NO_TIME if report.started_at is None else (report.started_at - _EPOCH) // _MICROSECOND
        record = _RECORD.pack(
            _STATUSES.index(report.status),
            started,
            *[getattr(report, name) for name in _COUNTS],
            len(text),
            zlib.crc32(text),
            _NO_FRACTION if report.fraction_done is None else report.fraction_done,
            *[getattr(report, name) for name in _SECONDS],
        )
        sequence = self._words[_SEQUENCE_WORD]
        self._words[_SEQUENCE_WORD] = sequence | 1
        self._map[_JSON_AT : _JSON_AT + len(text)] = text
        self._map[_RECORD_AT:_RECORD_END] = record + _CRC.pack(zlib.crc32(record))
        self._words[_SEQUENCE_WORD] = (sequence | 1) + 1

    @property
    def stop_requested(self) -> bool:
        """Whether the load is to be aborted."""
        return self._map[_STOP_AT] != 0

    # ---- the parent's side ----------------------------------------------------------------------------------------

    def request_stop(self) -> None:
        """Ask the worker to abort its load."""
        self._map[_STOP_AT] = 1

    def read(self, first: PipeReport) -> PipeReport | None:
        """The latest snapshot; None if there is none, or if the writer was caught in the middle of an update.

        Args:
            first: gives what a live snapshot does not hold: names, index, attempt.
        """
        for _ in range(_TRIES):
            before = self._words[_SEQUENCE_WORD]
            if before == 0:
                return None
            if before % 2:
                continue
            data = self._map[_RECORD_AT:_RECORD_END]
            fields = _RECORD.unpack_from(data)
            length, crc = fields[len(_COUNTS) + 2 : len(_COUNTS) + 4]
            text = self._map[_JSON_AT : _JSON_AT + length] if 0 <= length <= _SIZE - _JSON_AT else b""
            (record_crc,) = _CRC.unpack_from(data, _RECORD.size)
            if (
                self._words[_SEQUENCE_WORD] == before
                and zlib.crc32(data[: _RECORD.size]) == record_crc
                and zlib.crc32(text) == crc
            ):
                return _snapshot(first, fields, text)
        return None

    def close(self) -> None:
        """Unmap it. May be called twice; nothing else may be called afterwards."""
        if not self._map.closed:
            self._words.release()
            self._map.close()
            os.close(self.descriptor)


def memory_file(name: str) -> int:
    """The descriptor of a new file without a place in any folder; not inherited by other programs.

    Where the system has no such files in memory (it is Linux that does), it is an unlinked temporary file.
    """
    if hasattr(os, "memfd_create"):
        return os.memfd_create(name)
    with tempfile.TemporaryFile(prefix=name) as file:
        return os.dup(file.fileno())


def _snapshot(first: PipeReport, fields: tuple[Any, ...], text: bytes) -> PipeReport:
    if text:
        report = PipeReport.from_dict(json.loads(text))
        report = replace(report, pipe_index=first.pipe_index, attempt=first.attempt)
        if report.source:
            return report
        # A worker that could not load its pipe does not know what it was to be.
        return replace(report, source=first.source, target=first.target, rejects_target=first.rejects_target)
    status, started, *numbers = fields
    fraction, *seconds = numbers[len(_COUNTS) + 2 :]
    values: dict[str, Any] = dict(zip(_COUNTS + _SECONDS, numbers[: len(_COUNTS)] + seconds, strict=True))
    return replace(
        first,
        status=_STATUSES[status],
        started_at=None if started == _NO_TIME else _EPOCH + started * _MICROSECOND,
        fraction_done=None if fraction == _NO_FRACTION else fraction,
        **values,
    )


def _as_json(report: PipeReport) -> bytes:
    """The report as JSON that fits."""
    text = json.dumps(report.to_dict()).encode()
    if len(text) <= _SIZE - _JSON_AT:
        return text
    # Bounded in characters already: it takes a report that was made by hand to come here.
    error = report.exception
    short = replace(
        report,
        notes=("this report was too long: notes, rejections and traceback were left out",),
        rejections=(),
        exception=None if error is None else ExceptionInfo(error.type[:1000], error.message[:1000]),
    )
    text = json.dumps(short.to_dict()).encode()
    if len(text) > _SIZE - _JSON_AT:
        raise EngineError(f"a report of {len(text):,} bytes does not fit a progress slot")
    return text
