"""Contract suites for adapters of your own.

A class that subclasses `InputAdapterContract` or `OutputAdapterContract` in a test file, and says in some lines how a
source is made or a target is read back, runs every test that zoopipe's own adapters pass:

    class TestMyInput(InputAdapterContract):
        def adapter(self, folder, rows):
            path = folder / "rows.my"
            write_my_format(path, rows)
            return MyInputAdapter(path)

Needs pytest.
"""

from zoopipe_core.testing.inputs import InputAdapterContract
from zoopipe_core.testing.outputs import OutputAdapterContract
from zoopipe_core.testing.rows import read_rows, rows_of, write_rows

__all__ = ["InputAdapterContract", "OutputAdapterContract", "read_rows", "rows_of", "write_rows"]
