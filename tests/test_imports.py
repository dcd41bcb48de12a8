"""The picture of layers in docs/architecture.md, enforced.

Imports are read from the source with `ast`, those inside functions too, so a rule holds whether or
not a test happens to run the import. What loads at run time is checked in a fresh interpreter.
"""

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("zoopipe_core", "zoopipe_airflow", "zoopipe_prefect")

# Each row is a layer, and each set in it a member: the modules of one member may import each other,
# anything in a row above, and nothing else.
LAYERS: tuple[tuple[set[str], ...], ...] = (
    ({"errors", "_arrow", "_cores", "_faults", "_text", "_files"},),
    ({"report"}, {"registry"}, {"kernels"}),
    ({"batches"},),
    ({"schema"}, {"adapters"}, {"hooks"}, {"executors"}, {"functions"}),
    ({"pipe", "run", "running", "memory", "ledger", "hooking", "progress", "display", "rejects_output", "undo"},),
    ({"engines"}, {"coordinators"}),
    ({"manager", "managing", "shards"},),
    ({"detached"},),
    ({"testing"}, {"__main__", "cli"}),
)
# Names its homes lazily, so that users find all of them in one place.
FACADE = "zoopipe_core/__init__.py"

# Where a library may be imported (file patterns). One that is not listed may be used anywhere.
HOMES: dict[str, tuple[str, ...]] = {
    "adbc_driver_manager": (
        "zoopipe_core/adapters/sql.py",
        "zoopipe_core/adapters/sql_*.py",
        "zoopipe_core/coordinators/tables.py",
        "zoopipe_core/coordinators/tables_*.py",
    ),
    "adbc_driver_postgresql": (
        "zoopipe_core/adapters/postgres.py",
        "zoopipe_core/adapters/sql.py",
        "zoopipe_core/adapters/sql_postgres.py",
        "zoopipe_core/coordinators/tables_postgres.py",
    ),
    "adbc_driver_sqlite": (
        "zoopipe_core/adapters/sqlite.py",
        "zoopipe_core/adapters/sql.py",
        "zoopipe_core/adapters/sql_sqlite.py",
        "zoopipe_core/coordinators/tables_sqlite.py",
    ),
    "airflow": ("zoopipe_airflow/*",),
    "dask": ("zoopipe_core/engines/dask.py",),
    "distributed": ("zoopipe_core/detached/dask.py", "zoopipe_core/engines/dask.py"),
    "duckdb": (
        "zoopipe_core/adapters/duckdb.py",
        "zoopipe_core/adapters/sql_duckdb.py",
        "zoopipe_core/coordinators/tables_duckdb.py",
        "zoopipe_airflow/hooks.py",
    ),
    "numba": ("zoopipe_core/kernels/*",),
    "pandas": ("zoopipe_core/adapters/pandas.py", "zoopipe_core/adapters/python.py"),
    "polars": ("zoopipe_core/adapters/polars.py", "zoopipe_core/adapters/python.py"),
    "prefect": ("zoopipe_prefect/*",),
    "ray": ("zoopipe_core/detached/ray.py", "zoopipe_core/engines/ray.py"),
}

# What an integration may import of the core, besides the names of `zoopipe_core.__all__`: engines
# that need an extra have no public name at the top.
PUBLIC_MODULES = {
    "zoopipe_core.detached",
    "zoopipe_core.engines.dask",
    "zoopipe_core.engines.ray",
    "zoopipe_core.ledger",
    "zoopipe_core.undo",
}

# A DAG file is parsed again and again and a small load starts a process: neither may pay for these.
NOT_LOADED = (
    "adbc_driver_manager",
    "airflow",
    "dask",
    "distributed",
    "duckdb",
    "llvmlite",
    "numba",
    "pandas",
    "polars",
    "prefect",
    "pyarrow.compute",
    "pyarrow.dataset",
    "pyarrow.parquet",
    "ray",
    "rich",
)

MAX_LINES = 450


@dataclass(frozen=True)
class Import:
    """`import module` (name is None) or `from module import name`; the module is absolute."""

    module: str
    name: str | None
    line: int
    typing_only: bool


