"""Clusters for the tests: two nodes on the loopback interface, in an environment that lacks zoopipe and `zoo-tiny`.

They end when the process that started them ends, however that ends: their standard input closes then.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.engines.wheels import make_wheel

RAY = """
import psutil, sys
from ray.cluster_utils import Cluster
sizes = {"num_cpus": int(sys.argv[1]) if sys.argv[1:] else 1, "object_store_memory": 100 << 20}
cluster = Cluster(initialize_head=True, head_node_args={**sizes, "include_dashboard": False})
cluster.add_node(**sizes)
print(cluster.address, flush=True)
sys.stdin.read()
for process in psutil.Process().children(recursive=True):
    process.kill()
"""

DASK = """
import psutil, subprocess, sys
here = ["--host", "127.0.0.1", "--no-dashboard"]
command = [sys.executable, "-m", "distributed.cli.dask_scheduler", *here, "--port", sys.argv[1]]
processes = [subprocess.Popen(command)]
address = f"tcp://127.0.0.1:{sys.argv[1]}"
for name in ("one", "two"):
    command = [sys.executable, "-m", "distributed.cli.dask_worker", address, *here, "--nthreads", "1", "--name", name]
    processes.append(subprocess.Popen([*command, "--local-directory", sys.argv[2]]))
print(address, flush=True)
sys.stdin.read()
for process in psutil.Process().children(recursive=True):
    process.kill()
"""


def bare_environment(folder: Path) -> Path:
    """A virtual environment with all that this one has, but for zoopipe-plugins; its interpreter."""
    venv.EnvBuilder(symlinks=True, with_pip=False).create(folder)
    [packages] = folder.glob("lib/python*/site-packages")
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if "zoopipe" not in entry.name:
            (packages / entry.name).symlink_to(entry)
    return folder / "bin" / "python"


def worker_settings(folder: Path) -> dict[str, str]:
    """Environment variables of workers that have a folder of wheels for an index, and caches of their own."""
    wheels = folder / "wheels"
    wheels.mkdir()
    make_wheel(wheels, "zoo-tiny", "1.0", {"zoo_tiny.py": "ANSWER = 1\n"})
    make_wheel(wheels, "zoo-tiny", "2.0", {"zoo_tiny.py": "ANSWER = 2\n"})
    return {
        **installer_settings(wheels, folder),
        "DASK_DISTRIBUTED__WORKER__DAEMON": "true",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # which makes it listen on the loopback interface alone
        "RAY_USAGE_STATS_ENABLED": "0",
        "ZOOPIPE_CACHE_DIR": str(folder / "cache"),
    }


def installer_settings(wheels: Path, folder: Path) -> dict[str, str]:
    """Environment variables that leave pip and uv nothing but a folder of wheels."""
    return {
        "PIP_FIND_LINKS": str(wheels),
        "PIP_NO_INDEX": "1",
        "UV_CACHE_DIR": str(folder / "uv"),
        "UV_FIND_LINKS": str(wheels),
        "UV_NO_INDEX": "1",
        "UV_OFFLINE": "1",
    }


@contextmanager
def running(python: Path, script: str, arguments: list[str], settings: dict[str, str]) -> Iterator[str]:
    """A cluster that `script` starts; the address that it prints."""
    process = subprocess.Popen(
        [str(python), "-c", script, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd="/",
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | settings,
    )
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            address = process.stdout.readline().strip()
            assert address, f"the cluster did not start: exit code {process.wait()}"
            yield address
        finally:
            process.stdin.close()
            process.wait(60)


def run_script(script: Path, folder: Path) -> str:
    """What a script prints, run from its file in `folder`."""
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=folder,
        env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
