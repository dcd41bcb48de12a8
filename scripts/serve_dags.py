"""Start an Airflow with its UI on this machine, and the example DAGs in it, until Ctrl-C.

    python scripts/serve_dags.py            http://127.0.0.1:8080, or another port with AIRFLOW__API__PORT

Everything is kept below the current folder, in `.airflow`: Airflow's database and logs, the password of its user, and
in `.airflow/data` what the examples load. The DAGs are paused at first; 02 needs a PostgreSQL server, see its file.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HOME = Path.cwd() / ".airflow"
DATA = HOME / "data"
PASSWORDS = HOME / "passwords.json"
HOST = "127.0.0.1"
PORT = os.environ.get("AIRFLOW__API__PORT", "8080")
ADDRESS = f"http://{HOST}:{PORT}"
USER = "admin"
START_SECONDS = 180
STOP_SECONDS = 20


def settings() -> dict[str, str]:
    """What tells Airflow and the examples to stay on this machine, and in this folder."""
    return {
        "AIRFLOW_HOME": str(HOME),
        "AIRFLOW__API__BASE_URL": ADDRESS,
        "AIRFLOW__API__HOST": HOST,
        "AIRFLOW__API__PORT": PORT,
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags_examples"),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{ADDRESS}/execution/",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(PASSWORDS),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USER}:admin",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "AIRFLOW_VAR_ZOOPIPE_STAGING": str(DATA / "staging"),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
        "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]),
        "ZOOPIPE_FLIGHTS": os.environ.get("ZOOPIPE_FLIGHTS", str(DATA / "flights")),
        "ZOOPIPE_ORDERS": os.environ.get("ZOOPIPE_ORDERS", str(DATA)),
        "ZOOPIPE_WAREHOUSE": os.environ.get("ZOOPIPE_WAREHOUSE", str(DATA / "warehouse.duckdb")),
    }


def password() -> str:
    """That of the user, made on the first start and kept."""
    if not PASSWORDS.exists():
        descriptor = os.open(PASSWORDS, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w") as file:
            json.dump({USER: secrets.token_urlsafe(12)}, file)
    known: dict[str, str] = json.loads(PASSWORDS.read_text())
    return known[USER]


def wait_until_up(airflow: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if airflow.poll() is not None:
            raise SystemExit(f"Airflow ended with code {airflow.returncode}; is port {PORT} taken? See {log}")
        try:
            with urllib.request.urlopen(f"{ADDRESS}/api/v2/monitor/health", timeout=5) as answer:
                health = json.load(answer)
            if all(health[part]["status"] == "healthy" for part in ("metadatabase", "scheduler", "dag_processor")):
                return
        except (urllib.error.URLError, TimeoutError, KeyError):
            pass
        time.sleep(0.5)
    raise SystemExit(f"Airflow is not up after {START_SECONDS} s; see {log}")


def stop(airflow: subprocess.Popen[bytes]) -> None:
    """End all its processes: they are a group of their own."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(airflow.pid, number)
            airflow.wait(STOP_SECONDS)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


def main() -> None:
    DATA.mkdir(parents=True, exist_ok=True)
    login, log = password(), HOME / "airflow.log"
    print(f"Airflow starts; what it says is in {log}", flush=True)
    with log.open("wb") as output:
        airflow = subprocess.Popen(
            [sys.executable, "-m", "airflow", "standalone"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=DATA,
            env=os.environ | settings(),
            start_new_session=True,
        )
        try:
            wait_until_up(airflow, log)
            print(f"{ADDRESS}    user {USER}, password {login}    Ctrl-C ends it", flush=True)
            airflow.wait()
        except KeyboardInterrupt:
            print("ending", flush=True)
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            stop(airflow)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    main()
