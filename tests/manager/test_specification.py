"""The snippets of the manager's specification, run as they stand, in processes."""

import glob
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from zoopipe_core import (
    CSVInputAdapter,
    CSVOutputAdapter,
    JSONOutputAdapter,
    MultiThreadExecutor,
    Pipe,
    PipeManager,
    PipeStatus,
)
from zoopipe_core.engines.base import BaseEngine
from zoopipe_core.engines.zoosync import ZoosyncPoolEngine


class UserSchema(BaseModel):
    user_id: str
    username: str
    email: str


class OrderSchema(BaseModel):
    order_id: int


class ProductSchema(BaseModel):
    sku: str
    price: float


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("data_parts").mkdir()
    for part in (1, 2, 3):
        lines = [f"{part}{n},user{n},u{n}@example.com" for n in range(part * 100)]
        text = "\n".join(["user_id,username,email", *lines, ""])
        Path(f"data_part_{part}.csv").write_text(text)
        Path(f"data_parts/part{part}.csv").write_text(text)
    Path("users.csv").write_text(Path("data_part_1.csv").read_text())
    Path("orders.csv").write_text("order_id\n1\nx\n3\n")
    Path("products.csv").write_text("sku,price\na,1.5\n")
    return tmp_path


@pytest.fixture(scope="module")
def pool() -> Iterator[BaseEngine]:
    engine = ZoosyncPoolEngine(n_workers=2)
    yield engine
    engine.close()


def three_parts() -> list[Pipe]:
    return [
        Pipe(
            input_adapter=CSVInputAdapter(f"data_part_{part}.csv"),
            output_adapter=JSONOutputAdapter(f"output_{part}.jsonl"),
            schema_model=UserSchema,
        )
        for part in (1, 2, 3)
    ]


def test_basic_usage(data: Path) -> None:
    manager = PipeManager(pipes=three_parts())
    # Start, wait, and coordinate (including merging if applicable)
    assert manager.run(wait=True, merge=True)
    assert manager.report.total_processed == 600
    assert [len(Path(f"output_{part}.jsonl").read_text().splitlines()) for part in (1, 2, 3)] == [100, 200, 300]


def test_monitoring_progress(data: Path, pool: BaseEngine) -> None:
    manager = PipeManager(three_parts(), engine=pool)
    manager.start()
    shown = []
    while not manager.report.is_finished:
        shown.append(
            f"Total: {manager.report.total_processed} | "
            f"Speed: {manager.report.items_per_second:.2f} rows/s | "
            f"RAM: {manager.report.ram_bytes / 1024 / 1024:.2f} MB"
        )
        for i, pipe_report in enumerate(manager.pipe_reports):
            assert pipe_report.pipe_index == i
            shown.append(f"  Pipe {i}: {pipe_report.total_processed} processed, finished: {pipe_report.is_finished}")
        time.sleep(0.01)
    assert shown
    assert "COMPLETED" in str(manager.report)
    assert [report.total_processed for report in manager.pipe_reports] == [100, 200, 300]
    assert manager.get_pipe_report(2).success_count == 300
    assert not manager.get_pipe_report(2).is_alive


def test_context_manager_support(data: Path, pool: BaseEngine) -> None:
    pipe1, pipe2, pipe3 = three_parts()
    with PipeManager(pipes=[pipe1, pipe2, pipe3], engine=pool) as manager:
        # Manager starts automatically in __enter__
        assert manager.wait()
        assert manager.report.total_processed == 600
    assert not manager.is_running


def test_parallelizing_a_single_pipe(data: Path, pool: BaseEngine) -> None:
    source_pipe = Pipe(
        sorted(glob.glob("data_parts/*.csv")), JSONOutputAdapter("all.json", format="array"), None, UserSchema
    )
    manager = PipeManager.parallelize_pipe(
        source_pipe, workers=4, engine=pool, executor=MultiThreadExecutor(max_workers=2)
    )
    assert manager.run()
    parallel = json.loads(Path("all.json").read_text())
    assert source_pipe.run()
    assert parallel == json.loads(Path("all.json").read_text())
    assert manager.pipe_count > 1
    assert manager.pipes[0].executor == MultiThreadExecutor(max_workers=2)


def test_processing_partitioned_data(data: Path, pool: BaseEngine) -> None:
    pipes = []
    for csv_file in glob.glob("data_parts/*.csv"):
        output_file = csv_file.replace("data_parts", "output").replace(".csv", ".jsonl")
        pipes.append(
            Pipe(
                input_adapter=CSVInputAdapter(csv_file),
                output_adapter=JSONOutputAdapter(output_file),
                schema_model=UserSchema,
            )
        )
    with PipeManager(pipes=pipes, engine=pool) as manager:
        manager.wait()
    assert sorted(path.name for path in Path("output").iterdir()) == ["part1.jsonl", "part2.jsonl", "part3.jsonl"]


def test_different_pipelines_in_parallel(data: Path, pool: BaseEngine) -> None:
    manager = PipeManager(
        pipes=[
            Pipe(CSVInputAdapter(f"{name}.csv"), CSVOutputAdapter(f"{name}_clean.csv"), schema_model=model)
            for name, model in [("users", UserSchema), ("orders", OrderSchema), ("products", ProductSchema)]
        ],
        engine=pool,
    )
    manager.start()
    assert manager.wait()
    assert manager.report.status is PipeStatus.COMPLETED
    assert Path("orders_clean.csv").read_text() == "order_id\n1\n3\n"
    assert Path("products_clean.csv").read_text() == "sku,price\na,1.5\n"
    assert manager.report.error_count == 1
