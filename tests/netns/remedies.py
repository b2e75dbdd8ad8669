"""For each remedy that names a command, a real pod in which it is given, and by whom.

What doctor finds is of `troubles.py`; here are the causes of `wait` and the messages of the other verbs.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import chain, repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from testbed.patience import PATIENCE
from testbed.tap_guest import raw_tap
from tests.netns import troubles
from tests.netns.forked import Forked, compiler_fails, disk_full, refused
from tests.netns.guest_by_hand import OTHER_MAC, forward_drops, guest_of
from tests.netns.test_two_bindings import add_nic
from tests.netns.troubles import TROUBLES, Patient, Trouble
from tests.unit.test_remedies import SECTIONS
from vmnet.domain.read import parse
from vmnet.domain.wishes import wishes
from vmnet.errors import UsageError
from vmnet.settings.advice import at_this_place

if TYPE_CHECKING:
    from testbed.netns import Completed
    from tests.netns.forked import Ended, Tamper
    from tests.netns.guest_by_hand import GuestByHand

IN_TIME = PATIENCE / 2
"""Seconds for a `wait` that is to come to its end."""


class Advice(NamedTuple):
    """A remedy as it is given, and what was seen. Empty where nothing is wrong."""

    text: str = ""
    evidence: str = ""


Making = Callable[[Patient], "tuple[str, ...] | None"]
"""Makes a trouble, and gives the flags with which it is seen."""
Says = tuple[str, ...]
"""Parts of texts in the code, each of one: what the advice is made of (tests/unit/test_remedies.py)."""
Asking = Callable[[], Advice]
"""Says what is advised now: first the remedy, and nothing once that has helped."""
Provoke = Callable[[Patient], Asking]


@dataclass(frozen=True, slots=True)
class Remedy:
    """Whose remedy it is (a code of doctor, a cause of `wait`, a message), and how it comes about."""

    name: str
    says: Says
    provoke: Provoke
    page: str = ""
    """The section of docs/ that speaks of it."""
    repairs: bool = True
    """Whether following it is all that it takes, where a command of it changes something."""
    between: Callable[[Patient], None] = lambda _it: None
    """What others do after `vmnet down`, as it says."""


PLACES = ("--resolv-conf", "--state-dir", "--domain")
"""Flags of doctor that name a file or a place; the others are settings."""
SEVERAL = ("VMN-305", "VMN-306", "VMN-309", "VMN-405", "VMN-406", "VMN-504")
"""They can be made at once, and hide none of each other."""
OF_DOCTOR = {
    "VMN-207": ("do not expire, or run `vmnet down`",),
    "VMN-301": ("run `vmnet up`, which does just that",),
    "VMN-303": ("on the node, set the other end up",),
    "VMN-304": ("start the VM with {} (`vmnet domain`",),
    "VMN-305": ("`bridge link set dev {} state 3`",),
    "VMN-306": ("`ip link set {} nomaster`",),
    "VMN-307": ("`vmnet up --isolation strict`",),
    "VMN-309": ("`vmnet up --owner UID[:GID]`",),
    "VMN-401": ("`vmnet up` without --mtu",),
    "VMN-405": ("sysctl -w ", "in the pod's network namespace: `{}`"),
    "VMN-406": ("sysctl -w net/ipv6/conf/{}/accept_ra=0", "`vmnet up` does it if /proc/sys is writable"),
    "VMN-501": ("`vmnet up --dns ADDRESS`",),
    "VMN-502": ("or with cloud-init (`vmnet render`)",),
    "VMN-503": ("shut the VM down, `vmnet down`, `vmnet up`, start the VM",),
    "VMN-504": ("`vmnet up` starts it; `vmnet run`",),
    "VMN-505": ("`vmnet up` without --sandbox off",),
    "VMN-506": ("tcpdump -nei {} arp and host {}",),
    "VMN-508": ("(`vmnet domain` does), or name the one that asks",),
    "VMN-511": ("let `vmnet domain` write the interface",),
    "VMN-513": ("`vmnet up --queues {}`",),
    "VMN-514": ("`vmnet up --lease-time 86400`",),
    "VMN-515": ("`vmnet up --allow-address CIDR`",),
    "VMN-602": ("`vmnet down` removes it; `vmnet up` starts over",),
    "VMN-603": ("`vmnet up` saves the journal again",),
    "VMN-604": ("find its process with `ss -lxp`",),
    "VMN-605": ("nft delete table {}",),
}
_BY_CODE = {trouble.code: trouble for trouble in TROUBLES}


def _of_doctor(
    code: str, says: Says, provoke: Making | None = None, *, name: str = "", repairs: bool = True
) -> Remedy:
    """Let doctor look for a trouble, made as `troubles.py` does or in another way, for another of its remedies."""
    trouble = _BY_CODE[code]
    made = replace(trouble, provoke=provoke) if provoke else trouble
    return Remedy(f"{code} {name}".rstrip(), says, _doctor(made), page=code, repairs=repairs)


def _doctor(trouble: Trouble) -> Provoke:
    """Let doctor look for it, and again without the flags that are what is wrong."""

    def provoke(it: Patient) -> Asking:
        flags = trouble.provoke(it) or ()
        pairs = list(zip(flags[::2], flags[1::2], strict=True))
        kept = [pair for pair in pairs if pair[0] in PLACES]
        if "--resolv-conf" in flags:  # the pod's, as it is now
            it.agent = replace(it.agent, resolv_conf=Path(dict(pairs)["--resolv-conf"]))
        each = chain([flags], repeat(tuple(chain.from_iterable(kept))))
        return lambda: _found(it, (trouble.code,), *next(each))

    return provoke


def _found(it: Patient, codes: tuple[str, ...], *flags: str) -> Advice:
    found = [one for one in it.doctor("--listen", "0", *flags)["findings"] if one["code"] in codes]
    remedies = "\n".join(one["remedy"] for one in found)
    return Advice(remedies, "\n".join(line for one in found for line in one["evidence"]))


def _several(it: Patient) -> Asking:
    it.up()
    it.together = True
    for code in SEVERAL:
        assert not _BY_CODE[code].provoke(it)
    it.together = False
    return lambda: _found(it, SEVERAL)


def _of_page(code: str) -> Remedy:
    """What the page says to do, which may be more than doctor does."""

    def provoke(it: Patient) -> Asking:
        ask = _doctor(_BY_CODE[code])(it)
        to_do = at_this_place(SECTIONS[code], _place(it))

        def ask_and_read() -> Advice:
            said = ask()
            return said._replace(text=to_do) if said.text else said

        return ask_and_read

    return Remedy(f"the page of {code}", (), provoke, page=code)


def _place(it: Patient) -> tuple[str, ...]:
    return ("--interface", it.agent.interface, "--state-dir", str(it.agent.state_dir))


def _in_a_container(make: Making) -> Making:
    def confined(it: Patient) -> None:
        make(it)
        troubles.as_in_a_container(it)

    return confined


def _bound_on_a_node(it: Patient) -> None:
    it.up()
    troubles.a_nodes_bridge(it)
    it.held.callback(it.ip, "link delete cni0")


def _nic_gone(it: Patient) -> Asking:
    """Doctor, status and `up` each say so."""
    ask = _doctor(_BY_CODE["VMN-302"])(it)

    def all_ask() -> Advice:
        found, told = ask(), it.agent.run("status", check=False).stdout
        return Advice(f"{found.text}\n{told}\n{messages(it.agent.run('up', check=False))}", found.evidence)

    return all_ask


def _nic_again(it: Patient) -> None:
    """As the CNI makes it anew."""
    if not any(link["ifname"] == "eth0" for link in it.pod.netns.ip("link")):
        add_nic(it.pod, "eth0", 6)


DOCTOR = (
    *(_of_doctor(code, says, repairs=code != "VMN-207") for code, says in OF_DOCTOR.items()),
    _of_page("VMN-604"),
    _of_doctor(
        "VMN-207",
        ("`vmnet up` when the pod has an address again; let the CNI",),
        troubles.address_expired,
        name="over",
    ),
    _of_doctor("VMN-108", ("if it is a node's, run `vmnet down`",), _bound_on_a_node),
    _of_doctor("VMN-308", ("add BPF to the capabilities",), troubles.rules_unchecked, name="unchecked"),
    _of_doctor(
        *("VMN-405", ("nsenter --net=/proc/PID/ns/net {}`",), _in_a_container(troubles.forward_drop)),
        name="in a container",
    ),
    _of_doctor(
        *("VMN-406", ("nsenter --net=/proc/PID/ns/net {}`",), _in_a_container(troubles.advertisements_accepted)),
        name="in a container",
    ),
)
LAST = (
    _of_doctor("VMN-206", ("(`ip -6 neighbour` on the node",)),
    _of_doctor("VMN-404", ("run `vmnet doctor` again",)),
    _of_doctor("VMN-403", ("`ping {}` in the pod",)),
    Remedy(
        "VMN-302",
        (
            "`vmnet up` when the CNI has created it again",
            "`vmnet up` cannot bring it back",
            "`vmnet up` when it is back",
        ),
        *(_nic_gone, "VMN-302"),
        between=_nic_again,
    ),
)
"""They leave the pod otherwise than they found it, each more than the one before."""


def _wait(goal: str, word: str, says: str, begin: Making) -> Remedy:
    """What `wait` says of a cause."""

    def provoke(it: Patient) -> Asking:
        begin(it)

        def ask() -> Advice:
            done = it.agent.run("wait", "--for", goal, "--timeout", "0", "--json", check=False)
            return _cause(json.loads(done.stdout), word)

        return ask

    return Remedy(word, (says,), provoke, page=word)


def _cause(told: dict[str, Any], word: str) -> Advice:
    cause = told["cause"]
    if cause is None or cause["word"] != word:
        return Advice()
    return Advice(cause["remedy"], "\n".join((cause["what"], *cause["evidence"])))


def _by_hand(it: Patient) -> GuestByHand:
    it.up()
    guest: GuestByHand = it.hold(guest_of(it.pod, it.agent, it.directory, it.tap))
    return guest


def _link_down(it: Patient) -> None:
    it.up()
    it.ip(f"link set {it.tap} down")


def _frames_but_no_dhcp(it: Patient) -> None:
    it.up()
    client = it.hold_tap()
    client.tap.send(b"\xff" * 6 + client.mac + b"\x88\xb5" + bytes(46))


def _other_mac(it: Patient) -> None:
    _by_hand(it).ask_as(OTHER_MAC)


def _offered(it: Patient) -> None:
    _by_hand(it).ask()


def _other_server(it: Patient) -> None:
    guest = _by_hand(it)
    guest.ask()
    guest.request(it.pod.address, "10.9.9.9", "other_server")


def _declined(it: Patient) -> None:
    guest = _by_hand(it)
    guest.ask()
    guest.decline()


def _cut_off(it: Patient) -> Asking:
    guest = _by_hand(it)
    guest.client.exchange()
    forward_drops(it.pod.netns)
    it.pod.netns.sysctl("bridge/bridge-nf-call-iptables", 1)
    seconds = chain([1.0], repeat(IN_TIME))
    return lambda: _cause(guest.wait_and_answer(next(seconds))[1], "unreachable")


def _replies_that_never_come(it: Patient) -> None:
    Forked(it.agent).run("up", tamper=compiler_fails("no memory")).ok()
    troubles.wait_for_log(it, '"event":"failed"')


def _nothing(_it: Patient) -> None:
    pass


CAUSES = (
    _wait("ready", "not-up", "run `vmnet up`", _nothing),
    _wait("ready", "drift", "run `vmnet up`: it repairs the binding", _link_down),
    _wait("bound", "server-dead", "run `vmnet up`, which starts another", troubles.server_killed),
    _wait("ready", "not-serving", "run `vmnet up`, which starts another", _replies_that_never_come),
    _wait("bound", "no-carrier", "its domain must name {}", troubles.bound),
    _wait("asked", "no-discover", "write its configuration with `vmnet render`", _frames_but_no_dhcp),
    _wait("asked", "other-mac", "name the guest's own with `vmnet down`", _other_mac),
    _wait("bound", "not-requested", "`vmnet capture` shows its ARP", _offered),
    _wait("bound", "other-server", "`vmnet doctor` listens for that", _other_server),
    _wait("bound", "declined", "if not this pod: `vmnet down`", _declined),
    Remedy("unreachable", ("stop br_netfilter from filtering",), _cut_off, page="unreachable"),
)


def messages(done: Completed | Ended) -> str:
    """All that a verb has said to people."""
    lines = done.stderr.splitlines()
    return "\n".join(str(json.loads(line)["message"]) if line.startswith("{") else line for line in lines)


def _refused(name: str, says: str, begin: Making, verb: str, *flags: str, page: str = "") -> Remedy:
    """A verb that says what to do."""

    def provoke(it: Patient) -> Asking:
        begin(it)
        return lambda: Advice(messages(it.agent.run(verb, *flags, check=False)))

    return Remedy(name, (says,), provoke, page)


def _once(name: str, says: str, begin: Making, verb: str, tamper: Tamper) -> Remedy:
    """A verb that fails once, by what the kernel or the disk does."""

    def provoke(it: Patient) -> Asking:
        begin(it)
        tampers = chain([tamper], repeat(None))
        return lambda: Advice(messages(Forked(it.agent).run(verb, tamper=next(tampers))))

    return Remedy(name, (says,), provoke)


def _status(name: str, says: str, begin: Making, *, repairs: bool = True) -> Remedy:
    """What `status` says of a binding."""

    def provoke(it: Patient) -> Asking:
        begin(it)
        return lambda: Advice(it.agent.run("status", check=False).stdout)

    return Remedy(name, (says,), provoke, repairs=repairs)


def _tap_held(it: Patient) -> None:
    it.up()
    it.hold_tap()


def _another_has_the_taps_name(it: Patient) -> None:
    it.up()
    it.ip(f"link delete {it.tap}", f"tuntap add {it.tap} mode tap", f"link set {it.tap} up")
    it.held.callback(it.ip, f"link delete {it.tap}")
    it.hold(raw_tap(it.pod.netns, it.tap))


def _accepts_advertisements(it: Patient) -> None:
    it.up("--isolation", "off")
    it.pod.netns.sysctl("ipv6/conf/k6t-eth0/accept_ra", 1)


def _saved_by_an_older(it: Patient) -> None:
    it.up()
    it.journal().write_bytes(it.journal().read_bytes() + b"\n")


def _given_back_in_a_container(it: Patient) -> Asking:
    it.up()
    confined = replace(it.agent, confined=True)
    return lambda: Advice(messages(confined.run("down", check=False)))


def _declined_in_the_log(it: Patient) -> Asking:
    _declined(it)
    [log] = it.agent.logs()
    said = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    return lambda: Advice("\n".join(line["message"] for line in said if line["event"] == "decline"))


def _made_by_libvirt(it: Patient) -> Asking:
    """As `vmnet launch` and the hook read a domain, before they ask libvirt for anything."""
    wish = "<metadata><vmnet:network xmlns:vmnet='urn:vmnet:domain:1' interface='eth0'/></metadata>"
    interface = f"<interface type='ethernet'><alias name='ua-vmnet-eth0'/><target dev='{it.tap}'/></interface>"
    path = Path(it.file("vm.xml", f"<domain><name>vm</name>{wish}<devices>{interface}</devices></domain>"))

    def ask() -> Advice:
        try:
            wishes(parse(path.read_text(encoding="utf-8")))
        except UsageError as error:
            return Advice(at_this_place(str(error), _place(it)))
        return Advice()

    return ask


EPERM = errno.EPERM
MESSAGES = (
    _refused("nothing to resume", "nothing to resume", _nothing, "up", "--resume"),
    _refused("nothing to serve", "nothing to serve", _nothing, "serve"),
    _refused("nothing to capture", "there is no server to ask", _nothing, "capture"),
    _refused("nobody to capture", "which keeps the frames, does not", troubles.server_killed, "capture"),
    _refused("nothing to probe", "{} is not bound here", _nothing, "probe"),
    _refused("other settings", "{} is already up with {}", troubles.bound, "up", "--mtu", "1400"),
    _refused("in use", "`vmnet down --force`", _tap_held, "down"),
    _refused("another's tap", "takes a free name for the tap", _another_has_the_taps_name, "up", page="VMN-301"),
    _refused("no such namespace", "see `ip netns`", _nothing, "status", "--netns", "no-such"),
    _refused("no namespace", "name one of `ip netns`", _nothing, "status", "--netns", "/dev/null"),
    _once(
        "down fails",
        "{}; the pod's configuration is saved in {}; run `vmnet down` to finish",
        troubles.bound,
        "down",
        refused([3], EPERM),
    ),
    _once("a repair fails", "run `vmnet up` to finish, or", _link_down, "up", refused([1], EPERM)),
    _once("giving back fails", "restoring the pod failed, too", _nothing, "up", refused(range(6, 1000), EPERM)),
    _once("an older journal", "stays as an older vmnet wrote it", _saved_by_an_older, "up", disk_full),
    _status("drift in status", "changed since `up`; `vmnet up` repairs it", _link_down),
    _status("expired in status", "and the guest no longer gets it", troubles.address_expired),
    _status("declined in status", "ADDRESS CONFLICT: the guest declined {}", _declined),
    _status("advertisements", "run the sysctl that `vmnet doctor` names", _accepts_advertisements, repairs=False),
    Remedy("a setting left", ("accept_ra of {} stays {}",), _given_back_in_a_container),
    Remedy("declined in the log", ("`vmnet status` says what to do",), _declined_in_the_log),
    Remedy("made by libvirt", ("as `vmnet domain` writes it",), _made_by_libvirt),
)
REMEDIES = (
    Remedy("several at once", tuple(part for code in SEVERAL for part in OF_DOCTOR[code]), _several),
    *MESSAGES,
    *CAUSES,
    *DOCTOR,
    *LAST,
)
