"""Which adapter a path, a URL or an object gets, and what an unknown one is told."""

import importlib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from zoopipe_core import (
    ArrowStreamInputAdapter,
    CSVInputAdapter,
    CSVOutputAdapter,
    JSONInputAdapter,
    JSONOutputAdapter,
    Pipe,
    PyGeneratorInputAdapter,
    SQLInputAdapter,
    SQLOutputAdapter,
)
from zoopipe_core.adapters.base import InputAdapter, OutputAdapter
from zoopipe_core.errors import SpecError, UnknownAdapterError
from zoopipe_core.registry import _SCHEMES, _SUFFIXES, COMPRESSIONS, resolve_input, resolve_output

CANARY = "c4n4ry-p4ssw0rd"


def home(dotted: str) -> Any:
    module, _, name = dotted.partition(":")
    return getattr(importlib.import_module(f"zoopipe_core.adapters.{module}"), name)


@pytest.mark.parametrize("suffix", _SUFFIXES)
def test_each_suffix_has_an_input_and_an_output(suffix: str) -> None:
    reader, writer, options = _SUFFIXES[suffix]
    for path in (f"data/in{suffix}", f"IN{suffix.upper()}", Path(f"in{suffix}"), f"s3://bucket/in{suffix}"):
        source, target = resolve_input(path), resolve_output(path)
        assert type(source) is home(reader)
        assert type(target) is home(writer)
        assert isinstance(source, InputAdapter)
        assert isinstance(target, OutputAdapter)
        for name, value in options.items():
            assert getattr(source, name) == getattr(target, name) == value


@pytest.mark.parametrize("table", [_SUFFIXES, _SCHEMES, COMPRESSIONS])
def test_a_table_is_in_the_order_of_the_alphabet(table: dict[str, Any]) -> None:
    assert list(table) == sorted(table)


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_a_compression_may_follow_a_suffix(compression: str) -> None:
    assert resolve_input(f"in.csv{compression}") == CSVInputAdapter(f"in.csv{compression}")
    assert resolve_input(f"in.jsonl{compression}") == JSONInputAdapter(f"in.jsonl{compression}", format="jsonl")


def test_tabs_and_arrays_are_told_by_the_suffix() -> None:
    assert resolve_output("out.tsv.gz") == CSVOutputAdapter("out.tsv.gz", delimiter="\t")
    assert resolve_output("out.json") == JSONOutputAdapter("out.json", format="array")


@pytest.mark.parametrize("scheme", _SCHEMES)
def test_a_database_is_told_by_its_scheme_and_the_table_follows_two_colons(scheme: str) -> None:
    assert resolve_input(f"{scheme}:///wh.db::a.users") == SQLInputAdapter(f"{scheme}:///wh.db", table_name="a.users")
    assert resolve_output(f"{scheme}:///wh.db::users") == SQLOutputAdapter(f"{scheme}:///wh.db", table_name="users")


@pytest.mark.parametrize("resolve", [resolve_input, resolve_output])
def test_a_database_without_a_table_is_refused_with_the_form_that_works(resolve: Any) -> None:
    with pytest.raises(SpecError, match=r"names a database but no table: write postgresql://\.\.\.::table") as caught:
        resolve(f"postgresql://etl:{CANARY}@host/wh?sslpassword={CANARY}")
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize(("suffix", "shown"), [(".xyz", ".xyz"), ("", "none"), (".xyz.gz", ".xyz"), (".gz", ".gz")])
@pytest.mark.parametrize("resolve", [resolve_input, resolve_output])
def test_an_unknown_suffix_lists_what_is_known(resolve: Any, suffix: str, shown: str) -> None:
    with pytest.raises(UnknownAdapterError) as caught:
        resolve(f"data.d/users{suffix}")
    message = str(caught.value)
    assert f"no adapter is known for 'data.d/users{suffix}' (suffix {shown})" in message
    for name in (*_SUFFIXES, *COMPRESSIONS, *(f"{scheme}://" for scheme in _SCHEMES)):
        assert name in message
    assert isinstance(caught.value, ValueError)


def test_an_unknown_address_is_told_without_its_secrets() -> None:
    for address in (f"mysql://etl:{CANARY}@host/db", f"https://me:{CANARY}@host/in.xyz?token={CANARY}"):
        with pytest.raises(UnknownAdapterError) as caught:
            Pipe(address, None)
        assert CANARY not in str(caught.value)


def test_a_query_is_no_part_of_the_suffix_of_a_web_address() -> None:
    assert type(resolve_input("https://host/users.csv?name=a.parquet#x.json")) is CSVInputAdapter
    assert type(resolve_input("in/part-?.csv")) is CSVInputAdapter


def test_paths_in_a_list_are_one_input_and_of_one_kind() -> None:
    assert resolve_input(["a.csv", Path("b.csv")]) == CSVInputAdapter(["a.csv", Path("b.csv")])
    with pytest.raises(UnknownAdapterError, match=r"different suffixes: \.csv, \.jsonl; use one Pipe for each"):
        resolve_input(["a.csv", "b.jsonl"])


def test_tables_in_memory_are_read_as_arrow_and_other_iterables_as_rows() -> None:
    assert type(resolve_input(pa.table({"id": [1]}))) is ArrowStreamInputAdapter
    for rows in ([], [{"id": 1}], iter([]), ({"id": n} for n in range(3))):
        assert type(resolve_input(rows)) is PyGeneratorInputAdapter


@pytest.mark.parametrize("value", [42, None, object()])
def test_what_is_no_place_is_refused_with_what_would_be(value: Any) -> None:
    with pytest.raises(UnknownAdapterError, match=f"{type(value).__name__} is no input: give an adapter"):
        resolve_input(value)
    with pytest.raises(UnknownAdapterError, match=f"{type(value).__name__} is no output: give an adapter"):
        resolve_output(value)


def test_a_token_in_a_url_is_in_no_message() -> None:
    with pytest.raises(UnknownAdapterError) as caught:
        resolve_input("s3://key:hush@bucket/users.csv?token=hush")
    message = str(caught.value)
    assert "hush" not in message
    assert "(suffix .csv and a query, which only web addresses may have)" in message
