"""The server's frames as they are read, shown and written."""

from __future__ import annotations

import json
import struct

import pytest

from vmnet.control.report import Frame
from vmnet.diagnosis import frames, pcap
from vmnet.diagnosis.frames import Scene

VM, SERVER = "02:00:00:00:00:05", "02:76:6d:6e:65:74"
SCENE = Scene(VM, 1_700_000_000_000_000_000)


def to(mac: str) -> Frame:
    return Frame(1, 1.0, "guest", "offer", 20, bytes.fromhex(mac.replace(":", "")) + bytes(14))


@pytest.mark.parametrize(
    ("mac", "who"),
    [
        (VM, "guest"),
        (SERVER, "server"),
        ("ff:ff:ff:ff:ff:ff", "all"),
        ("33:33:00:00:00:01", "all"),
        ("02:00:00:00:00:99", "02:00:00:00:00:99"),
    ],
)
def test_whom_it_was_sent_to(mac: str, who: str) -> None:
    assert SCENE.recipient(to(mac)) == who


def test_a_line_has_when_who_what_and_the_word() -> None:
    line = frames.line(to(VM), SCENE)
    assert line.partition("  ")[0].endswith(":21.000")
    assert line.endswith("[offer]")
    assert "guest → guest" in line


def test_nothing_of_a_guest_reaches_the_terminal_as_it_is() -> None:
    """ESC, a line feed, and the character that turns the line round."""
    message = bytes.fromhex("ff" * 6 + "020000000005" + "0800") + _hostile_dhcp(b"\x1b[31mred\n\xe2\x80\xae")
    frame = Frame(1, 1.0, "guest", "of\x1b[2Jfer", len(message), message)
    line = frames.line(frame, SCENE)
    assert "host name \\x1b[31mred\\n\\u202e" in line
    assert line.isprintable()


def _hostile_dhcp(name: bytes) -> bytes:
    options = b"\x63\x82\x53\x63\x35\x01\x01" + bytes((12, len(name))) + name + b"\xff"
    bootp = b"\x01\x01\x06\x00" + bytes(232) + options
    udp = struct.pack("!HHHH", 68, 67, 8 + len(bootp), 0) + bootp
    return b"\x45\x00" + struct.pack("!H", 20 + len(udp)) + bytes(5) + b"\x11" + bytes(10) + udp


def test_json_has_all_of_it() -> None:
    value = json.loads(json.dumps(frames.value(to(VM), SCENE)))
    assert value["time"] == "2023-11-14T22:13:21+00:00"
    assert (value["sender"], value["to"], value["length"]) == ("guest", "guest", 20)
    assert bytes.fromhex(value["frame"]) == to(VM).data


def test_a_capture_keeps_the_length_that_the_frame_had() -> None:
    magic, *_, snaplen, link = struct.unpack("<IHHiIII", pcap.header())
    assert (magic, snaplen, link) == (0xA1B23C4D, 600, 1)
    record = pcap.record(1_700_000_000_123_456_789, 900, b"x" * 600)
    assert struct.unpack("<IIII", record[:16]) == (1_700_000_000, 123_456_789, 600, 900)
    assert record[16:] == b"x" * 600
