"""The checks: silent where nothing is wrong, and for each thing that is wrong one code and no other."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.testlib import layouts
from tests.testlib.evidence import SERVER, before, bound
from vmnet.bindings.isolation import rulesets
from vmnet.diagnosis.evidence import Evidence, Heard, Left, Netfilter, Surroundings
from vmnet.diagnosis.server_words import Server, SilentGateway
from vmnet.diagnosis.table import CHECKS, asked, examine, worst
from vmnet.domain.read import parse
from vmnet.errors import RefusedError
from vmnet.kernel.inspect import LinkState, NeighbourState, Probed
from vmnet.model.links import FOREVER, FilterChain, Holder, Link, Status
from vmnet.model.settings import Settings, Told
from vmnet.plumbing.node_signs import refuse_node

if TYPE_CHECKING:
    from collections.abc import Callable

STRANGER = "02:00:00:00:00:aa"
CNI0 = "cni0 is the bridge of the node's pods"
FORWARD = FilterChain("ip", "filter", "FORWARD", "forward", "", "accept", ())


@dataclass(frozen=True, slots=True)
class Case:
    """What is wrong, and what is found: code and severity, and words of its evidence."""

    name: str
    evidence: Callable[[], Evidence]
    code: str
    severity: str
    seen: str


def _surroundings(**fields: Any) -> Callable[[], Evidence]:  # noqa: ANN401 -- each has its type
    return lambda: replace(before(), surroundings=Surroundings(**fields))


def _server(**fields: Any) -> Callable[[], Evidence]:  # noqa: ANN401 -- as above
    return lambda: replace(bound(), server=replace(SERVER, **fields))


def _link(evidence: Evidence, ifname: str, **fields: Any) -> Evidence:  # noqa: ANN401 -- as above
    links = tuple(replace(link, **fields) if link.ifname == ifname else link for link in evidence.status.links)
    return replace(evidence, status=replace(evidence.status, links=links))


def _state(evidence: Evidence, state: LinkState) -> Evidence:
    others = tuple(other for other in evidence.link_states if other.ifname != state.ifname)
    return replace(evidence, link_states=(*others, state))


def _refused(evidence: Evidence, **status: Any) -> Evidence:  # noqa: ANN401 -- as above
    """A pod that `up` would refuse has no journal."""
    return replace(evidence, status=replace(evidence.status, **status), journal=None)


def _with_links(*more: Link) -> Evidence:
    evidence = before()
    return _refused(evidence, links=(*evidence.status.links, *more))


def _domain(interface: str) -> Callable[[], Evidence]:
    text = f"<domain><name>vm</name><devices>{interface}</devices></domain>"
    return lambda: replace(before("calico"), domain=parse(text))


def _nic(mac: str = "8a:76:13:89:8a:9c", more: str = "<model type='virtio'/>", managed: str = "no") -> str:
    target = f"<target dev='tap0' managed='{managed}'/>"
    return f"<interface type='ethernet'><mac address='{mac}'/>{target}{more}</interface>"


def _lesser_rules() -> Evidence:
    evidence = bound()
    assert evidence.journal
    lesser = rulesets(evidence.journal.pod, evidence.journal.settings)[2]
    return replace(evidence, status=replace(evidence.status, chains=lesser.chains))


def _limited() -> Evidence:
    evidence = before()
    assert evidence.journal
    pod = evidence.journal.pod
    addresses = (replace(pod.addresses[0], valid_lifetime=600), *pod.addresses[1:])
    return replace(evidence, journal=replace(evidence.journal, pod=replace(pod, addresses=addresses)))


def _without_default() -> Evidence:
    evidence = before()
    assert evidence.journal
    pod = replace(evidence.journal.pod, routes=evidence.journal.pod.routes[1:])
    return replace(evidence, journal=replace(evidence.journal, pod=pod))


def _nic_gone() -> Evidence:
    evidence = bound()
    links = tuple(link for link in evidence.status.links if link.ifname != "eth0-nic")
    return replace(evidence, status=replace(evidence.status, links=links))


def _fresh(evidence: Evidence) -> Evidence:
    return replace(evidence, resolv_conf="nameserver 10.96.0.99\n")


def _later_silent(seconds: float) -> Callable[[], Evidence]:
    return _server(lease="silent", lease_seconds=seconds, events={}, ignored={"not_udp": 3})


CASES = (
    Case("host", _surroundings(is_host=True), "VMN-101", "error", "/proc/self/ns/net"),
    Case("no capability", _surroundings(capabilities=0x1C0), "VMN-102", "error", "CapEff is 00000000000001c0"),
    Case("no tun", _surroundings(tun="No such file"), "VMN-103", "error", "/dev/net/tun: No such file"),
    Case("tun closed", _surroundings(tun_closed="mode 0600, of 0:0"), "VMN-103", "warning", "mode 0600"),
    Case("no nft", _surroundings(nft=False), "VMN-104", "error", "PATH"),
    Case("no sysctl", _surroundings(sysctls_writable=False), "VMN-105", "info", "accept_ra"),
    Case("no setuid", _surroundings(capabilities=0x3000), "VMN-106", "info", "CapEff"),
    Case(
        "no state", _surroundings(state_directory="/x is no directory"), "VMN-107", "error", "/x is no directory"
    ),
    Case("a node", _surroundings(node_signs=(CNI0,)), "VMN-108", "error", CNI0),
    Case(
        "a node's network",
        lambda: replace(bound(), surroundings=Surroundings(node_signs=(CNI0,))),
        "VMN-108",
        "error",
        CNI0,
    ),
    Case(
        "no eth0", lambda: _refused(before(), links=layouts.status("bridge").links[:1]), "VMN-201", "error", "lo"
    ),
    Case(
        "down",
        lambda: replace(_link(before(), "eth0", up=False), journal=None),
        "VMN-201",
        "error",
        "eth0 is down",
    ),
    Case(
        "ipvlan",
        lambda: replace(_link(before(), "eth0", kind="ipvlan", mode="l2"), journal=None),
        "VMN-202",
        "error",
        "of kind ipvlan in l2 mode",
    ),
    Case(
        "multipath",
        lambda: _refused(before(), not_restorable=(("eth0", "route with several next hops"),)),
        "VMN-203",
        "error",
        "several next hops",
    ),
    Case(
        "tap0 taken",
        lambda: replace(_with_links(Link(9, "tap0", "tun", "02:00:00:00:00:09", 1500, up=False)), tap="tap0"),
        "VMN-204",
        "error",
        "tap0 is of kind tun",
    ),
    Case(
        "orphans",
        lambda: _with_links(
            Link(8, "k6t-eth0", "bridge", "02:76:6d:00:00:08", 1500, up=True),
            Link(9, "tap7", "tun", "02:00:00:00:00:09", 1500, up=True, controller="k6t-eth0"),
        ),
        "VMN-205",
        "error",
        "tap7 is a port of k6t-eth0",
    ),
    Case(
        "KubeVirt's",
        lambda: _with_links(
            Link(8, "k6t-eth0", "bridge", "02:00:00:00:00:08", 1500, up=True),
            Link(9, "tap0", "tun", "02:00:00:00:00:09", 1500, up=True, controller="k6t-eth0"),
        ),
        "VMN-209",
        "error",
        "tap0 is a port of k6t-eth0",
    ),
    Case(
        "dadfailed",
        lambda: replace(before(), probed=(Probed("eth0", "fd00::2", failed=True),)),
        "VMN-206",
        "error",
        "fd00::2 on eth0 is dadfailed",
    ),
    Case(
        "tentative",
        lambda: replace(
            before(), probed=(Probed("eth0", "fd00::2", failed=False), Probed("x", "::2", failed=True))
        ),
        "VMN-206",
        "warning",
        "fd00::2 on eth0 is tentative",
    ),
    Case("for ten minutes", _limited, "VMN-207", "warning", "10.244.1.2 is valid for 600 s"),
    Case(
        "refused for another reason",
        lambda: replace(before(), journal=None, refusal="MTU 9000 is larger than eth0's; use --mtu 1500 or less"),
        "VMN-208",
        "error",
        "would be refused",
    ),
    Case(
        "drift",
        lambda: replace(bound(), drift=("create tun tap0",)),
        "VMN-301",
        "error",
        "`vmnet up` would create tun tap0",
    ),
    Case("NIC gone", _nic_gone, "VMN-302", "error", "which was eth0"),
    Case(
        "NIC unplugged",
        lambda: _state(bound(), LinkState("eth0-nic", carrier=False, port_state=0)),
        "VMN-303",
        "error",
        "eth0-nic is up and has no carrier",
    ),
    Case(
        "no VM",
        lambda: _state(bound(), LinkState("tap0", carrier=False, port_state=0)),
        "VMN-304",
        "warning",
        "tap0 is up and has no carrier",
    ),
    Case(
        "blocked",
        lambda: _state(bound(), LinkState("eth0-nic", carrier=True, port_state=4)),
        "VMN-305",
        "error",
        "has a carrier and is blocking",
    ),
    Case(
        "another port",
        lambda: replace(
            bound(),
            status=replace(
                bound().status,
                links=(*bound().status.links, Link(99, "v1", "veth", "", 1500, up=True, controller="k6t-eth0")),
            ),
        ),
        "VMN-306",
        "warning",
        "v1 is of kind veth",
    ),
    Case(
        "not isolated", lambda: bound(settings=Settings(isolation="off")), "VMN-307", "warning", "isolation is off"
    ),
    Case("lesser kernel", _lesser_rules, "VMN-308", "warning", "inet input"),
    Case(
        "route narrower than told",
        lambda: before("cilium", Settings(mtu=1500)),
        "VMN-401",
        "error",
        "default route via 10.0.1.241 has MTU 1450",
    ),
    Case("tap narrower", lambda: _link(bound(), "tap0", mtu=1400), "VMN-401", "error", "tap0 has MTU 1400"),
    Case("no IPv6", lambda: before("bridge-dual", Settings(mtu=1200)), "VMN-402", "warning", "the pod has fd00:"),
    Case(
        "silent gateway",
        lambda: replace(before(), neighbours=(NeighbourState("eth0", "10.244.1.1", "failed"),)),
        "VMN-403",
        "warning",
        "10.244.1.1 on eth0 is failed",
    ),
    Case(
        "unknown gateway",
        _server(silent_gateways=(SilentGateway("fd00::1", "fe80::766d:6e65:7401"),)),
        "VMN-404",
        "warning",
        "fe80::766d:6e65:7401 is not known",
    ),
    Case(
        "gateway gone",
        _server(silent_gateways=(SilentGateway("fd00::1", "fe80::766d:6e65:7401", 12.4),)),
        "VMN-404",
        "warning",
        "for the router fe80::766d:6e65:7401 for 12 s",
    ),
    Case(
        "br_netfilter alone",
        lambda: replace(bound(), netfilter=Netfilter(("iptables",))),
        "VMN-405",
        "info",
        "bridge-nf-call-iptables is 1",
    ),
    Case(
        "br_netfilter and rules",
        lambda: replace(bound(), netfilter=Netfilter(("iptables",), (FORWARD,), ("nat",))),
        "VMN-405",
        "warning",
        "iptables-legacy has the table nat",
    ),
    Case(
        "br_netfilter and a policy",
        lambda: replace(bound(), netfilter=Netfilter(("iptables",), (replace(FORWARD, policy="drop"),))),
        "VMN-405",
        "error",
        "chain ip filter FORWARD: forward, drop",
    ),
    Case("accept_ra", lambda: _link(bound(), "k6t-eth0", accept_ra=1), "VMN-406", "info", "k6t-eth0 is 1"),
    Case("no way out", _without_default, "VMN-407", "warning", "10.244.1.0/24"),
    Case(
        "another resolver",
        lambda: _fresh(bound()),
        "VMN-503",
        "warning",
        "now: nameserver 10.96.0.99, search none",
    ),
    Case(
        "no server",
        lambda: replace(bound(), server=Server(), server_trouble="it does not answer"),
        "VMN-504",
        "error",
        "it does not answer",
    ),
    Case("no sandbox", _server(sandboxed=False), "VMN-505", "warning", "says so"),
    Case(
        "a stage missed",
        _server(missed={"landlock": "no Landlock"}),
        "VMN-505",
        "info",
        "landlock: no Landlock",
    ),
    Case(
        "declined",
        lambda: replace(
            bound(), server=replace(SERVER, events={"decline": 2}), conflict="X. In this pod `tcpdump`"
        ),
        "VMN-506",
        "error",
        "DHCPDECLINE: 2",
    ),
    Case("silent at first", _later_silent(3), "VMN-507", "info", "3 s without DHCP"),
    Case("silent for long", _later_silent(300), "VMN-507", "warning", "3 not_udp"),
    Case(
        "another MAC",
        _server(ignored={"foreign_source_mac": 4}, foreign_macs=(STRANGER,)),
        "VMN-508",
        "warning",
        f"{STRANGER} asks",
    ),
    Case("another server", _server(events={"other_server": 1}), "VMN-509", "warning", "chose another server: 1"),
    Case(
        "another server heard",
        lambda: replace(before(), heard=(Heard("DHCPv6", STRANGER, "fe80::aa"),)),
        "VMN-509",
        "warning",
        "DHCPv6 from fe80::aa at 02:00:00:00:00:aa",
    ),
    Case(
        "a stranger advertises",
        lambda: replace(before(), heard=(Heard("router advertisement", STRANGER, "fe80::aa"),)),
        "VMN-510",
        "warning",
        "fe80::aa",
    ),
    Case(
        "the gateway advertises",
        lambda: replace(before(), heard=(Heard("router advertisement", STRANGER, "10.244.1.1"),)),
        "VMN-510",
        "info",
        "10.244.1.1",
    ),
    Case("no interface", _domain(""), "VMN-511", "error", "it has no interface"),
    Case("two interfaces", _domain(_nic() * 2), "VMN-511", "error", "domain vm"),
    Case("wrong MAC", _domain(_nic("52:54:00:00:00:07")), "VMN-511", "error", "mac address is 52:54:00:00:00:07"),
    Case("managed", _domain(_nic(managed="yes")), "VMN-511", "error", "managed is not 'no'"),
    Case("e1000", _domain(_nic(more="<model type='e1000'/>")), "VMN-512", "warning", "model type is e1000"),
    Case("queues", _domain(_nic(more="<driver queues='4'/>")), "VMN-513", "error", "has 4 queues"),
    Case(
        "endless",
        lambda: before(settings=Settings(told=Told(lease_time=FOREVER))),
        "VMN-514",
        "info",
        "is infinite",
    ),
    Case(
        "an address of its own making",
        _server(foreign_addresses=("192.168.1.5",)),
        "VMN-515",
        "warning",
        "seen to use 192.168.1.5",
    ),
    Case("stale", lambda: replace(before(), left=Left(stale=("/x/netns-7/eth0",))), "VMN-601", "info", "netns-7"),
    Case(
        "begun",
        lambda: replace(before(), left=Left(begun="/x/journal.json")),
        "VMN-602",
        "info",
        "/x/journal.json",
    ),
    Case("lost", lambda: replace(bound(), left=Left(lost=True)), "VMN-603", "warning", "has the note"),
    Case("a server alone", lambda: replace(before(), left=Left(servers=("eth0",))), "VMN-604", "warning", "eth0"),
    Case(
        "rules alone",
        lambda: replace(before(), status=replace(before().status, chains=(replace(FORWARD, table="vmnet_eth0"),))),
        "VMN-605",
        "warning",
        "table ip vmnet_eth0",
    ),
)
NOT_OF_THE_CASE = {"VMN-502"}
"""A pod's routes have metrics and sources that DHCP does not carry, whatever the case is about."""


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_one_thing_is_wrong_and_one_is_found(case: Case) -> None:
    findings = [finding for finding in examine(case.evidence()) if finding.code not in NOT_OF_THE_CASE]
    assert [(finding.code, finding.severity) for finding in findings] == [(case.code, case.severity)]
    assert case.seen in "\n".join(findings[0].evidence)
    assert findings[0].remedy


