"""The input: a file of users, clean or with a share of bad rows; the same bytes for the same arguments."""

from __future__ import annotations

import random
from datetime import date, timedelta
from pathlib import Path

COLUMNS = ("user_id", "username", "email", "age", "salary", "is_active", "signup_date", "country")
COUNTRIES = ("DE", "FR", "US", "JP", "BR", "IN", "ZA", "NZ")
# (column, text): what goes wrong in real files. The one with a comma stands in quotes.
FAULTS = ((3, "n/a"), (4, '"12,5"'), (6, "2024-02-30"), (5, "maybe"))
FIRST_DAY = date(2015, 1, 1)


def users_csv(folder: Path, rows: int, bad: float) -> Path:
    """A CSV of `rows` rows of which the share `bad` has one cell that no model accepts."""
    path = folder / f"users_{rows}_{bad:g}.csv"
    if path.exists():
        return path
    rng = random.Random(f"{rows} {bad}")
    days = [(FIRST_DAY + timedelta(days=day)).isoformat() for day in range(3000)]
    part = path.with_suffix(".part")
    with part.open("w", encoding="utf-8", newline="") as file:
        file.write(",".join(COLUMNS) + "\n")
        for number in range(rows):
            cells = [
                str(number),
                f"user_{number}",
                f"user{number}@example{rng.randrange(50)}.com",
                str(rng.randrange(151)),
                repr(round(rng.uniform(1000, 200_000), 2)),
                "true" if rng.random() < 0.7 else "false",
                days[rng.randrange(3000)],
                COUNTRIES[rng.randrange(8)],
            ]
            if rng.random() < bad:
                column, text = FAULTS[rng.randrange(len(FAULTS))]
                cells[column] = text
            file.write(",".join(cells) + "\n")
    part.rename(path)
    return path
