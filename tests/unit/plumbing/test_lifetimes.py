"""lifetimes: what `up` and `down` make of addresses that run down while the VM has them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tests.testlib import layouts
from tests.testlib.fake_kernel import FakeKernel
from vmnet.bindings.bridge import bound, unbound
from vmnet.model.change import DeleteEntry
from vmnet.model.links import FOREVER, Address, Route, Spec, Status
from vmnet.model.settings import Settings
from vmnet.plumbing.diff import diff
from vmnet.plumbing.discover import discover
from vmnet.plumbing.lifetimes import lasting, ran_out

if TYPE_CHECKING:
    from vmnet.model.pod import PodInterface

READ_AT = 1000
FURTHER = Address("eth0", "10.99.0.2", 24)


def _found(*addresses: Address, valid: int = 300) -> tuple[FakeKernel, PodInterface]:
    """The layout bridge, its address valid for so long, and these addresses besides."""
    status = layouts.status("bridge")
    limited = tuple(
        replace(entry, valid_lifetime=valid, preferred_lifetime=valid)
        if not entry.ipv6 and entry.scope == 0
        else entry
        for entry in status.addresses
    )
    status = replace(status, addresses=(*limited, *addresses), read_at=READ_AT)
    return FakeKernel(status), discover(status)


def _converge(kernel: FakeKernel, spec: Spec) -> None:
    for _round in range(4):
        changes = diff(kernel.read(), spec)
        for change in changes:
            kernel.apply(change)
    assert not diff(kernel.read(), spec)


def _later(kernel: FakeKernel, seconds: int) -> Status:
    return replace(kernel.read(), read_at=READ_AT + seconds)


def _run_out(kernel: FakeKernel) -> None:
    """Do as the kernel does with the stand-in's address."""
    for address in kernel.read().addresses:
        if address.ifname == "eth0" and address.valid_lifetime != FOREVER:
            kernel.apply(DeleteEntry(address))


def _bound(pod: PodInterface) -> Spec:
    return bound(pod, Settings(), ipv6_settable=True)


def test_without_lifetimes_nothing_changes() -> None:
    status = layouts.status("bridge-dual")
    spec = unbound(discover(status), Settings())
    assert lasting(spec, discover(status), replace(status, read_at=9)) == spec


def test_down_gives_back_what_the_kernel_says_is_left() -> None:
    kernel, pod = _found()
    _converge(kernel, _bound(pod))
    [shown] = [entry for entry in kernel.read().addresses if entry.ifname == "eth0" and not entry.ipv6]
    kernel.apply(DeleteEntry(shown))
    renewed = replace(kernel.read(), addresses=(replace(shown, valid_lifetime=777, preferred_lifetime=77),))
    [address] = [entry for entry in lasting(unbound(pod, Settings()), pod, renewed).addresses if not entry.ipv6]
    assert (address.valid_lifetime, address.preferred_lifetime) == (777, 77)


def test_where_the_kernel_shows_nothing_the_clock_says_what_is_left() -> None:
    kernel, pod = _found()
    _converge(kernel, _bound(pod))
    _run_out(kernel)
    spec = lasting(unbound(pod, Settings()), pod, _later(kernel, 120))
    [address] = [entry for entry in spec.addresses if not entry.ipv6]
    assert address.valid_lifetime == 180


def test_an_address_that_ran_out_is_no_drift_and_named() -> None:
    kernel, pod = _found()
    _converge(kernel, _bound(pod))
    _run_out(kernel)
    now = _later(kernel, 301)
    assert diff(now, lasting(_bound(pod), pod, now)) == ()
    assert [address.local for address in ran_out(pod, now)] == ["10.244.1.2"]


def test_an_address_that_somebody_took_away_is_drift() -> None:
    kernel, pod = _found()
    _converge(kernel, _bound(pod))
    _run_out(kernel)
    now = _later(kernel, 5)
    assert [str(change) for change in diff(now, lasting(_bound(pod), pod, now))] == [
        "add address 10.244.1.2/24 on eth0"
    ]


def test_down_ends_where_the_only_address_ran_out() -> None:
    kernel, pod = _found()
    _converge(kernel, _bound(pod))
    _run_out(kernel)
    spec = lasting(unbound(pod, Settings()), pod, _later(kernel, 400))
    _converge(kernel, spec)
    assert not [route for route in kernel.read().routes if route.ifname == "eth0" and not route.ipv6]


def test_down_ends_where_one_of_two_ran_out() -> None:
    kernel, pod = _found(FURTHER)
    pod = replace(
        pod, routes=(*pod.routes, Route("eth0", "10.99.0.0/24"), Route("eth0", "10.5.0.0/16", "10.99.0.1"))
    )
    _converge(kernel, _bound(pod))
    _run_out(kernel)
    spec = lasting(unbound(pod, Settings()), pod, _later(kernel, 400))
    assert {route.dst for route in spec.routes if not route.ipv6} == {"10.99.0.0/24", "10.5.0.0/16"}
    _converge(kernel, spec)


def test_a_journal_that_does_not_say_when_gives_back_what_it_read() -> None:
    kernel, pod = _found()
    spec = unbound(replace(pod, read_at=0), Settings())
    gone = replace(_later(kernel, 400), addresses=())
    assert lasting(spec, replace(pod, read_at=0), gone) == spec


def test_a_route_that_the_kernel_makes_of_an_address_lasts_as_long_as_that() -> None:
    kernel, pod = _found(replace(FURTHER, local="fd00::2", prefixlen=64))
    routes = (
        Route("eth0", "fd00::/64", protocol=2, lifetime=1),
        Route("eth0", "fd01::/64", protocol=9, lifetime=1),
    )
    spec = lasting(replace(unbound(pod, Settings()), routes=routes), pod, _later(kernel, 5))
    assert [route.dst for route in spec.routes] == ["fd00::/64"]
