"""``python -m benchmarks.prefect_cost``: what it costs to run a load as a Prefect task.

The same load, in turns, by ``pipe.run()`` and by ``run_pipe(pipe)``, in one process and one flow, against a Prefect
server on the same machine. A load of a moment shows what a task costs at all, one of some seconds and one of half a
minute what being watched costs.
"""

from __future__ import annotations

import examples_common.private_prefect  # noqa: F401

# isort: split
import argparse
import tempfile
from pathlib import Path
from typing import Any

from prefect.testing.utilities import prefect_test_harness
from rich.console import Console
from rich.table import Table

from benchmarks import results
from benchmarks.prefect_turns import GOALS, measure
from benchmarks.runner import warm_kernels

RESULTS = results.FOLDER / "prefect.json"
ROWS = {"moment": 1_000, "short": 1_000_000, "long": 10_000_000}
REPEAT = 5


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.prefect_cost", description=(__doc__ or "").split("\n\n")[1]
    )
    parser.add_argument("--rows", type=int, default=ROWS["long"], help="of the long load (default: %(default)s)")
    parser.add_argument("--repeat", type=int, default=REPEAT, help="turns of each (default: %(default)s)")
    parser.add_argument("--save", type=Path, default=RESULTS, help="where the results are kept")
    arguments = parser.parse_args()

    warm_kernels()
    sizes = {**ROWS, "long": arguments.rows}
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, prefect_test_harness(server_startup_timeout=100):
        loads = {name: measure(rows, arguments.repeat, Path(folder)) for name, rows in sizes.items()}
    results.save(arguments.save, results.stamped({"loads": loads, "goals": GOALS}, arguments.repeat))
    _show(loads)


def _show(loads: dict[str, dict[str, Any]]) -> None:
    table = Table(
        "load", "rows", "by itself", "added", "share", "added CPU", "beside the load", "progress/s", "requests"
    )
    for name, load in loads.items():
        table.add_row(
            name,
            f"{load['rows']:,}",
            f"{load['plain_seconds']:.2f} s",
            f"{load['added_seconds']:+.3f} s",
            f"{load['added_share']:+.1%}",
            f"{load['added_cpu_seconds']:+.3f} s",
            f"{load['beside_seconds']:.3f} s",
            str(load["artifacts_per_second"]),
            str(sum(load["requests"].values())),
        )
    Console().print(table)


if __name__ == "__main__":
    main()
