"""What a driver's project declares, what a worker lacks of it, and how it gets that. A folder is the index."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.engines.clusters import installer_settings
from tests.engines.wheels import make_wheel
from zoopipe_core.engines.dependencies import Project, find_project, needs_of
from zoopipe_core.engines.environment import Bundle, Need, UnpreparedError, describe, prepare, unmet
from zoopipe_core.engines.poetry import poetry_requirements
from zoopipe_core.errors import SpecError


def declared(folder: Path) -> list[str]:
    return sorted(map(str, find_project(folder).requirements))


# ---- what is declared ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"pyproject.toml": '[project]\nname = "p"\ndependencies = ["polars>=1", "orjson"]'}, ["orjson", "polars>=1"]),
        ({"requirements.txt": "# all\npolars >= 1  # fast\n\norjson==3.10 \\\n    --hash=sha256:abc\n"},
         ["orjson==3.10", "polars>=1"]),
        ({"requirements.txt": "-r base.txt\n--requirement=more.txt\n-e .\n./local\n-i https://index.example\n--pre\nx",
          "base.txt": "y\n-r requirements.txt", "more.txt": "z[a]>1"}, ["x", "y", "z[a]>1"]),
        ({"requirements.txt": 'a; sys_platform == "nowhere"\nb; python_version >= "3"'},
         ['b; python_version >= "3"']),
        ({"pyproject.toml": '[tool.poetry.dependencies]\npython = "^3.11"\npolars = "^1.20"\norjson = "*"'},
         ["orjson", "polars<2,>=1.20"]),
        ({"pyproject.toml": '[project]\nname = "p"\ndynamic = ["dependencies"]', "requirements.txt": "x"}, ["x"]),
        ({"pyproject.toml": "[tool.ruff]\n", "requirements.txt": "x"}, ["x"]),
        ({"pyproject.toml": '[project]\nname = "p"', "../requirements.txt": "x"}, []),
        ({"pyproject.toml": "[tool.ruff]\n", "../requirements.txt": "x"}, ["x"]),
    ],
)  # fmt: skip
def test_what_a_project_declares(files: dict[str, str], expected: list[str], tmp_path: Path) -> None:
    folder = tmp_path / "project"
    (folder / "deep" / "down").mkdir(parents=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    assert declared(folder / "deep" / "down") == expected


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({"pyproject.toml": "[project\n"}, "pyproject.toml cannot be read"),
        ({"pyproject.toml": '[project]\ndependencies = ["a b c"]'}, "'a b c' is no requirement"),
        ({"requirements.txt": "-r none.txt"}, "none.txt cannot be read"),
        ({"pyproject.toml": "[tool.poetry.dependencies]\nx = 3"}, "x = 3"),
        ({"requirements.txt": "x", "uv.lock": "]"}, "uv.lock cannot be read"),
    ],
)
def test_a_file_that_cannot_be_understood_is_named(files: dict[str, str], told: str, tmp_path: Path) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(SpecError) as raised:
        find_project(tmp_path)
    assert told in str(raised.value)


@pytest.mark.parametrize(
    ("constraint", "inside", "outside"),
    [
        ("^1.2.3", ["1.2.3", "1.9"], ["1.2.2", "2.0"]),
        ("^0.2.3", ["0.2.3", "0.2.9"], ["0.3", "1.0"]),
        ("^0.0.3", ["0.0.3"], ["0.0.4"]),
        ("^0", ["0.0", "0.9"], ["1.0"]),
        ("^1", ["1.0", "1.9.9"], ["2.0", "0.9"]),
        ("~1.2.3", ["1.2.3", "1.2.9"], ["1.3"]),
        ("~1.2", ["1.2", "1.2.9"], ["1.3"]),
        ("~1", ["1.0", "1.9"], ["2.0"]),
        ("~=1.4", ["1.4", "1.9"], ["2.0", "1.3"]),
        ("1.2.3", ["1.2.3"], ["1.2.4"]),
        ("1.2.*", ["1.2.0", "1.2.9"], ["1.3"]),
        (">=1.2, <2, !=1.5", ["1.2", "1.9"], ["1.5", "2.0"]),
        (">= 1.2", ["1.2"], ["1.1"]),
        ("*", ["0.1", "99"], []),
    ],
)
def test_versions_as_poetry_writes_them(constraint: str, inside: list[str], outside: list[str]) -> None:
    [line] = poetry_requirements({"x": constraint}, Path("pyproject.toml"))
    specifier = Requirement(line).specifier
    assert [version for version in inside if version not in specifier] == []
    assert [version for version in outside if version in specifier] == []


def test_tables_as_poetry_writes_them() -> None:
    table = {
        "python": "^3.11",
        "a": {"version": "^1", "extras": ["x", "y"]},
        "b": {"git": "https://example.org/b.git", "tag": "v1"},
        "c": {"version": "*", "optional": True},
        "d": {"path": "../d"},
        "e": [{"version": "1", "python": "<3.0"}, {"version": "2", "python": "^3.1"}],
        "f": {"version": ">=1", "markers": "sys_platform == 'linux' or os_name == 'nt'", "platform": "linux"},
    }
    found = [Requirement(line) for line in poetry_requirements(table, Path("pyproject.toml"))]
    assert [str(each) for each in found if each.marker is None] == [
        "a[x,y]<2,>=1",
        "b @ git+https://example.org/b.git@v1",
    ]
    applying = [str(each.specifier) for each in found if each.name == "e" and each.marker and each.marker.evaluate()]
    assert applying == ["==2"]
    assert found[-1].marker is not None


# ---- what is needed -----------------------------------------------------------------------------------------------


def test_needs_hold_what_is_needed_in_turn_in_the_version_of_the_driver() -> None:
    needs = {need.name: need for need in needs_of(Project(None, (Requirement("typer>=0.1"),)))}
    for name in ("pydantic", "pydantic-core", "rich", "markdown-it-py"):
        assert needs[name].version == metadata.version(name)
    assert needs["typer"].specifier
    assert "pytest" not in needs
    assert unmet(needs.values()) == []


def test_a_project_s_extras_are_needed_too() -> None:
    plain = {need.name for need in needs_of(Project(None, (Requirement("fsspec"),)))}
    extra = {need.name for need in needs_of(Project(None, (Requirement("fsspec[http]"),)))}
    assert "aiohttp" in extra - plain


def test_zoopipe_itself_is_needed_unless_it_was_installed_from_a_folder() -> None:
    origin = metadata.distribution("zoopipe-plugins").read_text("direct_url.json") or ""
    assert ("zoopipe-plugins" in {need.name for need in needs_of(Project())}) == ("dir_info" not in origin)


@pytest.mark.parametrize("lock", ["uv.lock", "poetry.lock"])
def test_a_lock_file_gives_exact_versions(lock: str, tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("orjson>=3\nrich\nmdurl")
    (tmp_path / lock).write_text(
        '[[package]]\nname = "Orjson"\nversion = "3.9.9"\n'
        '[[package]]\nname = "rich"\nversion = "1"\n[[package]]\nname = "rich"\nversion = "2"\n'
        '[[package]]\nname = "mdurl"\nversion = "0.0.1"\nsource = { editable = ".", type = "directory" }\n'
    )
    needs = {need.name: need for need in needs_of(find_project(tmp_path))}
    assert needs["orjson"] == Need("orjson", "==3.9.9", "3.9.9")
    assert needs["rich"].version == metadata.version("rich")
    assert needs["mdurl"].version == metadata.version("mdurl")


def test_what_the_driver_lacks_itself_is_left_to_the_installer() -> None:
    needs = {need.name: need for need in needs_of(Project(None, (Requirement("no-such-thing>=2"),)))}
    assert needs["no-such-thing"] == Need("no-such-thing", ">=2", None)
    assert needs["no-such-thing"].requirement == "no-such-thing>=2"


def test_what_is_missing_is_described() -> None:
    have = metadata.version("rich")
    missing = unmet([Need("rich", ">=9999"), Need("rich", ">=1"), Need("No_Such", ">=1"), Need("pytest")])
    assert describe(missing) == f"rich>=9999 (has {have}), No_Such>=1"


# ---- how it gets there --------------------------------------------------------------------------------------------


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels that is all that the installers of this process know of, and a cache folder of its own."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    make_wheel(folder, "zoo-tiny", "1.0", {"zoo_tiny.py": "ANSWER = 1\n"})
    make_wheel(folder, "zoo-tiny", "2.0", {"zoo_tiny.py": "ANSWER = 2\n"})
    make_wheel(folder, "zoo-needy", "1.0", {"zoo_needy.py": "import zoo_tiny\n"}, requires=["zoo-tiny<2"])
    for name, value in {**installer_settings(folder, tmp_path), "ZOOPIPE_CACHE_DIR": str(tmp_path / "cache")}.items():
        monkeypatch.setenv(name, value)
    return folder


def run_with(paths: list[str], code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


@pytest.mark.usefixtures("index")
@pytest.mark.parametrize("with_uv", [True, False])
def test_only_what_is_missing_is_installed_and_beside_the_environment(
    with_uv: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not with_uv:
        monkeypatch.setattr("zoopipe_core.engines.environment.shutil.which", lambda *_, **__: None)
    needs = (Need("orjson", ">=3", metadata.version("orjson")), Need("zoo-tiny", ">=1,<2", "1.0"))
    [path] = prepare(Bundle("sync", needs))
    assert sorted(name for name in os.listdir(path) if "zoo_tiny" in name) == ["zoo_tiny-1.0.dist-info", "zoo_tiny.py"]
    assert "orjson" not in os.listdir(path)
    assert run_with([path], "import zoo_tiny; print(zoo_tiny.ANSWER)") == "1"
    assert unmet(needs) == [needs[1]]
    assert prepare(Bundle("sync", needs)) == [path]


@pytest.mark.usefixtures("index")
def test_what_the_driver_lacks_brings_along_what_it_needs() -> None:
    [path] = prepare(Bundle("sync", (Need("zoo-needy"),)))
    assert run_with([path], "import zoo_needy; print(zoo_needy.zoo_tiny.ANSWER)") == "1"


@pytest.mark.usefixtures("index")
def test_a_failed_installation_says_so_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(UnpreparedError, match=r"lacks zoo-tiny==3(.|\n)*could not install it"):
        prepare(Bundle("sync", (Need("zoo-tiny", "==3", "3"),)))
    assert [name for name in os.listdir(tmp_path / "cache" / "environments") if not name.endswith(".lock")] == []


@pytest.mark.usefixtures("index")
def test_check_names_what_is_missing_and_installs_nothing(tmp_path: Path) -> None:
    with pytest.raises(UnpreparedError, match=r"lacks zoo-tiny>=1\. Install this there"):
        prepare(Bundle("check", (Need("zoo-tiny", ">=1", "1.0"), Need("orjson"))))
    assert not (tmp_path / "cache" / "environments").exists()
    assert prepare(Bundle("check", (Need("orjson"),))) == []
    assert prepare(Bundle("off", (Need("zoo-tiny"),))) == []


@pytest.mark.usefixtures("index")
def test_workers_of_one_node_install_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    real = subprocess.run

    def counting(*arguments: object, **options: object) -> object:
        calls.append(arguments)
        return real(*arguments, **options)  # type: ignore[call-overload]

    monkeypatch.setattr("zoopipe_core.engines.environment.subprocess.run", counting)
    paths: list[list[str]] = []
    bundle = Bundle("sync", (Need("zoo-tiny", "", "2.0"),))
    threads = [threading.Thread(target=lambda: paths.append(prepare(bundle))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1
    assert len({tuple(path) for path in paths}) == 1
    assert len(paths) == 4


@pytest.mark.usefixtures("index")
def test_an_installation_that_was_killed_is_begun_anew(tmp_path: Path) -> None:
    bundle = Bundle("sync", (Need("zoo-tiny", "", "2.0"),))
    [path] = map(Path, prepare(bundle))
    half = path.with_name(f"{path.name}.part")
    path.rename(half)
    (half / "zoo_tiny.py").unlink()  # not written to: it may be a link into the installer's cache
    assert prepare(bundle) == [str(path)]
    assert (path / "zoo_tiny.py").read_text() == "ANSWER = 2\n"
    assert not half.exists()


def test_a_folder_that_others_can_write_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOOPIPE_CACHE_DIR", str(tmp_path / "open"))
    (tmp_path / "open" / "sources").mkdir(parents=True)
    (tmp_path / "open" / "sources").chmod(0o777)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    packed = tmp_path / "one.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("module_of_ours.py", "")
    [path] = prepare(Bundle("sync", sources=packed.read_bytes()))
    assert path.startswith(f"{tmp_path}/zoopipe-{os.getuid()}/sources/")
    assert Path(path).parent.stat().st_mode & 0o777 == 0o700
