"""Pod layouts as `ip -d -j` showed them, read into a Status."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vmnet.model.links import Address, Link, Neighbour, Route, Status

_DATA = Path(__file__).parents[1] / "data" / "pods"
NAMES = tuple(sorted(path.stem for path in _DATA.glob("*.json")))
_SCOPES = {"global": 0, "site": 200, "link": 253, "host": 254}
_PROTOCOLS = {"kernel": 2, "boot": 3, "static": 4, "ra": 9}
_METRICS = {"mtu": 2, "advmss": 8}


def status(name: str) -> Status:
    """Return the layout of that name."""
    shown = json.loads((_DATA / f"{name}.json").read_text())
    return Status(
        links=tuple(_link(entry) for entry in shown["addr"]),
        addresses=tuple(
            _address(entry["ifname"], address) for entry in shown["addr"] for address in entry["addr_info"]
        ),
        routes=(
            *(_route(entry, "0.0.0.0/0", 0) for entry in shown["route"]),
            *(_route(entry, "::/0", 1024) for entry in shown["route6"]),
        ),
        neighbours=tuple(
            Neighbour(entry["dev"], entry["dst"], entry["lladdr"], permanent="PERMANENT" in entry["state"])
            for entry in shown["neigh"]
            if "lladdr" in entry
        ),
    )


def _link(entry: dict[str, Any]) -> Link:
    return Link(
        ifindex=entry["ifindex"],
        ifname=entry["ifname"],
        kind=entry.get("linkinfo", {}).get("info_kind", ""),
        mac=entry["address"],
        mtu=entry["mtu"],
        up="UP" in entry["flags"],
        ethernet=entry["link_type"] == "ether",
        loopback="LOOPBACK" in entry["flags"],
        arp_ignore=0,
        addr_gen_mode=0,
        accept_ra=1,
    )


def _address(ifname: str, entry: dict[str, Any]) -> Address:
    return Address(
        ifname=ifname,
        local=entry["local"],
        prefixlen=entry["prefixlen"],
        broadcast=entry.get("broadcast", ""),
        label=entry.get("label", ""),
        scope=_SCOPES[entry["scope"]],
        valid_lifetime=entry["valid_life_time"],
        preferred_lifetime=entry["preferred_life_time"],
    )


def _route(entry: dict[str, Any], default: str, metric: int) -> Route:
    dst = default if entry["dst"] == "default" else entry["dst"]
    if "/" not in dst:
        dst += "/128" if ":" in dst else "/32"
    metrics = entry.get("metrics", [{}])[0]
    return Route(
        ifname=entry["dev"],
        dst=dst,
        gateway=entry.get("gateway", ""),
        metric=entry.get("metric", metric),
        prefsrc=entry.get("prefsrc", ""),
        scope=_SCOPES[entry.get("scope", "global")],
        protocol=_PROTOCOLS[entry.get("protocol", "boot")],
        metrics=tuple(sorted((_METRICS[name], value) for name, value in metrics.items())),
    )
