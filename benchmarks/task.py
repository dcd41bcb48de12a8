"""What one run has to do, in a form that crosses to the process that does it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

THREADS = 2
"""How many threads every contender may use."""

SUFFIXES = {"jsonl": ".jsonl", "csv": ".csv", "parquet": ".parquet", "duckdb": ".duckdb"}
TABLES = ("duckdb", "postgresql")
TABLE = "users"


@dataclass(frozen=True)
class Task:
    """One load, for any contender.

    source: the file to load. source_format: ``csv`` or ``jsonl``.
    expected: the good rows as Parquet; only for a contender that is to start from them.
    target: ``none``, ``jsonl``, ``csv``, ``parquet``, ``duckdb`` or ``postgresql``.
    hook: ``none``, ``row`` or ``column``: what `benchmarks.enrich` describes, done to each row.
    columns: how many columns the source has; see `benchmarks.model`.
    folder: an empty folder, for what is written.
    database: the URL of the PostgreSQL database, which has no table of the name `TABLE`.
    mode: what a load does to the table: ``append``, ``replace`` or ``merge`` (by ``user_id``).
    before: a file whose rows the contender has to load first, by its own means and before the clock starts, so that
        there is something to replace or merge with. It is the beginning of `source`.
    clean, clean_before: the good rows of `source` and `before` as CSV, for those who cannot tell good from bad.
    """

    source: str
    source_format: str
    expected: str
    target: str
    hook: str
    columns: int
    folder: str
    database: str
    mode: str = "append"
    before: str = ""
    clean: str = ""
    clean_before: str = ""

    @property
    def output(self) -> Path:
        """The file to write, for the targets that are one."""
        return Path(self.folder) / f"out{SUFFIXES[self.target]}"

    @property
    def writes_file(self) -> bool:
        return self.target in SUFFIXES

    def rejects(self, suffix: str) -> Path:
        """Where the bad rows go; ``.csv`` or ``.jsonl``, as a contender likes best."""
        return Path(self.folder) / f"rejects{suffix}"

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Task:
        return cls(**json.loads(text))
