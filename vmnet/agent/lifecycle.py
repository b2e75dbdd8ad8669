"""The road: read → discover → save → bind → apply → verify → serve. The only room that knows the order."""

from __future__ import annotations

import contextlib
import errno
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from vmnet.agent.conflict import conflict
from vmnet.agent.recall import Known, begun_here, held, is_untouched, lost_note, only_copy, recall, written
from vmnet.agent.tap_in_use import anothers, refuse_anothers, refuse_in_use, whose
from vmnet.bindings.bridge import bound, unbound
from vmnet.bindings.names import bridge_name, free_tap
from vmnet.bindings.whose import of_bindings
from vmnet.control import call, processes
from vmnet.control.serving import ServerStart, open_packets
from vmnet.errors import (
    KernelError,
    RefusedError,
    RollbackIncompleteError,
    RolledBackError,
    UnexpectedError,
    VmnetError,
)
from vmnet.kernel import firewall, netns, netns_lock, sysctl
from vmnet.kernel.apply import apply
from vmnet.kernel.netlink import NetlinkSocket
from vmnet.kernel.privileges import remedy
from vmnet.kernel.read import read
from vmnet.lease.ipv4 import lease
from vmnet.lease.shared import global_addresses
from vmnet.model.change import AddEntry, Change
from vmnet.model.links import Holder, Link, Spec, Status
from vmnet.model.settings import ISOLATION_OFF, Settings
from vmnet.plumbing.diff import diff, missing_links, standing_chains
from vmnet.plumbing.discover import (
    better_interface,
    discover,
    refuse_bound_elsewhere,
    refuse_names_taken,
    refuse_orphans,
)
from vmnet.plumbing.lifetimes import lasting, ran_out
from vmnet.plumbing.node_signs import refuse_node, signs
from vmnet.saved.facts import is_host_name, text_of
from vmnet.saved.journal import BindingDirectory, StateDirectory, refuse_too_large
from vmnet.saved.schema import SCHEMA, Here, Journal
from vmnet.settings import resolver
from vmnet.settings.difference import first_change
from vmnet.show.log import say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vmnet.control.report import ServerReport
    from vmnet.model.lease import Lease, Lease6, Resolver
    from vmnet.model.pod import PodInterface
    from vmnet.settings.config import Config

_STDERR = 2
_OVERTAKEN = frozenset(
    {
        *(errno.ENODEV, errno.ENOENT, errno.ESRCH, errno.EEXIST),
        *(errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN),  # what the route goes by went away meanwhile
        *(errno.ENOBUFS, errno.EINTR),
    }
)
"""What the kernel says when somebody else changed something, or a message was lost: look again and go on."""
_FORBIDDEN = frozenset({errno.EPERM, errno.EACCES, errno.ENOENT})
"""What the kernel says where a capability, a right or a device is missing."""
_FROM_THE_NOTE = (
    "the journal was lost; the pod's configuration was read from the note on the NIC. It has no --owner, "
    "--server-user or --sandbox off: give these flags again if you used them"
)
_NOTHING = Status(())
_ROUNDS = 5
"""Apply, read, compare: the second round takes away what the kernel added by itself, the third the note; one more
for somebody else's change in between. Beyond that it never ends."""


@dataclass(frozen=True, slots=True)
class Place:
    """The network namespace we act on, and where its state is kept."""

    netlink: NetlinkSocket
    state: StateDirectory
    here: Here


