"""Texts for people: short, and without secrets."""

from __future__ import annotations

import re

__all__ = ["shorten", "without_secrets"]

# Greedy up to the last @: a password may hold an @ or a / that nobody escaped.
_URL_PASSWORD = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*://[^\s/:@'\"]*):[^\s'\"]*@")
_NAMED_SECRET = re.compile(
    r"(?i)((?:password|passwd|pwd|passphrase|secret|token|api_?key|access_?key|signature)\w*\s*=\s*)"
    r"('[^']*'|\"[^\"]*\"|[^\s&;,'\")]+)"
)


def without_secrets(text: str) -> str:
    """`text` with passwords in URLs and values like ``password=...`` masked.

    A second line of defence, for texts of drivers and hooks: what is ours does not hold secrets in the first place.

    >>> without_secrets("cannot reach postgresql://etl:hunter2@db/wh?sslpassword=x")
    'cannot reach postgresql://etl:***@db/wh?sslpassword=***'
    """
    return _NAMED_SECRET.sub(r"\1***", _URL_PASSWORD.sub(r"\1:***@", text))


def shorten(text: str, limit: int) -> str:
    """`text` in at most `limit` characters; the middle goes first, since names differ at their ends.

    >>> shorten("/data/2024/a/very/long/way/to/flights.csv", 30)
    '/data/2...g/way/to/flights.csv'
    """
    if len(text) <= limit:
        return text
    head = limit // 4
    return f"{text[:head]}...{text[len(text) - (limit - head - 3) :]}"
