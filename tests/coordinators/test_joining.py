"""Parts are joined while other shards still run, in order, and what goes wrong then ends the load."""

import csv
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from pydantic import BaseModel

from tests.coordinators.support import Chunks, names_in, sharded
from zoopipe_core import (
    ArrowOutputAdapter,
    BaseHook,
    CSVOutputAdapter,
    JSONOutputAdapter,
    ParquetOutputAdapter,
    Pipe,
    PipeManager,
    PipeStatus,
)
from zoopipe_core.adapters.atomic import AtomicFile
from zoopipe_core.coordinators.in_order import InOrder

SECONDS = 20


class Row(BaseModel):
    id: int
    text: str | None = None


class Gates(BaseHook):
    """Holds a shard until its gate is opened; the shard of the rows 10 to 19 has gate 1."""

    def __init__(self) -> None:
        self.gates = [threading.Event() for _ in range(5)]

    def execute(self, entries: Any, store: Any) -> Any:
        assert self.gates[entries[0]["validated_data"]["id"] // 10].wait(SECONDS)
        return entries


@pytest.fixture
def gates() -> Iterator[Gates]:
    made = Gates()
    yield made
    for gate in made.gates:
        gate.set()


CHUNKS = [[{"id": 10 * shard + row, "text": f"text {row}"} for row in range(10)] for shard in range(4)]
FORMS: dict[str, Callable[[Path], Any]] = {
    "out.csv": CSVOutputAdapter,
    "out.jsonl": JSONOutputAdapter,
    "out.json": lambda path: JSONOutputAdapter(path, format="array"),
    "out.parquet": ParquetOutputAdapter,
    "out.arrow": ArrowOutputAdapter,
}


def until(holds: Callable[[], bool]) -> None:
    """Wait for what another thread is about to do."""
    deadline = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.005)


def parts_of(target: Path) -> list[str]:
    """The parts of rows that wait."""
    folder = target.parent / f".{target.name}.zoopipe"
    return sorted(path.name for path in folder.rglob("part-0*") if not path.name.endswith(".note"))


@contextmanager
def running(folder: Path, name: str, gates: Gates, **options: Any) -> Iterator[PipeManager]:
    rows, rejects = FORMS[name](folder / name), folder / "rejects.csv"
    pipe = Pipe(Chunks(CHUNKS), rows, rejects, Row, post_validation_hooks=[gates], **options)
    manager = sharded(pipe)
    manager.start()
    yield manager
    assert manager.wait(SECONDS)


def completed(manager: PipeManager, *shards: int) -> Callable[[], bool]:
    return lambda: all(manager.get_pipe_report(shard).status is PipeStatus.COMPLETED for shard in shards)


@pytest.mark.parametrize("name", ["out.csv", "out.jsonl", "out.json", "out.parquet"])
def test_a_part_is_joined_once_those_before_it_are_there_while_others_are_written(
    tmp_path: Path, name: str, gates: Gates
) -> None:
    with running(tmp_path, name, gates) as manager:
        gates.gates[2].set()
        gates.gates[1].set()
        until(completed(manager, 1, 2))
        # The first part is not there, so that these two wait, whatever time there is.
        suffix = Path(name).suffix
        assert parts_of(tmp_path / name) == [f"part-00001{suffix}", f"part-00002{suffix}"]
        gates.gates[0].set()
        until(lambda: not parts_of(tmp_path / name))
        assert not manager.get_pipe_report(3).is_finished
        assert not (tmp_path / name).exists()
        gates.gates[3].set()
    assert manager.report.status is PipeStatus.COMPLETED, manager.report
    assert _ids(tmp_path / name) == list(range(40))
    assert names_in(tmp_path) == sorted([name, "rejects.csv"])


