"""When a load takes kernels up: never a small one, at once if they are there, later if they have to be compiled."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from zoopipe_core.errors import KernelError
from zoopipe_core.kernels import compiler, native
from zoopipe_core.kernels.switch import MIN_ROWS, KernelSwitch


class Kernels:
    """Stands in for compiled kernels, which would be loaded for the whole process; counts what is asked of it."""

    def __init__(self, there: bool) -> None:
        self.there = there
        self.loads = 0
        self.compilations = 0
        self.may_end = threading.Event()
        self.error: Exception | None = None

    def load(self) -> bool:
        self.loads += 1
        return self.there

    def compile(self, *, background: bool) -> Path:
        assert background
        self.compilations += 1
        assert self.may_end.wait(30)
        if self.error is not None:
            raise self.error
        self.there = True
        return Path("kernels.bin")


@pytest.fixture
def kernels(monkeypatch: pytest.MonkeyPatch) -> Kernels:
    stand_in = Kernels(there=False)
    monkeypatch.delenv("ZOOPIPE_KERNELS", raising=False)
    monkeypatch.setattr(native, "load", stand_in.load)
    monkeypatch.setattr(native, "is_disabled", lambda: False)
    monkeypatch.setattr(compiler, "compile_kernels", stand_in.compile)
    return stand_in


def _join() -> None:
    for thread in threading.enumerate():
        if thread.name == "zoopipe-kernels":
            thread.join(30)


def test_a_small_load_touches_nothing_and_a_large_one_takes_kernels_up(kernels: Kernels) -> None:
    kernels.there = True
    switch = KernelSwitch()
    assert not switch.ready(MIN_ROWS - 1)
    assert kernels.loads == 0
    assert switch.ready(1)
    assert switch.ready(1)
    assert (kernels.loads, kernels.compilations) == (1, 0)


def test_threads_that_ask_at_once_load_once_and_all_get_kernels(kernels: Kernels) -> None:
    kernels.there = True
    switch = KernelSwitch()
    start = threading.Barrier(8)

    def ask() -> bool:
        start.wait(30)
        return switch.ready(MIN_ROWS)

    with ThreadPoolExecutor(8) as pool:
        assert all(future.result() for future in [pool.submit(ask) for _ in range(8)])
    assert kernels.loads == 1


def test_rows_of_all_threads_count_together(kernels: Kernels) -> None:
    kernels.there = True
    switch = KernelSwitch()
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(switch.ready, [1] * MIN_ROWS))
    assert answers.count(True) >= 1
    assert kernels.loads == 1


def test_without_compiled_kernels_nobody_waits_and_they_are_taken_up_when_they_are_there(kernels: Kernels) -> None:
    switch = KernelSwitch()
    assert not switch.ready(MIN_ROWS)
    assert not switch.ready(MIN_ROWS)  # still compiling
    kernels.may_end.set()
    _join()
    assert switch.ready(1)
    assert kernels.compilations == 1


@pytest.mark.parametrize("error", [KernelError("no such luck"), OSError("disk full")], ids=repr)
def test_a_compiler_that_fails_is_told_of_once_and_not_tried_again(
    kernels: Kernels, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    kernels.error = error
    kernels.may_end.set()
    switch = KernelSwitch()
    with caplog.at_level(logging.WARNING):
        for _ in range(5):
            assert not switch.ready(MIN_ROWS)
            _join()
    assert [record.getMessage() for record in caplog.records] == [
        f"kernels are not used, pydantic does it all: {error}"
    ]
    assert kernels.compilations == 1


def test_a_cache_can_be_used_without_ever_compiling(kernels: Kernels, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOOPIPE_KERNELS", "cached")
    switch = KernelSwitch()
    assert not switch.ready(MIN_ROWS)
    _join()
    assert (kernels.loads, kernels.compilations) == (1, 0)


def test_a_forked_process_does_not_wait_for_a_thread_that_stayed_behind(kernels: Kernels) -> None:
    switch = KernelSwitch()
    assert not switch.ready(MIN_ROWS)  # compiling, in a thread
    switch._lock.acquire()  # as another thread would hold it while the process forks
    switch.after_fork()
    kernels.there = True
    assert switch.ready(MIN_ROWS)
    kernels.may_end.set()
