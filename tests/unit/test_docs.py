"""Each command that docs/ shows is run by a test, or says why not; and the reader of pages reads right."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import docs
from tests.docs import Block, DocumentError, blocks

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    (*ROOT.glob("*.md"), *(path for room in ("docs", "deploy", "tests") for path in (ROOT / room).rglob("*.md")))
)

_PAGE = """\
# A page

<!-- run -->
```sh
vmnet plan
```

    <!-- run exit=3 prints="no interface" prints=x -->
    ```sh
    vmnet up --interface eth7
    ```
```text
vmnet is not a command here
```
<!-- not run: a cluster is needed, tests/x does it -->
```sh
kubectl apply
```
<!-- not run: -->
```sh
without a reason
```
```sh
forgotten
```
"""


def test_blocks_and_what_shall_come_of_them() -> None:
    assert blocks(_PAGE) == (
        Block(5, "vmnet plan\n", marked=True, run=True),
        Block(10, "vmnet up --interface eth7\n", marked=True, run=True, exit_code=3, prints=("no interface", "x")),
        Block(17, "kubectl apply\n", marked=True),
        Block(21, "without a reason\n"),
        Block(24, "forgotten\n"),
    )


def test_an_unknown_wish_is_an_error() -> None:
    with pytest.raises(DocumentError, match="line 1: 'exti'"):
        blocks("<!-- run exti=3 -->\n```sh\ntrue\n```\n")


def test_links_and_what_they_may_lead_to() -> None:
    text = "# What `up` does: now\n\n[a\nb](x.md#y) ![c](d.svg) `[no](link)`\n\n```sh\n# no heading [n](o)\n```\n"
    assert docs.links(text) == ["x.md#y", "d.svg"]
    assert docs.anchors(text) == {"what-up-does-now"}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(path: Path) -> None:
    lost = []
    for link in docs.links(path.read_text(encoding="utf-8")):
        place, _, anchor = link.partition("#")
        if "://" in place:
            assert place.startswith("https://"), link
            continue
        target = (path.parent / place).resolve() if place else path
        found = target.exists() and (not anchor or anchor in docs.anchors(target.read_text(encoding="utf-8")))
        lost += [] if found else [link]
    assert lost == []


@pytest.mark.parametrize("name", docs.pages())
def test_no_command_goes_untested_unseen(name: str) -> None:
    unmarked = [f"{name}, line {block.line}" for block in docs.page(name).blocks if not block.marked]
    assert unmarked == []
