"""Cells of CSV text: what Python's csv module says they are, by the kernel as Python and compiled."""

from __future__ import annotations

import csv
import io

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kernels.conftest import RunKernel
from zoopipe_core.kernels.fields import CONTROLS, FAULT_NUMBERS, MARGIN, NOT_ASCII, split_fields

texts = st.lists(
    st.sampled_from([",", ",", '"', "\n", "\n", "\r\n", "\r", "a", "bc", "é", "\\", "\x01", '""']), max_size=200
)


def split(
    run_kernel: RunKernel, text: str, width: int, wanted: list[int], capacity: int = 300, start: int = 0
) -> tuple[list[list[bytes]], list[tuple[int, bytes, int]], bytes, np.ndarray, int]:  # type: ignore[type-arg]
    """Rows, faults, what is left, which columns are marked, and what is unusual."""
    encoded = text.encode()
    size = start + len(encoded)
    data = np.full(2 * (size + MARGIN), 32, np.uint8)
    data[:start] = ord('"')
    data[start:size] = np.frombuffer(encoded, np.uint8)
    slots = np.full(width, -1, np.int32)
    slots[wanted] = range(len(wanted))
    starts, ends = (np.full(max(1, len(wanted)) * capacity, -1, np.int32) for _ in range(2))
    marked = np.zeros(len(wanted), np.uint8)
    faults, notes = np.zeros(300 * FAULT_NUMBERS, np.int64), np.array([start, size, size + MARGIN, 0, 0, 0], np.int64)
    run_kernel(split_fields, data, ord(","), ord('"'), 1, slots, starts, ends, marked, faults, notes)
    count, wrong = int(notes[3]), int(notes[4])
    rows = [
        [data[starts[j * capacity + i] : ends[j * capacity + i]].tobytes() for j in range(len(wanted))]
        for i in range(count)
    ]
    told = [(int(f[0]), data[f[1] : f[2]].tobytes(), int(f[3])) for f in faults.reshape(-1, FAULT_NUMBERS)[:wrong]]
    return rows, told, data[notes[0] : size].tobytes(), marked, int(notes[5])


def expected(text: str) -> list[list[bytes]]:
    """All records of a text that ends with a line break outside quotes."""
    return [[cell.encode() for cell in row] for row in csv.reader(io.StringIO(text, newline="")) if row]


@settings(deadline=None)
@given(parts=texts, start=st.sampled_from([0, 1, 63]))
def test_records_are_those_of_the_csv_module(parts: list[str], start: int, run_kernel: RunKernel) -> None:
    text = "".join(parts) + "\n"
    rows, faults, rest, marked, unusual = split(run_kernel, text, 3, [0, 2], start=start)
    ended = text.encode()[: len(text.encode()) - len(rest)].decode()
    records = expected(ended)
    assert rows == [[record[0], record[2]] for record in records if len(record) == 3]
    assert [fields for _, _, fields in faults] == [len(record) for record in records if len(record) != 3]
    assert expected("".join(raw.decode() + "\n" for _, raw, _ in faults)) == [r for r in records if len(r) != 3]
    for index in (0, 1):
        if not marked[index]:
            assert not any(set(row[index]) & set(b',"\r\n') for row in rows)
    cells = b"".join(cell for row in rows for cell in row)
    assert unusual & CONTROLS or not set(cells) & {1, ord("\\")}
    assert unusual & NOT_ASCII or cells.isascii()


def test_it_stops_where_there_is_no_room_and_goes_on_from_there(run_kernel: RunKernel) -> None:
    rows, _, rest, _, _ = split(run_kernel, "a,b\nc,d\ne,f\n", 2, [0, 1], capacity=2)
    assert (rows, rest) == ([[b"a", b"b"], [b"c", b"d"]], b"e,f\n")


def test_a_record_that_does_not_end_is_left(run_kernel: RunKernel) -> None:
    for rest in ("c,d", 'c,"d\n', "c,d\r", 'c,"d""', ""):
        assert split(run_kernel, "a,b\n" + rest, 2, [0, 1])[::2][:2] == ([[b"a", b"b"]], rest.encode())


def test_nothing_wanted_and_no_text(run_kernel: RunKernel) -> None:
    assert split(run_kernel, "a,b\nc,d\n", 2, [])[0] == [[], []]
    assert split(run_kernel, "", 2, [0])[:3] == ([], [], b"")
