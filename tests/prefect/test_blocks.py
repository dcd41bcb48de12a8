"""Credentials and loads that are stored in Prefect, and where a password gets to."""

import os
import pickle
import traceback
from pathlib import Path
from typing import Any

import pytest
from prefect import flow
from prefect.blocks.core import Block
from prefect.events.worker import EventsWorker
from prefect.logging.handlers import APILogHandler
from prefect.testing.standard_test_suites import BlockStandardTestSuite
from prefect_sqlalchemy import AsyncDriver, ConnectionComponents, SqlAlchemyConnector
from pydantic import SecretStr, ValidationError

from tests.databases import execute, path_of, tables_of
from tests.prefect.loads import Slow, User
from zoopipe_core import Pipe, PipeReport, SingleThreadExecutor, SQLOutputAdapter
from zoopipe_core.errors import LoadAbortedError, LoadFailedError
from zoopipe_prefect import WarehouseCredentials, ZooPipeLoad, load_flow, run_pipe, warehouse_uri

CANARY = "cAnary/42@:?"


class TestBlocksAreAsPrefectWantsThem(BlockStandardTestSuite):
    @pytest.fixture(params=[WarehouseCredentials, ZooPipeLoad], ids=lambda block: block.__name__)
    def block(self, request: pytest.FixtureRequest) -> type[Block]:
        return request.param  # type: ignore[no-any-return]

    def test_has_a_valid_image(self, block: type[Block]) -> None:
        """The suite's own test would fetch it from the network."""
        assert str(block._logo_url).endswith(".png")


# ---- loads that stored blocks name


def users(uri: SecretStr, source: str = "users.csv", mode: str = "append") -> Pipe:
    return Pipe(source, SQLOutputAdapter(uri, "users", mode=mode), "rejects.csv", User)


def slow_users() -> Pipe:
    return Pipe("users.csv", "users.jsonl", None, User, [Slow()], executor=SingleThreadExecutor(batch_size=1))


def several() -> list[Pipe]:
    return [Pipe("users.csv", f"{name}.jsonl", None, User) for name in ("one", "two")]


HERE = "tests.prefect.test_blocks"


def credentials_of(uri: str) -> WarehouseCredentials:
    """The database of tests as a block with fields of its own."""
    kind = uri.partition(":")[0]
    if kind != "postgresql":
        return WarehouseCredentials(kind=kind, path=str(path_of(uri)))
    place, _, query = uri.partition("?")
    folder = query.removeprefix("host=")
    return WarehouseCredentials(
        kind="postgresql",
        username="postgres",
        password=SecretStr(CANARY),
        database=place.rpartition("/")[2],
        parameters={"host": folder},
    )


def test_a_stored_load_is_triggered_waited_for_and_has_a_report(database_uri: str, prefect_api: str) -> None:
    kind = database_uri.partition(":")[0]
    credentials_of(database_uri).save(f"warehouse-{kind}", overwrite=True)
    stored = ZooPipeLoad(pipe=f"{HERE}:users", credentials=WarehouseCredentials.load(f"warehouse-{kind}"))
    stored.save(f"users-{kind}", overwrite=True)

    @flow
    def nightly() -> PipeReport:
        run = ZooPipeLoad.load(f"users-{kind}").trigger()
        run.wait_for_completion()
        return run.fetch_result()

    report = nightly()
    assert (report.loaded_rows, report.rejected_rows) == (2, 1)
    assert execute(database_uri, "SELECT id FROM users ORDER BY id") == [(1,), (2,)]


def test_a_load_that_is_stored_may_be_done_by_workers_or_be_several(folder: Path) -> None:
    credentials = WarehouseCredentials(kind="duckdb", path=str(folder / "warehouse.duckdb"))
    sharded = ZooPipeLoad(pipe=f"{HERE}:users", credentials=credentials, workers=2, engine="zoosync").trigger()
    sharded.wait_for_completion()
    both = ZooPipeLoad(pipe=f"{HERE}:several", engine="zoosync").trigger()
    both.wait_for_completion()
    assert [sharded.fetch_result().loaded_rows, both.fetch_result().loaded_rows] == [2, 4]


def test_a_triggered_load_that_fails_is_cancelled_or_takes_too_long_says_so(folder: Path) -> None:
    (folder / "users.csv").write_text("id\n" + "1\n" * 300)
    lost = ZooPipeLoad(pipe=f"{HERE}:users", arguments={"uri": "duckdb:///w.duckdb", "source": "gone.csv"}).trigger()
    with pytest.raises(LoadFailedError, match=r"gone\.csv"):
        lost.wait_for_completion()
    late = ZooPipeLoad(pipe=f"{HERE}:slow_users").trigger()
    with pytest.raises(LoadFailedError, match="has not finished"):
        late.fetch_result()
    with pytest.raises(TimeoutError, match=r"users\.csv -> users\.jsonl took over 0\.3 s"):
        late.wait_for_completion(timeout=0.3)
    with pytest.raises(LoadAbortedError):
        late.fetch_result()
    assert not (folder / "users.jsonl").exists()


