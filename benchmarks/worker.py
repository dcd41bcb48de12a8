"""One run in a process of its own: ``python -m benchmarks.worker CONTENDER TASK``, TASK as JSON.

Prints one line of JSON: the seconds of the job itself (imports are over when the clock starts, for all alike), those of
processors that it and the processes it started have used, the rows it accepted, and the most memory that it had.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

from benchmarks.contenders import EVERYBODY
from benchmarks.task import Task


def peak_bytes() -> int:
    """The most memory that this process had resident.

    ``ru_maxrss`` will not do: on Linux it begins with what the process that started us had.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def cpu_seconds() -> float:
    """What this process and those that it started and that have ended have used of processors."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def main() -> None:
    contender, task = EVERYBODY[sys.argv[1]], Task.from_json(sys.argv[2])
    run = contender.prepare(task)
    before, start = cpu_seconds(), time.perf_counter()
    accepted = run()
    seconds = time.perf_counter() - start
    contender.finish()
    figures = {
        "seconds": seconds,
        "cpu_seconds": cpu_seconds() - before,
        "accepted": accepted,
        "peak_bytes": peak_bytes(),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
