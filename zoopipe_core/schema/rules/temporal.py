"""Rules for date, datetime, time and timedelta."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic_core import TzInfo

from zoopipe_core.batches.model import Column
from zoopipe_core.batches.types import NAIVE_MICROSECONDS, UTC_MICROSECONDS, ColumnType
from zoopipe_core.kernels import temporal
from zoopipe_core.kernels._jit import SURE, UNSURE
from zoopipe_core.kernels.buffers import TextCells
from zoopipe_core.schema.model_types import CoreSchema
from zoopipe_core.schema.rules.base import State, fixed
from zoopipe_core.schema.rules.numbers import RANGE, Check, Rules, int_range, numpy_values

__all__ = ["date_rules", "datetime_rules", "time_rules", "timedelta_rules"]

EPOCH = dt.datetime(1970, 1, 1)
MICROSECOND = dt.timedelta(microseconds=1)


def _bounds(
    schema: CoreSchema, number: Callable[[Any], int | None], least: int | None = None, most: int | None = None
) -> Check | None:
    """A check of whole numbers by the bounds of `schema`, and by the `least` and `most` that Python can hold.

    number: turns a bound into a whole number; None if it cannot be checked, for which there is no check at all.
    """
    lower = [] if least is None else [least]
    upper = [] if most is None else [most]
    for name in RANGE & schema.keys():
        bound = number(schema[name])
        if bound is None:
            return None
        (lower if name[0] == "g" else upper).append(bound + {"gt": 1, "lt": -1}.get(name, 0))
    return int_range(max(lower, default=None), min(upper, default=None))


def _unlimited(schema: CoreSchema) -> bool:
    return RANGE.isdisjoint(schema)


# ---- date ---------------------------------------------------------------------------------------------------------


def date_rules(schema: CoreSchema, config: Mapping[str, Any], strict: bool) -> Rules:
    """``YYYY-MM-DD``. Typed: dates."""
    check = _bounds(schema, _days, _days(dt.date.min), _days(dt.date.max))
    if check is None:
        return None

    def text(cells: TextCells, state: State, kind: ColumnType) -> Column:
        values = np.zeros(len(cells), np.int32)
        temporal.parse_date(cells.data, cells.starts, cells.ends, values, state)
        if not _unlimited(schema):
            check(values.astype(np.int64), state)
        return fixed(cells, values, kind, np.zeros(0, np.uint8))

    def typed(array: pa.Array, state: State, kind: ColumnType) -> Column | None:
        if array.type != pa.date32():
            return None
        check(numpy_values(array, np.int32).astype(np.int64), state)
        return Column(kind, None, array)

    return text, typed


def _days(day: Any) -> int | None:
    return (day - EPOCH.date()).days if type(day) is dt.date else None


# ---- datetime -----------------------------------------------------------------------------------------------------


def datetime_rules(schema: CoreSchema, config: Mapping[str, Any], strict: bool) -> Rules:
    """ISO datetimes, naive or with an offset. Typed: timestamps to the microsecond, naive or in UTC."""
    constraint = schema.get("tz_constraint")
    if constraint not in (None, "aware", "naive") or schema.get("microseconds_precision", "truncate") != "truncate":
        return None
    zones = {_has_zone(schema[name]) for name in RANGE & schema.keys()}
    check = _bounds(schema, _micros, _micros(dt.datetime.min), _micros(dt.datetime.max))
    if check is None or len(zones) > 1:
        return None
    bounded = zones.pop() if zones else None  # whether the bounds are aware; they say little of the other kind

    def text(cells: TextCells, state: State, kind: ColumnType) -> Column:
        values, offsets = np.zeros(len(cells), np.int64), np.zeros(len(cells), np.int32)
        respelled = np.zeros(len(cells), np.uint8)
        temporal.parse_datetime(cells.data, cells.starts, cells.ends, values, offsets, state, respelled)
        if bounded is not None:
            state[(offsets != temporal.NAIVE) != bounded] = UNSURE
            check(values, state)
        sure = state == SURE
        if constraint is None:
            # The first one decides for the batch; pydantic takes the others.
            first = int(np.argmax(sure)) if sure.any() else None
            aware = kind.arrow.tz is not None if first is None else bool(offsets[first] != temporal.NAIVE)
        else:
            aware = constraint == "aware"
        state[(offsets != temporal.NAIVE) != aware] = UNSURE
        resolved = ColumnType(UTC_MICROSECONDS if aware else NAIVE_MICROSECONDS, kind.nullable)
        column = fixed(cells, values, resolved, respelled)
        if aware and np.any(offsets[state == SURE]):
            return Column(resolved, _with_offsets(values, offsets, state))
        return column

    def typed(array: pa.Array, state: State, kind: ColumnType) -> Column | None:
        given = array.type
        if given not in (NAIVE_MICROSECONDS, UTC_MICROSECONDS):
            return None
        aware = given.tz is not None
        if (constraint == "aware") != aware and constraint is not None:
            return None
        if bounded not in (None, aware):
            return None
        check(numpy_values(array, np.int64), state)
        return Column(ColumnType(given, kind.nullable), None, array)

    return text, typed


def _has_zone(moment: Any) -> bool:
    return getattr(moment, "tzinfo", None) is not None


def _micros(moment: Any) -> int | None:
    """Microseconds since 1970: of the wall clock if it is naive, else in UTC. None if its offset is no whole second."""
    if type(moment) is not dt.datetime:
        return None
    if moment.tzinfo is None:
        return (moment - EPOCH) // MICROSECOND
    offset = moment.utcoffset()
    if offset is None or offset.microseconds:
        return None
    return (moment.replace(tzinfo=None) - EPOCH - offset) // MICROSECOND


def _with_offsets(values: Any, offsets: Any, state: State) -> list[dt.datetime | None]:
    """Datetimes with their own offsets, which an Arrow column cannot hold."""
    zones = {offset: TzInfo(offset) for offset in np.unique(offsets[state == SURE]).tolist()}
    return [
        (EPOCH + dt.timedelta(microseconds=micros + offset * 1_000_000)).replace(tzinfo=zones[offset]) if ok else None
        for micros, offset, ok in zip(values.tolist(), offsets.tolist(), (state == SURE).tolist(), strict=True)
    ]


# ---- time, timedelta ----------------------------------------------------------------------------------------------


def time_rules(schema: CoreSchema, config: Mapping[str, Any], strict: bool) -> Rules:
    """``HH:MM[:SS[.f]]`` without an offset. Typed: times to the microsecond."""
    if schema.get("microseconds_precision", "truncate") != "truncate" or schema.get("tz_constraint") == "aware":
        return None
    check = _bounds(schema, _since_midnight, 0, temporal.DAY - 1)
    if check is None:
        return None

    def text(cells: TextCells, state: State, kind: ColumnType) -> Column:
        values = np.zeros(len(cells), np.int64)
        temporal.parse_time(cells.data, cells.starts, cells.ends, values, state)
        if not _unlimited(schema):
            check(values, state)
        return fixed(cells, values, kind)

    def typed(array: pa.Array, state: State, kind: ColumnType) -> Column | None:
        if array.type != pa.time64("us"):
            return None
        check(numpy_values(array, np.int64), state)
        return Column(kind, None, array)

    return text, typed


def _since_midnight(time: Any) -> int | None:
    """Microseconds; None for a time with a zone."""
    if type(time) is not dt.time or time.tzinfo is not None:
        return None
    return ((time.hour * 60 + time.minute) * 60 + time.second) * 1_000_000 + time.microsecond


def timedelta_rules(schema: CoreSchema, config: Mapping[str, Any], strict: bool) -> Rules:
    """ISO durations, and days with a time of day. Typed: durations in microseconds."""
    if schema.get("microseconds_precision", "truncate") != "truncate":
        return None
    check = _bounds(schema, lambda span: span // MICROSECOND if type(span) is dt.timedelta else None)
    if check is None:
        return None

    def text(cells: TextCells, state: State, kind: ColumnType) -> Column:
        values = np.zeros(len(cells), np.int64)
        temporal.parse_timedelta(cells.data, cells.starts, cells.ends, values, state)
        check(values, state)
        return fixed(cells, values, kind)

    def typed(array: pa.Array, state: State, kind: ColumnType) -> Column | None:
        if array.type != pa.duration("us"):
            return None
        check(numpy_values(array, np.int64), state)
        return Column(kind, None, array)

    return text, typed
