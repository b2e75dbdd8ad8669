"""What is read of /proc, as the kernel writes it."""

from __future__ import annotations

import pytest

from vmnet.kernel import inspect
from vmnet.kernel.inspect import Probed

IF_INET6 = """\
00000000000000000000000000000001 01 80 10 80       lo
fd00010002460001000000000000aaaa 02 40 00 c8     eth0
fd000100024600010000000000000077 02 40 00 48     eth0
fe80000000000000000000000000000a 02 40 20 44     eth0
fe80000000000000000000000000000b 02 40 20 40 eth0.100
"""
UNIX = """\
Num       RefCount Protocol Flags    Type St Inode Path
0000000000000000: 00000002 00000000 00010000 0001 01 41 @vmnet/server/eth0
0000000000000000: 00000003 00000000 00000000 0001 03 42 @vmnet/server/eth0
0000000000000000: 00000002 00000000 00010000 0001 01 43 /run/vmnet/server/net7
0000000000000000: 00000003 00000000 00000000 0001 03 44
0000000000000000: 00000002 00000000 00010000 0001 01 45 @vmnet/server/net1
"""


@pytest.fixture
def proc(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The files that are there."""
    files: dict[str, str] = {}
    monkeypatch.setattr(inspect, "_text", lambda path: files.get(path, ""))
    return files


def test_addresses_that_are_not_usable(proc: dict[str, str]) -> None:
    """linux/if_addr.h: 0x04 optimistic, 0x08 dadfailed, 0x40 tentative, 0x80 permanent."""
    proc["/proc/self/net/if_inet6"] = IF_INET6
    assert inspect.probed_addresses() == (
        Probed("eth0", "fd00:100:246:1::aaaa", failed=True),
        Probed("eth0", "fd00:100:246:1::77", failed=True),
        Probed("eth0.100", "fe80::b", failed=False),
    )


def test_a_kernel_without_ipv6_has_none(proc: dict[str, str]) -> None:
    assert proc == {}
    assert inspect.probed_addresses() == ()


def test_servers_by_the_names_of_their_sockets(proc: dict[str, str]) -> None:
    proc["/proc/self/net/unix"] = UNIX
    assert inspect.abstract_sockets("vmnet/server/") == ("eth0", "net1")


def test_names_that_hold_ends_of_lines_are_passed_over(proc: dict[str, str]) -> None:
    """Anybody in the pod may bind such a name, and whoever has CAP_NET_ADMIN may give a link one."""
    proc["/proc/self/net/unix"] = f"{UNIX}0000000000000000: 00000002 00000000 00010000 0001 01 46 @a\n\n \nb\n"
    assert inspect.abstract_sockets("vmnet/server/") == ("eth0", "net1")
    odd = IF_INET6.splitlines()[1].replace("eth0", "e\u2028th 0")
    proc["/proc/self/net/if_inet6"] = f"{odd}\n\nfe80 and no more\n{IF_INET6}"
    found = [address.ifname for address in inspect.probed_addresses()]
    assert found == [
        "e\u2028th 0",
        "eth0",
        "eth0",
        "eth0.100",
    ]


def test_what_br_netfilter_calls(proc: dict[str, str]) -> None:
    assert inspect.bridge_calls() == ()
    proc["/proc/sys/net/bridge/bridge-nf-call-iptables"] = "1\n"
    proc["/proc/sys/net/bridge/bridge-nf-call-ip6tables"] = "0\n"
    assert inspect.bridge_calls() == ("iptables",)


def test_the_older_iptables(proc: dict[str, str]) -> None:
    proc["/proc/self/net/ip_tables_names"], proc["/proc/self/net/ip6_tables_names"] = "nat\nfilter\n", "filter\n"
    assert inspect.legacy_tables() == ("nat", "filter")


def test_capabilities_are_the_effective_ones(proc: dict[str, str]) -> None:
    proc["/proc/self/status"] = "Name:\tpython3\nCapPrm:\tffffffff\nCapEff:\t0000000000003000\nCapBnd:\t00\n"
    assert inspect.effective_capabilities() == 1 << 12 | 1 << 13
