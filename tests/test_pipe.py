"""Pipe: a value that can be run, and the promise that a run is all or nothing."""

import io
import logging
import pickle
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import BaseModel, Field, SecretStr
from typing_extensions import TypedDict

from zoopipe_core import (
    BaseHook,
    ColumnHook,
    CSVInputAdapter,
    CSVOutputAdapter,
    JSONOutputAdapter,
    MultiThreadExecutor,
    Pipe,
    PipeManager,
    PipeReport,
    PipeStatus,
    PyGeneratorOutputAdapter,
    SingleThreadExecutor,
    SQLInputAdapter,
    SQLOutputAdapter,
)
from zoopipe_core.adapters.base import InputAdapter, OutputAdapter, Reader, ReadRequest, Writer
from zoopipe_core.batches.model import ModelBatch
from zoopipe_core.batches.types import ColumnType
from zoopipe_core.errors import (
    LoadAbortedError,
    LoadFailedError,
    SchemaModelError,
    SourceNotFoundError,
    SpecError,
    TooManyRejectsError,
    UnknownAdapterError,
)
from zoopipe_core.testing.engines import ThreadEngine

CANARY = "c4n4ry-p4ssw0rd"
SECONDS = 20.0


class User(BaseModel):
    id: int = Field(ge=0)
    name: str


class Other(BaseModel):
    id: int


class Stamp(BaseHook):
    def execute(self, entries: Any, store: dict[str, Any]) -> Any:
        return entries


def load_threads() -> list[str]:
    """Threads of loads; the one that makes kernels ready belongs to the process."""
    names = [thread.name for thread in threading.enumerate()]
    return [name for name in names if name.startswith("zoopipe-") and name != "zoopipe-kernels"]


def users(good: int, bad: int = 0) -> list[dict[str, Any]]:
    return [{"id": n, "name": f"n{n}"} for n in range(good)] + [{"id": -1, "name": "bad"}] * bad


