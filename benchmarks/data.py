"""The input: a file of users, clean or with a share of bad rows, and the rows that a contender has to accept.

The same bytes for the same arguments on every machine; made a chunk at a time by NumPy and Arrow, ten million rows in
well under a minute. Usernames and e-mail addresses are as untidy as people type them, so that tidying does something.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as arrow_csv
import pyarrow.parquet as pq

from benchmarks.model import KINDS, columns_of

CHUNK_ROWS = 250_000
FIRST_DAY = (date(2015, 1, 1) - date(1970, 1, 1)).days
DAYS = 3000
COUNTRIES = pa.array(["DE", "FR", "US", "JP", "BR", "IN", "ZA", "NZ"])
FAULTS = {"age": "n/a", "salary": "12,5", "signup_date": "2024-02-30", "is_active": "maybe"}
"""What goes wrong in real files: column -> the text that no model accepts."""


@dataclass(frozen=True)
class Dataset:
    """One input.

    path: the file to load, CSV or JSON lines.
    expected: the rows to accept, typed and in input order, as Parquet.
    accepted, rejected: how many rows are good and bad. A bad row has one bad cell.
    """

    path: Path
    expected: Path
    accepted: int
    rejected: int


def make_dataset(folder: Path, rows: int, bad: float, columns: int, file_format: str) -> Dataset:
    """The file of `rows` rows of which about the share `bad` is bad; made if `folder` does not have it.

    Args:
        columns: 4, 8 or a multiple of 8.
        file_format: ``"csv"`` or ``"jsonl"``.
    """
    stem = f"users_{rows}_{bad:g}_{columns}"
    path, expected = folder / f"{stem}.{file_format}", folder / f"{stem}.parquet"
    if not (path.exists() and expected.exists()):
        _write(path, expected, rows, bad, columns, file_format)
    accepted = pq.read_metadata(expected).num_rows
    return Dataset(path, expected, accepted, rows - accepted)


def make_clean(dataset: Dataset) -> Path:
    """The good rows as CSV, beside the input; made if it is not there."""
    path = dataset.path.with_name(f"{dataset.path.stem}_clean.csv")
    if not path.exists():
        part = path.with_name(path.name + ".part")
        with pq.ParquetFile(dataset.expected) as file, part.open("wb") as out:
            options = arrow_csv.WriteOptions(quoting_style="needed", quoting_header="needed")
            with arrow_csv.CSVWriter(out, file.schema_arrow, write_options=options) as writer:
                for batch in file.iter_batches():
                    writer.write_batch(batch)
        os.replace(part, path)
    return path


def _write(path: Path, expected: Path, rows: int, bad: float, columns: int, file_format: str) -> None:
    lines_of = {"csv": _csv_lines, "jsonl": _json_lines}[file_format]
    part, expected_part = (file.with_name(file.name + ".part") for file in (path, expected))
    writer: pq.ParquetWriter | None = None
    with part.open("wb") as file:
        if file_format == "csv":
            file.write((",".join(columns_of(columns)) + "\n").encode())
        for typed, texts, is_bad in _chunks(rows, bad, columns):
            file.write(_bytes_of(lines_of(texts)))
            writer = writer or pq.ParquetWriter(expected_part, typed.schema)
            writer.write_table(typed.filter(pc.invert(is_bad)))
    if writer is None:
        raise ValueError("an input of no rows shows nothing")
    writer.close()
    os.replace(part, path)
    os.replace(expected_part, expected)


def _chunks(rows: int, bad: float, columns: int) -> Iterator[tuple[pa.Table, dict[str, pa.Array], pa.BooleanArray]]:
    """Typed rows, the texts of their cells with faults, and which rows have one."""
    bases = columns_of(columns)
    targets = [name for name, base in bases.items() if base in FAULTS]
    for number, start in enumerate(range(0, rows, CHUNK_ROWS)):
        size = min(CHUNK_ROWS, rows - start)
        # Each chunk has a seed of its own, so that a shorter file is the beginning of a longer one.
        rng = np.random.default_rng([number, columns])
        copies = [_users(rng, start) for _ in range(-(-columns // 8))]
        typed = {name: copies[index // 8][base].slice(0, size) for index, (name, base) in enumerate(bases.items())}
        fault_of, chance = rng.integers(len(targets), size=CHUNK_ROWS)[:size], rng.random(CHUNK_ROWS)[:size]
        is_bad = chance < bad
        texts = {}
        for name, base in bases.items():
            texts[name] = pc.cast(typed[name], pa.string())
            if name in targets:
                here = pa.array(is_bad & (fault_of == targets.index(name)))
                texts[name] = pc.if_else(here, FAULTS[base], texts[name])
        yield pa.table(typed), texts, pa.array(is_bad)


def _users(rng: np.random.Generator, start: int) -> dict[str, pa.Array]:
    """One chunk of typed columns, of CHUNK_ROWS rows."""
    ids = np.arange(start, start + CHUNK_ROWS)
    id_texts = pc.cast(pa.array(ids), pa.string())
    hosts = pa.array([f"@example{host}.com" for host in range(50)]).take(pa.array(rng.integers(50, size=CHUNK_ROWS)))
    usernames = pc.binary_join_element_wise("user_", id_texts, pa.array(["", " "]).take(pa.array(ids % 8 // 7)), "")
    emails = pc.binary_join_element_wise("User", id_texts, hosts, "")
    return {
        "user_id": pa.array(ids),
        "username": usernames,
        "email": emails,
        "age": pa.array(rng.integers(151, size=CHUNK_ROWS)),
        "salary": pa.array(rng.integers(100_000, 20_000_000, size=CHUNK_ROWS) / 100),
        "is_active": pa.array(rng.random(CHUNK_ROWS) < 0.7),
        "signup_date": pa.array(rng.integers(DAYS, size=CHUNK_ROWS).astype(np.int32) + FIRST_DAY, pa.int32()).cast(
            pa.date32()
        ),
        "country": COUNTRIES.take(pa.array(rng.integers(len(COUNTRIES), size=CHUNK_ROWS))),
    }


def _csv_lines(texts: dict[str, pa.Array]) -> pa.StringArray:
    """Lines with their newline. Only a fault has a comma, and it is quoted."""
    cells = [
        pc.if_else(pc.match_substring(text, ","), pc.binary_join_element_wise('"', text, '"', ""), text)
        if name.startswith("salary")
        else text
        for name, text in texts.items()
    ]
    return pc.binary_join_element_wise(pc.binary_join_element_wise(*cells, ","), "\n", "")


def _json_lines(texts: dict[str, pa.Array]) -> pa.StringArray:
    """Objects with their newline. Faults are texts, where numbers and booleans belong."""
    bases = columns_of(len(texts))
    pieces: list[pa.Array | str] = []
    for name, text in texts.items():
        pieces.append(f'{"," if pieces else "{"}"{name}":')
        if KINDS[bases[name]] in (int, float, bool):
            quoted = pc.binary_join_element_wise('"', text, '"', "")
            pieces.append(pc.if_else(pc.is_in(text, pa.array(list(FAULTS.values()))), quoted, text))
        else:
            pieces += ['"', text, '"']
    return pc.binary_join_element_wise(*pieces, "}\n", "")


def _bytes_of(lines: pa.StringArray) -> memoryview:
    """The texts of an array, one after the other."""
    lines = lines.combine_chunks() if isinstance(lines, pa.ChunkedArray) else lines
    ends = np.frombuffer(lines.buffers()[1], np.int32)[lines.offset : lines.offset + len(lines) + 1]
    return memoryview(lines.buffers()[2])[ends[0] : ends[-1]]
