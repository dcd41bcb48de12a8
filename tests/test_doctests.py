"""Every example in a docstring runs and gives what it shows, in an empty folder, and leaves nothing in it."""

import doctest
import importlib
import pkgutil
from pathlib import Path

import pytest

PACKAGES = ("zoopipe_airflow", "zoopipe_core", "zoopipe_prefect")


def modules() -> list[str]:
    """The names of all modules; one named ``__main__`` would run its program when imported."""
    names = list(PACKAGES)
    for package in PACKAGES:
        path = importlib.import_module(package).__path__
        names += [module.name for module in pkgutil.walk_packages(path, f"{package}.")]
    return sorted(name for name in names if not name.endswith(".__main__"))


def examples(module: str) -> list[doctest.DocTest]:
    found = doctest.DocTestFinder(exclude_empty=True).find(importlib.import_module(module), module)
    return [test for test in found if test.examples]


def run(test: doctest.DocTest) -> str:
    """What differs from what the example shows; empty if nothing does."""
    report: list[str] = []
    runner = doctest.DocTestRunner(verbose=False)
    runner.run(test, out=report.append)
    return "".join(report)


@pytest.mark.parametrize("module", modules())
def test_the_examples_of_a_module_give_what_they_show(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for test in examples(module):
        assert not any(doctest.SKIP in example.options for example in test.examples), f"{test.name} skips an example"
        assert run(test) == ""
    assert list(tmp_path.iterdir()) == []


def test_examples_are_found_and_a_wrong_one_is_told() -> None:
    assert examples("zoopipe_core.pipe")
    wrong = doctest.DocTestParser().get_doctest(">>> 1 + 1\n3\n", {}, "wrong", None, 0)
    assert "Expected:\n    3\nGot:\n    2\n" in run(wrong)
