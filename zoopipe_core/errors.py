"""Every error that zoopipe raises, under one root.

    ZoopipeError
    ├── SpecError (ValueError)                 a pipe that cannot be what it says
    │   ├── UnknownAdapterError                a path or URL that no adapter is registered for
    │   └── SchemaModelError (TypeError)       ``schema_model`` is no model
    ├── SourceError                            the input cannot be read
    │   ├── SourceNotFoundError (FileNotFoundError)
    │   ├── SourceReadError (OSError)          no permission, a folder, a failing disk or network
    │   ├── CorruptSourceError (ValueError)    truncated archive, binary garbage, broken container
    │   ├── DecompressionLimitError (ValueError)  a decompression bomb, or a cap set too low
    │   ├── RecordTooLongError (ValueError)    one record larger than the cap, often an unclosed quote
    │   ├── ColumnNotFoundError (LookupError)  the model needs a column that the source lacks
    │   └── DuplicateColumnError (ValueError)  a needed column stands in the header twice
    ├── TargetError                            the output cannot be written
    │   ├── TargetWriteError (OSError)         no permission, disk full, a folder in the way
    │   ├── TableExistsError                   ``mode="fail"`` and the table is there
    │   ├── TableMismatchError                 the existing table does not fit the rows
    │   ├── UnsupportedTypeError (TypeError)   the target has no type for a field
    │   └── UnsupportedValueError (ValueError) the target's type cannot hold a value
    ├── DatabaseError                          the database refused a statement
    │   └── DatabaseConnectionError (ConnectionError)
    ├── ValidatorError                         a validator of the model raised something else than a rejection
    ├── HookError                              a hook raised, or returned what is no batch
    ├── TooManyRejectsError                    more rejects than ``max_errors`` allows
    ├── KernelError (RuntimeError)             kernels cannot be compiled, kept or run
    ├── MissingDependencyError (ImportError)   an optional package is not installed
    ├── EngineError (RuntimeError)             an engine cannot start workers
    │   └── WorkerDiedError                    a worker ended without a result: killed, out of memory, os._exit
    ├── LoadAbortedError                       the load was cancelled before it was published
    ├── AlreadyLoadedError                     the target holds this load already
    ├── LoadIdError (ValueError)               another load has this id: of another input, or by another model
    ├── LoadLockedError                        another load of the same target, or with the same id, is under way
    └── LoadFailedError                        raised by ``report.raise_for_status()``
        └── ShardFailedError                   a shard failed, and with it the load

Rejected rows are data, not errors: see `zoopipe_core.batches.rejects`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

__all__ = [
    "AlreadyLoadedError",
    "ColumnNotFoundError",
    "CorruptSourceError",
    "DatabaseConnectionError",
    "DatabaseError",
    "DecompressionLimitError",
    "DuplicateColumnError",
    "EngineError",
    "HookError",
    "KernelError",
    "LoadAbortedError",
    "LoadFailedError",
    "LoadIdError",
    "LoadLockedError",
    "MissingDependencyError",
    "RecordTooLongError",
    "SchemaModelError",
    "ShardFailedError",
    "SourceError",
    "SourceNotFoundError",
    "SourceReadError",
    "SpecError",
    "TableExistsError",
    "TableMismatchError",
    "TargetError",
    "TargetWriteError",
    "TooManyRejectsError",
    "UnknownAdapterError",
    "UnsupportedTypeError",
    "UnsupportedValueError",
    "ValidatorError",
    "WorkerDiedError",
    "ZoopipeError",
]


class ZoopipeError(Exception):
    """The root of all errors that zoopipe raises on purpose."""


class SpecError(ZoopipeError, ValueError):
    """A pipe or an adapter was described in a way that cannot work."""


class UnknownAdapterError(SpecError):
    """No adapter is registered for a path's suffix or a URL's scheme."""


class SchemaModelError(SpecError, TypeError):
    """``schema_model`` is neither a BaseModel, a dataclass nor a TypedDict."""


class SourceError(ZoopipeError):
    """The input cannot be read."""


class SourceNotFoundError(SourceError, FileNotFoundError):
    """A path, pattern or table of the input does not exist."""


class SourceReadError(SourceError, OSError):
    """The operating system or the network refused to read the input."""


class CorruptSourceError(SourceError, ValueError):
    """The input is not what its format promises: truncated, garbled or of another format."""


class DecompressionLimitError(SourceError, ValueError):
    """A compressed input grew past ``max_decompressed_bytes`` or ``max_compression_ratio``."""


class RecordTooLongError(SourceError, ValueError):
    """One record is longer than ``max_record_bytes``; often an unclosed quote."""


class ColumnNotFoundError(SourceError, LookupError):
    """The model requires columns that the source does not have."""

    @classmethod
    def build(
        cls, model: str, missing: Iterable[str], source: str, found: Iterable[str], where: str = ""
    ) -> ColumnNotFoundError:
        """The message names the columns found and the nearest match of each missing one."""
        missing, found = list(missing), list(found)
        names = ", ".join(repr(name) for name in missing)
        from difflib import get_close_matches

        noun = "column" if len(missing) == 1 else "columns"
        shown = ", ".join(found[:12]) + (", ..." if len(found) > 12 else "")
        lines = [
            f"the model {model} needs the {noun} {names}, which {source} does not have.",
            f"  found: {shown or 'no columns'} ({len(found)} columns{where})",
        ]
        folded = {name.casefold(): name for name in found}
        for name in missing:
            close = get_close_matches(name.casefold(), folded, n=1, cutoff=0.6)
            if close:
                near = folded[close[0]]
                lines.append(f"  did you mean {near!r}?  Rename it with Field(alias={near!r}).")
        lines.append(
            "  If the file has no header, pass fieldnames=[...]; if the column may be absent, give the field a default."
        )
        return cls("\n".join(lines))


class DuplicateColumnError(SourceError, ValueError):
    """A column that the model or a hook needs stands in the source more than once."""


class TargetError(ZoopipeError):
    """The output cannot be written."""


class TargetWriteError(TargetError, OSError):
    """The operating system or the network refused to write the output: permission, space, size limit."""


class TableExistsError(TargetError):
    """The table exists and ``mode="fail"`` forbids touching it."""


class TableMismatchError(TargetError):
    """The existing table lacks a column, or has one of a type that does not take the rows."""


class UnsupportedTypeError(TargetError, TypeError):
    """The target has no type for a field of the model."""


class UnsupportedValueError(TargetError, ValueError):
    """A valid value that the target's type cannot hold without loss."""

    index: int | None = None
    """Where the value stands in its column, from 0, if it is a single one."""


