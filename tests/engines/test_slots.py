"""Progress slots: what a reader sees is one whole update, whatever the writer is doing."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoopipe_core.engines.slots import Slot
from zoopipe_core.errors import EngineError
from zoopipe_core.report import ExceptionInfo, PipeReport, PipeStatus, RejectionSummary

FIRST = PipeReport(pipe_index=4, attempt=2, source="in.csv", target="out.csv", rejects_target="rejects.csv")
COUNTS = (
    "read_rows", "loaded_rows", "rejected_rows", "filtered_rows", "added_rows",
    "bytes_read", "bytes_written", "ram_bytes", "peak_ram_bytes",
)  # fmt: skip
SECONDS = (
    "recent_rows_per_second",
    "duration_seconds",
    "read_seconds",
    "validate_seconds",
    "hook_seconds",
    "write_seconds",
)

times = st.datetimes(min_value=datetime(1970, 1, 1), timezones=st.just(UTC))
seconds = st.floats(min_value=0, allow_infinity=False)
live_reports = st.builds(
    lambda changes: dataclasses.replace(FIRST, **changes),
    st.fixed_dictionaries(
        {
            "status": st.sampled_from([PipeStatus.PENDING, PipeStatus.RUNNING]),
            "started_at": st.none() | times,
            "fraction_done": st.none() | st.floats(min_value=0, max_value=1),
            **dict.fromkeys(COUNTS, st.integers(min_value=0, max_value=2**63 - 1)),
            **dict.fromkeys(SECONDS, seconds),
        }
    ),
)
texts = st.text(st.characters(exclude_categories=[]), max_size=50)  # lone surrogates too
final_reports = st.builds(
    lambda report, status, exception, notes, rejections, end: dataclasses.replace(
        report, status=status, exception=exception, notes=tuple(notes), rejections=tuple(rejections), finished_at=end
    ),
    live_reports,
    st.sampled_from([PipeStatus.COMPLETED, PipeStatus.FAILED, PipeStatus.ABORTED]),
    st.none() | st.builds(ExceptionInfo, texts, texts, texts),
    st.lists(texts, max_size=3),
    st.lists(
        st.builds(RejectionSummary, texts, texts, st.integers(0, 10**12), texts, st.integers(0, 10**12)), max_size=3
    ),
    times,
)


@given(reports=st.lists(live_reports | final_reports, min_size=1, max_size=4))
def test_what_was_written_last_is_read(reports: list[PipeReport]) -> None:
    slot = Slot.create()
    assert slot.read(FIRST) is None
    for report in reports:
        slot.write(report)
        assert slot.read(FIRST) == report
    slot.close()


@given(old=live_reports | final_reports, new=live_reports | final_reports, data=st.data())
def test_a_reader_sees_the_old_report_or_the_new_one_or_none_but_no_mixture(
    old: PipeReport, new: PipeReport, data: st.DataObject
) -> None:
    """Any of the bytes that an update changes may have arrived, in any order, when a reader looks."""
    slot = Slot.create()
    slot.write(old)
    before = os.pread(slot.descriptor, 1 << 20, 0)
    slot.write(new)
    after = os.pread(slot.descriptor, 1 << 20, 0)
    changed = [at for at, (one, other) in enumerate(zip(before, after, strict=True)) if one != other]
    arrived = data.draw(st.sets(st.sampled_from(changed))) if changed else set()
    for at in changed:
        os.pwrite(slot.descriptor, (after if at in arrived else before)[at : at + 1], at)
    assert slot.read(FIRST) in (old, new, None)
    slot.close()


WRITER = """
import sys
from dataclasses import replace
from zoopipe_core.engines.slots import Slot
from zoopipe_core.report import PipeReport, PipeStatus
slot = Slot(int(sys.argv[1]))
number = 0
print(flush=True)
while not slot.stop_requested:
    number += 1
    slot.write(PipeReport(status=PipeStatus.RUNNING, **dict.fromkeys(sys.argv[2].split(","), number)))
slot.write(PipeReport(status=PipeStatus.COMPLETED, source="x", read_rows=number))
"""


def test_a_reader_beside_a_busy_writer_never_sees_a_torn_update() -> None:
    slot = Slot.create()
    names = (*COUNTS, *SECONDS)
    command = [sys.executable, "-c", WRITER, str(slot.descriptor), ",".join(names)]
    with subprocess.Popen(command, pass_fds=[slot.descriptor], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        seen: list[float] = []
        while len(set(seen)) < 200:
            report = slot.read(FIRST)
            if report is not None:
                (number,) = {getattr(report, name) for name in names}
                seen.append(number)
        slot.request_stop()
    assert seen == sorted(seen)
    last = slot.read(FIRST)
    assert last is not None
    assert last.status is PipeStatus.COMPLETED
    assert last.read_rows >= seen[-1]
    slot.close()


def test_a_writer_that_was_killed_within_an_update_keeps_no_reader() -> None:
    slot = Slot.create()
    slot.write(dataclasses.replace(FIRST, status=PipeStatus.RUNNING))
    os.pwrite(slot.descriptor, (3).to_bytes(8, sys.byteorder), 8)
    assert slot.read(FIRST) is None
    slot.close()


def test_a_report_of_the_greatest_size_fits() -> None:
    wide = "\U0001f600"
    report = PipeReport(
        status=PipeStatus.FAILED,
        source=wide * 200,
        target=wide * 200,
        rejects_target=wide * 200,
        exception=ExceptionInfo(wide * 100, wide * 1000, wide * 3000),
        notes=(wide * 300,) * 10,
        rejections=(RejectionSummary(wide * 100, wide * 100, 1, wide * 200, 1),) * 10,
    )
    slot = Slot.create()
    slot.write(report)
    assert slot.read(PipeReport()) == report
    slot.close()


def test_of_a_report_beyond_all_bounds_the_essence_is_kept() -> None:
    slot = Slot.create()
    error = ExceptionInfo("ValueError", "why", "x" * 1_000_000)
    slot.write(PipeReport(status=PipeStatus.FAILED, source="in.csv", read_rows=7, exception=error))
    report = slot.read(FIRST)
    assert report is not None
    assert (report.status, report.read_rows) == (PipeStatus.FAILED, 7)
    assert report.exception == ExceptionInfo("ValueError", "why")
    with pytest.raises(EngineError, match="does not fit"):
        slot.write(PipeReport(status=PipeStatus.FAILED, load_id="x" * 1_000_000))
    slot.close()


def test_a_file_that_is_no_slot_is_refused() -> None:
    slot = Slot.create()
    os.pwrite(slot.descriptor, b"something", 0)
    with pytest.raises(EngineError, match="no progress slot"):
        Slot(os.dup(slot.descriptor))
    slot.close()
    slot.close()


def test_a_slot_has_no_name_in_any_folder() -> None:
    slot = Slot.create()
    assert os.fstat(slot.descriptor).st_nlink == 0
    assert not os.get_inheritable(slot.descriptor)
    slot.close()
