"""PipeReport: to JSON and back, merging, and how people see it."""

import dataclasses
import json
import math
import pickle
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoopipe_core import PipeReport, PipeStatus
from zoopipe_core._text import format_bytes, format_seconds, shorten, without_secrets
from zoopipe_core.batches.rejects import RejectBatch
from zoopipe_core.errors import LoadAbortedError, LoadFailedError
from zoopipe_core.progress import LoadProgress
from zoopipe_core.report import MAX_REJECTIONS, ExceptionInfo, RejectionSummary, merge_columns

EPOCH = datetime(2024, 1, 1, tzinfo=UTC)
FINAL = [PipeStatus.COMPLETED, PipeStatus.FAILED, PipeStatus.ABORTED]
CANARY = "c4n4ry-p4ssw0rd"
MOST_BYTES = 16_000

counts = st.integers(0, 2**53)
# Eighths add up exactly, in any order.
seconds = st.integers(0, 8 * 10**6).map(lambda n: n / 8)
moments = st.integers(0, 10**6).map(lambda n: EPOCH + timedelta(seconds=n))
texts = st.text(max_size=20)
errors = st.builds(ExceptionInfo, st.sampled_from(["ValueError", "LoadAbortedError", "OSError"]), texts, texts)
# Fewer kinds than a report holds: beyond that it is a summary.
kinds = st.builds(
    RejectionSummary, st.sampled_from(["", "id", "a.b"]), st.sampled_from(["missing", "int_type"]),
    st.integers(1, 99), texts, st.integers(0, 99),
)  # fmt: skip


@st.composite
def reports(draw: st.DrawFn) -> PipeReport:
    """A report that a load can have: what has not begun has no times, what has not ended no end."""
    status = draw(st.sampled_from(PipeStatus))
    started = None if status is PipeStatus.PENDING else draw(moments)
    lasted = draw(seconds) if started else 0.0
    failed = status in (PipeStatus.FAILED, PipeStatus.ABORTED)
    numbers = [
        "read_rows",
        "loaded_rows",
        "rejected_rows",
        "filtered_rows",
        "added_rows",
        "bytes_read",
        "bytes_written",
    ]
    times = ["read_seconds", "validate_seconds", "hook_seconds", "write_seconds", "recent_rows_per_second"]
    return PipeReport(
        pipe_index=draw(st.integers(0, 9)),
        status=status,
        source=draw(texts),
        target=draw(texts),
        rejects_target=draw(st.none() | texts),
        fraction_done=draw(st.none() | st.sampled_from([0.0, 0.25, 0.5, 1.0])),
        ram_bytes=draw(counts),
        peak_ram_bytes=draw(counts),
        started_at=started,
        finished_at=started + timedelta(seconds=lasted) if started and status in FINAL else None,
        duration_seconds=lasted,
        rejections=tuple(draw(st.lists(kinds, max_size=3, unique_by=lambda kind: (kind.field, kind.type)))),
        load_id=draw(st.none() | texts),
        attempt=draw(st.integers(1, 9)),
        exception=draw(errors) if failed else None,
        notes=tuple(draw(st.lists(texts, max_size=3))),
        unknown_columns=tuple(draw(st.lists(texts, max_size=3, unique=True))),
        pipe_count=draw(st.integers(0, 3)),
        **{name: draw(counts) for name in numbers},
        **{name: draw(seconds) for name in times},
    )


def merge(*some: PipeReport) -> PipeReport:
    return PipeReport.merge(some)


def without_names(report: PipeReport) -> PipeReport:
    """What a merge promises whatever the grouping: all but the names, which it sums up."""
    fraction = report.fraction_done
    rounded = None if fraction is None else round(fraction, 9)
    return dataclasses.replace(report, source="", target="", rejects_target=None, fraction_done=rounded)


# ---- JSON -----------------------------------------------------------------------------------------------------------


@given(reports())
def test_a_report_goes_to_json_and_back(report: PipeReport) -> None:
    text = json.dumps(report.to_dict(), allow_nan=False)
    assert PipeReport.from_dict(json.loads(text)) == report


@given(reports())
def test_a_report_pickles(report: PipeReport) -> None:
    assert pickle.loads(pickle.dumps(report)) == report


