"""Takes the pictures of docs/airflow.md: `python -m tests.airflow.make_images`, from the root of a checkout."""

import random
import tempfile
from pathlib import Path
from urllib.parse import quote

from tests.airflow.real_airflow import HERE, RealAirflow
from tests.browser import PHONE, open_browser
from zoopipe_airflow.links import report_path

IMAGES = Path("docs/images")
DAYS = [f"2026-01-{day}" for day in (28, 29, 30, 31)]
ROWS = 200_000


def write_inputs(folder: Path) -> None:
    """Orders for each day, some of them bad; customers for some days only."""
    (folder / "in" / "orders").mkdir(parents=True)
    (folder / "in" / "customers").mkdir()
    chance = random.Random(1)
    for day in DAYS:
        rows = ["order_id,customer,ordered_on,amount"]
        for number in range(ROWS):
            bad = chance.random()
            customer = "" if bad < 0.0004 else f"customer {number % 9973}"
            amount = "n/a" if bad > 0.9992 else f"{1 + number % 5000}.50"
            rows.append(f"{number},{customer},{day},{amount}")
        (folder / "in" / "orders" / f"{day}.csv").write_text("\n".join(rows) + "\n")
    for day in DAYS[:2]:
        rows = ["id,name", *(f"{number},customer {number}" for number in range(9973))]
        (folder / "in" / "customers" / f"{day}.csv").write_text("\n".join(rows) + "\n")


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="zoopipe-images-"))
    airflow = RealAirflow(folder, HERE / "shown")
    try:
        write_inputs(folder)
        airflow.wait_until_up()
        for day in DAYS:
            for dag_id in ("daily_customers", "daily_orders"):
                run = airflow.run(dag_id, logical_date=f"{day}T00:00:00Z")
                airflow.wait_for(dag_id, run)
        with open_browser(folder / "browser") as browser:
            airflow.log_in(browser)
            browser.open(f"{airflow.url}/dags/{dag_id}/runs/{quote(run)}/tasks/load/plugin/zoopipe-load-report")
            with browser.frame("iframe[title='Load report']"):
                browser.find(".figures")
            browser.wait_for_text("Success")
            browser.screenshot(IMAGES / "airflow-report.png", (1280, 900))
            browser.open(f"{airflow.url}/plugin/zoopipe-loads")
            with browser.frame("iframe[title='Loads']"):
                browser.find("table")
            browser.screenshot(IMAGES / "airflow-loads.png", (1280, 480))
            browser.prefer("dark")
            browser.open(f"{airflow.url}{report_path(dag_id, run, 'load', -1)}")
            browser.screenshot(IMAGES / "airflow-phone.png", PHONE)
    finally:
        airflow.stop()


if __name__ == "__main__":
    main()