class DatabaseError(ZoopipeError):
    """The database refused a statement; the driver's error is the cause."""


class DatabaseConnectionError(DatabaseError, ConnectionError):
    """The database could not be reached, or the connection was lost."""


class ValidatorError(ZoopipeError):
    """A validator of the model raised an exception that pydantic does not turn into a rejection."""


class HookError(ZoopipeError):
    """A hook raised, or returned something that is no batch; the message names hook and rows."""


class TooManyRejectsError(ZoopipeError):
    """More rows were rejected than ``max_errors`` allows; nothing was published."""


class KernelError(ZoopipeError, RuntimeError):
    """Kernels cannot be compiled, kept or run. Loads do without them; raised where they are asked for by name."""


class MissingDependencyError(ZoopipeError, ImportError):
    """An optional package is needed; the message holds the install line."""

    @classmethod
    def build(cls, package: str, extra: str, purpose: str) -> MissingDependencyError:
        """Name the package, what it is for, and how to install it."""
        return cls(f"{purpose} needs the package {package!r}: pip install 'zoopipe-plugins[{extra}]'")


class EngineError(ZoopipeError, RuntimeError):
    """An engine cannot start workers, or lost touch with where they run."""


class WorkerDiedError(EngineError):
    """A worker ended without a result; the message tells its exit code or signal."""


class LoadAbortedError(ZoopipeError):
    """The load was cancelled (signal, timeout or ``shutdown()``) before it was published.

    Attributes:
        report: the `zoopipe_core.PipeReport` that told of it; None if the error comes from within the load.
    """

    report: Any = None


class AlreadyLoadedError(ZoopipeError):
    """The target holds this load already. With ``if_loaded="skip"`` that is a success, told by the recorded report.

    Attributes:
        record: what the ledger knows of it, a `zoopipe_core.ledger.LoadRecord`.
    """

    def __init__(self, message: str, record: Any = None) -> None:
        super().__init__(message)
        self.record = record


class LoadIdError(ZoopipeError, ValueError):
    """The id belongs to another load: of another input, or by another model or other hooks."""


class LoadLockedError(ZoopipeError):
    """Another load of the same target, or with the same id, is under way; nothing was changed."""


class LoadFailedError(ZoopipeError):
    """A load did not complete; raised by `PipeReport.raise_for_status` with its cause.

    Attributes:
        report: the `zoopipe_core.PipeReport` that told of it; None if the error comes from within the load.
    """

    report: Any = None


class ShardFailedError(LoadFailedError):
    """A shard failed for good, and the load with it; the message names the shard."""

    info: Any = None
    """What the shard's report says of the failure: its `zoopipe_core.report.ExceptionInfo`."""
