"""Functions where they are meant to be used: in a hook on columns, in a process of its own."""

import subprocess
import sys
from pathlib import Path

LOAD = """
import sys
import pyarrow.compute as pc
from pydantic import BaseModel
from zoopipe_core import ColumnHook, Pipe
from zoopipe_core.functions import cut, lower, sha256, upper

class Person(BaseModel):
    email: str
    age: int
    is_known: bool

class Tidy(ColumnHook):
    adds = {"hash": str, "group": str, "loud": str}

    def execute(self, batch, store):
        email = lower(pc.utf8_trim_whitespace(batch.column("email")))
        batch = batch.append_column("hash", sha256(email, key="secret"))
        batch = batch.append_column("group", cut(batch.column("age"), [18], ["minor", "adult"]))
        return batch.append_column("loud", upper(email))

    def keep(self, batch, store):
        return batch.column("is_known")

pipe = Pipe("in.csv", "out.csv", schema_model=Person, post_validation_hooks=[Tidy()])
assert pipe.run(on_report_update=None), pipe.report.exception
print(pipe.report.filtered_rows, "pandas" in sys.modules)
"""


def test_a_load_with_a_hook_on_columns_does_not_import_pandas(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("email,age,is_known\n Ann@A.org ,17,true\nBob@B.org,18,false\nÉva@C.org,64,true\n")
    done = subprocess.run([sys.executable, "-c", LOAD], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout == "1 False\n", done.stderr
    rows = [line.split(",") for line in (tmp_path / "out.csv").read_text().splitlines()]
    assert [row[-2:] for row in rows] == [["group", "loud"], ["minor", "ANN@A.ORG"], ["adult", "ÉVA@C.ORG"]]
