"""What PostgreSQL's COPY is given: batches of a size that keeps driver and server busy at once, and texts it takes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from zoopipe_core.adapters.sql_types import first
from zoopipe_core.kernels.buffers import text_cells

__all__ = ["SEND_BYTES", "first_nul", "pieces"]

SEND_BYTES = 2**17
"""About as much as a socket holds. The driver encodes a whole batch before it sends any of it: of batches of megabytes,
the server waits for one while the driver encodes it, and the driver while the server takes it."""


def pieces(chunk: Sequence[pa.RecordBatch]) -> list[pa.RecordBatch]:
    """The rows of a chunk in batches of about `SEND_BYTES`; shares their memory.

    >>> [piece.num_rows for piece in pieces([pa.record_batch({"n": pa.array(range(20_000), pa.int64())})])]
    [16384, 3616]
    """
    cut = []
    for batch in chunk:
        rows = max(1, batch.num_rows * SEND_BYTES // max(batch.nbytes, 1))
        cut += [batch.slice(start, rows) for start in range(0, batch.num_rows, rows)]
    return cut


def first_nul(texts: pa.Array) -> tuple[int, str] | None:
    """The index of the first string that holds the character NUL, which no text of PostgreSQL can, and why."""
    cells = text_cells(texts)
    if not len(cells) or cells.data[cells.starts[0] : cells.ends[-1]].min(initial=np.uint8(1)):
        return None  # the least of all bytes takes a tenth of the time of a search in each string
    return first(pc.match_substring(texts, "\0"), "PostgreSQL's text cannot hold the character NUL")
