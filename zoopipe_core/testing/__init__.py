"""Contract suites for adapters and coordinators of your own, and an engine without processes.

A class that subclasses `InputAdapterContract` or `OutputAdapterContract` in a test file, and says in some lines how a
source is made or a target is read back, runs every test that zoopipe's own adapters pass:

    class TestMyInput(InputAdapterContract):
        def adapter(self, folder, rows):
            path = folder / "rows.my"
            write_my_format(path, rows)
            return MyInputAdapter(path)

Needs pytest.
"""

import pytest

# So that a failed assertion of a contract shows the values; before the modules are imported.
pytest.register_assert_rewrite(
    "zoopipe_core.testing.coordinators", "zoopipe_core.testing.inputs", "zoopipe_core.testing.outputs"
)

from zoopipe_core.testing.coordinators import CoordinatorContract  # noqa: E402
from zoopipe_core.testing.engines import ThreadEngine  # noqa: E402
from zoopipe_core.testing.inputs import InputAdapterContract  # noqa: E402
from zoopipe_core.testing.outputs import OutputAdapterContract  # noqa: E402
from zoopipe_core.testing.rows import read_rows, rows_of, write_rows  # noqa: E402

__all__ = [
    "CoordinatorContract",
    "InputAdapterContract",
    "OutputAdapterContract",
    "ThreadEngine",
    "read_rows",
    "rows_of",
    "write_rows",
]
