"""What outputs of all file formats have in common: one file, which appears at once, and its ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoopipe_core.adapters.base import OutputAdapter, Writer
from zoopipe_core.adapters.paths import PathLike

if TYPE_CHECKING:
    from zoopipe_core.adapters.ledger import Ledger, LoadKey

__all__ = ["FileOutputAdapter"]


class FileOutputAdapter(OutputAdapter):
    """An output that replaces one file; subclasses are frozen dataclasses, and normalize the path.

    Attributes:
        path: of the file.
    """

    path: PathLike

    def ledger(self) -> Ledger | None:
        """A hidden file beside it; None for remote stores, devices and pipes."""
        from zoopipe_core.adapters.file_ledger import FileLedger

        return FileLedger.of(str(self.path))

    def open_load(self, key: LoadKey, ledger: Ledger | None = None) -> Writer:
        from zoopipe_core.adapters.file_writers import FileWriter

        writer = self.open()
        if isinstance(writer, FileWriter):
            writer.watch()
        return writer
