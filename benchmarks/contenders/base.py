"""What a contender is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from importlib import metadata

from benchmarks.task import Task

Run = Callable[[], int]


class Contender(ABC):
    """Somebody who can do a task.

    name: how tables show it.
    distribution: the package that does the work, for its version.
    settings: how it is set up, and why that is the way its own documentation recommends.
    judges: False for one that only reads: it reports all rows, the bad ones too.
    """

    name: str
    distribution: str
    settings: str
    judges: bool = True

    @property
    def version(self) -> str | None:
        """The installed version; None if there is none."""
        try:
            return metadata.version(self.distribution)
        except metadata.PackageNotFoundError:
            return None

    @abstractmethod
    def prepare(self, task: Task) -> Run:
        """Import what is needed, and return the whole job, for the clock to run once.

        The job returns how many rows it accepted, or read if it does not judge.

        Raises:
            NotImplementedError: the contender cannot do such a task.
        """

    def refuse(self, task: Task) -> NotImplementedError:
        return NotImplementedError(f"{self.name} does not do {task.source_format} -> {task.target}, hook {task.hook}")

    def finish(self) -> None:
        """End what `prepare` or the job has started; the clock has stopped."""
        return
