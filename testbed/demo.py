"""The main job as a story: a pod's network identity goes to a real guest and comes back.

`python -m testbed.demo --pod LAYOUT` makes a node and a pod in a CNI's layout, runs `vmnet plan` and `vmnet up` in
the pod, boots a guest in QEMU on the tap, puts what the guest has beside what the pod had, pings both ways, runs
`vmnet down` and shows that the pod is as it was. Exit code 1 if anything of that is not so.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import textwrap
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from testbed import pods, qemu
from testbed.agent import agent as agent_of
from testbed.agent import lives
from testbed.facts import compare, read_pod
from testbed.facts6 import compare6, read_pod6
from testbed.kernel import cached_kernel, kernel
from testbed.netns import TestbedError
from testbed.pods import HEADERS, HEADERS6
from testbed.requirements import missing
from testbed.snapshot import facts, snapshot

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from testbed.agent import Agent
    from testbed.facts import Comparison, GuestFacts
    from testbed.facts6 import Facts6
    from testbed.kernel import Kernel
    from testbed.pods import Pod
    from testbed.qemu import Guest

WIDTH = 98
LABEL = 9
CELL = 41
TITLES = {"mac": "MAC", "prefixlen": "prefix", "mtu": "MTU", "nameservers": "DNS", "addresses": "IPv6"}
LAYOUTS = tuple(name for name in pods.NAMES if name != "ipv6-only")
"""Those with IPv4, of which the story is told; of IPv6 besides, where there is some."""
GREEN, RED, BOLD, DIM, PLAIN = "\033[32m", "\033[31m", "\033[1m", "\033[2m", "\033[0m"


@dataclass(slots=True)
class Stage:
    """Where the story is told; remembers whether all was well."""

    colour: bool
    started: float = field(default_factory=time.monotonic)
    verdicts: list[bool] = field(default_factory=list)

    def line(self, text: str = "", style: str = "") -> None:
        """Print a line."""
        sys.stdout.write(f"{self.styled(text, style)}\n")
        sys.stdout.flush()

    def title(self, text: str) -> None:
        """Begin a chapter."""
        self.line()
        self.line(text, BOLD)

    def quote(self, text: str) -> None:
        """Print what a program said, folded to the width of the page."""
        for line in text.splitlines():
            indent = " " * (len(line) - len(line.lstrip()) + 4)
            folded = textwrap.wrap(line.strip(), WIDTH, initial_indent=indent, subsequent_indent=f"{indent}  ")
            self.line("\n".join(folded), DIM)

    @contextmanager
    def step(self, text: str) -> Iterator[list[str]]:
        """Say what begins, and when it is done how long it took and what it added to the list."""
        sys.stdout.write(f"  {text} … ")
        sys.stdout.flush()
        began = time.monotonic()
        notes: list[str] = []
        try:
            yield notes
        except BaseException:
            self.line("✗", RED)
            raise
        self.line(", ".join([f"{time.monotonic() - began:.2f} s", *notes]))

    def check(self, text: str, ok: bool) -> None:
        """Print a fact with its verdict."""
        self.line(f"  {text:<{WIDTH - 4}} {self.mark(ok)}")

    def mark(self, ok: bool) -> str:
        """Remember a verdict and give its sign."""
        self.verdicts.append(ok)
        return self.styled("✓", GREEN) if ok else self.styled("✗", RED)

    def styled(self, text: str, style: str) -> str:
        """Colour a text where colours are seen."""
        return f"{style}{text}{PLAIN}" if self.colour and style and text else text

    def row(self, label: str, pod: str, guest: str, sign: str) -> None:
        """Print a row of the table; what is too long for its cell goes on below."""
        left, right = (textwrap.wrap(text, CELL) or ["-"] for text in (pod, guest))
        for number in range(max(len(left), len(right))):
            cells = [column[number] if number < len(column) else "" for column in (left, right)]
            name, verdict = (label, sign) if number == 0 else ("", "")
            text = f"  {name:<{LABEL}} {cells[0]:<{CELL}}  {cells[1]:<{CELL}} {verdict}"
            self.line(text.rstrip())


def table(stage: Stage, rows: list[Comparison]) -> None:
    """Put the pod's facts beside the guest's."""
    stage.row("", "the pod had", "the guest has", "")
    stage.line(f"  {'─' * (WIDTH - 4)}", DIM)
    for row in rows:
        stage.row(TITLES.get(row.fact, row.fact), row.pod, row.guest, stage.mark(row.equal))


def fetch_kernel(stage: Stage) -> Kernel:
    """See that there is a kernel, and know how to run it."""
    if cached_kernel() is None:
        with stage.step("fetching Debian's cloud kernel, once (13 MB)"):
            kernel()
    found = kernel()
    with stage.step(f"Linux {found.release} in QEMU") as notes:
        accelerator = qemu.accelerator(found)
        notes.append("by KVM" if accelerator == "kvm" else "by TCG, since KVM does not boot it here")
    return found


@dataclass(frozen=True, slots=True)
class Before:
    """What the pod had."""

    facts: GuestFacts
    facts6: Facts6 | None


def hand_over(stage: Stage, pod: Pod, agent: Agent, before: Before, directory: Path) -> None:
    """Up, boot, compare, ping."""
    stage.title("$ vmnet up")
    began = time.monotonic()
    stage.quote(_sentences(agent.up().stderr))
    ready = time.monotonic() - began
    stage.line(f"  READY after {ready:.2f} s")
    stage.title("A guest boots on tap0")
    with ExitStack() as stack:
        with stage.step("QEMU, a distribution kernel, busybox udhcpc") as notes:
            console = stack.enter_context(qemu.booting(pod, directory))
            guest = qemu.settled(console)
            notes.append(f"booted at {guest.times.booted:.2f} s, leased at {guest.times.lease:.2f} s")
        leased = console.started + guest.times.lease - began
        stage.line(f"  from `vmnet up` to READY {ready:.2f} s, to the guest's lease {leased:.2f} s")
        stage.title("Guest = pod?")
        table(stage, compare(before.facts, guest.facts))
        if before.facts6 and guest.facts6:
            stage.line()
            table(stage, compare6(before.facts6, guest.facts6))
        pings(stage, pod, guest, before)
        guest.power_off()


def pings(stage: Stage, pod: Pod, guest: Guest, before: Before) -> None:
    """Both ways, small and of a full MTU; Linux forbids fragments of what fits."""
    stage.line()
    mtus = {pod.peer: (before.facts.mtu, HEADERS)}
    if before.facts6:
        mtus[pod.peer6] = before.facts6.mtu, HEADERS6
    for reach in guest.pings:
        mtu, headers = mtus[reach.address]
        full = f", {mtu} bytes: a full MTU" if reach.size + headers == mtu else ""
        stage.check(f"ping guest → {reach.address}, beyond the gateway{full}", reach.ok)
    for address, (mtu, headers) in zip((pod.address, pod.address6), mtus.values(), strict=False):
        stage.check(f"ping node → guest {address}", pods.ping(pod.node, address))
        answered = pods.ping(pod.node, address, mtu - headers)
        stage.check(f"ping node → guest {address}, {mtu} bytes: a full MTU", answered)


def _sentences(log: str) -> str:
    """The messages of JSON log lines."""
    import json

    return "\n".join(json.loads(line)["message"] if line.startswith("{") else line for line in log.splitlines())


def give_back(stage: Stage, pod: Pod, agent: Agent, found: str) -> None:
    """Down, and the proof."""
    stage.title("$ vmnet down")
    servers = agent.servers()
    stage.quote(_sentences(agent.down().stderr))
    after = snapshot(pod)
    stage.check(
        f"the pod is as it was: {facts(found)} facts that ip and nft tell of it are the same", after == found
    )
    stage.check(f"ping pod → {pod.peer}, beyond the gateway", pods.ping(pod.netns, pod.peer))
    stage.check("no process of vmnet is left", bool(servers) and not any(map(lives, servers)))


def tell(stage: Stage, layout: str, stack: ExitStack) -> None:
    """The whole story."""
    stage.line(f"vmnet: a pod's network identity goes to a VM and comes back (layout: {layout})", BOLD)
    stage.line()
    fetch_kernel(stage)
    with stage.step(f"a node and a pod as {layout} leaves them") as notes:
        pod = stack.enter_context(pods.pod(layout))
        notes.append(f"{pod.node.name} and {pod.netns.name}")
    directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vmnet-demo-")))
    agent = agent_of(pod, directory)
    stack.callback(agent.clear)
    found, before = snapshot(pod), Before(read_pod(pod), read_pod6(pod) if pod.peer6 else None)
    stage.title("$ vmnet plan")
    stage.quote(agent.run("plan").stdout)
    hand_over(stage, pod, agent, before, directory)
    give_back(stage, pod, agent, found)


def finish(stage: Stage) -> int:
    """Sum up."""
    bad = stage.verdicts.count(False)
    seconds = time.monotonic() - stage.started
    stage.line()
    if bad:
        stage.line(f"✗ {bad} of {len(stage.verdicts)} checks failed ({seconds:.1f} s)", RED)
        return 1
    stage.line(f"✓ all {len(stage.verdicts)} checks passed in {seconds:.1f} s", GREEN)
    return 0


def interrupted(_number: int, _frame: FrameType | None) -> None:
    """End the story; nobody may end the cleaning up."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def main() -> int:
    """Read the command line, tell the story, clean up whatever happens."""
    parser = argparse.ArgumentParser(prog="python -m testbed.demo", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pod", choices=LAYOUTS, default="bridge", help="the CNI's layout (default: bridge)")
    layout = parser.parse_args().pod
    stage = Stage(colour=sys.stdout.isatty() and "NO_COLOR" not in os.environ)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupted)
    lacking = missing("vm").replace("the vm tests need", "the demo needs")
    if lacking:
        stage.line(lacking, RED)
        return 1
    try:
        with ExitStack() as stack:
            tell(stage, layout, stack)
    except KeyboardInterrupt:
        stage.line("interrupted: everything was cleaned up", RED)
        return 130
    except TestbedError as error:
        stage.line(str(error), RED)
        return 1
    return finish(stage)


if __name__ == "__main__":
    sys.exit(main())
