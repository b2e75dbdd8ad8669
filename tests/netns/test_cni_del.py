"""CNI DEL with the real plugins, while the VM has the pod's identity and after it was given back.

┌ node ───────────────────┐      ┌ pod ──────────────┐
│ host-local, masquerade  ├─veth─┤ eth0: the stand-in│   DEL finds the address there, and cleans up after it
└─────────────────────────┘      └───────────────────┘
"""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING, Any

import pytest

from testbed import pods
from testbed.agent import Agent
from testbed.netns import TestbedError, netns
from testbed.pods import NAMESERVERS, SEARCH, Sandbox, cni, resolv_conf_text
from tests.netns.forked import Forked

if TYPE_CHECKING:
    from pathlib import Path

    from testbed.netns import Netns

SUBNET = "10.249.1.0/24"
PLUGINS: dict[str, dict[str, Any]] = {
    "bridge": {"type": "bridge", "bridge": "cni0", "isGateway": True, "hairpinMode": True},
    "ptp": {"type": "ptp"},
}


def _network(plugin: str, data_dir: Path) -> dict[str, Any]:
    ipam = {
        "type": "host-local",
        "ranges": [[{"subnet": SUBNET}]],
        "routes": [{"dst": "0.0.0.0/0"}],
        "dataDir": str(data_dir),
    }
    return {"cniVersion": "0.4.0", "name": f"masq-{plugin}", **PLUGINS[plugin], "ipMasq": True, "ipam": ipam}


def _rules(node: Netns) -> list[str]:
    """The rules of the node that speak of a pod."""
    lines = node.run("nft", "list", "ruleset").stdout.splitlines()
    return [line.strip() for line in lines if "CNI-" in line or "10.249.1." in line]


def _reserved(data_dir: Path) -> list[str]:
    """The addresses that host-local has given out."""
    return [path.name for path in data_dir.glob("*/10.249.1.*")]


@pytest.mark.parametrize("given_back", [False, True], ids=["after up", "after down"])
@pytest.mark.parametrize("plugin", PLUGINS)
def test_del_succeeds_and_leaks_neither_address_nor_rule(plugin: str, given_back: bool, tmp_path: Path) -> None:
    resolv_conf, data_dir = tmp_path / "resolv.conf", tmp_path / "host-local"
    resolv_conf.write_text(resolv_conf_text(NAMESERVERS, SEARCH), encoding="ascii")
    network = _network(plugin, data_dir)
    with netns() as node, netns() as inside:
        sandbox = Sandbox(node, inside, secrets.token_hex(8))
        result = json.loads(cni("ADD", network, sandbox, {}))
        assert _rules(node)
        assert len(_reserved(data_dir)) == 1
        vmnet = Forked(Agent(inside, tmp_path / "state", resolv_conf))
        try:
            vmnet.up()
            if given_back:
                vmnet.down()
                cni("CHECK", network, sandbox, result)
            else:  # docs/guide/kubernetes.md says so, and what to do: the stand-in is a bridge
                with pytest.raises(TestbedError, match="Container interface eth0 not of type veth"):
                    cni("CHECK", network, sandbox, result)
            cni("DEL", network, sandbox, result)
            assert pods.IFNAME not in [link["ifname"] for link in inside.ip("link")]
        finally:
            vmnet.agent.clear()
        assert _rules(node) == []
        assert _reserved(data_dir) == []
