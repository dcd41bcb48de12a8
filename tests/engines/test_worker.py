"""The worker body, apart from any engine."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from tests.contracts.deeds import Counted, Endless
from tests.contracts.engine_contract import EngineContract
from zoopipe_core import Pipe, PipeReport, PipeStatus
from zoopipe_core.engines.base import WorkerTask
from zoopipe_core.engines.worker import failed_report, first_report, run_pipe


def never() -> bool:
    return False


def test_reports_are_published_from_the_start_to_the_final_one(tmp_path: Path) -> None:
    published: list[PipeReport] = []
    report = run_pipe(WorkerTask(3, EngineContract.pipe(tmp_path), 2), published.append, never)
    assert published[0].status is PipeStatus.RUNNING
    assert published[-1] == report
    assert [report.is_finished for report in published] == [False] * (len(published) - 1) + [True]
    assert {(report.pipe_index, report.attempt) for report in published} == {(3, 2)}
    assert report.status is PipeStatus.COMPLETED


def test_a_wish_to_stop_aborts_the_load(tmp_path: Path) -> None:
    report = run_pipe(WorkerTask(0, EngineContract.pipe(tmp_path, Endless())), lambda report: None, lambda: True)
    assert report.status is PipeStatus.ABORTED
    assert os.listdir(tmp_path) == []


def test_whoever_cannot_publish_has_the_load_undone(tmp_path: Path) -> None:
    def publish(report: PipeReport) -> None:
        if report.loaded_rows:
            raise ConnectionError("nobody listens")

    pipe = EngineContract.pipe(tmp_path, Endless())
    with pytest.raises(ConnectionError, match="nobody listens"):
        run_pipe(WorkerTask(0, pipe), publish, never)
    assert pipe.report.status is PipeStatus.ABORTED
    assert os.listdir(tmp_path) == []


def test_a_load_whose_thread_cannot_be_started_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    published: list[PipeReport] = []
    report = run_pipe(WorkerTask(1, Pipe([{"id": 1}], None)), published.append, never)
    assert published == [report]
    assert report.status is PipeStatus.FAILED
    assert report.exception is not None
    assert report.exception.message == "can't start new thread"


def test_a_load_that_ends_without_a_result_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As happens when there is no memory left for the report."""
    monkeypatch.setattr("zoopipe_core.run.run_load", lambda *_: None)
    report = run_pipe(WorkerTask(0, Pipe([{"id": 1}], None)), lambda report: None, never)
    assert report.status is PipeStatus.FAILED
    assert report.exception is not None
    assert "without a result" in report.exception.message


def test_what_is_known_of_a_task_before_it_begins_is_not_what_another_run_did(tmp_path: Path) -> None:
    pipe = EngineContract.pipe(tmp_path, Counted(10))
    assert pipe.run(on_report_update=None)
    report = first_report(WorkerTask(2, pipe, 3))
    assert report == PipeReport(
        pipe_index=2, attempt=3, source="Counted", target=str(tmp_path / "out.jsonl"),
        rejects_target=str(tmp_path / "rejects.csv"),
    )  # fmt: skip


def test_a_failure_keeps_the_counts_that_are_known() -> None:
    task = WorkerTask(2, Pipe([{"id": 1}], None), 3)
    latest = PipeReport(pipe_index=2, attempt=3, status=PipeStatus.RUNNING, read_rows=7)
    error = ValueError("password=hunter2")
    report = failed_report(task, error, latest)
    assert (report.status, report.read_rows, report.cause) == (PipeStatus.FAILED, 7, error)
    assert report.exception is not None
    assert "hunter2" not in str(report.to_dict())
    assert failed_report(task, error).source == "list"
