"""What is loaded and what is rejected are, to the row, the two sets that the source consists of."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from pydantic import BaseModel

from tests.databases import execute
from zoopipe_core import Pipe, SQLOutputAdapter
from zoopipe_core.ledger import loads

ROWS = 1_000_000
NTH_BAD = 97


class Numbered(BaseModel):
    id: int


@pytest.mark.parametrize("database_uri", ["duckdb", "postgresql"], indirect=True)
def test_of_a_million_rows_exactly_the_good_ones_are_loaded_and_the_bad_ones_rejected(
    database_uri: str, tmp_path: Path
) -> None:
    bad = range(NTH_BAD, ROWS + 1, NTH_BAD)
    lines = list(map(str, range(ROWS + 1)))
    lines[0] = "id"
    for number in bad:
        lines[number] = f"#{number}"
    source, rejects = tmp_path / "in.csv", tmp_path / "rejects.parquet"
    source.write_text("\n".join(lines))
    load = Pipe(source, SQLOutputAdapter(database_uri, "t", "append"), rejects, Numbered, load_id="a")
    assert load.run(on_report_update=None), load.report
    report = load.report
    assert (report.read_rows, report.loaded_rows, report.rejected_rows) == (ROWS, ROWS - len(bad), len(bad))
    # Distinct numbers, so many of them, in those bounds, with that sum, and none of the others.
    bounds = "count(*), count(DISTINCT id), min(id), max(id), sum(id)::bigint"
    summed = f"SELECT {bounds}, sum((id % {NTH_BAD} = 0)::int)::bigint FROM t"
    good = np.setdiff1d(np.arange(1, ROWS + 1), np.array(bad), assume_unique=True)
    assert execute(database_uri, summed) == [(len(good), len(good), 1, ROWS, int(good.sum()), 0)]
    table = pq.read_table(rejects)
    assert table["_row"].to_pylist() == list(bad)
    assert table["id"].to_pylist() == [f"#{number}" for number in bad]
    (record,) = loads(database_uri, "t")
    assert (record.report.loaded_rows, record.report.rejected_rows) == (len(good), len(bad))