@dataclass(frozen=True, slots=True)
class Plan:
    """What is there, what would change and what the guest will be told."""

    journal: Journal
    changes: tuple[Change, ...]
    already_up: bool

    @property
    def warnings(self) -> tuple[str, ...]:
        """In words, what is not well about how the facts are kept."""
        return only_copy(self.journal)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What `up` reached: the facts it works from, and whether there was anything to do."""

    journal: Journal
    changed: bool
    warnings: tuple[str, ...] = ()
    """In words, what is not well about how the facts are kept, or was not recovered."""


@dataclass(frozen=True, slots=True)
class Report:
    """How a binding stands. `drift` names, in words, everything that is not as it shall be."""

    journal: Journal | None
    drift: tuple[str, ...] = ()
    server: ServerReport | None = None
    """What the server says; None where it does not answer."""
    warnings: tuple[str, ...] = ()
    """In words, what is as it shall be and yet not well."""
    now: Status = _NOTHING
    """What it was read from."""


@contextlib.contextmanager
def at(config: Config) -> Iterator[Place]:
    """Go to the namespace that is meant.

    Raises:
        UsageError: there is no such namespace.
        RefusedError: it is the host's own.
    """
    if config.netns:
        netns.enter(config.netns)
    if netns.is_host():
        raise RefusedError(
            "this is the host's own network namespace, and a VM would take the host off the network; "
            "run vmnet in the pod, or name the pod's namespace with --netns"
        )
    with standing_here(config) as place:
        yield place


@contextlib.contextmanager
def standing_here(config: Config) -> Iterator[Place]:
    """Stay in the namespace that we are in, whosever it is."""
    netns_cookie = netns.cookie()
    with NetlinkSocket() as netlink:
        yield Place(netlink, StateDirectory(config.state_dir, netns_cookie), Here(netns_cookie, netns.boot_id()))


@contextlib.contextmanager
def alone_at(config: Config) -> Iterator[Place]:
    """Go to the namespace that is meant and be the only agent there; wait for another one to end."""
    with at(config) as place, netns_lock.lock(), place.state.lock():
        yield place


def plan(config: Config) -> Plan:
    """Say what `up` would do. Touches nothing."""
    with at(config) as place:
        now = read(place.netlink)
        known = _recalled(place, config, now)
        if known:
            refuse_anothers(now, known.journal)
        journal = known.journal if known else _begin(place, config, now)
        return Plan(journal, diff(now, _bound(journal, now)), already_up=known is not None)


def up(config: Config) -> Outcome:
    """Bring the binding up, or back up, and start the server; return when no DISCOVER can be lost any more.

    Raises:
        RefusedError: nothing was touched.
        RolledBackError: something failed, the pod is as it was found.
        RollbackIncompleteError: something failed, and so did giving the pod back; or a repair failed.
    """
    with alone_at(config) as place:
        now = read(place.netlink)
        known = _recalled(place, config, now)
        if known:
            return _up_again(place, config, known, now)
        if config.resume:
            raise RefusedError("nothing to resume: no binding is up here; `vmnet up` begins one")
        journal = _begin(place, config, now)
        directory = place.state.make(journal.pod.ifname)
        try:
            directory.save(journal)
        except VmnetError:
            directory.remove()
            raise
        try:
            changed = _bring_up(place, directory, journal, now, journal.settings)
        except BaseException as error:  # a bug of ours, too, must not leave the pod half-way
            _roll_back(place, directory, journal, error)
            raise
        return Outcome(journal, changed, only_copy(journal))


def _up_again(place: Place, config: Config, known: Known, now: Status) -> Outcome:
    """Bring back up what was begun already.

    Raises:
        RefusedError: nothing was touched.
        RollbackIncompleteError: a repair failed.
    """
    warnings = only_copy(known.journal)
    if known.directory is None:
        known = _with_callers(known, config)
        warnings += (_FROM_THE_NOTE,)
    journal = known.journal
    _refuse_other_settings(journal, config)
    refuse_anothers(now, journal)
    directory = held(place.state, known)
    warnings += _renewed(directory, journal)
    changed = _bring_back(place, directory, journal, now, _server_settings(journal, config))
    return Outcome(journal, changed, warnings)


def _renewed(directory: BindingDirectory, journal: Journal) -> tuple[str, ...]:
    """Save a journal of an older vmnet anew, or say why not: it was understood, so the guest can be served."""
    try:
        directory.renew(journal)
    except RefusedError as error:
        reason = getattr(error.__cause__, "strerror", None) or error
        return (
            f"the journal in {directory.path} stays as an older vmnet wrote it: {reason}; see that it can be "
            "written, then run `vmnet up`",
        )
    return ()


def down(config: Config) -> Journal | None:
    """Give the pod back as it was found, and end the server. None when there is nothing to give back.

    Raises:
        RefusedError: a program has the tap open, and it is not to be forced.
        RollbackIncompleteError: the kernel refused, or it is not as it shall be; what is left, how to finish.
    """
    with alone_at(config) as place:
        now = read(place.netlink)
        known = recall(place.state, place.here, config.interface, now)
        if known is None:
            refuse_orphans(now, config.interface, begun_here(place.state, place.here, now))
            return None
        if not config.force and not anothers(now, known.journal):
            refuse_in_use(now.link(known.journal.settings.tap))
        directory = held(place.state, known)
        try:
            _restore(place, directory, known.journal)
        except (KernelError, UnexpectedError, OSError) as error:
            raise RollbackIncompleteError(
                f"{error}; the pod's configuration is saved in {directory.path}; run `vmnet down` to finish"
            ) from error
        return known.journal


def status(config: Config) -> Report:
    """Compare what is there with what shall be there, and ask the server how the guest stands."""
    with at(config) as place:
        return report(place, config)


def report(place: Place, config: Config) -> Report:
    """The same in the namespace where we are already, as often as is liked."""
    now = read(place.netlink)
    return _report(place, _recalled(place, config, now), now)


def reports(place: Place, config: Config) -> tuple[Report, ...]:
    """The same of each binding that is here; of the one that is named, where one is. One report where none is.

    Raises:
        RefusedError: the journal of one of them cannot be trusted.
    """
    now = read(place.netlink)
    ifnames = (config.interface,) if config.interface else tuple(begun_here(place.state, place.here, now)) or ("",)
    each = (_recalled(place, replace(config, interface=ifname), now) for ifname in ifnames)
    return tuple(_report(place, known, now) for known in each)


def _report(place: Place, known: Known | None, now: Status) -> Report:
    if known is None:
        return Report(None, now=now)
    spec = _bound(known.journal, now)
    stranger = anothers(now, known.journal)
    differences = [whose(now, stranger, known.journal)] if stranger else []
    differences += [str(change) for change in diff(_without(now, stranger), spec)]
    differences += [
        f"link {name} is gone, and `vmnet up` cannot bring it back; run `vmnet down`, and `vmnet up` when the CNI "
        "has made it again"
        for name in missing_links(now, spec)
    ]
    if known.directory is None:
        lost = (*differences, "save the pod's configuration again: the journal is lost")
        return Report(known.journal, lost, now=now)
    said = call.ask_server(known.directory)
    trouble = processes.trouble(known.directory, said)
    if trouble:
        differences.append(f"start the DHCP server: {trouble}")
    warnings = _warnings(known.journal, spec, now, said)
    return Report(known.journal, tuple(differences), said, tuple(warnings), now)


def _without(now: Status, stranger: Link | None) -> Status:
    """Leave a link out that is none of the binding's: no change of ours is about it."""
    return replace(now, links=tuple(link for link in now.links if link is not stranger)) if stranger else now


