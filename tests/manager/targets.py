"""What loads write to in tests of faults: each with an older state, which a load that fails has to leave.

Workers import this file: what only a look at a target needs is imported there.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from zoopipe_core import Pipe

OLD = -1
"""The id of the one row that an older load has left."""

_OLD_ROW = {"id": OLD, "text": "old"}


@dataclass(frozen=True)
class Target:
    """A file, or a table in one.

    file: its name in the folder ``out``.
    table: the name of the table; empty for a file of rows.
    """

    file: str
    table: str = ""

    def path(self, folder: Path) -> Path:
        return folder / "out" / self.file

    def output(self, folder: Path) -> str:
        """What a pipe is given."""
        path = str(self.path(folder))
        return f"duckdb:///{path}::{self.table}" if self.table else path

    def make_old(self, folder: Path) -> None:
        pipe = Pipe([_OLD_ROW], self.output(folder))
        assert pipe.run(on_report_update=None), pipe.report

    def ids(self, folder: Path) -> list[int]:
        """The column ``id`` of what is there, in order."""
        path = self.path(folder)
        if self.table:
            import duckdb

            with duckdb.connect(str(path), read_only=True) as connection:
                rows = connection.execute(f"SELECT id FROM {self.table} ORDER BY rowid").fetchall()
            return [int(number) for (number,) in rows]
        if path.suffix == ".parquet":
            import pyarrow.parquet as pq

            return [int(number) for number in pq.read_table(path)["id"].to_pylist()]
        lines = path.read_text().splitlines()
        if path.suffix == ".jsonl":
            return [int(json.loads(line)["id"]) for line in lines]
        assert lines[0] == "id,text"
        return [int(line.partition(",")[0]) for line in lines[1:]]


TARGETS = {
    "csv": Target("rows.csv"),
    "jsonl": Target("rows.jsonl"),
    "parquet": Target("rows.parquet"),
    "duckdb": Target("rows.duckdb", "rows"),
}