class Source:
    """Rows that stop in the middle until they are let go: what a test does meanwhile happens during the load."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error
        self.reached = threading.Event()
        self.go_on = threading.Event()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        yield {"id": 1, "name": "first"}
        self.reached.set()
        assert self.go_on.wait(SECONDS)
        if self.error is not None:
            raise self.error
        yield {"id": 2, "name": "second"}


def endless() -> Iterator[dict[str, Any]]:
    while True:
        yield {"id": 1, "name": "again"}


# ---- a value --------------------------------------------------------------------------------------------------------


def spec(**changes: Any) -> Pipe:
    parts: dict[str, Any] = {
        "input_adapter": "in.csv",
        "output_adapter": "out.jsonl",
        "error_output_adapter": "rejects.csv",
        "schema_model": User,
        "pre_validation_hooks": None,
        "post_validation_hooks": None,
        "executor": MultiThreadExecutor(2),
        "max_errors": 0.5,
    }
    return Pipe(**{**parts, **changes})


STAMP = Stamp()
CHANGES = [
    {"input_adapter": "other.csv"},
    {"output_adapter": "other.jsonl"},
    {"output_adapter": None},
    {"error_output_adapter": None},
    {"schema_model": Other},
    {"schema_model": None},
    {"pre_validation_hooks": [STAMP]},
    {"post_validation_hooks": [STAMP]},
    {"executor": SingleThreadExecutor()},
    {"max_errors": 0},
    {"max_errors": None},
]


def test_building_a_pipe_does_no_io(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    taken = []
    rows = ({"id": taken.append(n)} for n in range(3))
    pipes = [
        Pipe("missing/in.csv", "missing/out.csv", "missing/rejects.csv", User),
        Pipe("duckdb:///missing/wh.db::t", "postgresql://nobody@192.0.2.1/db::t"),
        Pipe(["a.parquet", "missing/*.parquet"], "sqlite:///missing/x.db::t"),
        Pipe(rows, None),
    ]
    for pipe in pipes:
        assert pipe.report == PipeReport(
            source=pipe.report.source, target=pipe.report.target, rejects_target=pipe.report.rejects_target
        )
        assert repr(pipe)
        assert not pipe.is_running
    assert taken == []
    assert list(tmp_path.iterdir()) == []
    assert load_threads() == []


@pytest.mark.parametrize("change", [{}, *CHANGES], ids=str)
def test_a_pipe_equals_its_pickle(change: dict[str, Any]) -> None:
    pipe = spec(**change)
    copy = pickle.loads(pickle.dumps(pipe))
    if "pre_validation_hooks" in change or "post_validation_hooks" in change:  # hooks say themselves what is equal
        assert repr(copy) == repr(pipe)
    else:
        assert copy == pipe
        assert hash(copy) == hash(pipe)


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_a_pipe_differs_from_one_with_another_part(change: dict[str, Any]) -> None:
    assert spec(**change) != spec()
    assert spec(**change) == spec(**change)


def test_a_number_of_errors_is_not_the_share_of_equal_value() -> None:
    assert spec(max_errors=1) != spec(max_errors=1.0)
    assert spec(max_errors=0) != spec(max_errors=0.0)


def test_a_pipe_that_has_run_still_pickles_and_compares(tmp_path: Path) -> None:
    pipe = Pipe([{"id": 1}], tmp_path / "out.csv", schema_model=Other)
    fresh = pickle.loads(pickle.dumps(pipe))
    assert pipe.run(on_report_update=None)
    assert pipe == fresh
    copy = pickle.loads(pickle.dumps(pipe))
    assert copy == pipe
    assert copy.report.status is PipeStatus.PENDING
    assert copy.run(on_report_update=None)


def test_a_pipe_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        spec().max_errors = 3  # type: ignore[misc]


def test_a_repr_is_short_and_names_the_ends_and_the_model() -> None:
    assert repr(spec()) == "Pipe(in.csv -> out.jsonl, schema_model=User)"
    assert repr(Pipe([], None)) == "Pipe(list -> no output)"
    assert len(repr(Pipe([f"part-{n:05}.csv" for n in range(1000)], None))) < 300


SECRETS = {
    "url": lambda: Pipe(f"postgresql://etl:{CANARY}@host/db::t", f"postgresql://etl:{CANARY}@host/db::u"),
    "secret-str": lambda: Pipe(
        SQLInputAdapter(SecretStr(f"postgresql://etl:{CANARY}@host/db"), table_name="t"),
        SQLOutputAdapter(SecretStr(f"postgresql://etl:{CANARY}@host/db"), "u"),
    ),
    "web": lambda: Pipe(f"https://me:{CANARY}@host/in.csv?token={CANARY}", f"s3://key:{CANARY}@bucket/out.csv"),
}


@pytest.mark.parametrize("build", SECRETS.values(), ids=SECRETS)
def test_repr_and_report_hold_no_secret(build: Callable[[], Pipe]) -> None:
    pipe = build()
    shown = [repr(pipe), str(pipe.report), repr(pipe.report), str(pipe.report.to_dict()), pipe.report._repr_html_()]
    assert CANARY not in "".join(shown)


# ---- what does not fit together -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"input_adapter": "in.xyz"}, UnknownAdapterError, "no adapter is known for 'in.xyz'"),
        ({"input_adapter": 42}, UnknownAdapterError, "int is no input"),
        ({"output_adapter": 42}, UnknownAdapterError, "int is no output"),
        ({"schema_model": dict}, SchemaModelError, "dict"),
        ({"schema_model": User(id=1, name="n")}, SchemaModelError, "User"),
        ({"executor": "threads"}, SpecError, "executor has to be .*, not 'threads'"),
        ({"error_output_adapter": "./out.jsonl"}, SpecError, "rows and rejects cannot both go to out.jsonl"),
        ({"error_output_adapter": "in.csv"}, SpecError, "the rejects would replace their own source, in.csv"),
        (
            {"input_adapter": ["a.csv", "in.csv"], "error_output_adapter": "in.csv"},
            SpecError,
            "the rejects would replace their own source, in.csv",
        ),
        (
            {"input_adapter": "*.csv", "error_output_adapter": "in.csv"},
            SpecError,
            "the rejects would replace their own source, in.csv",
        ),
        ({"post_validation_hooks": [print]}, SpecError, "print"),
        ({"post_validation_hooks": STAMP}, SpecError, "has to be a list of hooks"),
        *(
            ({"max_errors": limit}, SpecError, "max_errors has to be a number of rows")
            for limit in (-1, 1.5, -0.1, True, "3", float("nan"), float("inf"))
        ),
    ],
)
def test_parts_that_do_not_fit_are_refused_when_the_pipe_is_built(
    change: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        spec(**change)


def test_models_are_base_models_dataclasses_and_typed_dicts() -> None:
    @dataclass
    class Point:
        id: int

    class Mapped(TypedDict):
        id: int

    for model in (Other, Point, Mapped):
        result = PyGeneratorOutputAdapter()
        assert Pipe([{"id": "1"}, {"id": "x"}], result, schema_model=model).run(on_report_update=None)
        assert list(result) == [{"id": 1}]


# ---- running --------------------------------------------------------------------------------------------------------


def test_run_is_true_when_all_is_published_and_the_report_says_so(tmp_path: Path) -> None:
    pipe = Pipe(users(10, bad=2), tmp_path / "out.jsonl", tmp_path / "rejects.jsonl", User)
    assert pipe.run(on_report_update=None) is True
    report = pipe.report.raise_for_status()
    assert (report.status, report.fraction_done, report.exception) == (PipeStatus.COMPLETED, 1.0, None)
    assert (report.read_rows, report.loaded_rows, report.rejected_rows, report.filtered_rows) == (12, 10, 2, 0)
    assert report.bytes_written == (tmp_path / "out.jsonl").stat().st_size
    assert report.started_at is not None
    assert report.finished_at is not None
    assert report.started_at <= report.finished_at
    assert report.peak_ram_bytes >= report.ram_bytes > 0
    assert [str(kind) for kind in report.rejections] == ["2 x id: greater_than_equal (e.g. list row 11)"]
    assert pipe.report is report, "a final report does not change"
    assert load_threads() == []


def test_a_pipe_runs_again_and_starts_from_nothing(tmp_path: Path) -> None:
    pipe = Pipe(users(10), tmp_path / "out.jsonl", None, User)
    seen = []
    for _ in range(2):
        assert pipe.run(on_report_update=None)
        seen.append((pipe.report.read_rows, (tmp_path / "out.jsonl").read_bytes()))
    assert seen[0] == seen[1]


def test_without_an_output_rows_are_validated_and_counted() -> None:
    pipe = Pipe(users(3, bad=1), None, None, User)
    assert pipe.run(on_report_update=None)
    assert (pipe.report.loaded_rows, pipe.report.rejected_rows, pipe.report.target) == (3, 1, "no output")


def test_a_started_load_runs_in_the_background_until_it_is_waited_for(tmp_path: Path) -> None:
    source = Source()
    pipe = Pipe(source, tmp_path / "out.jsonl", executor=SingleThreadExecutor(1))
    assert pipe.run(wait=False) is True
    assert source.reached.wait(SECONDS)
    assert pipe.is_running
    assert pipe.report.status is PipeStatus.RUNNING
    assert pipe.wait(timeout=0.05) is False
    assert pipe.is_running, "wait() that runs out of time leaves the load alone"
    source.go_on.set()
    assert pipe.wait(SECONDS) is True
    assert pipe.wait() is True
    assert pipe.report.raise_for_status().loaded_rows == 2
    assert not pipe.is_running


def test_a_report_of_a_running_load_counts_what_was_read_so_far(tmp_path: Path) -> None:
    source = Source()
    with Pipe(source, tmp_path / "out.jsonl", executor=SingleThreadExecutor(1)) as pipe:
        assert source.reached.wait(SECONDS)
        report = pipe.report
        assert (report.read_rows, report.finished_at, report.is_alive) == (1, None, True)
        assert report.duration_seconds > 0
        with pytest.raises(LoadFailedError, match="has not finished: it is running"):
            report.raise_for_status()
        source.go_on.set()
        assert pipe.wait(SECONDS)


@pytest.mark.parametrize("call", [Pipe.start, Pipe.run, Pipe.__enter__])
def test_a_running_pipe_cannot_be_started_again(call: Callable[[Pipe], Any]) -> None:
    source = Source()
    pipe = Pipe(source, None, executor=SingleThreadExecutor(1))
    pipe.start()
    with pytest.raises(RuntimeError, match="already running"):
        call(pipe)
    source.go_on.set()
    assert pipe.wait(SECONDS)
    assert pipe.report.loaded_rows == 2, "the refused start does not touch the load"


def test_of_many_threads_that_start_a_pipe_one_does() -> None:
    source = Source()
    pipe = Pipe(source, None, executor=SingleThreadExecutor(1))
    meeting = threading.Barrier(8)
    refused: list[RuntimeError] = []

    def start() -> None:
        meeting.wait(SECONDS)
        try:
            pipe.start()
        except RuntimeError as error:
            refused.append(error)

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    assert len(refused) == 7
    source.go_on.set()
    assert pipe.wait(SECONDS)


def test_what_was_never_started_cannot_be_waited_for_and_need_not_be_shut_down() -> None:
    pipe = Pipe([], None)
    with pytest.raises(RuntimeError, match=r"was not started; call start\(\) or run\(\)"):
        pipe.wait()
    pipe.shutdown()
    assert pipe.report.status is PipeStatus.PENDING


# ---- ending early ---------------------------------------------------------------------------------------------------


def endless_pipe(folder: Path, workers: int = 0) -> Pipe:
    """A load without an end, over an old file."""
    (folder / "out.jsonl").write_text("old")
    executor = MultiThreadExecutor(workers, 100) if workers else SingleThreadExecutor(100)
    return Pipe(endless(), folder / "out.jsonl", folder / "new" / "rejects.csv", User, executor=executor)


def assert_undone(pipe: Pipe, folder: Path) -> None:
    assert pipe.report.status is PipeStatus.ABORTED
    assert {path.name for path in folder.iterdir()} == {"out.jsonl"}
    assert (folder / "out.jsonl").read_text() == "old"
    assert load_threads() == []
    with pytest.raises(LoadAbortedError, match="was aborted; the target was left as it was"):
        pipe.report.raise_for_status()


every_count = pytest.mark.parametrize("workers", [0, 3])


@every_count
def test_shutdown_undoes_the_load(workers: int, tmp_path: Path) -> None:
    pipe = endless_pipe(tmp_path, workers)
    pipe.start()
    assert pipe.wait(0.05) is False
    pipe.shutdown(SECONDS)
    assert_undone(pipe, tmp_path)
    pipe.shutdown()


@every_count
def test_a_timeout_undoes_the_load_and_the_report_says_why(workers: int, tmp_path: Path) -> None:
    pipe = endless_pipe(tmp_path, workers)
    assert pipe.run(timeout=0.2, on_report_update=None) is False
    assert_undone(pipe, tmp_path)
    assert pipe.report.notes == ("aborted: not done after 0.2 s, the timeout",)


@every_count
def test_leaving_the_block_undoes_what_still_runs(workers: int, tmp_path: Path) -> None:
    with endless_pipe(tmp_path, workers) as pipe:
        assert pipe.is_running
    assert_undone(pipe, tmp_path)


def test_an_exception_in_the_block_undoes_the_load_and_goes_on(tmp_path: Path) -> None:
    pipe = endless_pipe(tmp_path)
    with pytest.raises(ZeroDivisionError), pipe:
        raise ZeroDivisionError
    assert_undone(pipe, tmp_path)


def test_a_block_in_which_the_load_was_waited_for_leaves_it_published(tmp_path: Path) -> None:
    with Pipe(users(3), tmp_path / "out.jsonl", None, User) as pipe:
        assert pipe.wait(SECONDS)
    assert pipe.report.raise_for_status().loaded_rows == 3
    assert (tmp_path / "out.jsonl").exists()


def test_shutdown_returns_in_time_where_the_source_is_stuck_and_nothing_is_published_later(tmp_path: Path) -> None:
    source = Source()
    pipe = Pipe(source, tmp_path / "out.jsonl", executor=SingleThreadExecutor(1))
    pipe.start()
    assert source.reached.wait(SECONDS)
    pipe.shutdown(timeout=0.05)
    assert pipe.is_running
    source.go_on.set()
    assert pipe.wait(SECONDS)
    assert pipe.report.status is PipeStatus.ABORTED
    assert list(tmp_path.iterdir()) == []


def test_a_timeout_that_is_not_reached_changes_nothing(tmp_path: Path) -> None:
    pipe = Pipe(users(3), tmp_path / "out.jsonl", None, User)
    assert pipe.run(timeout=SECONDS, on_report_update=None)
    assert pipe.report.notes == ()


# ---- failing --------------------------------------------------------------------------------------------------------


class Broken(Exception):
    """What a faulty target raises."""


@dataclass(frozen=True, repr=False)
class Faulty(OutputAdapter):
    """A target that fails in one of its calls, and notes them all."""

    fails_in: str
    calls: list[str] = field(default_factory=list, compare=False)

    @property
    def label(self) -> str:
        return f"faulty {self.fails_in}"

    def open(self) -> Writer:
        self.note("open")
        return _FaultyWriter(self)

    def note(self, call: str) -> None:
        self.calls.append(call)
        if call == self.fails_in:
            raise Broken(call)


class _FaultyWriter(Writer):
    def __init__(self, target: Faulty) -> None:
        self._note = target.note

    def start(self, types: Mapping[str, ColumnType]) -> None:
        self._note("start")

    def write(self, batch: ModelBatch) -> None:
        self._note("write")

    def prepare(self) -> None:
        self._note("prepare")

    def publish(self) -> None:
        self._note("publish")

    def abort(self) -> None:
        self._note("abort")


STEPS = ["open", "start", "write", "prepare", "publish"]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("side", ["rows", "rejects"])
def test_run_is_false_and_the_cause_is_told_wherever_an_output_fails(side: str, step: str) -> None:
    faulty, sound = Faulty(step), Faulty("")
    rows, rejects = (faulty, sound) if side == "rows" else (sound, faulty)
    pipe = Pipe(users(3, bad=1), rows, rejects, User)
    assert pipe.run(on_report_update=None) is False
    report = pipe.report
    assert (report.status, report.has_error) == (PipeStatus.FAILED, True)
    assert report.exception is not None
    assert (report.exception.type, report.exception.message) == ("Broken", step)
    assert "raise Broken(call)" in report.exception.traceback
    with pytest.raises(LoadFailedError, match=f"(?s)failed.*Broken: {step}") as caught:
        report.raise_for_status()
    assert isinstance(caught.value.__cause__, Broken)
    assert "publish" not in rows.calls[: None if rows is sound else -2]
    for output in (rows, rejects):
        if len(output.calls) > 1 or (output is sound and output.calls):
            assert output.calls[-1] == "abort"


def test_rejects_are_durable_and_published_before_rows_are() -> None:
    calls: list[str] = []

    class Log(list[str]):
        def __init__(self, name: str) -> None:
            self.name = name

        def append(self, call: str) -> None:
            calls.append(f"{self.name} {call}")

    assert Pipe(users(3, bad=1), Faulty("", Log("rows")), Faulty("x", Log("rejects")), User).run(on_report_update=None)
    assert calls[-4:] == ["rows prepare", "rejects prepare", "rejects publish", "rows publish"]


def test_a_failure_while_undoing_is_noted_and_does_not_hide_the_first() -> None:
    target = Faulty("abort")
    pipe = Pipe(Source(OSError("lost")), target, executor=SingleThreadExecutor(1))
    pipe.input_adapter.iterable.go_on.set()  # type: ignore[attr-defined]
    assert not pipe.run(on_report_update=None)
    assert pipe.report.exception is not None
    assert "lost" in pipe.report.exception.message
    assert "while undoing the load, Broken: abort" in pipe.report.exception.message


def test_a_missing_source_leaves_the_old_target(tmp_path: Path) -> None:
    (tmp_path / "out.csv").write_text("old")
    pipe = Pipe(tmp_path / "missing.csv", tmp_path / "out.csv", tmp_path / "rejects.csv", User)
    assert not pipe.run(on_report_update=None)
    with pytest.raises(LoadFailedError) as caught:
        pipe.report.raise_for_status()
    assert isinstance(caught.value.__cause__, SourceNotFoundError)
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]
    assert (tmp_path / "out.csv").read_text() == "old"


class Dropping(SingleThreadExecutor):
    """An executor that loses a batch."""

    def map(self, work: Any, items: Any) -> Iterator[Any]:
        results = super().map(work, items)
        next(results)
        yield from results


def test_rows_that_do_not_add_up_are_never_published(tmp_path: Path) -> None:
    pipe = Pipe(users(30), tmp_path / "out.jsonl", None, User, executor=Dropping(10))
    assert not pipe.run(on_report_update=None)
    assert pipe.report.exception is not None
    assert "the rows do not add up: 30 read + 0 added, but 20 loaded" in pipe.report.exception.message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("workers", [0, 2])
def test_read_and_added_rows_are_loaded_rejected_or_filtered(workers: int, tmp_path: Path) -> None:
    class Mixed(BaseHook):
        def execute(self, entries: Any, store: dict[str, Any]) -> Any:
            kept = [entry for entry in entries if entry["validated_data"]["id"] % 5]
            return [*kept, {"validated_data": {"id": 1, "name": "added"}}]

    lines = ["id,name"] + [f"{'x' if n % 7 == 0 else n},n{n}{',ragged' if n % 11 == 0 else ''}" for n in range(1000)]
    (tmp_path / "in.csv").write_text("\n".join(lines) + "\n")
    result, rejects = PyGeneratorOutputAdapter(), PyGeneratorOutputAdapter()
    executor = MultiThreadExecutor(workers, 100) if workers else SingleThreadExecutor(100)
    pipe = Pipe(tmp_path / "in.csv", result, rejects, User, post_validation_hooks=[Mixed()], executor=executor)
    assert pipe.run(on_report_update=None)
    report = pipe.report
    assert (report.read_rows, report.loaded_rows, report.rejected_rows) == (1000, len(result), len(rejects))
    bad = {n for n in range(1000) if n % 7 == 0 or n % 11 == 0}
    dropped = {n for n in range(1000) if n % 5 == 0} - bad
    assert (report.rejected_rows, report.filtered_rows) == (len(bad), len(dropped))
    assert report.added_rows > 0
    assert report.read_rows + report.added_rows == report.loaded_rows + report.rejected_rows + report.filtered_rows


# ---- max_errors -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limit", "bad", "completes"),
    [
        (None, 100, True), (0, 0, True), (0, 1, False), (3, 3, True), (3, 4, False),
        (0.0, 0, True), (0.0, 1, False), (0.29, 29, True), (0.29, 30, False), (1.0, 100, True), (1, 2, False),
    ],
)  # fmt: skip
def test_max_errors_is_a_number_of_rows_or_a_share_of_them(
    limit: Any, bad: int, completes: bool, tmp_path: Path
) -> None:
    (tmp_path / "out.jsonl").write_text("old")
    pipe = Pipe(users(100 - bad, bad), tmp_path / "out.jsonl", tmp_path / "bad.jsonl", User, max_errors=limit)
    assert pipe.run(on_report_update=None) is completes
    assert ((tmp_path / "out.jsonl").read_text() == "old") is not completes
    rejected = (tmp_path / "bad.jsonl").read_text().splitlines()
    if completes:
        assert len(rejected) == bad
        return
    with pytest.raises(LoadFailedError) as caught:
        pipe.report.raise_for_status()
    assert isinstance(caught.value.__cause__, TooManyRejectsError)
    allowed = f"{limit * 100:g}% of 100 rows" if isinstance(limit, float) else f"{limit}"
    message = str(caught.value)
    assert f"rows were rejected; max_errors allows {allowed}. No row was published." in message
    assert "x id: greater_than_equal" in message
    assert "the rejects so far are in" in message
    assert len(rejected) == pipe.report.rejected_rows > 0
    assert {path.name for path in tmp_path.iterdir()} == {"out.jsonl", "bad.jsonl"}


def test_a_number_of_errors_ends_the_load_when_it_is_passed() -> None:
    def rows() -> Iterator[dict[str, Any]]:
        yield from users(0, bad=11)
        raise AssertionError("read on")

    pipe = Pipe(rows(), None, None, User, executor=SingleThreadExecutor(1), max_errors=10)
    assert not pipe.run(on_report_update=None)
    assert isinstance(pipe.report.cause, TooManyRejectsError)
    assert pipe.report.read_rows == 11


def test_rejects_that_cannot_be_written_do_not_hide_that_there_are_too_many() -> None:
    pipe = Pipe(users(1, bad=1), None, Faulty("publish"), User, max_errors=0)
    assert not pipe.run(on_report_update=None)
    assert isinstance(pipe.report.cause, TooManyRejectsError)
    assert "the rejects could not be published: Broken: publish" in str(pipe.report.cause)


# ---- only the columns that are needed -------------------------------------------------------------------------------


@dataclass(frozen=True, repr=False)
class Asked(InputAdapter):
    """An input that notes what is asked of it."""

    inner: InputAdapter
    requests: list[ReadRequest] = field(default_factory=list, compare=False)

    @property
    def label(self) -> str:
        return self.inner.label

    def open(self, request: ReadRequest) -> Reader:
        self.requests.append(request)
        return self.inner.open(request)


class Needing(ColumnHook):
    def __init__(self, columns: set[str] | None) -> None:
        super().__init__()
        self.columns = None if columns is None else frozenset(columns)

    def execute(self, batch: pa.RecordBatch, store: dict[str, Any]) -> pa.RecordBatch:
        return batch


@pytest.mark.parametrize(
    ("model", "before", "after", "asked"),
    [
        (User, [], [], {"id", "name"}),
        (Other, [], [], {"id"}),
        (None, [], [], None),
        (Other, [Needing({"wide"})], [], {"id", "wide"}),
        (Other, [Needing(None)], [], None),
        (Other, [], [Needing({"id"})], {"id"}),
    ],
)
def test_a_source_is_asked_for_what_the_model_and_the_hooks_need(
    model: Any, before: list[Any], after: list[Any], asked: set[str] | None, tmp_path: Path
) -> None:
    (tmp_path / "in.csv").write_text("id,name,wide\n1,a,w\n")
    source = Asked(CSVInputAdapter(tmp_path / "in.csv"))
    pipe = Pipe(source, None, None, model, before, after)
    assert pipe.run(on_report_update=None), pipe.report
    [request] = source.requests
    assert request.columns == asked
    assert not request.keep_all
    assert Pipe(source, None, tmp_path / "rejects.csv", model, before, after).run(on_report_update=None)
    assert source.requests[-1].keep_all, "rejects keep the whole row"


def test_cells_that_nobody_needs_are_not_decoded(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_bytes(b"id,note\n1,\xff\xfe\n2,ok\n")
    pipe = Pipe(tmp_path / "in.csv", None, None, Other)
    assert pipe.run(on_report_update=None)
    assert (pipe.report.loaded_rows, pipe.report.rejected_rows) == (2, 0)


def test_columns_that_nobody_needs_are_not_read(tmp_path: Path) -> None:
    """The bytes of the other column are destroyed: who reads them fails."""
    table = pa.table({"id": range(1000), "wide": [f"wide{n}" for n in range(1000)]})
    pq.write_table(table, tmp_path / "in.parquet", compression="none", use_dictionary=False)
    chunk = pq.ParquetFile(tmp_path / "in.parquet").metadata.row_group(0).column(1)
    with (tmp_path / "in.parquet").open("r+b") as file:
        file.seek(chunk.data_page_offset)
        file.write(b"\xff" * chunk.total_compressed_size)
    result = PyGeneratorOutputAdapter()
    assert Pipe(tmp_path / "in.parquet", result, None, Other).run(on_report_update=None)
    assert [row["id"] for row in result] == list(range(1000))
    assert not Pipe(tmp_path / "in.parquet", result).run(on_report_update=None)


def test_columns_that_the_model_does_not_know_are_in_the_report(tmp_path: Path) -> None:
    for name, header in (("a", "id,nick,seen"), ("b", "id,age,nick")):
        (tmp_path / f"{name}.csv").write_text(f"{header}\n1,2,3\n")

    class Seeing(ColumnHook):
        columns = ("seen",)

        def execute(self, batch: pa.RecordBatch, store: Any) -> pa.RecordBatch:
            return batch

    pipe = Pipe(str(tmp_path / "*.csv"), None, tmp_path / "rejects.jsonl", Other, [], [Seeing()])
    assert pipe.run(on_report_update=None)
    assert pipe.report.unknown_columns == ("nick", "age")
    manager = PipeManager.parallelize_pipe(pipe, 2, engine=ThreadEngine())
    assert manager.run(on_report_update=None)
    assert manager.report.unknown_columns == ("nick", "age")


def test_a_table_is_asked_only_for_columns_that_are_needed(tmp_path: Path) -> None:
    file = tmp_path / "wh.duckdb"
    with duckdb.connect(str(file)) as connection:
        connection.execute("CREATE VIEW v AS SELECT 1 AS id, error('read') AS wide")
    assert Pipe(f"duckdb:///{file}::v", None, None, Other).run(on_report_update=None)
    assert not Pipe(f"duckdb:///{file}::v", None).run(on_report_update=None)


# ---- who looks on ---------------------------------------------------------------------------------------------------


def test_a_callback_is_called_while_the_load_runs_and_once_at_its_end(tmp_path: Path) -> None:
    source = Source()
    seen: list[PipeReport] = []
    threads = set()

    def look(report: PipeReport) -> None:
        threads.add(threading.current_thread())
        seen.append(report)
        if report.read_rows:
            source.go_on.set()

    assert Pipe(source, None, executor=SingleThreadExecutor(1)).run(on_report_update=look)
    assert [report.is_finished for report in seen] == [False] * (len(seen) - 1) + [True]
    assert len(seen) >= 2
    assert seen[-1].loaded_rows == 2
    assert threads == {threading.current_thread()}


def test_a_callback_is_called_a_few_times_a_second_at_most() -> None:
    seen: list[PipeReport] = []
    pipe = Pipe(endless(), None, executor=SingleThreadExecutor(100))
    assert not pipe.run(timeout=1.0, on_report_update=seen.append)
    clocks = [report.duration_seconds for report in seen if not report.is_finished]
    assert all(later - earlier >= 0.25 for earlier, later in pairwise(clocks))
    assert seen[-1].status is PipeStatus.ABORTED


def test_a_callback_that_fails_does_not_touch_the_load(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = Source()

    def fail(report: PipeReport) -> None:
        source.go_on.set()
        raise ValueError(f"cannot draw postgresql://me:{CANARY}@db")

    pipe = Pipe(source, tmp_path / "out.jsonl", executor=SingleThreadExecutor(1))
    with caplog.at_level(logging.WARNING, "zoopipe_core"):
        assert pipe.run(on_report_update=fail) is True
    assert pipe.report.status is PipeStatus.COMPLETED
    assert pipe.report.notes == ("on_report_update raised ValueError: cannot draw postgresql://me:***@db",)
    assert [record.message for record in caplog.records] == ["on_report_update failed; the load goes on"]
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 2


def test_a_callback_may_shut_the_load_down(tmp_path: Path) -> None:
    pipe = endless_pipe(tmp_path)
    assert pipe.run(on_report_update=lambda report: pipe.shutdown(SECONDS)) is False
    assert_undone(pipe, tmp_path)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_a_callback_that_ends_the_program_undoes_the_load_first(error: type[BaseException], tmp_path: Path) -> None:
    pipe = endless_pipe(tmp_path)

    def leave(report: PipeReport) -> None:
        raise error

    with pytest.raises(error):
        pipe.run(on_report_update=leave)
    assert_undone(pipe, tmp_path)


def test_nothing_is_printed_where_there_is_no_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    assert Pipe(users(3, bad=1), None, None, User).run()
    assert not Pipe("missing.csv", None).run()
    assert capfd.readouterr() == ("", "")


def test_a_missing_standard_error_is_no_reason_to_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    for stream in (None, io.StringIO()):
        monkeypatch.setattr("sys.stderr", stream)
        assert Pipe(users(3), None, None, User).run()


def test_options_reach_the_files(tmp_path: Path) -> None:
    target = CSVOutputAdapter(tmp_path / "out.csv", delimiter=";")
    assert Pipe(users(1), target, JSONOutputAdapter(tmp_path / "bad.json", format="array"), User).run()
    assert (tmp_path / "out.csv").read_text() == "id;name\n0;n0\n"
    assert (tmp_path / "bad.json").read_text().strip() == "[]"
