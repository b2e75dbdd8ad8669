"""What a failed test leaves to its reader: the namespaces, the firewall, the agent's log, the capture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from testbed.agent import Agent
from testbed.pods import Pod
from testbed.snapshot import describe
from testbed.tap_guest import TapGuest

if TYPE_CHECKING:
    from collections.abc import Iterator


def sections(fixtures: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Titles and texts, from the fixtures a test had in its hands."""
    for value in fixtures.values():
        if isinstance(value, Pod):
            yield "the pod's namespace", describe(value.netns)
            yield "the node's namespace", describe(value.node)
        elif isinstance(value, Agent):
            for log in value.logs():
                yield f"the agent's log {log}", log.read_text(encoding="utf-8", errors="replace")
        elif isinstance(value, TapGuest):
            yield "the guest's namespace", describe(value.netns)
            yield "capture", f"tcpdump -nvr {value.directory / 'tap.pcap'}"
