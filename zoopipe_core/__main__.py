"""``python -m zoopipe_core``: what a person or an image build does about this installation."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.markup import escape

from zoopipe_core.errors import KernelError, ZoopipeError
from zoopipe_core.kernels import cache, native
from zoopipe_core.kernels.compiler import compile_kernels

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
_out = Console(highlight=False, soft_wrap=True)
_errors = Console(stderr=True, highlight=False, soft_wrap=True)


@app.callback()
def main() -> None:
    """zoopipe_core: validated, all-or-nothing loads."""


@app.command()
def warmup(
    system: Annotated[
        bool,
        typer.Option(
            "--system",
            help="Keep them in the Python installation, for all of its users. What a container image wants.",
        ),
    ] = False,
    check: Annotated[
        bool,
        typer.Option("--check", help="Compile nothing; tell whether kernels are ready. Exit code 1: they are not."),
    ] = False,
) -> None:
    """Compile the kernels now, so that no load has to.

    They are kept in ZOOPIPE_CACHE_DIR, else in your cache folder (~/.cache/zoopipe). Takes half a minute at most;
    nothing is done if they are ready.
    """
    if native.is_disabled():
        _fail("kernels are switched off here (ZOOPIPE_KERNELS=off, NUMBA_DISABLE_JIT, or not a POSIX system)")
    try:
        if check:
            _check([cache.system_folder()] if system else cache.readable_folders())
        else:
            _warm(_system_folder() if system else None)
    except KernelError as error:
        _fail(str(error))


@app.command()
def loads(
    target: Annotated[
        str,
        typer.Argument(
            help="The URL of a database, or the path of a file. env:NAME takes it from an environment variable: others "
            "can see the arguments of a process, and so a password in them."
        ),
    ],
    table: Annotated[str | None, typer.Argument(help="The table, where the URL does not name it.")] = None,
    load_id: Annotated[str | None, typer.Option("--load-id", help="All that is known of this load.")] = None,
) -> None:
    """What a target remembers of the loads into it, and what to do about those that have not come to their end.

    Exit code 1: there is no such load, or the target cannot be read.
    """
    from zoopipe_core.ledger import loads as remembered
    from zoopipe_core.ledger import next_step

    try:
        records = remembered(_named_by(target), table)
    except ZoopipeError as error:
        _fail(str(error))
    if load_id is not None:
        records = [record for record in records if record.load_id == load_id]
        if not records:
            _fail(f"no load {load_id!r} is remembered: it was never begun, or failed without a name. Run it.")
    for record in records:
        report = record.report
        begun = "" if record.started_at is None else f", begun {record.started_at:%Y-%m-%d %H:%M:%S %Z}"
        _out.print(escape(f"{record.load_id}: {record.status} ({record.mode}, try {record.attempt}{begun})"))
        _out.print(f"  {report.read_rows:,} read, {report.loaded_rows:,} loaded, {report.rejected_rows:,} rejected")
        if report.exception is not None:
            _out.print(escape(f"  {report.exception.type}: {report.exception.message}"))
        _out.print(f"  {next_step(record)}")
        if load_id is not None:
            _out.print(escape(f"  input: {record.input}\n  {record.versions}\n{report}"))


def _named_by(target: str) -> str:
    if not target.startswith("env:"):
        return target
    value = os.environ.get(target[4:])
    if value is None:
        _fail(f"there is no environment variable {target[4:]}")
    return value


def _check(folders: list[Path]) -> None:
    mark = cache.fingerprint()
    for folder in folders:
        found = cache.read(folder / f"kernels-{mark}.bin", mark)
        if found is not None and native.load():
            _out.print(f"ready: {len(found.symbols)} kernels in {escape(str(found.path))}")
            return
    places = ", ".join(map(str, folders))
    _fail(f"not ready: no compiled kernels of this version in {places}. Run `python -m zoopipe_core warmup`.")


def _warm(folder: Path | None) -> None:
    start = time.perf_counter()
    with _errors.status("compiling kernels"):
        path = compile_kernels(folder, shared=folder is not None)
    found = cache.read(path, cache.fingerprint())
    if found is None:
        raise KernelError(f"{path} was written, but would not be trusted by a load: check its owner and mode")
    _out.print(f"{len(found.symbols)} kernels, {path.stat().st_size / 1024:.0f} KB: {escape(str(path))}")
    _out.print(f"took {time.perf_counter() - start:.1f} s")


def _system_folder() -> Path:
    folder = cache.system_folder()
    try:
        if not folder.exists():
            folder.mkdir(parents=True)
            folder.chmod(0o755)  # whatever the umask
    except OSError as error:
        raise KernelError(f"compiled kernels cannot be kept in {folder}: {error.strerror}") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise KernelError(f"compiled kernels cannot be kept in {folder}: it is not yours to write to")
    return folder


def _fail(reason: str) -> NoReturn:
    _errors.print(escape(reason), style="red")
    raise typer.Exit(1)


if __name__ == "__main__":
    app(prog_name="python -m zoopipe_core")
