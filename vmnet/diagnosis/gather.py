"""The one place where evidence is gathered. It only reads: nothing in the pod is changed or sent anything."""

from __future__ import annotations

import contextlib
import os
import select
import time
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

from vmnet.agent import begin, lifecycle
from vmnet.agent.place import standing_here
from vmnet.agent.recall import begun_here
from vmnet.bindings.whose import of_bindings
from vmnet.control import call, processes
from vmnet.diagnosis.conflict import conflict
from vmnet.diagnosis.evidence import Evidence, Heard, Left, Netfilter, Surroundings
from vmnet.diagnosis.listen import listen
from vmnet.diagnosis.server_words import understand
from vmnet.domain import read as domains
from vmnet.errors import RefusedError, UsageError
from vmnet.kernel import firewall, inspect, netns, sysctl
from vmnet.kernel.read import read
from vmnet.kernel.tap_holders import tap_holders
from vmnet.plumbing.discover import pod_link
from vmnet.saved.journal import BEGINNING, JOURNAL, StateDirectory, namespaces, said_boot
from vmnet.server.state import COMPILING
from vmnet.settings import resolver
from vmnet.settings.advice import place_flags

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmnet.agent.lifecycle import Plan
    from vmnet.agent.place import Place
    from vmnet.control.report import ServerReport
    from vmnet.domain.read import Domain
    from vmnet.model.links import Status
    from vmnet.saved.journal import BindingDirectory
    from vmnet.settings.config import Config

DEFAULT_SECONDS = 1.0
_COMPILE_SECONDS = 10.0
"""How long a server may take to compile its replies: it needs a tenth of a second, and more on a busy machine."""
_EVENT_BYTES = 4096
_SERVERS = "vmnet/server/"
_MOST_ENTRIES = 256
"""That are read of a state directory, and of each namespace in it: it may be a volume of the pod."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What doctor is asked for beyond a place."""

    domain: str = ""
    """The path of a domain's XML; empty for none."""
    seconds: float = DEFAULT_SECONDS
    """How long to listen for other servers and routers."""


def gather_all(config: Config, wishes: Wishes) -> tuple[Evidence, ...]:
    """Look at each binding that is here, or at the one that is named; else at what `up` would bind.

    Raises:
        UsageError: there is no such namespace, or no such domain.
        KernelError: the kernel cannot be asked.
    """
    if config.interface:
        return (gather(config, wishes),)
    if config.netns:
        netns.enter(config.netns)
    with standing_here(config) as place:
        begun = begun_here(place.state, place.here, read(place.netlink))
    ifnames = tuple(begun) if len(begun) > 1 else ("",)
    return tuple(gather(replace(config, interface=ifname), wishes) for ifname in ifnames)


def gather(config: Config, wishes: Wishes) -> Evidence:
    """Look at everything, in the namespace that is meant.

    Raises:
        UsageError: there is no such namespace, or no such domain.
        KernelError: the kernel cannot be asked.
    """
    domain = _domain(wishes.domain) if wishes.domain else None
    flags = place_flags(config)
    if config.netns:
        netns.enter(config.netns)
        config = resolver.within(config)
    with standing_here(config) as place:
        now = read(place.netlink)
        begun = begun_here(place.state, place.here, now)
        evidence = Evidence(
            status=now,
            interface=config.interface,
            settings=config.settings,
            surroundings=_surroundings(config),
            link_states=inspect.link_states(place.netlink),
            neighbours=inspect.neighbour_states(place.netlink),
            probed=inspect.probed_addresses(),
            netfilter=Netfilter(inspect.bridge_calls(), firewall.read_bridged_chains(), inspect.legacy_tables()),
            resolv_conf=resolver.text(config),
            resolver=resolver.resolver(config),
            domain=domain,
            tap=config.settings.tap if config.tap_is_named else "",
            flags=flags,
            begun=tuple(begun),
            taken=of_bindings((one.pod.ifname, one.settings.tap) for one in begun.values() if one),
            holders=tap_holders(),
        )
        evidence = _with_plan(evidence, config)
        evidence = _with_node_signs(evidence, config)
        evidence = _with_server(evidence, place)
        evidence = replace(evidence, left=_left(evidence, config, place))
    heard, seconds = _heard(evidence, wishes.seconds)
    return replace(evidence, heard=heard, listened=seconds)


def _domain(path: str) -> Domain:
    try:
        with open(path, "rb") as file:
            return domains.parse(domains.decoded(file.read(domains.LARGEST + 1)))
    except OSError as error:
        raise UsageError(f"cannot read {path!r}: {error.strerror}") from error


def _surroundings(config: Config) -> Surroundings:
    settings = config.settings
    return Surroundings(
        is_host=netns.is_host(),
        capabilities=inspect.effective_capabilities(),
        tun=inspect.tun_trouble(),
        tun_closed=inspect.tun_closed_to(settings.owner, settings.group),
        nft=firewall.program() is not None,
        sysctls_writable=sysctl.ipv6_settable(),
        state_directory=_unwritable(config.state_dir),
    )


