"""`vmnet status` for people and for machines. The real one is in tests/netns/test_status.py."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from tests.testlib.sights import ROUTER, family, journal, server, sight
from vmnet.diagnosis import status
from vmnet.model.links import Status
from vmnet.show.outline import lines, plain

if TYPE_CHECKING:
    from vmnet.diagnosis.sight import Sight

SCHEMA = Path(__file__).parents[3] / "deploy" / "status.schema.json"
DUAL = server("bound", family("static", uses="fd00:10:246:1::2", routers=[ROUTER]), reached={"bound": 4.5})
SIGHTS = {
    "down": sight(None, None),
    "silent": sight(journal(), server(), carrier=False, received=0),
    "dual": sight(journal("bridge-dual"), DUAL),
    "ipv6-only": sight(journal("ipv6-only"), server(ipv6=family("bound", routers=[{**ROUTER, "mac": ""}]))),
    "gateway-gone": sight(
        journal("bridge-dual"), server(ipv6=family("bound", routers=[{**ROUTER, "silent_seconds": 12.0}]))
    ),
    "dead": sight(journal(), None, drift=("start the DHCP server: it does not answer",)),
    "gone": sight(journal(), server(), now=Status(())),
    "foreign": sight(journal(), server("foreign-address", uses="10.244.1.2", uses_foreign="10.9.9.9")),
}


def text(seen: Sight) -> str:
    return plain(status.outline(seen), 200)


def test_nothing_is_bound() -> None:
    assert text(SIGHTS["down"]) == "down: nothing is bound here"


def test_the_links_stand_below_each_other_down_to_the_guest() -> None:
    drawn = text(SIGHTS["dual"]).splitlines()
    depths = [
        next(line.index(name) for line in drawn if name in line)
        for name in (
            "up: eth0",
            "pod network: ",
            "eth0-nic: ",
            "k6t-eth0: ",
            "tap0: ",
            "guest ",
            "IPv4 ",
            "bound at",
        )
    ]
    assert depths == [0, 3, 6, 9, 12, 15, 18, 21]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "silent",
            "tap0: tap of uid 107, one queue, not in use (no VM attached), no frames from the guest, 7 to it",
        ),
        ("silent", "IPv4 10.244.1.2/24: silent"),
        ("dual", "tap0: tap of uid 107, one queue, in use by the VM, 4 frames from the guest, 7 to it"),
        ("dual", "IPv4 10.246.1.2/24: bound for 3.2 s"),
        ("dual", "bound at 4.5 s after READY"),
        ("dual", "IPv6 fd00:10:246:1::2: static for 3.2 s"),
        ("dual", "uses fd00:10:246:1::2"),
        ("dual", "router fe80::766d:6e65:7401 for fd00:10:246:1::1 at 02:42:0a:f6:01:01"),
        ("ipv6-only", "whose MAC is not known yet"),
        ("gateway-gone", "which has not answered the guest for 12 s"),
        ("dead", "IPv4 10.244.1.2/24: unknown"),
        ("dead", "changed since `up`; `vmnet up` repairs it, or says what to do instead:"),
        ("gone", "tap0: gone"),
        ("gone", "eth0-nic: gone"),
        ("foreign", "uses 10.9.9.9, which is not its own"),
    ],
)
def test_what_is_said(name: str, said: str) -> None:
    assert said in text(SIGHTS[name])


def test_each_command_is_about_the_binding_that_was_asked_about() -> None:
    warnings, drift = ("run `vmnet down`, and wait",), ("link eth0-nic is gone; run `vmnet down`",)
    ill = sight(journal(), server(), warnings=warnings, drift=drift)
    seen = replace(ill, flags=("--netns", "pod-1", "--state-dir", "/x"))
    drawn, told = text(seen), status.value(seen)
    assert "`vmnet up --netns pod-1 --state-dir /x` repairs it" in drawn
    assert "run `vmnet down --netns pod-1 --state-dir /x`, and wait" in drawn
    assert told["warnings"] == ["run `vmnet down --netns pod-1 --state-dir /x`, and wait"]
    assert told["drift"] == ["link eth0-nic is gone; run `vmnet down --netns pod-1 --state-dir /x`"]
    assert status.values((seen, seen))["drift"][0].startswith(f"eth0: {told['drift'][0]}")


def test_where_all_is_well_nothing_is_a_warning() -> None:
    assert {line.style for line in lines(status.outline(SIGHTS["dual"]), 100)} == {"", "title", "good", "dim"}
    down = replace(SIGHTS["dual"].links[0], carrier=False)
    ill = replace(SIGHTS["dual"], links=(down, *SIGHTS["dual"].links[1:]))
    [nic] = [line for line in lines(status.outline(ill), 100) if "eth0-nic" in line.text]
    assert (nic.style, nic.text[-10:]) == ("warning", "no carrier")


def test_how_the_guest_is_kept_apart_and_what_is_weaker_than_it_could_be() -> None:
    apart: dict[str, Any] = {
        "isolation": "dhcp-only",
        "allow_addresses": ("10.9.0.0/24",),
        "allow_macs": ("00:00:5e:00:01:07",),
    }
    drawn = text(sight(journal(**apart), server(), warnings=("no hook",))).splitlines()
    assert "├─ isolation: dhcp-only; also allowed: 00:00:5e:00:01:07, 10.9.0.0/24" in drawn
    assert drawn[-2:] == ["warnings:", "└─ no hook"]


@pytest.mark.parametrize(
    ("sandbox", "said"),
    [
        ({"on": True, "reached": ["limits"], "missed": {}}, "sandbox: limits"),
        (
            {"on": True, "reached": [], "missed": {"user": "CAP_SETUID is missing"}},
            "not reached: user: CAP_SETUID is",
        ),
        ({"on": False, "reached": [], "missed": {}}, "sandbox: OFF: "),
    ],
)
def test_the_sandboxs_stages(sandbox: dict[str, Any], said: str) -> None:
    assert said in text(sight(journal(), server(sandbox=sandbox)))


def test_other_macs_that_asked_are_shown() -> None:
    assert "other MACs, ignored: de:ad:c0:de:ca:fe" in text(
        sight(journal(), server(foreign_macs=["de:ad:c0:de:ca:fe"]))
    )


@pytest.mark.parametrize("name", SIGHTS)
def test_the_json_is_as_the_schema_says(name: str) -> None:
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    told = json.loads(json.dumps(status.value(SIGHTS[name])))
    jsonschema.validate(told, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**told, "schema": 1}, schema)


def test_only_what_happens_is_a_change() -> None:
    before = sight(journal(), server("bound"), received=4)
    later = sight(journal(), server("bound", lease_seconds=9.5, uptime_seconds=20.0), received=9)
    renewed = sight(journal(), server("renewed"), received=9)
    stands = [status.standing(status.value(seen)) for seen in (before, later, renewed)]
    assert stands[0] == stands[1]
    assert stands[1] != stands[2]
