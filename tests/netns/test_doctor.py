"""`vmnet doctor` on real pods: each code provoked once, all of them before the first is looked at.

Whatever is wrong, doctor changes nothing and sends nothing.
"""

from __future__ import annotations

import fcntl
import json
import os
import struct
import subprocess
import termios
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from testbed.agent import VMNET
from testbed.netns import run
from testbed.snapshot import difference, snapshot
from testbed.watch import RTMGRP_LINK, wait_for_ip
from tests.at_once import Outcome, at_once
from tests.netns.troubles import TROUBLES, Trouble, patient
from vmnet.diagnosis.table import CHECKS

if TYPE_CHECKING:
    from pathlib import Path

    from testbed.agent import Agent
    from testbed.pods import Pod

WORKERS = 6
"""Most of the time of a pod goes by in waiting for programs."""
FINDING = 7
HOSTS_OWN = "VMN-101"


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome[dict[str, Any]]]:
    """What doctor says of every trouble, by code."""
    directory = tmp_path_factory.mktemp("patients")
    wards: dict[str, list[Trouble]] = {}
    for trouble in TROUBLES:
        wards.setdefault(trouble.ward or trouble.code, []).append(trouble)

    def treat(ward: str) -> dict[str, Outcome[dict[str, Any]]]:
        troubles = wards[ward]
        with patient(troubles[0].layout, directory / ward) as it:
            return {trouble.code: Outcome(partial(it.look, trouble)) for trouble in troubles}

    longest_first = sorted(wards, key=lambda ward: -len(wards[ward]))
    treated = at_once(longest_first, treat, WORKERS)
    return {code: outcome for ward in wards for code, outcome in treated[ward].get().items()}


@pytest.mark.parametrize("trouble", TROUBLES, ids=lambda trouble: trouble.code)
def test_each_trouble_is_found(trouble: Trouble, found: dict[str, Outcome[dict[str, Any]]]) -> None:
    said = found[trouble.code].get()
    findings = [finding for finding in said["findings"] if finding["code"] == trouble.code]
    assert findings, said["findings"]
    finding = findings[0]
    assert finding["severity"] == trouble.severity
    assert trouble.evidence in "\n".join(finding["evidence"])
    assert trouble.remedy in finding["remedy"]
    severities = {finding["severity"] for finding in said["findings"]}
    assert said["exit"] == (0 if severities == {"info"} else FINDING)
    assert {"code": trouble.code, "result": "found"}.items() <= _check(said, trouble.code).items()


def test_every_code_is_provoked() -> None:
    assert {trouble.code for trouble in TROUBLES} | {HOSTS_OWN} == {check.code for check in CHECKS}


def test_the_hosts_own_namespace(tmp_path: Path) -> None:
    done = run([VMNET, "doctor", "--json", "--state-dir", tmp_path / "state"], check=False)
    said = json.loads(done.stdout)
    assert done.returncode == FINDING
    assert [finding["code"] for finding in said["findings"]] == [HOSTS_OWN]
    assert "--netns" in said["findings"][0]["remedy"]
    assert "/proc/self/ns/net" in said["findings"][0]["evidence"][0]


def test_a_nodes_namespace_is_refused_before_up_and_seen_afterwards(pod: Pod, agent: Agent) -> None:
    pod.netns.ip_batch("link add cni0 type bridge")
    for verb in ("plan", "up"):
        refused = agent.run(verb, check=False)
        assert refused.returncode == 3
        assert "a node (cni0 is the bridge of the node's pods), and a VM would take the node off" in refused.stderr
    agent.up("--on-node", "on")
    for flags, codes in (((), ["VMN-108"]), (("--on-node", "on"), [])):
        said = json.loads(agent.run("doctor", "--json", "--listen", "0", *flags, check=False).stdout)
        assert [one["code"] for one in said["findings"] if one["severity"] == "error"] == codes
    agent.down()


def test_a_sound_pod_before_up_and_while_its_guest_has_its_lease(tmp_path: Path) -> None:
    with patient("bridge-dual", tmp_path / "sound") as it:
        assert _above_info(it.doctor("--listen", "0")) == []
        it.up("--owner", "107")
        client = it.hold_tap()
        client.exchange()
        said = it.doctor()
        assert _above_info(said) == []
        assert said["exit"] == 0
        assert said["listened_seconds"] == 1


def test_nothing_is_touched(pod: Pod, agent: Agent) -> None:
    before = snapshot(pod)
    agent.run("doctor", "--listen", "0", check=False)
    assert difference(before, snapshot(pod)) == ""
    assert not agent.state_dir.exists()
    agent.up()
    for ifname in ("tap0", "eth0"):  # the kernel is in no hurry to say that neither leads anywhere
        show = f"link show dev {ifname}"
        wait_for_ip(pod.netns, RTMGRP_LINK, show, lambda links: "NO-CARRIER" in links[0]["flags"])
    bound = snapshot(pod)
    agent.run("doctor", "--listen", "0", check=False)
    assert difference(bound, snapshot(pod)) == ""


@pytest.mark.parametrize("columns", [100, 60])
def test_a_terminal_is_shown_colours_and_its_width_is_kept(agent: Agent, columns: int) -> None:
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 24, columns, 0, 0))
    words = agent.argv("doctor", "--all", "--listen", "0", "--isolation", "off")
    place = words.index("-i") + 1
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        try:
            subprocess.run([*words[:place], "TERM=xterm-256color", *words[place:]], stdout=theirs, check=False)
        finally:
            os.close(theirs)
        shown = _until_hangup(terminal.fileno())
    assert "\x1b[33mwarning VMN-307" in shown
    lines = _without_colour(shown).splitlines()
    assert columns - 15 < max(map(len, lines)) <= columns
    assert lines[0] == "eth0: not bound yet"


@pytest.mark.parametrize("flags", [("--listen", "soon"), ("--domain", "/none/vm.xml"), ("--netns", "no-such")])
def test_what_cannot_be_asked_is_one_line(agent: Agent, flags: tuple[str, ...]) -> None:
    done = agent.run("doctor", *flags, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1


def _above_info(said: dict[str, Any]) -> list[str]:
    return [f"{one['code']} {one['what']}" for one in said["findings"] if one["severity"] != "info"]


def _check(said: dict[str, Any], code: str) -> dict[str, Any]:
    return next(dict(check) for check in said["checks"] if check["code"] == code)


def _until_hangup(terminal: int) -> str:
    data = b""
    try:
        while True:
            data += os.read(terminal, 4096)
    except OSError:  # EIO: the other end is closed (pty(7))
        return data.decode()


def _without_colour(text: str) -> str:
    first, *others = text.split("\x1b[")
    return first + "".join(other.partition("m")[2] for other in others)
