"""The VM as its DHCPv6 server sees it: exchanges one after the other, beside those of `raw_client`."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from testbed.netns import TestbedError
from testbed.patience import PATIENCE, attempts
from testbed.tap_guest import RawTap
from tests.netns.raw_client import ASKS_AGAIN
from tests.testlib.ipv6.messages import (
    CLIENT_DUID,
    CLIENT_ID,
    ELAPSED,
    SERVER_ID,
    dhcpv6,
    frame,
    ia_na,
    option,
    walk,
)

if TYPE_CHECKING:
    from collections.abc import Callable

SOLICIT, ADVERTISE, REQUEST, REPLY = 1, 2, 3, 7
KIND_AND_XID, OPTIONS = slice(62, 66), 66
ROUTER_ADVERTISEMENT_TO_ALL = bytes.fromhex("ff020000000000000000000000000001") + b"\x86"
"""IPv6's destination, and ICMPv6's type behind it."""


@dataclass(frozen=True, slots=True)
class ListeningTap(RawTap):
    """A tap of which it is known when routers were advertised to all."""

    advertised: list[float] = field(default_factory=list)

    def receive(self, wanted: Callable[[bytes], bool], timeout: float = PATIENCE) -> bytes:
        """Give the first frame to the guest that is wanted."""

        def heard(data: bytes) -> bool:
            if data[38:55] == ROUTER_ADVERTISEMENT_TO_ALL:
                self.advertised.append(time.monotonic())
            return wanted(data)

        return RawTap.receive(self, heard, timeout)

    def take(self, seconds: float) -> None:
        """Take whatever comes for so long."""
        with suppress(TestbedError):
            self.receive(lambda _data: False, seconds)


@dataclass(slots=True)
class RawClient6:
    """The VM's DHCPv6 client."""

    tap: RawTap
    mac: bytes
    xid: int = 0x010000
    resent: int = 0

    def solicit(self) -> bytes:
        """A SOLICIT."""
        return self._message(SOLICIT)

    def exchange(self) -> float:
        """Lease once: SOLICIT, ADVERTISE, REQUEST, REPLY. Gives the seconds it took, a figure; or fails."""
        self.xid += 1
        began = time.monotonic()
        advertised = dict(walk(self._ask(self.solicit(), ADVERTISE)[OPTIONS:]))
        self._ask(self._message(REQUEST, option(SERVER_ID, advertised[SERVER_ID])), REPLY)
        return time.monotonic() - began

    def _message(self, kind: int, *options: bytes) -> bytes:
        own = option(CLIENT_ID, CLIENT_DUID), ia_na(7), option(ELAPSED, b"\0\0")
        return frame(dhcpv6(kind, *own, *options, xid=self.xid), source_mac=self.mac)

    def _ask(self, question: bytes, kind: int) -> bytes:
        """Send until the reply of this kind comes."""
        wanted = bytes((kind,)) + self.xid.to_bytes(3)
        for _ in attempts(f"a message of type {kind}"):
            self.tap.send(question)
            with suppress(TestbedError):
                return self.tap.receive(lambda data: data[KIND_AND_XID] == wanted, ASKS_AGAIN)
            self.resent += 1
        raise AssertionError