def statuses(config: Config) -> list[Report]:
    """Return `status` of each binding here; of the one that is named, where one is."""
    with at(config) as place:
        return list(reports(place, config))


def _warnings(journal: Journal, spec: Spec, now: Status, said: ServerReport | None) -> Iterator[str]:
    """Say whether the guest's address is somebody else's too, and what keeps it less apart than it could be."""
    yield from only_copy(journal)
    if declined := conflict(journal.pod, journal.lease, said):
        yield declined
    for address in ran_out(journal.pod, now):
        yield (
            f"{address.local} has expired: nothing renewed it while the VM had it, and the guest no longer gets "
            "it; run `vmnet down`, and `vmnet up` when the pod has an address again"
        )
    if journal.settings.isolation == ISOLATION_OFF:
        yield "the guest is not isolated from the pod network (--isolation off)"
        bridge = now.link(bridge_name(journal.pod.ifname))
        if bridge and bridge.accept_ra:
            yield (
                f"{bridge.ifname} accepts router advertisements, so the guest can give the pod addresses and "
                "routes; run the sysctl that `vmnet doctor` names (VMN-406), or use --isolation strict"
            )
    if now.chains is None:
        yield "the isolation rules were not checked: CAP_NET_ADMIN is missing"
    standing = standing_chains(now, spec)
    for ruleset in spec.rulesets:
        if ruleset.warning and standing == set(ruleset.chains):
            yield ruleset.warning


