"""What others have put on the pod's NIC or hung on it is given back by `down`, or `up` refuses before it begins.

┌ pod ──────────────────────────────────────────────────────────────┐
│ eth0: routes in other tables and rules that name it, proxied      │
│       neighbours, a queueing discipline, multicast groups, knobs  │
│ net1: another NIC, on which some things hang that name eth0's     │
└───────────────────────────────────────────────────────────────────┘
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from testbed import clients
from testbed.pods import must_answer
from testbed.snapshot import difference, snapshot
from testbed.tap_guest import tap_guest

if TYPE_CHECKING:
    from pathlib import Path

    from testbed.agent import Agent
    from testbed.pods import Pod

pytestmark = pytest.mark.parametrize("layout", ["bridge-dual"])

REFUSED = 3
GATEWAY, GATEWAY6 = "10.246.1.1", "fd00:10:246:1::1"
POLICY_ROUTING = (
    f"route add default via {GATEWAY} dev eth0 table 100",
    "route add 10.8.0.0/16 dev eth0 src 10.246.1.2 table 1000",
    f"route add 10.8.1.0/24 via {GATEWAY} dev eth0 table 1000 metric 5 mtu 1300",
    f"route add default via {GATEWAY6} dev eth0 table 100",
    f"route add 2001:db8:9::/48 via {GATEWAY6} dev eth0 src fd00:10:246:1::2 table 100000",
    "route add blackhole 10.7.0.0/16 table 100",
    "rule add from 10.246.1.2 lookup 100",
    "rule add to 10.246.1.2 lookup 1000",
    "rule add iif eth0 lookup 1000",
    "rule add oif eth0 lookup 1000 priority 9",
    "-6 rule add from fd00:10:246:1::2 lookup 100",
    "-6 rule add iif eth0 lookup 100000",
)
LOCAL_TABLE = (
    "route add local 10.9.0.0/24 dev eth0",
    "route add broadcast 10.9.1.255 dev eth0 table local",
    "route add local fd00:9::/64 dev eth0",
    "route add anycast fd00:9:1::1 dev eth0",
)
NEIGHBOURS = (
    "neighbour add proxy 10.246.1.77 dev eth0",
    "neighbour add proxy fd00:10:246:1::77 dev eth0",
    "maddress add 01:00:5e:00:00:09 dev eth0",
    "address add 239.1.1.1/32 dev eth0 autojoin",
    "token set ::1:2 dev eth0",
    "addrlabel add prefix fd00:10::/32 dev eth0 label 77",
)
LINK = (
    "link set eth0 txqueuelen 77 alias hello group 5",
    "link set eth0 promisc on",
    "link set eth0 allmulticast on",
    "link property add dev eth0 altname pod-uplink",
)
ADDRESSES = (
    "address add 10.246.5.2/24 dev eth0 noprefixroute",
    "address add 10.246.6.2/24 dev eth0 metric 50",
    "address add 10.246.7.2 peer 10.246.7.1 dev eth0",
    "address add 10.246.8.2/24 dev eth0 label eth0:x scope link",
)
SHAPED = """
tc qdisc add dev eth0 root handle 5: tbf rate 100mbit burst 64k latency 50ms
tc qdisc add dev eth0 clsact
"""


def _ip(pod: Pod, *lines: str) -> None:
    pod.netns.run("sh", "-ec", "\n".join(f"ip {line}" for line in lines))


@pytest.mark.parametrize(
    "lines",
    [POLICY_ROUTING, (*LOCAL_TABLE, *NEIGHBOURS), (*LINK, *ADDRESSES)],
    ids=["policy", "neighbours", "link"],
)
def test_what_hangs_on_the_nic_is_given_back(pod: Pod, agent: Agent, lines: tuple[str, ...]) -> None:
    _ip(pod, *lines)
    pod.netns.run("sh", "-ec", SHAPED)
    found = snapshot(pod)
    agent.up()
    routes = [
        *pod.netns.ip("-4", "route", "show", "table", "all"),
        *pod.netns.ip("-6", "route", "show", "table", "all"),
    ]
    assert [route for route in routes if route.get("dev") == "eth0-nic" and route["protocol"] != "kernel"] == []

    agent.down()

    assert difference(found, snapshot(pod)) == ""
    must_answer(pod.netns, pod.peer)


def test_a_route_waits_for_its_source_to_be_looked_for(pod: Pod, agent: Agent) -> None:
    """The kernel takes no IPv6 route with a source that is still looked for among the neighbours."""
    _ip(pod, f"route add 2001:db8:9::/48 via {GATEWAY6} dev eth0 src fd00:10:246:1::2")
    pod.netns.sysctl("ipv6/conf/eth0/accept_dad", 1)
    found = snapshot(pod)
    agent.up()
    agent.down()
    assert difference(found, snapshot(pod)) == ""


NET1 = ("link add net1 type veth peer name peer1", "link set net1 up", "link set peer1 up")


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ((f"nexthop add id 7 via {GATEWAY} dev eth0",), "a nexthop object with the id 7"),
        (
            (
                f"nexthop add id 7 via {GATEWAY} dev eth0",
                "nexthop add id 8 group 7",
                "route add 10.8.0.0/16 nhid 8",
            ),
            "a nexthop object",
        ),
        (
            ("route add 10.8.0.0/16 table 100 nexthop via 10.246.1.1 dev eth0 nexthop dev eth0",),
            "route 10.8.0.0/16 with several next hops",
        ),
        (
            (f"route add fd00:8::/64 table 100 nexthop via {GATEWAY6} dev eth0 nexthop via fe80::9 dev eth0",),
            "route fd00:8::/64 with several next hops",
        ),
        ((f"route add 10.8.0.0/16 via {GATEWAY} realm 5 table 100",), "with a realm"),
        (
            ("route add fd00:8::/64 encap seg6 mode encap segs fd00:99::1 dev eth0 table 9",),
            "with an encapsulation",
        ),
        ((*NET1, "route add 10.8.0.0/16 dev net1 src 10.246.1.2"), "net1 has a route 10.8.0.0/16 with the source"),
        (
            (*NET1, "-6 route add fd00:8::/64 dev net1 src fd00:10:246:1::2 table 100"),
            "net1 has a route fd00:8::/64 with the source",
        ),
        (("link add link eth0 name mv0 type macvlan mode bridge",), "mv0 (macvlan) stands on eth0"),
        (("link set eth0 mtu 65535",), "a tap can have 68 to 65521"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_given_back_is_refused_by_all_who_look(
    pod: Pod, agent: Agent, lines: tuple[str, ...], says: str
) -> None:
    _ip(pod, *lines)
    found = snapshot(pod)
    for verb in ("plan", "up"):
        refused = agent.run(verb, check=False)
        assert (refused.returncode, says in refused.stderr) == (REFUSED, True), refused.stderr
    examined = json.loads(agent.run("doctor", "--json", "--listen", "0", check=False).stdout)
    assert says in str([finding for finding in examined["findings"] if finding["severity"] == "error"])
    assert difference(found, snapshot(pod)) == ""
    assert list(agent.state_dir.glob("*")) == []


def test_the_guest_takes_the_table_that_the_pods_traffic_takes(pod: Pod, agent: Agent, tmp_path: Path) -> None:
    """As the CNI plugin sbr leaves it: all routes in a table of the address, none in main."""
    _ip(
        pod,
        "route del default",
        "route del 10.246.1.0/24 dev eth0",
        "route add 10.246.1.0/24 dev eth0 table 100",
        f"route add default via {GATEWAY} dev eth0 table 100",
        "rule add from 10.246.1.2 lookup 100",
        "-6 route del default",
        f"route add default via {GATEWAY6} dev eth0 table 100",
        "-6 rule add from fd00:10:246:1::2 lookup 100",
    )
    found = snapshot(pod)
    planned = agent.run("plan")
    assert "its own traffic takes the routing tables 100, main" in planned.stdout
    agent.up()
    with tap_guest(pod.netns, pod.mac, tmp_path) as guest:
        leased = clients.lease("udhcpc", guest)
        assert leased.gateway == GATEWAY
        must_answer(guest.netns, pod.peer)
    told = json.loads(agent.run("plan", "--json").stdout)
    assert [router["gateway"] for router in told["lease6"]["routers"]] == [GATEWAY6]
    agent.down()
    assert difference(found, snapshot(pod)) == ""


def test_a_better_nic_is_named_by_plan_up_and_doctor(pod: Pod, agent: Agent) -> None:
    _ip(
        pod,
        *NET1,
        "address add 10.66.0.2/24 dev net1",
        "route del default",
        "-6 route del default",
        "route add default via 10.66.0.1 dev net1",
    )
    says = "eth0 has no default route; net1 has one: --interface net1 hands that over instead"
    assert says in " ".join(agent.run("plan").stdout.split())
    examined = json.loads(agent.run("doctor", "--json", "--listen", "0", check=False).stdout)
    assert "eth0 has no default route; net1 has one" in str(examined["findings"])
    assert says in agent.up().stderr
    agent.down()
    assert says not in agent.run("plan", "--interface", "eth0").stdout


def test_a_lease_ends_with_the_pods_address(pod: Pod, agent: Agent, tmp_path: Path) -> None:
    lifetimes = "valid_lft 300 preferred_lft 200"
    pod.netns.ip_batch(f"address change 10.246.1.2/24 broadcast 10.246.1.255 dev eth0 {lifetimes}")
    pod.netns.ip_batch(f"address change fd00:10:246:1::2/64 dev eth0 {lifetimes}")
    found = snapshot(pod)
    agent.up()
    with tap_guest(pod.netns, pod.mac, tmp_path) as guest:
        leased = clients.lease("udhcpc", guest)
        assert leased.lease_time
        assert leased.lease_time <= 300
    told = json.loads(agent.run("plan", "--json").stdout)["lease6"]["addresses"]
    assert all(address["valid_lifetime"] <= 300 for address in told)

    # A client in the pod, or time, has changed what is left: that is what is given back.
    pod.netns.ip_batch(
        "address change 10.246.1.2/24 broadcast 10.246.1.255 dev eth0 valid_lft 99 preferred_lft 88"
    )
    agent.down()

    assert difference(found, snapshot(pod)) == ""
    [link] = pod.netns.ip("-4", "address", "show", "dev", "eth0")
    assert link["addr_info"][0]["valid_life_time"] <= 99