def test_a_report_whose_exception_cannot_be_pickled_travels_without_it() -> None:
    report = PipeReport(status=PipeStatus.FAILED, exception=ExceptionInfo("E", "m"), cause=ValueError(lambda: 0))
    copy = pickle.loads(pickle.dumps(report))
    assert copy == report
    assert copy.cause is None


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_json_does_not_know_becomes_null(value: float) -> None:
    report = PipeReport(fraction_done=value, recent_rows_per_second=value)
    text = json.dumps(report.to_dict(), allow_nan=False)
    assert PipeReport.from_dict(json.loads(text)) == PipeReport()


def test_json_of_a_newer_report_is_read_and_what_is_unknown_ignored() -> None:
    data = PipeReport(
        read_rows=3,
        exception=ExceptionInfo("ValueError", "no"),
        rejections=(RejectionSummary("id", "missing", 1, "in.csv", 2),),
    ).to_dict()
    newer: Any = json.loads(json.dumps(data))
    newer["colour"] = newer["exception"]["colour"] = newer["rejections"][0]["colour"] = "red"
    assert PipeReport.from_dict(newer).to_dict() == data


def test_json_cannot_bring_a_cause_in() -> None:
    assert PipeReport.from_dict({"cause": "ValueError()"}).cause is None


def test_json_with_a_status_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="finished"):
        PipeReport.from_dict({"status": "finished"})


def test_a_report_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        PipeReport().read_rows = 1  # type: ignore[misc]


# ---- what is derived ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", PipeStatus)
def test_a_status_is_one_of_not_begun_running_and_ended(status: PipeStatus) -> None:
    report = PipeReport(status=status)
    assert report.is_finished == (status in FINAL)
    assert report.is_alive == (status is PipeStatus.RUNNING)
    assert report.has_error == (status in (PipeStatus.FAILED, PipeStatus.ABORTED))


def test_the_names_of_the_managers_specification_are_those_of_the_counts() -> None:
    report = PipeReport(read_rows=10, loaded_rows=7, rejected_rows=3, duration_seconds=4)
    assert (report.total_processed, report.success_count, report.error_count) == (10, 7, 3)
    assert report.items_per_second == 2.5
    assert report.to_dict()["items_per_second"] == 2.5


@pytest.mark.parametrize(
    ("status", "fraction", "left"),
    [
        (PipeStatus.RUNNING, 0.25, 30.0),
        (PipeStatus.RUNNING, 1.0, 0.0),
        (PipeStatus.RUNNING, 0.0, None),
        (PipeStatus.RUNNING, None, None),
        (PipeStatus.COMPLETED, 0.25, None),
    ],
)
def test_the_time_left_follows_from_the_share_done(
    status: PipeStatus, fraction: float | None, left: float | None
) -> None:
    assert PipeReport(status=status, fraction_done=fraction, duration_seconds=10).eta_seconds == left


# ---- verdict --------------------------------------------------------------------------------------------------------


def test_a_completed_report_raises_nothing_and_is_handed_on() -> None:
    report = PipeReport(status=PipeStatus.COMPLETED, rejected_rows=5)
    assert report.raise_for_status() is report


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [
        (PipeStatus.FAILED, LoadFailedError, "failed; the target was left as it was\nKeyError: 'x'"),
        (PipeStatus.ABORTED, LoadAbortedError, "was aborted; the target was left as it was\nKeyError: 'x'"),
        (PipeStatus.RUNNING, LoadFailedError, "has not finished: it is running; wait for it"),
        (PipeStatus.PENDING, LoadFailedError, "has not finished: it is pending; wait for it"),
    ],
)
def test_any_other_report_raises_with_its_cause(status: PipeStatus, error: type[Exception], words: str) -> None:
    cause = KeyError("x")
    report = PipeReport(
        source="in.csv", target="t", status=status, exception=ExceptionInfo("KeyError", "'x'"), cause=cause
    )
    with pytest.raises(error) as caught:
        report.raise_for_status()
    assert str(caught.value) == f"the load in.csv -> t {words}"
    assert caught.value.__cause__ is (cause if status in FINAL else None)


def test_a_report_from_another_process_raises_with_its_message() -> None:
    report = PipeReport(status=PipeStatus.FAILED, exception=ExceptionInfo("OSError", "disk full"))
    with pytest.raises(LoadFailedError, match=r"(?s)failed.*OSError: disk full"):
        PipeReport.from_dict(report.to_dict()).raise_for_status()


