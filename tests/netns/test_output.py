"""`capture` and `support-bundle` write to stdout where they are told so: a container's root is read-only."""

from __future__ import annotations

import io
import subprocess
import tarfile
from typing import TYPE_CHECKING

from testbed import clients
from testbed.tap_guest import tap_guest

if TYPE_CHECKING:
    from pathlib import Path

    from testbed.agent import Agent
    from testbed.pods import Pod

MAGIC = bytes.fromhex("4d3cb2a1")
"""Of a capture file with nanoseconds (draft-ietf-opsawg-pcap)."""
LONGEST = 60


def octets(agent: Agent, *words: str | Path, then: str = "") -> subprocess.CompletedProcess[bytes]:
    """Run a verb whose stdout is no text, `then` a shell's redirection."""
    command = ("sh", "-c", f'"$@" {then}', "sh", *agent.argv(*map(str, words)))
    return subprocess.run(command, capture_output=True, timeout=LONGEST, check=False)


def names(octets: bytes) -> list[str]:
    """What is in a bundle."""
    with tarfile.open(fileobj=io.BytesIO(octets)) as tar:
        return tar.getnames()


def test_stdout_redirected_read_only_and_closed(ready_pod: Pod, agent: Agent, tmp_path: Path) -> None:
    """Opened by the path /dev/stdout, a file that follows others would be there already, or cut off."""
    with tap_guest(ready_pod.netns, ready_pod.mac, tmp_path) as guest:
        clients.lease("udhcpc", guest)
    captured = octets(agent, "capture", "--write", "-")
    assert (captured.returncode, captured.stdout[:4]) == (0, MAGIC)
    assert len(captured.stdout) > 1000
    assert octets(agent, "capture", "--write", "/dev/stdout").stdout[:4] == MAGIC
    assert not (tmp_path / "-").exists()

    assert "vmnet-support/status.json" in names(octets(agent, "support-bundle", "-o", "-").stdout)
    path = tmp_path / "both"
    path.write_bytes(b"before ")
    assert octets(agent, "support-bundle", "-o", "/dev/stdout", then=f">>{path}").returncode == 0
    assert path.read_bytes().startswith(b"before ")
    assert "vmnet-support/capture.pcap" in names(path.read_bytes().removeprefix(b"before "))

    assert octets(agent, "support-bundle", "-o", "-", then="| head -c 1").stderr.count(b"Traceback") == 0


def test_followed_frames_come_as_they_are_seen(ready_pod: Pod, agent: Agent, tmp_path: Path) -> None:
    words = agent.argv("capture", "--write", "-", "--follow")
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as follow:
        assert follow.stdout
        assert follow.stdout.read(24)[:4] == MAGIC
        with tap_guest(ready_pod.netns, ready_pod.mac, tmp_path) as guest:
            clients.lease("udhcpc", guest)
            assert len(follow.stdout.read(16)) == 16
        follow.terminate()
        follow.communicate(timeout=LONGEST)
