"""Which of a driver's own files travel to workers."""

from __future__ import annotations

import importlib
import io
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from zoopipe_core.engines.sources import MAX_FILE_BYTES, LocalSources
from zoopipe_core.errors import EngineError

FILES = {
    "zoo_project/__init__.py": "",
    "zoo_project/models.py": "X = 1\n",
    "zoo_project/later.py": "Y = 2\n",
    "zoo_project/table.csv": "a,b\n",
    "zoo_project/large.bin": "x" * (MAX_FILE_BYTES + 1),
    "zoo_project/.env": "PASSWORD=canary\n",
    "zoo_project/.git/config": "",
    "zoo_project/.venv/lib/module.py": "",
    "zoo_project/venv/pyvenv.cfg": "",
    "zoo_project/venv/lib/module.py": "",
    "zoo_project/__pycache__/models.cpython-311.pyc": "",
    "zoo_single.py": "Z = 3\n",
    "zoo_never_imported.py": "",
    "zoo_space/deep/module.py": "",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project that has imported some of its modules."""
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("zoo_project.models", "zoo_single", "zoo_space.deep.module"):
        importlib.import_module(name)
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("zoo_")]:
        del sys.modules[name]


def names(packed: bytes) -> set[str]:
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        return {name for name in archive.namelist() if name.startswith("zoo_")}


@pytest.mark.usefixtures("folder")
def test_imported_packages_travel_whole_without_what_is_hidden_large_or_of_an_environment() -> None:
    assert names(LocalSources().pack()) == {
        "zoo_project/__init__.py",
        "zoo_project/later.py",
        "zoo_project/models.py",
        "zoo_project/table.csv",
        "zoo_single.py",
        "zoo_space/deep/module.py",
    }


def test_equal_files_are_packed_once_and_changed_ones_again(folder: Path) -> None:
    sources = LocalSources()
    first = sources.pack()
    assert sources.pack() is first
    assert LocalSources().pack() == first
    (folder / "zoo_single.py").write_text("Z = 4000\n")
    assert sources.pack() != first


def test_what_is_installed_is_there_and_what_was_sent_is_there(folder: Path) -> None:
    sources = LocalSources()
    sources.pack()
    for name in ("zoo_project.models", "zoo_space.deep.module", "json", "pydantic", "zoopipe_core.pipe"):
        assert sources.holds(importlib.import_module(name)), name
    importlib.import_module("zoo_never_imported")  # since then
    assert not sources.holds(sys.modules["zoo_never_imported"])
    assert not sources.holds(sys.modules["__main__"])


@pytest.mark.usefixtures("folder")
def test_too_much_to_send_is_an_error_that_names_the_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zoopipe_core.engines.sources.MAX_TOTAL_BYTES", 10)
    with pytest.raises(EngineError, match=r"zoo_project, zoo_single.py, zoo_space.*install them as a package"):
        LocalSources().pack()


@pytest.mark.parametrize(("engine", "library"), [("ray", "ray"), ("dask", "distributed")])
def test_an_engine_whose_library_is_not_there_says_how_to_install_it(
    engine: str, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.delitem(sys.modules, f"zoopipe_core.engines.{engine}", raising=False)
    with pytest.raises(ImportError, match=rf"pip install 'zoopipe-plugins\[{engine}\]'"):
        importlib.import_module(f"zoopipe_core.engines.{engine}")
