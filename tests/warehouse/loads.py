"""What tests of loads into databases share."""

import os
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from tests.databases import execute
from zoopipe_core import Pipe, SQLOutputAdapter

LEDGER = "_zoopipe_loads"


class Person(BaseModel):
    id: int
    name: str


def people(folder: Path, *numbers: Any, name: str = "people.csv") -> Path:
    """A file of one person for each number."""
    path = folder / name
    path.write_text("id,name\n" + "".join(f"{number},n{number}\n" for number in numbers))
    return path


def changed(path: Path, *numbers: Any) -> Path:
    """The same file with other people, and of a later time."""
    before = path.stat().st_mtime_ns
    people(path.parent, *numbers, name=path.name)
    os.utime(path, ns=(before + 10**9, before + 10**9))
    return path


_OF_PIPE = ("load_id", "if_loaded", "max_errors", "post_validation_hooks")


def pipe(source: Any, uri: str, table: str = "t", mode: str = "append", **options: Any) -> Pipe:
    """A load of people; `options` are those of `SQLOutputAdapter` and of `Pipe`."""
    of_pipe = {name: options.pop(name) for name in _OF_PIPE if name in options}
    model = options.pop("model", Person)
    rejects = options.pop("rejects", None)
    return Pipe(source, SQLOutputAdapter(uri, table, mode, **options), rejects, model, **of_pipe)


def ids(uri: str, table: str = "t") -> list[int]:
    """The numbers in the table, in order."""
    return [number for (number,) in execute(uri, f"SELECT id FROM {table} ORDER BY id")]
