"""The example that loads CSV into PostgreSQL by several workers, with a real server."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.databases import execute

ROWS = 1_000
DAY = datetime(2026, 1, 31, tzinfo=UTC)


def write_orders(folder: Path, bad_rows: int) -> None:
    good = [f"{number},customer {number % 7},2026-01-31,{number}.50" for number in range(ROWS - bad_rows)]
    bad = [f"{ROWS + number},,2026-01-31,1.00" for number in range(bad_rows)]
    (folder / "orders").mkdir(exist_ok=True)
    rows = ["order_id,customer,ordered_on,amount", *good, *bad]
    (folder / "orders" / "2026-01-31.csv").write_text("\n".join(rows) + "\n")


@pytest.fixture
def load_orders(
    airflow_dag: Callable[[str], Any], tmp_path: Path, postgres_uri: str, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], Any]:
    """Run the DAG for the day, again and again as the same run; the task instance."""
    monkeypatch.setenv("ZOOPIPE_ORDERS", str(tmp_path))
    monkeypatch.setenv("ZOOPIPE_POSTGRES", postgres_uri)

    dag = airflow_dag("orders_to_postgres")
    monkeypatch.setattr(
        dag.get_task("load_orders"), "retries", 0
    )  # dag.test() would wait for minutes between two tries

    def load() -> Any:
        [task] = dag.test(run_after=DAY, logical_date=DAY).get_task_instances()
        return task

    return load


def xcom(task: Any, key: str = "return_value") -> Any:
    return task.xcom_pull(task_ids="load_orders", key=key)


@pytest.mark.timeout(120)
def test_a_day_is_loaded_once_however_often_its_task_runs(
    load_orders: Callable[[], Any], tmp_path: Path, postgres_uri: str
) -> None:
    write_orders(tmp_path, bad_rows=3)
    first = load_orders()
    again = load_orders()
    assert (first.state, again.state, first.run_id) == ("success", "success", again.run_id)
    for task in (first, again):
        report = xcom(task)
        assert (report["read_rows"], report["loaded_rows"], report["rejected_rows"]) == (ROWS, ROWS - 3, 3)
        assert report["load_id"] == f"orders_to_postgres/load_orders/{first.run_id}"
        assert postgres_uri not in str(report)
    counts = execute(postgres_uri, "SELECT count(*), sum(amount)::text FROM orders")
    assert counts == [(ROWS - 3, str(sum(range(ROWS - 3)) + (ROWS - 3) / 2) + "0")]
    assert len((tmp_path / "rejects" / "2026-01-31.csv").read_text().splitlines()) == 4

    write_orders(tmp_path, bad_rows=4)
    changed = load_orders()
    assert changed.state == "failed"
    assert xcom(changed, "report")["exception"]["type"] == "LoadIdError"
    assert execute(postgres_uri, "SELECT count(*) FROM orders") == [(ROWS - 3,)]


@pytest.mark.timeout(120)
def test_more_rejects_than_one_in_a_hundred_stop_the_day(
    load_orders: Callable[[], Any], tmp_path: Path, postgres_uri: str
) -> None:
    write_orders(tmp_path, bad_rows=20)
    task = load_orders()
    assert task.state == "failed"
    assert xcom(task, "report")["exception"]["type"] == "TooManyRejectsError"
    assert execute(postgres_uri, "SELECT to_regclass('orders')::text") == [(None,)]
    assert len((tmp_path / "rejects" / "2026-01-31.csv").read_text().splitlines()) == 21
