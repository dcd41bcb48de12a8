"""What an operator was given as its pipes: pipes, functions that build them, or the places of either.

Airflow calls what it finds callable in a template field, and shows what it finds there; so what was given is kept in a
value of ours, which is not callable and says how it is to be shown.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from zoopipe_airflow.imports import is_import_string, load_object

if TYPE_CHECKING:
    from zoopipe_core import Pipe

__all__ = ["PipeSource", "PipesSource"]

_FORMS = "a zoopipe_core.Pipe, or a function that returns one, or the place of either as 'package.module:name'"


@dataclass(frozen=True, repr=False)
class PipeSource:
    """One pipe.

    Attributes:
        given: a pipe, a function without arguments that builds one, or the place of either.

    >>> PipeSource("loads.users:daily").serialize()
    'loads.users:daily'

    Raises:
        TypeError: it is none of these.
    """

    given: Any

    def __post_init__(self) -> None:
        given = self.given
        if not (callable(given) or (isinstance(given, str) and is_import_string(given)) or _is_pipe(given)):
            raise TypeError(f"pipe has to be {_FORMS}, not {given!r}")

    def rendered(self, render: Callable[[str], object]) -> PipeSource:
        """The same with the templates of a pipe rendered; what is built later is rendered then, by `build`."""
        if not _is_pipe(self.given):
            return self
        from zoopipe_airflow.templates import render_pipe

        return replace(self, given=render_pipe(self.given, render))

    def build(self, render: Callable[[str], object]) -> Pipe:
        """The pipe, ready to run. One that was given has been rendered and is not rendered again.

        Raises:
            TypeError: what the function returns is no pipe.
            ImportError: there is nothing at that place.
        """
        if _is_pipe(self.given):
            return self.given  # type: ignore[no-any-return]
        from zoopipe_airflow.templates import render_pipe

        built = _built(self.given)
        if not _is_pipe(built):
            raise TypeError(
                f"{_named(self.given)}, given as pipe, has to be or return a zoopipe_core.Pipe, not {built!r}"
            )
        return render_pipe(built, render)

    def serialize(self) -> Any:
        """What Airflow shows, as plain JSON."""
        if not _is_pipe(self.given):
            return _named(self.given)
        from zoopipe_airflow.templates import describe_pipe

        return describe_pipe(self.given)

    def __repr__(self) -> str:
        """By which Airflow knows a mapped task: the same in each process, as a function's own is not."""
        return f"PipeSource({self.serialize()!r})"


@dataclass(frozen=True, repr=False)
class PipesSource:
    """Several pipes.

    Attributes:
        given: a `PipeSource` for each, or what gives all of them: a function, or the place of a function or a list.

    Raises:
        TypeError: from `of`: it is none of these.
    """

    given: tuple[PipeSource, ...] | Callable[[], Iterable[Any]] | str

    @classmethod
    def of(cls, given: Any) -> PipesSource:
        """From the argument of an operator."""
        if callable(given) or (isinstance(given, str) and is_import_string(given)):
            return cls(given)
        if isinstance(given, str) or _is_pipe(given) or not isinstance(given, Iterable):
            raise TypeError(f"pipes has to be a list, or a function that returns one, or its place, not {given!r}")
        return cls(tuple(PipeSource(one) for one in given))

    def rendered(self, render: Callable[[str], object]) -> PipesSource:
        """As for one."""
        if not isinstance(self.given, tuple):
            return self
        return PipesSource(tuple(one.rendered(render) for one in self.given))

    def build(self, render: Callable[[str], object]) -> list[Pipe]:
        """The pipes, ready to run.

        Raises:
            TypeError, ImportError: as for one.
        """
        if isinstance(self.given, tuple):
            return [one.build(render) for one in self.given]
        built = _built(self.given)
        if not isinstance(built, Iterable) or isinstance(built, str):
            raise TypeError(f"{_named(self.given)}, given as pipes, has to be or return a list, not {built!r}")
        # What a function returns was not rendered yet.
        return [PipeSource(one).rendered(render).build(render) for one in built]

    def serialize(self) -> Any:
        """What Airflow shows, as plain JSON."""
        return [one.serialize() for one in self.given] if isinstance(self.given, tuple) else _named(self.given)

    def __repr__(self) -> str:
        """As for one."""
        return f"PipesSource({self.serialize()!r})"


def _is_pipe(value: Any) -> bool:
    if callable(value) or isinstance(value, str):
        return False
    from zoopipe_core import Pipe  # what is given as a Pipe has paid for this import already

    return isinstance(value, Pipe)


def _built(given: Any) -> Any:
    """What a function returns, or what stands at a place."""
    value = load_object(given) if isinstance(given, str) else given
    return value() if callable(value) else value


def _named(given: Any) -> str:
    """The name of a function, the same in each process; not the arguments of a partial one, which may be secrets."""
    if isinstance(given, str):
        return given
    while isinstance(given, functools.partial):
        given = given.func
    named = given if hasattr(given, "__qualname__") else type(given)
    return f"{named.__module__}:{named.__qualname__}"
