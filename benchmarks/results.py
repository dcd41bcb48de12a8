"""What was measured, kept as JSON: each job with the machine that it ran on."""

from __future__ import annotations

import json
import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from benchmarks.contenders import EVERYBODY

FOLDER = Path(__file__).parent / "results"

Results = dict[str, Any]
"""``{"jobs": {name: what run_job returns + "when", "repeat", "machine"}, "startup": what startup.py gives}``"""


def machine() -> dict[str, Any]:
    """What a figure depends on, beside the code: processor, cores, memory, Python, versions of the contenders."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30),
        "system": platform.system(),
        "python": platform.python_version(),
        "versions": {contender.distribution: contender.version for contender in EVERYBODY.values()},
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def stamped(record: dict[str, Any], repeat: int) -> dict[str, Any]:
    """A job's record with the day, the turns, and the machine."""
    return {**record, "when": datetime.now(UTC).date().isoformat(), "repeat": repeat, "machine": machine()}


def load(path: Path) -> Results:
    """The results of jobs kept in `path`; none if it is not there."""
    return read(path) or {"jobs": {}, "startup": {}}


def read(path: Path) -> Results:
    """What is kept in `path`; nothing if it is not there."""
    results: Results = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return results


def save(path: Path, results: Results) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    os.replace(part, path)
