"""What a journal says, whichever vmnet wrote it: today's schema, and the way there from those before it.

A VM outlives the vmnet that started it: the next one finds the binding up, and its journal and note as the last
one wrote them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vmnet.model.codec import parse, plain, typed
from vmnet.model.lease import Lease, Lease6, LeasedAddress, Leases
from vmnet.model.links import Route
from vmnet.model.pod import PodInterface
from vmnet.model.settings import Settings, Told

SCHEMA = 4
"""Raised by the first change to what a journal holds after a release; `tests/data/journals` keeps one of each."""
_ADDED: dict[int, tuple[tuple[str, str], ...]] = {
    1: (
        *(("settings", name) for name in ("isolation", "allow_addresses", "allow_macs")),
        *(("settings", name) for name in ("sandbox", "server_user", "server_group", "dhcp", "told")),
        *(("lease", name) for name in ("ntp_servers", "boot", "ipv6_only_wait", "options")),
        *(("lease", name) for name in ("neighbours", "served")),
    ),
    2: (
        *(("settings.told", name) for name in ("ipv6", "autonomous", "nat64_prefix")),
        ("pod.routes", "lifetime"),
    ),
    3: (
        ("pod.routes", "table"),
        *(("pod", name) for name in ("accept_ra", "lookups", "proxies", "read_at", "bare_clsact")),
        ("lease", "ends"),
        *(("lease6.addresses", name) for name in ("preferred_until", "valid_until")),
    ),
}
"""The older schemas that are read, and what the next one added to each: part and field, which gets its default."""
_FIRST_WITH_LEASE6 = 3
_PARTS: dict[str, type[PodInterface | Route | Settings | Told | Lease | LeasedAddress]] = {
    "pod": PodInterface,
    "pod.routes": Route,
    "settings": Settings,
    "settings.told": Told,
    "lease": Lease,
    "lease6.addresses": LeasedAddress,
}


@dataclass(frozen=True, slots=True)
class Journal:
    """Everything that must outlive a killed agent."""

    schema: int
    boot_id: str
    netns_cookie: int
    pod: PodInterface
    settings: Settings
    lease: Lease | None
    lease6: Lease6 | None = None

    @property
    def vm_mac(self) -> str:
        """The MAC of the VM."""
        return self.leases.chaddr

    @property
    def leases(self) -> Leases:
        """What the guest is told."""
        mac = (self.settings.mac or self.pod.mac).lower()
        return Leases(mac, self.lease, self.lease6, self.settings.allow_addresses)


@dataclass(frozen=True, slots=True)
class Here:
    """The namespace that a journal must speak of: by its cookie, in this boot of the machine."""

    netns_cookie: int
    boot_id: str


class UnknownSchemaError(ValueError):
    """It may well be a journal, but this vmnet does not know what its fields mean."""


def understand(text: str | bytes, here: Here) -> Journal | None:
    """Return the journal that the text holds, in today's schema; None where it is of another boot.

    Raises:
        UnknownSchemaError: it is of a newer vmnet, or of one too old.
        ValueError: it is no journal, or not one of this namespace.
    """
    value = parse(text)
    boot_id = value.get("boot_id") if isinstance(value, dict) else None
    if isinstance(boot_id, str) and boot_id != here.boot_id:
        return None  # whatever else it says: its namespace is gone with everything in it
    journal = typed(Journal, _upgraded(value))
    if journal.lease is None and journal.lease6 is None:
        raise ValueError("Journal.lease is NoneType, not an object, and there is no lease6 either")
    if journal.netns_cookie != here.netns_cookie:
        raise ValueError("it is of another network namespace")
    return journal


def _upgraded(value: Any) -> Any:  # noqa: ANN401 # JSON is of any type
    """Return a parsed journal of an older schema as one of today's; what is no journal, as it is."""
    schema = value.get("schema") if isinstance(value, dict) else None
    if type(schema) is not int or schema == SCHEMA:
        return value
    if schema not in _ADDED:
        raise UnknownSchemaError(f"it has schema {schema}, this vmnet reads {min(_ADDED)} to {SCHEMA}")
    # The newest first: what an older one lacks as a whole comes with all that it has today.
    for older in range(SCHEMA - 1, schema - 1, -1):
        for part, name in _ADDED[older]:
            value = _with_default(value, tuple(part.split(".")), part, name)
    if schema < _FIRST_WITH_LEASE6:
        if "lease6" in value:
            raise ValueError("lease6 should not be there yet")
        # A guest that was told nothing of IPv6 is not told while it runs: it would begin to use it.
        value = {"lease6": None, **value}
    return {**value, "schema": SCHEMA}


def _with_default(fields: Any, path: tuple[str, ...], part: str, name: str) -> Any:  # noqa: ANN401 # as above
    """Return the fields with the default of `part`'s field `name`, which is `path` further down; of many, each."""
    if isinstance(fields, list) and not path:
        return [_with_default(each, path, part, name) if isinstance(each, dict) else each for each in fields]
    if not isinstance(fields, dict):
        return fields
    if path:
        down, *rest = path
        return {**fields, down: _with_default(fields[down], tuple(rest), part, name)} if down in fields else fields
    if name in fields:
        raise ValueError(f"{part}.{name} should not be there yet")
    return {**fields, name: plain(_PARTS[part].__dataclass_fields__[name].default)}
