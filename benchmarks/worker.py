"""One run in a process of its own: ``python -m benchmarks.worker CONTENDER TASK``, TASK as JSON.

Prints one line of JSON: the seconds of the job itself (imports are over when the clock starts, for all alike), the rows
it accepted, and the most memory that the process had.
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


def main() -> None:
    contender, task = EVERYBODY[sys.argv[1]], Task.from_json(sys.argv[2])
    run = contender.prepare(task)
    start = time.perf_counter()
    accepted = run()
    seconds = time.perf_counter() - start
    print(json.dumps({"seconds": seconds, "accepted": accepted, "peak_bytes": peak_bytes()}))


if __name__ == "__main__":
    main()
