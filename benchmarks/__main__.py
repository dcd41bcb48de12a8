"""``python -m benchmarks``: run jobs with all their contenders; put what is kept into docs/performance.md."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import chart, costs, postgres, render, results, scaling, warehouse
from benchmarks.contenders import CONTENDERS, EVERYBODY, OURS
from benchmarks.jobs import JOBS, ROWS, Job
from benchmarks.runner import ROOT, Settings, run_job, warm_kernels

DEFAULT_RESULTS = results.FOLDER / "peers.json"
PAGE = ROOT / "docs" / "performance.md"
SCALING_RESULTS = results.FOLDER / "scaling.json"
SCALING_PAGE = ROOT / "docs" / "scaling.md"
WAREHOUSE_RESULTS = results.FOLDER / "warehouse.json"
WAREHOUSE_PAGE = ROOT / "docs" / "warehouse.md"
QUICK_ROWS, QUICK_REPEAT, QUICK_TIME_LIMIT = 5_000, 1, 60.0
STARTUP = "startup"
EPILOG = """\
examples:
  python -m benchmarks list                          what there is
  python -m benchmarks run --quick                   every job on a few rows, nothing kept: does it work?
  python -m benchmarks run                           all of it: some 20 minutes on 2 cores
  python -m benchmarks run --jobs jsonl csv --repeat 5
  python -m benchmarks scaling                       loads in shards: some 10 minutes on 2 cores
  python -m benchmarks warehouse                     loads into tables: some 10 minutes on 2 cores
  python -m benchmarks render                        what is kept -> the tables of the pages in docs/
