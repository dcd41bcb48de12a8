"""What is sent of a load while it runs: not too often, and never at its expense."""

import logging
import threading
from typing import Any

import pytest

from zoopipe_core import Pipe, PipeReport
from zoopipe_prefect import watching
from zoopipe_prefect.watching import Watch


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What progress artifacts would show, in percent, instead of a server's."""
    shown: list[Any] = []
    monkeypatch.setattr(watching, "create_progress_artifact", lambda percent, *_, **__: shown.append(percent) or "id")
    monkeypatch.setattr(watching, "update_progress_artifact", lambda _, percent, *__, **___: shown.append(percent))
    for create in ("create_markdown_artifact", "create_table_artifact"):
        monkeypatch.setattr(watching, create, lambda *_, **__: None)
    return shown


def at(seconds: float) -> PipeReport:
    return PipeReport(duration_seconds=seconds, fraction_done=seconds / 10)


def test_progress_is_shown_every_two_seconds_and_not_of_a_load_of_a_moment(users: Pipe, sent: list[Any]) -> None:
    with Watch(users, logging.getLogger("load")) as watch:
        watch.update(at(1.5))
        assert watch._showing.sent is None
        for seconds in (2.0, 2.2, 3.9):
            watch.update(at(seconds))
    assert sent == [20]


def test_what_is_still_on_its_way_is_waited_for_by_neither_load_nor_update(users: Pipe, sent: list[Any]) -> None:
    answer = threading.Event()
    with Watch(users, logging.getLogger("load")) as watch:
        watch._showing.sent = blocked = watch._send(answer.wait)
        for seconds in (2.0, 4.0):
            watch.update(at(seconds))  # returns, and sends nothing
        assert watch._showing.sent is blocked
        answer.set()
        blocked.result()
        watch.update(at(6.0))
        watch.keep(at(10.0), [], "users")
    assert sent == [60, 100]


def test_what_goes_wrong_in_telling_of_a_load_is_a_warning(
    users: Pipe, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, sent: list[Any]
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("the client is closed")

    monkeypatch.setattr(watching, "create_table_artifact", fail)
    with Watch(users, logging.getLogger("load")) as watch:
        watch.keep(at(1.0), [], "users")
    [record] = caplog.records
    assert record.getMessage() == "Prefect could not be told of the load: RuntimeError: the client is closed"
    assert record.exc_info is not None
