"""`ShardedLoad`: one load whose shards are run one by one by somebody else, such as the tasks of a scheduler.

    plan(4) ─▶ [{...}, {...}, ...]     plain JSON, for whoever hands out work
                  │      │
         shard_pipe({...}).run()       anywhere, at any time, again where it failed; leaves a part in the staging folder
                  │      │
    publication([...], reports).run()  all parts become the target, once, in one transaction with the ledger

Between these calls no process is alive and nothing is locked; all that they have in common is the pipe, which each of
them builds anew, the JSON, and a folder that all of them reach. The JSON says where a shard begins and ends, but names
no file, has no password and is no code: a shard reads what its own pipe names, if that is still as it was.

Parts hold validated rows as `coordinators.batch_parts` writes them. To make a publication read anything else
takes both the folder, which is its owner's alone, and the key within the JSON.
"""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from zoopipe_core.adapters.base import InputAdapter
from zoopipe_core.adapters.file_moves import make_folders
from zoopipe_core.adapters.file_parts import FileInputAdapter, FilePart
from zoopipe_core.adapters.ledger import digest
from zoopipe_core.adapters.paths import is_url, local_path
from zoopipe_core.adapters.splitting import Piece, stamp_of
from zoopipe_core.coordinators.mergeable import is_mergeable
from zoopipe_core.coordinators.replay import BatchPart
from zoopipe_core.errors import SourceReadError, SpecError, TargetWriteError
from zoopipe_core.executors import MultiThreadExecutor
from zoopipe_core.pipe import Pipe

if TYPE_CHECKING:
    from zoopipe_core.adapters.base import OutputAdapter
    from zoopipe_core.managing.publication import ShardPublication
    from zoopipe_core.report import PipeReport

__all__ = ["ShardedLoad"]

KEEP_SECONDS = 7 * 24 * 3600.0
PRIVATE_FOLDER = 0o700
_PREFIX = ".zoopipe-shards-"
_KEY_BYTES = 32


