"""`vmnet capture`: the last frames as lines, as JSON and as a file that Wireshark reads; and as they come.

┌ pod, after vmnet up ─────────┐
│ vmnet capture ⇢ server       ├─── the guest: DISCOVER, ARP, a hostile host name, another MAC
└──────────────────────────────┘
"""

from __future__ import annotations

import json
import re
import signal
from typing import TYPE_CHECKING

import pytest

from testbed.netns import background, kill, run
from tests.need import need
from tests.netns.guest_by_hand import OTHER_MAC, guest_by_hand
from tests.testlib.dhcp.frames import option

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from testbed.agent import Agent
    from tests.netns.guest_by_hand import GuestByHand

HOSTILE = b"vm\x1b]0;owned\x07\n\xe2\x80\xaeevil"


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuestByHand]:
    """A guest that has leased, said where it is, asked under another MAC and with a hostile name."""
    with guest_by_hand(tmp_path_factory.mktemp("capture") / "guest") as guest:
        guest.client.exchange()
        guest.arp(guest.pod.address, guest.pod.gateway, 1)
        guest.ask_as(OTHER_MAC)
        guest.tap.send(guest.client.discover(option(12, HOSTILE)))
        guest.tap.receive(lambda data: data[12:14] == b"\x08\x00")
        yield guest


def test_a_line_for_each_frame(spoken: GuestByHand) -> None:
    address, text = spoken.pod.address, spoken.agent.run("capture").stdout
    for line in (
        r"guest → all +DHCP DISCOVER xid 0x01000001  \[offer\]",
        rf"server → guest +DHCP OFFER xid 0x01000001, yiaddr {address}, server 169.254.75.10, .*  \[offer\]",
        rf"guest → all +DHCP REQUEST xid 0x01000001, wants {address}, server 169.254.75.10  \[ack_selecting\]",
        rf"server → guest +DHCP ACK xid 0x01000001, yiaddr {address}, .*  \[ack_selecting\]",
        rf"guest → all +ARP who-has {spoken.pod.gateway} tell {address}  \[witnessed\]",
        r"guest → all +the header of a frame of type 0x0800  \[foreign_source_mac\]",
    ):
        assert re.search(rf"^\d\d:\d\d:\d\d\.\d\d\d  {line}$", text, re.MULTILINE), text


def test_nothing_of_the_guest_reaches_a_terminal_as_it_is(spoken: GuestByHand) -> None:
    text = spoken.agent.run("capture").stdout
    assert all(line.isprintable() for line in text.splitlines())
    assert r"host name vm\x1b]0;owned\x07\n\u202eevil" in text


def test_json_says_the_same_and_has_the_octets(spoken: GuestByHand) -> None:
    lines = [json.loads(line) for line in spoken.agent.run("capture", "--json").stdout.splitlines()]
    assert [line["number"] for line in lines] == list(range(len(lines)))
    [arp] = [line for line in lines if line["what"].startswith("ARP")]
    assert bytes.fromhex(arp["frame"])[6:12].hex(":") == spoken.pod.mac
    assert (arp["sender"], arp["to"], arp["word"], arp["length"]) == ("guest", "all", "witnessed", 42)


def test_wireshark_reads_the_file(spoken: GuestByHand, tmp_path: Path) -> None:
    need("tshark", "tshark")
    path = tmp_path / "guest.pcap"
    kept = [json.loads(line) for line in spoken.agent.run("capture", "--json").stdout.splitlines()]
    said = json.loads(spoken.agent.run("capture", "-w", path).stderr)
    assert (said["event"], said["frames"], path.stat().st_mode & 0o777) == ("captured", len(kept), 0o600)
    fields = ("frame.len", "frame.time_epoch", "eth.src", "dhcp.option.dhcp", "arp.opcode")
    wanted = [word for name in fields for word in ("-e", name)]
    shown = run(["tshark", "-n", "-r", str(path), "-T", "fields", "-E", "separator=;", *wanted]).stdout
    rows = [line.split(";") for line in shown.splitlines()]
    assert [int(row[0]) for row in rows] == [frame["length"] for frame in kept]
    assert [row[3] for row in rows if row[3]] == ["1", "2", "3", "5", "1", "2"]
    assert [row[4] for row in rows if row[4]] == ["1"]
    assert {row[2] for row in rows} == {spoken.pod.mac, OTHER_MAC, "02:76:6d:6e:65:74"}
    assert "nanosecond" in run(["capinfos", "-t", path]).stdout


def test_followed_until_ctrl_c_also_past_another_server(tmp_path: Path) -> None:
    with guest_by_hand(tmp_path / "guest") as guest:
        with background(guest.agent.argv("capture", "--follow"), tmp_path / "follow.log") as following:
            guest.client.exchange()
            following.wait_for("DHCP ACK xid 0x01000001")
            for server in guest.agent.servers():
                kill(server)
            guest.agent.up()
            guest.client.exchange()
            following.wait_for(rf"DHCP ACK xid 0x{guest.client.xid:08x}")
            assert following.text.count("DHCP ACK xid 0x01000001") == 1
            following.process.send_signal(signal.SIGINT)
            assert following.wait() == 0


def test_without_a_server_there_is_nothing_to_show(agent: Agent) -> None:
    done = agent.run("capture", check=False)
    assert (done.returncode, json.loads(done.stderr)["event"]) == (3, "RefusedError")
    agent.up()
    for server in agent.servers():
        kill(server)
    done = agent.run("capture", check=False)
    assert done.returncode == 3
    assert "does not answer" in json.loads(done.stderr)["message"]
    agent.up()
    assert agent.run("capture", "-w", "/nowhere/x.pcap", check=False).returncode == 2
