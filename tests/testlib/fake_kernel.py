"""A kernel in memory that obeys `apply`, with the things a real one does by itself."""

from __future__ import annotations

import ipaddress
from dataclasses import replace

from vmnet.model.change import (
    AddEntry,
    AlterLink,
    Change,
    CreateLink,
    DeleteCheck,
    DeleteEntry,
    DeleteLink,
    DeleteRules,
    LoadRules,
)
from vmnet.model.links import (
    Address,
    FdbEntry,
    FilterChain,
    Link,
    LinkEntry,
    Neighbour,
    Note,
    OffloadCheck,
    Route,
    Status,
)

_IFA_F_NOPREFIXROUTE = 0x200
_SCOPE_LINK, _PROTOCOL_KERNEL = 253, 2


class FakeKernel:
    """Holds a Status and changes it."""

    def __init__(self, status: Status) -> None:
        self._links = list(status.links)
        self._entries: list[LinkEntry] = [*status.addresses, *status.routes, *status.neighbours, *status.fdb]
        self._chains: list[FilterChain] = list(status.chains or ())
        self._checks = set(status.checks)
        self._next_ifindex = max(link.ifindex for link in status.links) + 1
        self.applied: list[Change] = []

    def read(self) -> Status:
        """Show what is there."""
        return Status(
            links=tuple(self._links),
            addresses=tuple(entry for entry in self._entries if isinstance(entry, Address)),
            routes=tuple(entry for entry in self._entries if isinstance(entry, Route)),
            neighbours=tuple(entry for entry in self._entries if isinstance(entry, Neighbour)),
            fdb=tuple(entry for entry in self._entries if isinstance(entry, FdbEntry)),
            chains=tuple(self._chains),
            checks=tuple(self._checks),
            notes=tuple(entry for entry in self._entries if isinstance(entry, Note)),
        )

    def apply(self, change: Change) -> None:
        """Make one change, as strictly as a kernel would: a link that is not there is an error."""
        self.applied.append(change)
        if isinstance(change, CreateLink):
            self._create(change)
        elif isinstance(change, DeleteLink):
            self._delete_link(change)
        elif isinstance(change, AlterLink):
            self._alter(change)
        elif isinstance(change, AddEntry):
            self._add(change.entry)
        elif isinstance(change, DeleteEntry):
            self._remove(change)
        elif isinstance(change, DeleteCheck):
            self._checks = {check for check in self._checks if check.ifname != change.ifname}
            self._checks |= {OffloadCheck(change.ifname, "")} if change.keep_place else set()
        else:
            self._filter(change)

    def _filter(self, change: LoadRules | DeleteRules) -> None:
        """Replace a table as a whole. An old kernel takes no chain of a link that is not there."""
        self._chains = [chain for chain in self._chains if chain.table != change.table]
        if isinstance(change, LoadRules):
            self._chains += change.rulesets[0].chains
            self._checks |= set(change.rulesets[0].checks)
            assert all(self._named(check.ifname) for check in self._checks)
            for chain in self._chains:
                assert not chain.device or self._named(chain.device)

    def _named(self, ifname: str) -> Link:
        return next(link for link in self._links if link.ifname == ifname)

    def _create(self, change: CreateLink) -> None:
        spec = change.link
        assert all(link.ifname != spec.ifname for link in self._links), f"{spec.ifname} exists"
        bridge = spec.kind == "bridge"
        self._links.append(
            Link(
                ifindex=self._next_ifindex,
                ifname=spec.ifname,
                kind=spec.kind or "",
                mac=(spec.mac or "") if bridge else "aa:aa:aa:aa:aa:aa",
                mtu=(spec.mtu or 1500) if bridge else 1500,
                up=False,
                stp=bool(spec.stp) if bridge else None,
                mcast_snooping=bool(spec.mcast_snooping) if bridge else None,
                owner=spec.owner,
                group=spec.group,
                multi_queue=bool(spec.multi_queue) if not bridge else None,
                arp_ignore=0,
                addr_gen_mode=0,
                accept_ra=1,
                disable_ipv6=0,
            )
        )
        self._next_ifindex += 1

    def _delete_link(self, change: DeleteLink) -> None:
        assert self._named(change.ifname).ifindex == change.ifindex
        self._links = [
            replace(link, controller="", learning=None) if link.controller == change.ifname else link
            for link in self._links
            if link.ifindex != change.ifindex
        ]
        self._entries = [entry for entry in self._entries if entry.ifname != change.ifname]
        self._checks = {check for check in self._checks if check.ifname != change.ifname}

    def _alter(self, change: AlterLink) -> None:
        before = self._named(change.ifname)
        after = replace(before, **dict(change.values))  # type: ignore[arg-type] # the fields are LinkSpec's
        if "controller" in dict(change.values):
            after = replace(after, learning=True if after.controller else None)
            assert not after.controller or self._named(after.controller).kind == "bridge"
        if "learning" in dict(change.values):
            assert before.controller, "only a port has it"
        if after.ifname != before.ifname:
            assert all(link.ifname != after.ifname for link in self._links), f"{after.ifname} exists"
            self._entries = [
                replace(entry, ifname=after.ifname) if entry.ifname == before.ifname else entry
                for entry in self._entries
            ]
            self._checks = {
                replace(check, ifname=after.ifname) if check.ifname == before.ifname else check
                for check in self._checks
            }
        self._links[self._links.index(before)] = after

    def _add(self, entry: LinkEntry) -> None:
        self._named(entry.ifname)
        if entry in self._entries:
            return
        if isinstance(entry, Route) and entry.gateway and ":" not in entry.gateway:
            assert self._is_on_link(entry), f"{entry.gateway} is unreachable"
        self._entries.insert(self._place(entry), entry)
        if isinstance(entry, Address) and not entry.flags & _IFA_F_NOPREFIXROUTE and not entry.ipv6:
            self._connect(entry)

    def _place(self, entry: LinkEntry) -> int:
        """An IPv6 address goes before those of no wider scope (net/ipv6/addrconf.c, ipv6_link_dev_addr)."""
        if not isinstance(entry, Address) or not entry.ipv6:
            return len(self._entries)
        behind = (
            number
            for number, other in enumerate(self._entries)
            if isinstance(other, Address)
            and (other.ifname, other.ipv6) == (entry.ifname, True)
            and other.scope >= entry.scope
        )
        return next(behind, len(self._entries))

    def _is_on_link(self, route: Route) -> bool:
        gateway = ipaddress.ip_address(route.gateway)
        return bool(route.flags) or any(
            isinstance(other, Route)
            and other.ifname == route.ifname
            and not other.gateway
            and not other.ipv6
            and gateway in ipaddress.ip_network(other.dst)
            for other in self._entries
        )

    def _connect(self, address: Address) -> None:
        """Add the connected route that comes with an IPv4 address (net/ipv4/fib_frontend.c, fib_add_ifaddr)."""
        if address.prefixlen < 32:
            network = ipaddress.ip_network(f"{address.local}/{address.prefixlen}", strict=False)
            self._add(
                Route(
                    ifname=address.ifname,
                    dst=str(network),
                    prefsrc=address.local,
                    scope=_SCOPE_LINK,
                    protocol=_PROTOCOL_KERNEL,
                )
            )

    def _remove(self, change: DeleteEntry) -> None:
        entry = change.entry
        if entry in self._entries:
            self._entries.remove(entry)
        if isinstance(entry, Address):
            self._entries = [
                other
                for other in self._entries
                if not (isinstance(other, Route) and other.ifname == entry.ifname and other.prefsrc == entry.local)
            ]