# ---- merging --------------------------------------------------------------------------------------------------------


@given(reports(), reports(), reports())
def test_merging_does_not_depend_on_the_grouping(a: PipeReport, b: PipeReport, c: PipeReport) -> None:
    flat = without_names(merge(a, b, c))
    assert without_names(merge(merge(a, b), c)) == flat
    assert without_names(merge(a, merge(b, c))) == flat


@given(st.lists(reports(), max_size=4), st.randoms())
def test_merging_does_not_depend_on_the_order_but_for_which_texts_come_first(
    some: list[PipeReport], chance: Any
) -> None:
    def numbers(report: PipeReport) -> dict[str, Any]:
        names = {"source", "target", "rejects_target", "load_id", "unknown_columns"}
        texts_of = names | {"rejections", "exception", "notes"}
        data = {name: value for name, value in without_names(report).to_dict().items() if name not in texts_of}
        data["rejections"] = [(kind.field, kind.type, kind.count) for kind in report.rejections]
        return data

    shuffled = list(some)
    chance.shuffle(shuffled)
    assert numbers(PipeReport.merge(shuffled)) == numbers(PipeReport.merge(some))


@given(reports())
def test_a_merge_of_nothing_changes_nothing(report: PipeReport) -> None:
    empty = merge()
    assert empty.pipe_count == 0
    assert merge(empty, report) == merge(report, empty) == merge(report)
    assert merge(merge(report)) == merge(report)


@given(st.lists(reports(), max_size=5))
def test_a_merge_adds_up_and_leaves_its_parts_alone(some: list[PipeReport]) -> None:
    before = [report.to_dict() for report in some]
    merged = PipeReport.merge(report for report in some)
    assert [report.to_dict() for report in some] == before
    counted = [report for report in some if report.pipe_count]
    for name in ("read_rows", "loaded_rows", "rejected_rows", "filtered_rows", "bytes_read", "write_seconds"):
        assert getattr(merged, name) == sum(getattr(report, name) for report in counted)
    assert merged.pipe_count == sum(report.pipe_count for report in some)


P, R, C, F, A = PipeStatus.PENDING, PipeStatus.RUNNING, PipeStatus.COMPLETED, PipeStatus.FAILED, PipeStatus.ABORTED


@pytest.mark.parametrize(
    ("states", "merged"),
    [
        ([P, P], P), ([P, C], R), ([P, F], R), ([R, F], R), ([R, C], R), ([C, C], C), ([C, A], A), ([A, F], F),
        ([C, F], F),
    ],
)  # fmt: skip
def test_pipes_run_until_all_have_ended_and_then_the_worst_counts(states: list[PipeStatus], merged: PipeStatus) -> None:
    assert PipeReport.merge(PipeReport(status=status) for status in states).status is merged
    assert PipeReport.merge(PipeReport(status=status) for status in reversed(states)).status is merged


def test_pipes_one_after_the_other_last_from_the_first_start_to_the_last_end() -> None:
    def ran(start: int, end: int, status: PipeStatus = C) -> PipeReport:
        at = EPOCH + timedelta(seconds=start)
        done = EPOCH + timedelta(seconds=end) if status in FINAL else None
        return PipeReport(status=status, started_at=at, finished_at=done, duration_seconds=end - start, read_rows=100)

    merged = merge(ran(0, 10), ran(10, 40))
    assert (merged.duration_seconds, merged.items_per_second) == (40, 5)
    assert merged.finished_at == EPOCH + timedelta(seconds=40)
    running = merge(ran(0, 10), ran(10, 40, R))
    assert (running.duration_seconds, running.finished_at) == (40, None)


def test_the_failure_is_shown_and_not_the_cancellations_that_followed_it() -> None:
    cancelled = PipeReport(status=A, exception=ExceptionInfo("LoadAbortedError", "cancelled"))
    failure = ValueError("boom")
    failed = PipeReport(status=F, exception=ExceptionInfo("ValueError", "boom"), cause=failure)
    assert merge(cancelled, failed, PipeReport(status=R)).exception == failed.exception
    assert merge(cancelled, failed).cause is failure
    assert merge(cancelled, PipeReport(status=C)).exception == cancelled.exception


