"""cloud-init's own renderers read what `render --format cloud-init` writes: each makes a whole network of it."""

from __future__ import annotations

import configparser
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from testbed.unpacked import CLOUD_INIT, programs
from tests.unit.lease.test_render import LEASES
from vmnet.lease.render import render

RUNNER = Path(__file__).parents[2] / "testbed" / "cloud_init_renderers.py"
Files = dict[str, dict[str, str]]


@pytest.fixture(scope="module")
def configurations() -> dict[str, Any]:
    """What is rendered for each layout."""
    return {name: yaml.safe_load(render(told, "cloud-init").text) for name, told in LEASES.items()}


@pytest.fixture(scope="module")
def written(configurations: dict[str, Any]) -> dict[str, Files]:
    """By layout and renderer, the files that it writes; none of them raises."""
    done = subprocess.run(
        [sys.executable, RUNNER, programs(CLOUD_INIT)],
        input=json.dumps(configurations),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={"PATH": os.defpath},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    said: dict[str, Files] = json.loads(done.stdout)
    return said


def facts(configuration: dict[str, Any]) -> list[tuple[str, str, list[tuple[str, str]]]]:
    """Address, gateway and routes of each subnet."""
    return [
        (
            subnet["address"],
            subnet.get("gateway", ""),
            [(route["destination"], route["gateway"]) for route in subnet.get("routes", ())],
        )
        for subnet in configuration["config"][0]["subnets"]
    ]


@pytest.mark.parametrize("name", LEASES)
def test_networkd_and_netplan_have_all_of_it(
    name: str, written: dict[str, Files], configurations: dict[str, Any]
) -> None:
    [networkd] = [text for path, text in written[name]["networkd"].items() if path.endswith(".network")]
    [netplan] = map(yaml.safe_load, written[name]["netplan"].values())
    [nic] = netplan["network"]["ethernets"].values()
    for address, gateway, routes in facts(configurations[name]):
        assert f"Address={address}\n" in networkd
        assert address in nic["addresses"]
        assert not gateway or f"Gateway={gateway}\n" in networkd
        assert not gateway or gateway in (nic.get("gateway4"), nic.get("gateway6"))
        for dst, via in routes:
            assert f"Destination={dst}\n" in networkd
            assert {"to": dst, "via": via} in nic["routes"]


@pytest.mark.parametrize("name", LEASES)
def test_network_manager_has_each_family_s_in_its_own_section(
    name: str, written: dict[str, Files], configurations: dict[str, Any]
) -> None:
    [text] = [text for path, text in written[name]["network_manager"].items() if path.endswith(".nmconnection")]
    parser = configparser.ConfigParser()
    parser.read_string(text)
    for address, gateway, routes in facts(configurations[name]):
        section = parser["ipv6" if ":" in address else "ipv4"]
        values = list(section.values())
        assert address in values
        assert not gateway or section["gateway"] == gateway
        assert {f"{dst},{via}" for dst, via in routes} <= set(values)
    for family, other in (("ipv4", ":"), ("ipv6", ".")):
        held = parser[family].items() if family in parser else ()
        assert not [value for key, value in held if other in value and not key.startswith("dns")]


@pytest.mark.parametrize("name", LEASES)
def test_eni_and_sysconfig_have_the_addresses_and_gateways(
    name: str, written: dict[str, Files], configurations: dict[str, Any]
) -> None:
    eni = written[name]["eni"]["etc/network/interfaces"]
    [ifcfg] = [text for path, text in written[name]["sysconfig"].items() if "ifcfg-" in path]
    for address, gateway, routes in facts(configurations[name]):
        assert f"address {address}\n" in eni
        assert address.partition("/")[0] in ifcfg
        assert not gateway or f"gateway {gateway}\n" in eni
        assert not gateway or f"={gateway}\n" in ifcfg
        assert all(dst in eni for dst, _ in routes)
