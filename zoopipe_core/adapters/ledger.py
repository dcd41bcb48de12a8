"""The memory of a target: which loads are in it, so that none is loaded twice.

    LoadKey       which load this is, decided before anything is read
    LoadRecord    what is remembered of it, written together with its rows
    Ledger        where a target keeps its records: a table beside it (`sql_ledger`), a hidden file (`file_ledger`)

A record counts only while what it tells of is still in the target: a table that was dropped or replaced since, and a
file that is another one by now, have forgotten it.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from zoopipe_core.adapters.watermark import Mark
from zoopipe_core.errors import AlreadyLoadedError, LoadIdError
from zoopipe_core.report import PipeReport

__all__ = ["COMPLETED", "REPLACED", "RUNNING", "Decide", "Fingerprint", "Ledger", "LoadKey", "LoadRecord", "digest"]

RUNNING = "running"
COMPLETED = "completed"
REPLACED = "replaced"

_DIGEST_BYTES = 16
_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What tells one input from another, without reading it.

    Attributes:
        digest: hexadecimal.
        summary: the same for people, without secrets.
        tells_state: whether it changes whenever the rows might: that of a file does, since size and time of change are
            in it; that of a query to a server does not.
    """

    digest: str
    summary: str
    tells_state: bool = True

    @classmethod
    def of(cls, parts: Iterable[str], summary: str, *, tells_state: bool = True) -> Fingerprint:
        """The fingerprint of what `parts` say, in that order."""
        return cls(digest(parts), summary[:_SHOWN], tells_state)

    def __str__(self) -> str:
        return f"{self.digest} {self.summary}"


@dataclass(frozen=True, slots=True)
class LoadKey:
    """Which load this is.

    Attributes:
        load_id: the name that all tries of one load have in common.
        run: the name of this try alone, random.
        input: the fingerprint of the input as text; empty if it has none.
        schema: a digest of what happens to rows on their way: model and hooks.
        given: the caller has named the load; False: the name is made of target and input.
        again: load even what is loaded.
        attempt: the how manieth try this is, as far as the ledger knows.
        mark_name: of the source's watermark; empty if it has none.
        mark_run: of the load that has set the mark behind which this one reads; empty if there was none.
    """

    load_id: str
    run: str
    input: str = ""
    schema: str = ""
    given: bool = True
    again: bool = False
    attempt: int = 1
    mark_name: str = ""
    mark_run: str = ""

    def check(self, record: LoadRecord | None) -> None:
        """Make sure that this load has still to be done.

        Raises:
            AlreadyLoadedError: it is done; with the record.
            LoadIdError: another load has this id.
        """
        if record is None or record.status != COMPLETED or self.again or record.run == self.run:
            return
        when = "" if record.committed_at is None else f" at {record.committed_at:%Y-%m-%d %H:%M:%S %Z}"
        shown = f"the load {self.load_id!r} of {record.target}"
        if self.input and record.input and _digest(self.input) != _digest(record.input):
            raise LoadIdError(
                f"{shown} was completed{when} with another input.\n"
                f"  then: {_summary(record.input)}\n  now:  {_summary(self.input)}\n"
                '  Another input needs a load_id of its own. if_loaded="again" loads it under this one all the same.'
            )
        if not self.given and self.schema != record.schema:
            raise LoadIdError(
                f"this input was loaded into {record.target}{when}, with another model or other hooks "
                f"({_summary(record.input)}). Is it to be loaded once more? Then name this load with load_id=..., or "
                'say if_loaded="again"'
            )
        raise AlreadyLoadedError(f"{shown} was completed{when}: it is loaded already", record)


def _digest(fingerprint: str) -> str:
    return fingerprint.partition(" ")[0]


def _summary(fingerprint: str) -> str:
    return fingerprint.partition(" ")[2]


