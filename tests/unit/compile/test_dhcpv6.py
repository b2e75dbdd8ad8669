"""What scapy writes for DHCPv6: every option's bytes, and the head."""

from __future__ import annotations

import struct
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from tests.testlib.ipv6.messages import (
    LEASE,
    POD,
    REPLIES,
    SCAPY,
    SERVER,
    dissect,
    frame,
    outcome,
    packed,
    solicit,
)
from vmnet.compile import dhcpv6 as compiler
from vmnet.compile.scapy_layers import SERVER_MAC
from vmnet.model.lease import Lease6, LeasedAddress, Router
from vmnet.model.links import FOREVER
from vmnet.server.ipv6.replies import DNS, FQDN, HEAD, NTP, REFRESH_TIME, SEARCH, SERVER_ID, SNTP

if TYPE_CHECKING:
    from vmnet.server.ipv6.replies import Replies

LONG = b"".join(b"\x3f" + letter * 63 for letter in (b"w", b"x", b"y"))
DOMAIN = "03737663 07636c7573746572 056c6f63616c 00"


def compiled(**changed: Any) -> Replies:  # noqa: ANN401 - each has its type
    """The replies of the lease with these changes."""
    return compiler.compile_replies(replace(LEASE, **changed))


@pytest.mark.parametrize(
    ("code", "option"),
    [
        (2, "0002000a 0003000102766d6e6574"),
        (7, "00070001 ff"),
        (14, "000e0000"),
        (23, "00170010 20010db8000000000000000000000053"),
        (
            24,
            f"0018002e 0764656661756c74 {DOMAIN} {DOMAIN}",
        ),
        (32, "00200004 00015180"),
        (39, f"00270022 04 057765622d30 0764656661756c74 {DOMAIN}"),
    ],
)
def test_option(code: int, option: str) -> None:
    assert REPLIES.options[code] == bytes.fromhex(option)


def test_options_of_what_is_configured() -> None:
    assert NTP not in REPLIES.options
    options = compiled(
        ntp_servers=("2001:db8::123", "2001:db8::124"), nameservers=("2001:db8::1", "fe80::1")
    ).options
    suboption = bytes.fromhex("00010010")
    assert options[NTP][:4] == bytes.fromhex("00380028")
    assert options[NTP][4:] == suboption + packed("2001:db8::123") + suboption + packed("2001:db8::124")
    assert options[SNTP] == bytes.fromhex("001f0020") + packed("2001:db8::123") + packed("2001:db8::124")
    assert options[DNS] == bytes.fromhex("00170020") + packed("2001:db8::1") + packed("fe80::1")


def test_what_the_pod_does_not_have_is_absent_never_empty() -> None:
    bare = Lease6(LEASE.chaddr, SERVER, (LeasedAddress(POD, FOREVER, FOREVER),), (Router("fe80::1", ""),))
    replies = compiler.compile_replies(bare)
    assert not {DNS, SEARCH, SNTP, NTP, FQDN} & replies.options.keys()
    assert replies.mtu == 1500


def test_the_statuses_and_their_words() -> None:
    numbers = {number: option[6:].decode() for number, option in REPLIES.statuses.items()}
    assert numbers == {
        0: "",
        2: "no addresses but the pod's",
        3: "not an address of the pod",
        4: "not an address of the pod",
        6: "no prefix is delegated",
    }
    assert all(option[:2] == b"\0\x0d" for option in REPLIES.statuses.values())


def test_the_head() -> None:
    assert len(REPLIES.head) == HEAD
    packet = SCAPY.Ether(REPLIES.head)
    assert (packet.dst, packet.src) == ("02:00:00:00:00:01", "02:76:6d:6e:65:74")
    ip = packet[SCAPY.IPv6]
    assert (ip.version, ip.tc, ip.fl, ip.nh, ip.hlim, ip.src) == (6, 0, 0, 17, 64, SERVER)
    assert (packet[SCAPY.UDP].sport, packet[SCAPY.UDP].dport) == (547, 546)


def test_a_vm_with_the_servers_mac_is_never_its_own_server_yet_meets_the_same_duid() -> None:
    replies = compiled(chaddr=SERVER_MAC)
    packet = SCAPY.Ether(replies.head)
    assert (packet.dst, packet.src) == (SERVER_MAC, "02:76:6d:6e:65:75")
    assert replies.options[SERVER_ID] == REPLIES.options[SERVER_ID]


@pytest.mark.parametrize("mtu", [None, 68, 1280, 1500, 9000])
def test_the_mtu_is_what_ipv6_needs_at_least(mtu: int | None) -> None:
    assert compiled(mtu=mtu).mtu == max(mtu or 1500, 1280)