def test_no_command_names_what_a_shell_would_run() -> None:
    """Names of links and tables are whoever's in the pod has CAP_NET_ADMIN; the kernel takes almost any octet."""
    shell = "$(id)"
    table = replace(FORWARD, table=f"vmnet_;{shell}")
    assert examine(replace(before(), status=replace(before().status, chains=(table,)))) == ()
    port = Link(99, shell, "veth", "", 1500, up=True, controller="k6t-eth0")
    status = bound().status
    [finding] = examine(replace(bound(), status=replace(status, links=(*status.links, port))))
    assert shell not in finding.remedy


@pytest.mark.parametrize("name", ["bridge", "bridge-dual", "calico", "ptp", "ovn", "aws"])
def test_a_sound_pod(name: str) -> None:
    for evidence in (before(name), bound(name)):
        found = [finding for finding in examine(evidence) if finding.code not in NOT_OF_THE_CASE]
        assert found == []


def test_what_cannot_be_told_is_a_note() -> None:
    evidence = before()
    assert evidence.journal
    assert evidence.journal.lease
    told = replace(evidence.journal.lease, warnings=("route metrics are not carried",), nameservers=())
    findings = examine(replace(evidence, journal=replace(evidence.journal, lease=told)))
    assert [(finding.code, finding.severity) for finding in findings] == [
        ("VMN-501", "warning"),
        ("VMN-502", "info"),
    ]


