"""A journal or note of hostile values: refused in one line that names the value. What vmnet saves is read."""

from __future__ import annotations

import json
import typing
from dataclasses import fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.testlib import journals, layouts
from tests.unit.saved.test_journal import NO_LINK_NAMES
from vmnet.agent.recall import recall, written
from vmnet.model.codec import encode, plain
from vmnet.model.lease import Lease, Router
from vmnet.model.links import FOREVER, Address, Link, Neighbour, Note, Route, Status
from vmnet.model.pod import PodInterface
from vmnet.model.settings import Boot, RawOption, Settings, Told
from vmnet.saved import facts
from vmnet.saved.facts import CHECKS, text_of, understood
from vmnet.saved.schema import Here, Journal

if TYPE_CHECKING:
    from pathlib import Path

    from vmnet.saved.journal import StateDirectory

HERE = Here(42, "b00t")
ALL = Settings(
    tap="tap0",
    owner=107,
    group=108,
    mac="52:54:00:00:00:01",
    mtu=1400,
    hostname="my_vm.example",
    multi_queue=True,
    isolation="dhcp-only",
    allow_addresses=("10.1.0.0/16", "fd00::1"),
    allow_macs=("52:54:00:00:00:02",),
    server_user=1000,
    server_group=1000,
    dhcp="external",
    told=Told(
        lease_time=FOREVER,
        nameservers=("10.0.0.53", "fd00::53"),
        domain_search=("_x.example",),
        ntp_servers=("10.0.0.1",),
        boot=Boot("10.0.0.2", "http://boot/a?token=b c", "HTTPClient"),
        ipv6_only_wait=1800,
        options=(RawOption(254, "00ff"),),
        autonomous=True,
        nat64_prefix="64:ff9b::/96",
    ),
)
HOSTILE_TEXTS = ("\0", "\n", "a\x1b[2J", "../..", "; drop", 'x" }', "\ud800", "\u202e", "x" * 5000)
HOSTILE_NUMBERS = (-1, 1 << 32, 1 << 63)


def _everything() -> Journal:
    """A journal in which each field of the model says something."""
    journal = journals.journal("bridge-dual", ALL)
    pod = journal.pod
    address = Address("eth0", "10.9.0.1", 32, "10.9.0.2", "10.9.0.3", "eth0:x y", valid_lifetime=5)
    route = Route("eth0", "10.8.0.0/16", "fe80::1", 5, "10.9.0.1", metrics=((2, 1400), (8, 1360)))
    neighbours = (Neighbour("eth0", "10.9.0.2", "01:00:5e:00:00:01", permanent=True, flags=0x80),)
    assert journal.lease
    assert journal.lease6
    router = Router("fe80::1", "fe80::1", "02:00:00:00:00:09", permanent=True, routes=("fd00:1::/64",))
    return replace(
        journal,
        pod=replace(pod, addresses=(*pod.addresses, address), routes=(*pod.routes, route), neighbours=neighbours),
        lease=replace(journal.lease, warnings=("ü is no name",), ntp_servers=("10.0.0.1",)),
        lease6=replace(journal.lease6, routers=(router,), ntp_servers=("fd00::1",), warnings=("so it is",)),
    )


@pytest.mark.parametrize("layout", [*layouts.NAMES, journals.IPV6_ONLY])
@pytest.mark.parametrize("settings", [Settings(), journals.SETTINGS, ALL])
def test_what_vmnet_saves_is_read(layout: str, settings: Settings) -> None:
    journal = journals.journal(layout, settings)
    assert understood(text_of(journal, HERE), HERE) == journal


def test_whatever_a_field_may_say_is_read() -> None:
    assert understood(text_of(_everything(), HERE), HERE) == _everything()


def _kinds(kind: Any, found: set[type]) -> set[type]:  # noqa: ANN401 # any type of a field
    """All dataclasses that a journal is made of."""
    if is_dataclass(kind) and kind not in found:
        found.add(typing.cast("type", kind))
        for hint in typing.get_type_hints(kind).values():
            _kinds(hint, found)
    for member in typing.get_args(kind):
        _kinds(member, found)
    return found