"""


def main() -> None:
    arguments = _parser().parse_args()
    arguments.command(arguments, Console())


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Loads side by side with peers: same input, same rows out, a fresh process for each run.",
        epilog=EPILOG,
        formatter_class=raw,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="run jobs and keep what was measured")
    run.add_argument(
        "--jobs", nargs="+", metavar="JOB", choices=(*JOBS, STARTUP), default=[*JOBS, STARTUP],
        help="which (default: all; see `list`)",
    )  # fmt: skip
    run.add_argument("--rows", type=int, default=ROWS, help="rows of a job of scale 1 (default: %(default)s)")
    run.add_argument("--repeat", type=int, default=3, help="turns that contenders take (default: %(default)s)")
    run.add_argument(
        "--time-limit",
        type=float,
        default=900,
        metavar="S",
        help="seconds that one run may take (default: %(default)s)",
    )
    run.add_argument(
        "--budget", type=float, default=90, metavar="S",
        help="a contender takes no further turn in a job once its runs add up to this (default: %(default)s s)",
    )  # fmt: skip
    run.add_argument(
        "--quick", action="store_true",
        help=f"a smoke test: {QUICK_ROWS} rows, one turn; keeps nothing; fails if a contender does",
    )  # fmt: skip
    run.add_argument("--folder", type=Path, help="where inputs and outputs are written (default: a temporary one)")
    run.add_argument("--save", type=Path, default=DEFAULT_RESULTS, help="where results are kept, job by job")
    run.set_defaults(command=_run)

    shards = commands.add_parser("scaling", help="measure loads in shards and keep it")
    shards.add_argument(
        "--parts", nargs="+", metavar="PART", choices=scaling.PARTS, default=list(scaling.PARTS),
        help=f"which of {', '.join(scaling.PARTS)} (default: all)",
    )  # fmt: skip
    shards.add_argument("--rows", type=int, default=ROWS, help="rows of a job of scale 1 (default: %(default)s)")
    shards.add_argument("--repeat", type=int, default=3, help="turns that contenders take (default: %(default)s)")
    shards.add_argument("--folder", type=Path, help="where inputs and outputs are written (default: a temporary one)")
    shards.add_argument("--save", type=Path, default=SCALING_RESULTS, help="where results are kept, part by part")
    shards.set_defaults(command=_scaling)

    tables = commands.add_parser("warehouse", help="measure loads into tables and keep it")
    tables.add_argument(
        "--jobs", nargs="+", metavar="JOB", choices=tuple(warehouse.JOBS), default=list(warehouse.JOBS),
        help=f"which of {', '.join(warehouse.JOBS)} (default: all)",
    )  # fmt: skip
    tables.add_argument("--rows", type=int, default=ROWS, help="rows of a job of scale 1 (default: %(default)s)")
    tables.add_argument("--repeat", type=int, default=3, help="turns that contenders take (default: %(default)s)")
    tables.add_argument("--folder", type=Path, help="where inputs and outputs are written (default: a temporary one)")
    tables.add_argument("--save", type=Path, default=WAREHOUSE_RESULTS, help="where results are kept, job by job")
    tables.set_defaults(command=_warehouse)

    draw = commands.add_parser("render", help="put kept results into the documentation")
    draw.add_argument("--results", type=Path, default=DEFAULT_RESULTS)
    draw.add_argument("--page", type=Path, default=PAGE, help="the page with the markers; the picture goes beside it")
    draw.set_defaults(command=_render)

    commands.add_parser("list", help="list jobs and contenders").set_defaults(command=_list)
    return parser


def _run(arguments: argparse.Namespace, console: Console) -> None:
    if arguments.quick:
        settings = Settings(QUICK_ROWS, QUICK_REPEAT, QUICK_TIME_LIMIT, QUICK_TIME_LIMIT)
    else:
        settings = Settings(arguments.rows, arguments.repeat, arguments.time_limit, arguments.budget)
    save = None if arguments.quick else arguments.save
    jobs = [JOBS[name] for name in arguments.jobs if name != STARTUP]
    with ExitStack() as stack:
        folder = arguments.folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        folder.mkdir(parents=True, exist_ok=True)
        if jobs:
            warm_kernels()
        failed = _run_jobs(jobs, settings, folder, save, console, stack)
    if STARTUP in arguments.jobs and save is not None:
        console.print("startup", style="dim")
        kept = results.load(save)
        kept["startup"] = _startup()
        results.save(save, kept)
    if failed:
        sys.exit(f"failed: {'; '.join(failed)}")


def _run_jobs(
    jobs: list[Job], settings: Settings, folder: Path, save: Path | None, console: Console, stack: ExitStack
) -> list[str]:
    """Run the jobs, show and keep each. Returns who failed that should not: without `save`, that is anybody."""
    kept = results.load(save) if save else None
    failed = []
    database = ""
    if any(job.target == "postgresql" for job in jobs):
        database = stack.enter_context(postgres.server())
    for job in jobs:
        record = run_job(job, settings, folder, database, lambda text: console.print(text, style="dim"))
        # A peer that fails is a result; it is an error only in a smoke test.
        failed += [
            f"{job.name}: {name}"
            for name, figures in record["contenders"].items()
            if "failed" in figures and (name == OURS or save is None)
        ]
        console.print(_shown(job.title, record))
        if save and kept:
            kept["jobs"][job.name] = results.stamped(record, settings.repeat)
            results.save(save, kept)
    return failed


def _scaling(arguments: argparse.Namespace, console: Console) -> None:
    settings = Settings(arguments.rows, arguments.repeat, time_limit=300, budget=90)
    kept = scaling.load(arguments.save)
    with ExitStack() as stack:
        folder = arguments.folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        folder.mkdir(parents=True, exist_ok=True)
        for part in arguments.parts:
            kept[part] = scaling.measure(part, settings, folder, lambda text: console.print(text, style="dim"))
            results.save(arguments.save, kept)


def _warehouse(arguments: argparse.Namespace, console: Console) -> None:
    settings = Settings(arguments.rows, arguments.repeat, time_limit=300, budget=60)
    jobs = [warehouse.JOBS[name] for name in arguments.jobs]
    with ExitStack() as stack:
        folder = arguments.folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        folder.mkdir(parents=True, exist_ok=True)
        warm_kernels()
        failed = _run_jobs(jobs, settings, folder, arguments.save, console, stack)
    if failed:
        sys.exit(f"failed: {'; '.join(failed)}")


def _startup() -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.startup", "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT)
    figures: dict[str, Any] = json.loads(done.stdout)["startup"]
    return figures


def _shown(title: str, record: dict[str, Any]) -> Table:
    table = Table(title=f"{title}: {record['rows']:,} rows, {record['rejected']:,} bad", title_justify="left")
    table.add_column("contender")
    for heading in ("rows/s", "ours is x as fast", "peak MB"):
        table.add_column(heading, justify="right")
    table.add_column("", overflow="fold")
    ours = record["contenders"][OURS].get("seconds")
    for name, figures in record["contenders"].items():
        if "failed" in figures:
            table.add_row(EVERYBODY[name].name, "failed", "", "", figures["failed"], style="red")
            continue
        faster = f"{figures['seconds'] / ours:.2f}" if ours and name != OURS else ""
        loose = figures["loosely_typed"]
        table.add_row(
            EVERYBODY[name].name,
            f"{record['rows'] / figures['seconds']:,.0f}",
            faster,
            f"{figures['peak_bytes'] / 1e6:,.0f}",
            f"{len(loose)} columns not in the model's types" if loose else "",
        )
    return table


def _render(arguments: argparse.Namespace, console: Console) -> None:
    kept = results.load(arguments.results)
    page: Path = arguments.page
    page.write_text(render.fill(page.read_text(encoding="utf-8"), kept), encoding="utf-8")
    picture = page.with_suffix(".svg")
    if kept["jobs"]:
        picture.write_text(chart.chart(kept), encoding="utf-8")
    console.print(f"{page.name} and {picture.name} show what {arguments.results.name} holds")
    _fill(SCALING_PAGE, SCALING_RESULTS, scaling.load(SCALING_RESULTS), scaling.SECTIONS, console)
    _fill(WAREHOUSE_PAGE, WAREHOUSE_RESULTS, results.load(WAREHOUSE_RESULTS), warehouse.SECTIONS, console)
    for name, sections in costs.PAGES.items():
        path = costs.RESULTS[name]
        _fill(ROOT / "docs" / f"{name}.md", path, results.read(path), sections, console)


def _fill(page: Path, source: Path, kept: results.Results, sections: render.Sections, console: Console) -> None:
    page.write_text(render.fill(page.read_text(encoding="utf-8"), kept, sections), encoding="utf-8")
    console.print(f"{page.name} shows what {source.name} holds")


def _list(_: argparse.Namespace, console: Console) -> None:
    for job in JOBS.values():
        who = "; ".join(CONTENDERS[name].name for name in job.contenders)
        console.print(f"[bold]{job.name:<17}[/] {job.title} [dim]({who})[/]", soft_wrap=True)
    console.print(f"[bold]{STARTUP:<17}[/] import, and ten rows in a fresh process")


if __name__ == "__main__":
    main()
