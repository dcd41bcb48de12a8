"""A real Airflow on loopback ports: scheduler with LocalExecutor, DAG processor, triggerer, api-server; one
for all tests.

It takes half a minute to start, so it is started as soon as it is known that a test wants it, and waited for by the
first test that does (see `conftest.py`).
"""

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from tests.browser import Browser

START_SECONDS = 200.0
WAIT_SECONDS = 150.0
HERE = Path(__file__).parent / "server"
USERS = {"admin": "admin", "guest": "viewer"}
PARTS = ("metadatabase", "scheduler", "dag_processor", "triggerer")
ENDED = ("success", "failed", "skipped", "upstream_failed")


class RealAirflow:
    """Processes, and what a user of Airflow's API can do.

    Attributes:
        url: of the UI, without a slash at the end. It is not at the root of its server, as behind many a proxy.
        folder: of the installation; `airflow.log` in it is what all processes say.
    """

    def __init__(self, folder: Path, dags: Path = HERE / "dags") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)  # PostgreSQL, if started by root, runs as somebody else
        port = _free_port()
        self.folder = folder
        self.url = f"http://127.0.0.1:{port}/airflow"
        self.log = folder / "airflow.log"
        self.passwords = {user: secrets.token_urlsafe(12) for user in USERS}
        self._tokens: dict[str, str] = {}
        (folder / "passwords.json").write_text(json.dumps(self.passwords))
        (folder / "tmp").mkdir(exist_ok=True)
        settings = {
            "AIRFLOW_HOME": folder,
            "AIRFLOW__API__BASE_URL": self.url,
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": port,
            "AIRFLOW__API__SECRET_KEY": secrets.token_hex(16),
            "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(32),
            "AIRFLOW__CORE__AUTH_MANAGER": "users.UsersWithLimits",
            "AIRFLOW__CORE__DAGS_FOLDER": dags,
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": False,
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor,DaemonicExecutor:executors.DaemonicExecutor",
            "AIRFLOW__CORE__LOAD_EXAMPLES": False,
            "AIRFLOW__CORE__PARALLELISM": 6,
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": folder / "passwords.json",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{user}:{role}" for user, role in USERS.items()),
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "INFO",
            "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": 1,
            "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": 0.2,
            "AIRFLOW__SCHEDULER__TRIGGER_TIMEOUT_CHECK_INTERVAL": 1,
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_SEC": 1,
            "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": 1,
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": False,
            "PYTHONPATH": HERE,
            "PYTHONDONTWRITEBYTECODE": 1,
            "TMPDIR": folder / "tmp",
        }
        with self.log.open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, HERE / "main.py", folder],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd=folder,
                env=os.environ | {name: str(value) for name, value in settings.items()},
                start_new_session=True,
            )

    def stop(self) -> None:
        """End all processes at once."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)

    def wait_until_up(self) -> None:
        """Until its parts say that they are well, and the DAGs are known."""
        self._wait(lambda: self._is_up(), START_SECONDS, "Airflow is not up")

    def _is_up(self) -> bool:
        try:
            health = httpx.get(f"{self.url}/api/v2/monitor/health", timeout=10).json()
            if any(health[part]["status"] != "healthy" for part in PARTS):
                return False
            dags = self.call("GET", "dags")["dags"]
        except httpx.TransportError:
            return False
        errors = self.call("GET", "importErrors")["import_errors"]
        assert not errors, errors
        return bool(dags)

    def _wait(self, done: Any, seconds: float, what: str) -> Any:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            assert self._process.poll() is None, f"Airflow has ended:\n{self.log.read_text()[-3000:]}"
            if result := done():
                return result
            time.sleep(0.2)
        raise AssertionError(f"{what} after {seconds} s:\n{self.log.read_text()[-3000:]}")

    # ---- the API ----------------------------------------------------------------------------------------------

    def token(self, user: str = "admin") -> str:
        """What a program authenticates itself with."""
        if user not in self._tokens:
            login = {"username": user, "password": self.passwords[user]}
            answer = httpx.post(f"{self.url}/auth/token", json=login, timeout=30).raise_for_status()
            self._tokens[user] = answer.json()["access_token"]
        return self._tokens[user]

    def get(self, path: str, user: str | None = None) -> httpx.Response:
        """A page, as a user or as nobody."""
        headers = {"Authorization": f"Bearer {self.token(user)}"} if user else {}
        return httpx.get(f"{self.url}{path}", headers=headers, timeout=30)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """What the API answers to the admin."""
        headers = {"Authorization": f"Bearer {self.token()}"}
        answer = httpx.request(method, f"{self.url}/api/v2/{path}", headers=headers, json=body, timeout=30)
        assert answer.is_success, f"{answer.status_code} {answer.text}"
        return answer.json()

    def run(self, dag_id: str, folder: Path | None = None, logical_date: str | None = None, **parameters: str) -> str:
        """Begin a run; its id."""
        conf = parameters if folder is None else {"folder": str(folder), **parameters}
        body = {"conf": conf, "logical_date": logical_date}
        run: str = self.call("POST", f"dags/{dag_id}/dagRuns", body)["dag_run_id"]
        return run

    def task(self, dag_id: str, run_id: str, map_index: int = -1) -> dict[str, Any]:
        """The task instance `load`."""
        path = f"dags/{dag_id}/dagRuns/{quote(run_id)}/taskInstances/load"
        task: dict[str, Any] = self.call("GET", path if map_index < 0 else f"{path}/{map_index}")
        return task

    def wait_for(self, dag_id: str, run_id: str, states: Collection[str] = ENDED, map_index: int = -1) -> Any:
        """The task instance `load`, as soon as it is in one of the states."""

        def find() -> Any:
            task = self.task(dag_id, run_id, map_index)
            return task if task["state"] in states else None

        return self._wait(find, WAIT_SECONDS, f"{dag_id} is not {' or '.join(states)}")

    def wait_for_run(self, dag_id: str, run_id: str) -> str:
        """How a run has ended."""

        def find() -> Any:
            state = self.call("GET", f"dags/{dag_id}/dagRuns/{quote(run_id)}")["state"]
            return state if state in ENDED else None

        return str(self._wait(find, WAIT_SECONDS, f"{dag_id} has not ended"))

    def wait_for_files(self, folder: Path, pattern: str, count: int = 1) -> list[Path]:
        """Files of that name, as soon as there are so many."""
        return list(
            self._wait(
                lambda: found if len(found := sorted(folder.glob(pattern))) >= count else None,
                WAIT_SECONDS,
                f"there are not {count} files {pattern}",
            )
        )

    def xcom(self, dag_id: str, run_id: str, key: str = "return_value", map_index: int = -1) -> Any:
        """What the task `load` left; None if nothing."""
        headers = {"Authorization": f"Bearer {self.token()}"}
        path = f"{self.url}/api/v2/dags/{dag_id}/dagRuns/{quote(run_id)}/taskInstances/load/xcomEntries/{key}"
        answer = httpx.get(path, headers=headers, params={"map_index": map_index}, timeout=30)
        if answer.status_code == 404:
            return None
        value = answer.raise_for_status().json()["value"]
        return json.loads(value) if isinstance(value, str) else value

    def clear(self, dag_id: str, run_id: str) -> None:
        """Have the task `load` run once more."""
        body = {"dry_run": False, "task_ids": ["load"], "dag_run_id": run_id, "only_failed": False}
        self.call("POST", f"dags/{dag_id}/clearTaskInstances", body)

    # ---- the UI -----------------------------------------------------------------------------------------------

    def log_in(self, browser: Browser, user: str = "admin") -> None:
        """As a user does, by Airflow's form."""
        browser.open(f"{self.url}/auth/login/")
        browser.find("input[name=username]").send_keys(user)
        browser.find("input[name=password]").send_keys(self.passwords[user])
        browser.click("button[type=submit]")
        browser.find("[data-testid=nav-sidebar]")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


