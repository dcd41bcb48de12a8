"""The name of a load that its caller has not named: the same in each try of a flow run.

    {flow run id}/{task}/{name or target}~{digest of what is loaded}#{how manieth of its kind}

Prefect gives each call of a task, and each of them again in each try of a flow run, a new random key. What stays is
what is loaded from where to where, and the order in which a flow calls for the same twice.
"""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

from prefect.context import FlowRunContext, TaskRunContext

from zoopipe_core import ZoopipeError

if TYPE_CHECKING:
    from zoopipe_core import Pipe

__all__ = ["CALLED", "default_load_id", "flow_run_load_id", "named"]

MAX_CHARS = 180
MAX_FLOW_RUNS = 64

CALLED: ContextVar[bool] = ContextVar("zoopipe_called", default=False)
"""Whether the flow has called the task itself, so that the order of calls is that of its code."""


@dataclass
class _Calls:
    """The loads of one try of a flow run."""

    counts: Counter[str] = field(default_factory=Counter)
    numbers: dict[tuple[UUID, int, str], int] = field(default_factory=dict)


_lock = threading.Lock()
# The tries of flow runs in this process, the latest last; a long-lived worker forgets the oldest.
_calls: OrderedDict[tuple[UUID, int], _Calls] = OrderedDict()


def named(pipe: Pipe, name: str | None, index: int = 0) -> Pipe:
    """The pipe with the load id that it needs; as it is if it needs none. Arguments as for `default_load_id`."""
    load_id = default_load_id(pipe, name, index)
    return pipe if load_id == pipe.load_id else replace(pipe, load_id=load_id)


def default_load_id(pipe: Pipe, name: str | None, index: int = 0) -> str | None:
    """The load id of a pipe that has none, where a second run of it would add its rows again.

    A target that is replaced needs no name. Files get one, too, though the core tells them by their state: a file that
    a flow fetches anew in each try has another state each time, and would be added again.

    Args:
        pipe: as the task was given it.
        name: that the caller has given to the load, or None.
        index: which of the task's pipes it is.

    Returns:
        None where no name is needed, or none can be given: outside of a flow run, and for rows in memory that are
        submitted, since nothing tells two such loads apart but their order.
    """
    output = pipe.output_adapter
    if pipe.load_id is not None or output is None or not output.adds:
        return pipe.load_id
    try:
        fingerprint = pipe.input_adapter.fingerprint()
    except ZoopipeError:
        return None  # the load itself meets it, and tells of it
    if fingerprint is None and not (CALLED.get() or TaskRunContext.get() is None):
        return None
    return flow_run_load_id(pipe, name, index)


def flow_run_load_id(pipe: Pipe, name: str | None, index: int = 0) -> str | None:
    """The name of a load within its flow run, whatever is loaded; None outside of a flow run.

    Args:
        pipe: the load.
        name: as for `default_load_id`.
        index: as for `default_load_id`.

    Raises:
        SourceError: the input is not there, or cannot be looked at.
    """
    flow, task = FlowRunContext.get(), TaskRunContext.get()
    if flow is None or flow.flow_run is None:
        return None
    target = "no output" if pipe.output_adapter is None else pipe.output_adapter.label
    # Not the key of the task, which changes with each line of its source.
    function = "ZooPipeLoad" if task is None else task.task.fn.__name__
    kind = _digest(function, name or "", target, *_input(pipe))
    call = uuid4() if task is None else task.task_run.id
    number = _number((flow.flow_run.id, flow.flow_run.run_count), call, index, kind)
    shown = "".join(letter for letter in (name or target) if letter.isprintable())
    # A subflow that is tried again with its parent is a new run; what stands for it in the parent stays the same.
    run_id = flow.flow_run.parent_task_run_id or flow.flow_run.id
    text = f"{run_id}/{function}/{shown}"
    return f"{text[:MAX_CHARS]}~{kind}" + (f"#{number}" if number else "")


def _input(pipe: Pipe) -> list[str]:
    """What is read, and how; not in which state, which the ledger compares with that of the try that was loaded."""
    source = pipe.input_adapter
    fingerprint = source.fingerprint()
    if fingerprint is None:
        return [source.label]
    return [source.label, repr(source) if fingerprint.tells_state else fingerprint.digest]


def _number(run: tuple[UUID, int], call: UUID, index: int, kind: str) -> int:
    """How many loads of this kind this try of the flow run has begun before; a task that is tried again keeps it."""
    with _lock:
        calls = _calls.setdefault(run, _Calls())
        _calls.move_to_end(run)
        while len(_calls) > MAX_FLOW_RUNS:
            _calls.popitem(last=False)
        place = (call, index, kind)
        if place not in calls.numbers:
            calls.numbers[place] = calls.counts[kind]
            calls.counts[kind] += 1
        return calls.numbers[place]


def _digest(*parts: str) -> str:
    state = blake2b(digest_size=6)
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        state.update(len(data).to_bytes(8, "little"))
        state.update(data)
    return state.hexdigest()