def _unwritable(path: str) -> str:
    """Say why no directory can be made there; empty where one can."""
    there = path
    while not os.path.lexists(there):
        there = os.path.dirname(there)
    if not os.path.isdir(there):
        return f"{there} is no directory"
    return "" if os.access(there, os.W_OK | os.X_OK) else f"{there} cannot be written"


def _with_plan(evidence: Evidence, config: Config) -> Evidence:
    """Ask what `up` would do: the drift of a binding, else what it would be, or why it would be refused."""
    try:
        plan: Plan = lifecycle.plan(config)
    except (RefusedError, UsageError) as error:
        return replace(evidence, refusal=str(error))
    drift = tuple(map(str, plan.changes)) if plan.already_up else ()
    return replace(evidence, journal=plan.journal, bound=plan.already_up, drift=drift)


def _with_node_signs(evidence: Evidence, config: Config) -> Evidence:
    """See whether the namespace is a node's, of one that has an interface to hand over."""
    nic, here = _nic(evidence, evidence.status), evidence.surroundings
    found = begin.node_signs(evidence.status, config, nic) if nic and not here.is_host else ()
    return replace(evidence, surroundings=replace(here, node_signs=found))


def _with_server(evidence: Evidence, place: Place) -> Evidence:
    """Ask the server of a binding how it and the guest are doing."""
    journal = evidence.journal
    directory = place.state.existing(journal.pod.ifname) if journal and evidence.bound else None
    if journal is None or directory is None:
        return evidence
    said = settled(directory)
    server = understand(said)
    late = "it is still starting (compiling its replies)" if server.state == COMPILING else ""
    return replace(
        evidence,
        server=server,
        server_trouble=processes.trouble(directory, said) or late,
        conflict=conflict(journal.pod, journal.lease, said),
    )


def settled(directory: BindingDirectory, seconds: float = _COMPILE_SECONDS) -> ServerReport | None:
    """What the server says once it has its replies; where it compiles them still after so many seconds, that.

    Just after `up` it has none, and knows neither the guest nor the gateways: its silence would prove nothing.
    """
    deadline = time.monotonic() + seconds
    try:
        log = processes.watch_log(directory)
    except OSError:
        return call.ask_server(directory)
    try:
        while True:
            said = call.ask_server(directory)
            left = deadline - time.monotonic()
            if said is None or not said.compiles or left <= 0:
                return said
            if select.select([log], [], [], left)[0]:  # it says there that it has them, or why not
                os.read(log, _EVENT_BYTES)
    finally:
        os.close(log)


def _left(evidence: Evidence, config: Config, place: Place) -> Left:
    begun, lost = "", False
    for ifname in (evidence.journal.pod.ifname,) if evidence.journal else ():
        with contextlib.suppress(RefusedError):
            directory = place.state.existing(ifname)
            found = directory is not None and directory.load(place.here) is not None
            begun = f"{directory.path}/{JOURNAL}" if directory and found and not evidence.bound else ""
            lost = evidence.bound and not found
    return Left(
        stale=tuple(_stale(config.state_dir, place.here.boot_id)),
        begun=begun,
        lost=lost,
        servers=inspect.abstract_sockets(_SERVERS),
    )


def _stale(state_dir: str, boot_id: str) -> list[str]:
    """Find the directories of journals of ours that are of another boot; of what a pod may have made, not all."""
    return sorted(filter(None, (_if_stale(*one, boot_id) for one in islice(_bindings(state_dir), _MOST_ENTRIES))))


def _bindings(state_dir: str) -> Iterator[tuple[StateDirectory, str]]:
    """What may be a binding's directory, in each namespace's that is ours alone."""
    for cookie in namespaces(state_dir, _MOST_ENTRIES)[0]:
        state = StateDirectory(state_dir, cookie)
        with contextlib.suppress(RefusedError):
            yield from ((state, ifname) for ifname in state.first_bindings(_MOST_ENTRIES)[0])


def _if_stale(state: StateDirectory, ifname: str, boot_id: str) -> str:
    """The path of a binding's directory whose journal is of another boot; empty where it is not, or not ours."""
    with contextlib.suppress(RefusedError, UsageError):
        directory = state.existing(ifname)
        if directory:
            with contextlib.closing(directory):
                begins = directory.read(JOURNAL, BEGINNING) or b""
                return directory.path if said_boot(begins) not in ("", boot_id) else ""
    return ""


def _heard(evidence: Evidence, seconds: float) -> tuple[tuple[Heard, ...], float]:
    """Listen on the pod's NIC, whatever it is called by now."""
    ifname = _nic(evidence, evidence.status)
    if not ifname or not seconds or evidence.surroundings.is_host:
        return (), 0.0
    try:
        return listen(ifname, seconds), seconds
    except OSError:
        return (), 0.0


def _nic(evidence: Evidence, status: Status) -> str:
    if evidence.journal:
        link = status.link_of_index(evidence.journal.pod.ifindex)
        return link.ifname if link else ""
    with contextlib.suppress(RefusedError):
        return pod_link(status, evidence.interface).ifname
    return ""
