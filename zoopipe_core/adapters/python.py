"""Python in and out: an iterable of rows or record batches as a source, results kept in memory as a target."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterable, Callable, Iterable, Iterator, Mapping, Sized
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from zoopipe_core.adapters.arrow import ArrowStreamable, FirstUse
from zoopipe_core.adapters.base import InputAdapter, OutputAdapter, Reader, ReadRequest, Scan, Split, Writer, scan_here
from zoopipe_core.errors import SourceError, SpecError, TargetError

if TYPE_CHECKING:
    import pyarrow as pa

    from zoopipe_core.batches.model import ModelBatch
    from zoopipe_core.batches.types import ColumnType

__all__ = ["PyGeneratorInputAdapter", "PyGeneratorOutputAdapter"]


@dataclass(frozen=True, repr=False)
class PyGeneratorInputAdapter(InputAdapter):
    """Rows of an iterable: dicts, model instances, dataclass instances, or Arrow record batches and tables.

    Args:
        iterable: a list or another collection; a generator or another iterator, which serves one run; or a function
            without arguments that returns one of these, and can be run again and sent to another process.
        name: what reports and rejects call it; by default the name of the function or of the type.

    Rows and record batches cannot be mixed.

    >>> PyGeneratorInputAdapter([{"id": 1}, {"id": 2}], name="fixtures")
    PyGeneratorInputAdapter('fixtures')

    Raises:
        SpecError: the argument is no iterable of rows.
    """

    iterable: Iterable[Any] | Callable[[], Iterable[Any]] = field(hash=False)
    name: str | None = None
    _first_use: FirstUse = field(default_factory=FirstUse, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        given, kind = self.iterable, type(self.iterable).__name__
        if isinstance(given, str | bytes | Mapping):
            raise SpecError(f"a {kind} is no iterable of rows; put rows in a list: [{{...}}, {{...}}]")
        if isinstance(given, ArrowStreamable):
            raise SpecError(f"a {kind} is one table: use ArrowStreamInputAdapter, or put it in a list")
        if isinstance(given, AsyncIterable):
            raise SpecError(f"a {kind} is asynchronous; collect its rows first, or give a plain generator")
        if not isinstance(given, Iterable) and not callable(given):
            raise SpecError(f"a {kind} is no iterable of rows, and no function that returns one")

    def __repr__(self) -> str:
        return f"PyGeneratorInputAdapter({self.label!r})"  # rows may be long, and hold what is no one's business

    @property
    def label(self) -> str:
        if self.name is not None:
            return self.name
        given = self.iterable
        named = inspect.isgenerator(given) or inspect.isroutine(given) or isinstance(given, type)
        return str(given.__name__) if named else type(given).__name__  # type: ignore[union-attr]

    @property
    def one_shot(self) -> bool:
        """Whether the rows can be read only once."""
        return isinstance(self.iterable, Iterator)

    def open(self, request: ReadRequest) -> Reader:
        """Call the function, if it is one, and take the first item, which says what kind of items they are.

        Raises:
            SourceError: the iterable fails at once, or was read before and can be read only once.
        """
        from zoopipe_core.adapters.python_reader import PyGeneratorReader

        return PyGeneratorReader(self.label, self._iterator(), self._count(), request)

    def split(self, count: int, scan: Scan = scan_here) -> Split:
        """Slices of a list or tuple of rows; anything else is one part."""
        if count <= 1:
            return Split((self,))
        from zoopipe_core.adapters.memory_parts import split_rows

        return split_rows(self, count)

    def _count(self) -> int | None:
        return len(self.iterable) if isinstance(self.iterable, Sized) else None

    def _iterator(self) -> Iterator[Any]:
        given = self.iterable
        if self.one_shot:
            closed = inspect.isgenerator(given) and inspect.getgeneratorstate(given) == inspect.GEN_CLOSED
            if self._first_use.over or closed:
                raise SourceError(
                    f"{self.label}: this {type(given).__name__} was read before and is used up; give a function that "
                    "returns a new one for each run, or a list"
                )
            self._first_use.over = True
        try:
            return iter(given if isinstance(given, Iterable) else given())
        except Exception as error:
            raise SourceError(f"{self.label}: {type(error).__name__}: {error}") from error

    def __getstate__(self) -> dict[str, Any]:
        if self.one_shot:
            raise SpecError(
                f"{self.label}: a {type(self.iterable).__name__} cannot be sent to another process; give a function "
                "that returns it, or a list"
            )
        return {**self.__dict__, "_first_use": FirstUse()}


class Results:
    """What the last published run left; None before the first."""

    def __init__(self) -> None:
        self.batches: list[ModelBatch] | None = None
        self.types: Mapping[str, ColumnType] = {}


@dataclass(frozen=True, repr=False)
class PyGeneratorOutputAdapter(OutputAdapter):
    """Rows into memory, for tests, notebooks and small results.

    Once a run has completed the adapter gives its rows, any number of times: as dicts by iteration, as a
    ``pyarrow.Table`` by `to_table`, and to Polars, DuckDB and pandas through ``__arrow_c_stream__``. The next run that
    completes replaces them. A copy, also one in another process, starts empty.

    >>> from zoopipe_core.batches.model import ModelBatch
    >>> output = PyGeneratorOutputAdapter()
    >>> writer = output.open()
    >>> writer.start({})
    >>> writer.write(ModelBatch.from_rows([{"id": 1}, {"id": 2}], {}))
    >>> writer.publish()
    >>> list(output), len(output), output.to_table().column_names
    ([{'id': 1}, {'id': 2}], 2, ['id'])
    """

    _results: Results = field(default_factory=Results, init=False, repr=False, compare=False)

    @property
    def label(self) -> str:
        return "memory"

    @property
    def place(self) -> None:
        return None  # each one is apart

    def open(self) -> Writer:
        from zoopipe_core.adapters.python_writer import PyGeneratorWriter

        return PyGeneratorWriter(self._results)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Each row as ``model_dump()`` returns it, in order.

        Raises:
            TargetError: no run has completed yet.
        """
        batches = self._published()
        return (row for batch in batches for row in batch.dicts())

    def __len__(self) -> int:
        return sum(batch.num_rows for batch in self._published())

    def __bool__(self) -> bool:
        return True  # an adapter is one before it holds rows

    @property
    def is_published(self) -> bool:
        """Whether a run has completed into this adapter, so that it has rows to give."""
        return self._results.batches is not None

    def to_table(self) -> pa.Table:
        """All rows as one table; keys that a row lacks are null.

        Raises:
            TargetError: no run has completed yet.
            UnsupportedValueError: a value does not fit its column's type.
        """
        from zoopipe_core.adapters.python_writer import table_of

        return table_of(self._published(), self._results.types)

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        return self.to_table().__arrow_c_stream__(requested_schema)

    def _published(self) -> list[ModelBatch]:
        if self._results.batches is None:
            raise TargetError(
                "no run has completed into this output yet, so it has no rows: run the pipe first (a copy of the "
                "adapter, also one in another process, does not get the rows of the original)"
            )
        return self._results.batches

    def __getstate__(self) -> dict[str, Any]:
        return {"_results": Results()}
