"""Functions on whole columns, for a `ColumnHook` or any other use of pyarrow: what Arrow lacks, or does the slow way.

from zoopipe_core.functions import cut, lower, sha256

email = lower(batch.column("email"))
batch = batch.append_column("email_sha256", sha256(email))
batch = batch.append_column("age_group", cut(batch.column("age"), [18, 65], ["minor", "adult", "senior"]))

They take arrays and chunked arrays of pyarrow, keep nothing between calls, and let go of the GIL while they work. What
is compiled (`zoopipe_core.kernels`) gives the same where no kernels are at hand.
"""

from __future__ import annotations

from zoopipe_core.functions.groups import cut
from zoopipe_core.functions.hashing import sha256
from zoopipe_core.functions.texts import lower, upper

__all__ = ["cut", "lower", "sha256", "upper"]
