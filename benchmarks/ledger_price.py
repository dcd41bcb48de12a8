"""``python -m benchmarks.ledger_price``: what it costs that a load is remembered.

The same rows into the same kind of table, by loads that differ in nothing but the ledger: none (the transaction alone),
one without a name, one with a name. Each in a fresh process, in turns; shown is the median of what `Pipe.run` took,
imports included, and of the processor's time. ``--rows 1000000`` shows what is left of it in a large load.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import postgres, results
from benchmarks.runner import ROOT, warm_kernels

RESULTS = results.FOLDER / "ledger.json"
WAYS = ("no ledger", "without a name", "with a name")
TARGETS = ("duckdb", "postgresql", "sqlite")
Figures = dict[str, float]


def load(url: str, source: str, way: str) -> Figures:
    """One load in this process; what it took."""
    from pydantic import BaseModel

    from zoopipe_core import Pipe, SQLOutputAdapter
    from zoopipe_core.adapters.ledger import Ledger

    class Row(BaseModel):
        id: int
        name: str

    class Forgetful(SQLOutputAdapter):
        @property
        def always_remembers(self) -> bool:
            return False

        @property
        def adds(self) -> bool:
            return False

        def ledger(self) -> Ledger | None:
            return None

    output = Forgetful if way == "no ledger" else SQLOutputAdapter
    load_id = Path(source).name if way == "with a name" else None
    pipe = Pipe(source, output(url, f"t_{WAYS.index(way)}", "append"), None, Row, load_id=load_id)
    start, processor = time.perf_counter(), time.process_time()
    pipe.run(on_report_update=None)
    figures = {"seconds": time.perf_counter() - start, "processor": time.process_time() - processor}
    pipe.report.raise_for_status()
    return figures


def load_fresh(url: str, source: Path, way: str) -> Figures:
    """One load in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.ledger_price", "--one", url, str(source), way]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode:
        raise RuntimeError(done.stderr)
    figures: Figures = json.loads(done.stdout)
    return figures


def measure(url: str, folder: Path, rows: int, repeat: int) -> dict[str, Figures]:
    """Way -> the medians, and by how much they are more than without a ledger."""
    runs: dict[str, list[Figures]] = {way: [] for way in WAYS}
    text = "".join(f"{number},name{number}\n" for number in range(rows))
    for turn in range(repeat + 1):
        # Another one first each time, so that nobody always goes first or last.
        for way in (*WAYS[turn % len(WAYS) :], *WAYS[: turn % len(WAYS)]):
            source = folder / f"{turn}-{WAYS.index(way)}.csv"
            source.write_text(f"id,name\n{text}")
            found = load_fresh(url, source, way)
            source.unlink()
            if turn:  # the first round makes the tables, and warms the disk
                runs[way].append(found)
    medians = {way: {name: statistics.median(run[name] for run in runs[way]) for name in runs[way][0]} for way in WAYS}
    return {
        way: {**figures, **{f"more {name}": value - medians[WAYS[0]][name] for name, value in figures.items()}}
        for way, figures in medians.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=10, help="rows of each load (default: %(default)s)")
    parser.add_argument("--repeat", type=int, default=15, help="processes for each figure (default: %(default)s)")
    parser.add_argument("--targets", nargs="+", choices=TARGETS, default=TARGETS)
    parser.add_argument("--save", type=Path, default=RESULTS, help="where the results are kept, by the number of rows")
    parser.add_argument("--one", nargs=3, metavar=("URL", "SOURCE", "WAY"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(load(*options.one)))
        return
    warm_kernels()
    figures: dict[str, dict[str, Figures]] = {}
    with tempfile.TemporaryDirectory() as name, postgres.server() as server:
        for target in options.targets:
            url = server if target == "postgresql" else f"{target}:///{name}/wh.{target}"
            figures[target] = measure(url, Path(name), options.rows, options.repeat)
    kept = results.read(options.save)
    record = results.stamped({"figures": kept.get(str(options.rows), {}).get("figures", {}) | figures}, options.repeat)
    results.save(options.save, kept | {str(options.rows): record})
    table = Table(title=f"{options.rows:,} rows, milliseconds", title_justify="left")
    for heading in ("target", "load", "run", "more", "processor", "more"):
        table.add_column(heading, justify="left" if heading in ("target", "load") else "right")
    for target, ways in figures.items():
        for way, found in ways.items():
            shown = (found[name] for name in ("seconds", "more seconds", "processor", "more processor"))
            table.add_row(target, way, *(f"{1000 * value:.1f}" for value in shown))
    Console().print(table)


if __name__ == "__main__":
    main()
