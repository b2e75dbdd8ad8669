"""Every ruleset that we can write is one that nft and the kernel take, and an nft that fails is one line.

A namespace with links of the names that the rulesets speak of; nothing is sent.
"""

from __future__ import annotations

import errno
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from testbed.netns import entered, netns
from tests.extent import sampled
from tests.testlib import layouts
from vmnet.bindings.isolation import rulesets
from vmnet.errors import KernelError
from vmnet.kernel import firewall
from vmnet.model.links import TABLE_PREFIX, Address, Route, Ruleset
from vmnet.model.settings import DHCP_EXTERNAL, ISOLATION_DHCP_ONLY, ISOLATION_STRICT, Settings
from vmnet.plumbing.discover import discover

if TYPE_CHECKING:
    from collections.abc import Iterator

    from testbed.netns import Netns
    from vmnet.model.pod import PodInterface

GOLDEN = sorted((Path(__file__).parents[1] / "data" / "isolation").glob("*.nft"))
DUAL = discover(layouts.status("bridge-dual"))
NAMELESS = """
for names in /etc/protocols /etc/services; do test ! -e $names || mount --bind /dev/null $names; done
exec nft -c -f -
"""
ADDRESSES4 = tuple(address for address in DUAL.addresses if not address.ipv6)
ADDRESSES6 = tuple(address for address in DUAL.addresses if address.ipv6)
MACS = tuple(f"52:54:00:00:00:{number:02x}" for number in range(16))
PREFIXES6 = tuple(f"2001:db8::/{length}" for length in (1, 7, 33, 47, 64, 127))
FOREIGN = Settings(allow_macs=(DUAL.mac, *MACS))
MANY = tuple(Address("eth0", f"10.7.{number // 250}.{1 + number % 250}", 32) for number in range(500))
MANY6 = tuple(Address("eth0", f"2001:db8:7::{number:x}", 128) for number in range(1, 100))
VARIANTS: dict[str, tuple[PodInterface, Settings]] = {
    "any-ipv4": (DUAL, Settings(allow_addresses=("0.0.0.0/0",))),
    "any-ipv6": (DUAL, Settings(allow_addresses=("::/0",))),
    "anybody": (DUAL, Settings(allow_addresses=("0.0.0.0/0", "::/0"))),
    "this-network": (DUAL, Settings(allow_addresses=("0.0.0.0/8", "::/96"))),
    "half": (DUAL, Settings(allow_addresses=("0.0.0.0/1", "128.0.0.0/1", "::/1"))),
    "link-local": (DUAL, Settings(allow_addresses=("fe80::/64", "fe80::5", "169.254.0.0/16"))),
    "link-local-alone": (DUAL, Settings(allow_addresses=("fe80::5",))),
    "own-again": (DUAL, Settings(allow_addresses=tuple(address.local for address in DUAL.addresses))),
    **{f"prefix-{prefix}": (DUAL, Settings(allow_addresses=(prefix,))) for prefix in PREFIXES6},
    "macs": (DUAL, FOREIGN),
    "external": (DUAL, Settings(dhcp=DHCP_EXTERNAL)),
    "external-any": (DUAL, Settings(dhcp=DHCP_EXTERNAL, allow_addresses=("0.0.0.0/0",))),
    "no-ipv4": (replace(DUAL, addresses=ADDRESSES6), Settings()),
    "no-ipv4-external": (replace(DUAL, addresses=ADDRESSES6), Settings(dhcp=DHCP_EXTERNAL)),
    "no-ipv6": (replace(DUAL, addresses=ADDRESSES4), Settings()),
    "no-address": (replace(DUAL, addresses=()), Settings()),
    "many-addresses": (replace(DUAL, addresses=(*MANY, *MANY6)), FOREIGN),
    "gateways": (
        replace(DUAL, routes=tuple(Route("eth0", "::/0", f"fe80::{number}") for number in range(1, 9))),
        Settings(allow_addresses=("fe80::/10",)),
    ),
    **{
        f"named-{name}": (replace(DUAL, ifname=name), Settings(tap=f"t-{name}"[:15]))
        for name in ("net1.7", "net1-7", "7", "a-very-long.one", "accept", "table")
    },
    "tap-named-like-a-word": (DUAL, Settings(tap="drop")),
}


@pytest.fixture(scope="module")
def room(_room: None) -> Iterator[Netns]:
    """An empty namespace: each test makes the links it needs."""
    with netns() as made:
        yield made


def _load(room: Netns, table: str, ruleset: Ruleset) -> None:
    """Load it in place of nothing, find it as it shall show, load it in place of itself, delete it."""
    links = {chain.device for chain in ruleset.chains if chain.device}
    room.ip_batch(*(f"link add {name} type bridge" for name in links))
    try:
        with entered(room):
            families = tuple({chain.family for chain in ruleset.chains})
            for standing in ((), families):
                firewall.load(table, (ruleset,), standing)
                assert set(firewall.read_chains(TABLE_PREFIX) or ()) == set(ruleset.chains)
            firewall.delete(table, families)
            assert firewall.read_chains(TABLE_PREFIX) == ()
    finally:
        room.ip_batch(*(f"link delete {name}" for name in links))


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_nft_takes_the_golden_files_also_without_the_names_of_protocols(room: Netns, path: Path) -> None:
    """A small image has no /etc/protocols and no /etc/services."""
    text = path.read_text(encoding="utf-8")
    links = set(re.findall(r'device "([^"]+)"', text))
    room.ip_batch(*(f"link add {name} type bridge" for name in links))
    try:
        room.run("unshare", "--mount", "sh", "-ec", NAMELESS, stdin=text)
    finally:
        room.ip_batch(*(f"link delete {name}" for name in links))
    assert room.run("nft", "list", "ruleset").stdout == ""


@pytest.mark.parametrize("isolation", [ISOLATION_STRICT, ISOLATION_DHCP_ONLY])
@pytest.mark.parametrize("name", sampled(VARIANTS, 3))
def test_the_kernel_takes_whatever_can_be_asked_for(room: Netns, name: str, isolation: str) -> None:
    facts, settings = VARIANTS[name]
    for ruleset in rulesets(facts, replace(settings, isolation=isolation)):
        _load(room, ruleset.chains[0].table, ruleset)


FAILS = {
    "hangs": ("exec sleep 1000", errno.ETIMEDOUT, "nft did not end in 0.2 s"),
    "is killed": ("kill -KILL $$", errno.EINTR, "signal 9 ended nft"),
    "says nothing": ("exit 3", errno.EINVAL, "nft says ''"),
    "says much": (
        "head -c 10000000 /dev/zero | tr '\\0' x >&2; exit 1",
        errno.EINVAL,
        "nft says 'xxxx",
    ),
    "says many lines": (
        "echo '-:1:1-2: Error: Could not process rule: Device or resource busy' >&2; seq 100000 >&2; exit 1",
        errno.EBUSY,
        "Device or resource busy",
    ),
    "does not read": ("exec <&-; exit 1", errno.EINVAL, "nft says ''"),
}


@pytest.mark.parametrize("how", FAILS)
def test_an_nft_that_fails_is_one_line(how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script, code, says = FAILS[how]
    nft = tmp_path / "nft"
    nft.write_text(f"#!/bin/sh\nPATH=/usr/bin:/bin\n{script}\n", encoding="ascii")
    nft.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(firewall, "_PATIENCE", 0.2 if how == "hangs" else 10.0)
    with pytest.raises(KernelError) as refused:
        firewall.delete("vmnet_eth0", ("netdev",))
    assert refused.value.errno == code
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 5000
