"""What outputs of all file formats have in common: one file, which appears at once, and its ledger."""

from __future__ import annotations

from zoopipe_core.adapters.atomic import AtomicFile
from zoopipe_core.adapters.base import OutputAdapter, Writer
from zoopipe_core.adapters.file_ledger import FileLedger
from zoopipe_core.adapters.ledger import Ledger, LoadRecord
from zoopipe_core.adapters.paths import PathLike

__all__ = ["FileOutputAdapter", "FileWriter"]


class FileOutputAdapter(OutputAdapter):
    """An output that replaces one file; subclasses are frozen dataclasses, and normalize the path.

    Attributes:
        path: of the file.
    """

    path: PathLike

    def ledger(self) -> Ledger | None:
        """A hidden file beside it; None for remote stores, devices and pipes."""
        return FileLedger.of(str(self.path))


class FileWriter(Writer):
    """A writer of one `AtomicFile`, which subclasses set."""

    _file: AtomicFile

    def remember(self, record: LoadRecord) -> None:
        if self._file.hidden_path is not None:
            FileLedger(self._file.path).remember(record, self._file.hidden_path)
