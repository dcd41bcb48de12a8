"""Python in and out: an iterable of rows or record batches as a source, results kept in memory as a target."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterable, Callable, Generator, Iterable, Iterator, Mapping, Sized
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from typing import Any

import pyarrow as pa

from zoopipe_core.adapters.arrow import ArrowStreamable, FirstUse, open_stream, stream_batches
from zoopipe_core.adapters.base import InputAdapter, OutputAdapter, Reader, ReadRequest, Scan, Split, Writer, scan_here
from zoopipe_core.adapters.columnar import Layout, evened, is_open, settled_type
from zoopipe_core.batches.model import ModelBatch
from zoopipe_core.batches.source import SourceBatch, SourceKind, number_rows, object_batch
from zoopipe_core.batches.types import JSON, ColumnType
from zoopipe_core.errors import SourceError, SpecError, TargetError

__all__ = ["PyGeneratorInputAdapter", "PyGeneratorOutputAdapter"]

# How many rows a slow iterable may give before the reader looks whether the load was cancelled.
ROWS_BETWEEN_LOOKS = 256


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


class PyGeneratorReader(Reader):
    """Reads an iterator of rows, whose first is number `first` of the whole, or one of tables."""

    def __init__(
        self, name: str, iterator: Iterator[Any], count: int | None, request: ReadRequest, first: int = 1
    ) -> None:
        self._name, self._iterator, self._count, self._request = name, iterator, count, request
        self._first = first
        self._items_read = self._rows_read = 0
        self._table_types: dict[type, bool] = {}
        self._ahead = list(islice(self._items(), 1))
        self._stream: pa.RecordBatchReader | None = None
        if self._ahead and self._is_table(self._ahead[0]):
            self._stream = open_stream(self._ahead.pop(), name)
            self._layout = Layout(self._stream.schema, request)

    @property
    def kind(self) -> SourceKind:
        return SourceKind.OBJECTS if self._stream is None else SourceKind.TYPED

    @property
    def columns(self) -> Mapping[str, ColumnType] | None:
        return None if self._stream is None else self._layout.types

    @property
    def duplicates(self) -> frozenset[str]:
        return frozenset() if self._stream is None else self._layout.duplicates

    @property
    def first_record(self) -> int:
        return self._first

    @property
    def fraction(self) -> float | None:
        return min(1.0, self._items_read / self._count) if self._count else None

    def __iter__(self) -> Iterator[SourceBatch]:
        return self._rows() if self._stream is None else self._tables(self._stream)

    def _items(self) -> Iterator[Any]:
        """What the iterator gives; what it raises becomes an error that says where."""
        try:
            for item in self._iterator:
                self._items_read += 1
                yield item
        except Exception as error:
            raise SourceError(
                f"{self._name}: row {self._rows_read + self._first:,}: {type(error).__name__}: {error}"
            ) from error

    def _rows(self) -> Iterator[SourceBatch]:
        size, stop = self._request.batch_size, self._request.stop
        first, held = self._first, list[Any]()
        for row in chain(self._ahead, self._items()):
            if self._is_table(row):
                raise self._mixed(row, "rows")
            held.append(row)
            self._rows_read += 1
            if len(held) == size:
                yield object_batch(self._name, first, held)
                first, held = first + size, []
            elif self._rows_read % ROWS_BETWEEN_LOOKS == 0 and stop.is_set():
                return
        if held:
            yield object_batch(self._name, first, held)

    def _tables(self, stream: pa.RecordBatchReader) -> Iterator[SourceBatch]:
        first = 1
        for batch in evened(self._batches(stream), self._request.batch_size):
            yield SourceBatch(self._name, SourceKind.TYPED, batch, number_rows(first, batch.num_rows))
            first += batch.num_rows

    def _batches(self, stream: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
        layout = self._layout
        for one in chain([stream], map(self._next_stream, self._items())):
            if not one.schema.equals(layout.schema):
                layout = Layout(one.schema, self._request)
            for batch in stream_batches(one, self._name):
                yield layout.pick(batch)
                self._rows_read += batch.num_rows

    def _next_stream(self, item: Any) -> pa.RecordBatchReader:
        if not self._is_table(item):
            raise self._mixed(item, "record batches")
        return open_stream(item, self._name)

    def _is_table(self, item: Any) -> bool:
        # The protocol's isinstance takes longer than all else that is done for a row; types are few.
        kind = type(item)
        known = self._table_types.get(kind)
        if known is None:
            known = self._table_types[kind] = isinstance(item, ArrowStreamable)
        return known

    def _mixed(self, item: Any, others: str) -> SourceError:
        number = self._rows_read + self._first
        return SourceError(
            f"{self._name}: row {number:,} is a {type(item).__name__} after {others}; an iterable gives either rows or "
            "record batches"
        )

    def close(self) -> None:
        if isinstance(self._iterator, Generator):
            self._iterator.close()


class _Results:
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

    _results: _Results = field(default_factory=_Results, init=False, repr=False, compare=False)

    @property
    def label(self) -> str:
        return "memory"

    @property
    def place(self) -> None:
        return None  # each one is apart

    def open(self) -> Writer:
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
        batches = self._published()
        types = common_types(self._results.types, batches)
        schema = pa.schema([pa.field(name, kind.arrow) for name, kind in types.items()])
        return pa.Table.from_batches([batch.to_arrow(types) for batch in batches], schema)

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
        return {"_results": _Results()}


class PyGeneratorWriter(Writer):
    """Collects batches, and hands them over when published."""

    def __init__(self, results: _Results) -> None:
        self._results = results
        self._batches: list[ModelBatch] = []
        self._types: Mapping[str, ColumnType] = {}

    def start(self, types: Mapping[str, ColumnType]) -> None:
        self._types = dict(types)

    def write(self, batch: ModelBatch) -> None:
        if batch.num_rows:
            self._batches.append(batch)

    def prepare(self) -> None:
        return

    def publish(self) -> None:
        self._results.batches, self._results.types = self._batches, self._types

    def abort(self) -> None:
        self._batches = []


def common_types(declared: Mapping[str, ColumnType], batches: Iterable[ModelBatch]) -> dict[str, ColumnType]:
    """The column types of all batches together: those declared, settled by the values, then columns beyond them."""
    types = dict(declared)
    for batch in batches:
        for name, column in batch.columns.items():
            kind = types.get(name, NOTHING)
            if is_open(kind):
                types[name] = settled_type(batch, name, kind)
            elif name not in declared:
                types[name] = _wider(kind, settled_type(batch, name, column.type))
    return {name: replace(kind, open_zone=False) for name, kind in types.items()}


NOTHING = ColumnType(pa.null())


def _wider(one: ColumnType, other: ColumnType) -> ColumnType:
    if one.arrow == other.arrow or is_open(other):
        return one
    if {one.arrow, other.arrow} == {pa.int64(), pa.float64()}:
        return ColumnType(pa.float64())
    return JSON
