"""``python -m benchmarks.airflow_cost``: what a DAG file of loads costs to parse, and what an operator adds to a load.

Parsing: a file with 50 operators beside one with 50 EmptyOperators, each in a fresh process that has Airflow loaded,
as the DAG processor has; in turns, the median of each. Which heavy libraries have come along is looked at, too, and
whether the serialized DAG is the same each time.

Running: the same load, in turns, by ``pipe.run()`` and by a task (``execute`` with Airflow's own context of a DAG run).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import results
from benchmarks.data import make_dataset
from benchmarks.runner import warm_kernels

__all__ = ["GOALS", "measure"]

RESULTS = results.FOLDER / "airflow.json"
OPERATORS = 50
REPEAT = 5
ROWS = {"moment": 1_000, "long": 1_000_000}
GOALS = {"parse_ratio": 1.2, "parse_added_seconds": 0.05, "task_added_seconds": 1.0, "task_added_share": 0.05}
HEAVY = ("dask", "distributed", "duckdb", "llvmlite", "numba", "numpy", "pandas", "pyarrow", "ray")

EMPTY = f"""
from datetime import datetime
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG
with DAG("measured", schedule=None, start_date=datetime(2026, 1, 1)):
    for number in range({OPERATORS}):
        EmptyOperator(task_id=f"load_{{number}}")
"""
OURS = f"""
from datetime import datetime
from airflow.sdk import DAG
from zoopipe_airflow import ZooPipeOperator
def build():
    from zoopipe_core import Pipe
    return Pipe("in/{{{{ ds }}}}.csv", "duckdb:///warehouse.duckdb::users")
with DAG("measured", schedule=None, start_date=datetime(2026, 1, 1)):
    for number in range({OPERATORS}):
        ZooPipeOperator(task_id=f"load_{{number}}", pipe=build)
"""
# As most people write it first: a model of their own, adapters, and a pipe for each operator.
GIVEN = f"""
from datetime import datetime
from airflow.sdk import DAG
from pydantic import BaseModel
from zoopipe_airflow import ZooPipeOperator
from zoopipe_core import CSVInputAdapter, Pipe, SQLOutputAdapter
class User(BaseModel):
    id: int
    email: str
    signed_up_at: datetime
with DAG("measured", schedule=None, start_date=datetime(2026, 1, 1)):
    for number in range({OPERATORS}):
        source = CSVInputAdapter(f"in/{{number}}/{{{{{{{{ ds }}}}}}}}.csv", delimiter=";")
        target = SQLOutputAdapter("duckdb:///warehouse.duckdb", f"users_{{number}}", mode="merge", key=["id"])
        pipe = Pipe(source, target, f"rejects/{{number}}/{{{{{{{{ ds }}}}}}}}.csv", schema_model=User)
        ZooPipeOperator(task_id=f"load_{{number}}", pipe=pipe)
"""

PARSE = """
import hashlib, json, sys, time
import airflow.providers.standard.operators.empty
from airflow.dag_processing.dagbag import DagBag
from airflow.serialization.serialized_objects import DagSerialization
started = time.perf_counter()
bag = DagBag(sys.argv[1])
seconds = time.perf_counter() - started
assert not bag.import_errors, bag.import_errors
[dag] = bag.dags.values()
digest = hashlib.sha256(json.dumps(DagSerialization.to_dict(dag), sort_keys=True).encode()).hexdigest()
heavy = [name for name in sys.argv[2:] if name in sys.modules]
print(json.dumps({"seconds": seconds, "digest": digest, "modules": heavy}))
"""

RUN = """
import json, os, sys, time
from pathlib import Path
from types import SimpleNamespace
from airflow.sdk.execution_time.context import OutletEventAccessors
from benchmarks.model import User
from zoopipe_airflow import ZooPipeOperator
from zoopipe_core import Pipe
source, target, by = sys.argv[1:]
def build():
    return Pipe(source, target, schema_model=User)
