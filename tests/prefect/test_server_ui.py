"""What Prefect's own pages show of a load, in a real browser.

With ``ZOOPIPE_PICTURES=docs/images`` the pictures in the documentation are taken anew.
"""

import os
import shutil
import struct
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.runtime import flow_run
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.support.wait import WebDriverWait

from examples_common.nycflights import MODELS, source
from tests.browser import Browser
from tests.prefect.loads import artifact
from zoopipe_core import CSVInputAdapter, Pipe
from zoopipe_prefect import run_pipe, run_pipes

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
]

ROOT = Path(__file__).resolve().parent.parent.parent

SIZE = (1280, 1180)  # a card that is out of sight is not drawn
MOST_BYTES = 200_000


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return ROOT / os.environ["ZOOPIPE_PICTURES"] if "ZOOPIPE_PICTURES" in os.environ else tmp_path


@pytest.fixture(scope="module")
def run_id(prefect_api: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A flow run that has loaded a table by itself, and three at a time, one of them with a row rejected."""

    def pipe(table: str) -> Pipe:
        shutil.copy(source(table), f"{table}.csv")
        input_adapter = CSVInputAdapter(f"{table}.csv", null_values=["NA"])
        return Pipe(input_adapter, f"warehouse/{table}.parquet", f"rejects/{table}.csv", MODELS[table])

    @flow(name="nightly", flow_run_name="nightly-load")
    def nightly() -> Any:
        run_pipe(pipe("airlines"), name="airlines")
        run_pipes([pipe(table) for table in ("airports", "planes", "weather")], name="tables")
        return flow_run.id

    with chdir(tmp_path_factory.mktemp("nightly")):
        return str(nightly())


def choose(browser: Browser, tab: str) -> None:
    """Click on a tab, as soon as there is one."""
    script = """
        const tabs = [...document.querySelectorAll('[role=tab], .p-tab')];
        const tab = tabs.find(tab => tab.textContent.trim() == arguments[0]);
        tab?.click();
        return Boolean(tab);
    """
    WebDriverWait(browser.driver, 60, 0.2, [WebDriverException]).until(lambda _: browser.run(script, tab), tab)


def take(browser: Browser, path: Path) -> None:
    data = browser.screenshot(path, SIZE).read_bytes()
    assert struct.unpack(">II", data[16:24]) == SIZE
    assert len(data) < MOST_BYTES


def test_the_page_of_a_run_shows_its_loads_and_lists_their_artifacts(
    browser: Browser, prefect_api: str, run_id: str, pictures: Path
) -> None:
    browser.resize(SIZE)
    browser.open(f"{prefect_api.removesuffix('/api')}/runs/flow-run/{run_id}")
    browser.wait_for_text("nightly-load")
    browser.wait_for_text("Completed")
    browser.wait_for_text("2 Task runs")
    choose(browser, "Artifacts")
    for key in ("load-airlines", "load-tables"):
        browser.wait_for_text(key)
    take(browser, pictures / "prefect-run.png")


def test_the_report_of_a_load_is_a_page(browser: Browser, prefect_api: str, run_id: str, pictures: Path) -> None:
    browser.open(f"{prefect_api.removesuffix('/api')}/artifacts/artifact/{artifact('load-tables').id}")
    browser.wait_for_text("COMPLETED")
    cells = browser.texts("td")
    assert cells[:5] == ["30,895", "30,894", "1", "0", "0"]
    assert {"warehouse/planes.parquet", "wind_speed", "weather.csv row 1,010"} <= set(cells)
    assert "|" not in browser.text("table")
    take(browser, pictures / "prefect-report.png")


def test_the_task_of_a_load_tells_how_many_rows_there_were(browser: Browser, prefect_api: str, run_id: str) -> None:
    with get_client(sync_client=True) as client:
        task = client.read_task_run(artifact("load-tables").task_run_id)
    browser.open(f"{prefect_api.removesuffix('/api')}/runs/task-run/{task.id}")
    browser.wait_for_text("load-tables")
    browser.wait_for_text("CompletedWithErrors")
    browser.wait_for_text("30,894 rows, 1 rejected")
