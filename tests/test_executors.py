"""Executors: the same results and failures whatever the number of threads, in order, with bounded memory."""

import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from zoopipe_core import (
    BatchExecutor,
    ColumnHook,
    CSVInputAdapter,
    MultiThreadExecutor,
    Pipe,
    SingleThreadExecutor,
)
from zoopipe_core._cores import usable_cores
from zoopipe_core.errors import SpecError
from zoopipe_core.executors import READ_AHEAD

EXECUTORS = [SingleThreadExecutor(), *(MultiThreadExecutor(max_workers=n) for n in (1, 2, 5))]
every_executor = pytest.mark.parametrize("executor", EXECUTORS, ids=repr)
SECONDS = 20.0


def batch_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "zoopipe-batch"]


def outcome(executor: BatchExecutor, work: Callable[[int], Any], items: Any) -> tuple[list[Any], str]:
    """The results that came, and the failure that ended them."""
    results: list[Any] = []
    try:
        for result in executor.map(work, items):
            results.append(result)
    except (ArithmeticError, LookupError) as error:
        return results, repr(error)
    return results, ""


# ---- the description ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0, -1, 1.5, "8", True])
@pytest.mark.parametrize("option", ["batch_size", "max_workers"])
def test_a_size_that_is_no_positive_number_is_refused(option: str, value: Any) -> None:
    kinds: list[Any] = [MultiThreadExecutor] if option == "max_workers" else [SingleThreadExecutor, MultiThreadExecutor]
    for kind in kinds:
        with pytest.raises(SpecError, match=f"{option} has to be a whole number of at least 1, not {value!r}"):
            kind(**{option: value})


def test_by_default_there_is_a_thread_for_each_core_that_may_be_used() -> None:
    started = set()
    parties = usable_cores()
    meeting = threading.Barrier(parties)

    def meet(item: int) -> None:
        meeting.wait(SECONDS)  # fails if fewer threads come
        started.add(threading.get_ident())

    list(MultiThreadExecutor().map(meet, range(3 * parties)))
    assert len(started) == parties


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system cannot bind a process to cores")
def test_cores_that_the_process_may_not_use_do_not_count() -> None:
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        assert usable_cores() == 1
    finally:
        os.sched_setaffinity(0, allowed)
    assert usable_cores() == len(allowed)


# ---- results --------------------------------------------------------------------------------------------------------


@every_executor
def test_results_keep_the_order_of_the_items_however_long_each_takes(executor: BatchExecutor) -> None:
    def slow_at_first(n: int) -> int:
        time.sleep((3 - n % 4) / 500)
        return n * n

    assert list(executor.map(slow_at_first, range(40))) == [n * n for n in range(40)]


@every_executor
def test_no_items_give_no_results_and_no_threads(executor: BatchExecutor) -> None:
    assert list(executor.map(str, [])) == []
    assert batch_threads() == []


@given(
    count=st.integers(0, 12),
    failing=st.sets(st.integers(0, 11)),
    source_fails_at=st.none() | st.integers(0, 12),
    workers=st.integers(1, 4),
)
def test_results_and_failure_are_those_of_one_thread(
    count: int, failing: set[int], source_fails_at: int | None, workers: int
) -> None:
    def items() -> Iterator[int]:
        for n in range(count):
            if n == source_fails_at:
                raise LookupError(f"source at {n}")
            yield n
        if source_fails_at is not None:
            raise LookupError("source at its end")

    def work(n: int) -> int:
        if n in failing:
            raise ArithmeticError(f"item {n}")
        return -n

    expected = outcome(SingleThreadExecutor(), work, items())
    assert outcome(MultiThreadExecutor(workers), work, items()) == expected
    assert batch_threads() == []


# ---- bounds ---------------------------------------------------------------------------------------------------------


class Batch:
    """An item that can be watched while it lives."""

    def __init__(self, number: int) -> None:
        self.number = number


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_only_a_bounded_number_of_batches_is_alive_at_once(workers: int) -> None:
    alive: weakref.WeakSet[Batch] = weakref.WeakSet()
    most = 0

    def items() -> Iterator[Batch]:
        nonlocal most
        for number in range(50):
            batch = Batch(number)
            alive.add(batch)
            most = max(most, len(alive))
            yield batch
            del batch

    numbers = []
    for result in MultiThreadExecutor(workers).map(lambda batch: batch, items()):
        numbers.append(result.number)
        del result
    assert numbers == list(range(50))
    assert most <= workers + 1


