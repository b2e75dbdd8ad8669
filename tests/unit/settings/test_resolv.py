"""resolv.conf: the vectors of RFC 1035, RFC 3397 and of glibc."""

from __future__ import annotations

import pytest

from tests.testlib.dhcp.frames import NO_ADDRESS
from vmnet.settings.resolv import loopbacks, parse

LABEL, LONG_LABEL = "a" * 63, "a" * 64
NAME, LONG_NAME = ".".join(("a" * 62,) * 4 + ("b",)), ".".join(("a" * 62,) * 4 + ("bc",))


@pytest.mark.parametrize(
    ("text", "nameservers"),
    [
        ("nameserver 10.96.0.10", ("10.96.0.10",)),
        ("nameserver 10.96.0.10 # c", ("10.96.0.10",)),
        ("nameserver 10.96.0.10#c", ("10.96.0.10",)),
        ("nameserver 10.96.0.10;c", ("10.96.0.10",)),
        ("nameserver\t10.96.0.10\r", ("10.96.0.10",)),
        ("  \t nameserver  10.96.0.10  ", ("10.96.0.10",)),
        ("nameserver 10.0.0.2\nnameserver 10.0.0.1\nnameserver 10.0.0.2", ("10.0.0.2", "10.0.0.1")),
        ("nameserver fd00:0::10\nnameserver 10.0.0.1", ("fd00::10", "10.0.0.1")),
        ("nameserver fe80::1%eth0", ("fe80::1",)),
        ("nameserver ::ffff:10.0.0.1", ("10.0.0.1",)),
        ("# nameserver 10.0.0.1\n; nameserver 10.0.0.2\n#nameserver 10.0.0.3", ()),
        ("nameservers 10.0.0.1\noptions ndots:5\nsortlist 10.0.0.1", ()),
        ("", ()),
    ],
)
def test_nameservers(text: str, nameservers: tuple[str, ...]) -> None:
    resolver = parse(text)
    assert resolver.nameservers == nameservers
    assert not resolver.warnings + resolver.search_warnings


@pytest.mark.parametrize(
    "line",
    ["nameserver mynameserver", "nameserver", "nameserver # 10.0.0.1", "nameserver 10.0.0", "nameserver 1\0"],
)
def test_a_nameserver_that_is_no_address_is_skipped_with_a_warning(line: str) -> None:
    resolver = parse(f"{line}\nnameserver 10.0.0.1")
    assert resolver.nameservers == ("10.0.0.1",)
    assert len(resolver.warnings) == 1
    assert "not an address" in resolver.warnings[0]


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "127.0.0.53", "127.255.255.255", NO_ADDRESS, "::1", "::", "::ffff:127.0.0.1"]
)
def test_a_loopback_resolver_is_left_out_and_the_consequence_named(address: str) -> None:
    resolver = parse(f"nameserver {address}")
    assert resolver.nameservers == ()
    assert "resolves no names" in resolver.warnings[0]


@pytest.mark.parametrize(
    ("text", "search"),
    [
        ("search foo.com foo.local", ("foo.com", "foo.local")),
        ("search\tfoo.com\tfoo.local", ("foo.com", "foo.local")),
        ("search a.com\nsearch b.com c.com", ("b.com", "c.com")),
        ("search a.com\ndomain b.com", ("b.com",)),
        ("domain b.com\nsearch a.com", ("a.com",)),
        ("domain a.com b.com", ("a.com",)),
        ("search a.com\nsearch", ()),
        ("search a.com # b.com", ("a.com",)),
        ("search a.com ;b.com", ("a.com",)),
        ("search a.b. LOCAL", ("a.b", "local")),
        ("search a.com A.com a.com.", ("a.com",)),
        ("search _x.local foo_bar.local xn--p1ai", ("_x.local", "foo_bar.local", "xn--p1ai")),
        (f"search {LABEL}.com {NAME}", (f"{LABEL}.com", NAME)),
        ("search .", ()),  # the root: "look names up as they are"
        ("search . b.com .", ("b.com",)),
        ("domain .", ()),
    ],
)
def test_search_domains(text: str, search: tuple[str, ...]) -> None:
    resolver = parse(text)
    assert resolver.search == search
    assert not resolver.warnings + resolver.search_warnings


@pytest.mark.parametrize(
    "domain",
    [
        *(
            "-foo.com",
            "foo.com-",
            "foo-.com",
            "foo,com",
            "a..b",
            "..",
            "10.0.0.1",
            "fd00::1",
            "fü.de",
            "a\0b",
        ),
        *(f"{LONG_LABEL}.com", LONG_NAME),
    ],
)
def test_an_invalid_search_domain_is_skipped_with_a_warning(domain: str) -> None:
    resolver = parse(f"search good.com {domain} fine.com")
    assert resolver.search == ("good.com", "fine.com")
    assert len(resolver.search_warnings) == 1
    assert repr(domain) in resolver.search_warnings[0]


def test_the_longest_names() -> None:
    assert len(NAME) == 253
    assert len(LONG_NAME) == 254


def test_loopbacks_are_told_apart_from_servers() -> None:
    text = "\n".join(f"nameserver {word}" for word in ("127.0.0.53", "::1 # x", "10.0.0.1", "", "x", "127.0.0.53"))
    assert loopbacks(text) == ("127.0.0.53", "::1")
