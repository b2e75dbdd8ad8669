"""Which of libvirtd's lines are those of every start in a container, as libvirt 9.0 writes them."""

from __future__ import annotations

import pytest

from vmnet.doors.libvirt.connection import missing_capabilities
from vmnet.doors.libvirt.daemon import is_harmless

AT = b"2026-11-30 22:44:05.305+0000: 26: "
OF_EVERY_START = (
    b"info : libvirt version: 9.0.0, package: 9.0.0-4+deb12u2 (Debian)",
    b"info : hostname: vm-1",
    b"error : dnsmasqCapsNewFromBinary:673 : Unable to find 'dnsmasq' binary in $PATH: No such file or directory",
    b"error : virGDBusGetSystemBus:99 : internal error: Unable to get system bus connection: Could not connect",
    b"warning : networkStateInitialize:658 : DBus not available, disabling firewalld support",
    b"error : udevGetDMIData:1936 : internal error: Failed to get udev device for syspath",
    b"error : virCommandWait:2725 : internal error: Child process (/usr/sbin/dmidecode -q -t 0,1,2) unexpected",
    b'warning : virSecurityManagerNew:194 : Configured security driver "none" disables default policy to create '
    b"confined guests",
    b"error : virHostCPUGetCPUID:1422 : Unable to open /dev/kvm: No such file or directory",
    b"error : virExec:657 : Cannot find 'tc' in path: No such file or directory",
    b"warning : virGetHostnameImpl:462 : getaddrinfo failed for 'vm-1': Temporary failure in name resolution",
    b"error : virCgroupDetectControllers:451 : At least one cgroup controller is required: No such device",
)
TOLD = (
    b"error : qemuMonitorIO:600 : internal error: End of file from qemu monitor",
    b"error : virPidFileAcquirePath:473 : Failed to acquire pid file '/run/libvirtd.pid'",
    b"error : virExec:657 : Cannot find 'qemu-img' in path",
    b"libvirtd: error while loading shared libraries",
)


@pytest.fixture(autouse=True)
def no_debugging(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VMNET_DEBUG", raising=False)


@pytest.mark.parametrize("line", OF_EVERY_START)
def test_lines_of_every_start_are_left_out_but_for_debugging(line: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_harmless(AT + line)
    monkeypatch.setenv("VMNET_DEBUG", "1")
    assert not is_harmless(AT + line)


@pytest.mark.parametrize("line", TOLD)
def test_all_else_is_told(line: bytes) -> None:
    assert not is_harmless(AT + line)
    assert not is_harmless(line)


@pytest.mark.parametrize(
    ("held", "missing"),
    [
        ((1 << 41) - 1, ()),
        (0x1CB & ~(1 << 6), ("SETGID",)),
        (0x1CB & ~(1 << 8), ("SETPCAP",)),
        (0x1CB & ~(1 << 1) & ~(1 << 7), ("DAC_OVERRIDE", "SETUID")),
        (0x3000, ("CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID", "SETPCAP")),
    ],
)
def test_what_libvirtd_lacks_is_named(held: int, missing: tuple[str, ...]) -> None:
    assert missing_capabilities(held) == missing
