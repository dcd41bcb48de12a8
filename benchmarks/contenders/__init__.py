"""Who runs: one file for each peer."""

from __future__ import annotations

from benchmarks.contenders.base import Contender
from benchmarks.contenders.by_hand import ArrowToDuckDB, CopyByHand, Pandas
from benchmarks.contenders.core import Core, ShardedCore
from benchmarks.contenders.floors import ArrowRead, ArrowToPostgres, PydanticByRow
from benchmarks.contenders.peer_dlt import Dlt
from benchmarks.contenders.peer_duckdb import DuckDB
from benchmarks.contenders.peer_polars import Polars
from benchmarks.contenders.peer_zoopipe import ShardedZoopipe, Zoopipe, ZoopipeSQL

CONTENDERS: dict[str, Contender] = {
    "adbc": ArrowToPostgres(),
    "arrow-at-once": ArrowRead(streaming=False),
    "arrow-stream": ArrowRead(streaming=True),
    "core": Core(),
    "core-1-thread": Core(threads=1),
    "duckdb": DuckDB(),
    "polars": Polars(),
    "pydantic": PydanticByRow(),
    "zoopipe": Zoopipe(),
}
"""Every contender by the name that the command line and the results use."""

SHARDED: dict[str, Contender] = {
    **{f"core-{workers}-workers": ShardedCore(workers) for workers in (1, 2, 4)},
    **{f"core-2-workers-{staging}": ShardedCore(2, staging) for staging in ("parts", "tables")},
    "core-2-workers-8-shards": ShardedCore(2, shards=8),
    "zoopipe-2-workers": ShardedZoopipe(2),
}
"""Those of the jobs in `benchmarks.scaling`, which work with several processes."""

WAREHOUSE: dict[str, Contender] = {
    "copy": CopyByHand(),
    "dlt-arrow": Dlt(arrow=True),
    "dlt-pydantic": Dlt(arrow=False),
    "duckdb-ready": ArrowToDuckDB(),
    "pandas": Pandas(),
    "zoopipe-sql": ZoopipeSQL(),
}
"""Those of the jobs in `benchmarks.warehouse`, which load into tables."""

EVERYBODY: dict[str, Contender] = {**CONTENDERS, **SHARDED, **WAREHOUSE}

OURS = "core"