class Starter:
    """Starts at once, and knows how to end, whether or not a test has come to use it."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="zoopipe-airflow-"))
        self._airflow: RealAirflow | None = RealAirflow(self._folder)
        self._is_up = False

    def airflow(self) -> RealAirflow:
        """As soon as it is up."""
        assert self._airflow is not None, "Airflow has been stopped: its tests have to run one after another"
        if not self._is_up:
            self._airflow.wait_until_up()
            self._is_up = True
        return self._airflow

    def stop(self) -> None:
        if self._airflow is not None:
            self._airflow.stop()
            self._airflow = None
            shutil.rmtree(self._folder, ignore_errors=True)


# ---- what the tests look at ------------------------------------------------------------------------------------------

ROWS = 200
HOSTILE = "\"'><img src=x onerror=alert(1)><script>alert(2)</script>"
HOSTILE_FOLDER = HOSTILE.replace("/", "|")
REJECTED = 5


@dataclass(frozen=True)
class Begun:
    """A run of a DAG, and the folder that it loads from and into."""

    dag_id: str
    run_id: str
    folder: Path


def write_users(folder: Path, rows: int = ROWS) -> None:
    """The same users as CSV, all good, and as JSON, where some have an id that is none or a field of a hostile name."""
    folder.mkdir(exist_ok=True)
    users = [{"id": number, "name": f"user {number}"} for number in range(rows)]
    lines = ["id,name", *(f"{user['id']},{user['name']}" for user in users)]
    (folder / "users.csv").write_text("\n".join(lines) + "\n")
    bad: list[dict[str, object]] = [{"id": "x", "name": "bad"}] * 2
    hostile: list[dict[str, object]] = [{"id": 1, "name": "bad", HOSTILE: 1}] * 3
    (folder / "users.json").write_text(json.dumps([*users[: rows - REJECTED], *bad, *hostile]))


def begin_all(airflow: RealAirflow, folder: Path) -> dict[str, Begun]:
    """A run of each DAG, by its id; of the one that waits to be told, one to be killed too, and one to be failed."""
    runs = {
        name: name
        for name in (
            "loads",
            "loads_at_the_second_try",
            "loads_below_a_daemon",
            "loads_mapped",
            "loads_several",
            "secret",
        )
    } | {"killed": "loads_when_told", "failed": "loads_when_told"}
    begun = {}
    for name, dag_id in runs.items():
        place = folder / (HOSTILE_FOLDER if name in ("loads", "loads_several") else name)
        write_users(place)
        begun[name] = Begun(dag_id, airflow.run(dag_id, place), place)
    begun["loads_nothing"] = Begun("loads_nothing", airflow.run("loads_nothing"), folder)
    return begun
