"""The counters of a running load: every look at them is a whole report."""

import threading
from typing import Any

import numpy as np
import psutil
import pytest

from zoopipe_core import PipeStatus
from zoopipe_core.batches.rejects import RejectBatch
from zoopipe_core.progress import LoadProgress, resident_bytes
from zoopipe_core.report import MAX_NOTES


def started() -> LoadProgress:
    progress = LoadProgress("in.csv", "out.csv", "rejects.csv")
    progress.start()
    return progress


def rejects(count: int, kind: str, first: int = 1) -> RejectBatch:
    error = {"type": kind, "loc": ("user", "id"), "msg": "no", "input": "x"}
    return RejectBatch.of("in.csv", np.arange(first, first + count), [[error] for _ in range(count)])


def test_before_the_start_nothing_is_running_and_nothing_counted() -> None:
    report = LoadProgress("in.csv", "out.csv").snapshot()
    assert (report.status, report.started_at, report.duration_seconds) == (PipeStatus.PENDING, None, 0.0)
    assert (report.source, report.target, report.rejects_target) == ("in.csv", "out.csv", None)


def test_a_second_start_changes_nothing() -> None:
    progress = started()
    began = progress.snapshot().started_at
    progress.start()
    assert progress.snapshot().started_at == began
    progress.finish(PipeStatus.COMPLETED)
    progress.start()
    assert progress.snapshot().status is PipeStatus.COMPLETED


def test_counts_add_up_and_values_are_set() -> None:
    progress = started()
    progress.add(read_rows=3, loaded_rows=2)
    progress.add(read_rows=4)
    progress.set(bytes_read=10, fraction_done=0.5)
    progress.set(bytes_read=7)
    report = progress.snapshot()
    assert (report.read_rows, report.loaded_rows, report.bytes_read, report.fraction_done) == (7, 2, 7, 0.5)
    assert progress.count("read_rows") == 7
    assert progress.count("filtered_rows") == 0


def test_counts_from_many_threads_are_all_there() -> None:
    progress = started()

    def work() -> None:
        for _ in range(2_000):
            progress.add(read_rows=1)
            with progress.timing("validate_seconds"):
                pass

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert progress.snapshot().read_rows == 8_000


def test_a_block_that_fails_is_timed_too() -> None:
    progress = started()
    with pytest.raises(ZeroDivisionError), progress.timing("write_seconds"):
        raise ZeroDivisionError
    assert progress.snapshot().write_seconds > 0


def test_rejects_are_counted_and_their_kinds_summed_up_commonest_first() -> None:
    progress = started()
    progress.count_rejects(rejects(2, "missing"))
    progress.count_rejects(rejects(3, "int_parsing", first=10))
    progress.count_rejects(rejects(2, "missing", first=20))
    report = progress.snapshot()
    assert report.rejected_rows == 7
    assert [str(kind) for kind in report.rejections] == [
        "4 x user.id: missing (e.g. in.csv row 1)",
        "3 x user.id: int_parsing (e.g. in.csv row 10)",
    ]


@pytest.mark.parametrize("status", [PipeStatus.COMPLETED, PipeStatus.FAILED, PipeStatus.ABORTED])
def test_after_the_end_only_notes_are_added(status: PipeStatus) -> None:
    progress = started()
    progress.add(read_rows=5)
    error = None if status is PipeStatus.COMPLETED else ValueError("no")
    progress.finish(status, error)
    final = progress.snapshot()
    progress.add(read_rows=1)
    progress.set(bytes_read=1)
    assert progress.snapshot() is final
    progress.note("late")
    report = progress.snapshot()
    assert (report.notes, report.read_rows, report.duration_seconds) == (("late",), 5, final.duration_seconds)
    assert report.cause is error
    assert report.fraction_done == (1.0 if status is PipeStatus.COMPLETED else None)


def test_notes_are_kept_once_in_order_and_bounded() -> None:
    progress = started()
    for number in range(3 * MAX_NOTES):
        progress.note(f"note {number // 2}")
    assert progress.snapshot().notes == tuple(f"note {number}" for number in range(MAX_NOTES))


def test_the_rate_of_the_last_seconds_forgets_what_was_before(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = 100.0
    monkeypatch.setattr("zoopipe_core.progress.time.perf_counter", lambda: clock)
    progress = started()
    for _ in range(10):
        clock += 1.0
        progress.add(read_rows=1_000)
    assert progress.snapshot().recent_rows_per_second == 1_000
    assert progress.snapshot().items_per_second == 1_000
    for _ in range(5):
        clock += 1.0
        progress.add(read_rows=0)
    assert progress.snapshot().recent_rows_per_second == 0
    assert round(progress.snapshot().items_per_second) == 667


def test_peak_memory_never_falls(monkeypatch: pytest.MonkeyPatch) -> None:
    progress = started()
    seen = []
    for used in (5, 9, 7):
        monkeypatch.setattr("zoopipe_core.progress.resident_bytes", lambda used=used: used * 10**12)
        progress.set()
        report = progress.snapshot()
        seen.append((report.ram_bytes // 10**12, report.peak_ram_bytes // 10**12))
    assert seen == [(5, 5), (9, 9), (7, 9)]


def test_an_exception_is_told_with_its_notes_and_its_causes() -> None:
    progress = started()
    try:
        try:
            raise KeyError("first")
        except KeyError as first:
            error = ValueError("second")
            error.add_note("and this")
            raise error from first
    except ValueError as caught:
        progress.finish(PipeStatus.FAILED, caught)
    told = progress.snapshot().exception
    assert told is not None
    assert (told.type, told.message) == ("ValueError", "second\nand this")
    assert "KeyError: 'first'" in told.traceback


def test_memory_is_what_the_system_says_with_and_without_its_files(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_such_file(*arguments: Any, **options: Any) -> Any:
        raise FileNotFoundError("/proc/self/statm")

    known = psutil.Process().memory_info().rss
    assert abs(resident_bytes() - known) < 2**24
    monkeypatch.setattr("zoopipe_core.progress.open", no_such_file, raising=False)
    assert abs(resident_bytes() - known) < 2**24
