"""libvirt's hook protocol: operation, step and kind of domain → what is done, printed and returned."""

from __future__ import annotations

import errno
import fcntl
import functools
import io
import os
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.testlib.hook_calls import DEFAULTS, LIBVIRTD, OTHER_UUID, POD, TAP0, UUID, World, domain, world
from vmnet.agent import lifecycle
from vmnet.domain.read import DEEPEST, LARGEST, uuid_in
from vmnet.doors.libvirt import claims, hook_steps
from vmnet.errors import KernelError, RefusedError, RollbackIncompleteError, UsageError
from vmnet.kernel import file_lock, netns
from vmnet.kernel.in_time import in_time
from vmnet.model.settings import Settings, Told
from vmnet.saved.journal import BindingDirectory

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from vmnet.settings.config import Config

PREPARE, RELEASE, RECONNECT = ("prepare", "begin"), ("release", "end"), ("reconnect", "begin")
TWO_TAPS = "".join(
    TAP0.replace("tap0", tap).replace("</int", f"<alias name='ua-vmnet-{ifname}'/></int")
    for tap, ifname in (("tap0", "eth0"), ("tap1", "net1"))
)
OTHERS = (
    ("start", "begin"),
    ("started", "begin"),
    ("stopped", "end"),
    ("restore", "begin"),
    ("migrate", "begin"),
    ("attach", "begin"),
    ("prepare", "end"),
    ("release", "begin"),
    ("some-later-operation", "begin"),
)
NOT_OURS = {
    "no-interface": domain(""),
    "a-libvirt-network": domain("<interface type='network'><source network='default'/></interface>"),
    "libvirt-makes-the-tap": domain("<interface type='ethernet'><target dev='tap0'/></interface>"),
    "a-tap-of-another-name": domain(TAP0.replace("tap0", "tap7")),
    "a-managed-device": domain("<hostdev mode='subsystem' type='pci' managed='yes'/>"),
}
OURS = {
    "the-taps-name": domain(),
    "an-alias": domain(TAP0.replace("</int", "<alias name='ua-vmnet-eth0'/></int")),
    "metadata": domain(network=""),
    "metadata-alone": domain("", network="interface='eth0'"),
}


@pytest.fixture(name="world")
def _world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return world(tmp_path, monkeypatch)


