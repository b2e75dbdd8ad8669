"""The commands of a page of docs/, run as a reader would type them.

A page's commands stand in fenced blocks of the language `sh`. An HTML comment on the line before the fence, which
no reader sees, says what becomes of the block:

    <!-- run -->            it is run; any command that fails fails the test
    <!-- run exit=127 -->   it is run by itself in a subshell, and shall end with that exit code
    <!-- run prints="TEXT" -->  and TEXT is to be found in what it prints (stdout and stderr)
    <!-- not run: REASON -->    it is not; say which test runs it, or why none can

A block without such a comment fails `tests/unit/test_docs.py`, so that no command goes untested unseen.

The blocks of one page are one script, in their order: `cd`, variables and background jobs (`kill %1`) carry over.
How to test a page, in the room that has what it needs:

    page = docs.page("guide/launch.md")
    docs.play(page, pod.netns.command, tmp_path, {"VMNET_STATE_DIR": …})

`play` takes the function that puts an argument list into a namespace (or `list`, for the machine itself), the
directory to begin in and what the environment has beyond PATH and HOME; `vmnet` is the command under test.
In the pod, the environment keeps the test to itself: VMNET_STATE_DIR and VMNET_RESOLV_CONF.
"""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from testbed.agent import VMNET
from testbed.netns import Completed, run
from testbed.patience import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

DOCS = Path(__file__).parents[1] / "docs"
LANGUAGE = "sh"
_FENCE = re.compile(r"^(?P<indent> *)(?P<ticks>```+) *(?P<language>\w*)[^\n]*$")
_MARK = re.compile(r"^ *<!-- (?P<verb>run|not run:) *(?P<rest>.*?) *-->$")
_SHELL = ("bash", "--noprofile", "--norc", "-m", "-eu", "-o", "pipefail")


@dataclass(frozen=True, slots=True)
class Block:
    """A block of commands: where it stands, what it says, what shall come of it."""

    line: int
    text: str
    marked: bool = False
    run: bool = False
    exit_code: int = 0
    prints: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Page:
    """A page of docs/ and its blocks of commands."""

    path: Path
    blocks: tuple[Block, ...] = field(default=())


class DocumentError(AssertionError):
    """A page and the program disagree; the text says where."""


def page(name: str) -> Page:
    """Read a page by its path below docs/."""
    path = DOCS / name
    return Page(path, blocks(path.read_text(encoding="utf-8")))


def pages() -> list[str]:
    """The paths of all pages below docs/."""
    return sorted(str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md"))


def links(text: str) -> list[str]:
    """The targets of a page's links and pictures; what stands in blocks and code is none."""
    prose = re.sub(r"^ *```.*?^ *```$|`[^`\n]*`", "", text, flags=re.DOTALL | re.MULTILINE)
    return re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", prose)


def anchors(text: str) -> set[str]:
    """The names by which a page's headings are linked to, as forges make them."""
    prose = re.sub(r"^ *```.*?^ *```$", "", text, flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ +(.+)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def blocks(text: str) -> tuple[Block, ...]:
    """Find the blocks of commands in a page's text."""
    found: list[Block] = []
    body: list[str] = []
    before, opening, begun = "", None, 0
    for number, line in enumerate(text.splitlines(), 1):
        fence = _FENCE.match(line)
        if opening is None:
            if fence:
                opening, begun, body = fence, number + 1, []
            else:
                before = line
        elif fence and fence["ticks"].startswith(opening["ticks"]) and not fence["language"]:
            if opening["language"] == LANGUAGE:
                found.append(_block(begun, before, body))
            opening, before = None, ""
        else:
            body.append(line.removeprefix(opening["indent"]))
    return tuple(found)


def _block(line: int, before: str, body: list[str]) -> Block:
    text = "\n".join(body) + "\n"
    mark = _MARK.match(before)
    if mark is None:
        return Block(line, text)
    if mark["verb"] != "run":
        return Block(line, text, marked=bool(mark["rest"]))
    wishes = [word.partition("=") for word in shlex.split(mark["rest"])]
    unknown = [name for name, _, _ in wishes if name not in ("exit", "prints")]
    if unknown:
        raise DocumentError(f"line {line - 2}: {unknown[0]!r} is no wish; see tests/docs.py")
    codes = [int(value) for name, _, value in wishes if name == "exit"]
    prints = tuple(value for name, _, value in wishes if name == "prints")
    return Block(line, text, marked=True, run=True, exit_code=codes[0] if codes else 0, prints=prints)


def play(
    page: Page,
    inside: Callable[..., list[str]],
    directory: Path,
    environment: Mapping[str, str | Path],
    timeout: float = PATIENCE,
) -> Completed:
    """Run a page's blocks as one script; `inside` puts an argument list where they belong.

    Raises:
        DocumentError: a command failed, ended with another exit code or did not print what the page says.
        TestbedError: the script was not done after `timeout` seconds.
    """
    played = [block for block in page.blocks if block.run]
    if not played:
        raise DocumentError(f"{page.path.name} has no block that is run")
    said = directory / "said"
    said.mkdir()
    script = directory / "page.sh"
    script.write_text("".join(_script(block, said) for block in played), encoding="utf-8")
    path = f"{_commands(directory)}:{os.environ['PATH']}"
    words = [f"{name}={value}" for name, value in environment.items()]
    shell = ["env", "-i", "-C", str(directory), f"PATH={path}", f"HOME={directory}", *words, *_SHELL]
    done = run(inside(*shell, str(script)), check=False, timeout=timeout)
    _compare(page, played, said, done)
    return done


def _commands(directory: Path) -> Path:
    """Make a directory in which `vmnet` is the command under test."""
    commands = directory / "commands"
    commands.mkdir()
    (commands / "vmnet").symlink_to(VMNET)
    return commands


def _script(block: Block, said: Path) -> str:
    """One block: what it prints goes to a file of its own, how it ended to another."""
    output, ended = shlex.quote(str(said / f"{block.line}")), shlex.quote(str(said / f"{block.line}.code"))
    if block.exit_code:
        return f"(\n{block.text}) >{output} 2>&1 && code=0 || code=$?\necho $code >{ended}\n"
    return f"{{\n{block.text}}} >{output} 2>&1\necho 0 >{ended}\n"


def _compare(page: Page, played: list[Block], said: Path, done: Completed) -> None:
    for block in played:
        output, ended = said / f"{block.line}", said / f"{block.line}.code"
        text = output.read_text(encoding="utf-8", errors="replace") if output.exists() else ""
        where = f"{page.path.name}, line {block.line}"
        if not ended.exists():
            raise DocumentError(f"{where}: exit code {done.returncode}\n{block.text}\n{text}{done.stderr}")
        code = int(ended.read_text(encoding="ascii"))
        if code != block.exit_code:
            raise DocumentError(f"{where}: exit code {code}, not {block.exit_code}\n{block.text}\n{text}")
        missing = [wish for wish in block.prints if wish not in text]
        if missing:
            raise DocumentError(f"{where}: {missing[0]!r} is not in what it prints\n{block.text}\n{text}")
    if done.returncode:
        raise DocumentError(f"{page.path.name}: the script ended with exit code {done.returncode}\n{done.stderr}")
