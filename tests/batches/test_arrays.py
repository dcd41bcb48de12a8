"""Arrays of the commonest types are made without pandas, and are what pyarrow makes of the same values."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoopipe_core.batches.types import NAIVE_MICROSECONDS, UTC_MICROSECONDS, ColumnType

KINDS: dict[pa.DataType, st.SearchStrategy[Any]] = {
    pa.bool_(): st.booleans(),
    pa.date32(): st.dates(),
    pa.float64(): st.floats(allow_nan=False),
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.string(): st.text(st.characters(exclude_categories=["Cs"])),
    NAIVE_MICROSECONDS: st.datetimes(),
    UTC_MICROSECONDS: st.datetimes(
        timezones=st.sampled_from([dt.UTC, dt.timezone(dt.timedelta(hours=-7, minutes=30))]),
        min_value=dt.datetime(1, 1, 3),
        max_value=dt.datetime(9999, 12, 29),
    ),
}


@pytest.mark.parametrize("kind", KINDS, ids=str)
@given(data=st.data())
def test_an_array_is_what_pyarrow_makes_of_the_values(kind: pa.DataType, data: st.DataObject) -> None:
    values = data.draw(st.lists(st.none() | KINDS[kind], max_size=20))
    array = ColumnType(kind).to_array(values)
    array.validate(full=True)
    assert array.equals(pa.array(values, kind))
    assert array.null_count == values.count(None)


def test_making_arrays_of_the_commonest_types_does_not_import_pandas() -> None:
    code = """
import datetime as dt, sys
import pyarrow as pa
from zoopipe_core.batches.types import NAIVE_MICROSECONDS, ColumnType
for kind, value in [(pa.int64(), 1), (pa.float64(), 1.5), (pa.string(), "x"), (pa.bool_(), True),
                    (pa.date32(), dt.date.min), (NAIVE_MICROSECONDS, dt.datetime.max)]:
    ColumnType(kind).to_array([value, None])
assert "pandas" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
