"""The SVG as XML and as geometry: no box on another, no text out of its box, whatever the pod has."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.testlib import layouts
from tests.testlib.geometry import NS, Area, boxes, written
from tests.testlib.journals import IPV6_ONLY, journal, of_pod
from vmnet.diagnosis.drawing import drawn
from vmnet.diagnosis.drawing.svg import WIDTH
from vmnet.model.settings import Settings, Told
from vmnet.plumbing.discover import discover

if TYPE_CHECKING:
    from vmnet.saved.schema import Journal

MANY = "2001:db8:1234:5678:9abc:def0:1234:5678"
FULL = Settings(
    tap="a-long-tap-name",
    hostname="x" * 63,
    owner=4294967294,
    multi_queue=True,
    isolation="dhcp-only",
    told=Told(
        nameservers=(MANY, "10.0.0.1", "10.0.0.2"),
        domain_search=tuple(f"{'sub' * 9}{number}.example.com" for number in range(4)),
        ntp_servers=(MANY, "10.0.0.3"),
        nat64_prefix="64:ff9b::/96",
    ),
)


def check(text: str) -> None:
    """Assert all that holds for every drawing."""
    root = ET.fromstring(text)  # noqa: S314 # our own
    width, height = float(root.get("width", "")), float(root.get("height", ""))
    assert width == WIDTH <= 1000
    paper = Area("paper", 0, 0, width, height)
    found = boxes(root)
    assert len(found) == 9
    for number, box in enumerate(found):
        assert paper.holds(box), box
        assert not [other for other in found[number + 1 :] if box.meets(other)], box
    lines = [written(element) for element in root.iter(f"{NS}text")]
    for line in lines:
        around = [box for box in found if box.meets(line)]
        assert paper.holds(line), line
        assert len(around) <= 1, line
        assert not around or around[0].holds(line), (line, around)
    for number, line in enumerate(lines):
        assert not [other for other in lines[number + 1 :] if line.meets(other)], line


@pytest.mark.parametrize("layout", [*layouts.NAMES, IPV6_ONLY])
def test_no_box_is_on_another_and_no_text_out_of_its_box(layout: str) -> None:
    check(drawn(journal(layout), "svg"))
    check(drawn(journal(layout, Settings(isolation="off", dhcp="off")), "svg"))


@pytest.mark.parametrize("layout", [*layouts.NAMES, IPV6_ONLY])
def test_nor_where_all_is_as_long_as_it_can_be(layout: str) -> None:
    check(drawn(long_names(journal(layout, FULL)), "svg"))


def long_names(saved: Journal) -> Journal:
    """The same with a pod interface of the longest name."""
    name = "x" * 15
    return of_pod(
        replace(
            saved.pod,
            ifname=name,
            addresses=tuple(replace(entry, ifname=name) for entry in saved.pod.addresses),
            routes=tuple(replace(entry, ifname=name) for entry in saved.pod.routes),
            neighbours=tuple(replace(entry, ifname=name) for entry in saved.pod.neighbours),
        ),
        saved.settings,
    )


@settings(max_examples=25)
@given(st.text(max_size=40))
def test_any_name_is_well_formed_xml(name: str) -> None:
    saved = journal("bridge")
    check(drawn(of_pod(replace(saved.pod, ifname=name[:15] or "x")), "svg"))


def test_markup_in_a_name_is_text() -> None:
    pod = replace(discover(layouts.status("bridge")), ifname="</text>&<b>")
    titles = [element.text for element in ET.fromstring(drawn(of_pod(pod), "svg")).iter(f"{NS}text")]  # noqa: S314
    assert "</text>&<b>" in titles


def test_it_stands_for_itself_and_is_the_same_every_time() -> None:
    text = drawn(journal("bridge-dual"), "svg")
    assert text == drawn(journal("bridge-dual"), "svg")
    assert re.findall(r"https?://[^\"]+", text) == ["http://www.w3.org/2000/svg"]
    assert not re.search(r"<script|<image|href|@import|url\(", text)


def test_what_it_is_can_be_heard() -> None:
    root = ET.fromstring(drawn(journal("bridge"), "svg"))  # noqa: S314 # our own
    title = root.find(f"{NS}title")
    assert title is not None
    assert title.text == "eth0 of the pod, before and after vmnet up"
    assert (root.get("role"), root.get("aria-labelledby")) == ("img", title.get("id"))
