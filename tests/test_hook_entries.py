"""Entries whose parts are made when they are looked at: nobody can tell them from plain dicts."""

from __future__ import annotations

import copy
import gc
import pickle
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.schema.oracle import text_batch
from zoopipe_core.batches.model import ModelBatch
from zoopipe_core.hooking.entries import Opened, RawRows
from zoopipe_core.hooking.interpreter import TURN_SECONDS, paused_gc, short_turns
from zoopipe_core.hooks import EntryStatus


def lazy(place: int = 1, metadata: dict[str, Any] | None = None) -> Any:
    raw = RawRows(text_batch({"id": ["1", "2"], "name": ["a", "b"]}), None, np.array([0, place]))
    notes = {} if metadata is None else {2: metadata}
    batch = ModelBatch.from_rows([{"id": 1}, {"id": 2}], {})
    return Opened(batch, np.array([1, 2]), raw, notes).shown().entries[1]


def plain() -> dict[str, Any]:
    return {
        "id": 2,
        "position": 2,
        "status": EntryStatus.VALIDATED,
        "validated_data": {"id": 2},
        "raw_data": {"id": "2", "name": "b"},
        "errors": [],
        "metadata": {},
    }


LOOKS: list[Callable[[Any], Any]] = [
    lambda e: e["raw_data"],
    lambda e: e["errors"],
    lambda e: e.get("metadata", 5),
    lambda e: e.get("raw_data"),
    lambda e: e.get("other", 5),
    lambda e: "errors" in e,
    lambda e: "other" in e,
    lambda e: e.setdefault("errors", 5),
    lambda e: e.setdefault("other", 5),
    lambda e: sorted(e),
    lambda e: len(list(reversed(e))),
    len,
    lambda e: sorted(e.keys()),
    lambda e: len(list(e.values())),
    lambda e: dict(e.items()),
    dict,
    lambda e: {**e},
    lambda e: e.copy(),
    lambda e: e | {"x": 1},
    lambda e: {"x": 1} | e,
    lambda e: e == plain(),
    lambda e: plain() == e,
    lambda e: e != plain(),
    lambda e: e.pop("raw_data"),
    lambda e: (e.pop("errors"), e.pop("other", 5)),
    lambda e: copy.copy(e),
    lambda e: copy.deepcopy(e),
    lambda e: pickle.loads(pickle.dumps(e)),
    lambda e: eval(repr(e), {"EntryStatus": EntryStatus}) if "<" not in repr(e) else repr(sorted(e)),
    lambda e: [e.popitem() for _ in range(7)] and len(e),
]


@pytest.mark.parametrize("look", LOOKS)
def test_whatever_is_asked_of_an_entry_the_answer_is_that_of_a_dict(look: Callable[[Any], Any]) -> None:
    assert look(lazy()) == look(plain())


def test_what_a_hook_puts_into_an_entry_stays_there() -> None:
    entry = lazy()
    entry["raw_data"]["name"] = "c"
    entry["metadata"]["seen"] = True
    entry["errors"].append("no")
    assert (entry["raw_data"]["name"], entry["metadata"], entry["errors"]) == ("c", {"seen": True}, ["no"])
    del entry["errors"]
    assert "errors" not in entry
    for gone in ("errors", "other"):
        with pytest.raises(KeyError):
            entry[gone]


def test_notes_and_rows_that_hooks_made_are_there_too() -> None:
    assert lazy(metadata={"note": 1})["metadata"] == {"note": 1}
    assert lazy(place=-1)["raw_data"] == {}


def test_the_garbage_collector_is_paused_and_comes_back_whatever_happens() -> None:
    assert gc.isenabled()
    with pytest.raises(ZeroDivisionError), paused_gc():
        1 / int(gc.isenabled())
    assert gc.isenabled()
    gc.disable()
    try:
        with paused_gc():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_threads_take_short_turns_until_the_last_load_has_ended() -> None:
    before = sys.getswitchinterval()
    assert before > TURN_SECONDS
    with short_turns():
        with pytest.raises(ZeroDivisionError), short_turns():
            1 / int(sys.getswitchinterval() > TURN_SECONDS)
        assert sys.getswitchinterval() == pytest.approx(TURN_SECONDS)
    assert sys.getswitchinterval() == before


def test_turns_that_somebody_else_chose_meanwhile_stay_as_they_are() -> None:
    before = sys.getswitchinterval()
    try:
        with short_turns():
            sys.setswitchinterval(0.003)
        assert sys.getswitchinterval() == pytest.approx(0.003)
    finally:
        sys.setswitchinterval(before)
