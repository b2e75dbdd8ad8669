"""What a VMI says of our interface, and what else may stand where one is expected."""

from __future__ import annotations

import json
from typing import Any

import pytest

from vmnet.cli import main
from vmnet.domain.read import parse
from vmnet.doors.kubevirt import Wanted, wanted

MAC = "52:54:00:12:34:56"
XML = "<domain type='qemu'><devices/></domain>"


def vmi(*interfaces: Any) -> bytes:  # noqa: ANN401 # whatever stands there
    return json.dumps({"spec": {"domain": {"devices": {"interfaces": interfaces}}}}).encode()


def bound(name: Any = "blue", plugin: str = "vmnet", **more: Any) -> dict[str, Any]:  # noqa: ANN401
    return {"name": name, "binding": {"name": plugin}, **more}


@pytest.mark.parametrize(
    ("text", "binding", "found"),
    [
        (vmi(bound()), "", Wanted("blue")),
        (vmi(bound(macAddress="52-54-00-AA-bb-cc")), "", Wanted("blue", "52:54:00:aa:bb:cc")),
        (vmi({"name": "default", "masquerade": {}}, bound("net1")), "", Wanted("net1")),
        (vmi(bound("a", "passt"), bound("b")), "vmnet", Wanted("b")),
        (vmi(bound("a"), bound("b")), "", Wanted()),
        (vmi(bound()), "passt", Wanted()),
        (vmi(bound(macAddress="01:00:5e:00:00:01")), "", Wanted("blue")),
        (vmi(bound(macAddress=["x"])), "", Wanted("blue")),
        (vmi(bound("x'/><evil a='")), "", Wanted()),
        (vmi(bound("")), "", Wanted()),
        (vmi(bound(5)), "", Wanted()),
        (vmi(bound("n" * 64)), "", Wanted()),
        (vmi("interface"), "", Wanted()),
        (vmi({"name": "a", "binding": "vmnet"}), "", Wanted()),
        (vmi(), "", Wanted()),
        (b"{}", "", Wanted()),
        (b"[]", "", Wanted()),
        (b"", "", Wanted()),
        (b"\xff", "", Wanted()),
        (b"[" * 100_000, "", Wanted()),
    ],
)
def test_the_one_interface_that_is_ours(text: bytes, binding: str, found: Wanted) -> None:
    assert wanted(text, binding) == found


@pytest.mark.parametrize(
    ("given", "alias", "mac"),
    [
        (vmi(bound(macAddress=MAC)), "ua-blue", MAC),
        (b"{}", "ua-vmnet-eth0", "52:54:00:00:00:01"),
        (vmi(bound()), "ua-blue", "52:54:00:00:00:01"),
    ],
)
def test_the_alias_is_what_kubevirt_looks_for(
    given: bytes, alias: str, mac: str, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    monkeypatch.setenv("VMNET_MTU", "1450")
    if mac != MAC:
        monkeypatch.setenv("VMNET_MAC", mac)
    assert main.main(["onDefineDomain", "--vmi", given.decode(), "--domain", XML]) == 0
    [interface] = parse(capfdbinary.readouterr().out.decode()).interfaces
    assert (interface.alias, interface.mac) == (alias, mac)