def test_equal_kinds_of_rejection_add_up_and_the_commonest_come_first() -> None:
    one = PipeReport(rejections=(RejectionSummary("a", "x", 5, "1.csv", 1), RejectionSummary("b", "x", 2, "1.csv", 9)))
    two = PipeReport(rejections=(RejectionSummary("b", "x", 4, "2.csv", 3), RejectionSummary("a", "y", 1, "2.csv", 4)))
    assert [str(kind) for kind in merge(one, two).rejections] == [
        "6 x b: x (e.g. 1.csv row 9)",
        "5 x a: x (e.g. 1.csv row 1)",
        "1 x a: y (e.g. 2.csv row 4)",
    ]


def test_a_merge_names_each_place_once_and_counts_the_rest() -> None:
    names = ["a", "b", "a", "", "c", "d", "e"]
    merged = PipeReport.merge(PipeReport(source=name, target="same") for name in names)
    assert (merged.source, merged.target) == ("a, b, c and 2 more", "same")


@pytest.mark.parametrize(
    ("shares", "merged"),
    [([(R, 0.5), (R, 0.0)], 0.25), ([(C, 1.0), (P, None)], 0.5), ([(R, None), (R, 0.5)], None), ([(P, None)], 0.0)],
)
def test_the_share_done_is_that_of_all_pipes(
    shares: list[tuple[PipeStatus, float | None]], merged: float | None
) -> None:
    assert PipeReport.merge(PipeReport(status=s, fraction_done=f) for s, f in shares).fraction_done == merged


# ---- bounds, secrets ------------------------------------------------------------------------------------------------


def hostile_report(secret: str = "") -> PipeReport:
    """A report of a load in which all that can be long is very long, and the secret in what drivers and hooks say."""
    long = "x" * 100_000
    url = f"postgresql://etl:{secret}@db/wh?password={secret}" if secret else ""
    progress = LoadProgress(f"in{long}", f"out{long}", f"rejects{long}")
    progress.start()
    progress.set(unknown_columns=merge_columns(f"{number}{long}" for number in range(2000)))
    for number in range(2000):
        error = {"type": f"{number}{long}", "loc": (f"f{number}", long), "msg": long, "input": long}
        progress.count_rejects(RejectBatch.of(long, np.array([number + 1]), [[error]]))
        if number < 100:
            progress.note(f"{number} {url} {long}")

    def deep(n: int) -> None:
        if n:
            deep(n - 1)
        error = ValueError(f"cannot reach {url} {long}")
        error.add_note(url)
        raise error

    try:
        deep(300)
    except ValueError as error:
        progress.finish(PipeStatus.FAILED, error)
    return progress.snapshot()


def test_a_report_stays_small_whatever_happened_and_however_many_are_merged() -> None:
    report = hostile_report()
    assert (report.rejected_rows, len(report.rejections)) == (2000, MAX_REJECTIONS)
    for each in (report, PipeReport.merge([report] * 1000), merge(merge(report, report), report)):
        assert len(json.dumps(each.to_dict())) < MOST_BYTES
        assert len(str(each)) < MOST_BYTES
        assert len(each._repr_html_()) < MOST_BYTES
    apart = [dataclasses.replace(report, source=f"{n}{report.source}", notes=(f"{n}",)) for n in range(1000)]
    assert len(json.dumps(PipeReport.merge(apart).to_dict())) < MOST_BYTES


@pytest.mark.parametrize("part", ["x", "a1", "://a:", "://a:b@", "password", "password=", "token = 'a"])
def test_a_text_of_megabytes_is_searched_for_secrets_in_no_time(part: str) -> None:
    """Fails by the time limit of tests: some of these would take hours, were they searched whole."""
    progress = LoadProgress("in.csv", "out.csv")
    progress.note(part * 1_000_000)
    progress.finish(PipeStatus.FAILED, ValueError(part * 1_000_000))
    assert progress.snapshot().exception is not None


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("x1postgresql://me:a@b/c@db/wh", "x1postgresql://me:***@db/wh"),
        ("http://db:5432/x", "http://db:5432/x"),
        ("PGPASSWORD='a b' psql", "PGPASSWORD=*** psql"),
        ("https://h/x?api_key=abc&n=1", "https://h/x?api_key=***&n=1"),
        ("access_token = abc, n", "access_token = ***, n"),
    ],
)
def test_secrets_in_texts_of_others_are_masked_and_nothing_else(text: str, shown: str) -> None:
    assert without_secrets(text) == shown