@every_executor
def test_items_are_taken_in_the_thread_that_iterates_and_only_as_results_are_taken(executor: BatchExecutor) -> None:
    taken: list[int] = []
    threads = set()

    def items() -> Iterator[int]:
        for n in range(100):
            taken.append(n)
            threads.add(threading.current_thread())
            yield n

    results = executor.map(lambda n: n, items())
    assert taken == []
    next(results)
    assert len(taken) <= (getattr(executor, "max_workers", 0) or 0) + 2
    assert list(results) == list(range(1, 100))
    assert threads == {threading.current_thread()}


# ---- reading ahead --------------------------------------------------------------------------------------------------


def reading_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "zoopipe-read"]


@every_executor
def test_items_read_ahead_are_the_same_and_their_failure_comes_at_its_turn(executor: BatchExecutor) -> None:
    def items() -> Iterator[int]:
        yield from range(5)
        raise LookupError("five")

    found: list[int] = []
    with pytest.raises(LookupError, match="five"):
        found.extend(executor.ahead(items()))
    assert found == [0, 1, 2, 3, 4]
    assert list(executor.ahead([])) == []
    assert reading_threads() == []


def test_a_few_items_are_taken_ahead_in_a_thread_of_its_own_and_no_more() -> None:
    taken: list[int] = []
    threads = set()
    third = threading.Event()

    def items() -> Iterator[int]:
        for n in range(100):
            taken.append(n)
            threads.add(threading.current_thread())
            if n == 2:
                third.set()
            yield n

    ahead: Any = MultiThreadExecutor(2).ahead(items())
    assert next(ahead) == 0
    assert next(ahead) == 1
    assert third.wait(SECONDS)
    time.sleep(0.05)
    assert len(taken) <= 2 + READ_AHEAD
    assert threading.current_thread() not in threads
    ahead.close()
    assert reading_threads() == []
    assert len(taken) <= 2 + READ_AHEAD + 1


# ---- the end --------------------------------------------------------------------------------------------------------


def test_the_first_failure_stops_all_and_what_was_not_begun_is_never_done() -> None:
    begun: list[int] = []
    failed = threading.Event()

    def work(n: int) -> int:
        begun.append(n)
        if n == 0:
            failed.set()
            raise ArithmeticError("first")
        failed.wait(SECONDS)
        return n

    assert outcome(MultiThreadExecutor(2), work, range(1000)) == ([], "ArithmeticError('first')")
    assert batch_threads() == []
    assert len(begun) <= 4


@pytest.mark.parametrize("taken", [0, 1, 5])
def test_closing_the_results_early_leaves_no_thread(taken: int) -> None:
    results: Any = MultiThreadExecutor(3).map(lambda n: n, range(1000))
    for n in range(taken):
        assert next(results) == n
    assert len(batch_threads()) == (3 if taken else 0)
    results.close()
    assert batch_threads() == []


def test_a_thread_that_is_told_to_exit_fails_its_item_and_not_in_silence() -> None:
    def work(n: int) -> int:
        raise SystemExit(n)

    with pytest.raises(SystemExit):
        list(MultiThreadExecutor(2).map(work, range(3)))
    assert batch_threads() == []


# ---- in a pipe ------------------------------------------------------------------------------------------------------


class Order(BaseModel):
    id: int = Field(ge=0)
    amount: float
    country: str = Field(min_length=2, max_length=2)


def orders(path: Path, rows: int) -> Path:
    bad = {7: "x,1,AT", 500: "500,much,AT", 501: "501,1,Austria", 998: "998,1"}
    lines = [bad.get(n, f"{n},{n / 7},{'AT' if n % 2 else 'DE'}") for n in range(rows)]
    path.write_text("id,amount,country\n" + "\n".join(lines) + "\n")
    return path


