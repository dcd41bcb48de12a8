"""The pages within a real Airflow, looked at in a real browser, and refused to who may not see them."""

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote

import pytest

from tests.airflow.real_airflow import HOSTILE, Begun, RealAirflow
from tests.browser import PHONE, Browser
from zoopipe_airflow.links import report_path

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

LIGHT, DARK = "rgb(24, 24, 27)", "rgb(250, 250, 250)"  # of text


def task_page(run: Begun) -> str:
    return f"/dags/{run.dag_id}/runs/{quote(run.run_id)}/tasks/load"


def report_page(run: Begun, map_index: int = -1) -> str:
    return report_path(run.dag_id, run.run_id, "load", map_index)


def text_colour(browser: Browser) -> str:
    return str(browser.run("return getComputedStyle(document.body).color"))


@contextmanager
def tab(browser: Browser, airflow: RealAirflow, run: Begun) -> Iterator[None]:
    """The tab of a task: what is in its frame."""
    browser.open(f"{airflow.url}{task_page(run)}")
    browser.click("a[href$='/plugin/zoopipe-load-report']")
    with browser.frame("iframe[title='Load report']"):
        yield


def test_the_tab_of_a_task_shows_its_report_and_runs_no_script_of_it(
    real_airflow: RealAirflow, begun: dict[str, Begun], browser: Browser
) -> None:
    run = begun["loads"]
    real_airflow.wait_for(run.dag_id, run.run_id)
    real_airflow.log_in(browser)
    with tab(browser, real_airflow, run):
        assert browser.text("h1").endswith("users.parquet")
        assert HOSTILE.replace("/", "|") in browser.text("h1")
        assert browser.text(".status") == "completed"
        assert browser.texts(".rejections td:nth-child(2)") == [HOSTILE, "id"]
        assert browser.texts(".rejections td:nth-child(1)") == ["3", "2"]
        assert browser.run("return document.images.length + document.scripts.length") == 1
        assert browser.run("return document.querySelectorAll('svg.bar rect').length") > 3
    assert not browser.has_alert()
    assert [entry for entry in browser.driver.get_log("browser") if "Content Security Policy" in entry["message"]] == []


def test_a_page_is_as_dark_as_airflow_and_changes_with_it(
    real_airflow: RealAirflow, begun: dict[str, Begun], browser: Browser
) -> None:
    run = begun["loads"]
    real_airflow.log_in(browser)
    with tab(browser, real_airflow, run):
        assert text_colour(browser) == LIGHT
    browser.run("document.documentElement.classList.replace('light', 'dark')")
    with browser.frame("iframe[title='Load report']"):
        browser.wait_until(lambda: text_colour(browser) == DARK)
    browser.run("localStorage.setItem('theme', 'dark')")
    browser.open(f"{real_airflow.url}{report_page(run)}")
    assert text_colour(browser) == DARK
    browser.run("localStorage.removeItem('theme')")
    browser.prefer("dark")
    browser.open(f"{real_airflow.url}{report_page(run)}")
    assert text_colour(browser) == DARK


def test_a_page_needs_no_sideways_scrolling_on_a_phone(
    real_airflow: RealAirflow, begun: dict[str, Begun], browser: Browser
) -> None:
    real_airflow.log_in(browser)
    browser.resize(PHONE)
    for name in ("loads", "loads_several"):
        real_airflow.wait_for(begun[name].dag_id, begun[name].run_id)
        browser.open(f"{real_airflow.url}{report_page(begun[name])}")
        assert browser.run("return innerWidth") == PHONE[0]
        assert not browser.is_wider_than_its_window()
    browser.open(f"{real_airflow.url}/zoopipe/loads")
    assert not browser.is_wider_than_its_window()


def test_loads_are_listed_and_lead_to_their_reports(
    real_airflow: RealAirflow, begun: dict[str, Begun], browser: Browser
) -> None:
    for name in ("loads", "loads_several", "secret", "loads_nothing"):
        real_airflow.wait_for(begun[name].dag_id, begun[name].run_id)
    real_airflow.log_in(browser)
    browser.open(f"{real_airflow.url}/plugin/zoopipe-loads")
    with browser.frame("iframe[title='Loads']"):
        listed = browser.text()
        assert {"loads load", "loads_several load", "secret load"} <= set(browser.texts("[data-name=task]"))
        assert "loads_nothing" not in listed
        assert "failed" in browser.texts(".status")
        browser.click(f"a.report[href='/airflow{report_page(begun['loads_several'])}']")
        browser.wait_for_text("SourceNotFoundError", ".error")
        assert browser.texts(".pipes .status") == ["failed", "completed"]


def test_the_button_of_a_task_leads_to_its_report(real_airflow: RealAirflow, begun: dict[str, Begun]) -> None:
    run = begun["loads"]
    real_airflow.wait_for(run.dag_id, run.run_id)
    path = f"dags/{run.dag_id}/dagRuns/{quote(run.run_id)}/taskInstances/load/links"
    links = real_airflow.call("GET", path)["extra_links"]
    assert links == {"Load report": f"{real_airflow.url}{report_page(run)}"}
    assert real_airflow.get(report_page(run), "admin").status_code == 200


def test_a_task_that_loads_nothing_has_no_report(real_airflow: RealAirflow, begun: dict[str, Begun]) -> None:
    run = begun["loads_nothing"]
    real_airflow.wait_for(run.dag_id, run.run_id)
    page = real_airflow.get(report_page(run), "admin")
    assert page.status_code == 200
    assert "No load report" in page.text


def test_an_index_of_a_mapped_task_has_a_report_of_its_own(real_airflow: RealAirflow, begun: dict[str, Begun]) -> None:
    run = begun["loads_mapped"]
    real_airflow.wait_for(run.dag_id, run.run_id, map_index=1)
    page = real_airflow.get(report_page(run, 1), "admin").text
    assert "users-1.jsonl" in page
    assert "users-0.jsonl" not in page
    assert real_airflow.get(report_page(run, 7), "admin").status_code == 404


@pytest.mark.parametrize("user", [None, "guest"])
def test_who_may_not_read_a_task_sees_nothing_of_its_load(
    real_airflow: RealAirflow, begun: dict[str, Begun], user: str | None
) -> None:
    refused = 401 if user is None else 403
    for name in ("secret", "loads_mapped"):  # of the second, the guest may see the DAG but no XComs
        run = begun[name]
        real_airflow.wait_for_run(run.dag_id, run.run_id)
        page = real_airflow.get(report_page(run), user)
        assert page.status_code == refused
        assert "users" not in page.text
        assert real_airflow.get(report_page(run), "admin").status_code in (200, 404)
        of_this_dag = real_airflow.get(f"/zoopipe/loads?dag_id={run.dag_id}", user)
        assert quote(run.run_id) not in of_this_dag.text
    loads = real_airflow.get("/zoopipe/loads", user)
    assert loads.status_code == (401 if user is None else 200)
    assert "secret" not in loads.text
    assert "loads_mapped" not in loads.text
    assert ("Log in to Airflow" in loads.text) == (user is None)
    assert ("users.parquet" in loads.text) == (user is not None)


@pytest.mark.parametrize("query", ["before=yesterday", "before=2026-01-31"])
def test_a_wrong_address_is_refused_with_a_page(real_airflow: RealAirflow, query: str) -> None:
    page = real_airflow.get(f"/zoopipe/loads?{query}", "admin")
    assert (page.status_code, page.headers["content-type"]) == (422, "text/html; charset=utf-8")
    assert "before" in page.text
    assert "script-src" in page.headers["content-security-policy"]
