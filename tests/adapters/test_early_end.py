"""A process ends cleanly wherever the reading of its source has stopped."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

RUNS = 5  # the threads of pyarrow that outlived a reader aborted one process in four

HEAD = """
import sys
from pydantic import BaseModel
from zoopipe_core import CSVInputAdapter, JSONOutputAdapter, ParquetInputAdapter, Pipe
from zoopipe_core.adapters.base import ReadRequest

class Row(BaseModel):
    number: int
    name: str

path = sys.argv[1]
"""
ENDINGS = {
    "explained": "Pipe(CSVInputAdapter(path), JSONOutputAdapter(path + '.out'), schema_model=Row).explain(sample=100)",
    "closed": "with CSVInputAdapter(path).open(ReadRequest()) as reader:\n    next(iter(reader))",
    "left open": "reader = CSVInputAdapter(path).open(ReadRequest())\nrows = iter(reader)\nnext(rows)",
    "failed": (
        "pipe = Pipe(CSVInputAdapter(path), JSONOutputAdapter(path + '.out'), schema_model=Row, max_errors=0)\n"
        "assert not pipe.run() and pipe.report.rejected_rows == 1"
    ),
}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("early") / "rows.csv"
    lines = (f"{'x' if i == 100_000 else i},name number {i}\n" for i in range(400_000))
    path.write_text("number,name\n" + "".join(lines))
    return path


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_process_that_stops_reading_early_ends_cleanly(ending: str, source: Path) -> None:
    for _ in range(RUNS):
        code = [sys.executable, "-c", HEAD + ENDINGS[ending], str(source)]
        run = subprocess.run(code, capture_output=True, text=True, timeout=60, check=False)
        assert (run.returncode, run.stderr) == (0, "")
