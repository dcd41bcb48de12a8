"""Side-by-side runs against peers. ``make bench``, or ``python -m benchmarks --help``.

    data.py ──▶ input files, and the rows that are right ────────────────┐
    jobs.py ──▶ a job and its contenders                                 ▼
                     │  in turns             a fresh process each      check.py
                  runner.py ───────────────▶ worker.py ──▶ output ──▶ (same rows?)
                     │                          │ seconds, peak memory
                     ▼                          ▼
              results/*.json ──▶ render.py, chart.py ──▶ docs/performance.md, docs/performance.svg

Every run is a fresh process; the contenders of a job take turns, so that a change in the machine's speed meets all of
them; what counts is the ratio of medians within one call.
"""
