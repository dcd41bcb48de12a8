"""The measurements of loads in shards: what is simulated is a load, and the page shows what was measured."""

from pathlib import Path
from typing import Any

import pytest

from benchmarks import render, scaling
from benchmarks.contenders import CONTENDERS, OURS, SHARDED
from benchmarks.coordination import measure
from benchmarks.results import stamped

PAGE = Path(__file__).parent.parent / "docs" / "scaling.md"


@pytest.fixture
def kept() -> dict[str, Any]:
    """Figures as they are kept; each contender takes as many seconds as its place."""
    jobs, tables = (
        {
            name: {
                "rows": 1000,
                "contenders": {
                    who: {"seconds": place, "seconds_min": place, "seconds_max": place, "cpu_seconds": 1.5}
                    for place, who in enumerate(job.contenders, 1)
                },
            }
            for name, job in of_part.items()
        }
        for of_part in (scaling.JOBS, scaling.TABLES)
    )
    engines = {
        "start, seconds": {"cold process": 0.3, "warm pool": 0.03},
        "progress, seconds": {"share by updates": 0.001},
        "slot, microseconds": {"read": 8.0},
    }
    coordination = {
        str(shards): {
            "shards": shards, "plan": 0.1, "collect": 1, "join": 2, "peak_bytes": 80e6, "report_bytes": 1700,
        }
        for shards in scaling.SHARDS
    }  # fmt: skip
    figures = {
        "boundaries": {"CSV": {"scan": 2.5}, "JSON": {"scan": 0.9}},
        "coordination": coordination,
        "engines": engines,
        "jobs": jobs,
        "tables": tables,
    }
    assert figures.keys() == scaling.PARTS.keys()
    return {part: stamped({"figures": found}, 3) for part, found in figures.items()}


def test_every_job_names_contenders_that_there_are() -> None:
    assert not SHARDED.keys() & CONTENDERS.keys()
    for job in (*scaling.JOBS.values(), *scaling.TABLES.values()):
        assert set(job.contenders) <= {*CONTENDERS, *SHARDED}
        assert job.contenders[0] == OURS


def test_goals_are_met_if_the_figures_say_so(kept: dict[str, Any]) -> None:
    page = scaling.SECTIONS["goals"](kept)
    one, peer = "to one process with 2 threads | at least 1.6 x", "to zoopipe's `parallelize_pipe` | at least 3 x"
    for work, ratios in {"row hook, 1 M rows": ("0.33", "0.25", "1.67", "1.25"),
                         "row hook, 10 M rows": ("0.50", "0.33", "2.00", "1.33")}.items():  # fmt: skip
        assert f"| {work}: 2 workers, {one} | {ratios[0]} x | **no** |" in page
        assert f"| {work}: 2 workers with 8 shards, {one} | {ratios[1]} x | **no** |" in page
        assert f"| {work}: 2 workers, {peer} | {ratios[2]} x | **no** |" in page
        assert f"| {work}: 2 workers with 8 shards, {peer} | {ratios[3]} x | **no** |" in page
    assert "| ten rows in a warm pool | at most 20 ms | 30.0 ms | **no** |" in page
    assert "| ten rows in a cold process | at most 700 ms | 300 ms | yes |" in page
    assert "| progress: share of the worker's time | at most 0.5% | 0.10% | yes |" in page
    assert (
        "| boundaries of shards, slowest of four texts | at least 1 GB/s a core | 0.90 GB/s a core | **no** |" in page
    )
    assert "| memory of a manager, 1,000 shards to 10 | at most 1.15 x | 1.00 x | yes |" in page


def test_what_failed_or_was_not_measured_is_said(kept: dict[str, Any]) -> None:
    kept["jobs"]["figures"]["hook"]["contenders"]["zoopipe-2-workers"] = {"failed": "no|rows"}
    assert "| row hook, CSV -> JSONL | zoopipe, 2 workers | failed |  |  | no\\|rows |" in scaling.SECTIONS["workers"](
        kept
    )
    assert "`parallelize_pipe` | at least 3 x | not measured |" in scaling.SECTIONS["goals"](kept)
    assert scaling.SECTIONS["goals"]({}).count("not measured") == len(scaling.GOALS)
    for name in ("coordination", "machines", "tables", "workers"):
        assert scaling.SECTIONS[name]({}) == "Nothing has been measured yet."


def test_the_page_has_a_place_for_every_section(kept: dict[str, Any]) -> None:
    page = PAGE.read_text(encoding="utf-8")
    filled = render.fill(page, kept, scaling.SECTIONS)
    assert "| 100,000 | 0.10 s | 1.00 s | 2.00 s | 80 MB | 1.7 KB |" in filled
    assert render.fill(filled, kept, scaling.SECTIONS) == filled


def test_a_simulated_load_publishes_a_row_of_each_shard() -> None:
    figures = measure(2_500)
    assert figures["shards"] == 2_500
    assert figures["report_bytes"] < 4_000
    assert all(figures[step] >= 0 for step in ("plan", "collect", "join"))


def test_the_memory_of_a_manager_grows_with_descriptions_of_shards_only() -> None:
    """In processes of their own: a peak is for good."""
    few, many = (scaling._run("benchmarks.coordination", str(shards))["peak_bytes"] for shards in (10, 3_000))
    assert (many - few) / 3_000 < 12_000
