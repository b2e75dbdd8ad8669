"""Which name servers are the pod's: of which file, and what stands behind a stub on the loopback."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from vmnet.model.settings import Settings, Told
from vmnet.settings import resolver
from vmnet.settings.config import Config

if TYPE_CHECKING:
    from pathlib import Path

SYSTEMD, NETWORK_MANAGER, DNSMASQ = "systemd", "nm", "dnsmasq"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An /etc and a /run of the test's own."""
    files = {name: str(tmp_path / name) for name in (SYSTEMD, NETWORK_MANAGER, DNSMASQ)}
    monkeypatch.setattr(resolver, "_SYSTEMD", (files[SYSTEMD],))
    monkeypatch.setattr(resolver, "_OTHERS", (files[NETWORK_MANAGER], files[DNSMASQ], files[SYSTEMD]))
    monkeypatch.setattr(resolver, "_OF_NETNS", str(tmp_path / "netns"))
    monkeypatch.setattr(resolver, "DEFAULT_RESOLV_CONF", str(tmp_path / "resolv.conf"))
    monkeypatch.setattr("vmnet.settings.config.DEFAULT_RESOLV_CONF", str(tmp_path / "resolv.conf"))
    return tmp_path


def write(root: Path, **files: str) -> None:
    """Write files of these names, one server or text each."""
    for name, text in files.items():
        (root / name.replace("resolv_conf", "resolv.conf")).write_text(text, encoding="ascii")


@pytest.mark.parametrize(
    ("stub", "behind"),
    [
        ("127.0.0.53", SYSTEMD),
        ("127.0.0.54", SYSTEMD),
        ("127.0.0.1", NETWORK_MANAGER),
        ("127.0.1.1", NETWORK_MANAGER),
        ("::1", NETWORK_MANAGER),
        ("127.0.0.1", DNSMASQ),
        ("127.0.0.1", SYSTEMD),
    ],
)
def test_the_servers_behind_a_stub_are_taken_and_that_is_said_once(root: Path, stub: str, behind: str) -> None:
    write(root, resolv_conf=f"nameserver {stub}\nsearch here.example\noptions edns0\n")
    write(root, **{behind: "# by hand\nnameserver 192.0.2.53\nnameserver 2001:db8::53\nsearch there.example\n"})
    found = resolver.resolver(Config())
    assert found.nameservers == ("192.0.2.53", "2001:db8::53")
    assert found.search == ("here.example",)
    [said] = found.warnings
    assert stub in said
    assert str(root / behind) in said


def test_both_stubs_of_systemd_are_one_sentence(root: Path) -> None:
    write(
        root,
        resolv_conf="nameserver 127.0.0.53\nnameserver 127.0.0.54\n",
        systemd="nameserver 192.0.2.53\nsearch x\n",
    )
    found = resolver.resolver(Config())
    assert (found.nameservers, found.search, len(found.warnings)) == (("192.0.2.53",), ("x",), 1)


@pytest.mark.parametrize(
    "text",
    [
        "nameserver 127.0.0.53\nnameserver 192.0.2.1\n",  # a server that the guest can ask is there
        "nameserver 192.0.2.1\n",
        "nameserver 127.0.0.11\n",  # Docker's, behind which systemd's servers do not stand
        "search x\n",
        "",
    ],
)
def test_what_is_no_stub_alone_is_left_as_it_is(root: Path, text: str) -> None:
    write(root, resolv_conf=text, systemd="nameserver 192.0.2.53\n", nm="nameserver 192.0.2.54\n")
    assert resolver.resolver(Config()).nameservers == (("192.0.2.1",) if "192" in text else ())


@pytest.mark.parametrize("behind", ["", "nameserver 127.0.0.1\n", "\0\0", "nameserver here\n"])
def test_a_stub_with_nothing_behind_it_is_what_it_was(root: Path, behind: str) -> None:
    write(root, resolv_conf="nameserver 127.0.0.53\n")
    if behind:
        write(root, systemd=behind)
    found = resolver.resolver(Config())
    assert found.nameservers == ()
    assert "the pod's own loopback" in found.warnings[0]


def test_no_file_is_a_warning(root: Path) -> None:
    assert "there is no resolv.conf" in resolver.resolver(Config(state_dir=str(root))).warnings[0]


@pytest.mark.parametrize("netns", ["blue", "/run/netns/blue", "/var/run/netns/blue"])
def test_a_named_namespace_has_its_own_files(root: Path, netns: str) -> None:
    own = root / "netns" / "blue"
    own.mkdir(parents=True)
    write(root, resolv_conf="nameserver 192.0.2.1\n")
    write(own, resolv_conf="nameserver 192.0.2.2\n", hostname="blue.example\n")
    config = Config(netns=netns)
    assert resolver.resolver(config).nameservers == ("192.0.2.2",)
    assert resolver.hostname(config) == "blue.example"
    assert resolver.borrowed(config) == ""
    assert resolver.resolver(Config(netns=netns, resolv_conf=str(root / "resolv.conf"))).nameservers == (
        "192.0.2.1",
    )
    inside = resolver.within(config)
    assert (inside.netns, inside.default_hostname) == ("", "blue.example")
    assert resolver.resolver(inside).nameservers == ("192.0.2.2",)


@pytest.mark.parametrize("netns", ["blue", "/proc/1/ns/net", "/run/netns/../x", "..", "."])
def test_what_a_namespace_has_not_itself_is_said(root: Path, netns: str) -> None:
    write(root, resolv_conf="nameserver 192.0.2.1\n")
    config = Config(netns=netns)
    assert resolver.resolver(config).nameservers == ("192.0.2.1",)
    assert "--dns" in resolver.borrowed(config)
    assert "--hostname" in resolver.borrowed(config)
    named = Settings(hostname="vm", told=Told(nameservers=("192.0.2.9",)))
    assert resolver.borrowed(Config(netns=netns, settings=named)) == ""
    assert resolver.borrowed(Config()) == ""


def test_within_without_a_namespace_changes_nothing(root: Path) -> None:
    config = Config(default_hostname="pod", state_dir=str(root))
    assert resolver.within(config) == config
