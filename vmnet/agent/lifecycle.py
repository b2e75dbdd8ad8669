"""The road: read → discover → save → bind → apply → verify → serve. The only module that knows the order."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from vmnet.agent.begin import begin
from vmnet.agent.converge import converge
from vmnet.agent.place import Place, alone_at, at, recalled
from vmnet.agent.recall import Known, begun_here, held, is_untouched, lost_note, only_copy, recall
from vmnet.agent.specs import bound_by, unbound_by
from vmnet.agent.tap_in_use import anothers, refuse_anothers, refuse_in_use
from vmnet.control import processes
from vmnet.control.serving import ServerStart, open_packets
from vmnet.errors import (
    KernelError,
    RefusedError,
    RollbackIncompleteError,
    RolledBackError,
    UnexpectedError,
    VmnetError,
)
from vmnet.kernel.apply import apply
from vmnet.kernel.privileges import remedy
from vmnet.kernel.read import read
from vmnet.model.change import AddEntry, Change
from vmnet.plumbing.diff import diff, missing_links
from vmnet.plumbing.discover import (
    refuse_orphans,
)
from vmnet.settings.difference import first_change

if TYPE_CHECKING:
    from vmnet.model.links import Status
    from vmnet.model.settings import Settings
    from vmnet.saved.journal import BindingDirectory
    from vmnet.saved.schema import Journal
    from vmnet.settings.config import Config

_STDERR = 2
_FORBIDDEN = frozenset({errno.EPERM, errno.EACCES, errno.ENOENT})
"""What the kernel says where a capability, a right or a device is missing."""
_FROM_THE_NOTE = (
    "the journal was lost; the pod's configuration was read from the note on the NIC. It has no --owner, "
    "--server-user or --sandbox off: give these flags again if you used them"
)


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


def plan(config: Config) -> Plan:
    """Say what `up` would do. Touches nothing."""
    with at(config) as place:
        now = read(place.netlink)
        known = recalled(place, config, now)
        if known:
            refuse_anothers(now, known.journal)
        journal = known.journal if known else begin(place, config, now)
        return Plan(journal, diff(now, bound_by(journal, now)), already_up=known is not None)


def up(config: Config) -> Outcome:
    """Bring the binding up, or back up, and start the server; return when no DISCOVER can be lost any more.

    Raises:
        RefusedError: nothing was touched.
        RolledBackError: something failed, the pod is as it was found.
        RollbackIncompleteError: something failed, and so did giving the pod back; or a repair failed.
    """
    with alone_at(config) as place:
        now = read(place.netlink)
        known = recalled(place, config, now)
        if known:
            return _up_again(place, config, known, now)
        if config.resume:
            raise RefusedError("nothing to resume: no binding is up here; `vmnet up` begins one")
        journal = begin(place, config, now)
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


def serve(config: Config) -> None:
    """Become the server of a binding that is up, in the foreground. Returns only by an error.

    Raises:
        RefusedError: the binding is not up, or is served already.
    """
    with alone_at(config) as place:
        known = recalled(place, config, read(place.netlink))
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
    spec = bound_by(journal, now)
    gone = missing_links(now, spec)
    if gone:
        raise RefusedError(f"the pod's NIC {gone[0]} is gone; run `vmnet down`, and `vmnet up` when it is back")
    server = ServerStart(directory, replace(journal, settings=server_settings))
    try:
        if now.link(journal.settings.tap):
            server.see_to_it()
        changed = converge(place.netlink, spec, now, after=server.after)
        server.see_to_it()  # where its socket was refused as the tap was made, which a new round does not repeat
        server.await_ready()
    except BaseException:
        server.abandon()
        raise
    return changed or server.started


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
        spec, stranger = unbound_by(journal, now), anothers(now, journal)
        if stranger:
            spec = replace(spec, absent=tuple(name for name in spec.absent if name != stranger.ifname))
        converge(place.netlink, spec, now)
    processes.end_if_idle(directory)
    directory.remove()
