"""Texts for people: short, and without secrets."""

from __future__ import annotations

import re

__all__ = ["format_bytes", "format_seconds", "shorten", "without_secrets"]

# A driver's error may quote a cell of megabytes, and no pattern below is linear on every text.
MAX_SEARCHED_CHARS = 10_000

# Greedy up to the last @: a password may hold an @ or a / that nobody escaped.
_URL_PASSWORD = re.compile(r"(://[^\s/:@'\"]*):[^\s'\"]*@")
_NAMED_SECRET = re.compile(
    r"(?i)((?:password|passwd|pwd|passphrase|secret|token|api_?key|access_?key|signature)\w*\s*=\s*)"
    r"('[^']*'|\"[^\"]*\"|[^\s&;,'\")]+)"
)


def without_secrets(text: str) -> str:
    """`text` with passwords in URLs and values like ``password=...`` masked.

    A second line of defence, for texts of drivers and hooks: what is ours does not hold secrets in the first place.
    Of a text longer than `MAX_SEARCHED_CHARS` the middle is left out.

    >>> without_secrets("cannot reach postgresql://etl:hunter2@db/wh?sslpassword=x")
    'cannot reach postgresql://etl:***@db/wh?sslpassword=***'
    """
    searched = shorten(text, MAX_SEARCHED_CHARS)
    return _NAMED_SECRET.sub(r"\1***", _URL_PASSWORD.sub(r"\1:***@", searched))


def shorten(text: str, limit: int) -> str:
    """`text` in at most `limit` characters; the middle goes first, since names differ at their ends.

    >>> shorten("/data/2024/a/very/long/way/to/flights.csv", 30)
    '/data/2...g/way/to/flights.csv'
    """
    if len(text) <= limit:
        return text
    head = limit // 4
    return f"{text[:head]}...{text[len(text) - (limit - head - 3) :]}"


def format_bytes(count: int) -> str:
    """A size in powers of 1000.

    >>> format_bytes(999), format_bytes(148_000_000), format_bytes(2_500_000_000_000)
    ('999 B', '148 MB', '2.5 TB')
    """
    value = float(count)
    for unit in ("B", "KB", "MB", "GB"):
        if round(value) < 1000:
            return f"{value:.0f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def format_seconds(seconds: float) -> str:
    """A duration in the two units that matter.

    >>> format_seconds(0.41), format_seconds(75), format_seconds(7200)
    ('0.41 s', '1 min 15 s', '2 h 00 min')
    """
    if round(seconds, 2) < 60:
        return f"{seconds:.2f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"
