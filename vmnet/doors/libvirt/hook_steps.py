"""What the hook does for a domain that is ours: the agent's verbs in the right namespace, and who asked for it."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from vmnet.agent import lifecycle
from vmnet.diagnosis import standing
from vmnet.doors.libvirt.claims import Claim, ClaimDirectory, alone_in
from vmnet.doors.libvirt.hook_log import tell
from vmnet.errors import RefusedError, UsageError, VmnetError
from vmnet.kernel import netns
from vmnet.kernel.in_time import in_time
from vmnet.kernel.tap import is_attached
from vmnet.model.settings import Settings
from vmnet.settings import resolver
from vmnet.settings.config import Config, small_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmnet.domain.read import Domain
    from vmnet.domain.wishes import Wish
    from vmnet.saved.schema import Journal

_CAP_NET_ADMIN = 1 << 12
_ALWAYS_SAID = ("tap", "multi_queue")
"""By a domain that is ours, one way or the other."""


@dataclass(frozen=True, slots=True)
class Who:
    """A domain as far as it must be known to give back what it took."""

    name: str
    uuid: str
    """Empty where its XML does not tell; then its name does."""


def prepare(state_dir: str, domain: Domain, wanted: tuple[Wish, ...]) -> None:
    """Bring up what the domain wants.

    Raises:
        VmnetError: it cannot have that; in one line.
    """
    if netns.is_host() and all(wish.implicit for wish in wanted):
        return
    libvirtd = netns.cookie()
    for wish in wanted:
        if wish.netns:
            netns.enter(wish.netns)  # before the lock: whatever that takes, other domains do not wait for it
        resolver_text = _resolver_text(wish.resolv_conf) if wish.resolv_conf else None  # likewise
        claim = Claim(
            netns=wish.netns,
            netns_cookie=netns.cookie(),
            interface=wish.interface,
            tap=wish.settings.tap,
            state_dir=wish.state_dir or state_dir,
        )
        with _alone(state_dir, claim):
            with ClaimDirectory(state_dir) as claims:
                _refuse_unreachable(claims, wish, claim, libvirtd)
                claims.add(domain.uuid, claim, domain.name)
            journal = _bring_up(claim, wish, resolver_text)
            with ClaimDirectory(state_dir) as claims:
                claims.add(domain.uuid, replace(claim, interface=journal.pod.ifname))
        _say_what_differs(state_dir, domain, journal)


def release(state_dir: str, domain: Who) -> None:
    """Give back what the domain brought up, in the place where it did.

    Raises:
        VmnetError: it could not be given back; the domain's claim stays, and the journal, from which
            `vmnet down` goes on.
    """
    failures: list[VmnetError] = []
    uuid, held = _claims_of(state_dir, domain)
    for claim in held:
        try:
            said = _give_back(state_dir, claim)
            tell(state_dir, "info", f"domain {domain.name}: release: {said}")
            with ClaimDirectory(state_dir) as claims:
                claims.drop(uuid, claim)
        except VmnetError as error:
            failures.append(error)
    if failures:
        raise failures[0]


def _claims_of(state_dir: str, domain: Who) -> tuple[str, tuple[Claim, ...]]:
    """Return what a domain has brought up, and the UUID under which that is remembered."""
    with ClaimDirectory(state_dir) as claims:
        uuid = domain.uuid or claims.uuid_of(domain.name)
        return uuid, claims.of(uuid) if uuid else ()


def _give_back(state_dir: str, claim: Claim) -> str:
    """Give one binding back, and say what came of it."""
    if not _enter(claim):
        which = claim.netns or "of the previous libvirtd"
        return f"network namespace {which} is gone, and {claim.interface} with it"
    if netns.is_host():
        return "nothing was up: it is the host's own network namespace"
    with _alone(state_dir, claim):
        if is_attached(claim.tap):
            return f"{claim.tap} stays: another domain uses it already"
        down = lifecycle.down(Config(interface=claim.interface, state_dir=claim.state_dir))
    return f"{down.pod.ifname} is as it was found" if down else "nothing was up"


def reconnect(state_dir: str, domain: Who) -> None:
    """See that what the domain brought up is whole and served.

    Raises:
        VmnetError: it is not, and could not be made so.
    """
    for claim in _claims_of(state_dir, domain)[1]:
        if _enter(claim):
            config = Config(interface=claim.interface, state_dir=claim.state_dir, resume=True)
            with _alone(state_dir, claim):
                changed = lifecycle.up(config).changed
            if changed:
                tell(state_dir, "info", f"domain {domain.name}: reconnect: {claim.tap} is served again")


def _enter(claim: Claim) -> bool:
    """Go where the claim was made; say whether that is still the same namespace. Named ones are made anew.

    Raises:
        UsageError: what stands in its place cannot be looked at.
        RefusedError: this process may not enter it.
    """
    try:
        if claim.netns:
            netns.enter(claim.netns)
    except UsageError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return False
        raise
    return netns.cookie() == claim.netns_cookie


def _refuse_unreachable(claims: ClaimDirectory, wish: Wish, claim: Claim, libvirtd: int) -> None:
    """Refuse a tap that libvirt would not find, or find taken: it would say so in riddles."""
    tap = claim.tap
    if wish.opened_by_libvirt and claim.netns_cookie != libvirtd:
        raise RefusedError(
            f"libvirt opens {tap} in its own network namespace, and {wish.netns} is another one; "
            "run libvirtd in there, or remove netns from <vmnet:network>"
        )
    if is_attached(tap):
        holders = " or ".join(f"domain {uuid}" for uuid in claims.holders(claim))
        raise RefusedError(
            f"{tap} is in use by {holders or 'another program'}; give this domain another tap (<target dev=…>), "
            "or shut that one down first"
        )


def _resolver_text(path: str) -> str:
    """Return what the file says that a domain names; what it stands on may never answer.

    Raises:
        UsageError: it is not there in time, or no file of a sensible size.
    """
    try:
        return in_time(lambda: small_file(path, "resolver file"))
    except TimeoutError as error:
        raise UsageError(f"resolver file {path!r}: {error.strerror}; name another") from error


@contextlib.contextmanager
def _alone(state_dir: str, claim: Claim) -> Iterator[None]:
    """Be the only hook in the claim's namespace; a state directory that never answers is refused before that.

    Raises:
        UsageError: the one that the domain names is not opened in time.
    """
    if claim.state_dir != state_dir:
        try:
            in_time(lambda: _open_and_close(claim.state_dir))
        except TimeoutError as error:
            raise UsageError(f"state-dir {claim.state_dir!r}: {error.strerror}; name another") from error
    with alone_in(state_dir, claim.netns_cookie):
        yield


def _open_and_close(path: str) -> None:
    """Open a directory; why it cannot be, the agent says."""
    with contextlib.suppress(OSError):
        os.close(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))


def _bring_up(claim: Claim, wish: Wish, resolver_text: str | None) -> Journal:
    """Bring the binding up as the domain needs it; one that is up otherwise is given back first."""
    asked = Config(
        interface=wish.interface,
        default_hostname="" if wish.netns else os.uname().nodename,
        netns=wish.netns,
        state_dir=claim.state_dir,
        resolv_conf=wish.resolv_conf,
        resolver_text=resolver_text,
    )
    config = resolver.within(asked)  # where we are by now
    found = standing.status(config).journal
    settings = _settled(wish.settings, found.settings if found else None)
    _refuse_unopenable(settings)
    if found and found.settings != settings:
        lifecycle.down(config)
    return lifecycle.up(replace(config, settings=settings, tap_is_named=True)).journal


def _settled(wished: Settings, found: Settings | None) -> Settings:
    """Join what the domain says with what is there. The tap is opened by libvirtd, which runs us as itself."""
    if found is None:
        return wished if wished.owner is not None else replace(wished, owner=os.geteuid())
    default = Settings()
    said = {
        field: value
        for field in Settings.__slots__
        if (value := getattr(wished, field)) != getattr(default, field) or field in _ALWAYS_SAID
    }
    if "told" in said:  # of which a domain says this only
        said["told"] = replace(found.told, ipv6=wished.told.ipv6)
    return replace(found, **said)


def _refuse_unopenable(settings: Settings) -> None:
    """Refuse a tap that belongs to somebody else than libvirtd, unless libvirtd may open any."""
    if settings.owner in (None, os.geteuid()) or _may_open_any_tap():
        return
    raise RefusedError(
        f"{settings.tap} is for uid {settings.owner}, but libvirtd, which opens it for QEMU, "
        f"has uid {os.geteuid()} and no CAP_NET_ADMIN; set owner='{os.geteuid()}'"
    )


def _may_open_any_tap() -> bool:
    with open("/proc/self/status") as file:
        effective = next((line for line in file if line.startswith("CapEff:")), "CapEff: 0")
    return bool(int(effective.split()[1], 16) & _CAP_NET_ADMIN)


def _say_what_differs(state_dir: str, domain: Domain, journal: Journal) -> None:
    pod, leases, settings = journal.pod, journal.leases, journal.settings
    if leases.chaddr != pod.mac:
        text = (
            f"its MAC {leases.chaddr} is not the pod's: traffic that the network ties to the pod's MAC will not "
            "reach the guest"
        )
        tell(state_dir, "warning", f"domain {domain.name}: {text}; write <mac address='{pod.mac}'/>")
    fitting = min((pod.mtu, *(route.mtu for route in pod.routes if route.is_default and route.mtu)))
    if settings.mtu not in (None, fitting):
        text = f"its MTU {settings.mtu} is not the pod's"
        tell(state_dir, "warning", f"domain {domain.name}: {text}; write <mtu size='{fitting}'/>")
    for warning in leases.warnings:
        tell(state_dir, "warning", f"domain {domain.name}: {warning}")
    text = f"the VM on {settings.tap} is {', '.join(leases.addresses)}, MAC {leases.chaddr}"
    tell(state_dir, "info", f"domain {domain.name}: prepare: {text}")