def serve(config: Config) -> None:
    """Become the server of a binding that is up, in the foreground. Returns only by an error.

    Raises:
        RefusedError: the binding is not up, or is served already.
    """
    with alone_at(config) as place:
        known = _recalled(place, config, read(place.netlink))
        if known is None:
            raise RefusedError("nothing to serve: no binding is up here; run `vmnet up` first")
        if known.directory is None:
            known = _with_callers(known, config)
        directory, journal = held(place.state, known), known.journal
        pid = processes.server_pid(directory)
        if pid is not None:
            by = f"process {pid}" if pid else "another container's process"
            raise RefusedError(f"{journal.settings.tap} is served already, by {by}")
        packets = open_packets(journal)
        compiler = processes.start_compiler(journal.leases, _STDERR)
        processes.become_server(directory, packets, compiler.replies, _server_settings(journal, config))


def node_signs(now: Status, config: Config, ifname: str) -> tuple[str, ...]:
    """Say what a node has and a pod has not; the environment is ours, and tells of no other namespace."""
    if config.on_node:
        return ()
    return signs(now, {} if config.netns or config.entered else os.environ, ifname)


def _begin(place: Place, config: Config, now: Status) -> Journal:
    """Find the facts of a pod that is not bound yet."""
    wished = config.settings
    if wished.isolation != ISOLATION_OFF and firewall.program() is None:
        raise RefusedError(
            "nft is missing, which loads the rules that isolate the guest; install nftables, or do without "
            "isolation: --isolation off"
        )
    # A tap that nobody owns is anybody's who can open /dev/net/tun (drivers/net/tun.c, tun_not_capable).
    owner = os.geteuid() if wished.owner is None else wished.owner
    begun = begun_here(place.state, place.here, now)
    refuse_orphans(now, config.interface, begun)
    refuse_bound_elsewhere(now, config.interface, begun)
    pod = discover(now, config.interface)
    refuse_node(node_signs(now, config, pod.ifname))
    tap = _tap(
        now,
        pod,
        wished.tap if config.tap_is_named else "",
        of_bindings((one.pod.ifname, one.settings.tap) for one in begun.values() if one),
    )
    settings = replace(wished, tap=tap, owner=owner, hostname=wished.hostname or resolver.hostname(config))
    if settings.mtu is not None and settings.mtu > pod.mtu:
        raise RefusedError(
            f"MTU {settings.mtu} is larger than {pod.ifname}'s {pod.mtu}, so frames would be lost; use --mtu "
            f"{pod.mtu} or less"
        )
    ipv4, ipv6 = _leases(pod, resolver.resolver(config), settings)
    better = "" if config.interface else better_interface(now, pod)
    for said in filter(None, (better, resolver.borrowed(config))):
        ipv4 = ipv4 and replace(ipv4, warnings=(*ipv4.warnings, said))
        ipv6 = ipv6 and replace(ipv6, warnings=(*ipv6.warnings, said))
    if not is_host_name(settings.hostname):  # of the UTS namespace; what it is, the lease's warning says
        settings = replace(settings, hostname="")
    journal = Journal(
        schema=SCHEMA,
        boot_id=place.here.boot_id,
        netns_cookie=place.here.netns_cookie,
        pod=pod,
        settings=settings,
        lease=ipv4,
        lease6=ipv6,
    )
    _refuse_unreadable(journal, place.here)
    return journal


