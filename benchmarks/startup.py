"""``python -m benchmarks.startup``: how long a fresh process takes before it does something useful.

Each figure is the median of fresh processes, from the moment that the interpreter is started. With ``--slowdown`` also
how much a load is slowed down while kernels are compiled beside it. ``--json`` prints the figures as JSON instead.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from zoopipe_core.kernels.compiler import compile_kernels

MODEL = """
from datetime import date
from pydantic import BaseModel, Field
from zoopipe_core import MultiThreadExecutor, Pipe

class User(BaseModel):
    user_id: int
    username: str
    email: str
    age: int = Field(ge=0, le=150)
    salary: float
    is_active: bool
    signup_date: date
    country: str = Field(min_length=2, max_length=2)
"""
LOAD = """
pipe = Pipe(source, source + ".jsonl", source + ".rejects.jsonl", User, executor=MultiThreadExecutor())
pipe.run(on_report_update=None)
pipe.report.raise_for_status()
"""
# CLOCK_MONOTONIC is the same for all processes: each prints the seconds since it was started, step by step.
STEP = """
import sys, time
started, source = float(sys.argv[1]), sys.argv[2]
def step(name):
    print(name, time.monotonic() - started)
"""
STEPS: dict[str, str] = {
    "Python": STEP + "step('total')",
    "import zoopipe_core": STEP + "import zoopipe_core\nstep('total')",
    "import numpy, pyarrow, pydantic": STEP + "import numpy, pyarrow\nfrom pydantic import BaseModel\nstep('total')",
    "load of ten rows, no kernel cache": STEP + MODEL + "step('model')" + LOAD + "step('total')",
    "kernels ready, warm cache": STEP
    + """
import numpy
step("numpy")
import llvmlite.binding
step("llvmlite")
from zoopipe_core.kernels import native
native.import_families()
step("kernels as Python")
assert native.load()
step("total")
""",
}
# A load on pydantic alone that starts the compiler, as one without a cache does, but never takes kernels up.
BESIDE_COMPILER = """
from zoopipe_core.kernels.switch import SWITCH
SWITCH.ready(10**6)
SWITCH.ready = lambda rows: False
import psutil
while not (compilers := psutil.Process().children()):
    time.sleep(0.01)
time.sleep(2)  # the compiler is past its imports
"""
END_COMPILER = """
assert compilers[0].is_running() and compilers[0].status() != psutil.STATUS_ZOMBIE, "the load outlasted the compiler"
compilers[0].kill()
"""


def write_users(path: Path, rows: int) -> Path:
    """A CSV file of `rows` good rows."""
    with path.open("w", encoding="utf-8") as file:
        file.write("user_id,username,email,age,salary,is_active,signup_date,country\n")
        for i in range(rows):
            day = f"20{i % 25:02}-{i % 12 + 1:02}-{i % 28 + 1:02}"
            file.write(f"{i},user{i},user{i}@example.com,{i % 90},{i % 9999}.5,{i % 2},{day},ES\n")
    return path


def run_fresh(code: str, source: Path, cache: Path) -> dict[str, float]:
    """Seconds from the start of a fresh interpreter to each step that `code` prints."""
    environment = {**os.environ, "ZOOPIPE_CACHE_DIR": str(cache)}
    command = [sys.executable, "-c", code, repr(time.monotonic()), str(source)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return {name: float(seconds) for name, _, seconds in (line.rpartition(" ") for line in done.stdout.splitlines())}


def median(runs: list[dict[str, float]]) -> dict[str, float]:
    return {name: round(statistics.median(run[name] for run in runs), 4) for name in runs[0]}


def measure_startup(folder: Path, repeat: int) -> dict[str, dict[str, float]]:
    """What -> step -> seconds since the interpreter was started."""
    warm, empty = folder / "warm", folder / "empty"
    warm.mkdir()
    compile_kernels(warm)
    source = write_users(folder / "ten.csv", 10)
    # All in turn, so that a busy moment of the machine does not fall on one of them; the first round warms the disk.
    rounds = [
        {name: run_fresh(code, source, warm if "warm" in name else empty) for name, code in STEPS.items()}
        for _ in range(repeat + 1)
    ]
    return {name: median([turn[name] for turn in rounds[1:]]) for name in STEPS}


def measure_slowdown(folder: Path, rows: int, repeat: int) -> dict[str, float]:
    """Seconds of a load that pydantic does, alone and while kernels are compiled beside it; in turns."""
    source = write_users(folder / "many.csv", rows)
    timed = "start = time.monotonic()" + LOAD + "print('load', time.monotonic() - start)"
    forbid = "import os\nos.environ['ZOOPIPE_KERNELS'] = 'off'"
    codes = {
        "alone": STEP + forbid + MODEL + timed,
        "beside the compiler": STEP + MODEL + BESIDE_COMPILER + timed + END_COMPILER,
    }
    runs = [
        {name: run_fresh(code, source, folder / "none")["load"] for name, code in codes.items()} for _ in range(repeat)
    ]
    figures = median(runs)
    ratio = statistics.median(run["beside the compiler"] / run["alone"] for run in runs)
    return {"rows": rows, **figures, "slower by": round(ratio - 1, 4)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=7, help="processes for each figure (default: 7)")
    parser.add_argument("--slowdown", type=int, default=0, metavar="ROWS", help="rows to load beside the compiler")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        figures: dict[str, Any] = {"startup": measure_startup(Path(name), options.repeat)}
        if options.slowdown:
            figures["slowdown"] = measure_slowdown(Path(name), options.slowdown, options.repeat)
    if options.json:
        print(json.dumps(figures, indent=2))
        return
    table = Table(title="seconds after the interpreter was started", title_justify="left")
    for heading in ("what", "seconds", "steps"):
        table.add_column(heading)
    for what, steps in figures["startup"].items():
        before = ", ".join(f"{step} {seconds:.3f}" for step, seconds in steps.items() if step != "total")
        table.add_row(what, f"{steps['total']:.3f}", before)
    console = Console()
    console.print(table)
    for what, value in figures.get("slowdown", {}).items():
        console.print(f"{what}: {value}", highlight=False)


if __name__ == "__main__":
    main()