@pytest.mark.parametrize(
    ("preferred", "times"),
    [
        ((FOREVER,), (FOREVER, FOREVER)),
        ((1000,), (500, 800)),
        ((1000, FOREVER), (500, 800)),
        ((FOREVER, 10, 1000), (5, 8)),
        ((0, 1000), (500, 800)),
        ((0,), (0, 0)),
        ((1,), (0, 0)),
        ((FOREVER - 1,), (0x7FFFFFFF, 3435973835)),
    ],
)
def test_t1_and_t2(preferred: tuple[int, ...], times: tuple[int, int]) -> None:
    addresses = tuple(LeasedAddress(f"2001:db8::{at}", life, FOREVER) for at, life in enumerate(preferred, 1))
    replies = compiled(addresses=addresses)
    assert struct.unpack("!II", replies.times) == times
    assert times[0] <= times[1]
    options = [struct.unpack("!HH16sII", option) for option in replies.addresses.values()]
    assert options == [(5, 24, packed(leased.address), leased.preferred_lifetime, FOREVER) for leased in addresses]


@pytest.mark.parametrize(
    ("hostname", "domains", "name"),
    [
        ("web-0", ("example",), b"\5web-0\7example\0"),
        ("web-0.default.svc", ("example", "b.example"), b"\5web-0\7example\0"),
        ("web-0", (), b"\5web-0"),
        ("w" * 63, (f"{'x' * 63}.{'y' * 63}.{'z' * 60}",), LONG + b"\x3c" + b"z" * 60 + b"\0"),
        ("w" * 63, (f"{'x' * 63}.{'y' * 63}.{'z' * 61}",), LONG + b"\x3d" + b"z" * 61 + b"\0"),
        ("w" * 63, (f"{'x' * 63}.{'y' * 63}.{'z' * 62}",), b"\x3f" + b"w" * 63),
    ],
)
def test_the_name(hostname: str, domains: tuple[str, ...], name: bytes) -> None:
    option = compiled(hostname=hostname, domain_search=domains).options[FQDN]
    assert option == struct.pack("!HHB", 39, 1 + len(name), 4) + name
    assert len(name) <= 255


def test_the_refresh_time_is_one_that_clients_take() -> None:
    assert int.from_bytes(REPLIES.options[REFRESH_TIME][4:]) >= 600


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"nameservers": ("dns.example",)}, "'dns.example' is not an IPv6 address"),
        ({"nameservers": ("10.0.0.1",)}, "'10.0.0.1' is not an IPv6 address"),
        ({"ntp_servers": ("ntp.example",)}, "'ntp.example' is not"),
        ({"server_address": "server.example"}, "'server.example' is not"),
        ({"addresses": (LeasedAddress("pod.example", 1, 1),)}, "'pod.example' is not"),
        ({"addresses": ()}, "no IPv6 address to lease"),
        ({"addresses": (LeasedAddress(POD, 2, 1),)}, "lifetimes of 2001:db8::5 are 2 and 1"),
        ({"addresses": (LeasedAddress(POD, 0, 0),)}, "lifetimes of 2001:db8::5 are 0 and 0"),
        ({"addresses": (LeasedAddress(POD, -1, 1),)}, "lifetimes of 2001:db8::5 are -1 and 1"),
        ({"addresses": (LeasedAddress(POD, 1, FOREVER + 1),)}, "lifetimes of 2001:db8::5 are 1 and 4294967296"),
        ({"domain_search": ("x" * 64,)}, "'x+' is not a name of the DNS"),
        ({"domain_search": ("a..b",)}, "'a..b' is not a name"),
        ({"domain_search": ("\u00e4.example",)}, "is not a name"),
    ],
)
def test_what_cannot_be_carried_is_refused_by_name(changed: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        compiled(hostname="", **changed)


def test_a_scapy_that_writes_something_else_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def writes(option: bytes) -> object:
        return lambda **_fields: option

    names = vars(SCAPY)
    for name, option, words in (
        ("DHCP6OptPref", b"\0\x08\0\1\xff", "did not write option 7"),
        ("DHCP6OptRapidCommit", b"\0\x0e\0\1", "did not write option 14"),
        ("DHCP6OptDNSDomains", b"\0\x18\0\2\xc0\0", "did not write option 24"),
        ("DHCP6OptClientFQDN", b"\0\x27\0\1\4", "did not write option 39"),
        ("UDP", b"", "a head of 54 octets instead of 62"),
    ):
        other = SimpleNamespace(**{**names, name: writes(option)})
        monkeypatch.setattr(compiler, "ipv6_layers", lambda other=other: other)
        with pytest.raises(ValueError, match=words):
            compiled()


def test_a_pod_with_many_addresses_is_told_of_all() -> None:
    addresses = tuple(LeasedAddress(f"2001:db8::{number:x}", FOREVER, FOREVER) for number in range(1, 41))
    event, reply = outcome(frame(solicit()), compiled(addresses=addresses))
    assert event == "advertise"
    dissect(reply)
    assert all(packed(leased.address) in reply for leased in addresses)