def test_a_tap_of_root_is_a_note_until_somebody_holds_it() -> None:
    evidence = bound(settings=Settings(owner=0))
    assert examine(evidence) == ()
    codes = [finding.code for finding in examine(_state(evidence, LinkState("tap0", carrier=False, port_state=0)))]
    assert codes == ["VMN-304", "VMN-309"]


def test_a_program_that_lost_its_tap_is_found_while_nobody_has_ours() -> None:
    lost = replace(bound(), holders=(Holder(7, "qemu-system-x86", ""), Holder(8, "passt", "tap1")))
    assert examine(lost) == ()
    [*_, found] = examine(_state(lost, LinkState("tap0", carrier=False, port_state=0)))
    assert (found.code, found.severity) == ("VMN-310", "error")
    assert found.what.startswith("qemu-system-x86 (pid 7) has a tap open")


def test_a_refusal_is_told_once() -> None:
    evidence = replace(_link(before(), "eth0", up=False), journal=None)
    refusal = "eth0 is down; try again when the CNI has set it up"
    assert [finding.code for finding in examine(replace(evidence, refusal=refusal))] == ["VMN-201"]
    with pytest.raises(RefusedError) as refused:
        refuse_node((CNI0,))
    node = replace(_surroundings(node_signs=(CNI0,))(), journal=None, refusal=str(refused.value))
    assert [finding.code for finding in examine(node)] == ["VMN-108"]


