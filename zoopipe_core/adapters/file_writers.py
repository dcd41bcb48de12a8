"""What the writers of all file formats have in common: one `AtomicFile`, and its record in the ledger."""

from __future__ import annotations

from zoopipe_core._faults import reached
from zoopipe_core.adapters.atomic import AtomicFile
from zoopipe_core.adapters.base import Writer
from zoopipe_core.adapters.file_ledger import FileLedger
from zoopipe_core.adapters.ledger import LoadRecord

__all__ = ["FileWriter", "remember_file"]


class FileWriter(Writer):
    """A writer of one `AtomicFile`, which subclasses set."""

    _file: AtomicFile

    def watch(self) -> None:
        """These are the rows of a load that is remembered, no rejects: see `AtomicFile.watch`."""
        self._file.watch()

    def prepare(self) -> None:
        self._file.prepare()

    def publish(self) -> None:
        self.prepare()
        self._file.publish()

    def abort(self) -> None:
        self._file.abort()

    @property
    def bytes_written(self) -> int:
        return self._file.bytes_written

    def remember(self, record: LoadRecord) -> None:
        remember_file(self._file, record)


def remember_file(file: AtomicFile, record: LoadRecord) -> None:
    """Write the record of a load whose file is prepared, and about to be published."""
    if file.hidden_path is not None:
        reached("before_ledger")
        FileLedger(file.path).remember(record, file.hidden_path)
        reached("after_ledger")
