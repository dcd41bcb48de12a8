"""The cells of a text file where they were read: columns that share one block of bytes.

Kernels judge cells in their places. An Arrow column is made only where one is asked for, and rows are gathered only
where some are taken.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from zoopipe_core.kernels.buffers import TextCells, gathered_cells

__all__ = ["TextColumns"]


class TextColumns:
    r"""What a record batch of binary columns is, as far as `SourceBatch` needs it, over scattered cells.

    Args:
        names: of the columns, each once.
        cells: each column's; all of one length.
        num_rows: that length.

    >>> data = np.frombuffer(b"1,one\n2,two\n", np.uint8)
    >>> bounds = [np.array(places, np.int32) for places in ([2, 8], [5, 11])]
    >>> TextColumns(["name"], [TextCells(data, *bounds, None)], 2).column("name").to_pylist()
    [b'one', b'two']
    """

    __slots__ = ("_cells", "_made", "names", "num_rows")

    def __init__(self, names: Sequence[str], cells: Sequence[TextCells], num_rows: int) -> None:
        self.names = list(names)
        self.num_rows = num_rows
        self._cells = dict(zip(self.names, cells, strict=True))
        self._made: dict[str, pa.Array] = {}

    def cells(self, name: str) -> TextCells:
        """The cells of a column, where they are."""
        return self._cells[name]

    def column(self, name: str) -> pa.Array:
        """A column as an array of type binary; made at the first call."""
        array = self._made.get(name)
        if array is None:
            array = self._made[name] = gathered_cells(self._cells[name], pa.binary())
        return array

    def to_batch(self) -> pa.RecordBatch:
        """All columns."""
        return pa.RecordBatch.from_arrays([self.column(name) for name in self.names], names=self.names)

    def take(self, indices: npt.NDArray[np.int64]) -> pa.RecordBatch:
        """The rows at `indices`: int64 (m,)."""
        arrays = [gathered_cells(cells.take(indices), pa.binary()) for cells in self._cells.values()]
        return pa.RecordBatch.from_arrays(arrays, names=self.names)

    def slice(self, start: int, stop: int) -> TextColumns:
        """Rows ``start:stop``, without a copy."""
        cells = [cells.slice(start, stop) for cells in self._cells.values()]
        return TextColumns(self.names, cells, stop - start)
