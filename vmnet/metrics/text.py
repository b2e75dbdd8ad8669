"""What servers report → Prometheus' text, and the only importer of prometheus_client.

Its table is docs/operate/metrics.md. A guest may have taken a server over: vmnet.control.report checks what that
says, and here its words become labels only where we know them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from vmnet.errors import UsageError
from vmnet.metrics.labels import ALWAYS_COUNTED, EVENTS, OPERATIONS, OTHER, REASONS
from vmnet.server import lease_state
from vmnet.server.state import STATES

try:
    from prometheus_client import generate_latest
    from prometheus_client.core import (
        CounterMetricFamily,
        GaugeMetricFamily,
        InfoMetricFamily,
        Metric,
        StateSetMetricFamily,
    )
except ImportError as error:
    raise UsageError(f"metrics need {error.name}: pip install 'vmnet[exporter]'") from error

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from vmnet.control.report import FamilyReport, ServerReport

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_LEASE_STATES = (*lease_state.SPOKEN, lease_state.STATIC, lease_state.FOREIGN_ADDRESS)
_WHERE = ("interface", "netns", "state_dir")
"""The labels that every metric of a binding has."""
_LARGEST_LABEL = 256
"""Of an `_info` label: room for the addresses of any honest pod."""
_ADDRESSES = 16
_MOST_SERIES = 25_000
"""In one text: 500 VMs have some 24,000; each takes 0.9 KiB while it is made, and 0.15 KiB of the text."""


@dataclass(frozen=True, slots=True)
class Binding:
    """A binding and what its server said; `drift` where somebody compared the pod with what it shall be."""

    interface: str
    netns: int
    state_dir: str
    report: ServerReport | None
    drift: int | None = None

    @property
    def where(self) -> list[str]:
        """The values of the labels that say which one it is."""
        return [self.interface, str(self.netns), self.state_dir]


@dataclass(frozen=True, slots=True)
class Scrape:
    """What it took to ask them all."""

    seconds: float
    untrusted: int
    """Directories into which somebody else could write: no binding of ours."""
    crowded: int
    """State directories in which there was more than is looked at."""
    left_out: int = 0
    """Bindings that were found and not asked, or whose answer was not read: all together were too many."""


def text(bindings: Sequence[Binding], scrape: Scrape | None = None) -> bytes:
    """Return Prometheus' text exposition of these bindings: of the first ones, where it would be too long."""
    metrics = _Metrics()
    shown = 0
    for binding in bindings:
        if metrics.series >= _MOST_SERIES:
            break
        metrics.add(binding)
        shown += 1
    if scrape:
        metrics.add_scrape(shown, replace(scrape, left_out=scrape.left_out + len(bindings) - shown))
    return generate_latest(metrics)


