"""What travels to another interpreter, and how: by reference what that one can import, by value the rest."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import pickle
import subprocess
import sys
import threading
import types
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cloudpickle
import psutil
import pytest
from pydantic import BaseModel

from zoopipe_core import BaseHook, Pipe
from zoopipe_core.engines import payload
from zoopipe_core.engines.base import WorkerTask
from zoopipe_core.engines.modules import can_import, is_installed
from zoopipe_core.errors import EngineError, SpecError

HELPERS = """
import sys
me = sys.modules[__name__]
WORD = "made by " + __name__

def name():
    return me.WORD  # a module that uses itself
"""
DAG = """
from pydantic import BaseModel, field_validator
from zoopipe_core import BaseHook
import odd_helpers

class Item(BaseModel):
    id: int
    maker: str = ""

class Sign(BaseHook):
    def execute(self, entries, store):
        for entry in entries:
            entry["validated_data"]["maker"] = odd_helpers.name()
        return entries
"""


class Importable(BaseModel):
    id: int


class Holding(BaseHook):
    def __init__(self, held: Any) -> None:
        super().__init__()
        self.held = held

    def execute(self, entries: list[Any], store: dict[str, Any]) -> list[Any]:
        return entries


LOCK = threading.Lock()


class Refusing:
    def __reduce__(self) -> str:
        raise RecursionError("round and round")


def make_module(name: str, text: str) -> types.ModuleType:
    module = types.ModuleType(name)
    sys.modules[name] = module
    exec(text, vars(module))
    return module


@pytest.fixture
def dag() -> Iterator[types.ModuleType]:
    """A module as a DAG file is one, and one that it uses; no other process can import either."""
    names = "odd_helpers", "unusual_prefix_0123_dag"
    make_module(names[0], HELPERS)
    yield make_module(names[1], DAG)
    for name in names:
        del sys.modules[name]


def task_of(**parts: Any) -> WorkerTask:
    return WorkerTask(0, Pipe([{"id": "1"}], None, **parts))


RUN = """
import sys
from zoopipe_core.engines.payload import load
with open(sys.argv[1], "rb") as file:
    pipe = load(file.read()).pipe
