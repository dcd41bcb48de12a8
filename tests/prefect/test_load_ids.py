"""What a flow run or a task that is tried again does not load twice."""

from pathlib import Path
from typing import Any

import pytest
from prefect import flow
from prefect.runtime import flow_run

from tests.databases import execute
from tests.prefect.loads import FailOnce, User
from zoopipe_core import Pipe, SQLInputAdapter, SQLOutputAdapter
from zoopipe_core.errors import LoadFailedError
from zoopipe_core.testing import ThreadEngine
from zoopipe_prefect import ZooPipeLoad, parallelize_pipe, run_pipe, run_pipes

pytestmark = pytest.mark.usefixtures("prefect_api")


@pytest.fixture
def warehouse(folder: Path) -> str:
    """Has a table `source` of two rows, and an empty one for users: SQLite lets no two loads make it together."""
    uri = f"sqlite:///{folder}/warehouse.sqlite"
    execute(uri, "CREATE TABLE users (id INTEGER)", "CREATE TABLE source (id INTEGER)")
    execute(uri, "INSERT INTO source VALUES (7), (8)")
    return uri


def triggered(uri: str) -> Pipe:
    """What a stored load runs."""
    target = SQLOutputAdapter(uri, "users", mode="append")
    return Pipe(SQLInputAdapter(uri, "SELECT id + 90 AS id FROM source"), target, schema_model=User)


def rows(uri: str) -> list[int]:
    return [number for (number,) in execute(uri, "SELECT id FROM users ORDER BY id")]


def test_a_flow_run_that_is_tried_again_adds_nothing_twice(warehouse: str, folder: Path) -> None:
    target = SQLOutputAdapter(warehouse, "users", mode="append")
    query = Pipe(SQLInputAdapter(warehouse, "SELECT id FROM source"), target, schema_model=User)
    file = Pipe("users.csv", target, schema_model=User)
    ids: list[list[str]] = []

    @flow(retries=1)
    def nightly() -> None:
        # Rows in memory are told apart by the order of the calls only.
        reports = [run_pipe(Pipe(({"id": n} for n in part), target, schema_model=User)) for part in ((1, 2), (3, 4))]
        # The same load, called for twice, is wanted twice.
        reports += [future.result() for future in [run_pipe.submit(query), run_pipe.submit(query)]]
        reports += [run_pipes([query, file], ThreadEngine())["pipes"][0], parallelize_pipe(query, 1, ThreadEngine())]
        ids.append(sorted(report["load_id"] for report in reports))
        stored = ZooPipeLoad(pipe=f"{__name__}:triggered", arguments={"uri": warehouse})
        for _ in range(2):
            stored.trigger().wait_for_completion()
        if len(ids) == 1:
            raise ConnectionError("the step after the loads fails")

    nightly()
    first, again = ids
    assert first == again
    assert len(set(first)) == 6
    assert rows(warehouse) == [1, 1, 2, 2, 3, 4] + [7] * 4 + [8] * 4 + [97] * 2 + [98] * 2
    nightly()  # another flow run, which is another load
    assert rows(warehouse) == [1] * 4 + [2] * 4 + [3, 3, 4, 4] + [7] * 8 + [8] * 8 + [97] * 4 + [98] * 4


def test_a_file_that_was_fetched_anew_between_two_tries_is_not_added_again(warehouse: str, folder: Path) -> None:
    target = SQLOutputAdapter(warehouse, "users", mode="append")

    @flow(retries=1)
    def nightly() -> None:
        with (folder / "users.csv").open("a") as file:
            file.write(f"{flow_run.run_count * 10}\n")
        run_pipe(Pipe("users.csv", target, schema_model=User))
        raise ConnectionError("the step after the load fails")

    with pytest.raises(LoadFailedError, match=r"completed .* with another input"):
        nightly()
    assert rows(warehouse) == [1, 2, 10]


def test_a_subflow_that_is_tried_again_with_its_parent_adds_nothing_twice(warehouse: str) -> None:
    target = SQLOutputAdapter(warehouse, "users", mode="append")
    tries: list[str] = []

    @flow
    def part(number: int) -> None:
        tries.append(str(flow_run.id))
        run_pipe(Pipe([{"id": number}], target, schema_model=User))
        if len(tries) == 2:
            raise ConnectionError("the step after the load fails")

    @flow(retries=1)
    def nightly() -> None:
        part(1)
        part(2)

    nightly()
    assert len(set(tries)) == 3  # the second part has run twice, as a new flow run
    assert rows(warehouse) == [1, 2]


def test_a_task_that_is_tried_again_keeps_its_load_id(warehouse: str, folder: Path) -> None:
    target = SQLOutputAdapter(warehouse, "users", mode="append")
    once = FailOnce(folder / "failed")
    pipe = Pipe(SQLInputAdapter(warehouse, "SELECT id FROM source"), target, None, User, [once])

    @flow
    def nightly() -> Any:
        return str(flow_run.id), run_pipe.with_options(retry_delay_seconds=0)(pipe, name="tried twice")

    run_id, report = nightly()
    assert report["load_id"].startswith(f"{run_id}/run_pipe/tried twice~")
    assert report["load_id"][-13] == "~"  # the first of its kind, though it is the second try
    assert report["attempt"] == 2
    assert rows(warehouse) == [7, 8]


def test_a_load_id_that_is_given_is_kept_and_a_target_that_is_replaced_needs_none(warehouse: str) -> None:
    query = SQLInputAdapter(warehouse, "SELECT id FROM source")

    @flow
    def nightly() -> Any:
        given = Pipe(query, SQLOutputAdapter(warehouse, "users", "append"), schema_model=User, load_id="day 1")
        replaced = Pipe(query, SQLOutputAdapter(warehouse, "replaced"), schema_model=User)
        return [run_pipe(pipe)["load_id"] for pipe in (given, given, replaced)]

    assert nightly() == ["day 1", "day 1", None]
    assert rows(warehouse) == [7, 8]


def test_rows_in_memory_that_are_submitted_have_no_name_by_which_one_could_pass_for_another(warehouse: str) -> None:
    target = SQLOutputAdapter(warehouse, "users", mode="append")

    @flow
    def nightly() -> Any:
        pipes = [Pipe([{"id": n}], target, schema_model=User) for n in (1, 2)]
        return [future.result()["load_id"] for future in [run_pipe.submit(pipe, name="m") for pipe in pipes]]

    assert nightly() == [None, None]
    assert rows(warehouse) == [1, 2]
