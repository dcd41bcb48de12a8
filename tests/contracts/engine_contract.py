"""What every engine has to do. Subclass `EngineContract`, and give it a fixture ``engine``.

The pipes here wait for files and leave files in a folder, so workers have to share the file system with the tests.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from tests.contracts.deeds import (
    At,
    Counted,
    Endless,
    Row,
    exit_with_3,
    fail,
    final,
    give_a_lock,
    hang,
    hang_in_c,
    is_running,
    kill_oneself,
    leave_python,
    nothing,
    use_up_memory,
    use_up_memory_for_good,
    wait_for_file,
    wait_until,
)
from zoopipe_core import BaseHook, CSVInputAdapter, Pipe, PipeStatus, SingleThreadExecutor
from zoopipe_core.engines.base import BaseEngine, Worker, WorkerTask
from zoopipe_core.errors import SpecError

BATCH_ROWS = 100


class EngineContract:
    """A fresh `engine` for each test would do; one for all is faster, and has to do as well."""

    @pytest.fixture
    def launch(self, engine: BaseEngine) -> Iterator[Callable[..., Worker]]:
        """Launches a pipe; the worker is closed after the test."""
        workers = []

        def launch(pipe: Pipe, index: int = 0, attempt: int = 1) -> Worker:
            workers.append(engine.launch(WorkerTask(index, pipe, attempt)))
            return workers[-1]

        yield launch
        for worker in workers:
            worker.close()

    @staticmethod
    def pipe(folder: Path, rows: Any = None, hooks: tuple[BaseHook, ...] = ()) -> Pipe:
        return Pipe(
            Counted(1000) if rows is None else rows,
            str(folder / "out.jsonl"),
            str(folder / "rejects.csv"),
            Row,
            post_validation_hooks=hooks,
            executor=SingleThreadExecutor(BATCH_ROWS),
        )

    @staticmethod
    def old_target(folder: Path) -> bytes:
        (folder / "out.jsonl").write_text("what was there before\n")
        return (folder / "out.jsonl").read_bytes()

    # ---- to the end -----------------------------------------------------------------------------------------------

    def test_a_worker_does_what_the_pipe_does_here(self, launch: Callable[..., Worker], tmp_path: Path) -> None:
        (tmp_path / "there").mkdir()
        (tmp_path / "here").mkdir()
        here = self.pipe(tmp_path / "here", Counted(1000, bad=7))
        assert here.run(on_report_update=None)
        report = final(launch(self.pipe(tmp_path / "there", Counted(1000, bad=7)), index=5, attempt=2))

        assert report.status is PipeStatus.COMPLETED, report
        assert (report.pipe_index, report.attempt) == (5, 2)
        for name in ("out.jsonl", "rejects.csv"):
            assert (tmp_path / "there" / name).read_bytes() == (tmp_path / "here" / name).read_bytes()
        same = ("source", "read_rows", "loaded_rows", "rejected_rows", "filtered_rows", "rejections", "bytes_written")
        assert {name: getattr(report, name) for name in same} == {name: getattr(here.report, name) for name in same}
        assert report.target == str(tmp_path / "there" / "out.jsonl")
        assert report.started_at is not None
        assert report.finished_at is not None
        assert report.peak_ram_bytes > 0

    def test_a_final_report_stays_what_it_is(self, launch: Callable[..., Worker], tmp_path: Path) -> None:
        worker = launch(self.pipe(tmp_path))
        report = final(worker)
        worker.stop()
        worker.kill()
        worker.close()
        worker.close()
        assert worker.report() == report
        assert report.status is PipeStatus.COMPLETED

    def test_workers_run_beside_each_other(
        self, launch: Callable[..., Worker], engine: BaseEngine, tmp_path: Path
    ) -> None:
        assert engine.capacity >= 1
        count = min(engine.capacity, 2)
        folders = [tmp_path / str(index) for index in range(count)]
        workers = []
        for index, folder in enumerate(folders):
            folder.mkdir()
            hook = At("middle", wait_for_file(tmp_path / "go"), folder)
            workers.append(launch(self.pipe(folder, hooks=(hook,)), index))
        # All have come to the middle before one of them may go on.
        wait_until(lambda: all((folder / "pid").exists() for folder in folders), "all workers")
        (tmp_path / "go").touch()
        assert [final(worker).status for worker in workers] == [PipeStatus.COMPLETED] * count
        assert [worker.report().pipe_index for worker in workers] == list(range(count))

    def test_a_pipe_of_many_megabytes_is_sent_whole(self, launch: Callable[..., Worker], tmp_path: Path) -> None:
        rows = [{"id": number, "text": "x" * 100_000} for number in range(200)]
        report = final(launch(self.pipe(tmp_path, rows)))
        assert report.loaded_rows == 200, report
        assert (tmp_path / "out.jsonl").stat().st_size > 20_000_000

    def test_what_only_the_caller_can_import_travels_along(self, launch: Callable[..., Worker], tmp_path: Path) -> None:
        class Local(BaseModel):
            id: int

        class Double(BaseHook):
            def execute(self, entries: list[Any], store: dict[str, Any]) -> list[Any]:
                for entry in entries:
                    entry["validated_data"]["id"] *= 2
                return entries

        pipe = Pipe([{"id": "21"}], str(tmp_path / "out.jsonl"), None, Local, post_validation_hooks=[Double()])
        report = final(launch(pipe))
        assert report.loaded_rows == 1, report
        assert json.loads((tmp_path / "out.jsonl").read_text()) == {"id": 42}

    # ---- on the way -----------------------------------------------------------------------------------------------

    def test_a_report_tells_of_the_pipe_before_it_has_begun(
        self, launch: Callable[..., Worker], tmp_path: Path
    ) -> None:
        report = launch(self.pipe(tmp_path), index=3, attempt=2).report()
        assert report.target == str(tmp_path / "out.jsonl")
        assert (report.pipe_index, report.attempt) == (3, 2)

    def test_reports_are_live(self, launch: Callable[..., Worker], tmp_path: Path) -> None:
        worker = launch(self.pipe(tmp_path, hooks=(At("middle", wait_for_file(tmp_path / "go"), tmp_path),)))
        report = wait_until(
            lambda: r if (r := worker.report()).read_rows == 3 * BATCH_ROWS else None, "the rows of three batches"
        )
        assert report.status is PipeStatus.RUNNING
        assert report.loaded_rows == 2 * BATCH_ROWS
        assert report.ram_bytes > 0
        seen = [wait_until(lambda: r if (r := worker.report()) != report else None, "a newer report")]
        assert seen[0].duration_seconds > report.duration_seconds
        (tmp_path / "go").touch()
        assert final(worker).loaded_rows == 1000

    def test_a_stopped_load_is_undone(self, launch: Callable[..., Worker], tmp_path: Path) -> None:
        before = self.old_target(tmp_path)
        worker = launch(self.pipe(tmp_path, Endless()))
        wait_until(lambda: worker.report().loaded_rows, "the first rows")
        worker.stop()
        report = final(worker)
        assert report.status is PipeStatus.ABORTED
        assert report.exception is not None
        assert report.exception.type == "LoadAbortedError"
        assert (tmp_path / "out.jsonl").read_bytes() == before
        assert os.listdir(tmp_path) == ["out.jsonl"]

    def test_a_load_that_is_stopped_before_it_begins_does_nothing(
        self, launch: Callable[..., Worker], tmp_path: Path
    ) -> None:
        worker = launch(self.pipe(tmp_path, Endless()))
        worker.stop()
        assert final(worker).status is PipeStatus.ABORTED
        assert os.listdir(tmp_path) == []

    @pytest.mark.parametrize("how", [hang, hang_in_c])
    def test_a_hook_that_hangs_can_be_killed(
        self, how: Callable[[], None], launch: Callable[..., Worker], tmp_path: Path
    ) -> None:
        before = self.old_target(tmp_path)
        worker = launch(self.pipe(tmp_path, hooks=(At("middle", how, tmp_path),)))
        wait_until(lambda: (tmp_path / "pid").exists(), "the hook")
        worker.stop()
        assert not worker.report().is_finished
        worker.kill()
        report = final(worker)
        assert report.status is PipeStatus.ABORTED
        wait_until(lambda: not is_running(int((tmp_path / "pid").read_text())), "the end of the process")
        assert (tmp_path / "out.jsonl").read_bytes() == before

    def test_closing_ends_a_worker_that_runs(self, launch: Callable[..., Worker], tmp_path: Path) -> None:
        worker = launch(self.pipe(tmp_path, hooks=(At("middle", hang, tmp_path),)))
        wait_until(lambda: (tmp_path / "pid").exists(), "the hook")
        worker.close()
        assert worker.report().status is PipeStatus.ABORTED
        wait_until(lambda: not is_running(int((tmp_path / "pid").read_text())), "the end of the process")

    # ---- failures -------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize(
        ("action", "told"),
        [
            (fail, "no such thing as a row"),
            (leave_python, "enough"),
            (use_up_memory, "MemoryError"),
            (give_a_lock, "lock"),
        ],
    )
    def test_a_load_that_fails_says_why(
        self, action: Callable[[], Any], told: str, launch: Callable[..., Worker], tmp_path: Path
    ) -> None:
        before = self.old_target(tmp_path)
        report = final(launch(self.pipe(tmp_path, hooks=(At("middle", action, tmp_path),))))
        assert report.status is PipeStatus.FAILED
        assert report.exception is not None
        assert told in f"{report.exception.type} {report.exception.message}"
        assert (tmp_path / "out.jsonl").read_bytes() == before

    def test_a_worker_without_any_memory_left_is_told_of(self, launch: Callable[..., Worker], tmp_path: Path) -> None:
        before = self.old_target(tmp_path)
        report = final(launch(self.pipe(tmp_path, hooks=(At("middle", use_up_memory_for_good, tmp_path),))))
        assert report.status is PipeStatus.FAILED
        assert report.exception is not None
        assert report.exception.type in ("EngineError", "HookError", "MemoryError", "WorkerDiedError")
        assert (tmp_path / "out.jsonl").read_bytes() == before

    @pytest.mark.parametrize("point", ["start", "middle", "last row"])
    @pytest.mark.parametrize(("action", "told"), [(exit_with_3, "exit code 3"), (kill_oneself, "SIGKILL")])
    def test_a_worker_that_dies_is_told_of(
        self, action: Callable[[], None], told: str, point: str, launch: Callable[..., Worker], tmp_path: Path
    ) -> None:
        before = self.old_target(tmp_path)
        report = final(launch(self.pipe(tmp_path, hooks=(At(point, action, tmp_path),)), index=2))
        assert report.status is PipeStatus.FAILED
        assert report.pipe_index == 2
        assert report.target == str(tmp_path / "out.jsonl")
        assert report.exception is not None
        assert report.exception.type == "WorkerDiedError"
        self.check_told(report.exception.message, told)
        assert (tmp_path / "out.jsonl").read_bytes() == before

    def check_told(self, message: str, told: str) -> None:
        """Whether a message tells how a worker died. For engines whose system does not know, to override."""
        assert told in message

    def test_a_worker_that_was_killed_from_outside_leaves_the_others_at_work(
        self, launch: Callable[..., Worker], tmp_path: Path
    ) -> None:
        one, other = tmp_path / "one", tmp_path / "other"
        one.mkdir()
        other.mkdir()
        killed = launch(self.pipe(one, hooks=(At("middle", hang, one),)))
        wait_until(lambda: (one / "pid").exists(), "the hook")
        os.kill(int((one / "pid").read_text()), signal.SIGKILL)
        assert final(killed).status is PipeStatus.FAILED
        assert final(launch(self.pipe(other))).status is PipeStatus.COMPLETED

    def test_a_missing_source_is_the_report_s_to_tell(self, launch: Callable[..., Worker], tmp_path: Path) -> None:
        report = final(launch(Pipe(CSVInputAdapter(str(tmp_path / "none.csv")), None, schema_model=Row)))
        assert report.status is PipeStatus.FAILED
        assert report.exception is not None
        assert report.exception.type == "SourceNotFoundError"

    def test_what_cannot_be_sent_is_named(self, engine: BaseEngine, tmp_path: Path) -> None:
        hook = At("middle", nothing, tmp_path)
        hook.clients = {"first": threading.Lock()}  # type: ignore[attr-defined]
        with pytest.raises(SpecError, match=r"^post_validation_hooks\[1\]\.clients\['first'\] cannot be sent"):
            engine.launch(WorkerTask(0, self.pipe(tmp_path, hooks=(At("", nothing, tmp_path), hook))))

    # ---- the engine -----------------------------------------------------------------------------------------------

    def test_an_engine_maps_in_order(self, engine: BaseEngine) -> None:
        assert engine.map(abs, [-3, 2, -1]) == [3, 2, 1]
        assert engine.map(abs, []) == []

    def test_an_engine_is_a_description_that_travels(self, engine: BaseEngine) -> None:
        copy = pickle.loads(pickle.dumps(engine))
        assert type(copy) is type(engine)
        assert repr(copy) == repr(engine)
