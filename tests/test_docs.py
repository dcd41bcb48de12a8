"""What the README and the pages in docs/ show, runs; where they point, there is something.

A page's ```python blocks are run as one script, in order, in an empty folder, by a fresh
interpreter: what a reader would get. Traceback lines are the lines of the page. To only compile a
block, put `<!-- no-run: reason -->` on the line before it; a fence inside an HTML comment is set-up
that is run and not shown.
"""

import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FENCE = re.compile(r"^(?P<indent> *)(?P<ticks>`{3,})(?P<language>[\w-]*)")
NO_RUN = re.compile(r"<!-- no-run: \S.* -->")
LINK = re.compile(r"\]\(<?(?P<inline>[^)\s>]+)>?(?:\s+\"[^\"]*\")?\)|^\[[^\]]+\]: +(?P<ref>\S+)", re.M)
SCHEME = re.compile(r"^[a-z][a-z0-9+.-]*:", re.I)


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, the number of its first line, its dedented text."""

    language: str
    line: int
    text: str
    runs: bool


def pages() -> list[Path]:
    readme = [path for path in [ROOT / "README.md"] if path.exists()]
    return readme + sorted((ROOT / "docs").rglob("*.md"))


def blocks(text: str) -> Iterator[Block]:
    """The fenced blocks of a page. A fence that is never closed is an error."""
    lines = text.splitlines()
    number = 0
    while number < len(lines):
        fence = FENCE.match(lines[number])
        number += 1
        if fence is None:
            continue
        start = number
        while number < len(lines) and lines[number].strip() != fence["ticks"]:
            number += 1
        if number == len(lines):
            raise ValueError(f"the fence on line {start} is never closed")
        body = textwrap.dedent("\n".join(lines[start:number]))
        before = lines[start - 2].strip() if start >= 2 else ""
        yield Block(fence["language"], start + 1, body, NO_RUN.fullmatch(before) is None)
        number += 1


def script(text: str, *, runs: bool) -> str:
    """The page's Python blocks that run (or do not), each on the lines it has in the page."""
    lines: list[str] = []
    for block in blocks(text):
        if block.language == "python" and block.runs is runs:
            lines += [""] * (block.line - 1 - len(lines))
            lines += block.text.splitlines()
    return "\n".join(lines) + "\n" if lines else ""


def prose(text: str) -> str:
    """The page without its code, where brackets mean other things."""
    lines = text.splitlines()
    for block in blocks(text):
        for number in range(block.line - 2, block.line + len(block.text.splitlines())):
            lines[number] = ""
    return re.sub(r"`[^`\n]+`", "", "\n".join(lines))


def links(text: str) -> list[str]:
    """Targets of a page's relative links and images, without their #anchor."""
    found = (match["inline"] or match["ref"] for match in LINK.finditer(prose(text)))
    return [target.partition("#")[0] for target in found if not SCHEME.match(target) and not target.startswith("#")]


def each_page() -> pytest.MarkDecorator:
    names = [path.relative_to(ROOT).as_posix() for path in pages()]
    return pytest.mark.parametrize("page", names)


@each_page()
def test_the_code_of_a_page_runs(page: str, tmp_path: Path) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    compile(script(text, runs=False), page, "exec", dont_inherit=True)
    code = script(text, runs=True)
    if not code:
        return
    # Not named after the page: docs/duckdb.md must not become a module `duckdb`.
    file = tmp_path / "script" / f"page_{Path(page).stem.replace('-', '_')}.py"
    folder = tmp_path / "work"
    file.parent.mkdir()
    folder.mkdir()
    file.write_text(code, encoding="utf-8")
    run = subprocess.run(
        [sys.executable, str(file)],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert run.returncode == 0, f"{page} fails (line numbers are the page's):\n{run.stderr[-4000:]}"


@each_page()
def test_the_links_of_a_page_lead_somewhere(page: str) -> None:
    path = ROOT / page
    targets = links(path.read_text(encoding="utf-8"))
    missing = [target for target in targets if not (path.parent / target).exists()]
    assert not missing, f"{page} links to what is not there: {missing}"


PAGE = """\
# A page with `[no](link)` in code
[one](docs/a.md#part), ![two](img/b.png "title"), [web](https://example.org), [here](#part)

```python
x = 1
```
<!-- no-run: needs a server -->
```python
serve()[x](y)
```
- in a list
  ```python
  assert x == 1
  ```

```bash
echo [no](shell)
```

[three]: c.md
"""


def test_blocks_keep_the_line_numbers_of_the_page() -> None:
    assert script(PAGE, runs=True).splitlines() == ["", "", "", "", "x = 1"] + [""] * 7 + ["assert x == 1"]
    assert script(PAGE, runs=False).strip() == "serve()[x](y)"


def test_links_are_found_in_prose_only() -> None:
    assert links(PAGE) == ["docs/a.md", "img/b.png", "c.md"]


def test_an_open_fence_is_an_error() -> None:
    with pytest.raises(ValueError, match="line 3 is never closed"):
        list(blocks("a\n\n```python\nx = 1\n"))
