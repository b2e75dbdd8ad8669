"""What a user may set, checked."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from vmnet.errors import UsageError
from vmnet.settings import config

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("text", ["52:54:00:12:34:56", "52:54:00:AB:CD:EF", "02:00:00:00:00:01"])
def test_unicast_macs_pass_in_lower_case(text: str) -> None:
    assert config.mac_address(text) == text.lower()


@pytest.mark.parametrize(
    "text",
    ["", "52:54:00:12:34", "52:54:00:12:34:56:78", "525400123456", "52-54-00-12-34-56", "5g:54:00:12:34:56",
     "01:00:5e:00:00:01", "ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00", "52:54:0:12:34:56", "+2:54:00:12:34:56"],
)  # fmt: skip
def test_what_is_no_mac_of_a_vm(text: str) -> None:
    with pytest.raises(UsageError, match="MAC"):
        config.mac_address(text)


@pytest.mark.parametrize(("text", "mtu"), [("68", 68), ("1500", 1500), ("65535", 65535)])
def test_mtus_that_dhcp_can_carry(text: str, mtu: int) -> None:
    assert config.mtu_bytes(text) == mtu


@pytest.mark.parametrize("text", ["", "0", "67", "65536", "-1", "1e3", "1500 ", "٣٠٠", "9" * 5000])
def test_mtus_that_it_cannot(text: str) -> None:
    with pytest.raises(UsageError, match="MTU"):
        config.mtu_bytes(text)


@pytest.mark.parametrize(("text", "count"), [("1", 1), ("8", 8), ("256", 256)])
def test_queues_that_a_tap_can_have(text: str, count: int) -> None:
    assert config.queue_count(text) == count


@pytest.mark.parametrize("text", ["", "0", "257", "-1", "two", "1.5", "²", "9" * 5000])
def test_queues_that_it_cannot(text: str) -> None:
    with pytest.raises(UsageError, match="queues"):
        config.queue_count(text)


@pytest.mark.parametrize(
    ("text", "seconds"), [("4", 4), ("86400", 86400), ("4294967294", 0xFFFFFFFE), ("infinite", 0xFFFFFFFF)]
)
def test_lease_times(text: str, seconds: int) -> None:
    assert config.lease_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "3", "-1", "4294967295", "1h", "1.5", "²", "9" * 5000])
def test_what_is_no_lease_time(text: str) -> None:
    with pytest.raises(UsageError, match="lease time"):
        config.lease_seconds(text)


def test_who_may_answer_dhcp() -> None:
    assert [config.dhcp_mode(mode) for mode in ("on", "off", "external")] == ["on", "off", "external"]
    with pytest.raises(UsageError, match="dhcp 'yes' is none of on, off, external"):
        config.dhcp_mode("yes")


@pytest.mark.parametrize(("text", "ids"), [("107", (107, None)), ("107:108", (107, 108)), ("0:0", (0, 0))])
def test_owners(text: str, ids: tuple[int, int | None]) -> None:
    assert config.owner_ids(text) == ids


@pytest.mark.parametrize("text", ["", ":", "qemu", "107:", ":108", "1:2:3", "-1", "4294967295", "99999999999"])
def test_what_is_no_owner(text: str) -> None:
    with pytest.raises(UsageError, match="owner"):
        config.owner_ids(text)


@pytest.mark.parametrize(("text", "ids"), [("107", (107, 65534)), ("107:108", (107, 108))])
def test_whom_the_server_can_be(text: str, ids: tuple[int, int]) -> None:
    assert config.server_ids(text) == ids


@pytest.mark.parametrize("text", ["", "nobody", "0", "0:108", "107:0", "1:2:3", "4294967295"])
def test_whom_it_cannot(text: str) -> None:
    with pytest.raises(UsageError, match="server user"):
        config.server_ids(text)


def test_a_switch_is_on_or_off() -> None:
    assert [config.switch(text, "sandbox") for text in ("on", "off")] == [True, False]
    for text in ("", "On", "no", "0", "true"):
        with pytest.raises(UsageError, match="sandbox"):
            config.switch(text, "sandbox")


@pytest.mark.parametrize("text", ["vm", "vm-1.example.com", "a" * 63, "1"])
def test_host_names(text: str) -> None:
    assert config.host_name(text) == text


@pytest.mark.parametrize(
    "text", ["", "-vm", "vm-", "a" * 64, "a..b", "vm\n", "v m", "vm_1", ".", "é", "a." * 127 + "a"]
)
def test_what_is_no_host_name(text: str) -> None:
    with pytest.raises(UsageError, match="host name"):
        config.host_name(text)


def test_link_names_are_checked_and_the_option_named() -> None:
    assert config.link_name("eth0", "interface") == "eth0"
    with pytest.raises(UsageError, match=r"tap '\$\(id\)' is no link name"):
        config.link_name("$(id)", "tap")


def test_state_directories_become_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert config.state_directory("state") == str(tmp_path / "state")
    for text in ("", "a\0b"):
        with pytest.raises(UsageError, match="is not a path"):
            config.state_directory(text)


def test_the_default_resolver_file_may_be_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(config, "DEFAULT_RESOLV_CONF", str(tmp_path / "none"))
    assert config.resolver_text("") is None


def test_a_named_resolver_file_must_be_there_and_be_a_small_file(tmp_path: Path) -> None:
    good, large = tmp_path / "resolv.conf", tmp_path / "large"
    good.write_bytes(b"nameserver 10.96.0.10 \xff\n")
    large.write_bytes(b"#" * (64 * 1024 + 1))
    assert config.resolver_text(str(good)) == "nameserver 10.96.0.10 �\n"
    for path, says in ((tmp_path / "none", "no such file"), (tmp_path, "directory"), (large, "larger than")):
        with pytest.raises(UsageError, match=says):
            config.resolver_text(str(path))
    with pytest.raises(UsageError, match="resolver file"):
        config.resolver_text("a\0b")


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/tty", "socket"])
def test_what_is_neither_a_file_nor_a_pipe_is_not_opened(
    device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To open and close the node's watchdog resets the node; a domain's author may name it to the hook."""
    os.mknod(tmp_path / "socket", stat.S_IFSOCK)
    opened: list[int] = []
    really = os.open

    def note(path: str, flags: int, *rest: int, **more: int) -> int:
        opened.append(flags)
        return really(path, flags, *rest, **more)

    monkeypatch.setattr(os, "open", note)
    with pytest.raises(UsageError, match=r"resolver file .*: it is neither a file nor a pipe; name one"):
        config.resolver_text(str(tmp_path / device))
    assert all(flags & os.O_PATH for flags in opened)


def test_a_pipe_is_read() -> None:
    """`--config /dev/stdin`, and what a shell makes of <(…)."""
    read_end, write_end = os.pipe()
    os.write(write_end, b"interfaces: {}\n")
    os.close(write_end)
    assert config.small_file(f"/dev/fd/{read_end}", "configuration file") == "interfaces: {}\n"
    assert config.small_file("/dev/null", "resolver file") == ""
    os.close(read_end)
