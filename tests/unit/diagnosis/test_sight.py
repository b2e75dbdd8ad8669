"""What a sight says of binding and guest."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from tests.testlib.sights import family, journal, server, sight
from vmnet.diagnosis import standing
from vmnet.diagnosis.sight import Family, Sight, look, look_at_all
from vmnet.kernel import inspect
from vmnet.settings.config import Config

if TYPE_CHECKING:
    from vmnet.agent.place import Place


@pytest.mark.parametrize(
    ("seen", "state"),
    [
        (sight(None, None), "down"),
        (sight(journal(), server()), "up"),
        (sight(journal(), server(), drift=("create tun tap0",)), "drift"),
    ],
)
def test_the_state_of_the_binding(seen: Sight, state: str) -> None:
    assert seen.state == state


@pytest.mark.parametrize(
    ("config", "bindings", "flags"),
    [
        (Config(), 1, ()),
        (Config(netns="pod-1", state_dir="/x"), 1, ("--netns", "pod-1", "--state-dir", "/x")),
        (Config(netns="pod-1"), 2, ("--interface", "eth0", "--netns", "pod-1")),
        (Config(), 0, ()),
    ],
)
def test_what_a_command_needs_to_be_about_it(
    config: Config, bindings: int, flags: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    reports = (sight(journal(), server()).report,) * bindings or (sight(None, None).report,)
    monkeypatch.setattr(standing, "reports", lambda _place, _config: reports)
    monkeypatch.setattr(standing, "report", lambda _place, _config: reports[0])
    monkeypatch.setattr(inspect, "link_states", lambda _netlink: ())
    place = cast("Place", SimpleNamespace(netlink=None))
    assert {seen.flags for seen in look_at_all(place, config)} == {flags}
    if bindings < 2:
        assert look(place, config).flags == flags


def test_a_family_is_what_is_told_and_what_the_server_says_of_it() -> None:
    reached = {"bound": 4.5, "offered": 4.25}
    said = server("bound", family("silent", uses_foreign="fd00::9"), reached=reached, uses="10.246.1.2")
    ipv4, ipv6 = sight(journal("bridge-dual"), said).families
    assert ipv4 == Family(
        *("ipv4", ("10.246.1.2/24",), True, "bound", 3.25, (("offered", 4.25), ("bound", 4.5)), "10.246.1.2")
    )
    assert (ipv6.name, ipv6.state, ipv6.uses_foreign) == ("ipv6", "silent", "fd00::9")


def test_a_pod_without_ipv4_has_one_family() -> None:
    [ipv6] = sight(journal("ipv6-only"), server(ipv6=family("bound"))).families
    assert (ipv6.name, ipv6.state) == ("ipv6", "bound")


def test_of_a_server_that_is_silent_nothing_is_known() -> None:
    assert [seen.state for seen in sight(journal("bridge-dual"), None).families] == ["unknown", "unknown"]


def test_a_server_that_still_compiles_has_said_nothing_of_ipv6() -> None:
    _, ipv6 = sight(journal("bridge-dual"), server(ipv6=None)).families
    assert (ipv6.state, ipv6.seconds) == ("silent", None)
