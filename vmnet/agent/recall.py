"""Which binding is meant, and what was there before it: from the journal, or from the note on the NIC itself."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from vmnet.bindings.names import bridge_name, is_own_mac, nic_name
from vmnet.errors import RefusedError
from vmnet.model.codec import encode
from vmnet.model.links import Note
from vmnet.saved import note
from vmnet.saved.facts import not_from_a_note, understood
from vmnet.saved.schema import UnknownSchemaError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmnet.model.links import Status
    from vmnet.saved.journal import BindingDirectory, StateDirectory
    from vmnet.saved.schema import Here, Journal


@dataclass(frozen=True, slots=True)
class Known:
    """A binding that was begun and not ended. Without a `directory` its journal was lost, and the note told it."""

    journal: Journal
    directory: BindingDirectory | None


def recall(state: StateDirectory, here: Here, ifname: str, now: Status) -> Known | None:
    """Find the binding of `ifname`, or of the only interface there is one of.

    Raises:
        RefusedError: several are meant, or the journal cannot be trusted.
    """
    noted = _by_note(now, here)
    begun = {}
    for name in (ifname,) if ifname else dict.fromkeys((*state.bindings(), *noted)):
        known = _saved(state, here, name, noted.get(name), now)
        if known:
            begun[name] = known
    # Where one stands, what is left of another that was never changed is no choice.
    standing = {name: known for name, known in begun.items() if not is_untouched(now, known.journal)} or begun
    if len(standing) > 1:
        raise RefusedError(f"several interfaces are bound here ({', '.join(standing)}); name one with --interface")
    return next(iter(standing.values()), None)


def begun_here(state: StateDirectory, here: Here, now: Status) -> dict[str, Journal | None]:
    """Return what was begun here and not ended, by its interface; None for a journal that cannot be trusted."""
    noted = _by_note(now, here)
    begun: dict[str, Journal | None] = {}
    for name in dict.fromkeys((*state.bindings(), *noted)):
        try:
            known = _saved(state, here, name, noted.get(name), now)
        except RefusedError:
            begun[name] = None
        else:
            if known and not is_untouched(now, known.journal):
                begun[name] = known.journal
    return begun


def _by_note(now: Status, here: Here) -> dict[str, Known]:
    return {lost.pod.ifname: Known(lost, None) for lost in _noted(now, here)}


def held(state: StateDirectory, known: Known) -> BindingDirectory:
    """Return the binding's directory; where it was lost, make it anew with what the note says.

    Raises:
        RefusedError: it cannot be made.
    """
    if known.directory is not None:
        return known.directory
    directory = state.make(known.journal.pod.ifname)
    directory.save(known.journal)
    return directory


def written(journal: Journal) -> tuple[str, ...]:
    """Return the note of a journal: names for the NIC, a mark alone where it is too large."""
    return note.write(encode(journal))


def only_copy(journal: Journal) -> tuple[str, ...]:
    """Say that there is no second copy of the facts where the NIC cannot carry one."""
    if note.carries(written(journal)):
        return ()
    return (
        f"the routes and neighbours of {journal.pod.ifname} are too many for a second copy on the NIC: the state "
        "directory holds the only one; keep it until `vmnet down`",
    )


def is_untouched(now: Status, journal: Journal) -> bool:
    """Whether the pod is not, or no more, ours: then the NIC itself says what is there, and says it newer.

    The note is the first thing to be made and the last to go. A journal without one was saved before the first
    change, or is left from after the last.
    """
    pod = journal.pod
    nic = now.link_of_index(pod.ifindex)
    bridge = now.link(bridge_name(pod.ifname))
    ours = (bridge is not None and is_own_mac(bridge.mac)) or (
        nic is not None and nic.ifname == nic_name(pod.ifname)
    )
    noted = nic is not None and any(entry.ifname == nic.ifname for entry in now.notes)
    return not ours and not noted


def lost_note(now: Status, journal: Journal) -> tuple[Note, ...]:
    """Return the note that somebody took off the NIC, to be put there before the pod is given back.

    Without it a `down` that dies when bridge and tap are gone would look like one that is done.
    """
    nic = now.link_of_index(journal.pod.ifindex)
    if nic is None or any(entry.ifname == nic.ifname for entry in now.notes):
        return ()
    return (Note(nic.ifname, written(journal)),)


def _saved(state: StateDirectory, here: Here, ifname: str, noted: Known | None, now: Status) -> Known | None:
    """Load the journal; where there is none, or none that can be trusted, what the note says is what counts."""
    directory = state.existing(ifname)
    try:
        journal = directory.load(here) if directory else None
    except RefusedError as error:
        if noted is None:
            raise RefusedError(f"{error}; {_remedy(error, ifname, now)}") from error
        return noted
    return Known(journal, directory) if journal else noted


def _remedy(error: RefusedError, ifname: str, now: Status) -> str:
    """Say what to do about a journal that cannot be used: never to remove what may be the only copy."""
    if isinstance(error.__cause__, UnknownSchemaError):
        return "use the vmnet version that wrote it"
    if now.link(bridge_name(ifname)) or now.link(nic_name(ifname)) or now.notes:
        return (
            f"keep it: it may be the only copy of {ifname}'s configuration; only a new pod gets its network from "
            "the CNI again"
        )
    return "remove the directory it is in"


def _noted(now: Status, here: Here) -> Iterator[Journal]:
    """Read the notes that speak of here and now; one that does not is no better than none.

    Whoever has CAP_NET_ADMIN in the pod can write one. Who may open the tap is what the kernel says of it.
    """
    for entry in now.notes:
        for text in note.read(entry.names):
            with suppress(ValueError):
                journal = understood(text, here)
                if journal:
                    settings = not_from_a_note(journal.settings)
                    tap = now.link(settings.tap)
                    if tap:
                        settings = replace(settings, owner=tap.owner, group=tap.group)
                    yield replace(journal, settings=settings)
