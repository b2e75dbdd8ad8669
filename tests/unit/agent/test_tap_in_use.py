"""Which link of the tap's name is the binding's own, and which is somebody else's."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.testlib.journals import journal, status
from vmnet.agent import tap_in_use
from vmnet.bindings.names import own_mac
from vmnet.errors import RefusedError
from vmnet.model.links import Holder, Link, Status

JOURNAL = journal("bridge")
OWN = own_mac(JOURNAL.pod.mac, "tap")
QEMU = Holder(7, "qemu", "tap0")


def _now(mac: str, kind: str = "tun", controller: str = "") -> Status:
    pod = status("bridge")
    return replace(pod, links=(*pod.links, Link(9, "tap0", kind, mac, 1450, up=True, controller=controller)))


@pytest.fixture(autouse=True)
def attached(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The taps that a program has open."""
    held: set[str] = set()
    monkeypatch.setattr(tap_in_use, "is_attached", lambda ifname: ifname in held)
    monkeypatch.setattr(tap_in_use, "_holders", lambda ifname: (QEMU,) if ifname in held else ())
    return held


@pytest.mark.parametrize(
    ("mac", "controller", "held"),
    [
        pytest.param(OWN, "k6t-eth0", True, id="whole"),
        pytest.param(OWN, "", True, id="off its bridge, in use"),
        pytest.param(OWN, "br7", True, id="put on another bridge"),
        pytest.param("02:00:00:00:00:09", "k6t-eth0", True, id="with another MAC, in use"),
        pytest.param("02:00:00:00:00:09", "", False, id="just made, the bring-up killed"),
    ],
)
def test_a_tap_of_the_bindings_is_its_own(mac: str, controller: str, held: bool, attached: set[str]) -> None:
    attached.update({"tap0"} if held else ())
    assert tap_in_use.anothers(_now(mac, controller=controller), JOURNAL) is None
    tap_in_use.refuse_anothers(_now(mac, controller=controller), JOURNAL)


@pytest.mark.parametrize(
    ("kind", "controller", "held", "said"),
    [
        pytest.param("tun", "", True, "a tap that qemu (pid 7) has open", id="another VM's"),
        pytest.param("tun", "k6t-net2", False, "a tap, a port of k6t-net2", id="KubeVirt's"),
        pytest.param("dummy", "", False, "a link of kind dummy", id="no tap at all"),
        pytest.param("bridge", "", False, "a link of kind bridge", id="a bridge"),
    ],
)
def test_what_somebody_else_made_or_uses_is_refused(
    kind: str, controller: str, held: bool, said: str, attached: set[str]
) -> None:
    attached.update({"tap0"} if held else ())
    now = _now("02:00:00:00:00:09", kind, controller)
    assert tap_in_use.anothers(now, JOURNAL) == now.link("tap0")
    with pytest.raises(RefusedError) as refused:
        tap_in_use.refuse_anothers(now, JOURNAL)
    assert str(refused.value).startswith(f"tap0 is {said}")
    assert "both leave tap0 alone" in str(refused.value)


def test_no_tap_is_nobodys() -> None:
    assert tap_in_use.anothers(status("bridge"), JOURNAL) is None
