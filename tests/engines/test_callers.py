"""Where an engine is called from: the same program, with a model and a hook of its own, works in every place."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
ENGINES = ("MultiProcessEngine", "ZoosyncPoolEngine")

DEFINITIONS = """
import json, os, signal, sys, time
from pydantic import BaseModel, field_validator
from zoopipe_core import BaseHook, MultiProcessEngine, Pipe, ZoosyncPoolEngine
from zoopipe_core.engines.base import WorkerTask

FACTOR = 2

def doubled(value):
    return FACTOR * value

class Item(BaseModel):
    id: int
    worker: str = ""

    @field_validator("id")
    @classmethod
    def double(cls, value):
        return doubled(value)

class Look(BaseHook):
    '''Notes what the process it runs in is like.'''

    def execute(self, entries, store):
        import psutil
        null = os.stat(os.devnull)
        facts = {
            "pid": os.getpid(),
            "leads a session": os.getsid(0) == os.getpid(),
            "main": getattr(sys.modules["__main__"], "__file__", None),
            "hosts": sorted({"airflow", "prefect", "ipykernel"} & set(sys.modules)),
            # What waits for a load takes a note of SIGTERM, and then lets it take its course.
            "SIGTERM": signal.getsignal(signal.SIGTERM).__module__ in ("signal", "zoopipe_core.running"),
            "SIGHUP": signal.getsignal(signal.SIGHUP).name,
            "blocked": [int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, [])],
            "stdin": os.fstat(0).st_rdev == null.st_rdev,
            "folder": os.getcwd(),
            "token": os.environ.get("TOKEN"),
        }
        for entry in entries:
            entry["validated_data"]["worker"] = json.dumps(facts)
        return entries

def load(engine):
    pipe = Pipe([{"id": "1"}, {"id": "x"}, {"id": 3}], "out.jsonl", None, Item, post_validation_hooks=[Look()])
    worker = engine.launch(WorkerTask(0, pipe))
    while not worker.report().is_finished:
        time.sleep(0.01)
    report = worker.report().raise_for_status()
    worker.close()
    with open("out.jsonl") as file:
        rows = [json.loads(line) for line in file]
    facts = json.loads(rows[0]["worker"])
    assert [row["id"] for row in rows] == [2, 6], rows
    assert facts.pop("pid") not in (os.getpid(), os.getppid())
    assert facts == {
        "leads a session": True, "main": None, "hosts": [], "SIGTERM": True, "SIGHUP": "SIG_DFL",
        "blocked": [], "stdin": True, "folder": os.getcwd(), "token": os.environ.get("TOKEN"),
    }, facts
    return report.loaded_rows
"""
SCRIPT = (
    DEFINITIONS
    + """
