"""``python -m benchmarks.boundaries``: how fast the boundaries of shards are found, in GB/s of one core.

What is measured is CPU time, system time included, of scanning a file that lies in the page cache: each stretch of a
CSV file for both states in which it can be entered, each stretch of JSON Lines for its number of lines. With kernels,
and without, as in a process that has none yet. ``--json`` prints the figures as JSON instead.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path
from unittest.mock import patch

from rich.console import Console
from rich.table import Table

from zoopipe_core.adapters.csv import CSVInputAdapter
from zoopipe_core.adapters.csv_scan import Characters, Stretch, scan_stretch
from zoopipe_core.adapters.json import JSONInputAdapter
from zoopipe_core.adapters.json_split import LineStretch, count_lines
from zoopipe_core.kernels import native
from zoopipe_core.kernels.compiler import compile_kernels
from zoopipe_core.kernels.switch import MIN_ROWS, KernelSwitch

RUNS = 5
PARTS = 8
# As much text as is made row by row; a file repeats it.
SAMPLE_BYTES = 8 * 2**20
TEXTS = ("CSV, no quotes", "CSV, some fields quoted", "CSV, all quoted, line breaks within", "JSON Lines")
HEADER = b"a,b,c,d,e,f\n"


def make_file(path: Path, name: str, size: int) -> None:
    """A file of about `size` bytes, the rows of which are of many lengths."""
    rng = random.Random(name)
    rows: list[str] = []
    total = 0
    while total < min(size, SAMPLE_BYTES):
        cells = [
            str(rng.randrange(10 ** rng.randrange(1, 9))),
            "Anna Maria "[: rng.randrange(3, 11)],
            f"2024-01-31T12:00:{rng.randrange(60):02}",
            "some text here "[: rng.randrange(15)] * rng.randrange(1, 4),
            f"{rng.random():.5f}",
            str(uuid.UUID(int=rng.getrandbits(128))),
        ]
        if name == "JSON Lines":
            row = json.dumps(dict(zip("abcdef", cells, strict=True))) + "\n"
        else:
            if "some" in name:
                cells[1] = f'"{cells[1]}, ""jr"""'
            elif "all" in name:
                cells = [f'"{cell}\n"' if rng.random() < 0.1 else f'"{cell}"' for cell in cells]
            row = ",".join(cells) + "\n"
        rows.append(row)
        total += len(row)
    sample = "".join(rows).encode()
    with path.open("wb") as file:
        if not name.startswith("JSON"):
            file.write(HEADER)
        for _ in range(max(1, size // len(sample))):
            file.write(sample)


def speed(work: Callable[[], object], size: int) -> float:
    """Median GB/s of CPU time."""
    seconds = []
    for _ in range(RUNS):
        before = time.process_time()
        work()
        seconds.append(time.process_time() - before)
    return size / statistics.median(seconds) / 1e9


def measure(folder: Path, size: int) -> dict[str, dict[str, float]]:
    """GB/s by text: of the scan with kernels and without, and of all that splitting a file takes."""
    if not native.load():
        compile_kernels()
    ready, never = KernelSwitch(), KernelSwitch()
    never._tried = True
    if not ready.ready(MIN_ROWS):
        raise SystemExit("kernels are switched off")
    figures: dict[str, dict[str, float]] = {}
    for name in TEXTS:
        path = folder / "in"
        make_file(path, name, size)
        length = path.stat().st_size
        adapter: CSVInputAdapter | JSONInputAdapter
        scan: Callable[[], object]
        if name == "JSON Lines":
            adapter = JSONInputAdapter(path)
            scan = partial(count_lines, LineStretch(str(path), 0, length))
        else:
            adapter = CSVInputAdapter(path)
            scan = partial(scan_stretch, Stretch(str(path), len(HEADER), length, Characters.of(adapter.dialect)))
        figures[name] = {}
        for column, switch, work in (
            ("scan", ready, scan),
            (f"split({PARTS})", ready, partial(adapter.split, PARTS)),
            ("scan without kernels", never, scan),
        ):
            with (
                patch("zoopipe_core.adapters.csv_scan.SWITCH", switch),
                patch("zoopipe_core.adapters.json_split.SWITCH", switch),
            ):
                figures[name][column] = speed(work, length)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.boundaries", description=__doc__)
    parser.add_argument("--megabytes", type=int, default=256, help="size of each file (default 256)")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(Path(folder), arguments.megabytes * 2**20)
    if arguments.json:
        print(json.dumps(figures, indent=2))
        return
    table = Table("GB/s of one core", *next(iter(figures.values())))
    for name, row in figures.items():
        table.add_row(name, *(f"{value:.2f}" for value in row.values()))
    Console().print(table)


if __name__ == "__main__":
    main()