def _refuse_unreadable(journal: Journal, here: Here) -> None:
    """Refuse, before anything is touched, facts that could not be read back: they would be lost.

    Raises:
        RefusedError: they could not, or are too many.
    """
    try:
        text = text_of(journal, here)
    except ValueError as error:
        raise RefusedError(f"{journal.pod.ifname!a} cannot be handed over: {error}") from error
    refuse_too_large(text.encode(), journal.pod.ifname)


def _tap(now: Status, pod: PodInterface, wished: str, ours: dict[str, str]) -> str:
    """Return the name that the tap shall have: the one that is wished for, else a free one.

    Raises:
        RefusedError: a link of that name is there, or one that the bridge or the NIC would have.
    """
    tap = wished or free_tap({*ours, *(link.ifname for link in now.links)})
    link = now.link(tap)
    holders: tuple[Holder, ...] = ()
    if link and link.kind == "tun":
        from vmnet.kernel.tap_holders import tap_holders  # only a refusal needs it

        holders = tap_holders()
    refuse_names_taken(now, pod, tap, ours, holders)
    return tap


def _leases(pod: PodInterface, dns: Resolver, settings: Settings) -> tuple[Lease | None, Lease6 | None]:
    """Compose what the guest is told, of at least one family."""
    if not global_addresses(pod, ipv6=True):
        return lease(pod, dns, settings), None
    from vmnet.lease.ipv6 import lease6, untold  # a millisecond that only pods with IPv6 pay

    ipv6 = lease6(pod, dns, settings)
    if ipv6 and all(address.ipv6 for address in pod.addresses):
        return None, ipv6
    ipv4 = lease(pod, dns, settings)
    return replace(ipv4, warnings=(*ipv4.warnings, *untold(pod, settings))), ipv6


def _recalled(place: Place, config: Config, now: Status) -> Known | None:
    """Find the binding, unless nothing of it stands: then what the NIC shows now is what counts."""
    known = recall(place.state, place.here, config.interface, now)
    return None if known and is_untouched(now, known.journal) else known


def _with_callers(known: Known, config: Config) -> Known:
    """Let the caller say what a note is not believed (`saved_facts.not_from_a_note`)."""
    wished, settings = config.settings, known.journal.settings
    owner, group = settings.owner, settings.group
    if owner is None:
        owner, group = (os.geteuid(), None) if wished.owner is None else (wished.owner, wished.group)
    settings = replace(
        settings,
        owner=owner,
        group=group,
        sandbox=wished.sandbox,
        server_user=wished.server_user,
        server_group=wished.server_group,
    )
    return replace(known, journal=replace(known.journal, settings=settings))


def _server_settings(journal: Journal, config: Config) -> Settings:
    """Return what a server that is started again is to be: no journal alone leaves its sandbox out.

    Somebody in the pod may have written it. Where --netns was given it does not name a user of ours either.
    """
    saved, wished = journal.settings, config.settings
    settings = replace(saved, sandbox=saved.sandbox or wished.sandbox)
    if config.netns:
        settings = replace(settings, server_user=wished.server_user, server_group=wished.server_group)
    return settings


def _bound(journal: Journal, now: Status) -> Spec:
    pod, note = journal.pod, written(journal)
    spec = bound(pod, journal.settings, ipv6_settable=sysctl.ipv6_settable(), note=note)
    return lasting(spec, pod, now)


def _unbound(journal: Journal, now: Status) -> Spec:
    """Say how the pod shall be without the VM, as far as it can be made so: its addresses wait for no setting."""
    pod, nic = journal.pod, now.link_of_index(journal.pod.ifindex)
    if nic and not sysctl.ipv6_settable():
        if pod.accept_ra not in (None, nic.accept_ra):
            say(
                "warning",
                "setting-left",
                f"accept_ra of {pod.ifname} stays {nic.accept_ra}, and was {pod.accept_ra}: /proc/sys is "
                "read-only here; on the node, as root: `nsenter --net=/proc/PID/ns/net sysctl -w net/ipv6/conf/"
                f"{pod.ifname}/accept_ra={pod.accept_ra}`, PID being that of a process of this pod",
            )
        pod = replace(pod, accept_ra=None)
    return lasting(unbound(pod, journal.settings), pod, now)


