"""Results -> a picture: rows a second as bars, a group for each job."""

from __future__ import annotations

from xml.sax.saxutils import escape

from benchmarks.contenders import CONTENDERS
from benchmarks.jobs import JOBS, TARGETS
from benchmarks.render import seconds
from benchmarks.results import Results

WIDTH, LEFT, RIGHT, BAR, GAP, HEAD = 860, 200, 90, 16, 30, 34
# Colours that people with any kind of colour vision can tell apart (Okabe and Ito).
COLOURS = {
    "core": "#0072b2",
    "core-1-thread": "#56b4e9",
    "zoopipe": "#d55e00",
    "polars": "#009e73",
    "duckdb": "#e69f00",
    "pydantic": "#cc79a7",
    "arrow-stream": "#999999",
    "arrow-at-once": "#bbbbbb",
    "adbc": "#999999",
}


def chart(results: Results) -> str:
    """An SVG document of all jobs that have a target. Each job has a scale of its own: what counts is the ratio."""
    y = HEAD
    parts = [
        f'<text x="10" y="22" class="title">Thousand rows a second ({escape("each job has its own scale")})</text>'
    ]
    for job in dict.fromkeys(target.job for target in TARGETS):
        record = results["jobs"].get(job)
        if record is None:
            continue
        took = {name: seconds(results, job, name) for name in record["contenders"]}
        rates = {name: record["rows"] / figure for name, figure in took.items() if figure}
        if not rates:
            continue
        y += GAP
        parts.append(f'<text x="10" y="{y - 6}" class="job">{escape(JOBS[job].title)}</text>')
        for name, rate in rates.items():
            width = (WIDTH - LEFT - RIGHT) * rate / max(rates.values())
            middle = y + BAR - 4
            parts += [
                f'<text x="{LEFT - 8}" y="{middle}" class="name">{escape(CONTENDERS[name].name)}</text>',
                f'<rect x="{LEFT}" y="{y}" width="{width:.1f}" height="{BAR - 2}" fill="{COLOURS[name]}"/>',
                f'<text x="{LEFT + width + 6:.1f}" y="{middle}">{rate / 1000:,.0f}</text>',
            ]
            y += BAR
    style = (
        "text{font:12px system-ui,sans-serif;fill:#222}.title{font-weight:bold;font-size:14px}"
        ".job{font-weight:bold}.name{text-anchor:end}"
    )
    height = y + 16
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
            ' role="img">',
            f"<style>{style}</style>",
            f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
            *parts,
            "</svg>\n",
        )
    )
