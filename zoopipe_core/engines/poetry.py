"""Dependencies as Poetry writes them in ``[tool.poetry.dependencies]``, as standard requirements (PEP 508)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from zoopipe_core.errors import SpecError

__all__ = ["poetry_requirements"]

_PYTHON = re.compile(r"([<>=!~]+)\s*(.+)")
_BARE_VERSION = re.compile(r"\d[\w.!+*-]*")


def poetry_requirements(table: Mapping[str, Any], file: Path) -> Iterator[str]:
    """Each dependency but optional ones, those from folders, and Python itself.

    >>> list(poetry_requirements({"python": "^3.11", "polars": "^1.20", "dask": {"version": "*"}}, Path()))
    ['polars>=1.20,<2', 'dask']

    Raises:
        SpecError: an entry that cannot be understood.
    """
    for name, value in table.items():
        if name == "python":
            continue
        for entry in value if isinstance(value, list) else [value]:
            if isinstance(entry, str):
                entry = {"version": entry}
            if not isinstance(entry, Mapping):
                raise SpecError(f"{file}: the dependency {name} = {entry!r} is no version and no table")
            if entry.get("optional") or "path" in entry:
                continue
            yield _requirement(name, entry)


def _requirement(name: str, entry: Mapping[str, Any]) -> str:
    extras = f"[{','.join(entry['extras'])}]" if entry.get("extras") else ""
    if "git" in entry:
        revision = entry.get("rev") or entry.get("tag") or entry.get("branch")
        wanted = f" @ git+{entry['git']}" + (f"@{revision}" if revision else "")
    elif "url" in entry:
        wanted = f" @ {entry['url']}"
    else:
        wanted = _specifier(entry.get("version", "*"))
    markers = [f"({entry['markers']})"] if "markers" in entry else []
    if "python" in entry:
        markers.extend(
            f'python_version {part[:2].rstrip("0123456789")} "{part.lstrip("<>=!~ ")}"'
            for part in _parts(entry["python"])
        )
    if "platform" in entry:
        markers.append(f'sys_platform == "{entry["platform"]}"')
    return f"{name}{extras}{wanted}" + (f" ; {' and '.join(markers)}" if markers else "")


def _specifier(constraint: str) -> str:
    return ",".join(_parts(constraint))


def _parts(constraint: str) -> list[str]:
    """A Poetry constraint as standard specifiers: ``^1.2`` -> ``>=1.2``, ``<2``."""
    parts: list[str] = []
    for item in filter(None, (item.strip() for item in constraint.split(","))):
        if item == "*":
            continue
        if item[0] == "^":
            version = item[1:].strip()
            parts += [f">={version}", f"<{_next(version, _caret_place(version))}"]
        elif item[0] == "~" and item[1:2] != "=":
            version = item[1:].strip()
            parts += [f">={version}", f"<{_next(version, min(1, version.count('.')))}"]
        elif _BARE_VERSION.fullmatch(item):
            parts.append(f"=={item}")
        else:
            parts.append(item.replace(" ", ""))
    return parts


def _numbers(version: str) -> list[int]:
    found = re.match(r"\d+(\.\d+)*", version)
    return [int(number) for number in found[0].split(".")] if found else [0]


def _caret_place(version: str) -> int:
    """Which number may not change: the first one that is not 0."""
    numbers = _numbers(version)
    return next((place for place, number in enumerate(numbers) if number), len(numbers) - 1)


def _next(version: str, place: int) -> str:
    numbers = _numbers(version)[: place + 1]
    numbers[-1] += 1
    return ".".join(map(str, numbers))
