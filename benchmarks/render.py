"""Results -> the tables of docs/performance.md, put between its markers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from benchmarks.contenders import CONTENDERS, OURS
from benchmarks.jobs import CURVES, JOBS, LIMITS, TARGETS, Job, Target
from benchmarks.results import Results

__all__ = ["NOT_MEASURED", "SECTIONS", "fill", "machines", "ratio", "table"]

NOT_MEASURED = "not measured"


Sections = Mapping[str, Callable[[Results], str]]
"""What stands between the markers of a page."""


def fill(page: str, results: Results, sections: Sections | None = None) -> str:
    """The page with each section between ``<!-- benchmark: NAME -->`` and ``<!-- /benchmark -->`` rendered anew.

    Args:
        sections: how; default: those of docs/performance.md.

    Raises:
        ValueError: the page has no place for a section, or one for a section that there is not.
    """
    sections = SECTIONS if sections is None else sections
    marks = re.compile(r"(<!-- benchmark: (\w+) -->\n).*?(<!-- /benchmark -->)", re.DOTALL)
    found = {match[2] for match in marks.finditer(page)}
    if found != set(sections):
        raise ValueError(f"the page has places for {sorted(found)}, and there are {sorted(sections)}")
    return marks.sub(lambda match: match[1] + sections[match[2]](results) + "\n" + match[3], page)


# ---- figures --------------------------------------------------------------------------------------------------------


def seconds(results: Results, job: str, contender: str) -> float | None:
    """The median; None if it was not measured, or failed."""
    figure: float | None = results["jobs"].get(job, {}).get("contenders", {}).get(contender, {}).get("seconds")
    return figure


def ratio(results: Results, job: str, peer: str) -> float | None:
    """How many times as fast as `peer` ours is."""
    ours, theirs = seconds(results, job, OURS), seconds(results, job, peer)
    return None if ours is None or theirs is None else theirs / ours


def _peak(results: Results, job: str) -> float | None:
    peak: float | None = results["jobs"].get(job, {}).get("contenders", {}).get(OURS, {}).get("peak_bytes")
    return peak


def _memory(results: Results) -> float | None:
    peak = _peak(results, "jsonl")
    return None if peak is None else peak / 1e6


def _memory_growth(results: Results) -> float | None:
    once, tenfold = _peak(results, "jsonl"), _peak(results, "jsonl-large")
    return None if once is None or tenfold is None else tenfold / once


def _startup(what: str, since: tuple[str, str] | None = None) -> Callable[[Results], float | None]:
    """The seconds until `what` of benchmarks/startup.py was done, counted from the start or another (what, step)."""

    def metric(results: Results) -> float | None:
        figures = results["startup"]
        if what not in figures:
            return None
        return float(figures[what]["total"] - (figures[since[0]][since[1]] if since else 0))

    return metric


METRICS: dict[str, Callable[[Results], float | None]] = {
    "import_seconds": _startup("import zoopipe_core", since=("Python", "total")),
    "kernels_seconds": _startup("kernels ready, warm cache", since=("kernels ready, warm cache", "numpy")),
    "memory": _memory,
    "memory_growth": _memory_growth,
    "ten_rows_seconds": _startup("load of ten rows, no kernel cache"),
}


# ---- sections -------------------------------------------------------------------------------------------------------


def table(headings: Iterable[str], rows: Iterable[Iterable[str]], right: Iterable[int] = ()) -> str:
    """A Markdown table; the columns whose numbers are in `right` are aligned to the right."""
    headings = list(headings)
    rule = ["--:" if number in set(right) else "---" for number in range(len(headings))]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (headings, rule, *rows))


def _targets(results: Results) -> str:
    rows = [_target_row(results, target) for target in TARGETS]
    for limit in LIMITS:
        measured = METRICS[limit.metric](results)
        shown = NOT_MEASURED if measured is None else f"{measured:.3g} {limit.unit}"
        verdict = "" if measured is None else _verdict(measured <= limit.at_most)
        rows.append((limit.title, f"at most {limit.at_most:g} {limit.unit}", shown, verdict))
    return table(("job", "target", "measured", "met"), rows, right=(2,))


def _target_row(results: Results, target: Target) -> tuple[str, ...]:
    row = (JOBS[target.job].title, f"at least {target.factor:g} x {CONTENDERS[target.peer].name}")
    measured = ratio(results, target.job, target.peer)
    if measured is not None:
        return (*row, f"{measured:.2f} x", _verdict(measured >= target.factor))
    contenders = results["jobs"].get(target.job, {}).get("contenders", {})
    failed = [CONTENDERS[name].name for name in (OURS, target.peer) if "failed" in contenders.get(name, {})]
    shown = f"{' and '.join(failed)} failed" if failed else NOT_MEASURED
    return (*row, shown, _verdict(False) if CONTENDERS[OURS].name in failed else "")


def _verdict(met: bool) -> str:
    return "yes" if met else "**no**"


def machines(results: Results) -> str:
    """One line for each machine; more than one means that not all jobs ran on the same."""
    groups: dict[str, list[str]] = {}
    for name, record in results["jobs"].items():
        facts = record["machine"]
        versions = ", ".join(f"{package} {version}" for package, version in facts["versions"].items() if version)
        text = (
            f"{facts['cores']} cores of {facts['processor']}, {facts['memory_gb']} GB, {facts['system']}, Python"
            f" {facts['python']}; {versions}; {record['when']}, at most {record['repeat']} runs each."
        )
        groups.setdefault(text, []).append(name)
    if not groups:
        return "Nothing has been measured yet: `make bench` fills this page."
    if len(groups) == 1:
        return next(iter(groups))
    return "\n".join(f"- {', '.join(names)}: {text}" for text, names in groups.items())


def _jobs(results: Results) -> str:
    rows = []
    for job in JOBS.values():
        record = results["jobs"].get(job.name)
        if record is None:
            continue
        for name, figures in record["contenders"].items():
            rows.append(_job_row(results, job, record, name, figures))
    if not rows:
        return "Nothing has been measured yet."
    picture = "![Rows a second, for each job and contender](performance.svg)\n\n"
    headings = ("job", "contender", "M rows/s", "slowest to fastest", "ours is so many times as fast", "peak MB", "")
    return picture + table(headings, rows, right=(2, 3, 4, 5))


def _job_row(results: Results, job: Job, record: dict[str, Any], name: str, figures: dict[str, Any]) -> tuple[str, ...]:
    contender = CONTENDERS[name].name
    if "failed" in figures:
        reason = " ".join(figures["failed"].split()).replace("|", "\\|")
        return (job.title, contender, "failed", "", "", "", reason[:120])
    rates = [record["rows"] / figures[key] / 1e6 for key in ("seconds", "seconds_max", "seconds_min")]
    faster = ratio(results, job.name, name)
    return (
        job.title,
        contender,
        f"{rates[0]:.2f}",
        f"{rates[1]:.2f} to {rates[2]:.2f}",
        "" if name == OURS or faster is None else f"{faster:.2f}",
        f"{figures['peak_bytes'] / 1e6:,.0f}",
        f"{len(figures['loosely_typed'])} columns not in the model's types" if figures["loosely_typed"] else "",
    )


def _curves(results: Results) -> str:
    parts = []
    for curve in CURVES:
        jobs = [name for _, name in curve.points if name in results["jobs"]]
        names = [name for name in JOBS["jsonl-large"].contenders if any(seconds(results, job, name) for job in jobs)]
        if not names:
            continue
        rows = []
        for job in jobs:
            record = results["jobs"][job]
            point = {"rows": f"{record['rows']:,}", "columns": str(record["columns"]), "bad": f"{record['bad']:.0%}"}
            took = [seconds(results, job, name) for name in names]
            peak = _peak(results, job)
            rows.append(
                (
                    point[curve.heading],
                    *("" if figure is None else f"{record['rows'] / figure / 1e6:.2f}" for figure in took),
                    "" if peak is None else f"{peak / 1e6:,.0f}",
                )
            )
        headings = (curve.heading, *(CONTENDERS[name].name for name in names), f"peak MB of {CONTENDERS[OURS].name}")
        parts.append(f"**{curve.title}** (M rows/s)\n\n" + table(headings, rows, right=range(len(headings))))
    return "\n\n".join(parts) or "Nothing has been measured yet."


def _contenders(_: Results) -> str:
    return table(
        ("contender", "package", "how it is set up"),
        ((each.name, f"`{each.distribution}`", each.settings) for each in CONTENDERS.values()),
    )


SECTIONS: dict[str, Callable[[Results], str]] = {
    "contenders": _contenders,
    "curves": _curves,
    "jobs": _jobs,
    "machine": machines,
    "targets": _targets,
}
"""What stands between the markers of a page."""
