"""CSV in parts: one after the other they are the whole, whatever is quoted and wherever the cuts fall."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.adapters.csv_files import COMMENT, Style, blocks_of, encode, styles, texts
from tests.adapters.splits import assert_exact
from zoopipe_core.adapters.csv import CSVInputAdapter


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One file that is written over and over."""
    return tmp_path_factory.mktemp("csv") / "in.csv"


counts = st.integers(1, 16)
styled_texts = styles.flatmap(
    lambda style: st.tuples(st.just(style), st.lists(texts(style), max_size=4).map("\n".join))
)


@given(styled_texts, st.integers(1, 3), counts, st.sampled_from([None, COMMENT]), st.sampled_from([16, 100, 4096]))
def test_any_text_in_parts_is_the_same_text(
    path: Path, styled: tuple[Style, str], width: int, count: int, comment: str | None, block: int
) -> None:
    style, text = styled
    path.write_bytes(encode(text))
    adapter = CSVInputAdapter(path, **vars(style), fieldnames=[f"c{n}" for n in range(width)], comment=comment)
    with blocks_of(block):
        assert_exact(adapter, count)
