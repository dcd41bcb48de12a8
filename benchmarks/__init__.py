"""Side-by-side runs against peers. ``make bench``, or ``python -m benchmarks --help``.

Every run is a fresh process; the contenders of a job take turns, so that a change in the machine's speed meets all of
them; what counts is the ratio of medians within one call.
"""
