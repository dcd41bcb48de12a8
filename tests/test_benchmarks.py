"""The benchmarks: what is compared is the same work, and a contender that does other work is found out."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pyarrow as pa
import pyarrow.csv as arrow_csv
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from benchmarks import chart, costs, postgres, render, results, warehouse
from benchmarks.check import WrongResultError, check_output
from benchmarks.contenders import CONTENDERS, EVERYBODY, OURS
from benchmarks.data import Dataset, make_dataset
from benchmarks.jobs import CURVES, JOBS, LIMITS, TARGETS, Job
from benchmarks.model import columns_of, model_of
from benchmarks.results import stamped
from benchmarks.runner import Settings, run_job, run_once
from benchmarks.task import Task

ROWS = 1500
SETTINGS = Settings(rows=ROWS, repeat=1, time_limit=100, budget=100)
PAGE = Path(__file__).parent.parent / "docs" / "performance.md"


@pytest.fixture(scope="session")
def database() -> Iterator[str]:
    with postgres.server() as url:
        yield url


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return make_dataset(tmp_path, 200, 0.1, 8, "csv")


def task_of(dataset: Dataset, folder: Path, target: str) -> Task:
    return Task(str(dataset.path), "csv", str(dataset.expected), target, "none", 8, str(folder), "")


# ---- the contenders -------------------------------------------------------------------------------------------------


@pytest.mark.slow
# Jobs that differ in the number of rows alone are one job here.
@pytest.mark.parametrize("name", [name for name, job in JOBS.items() if job.scale == 1.0])
def test_all_contenders_of_a_job_produce_the_right_rows(name: str, tmp_path: Path, request: Any) -> None:
    job = JOBS[name]
    installed = tuple(name for name in job.contenders if CONTENDERS[name].version is not None)
    url = request.getfixturevalue("database") if job.target == "postgresql" else ""

    record = run_job(replace(job, contenders=installed), SETTINGS, tmp_path, url, lambda text: None)

    assert {who: what["failed"] for who, what in record["contenders"].items() if "failed" in what} == {}
    assert record["contenders"][OURS]["loosely_typed"] == []
    assert (record["rejected"] > 0) is (job.bad > 0)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["duckdb-append", "duckdb-merge", "postgresql-append", "postgresql-replace"])
def test_all_contenders_of_a_load_into_a_table_leave_the_right_rows(name: str, tmp_path: Path, database: str) -> None:
    job = warehouse.JOBS[name]
    installed = tuple(name for name in job.contenders if EVERYBODY[name].version is not None)

    record = run_job(replace(job, contenders=installed), SETTINGS, tmp_path, database, lambda text: None)

    assert {who: what["failed"] for who, what in record["contenders"].items() if "failed" in what} == {}
    assert record["contenders"][OURS]["loosely_typed"] == []


def test_every_goal_of_loads_into_tables_names_jobs_and_their_contenders() -> None:
    for job, peer, where, _ in warehouse.GOALS:
        assert OURS in warehouse.JOBS[job].contenders
        assert peer in warehouse.JOBS[where].contenders


@pytest.mark.slow
def test_a_run_that_takes_too_long_is_ended_and_has_no_time(dataset: Dataset, tmp_path: Path) -> None:
    figures = run_once(OURS, JOBS["jsonl"], dataset, tmp_path, "", time_limit=0.01)
    assert figures == {"failed": "not done in 0.01 s"}


@pytest.mark.slow
def test_a_contender_that_raises_has_no_time_but_a_reason(dataset: Dataset, tmp_path: Path) -> None:
    figures = run_once("polars", JOBS["jsonl-parquet"], dataset, tmp_path, "", time_limit=60)
    assert figures == {"failed": "NotImplementedError: Polars does not do jsonl -> parquet, hook none"}


@pytest.mark.slow
def test_the_memory_of_whoever_starts_a_run_is_not_counted(dataset: Dataset, tmp_path: Path) -> None:
    heavy = b"x" * 400_000_000
    figures = run_once("pydantic", JOBS["jsonl"], dataset, tmp_path, "", time_limit=60)
    assert figures["peak_bytes"] < len(heavy) / 2


# ---- the input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file_format", ["csv", "jsonl"])
@pytest.mark.parametrize("columns", [4, 8, 40])
def test_the_rows_to_accept_are_those_that_pydantic_accepts(columns: int, file_format: str, tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path, 300, 0.3, columns, file_format)
    if file_format == "csv":
        options = arrow_csv.ConvertOptions(column_types=dict.fromkeys(columns_of(columns), pa.string()))
        rows = arrow_csv.read_csv(dataset.path, convert_options=options).to_pylist()
    else:
        rows = [json.loads(line) for line in dataset.path.read_text().splitlines()]
    assert len(rows) == 300

    accepted, errors = [], []
    for row in rows:
        try:
            accepted.append(model_of(columns).model_validate(row).model_dump())
        except ValidationError as error:
            errors.append(error.error_count())

    assert set(errors) == {1}
    assert accepted == pq.read_table(dataset.expected).to_pylist()
    assert dataset.rejected == 300 - len(accepted) > 50


def test_a_shorter_input_is_the_beginning_of_a_longer_one(tmp_path: Path) -> None:
    short, long = (make_dataset(tmp_path, rows, 0.1, 8, "csv").path.read_bytes() for rows in (100, 1000))
    assert long.startswith(short)


def test_the_same_arguments_give_the_same_bytes(tmp_path: Path) -> None:
    made = []
    for folder in (tmp_path / "one", tmp_path / "other"):
        folder.mkdir()
        made.append(make_dataset(folder, 500, 0.1, 8, "jsonl"))
    assert made[0].path.read_bytes() == made[1].path.read_bytes()
    assert made[0].expected.read_bytes() == made[1].expected.read_bytes()


# ---- the check ------------------------------------------------------------------------------------------------------


def write_output(task: Task, rows: pa.Table, rejects: int) -> None:
    {"csv": arrow_csv.write_csv, "parquet": pq.write_table}[task.target](rows, task.output)
    task.rejects(".csv").write_text("reason\n" + "bad\n" * rejects)


@pytest.mark.parametrize("target", ["csv", "parquet"])
def test_the_right_rows_in_any_order_pass(target: str, dataset: Dataset, tmp_path: Path) -> None:
    task = task_of(dataset, tmp_path, target)
    write_output(task, pq.read_table(dataset.expected).sort_by([("user_id", "descending")]), dataset.rejected)
    assert check_output(task, dataset, dataset.accepted) == ()


def changed(rows: pa.Table, column: str, value: Any) -> pa.Table:
    """The table with another value in its first row."""
    index, cells = rows.schema.get_field_index(column), rows.column(column).to_pylist()
    return rows.set_column(index, column, pa.array([value, *cells[1:]], rows.schema.field(column).type))


@pytest.mark.parametrize("target", ["csv", "parquet"])
@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda rows: rows.slice(1), id="a row is missing"),
        pytest.param(lambda rows: pa.concat_tables([rows, rows.slice(0, 1)]), id="a row comes twice"),
        pytest.param(lambda rows: changed(rows, "salary", 0.1), id="a number is another"),
        pytest.param(lambda rows: changed(rows, "username", "user_0 "), id="a text has a space more"),
        pytest.param(lambda rows: changed(rows, "is_active", None), id="a value is missing"),
    ],
)
def test_a_wrong_output_is_found_out(damage: Any, target: str, dataset: Dataset, tmp_path: Path) -> None:
    task = task_of(dataset, tmp_path, target)
    write_output(task, damage(pq.read_table(dataset.expected)), dataset.rejected)
    with pytest.raises(WrongResultError, match="not the rows that are right"):
        check_output(task, dataset, dataset.accepted)


def test_missing_rejects_are_found_out(dataset: Dataset, tmp_path: Path) -> None:
    task = task_of(dataset, tmp_path, "csv")
    write_output(task, pq.read_table(dataset.expected), dataset.rejected - 1)
    with pytest.raises(WrongResultError, match="rejects written"):
        check_output(task, dataset, dataset.accepted)


def test_a_wrong_count_is_found_out(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(WrongResultError, match="201 rows reported"):
        check_output(task_of(dataset, tmp_path, "none"), dataset, 201)


def test_values_in_other_types_than_the_models_are_told(dataset: Dataset, tmp_path: Path) -> None:
    task, rows = task_of(dataset, tmp_path, "parquet"), pq.read_table(dataset.expected)
    as_text = rows.cast(pa.schema([(name, pa.string()) for name in rows.schema.names]))
    write_output(task, as_text, dataset.rejected)
    assert check_output(task, dataset, dataset.accepted) == ("user_id", "age", "salary", "is_active", "signup_date")


# ---- the tables and the picture -------------------------------------------------------------------------------------


def measured(job: Job, seconds: float) -> dict[str, Any]:
    """A record in which each contender takes `seconds` more than the one before."""
    figures = {
        name: {
            "seconds": seconds * place, "seconds_min": seconds, "seconds_max": seconds * 20, "runs": 3,
            "peak_bytes": 200_000_000, "loosely_typed": [],
        }
        for place, name in enumerate(job.contenders, 1)
    }  # fmt: skip
    record = {"rows": 1000, "bad": job.bad, "columns": job.columns, "rejected": 10, "input_bytes": 1}
    return stamped({**record, "contenders": figures}, repeat=3)


@pytest.fixture
def everything() -> dict[str, Any]:
    startup = {
        "Python": {"total": 0.02},
        "import zoopipe_core": {"total": 0.12},
        "load of ten rows, no kernel cache": {"model": 0.3, "total": 0.9},
        "kernels ready, warm cache": {"numpy": 0.1, "total": 0.25},
    }
    return {"jobs": {name: measured(job, 2.0) for name, job in JOBS.items()}, "startup": startup}


def test_every_target_and_every_curve_is_measured_by_a_job() -> None:
    assert all(target.peer in JOBS[target.job].contenders for target in TARGETS)
    assert all(name in JOBS for curve in CURVES for _, name in curve.points)
    assert all(limit.metric in render.METRICS for limit in LIMITS)
    assert all(job.contenders[0] == OURS and set(job.contenders) <= set(CONTENDERS) for job in JOBS.values())
    assert set(chart.COLOURS) == set(CONTENDERS)


def test_a_target_is_met_if_the_ratio_of_medians_says_so(everything: dict[str, Any]) -> None:
    page = render.SECTIONS["targets"](everything)
    assert "| CSV -> PostgreSQL | at least 0.9 x ADBC, rows ready | 2.00 x | yes |" in page  # the second of two
    assert "| `import zoopipe_core`, beyond the start of Python | at most 0.15 s | 0.1 s | yes |" in page
    assert "| ten rows in a fresh process, no kernel cache | at most 0.8 s | 0.9 s | **no** |" in page
    assert "| kernels ready from a warm cache, beyond NumPy | at most 0.2 s | 0.15 s | yes |" in page
    assert "| CSV -> CSV | at least 15 x zoopipe | 2.00 x | **no** |" in page
    assert page.count("\n") == len(TARGETS) + len(LIMITS) + 1


def test_a_contender_that_failed_stays_in_the_table(everything: dict[str, Any]) -> None:
    everything["jobs"]["csv"]["contenders"]["zoopipe"] = {"failed": "no|disk"}
    assert "| CSV -> CSV | zoopipe | failed |  |  |  | no\\|disk |" in render.SECTIONS["jobs"](everything)
    assert "| CSV -> CSV | at least 15 x zoopipe | zoopipe failed |  |" in render.SECTIONS["targets"](everything)
    assert ElementTree.fromstring(chart.chart(everything)) is not None
    everything["jobs"]["csv"]["contenders"][OURS] = {"failed": "no disk"}
    assert "| CSV -> CSV | at least 1.3 x Polars | zoopipe_core failed | **no** |" in render.SECTIONS["targets"](
        everything
    )


def test_the_page_has_a_place_for_every_section_and_keeps_its_own_words(everything: dict[str, Any]) -> None:
    page = PAGE.read_text(encoding="utf-8")
    filled = render.fill(page, everything)
    between = re.compile(r"<!-- benchmark: \w+ -->.*?<!-- /benchmark -->", re.DOTALL)
    assert between.sub("", filled) == between.sub("", page)
    assert render.fill(filled, everything) == filled
    with pytest.raises(ValueError, match="has places for"):
        render.fill(page.replace("benchmark: curves", "benchmark: hopes"), everything)


def test_the_picture_has_a_bar_for_each_contender_as_long_as_it_is_fast(everything: dict[str, Any]) -> None:
    bars = ElementTree.fromstring(chart.chart(everything)).findall("{*}rect")[1:]  # the first is the background
    jobs = dict.fromkeys(target.job for target in TARGETS)
    assert len(bars) == sum(len(JOBS[name].contenders) for name in jobs)
    lengths = [float(bar.get("width", "nan")) for bar in bars[:2]]
    assert lengths[0] == pytest.approx(2 * lengths[1], abs=0.2)


PAGES = {
    **{f"{name}.md": (costs.RESULTS[name], sections) for name, sections in costs.PAGES.items()},
    "warehouse.md": (results.FOLDER / "warehouse.json", warehouse.SECTIONS),
}


@pytest.mark.parametrize("page", PAGES)
def test_a_page_shows_what_is_kept(page: str) -> None:
    path, sections = PAGES[page]
    text = (PAGE.parent / page).read_text(encoding="utf-8")
    kept = results.load(path) if page == "warehouse.md" else results.read(path)
    assert render.fill(text, kept, sections) == text
    for section in sections.values():
        assert section({"jobs": {}} if page == "warehouse.md" else {})  # says so, where nothing was measured