def _ids(path: Path) -> list[int]:
    if path.suffix == ".parquet":
        ids: list[int] = pq.read_table(path)["id"].to_pylist()
        return ids
    text = path.read_text()
    if path.suffix == ".csv":
        return [int(row["id"]) for row in csv.DictReader(text.splitlines())]
    rows = json.loads(text) if path.suffix == ".json" else map(json.loads, text.splitlines())
    return [row["id"] for row in rows]


@pytest.mark.parametrize("name", FORMS)
def test_a_shard_that_fails_after_others_were_joined_leaves_nothing(tmp_path: Path, name: str, gates: Gates) -> None:
    (tmp_path / name).write_bytes(b"old")
    with running(tmp_path, name, gates) as manager:
        for shard in (0, 1):
            gates.gates[shard].set()
        until(completed(manager, 0, 1))
        gates.gates[3].set()  # its hook goes on, and the load is told to end
        manager.shutdown()
    assert manager.report.status is PipeStatus.ABORTED
    assert names_in(tmp_path) == [name]
    assert (tmp_path / name).read_bytes() == b"old"


def test_a_part_that_cannot_be_joined_ends_the_load_before_the_other_shards_have_ended(
    tmp_path: Path, gates: Gates, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> Iterator[int]:
        raise OSError(28, "No space left on device")
        yield 0

    monkeypatch.setattr(AtomicFile, "append_file", full)
    with running(tmp_path, "out.jsonl", gates) as manager:
        for shard in (0, 1):
            gates.gates[shard].set()
        until(completed(manager, 0, 1))
        gates.gates[2].set()
        until(lambda: not manager.is_running)
    assert manager.report.status is PipeStatus.FAILED
    assert "No space left" in str(manager.report.exception)
    assert manager.get_pipe_report(3).status is not PipeStatus.COMPLETED
    assert names_in(tmp_path) == []


def test_too_many_rejects_show_those_of_parts_that_were_joined_and_of_others(tmp_path: Path, gates: Gates) -> None:
    chunks = [[*chunk, {"id": f"bad {number}"}] for number, chunk in enumerate(CHUNKS)]
    source, rows, rejects = Chunks(chunks), tmp_path / "out.jsonl", tmp_path / "rejects.csv"
    pipe = Pipe(source, rows, rejects, Row, post_validation_hooks=[gates], max_errors=2)
    manager = sharded(pipe)
    manager.start()
    for shard in (0, 1):
        gates.gates[shard].set()
    until(completed(manager, 0, 1))
    gates.gates[3].set()
    assert manager.wait(SECONDS)
    assert manager.report.exception is not None
    assert manager.report.exception.type == "TooManyRejectsError"
    shown = (tmp_path / "rejects.csv").read_text()
    assert [n for n in range(4) if f"bad {n}" in shown][:2] == [0, 1]
    assert names_in(tmp_path) == ["rejects.csv"]


# ---- the line -------------------------------------------------------------------------------------------------------


def test_whatever_the_order_in_which_they_are_ready_they_are_done_in_order() -> None:
    done: list[int] = []
    line = InOrder("test", done.append)
    for index in (5, 3, 4, 0, 2, 1, 6):
        line.ready(index)
    line.wait()
    line.end()
    assert done == [0, 1, 2, 3, 4, 5, 6]
    assert line.count == 7


def test_of_those_that_wait_for_another_one_nothing_is_done() -> None:
    done: list[int] = []
    line = InOrder("test", done.append)
    for index in (0, 2, 3):
        line.ready(index)
    line.wait()
    line.end()
    assert done == [0]
    assert line.count == 1


def test_what_the_work_raises_comes_with_the_next_that_is_ready_and_ends_it() -> None:
    done: list[int] = []

    def work(index: int) -> None:
        if index == 1:
            raise ValueError("one")
        done.append(index)

    line = InOrder("test", work)
    line.ready(0)
    line.ready(1)
    with pytest.raises(ValueError, match="one"):
        line.wait()
    for _ in range(2):
        with pytest.raises(ValueError, match="one"):
            line.ready(2)
    line.end()
    assert done == [0]
    assert line.count == 1