@dataclass(frozen=True, slots=True)
class LoadRecord:
    """What a ledger knows of one load.

    Attributes:
        load_id, run, input, schema, attempt: as `LoadKey` has them.
        target: the table's full name, or the file's name.
        mode: how it was written: ``"append"``, ``"replace"``...
        status: ``"completed"``; ``"running"``: begun, and its end is not known: it runs, or was killed; ``"failed"``,
            ``"aborted"``: nothing was published; ``"replaced"``: another load has taken its place since.
        report: as it was when the record was written.
        started_at, committed_at: None if unknown.
        versions: of what wrote it, such as ``"zoopipe 0.1.0"``.
        state: of a file: what tells it from others of its name.
        mark: how far the source was read; only on its way into the ledger.
    """

    load_id: str
    run: str
    target: str
    mode: str
    status: str
    report: PipeReport
    input: str = ""
    schema: str = ""
    attempt: int = 1
    started_at: datetime | None = None
    committed_at: datetime | None = None
    versions: str = ""
    state: str = ""
    mark: Mark | None = None

    @classmethod
    def of(cls, key: LoadKey, target: str, mode: str, report: PipeReport, versions: str) -> LoadRecord:
        """The record of a load that has come as far as `report` says."""
        report = replace(report, load_id=key.load_id, attempt=key.attempt)
        return cls(
            load_id=key.load_id,
            run=key.run,
            target=target,
            mode=mode,
            status=report.status.value,
            report=report,
            input=key.input,
            schema=key.schema,
            attempt=key.attempt,
            started_at=report.started_at,
            committed_at=report.finished_at if report.status == COMPLETED else None,
            versions=versions,
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types only."""
        data = {name: getattr(self, name) for name in self.__slots__ if name != "mark"}
        for name in ("started_at", "committed_at"):
            data[name] = None if data[name] is None else data[name].isoformat()
        return {**data, "report": self.report.to_dict()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> LoadRecord:
        """The inverse of `to_dict`; unknown keys are ignored.

        Raises:
            ValueError, TypeError: that is no record.
        """
        values = {name: data[name] for name in cls.__slots__ if data.get(name) is not None}
        for name in ("started_at", "committed_at"):
            if name in values:
                values[name] = datetime.fromisoformat(values[name])
        values["report"] = PipeReport.from_dict(values.get("report", {}))
        return cls(**values)


Decide = Callable[[LoadRecord | None], LoadRecord | None]


class Ledger(ABC):
    """The records of one target. Each call looks anew, and keeps nothing open, unless `hold` was called."""

    @property
    @abstractmethod
    def target(self) -> str:
        """The name of the target in records."""

    @abstractmethod
    def find(self, load_id: str) -> LoadRecord | None:
        """The record of a load; None if there is none, or no ledger at all.

        Raises:
            DatabaseConnectionError, TargetError: the ledger cannot be read.
        """

    @abstractmethod
    def records(self, latest: int | None = None) -> list[LoadRecord]:
        """The records of the target, in the order in which the loads began.

        Args:
            latest: only of so many loads that began last; None: all.

        Raises:
            DatabaseConnectionError, TargetError: the ledger cannot be read.
        """

    def marks(self) -> list[Mark]:
        """How far the sources with a watermark have come whose rows are in the target.

        Raises:
            DatabaseConnectionError, TargetError: the ledger cannot be read.
        """
        return []

    @abstractmethod
    def note(self, load_id: str, decide: Decide) -> None:
        """Look up a load and write down how it goes, in one step; for what is not published.

        Args:
            load_id: of the load.
            decide: is given the record that there is, or None, and returns the one that takes its place, or None to
                leave it. What it raises leaves everything as it is.

        Raises:
            DatabaseError, TargetError: the ledger cannot be written.
            LoadLockedError: the load is under way elsewhere.
        """

    def hold(self) -> None:
        """Keep open what the next call opens, for `OutputAdapter.open_load`, which follows at once, or `release`."""
        return

    def release(self) -> None:
        """Close what was kept; harmless if there is nothing."""
        return


def digest(parts: Iterable[str]) -> str:
    """A hexadecimal hash of texts, in that order."""
    state = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        state.update(len(data).to_bytes(8, "little"))
        state.update(data)
    return state.hexdigest()
