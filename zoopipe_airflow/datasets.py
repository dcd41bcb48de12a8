"""What a load reads and writes, by the names that lineage tools and Airflow's assets use: pure functions.

    label of an adapter             OpenLineage: namespace, name                     asset
    /data/users.csv                 file, /data/users.csv                            file:///data/users.csv
    s3://bucket/users.csv           s3://bucket, users.csv                           s3://bucket/users.csv
    postgresql://db/sales::users    postgres://db:5432, sales.public.users           namespace/sales/public/users
    duckdb:///data/wh.db::users     duckdb:///data/wh.db, main.users                 namespace/main/users

Labels hold no secret, so neither do these. What has no name of its own, such as rows of a Python object, or what a
function names that was not called, is no dataset.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from zoopipe_core import Pipe

__all__ = ["Dataset", "columns_of", "dataset_of", "inputs_of", "output_of", "rejects_of"]

POSTGRES_PORT = 5432
_PUBLIC = {"postgresql": "public", "duckdb": "main", "sqlite": "main"}
_DATABASE = re.compile(r"(postgresql|duckdb|sqlite)://(.*?)::(.+)\Z", re.DOTALL)
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*)://([^/]*)/(.*)\Z", re.DOTALL)
# A part of a table's name, quoted or not.
_NAME = re.compile(r'"((?:[^"]|"")*)"|([^."]+)')


@dataclass(frozen=True)
class Dataset:
    """One dataset.

    Attributes:
        namespace, name: as OpenLineage names it.
        uri: as an Airflow asset.
    """

    namespace: str
    name: str
    uri: str


def dataset_of(label: str) -> Dataset | None:
    """The dataset behind the label of an adapter that is a file or a table; None if it has no name.

    >>> found = dataset_of("postgresql://db.example/sales::users")
    >>> found.namespace, found.name, found.uri
    ('postgres://db.example:5432', 'sales.public.users', 'postgres://db.example:5432/sales/public/users')
    >>> dataset_of("s3://bucket/in/users.csv").name
    'in/users.csv'
    """
    database = _DATABASE.match(label)
    if database is not None:
        return _table(*database.groups())
    url = _URL.match(label)
    if url is not None:
        scheme, host, path = url.groups()
        return Dataset(f"{scheme}://{host}", path, f"{scheme}://{host}/{quote(path, safe='/*')}")
    if "://" in label or "()::" in label:  # a table of a database that a function names
        return None
    path = os.path.abspath(label)
    return Dataset("file", path, f"file://{quote(path, safe='/*')}")


def _table(scheme: str, place: str, table: str) -> Dataset | None:
    parts = [quoted.replace('""', '"') or plain for quoted, plain in _NAME.findall(table)]
    schema = parts[-2] if len(parts) > 1 else _PUBLIC[scheme]
    if scheme == "postgresql":
        host, _, name = place.partition("/")
        host = host.rpartition("@")[2] or "localhost"
        if not re.search(r":\d+\Z", host):
            host += f":{POSTGRES_PORT}"
        names = [name, schema, parts[-1]]
        namespace = f"postgres://{host}"
        return Dataset(namespace, ".".join(names), "/".join([namespace, *(quote(each, safe="") for each in names)]))
    namespace = f"{scheme}://{quote(os.path.abspath(os.path.expanduser(place[1:])), safe='/')}"
    names = [schema, parts[-1]]
    return Dataset(namespace, ".".join(names), "/".join([namespace, *(quote(each, safe="") for each in names)]))


def inputs_of(pipe: Pipe) -> list[Dataset]:
    """What a pipe reads: each file or pattern of files, or a table. Of a query, tables are not told."""
    from zoopipe_core import ArrowInputAdapter, CSVInputAdapter, JSONInputAdapter, ParquetInputAdapter, SQLInputAdapter

    source = pipe.input_adapter
    if isinstance(source, SQLInputAdapter) and source.table_name is None:
        return []
    if not isinstance(
        source, ArrowInputAdapter | CSVInputAdapter | JSONInputAdapter | ParquetInputAdapter | SQLInputAdapter
    ):
        return []
    return [found for place in source.places if (found := dataset_of(place)) is not None]


def output_of(pipe: Pipe) -> Dataset | None:
    """What a pipe writes; None if that has no name."""
    return _written(pipe.output_adapter)


def rejects_of(pipe: Pipe) -> Dataset | None:
    """Where the rejected rows of a pipe go; None if nowhere."""
    return _written(pipe.error_output_adapter)


def _written(target: object) -> Dataset | None:
    from zoopipe_core import (
        ArrowOutputAdapter,
        CSVOutputAdapter,
        JSONOutputAdapter,
        ParquetOutputAdapter,
        SQLOutputAdapter,
    )

    if not isinstance(
        target, ArrowOutputAdapter | CSVOutputAdapter | JSONOutputAdapter | ParquetOutputAdapter | SQLOutputAdapter
    ):
        return None
    return dataset_of(target.label)


def columns_of(pipe: Pipe) -> list[tuple[str, str]]:
    """Name and type of each field of the model of a pipe, as they are written in Python; none if it has no model."""
    from pydantic import BaseModel

    model = pipe.schema_model
    if model is None:
        return []
    if isinstance(model, type) and issubclass(model, BaseModel):
        return [(name, _type_name(item.annotation)) for name, item in model.model_fields.items()]
    return [(name, _type_name(kind)) for name, kind in getattr(model, "__annotations__", {}).items()]


def _type_name(annotation: object) -> str:
    return annotation.__name__ if isinstance(annotation, type) else str(annotation).replace("typing.", "")