@pytest.mark.parametrize(
    ("place", "arguments", "error"),
    [
        ("users.csv", {}, ValueError),
        (f"{HERE}:gone", {}, AttributeError),
        ("no.such.module:users", {}, ImportError),
        (f"{HERE}:users", {"nothing": 1}, TypeError),
        (f"{HERE}:HERE", {}, TypeError),
    ],
)
def test_a_place_without_a_load_is_refused(place: str, arguments: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        ZooPipeLoad(pipe=place, arguments=arguments).trigger()


# ---- credentials


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "duckdb"},
        {"kind": "sqlite", "path": "a.db", "password": CANARY},
        {"kind": "postgresql", "path": "a.db", "password": CANARY},
        {"kind": "postgresql", "host": "db.example", "password": CANARY},
        {"kind": "oracle", "password": CANARY},
        {"kind": "postgresql", "database": "d", "secret": CANARY},
        {"kind": "postgresql", "database": "d", "port": CANARY},
    ],
)
def test_fields_that_name_no_database_are_refused_without_being_shown(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        WarehouseCredentials(**fields)
    assert CANARY not in f"{caught.value} {caught.value!r}"


@pytest.mark.parametrize("asynchronous", [False, True])
def test_credentials_of_prefect_sqlalchemy_are_credentials_here(asynchronous: bool) -> None:
    driver = AsyncDriver.POSTGRESQL_ASYNCPG if asynchronous else "postgresql"
    block = SqlAlchemyConnector.model_construct(
        connection_info=ConnectionComponents(
            driver=driver, username="me", password=SecretStr(CANARY), host="db.example", database="sales"
        )
    )
    own = WarehouseCredentials(
        kind="postgresql", username="me", password=SecretStr(CANARY), host="db.example", database="sales"
    )
    assert SQLOutputAdapter(warehouse_uri(block), "t").label == "postgresql://db.example/sales::t"
    uri = warehouse_uri(block).get_secret_value().replace("+asyncpg", "")
    assert uri == own.get_uri().get_secret_value() == warehouse_uri(own).get_secret_value()


def test_the_connector_of_prefect_sqlalchemy_opens_its_file_here(folder: Path) -> None:
    connector = SqlAlchemyConnector(connection_info=f"sqlite+pysqlite:///{folder}/app.sqlite")
    assert Pipe("users.csv", SQLOutputAdapter(warehouse_uri(connector), "users"), None, User).run()
    connector.close()
    assert execute(f"sqlite:///{folder}/app.sqlite", "SELECT count(*) FROM users") == [(2,)]


def test_a_block_of_another_kind_is_no_database() -> None:
    with pytest.raises(TypeError, match="not a ZooPipeLoad"):
        warehouse_uri(ZooPipeLoad(pipe="a:b"))


# ---- where a password gets to


def scrapped(folder: Path) -> list[str]:
    """The files in a folder that hold the password, or a part of it, as it is or as URLs have it."""
    return [str(path) for path in folder.rglob("*") if path.is_file() and b"cAnary" in path.read_bytes()]


def all_rows(uri: str) -> str:
    """All that a database of PostgreSQL holds, as text."""
    return repr([execute(uri, f'SELECT "{table}"::text FROM "{table}"') for table in sorted(tables_of(uri))])


def test_a_password_reaches_the_connection_and_nothing_else(
    postgres_uri: str,
    prefect_api: str,
    prefect_database: str,
    folder: Path,
    tmp_path_factory: pytest.TempPathFactory,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    good = credentials_of(postgres_uri)
    good.save("canary", overwrite=True)
    lost = good.model_copy(update={"parameters": {"host": str(folder)}})  # a folder without a server's socket

    @flow(persist_result=True)
    def nightly(reference: str) -> list[Any]:
        once = run_pipe.with_options(retries=0, persist_result=True)
        parameters = {"pipe": f"{HERE}:users", "arguments": {"source": "users.csv"}, "credentials": reference}
        states = [
            load_flow(**parameters, name="canary", return_state=True),
            load_flow(**parameters | {"arguments": {"source": "gone.csv"}}, return_state=True),
            once(users(lost.get_uri()), return_state=True),
            once(Pipe("users.csv", SQLOutputAdapter(warehouse_uri(lost), "users"), None, User), return_state=True),
        ]
        run = ZooPipeLoad(pipe=f"{HERE}:users", credentials=good).trigger()
        run.wait_for_completion()
        return [state.result(raise_on_failure=False, _sync=True) for state in states] + [run.fetch_result()]

    results = nightly("zoopipe-warehouse-credentials/canary")
    assert execute(postgres_uri, "SELECT count(*) FROM users") == [(4,)]  # the file was loaded twice, as it was asked
    assert results[0]["loaded_rows"] == results[-1].loaded_rows == 2
    failed = results[1:4]
    assert [error.report.exception.type for error in failed] == [
        "SourceNotFoundError",
        "DatabaseConnectionError",
        "DatabaseConnectionError",
    ]
    EventsWorker.instance().wait_until_empty()
    APILogHandler().flush()
    shown = [
        capfd.readouterr(),
        caplog.text,
        repr(good),
        str(good),
        *map(repr, results),
        *("".join(traceback.format_exception(error)) for error in failed),
        pickle.dumps(results),
        Path("rejects.csv").read_text(),
    ]
    assert "cAnary" not in repr(shown)
    # The server keeps blocks encrypted; parameters, states, logs, events and artifacts are plain text in its database.
    kept = all_rows(prefect_database)
    assert "zoopipe-warehouse-credentials/canary" in kept
    assert "cAnary" not in kept
    assert scrapped(tmp_path_factory.getbasetemp() / "prefect-server0") == scrapped(folder) == []
    assert scrapped(Path(os.environ["PREFECT_LOCAL_STORAGE_PATH"])) == []
