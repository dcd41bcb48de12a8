"""The pages as pure functions: whatever a report holds, it is shown as text, or is no report."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoopipe_airflow.pages.queries import Load, TaskKey
from zoopipe_airflow.pages.render import render_load, render_loads, render_message
from zoopipe_airflow.pages.reports import History, LoadReport, PastLoad, read_histories, read_report
from zoopipe_core import PipeReport, PipeStatus
from zoopipe_core.report import ExceptionInfo, RejectionSummary

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
HOSTILE = "\"'><img src=x onerror=alert(1)></style><script>alert(2)</script>{{ 7 * 7 }}&amp;"


def report(text: str, **changes: Any) -> PipeReport:
    """A report that says `text` wherever it may say something."""
    full = PipeReport(
        status=PipeStatus.FAILED,
        source=text,
        target=text,
        rejects_target=text,
        read_rows=1000,
        loaded_rows=900,
        rejected_rows=90,
        filtered_rows=10,
        read_seconds=1.0,
        validate_seconds=3.0,
        duration_seconds=4.0,
        started_at=NOON,
        finished_at=NOON + timedelta(seconds=4),
        rejections=(RejectionSummary(text, text, 90, text, 7),),
        load_id=text,
        exception=ExceptionInfo(text, text, text),
        notes=(text,),
        unknown_columns=(text,),
    )
    return replace(full, **changes)


def load(total: PipeReport | None, *pipes: PipeReport, text: str = "load", state: str | None = "failed") -> Load:
    shown = LoadReport(total, pipes) if total else None
    name = text.encode("utf-8", "replace").decode()  # as Airflow's database has it
    past = PastLoad(text, text, 2, 10, 9, 1, NOON, None)
    histories = (History(text, (text,), (past, replace(past, load_id="another", committed_at=NOON))),)
    return Load(TaskKey(name, name, name), state, 1, NOON, NOON + timedelta(seconds=5), shown, histories)


class Page(HTMLParser):
    """The tags of a page with the names of their attributes, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, tuple[str, ...]]] = []
        self.words: list[str] = []
        html.encode()  # as it is sent
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, tuple(name for name, _ in attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def pages(text: str) -> list[Page]:
    shown = load(report(text), report(text, pipe_index=1), text=text)
    return [
        Page(render_load(shown, [shown])),
        Page(render_loads([shown], "before=now", text)),
        Page(render_message(text, text)),
    ]


@pytest.mark.parametrize("hostile", [HOSTILE, "<", "&", '"', "]]>", "<!--", "\0\u2028\ud800"])
def test_no_text_of_a_report_becomes_part_of_a_page(hostile: str) -> None:
    for page, harmless in zip(pages(hostile), pages("text"), strict=True):
        assert page.tags == harmless.tags


def test_a_page_shows_hostile_text_as_it_is() -> None:
    shown = " ".join(HOSTILE.split())
    load_page, loads_page, message_page = pages(HOSTILE)
    assert load_page.text.count(shown) > 15
    assert shown in loads_page.text
    assert shown in message_page.text


def test_the_page_of_a_load_says_what_became_of_its_rows_and_where_they_went() -> None:
    total = report("users.csv", target="users.parquet", rejects_target="rejects.csv", status=PipeStatus.COMPLETED)
    text = Page(render_load(load(replace(total, exception=None), state="success"))).text
    for words in (
        "users.csv → users.parquet completed",
        "rows read 1,000 loaded 900 rejected 90 filtered 10 took 4.00 s rows per second 250",
        "loaded 900 90% rejected 90 9% filtered 10 1%",
        "reading 1.00 s 25% validating 3.00 s 75%",
        "rejected rows rejects.csv load id users.csv",
        "2026-01-31 12:00:00 – 2026-01-31 12:00:04",
    ):
        assert words in text


def test_the_page_of_a_load_says_what_its_target_remembers() -> None:
    text = Page(render_load(load(report("x"), text="day 1"))).text
    assert "Loads that day 1 remembers status load id loaded rejected attempt began (UTC) published (UTC)" in text
    assert "day 1 this one 9 1 2 2026-01-31 12:00:00 –" in text
    assert "another 9 1 2 2026-01-31 12:00:00 2026-01-31 12:00:00" in text


def test_few_rows_are_not_called_none() -> None:
    total = report("x", loaded_rows=9_999, rejected_rows=1, filtered_rows=0)
    assert "9,999 >99% rejected 1 <1%" in Page(render_load(load(total))).text


def test_rows_of_a_load_that_failed_are_not_called_loaded() -> None:
    assert "written, not published 900" in Page(render_load(load(report("x")))).text


def test_pipes_that_failed_come_first_and_no_page_is_endless() -> None:
    many = [report(f"pipe-{index}", pipe_index=index, status=PipeStatus.COMPLETED) for index in range(150)]
    many[149] = replace(many[149], status=PipeStatus.FAILED)
    text = Page(render_load(load(report("all"), *many))).text
    assert text.index("pipe-149 →") < text.index("pipe-0 →")
    assert "pipe-120 →" not in text
    assert "and 50 more" in text


def test_a_report_that_is_older_than_the_try_is_said_to_be() -> None:
    earlier = NOON - timedelta(days=1)
    old = report("x", status=PipeStatus.COMPLETED, started_at=earlier, finished_at=earlier)
    assert "nothing was loaded again" in Page(render_load(load(old))).text
    assert "nothing was loaded again" not in Page(render_load(load(report("x")))).text


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (None, "has not run yet"),
        ("queued", "has not run yet (queued)"),
        ("running", "its log shows how far it is"),
        ("success", "it loads nothing"),
        ("failed", "did not live long enough"),
    ],
)
def test_a_task_without_a_report_says_why(state: str | None, words: str) -> None:
    html = render_load(load(None, state=state))
    assert words in Page(html).text
    assert ('http-equiv="refresh"' in html) == (state in (None, "queued", "running"))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=5,
)
GOOD = report("x").to_dict()


