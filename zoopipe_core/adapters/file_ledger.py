"""The ledger of a file: a hidden file beside it, a line of JSON for each load.

    out/users.jsonl                      the target
    out/.users.jsonl.zoopipe-loads       its ledger

The ledger is written first, with the size and the time of change of the file that is about to take the target's name;
then comes the rename. A crash in between leaves a record of a file that never appeared: it is not the one that is
there, so the load counts as not done, and a retry does it. A rename without its record cannot be. Loads that nobody
has named leave no ledger, since running them again replaces the whole file by the same one.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace

from zoopipe_core.adapters.atomic import AtomicFile
from zoopipe_core.adapters.ledger import COMPLETED, REPLACED, Decide, Ledger, LoadRecord
from zoopipe_core.adapters.paths import is_url, local_path
from zoopipe_core.errors import TargetWriteError

__all__ = ["FileLedger"]

_SUFFIX = ".zoopipe-loads"
_MOST = 1000
_MAX_NAME_BYTES = 200


class FileLedger(Ledger):
    """The ledger of one local file.

    Args:
        path: of the target.
    """

    def __init__(self, path: str) -> None:
        self._target = os.path.realpath(local_path(path))
        folder, name = os.path.split(self._target)
        name = os.fsencode(name)[:_MAX_NAME_BYTES].decode("utf-8", "ignore")
        self.path = os.path.join(folder, f".{name}{_SUFFIX}")

    @classmethod
    def of(cls, path: str) -> FileLedger | None:
        """The ledger of the target at `path`; None where there can be none: remote stores, devices and pipes."""
        if is_url(path):
            return None
        path = local_path(path)
        return None if os.path.exists(path) and not os.path.isfile(path) else cls(path)

    @property
    def target(self) -> str:
        return os.path.basename(self._target)

    def find(self, load_id: str) -> LoadRecord | None:
        return next((record for record in self.records() if record.load_id == load_id), None)

    def records(self, latest: int | None = None) -> list[LoadRecord]:
        state = state_of(self._target)
        records = self._read()
        return [
            replace(record, status=REPLACED) if record.status == COMPLETED and record.state != state else record
            for record in (records if latest is None else records[max(0, len(records) - latest) :])
        ]

    def _read(self) -> list[LoadRecord]:
        try:
            with open(self.path, encoding="utf-8") as file:
                lines = file.read().splitlines()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise TargetWriteError(error.errno, f"{self.path} cannot be read: {error.strerror or error}") from error
        try:
            return [LoadRecord.from_dict(json.loads(line)) for line in lines]
        except (ValueError, TypeError) as error:
            raise TargetWriteError(
                f"{self.path}, which remembers the loads of {self._target}, is damaged: {error}. Remove it to forget "
                "them"
            ) from error

    def note(self, load_id: str, decide: Decide) -> None:
        record = decide(self.find(load_id))
        if record is not None:
            self.write(record)

    def remember(self, record: LoadRecord, path: str) -> None:
        """Write the record of a load whose file, now at `path`, is about to be published under the target's name."""
        self.write(replace(record, state=state_of(path)))

    def write(self, record: LoadRecord) -> None:
        """Put a record in the place of an earlier one of the same load."""
        records = [known for known in self._read() if known.load_id != record.load_id]
        lines = [json.dumps(one.to_dict()) for one in [*records, replace(record, target=self.target)][-_MOST:]]
        file = AtomicFile(self.path, None)
        try:
            file.write("".join(f"{line}\n" for line in lines).encode())
            file.publish()
        finally:
            file.abort()


def state_of(path: str) -> str:
    """What tells a file from others that have had its name; empty if there is none."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return ""
    return f"{status.st_size}@{status.st_mtime_ns}"
