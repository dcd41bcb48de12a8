"""How the cells of a column become text in two passes, and how columns of them become rows.

measure   sizes[i] += bytes of cell i          for each column, then a running sum says where each row starts
write     before + cell, at cursor[i]          for each column; the cursor goes on to the next one
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from zoopipe_core.batches.pools import text_buffer
from zoopipe_core.kernels import emit, format_text

__all__ = ["CellStyle", "CellWriter", "constant", "copied_writer", "lay_out"]

Bytes = npt.NDArray[np.uint8]
Sizes = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class CellStyle:
    """How cells look in a format.

    Attributes:
        null: the text for null.
        quote: the character around dates, times, UUIDs and decimals; 0 for none.
        float_style: how doubles are laid out, as `format_floats` has it.
        text: the writer for uint8 ``data``, int32 ``starts`` and ``ends``, and ``form``; whether formulas are escaped.
        is_safe: whether cells that consist of these characters can be written as they are.
        python: the final texts of a column, nulls included, as Python makes them.
        unwraps_enums: whether a member of an Enum is written just as its value is.
    """

    null: bytes
    quote: int
    float_style: int
    text: Callable[[Bytes, Any, Any, Bytes, bool], CellWriter]
    is_safe: Callable[[str], bool]
    python: Callable[[Sequence[Any]], list[bytes]]
    unwraps_enums: bool = True

    @property
    def quotes(self) -> int:
        """Bytes that the quotes take."""
        return 2 * int(self.quote != 0)


@dataclass(frozen=True, slots=True)
class CellWriter:
    """The two passes over a column's cells.

    Attributes:
        measure: adds the size of each cell to int64 ``sizes`` (n,).
        write: takes uint8 ``before`` and ``null``, int64 ``cursor`` (n,) and uint8 ``out``; writes ``before`` and the
            cell at each cursor and moves it on.
        flags: uint8 (1,), 1 after measuring if a cell cannot be written.
    """

    measure: Callable[[Sizes], None]
    write: Callable[[Bytes, Bytes, Sizes, Bytes], None]
    flags: Bytes = field(default_factory=lambda: np.zeros(1, np.uint8))


def constant(text: bytes) -> Bytes:
    """A text as kernels take it."""
    return np.frombuffer(text, np.uint8) if text else np.zeros(0, np.uint8)


def lay_out(
    writers: Sequence[CellWriter], befores: Sequence[bytes], end: bytes, null: bytes, count: int
) -> tuple[pa.Buffer, Sizes] | None:
    """The text of `count` rows, and where each one ends in it: int64 (n,). None if a cell cannot be written.

    A row is ``befores[k]`` and the cell of each column k, and `end`.
    """
    sizes = np.full(count, sum(map(len, befores)) + len(end), np.int64)
    for writer in writers:
        writer.measure(sizes)
        if writer.flags[0]:
            return None
    ends = np.cumsum(sizes)
    cursor = ends - sizes
    buffer, out = text_buffer(int(ends[-1]) if count else 0)
    null_text = constant(null)
    for writer, before in zip(writers, befores, strict=True):
        writer.write(constant(before), null_text, cursor, out)
    if end:
        emit.write_constant(constant(end), cursor, out)
    return buffer, ends


def copied_writer(data: Bytes, starts: Any, ends: Any, form: Bytes, quote: int, null_width: int) -> CellWriter:
    """A writer of texts that are there already, between quotes unless `quote` is 0."""
    return CellWriter(
        partial(format_text.size_text, starts, ends, form, 2 * int(quote != 0), null_width),
        partial(format_text.write_text, data, starts, ends, form, quote),
    )
