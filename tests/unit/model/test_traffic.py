"""traffic: which of the pod's routes its own packets take, by the rules of policy routing."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.testlib import layouts
from vmnet.lease.ipv4 import lease
from vmnet.model import traffic
from vmnet.model.lease import Resolver
from vmnet.model.links import Lookup, Route, Rule, Status
from vmnet.model.settings import Settings
from vmnet.plumbing.discover import discover

if TYPE_CHECKING:
    from vmnet.model.pod import PodInterface

SOURCES = ("10.244.1.2", "fd00::2")
LOCAL, MAIN = Rule(ipv6=False, priority=0, table=255), Rule(ipv6=False, priority=32766, table=254)
FROM_POD = Rule(ipv6=False, priority=32765, table=100, src="10.244.1.2/32")
NO_RESOLVER = Resolver()


def _tables(*rules: Rule, known: tuple[int, ...] = (100, 101)) -> list[int]:
    """The tables that IPv4 packets of the pod are looked up in."""
    in_order = sorted(rules, key=lambda rule: rule.priority)
    return [lookup.table for lookup in traffic.lookups(in_order, SOURCES, known) if not lookup.ipv6]


def test_without_rules_it_is_main() -> None:
    assert traffic.lookups((), SOURCES, (100,)) == (Lookup(ipv6=False), Lookup(ipv6=True))


@pytest.mark.parametrize(
    ("rule", "tables"),
    [
        (FROM_POD, [100, 254]),
        (replace(FROM_POD, src="10.244.0.0/16"), [100, 254]),
        (replace(FROM_POD, src=""), [100, 254]),
        (replace(FROM_POD, src="10.244.1.3/32"), [254]),
        (replace(FROM_POD, priority=40000), [254, 100]),
        (replace(FROM_POD, selective=True), [254]),
        (replace(FROM_POD, src="", selective=True, inverted=True), [100, 254]),
        (replace(FROM_POD, inverted=True), [254]),
        (replace(FROM_POD, table=0), []),
        (replace(FROM_POD, table=0, priority=40000), [254]),
        (replace(FROM_POD, table=77), [254]),
    ],
)
def test_a_rule_that_takes_the_pods_packets_leads_to_its_table(rule: Rule, tables: list[int]) -> None:
    assert _tables(LOCAL, rule, MAIN) == tables


def test_each_family_has_its_own_rules() -> None:
    rules = (replace(FROM_POD, ipv6=True, src="fd00::2/128"), replace(MAIN, ipv6=True), MAIN)
    found = traffic.lookups(rules, SOURCES, (100,))
    assert found == (Lookup(ipv6=False), Lookup(ipv6=True, table=100), Lookup(ipv6=True))


def _with_table(*moved: str, rules: tuple[Rule, ...] = (FROM_POD,)) -> Status:
    """The layout bridge, these routes of which stand in table 100."""
    status = layouts.status("bridge")
    routes = tuple(replace(route, table=100) if route.dst in moved else route for route in status.routes)
    return replace(status, routes=routes, rules=(LOCAL, *rules, MAIN))


def _also(status: Status, *routes: Route) -> PodInterface:
    return discover(replace(status, routes=(*status.routes, *routes)))


def test_the_default_of_a_table_is_the_guests() -> None:
    pod = discover(_with_table("0.0.0.0/0"))
    told = lease(pod, NO_RESOLVER, Settings())
    assert told.router == "10.244.1.1"
    assert told.classless_routes[-1].dst == "0.0.0.0/0"
    assert {route.table for route in pod.routes} == {100, 254}
    assert traffic.table_words(pod) == "its own traffic takes the routing tables 100, main, in order"


def test_a_table_that_only_others_take_is_not_the_guests() -> None:
    pod = discover(_with_table("0.0.0.0/0", rules=(replace(FROM_POD, src="10.244.1.77/32"),)))
    told = lease(pod, NO_RESOLVER, Settings())
    assert told.router == ""
    assert "route 0.0.0.0/0 of table 100: the pod's own traffic takes another table before" in str(told.warnings)


@pytest.mark.parametrize(("priority", "gateway"), [(32765, "10.244.1.9"), (40000, "10.244.1.1")])
def test_of_two_defaults_the_one_that_is_looked_up_first_is_the_guests(priority: int, gateway: str) -> None:
    status = _with_table(rules=(replace(FROM_POD, priority=priority),))
    status = replace(status, rules=tuple(sorted(status.rules, key=lambda rule: rule.priority)))
    pod = _also(status, Route("eth0", "0.0.0.0/0", "10.244.1.9", table=100))
    assert lease(pod, NO_RESOLVER, Settings()).router == gateway


def test_a_default_that_comes_first_hides_what_has_a_gateway_and_not_what_is_on_the_link() -> None:
    further = Route("eth0", "10.0.0.0/8", "10.244.1.254")
    pod = _also(_with_table("0.0.0.0/0"), further)
    assert {route.dst for route in traffic.routes(pod) if not route.ipv6} == {"0.0.0.0/0", "10.244.1.0/24"}
    assert traffic.passed_over(pod) == (further,)


def test_more_than_the_default_that_comes_first_hides_the_link_too() -> None:
    pod = _also(_with_table(), Route("eth0", "10.0.0.0/8", "10.244.1.254", table=100))
    assert {route.dst for route in traffic.routes(pod) if not route.ipv6} == {"10.0.0.0/8", "0.0.0.0/0"}


def test_what_is_suppressed_in_main_is_taken_from_the_next_table() -> None:
    """As wg-quick does: main without its defaults, then a table with another."""
    rules = (Rule(ipv6=False, priority=100, table=254, suppress_prefixlen=0), replace(FROM_POD, priority=101))
    pod = _also(_with_table(rules=rules), Route("eth0", "0.0.0.0/0", "10.244.1.9", table=100))
    assert lease(pod, NO_RESOLVER, Settings()).router == "10.244.1.9"