pipe.run(on_report_update=None)
pipe.report.raise_for_status()
print(list(pipe.output_adapter))
assert not [name for name in sys.modules if "odd_helpers" in name or "unusual" in name]
"""


def run_elsewhere(data: bytes, folder: Path) -> str:
    (folder / "task").write_bytes(data)
    command = [sys.executable, "-c", RUN, str(folder / "task")]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_modules_that_only_this_process_has_travel_by_value(dag: types.ModuleType, tmp_path: Path) -> None:
    from zoopipe_core import PyGeneratorOutputAdapter

    pipe = Pipe([{"id": "1"}], PyGeneratorOutputAdapter(), None, dag.Item, post_validation_hooks=[dag.Sign()])
    done = run_elsewhere(payload.dump(WorkerTask(0, pipe)), tmp_path)
    assert done == "[{'id': 1, 'maker': 'made by odd_helpers'}]\n"


def test_modules_that_others_can_import_travel_by_reference() -> None:
    task = task_of(schema_model=Importable, post_validation_hooks=[Holding(LookupError)])
    data = payload.dump(task)
    assert len(data) < 1500
    assert payload.load(data) == task
    assert payload.load(data).pipe.schema_model is Importable


def test_what_may_be_imported_elsewhere_can_be_said(dag: types.ModuleType) -> None:
    near = payload.dump(task_of(schema_model=Importable))
    far = payload.dump(task_of(schema_model=Importable), is_installed)
    assert len(far) > len(near)
    assert payload.load(far).pipe == payload.load(near).pipe


@pytest.mark.parametrize("fails", [False, True])
def test_the_registry_of_cloudpickle_is_left_as_it_was(fails: bool, dag: types.ModuleType) -> None:
    mine = make_module("unusual_of_mine", "def f(): pass")
    cloudpickle.register_pickle_by_value(mine)
    try:
        hooks = [Holding(mine.f), dag.Sign(), *([Holding(LOCK)] if fails else [])]
        before = cloudpickle.list_registry_pickle_by_value()
        if fails:
            with pytest.raises(SpecError):
                payload.dump(task_of(schema_model=dag.Item, post_validation_hooks=hooks))
        else:
            payload.dump(task_of(schema_model=dag.Item, post_validation_hooks=hooks))
        assert cloudpickle.list_registry_pickle_by_value() == before >= {"unusual_of_mine"}
    finally:
        cloudpickle.unregister_pickle_by_value(mine)
        del sys.modules["unusual_of_mine"]


def test_several_threads_may_dump_at_a_time(dag: types.ModuleType) -> None:
    task = task_of(schema_model=dag.Item, post_validation_hooks=[dag.Sign()])
    before = cloudpickle.list_registry_pickle_by_value()  # engines of clusters put modules of ours there
    size = len(payload.dump(task))
    with ThreadPoolExecutor(8) as threads:
        sizes = list(threads.map(lambda _: len(payload.dump(task)), range(100)))
    assert set(sizes) == {size}
    assert cloudpickle.list_registry_pickle_by_value() == before


class UsesTheLock(BaseHook):
    def execute(self, entries: list[Any], store: dict[str, Any]) -> list[Any]:
        with LOCK:
            return entries


def closing_over_a_lock() -> BaseHook:
    lock = threading.Lock()

    class Locking(BaseHook):
        def execute(self, entries: list[Any], store: dict[str, Any]) -> list[Any]:
            with lock:
                return entries

    return Locking()


@pytest.mark.parametrize(
    ("parts", "path"),
    [
        ({"pre_validation_hooks": [Holding(LOCK)]}, "pre_validation_hooks[0].held cannot be sent"),
        ({"post_validation_hooks": [Holding(1), Holding({"a": [1, LOCK]})]}, "post_validation_hooks[1].held['a'][1] "),
        ({"post_validation_hooks": [closing_over_a_lock()]}, "post_validation_hooks[0].execute: lock cannot be sent"),
        ({"post_validation_hooks": [Holding(Refusing())]}, "post_validation_hooks[0].held "),
    ],
)
def test_the_part_that_cannot_be_sent_is_named(parts: dict[str, Any], path: str) -> None:
    with pytest.raises(SpecError) as raised:
        payload.dump(task_of(**parts))
    assert str(raised.value).startswith(path)


def test_a_generator_cannot_be_sent_and_is_told_what_could() -> None:
    pipe = Pipe((row for row in [{"id": 1}]), None)
    with pytest.raises(SpecError, match=r"^input_adapter: .*give a function"):
        payload.dump(WorkerTask(0, pipe))


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "EOFError"),
        (b"nonsense", "UnpicklingError"),
        (pickle.dumps({"a": 1}), "was sent a dict"),
        (b"cno_such_module\nf\n.", "No module named 'no_such_module'"),
    ],
)
def test_bytes_that_hold_no_task_are_refused(data: bytes, told: str) -> None:
    with pytest.raises(EngineError, match=told):
        payload.load(data)


# ---- what can be imported -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "elsewhere", "installed"),
    [
        ("sys", True, True),
        ("abc", True, True),
        ("importlib._bootstrap", True, True),
        ("os.path", True, True),
        ("json.decoder", True, True),
        ("numpy", True, True),
        ("pydantic_core._pydantic_core", True, True),
        ("pyarrow.lib", True, True),
        ("zoopipe_core.pipe", True, False),
        ("tests", True, False),
        ("tests.contracts.engine_contract", True, False),
        ("__main__", False, False),
    ],
)
def test_a_module_can_be_imported(name: str, elsewhere: bool, installed: bool) -> None:
    if name != "__main__":
        importlib.import_module(name)
    module = sys.modules[name]
    assert can_import(module) is elsewhere
    assert is_installed(module) is installed


def load_from(path: Path, name: str) -> types.ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_module_is_importable_only_from_its_own_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("one", "other"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "twofold.py").write_text("x = 1")
    module = load_from(tmp_path / "one" / "twofold.py", "twofold")
    assert not can_import(module)
    monkeypatch.syspath_prepend(str(tmp_path / "one"))
    assert can_import(module)
    monkeypatch.syspath_prepend(str(tmp_path / "other"))
    assert not can_import(module)


def test_a_module_in_an_archive_is_importable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(tmp_path / "packed.zip", "w") as archive:
        archive.writestr("packed_away.py", "x = 1")
    monkeypatch.syspath_prepend(str(tmp_path / "packed.zip"))
    assert can_import(importlib.import_module("packed_away"))


def test_a_submodule_that_its_package_does_not_have_is_not_importable() -> None:
    assert not can_import(types.ModuleType("json.invented"))
    assert not can_import(types.ModuleType("json.decoder.invented"))
    assert not can_import(types.ModuleType("invented.invented"))


def test_editable_packages_are_importable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in_development.py").write_text("x = 1")
    module = load_from(tmp_path / "in_development.py", "in_development")

    class Finder:
        """As build tools install one for each editable package, in every interpreter."""

        @staticmethod
        def find_spec(name: str, path: Any = None, target: Any = None) -> Any:
            if name != "in_development":
                return None
            return importlib.util.spec_from_file_location(name, tmp_path / "in_development.py")

    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Finder])
    assert not can_import(module)
    monkeypatch.setattr(Finder, "__module__", "__editable___in_development_finder")
    assert can_import(module)


def test_of_two_copies_of_an_installed_package_each_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = importlib.util.find_spec("ray")
    assert ray is not None
    assert ray.origin is not None
    copies = Path(ray.origin).parent / "thirdparty_files"  # which Ray puts in front of all others
    assert not Path(psutil.__file__).is_relative_to(copies)
    monkeypatch.syspath_prepend(copies)
    found = importlib.machinery.PathFinder.find_spec("psutil")
    assert found is not None
    assert Path(str(found.origin)).is_relative_to(copies)
    assert can_import(psutil)
