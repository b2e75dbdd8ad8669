"""What scapy writes: every option's bytes, and the heads."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.testlib.dhcp.frames import LEASE, NO_ADDRESS, REPLIES, SCAPY, VM_MAC
from vmnet.compile import dhcp as compiler
from vmnet.compile.scapy_layers import SERVER_MAC
from vmnet.model.lease import ArpEntry, ClasslessRoute, Lease
from vmnet.model.links import FOREVER
from vmnet.model.settings import Boot, RawOption
from vmnet.server.dhcp.replies import ACK, HEAD, INFORM_ACK, NAK, OFFER


def options(kind: int = OFFER, **changed: object) -> dict[int, bytes]:
    """The options of a reply, for the lease with these changes."""
    return compiler.compile_replies(replace(LEASE, **changed)).templates[kind].options  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("code", "tlv"),
    [
        (1, b"\1\4\xff\xff\xff\0"),
        (3, b"\3\4\x0a\0\0\1"),
        (6, b"\6\4\x0a\x60\0\x0a"),
        (12, b"\x0c\5web-0"),
        (15, b"\x0f\x19default.svc.cluster.local"),
        (26, b"\x1a\2\x05\xaa"),
        (28, b"\x1c\4\x0a\0\0\xff"),
        (51, b"\x33\4\0\1\x51\x80"),
        (53, b"\x35\1\2"),
        (54, b"\x36\4\xa9\xfe\x4b\x0a"),
        (58, b"\x3a\4\0\0\xa8\xc0"),
        (59, b"\x3b\4\0\1\x27\x50"),
        (119, b"\x77\x1d\7default\3svc\7cluster\5local\0\xc0\x08"),
        (121, b"\x79\x0c\x10\x0a\xf4\x0a\0\0\2\0\x0a\0\0\1"),
        (249, b"\xf9\x0c\x10\x0a\xf4\x0a\0\0\2\0\x0a\0\0\1"),
    ],
)
def test_option(code: int, tlv: bytes) -> None:
    assert options()[code] == tlv


def test_the_kinds_have_what_table_3_allows() -> None:
    offer, ack, inform, nak = (REPLIES.templates[kind].options for kind in (OFFER, ACK, INFORM_ACK, NAK))
    assert list(offer) == [53, 54, 51, 1, 3, 6, 12, 15, 26, 28, 58, 59, 119, 121, 249]
    assert list(ack) == [53, 54, 51, 80, *list(offer)[3:]]
    assert list(inform) == [53, 54, 1, 3, 6, 12, 15, 26, 28, 119, 121, 249]
    assert list(nak) == [53, 54, 56]
    assert [kind[53][2] for kind in (offer, ack, inform, nak)] == [2, 5, 5, 6]


@pytest.mark.parametrize(
    ("kind", "destination", "yiaddr"),
    [
        (OFFER, "02:00:00:00:00:01", "10.0.0.5"),
        (ACK, "02:00:00:00:00:01", "10.0.0.5"),
        (INFORM_ACK, "02:00:00:00:00:01", NO_ADDRESS),
        (NAK, "ff:ff:ff:ff:ff:ff", NO_ADDRESS),
    ],
)
def test_heads(kind: int, destination: str, yiaddr: str) -> None:
    head = REPLIES.templates[kind].head
    assert len(head) == HEAD
    packet = SCAPY.Ether(head)
    assert (packet.dst, packet.src) == (destination, "02:76:6d:6e:65:74")
    assert (packet[SCAPY.IP].src, packet[SCAPY.IP].ttl, packet[SCAPY.IP].frag) == ("169.254.75.10", 64, 0)
    assert (packet[SCAPY.UDP].sport, packet[SCAPY.UDP].dport) == (67, 68)
    bootp = packet[SCAPY.BOOTP]
    assert (bootp.op, bootp.htype, bootp.hlen, bootp.hops, bootp.secs) == (2, 1, 6, 0, 0)
    assert (bootp.yiaddr, bootp.siaddr, bootp.ciaddr, bootp.giaddr) == (yiaddr, NO_ADDRESS, NO_ADDRESS, NO_ADDRESS)
    assert bootp.chaddr == VM_MAC + bytes(10)
    assert not (bootp.sname + bootp.file).strip(b"\0")


@pytest.mark.parametrize(
    ("changed", "code", "tlv"),
    [
        ({"ntp_servers": ("10.0.0.1", "10.0.0.2")}, 42, b"\x2a\x08\x0a\0\0\1\x0a\0\0\2"),
        ({"boot": Boot(vendor_class="PXEClient")}, 60, b"\x3c\x09PXEClient"),
        ({"boot": Boot(server="10.0.0.9")}, 66, b"\x42\x0810.0.0.9"),
        ({"boot": Boot(file="ipxe.efi")}, 67, b"\x43\x08ipxe.efi"),
        ({"ipv6_only_wait": 1800}, 108, b"\x6c\4\0\0\7\x08"),
        ({"options": (RawOption(43, "0601ff"),)}, 43, b"\x2b\3\6\1\xff"),
        ({"options": (RawOption(114, b"https://portal".hex()),)}, 114, b"\x72\x0ehttps://portal"),
        ({"options": (RawOption(116, "00"),)}, 116, b"\x74\1\0"),
        ({"options": (RawOption(252, "ab" * 256),)}, 252, b"\xfc\xff" + b"\xab" * 255 + b"\xfc\1\xab"),
    ],
)
def test_what_is_configured_beyond_the_pod(changed: dict[str, Any], code: int, tlv: bytes) -> None:
    for kind in (OFFER, ACK, INFORM_ACK):
        written = options(kind, **changed)
        assert written[code] == tlv
        rest = [other for other in written if other not in (53, 54, 51, 80)]
        assert rest == sorted(rest)
    assert code not in options(NAK, **changed)


@pytest.mark.parametrize(
    ("boot", "siaddr", "file"),
    [
        (Boot("10.0.0.9", "ipxe.efi"), "10.0.0.9", b"ipxe.efi"),
        (Boot("boot.example", "f" * 127), NO_ADDRESS, b"f" * 127),
        (Boot("10.0.0.9", "f" * 128), "10.0.0.9", b""),
    ],
)
def test_where_to_boot_from_is_also_in_the_fields(boot: Boot, siaddr: str, file: bytes) -> None:
    templates = compiler.compile_replies(replace(LEASE, boot=boot)).templates
    for kind in (OFFER, ACK, INFORM_ACK):
        bootp = SCAPY.Ether(templates[kind].head)[SCAPY.BOOTP]
        assert (bootp.siaddr, bootp.file.rstrip(b"\0")) == (siaddr, file)
        assert not bootp.sname.strip(b"\0")
    bootp = SCAPY.Ether(templates[NAK].head)[SCAPY.BOOTP]
    assert (bootp.siaddr, bootp.file.strip(b"\0")) == (NO_ADDRESS, b"")


GATEWAY = "10.0.0.1"
GW = b"\x0a\0\0\1"


@pytest.mark.parametrize(
    ("dst", "gateway", "value"),
    [
        ("10.0.0.0/8", "10.1.2.3", b"\x08\x0a\x0a\1\2\3"),
        ("192.168.1.0/24", "192.168.2.3", b"\x18\xc0\xa8\1\xc0\xa8\2\3"),
        ("10.17.0.0/16", GATEWAY, b"\x10\x0a\x11" + GW),
        ("10.229.0.128/25", GATEWAY, b"\x19\x0a\xe5\0\x80" + GW),
        ("10.198.122.47/32", GATEWAY, b"\x20\x0a\xc6\x7a\x2f" + GW),
        ("128.0.0.0/1", GATEWAY, b"\1\x80" + GW),
        ("0.0.0.0/0", GATEWAY, b"\0" + GW),
        ("224.0.0.0/4", NO_ADDRESS, b"\4\xe0\0\0\0\0"),
        ("10.0.0.77/9", GATEWAY, b"\x09\x0a\0" + GW),
    ],
)
def test_rfc_3442_vectors(dst: str, gateway: str, value: bytes) -> None:
    written = options(classless_routes=(ClasslessRoute(dst, gateway),))
    assert written[121] == bytes((121, len(value))) + value
    assert written[249] == bytes((249, len(value))) + value


def test_sixty_routes_are_split_between_two_and_lose_nothing() -> None:
    routes = tuple(ClasslessRoute(f"192.0.2.{number}/32", "10.0.0.1") for number in range(60))
    written = options(classless_routes=routes)
    assert [piece[:2] for piece in pieces(written[121])] == [b"\x79\xfc", b"\x79\xfc", b"\x79\x24"]
    value = b"".join(b"\x20\xc0\0\2" + bytes((number,)) + GW for number in range(60))
    assert b"".join(piece[2:] for piece in pieces(written[121])) == value
    assert [b"\xf9" + piece[1:] for piece in pieces(written[121])] == pieces(written[249])


def pieces(tlv: bytes) -> list[bytes]:
    """The options that the value of one was split into."""
    return [tlv[: 2 + tlv[1]], *pieces(tlv[2 + tlv[1] :])] if tlv else []


def test_long_lists_of_addresses_and_domains_are_split() -> None:
    addresses = tuple(f"10.0.0.{number}" for number in range(1, 65))
    domains = tuple(f"{'x' * 50}{number}.example" for number in range(8))
    written = options(nameservers=addresses, ntp_servers=addresses, domain_search=domains)
    assert [len(piece) - 2 for piece in pieces(written[6])] == [252, 4]
    assert [len(piece) - 2 for piece in pieces(written[42])] == [252, 4]
    assert [len(piece) - 2 for piece in pieces(written[119])] == [255, 184]


def test_what_the_pod_does_not_have_is_absent_never_empty() -> None:
    bare = Lease("02:00:00:00:00:01", "10.0.0.5", 32, "169.254.75.10")
    for template in compiler.compile_replies(bare).templates:
        assert not {3, 6, 12, 15, 26, 28, 119, 121, 249} & template.options.keys()
        assert all(tlv[1] for code, tlv in template.options.items() if code != 80)


@pytest.mark.parametrize(
    ("prefixlen", "mask"), [(0, "00000000"), (9, "ff800000"), (31, "fffffffe"), (32, "f" * 8)]
)
def test_the_mask(prefixlen: int, mask: str) -> None:
    assert options(prefixlen=prefixlen)[1].hex() == f"0104{mask}"


def test_a_lease_without_end_has_no_t1_and_t2() -> None:
    written = options(lease_time=FOREVER)
    assert written[51] == b"\x33\4\xff\xff\xff\xff"
    assert not {58, 59} & written.keys()


def test_a_very_long_lease_does_not_overflow() -> None:
    written = options(lease_time=FOREVER - 1)
    assert [int.from_bytes(written[code][2:]) for code in (58, 59, 51)] == [0x7FFFFFFF, 0xDFFFFFFE, 0xFFFFFFFE]


@pytest.mark.parametrize(
    "changed",
    [
        {"lease_time": 0},
        {"lease_time": FOREVER + 1},
        {"hostname": "x" * 256},
        {"interface_mtu": 65536},
        {"router": "gateway"},
        {"yiaddr": "localhost"},
        {"nameservers": ("10.0.0.1", "fd00::1")},
        {"ntp_servers": ("pool.ntp.org",)},
        {"neighbours": (ArpEntry("gateway", "02:00:00:00:00:02"),)},
        {"classless_routes": (ClasslessRoute("net/8", "10.0.0.1"),)},
        {"classless_routes": (ClasslessRoute("10.0.0.0/33", "10.0.0.1"),)},
    ],
)
def test_what_an_option_cannot_carry_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"is not an IPv4|cannot carry|lease time|shift count"):
        options(**changed)


def test_a_word_that_scapy_does_not_know_is_an_error_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(compiler._NAMES, 3, "rooter")
    with pytest.raises(ValueError, match="did not write option 3"):
        options()


def test_the_server_s_mac_is_not_the_vm_s() -> None:
    replies = compiler.compile_replies(replace(LEASE, chaddr=SERVER_MAC))
    assert replies.templates[OFFER].head[6:12] != replies.vm_mac


@pytest.mark.parametrize(("mtu", "limit"), [(1450, 1450), (None, 1500), (100, 328)])
def test_the_largest_reply_is_what_the_tap_takes(mtu: int | None, limit: int) -> None:
    assert compiler.compile_replies(replace(LEASE, interface_mtu=mtu)).mtu == limit