def run(folder: Path, executor: BatchExecutor, target: str, **options: Any) -> Pipe:
    (folder / "out").mkdir()
    pipe = Pipe(folder / "in.csv", target, folder / "out" / "rejects.jsonl", Order, executor=executor, **options)
    pipe.run(on_report_update=None)
    assert batch_threads() == []
    return pipe


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("name", ["rows.csv", "rows.jsonl", "rows.json", "rows.parquet", "rows.arrow", "rows.csv.gz"])
def test_threads_give_the_files_of_a_single_thread_byte_for_byte(name: str, tmp_path: Path) -> None:
    seen = []
    executors = [SingleThreadExecutor(64), MultiThreadExecutor(1, 64), MultiThreadExecutor(4, 64)]
    for number, executor in enumerate(executors):
        folder = tmp_path / str(number)
        folder.mkdir()
        orders(folder / "in.csv", 2000)
        pipe = Pipe(
            CSVInputAdapter(folder / "in.csv"),
            folder / "out" / name,
            folder / "out" / "rejects.csv",
            Order,
            executor=executor,
        )
        assert pipe.run(on_report_update=None)
        report = pipe.report
        assert (report.read_rows, report.loaded_rows, report.rejected_rows) == (2000, 1996, 4)
        text = (folder / "out" / "rejects.csv").read_bytes().replace(str(folder).encode(), b"")
        counts = [(each.field, each.type, each.count, each.row) for each in report.rejections]
        seen.append((contents(folder / "out") | {"rejects.csv": text}, counts))
    assert seen[1] == seen[0]
    assert seen[2] == seen[0]


def test_threads_give_the_table_of_a_single_thread(tmp_path: Path) -> None:
    orders(tmp_path / "in.csv", 2000)
    tables = []
    for number, executor in enumerate([SingleThreadExecutor(64), MultiThreadExecutor(4, 64)]):
        file = tmp_path / f"{number}.duckdb"
        assert Pipe(tmp_path / "in.csv", f"duckdb:///{file}::t", None, Order, executor=executor).run(
            on_report_update=None
        )
        with duckdb.connect(str(file), read_only=True) as connection:
            tables.append(connection.sql("SELECT * FROM t ORDER BY rowid").fetchall())
    assert len(tables[0]) == 1996
    assert tables[1] == tables[0]


@pytest.mark.parametrize("max_errors", [0, 1, 3])
def test_threads_fail_where_a_single_thread_fails(max_errors: int, tmp_path: Path) -> None:
    seen = []
    for number, executor in enumerate([SingleThreadExecutor(64), MultiThreadExecutor(4, 64)]):
        folder = tmp_path / str(number)
        folder.mkdir()
        orders(folder / "in.csv", 2000)
        pipe = run(folder, executor, str(folder / "out" / "rows.csv"), max_errors=max_errors)
        assert pipe.report.exception is not None
        rejects = (folder / "out" / "rejects.jsonl").read_text().replace(str(folder), "")
        message = pipe.report.exception.message.replace(str(folder), "")
        seen.append((pipe.report.exception.type, message, pipe.report.loaded_rows, rejects))
        assert sorted(contents(folder / "out")) == ["rejects.jsonl"]
    assert seen[0][0] == "TooManyRejectsError"
    assert seen[1] == seen[0]


def test_too_many_rejects_in_front_of_a_failing_source_are_what_is_reported() -> None:
    def rows() -> Iterator[dict[str, Any]]:
        yield {"id": "x"}
        for n in range(30):
            yield {"id": n}
        raise OSError("the connection was lost")

    class Row(BaseModel):
        id: int

    kinds = []
    for executor in [SingleThreadExecutor(10), MultiThreadExecutor(4, 10)]:
        pipe = Pipe(rows(), None, schema_model=Row, executor=executor, max_errors=0)
        assert not pipe.run(on_report_update=None)
        assert pipe.report.exception is not None
        kinds.append(pipe.report.exception.type)
    assert kinds == ["TooManyRejectsError"] * 2


class Sizes(ColumnHook):
    """Notes the number of rows of each batch."""

    def execute(self, batch: pa.RecordBatch, store: dict[str, Any]) -> pa.RecordBatch:
        self.seen.append(batch.num_rows)
        return batch

    def setup(self, store: dict[str, Any]) -> None:
        self.seen: list[int] = []


@pytest.mark.parametrize("executor", [SingleThreadExecutor(100), MultiThreadExecutor(3, 100)], ids=repr)
def test_no_batch_has_more_rows_than_the_executor_asks_for(executor: BatchExecutor, tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": range(1000)}), tmp_path / "in.parquet", row_group_size=350)
    sizes = Sizes()
    pipe = Pipe(tmp_path / "in.parquet", None, post_validation_hooks=[sizes], executor=executor)
    assert pipe.run(on_report_update=None)
    assert sum(sizes.seen) == 1000
    assert max(sizes.seen) <= 100
