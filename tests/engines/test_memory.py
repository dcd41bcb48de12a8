"""Where a worker process takes Arrow's memory from."""

from pathlib import Path

import pyarrow as pa
import pytest
from pydantic import BaseModel

from zoopipe_core import BaseHook, MultiProcessEngine, Pipe, PipeManager, ZoosyncPoolEngine
from zoopipe_core.batches.pools import buffer_pool
from zoopipe_core.engines.local import LocalEngine
from zoopipe_core.hooks import Entry, Store


class Item(BaseModel):
    id: int


class TellOfMemory(BaseHook):
    """Leaves a note of the pool that Arrow takes memory from."""

    def __init__(self, note: Path) -> None:
        super().__init__()
        self.note = str(note)

    def execute(self, entries: list[Entry], store: Store) -> list[Entry]:
        Path(self.note).write_text(pa.default_memory_pool().backend_name)
        return entries


def pool_of_worker(engine: LocalEngine, folder: Path) -> str:
    source, note = folder / "in.csv", folder / "note"
    source.write_text("id\n1\n")
    pipe = Pipe(source, folder / "out.parquet", None, Item, post_validation_hooks=[TellOfMemory(note)])
    try:
        assert PipeManager([pipe], engine=engine).run(on_report_update=None)
    finally:
        engine.close()
    return note.read_text()


@pytest.mark.parametrize("engine", [MultiProcessEngine(1), ZoosyncPoolEngine(1)], ids=["cold", "warm"])
def test_arrow_takes_all_memory_where_a_load_takes_its_blocks(engine: LocalEngine, tmp_path: Path) -> None:
    assert pool_of_worker(engine, tmp_path) == buffer_pool().backend_name


def test_a_pool_that_the_user_has_chosen_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARROW_DEFAULT_MEMORY_POOL", "system")
    assert pool_of_worker(MultiProcessEngine(1), tmp_path) == "system"
