"""A guest that libvirt starts: the XML of its domain, and its serial console."""

from __future__ import annotations

import ctypes
import os
import re
import select
import socket
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.sax.saxutils import quoteattr

from testbed.kernel import initramfs, kernel
from testbed.netns import TestbedError
from testbed.patience import PATIENCE
from testbed.qemu import CMDLINE, MARK, MEMORY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from testbed.kernel import Kernel


@dataclass(frozen=True, slots=True)
class Console:
    """The serial console of a libvirt guest: what it says goes to a file, and it can be spoken to."""

    log: Path
    socket: Path

    @property
    def text(self) -> str:
        """All it has said since QEMU was started."""
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""

    def wait_for(self, pattern: str, timeout: float = PATIENCE) -> re.Match[str]:
        """Wait until it has said something that matches."""
        expression = re.compile(pattern, re.MULTILINE)
        deadline = time.monotonic() + timeout
        with _changes(self.log.parent) as news:
            while (found := expression.search(self.text)) is None:
                left = deadline - time.monotonic()
                if left <= 0 or not select.select([news], [], [], left)[0]:
                    tail = "\n".join(self.text.splitlines()[-25:])
                    raise TestbedError(f"{self.log}: waited {timeout} s for {pattern!r}; it said:\n{tail}")
                os.read(news, 1 << 16)
        return found

    def say(self, line: str) -> None:
        """Type a line."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as pipe:
            pipe.connect(os.fspath(self.socket))
            pipe.sendall(f"{line}\n".encode())
            pipe.shutdown(socket.SHUT_WR)
            while pipe.recv(4096):  # until QEMU has taken it
                pass

    def ping(self, address: str, size: int = 56) -> bool:
        """Let the guest ping; the last answer counts."""
        asked = self.text.count(f'{{"ping": "{address}", "size": {size},')
        self.say(f"ping {address} {size}")
        one = rf'^{MARK}{{"ping": "{re.escape(address)}", "size": {size}, "ok": (true|false)}}'
        return self.wait_for(rf"(?:{one}(?:.|\n)*?){{{asked + 1}}}")[1] == "true"


IN_MODIFY, IN_CREATE, IN_MOVED_TO = 0x2, 0x100, 0x80
"""linux/inotify.h."""


@contextmanager
def _changes(directory: Path) -> Iterator[int]:
    """Give a descriptor that becomes readable when a file of the directory changes."""
    libc = ctypes.CDLL(None, use_errno=True)
    watch = libc.inotify_init1(os.O_CLOEXEC)
    try:
        if libc.inotify_add_watch(watch, os.fsencode(directory), IN_MODIFY | IN_CREATE | IN_MOVED_TO) < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(directory))
        yield watch
    finally:
        os.close(watch)


@dataclass(frozen=True, slots=True)
class Domain:
    """A domain that boots the testbed's kernel and initramfs, under TCG. `xml` is the whole document."""

    name: str
    console: Console
    kernel: Kernel
    initramfs: Path
    cmdline: str
    interface: str
    """The `<interface>` element; `interface()` makes one."""
    metadata: str = ""
    """What stands inside `<metadata>`."""
    uuid: str = ""
    attributes: str = ""
    """More children of `<domain>`, such as a seclabel."""
    boots: bool = True
    """Else its firmware finds nothing to boot: QEMU runs, and takes no CPU."""

    @property
    def xml(self) -> str:
        """The document."""
        identity = f"<uuid>{self.uuid}</uuid>" if self.uuid else ""
        metadata = f"<metadata>{self.metadata}</metadata>" if self.metadata else ""
        kernel = f"<kernel>{self.kernel.image}</kernel><initrd>{self.initramfs}</initrd>" if self.boots else ""
        cmdline = f"<cmdline>{self.cmdline}</cmdline>" if self.boots else ""
        return f"""\
<domain type='qemu'>
  <name>{self.name}</name>{identity}{metadata}
  <memory unit='MiB'>{MEMORY}</memory>
  <vcpu>1</vcpu>
  <os>
    <type arch='x86_64' machine='q35'>hvm</type>
    {kernel}{cmdline}
  </os>
  <features><acpi/></features>
  <cpu mode='custom' match='exact'><model fallback='allow'>qemu64</model></cpu>
  <on_reboot>destroy</on_reboot>{self.attributes}
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <controller type='usb' model='none'/>
    {self.interface}
    <serial type='unix'>
      <source mode='bind' path={quoteattr(str(self.console.socket))}/>
      <log file={quoteattr(str(self.console.log))} append='off'/>
    </serial>
    <memballoon model='none'/>
  </devices>
</domain>
"""

    def write(self, path: Path) -> Path:
        """Write the document to a file, for virsh; gives the path."""
        path.write_text(self.xml, encoding="utf-8")
        return path


def interface(mac: str, tap: str = "tap0", *, extra: str = "") -> str:
    """An `<interface>` on an existing tap that libvirt leaves alone; `extra` are more children of it."""
    return (
        f"<interface type='ethernet'><mac address='{mac}'/><target dev='{tap}' managed='no'/>"
        f"<model type='virtio'/><rom enabled='no'/>{extra}</interface>"
    )


def domain(name: str, directory: Path, interface: str, *, ping: str = "") -> Domain:
    """Make the description of a domain, its initramfs and console below `directory` (a short path).

    The guest leases, pings `ping`, says its facts on the console, and obeys it: see testbed/guest.init.
    """
    found = kernel()
    cmdline = f"{CMDLINE} vmnet.ping={ping}" if ping else CMDLINE
    console = Console(directory / f"{name}.console", directory / f"{name}.sock")
    return Domain(name, console, found, initramfs(found, directory / f"{name}.initramfs"), cmdline, interface)