names = {"dag_id": "d", "task_id": "load", "run_id": "r", "map_index": -1}
operator = ZooPipeOperator(task_id="load", pipe=build)
build().run(on_report_update=None)  # the first run of a process loads what every load needs
started = time.perf_counter()
if by == "task":
    task = SimpleNamespace(**names | {"run_id": str(time.time())})
    value = operator.execute({"ti": task, "outlet_events": OutletEventAccessors()})
else:
    pipe = Pipe(source, target, schema_model=User, load_id=f"d/load/{time.time()}")
    assert pipe.run(on_report_update=None)
    value = pipe.report.to_dict()
print(json.dumps({"seconds": time.perf_counter() - started, "rows": value["loaded_rows"]}))
"""


def _python(code: str, *arguments: str, home: Path) -> dict[str, Any]:
    """The last line that a fresh process prints, as JSON."""
    settings = {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
        "PYTHONPATH": os.pathsep.join([os.getcwd(), *filter(None, [os.environ.get("PYTHONPATH")])]),
    }
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], env=os.environ | settings, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def parsing(folder: Path, repeat: int) -> dict[str, Any]:
    """Seconds to parse each file, what came along, and whether what is stored of the DAG is stable."""
    files = {"empty": EMPTY, "built late": OURS, "given": GIVEN}
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in files}
    for name, text in files.items():
        (folder / f"{name.replace(' ', '_')}.py").write_text(text)
    for _ in range(repeat):
        for name in files:
            file = folder / f"{name.replace(' ', '_')}.py"
            runs[name].append(_python(PARSE, str(file), *HEAVY, home=folder))
    seconds = {name: statistics.median(run["seconds"] for run in found) for name, found in runs.items()}
    return {
        "operators": OPERATORS,
        "seconds": seconds,
        "allowed_seconds": GOALS["parse_ratio"] * seconds["empty"] + GOALS["parse_added_seconds"],
        "heavy_modules": {
            name: sorted({each for run in found for each in run["modules"]}) for name, found in runs.items()
        },
        "stable": {name: len({run["digest"] for run in found}) == 1 for name, found in runs.items()},
    }


def running(folder: Path, rows: int, repeat: int) -> dict[str, Any]:
    """Seconds of one load by itself and as a task."""
    source = make_dataset(folder, rows, 0.001, 8, "csv").path
    runs: dict[str, list[float]] = {"pipe": [], "task": []}
    for _ in range(repeat):
        for by, seconds in runs.items():
            seconds.append(_python(RUN, str(source), str(folder / "out.jsonl"), by, home=folder)["seconds"])
    medians = {by: statistics.median(seconds) for by, seconds in runs.items()}
    return {"rows": rows, "seconds": medians, "added_seconds": medians["task"] - medians["pipe"]}


def measure(rows: dict[str, int], repeat: int) -> dict[str, Any]:
    """All of it."""
    warm_kernels()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        return {
            "goals": GOALS,
            "parsing": parsing(folder, repeat),
            "running": {size: running(folder, count, repeat) for size, count in rows.items()},
        }


def show(found: dict[str, Any], console: Console) -> None:
    """A table for people."""
    table = Table(title=f"a DAG file with {OPERATORS} operators")
    for heading in ("operators", "parsed in", "heavy libraries", "stable"):
        table.add_column(heading)
    parsed = found["parsing"]
    for name, seconds in parsed["seconds"].items():
        heavy = ", ".join(parsed["heavy_modules"][name]) or "none"
        table.add_row(name, f"{seconds * 1000:.0f} ms", heavy, str(parsed["stable"][name]))
    console.print(table, f"allowed: {parsed['allowed_seconds'] * 1000:.0f} ms")
    for size, each in found["running"].items():
        alone = each["seconds"]["pipe"]
        console.print(f"{size}, {each['rows']:,} rows: {alone:.3f} s, as a task {each['added_seconds']:+.3f} s")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.airflow_cost", description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="few rows, once, nothing kept: does it work?")
    arguments = parser.parse_args()
    found = measure({"moment": 1_000} if arguments.quick else ROWS, 1 if arguments.quick else REPEAT)
    show(found, Console())
    if not arguments.quick:
        results.save(RESULTS, results.stamped(found, REPEAT))


if __name__ == "__main__":
    main()
