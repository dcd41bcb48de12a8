"""CSV records with their columns in another order: fields are moved as they stand, quotes and all."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from zoopipe_core.adapters.csv_text import CSVFormat
from zoopipe_core.errors import TargetError

__all__ = ["rearranged_records"]


def rearranged_records(
    data: Iterable[bytes], form: CSVFormat, names: Sequence[str], wanted: Sequence[str]
) -> Iterator[bytes]:
    r"""Records of the columns `names` as records of the columns `wanted`; a column that is not among them is null.

    Args:
        data: what `form` has written, in pieces of any size, without a header.
        form: how it was written.
        names: its columns.
        wanted: the columns of the result.

    >>> b"".join(rearranged_records([b'1,"a,', b'b"\n2,\n'], CSVFormat(), ["x", "y"], ["y", "z", "x"]))
    b'"a,b",,1\n,,2\n'

    Raises:
        TargetError: a record does not have as many fields as there are names.
    """
    quote, delimiter, end = (re.escape(text.encode()) for text in (form.quotechar, form.delimiter, form.lineterminator))
    field = re.compile(rb"(%b(?:[^%b]++|%b%b)*+%b|[^%b%b\r\n]*+)(%b|%b)" % (*[quote] * 6, delimiter, delimiter, end))
    null, line_end = form.null_text.encode(), form.lineterminator.encode()
    places = [names.index(name) if name in names else None for name in wanted]
    rest = b""
    for piece in data:
        rest += piece
        records: list[bytes] = []
        cells: list[bytes] = []
        taken = position = 0
        for match in field.finditer(rest):
            if match.start() != position:
                break  # within a field that has yet to end
            position = match.end()
            cells.append(match[1])
            if match[2] != line_end:
                continue
            if len(cells) != len(names):
                raise TargetError(f"a record of {len(cells)} fields where {len(names)} columns were written: {cells!r}")
            records.append(form.delimiter.encode().join(null if at is None else cells[at] for at in places))
            cells, taken = [], position
        if records:
            yield line_end.join(records) + line_end
        rest = rest[taken:]
    if rest:
        raise TargetError(f"the records end within one: {rest[:80]!r}")