def test_on_the_host_only_the_place_is_looked_at() -> None:
    evidence = Evidence(Status(()), surroundings=Surroundings(is_host=True), refusal="this is the host's own")
    assert {check.code[:5] for check in asked(evidence)} == {"VMN-1"}


def test_a_served_address_elsewhere_is_no_other_server() -> None:
    heard = (Heard("DHCP", STRANGER, "10.0.0.1"),)
    assert examine(replace(before(settings=Settings(dhcp="external")), heard=heard)) == ()


def test_codes_stand_in_order_and_once() -> None:
    codes = [check.code for check in CHECKS]
    assert codes == sorted(set(codes))
    assert len({check.look for check in CHECKS}) == len(CHECKS)


def test_each_code_has_a_case() -> None:
    of_their_own = {"VMN-309", "VMN-310", "VMN-501", "VMN-502"}
    assert {case.code for case in CASES} | of_their_own == {check.code for check in CHECKS}


@pytest.mark.parametrize(
    ("cases", "severity"), [((), "info"), (("VMN-514",), "info"), (("VMN-514", "VMN-510"), "warning")]
)
def test_the_worst_finding_counts(cases: tuple[str, ...], severity: str) -> None:
    findings = tuple(found for case in CASES[::-1] if case.code in cases for found in examine(case.evidence()))
    assert worst(findings) == severity
