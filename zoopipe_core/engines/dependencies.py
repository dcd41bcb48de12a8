"""Which distributions a worker needs: what the driver's project declares, with all that these need in turn.

    pyproject.toml   [project] dependencies, or [tool.poetry.dependencies]
    requirements.txt with the files that it includes
    uv.lock, poetry.lock          exact versions
    the driver's own environment  what each distribution needs, and the version to install where one is missing

and zoopipe-plugins itself. A version that the project allows is left alone on the worker; where a lock file gives an
exact one, only that one will do.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from zoopipe_core.engines.environment import Need
from zoopipe_core.engines.poetry import poetry_requirements
from zoopipe_core.errors import SpecError

__all__ = ["Project", "find_project", "needs_of"]

OURS = "zoopipe-plugins"


@dataclass(frozen=True, slots=True)
class Project:
    """What a project declares.

    Attributes:
        folder: where its files are; None: there is no project.
        requirements: what it asks for directly.
        locked: canonical name -> the version that its lock file has chosen.
    """

    folder: Path | None = None
    requirements: tuple[Requirement, ...] = ()
    locked: dict[str, str] = field(default_factory=dict)


def find_project(start: Path) -> Project:
    """The project of the nearest folder, from `start` upwards, that declares dependencies.

    Raises:
        SpecError: one of its files cannot be understood; the message names file and place.
    """
    for folder in (start, *start.parents):
        declared = _declared(folder)
        if declared is not None:
            return Project(folder, tuple(declared), _locked(folder))
    return Project()


def needs_of(project: Project) -> tuple[Need, ...]:
    """What a worker has to have to run the project's pipes, sorted by name.

    What was installed here from a folder (the project itself, editable packages) is none: it has no version that a
    worker could install. Its modules travel with the pipe, and what they need in turn is among the needs.
    """
    found: dict[str, SpecifierSet] = {}
    urls: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    todo = [Requirement(_our_requirement()), *project.requirements]
    while todo:
        requirement = todo.pop()
        name = canonicalize_name(requirement.name)
        found[name] = found.get(name, SpecifierSet()) & requirement.specifier
        if requirement.url is not None:
            urls[name] = requirement.url
        for extra in ("", *sorted(requirement.extras)):
            if (name, extra) not in seen:
                seen.add((name, extra))
                todo.extend(_needed_by(name, extra))
    needs = (_need(name, specifier, urls.get(name), project) for name, specifier in sorted(found.items()))
    return tuple(need for need in needs if need is not None)


def _need(name: str, specifier: SpecifierSet, url: str | None, project: Project) -> Need | None:
    have = _distribution(name)
    origin = _origin(have) if have is not None else {}
    if "dir_info" in origin:
        return None
    locked = project.locked.get(name)
    if locked is not None:
        return Need(name, f"=={locked}", locked, url)
    if url is None and "vcs_info" in origin:
        vcs = origin["vcs_info"]
        url = f"{vcs['vcs']}+{origin['url']}@{vcs['commit_id']}"
    version = have.version if have is not None and specifier.contains(have.version, prereleases=True) else None
    return Need(name, str(specifier), version, url)


def _our_requirement() -> str:
    # Driver and workers talk to each other: they have to be of one version.
    have = _distribution(OURS)
    return OURS if have is None else f"{OURS}=={have.version}"


def _needed_by(name: str, extra: str) -> Iterator[Requirement]:
    """What an installed distribution needs on this platform; for an extra: what it needs because of that."""
    have = _distribution(name)
    for line in (have.requires if have is not None else None) or ():
        requirement = Requirement(line)
        marker = requirement.marker
        if marker is None:
            if not extra:
                yield requirement
        elif marker.evaluate({"extra": extra}) and not (extra and marker.evaluate({"extra": ""})):
            yield requirement


def _distribution(name: str) -> metadata.Distribution | None:
    try:
        return metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return None


def _origin(have: metadata.Distribution) -> dict[str, Any]:
    """Where a distribution was installed from, if that was no index (PEP 610)."""
    text = have.read_text("direct_url.json")
    return json.loads(text) if text else {}


# ---- declarations -----------------------------------------------------------------------------------------------


def _declared(folder: Path) -> list[Requirement] | None:
    """What the files of a folder ask for; None if it holds no such file."""
    pyproject, listed = folder / "pyproject.toml", folder / "requirements.txt"
    if pyproject.is_file():
        content = _toml(pyproject)
        project = content.get("project", {})
        poetry = content.get("tool", {}).get("poetry", {})
        if "dependencies" in project:
            return _parsed(project["dependencies"], pyproject)
        if "dependencies" in poetry:
            return _parsed(poetry_requirements(poetry["dependencies"], pyproject), pyproject)
        # A project whose dependencies are dynamic, or a file that only configures tools.
        if project and not listed.is_file():
            return []
    return _parsed(_listed(listed, set()), listed) if listed.is_file() else None


def _parsed(lines: Iterable[str], file: Path) -> list[Requirement]:
    """Those that apply on this platform."""
    found = []
    for line in lines:
        try:
            requirement = Requirement(line)
        except InvalidRequirement as error:
            raise SpecError(f"{file}: {line!r} is no requirement: {error}") from error
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            found.append(requirement)
    return found


def _listed(file: Path, seen: set[Path]) -> Iterator[str]:
    """The requirements in a requirements.txt and the files that it includes.

    Options are the installer's business, and the worker's installer has settings of its own. Paths and editable
    packages are no requirements: their modules travel with the pipe.
    """
    if file.resolve() in seen:
        return
    seen.add(file.resolve())
    try:
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise SpecError(f"{file} cannot be read: {error}") from error
    for raw in text.replace("\\\n", " ").splitlines():
        line = raw.partition(" #")[0].strip()
        if not line or line.startswith("#"):
            continue
        option, _, value = line.replace("=", " ", 1).partition(" ") if line.startswith("--") else line.partition(" ")
        if option in ("-r", "--requirement"):
            yield from _listed(file.parent / value.strip(), seen)
        elif not line.startswith("-") and not _is_path(line):
            yield line.partition(" --")[0]  # such as the hashes that follow


def _is_path(line: str) -> bool:
    return line.startswith((".", "/")) or line.endswith((".whl", ".tar.gz", ".zip"))


def _locked(folder: Path) -> dict[str, str]:
    for name in ("uv.lock", "poetry.lock"):
        if (folder / name).is_file():
            packages = _toml(folder / name).get("package", [])
            versions: dict[str, set[str]] = {}
            for package in packages:
                if "version" in package and not _is_local(package.get("source", {})):
                    versions.setdefault(canonicalize_name(package["name"]), set()).add(package["version"])
            # One that stands there several times has a version for each platform or Python: then the ranges count.
            return {name: next(iter(found)) for name, found in versions.items() if len(found) == 1}
    return {}


def _is_local(source: dict[str, Any]) -> bool:
    """Whether a locked package comes from a folder, such as the project itself."""
    return bool(source.keys() & {"editable", "virtual", "directory"}) or source.get("type") == "directory"


def _toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SpecError(f"{file} cannot be read: {error}") from error
