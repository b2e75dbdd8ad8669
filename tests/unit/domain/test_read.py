"""Domain XML before and after, byte for byte; and XML that is refused in one line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmnet.domain.read import DEEPEST, LARGEST, alias_of, decoded, marked, parse, pod_interface_of
from vmnet.domain.splice import InterfaceSpec, set_interface
from vmnet.domain.wishes import wishes
from vmnet.errors import UsageError

DOMAINS = Path(__file__).parents[2] / "data" / "domains"
NAMES = sorted(path.name.removesuffix(".before.xml") for path in DOMAINS.glob("*.before.xml"))
WANTED = InterfaceSpec(tap="tap0", mac="52:54:00:12:34:56", mtu=1450)
GOOD = "<domain type='qemu'><devices/></domain>"
ETHERNET = "<interface type='ethernet'><target dev='tap0' managed='no'/></interface>"


def _text(name: str, when: str) -> str:
    return decoded((DOMAINS / f"{name}.{when}.xml").read_bytes())


def test_there_are_enough() -> None:
    assert len(NAMES) >= 20


@pytest.mark.parametrize("name", NAMES)
def test_before_becomes_after(name: str) -> None:
    assert set_interface(_text(name, "before"), WANTED) == _text(name, "after")


@pytest.mark.parametrize("name", NAMES)
def test_after_stays_as_it_is(name: str) -> None:
    assert set_interface(_text(name, "after"), WANTED) == _text(name, "after")


@pytest.mark.parametrize("name", NAMES)
def test_after_holds_what_was_wanted(name: str) -> None:
    """Read by another parser than ours."""
    root = ET.fromstring(_text(name, "after").encode())  # noqa: S314 # ours
    found = [
        interface
        for interface in root.iterfind("devices/interface")
        if (target := interface.find("target")) is not None and target.get("dev") == "tap0"
    ]
    assert len(found) == 1
    [mac], [target], [mtu], [model] = (found[0].findall(name) for name in ("mac", "target", "mtu", "model"))
    assert found[0].get("type") == "ethernet"
    assert (mac.get("address"), target.get("managed"), mtu.get("size")) == (WANTED.mac, "no", "1450")
    assert model.get("type")


@pytest.mark.parametrize("name", NAMES)
def test_nothing_outside_the_interface_changes(name: str) -> None:
    before, after = _text(name, "before").encode(), _text(name, "after").encode()
    then, now = parse(before.decode()), parse(after.decode())
    there = marked(then, "eth0", "tap0")
    [span] = [interface.span for interface in now.interfaces if interface.tap == "tap0"]
    if there:
        assert after[: span.start] == before[: there.span.start]
        assert after[span.end :] == before[there.span.end :]
    else:
        rest = after[: span.start].rstrip() + after[span.end :]
        assert b"".join(rest.replace(b"</devices>", b"").split()) == b"".join(
            before.replace(b"<devices/>", b"<devices>").replace(b"</devices>", b"").split()
        )


def test_model_is_changed_only_when_it_is_given() -> None:
    interface = ETHERNET.replace("<t", "<model type='e1000e'/><t")
    xml = GOOD.replace("<devices/>", f"<devices>{interface}</devices>")
    assert parse(set_interface(xml, WANTED)).interfaces[0].model == "e1000e"
    given = InterfaceSpec("tap0", WANTED.mac, model="virtio-non-transitional")
    assert parse(set_interface(xml, given)).interfaces[0].model == "virtio-non-transitional"


def test_mtu_is_left_alone_when_none_is_wanted() -> None:
    assert "mtu" not in set_interface(GOOD, InterfaceSpec("tap0", WANTED.mac))


def test_mac_in_capitals_is_the_same_mac() -> None:
    xml = set_interface(GOOD, WANTED).replace("52:54:00:12:34:56", "52:54:00:AB:CD:EF")
    assert set_interface(xml, InterfaceSpec("tap0", "52:54:00:ab:cd:ef", 1450)) == xml


def test_alias_of_a_vlan_is_one_that_libvirt_takes() -> None:
    for name, alias in (
        ("eth0", "ua-vmnet-eth0"),
        ("eth0.7", "ua-vmnet-eth0_2e7"),
        ("eth0_7", "ua-vmnet-eth0_5f7"),
        ("eth0_2e7", "ua-vmnet-eth0_5f2e7"),
        ("a.b_c-d._", "ua-vmnet-a_2eb_5fc-d_2e_5f"),
    ):
        assert alias_of(name) == alias
        assert pod_interface_of(alias) == name
    assert pod_interface_of("ua-vmnet-eth0_7") == "eth0_7", "as it was written once"


def test_what_is_read() -> None:
    domain = parse(_text("ethernet-with-queues", "before"))
    [interface] = domain.interfaces
    assert (domain.name, domain.uuid, domain.network) == ("guest", "", None)
    assert (interface.type, interface.mac, interface.mtu) == ("ethernet", "52:54:00:00:00:07", 9000)
    assert (interface.tap, interface.managed, interface.queues) == ("tap0", True, 4)
    assert (interface.model, interface.alias) == ("virtio", "")


def test_metadata_is_read() -> None:
    network = parse(_text("marked-by-metadata-tap", "before")).network
    assert network is not None
    assert (network.interface, network.binding, network.tap) == ("eth0", "bridge", "vm-net")
    assert (network.netns, network.mac) == ("", "")


def test_metadata_elsewhere_is_not_ours() -> None:
    network = "<n:network xmlns:n='urn:vmnet:domain:1' tap='tap0'/>"
    assert parse(f"<domain>{network}<devices>{network}</devices></domain>").networks == ()


HOSTILE = {
    "empty": ("", "no element found"),
    "no XML": ("domain", "syntax error"),
    "cut off": (GOOD[:-3], "unclosed token"),
    "two roots": (GOOD + GOOD, "junk after document element"),
    "wrong root": ("<network><devices/></network>", "the root is <network>"),
    "root of another namespace": (GOOD.replace(" type", " xmlns='urn:x' type"), "of namespace urn:x"),
    "DOCTYPE": ("<!DOCTYPE domain>" + GOOD, "DOCTYPE"),
    "entity bomb": (
        "<!DOCTYPE domain [<!ENTITY a 'aaaa'><!ENTITY b '&a;&a;'>]>" + GOOD.replace("<devices/>", "&b;"),
        "DOCTYPE",
    ),
    "external entity": (
        "<!DOCTYPE domain [<!ENTITY x SYSTEM 'file:///etc/passwd'>]>" + GOOD.replace("<devices/>", "&x;"),
        "DOCTYPE",
    ),
    "undefined entity": (GOOD.replace("<devices/>", "<name>&x;</name>"), "undefined entity"),
    "100,000 levels": ("<domain>" + "<a>" * 100_000 + "</a>" * 100_000 + "</domain>", "deeper than 64 levels"),
    "one level too many": ("<domain>" + "<a>" * DEEPEST + "</a>" * DEEPEST + "</domain>", "deeper than 64"),
    "more than 1 MiB": (GOOD + " " * LARGEST, "larger than 1048576 bytes"),
    "more than 1 MiB in UTF-8": (GOOD + f"<!--{'東' * (LARGEST // 2)}-->", "larger than 1048576 bytes"),
    "another encoding": ("<?xml version='1.0' encoding='iso-8859-1'?><!-- ü -->" + GOOD, "declared to be"),
    "a surrogate": (GOOD.replace("qemu", "\udc80"), "not UTF-8"),
    "NUL": (GOOD.replace("qemu", "\0"), "not well-formed"),
    "unbound prefix": (GOOD.replace("devices", "x:devices"), "unbound prefix"),
    "same attribute twice": (GOOD.replace(" type", " type='kvm' type"), "duplicate attribute"),
    "no devices": ("<domain/>", "no <devices>"),
    "two on the tap": (
        GOOD.replace("<devices/>", f"<devices>{ETHERNET * 2}</devices>"),
        "2 interfaces are marked",
    ),
    "one by alias, one by tap": (
        GOOD.replace(
            "<devices/>",
            f"<devices>{ETHERNET}<interface type='user'><alias name='ua-vmnet-eth0'/></interface></devices>",
        ),
        "2 interfaces are marked",
    ),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_is_refused_in_one_line(case: str) -> None:
    text, reason = HOSTILE[case]
    with pytest.raises(UsageError) as refused:
        set_interface(text, WANTED)
    message = str(refused.value)
    assert reason in message
    assert "\n" not in message
    assert len(message) < 200


@pytest.mark.parametrize("data", [b"\xff\xfe<\0", b"<domain>\x80</domain>", GOOD.encode("utf-16")])
def test_what_is_no_utf8_is_refused(data: bytes) -> None:
    with pytest.raises(UsageError, match="not UTF-8"):
        decoded(data)


def test_large_file_cut_within_a_letter_is_refused_for_its_size() -> None:
    data = ("<!--" + "東" * LARGEST).encode()[: LARGEST + 1]
    with pytest.raises(UsageError, match="larger than"):
        parse(decoded(data))


def test_deepest_is_taken() -> None:
    levels = DEEPEST - 1
    assert parse("<domain>" + "<a>" * levels + "</a>" * levels + "</domain>").devices is None


def test_model_is_no_place_for_markup() -> None:
    with pytest.raises(UsageError, match="interface model"):
        set_interface(GOOD, InterfaceSpec("tap0", WANTED.mac, model="virtio'/><x"))


SPACES = st.text(" \t\n", max_size=4)
WORDS = st.text(st.characters(exclude_categories=("Cc", "Cs"), exclude_characters="<>&'\""), max_size=8)
PIECES = st.one_of(
    SPACES,
    WORDS.map(lambda word: f"<!-- {word.replace('-', '')} -->"),
    WORDS.map(lambda word: f"<?note {word.replace('?', '')}?>"),
    WORDS.map(lambda word: f"<disk type='file' x=\"{word}\"/>"),
    WORDS.map(
        lambda word: f"<x:y xmlns:x='urn:{len(word)}'>{word}<![CDATA[<interface>{word.replace(']', '')}]]></x:y>"
    ),
    st.tuples(SPACES, WORDS).map(
        lambda pair: f"<interface type='user'>{pair[0]}<alias name='ua-{pair[1]}'/>{pair[0]}</interface>"
    ),
)
BODIES = st.lists(PIECES, max_size=6).map("".join)
MARKED = st.tuples(
    st.sampled_from(["ethernet", "bridge", "user"]),
    BODIES.filter(lambda body: "<interface type" not in body),
    st.permutations(
        ["<mac address='52:54:00:00:00:01'/>", "<model type='e1000'/>", "<boot order='1'/>", '<source x="\'"/>']
    ),
    st.sampled_from(
        ["<alias name='ua-vmnet-eth0'/>", "<target dev='tap0'/>", "<target dev=\"tap0\" managed='yes'/>"]
    ),
).map(lambda made: f"<interface type='{made[0]}'>{made[1]}{made[3]}{''.join(made[2])}</interface>")


@given(before=BODIES, interface=MARKED, after=BODIES, tail=SPACES)
def test_only_the_marked_interface_changes(before: str, interface: str, after: str, tail: str) -> None:
    head, foot = f"<domain>{tail}<devices>{before}", f"{after}</devices>{tail}</domain>{tail}"
    changed = set_interface(head + interface + foot, WANTED)
    assert changed.startswith(head)
    assert changed.endswith(foot)
    found = marked(parse(changed), "eth0", "tap0")
    assert found is not None
    assert (found.type, found.mac, found.mtu, found.tap) == ("ethernet", WANTED.mac, 1450, "tap0")
    assert not found.managed
    assert found.child("boot") is not None
    assert found.model == "e1000"
    assert set_interface(changed, WANTED) == changed


@given(body=BODIES, tail=SPACES)
def test_an_added_interface_is_all_that_changes(body: str, tail: str) -> None:
    text = f"<domain>{tail}<devices>{body}</devices>{tail}</domain>"
    changed = set_interface(text, WANTED)
    was, now = parse(text), parse(changed)
    span = next(one.span for one in now.interfaces if one.alias == "ua-vmnet-eth0")
    data = changed.encode()
    rest = (data[: span.start] + data[span.end :]).decode()
    assert "".join(rest.split()) == "".join(text.split())
    assert len(now.interfaces) == len(was.interfaces) + 1


@given(st.binary(max_size=60))
def test_rubbish_is_refused_or_taken_but_never_a_crash(data: bytes) -> None:
    for text in (data, b"<domain><devices>" + data + b"</devices></domain>"):
        message = ""
        try:
            set_interface(decoded(text), WANTED)
        except UsageError as error:
            message = str(error)
        assert "\n" not in message


@pytest.mark.parametrize("name", ["eth0", "eth0.7", "eth0_7", "a.b_c-d"])
def test_what_is_written_for_an_interface_is_read_back_as_a_wish_for_it(name: str) -> None:
    domain = parse(set_interface("<domain><devices/></domain>", replace(WANTED, pod_interface=name)))
    [wish] = wishes(domain)
    assert wish.interface == name


def test_an_alias_of_the_old_form_still_marks_its_interface() -> None:
    wanted = replace(WANTED, pod_interface="eth0.7")
    old = (
        set_interface("<domain><devices/></domain>", wanted).replace("eth0_2e7", "eth0_7").replace("tap0", "tap9")
    )
    [interface] = parse(set_interface(old, wanted)).interfaces
    assert (interface.tap, interface.alias) == ("tap0", "ua-vmnet-eth0_7")