def test_a_report_of_an_ordinary_failure_is_a_few_kilobytes() -> None:
    progress = LoadProgress("in.csv", "out.csv")
    progress.start()
    try:
        raise ValueError("no")
    except ValueError as error:
        progress.finish(PipeStatus.FAILED, error)
    assert len(json.dumps(progress.snapshot().to_dict())) < 2500


def test_a_report_holds_no_secret() -> None:
    report = hostile_report(CANARY)
    shown = [json.dumps(report.to_dict()), str(report), report._repr_html_(), repr(report)]
    assert "cannot reach postgresql://etl:***@db/wh?password=***" in shown[0]
    assert CANARY not in "".join(shown)


# ---- people ---------------------------------------------------------------------------------------------------------

SHOWN = PipeReport(
    status=PipeStatus.FAILED,
    source="in.csv",
    target="<wh>",
    rejects_target="rejects.csv",
    read_rows=12_345,
    loaded_rows=12_000,
    rejected_rows=340,
    filtered_rows=5,
    peak_ram_bytes=148_000_000,
    started_at=EPOCH,
    duration_seconds=75,
    read_seconds=1,
    validate_seconds=1,
    write_seconds=2,
    rejections=(RejectionSummary("", "<b>", 340, "in.csv", 1_000), RejectionSummary("id", "x", 1, "in.csv", 0)),
    load_id="scheduled__2024-01-01",
    notes=("as told",),
    unknown_columns=("<i>", "nick"),
    exception=ExceptionInfo("ValueError", "a & b"),
)


def test_a_terminal_shows_all_that_matters() -> None:
    assert str(SHOWN).splitlines() == [
        "in.csv -> <wh>   FAILED in 1 min 15 s",
        "  read 12,345   loaded 12,000   rejected 340   filtered 5      165 rows/s   peak 148 MB",
        "  time: read 25%  validate 25%  write 50%      load scheduled__2... attempt 1",
        "  rejected 340 x row: <b> (e.g. in.csv row 1,000)",
        "  rejected 1 x id: x (e.g. a row that a hook added to in.csv)",
        "  rejects: rejects.csv",
        "  unknown to the model: <i>, nick",
        "  note: as told",
        "  ValueError: a & b",
    ]
    assert str(PipeReport(added_rows=2)).splitlines() == [
        "? -> ?   PENDING",
        "  read 0   loaded 0   rejected 0   filtered 0   added 2      0 rows/s   peak 0 B",
        "  time: none",
    ]


class Cells(HTMLParser):
    """The texts of a table, and the tags that are used."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.tags: set[str] = set()
        self.feed(markup)
        self.close()

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_a_notebook_shows_a_table_in_which_every_value_is_escaped() -> None:
    table = Cells(SHOWN._repr_html_())
    assert table.tags == {"table", "tr", "th", "td"}
    cells = dict(zip(table.texts[::2], table.texts[1::2], strict=True))
    assert cells["status"] == "FAILED"
    assert cells["target"] == "<wh>"
    assert cells["read"] == "12,345"
    assert cells["row: <b>"] == "340 x, e.g. in.csv row 1,000"
    assert cells["error"] == "ValueError: a & b"
    assert cells["rejects"] == "rejects.csv"
    assert cells["unknown columns"] == "<i>, nick"
    assert cells["duration"] == "1 min 15 s"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.00 s"), (59.99, "59.99 s"), (59.999, "1 min 00 s"), (119.6, "2 min 00 s"), (3599.9, "1 h 00 min")],
)
def test_seconds_carry_over_to_the_next_unit(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (999_600, "1 MB"), (10**9, "1 GB"), (10**15, "1000.0 TB")]
)
def test_bytes_carry_over_to_the_next_unit(count: int, text: str) -> None:
    assert format_bytes(count) == text


@given(st.text(max_size=60), st.integers(8, 40))
def test_a_shortened_text_keeps_its_ends(text: str, limit: int) -> None:
    short = shorten(text, limit)
    assert len(short) <= limit
    assert short == text if len(text) <= limit else text.endswith(short.rpartition("...")[2])