@pytest.mark.parametrize("xml", OURS.values(), ids=OURS)
def test_a_domain_of_ours_is_brought_up_and_given_back(
    world: World, xml: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert world.call(*PREPARE, xml) == 0
    assert world.verbs == ["up"]
    assert world.call(*RELEASE, xml) == 0
    assert world.verbs == ["down"]
    assert world.calls[0][1].interface == "eth0"
    assert world.call(*RELEASE, xml) == 0
    assert world.verbs == [], "given back once"
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("step", [PREPARE, RELEASE, RECONNECT], ids="-".join)
@pytest.mark.parametrize("xml", NOT_OURS.values(), ids=NOT_OURS)
def test_a_domain_that_is_not_ours_is_left_alone(
    world: World, xml: str, step: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert world.call(*step, xml) == 0
    assert world.verbs == []
    assert not world.state_dir.exists()
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("step", OTHERS, ids="-".join)
def test_other_steps_do_and_say_nothing(
    world: World, step: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert world.call(*PREPARE, domain()) == 0
    capsys.readouterr()
    world.failures = [RefusedError("must not be called")]
    assert world.call(*step, domain()) == 0
    assert world.verbs == []
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("step", OTHERS, ids="-".join)
def test_other_steps_do_not_read_the_xml(world: World, step: tuple[str, str]) -> None:
    assert world.call(*step, "<not a domain") == 0


def test_what_the_domain_says_reaches_the_agent(world: World, tmp_path: Path) -> None:
    world.namespaces["pod"] = LIBVIRTD
    resolv_conf = tmp_path / "r"
    resolv_conf.write_text("nameserver 10.96.0.10\n")
    interface = (
        "<interface type='ethernet'><mac address='52:54:00:00:00:07'/><target dev='vm0' managed='no'/>"
        "<mtu size='1400'/><driver name='qemu' queues='4'/></interface>"
    )
    said = (
        "netns='pod' interface='eth0' binding='bridge' hostname='vm' owner='107:108' "
        f"state-dir='/run/elsewhere' resolv-conf='{resolv_conf}' "
        "isolation='dhcp-only' allow-address='10.9.9.9,10.8.0.0/16' allow-mac='00:00:5e:00:01:07' ipv6='off'"
    )
    world.failures = [RefusedError("enough seen")]
    world.call(*PREPARE, domain(interface, said))
    [(verb, config)] = world.calls
    assert verb == "up"
    assert config.settings == replace(
        Settings("vm0", 107, 108, "52:54:00:00:00:07", 1400, "vm", multi_queue=True),
        isolation="dhcp-only",
        allow_addresses=("10.9.9.9", "10.8.0.0/16"),
        allow_macs=("00:00:5e:00:01:07",),
        told=Told(ipv6=False),
    )
    assert (config.interface, config.state_dir, config.resolv_conf) == ("eth0", "/run/elsewhere", str(resolv_conf))
    assert config.resolver_text == "nameserver 10.96.0.10\n"
    assert world.entered == ["pod"]


def test_a_resolver_file_that_never_answers_is_given_up_before_the_lock(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As one on a file server that is gone: other domains do not wait for it."""
    ended = threading.Event()
    monkeypatch.setattr(hook_steps, "small_file", lambda _path, _what: ended.wait())
    monkeypatch.setattr(hook_steps, "in_time", functools.partial(in_time, seconds=0.01))
    monkeypatch.setattr(hook_steps, "alone_in", lambda *_: pytest.fail("the lock is held"))
    assert world.call(*PREPARE, domain("", "resolv-conf='/mnt/r'")) == 2
    assert "resolver file '/mnt/r': no answer within 0.01 s; name another" in capsys.readouterr().err
    ended.set()


@pytest.mark.parametrize(
    ("step", "code"), [(PREPARE, 2), (RECONNECT, 0), (RELEASE, 2)], ids=["prepare", "reconnect", "release"]
)
def test_a_state_directory_that_never_answers_is_given_up_before_the_lock(
    world: World,
    step: tuple[str, str],
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    xml, elsewhere = domain("", f"state-dir='{world.state_dir}/a'"), f"{world.state_dir}/a"
    assert world.call(*PREPARE, xml) == 0
    capsys.readouterr()
    ended, opened = threading.Event(), os.open

    def hung(path: str, *rest: int, **more: int) -> int:
        if path == elsewhere:
            ended.wait()
        return opened(path, *rest, **more)

    with monkeypatch.context() as patch:
        patch.setattr(hook_steps, "in_time", functools.partial(in_time, seconds=0.01))
        patch.setattr(hook_steps, "alone_in", lambda *_: pytest.fail("the lock is held"))
        patch.setattr(os, "open", hung)
        assert world.call(*step, xml) == code
        assert world.verbs == []
    assert f"state-dir '{elsewhere}': no answer within 0.01 s; name another" in capsys.readouterr().err
    ended.set()
    assert world.call(*RELEASE, xml) == 0
    assert world.verbs == ["down"]


def test_what_it_does_not_say_is_the_pods_and_the_tap_is_for_libvirtd(world: World) -> None:
    world.call(*PREPARE, domain())
    [(_, config)] = world.calls
    assert config.settings == replace(DEFAULTS, owner=os.geteuid())
    assert (config.state_dir, config.default_hostname) == (str(world.state_dir), os.uname().nodename)
    assert world.entered == []


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("no such namespace"), 2),
        (RefusedError("eth0 is down"), 3),
        (KernelError(1, "create tap0", "CAP_NET_ADMIN"), 4),
        (RollbackIncompleteError("half"), 5),
        (ValueError("a bug"), 1),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_failing_up_refuses_the_start_in_one_line(
    world: World, error: Exception, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    world.failures = [error]
    assert world.call(*PREPARE, domain()) == code
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("vmnet: error: domain vm1: prepare: ")
    assert str(error) in said.err
    assert said.err.count("\n") == 1
    assert said.err.removeprefix("vmnet: ") in (world.state_dir / "hook" / "log").read_text()


def test_a_name_cannot_forge_lines(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.failures = [RefusedError("no \x1b[31m\nvmnet: info: all is well")]
    world.call(*PREPARE, domain())
    assert capsys.readouterr().err.count("\n") == 1


def test_release_after_a_failed_up_gives_back_what_there_is(world: World) -> None:
    world.failures = [RollbackIncompleteError("half")]
    world.call(*PREPARE, domain())
    assert world.call(*RELEASE, domain()) == 0
    assert world.verbs == ["down"]


def test_release_goes_where_prepare_went_whatever_the_xml_says_now(world: World) -> None:
    world.namespaces = {"pod-a": 7, "pod-b": 8}
    said = f"netns='pod-a' interface='net1' state-dir='{world.state_dir}/a'"
    assert world.call(*PREPARE, domain("", said)) == 0
    assert world.call(*RELEASE, domain("", "netns='pod-b' interface='net2'")) == 0
    [(verb, config)] = world.calls
    assert (verb, config.interface, config.state_dir) == ("down", "net1", f"{world.state_dir}/a")
    assert world.entered == ["pod-a"]


def test_release_leaves_a_namespace_alone_that_has_only_the_old_name(world: World) -> None:
    world.namespaces = {"pod-a": 7}
    assert world.call(*PREPARE, domain("", "netns='pod-a'")) == 0
    world.namespaces = {"pod-a": 8}
    assert world.call(*RELEASE, domain("")) == 0
    assert world.verbs == []
    assert "gone" in (world.state_dir / "hook" / "log").read_text()


def test_release_that_the_kernel_refuses_can_be_repeated(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.call(*PREPARE, domain())
    world.failures = [RollbackIncompleteError("eth0-nic: busy")]
    assert world.call(*RELEASE, domain()) == 5
    assert "busy" in capsys.readouterr().err
    assert world.call(*RELEASE, domain()) == 0
    assert world.verbs == ["down"]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RefusedError("cannot write the state directory /run/vmnet: No space left on device"), 3),
        (RefusedError("journal.json cannot be used: it is of another schema; use the vmnet that wrote it"), 3),
        (UsageError("/run/vmnet is no directory"), 2),
    ],
    ids=["full", "journal", "no directory"],
)
def test_release_that_is_refused_can_be_repeated(
    world: World, error: Exception, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    world.call(*PREPARE, domain())
    world.failures = [error]
    assert world.call(*RELEASE, domain()) == code
    assert str(error) in capsys.readouterr().err
    assert world.call(*RELEASE, domain()) == 0
    assert world.verbs == ["down"]


@pytest.mark.parametrize("missing", [False, True], ids=["not to be entered", "gone"])
def test_only_a_namespace_that_is_gone_is_given_up(
    world: World, missing: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.namespaces = {"pod-a": LIBVIRTD}
    world.call(*PREPARE, domain("", "netns='pod-a'"))

    def refuse(name: str) -> None:
        if missing:
            raise UsageError(f"network namespace {name}: gone") from FileNotFoundError()
        raise UsageError(f"network namespace {name}: no answer within 10 s") from TimeoutError()

    with monkeypatch.context() as patch:
        patch.setattr(netns, "enter", refuse)
        assert world.call(*RELEASE, domain("")) == (0 if missing else 2)
    assert world.call(*RELEASE, domain("")) == 0
    assert world.verbs == ([] if missing else ["down"])


def test_in_the_hosts_namespace_there_is_nothing_to_give_back(world: World) -> None:
    world.host = True
    world.failures = [refused := RefusedError("this is the host's own network namespace")]
    assert world.call(*PREPARE, domain(network="")) == 3
    world.failures = [refused]
    assert world.call(*RELEASE, domain(network="")) == 0
    assert world.verbs == []


def test_two_interfaces_are_two_bindings(world: World) -> None:
    assert world.call(*PREPARE, domain(TWO_TAPS)) == 0
    assert [(verb, config.interface, config.settings.tap) for verb, config in world.calls] == [
        ("up", "eth0", "tap0"),
        ("up", "net1", "tap1"),
    ]
    assert world.call(*RELEASE, domain()) == 0
    assert [(verb, config.interface) for verb, config in world.calls] == [("down", "eth0"), ("down", "net1")]


def test_where_giving_one_of_two_back_fails_the_other_is_given_back(world: World) -> None:
    world.call(*PREPARE, domain(TWO_TAPS))
    world.failures = [RollbackIncompleteError("eth0-nic: busy")]
    assert world.call(*RELEASE, domain()) == 5
    assert world.verbs == ["down", "down"]
    assert world.call(*RELEASE, domain()) == 0
    assert [(verb, config.interface) for verb, config in world.calls] == [("down", "eth0")]


@pytest.mark.parametrize(("step", "verb"), [(PREPARE, "up"), (RELEASE, "down")])
def test_a_disk_that_becomes_read_only_meanwhile_is_one_line(
    world: World,
    step: tuple[str, str],
    verb: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """As an error of the disk makes it; and whatever else the domain took is given back all the same."""
    xml = domain(TWO_TAPS)
    if step is RELEASE:
        world.call(*PREPARE, xml)
        capsys.readouterr()
    work = getattr(lifecycle, verb)

    def refuse(*_arguments: object, **_more: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    def work_and_fail(config: Config) -> object:
        monkeypatch.setattr(os, "unlink", refuse)
        monkeypatch.setattr(BindingDirectory, "write", refuse)
        return work(config)

    monkeypatch.setattr(lifecycle, verb, work_and_fail)
    assert world.call(*step, xml) == 3
    said = capsys.readouterr().err
    assert said.endswith("/hook: Read-only file system; see that root can write there\n")
    assert said.count("\n") == 1
    assert world.verbs == (["up"] if step is PREPARE else ["down", "down"])


def test_two_interfaces_on_one_tap_are_refused(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert world.call(*PREPARE, domain(TAP0 * 2)) == 2
    assert "two interfaces ask for tap0" in capsys.readouterr().err


def test_a_second_domain_is_not_let_onto_a_tap_in_use(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.call(*PREPARE, domain())
    world.attached.add("tap0")
    assert world.call(*PREPARE, domain(uuid=OTHER_UUID)) == 3
    assert world.verbs == []
    assert f"tap0 is in use by domain {UUID}" in capsys.readouterr().err
    assert world.call(*RELEASE, domain(uuid=OTHER_UUID)) == 0
    assert world.verbs == [], "the first domain's pod is not touched"


def test_a_domain_that_lost_the_race_for_the_tap_does_not_take_the_winners_pod(world: World) -> None:
    world.call(*PREPARE, domain())
    assert world.call(*PREPARE, domain(uuid=OTHER_UUID)) == 0
    world.attached.add("tap0")
    assert world.call(*RELEASE, domain(uuid=OTHER_UUID)) == 0
    assert world.verbs == []
    world.attached.clear()
    world.call(*RELEASE, domain())
    assert world.verbs == ["down"]


def test_a_tap_in_another_namespace_than_libvirtds_is_named(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.namespaces = {"pod-a": 7}
    assert world.call(*PREPARE, domain(network="netns='pod-a'")) == 3
    assert world.verbs == []
    assert "libvirt opens tap0 in its own network namespace, and pod-a is another one" in capsys.readouterr().err


def test_a_binding_that_is_up_otherwise_is_made_anew(world: World) -> None:
    world.call(*PREPARE, domain())
    two_queues = TAP0.replace("<target", "<driver queues='2'/><target")
    assert world.call(*PREPARE, domain(two_queues)) == 0
    assert world.verbs == ["down", "up"]
    assert world.calls[1][1].settings.multi_queue is True
    assert world.call(*PREPARE, domain()) == 0
    assert world.verbs == ["down", "up"]
    assert world.calls[1][1].settings.multi_queue is False


def test_a_binding_that_is_up_fittingly_is_kept_with_what_the_domain_does_not_say(world: World) -> None:
    world.call(*PREPARE, domain(network="hostname='vm' owner='107'"))
    assert world.call(*PREPARE, domain()) == 0
    assert world.verbs == ["up"]
    assert (world.calls[0][1].settings.hostname, world.calls[0][1].settings.owner) == ("vm", 107)


def test_a_domain_that_wants_no_ipv6_leaves_the_rest_of_what_is_told_as_it_is(world: World) -> None:
    world.call(*PREPARE, domain())
    [(key, journal)] = world.bound.items()
    told = Told(lease_time=600, nameservers=("fd00::53",))
    world.bound[key] = replace(journal, settings=replace(journal.settings, told=told))
    assert world.call(*PREPARE, domain(network="ipv6='off'")) == 0
    assert world.verbs == ["down", "up"]
    assert world.calls[1][1].settings.told == replace(told, ipv6=False)


@pytest.mark.parametrize("capable", [False, True])
def test_a_tap_that_libvirtd_may_not_open_is_named(
    world: World, capable: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(hook_steps, "_may_open_any_tap", lambda: capable)
    assert world.call(*PREPARE, domain(network="owner='4711'")) == (0 if capable else 3)
    said = capsys.readouterr().err
    assert ("tap0 is for uid 4711" in said) is not capable


def test_an_unlike_mac_is_said_once_and_loudly(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    xml = domain(TAP0.replace(POD.mac, "52:54:00:00:00:07"))
    assert world.call(*PREPARE, xml) == 0
    assert f"write <mac address='{POD.mac}'/>" in capsys.readouterr().err
    world.call(*RECONNECT, xml)
    world.call(*RELEASE, xml)
    assert "MAC" not in capsys.readouterr().err


@pytest.mark.parametrize(("mtu", "said"), [(1450, False), (1400, True)])
def test_an_unlike_mtu_is_said(world: World, mtu: int, said: bool, capsys: pytest.CaptureFixture[str]) -> None:
    world.call(*PREPARE, domain(TAP0.replace("<target", f"<mtu size='{mtu}'/><target")))
    assert ("write <mtu size='1450'/>" in capsys.readouterr().err) is said


def test_what_the_guest_cannot_be_given_is_said(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.call(*PREPARE, domain())
    assert "vmnet: warning: domain vm1: it has IPv6" in capsys.readouterr().err


def test_reconnect_only_brings_back_what_was_up(world: World) -> None:
    world.call(*PREPARE, domain())
    assert world.call(*RECONNECT, domain()) == 0
    [(verb, config)] = world.calls
    assert (verb, config.resume, config.settings, config.interface) == ("up", True, Settings(), "eth0")


@pytest.mark.parametrize("xml", [domain(), "<broken", "", "\0"], ids=["well", "broken", "empty", "nul"])
@pytest.mark.parametrize("error", [RefusedError("no"), KernelError(1, "x"), OSError(28, "full"), KeyError("bug")])
def test_reconnect_never_fails(world: World, xml: str, error: Exception) -> None:
    world.call(*PREPARE, domain())
    world.failures = [error]
    assert world.call(*RECONNECT, xml) == 0


def test_in_the_hosts_namespace_a_taps_name_means_nothing(world: World) -> None:
    world.host = True
    assert world.call(*PREPARE, domain()) == 0
    assert world.verbs == []
    world.failures = [RefusedError("this is the host's own network namespace")]
    assert world.call(*PREPARE, domain(network="")) == 3


@pytest.mark.parametrize(
    ("network", "says"),
    [
        ("interfaec='eth0'", "'interfaec'"),
        ("binding='masquerade'", "masquerade"),
        ("interface='eth0;reboot'", "no link name"),
        ("tap='a/b'", "no link name"),
        ("mac='01:00:00:00:00:00'", "multicast"),
        ("owner='qemu'", "owner"),
        ("hostname='a b'", "host name"),
        ("isolation='some'", "isolation"),
        ("allow-address='10.0.0.0/33'", "no address or prefix"),
        ("allow-mac='x'", "MAC"),
        ("ipv6='no'", "ipv6 'no' is neither on nor off"),
    ],
)
def test_metadata_that_makes_no_sense_is_named(
    world: World, network: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert world.call(*PREPARE, domain(network=network)) == 2
    assert says in capsys.readouterr().err
    assert world.verbs == []


@pytest.mark.parametrize(
    ("interfaces", "says"),
    [
        (TAP0.replace(" managed='no'", ""), "made by libvirt itself"),
        ("<interface type='network'><target dev='tap0'/></interface>", "made by libvirt itself"),
        (TAP0 * 2, "interfaces are marked"),
    ],
)
def test_metadata_that_the_interfaces_do_not_bear_out_is_named(
    world: World, interfaces: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert world.call(*PREPARE, domain(interfaces, "tap='tap0'")) == 2
    assert says in capsys.readouterr().err


def test_a_broken_claim_is_no_claim(world: World) -> None:
    world.call(*PREPARE, domain())
    [record] = (world.state_dir / "hook").glob("*.json")
    record.write_text("{")
    assert world.call(*RELEASE, domain()) == 0
    assert world.verbs == []


HEAD = f"<domain type='kvm'><name>vm1</name><uuid>{UUID}</uuid>"
UNREADABLE = {
    "larger than is read": f"{HEAD}<metadata>{'x' * LARGEST}</metadata></domain>",
    "deeper than is read": f"{HEAD}{'<a>' * (DEEPEST + 9)}{'</a>' * (DEEPEST + 9)}</domain>",
    "broken behind the UUID": f"{HEAD}<devices></domain>",
    "cut off": HEAD,
    "of an attribute that is none": f"{HEAD}<metadata a=></domain>",
    "not UTF-8 behind the UUID": f"{HEAD}<metadata>\udce9</metadata></domain>",
    "of a hostile wish": domain(network="netns='/some/pipe' state-dir='/proc' tap='../..'"),
    "with another uuid in its metadata": f"<domain><metadata><uuid>{OTHER_UUID}</uuid></metadata>{HEAD[19:]}",
    "of no UUID": "<domain><name>vm1</name></domain>",
    "a DOCTYPE": f"<!DOCTYPE domain>{HEAD}</domain>",
    "none": "",
    "no XML": "vm1",
}


@pytest.mark.parametrize("operation", [RELEASE, RECONNECT], ids="-".join)
@pytest.mark.parametrize("xml", UNREADABLE.values(), ids=UNREADABLE)
def test_what_a_domain_took_is_found_whatever_its_xml_says_by_then(
    world: World, xml: str, operation: tuple[str, str]
) -> None:
    assert world.call(*PREPARE, domain()) == 0
    assert world.call(*operation, xml) == 0
    assert world.verbs == ["down" if operation == RELEASE else "up"]


def test_a_name_that_two_domains_have_had_names_neither(world: World) -> None:
    second = TAP0.replace("tap0", "tap1")
    for uuid, xml in ((UUID, domain()), (OTHER_UUID, domain(second, "interface='net1'", OTHER_UUID))):
        assert world.call(*PREPARE, xml) == 0, uuid
    assert world.call(*RELEASE, "") == 0
    assert world.verbs == []


def test_claims_of_an_older_vmnet_are_read(world: World) -> None:
    """It wrote no name of the domain."""
    assert world.call(*PREPARE, domain()) == 0
    file = world.state_dir / "hook" / f"{UUID}.json"
    file.write_text(file.read_text().replace(',"name":"vm1"', ""))
    assert "vm1" not in file.read_text()
    assert world.call(*RELEASE, domain()) == 0
    assert world.verbs == ["down"]


def test_no_more_of_the_xml_is_read_than_the_uuid_takes() -> None:
    stream = io.BytesIO(HEAD.encode() + b" " * LARGEST)
    assert uuid_in(stream) == UUID
    assert stream.tell() < 64 * 1024


def test_other_domains_do_not_wait_while_a_namespace_is_entered(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.namespaces = {"pod": 7}
    enter = netns.enter

    def free(name: str) -> None:
        lock = world.state_dir / "hook" / "lock"
        if lock.exists():
            with lock.open() as other:
                fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        enter(name)

    monkeypatch.setattr(netns, "enter", free)
    for step in (PREPARE, RECONNECT, RELEASE):
        assert world.call(*step, domain("", "netns='pod'")) == 0
        assert world.entered == ["pod"]
        assert len(world.verbs) == 1


@pytest.mark.parametrize(("step", "verb"), [(PREPARE, "up"), (RECONNECT, "up"), (RELEASE, "down")])
def test_while_a_binding_is_made_or_given_back_only_hooks_in_its_namespace_wait(
    world: World, step: tuple[str, str], verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.namespaces = {"pod": 7}
    assert world.call(*PREPARE, domain("", "netns='pod'")) == 0
    work, locked = getattr(lifecycle, verb), {}

    def look(config: Config) -> object:
        for name in ("lock", "netns-7.lock"):
            with (world.state_dir / "hook" / name).open() as other:
                try:
                    fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    locked[name] = True
                else:
                    locked[name] = False
        return work(config)

    monkeypatch.setattr(lifecycle, verb, look)
    assert world.call(*step, domain("", "netns='pod'")) == 0
    assert locked == {"lock": False, "netns-7.lock": True}


def test_whoever_waited_for_a_lock_that_was_removed_takes_the_new_one(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, waited = world.state_dir / "hook" / f"netns-{LIBVIRTD:x}.lock", []
    hold = file_lock.hold

    def once_removed(descriptor: int, path: str) -> None:
        hold(descriptor, path)
        if path == str(place):
            waited.append(os.fstat(descriptor).st_ino)
            if len(waited) == 1:
                place.unlink()

    monkeypatch.setattr(claims, "hold", once_removed)
    assert world.call(*PREPARE, domain()) == 0
    assert len(waited) == 2
    assert not place.exists()


def test_a_lock_that_nobody_lets_go_of_is_one_line(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_lock, "PATIENCE_SECONDS", 0)
    assert world.call(*PREPARE, domain()) == 0
    capsys.readouterr()
    for name in ("lock", f"netns-{LIBVIRTD:x}.lock"):
        with (world.state_dir / "hook" / name).open("w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            for step in (PREPARE, RELEASE):
                assert world.call(*step, domain()) == 6
                said = capsys.readouterr().err
                assert said.count("\n") == 1
                assert f"hook/{name} is still locked by " in said
    assert world.call(*RELEASE, domain()) == 0
    assert world.verbs == ["down"]
    assert {path.name for path in (world.state_dir / "hook").iterdir()} == {"lock", "log"}


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o777])
def test_a_directory_of_the_hook_that_others_see_into_is_not_used(
    world: World, mode: int, capsys: pytest.CaptureFixture[str]
) -> None:
    (world.state_dir / "hook").mkdir(parents=True)
    (world.state_dir / "hook").chmod(mode)
    assert world.call(*PREPARE, domain()) == 3
    remedy = f"it must belong to uid {os.geteuid()} and have mode 0700"
    assert f"hook is open to others; {remedy}" in capsys.readouterr().err
    assert list((world.state_dir / "hook").iterdir()) == []


def _pipe(place: Path, _somebodys: Path) -> None:
    os.mkfifo(place)


def _second_name(place: Path, somebodys: Path) -> None:
    os.link(somebodys, place)


def _link(place: Path, somebodys: Path) -> None:
    place.symlink_to(somebodys)


@pytest.mark.parametrize("put", [_pipe, _second_name, _link])
@pytest.mark.parametrize("name", ["log", "lock", f"{UUID}.json"])
def test_what_lies_in_the_place_of_the_hooks_files_neither_hangs_nor_is_written_to(
    world: World, name: str, put: Callable[[Path, Path], None], capsys: pytest.CaptureFixture[str]
) -> None:
    somebodys = world.state_dir / "somebodys"
    (world.state_dir / "hook").mkdir(parents=True, mode=0o700)
    somebodys.write_bytes(b"x" * 300_000)
    put(world.state_dir / "hook" / name, somebodys)
    assert world.call(*PREPARE, domain()) == (0 if name == "log" else 3)
    assert somebodys.read_bytes() == b"x" * 300_000
    assert all(line.startswith("vmnet: ") for line in capsys.readouterr().err.splitlines())
