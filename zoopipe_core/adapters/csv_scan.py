r"""Where the records of a CSV file end, found for any stretch of it without reading what lies before.

                 record start? ──▶ 812 records, ends within quotes
    ... \n│stretch ...
                 within quotes? ─▶ 790 records, ends at a record start; the first record begins at byte 1,048,702

A stretch begins just behind a line break. There a record starts, or the line break stands within quotes; the stretch is
scanned for both cases, which mostly become the same at its second or third quote. So stretches can be scanned anywhere
and in any order, and which case is true is known when the results are put in a row.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from zoopipe_core.adapters.byte_ranges import Bytes, blocks_of, open_bytes
from zoopipe_core.adapters.csv_dialect import Dialect
from zoopipe_core.adapters.splitting import Cut
from zoopipe_core.kernels.records import (
    COMMENT,
    FIELD,
    NONE,
    PLAIN,
    PLAIN_ESCAPE,
    QUOTED,
    QUOTED_ESCAPE,
    QUOTED_QUOTE,
    START,
    scan_records,
)
from zoopipe_core.kernels.switch import SWITCH

__all__ = ["Characters", "Outcome", "Stretch", "chain", "reach", "records_end", "scan_block", "scan_stretch"]

# How many bytes of CSV stand for a row, where kernels are loaded for so many rows.
BYTES_PER_ROW = 64
_NEWLINE, _RETURN = b"\n\r"


@dataclass(frozen=True, slots=True)
class Characters:
    """A dialect's special characters as bytes, `NONE` where there is none."""

    delimiter: int
    quote: int
    escape: int
    comment: int
    doubled: bool

    @classmethod
    def of(cls, dialect: Dialect) -> Characters:
        """Those of `dialect`."""
        quote, escape, comment = (
            NONE if character is None else ord(character)
            for character in (dialect.quotechar, dialect.escapechar, dialect.comment)
        )
        return cls(ord(dialect.delimiter), quote, escape, comment, dialect.doublequote)

    @property
    def breaks(self) -> re.Pattern[bytes]:
        """Line breaks that no escape character precedes: behind one, a record starts, or it stands within quotes."""
        escaped = b"" if self.escape == NONE else rb"(?<!%s)" % re.escape(bytes([self.escape]))
        return re.compile(rb"%s(?:\n|\r(?!\n))" % escaped)