def test_every_text_of_a_journal_has_a_check_of_its_own() -> None:
    kinds = _kinds(Journal, set()) - {Journal}
    assert len(kinds) > 10
    for kind in kinds:
        for name, hint in typing.get_type_hints(kind).items():
            if hint is str or str in typing.get_args(hint):
                assert name in CHECKS[kind], f"{kind.__name__}.{name}: what may it say? See vmnet/saved/facts.py"
        assert set(CHECKS.get(kind, ())) <= {field.name for field in fields(kind)}
    assert set(CHECKS) <= kinds


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:  # noqa: ANN401 # JSON is of any type
    """The path to each value below."""
    if isinstance(value, dict):
        return [place for name, item in value.items() for place in _places(item, (*path, name))]
    if isinstance(value, list):
        return [place for at, item in enumerate(value) for place in _places(item, (*path, at))]
    return [path]


def _with(value: Any, path: tuple[Any, ...], new: object) -> Any:  # noqa: ANN401 # JSON is of any type
    """The same with another value there."""
    if not path:
        return new
    if isinstance(value, dict):
        return {**value, path[0]: _with(value[path[0]], path[1:], new)}
    return [_with(item, path[1:], new) if at == path[0] else item for at, item in enumerate(value)]


FREE = {"warnings", "label", "server", "file", "vendor_class"}
"""What may say anything printable."""


def test_a_hostile_value_in_any_place_is_refused_in_one_line_that_names_it() -> None:
    whole = plain(_everything())
    tried = 0
    for path in _places(whole):
        value = whole
        for step in path:
            value = value[step]
        if path[0] in ("schema", "boot_id", "netns_cookie") or not isinstance(value, str | int):
            continue
        for hostile in HOSTILE_TEXTS if isinstance(value, str) else HOSTILE_NUMBERS:
            if isinstance(value, bool) or hostile == value or (FREE & set(path) and str(hostile).isprintable()):
                continue
            with pytest.raises(ValueError, match=r"Journal\.|of \S+ among those of|would have one name") as caught:
                understood(json.dumps(_with(whole, path, hostile)), HERE)
            assert str(caught.value).isprintable()
            assert len(str(caught.value)) < 400
            tried += 1
    assert tried > 500


@pytest.mark.parametrize("name", NO_LINK_NAMES)
@pytest.mark.parametrize("place", ["ifname", "tap"])
def test_what_is_no_link_name_is_refused(name: str, place: str) -> None:
    journal = journals.journal("bridge")
    if place == "tap":
        journal = replace(journal, settings=replace(journal.settings, tap=name))
    else:
        journal = replace(journal, pod=PodInterface(name, 7, "02:00:00:00:00:07", 1500))
    with pytest.raises(ValueError, match="is not a link name"):
        understood(encode(journal), HERE)


@pytest.mark.parametrize(
    ("pod", "settings", "says"),
    [
        (PodInterface("tap0", 7, "02:00:00:00:00:07", 1500), Settings(), "two of the links tap0, tap0, k6t-tap0"),
        (None, Settings(tap="eth0"), "would have one name"),
        (None, Settings(tap="k6t-eth0"), "would have one name"),
        (None, Settings(tap="eth0-nic"), "would have one name"),
        (None, Settings(server_user=0), "Journal.settings.server_user 0 is not a number from 1 to"),
        (None, Settings(server_user=7, server_group=0), "server_group 0 is not"),
        (None, Settings(isolation="none"), "is not one of strict, dhcp-only, off"),
        (None, Settings(allow_addresses=("224.0.0.0/4",)), "allow_addresses '224.0.0.0/4' is not"),
        (None, Settings(allow_macs=("01:00:5e:00:00:01",)), "is not a MAC"),
        (None, Settings(mac="52:54:00:00:00:0A"), "is not a MAC"),
        (None, Settings(told=Told(lease_time=0)), "lease_time 0 is not a number from 4"),
        (
            PodInterface("eth0", 7, "02:00:00:00:00:07", 1500, routes=(Route("eth1", "10.0.0.0/8"),)),
            Settings(),
            "Route of eth1 among those of eth0",
        ),
        (
            PodInterface("eth0", 7, "02:00:00:00:00:07", 1500, routes=(Route("eth0", "::/0", "10.0.0.1"),)),
            Settings(),
            "an IPv4 gateway for IPv6",
        ),
        (
            PodInterface("eth0", 7, "02:00:00:00:00:07", 1500, addresses=(Address("eth0", "10.0.0.1", 33),)),
            Settings(),
            "its prefix is too long",
        ),
        (
            PodInterface(
                "eth0", 7, "02:00:00:00:00:07", 1500, addresses=(Address("eth0", "fd00::1", 64, "1.1.1.1"),)
            ),
            Settings(),
            "of two families",
        ),
    ],
)
def test_what_does_not_belong_together_is_refused(pod: PodInterface | None, settings: Settings, says: str) -> None:
    journal = journals.journal("bridge")
    with pytest.raises(ValueError, match=says):
        understood(encode(replace(journal, pod=pod or journal.pod, settings=settings)), HERE)


