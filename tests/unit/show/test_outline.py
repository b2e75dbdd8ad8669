"""Outlines as text: branches, wrapping, control characters."""

from __future__ import annotations

import pytest

from vmnet.show.outline import STYLES, Line, Node, lines, plain

OUTLINE = (
    Node(
        "pod eth0",
        "title",
        (
            Node(
                "the pod's NIC eth0-nic is a port of k6t-eth0, as is tap0, and what is sent to 10.244.1.2 goes by",
                "good",
                (Node("tap0", children=(Node("guest 52:54:00:12:34:56"),)),),
            ),
            Node(
                "the route MTU is 1400, and the guest was told 1450: what it sends is lost on the way to the peer",
                "warning",
            ),
        ),
    ),
    Node("2 checks, 1 warning"),
)
AT_100 = """\
pod eth0
├─ the pod's NIC eth0-nic is a port of k6t-eth0, as is tap0, and what is sent to 10.244.1.2 goes by
│  └─ tap0
│     └─ guest 52:54:00:12:34:56
└─ the route MTU is 1400, and the guest was told 1450: what it sends is lost on the way to the peer
2 checks, 1 warning"""
AT_60 = """\
pod eth0
├─ the pod's NIC eth0-nic is a port of k6t-eth0, as is tap0,
│  │ and what is sent to 10.244.1.2 goes by
│  └─ tap0
│     └─ guest 52:54:00:12:34:56
└─ the route MTU is 1400, and the guest was told 1450: what
     it sends is lost on the way to the peer
2 checks, 1 warning"""


@pytest.mark.parametrize(("width", "drawn"), [(100, AT_100), (60, AT_60)])
def test_a_tree_at_a_width(width: int, drawn: str) -> None:
    assert plain(OUTLINE, width) == drawn
    assert max(map(len, drawn.splitlines())) <= width


def test_words_keep_their_hyphens_and_long_ones_are_broken() -> None:
    assert plain([Node(f"run `vmnet up --state-dir /run/vmnet --isolation {'x' * 50}`")], 40).splitlines() == [
        "run `vmnet up --state-dir /run/vmnet",
        f"  --isolation {'x' * 26}",
        f"  {'x' * 24}`",
    ]


def test_control_characters_are_shown_instead_of_sent() -> None:
    drawn = plain([Node("eth0\x1b[2J\r\n", children=(Node("a\tb\u202e"),))], 60)
    assert drawn == "eth0\\x1b[2J\\r\\n\n└─ a\\tb\\u202e"


def test_two_children_that_are_the_same_are_two() -> None:
    twin = Node("twin")
    assert plain([Node("pod", children=(twin, twin))], 60) == "pod\n├─ twin\n└─ twin"


def test_an_empty_text_is_an_empty_line() -> None:
    assert plain([Node("a"), Node(""), Node("b")], 60) == "a\n\nb"


@pytest.mark.parametrize("width", [0, 1, 10])
def test_what_is_too_narrow_is_drawn_all_the_same(width: int) -> None:
    deep = Node("a", children=(Node("b", children=(Node("deep down in the tree is text"),)),))
    assert plain([deep], width).splitlines() == ["a", "└─ b", "   └─ deep down in the tree", "        is text"]


@pytest.mark.parametrize("style", STYLES)
def test_the_lines_of_a_node_bear_its_style(style: str) -> None:
    node = Node("pod", children=(Node("one two three four five six seven", style),))
    assert list(lines([node], 25)) == [
        Line("", "pod", ""),
        Line("└─ ", "one two three four", style),
        Line("     ", "five six seven", style),
    ]
