"""A real Prefect server with its UI and its services, on the loopback interface, for as long as the tests last."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import psutil

START_SECONDS = 100.0

# It ends when the process that started it ends, however that ends: its standard input closes then. The PostgreSQL of
# these tests comes without pg_trgm, whose indexes are there for speed only: they become plain ones.
SERVER = """
import os, signal, sys, threading
import sqlalchemy, uvicorn

@sqlalchemy.event.listens_for(sqlalchemy.Engine, "before_cursor_execute", retval=True)
def without_trigrams(connection, cursor, statement, parameters, *_):
    if "CREATE EXTENSION IF NOT EXISTS pg_trgm" in statement:
        return "SELECT 1", ()
    return statement.replace("USING gin (name gin_trgm_ops)", "(name)"), parameters

def end_with_the_tests():
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGTERM)

threading.Thread(target=end_with_the_tests, daemon=True).start()
create_app = "prefect.server.api.server:create_app"
uvicorn.run(create_app, factory=True, host="127.0.0.1", port=int(sys.argv[1]), log_level="error", lifespan="on")
"""

# One node of Ray and one worker of Dask; their addresses, as the variables that Ray and Dask read, and their process.
CLUSTERS = """
import json, os, sys
import ray
from distributed import LocalCluster

here = "127.0.0.1"
options = {"num_cpus": 4, "include_dashboard": False, "object_store_memory": 100 << 20, "_node_ip_address": here}
context = ray.init("local", log_to_driver=False, **options)
threads = {"n_workers": 1, "threads_per_worker": 4, "processes": False, "memory_limit": 0}
with LocalCluster(**threads, protocol="tcp", host=here, dashboard_address=None, worker_dashboard_address=None) as dask:
    addresses = {"RAY_ADDRESS": context.address_info["address"], "DASK_SCHEDULER_ADDRESS": dask.scheduler_address}
    print(json.dumps([addresses, os.getpid()]), flush=True)
    sys.stdin.read()
ray.shutdown()
"""


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


@contextmanager
def prefect_server(folder: Path, database: str) -> Iterator[str]:
    """A server whose UI and log are in `folder`; the URL of its API, which is that of its UI and ``/api``.

    `database` is the URL of an empty database of PostgreSQL: with SQLite, which lets one write at a time, a server that
    many flow runs talk to on a busy machine answers that its database is locked.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    api = f"http://127.0.0.1:{port}/api"
    settings = {
        "PREFECT_API_DATABASE_CONNECTION_URL": database.replace(
            "postgresql://postgres:@", "postgresql+asyncpg://postgres@"
        ),
        "PREFECT_HOME": str(folder),
        "PREFECT_SERVER_UI_API_URL": api,
        "PREFECT_SERVER_UI_STATIC_DIRECTORY": str(folder / "ui"),
        "PREFECT__SERVER_FINAL": "1",
    }
    log = folder / "server.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", SERVER, str(port)],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            env=os.environ | settings,
            start_new_session=True,
        )
    assert process.stdin is not None
    with process:
        try:
            _wait_until_healthy(api, process, log)
            yield api
        finally:
            process.stdin.close()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait_until_healthy(api: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, f"the server ended:\n{log.read_text()}"
        try:
            if httpx.get(f"{api}/health").status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise TimeoutError(f"the server is not ready after {START_SECONDS:g} s:\n{log.read_text()}")


@contextmanager
def messages_delivered() -> Iterator[None]:
    """What Prefect sends in the background (logs, events) has arrived when the block is left."""
    yield
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    for worker in (APILogWorker, EventsWorker):
        worker.drain_all(timeout=10)


def processes_of(flow_run_id: object) -> list[psutil.Process]:
    """The processes that run a flow run for a runner or a worker, and all that these have started."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):  # it has ended
            mine = process.environ().get("PREFECT__FLOW_RUN_ID") == str(flow_run_id)
            if mine and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


@contextmanager
def program(
    arguments: list[str], folder: Path, log: Path, settings: dict[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """A Python program with output to a file, for as long as the block lasts."""
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=os.environ | settings,
        )
    with process:
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(40)
            except subprocess.TimeoutExpired:
                process.kill()