def test_what_would_be_read_as_another_is_not_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(facts, "understood", lambda _text, _here: None)
    with pytest.raises(ValueError, match="it would be read as another"):
        text_of(journals.journal("bridge"), HERE)


@pytest.fixture
def state(tmp_path: Path) -> StateDirectory:
    from vmnet.saved.journal import StateDirectory

    return StateDirectory(str(tmp_path), HERE.netns_cookie)


def _noted(journal: Journal, *taps: Link) -> Status:
    found = layouts.status("bridge")
    return replace(found, links=(*found.links, *taps), notes=(Note("eth0", written(journal)),))


WEAK = replace(ALL, sandbox=False)


def test_a_note_says_nothing_of_sandbox_and_users(state: StateDirectory) -> None:
    known = recall(state, HERE, "", _noted(journals.journal("bridge", WEAK)))
    assert known
    settings = known.journal.settings
    assert settings == replace(WEAK, sandbox=True, owner=None, group=None, server_user=None, server_group=None)


def test_whose_the_tap_is_the_kernel_says(state: StateDirectory) -> None:
    tap = Link(99, "tap0", "tun", "02:00:00:00:00:99", 1500, up=True, owner=5, group=6)
    known = recall(state, HERE, "", _noted(journals.journal("bridge", WEAK), tap))
    assert known
    assert (known.journal.settings.owner, known.journal.settings.group) == (5, 6)


@pytest.mark.parametrize("name", ["../../../root/.ssh", "/root/.ssh", "..", "k6t-eth0\n"])
def test_a_note_that_names_a_path_is_no_note(name: str, state: StateDirectory) -> None:
    journal = replace(journals.journal("bridge"), pod=PodInterface(name, 7, "02:00:00:00:00:07", 1500))
    assert recall(state, HERE, "", _noted(journal)) is None
    assert recall(state, HERE, "eth0", _noted(journal)) is None


def test_nobody_is_told_to_remove_the_only_copy(state: StateDirectory) -> None:
    from vmnet.errors import RefusedError

    state.make("eth0").write("journal.json", b"{")
    found = layouts.status("bridge")
    with pytest.raises(RefusedError, match=r"remove the directory it is in$"):
        recall(state, HERE, "eth0", found)
    nic = found.link("eth0")
    assert nic
    ours = [
        replace(found, links=(*found.links, replace(nic, ifname="k6t-eth0", ifindex=99))),
        replace(found, links=(replace(nic, ifname="eth0-nic"),)),
        replace(found, notes=(Note("eth0", ("vmnet.00000000.00.00.only-in-the-journal",)),)),
    ]
    for status in ours:
        with pytest.raises(RefusedError, match="keep it: it may be the only copy of eth0's") as caught:
            recall(state, HERE, "eth0", status)
        assert "remove the" not in str(caught.value)


def test_a_lease_is_checked_as_strictly() -> None:
    journal = replace(
        journals.journal("bridge"), lease=Lease("02:00:00:00:00:01", "10.244.1.2", 24, "169.254.75.10\n")
    )
    with pytest.raises(
        ValueError, match=r"Journal\.lease\.server_id '169\.254\.75\.10\\n' is not an IPv4 address"
    ):
        understood(encode(journal), HERE)