print("main runs", flush=True)
print(load(ENGINE()), "rows")
"""
)
DONE = "main runs\n2 rows\n"


def program(text: str, engine: str) -> str:
    return textwrap.dedent(text).replace("ENGINE", engine)


def run(
    arguments: list[str], folder: Path, text: str = "", stdin: int | None = None, **options: object
) -> subprocess.CompletedProcess[str]:
    given = {"input": text} if stdin is None else {"stdin": stdin}
    return subprocess.run(  # type: ignore[call-overload, no-any-return]
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TOKEN": "of the environment"},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
        **given,
        **options,
    )


@pytest.mark.parametrize("engine", ENGINES)
def test_a_script_without_a_main_guard(engine: str, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(program(SCRIPT, engine))
    done = run(["script.py"], tmp_path)
    assert (done.stdout, done.stderr) == (DONE, "")


@pytest.mark.parametrize("engine", ENGINES)
def test_a_program_from_standard_input(engine: str, tmp_path: Path) -> None:
    done = run(["-"], tmp_path, program(SCRIPT, engine))
    assert (done.stdout, done.stderr) == (DONE, "")


CALLS = {
    "a thread": """
        import threading
        rows = []
        thread = threading.Thread(target=lambda: rows.append(load(ENGINE())))
        thread.start()
        thread.join()
        print(*rows, "rows")
        """,
    "a daemonic process": """
        import multiprocessing
        def work():
            print(load(ENGINE()), "rows", flush=True)
        process = multiprocessing.get_context("fork").Process(target=work, daemon=True)
        process.start()
        process.join()
        assert process.exitcode == 0
        """,
    "a process that handles, ignores and blocks signals": """
        signal.signal(signal.SIGTERM, lambda *_: print("it is not yours"))
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGUSR1])
        print(load(ENGINE()), "rows")
        """,
    "a program that has imported a scheduler": """
        for name in ("airflow", "prefect"):
            with open(f"{name}.py", "w") as file:
                file.write("LOADED = True")
        import airflow, prefect
        print(load(ENGINE()), "rows")
        """,
    "an event loop": """
        import asyncio
        async def work():
            return load(ENGINE())
        print(asyncio.run(work()), "rows")
        """,
    "a process without standard streams of its own": """
        output = os.dup(1)
        for stream in (0, 1, 2):
            os.close(stream)
        rows = load(ENGINE())
        os.write(output, f"{rows} rows\\n".encode())
        """,
    "a program that has moved elsewhere": """
        os.mkdir("elsewhere")
        sys.path.insert(0, "")
        engine = ENGINE()
        load(engine)
        os.chdir("elsewhere")
        os.environ["TOKEN"] = "another one"
        print(load(engine), "rows")
        """,
    "a program after its fork": """
        engine = ENGINE()
        load(engine)
        child = os.fork()
        if not child:
            os._exit(0 if load(engine) == 2 else 1)
        assert os.waitpid(child, 0)[1] == 0
        print(load(engine), "rows")
        """,
    "a program in which another one reaps its children": """
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        print(load(ENGINE()), "rows")
        """,
}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("place", CALLS)
def test_a_call_from(place: str, engine: str, tmp_path: Path) -> None:
    text = DEFINITIONS + "print('main runs', flush=True)\n" + textwrap.dedent(CALLS[place])
    (tmp_path / "script.py").write_text(program(text, engine))
    done = run(["script.py"], tmp_path)
    assert (done.stdout, done.stderr) == (DONE, "")


@pytest.mark.parametrize("engine", ENGINES)
def test_a_program_whose_standard_input_is_a_socket(engine: str, tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.send(b"for the program alone")
        (tmp_path / "script.py").write_text(program(SCRIPT + "print(sys.stdin.read(21))\n", engine))
        done = run(["script.py"], tmp_path, stdin=theirs.fileno())
    assert (done.stdout, done.stderr) == (DONE + "for the program alone\n", "")


LOADED_FROM_A_PATH = """
import importlib.util, sys
def loaded(name, path):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
helpers = loaded("helpers", "deep/helpers.py")
dag = loaded("unusual_prefix_0123456789abcdef_dag", "deep/dag.py")
print("main runs")
print(dag.load(dag.ENGINE()), "rows")
"""


@pytest.mark.parametrize("engine", ENGINES)
def test_a_module_under_a_name_that_nobody_else_can_import(engine: str, tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    helpers = "def doubled(value):\n    return 2 * value\n"
    (tmp_path / "deep" / "helpers.py").write_text(helpers)
    # Another module of that name is what a process finds that looks for it.
    (tmp_path / "helpers.py").write_text("def doubled(value):\n    return 0\n")
    text = DEFINITIONS.replace("def doubled(value):\n    return FACTOR * value\n", "from helpers import doubled\n")
    assert text != DEFINITIONS
    (tmp_path / "deep" / "dag.py").write_text(text)
    (tmp_path / "script.py").write_text(program(LOADED_FROM_A_PATH, engine))
    done = run(["script.py"], tmp_path)
    assert (done.stdout, done.stderr) == (DONE, "")


@pytest.mark.parametrize("engine", ENGINES)
def test_a_notebook(engine: str, tmp_path: Path) -> None:
    from jupyter_client.manager import start_new_kernel

    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "IPYTHONDIR": str(tmp_path),
        "JUPYTER_RUNTIME_DIR": str(tmp_path),
    }
    manager, client = start_new_kernel(cwd=str(tmp_path), env=environment, kernel_name="python3")
    try:
        outputs = []

        def note(message: dict) -> None:  # type: ignore[type-arg]
            content = message["content"]
            if message["msg_type"] == "error":
                outputs.append("\n".join(content["traceback"]))
            elif message["msg_type"] == "stream":
                outputs.append(content["text"])

        for cell in (DEFINITIONS, f"engine = {engine}()\nprint(load(engine))", "FACTOR = 2.0", "print(load(engine))"):
            client.execute_interactive(cell, timeout=60, output_hook=note)
        assert "".join(outputs) == "2\n2\n"
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
