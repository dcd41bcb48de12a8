"""How much a compressed file may grow when it is read."""

from __future__ import annotations

from dataclasses import dataclass

from zoopipe_core.errors import SpecError

__all__ = ["DecompressionLimits"]


@dataclass(frozen=True, slots=True)
class DecompressionLimits:
    """Caps against decompression bombs.

    Attributes:
        max_bytes: decompressed bytes of one file; default 1 TiB.
        max_ratio: decompressed over compressed bytes, looked at once a file has grown past 64 MiB; default 300
            (text rarely passes 50, gzip cannot pass 1032).

    Raises:
        SpecError: a cap is not above 0.
    """

    max_bytes: int = 2**40
    max_ratio: float = 300.0

    def __post_init__(self) -> None:
        if not self.max_bytes > 0 or not self.max_ratio > 0:
            raise SpecError(
                "max_decompressed_bytes and max_compression_ratio have to be above 0, "
                f"not {self.max_bytes!r} and {self.max_ratio!r}"
            )