class _Metrics:
    """All metrics, filled binding by binding: in the text those of a name must stand together."""

    def __init__(self) -> None:
        self._up = _gauge("up", "Whether the binding's server answers.")
        self._info = InfoMetricFamily("vmnet", "The server's version, the VM's MAC and addresses.", labels=_WHERE)
        self._state = _states("server_state", "What the server is at.")
        self._uptime = _gauge("server_uptime_seconds", "How long the server has been running.")
        self._resident = _gauge("server_resident_memory_bytes", "Memory that the server holds.")
        self._sandbox = _gauge("server_sandbox_stages", "Stages of the server's sandbox, by result.", "result")
        self._foreign = _gauge(
            "foreign_macs", "MACs that are not the VM's and spoke DHCP: 32 are told of at most."
        )
        self._dropped = _gauge("dropped_options", "DHCP options that a reply had no room for.")
        self._drift = _gauge("drift_changes", "Changes that `vmnet up` would make; only `vmnet metrics` says it.")
        self._lease = _states("lease_state", "How far the guest has come with its lease.", "family")
        self._age = _gauge("lease_state_age_seconds", "How long the guest has been in that state.", "family")
        self._reached = _gauge(
            "lease_reached_seconds",
            "When the state was reached last, in seconds after the server's start.",
            *("family", "state"),
        )
        self._events = _counter("events", "What happened, by a word for it.", "family", "event")
        self._ignored = _counter("ignored_frames", "Frames that were not taken, by reason.", "reason")
        self._errors = _counter("socket_errors", "Calls on the tap's sockets that failed.", "operation")
        self._scrape: list[Metric] = []

    def collect(self) -> Iterator[Metric]:
        """All of them, as a registry of prometheus_client gives them; without those that nobody said."""
        return (metric for metric in (*vars(self).values(), *self._scrape) if getattr(metric, "samples", ()))

    @property
    def series(self) -> int:
        """How many there are."""
        return sum(len(getattr(metric, "samples", ())) for metric in vars(self).values())

    def add(self, binding: Binding) -> None:
        """Add what is known of a binding."""
        where, said = binding.where, binding.report
        self._up.add_metric(where, said is not None)
        _add(self._drift, where, binding.drift)
        if said is None:
            return
        self._info.add_metric(where, _identity(said))
        _add_state(self._state, where, STATES, said.state)
        _add(self._uptime, where, said.uptime_seconds)
        _add(self._resident, where, said.resident_bytes)
        if said.sandbox:
            _add(self._sandbox, [*where, "reached"], len(said.sandbox.reached))
            _add(self._sandbox, [*where, "missed"], len(said.sandbox.missed))
        _add(self._foreign, where, len(said.foreign_macs))
        _add(self._dropped, where, len(said.dropped_options))
        _count(self._ignored, where, said.ignored, REASONS)
        _count(self._errors, where, _from_zero(OPERATIONS, _joined(said.errors)), OPERATIONS)
        if said.yiaddr or not said.ipv6:
            self._add_family(where, "ipv4", said.ipv4)
        if said.ipv6:
            self._add_family(where, "ipv6", said.ipv6)

    def _add_family(self, binding: list[str], family: str, said: FamilyReport) -> None:
        where = [*binding, family]
        _add_state(self._lease, where, _LEASE_STATES, said.lease)
        _add(self._age, where, said.lease_seconds)
        for state, seconds in said.reached.items():
            _add(self._reached, [*where, state], seconds)
        _count(self._events, where, _from_zero(ALWAYS_COUNTED[family], said.events), EVENTS)

    def add_scrape(self, bindings: int, scrape: Scrape) -> None:
        """Add what the exporter says of itself."""
        numbers = (
            ("bindings", "Bindings that are shown.", bindings),
            (
                "untrusted_dirs",
                "Directories that others could write to: they are not looked at.",
                scrape.untrusted,
            ),
            ("crowded_state_dirs", "State directories with more bindings than are looked at.", scrape.crowded),
            (
                "left_out_bindings",
                "Bindings that were found and are not shown: all together were too many.",
                scrape.left_out,
            ),
            ("scrape_seconds", "How long it took to find and ask them.", scrape.seconds),
        )
        for name, help_, value in numbers:
            self._scrape.append(GaugeMetricFamily(f"vmnet_exporter_{name}", help_, value=value))


def _gauge(name: str, help_: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"vmnet_{name}", help_, labels=(*_WHERE, *labels))


def _counter(name: str, help_: str, *labels: str) -> CounterMetricFamily:
    return CounterMetricFamily(f"vmnet_{name}", help_, labels=(*_WHERE, *labels))


def _states(name: str, help_: str, *labels: str) -> StateSetMetricFamily:
    return StateSetMetricFamily(f"vmnet_{name}", help_, labels=(*_WHERE, *labels))


def _add(gauge: GaugeMetricFamily, labels: list[str], value: float | None) -> None:
    if value is not None:
        gauge.add_metric(labels, value)


def _add_state(states: StateSetMetricFamily, labels: list[str], known: Iterable[str], state: str) -> None:
    states.add_metric(labels, {word: word == state for word in known})


def _count(
    counter: CounterMetricFamily, labels: list[str], counts: Mapping[str, float], known: frozenset[str]
) -> None:
    """Add what was counted by word; all words that we do not know are one."""
    totals: dict[str, float] = {}
    for word, number in counts.items():
        label = word if word in known else OTHER
        totals[label] = totals.get(label, 0) + number
    for word in sorted(totals):
        counter.add_metric([*labels, word], totals[word])


def _from_zero(words: Iterable[str], counts: Mapping[str, float]) -> dict[str, float]:
    """The counts, and 0 of the words that were not counted yet."""
    return {**dict.fromkeys(words, 0), **counts}


def _joined(errors: Mapping[str, int]) -> dict[str, float]:
    """Failed calls by operation alone: with the kernel's words for why they are in the log."""
    totals: dict[str, float] = {}
    for name, number in errors.items():
        operation = name.partition(":")[0]
        totals[operation] = totals.get(operation, 0) + number
    return totals


def _identity(said: ServerReport) -> dict[str, str]:
    """Who is served, for `vmnet_info`."""
    more = said.ipv6.addresses[:_ADDRESSES] if said.ipv6 else ()
    addresses = ",".join(filter(None, (said.yiaddr, *more)))
    return {"version": said.version, "mac": said.vm_mac, "addresses": addresses[:_LARGEST_LABEL]}