def source_files() -> list[str]:
    return sorted(path.relative_to(ROOT).as_posix() for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def imports(path: str, source: str) -> list[Import]:
    """Every import of a file, those in functions and under TYPE_CHECKING included."""
    return list(_walk(ast.parse(source, path), _package_of(path), typing_only=False))


def _package_of(path: str) -> str:
    return path.rpartition("/")[0].replace("/", ".")


def _walk(node: ast.AST, package: str, typing_only: bool) -> Iterator[Import]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield Import(alias.name, None, node.lineno, typing_only)
    elif isinstance(node, ast.ImportFrom):
        module = node.module or ""
        if node.level:
            parts = package.split(".")
            base = ".".join(parts[: len(parts) - node.level + 1])
            module = f"{base}.{module}".rstrip(".")
        for alias in node.names:
            yield Import(module, alias.name, node.lineno, typing_only)
    elif isinstance(node, ast.Call) and _is_import_call(node):
        argument = node.args[0] if node.args else None
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
            yield Import(argument.value, None, node.lineno, typing_only)
    if isinstance(node, ast.If) and _names(node.test) == "TYPE_CHECKING":
        for child in node.body:
            yield from _walk(child, package, typing_only=True)
        for child in node.orelse:
            yield from _walk(child, package, typing_only)
        return
    for child in ast.iter_child_nodes(node):
        yield from _walk(child, package, typing_only)


def _is_import_call(node: ast.Call) -> bool:
    return _names(node.func) in {"import_module", "__import__"}


def _names(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def place(module: str) -> tuple[int, int] | None:
    """Layer and member of a module inside zoopipe_core ("kernels._jit" -> that of "kernels")."""
    head = module.partition(".")[0]
    for layer, members in enumerate(LAYERS):
        for member, modules in enumerate(members):
            if head in modules:
                return layer, member
    return None


def layer_faults(path: str, source: str) -> list[str]:
    """Imports inside zoopipe_core that point to the right. TYPE_CHECKING is no excuse: a layer that
    names a type of a later one knows about it."""
    if path == FACADE or not path.startswith("zoopipe_core/"):
        return []
    here = path.removeprefix("zoopipe_core/").removesuffix(".py").replace("/", ".")
    mine = place(here)
    if mine is None:
        return [f"{path}: is in no layer; add it to LAYERS in tests/test_imports.py"]
    faults = []
    for found in imports(path, source):
        if found.module != "zoopipe_core" and not found.module.startswith("zoopipe_core."):
            continue
        target = found.module.removeprefix("zoopipe_core").removeprefix(".") or found.name
        if target is None:
            continue  # `import zoopipe_core` binds a name and names no layer
        theirs = place(target)
        if theirs is None:
            if LAYERS[mine[0]] is not LAYERS[-1]:
                faults.append(
                    f"{path}:{found.line}: imports {target!r} from the facade; name the module where it lives"
                )
        elif not (theirs[0] < mine[0] or theirs == mine):
            faults.append(f"{path}:{found.line}: imports {target!r}, which is not to its left")
    return faults


def library_faults(path: str, source: str) -> list[str]:
    """Imports of a library away from its home. A type annotation loads nothing and is free to."""
    faults = []
    for found in imports(path, source):
        library = found.module.partition(".")[0]
        homes = HOMES.get(library)
        if homes and not found.typing_only and not any(fnmatch(path, home) for home in homes):
            faults.append(f"{path}:{found.line}: imports {library}; only {', '.join(homes)} may")
    return faults


def integration_faults(path: str, source: str, public: frozenset[str]) -> list[str]:
    """What an integration imports of ours beyond the core's public names."""
    package = path.partition("/")[0]
    if package == "zoopipe_core":
        others = {"zoopipe_airflow", "zoopipe_prefect"}
    else:
        others = set(PACKAGES) - {package, "zoopipe_core"}
    faults = []
    for found in imports(path, source):
        where = f"{path}:{found.line}"
        root = found.module.partition(".")[0]
        if root in others:
            faults.append(f"{where}: imports {root}, which {package} must not know")
        if package == "zoopipe_core" or root != "zoopipe_core" or found.module in PUBLIC_MODULES:
            continue
        if found.module != "zoopipe_core" or found.name is None:
            faults.append(f"{where}: imports {found.module}; say `from zoopipe_core import <name>`")
        elif found.name not in public:
            faults.append(f"{where}: {found.name!r} is not a public name of zoopipe_core")
    return faults


def public_names() -> frozenset[str]:
    import zoopipe_core

    return frozenset(zoopipe_core.__all__)


def read(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def report(faults: list[str]) -> None:
    assert not faults, "\n" + "\n".join(faults)


def test_there_are_files_to_check() -> None:
    assert {path.partition("/")[0] for path in source_files()} == set(PACKAGES)


def test_a_layer_imports_only_what_stands_to_its_left() -> None:
    report([fault for path in source_files() for fault in layer_faults(path, read(path))])


def test_a_library_is_imported_only_in_its_own_file() -> None:
    report([fault for path in source_files() for fault in library_faults(path, read(path))])


def test_integrations_import_public_names_and_never_each_other() -> None:
    public = public_names()
    faults = [fault for path in source_files() for fault in integration_faults(path, read(path), public)]
    report(faults)


def test_files_stay_short() -> None:
    lengths = {path: len(read(path).splitlines()) for path in source_files()}
    report([f"{p}: {n} lines, split it" for p, n in lengths.items() if n >= MAX_LINES])


# Run in a fresh interpreter. Notes each heavy module when it is first looked for, and on whose
# behalf: going outwards, the first frame that is ours or the host's. (Airflow imports our provider
# while it is being imported itself, so comparing sys.modules before and after would show nothing.)
WATCH = """
import json, sys
heavy, host, package = json.loads(sys.argv[1])
found = []
class Watch:
    def find_spec(self, name, path=None, target=None):
        if any(name == one or name.startswith(one + ".") for one in heavy):
            frame = sys._getframe(1)
            while frame:
                root = frame.f_globals.get("__name__", "").partition(".")[0]
                if root == host:
                    break
                if root.startswith("zoopipe_"):
                    found.append(f"{name} (by {frame.f_globals['__name__']}:{frame.f_lineno})")
                    break
                frame = frame.f_back
sys.meta_path.insert(0, Watch())
__import__(package)
print(json.dumps(found))
"""


@pytest.mark.parametrize("package", PACKAGES)
def test_importing_a_package_loads_nothing_heavy(package: str, tmp_path: Path) -> None:
    host = {"zoopipe_airflow": "airflow", "zoopipe_prefect": "prefect"}.get(package)
    heavy = [name for name in NOT_LOADED if name != host]
    homes = {"AIRFLOW_HOME": str(tmp_path / "airflow"), "PREFECT_HOME": str(tmp_path / "prefect")}
    run = subprocess.run(
        [sys.executable, "-c", WATCH, json.dumps([heavy, host, package])],
        cwd=ROOT,
        env={**os.environ, **homes},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    loaded = json.loads(run.stdout.splitlines()[-1])
    assert not loaded, f"import {package} loads {len(loaded)} modules it should not: {loaded[:30]}"


def test_the_core_leaves_no_heavy_module_behind() -> None:
    code = "import json, sys, zoopipe_core; print(json.dumps(sorted(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(json.loads(run.stdout)) & set(NOT_LOADED)
    assert not loaded, f"import zoopipe_core loads {sorted(loaded)}"


# What a DAG file or a flow may describe at its top, which a scheduler imports again and again. Prints what came along.
DESCRIBE = """
import json, pickle, sys
from pydantic import BaseModel
from zoopipe_core import (
    ArrowInputAdapter, BaseHook, CSVInputAdapter, ColumnHook, JSONInputAdapter, JSONOutputAdapter, MultiProcessEngine,
    MultiThreadExecutor, ParquetInputAdapter, ParquetOutputAdapter, Pipe, PyGeneratorInputAdapter, SQLInputAdapter,
    SQLOutputAdapter, SQLPaginationInputAdapter, Watermark, ZoosyncPoolEngine,
)
class User(BaseModel):
    id: int
class Rows(BaseHook):
    def execute(self, entries, store): return entries
class Columns(ColumnHook):
    def execute(self, batch, store): return batch
database = "postgresql://me:secret@db.example/sales"
watermark = Watermark("id")
sources = [
    ArrowInputAdapter("in.arrow"), CSVInputAdapter("in/*.csv.gz", delimiter=";"), JSONInputAdapter("s3://in/a.jsonl"),
    ParquetInputAdapter("in/*.parquet", limit=10),
    PyGeneratorInputAdapter([{"id": 1}]), SQLInputAdapter(database, "SELECT 1 AS id"), "duckdb:///in.duckdb::users",
    SQLPaginationInputAdapter("sqlite:///in.db", table_name="t", key="id", watermark=watermark),
]
target = SQLOutputAdapter(database, "users", mode="merge", key=["id"], on_drift="evolve")
targets = [
    "out.arrow", "out.csv", JSONOutputAdapter("out.json", format="array"), ParquetOutputAdapter("out.parquet"), target
]
for source in sources:
    for to in targets if source is not sources[-1] else [target]:
        pipe = Pipe(source, to, "rejects.csv", User, [Rows()], [Columns()], MultiThreadExecutor(), max_errors=0.01)
        repr(pipe), repr(pipe.input_adapter), repr(pipe.output_adapter), hash(pipe), pipe == pipe
pickle.dumps(Pipe("in.csv", target))
MultiProcessEngine(), ZoosyncPoolEngine(2)
print(json.dumps(sorted(sys.modules)))
"""


def test_describing_a_pipe_loads_nothing_heavy() -> None:
    run = subprocess.run([sys.executable, "-c", DESCRIBE], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    loaded = set(json.loads(run.stdout)) & {*NOT_LOADED, "numpy", "pyarrow"}
    assert not loaded, f"building pipes loads {sorted(loaded)}"


def test_the_rules_are_able_to_fail() -> None:
    errors, kernel = "zoopipe_core/errors.py", "zoopipe_core/kernels/text.py"
    adapter, pipe = "zoopipe_core/adapters/csv.py", "zoopipe_core/pipe.py"
    late = "def f():\n    from zoopipe_core.manager import PipeManager\n"
    guarded = "if TYPE_CHECKING:\n    from ..manager import PipeManager\n"
    assert layer_faults(pipe, late)
    assert layer_faults(adapter, guarded)
    assert layer_faults(adapter, "from zoopipe_core.schema.plan import Plan")
    assert layer_faults(adapter, "from .. import executors")
    assert layer_faults(errors, "from . import report")
    assert layer_faults(pipe, "from zoopipe_core import Pipe")
    assert layer_faults("zoopipe_core/surprise.py", "")
    assert not layer_faults(pipe, "from .adapters.base import Reader\nfrom .errors import X")
    assert not layer_faults(pipe, "from zoopipe_core import errors\nfrom .run import run_pipe")
    assert not layer_faults(kernel, "from ._jit import kernel\nfrom .buffers import view")
    assert not layer_faults("zoopipe_core/testing.py", "from zoopipe_core import Pipe")

    assert library_faults(adapter, "def f():\n    import numba")
    assert library_faults(adapter, "import importlib\nimportlib.import_module('duckdb')")
    assert library_faults("zoopipe_core/engines/ray.py", "from dask import delayed")
    assert not library_faults(adapter, "if TYPE_CHECKING:\n    import polars")
    assert not library_faults(kernel, "from numba import njit")

    public = frozenset({"Pipe"})
    operator = "zoopipe_airflow/operators.py"
    assert integration_faults(operator, "from zoopipe_core import Secret", public)
    assert integration_faults(operator, "from zoopipe_core.pipe import Pipe", public)
    assert integration_faults(operator, "import zoopipe_core.pipe", public)
    assert integration_faults(operator, "import zoopipe_prefect", public)
    assert integration_faults(pipe, "from zoopipe_airflow import operators", public)
    assert not integration_faults(operator, "from zoopipe_core import Pipe", public)
    assert not integration_faults(
        operator, "from zoopipe_core.engines.ray import RayEngine\nfrom .links import L", public
    )
