"""Small inputs in an empty folder, and flow runs that are ended from outside."""

import gc
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prefect.events import Event
from prefect.events.clients import AssertingPassthroughEventsClient
from prefect.events.worker import EventsWorker

from tests.prefect.loads import Slow, User
from zoopipe_core import Pipe, SingleThreadExecutor


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Prefect opens clients that it leaves to the garbage collector, such as those that read results."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("ignore:unclosed (<socket.socket|transport):ResourceWarning"))


@pytest.fixture(scope="module", autouse=True)
def no_client_outlives_its_module() -> Iterator[None]:
    """Tests that come later would be told of it."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "users.csv").write_text("id\n1\n2\nx\n")
    return tmp_path


@pytest.fixture
def users() -> Pipe:
    return Pipe("users.csv", "users.jsonl", "rejects.csv", User)


@pytest.fixture
def slow_pipe() -> Callable[[int], Pipe]:
    def make(batches: int) -> Pipe:
        rows = "\n".join(map(str, range(batches)))
        Path("users.csv").write_text(f"id\n{rows}\n")
        executor = SingleThreadExecutor(batch_size=1)
        return Pipe("users.csv", "users.jsonl", pre_validation_hooks=[Slow()], executor=executor)

    return make


@pytest.fixture
def terminated(folder: Path) -> Iterator[None]:
    """This process gets SIGTERM as soon as a `Slow` load has begun.

    After its flow has ended, Prefect sends the signal on to whoever handled it before, who lets it pass.
    """
    before = signal.signal(signal.SIGTERM, lambda *_: None)

    def terminate() -> None:
        while not (folder / "begun").exists():
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGTERM)

    terminator = threading.Thread(target=terminate)
    terminator.start()
    yield
    terminator.join()
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def events(prefect_api: str) -> Iterator[Callable[[str], list[Event]]]:
    """The events that the server was sent whose names begin like this, in order."""
    AssertingPassthroughEventsClient.reset()
    EventsWorker.set_client_override(AssertingPassthroughEventsClient)
    worker = EventsWorker.instance()

    def named(start: str) -> list[Event]:
        worker.wait_until_empty()
        sent = [event for client in AssertingPassthroughEventsClient.all for event in client.events]
        return [event for event in sent if event.event.startswith(start)]

    yield named
    EventsWorker.set_client_override(None)
    worker.drain()
