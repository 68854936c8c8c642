"""The pages of the documentation: what stands in a block runs, and prints what the page says it prints.

The blocks of a page run in order in one empty folder: ``python`` in one namespace, ``console`` line by line. A line of a
``console`` block begins with ``nascli``; a block of other commands says in a comment before it why it is not run. A page
with the comment ``slow`` is a slow test.
"""

import re
import shlex
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from documentation import Block, blocks

from nas_cli.main import main

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
RUN = {page: [block for block in blocks(page) if block.kind in ("python", "console")] for page in PAGES}


def _parameters() -> Iterator[Any]:
    for page, found in RUN.items():
        if any(not block.reason for block in found):
            marks = [pytest.mark.slow] if "<!-- slow -->" in page.read_text() else []
            yield pytest.param(page, id=page.name, marks=marks)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder to stand in, and a cache of its own."""
    handler = signal.getsignal(signal.SIGTERM)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / ".cache"))
    yield tmp_path
    signal.signal(signal.SIGTERM, handler)


@pytest.mark.parametrize("page", list(_parameters()))
def test_a_page_runs(
    page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not list(folder.iterdir())
    namespace: dict[str, Any] = {"__name__": page.stem}
    for block in RUN[page]:
        if block.reason:
            continue
        if block.kind == "python":
            # Blank lines before it, so that a traceback names the line of the page.
            exec(compile("\n" * block.line + block.text, page.name, "exec"), namespace)
        else:
            for command in _commands(block, page):
                _run(command, monkeypatch)
        _compare(block, capsys.readouterr().out, page)


def _commands(block: Block, page: Path) -> Iterator[list[str]]:
    for line in block.text.replace("\\\n", " ").splitlines():
        words = shlex.split(line.removeprefix("$ "), comments=True)
        if not words:
            continue
        assert words[0] == "nascli", f"{page.name}:{block.line}: {line!r} is no nascli; say why it is not run"
        yield words


def _run(command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", command)
    status: object = 0
    try:
        main()
    except SystemExit as leave:
        status = leave.code
    assert not status, f"{shlex.join(command)} ended with status {status}"


def _compare(block: Block, printed: str, page: Path) -> None:
    """Every word of the page's output was printed; numbers and hashes may be others, as ``...`` may be anything."""
    words = re.findall(r"[^\W\d_]{2,}", block.output)
    missing = sorted(set(words) - set(re.findall(r"[^\W\d_]{2,}", printed)))
    assert not missing, f"{page.name}:{block.line} does not print {', '.join(missing)}:\n{printed}"


def test_what_is_not_run_says_why() -> None:
    reasons = [(page.name, block.line, block.reason) for page, found in RUN.items() for block in found if block.reason]
    assert reasons
    assert [each for each in reasons if len(each[2].split()) < 3] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_fence_is_closed_and_has_a_kind(page: Path) -> None:
    lines = [line for line in page.read_text().splitlines() if line.startswith("```")]
    assert len(lines) % 2 == 0, "a fence is not closed"
    assert [line for line in lines[::2] if line == "```"] == [], "a block says of what kind it is"
    assert all(line == "```" for line in lines[1::2])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.M | re.S)
    targets = [target.partition("#")[0] for target in re.findall(r"\]\(([^)]+)\)", text)]
    broken = [each for each in targets if each and "://" not in each and not (page.parent / each).exists()]
    assert broken == []