@dataclass(frozen=True)
class ShardedLoad:
    r"""A load in shards that are run apart from each other.

    Args:
        pipe: the load. It reads files; where rows come from a query, another one may be answered to each shard.
            `max_errors` is looked at when all shards have ended.
        staging: a folder that all who work on the load reach and may write. None: that of the target, if it is a file.

    >>> import tempfile
    >>> from zoopipe_core import CSVInputAdapter
    >>> folder = tempfile.mkdtemp()
    >>> with open(f"{folder}/users.csv", "w") as file:
    ...     _ = file.write("id\n1\n2\n3\n")
    >>> load = ShardedLoad(Pipe(f"{folder}/users.csv", f"{folder}/users.jsonl"))
    >>> shards = load.plan(2)
    >>> pipes = [load.shard_pipe(shard) for shard in shards]
    >>> all([pipe.run() for pipe in pipes])
    True
    >>> publication = load.publication(shards, [pipe.report for pipe in pipes])
    >>> publication.run()
    True
    >>> publication.report.loaded_rows
    3

    Raises:
        SpecError: the pipe reads no files, or there is no staging folder.
    """

    pipe: Pipe
    staging: str | os.PathLike[str] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.pipe, Pipe):
            raise SpecError(f"pipe has to be a Pipe, not {self.pipe!r}")
        if not isinstance(self.pipe.input_adapter, FileInputAdapter):
            raise SpecError(
                f"{self.pipe.input_adapter.label} is no file: its rows may be others when the next shard reads them. "
                "PipeManager.parallelize_pipe reads all shards of it in one state"
            )
        self._folder_for_parts()

    def plan(self, count: int) -> list[dict[str, Any]]:
        """Cut the input, and make the folder for the parts; what an earlier plan of this load has left is removed.

        Args:
            count: how many shards at most, 1 or more.

        Returns:
            One for each shard, as plain JSON, for `shard_pipe` and `publication`.

        Raises:
            SpecError: `count` is out of range.
            SourceError: the input is not there.
            TargetError: the folder cannot be made.
        """
        if not isinstance(count, int) or isinstance(count, bool) or count < 1:
            raise SpecError(f"the number of shards has to be at least 1, not {count!r}")
        adapter = self._adapter
        state = adapter.fingerprint().digest
        paths = [piece.path for piece in adapter.files()]
        split = adapter.split(count, lambda function, items: list(MultiThreadExecutor().map(function, items)))
        folder = self._new_folder()
        common = {"folder": folder, "key": secrets.token_hex(_KEY_BYTES), "input": state, "count": len(split.parts)}
        return [common | {"index": index, "pieces": _pieces(part, paths)} for index, part in enumerate(split.parts)]

    def shard_pipe(self, shard: Mapping[str, Any]) -> Pipe:
        """The pipe of one shard; when it has run, its part is in the staging folder.

        Args:
            shard: one of what `plan` returned.

        Raises:
            SpecError: it is none.
            SourceError: the input has changed since it was planned.
        """
        index, key = _number(shard, "index"), _key(shard)
        pipe, rows, rejects = self.pipe, self.pipe.output_adapter, self.pipe.error_output_adapter
        return Pipe(
            self._part(shard),
            _staged(rows, self._path(shard, "rows", index), key),
            _staged(rejects, self._path(shard, "rejects", index), key),
            pipe.schema_model,
            pipe.pre_validation_hooks,
            pipe.post_validation_hooks,
            pipe.executor,
        )

    def publication(self, shards: Sequence[Mapping[str, Any]], reports: Sequence[PipeReport]) -> ShardPublication:
        """What makes the parts of all shards the target; it is run as a pipe is.

        Args:
            shards: all that `plan` returned, in order.
            reports: the report of each of them.

        Raises:
            SpecError: they are not those of one plan.
        """
        from zoopipe_core.managing.publication import ShardPublication

        counts = {_number(shard, "count") for shard in shards}
        if counts != {len(shards)} or len(reports) != len(shards) or len({shard["folder"] for shard in shards}) != 1:
            raise SpecError(
                f"{len(shards)} shards and {len(reports)} reports are not those of one plan, which had "
                f"{', '.join(map(str, sorted(counts))) or 'no'} shards"
            )
        ordered = sorted(zip(shards, reports, strict=True), key=lambda pair: _number(pair[0], "index"))
        first = ordered[0][0]
        return ShardPublication(
            self.pipe,
            [replace(report, pipe_index=index) for index, (_, report) in enumerate(ordered)],
            [self._path(shard, "rows", index) for index, (shard, _) in enumerate(ordered)],
            [self._path(shard, "rejects", index) for index, (shard, _) in enumerate(ordered)],
            _key(first),
            check_input=lambda: self._check_input(first),
            clean_up=lambda: shutil.rmtree(self._folder(first), ignore_errors=True),
        )

    # ---- the input ----------------------------------------------------------------------------------------------

    @property
    def _adapter(self) -> FileInputAdapter:
        adapter = self.pipe.input_adapter
        assert isinstance(adapter, FileInputAdapter)
        return adapter

    def _check_input(self, shard: Mapping[str, Any]) -> None:
        """Raises:
        SourceReadError: the input is not what was planned.
        """
        if self._adapter.fingerprint().digest != shard.get("input"):
            raise SourceReadError(
                f"{self._adapter.label} has changed since its shards were planned; plan them anew, and run all of them"
            )

    def _part(self, shard: Mapping[str, Any]) -> InputAdapter:
        """What a shard reads. Files are named by their place among those that the pipe itself names."""
        adapter = self._adapter
        pieces = shard.get("pieces")
        files = adapter.files()
        stamps = [stamp_of(piece.path) for piece in files]
        self._check_input(shard)  # after the stamps: what changes from now on is noticed by who reads
        if pieces is None:
            return adapter
        try:
            if any(number < 0 for number, *_ in pieces):
                raise IndexError("files are numbered from 0")
            found = tuple(
                Piece(files[number].path, stamps[number], first_row, start, stop)
                for number, first_row, start, stop in pieces
            )
        except (IndexError, TypeError, ValueError) as error:
            raise SpecError(f"these pieces are none of {adapter.label}: {pieces!r}") from error
        return FilePart(adapter, found, Piece(files[0].path, stamps[0]))

    # ---- the folder ---------------------------------------------------------------------------------------------

    def _folder_for_parts(self) -> str:
        staging = self.staging
        if staging is None:
            target: Any = self.pipe.output_adapter
            if target is None or not is_mergeable(target) or is_url(str(target.path)):
                label = "a pipe without output" if target is None else target.label
                raise SpecError(f"{label} is no local file: name a folder that all shards reach, with staging=...")
            return os.path.dirname(os.path.realpath(local_path(str(target.path))))
        folder = os.fspath(staging)
        if is_url(folder):
            raise SpecError(f"staging has to be a folder of a file system that all shards reach, not {folder}")
        return os.path.abspath(local_path(folder))

    def _new_folder(self) -> str:
        """Make the folder of this load, empty, and remove those that nobody has touched for a week; its name."""
        home = self._folder_for_parts()
        name = _PREFIX + digest([self.pipe.load_id or secrets.token_hex(16)])[:16]
        path = os.path.join(home, name)
        try:
            make_folders(home, [], path)
            for other in os.scandir(home):
                if other.name.startswith(_PREFIX) and time.time() - other.stat().st_mtime > KEEP_SECONDS:
                    shutil.rmtree(other.path, ignore_errors=True)
            if os.path.lexists(path):
                shutil.rmtree(path)
            os.mkdir(path, PRIVATE_FOLDER)
        except OSError as error:
            raised = TargetWriteError(f"the staging folder {path} cannot be made: {error.strerror or error}")
            raised.errno = error.errno
            raise raised from error
        return name

    def _folder(self, shard: Mapping[str, Any]) -> str:
        name = shard.get("folder")
        if not isinstance(name, str) or not name.startswith(_PREFIX) or not name[len(_PREFIX) :].isalnum():
            raise SpecError(f"this is no shard of a plan: its folder is {name!r}")
        return os.path.join(self._folder_for_parts(), name)

    def _path(self, shard: Mapping[str, Any], kind: str, index: int) -> str:
        return os.path.join(self._folder(shard), f"{kind}-{index:05d}")


def _staged(adapter: OutputAdapter | None, path: str, key: bytes) -> OutputAdapter | None:
    return None if adapter is None else BatchPart(path, adapter.label, adapter.wants_json, key)


def _pieces(part: InputAdapter, paths: Sequence[str]) -> list[list[int | None]] | None:
    """The pieces of a part, with the places of their files for paths; None if it is the whole."""
    if not isinstance(part, FilePart):
        return None
    return [[paths.index(piece.path), piece.first_row, piece.start, piece.stop] for piece in part.pieces]


def _number(shard: Mapping[str, Any], name: str) -> int:
    value = shard.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise SpecError(f"this is no shard of a plan: its {name} is {value!r}")
    return value


def _key(shard: Mapping[str, Any]) -> bytes:
    try:
        key = bytes.fromhex(shard["key"])
    except (KeyError, TypeError, ValueError):
        key = b""
    if len(key) != _KEY_BYTES:
        raise SpecError("this is no shard of a plan: it has no key")
    return key
