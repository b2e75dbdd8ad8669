"""parse() and answer() of both families under a coverage-guided fuzzer.

Run as `python -m tests.fuzz SECONDS CORPUS [RUNS]`; 0 seconds are as many as it takes.

The first octet of an input is the status that the kernel gives the frame, the rest is the frame. An input that
raises, or that is answered with a malformed reply, ends the run with its traceback and is kept in the corpus
directory as `crash-…`; the next run begins with it. What leads to new paths is kept there too.
"""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["vmnet.server.dhcp.request", "vmnet.server.dhcp.answer", "vmnet.ipv6"]):
    from vmnet.server.dhcp import answer, request
    from vmnet.server.ipv6 import answer as answer6
    from vmnet.server.ipv6 import message, packet

from tests.testlib.dhcp.frames import REPLIES, VM_MAC, checksum_of, options_of
from tests.testlib.ipv6 import messages as dhcpv6
from tests.unit.server.dhcp.test_mutations import REASONS, SEEDS
from tests.unit.server.ipv6 import test_mutations as mutations6
from vmnet.server.auxdata import TP_STATUS_CSUMNOTREADY

LONGEST = 2048
"""Octets. What is longer is not read by the server."""
LEAST_DATAGRAM = 576
"""What every client takes, whatever it says (RFC 2131 §2)."""
ETHERTYPE = slice(12, 14)
ETH_P_IPV6 = b"\x86\xdd"


def once(data: bytes) -> None:
    """Read a frame, and answer it if it is a request."""
    status, frame = data[0] if data else 0, data[1:]
    if frame[ETHERTYPE] == ETH_P_IPV6:
        once_ipv6(frame, status)
        return
    got = request.parse(frame, VM_MAC, status)
    if isinstance(got, str):
        assert got in REASONS
        return
    reply = answer.answer(got, REPLIES).frame
    if reply is not None:
        must_be_whole(reply, got)


def once_ipv6(frame: bytes, status: int) -> None:
    """The same of a frame of IPv6."""
    got = packet.parse(frame, status)
    asked = message.parse(got) if isinstance(got, packet.Packet) else got
    if isinstance(asked, str):
        assert asked in mutations6.REASONS
        return
    reply = answer6.answer(asked, dhcpv6.REPLIES).frame
    if reply is not None:
        options = dhcpv6.proven(reply)
        assert (reply[:6], reply[38:54], reply[63:66]) == (VM_MAC, asked.source, asked.xid.to_bytes(3))
        assert len(reply) - 14 <= dhcpv6.REPLIES.mtu
        assert (2, dhcpv6.SERVER_DUID) in options


def must_be_whole(reply: bytes, asked: request.Request) -> None:
    """Lengths, sums and options are right, it is the VM's, and no longer than the VM can take."""
    total, udp = len(reply) - 14, reply[34:]
    assert reply[16:18] == struct.pack("!H", total)
    assert reply[38:40] == struct.pack("!H", len(udp))
    assert checksum_of(reply[14:34]) == 0
    assert checksum_of(reply[26:34] + struct.pack("!HH", 17, len(udp)) + udp) == 0
    assert (reply[46:50], reply[70:76]) == (struct.pack("!I", asked.xid), VM_MAC)
    assert total <= max(LEAST_DATAGRAM, min(asked.max_size, REPLIES.mtu))
    assert {53, 54} <= options_of(reply).keys()


def main() -> None:
    """Fuzz, from the seeds and what earlier runs found on; never returns."""
    seconds, corpus, *runs = int(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:]
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate((*SEEDS, *mutations6.SEEDS)):
        (corpus / f"seed-{number}").write_bytes(bytes((TP_STATUS_CSUMNOTREADY,)) + seed)
    flags = (
        f"-max_total_time={seconds}",
        f"-max_len={1 + LONGEST}",
        *(f"-runs={number}" for number in runs),
        f"-artifact_prefix={corpus}/",
        "-rss_limit_mb=512",
    )
    atheris.Setup([sys.argv[0], *flags, str(corpus)], once)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
