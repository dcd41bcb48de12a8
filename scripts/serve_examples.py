"""Start a Prefect server with its UI on this machine, and serve the example flows there until Ctrl-C.

    python scripts/serve_examples.py            http://127.0.0.1:4200, or another port with PREFECT_SERVER_API_PORT

Everything is kept below the current folder (`.prefect`), and nothing is sent anywhere. The flows can be started, with
other parameters, scheduled and cancelled in the UI; the daily load has a schedule already.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 120
HOST = "127.0.0.1"
PORT = os.environ.setdefault("PREFECT_SERVER_API_PORT", "4200")

sys.path.insert(0, str(ROOT))
# Flow runs are processes of their own, in the folder that they are started in.
os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
os.environ["PREFECT_API_URL"] = f"http://{HOST}:{PORT}/api"
os.environ.setdefault("PREFECT_SERVER_UI_API_URL", os.environ["PREFECT_API_URL"])
os.environ.setdefault("PREFECT_LOGGING_LEVEL", "INFO")
os.environ.setdefault("PREFECT_LOGGING_EXTRA_LOGGERS", "zoopipe_core")

import examples_common.private_prefect  # noqa: E402, F401  before Prefect

# isort: split
from prefect import serve  # noqa: E402
from prefect.deployments.runner import RunnerDeployment  # noqa: E402

# deployment -> file and flow, parameters, cron
EXAMPLES: dict[str, tuple[str, dict[str, object], str | None]] = {
    "flights-to-duckdb": ("01_flights_to_duckdb.py:flights_to_duckdb", {"warehouse": "warehouse.duckdb"}, None),
    "quality-gate": (
        "04_quality_gate.py:quality_gate",
        {"warehouse": "warehouse.duckdb", "max_share": 0.001},
        None,
    ),
    "map-over-files": ("05_map_over_files.py:map_over_files", {"folder": "parquet"}, None),
    "dask-cluster": (
        "06_ray_or_dask_cluster.py:ray_or_dask_cluster",
        {"target": "weather.parquet", "cluster": "dask", "address": None, "workers": 2},
        None,
    ),
}


def wait_until_up(server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise SystemExit(f"the server ended with code {server.returncode}; is port {PORT} taken?")
        try:
            with urllib.request.urlopen(f"{os.environ['PREFECT_API_URL']}/health", timeout=2):
                return
        except (urllib.error.URLError, TimeoutError):
            time.sleep(0.5)
    raise SystemExit(f"the server did not answer within {START_SECONDS} s")


def deployments() -> list[RunnerDeployment]:
    """The examples that need no more than this folder."""
    made = [
        RunnerDeployment.from_entrypoint(
            str(ROOT / "flows_examples" / entrypoint), name=name, parameters=parameters, cron=cron, tags=["zoopipe"]
        )
        for name, (entrypoint, parameters, cron) in EXAMPLES.items()
    ]
    from zoopipe_prefect import load_flow

    daily = {
        "pipe": f"{ROOT}/flows_examples/03_scheduled_daily_load.py:flights_of_day",
        "arguments": {"warehouse": "daily.duckdb"},
        "name": "daily flights",
    }
    made.append(load_flow.to_deployment("daily-flights", cron="0 6 * * *", parameters=daily, concurrency_limit=1))
    return made


def main() -> None:
    # In a session of its own: Ctrl-C is for this process, which pauses its deployments on the server before that ends.
    server = subprocess.Popen(
        [sys.executable, "-m", "prefect", "server", "start", "--host", HOST, "--port", PORT], start_new_session=True
    )
    try:
        wait_until_up(server)
        serve(*deployments(), limit=2)
    except KeyboardInterrupt:
        pass
    finally:
        server.send_signal(signal.SIGINT)
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()


if __name__ == "__main__":
    main()
