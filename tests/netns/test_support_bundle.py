"""`vmnet support-bundle`: all that is needed is in it, and redacted nothing that tells whose it is."""

from __future__ import annotations

import json
import tarfile
from typing import TYPE_CHECKING

import pytest

from testbed.netns import run
from tests.need import need
from tests.netns.guest_by_hand import GuestByHand, guest_by_hand
from tests.testlib.dhcp.frames import option

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from testbed.agent import Agent

FILES = {
    *("contents.json", "status.json", "status.txt", "doctor.json", "plan.json", "plan.txt", "versions.json"),
    *("capture.txt", "capture.pcap", "journal.json", "server.log"),
}
GUESTS_NAME = "secret-guest-7"


def unpacked(path: Path) -> dict[str, bytes]:
    """The files of a bundle by their names."""
    with tarfile.open(path) as tar:
        members = {member.name.removeprefix("vmnet-support/"): tar.extractfile(member) for member in tar}
        return {name: file.read() for name, file in members.items() if file}


@pytest.fixture(scope="module")
def leased(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuestByHand]:
    with guest_by_hand(tmp_path_factory.mktemp("bundle") / "guest", "bridge-dual") as guest:
        guest.client.exchange()
        guest.tap.send(guest.client.discover(option(12, GUESTS_NAME.encode())))
        guest.tap.receive(lambda data: data[12:14] == b"\x08\x00")
        yield guest


def test_all_is_in_it(leased: GuestByHand, tmp_path: Path) -> None:
    need("tshark", "tshark")
    path = tmp_path / "support.tar"
    leased.agent.run("support-bundle", "-o", path)
    assert path.stat().st_mode & 0o777 == 0o600
    files = unpacked(path)
    assert files.keys() == FILES
    assert json.loads(files["contents.json"])["missing"] == {}
    assert json.loads(files["status.json"])["schema"] == 2
    assert json.loads(files["journal.json"])["pod"]["mac"] == leased.pod.mac
    assert json.loads(files["plan.json"])["already_up"] is True
    assert json.loads(files["doctor.json"])["bound"] is True
    versions = json.loads(files["versions.json"])
    assert versions.keys() >= {"vmnet", "python", "kernel", "nft", "scapy", "pyroute2"}
    assert b"ack_selecting" in files["server.log"]
    assert b"DHCP ACK" in files["capture.txt"]
    (tmp_path / "capture.pcap").write_bytes(files["capture.pcap"])
    assert "DHCP ACK" in run(["tshark", "-n", "-r", str(tmp_path / "capture.pcap")]).stdout

    done = leased.agent.run("support-bundle", "-o", path, check=False)
    assert (done.returncode, "File exists" in done.stderr) == (2, True)


def test_redacted_nothing_tells_whose_it_is(leased: GuestByHand, tmp_path: Path) -> None:
    pod, path = leased.pod, tmp_path / "support.tar"
    done = leased.agent.run("support-bundle", "--redact", "-o", path)
    assert "capture.pcap" in done.stderr
    files = unpacked(path)
    assert files.keys() == FILES - {"capture.pcap"}
    assert json.loads(files["contents.json"])["missing"].keys() == {"capture.pcap"}
    secrets = (
        *(pod.address, pod.gateway, pod.address6, pod.mac, "fd00:10:246:1::1", GUESTS_NAME, "vm-1"),
        *(*pod.nameservers, *pod.nameservers6, *pod.search),
    )
    whole = b"\n".join(files.values()).decode().lower()
    assert [secret for secret in secrets if secret.lower() in whole] == []
    told, kept = json.loads(files["status.json"]), json.loads(files["journal.json"])
    mac = told["guest"]["mac"]
    assert mac.startswith("mac-")
    assert kept["pod"]["mac"] == told["found"]["mac"] == mac
    assert f"guest {mac}" in files["status.txt"].decode()
    assert f"yiaddr {told['lease']['yiaddr']}" in files["capture.txt"].decode()
    assert f"host name {told['lease']['hostname']}" in files["capture.txt"].decode()


def test_where_nothing_is_up_the_rest_is_there(agent: Agent, tmp_path: Path) -> None:
    path = tmp_path / "support.tar"
    done = agent.run("support-bundle", "-o", path)
    missing = {"capture.txt", "capture.pcap", "journal.json", "server.log"}
    files = unpacked(path)
    assert files.keys() == FILES - missing
    assert json.loads(files["contents.json"])["missing"].keys() == missing
    assert json.loads(files["status.json"])["state"] == "down"
    assert "no binding is up here" in done.stderr