def _refuse_other_settings(journal: Journal, config: Config) -> None:
    change = first_change(journal.settings, config.settings)
    if change:
        raise RefusedError(f"{journal.pod.ifname} is already up with {change}; run `vmnet down` first")


def _bring_back(
    place: Place, directory: BindingDirectory, journal: Journal, now: Status, server: Settings
) -> bool:
    """Bring up what was begun already. Where that fails, nothing is given back: a VM may be running on it."""
    try:
        return _bring_up(place, directory, journal, now, server)
    except (KernelError, UnexpectedError, OSError) as error:
        raise RollbackIncompleteError(
            f"{error}; the pod's configuration is saved in {directory.path}; run `vmnet up` to finish, or "
            "`vmnet down` to restore the pod"
        ) from error


def _bring_up(
    place: Place, directory: BindingDirectory, journal: Journal, now: Status, server_settings: Settings
) -> bool:
    """Converge on the bound state and see to the server. Returns whether anything was done."""
    spec = _bound(journal, now)
    gone = missing_links(now, spec)
    if gone:
        raise RefusedError(f"the pod's NIC {gone[0]} is gone; run `vmnet down`, and `vmnet up` when it is back")
    server = ServerStart(directory, replace(journal, settings=server_settings))
    try:
        if now.link(journal.settings.tap):
            server.see_to_it()
        changed = _converge(place.netlink, spec, now, after=server.after)
        server.see_to_it()  # where its socket was refused as the tap was made, which a new round does not repeat
        server.await_ready()
    except BaseException:
        server.abandon()
        raise
    return changed or server.started


def _converge(
    netlink: NetlinkSocket, spec: Spec, now: Status, after: Callable[[Change], None] = lambda _change: None
) -> bool:
    """Apply the difference until a read shows none. Returns whether there was one.

    Raises:
        KernelError: a change was refused.
        UnexpectedError: the kernel accepts everything and yet it is not so.
    """
    changed = False
    for last in (False,) * (_ROUNDS - 1) + (True,):
        changes = diff(now, spec)
        if not changes:
            return changed
        changed = True
        try:
            for change in changes:
                apply(netlink, change)
                after(change)
        except KernelError as error:
            if last or error.errno not in _OVERTAKEN:
                raise
        now = read(netlink)
    remaining = diff(now, spec)
    if remaining:
        raise UnexpectedError(
            f"the kernel accepted every change, but this one did not last: {remaining[0]}; find out which program "
            "changes the pod's links"
        )
    return changed


def _roll_back(place: Place, directory: BindingDirectory, journal: Journal, cause: BaseException) -> None:
    """Give the pod back after a failed first bring-up, and say so."""
    try:
        _restore(place, directory, journal)
    except (VmnetError, OSError) as error:
        raise RollbackIncompleteError(
            f"{cause}; restoring the pod failed, too: {error}; its configuration is saved in {directory.path}; "
            "run `vmnet down` to finish"
        ) from cause
    if isinstance(cause, RefusedError) or not isinstance(cause, VmnetError | OSError):
        return
    lacking = remedy() if isinstance(cause, OSError) and cause.errno in _FORBIDDEN else ""
    raise RolledBackError("; ".join(filter(None, (str(cause), "all changes were undone", lacking)))) from cause


def _restore(place: Place, directory: BindingDirectory, journal: Journal) -> None:
    processes.stop_server(directory)
    now = read(place.netlink)
    if not is_untouched(now, journal):
        for note in lost_note(now, journal):
            apply(place.netlink, AddEntry(note))
            now = read(place.netlink)
        spec, stranger = _unbound(journal, now), anothers(now, journal)
        if stranger:
            spec = replace(spec, absent=tuple(name for name in spec.absent if name != stranger.ifname))
        _converge(place.netlink, spec, now)
    processes.end_if_idle(directory)
    directory.remove()
