"""What tells one state of files from another, without reading them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from zoopipe_core.adapters.ledger import Fingerprint
from zoopipe_core.adapters.paths import filesystem_of, is_url, local_path, read_error, strip_credentials
from zoopipe_core.errors import SourceNotFoundError

__all__ = ["fingerprint_of_files", "options_of", "state_of_file"]

# What a remote store may tell of an object, the best first. Content before times: a copy keeps it.
_MARKS = (
    *("ETag", "etag", "md5Hash", "content_md5", "crc32c", "checksum"),
    *("LastModified", "mtime", "modified", "updated"),
)


def fingerprint_of_files(adapter: Any, paths: Sequence[str]) -> Fingerprint:
    """The fingerprint of an input that reads `paths`, with its options.

    Raises:
        SourceError: a file is not there, or cannot be looked at.
    """
    states = [state_of_file(path) for path in paths]
    size = sum(state[1] or 0 for state in states)
    summary = paths[0] if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more"
    marks = [mark for _, _, mark in states if mark]
    latest = f", {max(marks)}" if marks else ""
    return Fingerprint.of(
        [options_of(adapter), *(f"{name}|{bytes_}|{mark}" for name, bytes_, mark in states)],
        f"{strip_credentials(summary)}, {size:,} bytes{latest}",
        tells_state=len(marks) == len(states),
    )


def options_of(adapter: Any) -> str:
    """How an input is read: its type and those options that are not at their default; without its place."""
    shown = repr(adapter)
    return shown.replace(repr(adapter.label), "", 1)


def state_of_file(path: str) -> tuple[str, int | None, str]:
    """The full name of a file, its bytes, and what changes whenever it is written; empty if nothing does.

    Raises:
        SourceError: it is not there, or cannot be looked at.
    """
    if is_url(path):
        return _state_of_object(path)
    path = local_path(path)
    try:
        status = os.stat(path)
    except FileNotFoundError as error:
        raise SourceNotFoundError(f"there is no file {path}") from error
    except OSError as error:
        raise read_error(path, error) from error
    if not os.path.isfile(path):
        return os.path.abspath(path), None, ""  # a pipe is another one each time
    changed = datetime.fromtimestamp(status.st_mtime_ns // 10**9, UTC)
    mark = f"changed {changed:%Y-%m-%d %H:%M:%S}.{status.st_mtime_ns % 10**9:09d} UTC"
    return os.path.realpath(path), status.st_size, mark


def _state_of_object(url: str) -> tuple[str, int | None, str]:
    filesystem, name = filesystem_of(url)
    try:
        info = filesystem.info(name)
    except FileNotFoundError as error:
        raise SourceNotFoundError(f"there is no object {strip_credentials(url)}") from error
    except OSError as error:
        raise read_error(url, error) from error
    found = next((f"{key} {info[key]}" for key in _MARKS if info.get(key) is not None), "")
    return strip_credentials(url), info.get("size"), found