@dataclass(frozen=True, slots=True)
class Stretch:
    """Bytes `start` to `stop` of a file. `start` is a record start, or lies behind a line break."""

    path: str
    start: int
    stop: int
    characters: Characters


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a stretch holds if it is entered in one state.

    Attributes:
        state: the state at its end, one of those of `kernels.records`.
        records: how many records end in it.
        first_end: the byte in the file behind the first of these; `NONE` if there is none.
    """

    state: int
    records: int
    first_end: int


def scan_stretch(stretch: Stretch) -> dict[int, Outcome]:
    """The outcome of a stretch for each state in which it can be entered: `START`, and `QUOTED` if there are quotes.

    Raises:
        SourceError: the file cannot be read.
    """
    use_kernel = SWITCH.ready((stretch.stop - stretch.start) // BYTES_PER_ROW)
    states = [START] if stretch.characters.quote == NONE else [START, QUOTED]
    runs = {state: _Run(state) for state in states}
    merged: _Run | None = None  # the run for START, once it goes on as the one for QUOTED does
    with open_bytes(stretch.path) as file:
        for position, block in blocks_of(file, stretch.start, stretch.stop):
            for run in runs.values():
                if run is not merged:
                    run.step(block, position, stretch.characters, use_kernel)
            if len(runs) == 2 and merged is None and runs[START].state == runs[QUOTED].state:
                merged = runs[START]
                merged.count -= runs[QUOTED].count
    if merged is not None:
        last = runs[QUOTED]
        merged.state, merged.count = last.state, merged.count + last.count
        if merged.first_end == NONE:
            merged.first_end = last.first_end
    return {state: Outcome(run.state, run.count, run.first_end) for state, run in runs.items()}


class _Run:
    """How far the scan of one case has come."""

    def __init__(self, state: int) -> None:
        self.state, self.count, self.first_end = state, 0, NONE

    def step(self, block: Bytes, position: int, characters: Characters, use_kernel: bool) -> None:
        """Go on with `block`, which lies at `position` in the file."""
        notes = np.array([self.state, 0, NONE if self.first_end == NONE else 0], np.int64)
        scan = scan_records if use_kernel else scan_block
        c = characters
        scan(block, c.delimiter, c.quote, c.escape, c.comment, int(c.doubled), notes)
        self.state = int(notes[0])
        self.count += int(notes[1])
        if self.first_end == NONE and notes[2] != NONE:
            self.first_end = position + int(notes[2])


def chain(stretches: Sequence[Stretch], outcomes: Sequence[dict[int, Outcome]]) -> tuple[list[Cut], int, int]:
    """Where the stretches after the first can be cut, which begins with record 1.

    A stretch that is entered within quotes is cut behind the record that reaches into it.

    Returns:
        The cuts; then the state behind the last stretch, and the number of the record that is entered there.
    """
    state, row = START, 1
    cuts: list[Cut] = []
    for stretch, found in zip(stretches, outcomes, strict=True):
        outcome = found[state]
        if state == START:
            cuts.append(Cut(stretch.start, row))
        elif NONE < outcome.first_end < stretch.stop:
            cuts.append(Cut(outcome.first_end, row + 1))
        state, row = outcome.state, row + outcome.records
    return cuts[1:], state, row


def records_end(stretch: Stretch, state: int = START) -> int | None:
    """The place behind the first record that ends in a stretch, which is entered in `state`; None if none does.

    Raises:
        SourceError: the file cannot be read.
    """
    run, use_kernel = _Run(state), SWITCH.ready(0)
    with open_bytes(stretch.path) as file:
        for position, block in blocks_of(file, stretch.start, stretch.stop):
            run.step(block, position, stretch.characters, use_kernel)
            if run.first_end != NONE:
                return run.first_end
    return None


def reach(stretch: Stretch, records: int) -> int:
    """A place within a stretch, which begins with a record, before which so many records end; else its end.

    Raises:
        SourceError: the file cannot be read.
    """
    use_kernel = SWITCH.ready(records)
    run = _Run(START)
    if not records:
        return stretch.start
    with open_bytes(stretch.path) as file:
        for position, block in blocks_of(file, stretch.start, stretch.stop):
            run.step(block, position, stretch.characters, use_kernel)
            if run.count >= records:
                return position + len(block)
    return stretch.stop


# ---- without kernels ------------------------------------------------------------------------------------------------


def scan_block(
    data: Bytes, delimiter: int, quote: int, escape: int, comment: int, doubled: int, notes: npt.NDArray[np.int64]
) -> None:
    """`kernels.records.scan_records` for Python: NumPy finds the special bytes, and only these are looked at."""
    size = len(data)
    if not size:
        return
    block = data.tobytes()
    state, count, first_end = (int(note) for note in notes)
    if state == QUOTED and not len(_places(data, quote, escape)):
        return
    specials = _places(data, quote, escape, _NEWLINE, _RETURN)
    done = 0  # what lies before is dealt with
    begin = fresh = NONE
    floor = 0
    if state == START:
        begin = fresh = 0
        state = COMMENT if block[0] == comment else PLAIN
    elif state == FIELD:
        fresh, state = 0, PLAIN
    elif state == PLAIN_ESCAPE:
        done, floor, state = 1, 1, PLAIN
    elif state == QUOTED_ESCAPE:
        done, state = 1, QUOTED
    elif state == QUOTED_QUOTE:
        done, state = (1, QUOTED) if block[0] == quote else (0, PLAIN)
    for at in specials.tolist():
        if at < done:
            continue
        byte = block[at]
        done = at + 1
        if state == QUOTED:
            if byte == escape:
                done += 1
                state = QUOTED_ESCAPE if done > size else QUOTED
            elif byte == quote:
                if doubled and done == size:
                    state = QUOTED_QUOTE
                elif doubled and block[done] == quote:
                    done += 1
                else:
                    state, fresh, floor = PLAIN, NONE, done
        elif byte in (_NEWLINE, _RETURN):
            if byte == _RETURN and done < size and block[done] == _NEWLINE:
                done += 1
            if state == PLAIN and at != begin:
                count += 1
                first_end = done if first_end == NONE else first_end
            begin = fresh = floor = done
            state = COMMENT if done < size and block[done] == comment else PLAIN
        elif state == PLAIN and byte == quote:
            if at == fresh or (at > floor and block[at - 1] == delimiter):
                state = QUOTED
        elif state == PLAIN:
            done = floor = at + 2
            if done > size:
                state = PLAIN_ESCAPE
    if state == PLAIN:
        if begin == size:
            state = START
        elif size > floor and block[-1] == delimiter:
            state = FIELD
    notes[:] = state, count, first_end


def _places(data: Bytes, *wanted: int) -> npt.NDArray[np.int64]:
    """Where one of these bytes stands."""
    mask = np.zeros(len(data), np.bool_)
    for byte in wanted:
        if byte != NONE:
            mask |= data == byte
    return np.flatnonzero(mask)
