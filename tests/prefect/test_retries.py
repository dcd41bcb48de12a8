"""Which faults are worth another try."""

import inspect
from pathlib import Path
from typing import Any

import pytest
from prefect import flow
from pydantic import BaseModel

from tests.prefect.loads import DieOnce, FailOnce, User, artifact, attempts
from zoopipe_core import Pipe, SQLOutputAdapter, ZoopipeError, errors
from zoopipe_core.errors import LoadFailedError
from zoopipe_core.testing import ThreadEngine
from zoopipe_prefect import parallelize_pipe, run_pipe, run_pipes
from zoopipe_prefect.states import LASTING_FAULTS, fault_can_pass

pytestmark = pytest.mark.usefixtures("prefect_api")


class WithName(BaseModel):
    id: int
    name: str


def failing(fault: str, folder: Path) -> Pipe:
    """A load that fails in this way, each time."""
    if fault == "ColumnNotFoundError":
        return Pipe("users.csv", "users.jsonl", schema_model=WithName)
    if fault == "SourceNotFoundError":
        return Pipe("gone.csv", "users.jsonl")
    if fault == "TooManyRejectsError":
        return Pipe("users.csv", "users.jsonl", schema_model=User, max_errors=0)
    uri = f"postgresql://nobody@/none?host={folder}"  # a folder without a server's socket
    return Pipe("users.csv", SQLOutputAdapter(uri, "users"), schema_model=User)


TRIES = {"ColumnNotFoundError": 1, "DatabaseConnectionError": 3, "SourceNotFoundError": 1, "TooManyRejectsError": 1}


@pytest.mark.parametrize(
    ("manner", "fault"),
    [
        *(("run_pipe", fault) for fault in TRIES),
        ("run_pipes", "ColumnNotFoundError"),
        ("run_pipes", "DatabaseConnectionError"),
        ("parallelize_pipe", "DatabaseConnectionError"),
        ("parallelize_pipe", "TooManyRejectsError"),
    ],
)
def test_only_faults_that_can_pass_are_tried_again(manner: str, fault: str, folder: Path) -> None:
    pipe, name = failing(fault, folder), f"{manner} {fault}"
    calls = {
        "run_pipe": lambda: run_pipe.with_options(retry_delay_seconds=0)(pipe, name=name),
        "run_pipes": lambda: run_pipes.with_options(retry_delay_seconds=0)([pipe], ThreadEngine(), name=name),
        "parallelize_pipe": lambda: parallelize_pipe.with_options(retry_delay_seconds=0)(pipe, 1, "zoosync", name=name),
    }
    with pytest.raises(LoadFailedError, match=fault):
        flow(calls[manner], name="nightly")()
    assert attempts(f"load-{manner.replace('_', '-')}-{fault.lower()}") == TRIES[fault]


def test_a_load_whose_worker_died_is_loaded_by_the_next_try(folder: Path) -> None:
    pipe = Pipe("users.csv", "users.jsonl", None, User, pre_validation_hooks=[DieOnce(folder / "died")])
    task = parallelize_pipe.with_options(retry_delay_seconds=0)
    result = flow(lambda: task(pipe, 1, name="died once"), name="nightly")()
    assert (result["loaded_rows"], attempts("load-died-once")) == (2, 2)
    assert (folder / "users.jsonl").read_text() == '{"id":1}\n{"id":2}\n'


def test_a_shard_that_failed_is_run_again_within_the_task(folder: Path) -> None:
    pipe = Pipe("users.csv", "users.jsonl", None, User, pre_validation_hooks=[FailOnce(folder / "failed")])
    task = parallelize_pipe.with_options(retries=0)
    result = flow(lambda: task(pipe, 1, ThreadEngine(), retries=1, name="shard failed"), name="nightly")()
    assert [shard["attempt"] for shard in result["pipes"]] == [2]
    assert attempts("load-shard-failed") == 1
    assert artifact("load-shard-failed").description == "COMPLETED"


@pytest.mark.parametrize("task", [run_pipe, run_pipes, parallelize_pipe], ids=lambda task: task.name)
def test_tries_are_ten_and_twenty_seconds_apart(task: Any) -> None:
    assert (task.retries, task.retry_delay_seconds) == (2, [10, 20])


def test_every_lasting_fault_is_an_error_that_there_is() -> None:
    names = {name for name, value in vars(errors).items() if inspect.isclass(value) and issubclass(value, ZoopipeError)}
    builtin = {"ImportError", "KeyboardInterrupt", "ModuleNotFoundError", "TypeError", "ValueError"}
    assert LASTING_FAULTS - builtin <= names
    can_pass = {name for name in names if fault_can_pass(name)}
    assert can_pass == {
        "DatabaseConnectionError",
        "DatabaseError",
        "EngineError",
        "HookError",
        "KernelError",
        "LoadFailedError",
        "LoadLockedError",
        "ShardFailedError",
        "SourceError",
        "SourceReadError",
        "TargetError",
        "TargetWriteError",
        "WorkerDiedError",
        "ZoopipeError",
    }
