"""A load is undone where a later step of its transaction fails."""

from pathlib import Path

import pytest
from prefect import flow
from prefect.transactions import transaction

from tests.databases import execute
from tests.prefect.loads import User
from zoopipe_core import Pipe, SQLOutputAdapter
from zoopipe_core.errors import SpecError
from zoopipe_core.ledger import loads
from zoopipe_core.testing import ThreadEngine
from zoopipe_prefect import parallelize_pipe, run_pipe

pytestmark = pytest.mark.usefixtures("prefect_api")

COLUMN = "_load_id"


def users(uri: str, *ids: int, load_id: str | None = None) -> Pipe:
    """Adds rows to the table `users`."""
    rows = [{"id": number} for number in ids]
    return Pipe(rows, SQLOutputAdapter(uri, "users", mode="append"), schema_model=User, load_id=load_id)


def rows(uri: str) -> list[int]:
    return [number for (number,) in execute(uri, "SELECT id FROM users ORDER BY id")]


def statuses(uri: str) -> dict[str, str]:
    return {load.load_id: load.status for load in loads(uri, "users")}


def test_rows_that_a_transaction_added_are_taken_out_if_a_later_step_fails(folder: Path) -> None:
    uri = f"duckdb:///{folder}/warehouse.duckdb"

    @flow
    def nightly(day: str, fails: bool) -> list[str]:
        with transaction():
            named = run_pipe(users(uri, 1, 2, load_id=day), load_id_column=COLUMN)
            unnamed = run_pipe(users(uri, 3), load_id_column=COLUMN)
            sharded = parallelize_pipe(users(uri, 4), 2, ThreadEngine(), load_id_column=COLUMN)
            if fails:
                raise ConnectionError("the step after the loads fails")
        return [named["load_id"], unnamed["load_id"], sharded["load_id"]]

    kept = nightly("day 1", fails=False)
    with pytest.raises(ConnectionError):
        nightly("day 2", fails=True)
    assert rows(uri) == [1, 2, 3, 4]
    found = statuses(uri)
    assert [found.pop(load_id) for load_id in kept] == ["completed"] * 3
    assert sorted(found.values()) == ["undone"] * 3
    nightly("day 2", fails=False)
    assert rows(uri) == [1, 1, 2, 2, 3, 3, 4, 4]
    assert statuses(uri)["day 2"] == "completed"


def test_what_an_earlier_run_has_loaded_is_not_undone(folder: Path) -> None:
    uri = f"duckdb:///{folder}/warehouse.duckdb"

    @flow
    def nightly(fails: bool) -> None:
        with transaction():
            run_pipe(users(uri, 1, load_id="day 1"), load_id_column=COLUMN)
            run_pipe(users(uri, 2), load_id_column=COLUMN)
            if fails:
                raise ConnectionError("the step after the loads fails")

    nightly(False)
    with pytest.raises(ConnectionError):
        nightly(True)
    assert rows(uri) == [1, 2]


def test_rows_that_somebody_has_changed_since_are_left_to_people(folder: Path) -> None:
    uri = f"duckdb:///{folder}/warehouse.duckdb"

    @flow
    def nightly() -> None:
        with transaction():
            run_pipe(users(uri, 1, 2, load_id="day 1"), load_id_column=COLUMN)
            execute(uri, "DELETE FROM users WHERE id = 1")
            raise ConnectionError("the step after the load fails")

    with pytest.raises(ConnectionError):
        nightly()
    assert (rows(uri), statuses(uri)) == ([2], {"day 1": "completed"})


def test_a_load_that_could_not_be_undone_is_refused_before_it_begins(folder: Path) -> None:
    replaces = Pipe("users.csv", "duckdb:///warehouse.duckdb::users", schema_model=User)

    @flow
    def nightly() -> None:
        with pytest.raises(SpecError, match='a table with mode="replace"'):
            run_pipe(replaces, load_id_column=COLUMN)
        with pytest.raises(SpecError, match='a table with mode="replace"'):
            parallelize_pipe(replaces, 2, ThreadEngine(), load_id_column=COLUMN)

    nightly()
    assert [path.name for path in folder.iterdir()] == ["users.csv"]
