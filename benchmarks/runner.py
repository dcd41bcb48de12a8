"""Runs a job: its contenders in turn, each run in a fresh process with a time limit, each output checked."""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import postgres
from benchmarks.check import WrongResultError, check_count, check_output
from benchmarks.contenders import EVERYBODY
from benchmarks.contenders.base import Contender
from benchmarks.data import Dataset, make_clean, make_dataset
from benchmarks.jobs import Job
from benchmarks.task import TABLES, THREADS, Task

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Settings:
    """How often and how long.

    rows: of a job of scale 1.
    repeat: how many turns the contenders take.
    time_limit: seconds after which a run is ended and counts as failed.
    budget: seconds after which a slow contender takes no further turn in a job.
    """

    rows: int
    repeat: int
    time_limit: float
    budget: float


def contender(name: str) -> Contender:
    """A contender by its name."""
    return EVERYBODY[name]


def warm_kernels() -> None:
    """Compile the kernels, unless they are in the cache: users do this once an installation.

    Raises:
        subprocess.CalledProcessError: they do not compile.
    """
    subprocess.run([sys.executable, "-m", "zoopipe_core", "warmup"], check=True, cwd=ROOT)


def run_job(
    job: Job, settings: Settings, folder: Path, database: str, progress: Callable[[str], None]
) -> dict[str, Any]:
    """All contenders in turn.

    Args:
        folder: for inputs, which are kept there, and outputs, which are not.
        database: the URL of a PostgreSQL database, for jobs that need one.

    Returns:
        What `benchmarks.results` keeps of a job: rows, and for each contender the median, least and most seconds, or
        why it failed.
    """
    rows = round(settings.rows * job.scale)
    dataset = make_dataset(folder, rows, job.bad, job.columns, job.source_format)
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in job.contenders}
    for turn in range(settings.repeat):
        # Another one first each time, so that nobody always goes first or last.
        first = turn % len(job.contenders)
        for name in (*job.contenders[first:], *job.contenders[:first]):
            done = runs[name]
            if done and ("failed" in done[0] or sum(run.get("seconds", 0) for run in done) > settings.budget):
                continue
            progress(f"{job.name}: {contender(name).name}, run {turn + 1} of {settings.repeat}")
            done.append(run_once(name, job, dataset, folder, database, settings.time_limit))
    return {
        "rows": rows,
        "bad": job.bad,
        "columns": job.columns,
        "rejected": dataset.rejected,
        "input_bytes": dataset.path.stat().st_size,
        "contenders": {name: _summary(results) for name, results in runs.items()},
    }


def _summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    failed = next((run for run in runs if "failed" in run), None)
    if failed is not None:
        return {"failed": failed["failed"]}
    seconds = [run["seconds"] for run in runs]
    return {
        "seconds": statistics.median(seconds),
        "seconds_min": min(seconds),
        "seconds_max": max(seconds),
        "runs": len(runs),
        "cpu_seconds": statistics.median(run["cpu_seconds"] for run in runs),
        "peak_bytes": max(run["peak_bytes"] for run in runs),
        "loosely_typed": list(runs[0]["loosely_typed"]),
    }


def run_once(name: str, job: Job, dataset: Dataset, folder: Path, database: str, time_limit: float) -> dict[str, Any]:
    """One run, into a folder of its own; its figures, or ``{"failed": why}``."""
    if contender(name).version is None:
        return {"failed": f"{contender(name).distribution} is not installed"}
    with tempfile.TemporaryDirectory(dir=folder) as outputs:
        task = Task(
            source=str(dataset.path),
            source_format=job.source_format,
            expected=str(dataset.expected),
            target=job.target,
            hook=job.hook,
            columns=job.columns,
            folder=outputs,
            database=database,
            mode=job.mode,
            **_tables(job, dataset, folder),
        )
        if job.target == "postgresql":
            postgres.reset(database)
        os.sync()  # what the last run left for the kernel to write is not on this one's bill
        figures = _call_worker(name, task, time_limit)
        if "failed" in figures:
            return figures
        try:
            if not contender(name).judges:
                check_count(figures["accepted"], dataset.accepted + dataset.rejected)
                return {**figures, "loosely_typed": ()}
            return {**figures, "loosely_typed": check_output(task, dataset, figures["accepted"])}
        except WrongResultError as error:
            return {"failed": str(error)}


def _tables(job: Job, dataset: Dataset, folder: Path) -> dict[str, str]:
    """What those need who load into tables."""
    if job.target not in TABLES or job.source_format != "csv":
        return {}
    files = {"clean": str(make_clean(dataset))}
    if job.mode != "append":
        half = make_dataset(folder, (dataset.accepted + dataset.rejected) // 2, job.bad, job.columns, job.source_format)
        files |= {"before": str(half.path), "clean_before": str(make_clean(half))}
    return files


def _call_worker(name: str, task: Task, time_limit: float) -> dict[str, Any]:
    environment = {**os.environ, "POLARS_MAX_THREADS": str(THREADS), "OMP_NUM_THREADS": str(THREADS)}
    command = [sys.executable, "-m", "benchmarks.worker", name, task.to_json()]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=environment,
        start_new_session=True,
    ) as process:
        try:
            output, errors = process.communicate(timeout=time_limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            return {"failed": f"not done in {time_limit:g} s"}
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    if process.returncode:
        lines = errors.strip().splitlines()
        return {"failed": lines[-1] if lines else f"exit code {process.returncode}, no message"}
    figures: dict[str, Any] = json.loads(output.strip().splitlines()[-1])
    return figures
