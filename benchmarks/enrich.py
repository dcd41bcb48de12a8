"""What a hook does to a row, in the jobs that have one: tidy two texts, hash one, put the row into a group.

The hash is the part for which neither Arrow nor Polars has a function; `zoopipe_core.functions` has.
"""

from __future__ import annotations

import hashlib
from typing import Any

MINOR, ADULT, SENIOR = "minor", "adult", "senior"
ADULT_AGE, SENIOR_AGE = 18, 65
ADDED = {"email_sha256": str, "age_group": str}


def age_group(age: int) -> str:
    return MINOR if age < ADULT_AGE else ADULT if age < SENIOR_AGE else SENIOR


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def enrich(row: dict[str, Any]) -> None:
    """The whole of it for one row. ``int``, because a peer may hand over the row's texts."""
    row["username"] = row["username"].strip()
    row["email"] = email = row["email"].strip().lower()
    row["email_sha256"] = sha256(email)
    row["age_group"] = age_group(int(row["age"]))
