"""The names a user can import from zoopipe_core: present, listed, sorted and documented."""

import ast
import importlib
import inspect
from pathlib import Path

import pytest

import zoopipe_core

NAMES: list[str] = list(zoopipe_core.__all__)
# Plain values have no docstring of their own.
VALUES = {"__version__"}


def test_there_are_public_names() -> None:
    assert NAMES


def test_the_list_is_sorted_and_holds_no_name_twice() -> None:
    assert sorted(set(NAMES)) == NAMES


def test_dir_lists_every_public_name() -> None:
    assert set(NAMES) <= set(dir(zoopipe_core))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        zoopipe_core.no_such_name  # noqa: B018


@pytest.mark.parametrize("name", NAMES)
def test_a_public_name_can_be_imported_and_is_documented(name: str) -> None:
    value = getattr(zoopipe_core, name)
    if name in VALUES:
        return
    doc = value.__dict__.get("__doc__") if inspect.isclass(value) else value.__doc__
    assert doc, f"{name} has no docstring"
    assert not doc.startswith(f"{name}("), f"the docstring of {name} is the generated signature"


@pytest.mark.parametrize("name", NAMES)
def test_a_public_name_has_one_home(name: str) -> None:
    """Pickles and tracebacks name the module where the object lives; it must be found there."""
    value = getattr(zoopipe_core, name)
    if inspect.isclass(value) or inspect.isfunction(value):
        home = importlib.import_module(value.__module__)
        assert value.__module__.startswith("zoopipe_core.")
        assert getattr(home, value.__name__) is value


def test_type_checkers_see_the_names_that_are_loaded_lazily() -> None:
    """A lazy name must be imported under TYPE_CHECKING too, or editors and mypy do not know it."""
    tree = ast.parse(Path(zoopipe_core.__file__).read_text(encoding="utf-8"))
    bound: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            bound |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.ClassDef | ast.FunctionDef):
            bound.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            bound |= {target.id for target in targets if isinstance(target, ast.Name)}
    assert set(NAMES) <= bound
