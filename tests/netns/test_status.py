"""`vmnet status`: what it says of the guest is true, step by step; and how it looks on a terminal.

┌ pod, after vmnet up ─────────┐
│ vmnet status ⇢ server, tap0  ├─── the guest: asks, holds, renews, releases, declines, uses another address
└──────────────────────────────┘

The screens are files of tests/data/screens; VMNET_GOLDEN=write writes them anew, to be read in the diff.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from testbed import pods
from testbed.netns import background, kill
from testbed.patience import PATIENCE
from testbed.tap_guest import tap_guest
from tests.netns import forked
from tests.netns.guest_by_hand import guest_by_hand
from tests.netns.pty_screen import shown

if TYPE_CHECKING:
    from testbed.agent import Agent
    from tests.netns.guest_by_hand import GuestByHand

ROOT = Path(__file__).parents[2]
SCREENS = ROOT / "tests" / "data" / "screens"
SCHEMA = json.loads((ROOT / "deploy" / "status.schema.json").read_text(encoding="utf-8"))
FOREIGN = "10.244.1.77"
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def status(agent: Agent) -> dict[str, Any]:
    """What it says, which is as its schema says."""
    told = agent.status()
    jsonschema.validate(told, SCHEMA)
    return told


def ipv4(agent: Agent) -> dict[str, Any]:
    return dict(status(agent)["guest"]["families"]["ipv4"])


def test_what_is_said_of_the_guest_is_true_at_each_step(tmp_path: Path) -> None:
    with guest_by_hand(tmp_path / "guest") as guest:
        pod, agent = guest.pod, guest.agent
        silent = ipv4(agent)
        assert (silent["state"], silent["told"]) == ("silent", [f"{pod.address}/{pod.prefixlen}"])
        guest.ask()
        assert ipv4(agent)["state"] == "offered"
        guest.client.exchange()
        assert ipv4(agent)["state"] == "bound"
        guest.arp(pod.address, pod.gateway, 1)
        guest.renew()
        held = ipv4(agent)
        assert (held["state"], held["uses"], held["uses_foreign"]) == ("renewed", pod.address, None)
        assert 0 < held["reached"]["offered"] <= held["reached"]["bound"] <= held["reached"]["renewed"]

        _restart(guest)
        assert ipv4(agent)["state"] == "renewed"  # it need not ask again for half a day
        guest.use(FOREIGN, "foreign-address")
        strayed = ipv4(agent)
        assert (strayed["state"], strayed["uses_foreign"]) == ("foreign-address", FOREIGN)
        text = agent.run("status").stdout
        assert f"IPv4 {pod.address}/{pod.prefixlen}: foreign-address" in text
        assert f"uses {FOREIGN}, which is not its own" in text
        guest.release()
        assert ipv4(agent)["state"] == "released"
        guest.use(pod.address, "static")
        assert ipv4(agent)["state"] == "static"
        guest.decline()
        refused = status(agent)
        assert refused["guest"]["families"]["ipv4"]["state"] == "declined"
        assert refused["warnings"][0].startswith(f"ADDRESS CONFLICT: the guest declined {pod.address}")


def _restart(guest: GuestByHand) -> None:
    for server in guest.agent.servers():
        kill(server)
    dead = status(guest.agent)
    assert (dead["server"], dead["guest"]["families"]["ipv4"]["state"]) == (None, "unknown")
    guest.agent.up()
    assert guest.agent.run("wait", "--for", "ready", "--timeout", str(PATIENCE / 2)).returncode == 0


def test_links_and_counters(tmp_path: Path) -> None:
    with guest_by_hand(tmp_path / "guest", "bridge", "--owner", "107:108") as guest:
        guest.client.exchange()
        tap = status(guest.agent)["links"]["tap"]
        assert (tap["carrier"], tap["owner"], tap["group"], tap["multi_queue"]) == (True, 107, 108, False)
        before = tap["received"]
        guest.client.exchange()
        assert status(guest.agent)["links"]["tap"]["received"] == before + 2
        guest.pod.netns.ip_batch("link delete tap0")
        assert status(guest.agent)["links"]["tap"] is None
        assert "tap0: gone" in guest.agent.run("status", check=False).stdout


def test_before_and_without_a_binding(agent: Agent) -> None:
    assert status(agent)["state"] == "down"
    assert agent.run("status", check=False).stdout == "down: nothing is bound here\n"


def test_watched_each_change_is_a_line_until_ctrl_c(tmp_path: Path) -> None:
    with guest_by_hand(tmp_path / "guest") as guest:
        with background(guest.agent.argv("status", "--watch", "30", "--json"), tmp_path / "watch.log") as watching:
            watching.wait_for('"state": "silent"')
            guest.client.exchange()  # seen long before the 30 s are over: the log has grown
            watching.wait_for('"state": "bound"')
            guest.release()
            watching.wait_for('"state": "released"')
            watching.process.send_signal(signal.SIGINT)
            assert watching.wait() == 0
        seen = [json.loads(line) for line in watching.text.splitlines()]
        states = [told["guest"]["families"]["ipv4"]["state"] for told in seen]
        assert (states[0], states[-1]) == ("silent", "released")
        assert [told["schema"] for told in seen] == [2] * len(seen)

        guest.pod.netns.ip_batch("link set tap0 down")
        with background(guest.agent.argv("status", "--watch"), tmp_path / "text.log") as watching:
            watching.wait_for("set tap0 up=True")
            guest.agent.up()
            watching.wait_for("^up: eth0 → tap0$")
            guest.pod.netns.ip_batch("link set tap0 down")
            watching.wait_for("(?s)^up: eth0.*^drift: eth0 → tap0$")
            watching.process.send_signal(signal.SIGINT)
            assert watching.wait() == 7


SCENES = [
    pytest.param("status-100", 100, ("TERM=xterm-256color",), id="100 columns"),
    pytest.param("status-60", 60, ("TERM=xterm-256color",), id="60 columns"),
    pytest.param("status-no-color", 100, ("TERM=xterm-256color", "NO_COLOR=1"), id="no colour"),
]


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> Any:  # noqa: ANN401 # a fixture that gives an Agent
    """A pod of both families whose guest holds IPv4, and uses its IPv6 address as set up by hand."""
    directory = tmp_path_factory.mktemp("held")
    with pods.pod("bridge-dual") as pod:
        agent = replace(forked.agent(pod, directory), confined=False)
        try:
            agent.up()
            with tap_guest(pod.netns, pod.mac, directory, accept_ra=0) as guest:
                guest.netns.ip_batch(
                    f"address add {pod.address}/24 dev {guest.ifname}",
                    f"address add {pod.address6}/64 dev {guest.ifname} nodad",
                )
                agent.run("wait", "--for", "reachable", "--timeout", str(PATIENCE / 2))
                with background(agent.argv("status", "--watch", "--json"), directory / "watch.log") as watching:
                    watching.wait_for('"ipv4": {"state": "static".*"ipv6": {"state": "static"')
                yield agent
        finally:
            agent.clear()


@pytest.mark.host_privileges("what a container keeps from the server is on the screen, too")
@pytest.mark.parametrize(("name", "columns", "environment"), SCENES)
def test_screen(name: str, columns: int, environment: tuple[str, ...], held: Agent) -> None:
    argv = held.argv("status")
    place = argv.index("-i") + 1
    text = stable(shown([*argv[:place], *environment, *argv[place:]], columns))
    golden = SCREENS / f"{name}.txt"
    if os.environ.get("VMNET_GOLDEN") == "write":
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8")
    assert max(len(COLOUR.sub("", line)) for line in text.splitlines()) <= columns
    assert bool(COLOUR.search(text)) == ("NO_COLOR=1" not in environment)


def test_on_a_terminal_it_stands_and_is_renewed(tmp_path: Path) -> None:
    with guest_by_hand(tmp_path / "guest") as guest:
        argv = guest.agent.argv("status", "--watch")
        place = argv.index("-i") + 1
        command = f"exec {shlex.join([*argv[:place], 'TERM=xterm', *argv[place:]])}"  # no shell takes the Ctrl-C
        on_terminal = ["script", "-qefc", command, "/dev/null"]
        with background(on_terminal, tmp_path / "terminal.log") as watching:
            watching.wait_for("IPv4 .*: silent")
            guest.client.exchange()
            watching.wait_for(r"\x1b\[1A(?s:.*)IPv4 .*: bound")  # ECMA-48 §8.3.22: a line up
            watching.press(b"\x03")
            assert watching.wait() == 0


def stable(text: str) -> str:
    """Put the same in place of what is each time's own, as long as that was."""
    text = re.sub(r"(for|at) [\d.]+ s", r"\1 1.5 s", text)
    text = re.sub(r"\d+ (frames from)", r"8 \1", text)
    return re.sub(r"(from the guest,\s+)\d+ (to it)", r"\g<1>8 \2", text)