@given(st.dictionaries(st.sampled_from([*GOOD, "pipes"]), json_values, max_size=4), st.booleans())
def test_whatever_an_xcom_holds_it_is_a_report_that_can_be_shown_or_none(changes: Any, below: bool) -> None:
    changed = GOOD | changes
    found = read_report(GOOD | {"pipes": [changed, GOOD]} if below else changed)
    if below:
        assert found is not None
        assert found.pipes[-1] == report("x")
    if found is not None:
        shown = load(found.total, *found.pipes)
        render_load(shown, [shown])
        render_loads([shown])


@given(json_values)
def test_other_values_are_no_report(value: Any) -> None:
    assert read_report(value) is None


PAST = {
    "load_id": "day 1", "status": "completed", "attempt": 1, "read_rows": 3, "loaded_rows": 2, "rejected_rows": 1,
    "started_at": "0001-01-01T00:00:00+00:00", "committed_at": "9999-12-31T23:59:59-12:00",
}  # fmt: skip


@given(st.dictionaries(st.sampled_from([*PAST, "target", "load_ids", "loads"]), json_values, max_size=3))
def test_whatever_an_xcom_holds_it_is_what_targets_remember_or_nothing(changes: Any) -> None:
    history = {"target": "out", "load_ids": [None, "day 1"], "loads": [PAST | changes]}
    for value in ([history], [history | changes], changes, json.dumps([history])):
        found = read_histories(value)
        render_load(replace(load(None), histories=found))
    assert read_histories([{"target": "out", "load_ids": [None], "loads": [PAST]}])[0].loads[0].load_id == "day 1"


def test_a_report_is_read_back_as_it_was() -> None:
    total = report("x")
    assert read_report(total.to_dict() | {"pipes": [total.to_dict()]}) == LoadReport(total, (total,))
