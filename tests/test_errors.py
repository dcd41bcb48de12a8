"""The tree of errors: one root, as its docstring draws it."""

import importlib
import inspect
import pickle
import pkgutil
import re

import pytest

import zoopipe_core
from zoopipe_core import errors
from zoopipe_core.errors import ColumnNotFoundError, MissingDependencyError, ZoopipeError

CLASSES = [value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, Exception)]
LINE = re.compile(r"^    (?P<branch>[ │├└─]*)(?P<name>\w+Error)(?: \((?P<also>\w+)\))?", re.M)


def drawn() -> dict[str, list[str]]:
    """Each error of the drawing with its bases: the one it hangs from, and the one in brackets."""
    tree: dict[str, list[str]] = {}
    above: list[str] = []
    for match in LINE.finditer(errors.__doc__ or ""):
        depth = len(match["branch"]) // 4
        above[depth:] = [match["name"]]
        parent = above[depth - 1] if depth else "Exception"
        tree[match["name"]] = [parent, *([match["also"]] if match["also"] else [])]
    return tree


def test_the_drawing_shows_every_error_where_it_stands() -> None:
    assert drawn() == {kind.__name__: [base.__name__ for base in kind.__bases__] for kind in CLASSES}


def test_every_error_is_listed_and_says_what_it_is_for() -> None:
    assert sorted(kind.__name__ for kind in CLASSES) == errors.__all__
    for kind in CLASSES:
        assert issubclass(kind, ZoopipeError)
        assert kind.__doc__


@pytest.mark.parametrize("kind", CLASSES)
def test_an_error_keeps_its_message_through_a_pickle(kind: type[ZoopipeError]) -> None:
    copy = pickle.loads(pickle.dumps(kind("what, the value, what next")))
    assert type(copy) is kind
    assert str(copy) == "what, the value, what next"


def test_no_other_module_of_the_core_defines_an_error() -> None:
    for module in pkgutil.walk_packages(zoopipe_core.__path__, "zoopipe_core."):
        if module.name == errors.__name__ or module.name.endswith(".__main__"):
            continue
        for name, value in vars(importlib.import_module(module.name)).items():
            if inspect.isclass(value) and issubclass(value, ZoopipeError):
                assert value.__module__ == errors.__name__, f"{module.name}.{name}"


def test_modules_that_the_docstring_points_to_exist() -> None:
    for name in re.findall(r"`(zoopipe_core[\w.]+)`", errors.__doc__ or ""):
        assert importlib.util.find_spec(name) is not None, name


def test_a_missing_column_names_what_was_found_and_the_nearest_match() -> None:
    error = ColumnNotFoundError.build("User", ["email", "id"], "in.csv", ["ID", "e-mail", "name"])
    lines = str(error).splitlines()
    assert lines[0] == "the model User needs the columns 'email', 'id', which in.csv does not have."
    assert lines[1] == "  found: ID, e-mail, name (3 columns)"
    assert lines[2] == "  did you mean 'e-mail'?  Rename it with Field(alias='e-mail')."
    assert lines[3] == "  did you mean 'ID'?  Rename it with Field(alias='ID')."


def test_a_missing_column_of_a_wide_source_names_some_that_were_found() -> None:
    error = ColumnNotFoundError.build("User", ["id"], "in.csv", [f"x{n}" for n in range(10_000)])
    assert "found: x0, x1, " in str(error)
    assert "x11, ... (10000 columns)" in str(error)
    assert "did you mean" not in str(error)
    assert len(str(error)) < 500
    assert "found: no columns (0 columns)" in str(ColumnNotFoundError.build("User", ["id"], "in.csv", []))


def test_a_missing_package_comes_with_the_line_that_installs_it() -> None:
    error = MissingDependencyError.build("ray", "ray", "RayEngine")
    assert str(error) == "RayEngine needs the package 'ray': pip install 'zoopipe-plugins[ray]'"
    assert isinstance(error, ImportError)
