"""Run by itself: cloud-init's own renderers over a network configuration → the files that each writes, as JSON.

cloudinit is a Debian package that is unpacked, not installed (testbed.unpacked), and of what it imports only the
part about networks is used: a module that is missing here is replaced by nothing.
"""

from __future__ import annotations

import importlib
import json
import sys
import tempfile
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

MISSING = ("requests", "configobj", "jinja2", "jsonpatch", "oauthlib", "serial", "netifaces")
SYSCONFIG = {
    "control": "etc/sysconfig/network",
    "iface_templates": "%(base)s/network-scripts/ifcfg-%(name)s",
    "route_templates": {
        "ipv4": "%(base)s/network-scripts/route-%(name)s",
        "ipv6": "%(base)s/network-scripts/route6-%(name)s",
    },
}
"""As cloudinit.distros.rhel has it."""
RENDERERS: dict[str, dict[str, Any]] = {
    "eni": {},
    "netplan": {},
    "networkd": {},
    "network_manager": {},
    "sysconfig": SYSCONFIG,
}


class ConfigObj(dict[str, Any]):
    """In the place of configobj's: NetworkManager.conf, which says nothing of addresses, stays empty."""

    def __init__(self, *_args: object, **_options: object) -> None:
        super().__init__()

    def write(self, *_args: object) -> list[str]:
        """Return no lines."""
        return []


def rendered(name: str, configuration: dict[str, Any]) -> dict[str, str]:
    """The files that a renderer writes, by their paths."""
    net = importlib.import_module("cloudinit.net")
    [nic] = configuration["config"]
    net.get_interfaces_by_mac = lambda *_args, **_kwargs: {nic["mac_address"]: nic["name"]}  # type: ignore[attr-defined]
    renderer = importlib.import_module(f"cloudinit.net.{name}").Renderer(RENDERERS[name])
    state = importlib.import_module("cloudinit.net.network_state")
    parsed = state.parse_net_config_data(configuration, renderer=renderer)
    with tempfile.TemporaryDirectory() as made:
        renderer.render_network_state(parsed, target=made)
        files = (file for file in Path(made).rglob("*") if file.is_file())
        return {str(file.relative_to(made)): file.read_text(encoding="utf-8") for file in files}


def main() -> None:
    """Read configurations by name from stdin; write by name and renderer what comes of them."""
    for name in MISSING:
        try:
            importlib.import_module(name)
        except ImportError:
            sys.modules[name] = MagicMock(ConfigObj=ConfigObj)
    asked = json.load(sys.stdin)
    said = {
        name: {renderer: rendered(renderer, configuration) for renderer in RENDERERS}
        for name, configuration in asked.items()
    }
    json.dump(said, sys.stdout)


if __name__ == "__main__":
    sys.path.insert(0, sys.argv[1])
    main()
